package rolegate_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// users returns users 1 to n, each a teacher.
func users(n int64) (records []rolegate.Record) {
	for id := int64(1); id <= n; id++ {
		records = append(records, record(id, in(7, "teacher")))
	}
	return records
}

// listed counts who of the users 1 to n are admitted.
func listed(gate *rolegate.Gate, n int64) (count int) {
	for id := int64(1); id <= n; id++ {
		if allowed(gate, id) {
			count++
		}
	}
	return count
}

// refreshAll makes a full refresh; what it holds back is what these tests are about.
func refreshAll(t *testing.T, gate *rolegate.Gate) {
	t.Helper()
	if err := gate.RefreshAll(t.Context()); !errors.Is(err, rolegate.ErrHeld) {
		require.NoError(t, err)
		require.Zero(t, gate.Status().Held, "RefreshAll tells of what it holds back")
	}
}

func TestShrinkGuard(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		before     int64
		after      int64
		maxShrink  float64
		held, then int // how many are admitted after the first full refresh, and after the second
	}{
		{"a third of a hundred", 100, 66, 0, 100, 66},
		{"30 of a hundred", 100, 70, 0, 70, 70},
		{"31 of a hundred", 100, 69, 0, 100, 69},
		{"nine of twenty", 20, 11, 0, 11, 11},
		{"ten of twenty", 20, 10, 0, 20, 10},
		{"all of nine", 9, 0, 0, 9, 0},
		{"all of a hundred", 100, 0, 1, 100, 0},
		{"nobody", 100, 100, 0, 100, 100},
		{"half, when half may go", 100, 50, 0.5, 50, 50},
		{"nine tenths, when anything may go", 100, 10, 1, 10, 10},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var book logBook
				source := rolegatetest.NewStatic(users(c.before)...)
				gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger(), Refresh: rolegate.Refresh{MaxShrink: c.maxShrink}})
				after(time.Minute)
				verified := gate.Status().Verified
				source.Set(users(c.after)...)
				refreshAll(t, gate)
				assert.Equal(t, c.held, listed(gate, c.before))
				s := gate.Status()
				if c.held == int(c.after) {
					assert.Zero(t, s.Held)
					assert.True(t, s.Verified.After(verified))
					return
				}
				assert.Equal(t, int(c.before-c.after), s.Held.Users)
				assert.Equal(t, "shrink_guard", s.Held.Cause)
				assert.Equal(t, verified, s.Verified, "verified waits until the removals are applied")
				assert.True(t, s.Contact.After(verified))
				assert.True(t, gate.Decide(t.Context(), rolegate.UserID(c.before)).Held)
				assert.Len(t, book.lines("rolegate: the list has shrunk too much at once: what is gone is held until full refreshes agree for long enough, or an operator accepts it"), 1)

				after(17 * minutes)
				assert.Equal(t, c.then, listed(gate, c.before), "full refreshes have agreed for a quarter of an hour")
				assert.Zero(t, gate.Status().Held)
				assert.True(t, gate.Status().Verified.After(verified))
				assert.Len(t, book.lines("rolegate: no removals are held any more"), 1)
			})
		})
	}

	t.Run("additions and changes are applied meanwhile", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			list := users(10)
			list[0].Grants = []rolegate.Grant{in(7, "admin")}
			source.Set(append(list, record(200, in(7, "teacher")))...)
			refreshAll(t, gate)
			assert.Equal(t, 100, listed(gate, 100))
			assert.True(t, allowed(gate, 200))
			admin := gate.Policy(rolegate.AnyRole("admin"))
			assert.True(t, admin.Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
			assert.Equal(t, 101, gate.Status().Users)
		})
	})
	t.Run("those who come back are not removed", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			source.Set(users(10)...)
			refreshAll(t, gate)
			source.Set(users(95)...)
			never := func() {
				for id := int64(1); id <= 95; id++ {
					require.True(t, allowed(gate, id), "user %d", id)
				}
			}
			for range 70 {
				after(15 * time.Second)
				never()
			}
			assert.False(t, allowed(gate, 96), "and those who stayed away are")
			assert.Zero(t, gate.Status().Held)
		})
	})
	t.Run("one who comes back by an incremental refresh is held no more", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			source.Set(users(10)...)
			refreshAll(t, gate)
			source.Put(record(50, in(7, "teacher")))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.Equal(t, 89, gate.Status().Held.Users)
			assert.False(t, gate.Decide(t.Context(), rolegate.UserID(50)).Held)
		})
	})
	t.Run("a second full refresh that removes others too holds those anew", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			source.Set(users(60)...)
			refreshAll(t, gate)
			after(14 * minutes)
			source.Set()
			refreshAll(t, gate)
			assert.Equal(t, 100, gate.Status().Held.Users)
			after(3 * minutes)
			assert.Equal(t, 60, listed(gate, 100), "40 are confirmed, 60 are held")
			assert.Equal(t, 60, gate.Status().Held.Users)
			after(17 * minutes)
			assert.Zero(t, listed(gate, 100))
		})
	})
	t.Run("a full refresh that comes at once is no second opinion", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			source.Set(users(10)...)
			for range 20 {
				refreshAll(t, gate)
				after(time.Second)
			}
			assert.Equal(t, 100, listed(gate, 100))
			after(14 * minutes)
			assert.Equal(t, 100, listed(gate, 100))
			after(2 * minutes)
			assert.Equal(t, 10, listed(gate, 100), "early full refreshes do not begin the quarter of an hour anew")
		})
	})
	t.Run("AcceptShrink applies at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			source.Set(users(1)...)
			refreshAll(t, gate)
			assert.Equal(t, 100, listed(gate, 100))
			require.NoError(t, acceptShrink(t.Context(), gate))
			assert.Equal(t, 1, listed(gate, 100))
			source.Set()
			refreshAll(t, gate)
			assert.Equal(t, 1, listed(gate, 100), "it was accepted once, not for good")
		})
	})
	t.Run("AcceptShrink that never began is not kept for later", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			require.ErrorIs(t, acceptShrink(ctx, gate), context.Canceled)
			synctest.Wait()
			source.Set(users(1)...)
			refreshAll(t, gate)
			assert.Equal(t, 100, listed(gate, 100))
		})
	})
	t.Run("a bad record denies at once, shrink guard or not", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			list := users(20)
			list[0].Sequence, list[0].Bad = 1000, errors.New("roleList: expected an array")
			source.Set(list...)
			refreshAll(t, gate)
			assert.False(t, allowed(gate, 1))
			assert.Equal(t, 99, listed(gate, 100))

			source.Put(rolegate.Record{UserID: 90, Bad: errors.New("roleList: expected an array")})
			require.NoError(t, gate.Refresh(t.Context()))
			assert.False(t, allowed(gate, 90), "although the removal was held")
		})
	})
	t.Run("halves of a list that alternate shut nobody out", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			half := 0
			for range 12 * 18 { // three hours
				half = (half + 1) % 2
				source.Set(append(users(20), users(100)[20+40*half:60+40*half]...)...)
				after(50 * time.Second)
				require.Equal(t, 100, listed(gate, 100))
			}
		})
	})
	t.Run("everybody's roles, gone at once, are held", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var book logBook
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger()})
			teacher := gate.Policy(rolegate.AnyRole("teacher"))
			teachers := func() (n int) {
				for id := range int64(100) {
					if teacher.Decide(t.Context(), rolegate.UserID(id+1), 0).Allowed() {
						n++
					}
				}
				return n
			}
			var without []rolegate.Record
			for id := range int64(100) {
				without = append(without, record(id+1))
			}
			source.Put(without...)
			require.NoError(t, gate.Refresh(t.Context()))
			assert.Equal(t, 100, teachers(), "by an incremental refresh")
			s := gate.Status().Held
			assert.Equal(t, [2]int{0, 100}, [2]int{s.Users, s.LostRoles})
			assert.Equal(t, "shrink_guard", s.Cause)
			assert.NotEmpty(t, s.Digest)

			require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			assert.Equal(t, 100, teachers(), "by a full one")
			assert.Equal(t, s.Digest, gate.Status().Held.Digest)
			lines := book.lines("rolegate: the list has shrunk too much at once: what is gone is held until full refreshes agree for long enough, or an operator accepts it")
			assert.Len(t, lines, 1)

			after(14 * minutes)
			assert.Equal(t, 100, teachers())
			after(5 * minutes)
			assert.Zero(t, teachers())
			assert.Zero(t, gate.Status().Held)
			assert.True(t, allowed(gate, 1))
		})
	})
	t.Run("what is accepted is what was shown", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source})
			require.ErrorIs(t, gate.AcceptShrink(t.Context(), ""), rolegate.ErrHeldChanged)
			source.Set(users(60)...)
			refreshAll(t, gate)
			shown := gate.Status().Held.Digest
			source.Set()
			require.ErrorIs(t, gate.AcceptShrink(t.Context(), "another"), rolegate.ErrHeldChanged)
			assert.Equal(t, 100, listed(gate, 100))
			require.ErrorIs(t, gate.AcceptShrink(t.Context(), shown), rolegate.ErrHeld)
			assert.Equal(t, 60, listed(gate, 100), "forty were shown, and what else is gone is held")
			require.ErrorIs(t, gate.AcceptShrink(t.Context(), shown), rolegate.ErrHeldChanged)
			require.NoError(t, gate.AcceptShrink(t.Context(), gate.Status().Held.Digest))
			assert.Zero(t, listed(gate, 100))
		})
	})
	t.Run("who is held for longer than ExpireAfter is refused, and nobody else", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source, Refresh: rolegate.Refresh{ResyncEvery: 10 * minutes, ExpireAfter: 28 * minutes, ShrinkHold: 15 * minutes}})
			after(9 * minutes) // the next full refresh is the first that sees it
			source.Set(users(10)...)
			for range 30 {
				after(time.Minute)
				for id := int64(1); id <= 10; id++ {
					require.True(t, allowed(gate, id))
				}
			}
			assert.False(t, allowed(gate, 11))
		})
	})
	t.Run("to the moment", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: source, Refresh: rolegate.Refresh{ResyncEvery: 10 * minutes, ExpireAfter: 28 * minutes, ShrinkHold: 15 * minutes}})
			after(9 * minutes)
			source.Set(users(10)...)
			after(3 * minutes)
			source.Fail(errors.New("away")) // nothing confirms that they are gone
			after(16 * minutes)
			assert.True(t, allowed(gate, 11))
			after(1)
			assert.Equal(t, rolegate.ReasonExpired, gate.Decide(t.Context(), rolegate.UserID(11)).Reason)
		})
	})
	t.Run("an empty list at the very first start", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic()})
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
			assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
		})
	})
}

// syncing is a SyncChecker whose answers a test sets.
type syncing struct {
	state atomic.Uint32
	asked atomic.Int64
	hang  atomic.Bool
	fail  atomic.Bool
}

func (s *syncing) set(state rolegate.SyncState) { s.state.Store(uint32(state)) }

func (s *syncing) CheckSync(context.Context) (rolegate.SyncReport, error) {
	s.asked.Add(1)
	if s.hang.Load() {
		<-time.After(time.Minute) // heeds no ctx
	}
	if s.fail.Load() {
		panic("alice@example.com")
	}
	return rolegate.SyncReport{State: rolegate.SyncState(s.state.Load()), Text: "in the upstream's words"}, nil
}

func TestSyncHold(t *testing.T) {
	t.Parallel()
	begin := func(t *testing.T, f func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			source, sync := rolegatetest.NewStatic(users(100)...), &syncing{}
			gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
			f(t, source, sync, gate)
		})
	}
	t.Run("even one removal is held while a sync runs", func(t *testing.T) {
		t.Parallel()
		begin(t, func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate) {
			sync.set(rolegate.SyncRunning)
			source.Remove(100)
			refreshAll(t, gate)
			s := gate.Status()
			assert.True(t, allowed(gate, 100))
			assert.Equal(t, "sync", s.Held.Cause)
			assert.Equal(t, rolegate.SyncRunning, s.Sync.State)
			assert.Equal(t, "in the upstream's words", s.Sync.Text)
			after(20 * minutes)
			assert.True(t, allowed(gate, 100), "two full refreshes that agree do not count while it runs")

			sync.set(rolegate.SyncDone)
			after(16 * time.Second)
			assert.False(t, allowed(gate, 100), "a full refresh at once when it ends")
			assert.Zero(t, gate.Status().Held)
		})
	})
	t.Run("for SyncHold at most, and not again until none is held", func(t *testing.T) {
		t.Parallel()
		begin(t, func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate) {
			sync.set(rolegate.SyncRunning)
			source.Remove(100)
			refreshAll(t, gate)
			after(29 * minutes)
			assert.True(t, allowed(gate, 100))
			source.Remove(99)
			after(90 * time.Second)
			assert.False(t, allowed(gate, 100), "30 min from the first that was held")
			assert.False(t, allowed(gate, 99))

			source.Remove(98)
			refreshAll(t, gate)
			assert.True(t, allowed(gate, 98), "none was held, so it may be held again")
		})
	})
	t.Run("what many syncs leave is for the shrink guard", func(t *testing.T) {
		t.Parallel()
		begin(t, func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate) {
			sync.set(rolegate.SyncRunning)
			source.Set(users(10)...)
			refreshAll(t, gate)
			sync.set(rolegate.SyncDone)
			after(16 * time.Second)
			assert.Equal(t, 100, listed(gate, 100), "a full refresh during a sync is no witness for the shrink guard")
			assert.Equal(t, "shrink_guard", gate.Status().Held.Cause)
			after(17 * minutes)
			assert.Equal(t, 10, listed(gate, 100))
		})
	})
	t.Run("AcceptShrink goes over it", func(t *testing.T) {
		t.Parallel()
		begin(t, func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate) {
			sync.set(rolegate.SyncRunning)
			source.Set(users(10)...)
			require.NoError(t, acceptShrink(t.Context(), gate))
			assert.Equal(t, 10, listed(gate, 100))
		})
	})
	for name, broken := range map[string]func(*syncing){
		"an unknown state":             func(*syncing) {},
		"a checker that hangs":         func(s *syncing) { s.hang.Store(true) },
		"a checker that panics":        func(s *syncing) { s.fail.Store(true) },
		"a state that does not exist":  func(s *syncing) { s.set(99) },
		"a sync that is done already ": func(s *syncing) { s.set(rolegate.SyncDone) },
	} {
		t.Run(name+" holds nothing", func(t *testing.T) {
			t.Parallel()
			begin(t, func(t *testing.T, source *rolegatetest.Static, sync *syncing, gate *rolegate.Gate) {
				broken(sync)
				source.Remove(100)
				begun := time.Now()
				refreshAll(t, gate)
				assert.LessOrEqual(t, time.Since(begun), 10*time.Second)
				assert.False(t, allowed(gate, 100))
				if sync.hang.Load() || sync.fail.Load() {
					assert.Positive(t, gate.Status().Sync.Failed)
					assert.NotEmpty(t, gate.Status().Sync.Error)
					assert.NotContains(t, gate.Status().Sync.Error, "alice")
				}
				sync.hang.Store(false)
				after(time.Minute)
			})
		})
	}
}
