package faults_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A gate that starts while the upstream is down answers 503 and says when to
// come again; it is ready by itself once the upstream is back.
func TestFault25ColdStartWithoutUpstream(t *testing.T) {
	t.Parallel()
	for name, down := range map[string]rolegatetest.Fault{
		"no connection": rolegatetest.Reset(),
		"no answer":     rolegatetest.Hang(),
		"502":           rolegatetest.HTTPStatus(http.StatusBadGateway),
		"503, later":    rolegatetest.HTTPStatus(http.StatusServiceUnavailable, "Retry-After", "20"),
	} {
		tickRun(t, "Async: "+name, tickSetup{
			list: func(m *rolegatetest.Marketplace) { m.Fail(down) },
			gate: func(c *rolegate.Config) { c.StartEmpty = true },
		}, func(t *testing.T, h *tickHouse) {
			for range 10 {
				for _, g := range tickGuards(h.gate) {
					tickRetryAfter(t, tickAsk(t, g.wrap(tickNever(t)), tickAlice))
				}
				assert.Equal(t, rolegate.ReasonNotReady, h.gate.Decide(t.Context(), rolegate.UserID(tickAlice)).Reason)
				assert.Equal(t, rolegate.StateStarting, h.gate.Status().State)
				tickAfter(30 * time.Second)
			}
			assert.Positive(t, h.gate.Status().Full.Failed)
			h.silent(t, nil)
			h.m.Recover()
			tickUntil(t, tickBackOff+tickPage, func() bool { return tickAsk(t, h.gate.Admit(tickOK), tickAlice).Code == http.StatusOK })
			assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
			h.goesOn(t)
		})
		t.Run("Open waits: "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var m *rolegatetest.Marketplace
				began := time.Now()
				h := tickOpen(t, tickSetup{list: func(market *rolegatetest.Marketplace) {
					m = market
					m.Fail(down)
					go func() {
						tickAfterAlone(5 * time.Minute)
						m.Recover()
					}()
				}})
				assert.GreaterOrEqual(t, time.Since(began), 5*time.Minute)
				assert.LessOrEqual(t, time.Since(began), 5*time.Minute+tickBackOff+tickPage)
				assert.True(t, h.allowed(t, tickAlice))
				assert.Positive(t, h.book.count(slog.LevelWarn, "a refresh failed"), "each attempt is logged")
				h.goesOn(t)
			})
		})
	}
}

// A tickGuarded is one of the ways to guard a route.
type tickGuarded struct {
	name string
	wrap func(http.Handler) http.Handler
}

func tickGuards(gate *rolegate.Gate) []tickGuarded {
	seven := rolegate.InOrg(func(*http.Request) (int64, error) { return 7, nil })
	return []tickGuarded{
		{"Admit", gate.Admit},
		{"Require", gate.Require(rolegate.AnyRole("teacher"))},
		{"NoRole", gate.Require(rolegate.NoRole("banned"))},
		{"InOrg", gate.Require(rolegate.AllRoles("teacher"), seven)},
		{"Where", gate.Require(rolegate.Where("always", func(rolegate.User, *http.Request) bool { return true }))},
		{"Either", gate.Require(rolegate.Either(rolegate.AnyRole("teacher"), rolegate.AnyRole("x")))},
		{"Shadow", gate.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())},
		{"MaxAge", gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(10*time.Hour))},
		{"EndOnRevoke", gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())},
		{"Policy", gate.Policy(rolegate.AnyRole("teacher")).Wrap},
		{"stacked", func(next http.Handler) http.Handler {
			return gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(next))
		}},
	}
}

// A list without contact for StaleAfter is served, with a warning. One that was
// not verified for ExpireAfter is served to nobody, on no route.
func TestFault26StaleAndExpired(t *testing.T) {
	t.Parallel()
	const stale = "the list is stale"
	shadow := tickSetup{gate: func(c *rolegate.Config) { c.ShadowAdmit = true }}
	for name, s := range map[string]tickSetup{"no contact": {}, "no contact, with ShadowAdmit": shadow} {
		tickRun(t, name, s, func(t *testing.T, h *tickHouse) {
			h.m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			tickAfter(5*time.Minute - time.Second)
			assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
			assert.Zero(t, h.book.count(slog.LevelError, stale))
			tickAfter(2 * time.Minute)
			assert.Equal(t, rolegate.StateStale, h.gate.Status().State)
			before := h.gate.Status().StaleDecisions
			for _, g := range tickGuards(h.gate) {
				assert.Equal(t, http.StatusOK, tickAsk(t, g.wrap(tickOK), tickAlice).Code, g.name)
			}
			assert.GreaterOrEqual(t, h.gate.Status().StaleDecisions-before, uint64(len(tickGuards(h.gate))), "counted")
			assert.Equal(t, 1, h.book.count(slog.LevelError, stale), "warned")
			tickAfter(53*time.Minute - time.Second)
			assert.Equal(t, http.StatusOK, tickAsk(t, h.gate.Admit(tickOK), tickAlice).Code, "served to the last second")
			assert.Equal(t, 1, h.book.count(slog.LevelError, stale), "once")

			tickAfter(3 * time.Second)
			tickExpired(t, h)
			h.silent(t, nil)
			h.m.Recover()
			tickUntil(t, tickBackOff, func() bool { return tickAsk(t, h.gate.Admit(tickOK), tickAlice).Code == http.StatusOK })
			h.goesOn(t)
			h.m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			tickAfter(8 * time.Minute)
			assert.Equal(t, 2, h.book.count(slog.LevelError, stale), "and again the next time")
		})
	}
	tickRun(t, "contact, but no full refresh", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.m.FailWhen(rolegatetest.Request.BeginsFullRefresh, rolegatetest.HTTPStatus(http.StatusBadGateway))
		tickAfter(time.Hour - time.Second)
		assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
		assert.Equal(t, http.StatusOK, tickAsk(t, h.gate.Admit(tickOK), tickAlice).Code)
		tickAfter(3 * time.Second)
		assert.Less(t, h.gate.Status().ContactAge, 70*time.Second)
		tickExpired(t, h)
		h.goesOn(t)
	})
	tickRun(t, "what runs is ended", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
		cause := make(chan error, 1)
		go func() {
			guard := h.gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
			tickAskWith(context.Background(), guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				cause <- context.Cause(r.Context())
			})), tickAlice)
		}()
		tickAfter(59 * time.Minute)
		assert.Empty(t, cause)
		tickAfter(2 * time.Minute)
		require.Len(t, cause, 1)
		assert.ErrorIs(t, <-cause, rolegate.ErrRevoked)
	})
}

// tickExpired checks that nothing lets anybody pass.
func tickExpired(t *testing.T, h *tickHouse) {
	t.Helper()
	assert.Equal(t, rolegate.StateExpired, h.gate.Status().State)
	for _, g := range tickGuards(h.gate) {
		for _, user := range []int64{tickAlice, 99, 0} {
			tickRetryAfter(t, tickAsk(t, g.wrap(tickNever(t)), user))
		}
	}
	for _, d := range []rolegate.Decision{
		h.gate.Decide(t.Context(), rolegate.UserID(tickBob)), h.admin.Decide(t.Context(), rolegate.UserID(tickBob), 7),
	} {
		assert.Equal(t, rolegate.ReasonExpired, d.Reason)
		assert.False(t, d.Allowed())
	}
}

// A tickClock is the clock of a gate, with what is added to the bubble's.
type tickClock struct {
	start      time.Time
	mono, wall atomic.Int64
}

// tickWithClock gives a config that clock. A Config has no field for it that
// others can set, since nobody but tests should.
func tickWithClock(cfg *rolegate.Config, c *tickClock) {
	c.start = time.Now()
	field := reflect.ValueOf(cfg).Elem().FieldByName("clock")
	*(*func() clock.Instant)(unsafe.Pointer(field.UnsafeAddr())) = func() clock.Instant {
		now := time.Now()
		return clock.Instant{Mono: int64(time.Hour) + int64(now.Sub(c.start)) + c.mono.Load(), Wall: now.UnixNano() + c.wall.Load()}
	}
}

// When the wall clock is set, or the machine sleeps, the intervals keep and no
// age gets younger.
func TestFault27Clocks(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	for _, c := range []struct {
		name       string
		mono, wall []time.Duration // what is added to the clocks, one after the other
		serves     bool            // the list, without a refresh
		state      rolegate.State
	}{
		{"nothing", []time.Duration{0}, []time.Duration{0}, true, rolegate.StateReady},
		{"the wall clock a day forward", []time.Duration{0}, []time.Duration{day}, false, rolegate.StateExpired},
		{"the wall clock a day back", []time.Duration{0}, []time.Duration{-day}, true, rolegate.StateReady},
		{"forward, and back", []time.Duration{0, 0}, []time.Duration{day, -day}, true, rolegate.StateReady},
		{"back by an hour, and forward by two", []time.Duration{0, 0}, []time.Duration{-time.Hour, 2 * time.Hour}, false, rolegate.StateExpired},
		{"suspended for 20 minutes", []time.Duration{0}, []time.Duration{20 * time.Minute}, true, rolegate.StateStale},
		{"suspended for two hours", []time.Duration{0}, []time.Duration{2 * time.Hour}, false, rolegate.StateExpired},
		{"suspended, and the wall clock lost", []time.Duration{2 * time.Hour}, []time.Duration{-day}, false, rolegate.StateExpired},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var clock tickClock
				h := tickOpen(t, tickSetup{gate: func(cfg *rolegate.Config) { tickWithClock(cfg, &clock) }})
				tickAfter(3 * time.Minute)
				s := h.gate.Status()
				contact, verified := s.ContactAge, s.VerifiedAge
				require.Positive(t, verified)
				h.m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
				for i := range c.mono {
					clock.mono.Add(int64(c.mono[i]))
					clock.wall.Add(int64(c.wall[i]))
					now := h.gate.Status()
					assert.GreaterOrEqual(t, now.ContactAge, contact, "no age gets younger")
					assert.GreaterOrEqual(t, now.VerifiedAge, verified)
					assert.GreaterOrEqual(t, now.VerifiedAge, min(c.wall[i], time.Hour), "and what has slept is old")
				}
				assert.Equal(t, c.state, h.gate.Status().State)
				assert.Equal(t, c.serves, h.allowed(t, tickAlice))
				if !c.serves {
					tickExpired(t, h)
				}

				h.m.Recover()
				tickUntil(t, tickEvery*11/10+time.Second, func() bool { return h.allowed(t, tickAlice) })
				tickAfter(2 * time.Minute) // the full refresh that the jump has made due
				before, sent := h.gate.Status(), h.m.RequestCount()
				assert.Less(t, before.VerifiedAge, 20*time.Minute)
				tickAfter(time.Hour)
				now := h.gate.Status()
				assert.InDelta(t, 60, now.Incremental.Succeeded-before.Incremental.Succeeded, 7, "the intervals keep")
				assert.InDelta(t, 6, now.Full.Succeeded-before.Full.Succeeded, 1)
				assert.LessOrEqual(t, h.m.RequestCount()-sent, 120, "and there is no burst")
				assert.Equal(t, rolegate.StateReady, now.State)
				assert.Less(t, now.ContactAge, 70*time.Second)
				h.goesOn(t)
			})
		})
	}
	t.Run("the wall clock is set every minute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var clock tickClock
			h := tickOpen(t, tickSetup{gate: func(cfg *rolegate.Config) { tickWithClock(cfg, &clock) }})
			h.m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			// Half a minute back each time: by the wall clock, half the time passes.
			for range 60 {
				tickAfter(time.Minute)
				clock.wall.Add(-int64(30 * time.Second))
			}
			tickAfter(2 * time.Second)
			tickExpired(t, h)
		})
	})
}

// A refresh that takes longer than its interval overlaps with no other of its
// kind, and once it is fast again nothing is made up for.
func TestFault28SlowPulls(t *testing.T) {
	t.Parallel()
	t.Run("incremental", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			slow := tickSlowSource{increments: 3 * time.Minute}
			gate, _ := tickGate(t, rolegate.Config{Source: &slow})
			slow.on.Store(true)
			tickAfter(time.Hour)
			assert.Equal(t, int64(1), slow.most[1].Load(), "no overlap")
			done := gate.Status().Incremental.Succeeded
			assert.LessOrEqual(t, done, uint64(20))
			assert.GreaterOrEqual(t, done, uint64(10))
			slow.on.Store(false)
			tickAfter(4 * time.Minute)
			slow.quiet(t, 1, 30*time.Minute, tickEvery*9/10, gate)
		})
	})
	t.Run("full refresh", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			slow := tickSlowSource{fulls: 25 * time.Minute}
			gate, _ := tickGate(t, rolegate.Config{Source: &slow})
			slow.on.Store(true)
			tickAfter(5 * time.Hour)
			assert.Equal(t, int64(1), slow.most[0].Load(), "no overlap")
			done := gate.Status().Full.Succeeded
			assert.LessOrEqual(t, done, uint64(13))
			assert.GreaterOrEqual(t, done, uint64(9))
			assert.InDelta(t, 300, gate.Status().Incremental.Succeeded, 40, "the other kind is not held up")
			slow.on.Store(false)
			tickAfter(26 * time.Minute)
			slow.quiet(t, 0, 3*time.Hour, tickResync*9/10, gate)
		})
	})
	t.Run("asked for beside the loop", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			slow := tickSlowSource{increments: 90 * time.Second, fulls: 90 * time.Second}
			gate, _ := tickGate(t, rolegate.Config{Source: &slow})
			slow.on.Store(true)
			var wg sync.WaitGroup
			for i := range 50 {
				wg.Go(func() {
					tickAfterAlone(time.Duration(i) * 7 * time.Second)
					assert.NoError(t, tickPulls[i%2].pull(t.Context(), gate))
				})
			}
			wg.Wait()
			assert.Equal(t, int64(1), slow.most[0].Load())
			assert.Equal(t, int64(1), slow.most[1].Load())
			slow.on.Store(false)
			tickAfter(time.Minute)
			slow.quiet(t, 1, 30*time.Minute, tickEvery*9/10, gate)
		})
	})
}

// A tickSlowSource has one user and takes its time, and notes when it was asked:
// for full refreshes at 0, for increments at 1.
type tickSlowSource struct {
	fulls, increments time.Duration
	on                atomic.Bool
	under, most       [2]atomic.Int64

	mu    sync.Mutex
	began [2][]time.Time
}

func (s *tickSlowSource) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	kind, takes := 0, s.fulls
	if after > 0 {
		kind, takes = 1, s.increments
	}
	s.mu.Lock()
	s.began[kind] = append(s.began[kind], time.Now())
	s.mu.Unlock()
	s.most[kind].Store(max(s.most[kind].Load(), s.under[kind].Add(1)))
	defer s.under[kind].Add(-1)
	if s.on.Load() {
		if err := tickWait(ctx, takes); err != nil {
			return err
		}
	}
	return tickYield(tickRecord(1, 1, "teacher"))(ctx, after, yield)
}

// quiet checks that for a while no refresh of that kind comes sooner than after
// gap. Full refreshes have an increment of their own at their end, which does not count.
func (s *tickSlowSource) quiet(t *testing.T, kind int, d, gap time.Duration, gate *rolegate.Gate) {
	t.Helper()
	s.mu.Lock()
	s.began = [2][]time.Time{}
	s.mu.Unlock()
	tickAfter(d)
	s.mu.Lock()
	defer s.mu.Unlock()
	own := s.began[kind]
	if kind == 1 {
		own = slices.DeleteFunc(slices.Clone(own), func(at time.Time) bool { return slices.Contains(s.began[0], at) })
	}
	require.Greater(t, len(own), 5)
	for i := range own[1:] {
		assert.GreaterOrEqual(t, own[i+1].Sub(own[i]), gap, fmt.Sprintf("pull %d", i+1))
	}
	assert.Equal(t, rolegate.StateReady, gate.Status().State)
}
