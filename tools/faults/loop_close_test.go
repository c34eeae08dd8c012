package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Close returns within a second, whoever calls it and whatever is under way, and
// leaves no goroutine behind. After it, everything is 503.
func TestFault30Close(t *testing.T) {
	t.Parallel()
	// A bubble does not end while a goroutine of it is left.
	hang := func(ctx context.Context, _ int64, _ func(rolegate.Record)) error {
		<-ctx.Done()
		return ctx.Err()
	}
	closed := func(t *testing.T, gate *rolegate.Gate) {
		t.Helper()
		assert.Equal(t, rolegate.StateClosed, gate.Status().State)
		for _, g := range tickGuards(gate) {
			for _, user := range []int64{1, 99, 0} {
				w := tickAsk(t, g.wrap(tickNever(t)), user)
				assert.Equal(t, http.StatusServiceUnavailable, w.Code, g.name)
			}
		}
		assert.Equal(t, rolegate.ReasonClosed, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
		for _, pull := range tickPulls {
			assert.ErrorIs(t, pull.pull(t.Context(), gate), rolegate.ErrClosed)
		}
	}
	for _, callers := range []int{1, 100} {
		for name, c := range map[string]struct {
			async bool
			pull  func(context.Context, int64, func(rolegate.Record)) error // from the first list on
			calls func(gate *rolegate.Gate) []func() error                  // that are under way
		}{
			"idle":                                 {pull: tickYield(tickRecord(1, 1, "teacher"))},
			"before the first list":                {async: true, pull: hang},
			"before the first list, in a back-off": {async: true, pull: func(context.Context, int64, func(rolegate.Record)) error { return errors.New("down") }},
			"in the middle of a full refresh and increments": {pull: hang, calls: func(gate *rolegate.Gate) []func() error {
				return []func() error{
					func() error { return gate.RefreshAll(context.Background()) },
					func() error { return gate.Refresh(context.Background()) },
					func() error { return gate.Refresh(context.Background()) },
				}
			}},
		} {
			t.Run(fmt.Sprintf("%s, by %d", name, callers), func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"))}
					if c.async {
						source.set(c.pull)
					}
					gate, _ := tickGate(t, rolegate.Config{Source: source, StartEmpty: c.async, OnChange: func(rolegate.Change) {}})
					source.set(c.pull)
					var calls []chan error
					if c.calls != nil {
						for _, call := range c.calls(gate) {
							answer := make(chan error, 1)
							calls = append(calls, answer)
							go func() { answer <- call() }()
						}
					}
					tickAfter(5 * time.Second)
					began := time.Now()
					done := make(chan error, callers)
					for range callers {
						go func() { done <- gate.Close() }()
					}
					for range callers {
						assert.NoError(t, <-done)
					}
					assert.LessOrEqual(t, time.Since(began), time.Second)
					for _, answer := range calls {
						assert.ErrorIs(t, <-answer, rolegate.ErrClosed, "who waits for a refresh is told")
					}
					closed(t, gate)
					assert.NoError(t, gate.Close(), "twice")
					closed(t, gate)
					tickAfter(time.Hour)
				})
			})
		}
	}
	t.Run("while requests wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"))}
			gate, _ := tickGate(t, rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{Wait: time.Minute}, Refresh: rolegate.Refresh{MaxAgeWait: time.Minute}})
			tickAfter(30 * time.Second)
			source.set(hang)
			codes, ended := make(chan int, 2), make(chan error, 1)
			for user, guard := range map[int64]func(http.Handler) http.Handler{
				99: gate.Admit, 1: gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Second)),
			} {
				go func() { codes <- tickAskWith(context.Background(), guard(tickNever(t)), user).Code }()
			}
			stream := gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
			go tickAskWith(context.Background(), stream(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-r.Context().Done()
				ended <- context.Cause(r.Context())
			})), 1)
			synctest.Wait()
			require.Empty(t, codes)
			began := time.Now()
			require.NoError(t, gate.Close())
			assert.Equal(t, http.StatusServiceUnavailable, <-codes)
			assert.Equal(t, http.StatusServiceUnavailable, <-codes)
			assert.ErrorIs(t, <-ended, rolegate.ErrRevoked)
			assert.LessOrEqual(t, time.Since(began), time.Second)
		})
	})
	t.Run("a source that heeds no ctx", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"))}
			gate, _ := tickGate(t, rolegate.Config{Source: source})
			source.set(func(context.Context, int64, func(rolegate.Record)) error {
				tickAfterAlone(time.Minute)
				return nil
			})
			go func() { _ = gate.Refresh(context.Background()) }()
			synctest.Wait()
			began := time.Now()
			require.ErrorContains(t, gate.Close(), "must return when its ctx ends", "it says whose fault it is")
			assert.LessOrEqual(t, time.Since(began), time.Second)
			closed(t, gate)
			tickAfter(2 * time.Minute)
		})
	})
	t.Run("from a hook", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
			var gate *rolegate.Gate
			took := make(chan time.Duration, 1)
			gate, _ = tickGate(t, rolegate.Config{Source: source, OnChange: func(rolegate.Change) {
				began := time.Now()
				_ = gate.Close() // it waits for the hook, which waits for it
				took <- time.Since(began)
			}})
			source.Put(tickRecord(2, 0, "teacher"))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.LessOrEqual(t, <-took, time.Second)
			closed(t, gate)
		})
	})
	t.Run("Open that gives up", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			began := time.Now()
			gate, err := rolegate.Open(ctx, rolegate.Config{Source: &tickScript{pull: hang}, Identify: tickByHeader, Logger: new(logBook).logger()})
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Nil(t, gate)
			assert.LessOrEqual(t, time.Since(began), 11*time.Second)
		})
	})
	t.Run("nil and zero", func(t *testing.T) {
		t.Parallel()
		assert.NoError(t, (*rolegate.Gate)(nil).Close())
		assert.NoError(t, new(rolegate.Gate).Close())
	})
}

// The same with sockets, which bubbles do not have: nothing of the client is
// left either, with a reply outstanding or a connection idle. Not in parallel,
// or the goroutines of others would be counted.
func TestFault30CloseWithSockets(t *testing.T) {
	for name, fault := range map[string]rolegatetest.Fault{
		"a reply outstanding": rolegatetest.Hang(),
		"a body that drips":   rolegatetest.Drip(50 * time.Millisecond),
		"a connection idle":   nil,
	} {
		t.Run(name, func(t *testing.T) {
			before, connections := goleak.IgnoreCurrent(), tickConnections()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Grant(1, 7, "teacher")
			base, stop, err := m.Listen()
			require.NoError(t, err)
			defer func() {
				stop()
				goleak.VerifyNone(t, before)
			}()
			gate, err := rolegate.Open(t.Context(), rolegate.Config{
				Source:   marketplace.New(marketplace.Config{BaseURL: base, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token())}),
				Identify: tickByHeader, Logger: new(logBook).logger(),
			})
			require.NoError(t, err)
			pulled := make(chan error, 2)
			if fault != nil {
				arrived := m.RequestCount()
				m.Fail(fault)
				for _, pull := range tickPulls {
					go func() { pulled <- pull.pull(context.Background(), gate) }()
				}
				require.Eventually(t, func() bool { return m.RequestCount() >= arrived+2 }, 20*time.Second, time.Millisecond)
			}
			require.Greater(t, tickConnections(), connections)
			began := time.Now()
			_ = gate.Close() // within a second: a bubble can tell, a busy machine cannot
			assert.Less(t, time.Since(began), 20*time.Second)
			require.Eventually(t, func() bool { return gate.Close() == nil }, 20*time.Second, time.Millisecond)
			require.Eventually(t, func() bool { return tickConnections() <= connections }, 20*time.Second, time.Millisecond, "the server is still there")
			if fault != nil {
				assert.ErrorIs(t, <-pulled, rolegate.ErrClosed)
				assert.ErrorIs(t, <-pulled, rolegate.ErrClosed)
			}
			w := tickAsk(t, gate.Admit(tickNever(t)), 1)
			assert.Equal(t, http.StatusServiceUnavailable, w.Code)
		})
	}
}

// tickConnections is how many connections HTTP clients of this process have.
func tickConnections() int {
	all := make([]byte, 4<<20)
	return strings.Count(string(all[:runtime.Stack(all, true)]), "(*persistConn).readLoop(")
}
