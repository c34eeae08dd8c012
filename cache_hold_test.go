package rolegate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Removals that are held back outlive a restart with all that is known of them.
func TestRestartKeepsHolds(t *testing.T) {
	t.Parallel()
	syncs := func(s *syncing) func(*rolegate.Config) {
		return func(c *rolegate.Config) { c.UpstreamSync = s }
	}
	for name, f := range map[string]func(*testing.T, *rolegatetest.Static, *memoryCache, opener){
		"by the shrink guard": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			gate := open()
			after(5 * minutes)
			source.Set(append(users(10), named(200))...)
			refreshAll(t, gate)
			before := gate.Status()
			require.Equal(t, 90, before.Held.Users)
			source.Fail(errAway)
			gate = open()
			s := gate.Status()
			assert.Equal(t, before.Held, s.Held)
			assert.Equal(t, before.Verified, s.Verified, "of the full refresh before: this one is not applied")
			assert.NotEqual(t, s.Verified, s.Contact)
			assert.Equal(t, 101, s.Users)
			d := gate.Decide(t.Context(), rolegate.UserID(50))
			assert.True(t, d.Allowed())
			assert.True(t, d.Held)
			assert.False(t, gate.Decide(t.Context(), rolegate.UserID(1)).Held)
			after(time.Minute)
			young := gate.Policy(rolegate.AnyRole("teacher"), rolegate.MaxAge(2*minutes))
			assert.Equal(t, rolegate.ReasonGranted, young.Decide(t.Context(), rolegate.UserID(1), 0).Reason, "the full refresh a minute ago has seen this user")
			assert.Equal(t, rolegate.ReasonTooOld, young.Decide(t.Context(), rolegate.UserID(50), 0).Reason)
		},
		"the first full refresh does not confirm at once": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			gate := open()
			source.Set(users(10)...)
			refreshAll(t, gate)
			first := gate.Status().Held.Since
			for range 5 { // nor do five restarts
				after(10 * time.Second)
				gate = open()
				after(0)
				assert.Equal(t, 100, listed(gate, 100))
				assert.Equal(t, first, gate.Status().Held.Since, "nor is the wait begun anew")
			}
			took := until(t, 16*minutes, func() bool { return listed(gate, 100) == 10 })
			assert.InDelta(t, 15*minutes, time.Minute+took, float64(2*time.Minute), "a quarter of an hour after the first, when three have agreed")
		},
		"the log is told of their end": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			gate := open()
			source.Set(users(10)...)
			refreshAll(t, gate)
			source.Set(users(100)...)
			var book logBook
			open(func(c *rolegate.Config) { c.Logger = book.logger() })
			after(0)
			require.Len(t, book.lines("rolegate: started from the stored index"), 1)
			assert.EqualValues(t, 90, book.lines("rolegate: started from the stored index")[0]["held"])
			assert.Len(t, book.lines("rolegate: no removals are held any more"), 1)
		},
		"the shrink guard counts from the stored list": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			open()
			source.Set(users(10)...)
			gate := open()
			after(0)
			assert.Equal(t, 100, listed(gate, 100), "although this process has never seen them listed")
			assert.Equal(t, "shrink_guard", gate.Status().Held.Cause)
			after(18 * minutes)
			assert.Equal(t, 10, listed(gate, 100))
		},
		"one who comes back is held no more": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			gate := open()
			source.Set(users(10)...)
			refreshAll(t, gate)
			after(10 * time.Second)
			source.Put(record(50, in(7, "teacher")))
			require.NoError(t, gate.Refresh(t.Context()))
			source.Fail(errAway)
			gate = open()
			assert.Equal(t, 89, gate.Status().Held.Users)
			assert.False(t, gate.Decide(t.Context(), rolegate.UserID(50)).Held)
		},
		"by a sync, for SyncHold from the first": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			sync := &syncing{}
			sync.set(rolegate.SyncRunning)
			gate := open(syncs(sync))
			source.Remove(100)
			refreshAll(t, gate)
			after(10 * minutes)
			source.Remove(99)
			refreshAll(t, gate)
			source.Put(record(100, in(7, "teacher"))) // the first user who was held is back
			require.NoError(t, gate.Refresh(t.Context()))
			require.Equal(t, 1, gate.Status().Held.Users)
			for range 3 {
				after(6 * minutes)
				gate = open(syncs(sync))
				after(0)
				assert.True(t, allowed(gate, 99))
				assert.Equal(t, "sync", gate.Status().Held.Cause)
			}
			after(110 * time.Second)
			assert.True(t, allowed(gate, 99))
			after(30 * time.Second)
			assert.False(t, allowed(gate, 99), "restarts do not begin the half hour anew")
		},
		"by a sync that has ended meanwhile": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			sync := &syncing{}
			sync.set(rolegate.SyncRunning)
			gate := open(syncs(sync))
			source.Remove(100)
			refreshAll(t, gate)
			sync.set(rolegate.SyncDone)
			gate = open(syncs(sync))
			after(0)
			assert.False(t, allowed(gate, 100))
		},
		"by a sync that nobody asks about any more": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			sync := &syncing{}
			sync.set(rolegate.SyncRunning)
			gate := open(syncs(sync))
			source.Remove(100)
			refreshAll(t, gate)
			gate = open()
			after(0)
			assert.False(t, allowed(gate, 100))
			assert.Zero(t, gate.Status().Held)
		},
		"a bad record denies at once": func(t *testing.T, source *rolegatetest.Static, _ *memoryCache, open opener) {
			gate := open()
			source.Set(users(10)...)
			refreshAll(t, gate)
			source.Put(rolegate.Record{UserID: 50, Bad: errors.New("unreadable")})
			gate = open()
			after(0)
			assert.False(t, allowed(gate, 50), "although the removal was held")
			assert.True(t, allowed(gate, 51))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestarts(t, f)
		})
	}
}
