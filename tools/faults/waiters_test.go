package faults_test

import (
	"context"
	"errors"
	"net/http"
	"runtime"
	"sync"
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

// When the first of many who wait for a shared pull gives up, the others still
// get their answer; a panic in the refresh hangs nobody.
func TestFault33Waiters(t *testing.T) {
	t.Parallel()
	const many = 50
	for _, pull := range tickPulls {
		t.Run("the first gives up: "+pull.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
				gate, _ := tickGate(t, rolegate.Config{Source: source})
				source.Put(tickRecord(2, 0, "teacher"))
				source.SetDelay(10 * time.Second)
				began, pulls := time.Now(), source.FullRefreshes()+source.IncrementalRefreshes()
				ctx, cancel := context.WithCancel(t.Context())
				first, others := make(chan error, 1), make(chan error, many)
				go func() { first <- pull.pull(ctx, gate) }()
				synctest.Wait()
				for range many {
					go func() { others <- pull.pull(t.Context(), gate) }()
				}
				tickAfter(5 * time.Second)
				cancel()
				assert.ErrorIs(t, <-first, context.Canceled)
				assert.Equal(t, 5*time.Second, time.Since(began), "at once")
				for range many {
					assert.NoError(t, <-others)
				}
				assert.True(t, tickAllowed(gate, 2))
				assert.LessOrEqual(t, source.FullRefreshes()+source.IncrementalRefreshes()-pulls, 4, "shared: the one that was under way and the next, of a full refresh with its increment")
			})
		})
		t.Run("all but the last give up: "+pull.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
				gate, _ := tickGate(t, rolegate.Config{Source: source})
				source.SetDelay(10 * time.Second)
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				others, last := make(chan error, many), make(chan error, 1)
				for range many {
					go func() { others <- pull.pull(ctx, gate) }()
				}
				go func() { last <- pull.pull(t.Context(), gate) }()
				for range many {
					assert.ErrorIs(t, <-others, context.DeadlineExceeded)
				}
				assert.NoError(t, <-last)
			})
		})
		for name, end := range map[string]func(){
			"panics":             func() { panic(tickGossip) },
			"panics with nil":    func() { panic(nil) },
			"ends its goroutine": runtime.Goexit,
		} {
			t.Run("the refresh "+name+": "+pull.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					good := tickYield(tickRecord(1, 1, "teacher"))
					source := &tickScript{pull: good}
					gate, book := tickGate(t, rolegate.Config{Source: source})
					source.set(func(ctx context.Context, _ int64, _ func(rolegate.Record)) error {
						if err := tickWait(ctx, 2*time.Second); err != nil {
							return err
						}
						end()
						return nil
					})
					answers := make(chan error, many)
					for range many {
						go func() { answers <- pull.pull(t.Context(), gate) }()
					}
					began := time.Now()
					for range many {
						var failed *rolegate.PullError
						require.ErrorAs(t, <-answers, &failed)
						assert.Equal(t, rolegate.FailurePanic, failed.Failure)
						assert.NotContains(t, failed.Error(), "hunter2")
					}
					assert.LessOrEqual(t, time.Since(began), 5*time.Second)
					assert.NotContains(t, book.String(), "hunter2")
					source.set(good)
					assert.NoError(t, pull.pull(t.Context(), gate), "nothing stays locked")
				})
			})
		}
	}
	// Requests wait for a shared pull too: on deny for an increment, with MaxAge
	// for a full refresh.
	for name, c := range map[string]struct {
		guard  func(gate *rolegate.Gate) func(http.Handler) http.Handler
		user   int64
		panics int // what the answer is if the refresh panics
	}{
		"on deny": {func(gate *rolegate.Gate) func(http.Handler) http.Handler { return gate.Admit }, 2, http.StatusForbidden},
		"MaxAge": {func(gate *rolegate.Gate) func(http.Handler) http.Handler {
			return gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Second))
		}, 1, http.StatusServiceUnavailable},
	} {
		for _, panics := range []bool{false, true} {
			t.Run(map[bool]string{false: "the first request gives up: ", true: "the refresh of requests panics: "}[panics]+name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"))}
					gate, _ := tickGate(t, rolegate.Config{
						Source: source, OnDeny: rolegate.OnDeny{Wait: time.Minute}, Refresh: rolegate.Refresh{MaxAgeWait: time.Minute},
					})
					tickAfter(30 * time.Second)
					var pulls atomic.Int64
					source.set(func(ctx context.Context, after int64, yield func(rolegate.Record)) error {
						pulls.Add(1)
						if err := tickWait(ctx, 5*time.Second); err != nil {
							return err
						}
						if panics {
							panic(tickGossip)
						}
						return tickYield(tickRecord(1, 1, "teacher"), tickRecord(2, 2, "teacher"))(ctx, after, yield)
					})
					guard := c.guard(gate)(tickOK)
					ctx, cancel := context.WithCancel(context.Background())
					first, others := make(chan int, 1), make(chan int, many)
					go func() { first <- tickAskWith(ctx, guard, c.user).Code }()
					synctest.Wait()
					for range many {
						go func() { others <- tickAskWith(context.Background(), guard, c.user).Code }()
					}
					synctest.Wait()
					cancel()
					synctest.Wait()
					assert.NotEqual(t, http.StatusOK, <-first)
					want := http.StatusOK
					if panics {
						want = c.panics
					}
					for range many {
						assert.Equal(t, want, <-others)
					}
					assert.LessOrEqual(t, pulls.Load(), int64(2), "shared: one increment, or a full refresh with its increment")
				})
			})
		}
	}
	t.Run("the first of those who wait for a token", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Grant(1, 7, "teacher")
			tokens := &tickTokens{answer: func(ctx context.Context) (string, error) { return m.Token(), tickWait(ctx, 10*time.Second) }}
			client := marketplace.New(marketplace.Config{BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: tokens, Transport: m.Transport()})
			pull := func(ctx context.Context) <-chan error {
				answer := make(chan error, 1)
				go func() { answer <- client.Pull(ctx, 0, func(rolegate.Record) {}) }()
				tickAfter(time.Second)
				return answer
			}
			ctx, cancel := context.WithCancel(t.Context())
			first := pull(ctx)
			second := pull(t.Context())
			cancel()
			assert.ErrorIs(t, <-first, context.Canceled)
			assert.NoError(t, <-second)
			assert.Equal(t, 1, tokens.count(), "one call for both")
		})
	})
}

// No refresh and no request waits for a hook that blocks for a minute.
func TestFault35BlockingHook(t *testing.T) {
	t.Parallel()
	block := func() { tickAfterAlone(time.Minute) }
	for name, hook := range map[string]func(c *rolegate.Config){
		"OnChange":   func(c *rolegate.Config) { c.OnChange = func(rolegate.Change) { block() } },
		"OnDecision": func(c *rolegate.Config) { c.OnDecision, c.SampleGrants = func(rolegate.DecisionEvent) { block() }, 1 },
		"both": func(c *rolegate.Config) {
			c.OnChange = func(rolegate.Change) { block() }
			c.OnDecision, c.SampleGrants = func(rolegate.DecisionEvent) { block() }, 1
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
				cfg := rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{Off: true}}
				hook(&cfg)
				gate, _ := tickGate(t, cfg)
				began := time.Now()
				const events = 1100 // more than any queue holds
				for i := range int64(events) {
					source.Put(tickRecord(1000+i, 0, "teacher"))
					require.NoError(t, gate.Refresh(t.Context()))
					require.Equal(t, http.StatusOK, tickAsk(t, gate.Admit(tickOK), 1000+i).Code)
					require.Equal(t, http.StatusForbidden, tickAsk(t, gate.Admit(tickNever(t)), 5).Code)
				}
				require.NoError(t, gate.RefreshAll(t.Context()))
				assert.Zero(t, time.Since(began), "nothing waits")
				s := gate.Status()
				assert.Equal(t, cfg.OnChange != nil, s.DroppedChanges > 0, "what did not fit is counted")
				assert.Equal(t, cfg.OnDecision != nil, s.DroppedDecisions > 0)

				tickAfter(30 * time.Minute)
				assert.Less(t, gate.Status().ContactAge, 70*time.Second, "the loop is alive")
				// A hook that is in the middle of it holds Close up for a second.
				closing := time.Now()
				_ = gate.Close()
				assert.LessOrEqual(t, time.Since(closing), time.Second)
				tickAfter(time.Minute)
			})
		})
	}
	t.Run("for good, with everything under way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
			gate, _ := tickGate(t, rolegate.Config{
				Source:   source,
				OnChange: func(rolegate.Change) { <-release }, OnDecision: func(rolegate.DecisionEvent) { <-release }, SampleGrants: 1,
			})
			defer close(release)
			tickAfter(time.Second)
			var wg sync.WaitGroup
			began := time.Now()
			for i := range int64(20) {
				source.Put(tickRecord(100+i, 0, "teacher"))
				wg.Go(func() { // granted a moment ago: the refusal looks once
					assert.Equal(t, http.StatusOK, tickAskWith(context.Background(), gate.Admit(tickOK), 100+i).Code)
				})
			}
			wg.Wait()
			assert.Zero(t, time.Since(began))
			source.Remove(100)
			tickAfter(12 * time.Minute)
			assert.False(t, tickAllowed(gate, 100), "revocations count as ever")
			source.Fail(errors.New("down"))
			tickAfter(10 * time.Minute)
			assert.Equal(t, rolegate.StateStale, gate.Status().State)
			source.Recover()
			tickAfter(tickBackOff)
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
		})
	})
	t.Run("RoleCodes", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(tickRecord(1, 0, "teacher"))
			gate, _ := tickGate(t, rolegate.Config{Source: source, RoleCodes: func(context.Context) ([]string, error) { block(); return nil, nil }})
			guard := gate.Require(rolegate.AnyRole("teacher", "headmistress"))
			began := time.Now()
			refreshed := make(chan error, 1)
			go func() { refreshed <- gate.RefreshAll(t.Context()) }()
			synctest.Wait()
			source.Put(tickRecord(2, 0, "teacher"))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.Equal(t, http.StatusOK, tickAsk(t, guard(tickOK), 2).Code)
			assert.Zero(t, time.Since(began))
			require.NoError(t, <-refreshed)
			assert.LessOrEqual(t, time.Since(began), 15*time.Second, "the full refresh that asks has a deadline of its own")
			tickAfter(time.Minute)
		})
	})
}
