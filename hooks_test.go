package rolegate_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestOnChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		changes := make(chan rolegate.Change, 10)
		source := rolegatetest.NewStatic(users(30)...)
		gate := openGate(t, rolegate.Config{Source: source, OnChange: func(c rolegate.Change) { changes <- c }})
		synctest.Wait()
		require.Empty(t, changes, "the first list is no change")

		after(time.Second)
		source.Put(record(40, in(8, "admin"), in(7, "teacher")), record(1, in(7, "admin")), record(2, in(7, "teacher")))
		require.NoError(t, gate.Refresh(t.Context()))
		c := <-changes
		assert.Equal(t, rolegate.Change{
			Time: c.Time, Generation: 2,
			Added:   []rolegate.UserChange{{UserID: 40, After: []rolegate.Grant{in(7, "teacher"), in(8, "admin")}}},
			Changed: []rolegate.UserChange{{UserID: 1, Before: []rolegate.Grant{in(7, "teacher")}, After: []rolegate.Grant{in(7, "admin")}}},
		}, c, "user 2 was sent again, but is as before")
		assert.WithinDuration(t, time.Now(), c.Time, time.Second)

		source.Remove(40, 3)
		require.NoError(t, gate.RefreshAll(t.Context()))
		c = <-changes
		assert.True(t, c.Full)
		assert.Equal(t, []rolegate.UserChange{
			{UserID: 3, Before: []rolegate.Grant{in(7, "teacher")}},
			{UserID: 40, Before: []rolegate.Grant{in(7, "teacher"), in(8, "admin")}},
		}, c.Removed)

		require.NoError(t, gate.RefreshAll(t.Context()))
		require.NoError(t, gate.Refresh(t.Context()))
		synctest.Wait()
		assert.Empty(t, changes, "a refresh that changed nothing is no change")
	})
}

// A hook that blocks for a minute, or panics, holds up no refresh and no request.
func TestHooksHoldNothingUp(t *testing.T) {
	t.Parallel()
	t.Run("OnChange that blocks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			source := rolegatetest.NewStatic(users(30)...)
			gate := openGate(t, rolegate.Config{Source: source, OnChange: func(rolegate.Change) { <-release }})
			begun := time.Now()
			for id := int64(100); id < 200; id++ {
				source.Put(record(id))
				require.NoError(t, gate.Refresh(t.Context()))
			}
			assert.Zero(t, time.Since(begun))
			assert.EqualValues(t, 100-64-1, gate.Status().DroppedChanges)
			close(release)
		})
	})
	t.Run("OnDecision that blocks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(users(1)...), OnDeny: rolegate.OnDeny{Off: true},
				OnDecision: func(rolegate.DecisionEvent) { <-release }})
			begun := time.Now()
			for range 2000 {
				assert.Equal(t, 403, ask(gate.Admit(ok(gate)), "GET", "/", 9).Code)
			}
			assert.Zero(t, time.Since(begun))
			assert.InDelta(t, 2000-1024, gate.Status().DroppedDecisions, 1)
			close(release)
		})
	})
	t.Run("hooks that panic", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var book logBook
			var calls atomic.Int64
			source := rolegatetest.NewStatic(users(1)...)
			gate := openGate(t, rolegate.Config{
				Source: source, Logger: book.logger(), OnDeny: rolegate.OnDeny{Off: true},
				OnChange:   func(rolegate.Change) { calls.Add(1); panic("alice@example.com") },
				OnDecision: func(rolegate.DecisionEvent) { calls.Add(1); panic("alice@example.com") },
			})
			for id := int64(2); id < 5; id++ {
				ask(gate.Admit(ok(gate)), "GET", "/", id)
				source.Put(record(id))
				require.NoError(t, gate.Refresh(t.Context()))
				assert.True(t, allowed(gate, id))
			}
			synctest.Wait()
			assert.EqualValues(t, 6, calls.Load())
			assert.Len(t, book.lines("rolegate: a hook panicked"), 6)
			assert.NotContains(t, book.String(), "alice")
		})
	})
}

func TestOnDecision(t *testing.T) {
	t.Parallel()
	decide := func(t *testing.T, sample float64, act func(gate *rolegate.Gate)) (events []rolegate.DecisionEvent) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			got := make(chan rolegate.DecisionEvent, 2000)
			gate := openGate(t, rolegate.Config{
				Source: rolegatetest.NewStatic(users(3)...), OnDeny: rolegate.OnDeny{Off: true},
				OnDecision: func(e rolegate.DecisionEvent) { got <- e }, SampleGrants: sample,
			})
			act(gate)
			synctest.Wait()
			close(got)
			for e := range got {
				events = append(events, e)
			}
		})
		return events
	}
	t.Run("denials always", func(t *testing.T) {
		t.Parallel()
		events := decide(t, 0, func(gate *rolegate.Gate) {
			mux := http.NewServeMux()
			mux.Handle("GET /orgs/{orgID}", gate.Require(rolegate.AnyRole("admin"), rolegate.InOrg(rolegate.PathOrg("orgID")))(ok(gate)))
			mux.Handle("GET /shadow", gate.Require(rolegate.AnyRole("admin"), rolegate.Shadow())(ok(gate)))
			ask(mux, "GET", "/orgs/7", 1)
			ask(mux, "GET", "/orgs/7", 9)
			ask(mux, "GET", "/shadow", 1)
			ask(gate.Admit(ok(gate)), "GET", "/", 1)
			gate.Policy(rolegate.AnyRole("admin")).Decide(context.Background(), rolegate.UserID(2), 8)
		})
		require.Len(t, events, 4)
		for i, e := range events {
			assert.Equal(t, i < 2, e.DecisionID != "", "a refused client was told an id")
			assert.False(t, e.Time.IsZero())
			events[i].Time, events[i].DecisionID = time.Time{}, ""
		}
		assert.Equal(t, []rolegate.DecisionEvent{
			{Reason: rolegate.ReasonRoleMissing, UserID: 1, Identity: rolegate.KindUserID, Org: 7, Method: "GET", Route: "GET /orgs/{orgID}", Guard: "AnyRole(admin) + InOrg"},
			{Reason: rolegate.ReasonNotAuthorized, UserID: 9, Identity: rolegate.KindUserID, Method: "GET", Route: "GET /orgs/{orgID}", Guard: "AnyRole(admin) + InOrg"},
			{Reason: rolegate.ReasonRoleMissing, Shadowed: true, UserID: 1, Identity: rolegate.KindUserID, Method: "GET", Route: "GET /shadow", Guard: "AnyRole(admin)"},
			{Reason: rolegate.ReasonRoleMissing, UserID: 2, Identity: rolegate.KindUserID, Org: 8, Guard: "AnyRole(admin)"},
		}, events)
		assert.True(t, events[2].Allowed())
		assert.False(t, events[0].Allowed())
	})
	for name, c := range map[string]struct {
		sample   float64
		min, max int
	}{"none": {0, 0, 0}, "all": {1, 1000, 1000}, "a tenth": {0.1, 40, 200}} {
		t.Run("grants: "+name, func(t *testing.T) {
			t.Parallel()
			events := decide(t, c.sample, func(gate *rolegate.Gate) {
				for range 1000 {
					gate.Decide(context.Background(), rolegate.UserID(1))
				}
			})
			assert.GreaterOrEqual(t, len(events), c.min)
			assert.LessOrEqual(t, len(events), c.max)
		})
	}
}

func TestUnassignedRoles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2, in(7, "admin")))
		cfg := quiet(rolegate.Config{
			Source: source, Logger: book.logger(), StartEmpty: true,
			Implies: map[string][]string{"admin": {"auditor"}},
			RoleCodes: func(context.Context) ([]string, error) {
				return []string{"teacher", "admin", "principal", "janitor"}, nil
			},
		})
		source.SetDelay(time.Second)
		gate := openGate(t, cfg)
		gate.Require(rolegate.AnyRole("teahcer", "auditor"), rolegate.Either(rolegate.NoRole("principal"), rolegate.AllRoles("teacher", "云")))
		assert.Empty(t, gate.Status().UnassignedRoles, "nothing is known before the first list")
		after(2 * time.Second)
		assert.Equal(t, []rolegate.UnassignedRole{
			{Code: "principal", Known: true},
			{Code: "teahcer", Nearest: "teacher"},
			{Code: "云"},
		}, gate.Status().UnassignedRoles)
		typos := book.lines("rolegate: a check names a role that nobody holds: is it a typo?")
		require.Len(t, typos, 2)
		assert.Equal(t, "teahcer", typos[0]["role"])
		assert.Equal(t, "teacher", typos[0]["nearest"])
		assert.Equal(t, "云", typos[1]["role"])
		assert.NotContains(t, typos[1], "nearest")
		assert.Contains(t, typos[1]["codes"], "teacher")
		assert.Len(t, book.lines("rolegate: a check names a role that nobody holds yet"), 1)

		source.Put(record(3, in(7, "principal")))
		after(time.Hour)
		assert.Len(t, gate.Status().UnassignedRoles, 2)
		assert.Len(t, book.lines("rolegate: a check names a role that nobody holds: is it a typo?"), 2, "said once")
	})
}

// An app makes its guards when Open has returned: a typo in one is told at once,
// not after the next full refresh.
func TestUnassignedRolesOfGuardsMadeLater(t *testing.T) {
	t.Parallel()
	const typo = "rolegate: a check names a role that nobody holds: is it a typo?"
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
		gate := openGate(t, quiet(rolegate.Config{Source: source, Logger: book.logger()}))
		synctest.Wait() // the full refresh is over: its end tells of roles too
		pulls := source.FullRefreshes() + source.IncrementalRefreshes()
		gate.Require(rolegate.AnyRole("techer"))
		gate.Require(rolegate.AnyRole("teacher", "techer"))
		after(time.Second / 2)
		gate.Require(rolegate.NoRole("banned"))
		assert.Empty(t, book.lines(typo), "the app is still making its guards")
		after(time.Second)
		typos := book.lines(typo)
		require.Len(t, typos, 2)
		assert.Equal(t, "banned", typos[0]["role"])
		assert.Equal(t, "techer", typos[1]["role"])
		assert.Equal(t, "teacher", typos[1]["nearest"])
		assert.Equal(t, pulls, source.FullRefreshes()+source.IncrementalRefreshes(), "without a refresh")

		gate.Require(rolegate.AnyRole("techer"))
		after(2 * time.Second)
		assert.Len(t, book.lines(typo), 2, "said once")
		gate.Require(rolegate.AnyRole("tacher"))
		after(2 * time.Second)
		assert.Len(t, book.lines(typo), 3)
	})
}

// Codes are no typos while the platform has not answered yet whether it knows them.
func TestUnassignedRolesWaitForThePlatform(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
		source.SetDelay(time.Second / 2)
		gate := openGate(t, quiet(rolegate.Config{
			Source: source, Logger: book.logger(), StartEmpty: true,
			RoleCodes: func(context.Context) ([]string, error) {
				<-time.After(5 * time.Second)
				return []string{"teacher", "principal"}, nil
			},
		}))
		gate.Require(rolegate.AnyRole("principal"))
		after(10 * time.Second)
		assert.Len(t, book.lines("rolegate: a check names a role that nobody holds yet"), 1)
		assert.Empty(t, book.lines("rolegate: a check names a role that nobody holds: is it a typo?"))
	})
}
