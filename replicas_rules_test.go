package rolegate_test

import (
	"context"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// cutOff keeps a replica from the store.
func (g *replicaGroup) cutOff(i int, away bool) {
	g.caches[i].set(func(c *fakeCache) { c.away = away })
}

// kill ends a replica that cannot give its lease back.
func (g *replicaGroup) kill(i int) {
	g.caches[i].set(func(c *fakeCache) { c.broken = errSimCut })
	require.NoError(g.t, g.gates[i].Close())
	g.gates, g.caches = append(g.gates[:i], g.gates[i+1:]...), append(g.caches[:i], g.caches[i+1:]...)
}

// The whole index in the store may be older than the changes behind it. Who
// starts from it serves nothing that they have taken away.
func TestANewReplicaIsUpToDateBeforeItServes(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		g.source.Remove(2)
		require.NoError(t, g.gates[g.leader()].RefreshAll(t.Context()))
		for range 10 {
			g.settle(time.Minute) // as many changes, which say that somebody leads
		}
		late := g.store.replica()
		late.slow = 50 * time.Millisecond
		gate := openGate(t, rolegate.Config{Source: g.source, Cache: late, StartEmpty: true})
		for range 400 {
			g.settle(10 * time.Millisecond)
			require.False(t, allowed(gate, 2), "a removal of ten minutes ago is not known")
		}
		require.True(t, allowed(gate, 1))
	})
}

// A whole index that has expired is the base of changes that have not.
func TestANewReplicaGoesOnFromAnIndexThatHasExpired(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		var whole []byte
		var at rolegate.Version
		g.store.do(func(s *fakeStore) { whole, at, s.keep = s.whole, s.wholeAt, 100 })
		g.settle(23 * time.Minute)      // no walk is due then
		g.store.do(func(s *fakeStore) { // the log reaches back as far as the backup of the whole index
			require.Equal(t, at, s.wholeAt)
			require.Equal(t, whole, s.whole)
		})
		g.config = func(cfg *rolegate.Config) { cfg.Refresh.ExpireAfter = 20 * time.Minute }
		before := g.walks()
		gate := g.add()
		g.settle(3 * time.Second)
		require.True(t, allowed(gate, 1))
		require.Equal(t, before, g.walks())
		require.Equal(t, rolegate.ReplicaFollower, gate.Status().Replica.Role)
	})
}

// An index whose leader is gone does not become younger by it that the clock of
// the store is put back, not even for who starts then. (Only that it was put back
// by less than Every cannot be seen by somebody who has not read it before: it
// may not be earlier then than when the index was published.)
func TestAgesAreTrueWhenTheClockIsPutBack(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{3 * time.Second, 2 * time.Minute, 20 * time.Minute, 50 * time.Minute, 24 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
				walked := time.Now()
				g.settle(8 * time.Minute) // the next walk is not due
				g.source.Fail(errSimCut)
				g.settle(40 * time.Minute)
				for g.leader() < 0 { // they take turns, since none can reach the source
					g.settle(time.Second)
				}
				g.kill(g.leader())
				g.store.do(func(s *fakeStore) { s.offset -= back })
				g.add()
				for range 600 {
					g.settle(time.Second)
					for i, gate := range g.gates {
						s := gate.Status()
						if s.Users > 0 {
							require.GreaterOrEqual(t, s.VerifiedAge, time.Since(walked)-2*time.Second, "replica %d, %s", i, s.Replica.Role)
						}
					}
				}
			})
		})
	}
}

// Where whoever asks is told, however the leader goes.
func TestAResyncOnAFollowerEnds(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		wrong  func(g *replicaGroup, follower int)
		within time.Duration
	}{
		{"the leader is killed", func(g *replicaGroup, _ int) { g.kill(g.leader()) }, 20 * time.Second},
		{"the leader is closed", func(g *replicaGroup, _ int) { require.NoError(g.t, g.gates[g.leader()].Close()) }, 10 * time.Second},
		{"the leader is cut off", func(g *replicaGroup, _ int) { g.cutOff(g.leader(), true) }, 25 * time.Second},
		{"the follower is cut off", func(g *replicaGroup, i int) { g.cutOff(i, true) }, 15 * time.Second},
		{"the store is flushed", func(g *replicaGroup, _ int) { g.store.flush() }, 15 * time.Second},
		{"the asks are lost", func(g *replicaGroup, _ int) { g.store.do(func(s *fakeStore) { s.asks = nil }) }, 15 * time.Second},
		{"the replies to the leader are lost", func(g *replicaGroup, _ int) {
			g.caches[g.leader()].set(func(c *fakeCache) { c.mute = true })
			g.settle(5 * time.Second)
			for _, c := range g.caches {
				c.set(func(c *fakeCache) { c.mute = false })
			}
		}, 20 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
				g.source.SetDelay(2 * time.Second)
				g.source.Remove(2)
				follower := g.follower()
				gate := g.gates[follower]
				ended := make(chan error, 1)
				go func() { ended <- gate.RefreshAll(t.Context()) }()
				g.settle(time.Second)
				c.wrong(g, follower)
				begun := time.Now()
				select {
				case err := <-ended:
					if err == nil {
						assert.False(t, allowed(gate, 2), "it said that all is known")
					}
				case <-time.After(time.Minute):
					t.Error("it hangs")
				}
				assert.LessOrEqual(t, time.Since(begun), c.within)
			})
		})
	}
}

// A replica with credentials that are refused makes way for another.
func TestALeaderThatIsRefused(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		refused := rolegatetest.NewStatic()
		refused.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Err: errSimCut})
		openGate(t, rolegate.Config{Source: refused, Cache: g.store.replica(), StartEmpty: true})
		g.settle(time.Second)
		g.add()
		g.add()
		g.settle(45 * time.Second)
		require.True(t, g.all(true, 1))

		_, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: refused, Cache: newFakeStore().replica()}))
		require.ErrorIs(t, err, rolegate.ErrRefused, "who leads alone is told at once")
	})
}

// What follows from a change happens on every replica.
func TestFollowersTell(t *testing.T) {
	t.Parallel()
	inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
		var mu sync.Mutex
		var changes []rolegate.Change
		g.config = func(cfg *rolegate.Config) {
			cfg.OnChange = func(c rolegate.Change) {
				mu.Lock()
				changes = append(changes, c)
				mu.Unlock()
			}
		}
		gate := g.add()
		g.settle(3 * time.Second)
		require.Equal(t, rolegate.ReplicaFollower, gate.Status().Replica.Role)
		stream := openStream(gate, 2, rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
		require.Equal(t, 200, stream.code)
		require.True(t, stream.running())

		g.source.Put(record(3, in(7, "teacher")))
		require.NoError(t, g.gates[0].Refresh(t.Context()))
		g.settle(0) // or both are published as one change
		g.source.Remove(2)
		require.NoError(t, g.gates[0].RefreshAll(t.Context()))
		g.settle(0)
		require.False(t, stream.running())
		require.ErrorIs(t, <-stream.ended, rolegate.ErrRevoked)
		g.settle(time.Minute)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, changes, 2)
		require.Equal(t, int64(3), changes[0].Added[0].UserID)
		require.Equal(t, int64(2), changes[1].Removed[0].UserID)
		require.True(t, changes[1].Full)
	})
}

// A MaxAge on ten replicas costs the source one walk in ResyncMin.
func TestMaxAgeOnFollowers(t *testing.T) {
	t.Parallel()
	inGroup(t, 10, func(t *testing.T, g *replicaGroup) {
		g.settle(5 * time.Minute)
		before := g.walks()
		codes := make(chan int, len(g.gates))
		for _, gate := range g.gates {
			go func() {
				codes <- ask(gate.Require(rolegate.AnyRole("admin"), rolegate.MaxAge(time.Minute))(http.NotFoundHandler()), "GET", "/", 1).Code
			}()
		}
		for range g.gates {
			require.Equal(t, http.StatusNotFound, <-codes)
		}
		require.LessOrEqual(t, g.walks()-before, 2)
	})
}

func TestOnDenyOffOnTheLeader(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.config = func(cfg *rolegate.Config) { cfg.OnDeny.Off = len(g.gates) == 0 }
		g.add()
		g.settle(time.Second)
		g.add()
		g.settle(3 * time.Second)
		g.source.Put(record(3))
		require.Equal(t, 403, ask(g.gates[0].Admit(never(t)), "GET", "/", 3).Code)
		require.Equal(t, 200, ask(g.gates[1].Admit(ok(g.gates[1])), "GET", "/", 3).Code, "whoever follows asks")
	})
}

// A hold goes over to the next leader: the second walk comes when it was due, and
// what it agrees on is applied.
func TestAHoldOutlivesItsLeader(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.source.Put(users(40)...)
		for range 3 {
			g.add()
		}
		g.settle(time.Second)
		for id := range int64(20) {
			g.source.Remove(id + 10)
		}
		require.ErrorIs(t, g.gates[g.follower()].RefreshAll(t.Context()), rolegate.ErrHeld)
		g.settle(20 * time.Second)
		g.kill(g.leader())
		require.True(t, g.all(true, 10))
		for _, gate := range g.gates {
			require.Equal(t, 20, gate.Status().Held.Users)
			require.Equal(t, "shrink_guard", gate.Status().Held.Cause)
		}
		g.settle(18 * minutes)
		require.True(t, g.all(false, 10), "when they have agreed for a quarter of an hour")
		for _, gate := range g.gates {
			require.Zero(t, gate.Status().Held.Users)
		}
	})
}

// Nothing of what is asked is kept for ever, also if no answer can be published.
func TestWhatIsAskedIsForgotten(t *testing.T) {
	t.Parallel()
	inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
		pester := func() {
			for range 200 {
				for _, gate := range g.gates {
					ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
					go func() {
						_ = gate.Refresh(ctx)
						_ = gate.RefreshAll(ctx)
						cancel()
					}()
				}
				g.settle(5 * time.Second)
			}
		}
		pester()
		g.settle(time.Minute)
		for _, gate := range g.gates {
			backlog := rolegate.Backlog(gate)
			delete(backlog, "served")
			assert.Equal(t, map[string]int{"waiting": 0, "answers": 0, "asked": 0, "serving": 0}, backlog)
		}
		leader := g.leader()
		g.caches[leader].set(func(c *fakeCache) { c.mute = true })
		pester()
		for _, gate := range g.gates {
			for what, n := range rolegate.Backlog(gate) {
				assert.LessOrEqual(t, n, 1024, what)
			}
		}
	})
}

// failingWalks is a source whose walks may fail.
type failingWalks struct {
	*rolegatetest.Static
	failing *atomic.Bool
}

func (s failingWalks) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 && s.failing.Load() {
		return errSimCut
	}
	return s.Static.Pull(ctx, after, yield)
}

// While walks fail, increments are published as changes, however long it lasts.
func TestChangesStayChangesWhileWalksFail(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		var failing atomic.Bool
		g.config = func(cfg *rolegate.Config) { cfg.Source = failingWalks{g.source, &failing} }
		for range 3 {
			g.add()
		}
		for _, c := range g.caches {
			c.set(func(c *fakeCache) { c.slow = 20 * time.Millisecond })
		}
		g.settle(time.Minute)
		failing.Store(true)
		g.settle(3 * time.Hour)
		require.Equal(t, 1, g.store.written()["anew"])
	})
}

// Replicas that have nothing wait for a leader's first walk, but not for ever
// for one that publishes nothing.
func TestAReplicaWithoutAListDoesNotWaitForEver(t *testing.T) {
	t.Parallel()
	inGroup(t, 1, func(t *testing.T, g *replicaGroup) {
		g.store.do(func(s *fakeStore) { s.newest, s.log = rolegate.Version{}, nil })
		g.caches[0].set(func(c *fakeCache) { c.full = true })
		gate := g.add()
		g.settle(9 * time.Minute)
		require.Equal(t, rolegate.StateStarting, gate.Status().State)
		g.settle(3 * time.Minute)
		require.True(t, allowed(gate, 1))
	})
}
