package rolegate_test

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// This file is about when a replica goes on alone, and what it knows by then.

// However often changes are pulled, nobody goes on alone before the lease of a
// leader that died has run out.
func TestADeadLeaderIsAwaited(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.config = func(cfg *rolegate.Config) { cfg.Refresh.Every, cfg.Refresh.ResyncEvery = time.Second, 6*time.Second }
		for range 5 {
			g.add()
		}
		g.settle(10 * time.Second)
		require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 4}, g.roles())
		old := g.leader()
		g.caches[old].set(func(c *fakeCache) { c.away = true })
		require.NoError(t, g.gates[old].Close())
		g.gates, g.caches = append(g.gates[:old], g.gates[old+1:]...), append(g.caches[:old], g.caches[old+1:]...)
		for g.settle(100 * time.Millisecond); g.leader() < 0; g.settle(100 * time.Millisecond) {
			require.Zero(t, g.roles()[rolegate.ReplicaStandalone])
		}
		g.settle(time.Minute)
		require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 3}, g.roles())
	})
}

// A leader that is cut off goes on pulling by itself as soon as it has lost its
// lease.
func TestACutOffLeaderGoesOn(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.config = func(cfg *rolegate.Config) { cfg.Refresh.Every = time.Second }
		for range 2 {
			g.add()
		}
		g.settle(10 * time.Second)
		i := g.leader()
		g.caches[i].set(func(c *fakeCache) { c.away = true })
		g.settle(fakeLease + 3*time.Second)
		require.Equal(t, rolegate.ReplicaStandalone, g.gates[i].Status().Replica.Role)
		g.source.Put(record(3))
		g.settle(3 * time.Second)
		require.True(t, g.all(true, 3))
	})
}

// Whoever was about to walk because he had nothing does not, once he has the
// list from the store.
func TestAStartThatIsSlowCostsNoWalk(t *testing.T) {
	t.Parallel()
	inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
		for range 20 {
			g.add()
			g.caches[len(g.caches)-1].set(func(c *fakeCache) { c.broken = errors.New("no") })
		}
		g.settle(6 * time.Second)
		require.Greater(t, g.roles()[rolegate.ReplicaStandalone], 10)
		for _, c := range g.caches {
			c.set(func(c *fakeCache) { c.broken = nil })
		}
		g.settle(2 * time.Second)
		require.True(t, g.all(true, 1))
		before := g.walks()
		g.settle(20 * time.Second)
		require.Equal(t, before, g.walks())
	})
}

// A replica that was alone knows of a role that is gone. The leader's walk is
// later than its own, but has not seen that: it does not bring the role back.
func TestALaterWalkUndoesNoLaterChange(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		i := g.follower()
		alone, lead := g.gates[i], g.gates[1-i]
		teachers := alone.Policy(rolegate.AnyRole("teacher"))
		teaches := func() bool { return teachers.Decide(t.Context(), rolegate.UserID(2), 0).Allowed() }
		require.True(t, teaches())
		g.caches[i].set(func(c *fakeCache) { c.away = true })
		g.settle(20 * time.Second)
		require.Equal(t, rolegate.ReplicaStandalone, alone.Status().Replica.Role)

		g.source.SetDelay(10 * time.Second) // the walk is two pulls: of the list, and of what has changed since
		walked := make(chan error, 1)
		go func() { walked <- lead.RefreshAll(t.Context()) }()
		g.settle(11 * time.Second)
		g.source.Put(record(2, in(7, "pupil")))
		require.NoError(t, alone.Refresh(t.Context()))
		require.NoError(t, <-walked)
		require.False(t, teaches())
		g.source.SetDelay(0)
		g.caches[i].set(func(c *fakeCache) { c.away = false })
		for range 13 * 60 { // it may have walked by itself meanwhile: then it follows from the leader's next walk on
			g.settle(time.Second)
			require.False(t, teaches())
		}
		require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 1}, g.roles())
	})
}

// A replica that was alone may know of later changes than the store, and of
// fewer removals. If it comes to lead, it publishes nothing before it has walked.
func TestALeaderThatKnowsOfFewerRemovals(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		alone, leads := g.follower(), g.leader()
		away := func(i int, away bool) { g.caches[i].set(func(c *fakeCache) { c.away = away }) }
		away(alone, true)
		g.settle(10 * time.Second)
		g.source.Remove(2)
		require.NoError(t, g.gates[leads].RefreshAll(t.Context()))
		g.settle(time.Second)
		away(leads, true)
		g.settle(time.Second)
		require.NoError(t, g.gates[alone].Refresh(t.Context()))
		require.True(t, allowed(g.gates[alone], 2), "it has not walked since")
		release := g.source.Block()
		away(alone, false)
		g.settle(fakeLease + 3*time.Second)
		late := g.add()
		for range 20 {
			g.settle(time.Second)
			require.False(t, allowed(late, 2), "the store has gone back")
		}
		release()
		g.settle(2 * time.Second)
		require.Equal(t, rolegate.ReplicaLeader, g.gates[alone].Status().Replica.Role)
		require.False(t, allowed(g.gates[alone], 2), "a walk was due at once")
		require.Equal(t, rolegate.ReplicaFollower, late.Status().Replica.Role)
	})
}
