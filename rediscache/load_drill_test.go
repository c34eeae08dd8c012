//go:build drill && unix

package rediscache_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Time is compressed, a hundredfold: a full refresh is due after six seconds instead
// of ten minutes, and a list is denied with 503 when it is 36 s old, not an hour.
const (
	loadEvery  = time.Second
	loadResync = 6 * time.Second
	loadExpire = 36 * time.Second
	loadLease  = 3 * time.Second

	// shownWithin is what docs/revocation.md and docs/replicas.md promise of these:
	// jitter, and the longest wait for another replica.
	shownWithin = loadResync*11/10 + 2*loadLease*12/10 + 3*time.Second

	loadRate    = 2000 // requests a second
	loadCallers = 64   // requests at once: a refused one may wait for a refresh

	// links is how many things at most follow from each other, each of which the
	// machine may do as late as it does what paces the requests.
	links = 5

	// Of each of these there are so many. Who leaves is listed until they are
	// revoked, who comes is granted access some day, and a stranger never is.
	perGroup = 200
	stays    = 1000
	leaves   = 2000
	comes    = 3000
	stranger = 4000
)

// A load is a marketplace that changes all the time, gates that share what one of
// them reads, and requests, each of whose answers is checked.
type load struct {
	market  *rolegatetest.Static
	replica []*replica

	mu      sync.Mutex
	begun   []time.Time
	hold    chan struct{} // full refreshes wait until it is closed
	changed map[int64]time.Time
	wrong   map[string]int
	answers int
	late    time.Duration // of what paces the requests
	lasted  time.Duration // for how long it has
}

// A replica is one of the gates, and what it has told.
type replica struct {
	*rolegate.Gate
	of    *load
	admit http.Handler
	log   lines

	requests sync.WaitGroup // that are on their way

	mu     sync.Mutex
	turned map[int64]time.Time // since when it knows the change of a user
}

// lines is a log.
type lines struct {
	mu   sync.Mutex
	text []string
}

// Write notes a line, unless it is of a request, or of what the marketplace has
// changed.
func (l *lines) Write(p []byte) (int, error) {
	if bytes.Contains(p, []byte(`"rolegate: refused"`)) || bytes.Contains(p, []byte(`"rolegate: refreshed"`)) {
		return len(p), nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, string(p))
	return len(p), nil
}

func (l *lines) all() []string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]string(nil), l.text...)
}

// CacheKey says which list it is.
func (r *replica) CacheKey() string { return r.of.market.CacheKey() }

// Pull notes when a full refresh begins.
func (r *replica) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	l := r.of
	l.mu.Lock()
	hold := l.hold
	if after == 0 {
		l.begun = append(l.begun, time.Now())
	}
	l.mu.Unlock()
	if after == 0 && hold != nil {
		select {
		case <-hold:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return l.market.Pull(ctx, after, yield)
}

// newLoad makes the marketplace.
func newLoad() *load {
	l := &load{market: rolegatetest.NewStatic(), changed: map[int64]time.Time{}, wrong: map[string]int{}}
	var all []rolegate.Record
	for i := range int64(perGroup) {
		all = append(all, granted(stays+i), granted(leaves+i))
	}
	l.market.Set(all...)
	return l
}

// granted is a record with the next sequence.
func granted(id int64) rolegate.Record {
	return rolegate.Record{UserID: id, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}
}

// open starts a replica, which requests reach from now on.
func (l *load) open(t testing.TB, client redis.UniversalClient, onDeny rolegate.OnDeny) *replica {
	t.Helper()
	r := &replica{of: l, turned: map[int64]time.Time{}}
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: r, Logger: slog.New(slog.NewTextHandler(&r.log, nil)), OnDeny: onDeny,
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64)
		}),
		Refresh: rolegate.Refresh{Every: loadEvery, ResyncEvery: loadResync, ExpireAfter: loadExpire, StaleAfter: loadExpire},
		Cache:   rediscache.New(rediscache.Config{Client: client, Secret: secret, Lease: loadLease}),
	})
	require.NoError(t, err)
	t.Cleanup(func() { _ = gate.Close() }) // a slow machine takes longer than it waits
	r.Gate, r.admit = gate, gate.Admit(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	l.mu.Lock()
	defer l.mu.Unlock()
	l.replica = append(l.replica, r)
	return r
}

// forget has no requests reach a replica any more.
func (l *load) forget(gone *replica) {
	l.mu.Lock()
	l.replica = slices.DeleteFunc(slices.Clone(l.replica), func(r *replica) bool { return r == gone })
	l.mu.Unlock()
	gone.requests.Wait()
}

// turn is whose the request with that number is.
func (l *load) turn(n int64) *replica {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.replica[n%int64(len(l.replica))]
	r.requests.Add(1)
	return r
}

func (l *load) all() []*replica {
	l.mu.Lock()
	defer l.mu.Unlock()
	return append([]*replica(nil), l.replica...)
}

// A request is the one with that number, and who it is for.
type request struct {
	n  int64
	to *replica
}

// run changes the marketplace and sends requests, until the function is called that
// it returns. What the machine is late with is made up for.
func (l *load) run() (stop func()) {
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	due := make(chan request, loadRate/4) // those above it are left out
	for range loadCallers {
		running.Go(func() {
			c := newCaller()
			for q := range due {
				q.to.ask(c, q.n)
				q.to.requests.Done()
			}
		})
	}
	running.Go(func() {
		defer close(due)
		const every = 10 * time.Millisecond
		tick := time.NewTicker(every)
		defer tick.Stop()
		began := time.Now()
		last, n := began, int64(0)
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			now := time.Now()
			l.mu.Lock()
			l.late, l.lasted = max(l.late, now.Sub(last)-every), now.Sub(began)
			l.mu.Unlock()
			last = now
			for n < int64(now.Sub(began).Seconds()*loadRate) {
				n++
				if n%(loadRate/4) == 0 {
					l.change(n / (loadRate / 4))
				}
				q := request{n, l.turn(n)}
				select {
				case due <- q:
				default:
					q.to.requests.Done()
				}
			}
		}
	})
	return func() {
		cancel()
		running.Wait()
	}
}

// rate is how many requests a second were answered.
func (l *load) rate() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return float64(l.answers) / l.lasted.Seconds()
}

// A caller sends one request after the other, without a connection. It is the
// http.ResponseWriter of its requests.
type caller struct {
	request *http.Request
	user    []string
	header  http.Header
	code    int
	body    bytes.Buffer
}

func newCaller() *caller {
	c := &caller{request: httptest.NewRequest(http.MethodGet, "/", nil), user: []string{""}, header: http.Header{}}
	c.request.Header["X-User-Id"] = c.user
	return c
}

// Header returns the header of the answer.
func (c *caller) Header() http.Header { return c.header }

// WriteHeader notes the status.
func (c *caller) WriteHeader(code int) { c.code = code }

// Write notes the body.
func (c *caller) Write(p []byte) (int, error) { return c.body.Write(p) }

// ask sends the request of a user.
func (c *caller) ask(to http.Handler, user int64) {
	clear(c.header)
	c.body.Reset()
	c.code, c.user[0] = http.StatusOK, strconv.FormatInt(user, 10)
	to.ServeHTTP(c, c.request)
}

// change revokes one user and grants another access.
func (l *load) change(n int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Now()
	if n%2 == 0 {
		l.market.Remove(leaves + n/2)
		l.changed[leaves+n/2] = now
		return
	}
	l.market.Put(granted(comes + n/2))
	l.changed[comes+n/2] = now
}

// ask sends the request number n, and checks the answer.
func (r *replica) ask(c *caller, n int64) {
	group := []int64{stays, stays, leaves, comes, stranger}[n/3%5]
	user := group + n/15%perGroup
	begun := time.Now()
	c.ask(r.admit, user)
	l := r.of
	l.mu.Lock()
	defer l.mu.Unlock()
	l.answers++
	changed, is := l.changed[user]
	r.mu.Lock()
	defer r.mu.Unlock()
	turned, has := r.turned[user]
	before, after := http.StatusForbidden, http.StatusOK
	if group == stays || group == leaves {
		before, after = after, before
	}
	switch {
	case c.code != before && c.code != after:
		l.wrong[fmt.Sprint("answered ", c.code, c.body.String())]++
	case !is && c.code == after:
		l.wrong["decided by what was never so"]++
	case c.code == after:
		if !has {
			r.turned[user] = time.Now()
		}
	case has && turned.Before(begun):
		l.wrong["went back to what was before"]++
	case is && begun.Sub(changed) > shownWithin+links*l.late:
		l.wrong["decided by what was so too long ago"]++
	}
}

// fulls counts the full refreshes that began since then.
func (l *load) fulls(since time.Time) (n int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, at := range l.begun {
		if at.After(since) {
			n++
		}
	}
	return n
}

// holdFulls has full refreshes that begin from now on last until the function is
// called that it returns.
func (l *load) holdFulls() (release func()) {
	hold := make(chan struct{})
	l.mu.Lock()
	defer l.mu.Unlock()
	l.hold = hold
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		l.hold = nil
		close(hold)
	}
}

// inStep waits until all reach Redis and go by one full refresh that began after
// that, and returns how long it took.
func (l *load) inStep(t testing.TB, after time.Time) time.Duration {
	t.Helper()
	begun := time.Now()
	var told strings.Builder
	if !assert.Eventually(t, func() bool {
		told.Reset()
		all, ok := l.all(), true
		first := all[0].Status().Replica.Base
		for _, r := range all {
			s := r.Status().Replica
			fmt.Fprintf(&told, "connected %v, base of %v; ", s.Connected, s.Base)
			ok = ok && s.Connected && s.Base.After(after) && s.Base.Equal(first)
		}
		return ok
	}, time.Minute, 10*time.Millisecond, "not in step") {
		t.Log(told.String())
	}
	return time.Since(begun)
}

// check says what was wrong, and what the replicas have told since they had told so
// many lines.
func (l *load) check(t testing.TB, lines map[*replica]int) {
	t.Helper()
	for i, r := range l.all() {
		told := r.log.all()[lines[r]:]
		assert.LessOrEqual(t, len(told), 10, "the log of replica %d:\n%s", i, strings.Join(told, ""))
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	assert.Empty(t, l.wrong, "of %d answers", l.answers)
}
