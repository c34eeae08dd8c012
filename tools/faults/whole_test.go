package faults_test

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// More users with one sequence than a page holds cannot be read past: whatever
// kind of server it is, the refresh fails, names the sequence and how many there
// are, and locks nobody out. A list that can be read is whole.
func TestFault66ManyUsersWithOneSequence(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		sequences func(id int64) int64
		users     int64
		limit     int
		cap       int
		fails     bool
	}{
		{"25 of 40 in the middle", func(id int64) int64 { return max(min(id, 8), id-24) }, 40, 10, 0, true},
		{"all of 25", func(int64) int64 { return 7 }, 25, 10, 0, true},
		{"all of 250, where pages are capped", func(int64) int64 { return 7 }, 250, 1000, 100, true},
		{"120 of 250, where pages are capped", func(id int64) int64 { return max(id-120, 9) }, 250, 1000, 100, true},
		{"the last 30 of 100", func(id int64) int64 { return min(id, 71) }, 100, 20, 0, true},
		{"all 0", func(int64) int64 { return 0 }, 30, 10, 0, true},
		{"all 0, where pages are capped", func(int64) int64 { return 0 }, 300, 1000, 100, true},
		{"25 old ones of 0 before numbered ones", func(id int64) int64 { return max(0, id-25) }, 40, 10, 0, true},
		{"5 old ones of 0 before numbered ones", func(id int64) int64 { return max(0, id-5) }, 40, 10, 0, false},
		{"pairs", func(id int64) int64 { return id/2 + 1 }, 41, 10, 0, false},
		{"as many as a page has but one", func(id int64) int64 { return id / 9 * 9 }, 90, 10, 0, false},
		{"three all of 0", func(int64) int64 { return 0 }, 3, 10, 0, false},
		{"nine all of 0", func(int64) int64 { return 0 }, 9, 1000, 0, false},
		{"nine all of one, where pages are capped", func(int64) int64 { return 5 }, 9, 1000, 100, false},
	} {
		for _, inclusive := range []bool{false, true} {
			for _, pull := range tickPulls {
				inBubble(t, fmt.Sprintf("%s, inclusive=%t: %s", c.name, inclusive, pull.name), func(t *testing.T) {
					s := &rowServer{inclusive: inclusive, cap: c.cap}
					for id := range c.users {
						s.put(id+1, 1000+id)
					}
					gate, book := openOn(t, s, c.limit, rarely)
					require.Equal(t, int(c.users), gate.Status().Users)
					ties := map[int64]int{}
					for id := range c.users { // a batch job gives everybody new numbers
						sequence := c.sequences(id + 1)
						if pull.name == "incremental" && sequence >= 0 {
							sequence += 10_000
						}
						ties[sequence]++
						s.put(id+1, sequence)
					}
					sent := s.requests.Load()
					err := pull.pull(t.Context(), gate)
					older := strings.Contains(fmt.Sprint(err), "older_list")
					if pull.name == "full refresh" && older { // the numbers went down: believed later
						tickAfter(2 * time.Minute)
						sent = s.requests.Load()
						err = pull.pull(t.Context(), gate)
					}
					assert.LessOrEqual(t, s.requests.Load()-sent, 3*(c.users/int64(c.limit)+c.users/int64(max(c.cap, c.limit))+4))
					assert.Equal(t, int(c.users), gate.Status().Users, "nobody is lost")
					for id := range c.users {
						require.True(t, tickAllowed(gate, id+1))
					}
					switch {
					case c.fails:
						most, n := int64(0), 0
						for sequence, users := range ties {
							if users > n {
								most, n = sequence, users
							}
						}
						refuses(t, err, marketplace.FailureCursorTie, fmt.Sprintf("sequence %d", most))
						assert.Positive(t, gate.Status().Failures[marketplace.FailureCursorTie])
						assert.Contains(t, book.String(), "a sequence of its own", "what to do")
					default:
						require.NoError(t, err)
					}
				})
			}
		}
	}
}

// Pages in descending order would have the cursor skip all others: the refresh
// fails and says so. Rows in any order within a page are fine.
func TestFault67PagesInDescendingOrder(t *testing.T) {
	t.Parallel()
	for _, users := range []int64{10, 11, 40, 300} {
		for _, cap := range []int{10, 100} {
			tickRun(t, fmt.Sprintf("descending: %d users, %d a page", users, cap), listHouse(users, refreshed(rarely), pagesOf(cap)), func(t *testing.T, h *tickHouse) {
				h.m.Fail(rolegatetest.Descending())
				for _, pull := range tickPulls {
					for id := range users {
						h.m.Touch(id + 1)
					}
					before := h.gate.Status()
					err := pull.pull(t.Context(), h.gate)
					if users >= int64(cap) { // perhaps more than a page
						refuses(t, err, marketplace.FailureDescending, "descending", "ascending")
						assert.Equal(t, before.Cursor, h.gate.Status().Cursor)
						assert.Equal(t, before.Contact, h.gate.Status().Contact)
					} else if err != nil {
						refuses(t, err, marketplace.FailureDescending)
					}
					h.calm(t)
					assert.Equal(t, int(users), h.gate.Status().Users)
				}
			})
		}
	}
	for seed := range uint64(6) {
		for _, users := range []int64{9, 10, 40, 95} {
			tickRun(t, fmt.Sprintf("shuffled: %d users, seed %d", users, seed), listHouse(users, refreshed(rarely), pagesOf(10)), func(t *testing.T, h *tickHouse) {
				random := rand.New(rand.NewPCG(seed, 0))
				h.m.Fail(rowsRewritten(func(rows []json.RawMessage) []json.RawMessage {
					random.Shuffle(len(rows), func(i, j int) { rows[i], rows[j] = rows[j], rows[i] })
					return rows
				}))
				for range 5 {
					require.NoError(t, h.gate.RefreshAll(t.Context()))
					h.m.Put(tickUser(500+users, "teacher"), tickUser(501, "teacher"))
					require.NoError(t, h.gate.Refresh(t.Context()))
					h.calm(t)
					assert.Equal(t, h.m.Len(), h.gate.Status().Users)
				}
			})
		}
	}
}

// A full refresh whose highest sequence is below one that was seen before is older
// than what is known. It is applied only when a second one, at least a minute later,
// says the same.
func TestFault68AnOlderListThanTheOneKnown(t *testing.T) {
	t.Parallel()
	const says = "has shown an older list"
	for name, change := range map[string]func(h *tickHouse){
		"somebody was removed":                func(h *tickHouse) { h.m.Revoke(5); h.m.Put(tickUser(100, "teacher")) },
		"a role was taken":                    func(h *tickHouse) { h.m.Take(5, 7, "teacher") },
		"somebody was added, another changed": func(h *tickHouse) { h.m.Touch(7); h.m.Put(tickUser(100, "teacher")) },
		"everybody was changed": func(h *tickHouse) {
			for id := range int64(40) {
				h.m.Touch(id + 1)
			}
		},
		"somebody was removed late": func(h *tickHouse) { h.m.Touch(5); h.m.Revoke(5); h.m.Touch(6) },
	} {
		for _, restored := range []bool{false, true} {
			tickRun(t, fmt.Sprintf("%s, restored=%t", name, restored), listHouse(40, refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				backup := h.m.Backup()
				change(h)
				require.NoError(t, h.gate.RefreshAll(t.Context()))
				tickAfter(5 * time.Minute)
				before, decided := h.gate.Status(), h.decisions(t)
				if restored {
					h.m.Restore(backup)
				} else {
					h.m.Fail(rolegatetest.Lagging(backup))
				}
				for range 3 { // within a minute
					refuses(t, h.gate.RefreshAll(t.Context()), rolegate.FailureOlderList, fmt.Sprint(before.Cursor), "backup")
					now := h.gate.Status()
					assert.Equal(t, before.Verified, now.Verified, "no age moves")
					assert.Equal(t, decided, h.decisions(t))
					tickAfter(10 * time.Second)
				}
				assert.GreaterOrEqual(t, h.gate.Status().Failures[rolegate.FailureOlderList], uint64(3))
				assert.Len(t, h.book.warnings(says), 1, "told once")
				_ = h.gate.Refresh(t.Context())
				if !restored { // the server catches up
					h.m.Recover()
					require.NoError(t, h.gate.RefreshAll(t.Context()))
					assert.Equal(t, decided, h.decisions(t))
					return
				}
				tickUntil(t, 4*time.Minute, func() bool { return h.gate.Status().Verified.After(before.Verified) })
				assert.Equal(t, h.m.Sequence(), h.gate.Status().Cursor, "then it is believed")
				h.calm(t)
				assert.Len(t, h.book.warnings(says), 1, "told once")
			})
		}
	}
}

// A user who was removed does not come back because a load balancer picks a
// server that lags behind, nor does anybody lose their way in by it.
func TestFault69AServerThatLagsBehindAnother(t *testing.T) {
	t.Parallel()
	sometimes := func(part float64, seed uint64) func(n int, r rolegatetest.Request) bool {
		return func(n int, _ rolegatetest.Request) bool {
			return rand.New(rand.NewPCG(seed, uint64(n))).Float64() < part
		}
	}
	for name, lags := range map[string]func(n int, r rolegatetest.Request) bool{
		"every second request":      func(n int, _ rolegatetest.Request) bool { return n%2 == 0 },
		"two requests of three":     func(n int, _ rolegatetest.Request) bool { return n%3 > 0 },
		"the first page of each":    func(_ int, r rolegatetest.Request) bool { return r.BeginsFullRefresh() },
		"one in ten, by chance":     sometimes(0.1, 1),
		"half of them, by chance":   sometimes(0.5, 2),
		"two of three, by chance":   sometimes(0.66, 3),
		"for a minute of each five": func(n int, r rolegatetest.Request) bool { return r.Time.Minute()%5 == 0 },
	} {
		for _, rows := range []int{1000, 15} {
			tickRun(t, fmt.Sprintf("%s, %d a page", name, rows), listHouse(40, pagesOf(rows)), func(t *testing.T, h *tickHouse) {
				h.m.Touch(5)
				h.m.Touch(6)
				require.NoError(t, h.gate.Refresh(t.Context()))
				old := h.m.Backup()
				h.m.Revoke(5)
				h.m.Take(6, 7, "teacher")
				h.m.Put(tickUser(100, "teacher"))
				require.NoError(t, h.gate.RefreshAll(t.Context()))
				require.NoError(t, h.gate.Refresh(t.Context()))
				require.False(t, h.allowed(t, 5))
				n := 0
				h.m.FailWhen(func(r rolegatetest.Request) bool { n++; return lags(n, r) }, rolegatetest.Lagging(old))
				teacher := h.gate.Policy(rolegate.AnyRole("teacher"))
				for range 240 { // two hours
					tickAfter(30 * time.Second)
					require.False(t, h.allowed(t, 5), "a removed user came back after %v", h.gate.Status().Verified)
					require.False(t, teacher.Decide(t.Context(), rolegate.UserID(6), 0).Allowed(), "and so did a role")
					require.True(t, h.allowed(t, 100), "somebody who was added is locked out")
					h.calm(t)
					require.NotEqual(t, rolegate.StateExpired, h.gate.Status().State)
				}
				h.m.Recover()
				h.m.Put(tickUser(5, "teacher"))
				tickUntil(t, 3*time.Minute, func() bool { return h.allowed(t, 5) })
			})
		}
	}
}

// A transaction that commits late is seen by the next incremental refresh,
// although its row lies below the cursor.
func TestFault70ARowBelowTheCursor(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		takes    time.Duration // from its sequence to its commit
		lookBack time.Duration
		others   int // users who are changed meanwhile
	}{
		{"a second", time.Second, 0, 1},
		{"half a minute", 30 * time.Second, 0, 100},
		{"nearly two minutes", 118 * time.Second, 0, 100},
		{"nearly two minutes on a full list", 118 * time.Second, 0, 2500},
		{"nine minutes, with a longer look-back", 9 * time.Minute, 10 * time.Minute, 300},
	} {
		for phase := range 3 {
			s := listHouse(40, func(s *tickSetup) { s.gate = func(c2 *rolegate.Config) { c2.Refresh.LookBack = c.lookBack } })
			tickRun(t, fmt.Sprintf("%s, phase %d", c.name, phase), s, func(t *testing.T, h *tickHouse) {
				tickAfter(3*time.Minute + time.Duration(phase)*20*time.Second)
				grant := h.m.PutLate(tickUser(300, "teacher"))
				take := h.m.PutLate(tickUser(9)) // without a role
				for n := range c.others {
					if n%5 == 0 {
						tickAfter(c.takes * 5 / time.Duration(c.others+5))
					}
					h.m.Put(tickUser(1000+int64(n), "teacher"))
				}
				tickAfter(c.takes / 100)
				grant()
				take()
				teacher := h.gate.Policy(rolegate.AnyRole("teacher"))
				within(t, tickEvery*11/10+time.Second, "a late commit is seen", func() bool {
					return h.allowed(t, 300) && !teacher.Decide(t.Context(), rolegate.UserID(9), 0).Allowed()
				})
				assert.True(t, h.allowed(t, 9))
				generation := h.gate.Status().Generation
				tickAfter(2 * tickEvery)
				assert.LessOrEqual(t, h.gate.Status().Generation-generation, uint64(3), "rows that come again cost nothing")
				assert.Zero(t, h.gate.Status().Incremental.Outcome.Changed)
				h.calm(t)
			})
		}
	}
}

// One absurd sequence blinds no increment that follows.
func TestFault71AnAbsurdSequence(t *testing.T) {
	t.Parallel()
	for _, absurd := range []int64{1 << 62, 1<<63 - 1, 1 << 53, 1_764_500_000_000, 1 << 50} {
		for _, by := range []string{"increment", "full refresh"} {
			for _, inclusive := range []bool{false, true} {
				inBubble(t, fmt.Sprintf("%d, seen by an %s, inclusive=%t", absurd, by, inclusive), func(t *testing.T) {
					s := &rowServer{inclusive: inclusive}
					for id := range int64(40) {
						s.put(id+1, id+1)
					}
					gate, _ := openOn(t, s, 1000, rolegate.Refresh{})
					s.put(60, absurd)
					if by == "increment" {
						require.NoError(t, gate.Refresh(t.Context()))
					} else {
						_ = gate.RefreshAll(t.Context())
					}
					assert.True(t, tickAllowed(gate, 60))
					tickAfter(5 * time.Minute)
					next := int64(61)
					for range 5 { // which are numbered as ever
						s.put(next, next)
						within(t, tickEvery*11/10+time.Second, "a grant counts", func() bool { return tickAllowed(gate, next) })
						next++
					}
					s.remove(60)
					within(t, tickResync*11/10+time.Second, "who has it is removed", func() bool { return !tickAllowed(gate, 60) })
					s.put(next, next)
					within(t, tickEvery*11/10+time.Second, "a grant counts", func() bool { return tickAllowed(gate, next) })
					assert.NotEqual(t, rolegate.StateExpired, gate.Status().State)
				})
			}
		}
	}
}
