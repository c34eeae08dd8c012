package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime"
	"slices"
	"strings"
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

// tickRefusals are the ways in which a marketplace refuses a token: how the
// house is built, and the fault that refuses even the right one.
var tickRefusals = []struct {
	name  string
	setup tickSetup
	fault rolegatetest.Fault
}{
	{"HTTP 401", tickSetup{marketplace: rolegatetest.MarketplaceConfig{UnauthorizedHTTP: true}}, rolegatetest.RefuseToken()},
	{"code 401 under HTTP 200", tickSetup{}, rolegatetest.RefuseToken()},
	{"as Config says: a code", tickSetup{
		list: func(m *rolegatetest.Marketplace) {
			m.FailWhen(tickWrongToken, rolegatetest.ErrorEnvelope(40103, "expired"))
		},
		client: func(c *marketplace.Config) {
			c.Refused = func(_, code int) bool { return code == 40103 }
		},
	}, rolegatetest.ErrorEnvelope(40103, "expired")},
	{"as Config says: an HTTP status", tickSetup{
		list: func(m *rolegatetest.Marketplace) {
			m.FailWhen(tickWrongToken, rolegatetest.HTTPStatus(http.StatusForbidden))
		},
		client: func(c *marketplace.Config) {
			c.Refused = func(status, _ int) bool { return status == http.StatusForbidden }
		},
	}, rolegatetest.HTTPStatus(http.StatusForbidden)},
}

func tickWrongToken(r rolegatetest.Request) bool { return !r.TokenOK }

// A token that is refused is renewed once and the page asked for once more. A
// second refusal fails the refresh, and is no loop.
func TestFault22RefusedToken(t *testing.T) {
	t.Parallel()
	for _, refusal := range tickRefusals {
		for _, pull := range tickPulls {
			tickRun(t, refusal.name+", renewed: "+pull.name, refusal.setup, func(t *testing.T, h *tickHouse) {
				require.NoError(t, pull.pull(t.Context(), h.gate))
				usual, calls := h.line.count(), h.tokens.count()
				require.NoError(t, pull.pull(t.Context(), h.gate))
				usual = h.line.count() - usual // requests of one refresh
				h.m.SetToken("AT-2-theSecondTokenForTests")
				began := h.line.count()
				require.NoError(t, pull.pull(t.Context(), h.gate))
				assert.Equal(t, calls+1, h.tokens.count(), "one renewal")
				assert.Equal(t, usual+1, h.line.count()-began, "one more try, of one page")
				after := h.line.values(began, "lastSequence")
				assert.Equal(t, after[0], after[1], "the page that was refused")
				assert.Empty(t, h.gate.Status().Failures)
				h.silent(t, nil)
			})
			tickRun(t, refusal.name+", refused again: "+pull.name, refusal.setup, func(t *testing.T, h *tickHouse) {
				var n atomic.Int64
				h.tokens.set(func(context.Context) (string, error) {
					return fmt.Sprintf("AT-%d-anotherTokenForTests", n.Add(1)), nil
				})
				tickAfter(time.Second)
				h.m.Fail(refusal.fault)
				for range 3 {
					began, calls := h.line.count(), h.tokens.count()
					err := h.keeps(t, pull, rolegate.FailureRefused)
					require.ErrorIs(t, err, rolegate.ErrRefused)
					require.ErrorContains(t, err, "Config.Token", "it says where to look")
					assert.Equal(t, 2, h.line.count()-began, "one more try, and no loop")
					assert.LessOrEqual(t, h.tokens.count()-calls, 2, "one renewal, and one token to begin with if the last was refused")
				}
				before, decided := h.gate.Status(), h.decisions(t)
				began, failed := h.line.count(), before.Incremental.Failed+before.Full.Failed
				tickAfter(20 * time.Minute) // of attempts of the loop
				h.kept(t, before, decided)
				now := h.gate.Status()
				assert.EqualValues(t, 2*(now.Incremental.Failed+now.Full.Failed-failed), h.line.count()-began, "two requests for each refresh")
				assert.LessOrEqual(t, h.line.count()-began, 2*2*(20+10))
				h.tokens.set(func(context.Context) (string, error) { return h.m.Token(), nil })
				h.goesOn(t)
			})
		}
		t.Run(refusal.name+", at the first start", func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := rolegatetest.NewMarketplace(refusal.setup.marketplace)
				m.Fail(refusal.fault)
				cfg := marketplace.Config{
					BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Transport: m.Transport(),
					Token: marketplace.TokenFunc(func(context.Context) (string, error) { return m.Token(), nil }),
				}
				if refusal.setup.client != nil {
					refusal.setup.client(&cfg)
				}
				began := time.Now()
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
				defer cancel()
				gate, err := rolegate.Open(ctx, rolegate.Config{
					Source: marketplace.New(cfg), Identify: tickByHeader, Logger: new(logBook).logger(),
				})
				require.ErrorIs(t, err, rolegate.ErrRefused)
				assert.Nil(t, gate)
				assert.NotContains(t, fmt.Sprintf("%v %+v %#v", err, err, err), m.Token())
				assert.NotErrorIs(t, err, context.DeadlineExceeded)
				assert.GreaterOrEqual(t, time.Since(began), 30*time.Second, "another replica may have made the token invalid")
				assert.Less(t, time.Since(began), 30*time.Second+tickBackOff, "more waiting fixes nothing")
				assert.LessOrEqual(t, m.RequestCount(), 2*8, "two requests for each attempt, which are ever further apart")
			})
		})
	}
	tickRun(t, "no renewal of a static one", tickSetup{client: func(c *marketplace.Config) { c.Token = marketplace.StaticToken(rolegatetest.DefaultToken) }},
		func(t *testing.T, h *tickHouse) {
			h.m.Fail(rolegatetest.RefuseToken())
			began := h.line.count()
			h.keeps(t, tickPulls[0], rolegate.FailureRefused)
			assert.Equal(t, 1, h.line.count()-began)
			h.goesOn(t)
		})
	tickRun(t, "a renewal that fails", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.tokens.set(func(context.Context) (string, error) { return "", errors.New("the portal is away") })
		h.m.SetToken("AT-2-theSecondTokenForTests")
		for _, pull := range tickPulls {
			began := h.line.count()
			h.keeps(t, pull, marketplace.FailureToken)
			assert.Equal(t, 1, h.line.count()-began, "nothing more is sent")
		}
		h.tokens.set(func(context.Context) (string, error) { return h.m.Token(), nil })
		h.goesOn(t)
	})
}

// A token source that blocks, panics or returns nothing is given up at the
// deadline, or recovered: no request is sent, and the list stays.
func TestFault23TokenSourceFails(t *testing.T) {
	t.Parallel()
	const password, basic = "hunter2-of-the-portal", "YWxpY2U6aHVudGVyMg"
	release := func(t *testing.T) chan struct{} {
		c := make(chan struct{})
		t.Cleanup(func() { close(c) })
		return c
	}
	for name, c := range map[string]struct {
		answer func(t *testing.T) func(context.Context) (string, error)
		within time.Duration
	}{
		"blocks until its deadline": {func(*testing.T) func(context.Context) (string, error) {
			return func(ctx context.Context) (string, error) { <-ctx.Done(); return "", ctx.Err() }
		}, tickPage},
		"blocks and heeds no deadline": {func(t *testing.T) func(context.Context) (string, error) {
			released := release(t)
			return func(context.Context) (string, error) { <-released; return "", errors.New("late") }
		}, tickPage},
		"panics": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { panic("login as " + tickPersonal[0] + "1 with " + password) }
		}, 0},
		"panics with an error": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) {
				panic(fmt.Errorf("login as %s1 with %s", tickPersonal[0], password))
			}
		}, 0},
		"panics with nil": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { panic(nil) }
		}, 0},
		"dereferences nil": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { var s *strings.Builder; return s.String(), nil }
		}, 0},
		"ends its goroutine": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { runtime.Goexit(); return "", nil }
		}, 0},
		"returns nothing": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) { return "", nil }
		}, 0},
		"fails, and names the credentials": {func(*testing.T) func(context.Context) (string, error) {
			return func(context.Context) (string, error) {
				return "", errors.New("POST https://portal.test/token?client_secret=" + password + ": Authorization: Basic " + basic + "==: 500")
			}
		}, 0},
	} {
		t.Run("at the first start: "+name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				answer := c.answer(t)
				h := tickOpen(t, tickSetup{
					client: func(cfg *marketplace.Config) { cfg.Token = marketplace.TokenFunc(answer) },
					gate:   func(cfg *rolegate.Config) { cfg.StartEmpty = true },
				})
				tickAfter(c.within + 30*time.Second)
				assert.Zero(t, h.line.count(), "no request is sent")
				s := h.gate.Status()
				assert.Equal(t, rolegate.StateStarting, s.State)
				assert.Positive(t, s.Failures[marketplace.FailureToken])
				assert.Positive(t, s.Full.Consecutive)
				tickRetryAfter(t, tickAsk(t, h.gate.Admit(tickNever(t)), tickAlice))
				h.silent(t, nil)
				assert.NotContains(t, h.book.String(), password)
				assert.NotContains(t, h.book.String(), basic)
			})
		})
		for _, pull := range tickPulls {
			tickRun(t, pull.name+": "+name, tickSetup{}, func(t *testing.T, h *tickHouse) {
				tickAfter(time.Second)
				// A token that was refused twice is not kept: the next refresh begins
				// with a call of the source.
				h.m.Fail(rolegatetest.RefuseToken())
				require.Error(t, pull.pull(t.Context(), h.gate))
				h.m.Recover()
				h.tokens.set(c.answer(t))
				sent, calls, began := h.line.count(), h.tokens.count(), time.Now()
				err := h.keeps(t, pull, marketplace.FailureToken)
				assert.Equal(t, c.within, time.Since(began))
				assert.Equal(t, sent, h.line.count(), "no request is sent")
				assert.Equal(t, calls+1, h.tokens.count())
				if c.within > 0 {
					require.ErrorIs(t, err, context.DeadlineExceeded)
				}
				tickAfter(3 * time.Minute)
				assert.Equal(t, sent, h.line.count())
				told := h.book.String() + err.Error() + h.gate.Status().Full.Error + h.gate.Status().Incremental.Error
				assert.NotContains(t, told, password)
				assert.NotContains(t, told, basic)
			})
		}
	}
	tickRun(t, "and then has one", tickSetup{}, func(t *testing.T, h *tickHouse) {
		h.m.SetToken("AT-2-theSecondTokenForTests")
		h.tokens.set(func(context.Context) (string, error) { panic("not yet") })
		h.keeps(t, tickPulls[0], marketplace.FailureToken)
		h.keeps(t, tickPulls[1], marketplace.FailureToken)
		h.tokens.set(func(context.Context) (string, error) { return h.m.Token(), nil })
		h.goesOn(t)
	})
}

// A token that changes in the middle of a full refresh: the full refresh goes on with the new
// one, and nothing is mixed between apps.
func TestFault24TokenChangesInAFullRefresh(t *testing.T) {
	t.Parallel()
	many := func(m *rolegatetest.Marketplace) {
		for id := int64(100); id < 130; id++ {
			m.Put(tickUser(id, "teacher"))
		}
	}
	for _, refusal := range tickRefusals {
		s := refusal.setup
		refuse := s.list
		s.list = func(m *rolegatetest.Marketplace) {
			many(m)
			if refuse != nil {
				refuse(m)
			}
		}
		tickRun(t, refusal.name, s, func(t *testing.T, h *tickHouse) {
			h.m.Revoke(110)
			began, calls := h.line.count(), h.tokens.count()
			var page atomic.Int64
			h.line.before = func() {
				if page.Add(1) == 4 {
					h.m.SetToken("AT-2-theSecondTokenForTests")
				}
			}
			require.NoError(t, h.gate.RefreshAll(t.Context()))
			assert.Equal(t, 31, h.gate.Status().Users, "the whole list, and nobody else")
			assert.False(t, h.allowed(t, 110))
			assert.Equal(t, calls+1, h.tokens.count())
			after, tokens := h.line.values(began, "lastSequence"), h.line.values(began, "accessToken")
			assert.NotContains(t, after[1:], "0", "it goes on, and does not begin anew")
			changed := slices.Index(tokens, h.m.Token())
			require.Positive(t, changed)
			assert.Equal(t, after[changed-1], after[changed], "from the page that was refused")
			assert.NotContains(t, tokens[:changed], h.m.Token())
			for _, token := range tokens[changed:] {
				assert.Equal(t, h.m.Token(), token, "nothing goes back to the old one")
			}
			h.goesOn(t)
		})
	}
	t.Run("two apps at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var apps []*tickApp
			market := &tickMarket{}
			for i := range int64(2) {
				a := &tickApp{m: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{
					AppID: fmt.Sprintf("app-%d", i), Token: fmt.Sprintf("AT-1-ofApp%d", i), Latency: time.Second,
				})}
				for n := range int64(30) {
					a.m.Grant(1000*(i+1)+n, 7, "teacher")
				}
				market.apps = append(market.apps, a)
				apps = append(apps, a)
			}
			for i, a := range apps {
				client := marketplace.New(marketplace.Config{
					BaseURL: rolegatetest.BaseURL, AppID: a.m.AppID(), Transport: market, PageSize: 5,
					Token: marketplace.TokenFunc(func(context.Context) (string, error) { return a.m.Token(), nil }),
				})
				a.gate, _ = tickGate(t, rolegate.Config{Source: client, StartEmpty: true})
				go func() {
					for n := range 20 { // a new one every few pages
						tickAfterAlone(time.Duration(2500+i*700) * time.Millisecond)
						a.m.SetToken(fmt.Sprintf("AT-%d-ofApp%d", n+2, i))
					}
				}()
			}
			tickAfter(2 * time.Minute)
			for i, a := range apps {
				require.NoError(t, a.gate.RefreshAll(t.Context()))
				assert.Equal(t, 30, a.gate.Status().Users)
				for n := range int64(30) {
					assert.True(t, tickAllowed(a.gate, 1000*int64(i+1)+n))
					assert.False(t, tickAllowed(a.gate, 1000*int64(2-i)+n), "a user of the other app")
				}
			}
			assert.Empty(t, market.wrong(), "each app's requests have its own token")
			assert.Greater(t, market.tokens(), 8, "the tokens have changed on the way")
		})
	})
	t.Run("the token of another app", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			other := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{AppID: "another", Token: "AT-1-ofAnother"})
			other.Grant(9, 7, "admin")
			h := tickOpen(t, tickSetup{list: many})
			h.line.to = &tickMarket{apps: []*tickApp{{m: h.m}, {m: other}}}
			h.tokens.set(func(context.Context) (string, error) { return other.Token(), nil })
			h.m.FailWhen(func(r rolegatetest.Request) bool { return r.After > 10 }, rolegatetest.RefuseToken())
			h.keeps(t, tickPulls[0], rolegate.FailureRefused)
			assert.False(t, h.allowed(t, 9))
			assert.Zero(t, other.RequestCount(), "the app id stays")
			h.tokens.set(func(context.Context) (string, error) { return h.m.Token(), nil })
			h.goesOn(t)
		})
	})
}

// tickAfterAlone blocks for d, beside others who wait for the bubble.
func tickAfterAlone(d time.Duration) { _ = tickWait(context.Background(), d) }

type tickApp struct {
	m    *rolegatetest.Marketplace
	gate *rolegate.Gate
}

// A tickMarket is one address for several apps, by their X-App-Id. It notes
// whose token came with whose app id.
type tickMarket struct {
	apps []*tickApp

	mu    sync.Mutex
	mixed []string
	seen  map[string]bool
}

func (m *tickMarket) RoundTrip(r *http.Request) (*http.Response, error) {
	id, token := r.Header.Get("X-App-Id"), r.URL.Query().Get("accessToken")
	m.mu.Lock()
	if m.seen == nil {
		m.seen = map[string]bool{}
	}
	m.seen[token] = true
	if number, ok := strings.CutPrefix(id, "app-"); ok && !strings.HasSuffix(token, "ofApp"+number) {
		m.mixed = append(m.mixed, id+" with "+token)
	}
	m.mu.Unlock()
	for _, a := range m.apps {
		if a.m.AppID() == id {
			return a.m.Transport().RoundTrip(r)
		}
	}
	return nil, errors.New("no such app")
}

func (m *tickMarket) wrong() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Clone(m.mixed)
}

func (m *tickMarket) tokens() int {
	m.mu.Lock()
	defer m.mu.Unlock()
	return len(m.seen)
}
