package faults_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// aliases are the kinds of identity by which a user may be known, with what one has.
func aliases() map[string]struct {
	by   rolegate.Identifier
	name func(id int64) string
} {
	header := func(r *http.Request) (string, error) { return r.Header.Get("X-User"), nil }
	return map[string]struct {
		by   rolegate.Identifier
		name func(id int64) string
	}{
		"account":       {rolegate.ByText(rolegate.KindAccount, header), func(id int64) string { return tickUser(id).Account }},
		"e-mail":        {rolegate.ByText(rolegate.KindEmail, header), func(id int64) string { return tickUser(id).Email }},
		"third account": {rolegate.ByText(rolegate.KindThirdAccount, header), func(id int64) string { return tickUser(id).ThirdAccount }},
	}
}

// status asks as somebody who is known by an alias.
func (h *tickHouse) status(alias string) int {
	r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
	r.Header.Set("X-User", alias)
	h.gate.Admit(tickOK).ServeHTTP(w, r)
	return w.Code
}

// Users who are made anew, with other ids and the names that they had, enter as soon
// as a refresh has seen it: a full one is due at once, and requests wait for it.
func TestFault92UsersMadeAnew(t *testing.T) {
	t.Parallel()
	for kind, alias := range aliases() {
		for _, users := range []int64{1, 40, 400} {
			for _, asked := range []bool{false, true} {
				s := listHouse(1000)
				s.gate = func(c *rolegate.Config) { c.Identify = alias.by }
				tickRun(t, fmt.Sprintf("%d by %s, asked for=%t", users, kind, asked), s, func(t *testing.T, h *tickHouse) {
					tickAfter(time.Minute)
					for id := range users {
						h.m.MakeAnew(id+100, id+5000)
					}
					require.NoError(t, h.gate.Refresh(t.Context()))
					if asked {
						assert.Equal(t, 200, h.status(alias.name(100)), "it waits for the full refresh")
					}
					within(t, 11*time.Second, "everybody enters", func() bool {
						for id := range users {
							if h.status(alias.name(id+100)) != 200 {
								return false
							}
						}
						return true
					})
				})
			}
		}
	}
}

// A name that goes from one user to another is the other's, and nobody's in between.
func TestFault93ANameThatGoesToSomebodyElse(t *testing.T) {
	t.Parallel()
	for kind, alias := range aliases() {
		for name, order := range map[string][2]int64{"given first": {8, 5}, "taken first": {5, 8}} {
			s := listHouse(40)
			s.gate = func(c *rolegate.Config) { c.Identify = alias.by }
			tickRun(t, kind+", "+name, s, func(t *testing.T, h *tickHouse) {
				tickAfter(time.Minute)
				now := map[int64]rolegatetest.User{5: tickUser(505, "teacher"), 8: tickUser(5, "admin")}
				for _, id := range order { // 8 gets what 5 had
					u := now[id]
					u.ID = id
					h.m.Put(u)
					require.NoError(t, h.gate.Refresh(t.Context()))
				}
				tickUntil(t, 12*time.Second, func() bool { return h.status(alias.name(5)) == 200 })
				assert.Equal(t, 200, h.status(alias.name(505)))
				assert.Equal(t, 403, h.status(alias.name(8)), "nobody has it any more")
				admin := h.gate.Policy(rolegate.AnyRole("admin"))
				for kind, text := range map[rolegate.Kind]string{rolegate.KindAccount: tickUser(5).Account, rolegate.KindEmail: tickUser(5).Email, rolegate.KindThirdAccount: tickUser(5).ThirdAccount} {
					if id, err := rolegate.NewIdentity(kind, text); err == nil && h.gate.Decide(t.Context(), id).Allowed() {
						assert.True(t, admin.Decide(t.Context(), id, 0).Allowed(), "it is the other's")
					}
				}
			})
		}
	}
}

// A name that several users have for good admits none of them, is told of once, and
// makes for no storm of full refreshes.
func TestFault94ANameThatSeveralHave(t *testing.T) {
	t.Parallel()
	for kind, alias := range aliases() {
		for _, sharers := range []int64{2, 30} {
			s := listHouse(40)
			s.gate = func(c *rolegate.Config) { c.Identify = alias.by }
			tickRun(t, fmt.Sprintf("%d by %s", sharers, kind), s, func(t *testing.T, h *tickHouse) {
				for id := range sharers {
					u := tickUser(77, "teacher")
					u.ID = 1000 + id
					h.m.Put(u)
				}
				require.NoError(t, h.gate.Refresh(t.Context()))
				tickAfter(15 * time.Second)
				fulls := h.m.FullRefreshes()
				for range 60 {
					tickAfter(time.Minute)
					h.m.Touch(1000)
					require.Equal(t, 403, h.status(alias.name(77)))
					require.Equal(t, 200, h.status(alias.name(5)))
				}
				assert.LessOrEqual(t, h.m.FullRefreshes()-fulls, 8, "no more full refreshes than ever")
				assert.Len(t, h.book.warnings("several users share an alias"), 1, "told once")
			})
		}
	}
}

// A list that shrinks too much is held for ShrinkHold, with at least three full
// refreshes that agree; the log says so at once, and once.
func TestFault95AListThatShrinks(t *testing.T) {
	t.Parallel()
	for name, shrink := range map[string]func(h *tickHouse){
		"emptied":            func(h *tickHouse) { h.m.Clear() },
		"cut to its head":    func(h *tickHouse) { h.m.Fail(rolegatetest.DropRows(10)) },
		"cut to a half":      func(h *tickHouse) { h.m.Fail(rolegatetest.DropRows(20)) },
		"without every 2nd":  func(h *tickHouse) { everySecond(h, 1) },
		"all but one":        func(h *tickHouse) { h.m.Fail(rolegatetest.DropRows(1)) },
		"emptied for others": func(h *tickHouse) { h.m.Clear(); h.m.Put(tickUser(900), tickUser(901)) },
	} {
		for _, hold := range []time.Duration{0, 5 * time.Minute, 30 * time.Minute} {
			for _, back := range []bool{false, true} {
				s := listHouse(40, refreshed(rolegate.Refresh{ShrinkHold: hold}))
				tickRun(t, fmt.Sprintf("%s, %v, back=%t", name, hold, back), s, func(t *testing.T, h *tickHouse) {
					if hold == 0 {
						hold = 15 * time.Minute
					}
					var gone []int64
					before := h.m.Backup()
					shrink(h)
					require.ErrorIs(t, h.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
					held := h.gate.Status().Held
					assert.Equal(t, "shrink_guard", held.Cause)
					assert.GreaterOrEqual(t, held.Users, 20)
					told := h.book.warnings("shrunk too much")
					require.Len(t, told, 1, "at once")
					assert.Contains(t, fmt.Sprint(told[0]["until"]), held.Since.Add(hold).Format("15:04"), "and until when")
					gone = h.gate.HeldUsers(100)
					fulls := h.gate.Status().Full.Succeeded
					began := time.Now()
					for time.Since(began) < hold-2*time.Second {
						tickAfter(time.Second)
						if back && time.Since(began) > hold/2 {
							h.m.Recover()
							h.m.Restore(before)
							tickAfter(hold + tickResync*3/2)
							assert.Empty(t, h.gate.Status().Held.Users)
							break
						}
						require.Equal(t, len(gone), h.gate.Status().Held.Users)
						for _, id := range gone[:5] {
							require.True(t, h.allowed(t, id))
						}
					}
					assert.Len(t, h.book.warnings("shrunk too much"), 1, "told once")
					if back {
						h.calm(t)
						return
					}
					tickUntil(t, tickResync*11/10+time.Minute, func() bool { return h.gate.Status().Held.Users == 0 })
					assert.GreaterOrEqual(t, h.gate.Status().Full.Succeeded-fulls, uint64(2), "three have agreed")
					for _, id := range gone {
						assert.False(t, h.allowed(t, id))
					}
				})
			}
		}
	}
}

// everySecond takes half of the users off the list: the even ones, or the odd ones.
func everySecond(h *tickHouse, odd int64) {
	for _, u := range h.m.Users() {
		if u.ID%2 == odd {
			h.m.Revoke(u.ID)
		}
	}
}

// The guard guards roles: a list without any role, or one in which a role is gone
// from all who had it, is held likewise, whichever refresh shows it.
func TestFault96RolesThatAreGone(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		take  func(h *tickHouse)
		holds bool
		role  string
	}{
		"everybody's": {func(h *tickHouse) {
			for _, u := range h.m.Users() {
				h.m.Take(u.ID, 7, "teacher", "admin", "head")
			}
		}, true, "teacher"},
		"one that twelve have": {func(h *tickHouse) {
			for id := range int64(12) {
				h.m.Take(id+10, 7, "head")
			}
		}, true, "head"},
		"one that is renamed": {func(h *tickHouse) {
			for id := range int64(12) {
				h.m.Take(id+10, 7, "head")
				h.m.Grant(id+10, 7, "Head")
			}
		}, true, "head"},
		"one of seven that twelve have": {func(h *tickHouse) {
			for id := range int64(7) {
				h.m.Take(id+10, 7, "head")
			}
		}, false, "head"},
	} {
		for _, pull := range tickPulls {
			s := listHouse(40)
			s.marketplace.QuietRoleLoss = pull.name == "full refresh"
			list := s.list
			s.list = func(m *rolegatetest.Marketplace) {
				list(m)
				for id := range int64(12) {
					m.Grant(id+10, 7, "head")
				}
			}
			tickRun(t, name+": "+pull.name, s, func(t *testing.T, h *tickHouse) {
				has := func() bool {
					return h.gate.Policy(rolegate.AnyRole(c.role)).Decide(t.Context(), rolegate.UserID(12), 0).Allowed()
				}
				require.True(t, has())
				tickAfter(3 * time.Minute)
				c.take(h)
				_ = pull.pull(t.Context(), h.gate)
				held := h.gate.Status().Held
				if !c.holds {
					assert.Zero(t, held.LostRoles)
					assert.False(t, has())
					return
				}
				assert.Positive(t, held.LostRoles)
				assert.Equal(t, "shrink_guard", held.Cause)
				require.Len(t, h.book.warnings("shrunk too much"), 1, "told at once")
				began := time.Now()
				for time.Since(began) < 14*time.Minute {
					require.True(t, has())
					tickAfter(20 * time.Second)
				}
				assert.Len(t, h.book.warnings("shrunk too much"), 1, "and once")
				tickUntil(t, tickResync*2+time.Minute, func() bool { return !has() })
				assert.Zero(t, h.gate.Status().Held.LostRoles)
				h.calm(t)
			})
		}
	}
}

// The guard never closes the gate for users that every full refresh has listed.
func TestFault97HalvesOfAListThatTakeTurns(t *testing.T) {
	t.Parallel()
	for name, half := range map[string]func(n int, id int64) bool{
		"two halves":          func(n int, id int64) bool { return id%2 == int64(n%2) },
		"three parts":         func(n int, id int64) bool { return id%3 == int64(n%3) },
		"a half and all":      func(n int, id int64) bool { return n%2 == 0 || id%2 == 0 },
		"a head and a tail":   func(n int, id int64) bool { return (id <= 20) == (n%2 == 0) },
		"nobody and half":     func(n int, id int64) bool { return n%2 == 0 && id%2 == 0 },
		"longer and longer":   func(n int, id int64) bool { return id <= int64(5+n) },
		"other ones each day": func(n int, id int64) bool { return (id+int64(n))%5 < 2 },
	} {
		inBubble(t, name, func(t *testing.T) {
			n := -1
			source := new(tickScript)
			source.set(func(_ context.Context, after int64, yield func(rolegate.Record)) error {
				if after == 0 {
					n++
				}
				for id := int64(1); id <= 40; id++ {
					always := id <= 3
					if (always || n == 0 || half(n, id)) && id+100 > after {
						yield(tickRecord(id, id+100, "teacher"))
					}
				}
				yield(tickRecord(50, 200, "teacher"))
				return nil
			})
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			for range 5 * 60 {
				tickAfter(time.Minute)
				for _, id := range []int64{1, 2, 3, 50} {
					d := gate.Decide(t.Context(), rolegate.UserID(id))
					require.True(t, d.Allowed(), "user %d, %v", id, d)
				}
			}
		})
	}
}

// Accepting removals applies what was shown, and nothing that a fresh look adds.
func TestFault98AcceptedRemovals(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		then  func(h *tickHouse)
		stays []int64 // who enters still, although the fresh look does not list them
	}{
		"nothing more":   {func(*tickHouse) {}, nil},
		"more are gone":  {func(h *tickHouse) { h.m.Revoke(30, 31, 32, 33, 34, 35, 36, 37, 38, 39, 40, 28, 27, 26) }, []int64{30, 40, 26}},
		"all the others": {func(h *tickHouse) { h.m.Clear() }, []int64{30, 40}},
		"some are back":  {func(h *tickHouse) { h.m.Put(tickUser(5, "teacher")) }, nil},
		"roles are gone": {func(h *tickHouse) { h.m.Take(30, 7, "teacher") }, nil},
	} {
		for _, wrong := range []bool{false, true} {
			tickRun(t, fmt.Sprintf("%s, wrong=%t", name, wrong), listHouse(40, refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				for id := int64(3); id < 23; id++ {
					h.m.Revoke(id)
				}
				require.ErrorIs(t, h.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
				shown, held := h.gate.Status().Held.Digest, h.gate.HeldUsers(100)
				require.Len(t, held, 20)
				c.then(h)
				if wrong {
					shown += "0"
				}
				err := h.gate.AcceptShrink(t.Context(), shown)
				if wrong {
					require.ErrorIs(t, err, rolegate.ErrHeldChanged)
					for _, id := range held {
						assert.True(t, h.allowed(t, id))
					}
					return
				}
				for _, id := range held {
					_, back := h.m.User(id)
					assert.Equal(t, back, h.allowed(t, id), "user %d", id)
				}
				for _, id := range c.stays {
					assert.True(t, h.allowed(t, id), "user %d was not shown", id)
				}
				h.calm(t)
			})
		}
	}
}
