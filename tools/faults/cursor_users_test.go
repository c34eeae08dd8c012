package faults_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An empty list is held by the shrink guard, also with nine users, until a
// second full refresh agrees; at the very first start it is believed, and everybody is
// denied.
func TestFault19EmptyList(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1, 9, 100} {
		few := tickSetup{list: func(m *rolegatetest.Marketplace) {
			m.Clear()
			for id := range n {
				m.Put(tickUser(id+1, "teacher"))
			}
		}}
		listed := func(t *testing.T, h *tickHouse) (all int64) {
			for id := range n {
				if h.allowed(t, id+1) {
					all++
				}
			}
			return all
		}
		tickRun(t, fmt.Sprintf("%d users: held until full refreshes agree for long enough", n), few, func(t *testing.T, h *tickHouse) {
			tickAfter(time.Second)
			before := h.gate.Status()
			h.m.Clear()
			require.ErrorIs(t, h.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			assert.Equal(t, n, listed(t, h), "all are admitted still")
			now := h.gate.Status()
			assert.EqualValues(t, n, now.Held.Users)
			assert.Equal(t, "shrink_guard", now.Held.Cause)
			assert.Equal(t, before.Verified, now.Verified, "what was revoked is not known to requests")
			assert.Equal(t, rolegate.StateReady, now.State)
			assert.Equal(t, 1, h.book.count(slog.LevelError, "shrunk too much"))
			h.silent(t, nil)
			tickAfter(14 * time.Minute)
			assert.Equal(t, n, listed(t, h))
			tickAfter(3 * time.Minute)
			assert.Zero(t, listed(t, h), "full refreshes have agreed for a quarter of an hour")
			assert.Zero(t, h.gate.Status().Held)
			assert.True(t, h.gate.Status().Verified.After(before.Verified))
			assert.Equal(t, http.StatusForbidden, tickAsk(t, h.gate.Admit(tickNever(t)), 1).Code)
			h.goesOn(t)
		})
		tickRun(t, fmt.Sprintf("%d users: empty for a moment", n), few, func(t *testing.T, h *tickHouse) {
			backup := h.m.Backup()
			h.m.Clear()
			require.ErrorIs(t, h.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			h.m.Restore(backup)
			for range 400 {
				tickAfter(time.Second)
				require.Equal(t, n, listed(t, h), "nobody is ever locked out")
			}
			assert.Zero(t, h.gate.Status().Held)
			h.goesOn(t)
		})
		tickRun(t, fmt.Sprintf("%d users: an operator who has looked", n), few, func(t *testing.T, h *tickHouse) {
			h.m.Clear()
			require.NoError(t, acceptShrink(t.Context(), h.gate))
			assert.Zero(t, listed(t, h))
		})
	}
	tickRun(t, "at the very first start", tickSetup{list: (*rolegatetest.Marketplace).Clear}, func(t *testing.T, h *tickHouse) {
		assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
		assert.Zero(t, h.gate.Status().Users)
		assert.Zero(t, h.gate.Status().Held)
		for id := int64(1); id <= tickIDs; id++ {
			assert.Equal(t, rolegate.ReasonNotAuthorized, h.gate.Decide(t.Context(), rolegate.UserID(id)).Reason)
			assert.Equal(t, http.StatusForbidden, tickAsk(t, h.gate.Admit(tickNever(t)), id).Code)
		}
		require.NoError(t, h.gate.RefreshAll(t.Context()))
		h.goesOn(t)
	})
}

// Who is gone from the list is denied right after the list is published, and admitted again
// when they are back. A bad record denies its user although a good one says that
// they are admin, whatever the shrink guard holds.
func TestFault20GoneAndBackGoodAndBad(t *testing.T) {
	t.Parallel()
	twenty := tickSetup{list: func(m *rolegatetest.Marketplace) {
		for id := int64(3); id <= 20; id++ {
			m.Put(tickUser(id, "teacher"))
		}
	}}
	tickRun(t, "gone, and back", twenty, func(t *testing.T, h *tickHouse) {
		admit := h.gate.Admit(tickOK)
		for range 3 {
			h.m.Revoke(tickBob)
			require.NoError(t, h.gate.RefreshAll(t.Context()))
			assert.False(t, h.allowed(t, tickBob), "right after the list is published")
			assert.Equal(t, http.StatusForbidden, tickAsk(t, admit, tickBob).Code, "and no refresh on deny brings the user back")
			require.NoError(t, h.gate.Refresh(t.Context()))
			assert.False(t, h.allowed(t, tickBob), "nor does an increment")
			assert.Equal(t, 19, h.gate.Status().Users)

			h.m.Put(tickUser(tickBob, "admin"))
			require.NoError(t, h.gate.Refresh(t.Context()))
			assert.True(t, h.isAdmin(t, tickBob))
			assert.Equal(t, http.StatusOK, tickAsk(t, admit, tickBob).Code)
			require.NoError(t, h.gate.RefreshAll(t.Context()))
			assert.True(t, h.isAdmin(t, tickBob))
		}
	})
	tickRun(t, "gone, and back: by the loop alone", twenty, func(t *testing.T, h *tickHouse) {
		h.m.Revoke(tickBob)
		tickUntil(t, tickResync*11/10+time.Second, func() bool { return !h.allowed(t, tickBob) })
		h.m.Put(tickUser(tickBob, "admin"))
		tickUntil(t, tickEvery*11/10+time.Second, func() bool { return h.isAdmin(t, tickBob) })
	})

	good := func(sequence int64) string {
		return fmt.Sprintf(`{"userId":2,"lastSequence":%d,"roleList":[{"orgId":7,"roleCode":"admin"}]}`, sequence)
	}
	bad := func(sequence int64) string {
		return fmt.Sprintf(`{"userId":2,"lastSequence":%d}`, sequence)
	}
	nameless := func(int64) string { return `{"userId":2,"roleList":[]}` }
	for name, rows := range map[string][]func(sequence int64) string{
		"a good record, then a bad one":  {good, bad},
		"a bad record, then a good one":  {bad, good},
		"between two good ones":          {good, bad, good},
		"a bad one without its sequence": {good, nameless},
	} {
		for _, pull := range tickPulls {
			tickRun(t, name+": "+pull.name, twenty, func(t *testing.T, h *tickHouse) {
				require.True(t, h.isAdmin(t, tickBob))
				h.m.Revoke(tickBob)
				for i, row := range rows { // bob's rows, in the places of others
					place := int64(100 + i)
					h.m.Put(rolegatetest.User{ID: place})
					h.m.Raw(place, row(h.m.Sequence()))
				}
				require.NoError(t, pull.pull(t.Context(), h.gate))
				assert.Positive(t, pull.status(h.gate.Status()).Outcome.BadRecords)
				assert.False(t, h.allowed(t, tickBob))
				assert.Equal(t, http.StatusForbidden, tickAsk(t, h.gate.Admit(tickNever(t)), tickBob).Code)
				assert.Equal(t, 19, h.gate.Status().Users, "and nobody else")
				h.silent(t, nil)

				synctest.Wait() // for the refresh that the refusal has caused: it is to see the bad one or the good one
				for i := range rows {
					h.m.Revoke(int64(100 + i))
				}
				h.m.Put(tickUser(tickBob, "admin"))
				require.NoError(t, pull.pull(t.Context(), h.gate))
				assert.True(t, h.isAdmin(t, tickBob), "a later pull with a good one alone lifts it")
			})
		}
	}
	record := func(id, sequence int64) rolegate.Record { return tickRecord(id, sequence, "teacher", "admin") }
	invalid := func(id, sequence int64) rolegate.Record {
		return rolegate.Record{UserID: id, Sequence: sequence, Bad: errors.New("roleList: expected an array")}
	}
	many := func(n int64, more ...rolegate.Record) (list []rolegate.Record) {
		for id := range n {
			list = append(list, record(id+1, 5))
		}
		return append(list, more...)
	}
	t.Run("while the shrink guard holds the others", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(many(100)...)
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			source.Set(append(many(20), invalid(2, 9))...)
			require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			assert.False(t, tickAllowed(gate, 2), "the record is invalid")
			assert.True(t, tickAllowed(gate, 90), "the removal is held")
			assert.Equal(t, 80, gate.Status().Held.Users)
		})
	})
	t.Run("of one whose removal is held", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(many(100)...)
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			source.Set(many(20)...)
			require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
			require.True(t, tickAllowed(gate, 90))
			source.Put(record(90, 6), invalid(90, 9))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.False(t, tickAllowed(gate, 90))
			assert.Equal(t, 79, gate.Status().Held.Users)
		})
	})
	t.Run("of everybody there is", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(2, 5))
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			require.True(t, tickAllowed(gate, 2))
			source.Set(record(2, 5), invalid(2, 9))
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.False(t, tickAllowed(gate, 2), "the shrink guard holds no bad record")
			assert.Zero(t, gate.Status().Held)
		})
	})
}

// An increment that began before a full refresh never brings back a user
// that the full refresh has found gone.
func TestFault21IncrementBesideAFullRefresh(t *testing.T) {
	t.Parallel()
	list := []rolegate.Record{tickRecord(1, 1, "teacher"), tickRecord(2, 2, "teacher"), tickRecord(3, 3, "teacher")}
	for name, begin := range map[string]func(gate *rolegate.Gate){
		"that was asked for": func(gate *rolegate.Gate) { _ = gate.Refresh(context.Background()) },
		"on deny":            func(gate *rolegate.Gate) { tickAskWith(context.Background(), gate.Admit(tickOK), 99) },
		"of the loop":        func(*rolegate.Gate) {}, // when its time has come
	} {
		for _, fails := range []bool{false, true} {
			t.Run(fmt.Sprintf("an increment %s, failing=%t", name, fails), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					source := &tickScript{pull: tickYield(list...)}
					gate, _ := tickGate(t, rolegate.Config{Source: source})
					began := false
					source.set(func(ctx context.Context, after int64, yield func(rolegate.Record)) error {
						switch {
						case after == 0: // user 2 is gone by now
							return tickYield(list[0], list[2])(ctx, after, yield)
						case began:
							return nil
						}
						// The page was read while the user was there, and arrives late.
						began = true
						if err := tickWait(ctx, 10*time.Second); err != nil {
							return err
						}
						yield(tickRecord(2, 9, "admin"))
						if fails {
							return errors.New("broken")
						}
						return nil
					})
					go begin(gate)
					tickUntil(t, 70*time.Second, func() bool { return gate.Status().Incremental.Running })
					synctest.Wait() // it has asked, and waits for its page
					require.NoError(t, gate.RefreshAll(t.Context()))
					synctest.Wait()
					assert.Zero(t, gate.Status().Incremental.Succeeded, "what was read before the full refresh ended does not count")
					for range 5 * 60 {
						require.False(t, tickAllowed(gate, 2), "from the full refresh on")
						tickAfter(time.Second)
					}
					assert.True(t, tickAllowed(gate, 1))
					assert.True(t, tickAllowed(gate, 3))
					assert.Positive(t, gate.Status().Incremental.Succeeded, "increments go on")
				})
			})
		}
	}
	t.Run("that waits for the full refresh to be published", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			// The full refresh has read its list, without 2, and is slow to read what came
			// meanwhile. An increment that is asked for now must not go on from
			// the list before, on which 2 is.
			source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"), tickRecord(2, 2, "teacher"), tickRecord(3, 3, "teacher"))}
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			source.set(func(ctx context.Context, after int64, yield func(rolegate.Record)) error {
				if after > 0 {
					if err := tickWait(ctx, 20*time.Second); err != nil {
						return err
					}
				}
				return tickYield(tickRecord(1, 1, "teacher"), tickRecord(3, 4, "teacher"))(ctx, after, yield)
			})
			refreshed := make(chan error, 1)
			go func() { refreshed <- gate.RefreshAll(t.Context()) }()
			tickAfter(10 * time.Second)
			pulled := make(chan error, 1)
			go func() { pulled <- gate.Refresh(t.Context()) }()
			require.NoError(t, <-refreshed)
			assert.False(t, tickAllowed(gate, 2))
			require.NoError(t, <-pulled)
			assert.False(t, tickAllowed(gate, 2))
			assert.True(t, tickAllowed(gate, 3))
		})
	})
}
