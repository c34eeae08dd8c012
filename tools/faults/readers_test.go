package faults_test

import (
	"context"
	"io"
	"net/http"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webSeen is what the Where of a guard has seen of the user.
type webSeen struct{}

// Line 32: a thousand readers ask while lists are published under them. Each
// request must see one generation from beginning to end, and nobody may be off
// the list for a moment.
//
// Generation n grants everybody teacher and homeroom in organisation n and
// nowhere else, so that a request that saw two of them would find the roles in
// two organisations, or none.
func TestFault32ReadersWhileTheIndexIsSwapped(t *testing.T) {
	const readers, users, lists = 1000, 200, 200
	generation := func(n int64) []rolegate.Record {
		all := make([]rolegate.Record, users)
		for i := range all {
			all[i] = webUser(int64(i+1), webIn(n, "teacher"), webIn(n, "homeroom"))
		}
		return all
	}
	source := rolegatetest.NewStatic(generation(1)...)
	gate := webOpen(t, webConfig(source))

	var requests, refused, torn, unlisted atomic.Int64
	guard := gate.Require(rolegate.AllRoles("teacher", "homeroom"),
		rolegate.Where("remembers what it saw", func(u rolegate.User, r *http.Request) bool {
			r.Context().Value(webSeen{}).(*[1]int64)[0] = u.Grants()[0].OrgID
			return true
		}))
	handler := guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		first := u.Grants()
		runtime.Gosched() // for a swap to come in between
		second := u.Grants()
		seen := r.Context().Value(webSeen{}).(*[1]int64)[0]
		if len(first) != 2 || first[0].OrgID != seen || first[1].OrgID != seen ||
			len(second) != 2 || second[0] != first[0] || second[1] != first[1] || !u.HasRoleIn(seen, "teacher") {
			torn.Add(1)
		}
	}))
	policy := gate.Policy(rolegate.AllRoles("teacher", "homeroom"))

	var stop atomic.Bool
	var all sync.WaitGroup
	for reader := range readers {
		all.Go(func() {
			user := int64(reader%users + 1)
			w, r := new(webStatusOnly), webRequest(context.WithValue(t.Context(), webSeen{}, new([1]int64)), user)
			for !stop.Load() {
				if w.ask(handler, r, "X-User-Id", strconv.FormatInt(user, 10)) != http.StatusOK {
					refused.Add(1)
				}
				if !gate.Decide(r.Context(), rolegate.UserID(user)).Allowed() {
					unlisted.Add(1)
				}
				d := policy.Decide(r.Context(), rolegate.UserID(user), 0)
				if gs := d.User.Grants(); !d.Allowed() || len(gs) != 2 || gs[0].OrgID != gs[1].OrgID {
					torn.Add(1)
				}
				requests.Add(1)
				runtime.Gosched()
			}
		})
	}
	for n := range int64(lists) {
		before := requests.Load()
		source.Set(generation(n + 2)...)
		pull := gate.Refresh // by an increment, or by a full refresh
		if n%2 == 1 {
			pull = func(ctx context.Context) error { return gate.RefreshAll(ctx) }
		}
		require.NoError(t, pull(t.Context()))
		if status := gate.Status(); status.Users != users {
			t.Errorf("%d users are listed", status.Users)
		}
		for requests.Load() < before+readers/10 { // some of them between each two lists
			runtime.Gosched()
		}
	}
	stop.Store(true)
	all.Wait()
	assert.GreaterOrEqual(t, gate.Status().Generation, uint64(lists+1))
	assert.Zero(t, refused.Load(), "of %d requests", requests.Load())
	assert.Zero(t, unlisted.Load(), "somebody was off the list for a moment")
	assert.Zero(t, torn.Load(), "a request saw two generations")
}

// Line 34: a caller changes what it got, or what it gave. The index, and what
// others get, must stay as they are.
func TestFault34CallersChangeWhatTheyGot(t *testing.T) {
	t.Parallel()
	want := []rolegate.Grant{webIn(7, "teacher"), webIn(8, "homeroom")}
	check := func(t *testing.T, gate *rolegate.Gate) {
		t.Helper()
		u := gate.Decide(t.Context(), rolegate.UserID(1)).User
		assert.Equal(t, want, u.Grants())
		assert.Equal(t, []int64{7, 8}, u.Orgs())
		assert.True(t, u.HasRole("teacher"))
		assert.True(t, gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(1), 7).Allowed())
		assert.False(t, gate.Policy(rolegate.AnyRole("admin")).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
		assert.False(t, gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(1), 9).Allowed())
	}
	t.Run("the grants and organisations of a User", func(t *testing.T) {
		t.Parallel()
		gate := webGate(t, webUser(1, want...))
		handler := gate.Admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			u, _ := gate.UserFrom(r.Context())
			grants, orgs := u.Grants(), u.Orgs()
			for i := range grants {
				grants[i] = webIn(9, "admin")
			}
			for i := range orgs {
				orgs[i] = 9
			}
			_ = append(grants[:0], webIn(9, "admin"), webIn(9, "admin"))
			assert.Equal(t, want, u.Grants(), "the same User in the same request")
		}))
		assert.Equal(t, 200, webAsk(handler, "GET", "/", 1).Code)
		check(t, gate)
	})
	t.Run("the strings of a User live on after the index is gone", func(t *testing.T) {
		t.Parallel()
		alice := webUser(1, want...)
		alice.Account, alice.Nickname = "alice", "Alice"
		source := rolegatetest.NewStatic(alice)
		cfg := webConfig(source)
		cfg.Keep = keepAll
		gate := webOpen(t, cfg)
		u := gate.Decide(t.Context(), rolegate.UserID(1)).User
		account, nickname := u.Account(), u.Nickname()
		source.Set(webUser(2))
		require.NoError(t, acceptShrink(t.Context(), gate))
		runtime.GC()
		assert.Equal(t, "aliceAlice", account+nickname)
	})
	t.Run("what a source does with a record after yield", func(t *testing.T) {
		t.Parallel()
		gate := webOpen(t, webConfig(webReused{}))
		check(t, gate)
	})
	t.Run("the records that were given to a Static", func(t *testing.T) {
		t.Parallel()
		records := []rolegate.Record{webUser(1, want[0], want[1])}
		source := rolegatetest.NewStatic(records...)
		records[0].Grants[0].RoleCode = "admin"
		gate := webOpen(t, webConfig(source))
		records[0].Grants[1].OrgID = 9
		require.NoError(t, gate.RefreshAll(t.Context()))
		check(t, gate)
	})
	t.Run("the slices of a Change", func(t *testing.T) {
		t.Parallel()
		source := rolegatetest.NewStatic(webUser(2))
		changed := make(chan struct{}, 8)
		cfg := webConfig(source)
		cfg.OnChange = func(c rolegate.Change) {
			for _, changes := range [][]rolegate.UserChange{c.Added, c.Changed, c.Removed} {
				for i := range changes {
					for j := range changes[i].Before {
						changes[i].Before[j] = webIn(9, "admin")
					}
					for j := range changes[i].After {
						changes[i].After[j] = webIn(9, "admin")
					}
					changes[i].UserID = 9
				}
			}
			changed <- struct{}{}
		}
		gate := webOpen(t, cfg)
		source.Put(webUser(1, want[0]))
		require.NoError(t, gate.Refresh(t.Context()))
		<-changed
		source.Put(webUser(1, want...))
		require.NoError(t, gate.Refresh(t.Context()))
		<-changed
		check(t, gate)
		assert.False(t, webAllowed(gate, 9))
	})
	t.Run("the maps of a Status", func(t *testing.T) {
		t.Parallel()
		gate := webGate(t, webUser(1, want...))
		require.True(t, webAllowed(gate, 1))
		status := gate.Status()
		status.Decisions[rolegate.ReasonGranted] = 1000
		status.Failures[marketplace.FailureNetwork] = 1000
		clear(status.Ambiguous)
		assert.EqualValues(t, 1, gate.Status().Decisions[rolegate.ReasonGranted])
		assert.Zero(t, gate.Status().Failures[marketplace.FailureNetwork])
		check(t, gate)
	})
	t.Run("the Config, and the codes of a check", func(t *testing.T) {
		t.Parallel()
		implies := map[string][]string{"teacher": {"reader"}}
		cfg := webConfig(rolegatetest.NewStatic(webUser(1, want...)))
		cfg.Implies = implies
		gate := webOpen(t, cfg)
		codes := []string{"admin"}
		made, admins := rolegate.AnyRole(codes...), gate.Policy(rolegate.AnyRole(codes...))
		implies["teacher"][0] = "admin"
		implies["homeroom"] = []string{"admin"}
		codes[0] = "teacher"
		assert.False(t, admins.Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
		assert.False(t, gate.Policy(made).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
		assert.True(t, gate.Policy(rolegate.AnyRole("reader")).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
		check(t, gate)
	})
}

// webReused is a source that uses the grants of its record again as soon as it
// may.
type webReused struct{}

func (webReused) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	if after > 0 {
		return nil
	}
	r := webUser(1, webIn(7, "teacher"), webIn(8, "homeroom"))
	r.Sequence = 1
	yield(r)
	r.Grants[0], r.Grants[1] = webIn(9, "admin"), webIn(9, "admin")
	return nil
}

// Line 32: a handler that hangs is a reader too. No swap may wait for it, and it
// must end with the generation that it began with.
func TestFault32AHandlerThatHangsHoldsNoSwap(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(webUser(1, webIn(7, "teacher")))
		gate := webOpen(t, webConfig(source))
		leave := make(chan struct{})
		handler := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			u, _ := gate.UserFrom(r.Context())
			<-leave
			_, _ = io.WriteString(w, u.Grants()[0].RoleCode)
		}))
		answer := make(chan string)
		go func() { answer <- webAsk(handler, "GET", "/", 1).Body.String() }()
		synctest.Wait()
		begun := time.Now()
		source.Put(webUser(1, webIn(7, "admin")), webUser(2))
		require.NoError(t, gate.Refresh(t.Context()))
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.Zero(t, time.Since(begun))
		assert.True(t, webAllowed(gate, 2))
		close(leave)
		assert.Equal(t, "teacher", <-answer, "it ends with the generation that it began with")
	})
}
