package faults_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// answer answers a status and a body of some type.
func answer(status int, contentType, body string, headers ...string) rolegatetest.Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", contentType)
		for i := 0; i < len(headers); i += 2 {
			w.Header().Set(headers[i], headers[i+1])
		}
		w.WriteHeader(status)
		_, _ = w.Write([]byte(body))
	}
}

// spellings are ways to say that a token has run out: those of the fake, and more.
func spellings() map[string]rolegatetest.Fault {
	all := rolegatetest.Refusals()
	const json, html = "application/json", "text/html;charset=utf-8"
	for name, fault := range map[string]rolegatetest.Fault{
		"code 40001 as a string":      answer(200, json, `{"code":"40001","data":null,"message":"invalid credential","status":"error"}`),
		"code 0":                      answer(200, json, `{"code":0,"data":{},"message":"请重新登录","status":"fail"}`),
		"code 200 and status fail":    answer(200, json, `{"code":200,"data":[],"message":"token expired","status":"fail"}`),
		"code -1":                     answer(200, json, `{"code":-1,"data":"","message":"token失效","status":"error"}`),
		"code 10401":                  rolegatetest.ErrorEnvelope(10401, "token timeout"),
		"HTTP 400 and an envelope":    answer(400, json, `{"code":400,"data":{},"message":"invalid_token","status":"error"}`),
		"HTTP 400 without a body":     answer(400, "", ""),
		"HTTP 403 in HTML":            answer(403, html, "<html>Forbidden</html>"),
		"HTTP 407":                    answer(407, "", ""),
		"HTTP 419":                    answer(419, json, `{"message":"expired"}`),
		"HTTP 498":                    answer(498, "", ""),
		"HTTP 404":                    answer(404, json, `{"code":404}`),
		"HTTP 500 and an envelope":    answer(500, json, `{"code":500,"data":{},"message":"accessToken已失效","status":"fail"}`),
		"a redirect without Location": answer(302, "", ""),
		"301 to a login":              answer(301, html, "", "Location", "https://login.test/?from=/app/user/list"),
		"303 to a login":              answer(303, html, "", "Location", "https://login.test/"),
		"307 to a login":              answer(307, html, "", "Location", "/login"),
		"a login page without a type": answer(200, "", "<!DOCTYPE html><html><form action=/login></form></html>"),
		"a login page as text":        answer(200, "text/plain", "\n  <html lang=zh>登录</html>"),
		"a login page in XHTML":       answer(200, "application/xhtml+xml", `<?xml version="1.0"?><html/>`),
		"a login page as JSON":        answer(200, json, "<html>登录</html>"),
	} {
		all[name] = fault
	}
	return all
}

// A renewing source has a token that the marketplace takes, and counts its calls.
type renewing struct {
	m     *rolegatetest.Marketplace
	mu    sync.Mutex
	calls int
}

func (r *renewing) Token(context.Context) (string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calls++
	return r.m.Token(), nil
}

func (r *renewing) count() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.calls
}

// spelt is a house whose marketplace refuses tokens in that way.
func spelt(refusal rolegatetest.Fault) (tickSetup, *renewing) {
	source := new(renewing)
	s := listHouse(40, pagesOf(10), func(s *tickSetup) {
		s.marketplace.Refusal = refusal
		list := s.list
		s.list = func(m *rolegatetest.Marketplace) { list(m); source.m = m }
		s.alsoClient(func(c *marketplace.Config) { c.Token = source })
	})
	return s, source
}

// A token that ran out is renewed, whatever the marketplace calls it.
func TestFault77ATokenThatRanOut(t *testing.T) {
	t.Parallel()
	for name, refusal := range spellings() {
		s, source := spelt(refusal)
		tickRun(t, name, s, func(t *testing.T, h *tickHouse) {
			for hour := range 4 { // each takes another one
				h.m.SetToken(fmt.Sprintf("AT-%d", hour))
				for range 12 {
					tickAfter(5 * time.Minute)
					require.Equal(t, rolegate.StateReady, h.gate.Status().State, "hour %d: %v", hour, h.gate.Status().Full.Error)
				}
			}
			assert.LessOrEqual(t, source.count(), 1+4*2, "not more logins than it takes")
			h.m.SetToken("AT-in-between") // with somebody who is new
			h.m.Put(tickUser(500, "teacher"))
			tickUntil(t, 3*time.Minute, func() bool { return h.allowed(t, 500) })
			h.calm(t)
		})
	}
}

// A marketplace that is down, and says so in the words of a refusal, is not flooded
// with logins.
func TestFault78AMarketplaceThatIsDownSoundsLikeARefusal(t *testing.T) {
	t.Parallel()
	for name, down := range spellings() {
		s, source := spelt(nil)
		tickRun(t, name, s, func(t *testing.T, h *tickHouse) {
			tickAfter(10 * time.Minute)
			logins := source.count()
			h.m.Fail(down)
			tickAfter(3 * time.Hour)
			most := 3*60 + 2 // one a minute
			if name == "http-401" {
				most *= 5 // that is plain: two with each refresh
			}
			assert.LessOrEqual(t, source.count()-logins, most)
			h.m.Recover()
			tickUntil(t, 5*time.Minute, func() bool { return h.gate.Status().State == rolegate.StateReady })
			h.calm(t)
		})
	}
}

// A token whose end is known is renewed before it.
func TestFault79ATokenThatSaysWhenItEnds(t *testing.T) {
	t.Parallel()
	for _, life := range []time.Duration{20 * time.Second, 2 * time.Minute, 10 * time.Minute, time.Hour, 2 * time.Hour} {
		for _, away := range []bool{false, true} { // the source, now and then
			inBubble(t, fmt.Sprintf("%v, away=%t", life, away), func(t *testing.T) {
				var mu sync.Mutex
				n, ends := 0, time.Time{}
				s := listHouse(40, pagesOf(10))
				list := s.list
				var m *rolegatetest.Marketplace
				s.list = func(market *rolegatetest.Marketplace) { list(market); m = market }
				s.alsoClient(func(c *marketplace.Config) {
					c.Token = marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
						mu.Lock()
						defer mu.Unlock()
						if n++; away && n%3 == 0 {
							return "", time.Time{}, errors.New("the login is away")
						}
						ends = time.Now().Add(life)
						m.SetToken(fmt.Sprintf("AT-%d", n))
						return m.Token(), ends, nil
					})
				})
				h := tickOpen(t, s)
				late := 0
				h.m.FailWhen(func(rolegatetest.Request) bool {
					mu.Lock()
					defer mu.Unlock()
					if !time.Now().Before(ends) {
						late++
					}
					return false
				}, nil)
				tickAfter(5 * time.Hour)
				mu.Lock()
				assert.Zero(t, late, "requests with a token that has ended")
				assert.LessOrEqual(t, n, int(5*time.Hour/min(life, time.Hour))*2+int(5*time.Hour/time.Minute)*2, "logins")
				mu.Unlock()
				for _, r := range h.m.Requests() {
					require.True(t, r.TokenOK)
				}
				assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
				h.calm(t)
			})
		}
	}
}

// A token with something invisible around it is named as such, from whatever source,
// and is not sent.
func TestFault80ATokenWithALineBreak(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"a line break": "%s\n", "a Windows line break": "%s\r\n", "a blank before": " %s", "a blank behind": "%s ", "a tab": "%s\t",
		"a no-break space": "%s\u00a0", "a byte order mark": "\ufeff%s", "a zero-width space": "%s\u200b", "an ideographic space": "%s\u3000",
		"two lines": "%s\nexpires=7200", "a NUL": "%s\x00",
	} {
		for source, token := range map[string]func(string) marketplace.TokenSource{
			"a function": func(text string) marketplace.TokenSource {
				return marketplace.TokenFunc(func(context.Context) (string, error) { return text, nil })
			},
			"a function with an end": func(text string) marketplace.TokenSource {
				return marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
					return text, time.Now().Add(time.Hour), nil
				})
			},
			"static": func(text string) marketplace.TokenSource { return marketplace.StaticToken(text) },
		} {
			inBubble(t, name+": "+source, func(t *testing.T) {
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
				m.Put(tickUser(1, "teacher"))
				client := marketplace.New(marketplace.Config{
					BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: token(fmt.Sprintf(text, m.Token())), Transport: m.Transport(),
				})
				ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
				defer cancel()
				book := &logBook{}
				_, err := rolegate.Open(ctx, rolegate.Config{Source: client, Identify: tickByHeader, Logger: book.logger()})
				require.Error(t, err)
				said := err.Error() + book.String()
				assert.True(t, strings.Contains(said, "blank") || strings.Contains(said, "line break") || strings.Contains(said, "invisible"), "%s", said)
				assert.NotContains(t, said, m.Token())
				assert.Zero(t, m.RequestCount(), "it is not sent")
			})
		}
	}
}

// Of replicas that start together, each login makes the tokens of the others
// invalid: all of them open, and go on.
func TestFault81ReplicasThatRenewEachOthersToken(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 3} {
		for name, refusal := range map[string]rolegatetest.Fault{
			"code 401": nil, "http-401": rolegatetest.HTTPStatus(401), "code-500": rolegatetest.ErrorEnvelope(500, "accessToken已失效"),
		} {
			for _, latency := range []time.Duration{0, 100 * time.Millisecond} {
				inBubble(t, fmt.Sprintf("%d replicas, %s, %v", n, name, latency), func(t *testing.T) {
					m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Refusal: refusal, Latency: latency})
					for id := range int64(40) {
						m.Put(tickUser(id+1, "teacher"))
					}
					var mu sync.Mutex
					logins := 0
					login := marketplace.TokenFunc(func(context.Context) (string, error) {
						mu.Lock()
						defer mu.Unlock()
						logins++
						m.SetToken(fmt.Sprintf("AT-%d", logins))
						return m.Token(), nil
					})
					gates := make(chan *rolegate.Gate, n)
					for range n {
						go func() {
							gate, err := rolegate.Open(t.Context(), rolegate.Config{Identify: tickByHeader, Logger: (&logBook{}).logger(), Source: marketplace.New(marketplace.Config{
								BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: login, Transport: m.Transport(), PageSize: 10,
							})})
							assert.NoError(t, err)
							gates <- gate
						}()
					}
					var all []*rolegate.Gate
					for range n {
						gate := <-gates
						require.NotNil(t, gate)
						t.Cleanup(func() { assert.NoError(t, gate.Close()) })
						all = append(all, gate)
					}
					for range 12 {
						tickAfter(5 * time.Minute)
						for _, gate := range all {
							require.True(t, gate.Status().State.Serving(), "%v", gate.Status().Full.Error)
							require.True(t, tickAllowed(gate, 1))
						}
					}
				})
			}
		}
	}
}

// A refusal at the start is final at once for a token that never changes; of any
// other, after half a minute of trying.
func TestFault82ARefusalAtTheStart(t *testing.T) {
	t.Parallel()
	for name, refusal := range map[string]rolegatetest.Fault{"code 401": nil, "http-401": rolegatetest.HTTPStatus(401)} {
		for _, c := range []struct {
			name        string
			static      bool
			fixed       time.Duration // 0: never
			opens       bool
			least, most time.Duration
		}{
			{"static", true, 0, false, 0, time.Second},
			{"renewed, for ever", false, 0, false, 30 * time.Second, 2 * time.Minute},
			{"renewed, for 5 s", false, 5 * time.Second, true, 5 * time.Second, 20 * time.Second},
			{"renewed, for 25 s", false, 25 * time.Second, true, 25 * time.Second, 60 * time.Second},
		} {
			inBubble(t, name+": "+c.name, func(t *testing.T) {
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Refusal: refusal})
				m.Put(tickUser(1, "teacher"))
				began := time.Now()
				var source marketplace.TokenSource = marketplace.StaticToken("another")
				if !c.static {
					source = marketplace.TokenFunc(func(context.Context) (string, error) {
						if c.fixed > 0 && time.Since(began) >= c.fixed {
							return m.Token(), nil
						}
						return "another", nil
					})
				}
				gate, err := rolegate.Open(t.Context(), rolegate.Config{Identify: tickByHeader, Logger: (&logBook{}).logger(), Source: marketplace.New(marketplace.Config{
					BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: source, Transport: m.Transport(),
				})})
				assert.GreaterOrEqual(t, time.Since(began), c.least)
				assert.LessOrEqual(t, time.Since(began), c.most)
				if !c.opens {
					require.ErrorIs(t, err, rolegate.ErrRefused)
					return
				}
				require.NoError(t, err)
				assert.True(t, tickAllowed(gate, 1))
				assert.NoError(t, gate.Close())
			})
		}
	}
}
