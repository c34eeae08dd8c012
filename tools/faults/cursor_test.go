package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A full page that does not advance could hide everybody behind it: the list
// stays, as cursor_tie if all of it has one sequence. A short one that does not advance is what a server
// sends whose cursor is inclusive: there the list ends.
func TestFault15PageThatDoesNotAdvance(t *testing.T) {
	t.Parallel()
	row := func(id, sequence string) string {
		return `{"userId":` + id + `,"lastSequence":` + sequence + `,"roleList":[]}`
	}
	full := func(sequence string) rolegatetest.Fault {
		return rolegatetest.Body(tickPage200(row("9", sequence), row("10", sequence), row("11", sequence), row("12", sequence)))
	}
	for name, c := range map[string]struct {
		fault rolegatetest.Fault
		want  rolegate.Failure
	}{
		"full, of the sequence asked for":       {rolegatetest.NoProgress(), marketplace.FailureCursorTie},
		"full, the same whatever is asked for":  {full("90"), marketplace.FailureCursorTie},
		"full, without sequences to go on from": {full(`"?"`), marketplace.FailureCursorLoop},
	} {
		for _, pull := range tickPulls {
			tickRun(t, name+": "+pull.name, tickSetup{}, func(t *testing.T, h *tickHouse) {
				tickAfter(time.Second)
				h.m.Fail(c.fault)
				began := h.line.count()
				h.keeps(t, pull, c.want)
				assert.LessOrEqual(t, h.line.count()-began, 4, "it does not go round and round")
				h.goesOn(t)
			})
		}
	}
	tied := func(n int64) func(*rolegatetest.Marketplace) {
		return func(m *rolegatetest.Marketplace) {
			var users []rolegatetest.User
			for id := range n {
				users = append(users, tickUser(id+4, "teacher"))
			}
			m.PutTied(users...)
		}
	}
	t.Run("full: more users of one sequence than a page holds", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			h := tickOpen(t, tickSetup{marketplace: rolegatetest.MarketplaceConfig{Inclusive: true}})
			tickAfter(time.Second)
			tied(5)(h.m)
			h.keeps(t, tickPulls[0], marketplace.FailureCursorTie)
			h.advances(t, marketplace.FailureCursorTie)
			h.m.Touch(4, 5) // so that fewer share one
			h.goesOn(t)
			assert.Equal(t, 8, h.gate.Status().Users)
		})
	})
	for name, s := range map[string]tickSetup{
		"short: an inclusive server":                       {marketplace: rolegatetest.MarketplaceConfig{Inclusive: true}},
		"short: an inclusive server with users who share":  {marketplace: rolegatetest.MarketplaceConfig{Inclusive: true}, list: tied(3)},
		"short: an inclusive server that gives two a page": {marketplace: rolegatetest.MarketplaceConfig{Inclusive: true, PageCap: 2}},
	} {
		tickRun(t, name, s, func(t *testing.T, h *tickHouse) {
			listed := h.m.Len()
			for _, pull := range tickPulls {
				began := h.line.count()
				require.NoError(t, pull.pull(t.Context(), h.gate))
				assert.LessOrEqual(t, h.line.count()-began, 10, "the list ends")
				assert.Equal(t, listed, h.gate.Status().Users)
				assert.Equal(t, h.m.Sequence(), h.gate.Status().Cursor)
			}
			h.goesOn(t)
			assert.Empty(t, h.gate.Status().Failures)
		})
	}
	tickRun(t, "short: the same page whatever is asked for", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.m.Fail(rolegatetest.Body(tickPage200(row("9", "2"), row("10", "2"))))
		require.NoError(t, h.gate.Refresh(t.Context()))
		assert.True(t, h.allowed(t, 9))
		assert.Equal(t, 4, h.gate.Status().Users)
		assert.Equal(t, int64(2), h.gate.Status().Cursor)
	})
}

// tickPage200 is a page of these rows.
func tickPage200(rows ...string) string {
	page := `{"code":200,"status":"success","message":"","data":[`
	for i, row := range rows {
		if i > 0 {
			page += ","
		}
		page += row
	}
	return page + "]}"
}

// A sequence below the cursor says that the upstream was set back: a full refresh
// follows, everything stays until it is done, and the cursor follows it down.
func TestFault16UpstreamSetBack(t *testing.T) {
	t.Parallel()
	// setBack has three users come and be seen, and then be forgotten with the
	// sequences that they had.
	setBack := func(t *testing.T, h *tickHouse) (low int64) {
		t.Helper()
		backup := h.m.Backup()
		for id := int64(4); id < 7; id++ {
			h.m.Put(tickUser(id, "teacher"))
		}
		require.NoError(t, h.gate.Refresh(t.Context()))
		require.True(t, h.allowed(t, 6))
		tickAfter(4 * time.Minute) // until increments look back no further than this
		h.m.Restore(backup)
		require.Less(t, h.m.Sequence(), h.gate.Status().Cursor)
		return h.m.Sequence()
	}
	tickRun(t, "seen by an increment", tickSetup{}, func(t *testing.T, h *tickHouse) {
		low := setBack(t, h)
		before, decided := h.gate.Status(), h.decisions(t)
		h.m.FailWhen(func(r rolegatetest.Request) bool { return r.After > low }, rolegatetest.StuckPage())
		// The full refresh that follows reads at once, but takes 20 s for its page, and
		// fails the first time.
		var fulls atomic.Int64
		h.m.FailWhen(rolegatetest.Request.BeginsFullRefresh, func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
			if fulls.Add(1) == 1 {
				rolegatetest.HTTPStatus(http.StatusInternalServerError)(w, r, normal)
				return
			}
			rolegatetest.Slow(10*time.Second)(w, r, normal)
		})
		h.keeps(t, tickPulls[1], rolegate.FailureCursorRegressed)
		synctest.Wait()
		assert.EqualValues(t, 1, fulls.Load(), "a full refresh follows at once")
		tickUntil(t, 2*time.Second, func() bool { return fulls.Load() == 2 })
		tickAfter(9 * time.Second)
		require.True(t, h.gate.Status().Full.Running)
		h.kept(t, before, decided)
		tickUntil(t, time.Minute, func() bool { return !h.gate.Status().Full.Running })
		now := h.gate.Status()
		assert.Equal(t, low, now.Cursor, "the cursor follows the full refresh down")
		assert.True(t, now.Verified.After(before.Verified))
		assert.False(t, h.allowed(t, 6))
		assert.True(t, h.allowed(t, tickAlice))
		h.m.Recover()
		h.m.Put(tickUser(8, "teacher")) // with a sequence that somebody had before
		require.NoError(t, h.gate.Refresh(t.Context()))
		assert.True(t, h.allowed(t, 8))
		h.goesOn(t)
	})
	tickRun(t, "seen by a full refresh alone", tickSetup{}, func(t *testing.T, h *tickHouse) {
		low := setBack(t, h)
		require.NoError(t, h.gate.Refresh(t.Context()), "an exclusive server has nothing above the cursor, and says no more")
		require.NoError(t, h.gate.RefreshAll(t.Context()))
		assert.Equal(t, low, h.gate.Status().Cursor)
		assert.False(t, h.allowed(t, 6))
		assert.Empty(t, h.gate.Status().Failures)
		h.m.Put(tickUser(8, "teacher"))
		require.NoError(t, h.gate.Refresh(t.Context()))
		assert.True(t, h.allowed(t, 8))
	})
	tickRun(t, "a later page of a full refresh that lies below", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.m.Put(tickUser(8, "teacher"), tickUser(9, "teacher"))
		h.m.FailWhen(rolegatetest.Request.GoesOn, rolegatetest.StuckPage())
		h.keeps(t, tickPulls[0], rolegate.FailureCursorRegressed)
		h.goesOn(t)
		assert.True(t, h.allowed(t, 9))
	})
	for name, back := range map[string]rolegate.Record{
		"a good record":                  tickRecord(2, 5, "teacher", "admin"),
		"a bad record":                   {UserID: 2, Sequence: 5, Bad: errors.New("roleList: expected an array")},
		"a bad record without a user id": {Sequence: 5, Bad: errors.New("userId: expected an integer")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				list := []rolegate.Record{tickRecord(1, 10, "teacher"), tickRecord(2, 20, "teacher")}
				source := &tickScript{pull: tickYield(list...)}
				gate, _ := tickGate(t, rolegate.Config{Source: source})
				before := gate.Status()
				var fulls atomic.Int64
				source.set(func(ctx context.Context, after int64, yield func(rolegate.Record)) error {
					if after > 0 {
						yield(back)
						return nil
					}
					fulls.Add(1)
					if err := tickWait(ctx, 10*time.Second); err != nil {
						return err
					}
					return tickYield(tickRecord(1, 4, "teacher"))(ctx, after, yield)
				})
				var failed *rolegate.PullError
				require.ErrorAs(t, gate.Refresh(t.Context()), &failed)
				assert.Equal(t, rolegate.FailureCursorRegressed, failed.Failure)
				synctest.Wait()
				require.EqualValues(t, 1, fulls.Load(), "at once")
				now := gate.Status()
				assert.Equal(t, before.Contact, now.Contact)
				assert.Equal(t, int64(20), now.Cursor)
				assert.True(t, tickAllowed(gate, 2), "until full refreshes agree")
				source.set(tickYield(tickRecord(1, 4, "teacher")))
				tickUntil(t, 3*time.Minute, func() bool { return gate.Status().Cursor == 4 }) // once it is no server that lags
				assert.False(t, tickAllowed(gate, 2))
				assert.True(t, tickAllowed(gate, 1))
			})
		})
	}
}

// Pages without end come to one at the cap, and the list stays. Pages shorter
// than asked for are not the end of the list.
func TestFault17EndlessAndShortPages(t *testing.T) {
	t.Parallel()
	capped := tickSetup{client: func(c *marketplace.Config) { c.MaxUsers = 50 }}
	one := func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		var after int64
		_, _ = fmt.Sscan(r.URL.Query().Get("lastSequence"), &after)
		row := fmt.Sprintf(`{"userId":%d,"lastSequence":%d,"roleList":[]}`, after+1, after+1)
		rolegatetest.Body(tickPage200(row, fmt.Sprintf(`{"userId":%d,"lastSequence":%d,"roleList":[]}`, after+2, after+2)))(w, r, nil)
	}
	for name, fault := range map[string]rolegatetest.Fault{
		"full pages without end":  rolegatetest.Endless(),
		"short pages without end": one,
	} {
		for _, pull := range tickPulls {
			tickRun(t, name+": "+pull.name, capped, func(t *testing.T, h *tickHouse) {
				tickAfter(time.Second)
				h.m.Fail(fault)
				began := h.line.count()
				fail := h.keeps
				if pull.name == "incremental" { // each page of users that the list does not end with is as good as any
					fail = func(t *testing.T, _ tickPull, want rolegate.Failure) error { return h.advances(t, want) }
				}
				err := fail(t, pull, rolegate.FailureTooLarge)
				require.ErrorContains(t, err, "MaxUsers, 50", "it says what the cap is called")
				assert.LessOrEqual(t, h.line.count()-began, 60)
				if pull.name == "incremental" { // the shrink guard holds them, since nobody but the list says that they are none
					h.m.Recover()
					tickUntil(t, 30*time.Minute, func() bool { return h.gate.Status().Users == 2 && h.gate.Status().Held == (rolegate.HeldStatus{}) })
				}
				h.goesOn(t)
			})
		}
	}
	for _, inclusive := range []bool{false, true} {
		for _, rows := range []int{1, 3} {
			s := tickSetup{
				marketplace: rolegatetest.MarketplaceConfig{PageCap: rows, Inclusive: inclusive},
				list: func(m *rolegatetest.Marketplace) {
					for id := int64(3); id <= 21; id++ {
						m.Put(tickUser(id, "teacher"))
					}
				},
				client: func(c *marketplace.Config) { c.PageSize = 0 }, // asks for hundreds
			}
			tickRun(t, fmt.Sprintf("%d a page before the end, inclusive=%t", rows, inclusive), s, func(t *testing.T, h *tickHouse) {
				assert.Equal(t, 21, h.gate.Status().Users, "the full refresh goes on")
				for id := int64(22); id <= 31; id++ {
					h.m.Put(tickUser(id, "teacher"))
				}
				require.NoError(t, h.gate.Refresh(t.Context()))
				assert.Equal(t, 31, h.gate.Status().Users, "and so does an increment")
				require.NoError(t, h.gate.RefreshAll(t.Context()))
				assert.Equal(t, 31, h.gate.Status().Users)
				assert.Empty(t, h.gate.Status().Failures)
			})
		}
	}
}

// When a page of many fails, nothing of the whole full refresh is visible, nor is
// anything while it is under way. Of an increment, the pages before it count,
// and no age moves.
func TestFault18OnePageOfMany(t *testing.T) {
	t.Parallel()
	house := tickSetup{
		list: func(m *rolegatetest.Marketplace) {
			for id := int64(100); id < 120; id++ {
				m.Put(tickUser(id, "teacher"))
			}
		},
	}
	// Alice goes, bob is no admin any more, and somebody new comes: at the head,
	// in the middle and at the end of the list.
	change := func(h *tickHouse) {
		h.m.Revoke(tickAlice, 110)
		h.m.Take(tickBob, 7, "admin")
		h.m.Put(tickUser(tickNewcom, "admin"))
		for id := int64(200); id < 210; id++ {
			h.m.Put(tickUser(id, "teacher"))
		}
	}
	for name, c := range map[string]struct {
		fault rolegatetest.Fault
		want  rolegate.Failure
	}{
		"breaks off":     {rolegatetest.Truncated(), marketplace.FailureMalformed},
		"is an error":    {rolegatetest.ErrorEnvelope(500, "no"), marketplace.FailureUpstream},
		"is no list":     {rolegatetest.Body(`{"code":200}`), marketplace.FailureMalformed},
		"loses the line": {rolegatetest.Reset(), marketplace.FailureNetwork},
	} {
		for _, pull := range tickPulls {
			tickRun(t, pull.name+": page k "+name, house, func(t *testing.T, h *tickHouse) {
				change(h)
				pages := 0
				for k := 1; pages == 0; k++ {
					before, decided := h.gate.Status(), h.decisions(t)
					page := 0
					h.m.FailWhen(func(rolegatetest.Request) bool {
						page++
						if pull.name == "full refresh" {
							h.kept(t, before, decided) // in the middle of the refresh
						}
						return page >= k // and when it is asked for again
					}, c.fault)
					if err := pull.pull(t.Context(), h.gate); err != nil && pull.name == "full refresh" {
						h.failed(t, pull, c.want, err, before, decided)
					} else if err != nil {
						now := h.gate.Status()
						assert.Equal(t, before.Contact, now.Contact, "no age moves by a part of the changes")
						assert.Equal(t, before.Verified, now.Verified)
						assert.GreaterOrEqual(t, now.Cursor, before.Cursor, "the pages that were read count")
						h.counted(t, pull, c.want, err, before)
					} else {
						require.Less(t, page, k, "there is no page left that has not failed")
						pages = page
					}
					h.m.Recover()
				}
				if pull.name == "full refresh" {
					assert.GreaterOrEqual(t, pages, 5)
				} else {
					assert.GreaterOrEqual(t, pages, 2, "it goes on from the pages that counted")
				}
				assert.False(t, h.isAdmin(t, tickBob), "the refresh that has succeeded counts as a whole")
				assert.True(t, h.isAdmin(t, tickNewcom))
				assert.Equal(t, pull.name == "incremental", h.allowed(t, tickAlice))
				h.m.Recover()
				h.goesOn(t)
				assert.False(t, h.allowed(t, tickAlice))
			})
		}
	}
	t.Run("of the very first full refresh", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := house
			s.list = func(m *rolegatetest.Marketplace) {
				house.list(m)
				m.FailWhen(func(r rolegatetest.Request) bool { return r.After > 8 }, rolegatetest.Truncated())
			}
			s.gate = func(c *rolegate.Config) { c.StartEmpty = true }
			h := tickOpen(t, s)
			tickAfter(5 * time.Minute)
			assert.Zero(t, h.gate.Status().Users)
			assert.Equal(t, rolegate.ReasonNotReady, h.gate.Decide(t.Context(), rolegate.UserID(tickAlice)).Reason)
			h.m.Recover()
			tickUntil(t, tickBackOff, func() bool { return h.allowed(t, tickAlice) })
			assert.Equal(t, 22, h.gate.Status().Users)
		})
	})
}
