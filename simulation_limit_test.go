//go:build drill && !race

// The race detector finds little here, where time goes by only when all wait, and takes
// ten times as long.

package rolegate_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A list of 100,000 users, 50 of them changed each second, at a marketplace that
// allows 20 requests a second and answers one in a hundred with 502.
const (
	limUsers   = 100_000
	limPage    = 1000
	limChanges = 50
	limAllowed = 20
	limErrors  = 0.01
	limLatency = 20 * time.Millisecond

	// limLimit is what the limit alone makes the whole list cost.
	limLimit = (limUsers + limPage - 1) / limPage * time.Second / limAllowed

	// Of the users, so many come and go, and so many others get and lose a role.
	limGuests = 5000
	limMovers = 5000
)

// TestSimulationOfALimit lets a gate run beside such a marketplace for some hours, or
// for ROLEGATE_HOURS: a week is 168. Its seed is 1, or that of ROLEGATE_SEED.
func TestSimulationOfALimit(t *testing.T) {
	t.Parallel()
	hours := 2
	if text := os.Getenv("ROLEGATE_HOURS"); text != "" {
		var err error
		hours, err = strconv.Atoi(text)
		require.NoError(t, err, "ROLEGATE_HOURS is a number")
	}
	for _, c := range []struct {
		name   string
		known  bool
		length time.Duration
	}{
		{"that the client knows", true, time.Duration(hours) * time.Hour},
		{"that the client finds out", false, 30 * time.Minute},
	} {
		seed := simSeeds(t)[0]
		t.Run(fmt.Sprintf("%s, for %v/ROLEGATE_SEED=%d", c.name, c.length, seed), func(t *testing.T) {
			t.Parallel()
			l := &limit{seed: seed, known: c.known}
			l.run(t, c.length)
			assert.Empty(t, l.wrong)
		})
	}
}

// A seed repeats the marketplace exactly, and what the gate makes of it.
func TestSimulationOfALimitRepeats(t *testing.T) {
	t.Parallel()
	first, second := limit{seed: 3}, limit{seed: 3}
	first.run(t, 12*time.Minute)
	second.run(t, 12*time.Minute)
	assert.Equal(t, first.trace, second.trace)
}

// A limUser is what the marketplace means of one user, and since when.
type limUser struct {
	listed, admin    bool
	listedAt, roleAt moment
}

// A limChange is a change of somebody's place on the list, or of their role.
type limChange struct {
	at   moment
	user int
}

// A limPull is one refresh, as its source sees it.
type limPull struct {
	rng             *rand.Rand // two of them may be under way at one moment, in any order
	start, end      moment
	err             error
	requests, again int
	changes         int // before it, and then during it
}

// A limit is such a marketplace, and what was seen of it and of the gate beside it.
type limit struct {
	seed  uint64
	known bool // to the client
	began time.Time

	mu       sync.Mutex // the goroutine that holds it never waits for time
	market   *rolegatetest.Marketplace
	rng      *rand.Rand // of what changes
	users    []limUser
	due      moment // when somebody changes next
	changes  int
	moved    []limChange
	second   moment // the one at hand
	inSecond int
	busiest  int           // the most requests of any second
	answered map[int]int   // requests, by status
	pulls    [2][]*limPull // full, incremental

	gate    *rolegate.Gate
	admin   *rolegate.Policy
	guard   http.Handler
	now     moment
	checked [2]int // how many of moved: by a full refresh, by an incremental one
	longest [2]time.Duration
	ended   [2]int // how many of pulls are checked
	trace   uint64
	wrong   map[string]int
}

func (l *limit) run(t *testing.T, length time.Duration) {
	synctest.Test(t, func(t *testing.T) {
		l.fill()
		perSecond := 0.0
		if l.known {
			perSecond = limAllowed
		}
		client := marketplace.New(marketplace.Config{
			BaseURL: rolegatetest.BaseURL, AppID: l.market.AppID(), Token: marketplace.StaticToken(l.market.Token()),
			Transport: l, PageSize: limPage, MaxRequestsPerSecond: perSecond,
		})
		var err error
		l.gate, err = rolegate.Open(t.Context(), rolegate.WithRandom(quiet(rolegate.Config{Source: limSource{client, l}}), simJitter(l.seed)))
		require.NoError(t, err)
		defer func() { require.NoError(t, l.gate.Close()) }()
		opened := time.Since(l.began)
		assert.LessOrEqual(t, opened, limLimit*13/10, "the limit alone costs %v", limLimit)

		l.admin = l.gate.Policy(rolegate.AnyRole("admin"))
		l.guard = l.gate.Require(rolegate.AnyRole("teacher"))(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
		rng := rand.New(rand.NewPCG(l.seed, 31)) // of when it is asked, and for which user
		timer := time.NewTimer(0)
		defer timer.Stop()
		for next := moment(opened); next < length; {
			next += time.Duration(1 + rng.ExpFloat64()*float64(20*time.Second))
			timer.Reset(next - time.Since(l.began))
			<-timer.C
			synctest.Wait()
			l.look(rng)
		}
		total := 0
		for _, n := range l.answered {
			total += n
		}
		if l.known {
			assert.LessOrEqual(t, l.busiest, limAllowed, "requests in a second")
		} else {
			assert.Less(t, l.answered[http.StatusTooManyRequests], total/20, "too many requests, of %d", total)
		}
		t.Logf("open after %v; %d changes; full refreshes: %d, the longest took %v; incremental ones: %d, %v; answers by status: %v, %d in a second at most",
			opened, l.changes, l.ended[0], l.longest[0], l.ended[1], l.longest[1], l.answered, l.busiest)
	})
}

const limFirst = 1542135022016057001

func limID(user int) int64 { return limFirst + 3*int64(user) }

// What becomes of users: the first ones come and go, others get and lose a role, and
// the rest is always listed.
func limGuest(user int) bool { return user < limGuests }
func limMover(user int) bool { return !limGuest(user) && user < limGuests+limMovers }

func (l *limit) fill() {
	l.began = time.Now()
	l.rng = rand.New(rand.NewPCG(l.seed, 30))
	l.market = rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Latency: limLatency})
	l.users = make([]limUser, limUsers)
	l.answered, l.wrong = map[int]int{}, map[string]int{}
	for user := range l.users {
		l.users[user].listed = true
		l.put(user)
	}
}

// put has the marketplace list a user as they are now.
func (l *limit) put(user int) {
	u := rolegatetest.User{ID: limID(user), Account: fmt.Sprintf("t%06d", user), Nickname: "王老师", Grants: []rolegate.Grant{in(7, "teacher")}}
	if l.users[user].admin {
		u.Grants = append(u.Grants, in(7, "admin"))
	}
	l.market.Put(u)
}

// advance makes the changes up to now.
func (l *limit) advance(now moment) {
	for ; l.due <= now; l.due += time.Duration(1 + l.rng.ExpFloat64()*float64(time.Second/limChanges)) {
		l.changes++
		user := l.rng.IntN(limUsers)
		u := &l.users[user]
		switch {
		case limGuest(user):
			u.listed, u.listedAt = !u.listed, l.due
			l.moved = append(l.moved, limChange{l.due, user})
			if u.listed {
				l.put(user)
			} else {
				l.market.Revoke(limID(user))
			}
		case limMover(user):
			u.admin, u.roleAt = !u.admin, l.due
			l.moved = append(l.moved, limChange{l.due, user})
			l.put(user)
		default:
			l.market.Touch(limID(user))
		}
	}
}

// RoundTrip implements http.RoundTripper.
func (l *limit) RoundTrip(r *http.Request) (*http.Response, error) {
	p := r.Context().Value(limPullKey{}).(*limPull)
	l.mu.Lock()
	now := time.Since(l.began)
	l.advance(now)
	if second := now.Truncate(time.Second); second != l.second {
		l.second, l.inSecond = second, 0
	}
	l.inSecond++
	l.busiest = max(l.busiest, l.inSecond)
	p.requests++
	status := http.StatusOK
	switch {
	case l.inSecond > limAllowed:
		status = http.StatusTooManyRequests
	case p.rng.Float64() < limErrors:
		status = http.StatusBadGateway
	}
	l.answered[status]++
	if status != http.StatusOK {
		p.again++
	}
	l.mu.Unlock()
	if status != http.StatusOK {
		wait(r.Context(), limLatency)
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, r.Context().Err()
	}
	return l.market.Transport().RoundTrip(r)
}

type limPullKey struct{}

// A limSource is the real client, and notes the refreshes.
type limSource struct {
	*marketplace.Client
	l *limit
}

// PullPages implements rolegate.PageSource.
func (s limSource) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	l, k := s.l, 1
	if after == 0 {
		k = 0
	}
	l.mu.Lock()
	p := &limPull{start: time.Since(l.began), end: simForever, changes: l.changes}
	p.rng = rand.New(rand.NewPCG(l.seed, uint64(100+2*len(l.pulls[k])+k)))
	l.pulls[k] = append(l.pulls[k], p)
	l.mu.Unlock()
	err := s.Client.PullPages(wire.WithRandom(context.WithValue(ctx, limPullKey{}, p), p.rng.Float64), after, page)
	l.mu.Lock()
	defer l.mu.Unlock()
	p.end, p.err, p.changes = time.Since(l.began), err, l.changes-p.changes
	return err
}

// look compares what the gate says with what the marketplace means.
func (l *limit) look(rng *rand.Rand) {
	state := l.gate.Status().State
	l.mu.Lock() // nothing else runs at this moment
	defer l.mu.Unlock()
	l.now = time.Since(l.began)
	l.advance(l.now)
	if state != rolegate.StateReady {
		l.wrong["the gate is "+string(state)]++
	}
	l.check()
	for range 20 {
		w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-User-Id", strconv.FormatInt(limID(limGuests+rng.IntN(limUsers-limGuests)), 10))
		l.guard.ServeHTTP(w, r)
		if code := w.Code; code != http.StatusOK {
			l.wrong[fmt.Sprintf("a user who has always been listed gets %d", code)]++
		}
	}
	for range 100 {
		l.ask(rng.IntN(limGuests + limMovers))
	}
	for k := range l.checked {
		for ; l.checked[k] < len(l.moved) && l.moved[l.checked[k]].at < l.now-l.within(k); l.checked[k]++ {
			l.ask(l.moved[l.checked[k]].user) // what has changed must just be known
		}
	}
}

// within is how long a change may take to be known, by the formula in
// docs/revocation.md: by a full refresh, and by an incremental one.
func (l *limit) within(k int) time.Duration {
	if k == 0 {
		return 11*time.Minute + 2*l.longest[0]
	}
	return 66*time.Second + l.longest[1]
}

func (l *limit) ask(user int) {
	u, id := l.users[user], rolegate.UserID(limID(user))
	listed := l.gate.Decide(context.Background(), id)
	admin := l.admin.Decide(context.Background(), id, 7)
	l.trace = l.trace*1099511628211 ^ (uint64(l.now)<<8 | uint64(user)<<4 ^ uint64(listed.Reason)<<2 ^ uint64(admin.Reason))
	switch {
	case listed.Reason == rolegate.ReasonExpired:
		l.wrong["503"]++
	case u.listed && !listed.Allowed() && u.listedAt < l.now-l.within(1):
		l.wrong["who was added is refused for longer than the formula says"]++
	case !u.listed && listed.Allowed() && u.listedAt < l.now-l.within(0):
		l.wrong["who was removed is admitted for longer than the formula says"]++
	case limMover(user) && u.admin != admin.Allowed() && u.roleAt < l.now-l.within(1):
		l.wrong["a role counts later than the formula says"]++
	}
}

// check looks at the refreshes that have ended since it was called last.
func (l *limit) check() {
	every := [2]time.Duration{11 * time.Minute, 66 * time.Second}
	for k, pulls := range l.pulls {
		for ; l.ended[k] < len(pulls); l.ended[k]++ {
			p := pulls[l.ended[k]]
			l.longest[k] = max(l.longest[k], min(p.end, l.now)-p.start)
			if p.end == simForever {
				break
			}
			if p.err != nil {
				l.wrong["a refresh failed: "+p.err.Error()]++
			}
			if most := (limUsers+p.changes+limPage-2)/(limPage-1) + 3 + p.again; p.requests > most {
				l.wrong["a refresh takes too many requests"]++
			}
			if n := l.ended[k]; n > 0 && p.start > pulls[n-1].start+every[k] {
				l.wrong["a refresh does not come when it is due"]++
			}
		}
	}
}
