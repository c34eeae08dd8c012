package rolegate_test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A change at a time, so many that the changes are merged into a new base
// several times: the index says what the list says all along.
func TestIndexFollowsManyChanges(t *testing.T) {
	t.Parallel()
	const users = 20_000
	rnd := rand.New(rand.NewPCG(1, 2))
	list := map[int64]rolegate.Record{}
	var records []rolegate.Record
	for i := range int64(users) {
		r := record(i+1, in(1+rnd.Int64N(50), role(rnd)))
		r.Account = fmt.Sprintf("account-%d", i+1)
		list[r.UserID] = r
		records = append(records, r)
	}
	source := rolegatetest.NewStatic(records...)
	gate := openGate(t, rolegate.Config{Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount}, Keep: rolegate.Keep{Account: true, Nickname: true}})
	checks := map[string]*rolegate.Policy{}
	for _, code := range roleCodes {
		checks[code] = gate.Policy(rolegate.AnyRole(code))
	}
	for range 40 {
		for range 500 {
			id := 1 + rnd.Int64N(users*5/4)
			r := record(id, in(1+rnd.Int64N(50), role(rnd)), in(1+rnd.Int64N(50), role(rnd)))
			r.Account, r.Nickname = fmt.Sprintf("renamed-%d", id), "n"
			list[id] = r
		}
		var changed []rolegate.Record
		for id := range list {
			if list[id].Nickname == "n" {
				r := list[id]
				changed = append(changed, r)
				r.Nickname = "m"
				list[id] = r
			}
		}
		source.Put(changed...)
		require.NoError(t, gate.Refresh(t.Context()))
		require.Equal(t, len(list), gate.Status().Users)
		for range 500 {
			id := 1 + rnd.Int64N(users*5/4)
			want, listed := list[id]
			d := gate.Decide(t.Context(), rolegate.UserID(id))
			require.Equal(t, listed, d.Allowed(), "user %d", id)
			if !listed {
				continue
			}
			require.Equal(t, want.Account, d.User.Account())
			require.Equal(t, id, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, want.Account)).User.ID())
			code := role(rnd)
			has := false
			for _, g := range want.Grants {
				has = has || g.RoleCode == code
			}
			require.Equal(t, has, checks[code].Decide(t.Context(), rolegate.UserID(id), 0).Allowed())
		}
		old := gate.Decide(t.Context(), identityOf(rolegate.KindAccount, fmt.Sprintf("account-%d", changed[0].UserID)))
		require.Equal(t, rolegate.ReasonNotAuthorized, old.Reason, "an account that was given up is nobody's")
	}
	assert.Zero(t, gate.Status().Ambiguous[rolegate.KindAccount])
	before := gate.Status()
	require.NoError(t, gate.RefreshAll(t.Context()))
	assert.Equal(t, before.Users, gate.Status().Users)
	assert.Equal(t, before.Grants, gate.Status().Grants)
	assert.Zero(t, gate.Status().Full.Outcome.Added+gate.Status().Full.Outcome.Removed+gate.Status().Full.Outcome.Changed,
		"the full refresh finds what the increments made")
}

var roleCodes = []string{"teacher", "homeroom", "admin", "principal", "pupil"}

func role(rnd *rand.Rand) string { return roleCodes[rnd.IntN(len(roleCodes))] }

func TestAliases(t *testing.T) {
	t.Parallel()
	named := func(id int64, account string) rolegate.Record {
		return rolegate.Record{UserID: id, Account: account, Grants: []rolegate.Grant{in(7, "teacher")}}
	}
	source := rolegatetest.NewStatic(named(1, "a"), named(2, "b"), named(3, "same"), named(4, "same"), named(5, "same"), named(6, ""))
	gate := openGate(t, rolegate.Config{Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount}})
	reason := func(account string) rolegate.Reason {
		return gate.Decide(t.Context(), identityOf(rolegate.KindAccount, account)).Reason
	}
	check := func(ambiguous int, want map[string]rolegate.Reason) {
		t.Helper()
		for account, r := range want {
			assert.Equal(t, r, reason(account), account)
		}
		assert.Equal(t, ambiguous, gate.Status().Ambiguous[rolegate.KindAccount])
	}
	check(1, map[string]rolegate.Reason{"a": rolegate.ReasonGranted, "same": rolegate.ReasonAmbiguous, "": rolegate.ReasonNoIdentity, "A": rolegate.ReasonNotAuthorized})

	source.Put(named(2, "a")) // b becomes a second a
	require.NoError(t, gate.Refresh(t.Context()))
	check(2, map[string]rolegate.Reason{"a": rolegate.ReasonAmbiguous, "b": rolegate.ReasonNotAuthorized})

	source.Put(named(2, "b"), named(3, "three"), named(4, "four"))
	require.NoError(t, gate.Refresh(t.Context()))
	check(0, map[string]rolegate.Reason{"a": rolegate.ReasonGranted, "b": rolegate.ReasonGranted, "same": rolegate.ReasonGranted, "three": rolegate.ReasonGranted})
	assert.Equal(t, int64(5), gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "same")).User.ID())

	source.Put(named(7, "new"), named(8, "new"), named(9, "same"))
	require.NoError(t, gate.Refresh(t.Context()))
	check(2, map[string]rolegate.Reason{"new": rolegate.ReasonAmbiguous, "same": rolegate.ReasonAmbiguous})

	source.Remove(8, 5)
	require.NoError(t, gate.RefreshAll(t.Context()))
	check(0, map[string]rolegate.Reason{"new": rolegate.ReasonGranted, "same": rolegate.ReasonGranted})
	assert.Equal(t, int64(9), gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "same")).User.ID())
}

// A list in which everybody has the same placeholder for an account must cost
// no more than another, and admit nobody by it.
func TestOnePlaceholderForEverybody(t *testing.T) {
	t.Parallel()
	var records []rolegate.Record
	for i := range int64(100_000) {
		records = append(records, rolegate.Record{UserID: i + 1, Account: "none", ThirdUserID: "0"})
	}
	gate := openGate(t, rolegate.Config{
		Source:  rolegatetest.NewStatic(records...),
		Aliases: []rolegate.Kind{rolegate.KindAccount, rolegate.KindThirdUserID},
	})
	assert.Equal(t, rolegate.ReasonAmbiguous, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "none")).Reason)
	assert.Equal(t, map[rolegate.Kind]int{rolegate.KindAccount: 1, rolegate.KindThirdUserID: 0}, gate.Status().Ambiguous)
}

// Readers while snapshots swap: each sees one generation, in which a user has
// either both roles or none, and never a moment with nobody in the index.
func TestReadersSeeOneGeneration(t *testing.T) {
	t.Parallel()
	list := func(roles ...string) (rs []rolegate.Record) {
		for id := range int64(64) {
			r := record(id + 1)
			for _, code := range roles {
				r.Grants = append(r.Grants, in(7, code))
			}
			rs = append(rs, r)
		}
		return rs
	}
	source := rolegatetest.NewStatic(list("teacher", "homeroom")...)
	for id := range int64(200) { // or it would be everybody who loses everything
		source.Put(record(1000+id, in(7, "teacher"), in(7, "homeroom")))
	}
	gate := openGate(t, rolegate.Config{Source: source})
	both := gate.Policy(rolegate.AllRoles("teacher", "homeroom"))
	none := gate.Policy(rolegate.NoRole("teacher", "homeroom"))

	h := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		if a, b := u.HasRole("teacher"), u.HasRole("homeroom"); a != b {
			t.Errorf("user %d: teacher %v, homeroom %v", u.ID(), a, b)
		}
		if gs := u.Grants(); len(gs) != 0 && len(gs) != 2 {
			t.Errorf("user %d: %v", u.ID(), gs)
		}
	}))
	var readers sync.WaitGroup
	var left atomic.Int64
	left.Store(1000)
	for reader := range 1000 {
		readers.Go(func() {
			defer left.Add(-1)
			id := int64(reader%64 + 1)
			for range 20 {
				if !allowed(gate, id) {
					t.Errorf("user %d was not listed for a moment", id)
					return
				}
				if w := ask(h, "GET", "/", id); w.Code != http.StatusOK {
					t.Errorf("user %d: %d", id, w.Code)
					return
				}
				d := both.Decide(t.Context(), rolegate.UserID(id), 7)
				if !d.Allowed() && d.Reason != rolegate.ReasonRoleMissing {
					t.Errorf("user %d: %v", id, d)
				}
				_ = none.Decide(t.Context(), rolegate.UserID(id), 7)
			}
		})
	}
	for i := 0; i < 10 || left.Load() > 0; i++ {
		if i%2 == 0 {
			source.Put(list()...)
		} else {
			source.Put(list("teacher", "homeroom")...)
		}
		if i%3 == 0 {
			assert.NoError(t, gate.RefreshAll(t.Context()))
		} else {
			assert.NoError(t, gate.Refresh(t.Context()))
		}
	}
	readers.Wait()
	assert.Greater(t, gate.Status().Generation, uint64(5), "there were lists to read through")
}

// Counts, not times: these may be asserted anywhere.
func TestAllocations(t *testing.T) {
	var records []rolegate.Record
	for id := range int64(1000) {
		records = append(records, rolegate.Record{
			UserID: id + 1, Account: fmt.Sprintf("user-%d", id+1), Grants: []rolegate.Grant{in(7, "teacher"), in(8, "admin")},
		})
	}
	source := rolegatetest.NewStatic(records[:900]...)
	gate := openGate(t, rolegate.Config{
		Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount},
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 950, nil }),
	})
	source.Put(records[900:]...)
	require.NoError(t, gate.Refresh(t.Context()))
	simple := gate.Policy(rolegate.AnyRole("teacher", "admin"))
	nested := gate.Policy(rolegate.Either(rolegate.AllRoles("teacher", "admin"), rolegate.NoRole("x"),
		rolegate.Where("w", func(rolegate.User, *http.Request) bool { return true })))
	ctx := t.Context()
	for name, decide := range map[string]func(){
		"in an organisation":  func() { simple.Decide(ctx, rolegate.UserID(5), 7) },
		"in any organisation": func() { simple.Decide(ctx, rolegate.UserID(950), 0) },
		"refused":             func() { simple.Decide(ctx, rolegate.UserID(5), 9) },
		"unknown":             func() { simple.Decide(ctx, rolegate.UserID(5000), 7) },
		"by account":          func() { simple.Decide(ctx, identityOf(rolegate.KindAccount, "user-950"), 8) },
		"nested":              func() { nested.Decide(ctx, rolegate.UserID(5), 7) },
		"admit":               func() { gate.Decide(ctx, rolegate.UserID(5)) },
		"HasRole":             func() { gate.Decide(ctx, rolegate.UserID(5)).User.HasRoleIn(7, "teacher") },
	} {
		assert.Zero(t, testing.AllocsPerRun(100, decide), name)
	}

	bare := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "ok") })
	r := httptest.NewRequest("GET", "/", nil)
	allocations := func(h http.Handler) float64 {
		w := discard{http.Header{}}
		return testing.AllocsPerRun(100, func() { h.ServeHTTP(w, r) })
	}
	guarded := gate.Require(rolegate.AnyRole("teacher"))(bare)
	assert.LessOrEqual(t, allocations(guarded)-allocations(bare), 2.0, "one Require")
}

// discard is a ResponseWriter that costs nothing.
type discard struct{ h http.Header }

func (d discard) Header() http.Header         { return d.h }
func (d discard) Write(p []byte) (int, error) { return len(p), nil }
func (d discard) WriteHeader(int)             {}
