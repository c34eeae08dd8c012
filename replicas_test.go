package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
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
		g.source.SetDelay(time.Millisecond) // no two refreshes begin at the same instant
		for range n {
			g.add()
		}
		g.settle(3 * time.Second)
		test(t, g)
	})
}

// add starts one more replica.
func (g *replicaGroup) add() *rolegate.Gate {
	g.t.Helper()
	cache := g.store.replica()
	cfg := rolegate.Config{Source: g.source, Cache: fakeShared{cache}, StartEmpty: true}
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

// away cuts a replica off from the store, or connects it again.
func (g *replicaGroup) away(i int, away bool) {
	g.caches[i].set(func(c *fakeCache) { c.away = away })
}

// kill ends a replica that cannot give its leases back.
func (g *replicaGroup) kill(i int) {
	g.caches[i].set(func(c *fakeCache) { c.broken = errCutOff })
	require.NoError(g.t, g.gates[i].Close())
	g.gates, g.caches = append(g.gates[:i], g.gates[i+1:]...), append(g.caches[:i], g.caches[i+1:]...)
}

// connected counts the replicas that reach the store.
func (g *replicaGroup) connected() (n int) {
	for _, gate := range g.gates {
		if gate.Status().Replica.Connected {
			n++
		}
	}
	return n
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

func TestReplicasShareRefreshes(t *testing.T) {
	t.Parallel()
	inGroup(t, 10, func(t *testing.T, g *replicaGroup) {
		require.Equal(t, 1, g.source.FullRefreshes())
		require.True(t, g.all(true, 1))
		require.True(t, g.all(false, 3))
		for _, gate := range g.gates {
			require.Equal(t, rolegate.StateReady, gate.Status().State)
			require.Equal(t, g.gates[0].Status().Users, gate.Status().Users)
		}
		g.settle(time.Hour)
		assert.InDelta(t, 7, g.source.FullRefreshes(), 1.5)
		assert.InDelta(t, 62, g.source.IncrementalRefreshes(), 12)
		_, wrote := g.store.counts()
		assert.Equal(t, 1, wrote, "a list that has not changed is written once")
		for _, gate := range g.gates {
			s := gate.Status()
			assert.Less(t, s.ContactAge, 100*time.Second)
			assert.Less(t, s.VerifiedAge, 14*time.Minute)
			assert.Zero(t, s.Cache.Failed, s.Cache.Error)
		}
	})
}

// At rest a replica asks how things stand about once a second.
func TestReplicasAtRest(t *testing.T) {
	t.Parallel()
	inGroup(t, 4, func(t *testing.T, g *replicaGroup) {
		before, _ := g.store.counts()
		g.settle(10 * time.Minute)
		calls, _ := g.store.counts()
		require.LessOrEqual(t, float64(calls-before)/600/4, 1.5)
	})
}

// What one replica has read, the others know within three seconds.
func TestAChangeReachesAllReplicas(t *testing.T) {
	t.Parallel()
	for name, refresh := range map[string]func(*rolegate.Gate, context.Context) error{
		"incremental": (*rolegate.Gate).Refresh,
		"full":        (*rolegate.Gate).RefreshAll,
		"a refusal": func(g *rolegate.Gate, _ context.Context) error {
			if code := ask(g.Admit(ok(g)), "GET", "/", 3).Code; code != 200 {
				return fmt.Errorf("status %d", code)
			}
			return nil
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 5, func(t *testing.T, g *replicaGroup) {
				g.settle(5 * time.Second)
				g.source.Put(record(3, in(7, "teacher")))
				before := g.source.FullRefreshes() + g.source.IncrementalRefreshes()
				began := time.Now()
				require.NoError(t, refresh(g.gates[3], t.Context()))
				require.True(t, allowed(g.gates[3], 3))
				require.Less(t, time.Since(began), 2*time.Second)
				g.settle(3 * time.Second)
				require.True(t, g.all(true, 3))
				require.LessOrEqual(t, g.source.FullRefreshes()+g.source.IncrementalRefreshes()-before, 2)
			})
		})
	}
}

func TestRemovalsReachAllReplicas(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		g.source.Remove(2)
		require.NoError(t, g.gates[1].RefreshAll(t.Context()))
		require.False(t, allowed(g.gates[1], 2))
		g.settle(3 * time.Second)
		require.True(t, g.all(false, 2))

		// What is held is held everywhere, and accepted anywhere.
		g.source.Remove(1)
		g.settle(time.Minute)
		require.ErrorIs(t, g.gates[1].RefreshAll(t.Context()), rolegate.ErrHeld)
		g.settle(3 * time.Second)
		require.True(t, g.all(true, 1))
		for _, gate := range g.gates {
			require.Equal(t, 1, gate.Status().Held.Users)
		}
		require.NoError(t, acceptShrink(t.Context(), g.gates[2]))
		g.settle(3 * time.Second)
		require.True(t, g.all(false, 1))
	})
}

// Who was changed last and is gone may be on a server that lags behind. Whichever
// replicas make the full refreshes, the second decides; and one that somebody asks for
// does at once.
func TestWhoeverWasChangedLastIsGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		every, within time.Duration // between full refreshes, and until all know it
		ask           bool
	}{
		"two full refreshes agree": {time.Minute, 2 * time.Minute, false},
		"they are often":           {5 * time.Second, 40 * time.Second, false},
		"somebody asks for one":    {10 * time.Minute, 3 * time.Second, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
				g.config = func(cfg *rolegate.Config) { cfg.Refresh.ResyncEvery = c.every }
				for range 3 {
					g.add()
				}
				g.settle(c.every * 9 / 10)
				for id := int64(3); id < 6; id++ {
					g.source.Put(record(id, in(7, "teacher")))
					require.NoError(t, g.gates[id%3].Refresh(t.Context()))
					for begun := time.Now(); !g.all(true, id); { // if a full refresh has just begun: with the next incremental one
						g.settle(time.Second)
						require.Less(t, time.Since(begun), 2*time.Minute)
					}
					g.source.Remove(id)
					if c.ask {
						require.NoError(t, g.gates[id%3].RefreshAll(t.Context()))
					}
					g.settle(c.within)
					assert.True(t, g.all(false, id))
					for _, gate := range g.gates {
						assert.Zero(t, gate.Status().Held.Users)
						assert.Equal(t, 2, gate.Status().Users)
					}
				}
			})
		})
	}
}

// Who asks for a full refresh knows what it should show; another replica that makes it
// does not.
func TestWhoeverWasChangedLastIsGoneWhileAnotherRefreshes(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		g.source.SetDelay(2 * time.Second)
		g.source.Put(record(3, in(7, "teacher")))
		require.NoError(t, g.gates[0].Refresh(t.Context()))
		g.settle(3 * time.Second)
		require.True(t, g.all(true, 3))
		other := make(chan error, 1)
		go func() { other <- g.gates[0].RefreshAll(t.Context()) }()
		g.settle(time.Second)
		g.source.Remove(3)
		require.NoError(t, g.gates[1].RefreshAll(t.Context()))
		require.NoError(t, <-other)
		g.settle(3 * time.Second)
		require.True(t, g.all(false, 3))
	})
}

// A hold outlives the replica that has decided it.
func TestAHoldOutlivesItsReplica(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.source.Put(users(40)...)
		for range 3 {
			g.add()
		}
		g.settle(3 * time.Second)
		for id := range int64(20) {
			g.source.Remove(id + 10)
		}
		require.ErrorIs(t, g.gates[1].RefreshAll(t.Context()), rolegate.ErrHeld)
		g.settle(20 * time.Second)
		g.kill(1)
		require.True(t, g.all(true, 10))
		for _, gate := range g.gates {
			require.Equal(t, 20, gate.Status().Held.Users)
		}
		g.settle(25 * time.Minute)
		require.True(t, g.all(false, 10), "when they have agreed for a quarter of an hour")
	})
}

// A follower's RefreshAll ends with a refresh that began after the call, or an
// error, whatever happens.
func TestARefreshAllEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		wrong  func(g *replicaGroup)
		within time.Duration
	}{
		{"another replica is killed", func(g *replicaGroup) { g.kill(0) }, 20 * time.Second},
		{"it is cut off", func(g *replicaGroup) { g.away(1, true) }, 20 * time.Second},
		{"all are cut off", func(g *replicaGroup) { g.away(0, true); g.away(1, true); g.away(2, true) }, 20 * time.Second},
		{"the store is flushed", func(g *replicaGroup) { g.store.flush() }, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
				g.source.SetDelay(2 * time.Second)
				g.settle(time.Minute)
				gate := g.gates[1]
				other := make(chan error, 1)
				go func() { other <- g.gates[0].RefreshAll(t.Context()) }()
				g.settle(time.Second)
				g.source.Remove(2)
				ended := make(chan error, 1)
				go func() { ended <- gate.RefreshAll(t.Context()) }()
				g.settle(500 * time.Millisecond)
				c.wrong(g)
				begun := time.Now()
				require.NoError(t, <-ended)
				require.False(t, allowed(gate, 2), "it said that all is known")
				require.LessOrEqual(t, time.Since(begun), c.within)
				<-other
			})
		})
	}
}

func TestAFailedRefreshIsReported(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		g.source.Fail(&rolegate.PullError{Failure: rolegate.FailureTimeout, Err: errors.New("out of order")})
		err := g.gates[1].RefreshAll(t.Context())
		var pe *rolegate.PullError
		require.ErrorAs(t, err, &pe)
		require.Equal(t, rolegate.FailureTimeout, pe.Failure)
		require.True(t, g.all(true, 1))
	})
}

// Whatever becomes of the store, requests are answered, ages are true, and nobody
// who was removed comes back.
func TestTheStoreGoesWrong(t *testing.T) {
	t.Parallel()
	all := func(change func(*fakeCache)) func(*replicaGroup) {
		return func(g *replicaGroup) {
			for _, c := range g.caches {
				c.set(change)
			}
		}
	}
	for _, c := range []struct {
		name       string
		wrong, fix func(*replicaGroup)
		away       bool
	}{
		{"away", all(func(c *fakeCache) { c.away = true }), all(func(c *fakeCache) { c.away = false }), true},
		{"broken", all(func(c *fakeCache) { c.broken = errors.New("no") }), all(func(c *fakeCache) { c.broken = nil }), true},
		{"slow", all(func(c *fakeCache) { c.slow = 500 * time.Millisecond }), all(func(c *fakeCache) { c.slow = 0 }), false},
		{"restarted empty", func(g *replicaGroup) { g.store.flush() }, all(func(*fakeCache) {}), false},
		{"its clock put back an hour", func(g *replicaGroup) { g.store.do(func(s *fakeStore) { s.offset -= time.Hour }) }, all(func(*fakeCache) {}), false},
		{"its clock put forward an hour", func(g *replicaGroup) { g.store.do(func(s *fakeStore) { s.offset += time.Hour }) }, all(func(*fakeCache) {}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 6, func(t *testing.T, g *replicaGroup) {
				g.source.Remove(2)
				require.NoError(t, g.gates[1].RefreshAll(t.Context()))
				g.settle(time.Minute)
				c.wrong(g)
				g.settle(30 * time.Second)
				if c.away {
					require.Zero(t, g.connected())
				}
				g.source.Put(record(3))
				g.settle(130 * time.Second)
				require.True(t, g.all(true, 3))
				require.True(t, g.all(false, 2))
				late := g.add()
				g.settle(20 * time.Second)
				require.True(t, allowed(late, 3))
				c.fix(g)
				g.settle(3 * time.Minute)
				g.source.Put(record(4))
				g.settle(2 * time.Minute)
				require.True(t, g.all(true, 4))
				before := g.source.FullRefreshes()
				g.settle(30 * time.Minute)
				require.Equal(t, 7, g.connected())
				require.LessOrEqual(t, g.source.FullRefreshes()-before, 5, "they share refreshes again")
				for _, gate := range g.gates {
					require.Less(t, gate.Status().VerifiedAge, 14*time.Minute)
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
		require.NoError(t, g.gates[1].RefreshAll(t.Context()))
		g.settle(3 * time.Second)
		require.True(t, g.all(false, 2))
		restore()
		for range 60 {
			g.settle(time.Second)
			require.True(t, g.all(false, 2), "a removal was undone")
		}
		late := g.add()
		g.settle(3 * time.Second)
		require.True(t, allowed(late, 1))
		require.False(t, allowed(late, 2))
	})
}

// Many replicas that restart at once cost the marketplace two full refreshes at
// most.
func TestAllReplicasRestartAtOnce(t *testing.T) {
	t.Parallel()
	for _, kept := range []bool{true, false} {
		t.Run(fmt.Sprint("the store keeps the list: ", kept), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
				g.source.SetDelay(30 * time.Second)
				require.NoError(t, g.gates[0].Close())
				if !kept {
					g.store.flush()
				}
				g.gates, g.caches = nil, nil
				before := g.source.FullRefreshes()
				for range 100 {
					g.add()
				}
				g.settle(time.Minute)
				require.LessOrEqual(t, g.source.FullRefreshes()-before, 2)
				require.True(t, g.all(true, 1))
			})
		})
	}
}

// A replica whose credentials are refused makes way for another.
func TestAReplicaThatIsRefused(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		refused := rolegatetest.NewStatic()
		refused.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Err: errCutOff})
		openGate(t, rolegate.Config{Source: refused, Cache: fakeShared{g.store.replica()}, StartEmpty: true})
		g.settle(time.Second)
		g.add()
		g.add()
		g.settle(45 * time.Second)
		require.True(t, g.all(true, 1))

		_, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: refused, Cache: fakeShared{newFakeStore().replica()}}))
		require.ErrorIs(t, err, rolegate.ErrRefused, "one that is alone is told at once")
	})
}

// An app that keeps other strings cannot use the others' list.
func TestJoin(t *testing.T) {
	t.Parallel()
	store := newFakeStore()
	lists := map[string]bool{}
	for _, keep := range []rolegate.Keep{{}, {Account: true}} {
		cache := store.replica()
		openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: fakeShared{cache}, Keep: keep, StartEmpty: true})
		lists[cache.list] = true
		_, err := rolegate.Open(context.Background(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(), Cache: fakeShared{cache}}))
		require.ErrorContains(t, err, "Cache: it serves a gate already")
	}
	require.Len(t, lists, 2)
}

// A marketplace may refuse one replica, for as long as it says. The others refresh, and
// publish for that one too.
func TestOthersRefreshForAReplicaThatIsRefused(t *testing.T) {
	t.Parallel()
	for _, refused := range []int{1, 4} {
		for _, again := range []time.Duration{0, time.Minute, 5 * time.Minute} {
			t.Run(fmt.Sprintf("%d of them, for %v", refused, again), func(t *testing.T) {
				t.Parallel()
				inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
					none := rolegatetest.NewStatic()
					none.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, RetryAfter: again, Err: errCutOff})
					g.config = func(c *rolegate.Config) { c.Source = none }
					for range refused {
						g.add()
					}
					before := g.source.FullRefreshes()
					for range 60 {
						g.settle(time.Minute)
						for i, gate := range g.gates {
							require.Less(t, gate.Status().VerifiedAge, 12*time.Minute, "replica %d", i)
						}
					}
					require.LessOrEqual(t, g.source.FullRefreshes()-before, 7, "one for all in ten minutes")
				})
			})
		}
	}
}

// A refusal costs a replica what it costs a gate without a store: the refresh that it
// causes, or nothing once the budget is spent.
func TestARefusalCostsWhatItCostsAGateAlone(t *testing.T) {
	t.Parallel()
	const trip = time.Millisecond // to the store
	for _, c := range []struct {
		name     string
		replicas int
		every    time.Duration
	}{{"3 that refuse 20 a second", 3, 50 * time.Millisecond}, {"10 that refuse one in five seconds", 10, 5 * time.Second}} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			refusals := func(replicas int) (took []time.Duration) {
				inGroup(t, replicas, func(t *testing.T, g *replicaGroup) {
					for _, cache := range g.caches {
						cache.set(func(c *fakeCache) { c.slow = trip })
					}
					if replicas == 0 {
						g.gates = append(g.gates, openGate(t, rolegate.Config{Source: g.source}))
					}
					g.source.SetDelay(50 * time.Millisecond)
					all := make(chan time.Duration, 1<<16)
					var asks sync.WaitGroup
					for i, gate := range g.gates {
						h := gate.Admit(ok(gate))
						asks.Go(func() {
							for n := range int64(3 * time.Minute / c.every) {
								asks.Go(func() {
									begun := time.Now()
									assert.Equal(t, 403, ask(h, "GET", "/", 1000+n*100+int64(i)).Code)
									all <- time.Since(begun)
								})
								time.Sleep(c.every)
							}
						})
					}
					asks.Wait()
					close(all)
					for d := range all {
						took = append(took, d)
					}
				})
				slices.Sort(took)
				return took
			}
			alone, shared := refusals(0), refusals(c.replicas)
			most := alone[len(alone)-1] + 4*trip
			longer := 0
			for _, d := range shared {
				if d > most {
					longer++
				}
			}
			t.Logf("alone %v at most; %d of %d took longer, %v at most", alone[len(alone)-1], longer, len(shared), shared[len(shared)-1])
			assert.LessOrEqual(t, longer, len(shared)/100)
		})
	}
}
