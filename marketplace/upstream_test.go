package marketplace_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// What marketplaces do that are neither down nor perfect, each by a line of
// docs/faults.md.

func TestMoreUsersWithOneSequenceThanAPageHolds(t *testing.T) {
	t.Parallel()
	one := func(seq int64) func(int) int64 { return func(int) int64 { return seq } }
	for name, tc := range map[string]struct {
		list  *list
		says  string
		whole bool
	}{
		"a batch with one sequence":        {&list{rows: numbered(2500, one(7))}, "sequence 7", false},
		"behind others":                    {&list{rows: append(numbered(500, unique), numbered(2500, one(900))...)}, "sequence 900", false},
		"the server caps pages at 100":     {&list{rows: numbered(2500, one(7)), most: 100}, "100 users who all have sequence 7", false},
		"as many as a page of that server": {&list{rows: append(numbered(60, unique), numbered(100, one(900))...), most: 100}, "sequence 900", false},
		"inclusive":                        {&list{rows: numbered(2500, one(7)), inclusive: true}, "sequence 7", false},
		"all 0":                            {&list{rows: numbered(2500, one(0)), inclusive: true}, "the server may echo that", false},
		"0 beside numbered ones":           {&list{rows: append(numbered(1500, one(0)), numbered(500, unique)...), inclusive: true}, "sequence 0", false},
		"fewer than any page holds":        {&list{rows: numbered(9, one(7)), most: 100}, "", true},
		"fewer than a page holds":          {&list{rows: append(numbered(60, one(1)), numbered(40, one(2))...), most: 100}, "", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for i := range tc.list.rows {
				tc.list.rows[i].id = int64(i + 1)
			}
			c := client(tc.list, func(c *marketplace.Config) { c.PageSize = 1000 })
			got, err := pull(t, c, 0)
			if tc.whole {
				require.NoError(t, err)
				assert.Len(t, ids(got), len(tc.list.rows))
				return
			}
			pe := requireFailure(t, marketplace.FailureCursorTie, err)
			assert.ErrorContains(t, pe, tc.says)
			assert.LessOrEqual(t, len(tc.list.asks), 3)
		})
	}
}

func TestPagesInDescendingOrder(t *testing.T) {
	t.Parallel()
	for _, most := range []int{10, 100, 1000} {
		l := &movingList{rng: rand.New(rand.NewPCG(1, 1)), cap: most, order: "descending", rows: numbered(2500, unique)}
		_, err := pull(t, client(l), 0)
		assert.ErrorContains(t, requireFailure(t, marketplace.FailureDescending, err), "sort by lastSequence, ascending")
		assert.Equal(t, 1, l.requests)
	}
}

// A literal reading of the document: lastSequence in each row is the one that
// was asked for.
func TestServerThatEchoesTheSequenceOfTheRequest(t *testing.T) {
	t.Parallel()
	for _, n := range []int{2, 9, 10, 1000} {
		requests := 0
		c := client(transport(func(r *http.Request) (*http.Response, error) {
			requests++
			var rows []string
			for id := range n {
				rows = append(rows, fmt.Sprintf(`{"userId":%d,"lastSequence":%s,"roleList":[]}`, id+1, r.URL.Query().Get("lastSequence")))
			}
			return reply(200, ok(rows...)), nil
		}))
		_, err := pull(t, c, 0)
		require.Error(t, err)
		assert.LessOrEqual(t, requests, 2, "found after one repetition")
	}
}

func TestNothingInPlaceOfAnEmptyPage(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"null", `""`, "{}", "{ }"} {
		body := `{"code":200,"status":"success","message":"","data":` + empty + `}`
		got, err := pull(t, client(pages(ok(user(1, 1)), body)), 0)
		require.NoError(t, err, empty)
		assert.Len(t, got, 1)
		_, err = pull(t, client(always(200, body)), 5)
		require.NoError(t, err, "%s: no news", empty)
		_, err = pull(t, client(always(200, body)), 0)
		requireFailure(t, marketplace.FailureMalformed, err)
	}
	// Once is not enough in the middle of a list.
	got, err := pull(t, client(pages(ok(user(1, 1)), `{"code":200,"data":{}}`, ok(user(1, 1), user(2, 2)), ok(user(2, 2)))), 0)
	require.NoError(t, err)
	assert.Equal(t, []int64{1, 2}, ids(got))
}

func TestAPageIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for name, fail := range map[string]func() (*http.Response, error){
		"429":           func() (*http.Response, error) { return reply(429, ""), nil },
		"502":           func() (*http.Response, error) { return reply(502, "<html>Bad Gateway</html>"), nil },
		"503":           func() (*http.Response, error) { return reply(503, ""), nil },
		"504":           func() (*http.Response, error) { return reply(504, ""), nil },
		"a reset":       func() (*http.Response, error) { return nil, errors.New("connection reset by peer") },
		"a cut reply":   func() (*http.Response, error) { return reply(200, ok(user(1, 1))[:60]), nil },
		"a timeout":     func() (*http.Response, error) { return nil, timeoutError{errors.New("slow")} },
		"no connection": func() (*http.Response, error) { return nil, errors.New("no route to host") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &list{rows: numbered(25, unique)}
				fails, requests := 5, 0
				c := client(transport(func(r *http.Request) (*http.Response, error) {
					requests++
					if r.URL.Query().Get("lastSequence") == "9" && fails > 0 {
						fails--
						return fail()
					}
					return l.RoundTrip(r)
				}), func(c *marketplace.Config) { c.PageSize = 10 })
				got, err := pull(t, c, 0)
				require.NoError(t, err)
				assert.Len(t, ids(got), 25)
				assert.Equal(t, len(l.asks)+5, requests, "page one is not asked for again")
				fails = 6
				began := time.Now()
				_, err = pull(t, c, 0)
				require.Error(t, err)
				if name != "429" {
					assert.Less(t, time.Since(began), time.Minute)
				}
			})
		})
	}
}

func TestRetryAfterIsHeeded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var at []time.Duration
		began := time.Now()
		c := client(transport(func(r *http.Request) (*http.Response, error) {
			at = append(at, time.Since(began))
			switch {
			case r.URL.Query().Get("lastSequence") == "0":
				return reply(200, ok(user(1, 1))), nil
			case len(at) == 2:
				return reply(503, "", "Retry-After", "120"), nil
			}
			return reply(200, ok()), nil
		}))
		_, err := pull(t, c, 5)
		require.NoError(t, err)
		at, began = nil, time.Now()
		c2 := c
		_, err = pull(t, c2, 0)
		require.NoError(t, err)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		at, began = nil, time.Now()
		err = c.Pull(ctx, 0, func(rolegate.Record) {})
		_ = err
		assert.Less(t, time.Since(began), time.Minute+time.Second, "no wait that the context does not last for")
	})
}

// Twenty requests in each second are allowed, and what is more is answered 429.
func TestRateLimit(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		header []string
		pages  int
	}{
		"with Retry-After": {[]string{"Retry-After", "1"}, 1000}, "without": {nil, 1000}, "a shorter list": {[]string{"Retry-After", "1"}, 100},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				l := &list{rows: numbered(tc.pages*9, unique)}
				window, n, refused := time.Now(), 0, 0
				c := client(transport(func(r *http.Request) (*http.Response, error) {
					<-time.After(20 * time.Millisecond)
					if time.Since(window) >= time.Second {
						window, n = time.Now(), 0
					}
					if n++; n > 20 {
						refused++
						return reply(429, "", tc.header...), nil
					}
					return l.RoundTrip(r)
				}), func(c *marketplace.Config) { c.PageSize = 10 })
				began := time.Now()
				got, err := pull(t, c, 0)
				require.NoError(t, err)
				assert.Len(t, ids(got), tc.pages*9)
				took, limit := time.Since(began), time.Duration(tc.pages)*time.Second/20
				assert.Less(t, took, limit*13/10, "%d refused", refused)
			})
		})
	}
}

func TestMaxRequestsPerSecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &list{rows: numbered(90, unique)}
		c := client(l, func(c *marketplace.Config) { c.PageSize, c.MaxRequestsPerSecond = 10, 2 })
		began := time.Now()
		_, err := pull(t, c, 0)
		require.NoError(t, err)
		assert.InDelta(t, float64(len(l.asks)-1)/2, time.Since(began).Seconds(), 0.01)
	})
}

// Nobody has documented how this marketplace says that a token has run out.
func TestTokenThatRanOutInSixSpellings(t *testing.T) {
	t.Parallel()
	for name, refuse := range map[string]func() *http.Response{
		"code 500": func() *http.Response {
			return reply(200, `{"code":500,"data":{},"message":"accessToken已失效","status":"fail"}`)
		},
		"code 40014":       func() *http.Response { return reply(200, `{"code":40014,"data":{},"status":"fail"}`) },
		"code 42001":       func() *http.Response { return reply(200, `{"code":42001,"data":null}`) },
		"HTTP 403":         func() *http.Response { return reply(403, `{"code":403,"data":{}}`) },
		"a login page":     func() *http.Response { return reply(200, "<!DOCTYPE html><html>登录</html>") },
		"a redirect to it": func() *http.Response { return reply(302, "", "Location", "/login") },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := new(issuer)
				tr := &accepting{refuse: refuse, accept: func(token string) bool { return token == "token-2" }}
				c := client(tr, tokenFrom(source))
				_, err := pull(t, c, 0)
				require.NoError(t, err)
				assert.Equal(t, []string{"token-1", "token-1", "token-2"}, tr.came, "twice in a row, and then with another one")

				// A marketplace that is down is not flooded with logins.
				tr.accept = func(string) bool { return false }
				for range 60 {
					<-time.After(time.Second)
					_, err := pull(t, c, 0)
					require.Error(t, err)
				}
				assert.LessOrEqual(t, source.n.Load(), int64(5))
			})
		})
	}
	tr := &accepting{refuse: func() *http.Response { return reply(200, `{"code":40014,"data":{}}`) }, accept: func(token string) bool { return token == "token-2" }}
	_, err := pull(t, client(tr, tokenFrom(new(issuer)), func(c *marketplace.Config) { c.RefusedCodes = []int{40014} }), 0)
	require.NoError(t, err)
	assert.Equal(t, []string{"token-1", "token-2"}, tr.came, "a code that is known is believed at once")
}

func TestTokenIsRenewedBeforeItEnds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		var fail error
		tr := &accepting{accept: func(string) bool { return true }}
		c := client(tr, tokenFrom(marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
			n++
			return fmt.Sprintf("token-%d", n), time.Now().Add(time.Hour), fail
		})))
		for _, wait := range []time.Duration{0, 58 * time.Minute, 2 * time.Minute} {
			<-time.After(wait)
			_, err := pull(t, c, 0)
			require.NoError(t, err)
		}
		assert.Equal(t, []string{"token-1", "token-1", "token-2"}, tr.came)
		fail = errors.New("the login is away")
		<-time.After(59*time.Minute + 30*time.Second)
		_, err := pull(t, c, 0)
		require.NoError(t, err, "until it ends, the old one will do")
		<-time.After(time.Minute)
		_, err = pull(t, c, 0)
		requireFailure(t, marketplace.FailureToken, err)
	})
}

func TestTokenWithALineBreak(t *testing.T) {
	t.Parallel()
	for token, says := range map[string]string{"AT-1-x\n": "line breaks at its ends", " AT-1-x": "blanks at its ends", "AT-1-x\t": "blanks", "AT\n-1": "line break", "  \n": "empty", "\ufeffAT-1-x": "byte order mark", "AT-1\u200b-x": "invisible"} {
		for _, source := range []marketplace.TokenSource{
			marketplace.TokenFunc(func(context.Context) (string, error) { return token, nil }),
			marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) { return token, time.Time{}, nil }),
		} {
			_, err := pull(t, client(always(200, ok()), tokenFrom(source)), 0)
			pe := requireFailure(t, marketplace.FailureToken, err)
			assert.ErrorContains(t, pe, says)
			assert.NotContains(t, pe.Error(), strings.TrimSpace("AT-1-x"))
		}
		assert.ErrorContains(t, client(nil, tokenFrom(marketplace.StaticToken(token))).Validate(), says)
	}
}

// Two clients of one account: each token makes the other's invalid.
func TestTwoClientsThatRenewEachOthersToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		n, valid := 0, ""
		l := &list{rows: numbered(200, unique)}
		tr := transport(func(r *http.Request) (*http.Response, error) {
			<-time.After(time.Duration(5+rand.IntN(10)) * time.Millisecond)
			mu.Lock()
			is := r.URL.Query().Get("accessToken") == valid
			mu.Unlock()
			if !is {
				return reply(401, ""), nil
			}
			return l.RoundTrip(r)
		})
		done := make(chan error)
		for range 2 {
			go func() {
				c := client(tr, tokenFrom(marketplace.TokenFunc(func(context.Context) (string, error) {
					<-time.After(20 * time.Millisecond)
					mu.Lock()
					defer mu.Unlock()
					n++
					valid = fmt.Sprintf("token-%d", n)
					return valid, nil
				})), func(c *marketplace.Config) { c.PageSize = 20 })
				err := c.Pull(t.Context(), 0, func(rolegate.Record) {})
				for tries := 0; err != nil && tries < 20; tries++ { // as a gate does
					<-time.After(time.Second + rand.N(time.Second))
					err = c.Pull(t.Context(), 0, func(rolegate.Record) {})
				}
				done <- err
			}()
		}
		require.NoError(t, <-done)
		require.NoError(t, <-done)
	})
}

// Only a token that never changes is refused for good.
func TestARefusalIsPermanentOnlyForAStaticToken(t *testing.T) {
	t.Parallel()
	_, err := pull(t, client(always(401, "")), 0)
	assert.True(t, requireFailure(t, rolegate.FailureRefused, err).Permanent)
	_, err = pull(t, client(always(401, ""), tokenFrom(new(issuer))), 0)
	assert.False(t, requireFailure(t, rolegate.FailureRefused, err).Permanent)
}

// Incremental refreshes drive none of the dates of full ones out.
func TestDatesOfFullRefreshesAreKeptApart(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var date string
		c := client(transport(func(*http.Request) (*http.Response, error) { return reply(200, ok(), "Date", date), nil }))
		date = "Mon, 02 Mar 2026 08:00:00 GMT"
		_, err := pull(t, c, 0)
		require.NoError(t, err)
		for i := range 9 {
			<-time.After(time.Minute)
			date = fmt.Sprintf("Tue, 03 Mar 2026 08:0%d:00 GMT", i)
			_, err := pull(t, c, int64(5+i))
			require.NoError(t, err)
		}
		<-time.After(time.Minute)
		date = "Mon, 02 Mar 2026 08:00:00 GMT"
		_, err = pull(t, c, 0)
		requireFailure(t, marketplace.FailureCachedReply, err)
	})
}
