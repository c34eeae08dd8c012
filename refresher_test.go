package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
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

// inBubble runs a test on a clock of its own, with a marketplace and a gate.
func inBubble(t *testing.T, cfg rolegate.Config, f func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Grant(1, 7, "teacher")
		m.Grant(2, 7, "teacher", "admin")
		cfg := quiet(cfg)
		if cfg.Source == nil {
			cfg.Source = client(m)
		}
		gate, err := rolegate.Open(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, gate.Close()) }()
		f(t, m, gate)
	})
}

// until advances the bubble's clock until cond holds and returns how long that
// took; it gives up after limit.
func until(t *testing.T, limit time.Duration, cond func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v", limit)
		}
		after(time.Second)
	}
	return time.Since(start)
}

// after lets the bubble's clock go on by d and everything that is due happen.
func after(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

const (
	every  = time.Minute
	resync = 10 * time.Minute
)

func TestPromise(t *testing.T) {
	t.Parallel()
	// Each from many moments between two refreshes, since the worst is what is promised.
	for moment := range 10 {
		wait := time.Duration(moment) * 67 * time.Second
		t.Run(fmt.Sprintf("after %v", wait), func(t *testing.T) {
			t.Parallel()
			t.Run("a user added", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					after(wait)
					m.Grant(3, 7, "teacher")
					require.False(t, allowed(gate, 3))
					took := until(t, time.Hour, func() bool { return allowed(gate, 3) })
					assert.LessOrEqual(t, took, every*11/10+time.Second)
				})
			})
			t.Run("a user changed", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					admin := gate.Policy(rolegate.AnyRole("admin"))
					may := func(user int64) bool { return admin.Decide(t.Context(), rolegate.UserID(user), 0).Allowed() }
					after(wait)
					require.False(t, may(1))
					m.Grant(1, 7, "admin")
					m.Take(2, 7, "admin")
					took := until(t, time.Hour, func() bool { return may(1) && !may(2) })
					assert.LessOrEqual(t, took, every*11/10+time.Second)
				})
			})
			t.Run("a user removed", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					after(wait)
					m.Revoke(2)
					require.True(t, allowed(gate, 2))
					took := until(t, time.Hour, func() bool { return !allowed(gate, 2) })
					assert.LessOrEqual(t, took, resync*11/10+time.Second)
					assert.True(t, allowed(gate, 1))
					m.Grant(2, 7, "teacher")
					until(t, every*11/10+time.Second, func() bool { return allowed(gate, 2) })
				})
			})
		})
	}
	t.Run("a grant while a full refresh of 1,000 slow pages is under way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			// Pages of one user, two seconds each: a full refresh takes half an hour.
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{PageCap: 1})
			for id := range int64(1000) {
				m.Grant(id+1, 7, "teacher")
			}
			gate := openGate(t, rolegate.Config{Source: marketplace.New(marketplace.Config{
				BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
				UniqueSequences: true,
			})})
			m.SetLatency(2 * time.Second)
			until(t, time.Hour, func() bool { return gate.Status().Full.Running })
			after(3 * time.Minute)
			for id := int64(2000); id < 2005; id++ {
				m.Grant(id, 7, "teacher")
				until(t, every*11/10+5*time.Second, func() bool { return allowed(gate, id) })
				require.True(t, gate.Status().Full.Running, "the full refresh goes on all the while")
			}
			m.Revoke(2000, 500)
			fulls := gate.Status().Full.Succeeded
			until(t, 2*time.Hour, func() bool { return gate.Status().Full.Succeeded > fulls+1 })
			assert.False(t, allowed(gate, 2000))
			assert.False(t, allowed(gate, 500))
			assert.True(t, allowed(gate, 2004))
			m.SetLatency(0)
		})
	})
}

func TestNothingIsKeptOfAPullThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   rolegatetest.Fault
		failure rolegate.Failure
	}{
		{"an error envelope", rolegatetest.ErrorEnvelope(500, "no"), marketplace.FailureUpstream},
		{"HTML", rolegatetest.HTMLPage(), marketplace.FailureMalformed},
		{"a truncated page", rolegatetest.Truncated(), marketplace.FailureMalformed},
		{"502", rolegatetest.HTTPStatus(http.StatusBadGateway), rolegate.FailureHTTPStatus},
		{"a cached page", rolegatetest.CachedReply(30 * time.Second), marketplace.FailureCachedReply},
		{"a refused token", rolegatetest.RefuseToken(), rolegate.FailureRefused},
		{"no answer", rolegatetest.Hang(), rolegate.FailureTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
				before := gate.Status()
				m.Grant(3, 7, "teacher")
				m.Revoke(2)
				m.Fail(c.fault)
				err := gate.RefreshAll(t.Context())
				require.Error(t, err)
				assert.NotContains(t, err.Error(), m.Token())
				require.Error(t, gate.Refresh(t.Context()))
				after(20 * minutes) // many more try and fail
				now := gate.Status()
				assert.Equal(t, before.Generation, now.Generation)
				assert.Equal(t, before.Cursor, now.Cursor)
				assert.Equal(t, before.Contact, now.Contact)
				assert.Equal(t, before.Verified, now.Verified)
				assert.Equal(t, c.failure, now.Incremental.Failure)
				assert.Positive(t, now.Failures[c.failure])
				assert.True(t, allowed(gate, 2), "it serves what it has")
				assert.False(t, allowed(gate, 3))
				assert.Equal(t, rolegate.StateStale, now.State)

				m.Recover()
				after(89 * time.Second) // the longest back-off, and a page's deadline
				assert.True(t, allowed(gate, 3))
				assert.False(t, allowed(gate, 2))
				assert.Equal(t, rolegate.StateReady, gate.Status().State)
				assert.Zero(t, gate.Status().Incremental.Consecutive)
			})
		})
	}
	t.Run("an empty success", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			before := gate.Status()
			m.Revoke(2)
			m.Fail(rolegatetest.EmptyData())
			require.Error(t, gate.RefreshAll(t.Context()), "data that is no list is not the list of nobody")
			assert.Equal(t, before.Verified, gate.Status().Verified)
			assert.True(t, allowed(gate, 2))
			require.NoError(t, gate.Refresh(t.Context()), "after the cursor it is the end of the list")
		})
	})
	t.Run("page k of n", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{PageCap: 3})
			for id := range int64(30) {
				m.Grant(id+1, 7, "teacher")
			}
			gate := openGate(t, rolegate.Config{Source: client(m)})
			m.Revoke(1)
			for k := 2; k < 10; k++ {
				page := 0
				m.FailWhen(func(rolegatetest.Request) bool { page++; return page >= k }, rolegatetest.Truncated())
				require.Error(t, gate.RefreshAll(t.Context()))
				assert.True(t, allowed(gate, 1), "nothing of a full refresh that failed at page %d is visible", k)
				m.Recover()
			}
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.False(t, allowed(gate, 1))
		})
	})
}

func TestAges(t *testing.T) {
	t.Parallel()
	t.Run("stale is served and warned of, expired is not served", func(t *testing.T) {
		t.Parallel()
		var book logBook
		inBubble(t, rolegate.Config{Logger: book.logger()}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			after(5 * time.Second)
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			took := until(t, time.Hour, func() bool { return gate.Status().State == rolegate.StateStale })
			assert.InDelta(t, 5*minutes, took, float64(10*time.Second))
			assert.True(t, allowed(gate, 1))
			assert.Positive(t, gate.Status().StaleDecisions)
			until(t, time.Hour, func() bool {
				return len(book.lines("rolegate: the list is stale: no refresh has succeeded for long; it is served until it expires")) == 1
			})

			took = until(t, 2*time.Hour, func() bool { return !allowed(gate, 1) })
			assert.InDelta(t, 55*minutes, took, float64(time.Minute+10*time.Second))
			assert.Equal(t, rolegate.StateExpired, gate.Status().State)
			for name, h := range map[string]http.Handler{
				"Admit": gate.Admit(never(t)), "Require": gate.Require(rolegate.AnyRole("teacher"))(never(t)),
			} {
				w := ask(h, "GET", "/", 1)
				assert.Equal(t, 503, w.Code, name)
				seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
				require.NoError(t, err)
				assert.Positive(t, seconds)
			}
			assert.Len(t, book.lines("rolegate: the list is stale: no refresh has succeeded for long; it is served until it expires"), 1, "said once")

			m.Recover()
			until(t, 73*time.Second, func() bool { return allowed(gate, 1) })
		})
	})
	t.Run("contact without a full refresh expires all the same", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.FailWhen(rolegatetest.Request.BeginsFullRefresh, rolegatetest.HTTPStatus(http.StatusBadGateway))
			after(59 * minutes)
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
			assert.Less(t, gate.Status().ContactAge, 70*time.Second)
			after(2 * minutes)
			assert.Equal(t, rolegate.ReasonExpired, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
		})
	})
	t.Run("verified is when the full refresh began", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.SetLatency(7 * time.Second)
			begun := time.Now()
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.True(t, gate.Status().Verified.Equal(begun), "what was revoked while it ran may have been missed")
			m.SetLatency(0)
		})
	})
}

// The clocks of a machine can be set, and stand still while it sleeps.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		mono, wall time.Duration // what is added to them
		allowed    bool
	}{
		{"nothing", 0, 0, true},
		{"the wall clock a day back", 0, -24 * time.Hour, true},
		{"the wall clock a day forward", 0, 24 * time.Hour, false},
		{"suspended for two hours: the monotonic clock stood still", 0, 2 * time.Hour, false},
		{"suspended, then the wall clock put back", 2 * time.Hour, -24 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mono, wall atomic.Int64
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
				m.Grant(1, 7, "teacher")
				gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: client(m)}, func() (int64, int64) {
					a, b := rolegate.ReadClock()
					return a + mono.Load(), b + wall.Load()
				}))
				after(3 * minutes)
				age := gate.Status().VerifiedAge
				m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
				mono.Store(int64(c.mono))
				wall.Store(int64(c.wall))
				assert.Equal(t, c.allowed, allowed(gate, 1))
				assert.GreaterOrEqual(t, gate.Status().VerifiedAge, age, "no age gets younger")

				m.Recover()
				ask(gate.Admit(ok(gate)), "GET", "/", 1) // a request that finds it expired makes it refresh at once
				until(t, every*11/10+time.Second, func() bool { return allowed(gate, 1) })
				fulls := gate.Status().Full.Succeeded
				after(30 * minutes)
				assert.InDelta(t, fulls+3, gate.Status().Full.Succeeded, 1, "the intervals keep")
			})
		})
	}
}

// wait blocks for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func TestASlowPullNeitherOverlapsNorBursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var under, most, pulls atomic.Int64
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
		gate := openGate(t, rolegate.Config{Source: source})
		source.script(func() {
			source.wait = func(ctx context.Context, from int64) {
				if from == 0 {
					return
				}
				pulls.Add(1)
				most.Store(max(most.Load(), under.Add(1)))
				defer under.Add(-1)
				wait(ctx, 3*minutes)
			}
		})
		after(time.Hour)
		assert.EqualValues(t, 1, most.Load())
		assert.LessOrEqual(t, pulls.Load(), int64(27), "3 minutes each, some of them the full refreshes', and a rest between them")
		source.script(func() { source.wait = nil })
		after(4 * minutes)
		before := gate.Status().Incremental.Succeeded
		after(10 * minutes)
		assert.InDelta(t, before+10, gate.Status().Incremental.Succeeded, 1)
	})
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	t.Run("doubles, up to a minute", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			m.ResetRequests()
			after(65 * time.Second) // the first failure
			after(30 * minutes)
			// About ten while doubling, then one in about a minute, of each of the two
			// kinds; and each asks up to six times for its page before it gives up.
			s := gate.Status()
			failed := int(s.Incremental.Failed + s.Full.Failed)
			assert.InDelta(t, 50, failed, 15)
			assert.InDelta(t, 5*failed, m.RequestCount(), float64(failed))
		})
	})
	for _, c := range []struct {
		name, header string
		quiet        time.Duration
	}{
		{"seconds", "120", 2 * minutes},
		{"ten years", "315360000", 5 * minutes},
		{"negative", "-5", 0},
	} {
		t.Run("Retry-After: "+c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, rolegate.Config{Refresh: rolegate.Refresh{Every: 10 * time.Second}}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
				m.FailNext(1, rolegatetest.HTTPStatus(http.StatusTooManyRequests, "Retry-After", c.header))
				if c.quiet == 0 {
					done := gate.Status().Incremental.Succeeded
					until(t, 15*time.Second, func() bool { return gate.Status().Incremental.Succeeded > done })
					assert.Zero(t, gate.Status().Incremental.Failed, "it has tried again, as if nothing had been said")
					return
				}
				until(t, time.Minute, func() bool { return gate.Status().Incremental.Failed == 1 })
				m.ResetRequests()
				after(c.quiet - 2*time.Second)
				assert.Zero(t, m.RequestCount(), "neither kind of pull asks")
				var failed *rolegate.PullError
				require.ErrorAs(t, gate.RefreshAll(t.Context()), &failed, "nor does one that is asked for")
				assert.Positive(t, failed.RetryAfter)
				after(15 * time.Second)
				assert.Positive(t, m.RequestCount())
			})
		})
	}
}

// A source that returns nil when its context ends has not shown the whole list. That
// context ends early enough for another full refresh before the list expires.
func TestAPullThatIsCutShort(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &cutShort{}
		gate := openGate(t, rolegate.Config{Source: source})
		for n, says := range []error{nil, errors.New("cut short on page 3")} {
			source.says = says
			source.hangs.Store(true)
			after(62 * time.Minute)
			failures := gate.Status().Failures
			assert.EqualValues(t, n, failures[rolegate.FailureOther], "what the source says of it is kept")
			assert.EqualValues(t, 1, failures[rolegate.FailureTimeout])
			assert.True(t, allowed(gate, 2))
		}
	})
}

// cutShort is a source of two users, of which it shows one when it hangs, which it does once.
type cutShort struct {
	hangs atomic.Bool
	says  error
}

func (s *cutShort) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after > 0 {
		return nil
	}
	yield(rolegate.Record{UserID: 1})
	if s.hangs.CompareAndSwap(true, false) {
		<-ctx.Done()
		return s.says
	}
	yield(rolegate.Record{UserID: 2})
	return nil
}

// Pages that are asked for again are counted for each refresh by itself, and connections
// are kept as long as no server is known to lag behind.
func TestRepeatedPages(t *testing.T) {
	t.Parallel()
	inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, _ *rolegate.Gate) {
		source := &keepsConnections{Client: client(m)}
		gate := openGate(t, rolegate.Config{Source: source})
		for _, want := range []int{1, 0, 2, 0} {
			m.FailNext(want, rolegatetest.HTTPStatus(http.StatusBadGateway))
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.Equal(t, want, gate.Status().Full.Outcome.Repeated)
		}
		assert.Zero(t, source.closed.Load())
	})
}

// keepsConnections counts how often its connections are closed.
type keepsConnections struct {
	*marketplace.Client
	closed atomic.Int64
}

func (s *keepsConnections) CloseIdleConnections() { s.closed.Add(1) }

// A request with a MaxAge is content with a full refresh that was under way, if that began
// late enough.
func TestMaxAgeTakesTheRefreshUnderWay(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
		gate := openGate(t, rolegate.Config{Source: source, Refresh: rolegate.Refresh{MaxAgeWait: time.Minute}})
		after(5 * time.Minute)
		source.SetDelay(5 * time.Second)
		done := make(chan error, 1)
		go func() { done <- gate.RefreshAll(t.Context()) }()
		after(3 * time.Second)
		begun := time.Now()
		h := gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(3*time.Second))(ok(gate))
		assert.Equal(t, 200, ask(h, "GET", "/", 1).Code)
		assert.Equal(t, 2*time.Second, time.Since(begun))
		require.NoError(t, <-done)
		source.SetDelay(0)
	})
}
