package faults_test

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"runtime"
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

// tickGossip is a panic value that must not be repeated.
const tickGossip = "account-of-1 with the password hunter2"

// A panic in the source, the token source, a hook or the identify func is
// recovered and reported, the loop goes on, and the request is denied.
func TestFault29Panics(t *testing.T) {
	t.Parallel()
	for name, broken := range map[string]func(){
		"panics":               func() { panic(tickGossip) },
		"panics with an error": func() { panic(errors.New(tickGossip)) },
		"panics with nil":      func() { panic(nil) },
		"ends its goroutine":   runtime.Goexit,
	} {
		for _, pull := range tickPulls {
			t.Run("a source that "+name+": "+pull.name, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					h := &tickHouse{m: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{}), tokens: &tickTokens{}}
					good := tickYield(tickRecord(1, 1, "teacher"), tickRecord(2, 2, "admin"))
					source := &tickScript{pull: good}
					h.gate, h.book = tickGate(t, rolegate.Config{Source: source})
					h.admin = h.gate.Policy(rolegate.AnyRole("admin"))
					tickAfter(time.Second)
					source.set(func(_ context.Context, _ int64, yield func(rolegate.Record)) error {
						yield(tickRecord(5, 9, "admin"))
						broken()
						return nil
					})
					h.keeps(t, pull, rolegate.FailurePanic)
					assert.Equal(t, 1, h.book.count(slog.LevelWarn, "a refresh failed"), "reported")
					if name != "ends its goroutine" {
						assert.Equal(t, 1, h.book.count(slog.LevelError, "a refresh panicked"), "with its stack")
						assert.Contains(t, h.book.String(), "TestFault29Panics", "which says where")
					}
					assert.NotContains(t, h.book.String(), tickGossip)
					assert.Equal(t, http.StatusForbidden, tickAsk(t, h.gate.Admit(tickNever(t)), 5).Code)
					assert.Equal(t, http.StatusOK, tickAsk(t, h.gate.Admit(tickOK), 1).Code)
					tickAfter(20 * time.Minute)
					assert.Greater(t, pull.status(h.gate.Status()).Consecutive, 3, "the loop is alive")
					source.set(good)
					tickAfter(tickBackOff)
					assert.Zero(t, h.gate.Status().Full.Consecutive)
					assert.Zero(t, h.gate.Status().Incremental.Consecutive)
				})
			})
		}
	}
	t.Run("a source, at the first start", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &tickScript{pull: func(context.Context, int64, func(rolegate.Record)) error { panic(tickGossip) }}
			gate, book := tickGate(t, rolegate.Config{Source: source, StartEmpty: true})
			tickAfter(time.Minute)
			tickRetryAfter(t, tickAsk(t, gate.Admit(tickNever(t)), 1))
			assert.NotContains(t, book.String(), tickGossip)
			source.set(tickYield(tickRecord(1, 1, "teacher")))
			tickUntil(t, tickBackOff, func() bool { return tickAllowed(gate, 1) })
		})
	})
	for _, pull := range tickPulls {
		tickRun(t, "a token source: "+pull.name, tickSetup{}, func(t *testing.T, h *tickHouse) {
			tickAfter(time.Second)
			h.m.SetToken("AT-2-theSecondTokenForTests")
			h.tokens.set(func(context.Context) (string, error) { panic(tickGossip) })
			err := h.keeps(t, pull, marketplace.FailureToken)
			assert.NotContains(t, err.Error()+h.book.String(), "hunter2")
			assert.Contains(t, err.Error(), "panicked")
			h.tokens.set(func(context.Context) (string, error) { return h.m.Token(), nil })
			h.goesOn(t)
		})
	}
	t.Run("hooks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var changes, decisions atomic.Int64
			h := tickOpen(t, tickSetup{gate: func(c *rolegate.Config) {
				c.OnChange = func(rolegate.Change) { changes.Add(1); panic(tickGossip) }
				c.OnDecision = func(rolegate.DecisionEvent) { decisions.Add(1); panic(errors.New(tickGossip)) }
				c.OnDeny.Off = true
			}})
			for id := int64(4); id < 8; id++ {
				assert.Equal(t, http.StatusForbidden, tickAsk(t, h.gate.Admit(tickNever(t)), id).Code)
				h.m.Put(tickUser(id, "teacher"))
				require.NoError(t, h.gate.Refresh(t.Context()))
				assert.Equal(t, http.StatusOK, tickAsk(t, h.gate.Admit(tickOK), id).Code)
			}
			synctest.Wait()
			assert.EqualValues(t, 4, changes.Load(), "each change is told, in spite of the panic before it")
			assert.EqualValues(t, 4, decisions.Load())
			assert.Equal(t, 8, h.book.count(slog.LevelError, "a hook panicked"))
			assert.NotContains(t, h.book.String(), "hunter2")
			h.goesOn(t)
		})
	})
	for name, broken := range map[string]func(*http.Request) (int64, error){
		"an identify func":                       func(*http.Request) (int64, error) { panic(tickGossip) },
		"an identify func, with ErrNobody":       func(*http.Request) (int64, error) { panic(rolegate.ErrNobody) },
		"an identify func, with nil":             func(*http.Request) (int64, error) { panic(nil) },
		"an identify func, with ErrAbortHandler": func(*http.Request) (int64, error) { panic(http.ErrAbortHandler) },
	} {
		for _, identify := range []rolegate.Identifier{
			rolegate.ByUserID(broken), rolegate.FirstOf(rolegate.ByUserID(broken), tickByHeader),
			rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) { _, err := broken(r); return tickPersonal[0] + "1", err }),
		} {
			tickRun(t, name, tickSetup{gate: func(c *rolegate.Config) { c.Identify = identify }}, func(t *testing.T, h *tickHouse) {
				for _, g := range tickGuards(h.gate) {
					w := tickAsk(t, g.wrap(tickNever(t)), tickAlice)
					assert.Equal(t, http.StatusInternalServerError, w.Code, g.name)
					assert.NotContains(t, w.Body.String(), "hunter2")
				}
				assert.EqualValues(t, len(tickGuards(h.gate)), h.gate.Status().Decisions[rolegate.ReasonIdentifyFailed])
				assert.Contains(t, h.book.String(), "the identify func panicked", "reported")
				assert.NotContains(t, h.book.String(), "hunter2")
				h.goesOn(t)
			})
		}
	}
	t.Run("what else the app brings", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var cache tickFailingCache
			h := tickOpen(t, tickSetup{gate: func(c *rolegate.Config) {
				c.Deny = func(http.Header, *http.Request, rolegate.Denial) []byte { panic(tickGossip) }
				c.RoleCodes = func(context.Context) ([]string, error) { panic(tickGossip) }
				c.UpstreamSync = tickFailingSync{}
				c.Cache = &cache
			}})
			org := func(*http.Request) (int64, error) { panic(tickGossip) }
			where := func(rolegate.User, *http.Request) bool { panic(tickGossip) }
			for name, guard := range map[string]func(http.Handler) http.Handler{
				"InOrg":               h.gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(org)),
				"Where":               h.gate.Require(rolegate.Where("broken", where)),
				"Where in Either":     h.gate.Require(rolegate.Either(rolegate.Where("broken", where), rolegate.AnyRole("teacher"))),
				"Where in Shadow":     h.gate.Require(rolegate.Where("broken", where), rolegate.Shadow()),
				"a role nobody holds": h.gate.Require(rolegate.AnyRole("headmistress")),
			} {
				w := tickAsk(t, guard(tickNever(t)), tickAlice)
				assert.Equal(t, http.StatusForbidden, w.Code, name)
				assert.Contains(t, w.Header().Get("Content-Type"), "problem+json", "the default body")
				assert.NotContains(t, w.Body.String(), "hunter2")
			}
			require.NoError(t, h.gate.RefreshAll(t.Context()))
			tickAfter(time.Minute)
			assert.Positive(t, h.gate.Status().Sync.Failed)
			assert.Positive(t, h.gate.Status().Cache.Failed)
			assert.Positive(t, cache.stores.Load())
			assert.NotContains(t, h.book.String(), "hunter2")
			h.goesOn(t)
		})
	})
}

type tickFailingSync struct{}

func (tickFailingSync) CheckSync(context.Context) (rolegate.SyncReport, error) { panic(tickGossip) }

type tickFailingCache struct{ stores atomic.Int64 }

func (*tickFailingCache) Load(context.Context) (io.ReadCloser, error) { panic(tickGossip) }

func (c *tickFailingCache) Store(context.Context, func(io.Writer) error) error {
	c.stores.Add(1)
	panic(tickGossip)
}
