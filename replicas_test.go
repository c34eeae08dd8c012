package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A replicaGroup is gates that share a store and a list.
type replicaGroup struct {
	t      testing.TB
	source *rolegatetest.Static
	store  *fakeStore
	gates  []*rolegate.Gate
	caches []*fakeCache
	config func(*rolegate.Config)
}

// inGroup runs a test in a bubble, with so many replicas that are ready.
func inGroup(t *testing.T, n int, test func(t *testing.T, g *replicaGroup)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		g := &replicaGroup{t: t, source: rolegatetest.NewStatic(record(1, in(7, "admin")), record(2, in(7, "teacher"))), store: newFakeStore()}
		for range n {
			g.add()
		}
		g.settle(time.Second)
		test(t, g)
	})
}

// add starts one more replica.
func (g *replicaGroup) add() *rolegate.Gate {
	g.t.Helper()
	cache := g.store.replica()
	cfg := rolegate.Config{Source: g.source, Cache: cache, StartEmpty: true}
	if g.config != nil {
		g.config(&cfg)
	}
	gate := openGate(g.t, cfg)
	g.gates, g.caches = append(g.gates, gate), append(g.caches, cache)
	return gate
}

// settle lets time go by.
func (g *replicaGroup) settle(d time.Duration) {
	wait(g.t.Context(), d)
	synctest.Wait()
}

// leader is the replica that leads, -1 if none does.
func (g *replicaGroup) leader() int {
	at := -1
	for i, gate := range g.gates {
		if gate.Status().Replica.Role == rolegate.ReplicaLeader {
			assert.Equal(g.t, -1, at, "two lead")
			at = i
		}
	}
	return at
}

// roles are what the replicas say of themselves.
func (g *replicaGroup) roles() (n map[rolegate.ReplicaRole]int) {
	n = map[rolegate.ReplicaRole]int{}
	for _, gate := range g.gates {
		n[gate.Status().Replica.Role]++
	}
	return n
}

// follower is a replica that follows.
func (g *replicaGroup) follower() int {
	for i, gate := range g.gates {
		if gate.Status().Replica.Role == rolegate.ReplicaFollower {
			return i
		}
	}
	g.t.Fatal("nobody follows")
	return -1
}

// all reports whether all replicas say that of a user.
func (g *replicaGroup) all(allow bool, user int64) bool {
	for _, gate := range g.gates {
		if allowed(gate, user) != allow {
			return false
		}
	}
	return true
}

func (g *replicaGroup) walks() int { return g.source.Walks() }

func TestReplicasShareOneWalk(t *testing.T) {
	t.Parallel()
	inGroup(t, 10, func(t *testing.T, g *replicaGroup) {
		require.Equal(t, 1, g.walks())
		require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 9}, g.roles())
		require.True(t, g.all(true, 1))
		require.True(t, g.all(false, 3))
		for _, gate := range g.gates {
			require.Equal(t, rolegate.StateReady, gate.Status().State)
			require.Equal(t, g.gates[0].Status().Users, gate.Status().Users)
		}

		g.settle(time.Hour)
		require.InDelta(t, 7, g.walks(), 1, "one walker")
		require.InDelta(t, 60+g.walks(), g.source.Increments(), 10)
		for _, gate := range g.gates {
			s := gate.Status()
			assert.Less(t, s.ContactAge, 70*time.Second)
			assert.Less(t, s.VerifiedAge, 11*time.Minute+time.Second)
			assert.Zero(t, s.Cache.Failed, s.Cache.Error)
		}
	})
}

func TestAChangeReachesAllReplicas(t *testing.T) {
	t.Parallel()
	inGroup(t, 5, func(t *testing.T, g *replicaGroup) {
		g.source.Put(record(3, in(7, "teacher")))
		require.NoError(t, g.gates[g.leader()].Refresh(t.Context()))
		g.settle(0)
		require.True(t, g.all(true, 3))

		g.source.Remove(3)
		require.NoError(t, g.gates[g.leader()].RefreshAll(t.Context()))
		g.settle(0)
		require.True(t, g.all(false, 3))
	})
}

// What followers want to know at once, the leader finds out.
func TestFollowersAsk(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(g *replicaGroup, follower *rolegate.Gate) error
	}{
		{"Refresh", func(g *replicaGroup, f *rolegate.Gate) error { return f.Refresh(g.t.Context()) }},
		{"a refusal", func(g *replicaGroup, f *rolegate.Gate) error {
			if code := ask(f.Admit(ok(f)), "GET", "/", 3).Code; code != 200 {
				return fmt.Errorf("status %d", code)
			}
			return nil
		}},
		{"RefreshAll", func(g *replicaGroup, f *rolegate.Gate) error { return f.RefreshAll(g.t.Context()) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 5, func(t *testing.T, g *replicaGroup) {
				g.source.Put(record(3, in(7, "teacher")))
				before := g.walks()
				require.NoError(t, c.do(g, g.gates[g.follower()]))
				g.settle(0)
				require.True(t, g.all(true, 3))
				require.LessOrEqual(t, g.walks()-before, 1)
				require.Equal(t, 1, g.roles()[rolegate.ReplicaLeader])
				require.Equal(t, 4, g.roles()[rolegate.ReplicaFollower])
			})
		})
	}
}

func TestAResyncOnAFollowerSeesRemovals(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		g.source.Remove(2)
		require.NoError(t, g.gates[g.follower()].RefreshAll(t.Context()))
		g.settle(0)
		require.True(t, g.all(false, 2))

		g.source.Remove(1)
		g.settle(time.Minute)
		require.ErrorIs(t, g.gates[g.follower()].RefreshAll(t.Context()), rolegate.ErrHeld)
		g.settle(0) // until the others have heard of it
		require.True(t, g.all(true, 1))
		for _, gate := range g.gates {
			require.Equal(t, 1, gate.Status().Held.Users)
		}
		require.NoError(t, acceptShrink(t.Context(), g.gates[g.follower()]))
		g.settle(0)
		require.True(t, g.all(false, 1))
	})
}

func TestAFailedPullIsToldToWhoAsked(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		g.source.Fail(&rolegate.PullError{Failure: marketplace.FailureUpstream, Err: errors.New("out of order")})
		err := g.gates[g.follower()].RefreshAll(t.Context())
		var pe *rolegate.PullError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, marketplace.FailureUpstream, pe.Failure)
		require.ErrorContains(t, err, "out of order")
		require.True(t, g.all(true, 1))
	})
}

func TestALeaderThatGoesIsReplaced(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		leave  func(g *replicaGroup, leader int)
		within time.Duration
	}{
		{"it is closed", func(g *replicaGroup, i int) { require.NoError(g.t, g.gates[i].Close()) }, 2 * time.Second},
		{"it is cut off", func(g *replicaGroup, i int) { g.caches[i].set(func(c *fakeCache) { c.away = true }) }, fakeLease + 2*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 5, func(t *testing.T, g *replicaGroup) {
				old := g.leader()
				term := g.gates[old].Status().Replica.Term
				g.source.Put(record(3))
				c.leave(g, old)
				g.settle(c.within)
				next := g.leader()
				require.NotEqual(t, -1, next)
				require.NotEqual(t, old, next)
				require.Equal(t, term+1, g.gates[next].Status().Replica.Term)
				require.Equal(t, 1, g.walks(), "nobody walks anew for that")
				g.settle(70 * time.Second)
				g.gates, g.caches = append(g.gates[:old], g.gates[old+1:]...), append(g.caches[:old], g.caches[old+1:]...)
				require.True(t, g.all(true, 3))
			})
		})
	}
}

// Whatever becomes of the store, requests are answered, ages are true, and
// nobody who was removed comes back.
func TestTheStoreGoesWrong(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wrong func(g *replicaGroup) (mend func())
		alone bool // whether replicas go on alone meanwhile
	}{
		{"away", func(g *replicaGroup) func() {
			for _, c := range g.caches {
				c.set(func(c *fakeCache) { c.away = true })
			}
			return func() {
				for _, c := range g.caches {
					c.set(func(c *fakeCache) { c.away = false })
				}
			}
		}, true},
		{"broken", func(g *replicaGroup) func() {
			for _, c := range g.caches {
				c.set(func(c *fakeCache) { c.broken = errors.New("no") })
			}
			return func() {
				for _, c := range g.caches {
					c.set(func(c *fakeCache) { c.broken = nil })
				}
			}
		}, true},
		{"slow", func(g *replicaGroup) func() {
			for _, c := range g.caches {
				c.set(func(c *fakeCache) { c.slow = 500 * time.Millisecond })
			}
			return func() {
				for _, c := range g.caches {
					c.set(func(c *fakeCache) { c.slow = 0 })
				}
			}
		}, false},
		{"restarted empty", func(g *replicaGroup) func() { g.store.flush(); return func() {} }, false},
		{"its clock put back an hour", func(g *replicaGroup) func() {
			g.store.do(func(s *fakeStore) { s.offset -= time.Hour })
			return func() {}
		}, false},
		{"its clock put forward an hour", func(g *replicaGroup) func() {
			g.store.do(func(s *fakeStore) { s.offset += time.Hour })
			return func() {}
		}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 6, func(t *testing.T, g *replicaGroup) {
				g.source.Remove(2)
				require.NoError(t, g.gates[g.follower()].RefreshAll(t.Context()))
				g.settle(time.Minute)
				mend := c.wrong(g)
				g.settle(30 * time.Second)
				if c.alone {
					require.Equal(t, 6, g.roles()[rolegate.ReplicaStandalone], g.roles())
				}
				g.source.Put(record(3))
				g.settle(130 * time.Second)
				require.True(t, g.all(true, 3))
				require.True(t, g.all(false, 2))
				late := g.add()
				g.settle(20 * time.Second)
				require.True(t, allowed(late, 3))
				mend()
				g.settle(3 * time.Minute)
				g.source.Put(record(4))
				g.settle(70 * time.Second)
				require.True(t, g.all(true, 4))
				g.settle(11 * time.Minute)
				require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 6}, g.roles())
				for _, gate := range g.gates {
					require.Less(t, gate.Status().VerifiedAge, 11*time.Minute+10*time.Second)
				}
			})
		})
	}
}

func TestAnOlderBackupOfTheStore(t *testing.T) {
	t.Parallel()
	inGroup(t, 4, func(t *testing.T, g *replicaGroup) {
		restore := g.store.backUp()
		g.source.Remove(2)
		require.NoError(t, g.gates[g.follower()].RefreshAll(t.Context()))
		g.settle(0)
		require.True(t, g.all(false, 2))
		restore()
		for range 120 {
			g.settle(time.Second)
			require.True(t, g.all(false, 2), "a removal was undone")
		}
		require.Equal(t, map[rolegate.ReplicaRole]int{rolegate.ReplicaLeader: 1, rolegate.ReplicaFollower: 3}, g.roles())
	})
}

// A leader that was paused for longer than its lease does not publish what it
// has.
func TestALeaderThatWasPaused(t *testing.T) {
	t.Parallel()
	inGroup(t, 4, func(t *testing.T, g *replicaGroup) {
		old := g.leader()
		g.caches[old].set(func(c *fakeCache) { c.away = true })
		g.settle(fakeLease + 2*time.Second)
		next := g.leader()
		require.NotEqual(t, old, next)
		g.source.Remove(2)
		require.NoError(t, g.gates[next].RefreshAll(t.Context()))
		g.caches[old].set(func(c *fakeCache) { c.away = false })
		g.settle(10 * time.Second)
		require.True(t, g.all(false, 2))
		require.Equal(t, next, g.leader())
		require.Equal(t, 3, g.roles()[rolegate.ReplicaFollower], g.roles())
	})
}

// 200 replicas that restart at once cost the marketplace two walks at most.
func TestAllReplicasRestartAtOnce(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint("the store keeps the index: ", kept), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
				g.source.SetDelay(30 * time.Second)
				require.NoError(t, g.gates[0].Close())
				if !kept {
					g.store.flush()
				}
				g.gates, g.caches = nil, nil
				before := g.walks()
				n := 200
				if simUnderRaceDetector() { // it has a limit of its own, not far above
					n = 12
				}
				for range n {
					g.add()
				}
				g.settle(time.Minute)
				require.LessOrEqual(t, g.walks()-before, 2)
				require.True(t, g.all(true, 1))
			})
		})
	}
}

// A leader with a fast clock makes nobody's index look young, nor one with a
// slow clock too old.
func TestAgesAreTrueWhateverTheClocks(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{-24 * time.Hour, -time.Minute, time.Minute, 24 * time.Hour} {
		t.Run(wrong.String(), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
				g.config = func(cfg *rolegate.Config) {
					if len(g.gates) > 0 {
						return
					}
					*cfg = rolegate.WithClock(*cfg, func() (mono, wall int64) {
						mono, wall = rolegate.ReadClock()
						return mono, wall + int64(wrong)
					})
				}
				g.add()
				g.settle(time.Second)
				require.Equal(t, 0, g.leader())
				g.add()
				for range 30 {
					g.settle(30 * time.Second)
					lead, follow := g.gates[0].Status(), g.gates[1].Status()
					require.InDelta(t, lead.VerifiedAge, follow.VerifiedAge, float64(time.Millisecond))
					require.InDelta(t, lead.ContactAge, follow.ContactAge, float64(time.Millisecond))
				}
			})
		})
	}
}

// An app that keeps other strings cannot use the others' index.
func TestJoin(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	lists := map[string]bool{}
	for _, keep := range []rolegate.Keep{{}, {Account: true}} {
		cache := store.replica()
		openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: cache, Keep: keep, StartEmpty: true})
		lists[cache.list] = true
		_, err := rolegate.Open(context.Background(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(), Cache: cache}))
		require.ErrorContains(t, err, "Cache: it serves a gate already")
	}
	require.Len(t, lists, 2)
}

// What followers are told of a walk does not change with each contact that
// comes after it: else they would take a later list for an older one.
func TestAgesStayTheSameForLong(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		follower := g.gates[g.follower()]
		verified := follower.Status().Verified
		for i := range 100 {
			for _, c := range g.caches {
				c.set(func(c *fakeCache) { c.slow = time.Duration(i%7) * time.Millisecond })
			}
			require.NoError(t, follower.Refresh(t.Context()))
			require.Equal(t, verified, follower.Status().Verified)
			require.Equal(t, rolegate.ReplicaFollower, follower.Status().Replica.Role, i)
			g.settle(3 * time.Second)
		}
	})
}

// Whatever the network takes makes a list older, never younger.
func TestAgesAreTrueWhateverTheNetwork(t *testing.T) {
	t.Parallel()
	slow := []time.Duration{0, time.Millisecond, 100 * time.Millisecond, 700 * time.Millisecond}
	for _, leader := range slow {
		for _, follower := range slow {
			t.Run(fmt.Sprint("leader ", leader, ", follower ", follower), func(t *testing.T) {
				t.Parallel()
				inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
					g.caches[0].set(func(c *fakeCache) { c.slow = leader })
					follows := g.add()
					g.caches[1].set(func(c *fakeCache) { c.slow = follower })
					for range 40 {
						g.settle(31 * time.Second)
						truth, told := g.gates[0].Status(), follows.Status()
						require.GreaterOrEqual(t, told.VerifiedAge, truth.VerifiedAge)
						require.GreaterOrEqual(t, told.ContactAge, truth.ContactAge)
						if onTheWay := 20 * (leader + follower); truth.VerifiedAge > onTheWay {
							require.LessOrEqual(t, told.VerifiedAge, truth.VerifiedAge+onTheWay)
						}
					}
				})
			})
		}
	}
}
