package rolegate_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// This file is about what no replica may forget: what its own refreshes have shown,
// whatever the others have, and however long it was away.

// failingFulls is a source whose full refreshes may fail.
type failingFulls struct {
	*rolegatetest.Static
	failing *atomic.Bool
}

func (s failingFulls) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 && s.failing.Load() {
		return errCutOff
	}
	return s.Static.Pull(ctx, after, yield)
}

// A datedSource knows when the last full refresh began.
type datedSource struct {
	*rolegatetest.Static
	began atomic.Int64
}

func (s *datedSource) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 {
		s.began.Store(time.Now().UnixNano())
	}
	return s.Static.Pull(ctx, after, yield)
}

func (s *datedSource) last() time.Time { return time.Unix(0, s.began.Load()) }

// onceSynced is a SyncChecker that says what it is told to.
type onceSynced struct{ state atomic.Uint32 }

func (s *onceSynced) CheckSync(context.Context) (rolegate.SyncReport, error) {
	return rolegate.SyncReport{State: rolegate.SyncState(s.state.Load())}, nil
}

// While removals are held, the verified age stands still. A replica that was cut off
// uses its own later full refresh all the same.
func TestNoReplicaGoesBackWhileRemovalsAreHeld(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		checker := &onceSynced{}
		g.config = func(c *rolegate.Config) { c.UpstreamSync = checker }
		list := users(40)
		for i := range list {
			list[i].Sequence = int64(i + 1)
		}
		list[1].Grants = []rolegate.Grant{in(7, "teacher")}
		second := list[1].UserID
		g.source.Set(list...)
		g.add()
		g.add()
		g.settle(3 * time.Second)
		others, cutOff := g.gates[0], g.gates[1]
		teaches := func(gate *rolegate.Gate) bool {
			return gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(second), 0).Allowed()
		}
		require.True(t, teaches(others))
		require.True(t, teaches(cutOff))

		checker.state.Store(uint32(rolegate.SyncRunning))
		g.source.Set(list[:39]...)
		require.ErrorIs(t, others.RefreshAll(t.Context()), rolegate.ErrHeld)
		g.settle(3 * time.Second)
		require.Equal(t, 1, cutOff.Status().Held.Users)

		g.away(1, true)
		g.settle(20 * time.Second)
		require.False(t, cutOff.Status().Replica.Connected)
		list[1].Grants = []rolegate.Grant{in(7, "pupil")} // the sequence does not rise: only a full refresh shows it
		g.source.Set(list[:39]...)
		require.ErrorIs(t, cutOff.RefreshAll(t.Context()), rolegate.ErrHeld)
		require.False(t, teaches(cutOff))

		g.away(1, false)
		for range 12 * 60 {
			g.settle(time.Second)
			require.False(t, teaches(cutOff), "the replica has gone back behind its own refresh: the role is back")
		}
		require.False(t, teaches(others))
	})
}

// A later full refresh of its own has removed a user. The others' full refreshes
// fail meanwhile, and their incremental ones do not.
func TestNoReplicaAdmitsAUserAfterRemovingThem(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		var failing [2]atomic.Bool
		g.config = func(c *rolegate.Config) { c.Source = failingFulls{g.source, &failing[len(g.gates)]} }
		list := users(60)
		for i := range list {
			list[i].Sequence = int64(i + 1)
		}
		g.source.Set(list...)
		g.add()
		g.add()
		g.settle(3 * time.Second)
		cutOff := g.gates[1]
		gone := list[59].UserID
		failing[0].Store(true)
		g.away(1, true)
		g.settle(55 * time.Second)
		g.source.Set(list[:59]...)
		require.NoError(t, cutOff.RefreshAll(t.Context()))
		require.False(t, allowed(cutOff, gone))
		require.True(t, allowed(g.gates[0], gone))
		g.away(1, false)
		for range 5 * 60 {
			g.settle(time.Second)
			require.False(t, allowed(cutOff, gone), "verified age %v", cutOff.Status().VerifiedAge)
		}
		require.False(t, allowed(g.gates[0], gone), "the other has it from there")
	})
}

// A slowFull takes its time to hand over the list that it has read.
type slowFull struct {
	*rolegatetest.Static
	slow *atomic.Bool
}

func (s slowFull) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	var list []rolegate.Record
	err := s.Static.Pull(ctx, after, func(r rolegate.Record) { list = append(list, r) })
	if after == 0 && s.slow.Load() {
		wait(ctx, 10*time.Second)
	}
	for _, r := range list {
		yield(r)
	}
	return err
}

// addedWhileOtherReads has two replicas: so long after the first has begun to read the
// list, for ten seconds, user 500 is added, and the second knows it.
func (g *replicaGroup) addedWhileOtherReads(into time.Duration) {
	g.t.Helper()
	var slow atomic.Bool
	g.config = func(c *rolegate.Config) { c.Source = slowFull{g.source, &slow} }
	g.source.Set(users(20)...)
	g.add()
	g.add()
	g.settle(5 * time.Second)
	slow.Store(true)
	read := make(chan error)
	go func() { read <- g.gates[0].RefreshAll(context.Background()) }()
	g.settle(into)
	g.source.Put(record(500, in(7, "teacher")))
	require.NoError(g.t, g.gates[1].Refresh(g.t.Context()))
	require.True(g.t, allowed(g.gates[1], 500))
	require.NoError(g.t, <-read)
	slow.Store(false)
}

// A user who was added while another replica read the list is not one who
// is gone: the next full refresh does not doubt their record.
func TestAUserWhoIsNotOnTheOthersListYet(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.addedWhileOtherReads(9950 * time.Millisecond)
		for range 5 {
			g.settle(3 * time.Second)
			require.True(t, allowed(g.gates[1], 500), "what was read later counts beside the others' list")
		}
		require.NoError(t, g.gates[1].RefreshAll(t.Context()))
		require.True(t, allowed(g.gates[1], 500), "and nothing is doubtful about it")
	})
}

// A process that was paused for long, or whose machine was suspended, is right
// within seconds, not minutes.
func TestAReplicaThatWasPaused(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		lasts     time.Duration
		suspended bool // its monotonic clock stood still meanwhile
	}{
		{"45 minutes", 45 * time.Minute, false},
		{"70 minutes, which is longer than ExpireAfter", 70 * time.Minute, false},
		{"45 minutes suspended", 45 * time.Minute, true},
		{"70 minutes suspended", 70 * time.Minute, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
				var wakes atomic.Pointer[chan struct{}] // whoever reads the clock waits for it
				var lost atomic.Int64
				g.config = func(cfg *rolegate.Config) {
					*cfg = rolegate.WithClock(*cfg, func() (mono, wall int64) {
						if wakes := wakes.Load(); wakes != nil {
							<-*wakes
						}
						mono, wall = rolegate.ReadClock()
						return mono - lost.Load(), wall
					})
				}
				paused := g.add()
				g.settle(3 * time.Second)
				require.True(t, allowed(paused, 2))
				wake := make(chan struct{})
				wakes.Store(&wake)
				g.source.Remove(2)
				g.source.Put(record(3))
				require.NoError(t, g.gates[0].RefreshAll(t.Context()))
				g.settle(c.lasts)
				if c.suspended {
					lost.Store(int64(c.lasts))
				}
				wakes.Store(nil)
				close(wake)
				g.settle(5 * time.Second)
				require.True(t, allowed(paused, 1))
				require.True(t, allowed(paused, 3))
				require.False(t, allowed(paused, 2))
				require.Equal(t, rolegate.StateReady, paused.Status().State)
			})
		})
	}
}

// A wall clock that is set on one replica costs it a moment, and nobody else
// anything.
func TestAClockThatIsSetOnOneReplica(t *testing.T) {
	t.Parallel()
	for _, by := range []time.Duration{-2 * time.Hour, -time.Minute, time.Minute, 2 * time.Hour} {
		t.Run(by.String(), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
				var set atomic.Int64
				g.config = func(cfg *rolegate.Config) {
					*cfg = rolegate.WithClock(*cfg, func() (mono, wall int64) {
						mono, wall = rolegate.ReadClock()
						return mono, wall + set.Load()
					})
				}
				wrong := g.add()
				g.settle(5 * time.Minute)
				before := g.source.FullRefreshes()
				truth := g.gates[0].Status().VerifiedAge
				set.Store(int64(by))
				g.settle(3 * time.Second)
				require.True(t, g.all(true, 1), "it is served within three seconds")
				require.GreaterOrEqual(t, wrong.Status().VerifiedAge, truth)
				require.Less(t, wrong.Status().VerifiedAge, truth+10*time.Second)
				g.settle(4 * time.Minute)
				require.True(t, g.all(true, 1))
				require.LessOrEqual(t, g.source.FullRefreshes()-before, 2)
			})
		})
	}
}

// Ages are those of the store's clock, whatever the others' wall clocks read, and
// whatever the network takes makes a list older, never younger.
func TestAgesAreTrueOnEveryReplica(t *testing.T) {
	t.Parallel()
	for _, wrong := range []time.Duration{-24 * time.Hour, 0, 24 * time.Hour} {
		for _, slow := range []time.Duration{0, 100 * time.Millisecond, 700 * time.Millisecond} {
			t.Run(wrong.String()+" "+slow.String(), func(t *testing.T) {
				t.Parallel()
				inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
					source := &datedSource{Static: g.source}
					g.config = func(cfg *rolegate.Config) {
						cfg.Source = source
						off := int64(wrong) * int64(len(g.gates))
						*cfg = rolegate.WithClock(*cfg, func() (mono, wall int64) {
							mono, wall = rolegate.ReadClock()
							return mono, wall + off
						})
					}
					g.add()
					g.settle(3 * time.Second)
					g.add()
					g.caches[1].set(func(c *fakeCache) { c.slow = slow })
					for range 40 {
						g.settle(31 * time.Second)
						truth := time.Since(source.last())
						for i, gate := range g.gates {
							age := gate.Status().VerifiedAge
							require.GreaterOrEqual(t, age, truth, "replica %d", i)
							require.LessOrEqual(t, age, 14*time.Minute, "replica %d", i)
						}
					}
				})
			})
		}
	}
}

// An age does not become younger by it that the clock of the store is put back,
// not even for who starts then.
func TestAgesAreTrueWhenTheStoresClockIsPutBack(t *testing.T) {
	t.Parallel()
	for _, back := range []time.Duration{3 * time.Second, 2 * time.Minute, 50 * time.Minute, 24 * time.Hour} {
		t.Run(back.String(), func(t *testing.T) {
			t.Parallel()
			inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
				refreshed := time.Now().Add(-3 * time.Second)
				g.settle(8 * time.Minute) // the next is not due
				g.source.Fail(errCutOff)
				g.settle(40 * time.Minute)
				g.kill(0)
				g.store.do(func(s *fakeStore) { s.offset -= back })
				g.add()
				for range 300 {
					g.settle(time.Second)
					for i, gate := range g.gates {
						if s := gate.Status(); s.Users > 0 {
							require.GreaterOrEqual(t, s.VerifiedAge, time.Since(refreshed)-2*time.Second, "replica %d", i)
						}
					}
				}
				synctest.Wait()
			})
		})
	}
}

// A replica that was cut off knows of a role that is gone. A full refresh that began
// before and is published after does not bring it back.
func TestALaterPublishUndoesNoLaterChange(t *testing.T) {
	t.Parallel()
	inGroup(t, 2, func(t *testing.T, g *replicaGroup) {
		cutOff, other := g.gates[1], g.gates[0]
		teachers := cutOff.Policy(rolegate.AnyRole("teacher"))
		teaches := func() bool { return teachers.Decide(t.Context(), rolegate.UserID(2), 0).Allowed() }
		require.True(t, teaches())
		g.away(1, true)
		g.settle(20 * time.Second)

		g.source.SetDelay(10 * time.Second) // a full refresh is two pulls: of the list, and of what has changed since
		ended := make(chan error, 1)
		go func() { ended <- other.RefreshAll(t.Context()) }()
		g.settle(11 * time.Second)
		g.source.Put(record(2, in(7, "pupil")))
		require.NoError(t, cutOff.Refresh(t.Context()))
		require.NoError(t, <-ended)
		require.False(t, teaches())
		g.source.SetDelay(0)
		g.away(1, false)
		for range 13 * 60 {
			g.settle(time.Second)
			require.False(t, teaches())
		}
	})
}

// A user who is added within a second after another replica began to read the list may
// be missing from it, and the clocks cannot tell why. The next incremental refresh that
// lists them decides, and no full one has to.
func TestAUserWhoIsAddedAsTheOthersBegin(t *testing.T) {
	t.Parallel()
	inGroup(t, 0, func(t *testing.T, g *replicaGroup) {
		g.addedWhileOtherReads(500 * time.Millisecond)
		g.settle(75 * time.Second)
		require.True(t, g.all(true, 500))
		require.NoError(t, g.gates[1].RefreshAll(t.Context()))
		g.settle(3 * time.Second)
		require.True(t, g.all(true, 500))
	})
}
