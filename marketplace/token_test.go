package marketplace_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/marketplace"
)

// issuer gives out token-1, token-2, and so on.
type issuer struct{ n atomic.Int64 }

func (i *issuer) Token(context.Context) (string, error) {
	return fmt.Sprintf("token-%d", i.n.Add(1)), nil
}

// accepting answers with the list to tokens that accept allows, and otherwise
// refuses. It notes the tokens that came.
type accepting struct {
	accept func(token string) bool
	refuse func() *http.Response

	mu   sync.Mutex
	came []string
}

func (a *accepting) RoundTrip(r *http.Request) (*http.Response, error) {
	token := r.URL.Query().Get("accessToken")
	a.mu.Lock()
	defer a.mu.Unlock()
	a.came = append(a.came, token)
	if a.accept(token) {
		return reply(200, ok()), nil
	}
	if a.refuse != nil {
		return a.refuse(), nil
	}
	return reply(401, ""), nil
}

func tokenFrom(s marketplace.TokenSource) func(*marketplace.Config) {
	return func(c *marketplace.Config) { c.Token = s }
}

func TestTokenIsKept(t *testing.T) {
	t.Parallel()
	source := new(issuer)
	tr := &accepting{accept: func(string) bool { return true }}
	c := client(tr, tokenFrom(source))
	for range 3 {
		_, err := pull(t, c, 0)
		require.NoError(t, err)
	}
	assert.Equal(t, []string{"token-1", "token-1", "token-1"}, tr.came)
}

func TestRefusedTokenIsRenewedOnce(t *testing.T) {
	t.Parallel()
	cases := map[string]func() *http.Response{
		"HTTP 401":  func() *http.Response { return reply(401, "") },
		"body code": func() *http.Response { return reply(200, `{"code":401,"msg":"","data":null}`) },
	}
	for name, refuse := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tr := &accepting{refuse: refuse, accept: func(token string) bool { return token == "token-2" }}
			_, err := pull(t, client(tr, tokenFrom(new(issuer))), 0)
			require.NoError(t, err)
			assert.Equal(t, []string{"token-1", "token-2"}, tr.came)

			tr = &accepting{refuse: refuse, accept: func(string) bool { return false }}
			c := client(tr, tokenFrom(new(issuer)))
			_, err = pull(t, c, 0)
			requireFailure(t, rolegate.FailureRefused, err)
			assert.Equal(t, []string{"token-1", "token-2"}, tr.came, "a second refusal is final")
			_, err = pull(t, c, 0)
			requireFailure(t, rolegate.FailureRefused, err)
			assert.Equal(t, []string{"token-1", "token-2", "token-3", "token-4"}, tr.came, "what was refused is not kept")
		})
	}
}

func TestStaticTokenIsNotRenewed(t *testing.T) {
	t.Parallel()
	tr := &accepting{accept: func(string) bool { return false }}
	_, err := pull(t, client(tr), 0)
	requireFailure(t, rolegate.FailureRefused, err)
	assert.Len(t, tr.came, 1)
}

func TestOtherFailuresKeepTheToken(t *testing.T) {
	t.Parallel()
	source := new(issuer)
	c := client(always(500, ""), tokenFrom(source))
	for range 3 {
		_, err := pull(t, c, 0)
		requireFailure(t, rolegate.FailureHTTPStatus, err)
	}
	assert.EqualValues(t, 1, source.n.Load())
}

func TestConcurrentPullsRenewOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := new(issuer)
		c := client(transport(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("accessToken") == "token-1" {
				<-time.After(time.Second) // all are refused together
				return reply(401, ""), nil
			}
			return reply(200, ok()), nil
		}), tokenFrom(source))
		var wg sync.WaitGroup
		for range 10 {
			wg.Go(func() {
				assert.NoError(t, c.Pull(t.Context(), 0, func(rolegate.Record) {}))
			})
		}
		wg.Wait()
		assert.EqualValues(t, 2, source.n.Load())
	})
}

func TestTokenChangesInTheMiddleOfAFullRefresh(t *testing.T) {
	t.Parallel()
	n := 0
	var came []string
	l := &list{rows: numbered(20, unique)}
	c := client(transport(func(r *http.Request) (*http.Response, error) {
		n++
		came = append(came, r.URL.Query().Get("accessToken"))
		if n >= 3 && came[n-1] == "token-1" {
			return reply(401, ""), nil
		}
		return l.RoundTrip(r)
	}), tokenFrom(new(issuer)), func(c *marketplace.Config) { c.PageSize, c.UniqueSequences = 8, true })
	got, err := pull(t, c, 0)
	require.NoError(t, err)
	assert.Len(t, ids(got), 20)
	assert.Equal(t, []string{"token-1", "token-1", "token-1", "token-2", "token-2"}, came)
}

func TestTokenSourceFails(t *testing.T) {
	t.Parallel()
	own := errors.New("own")
	cases := []struct {
		name  string
		token marketplace.TokenFunc
		says  string
		is    error
	}{
		{"an error", func(context.Context) (string, error) { return "x", own }, "own", own},
		{"an url.Error", func(context.Context) (string, error) {
			return "", &url.Error{Op: "Post", URL: "https://a/token?client_secret=" + secret, Err: own}
		}, "own", own},
		{"empty", func(context.Context) (string, error) { return "", nil }, "empty", nil},
		{"enormous", func(context.Context) (string, error) { return strings.Repeat("x", 1<<20), nil }, "bytes", nil},
		{"a panic", func(context.Context) (string, error) { panic("oh no") }, "panicked with a string", nil},
		{"a nil panic", func(context.Context) (string, error) { panic(nil) }, "panicked", nil},
		{"the end of its goroutine", func(context.Context) (string, error) { runtime.Goexit(); return "", nil }, "goroutine", nil},
		{"its own deadline", func(context.Context) (string, error) { return "", context.DeadlineExceeded }, "deadline", context.DeadlineExceeded},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(transport(func(*http.Request) (*http.Response, error) {
				t.Error("a request was sent")
				return nil, errors.New("none")
			}), tokenFrom(tc.token))
			for range 2 { // the first failure leaves nothing locked
				_, err := pull(t, c, 0)
				assert.ErrorContains(t, requireFailure(t, marketplace.FailureToken, err), tc.says)
				if tc.is != nil {
					require.ErrorIs(t, err, tc.is)
				}
			}
		})
	}
	t.Run("it was refused itself", func(t *testing.T) {
		t.Parallel()
		_, err := pull(t, client(nil, tokenFrom(marketplace.TokenFunc(func(context.Context) (string, error) {
			return "", fmt.Errorf("client secret: %w", rolegate.ErrRefused)
		}))), 0)
		require.ErrorIs(t, err, rolegate.ErrRefused)
	})
}

func TestTokenSourceBlocks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		release := make(chan struct{})
		c := client(always(200, ok()), tokenFrom(marketplace.TokenFunc(func(ctx context.Context) (string, error) {
			calls.Add(1)
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, time.Now().Add(15*time.Second), deadline)
			<-release // heeds no context
			return "late", nil
		})))
		for range 5 {
			began := time.Now()
			_, err := pull(t, c, 0)
			pe := requireFailure(t, marketplace.FailureToken, err)
			require.ErrorIs(t, pe, context.DeadlineExceeded)
			assert.Equal(t, 15*time.Second, time.Since(began))
		}
		assert.EqualValues(t, 1, calls.Load(), "one call hangs, and no more")
		close(release)
		synctest.Wait()
		_, err := pull(t, c, 0)
		require.NoError(t, err)
		assert.EqualValues(t, 1, calls.Load(), "its token is used once it is there")
	})
}

func TestTokenCallEndsWithItsLastWaiter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var calls atomic.Int64
		c := client(always(200, ok()), tokenFrom(marketplace.TokenFunc(func(ctx context.Context) (string, error) {
			if calls.Add(1) > 1 {
				return "fresh-token", nil
			}
			<-ctx.Done()
			<-time.After(100 * time.Millisecond) // while it clears up, somebody else comes
			return "", ctx.Err()
		})))
		first, cancelFirst := context.WithCancel(t.Context())
		second, cancelSecond := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for _, ctx := range []context.Context{first, second} {
			wg.Go(func() {
				err := c.Pull(ctx, 0, func(rolegate.Record) {})
				assert.ErrorIs(t, err, context.Canceled)
			})
		}
		synctest.Wait()
		cancelFirst()
		synctest.Wait()
		began := time.Now()
		cancelSecond()
		wg.Wait()
		_, err := pull(t, c, 0)
		require.NoError(t, err, "the one who comes later has a call of their own")
		assert.Equal(t, 100*time.Millisecond, time.Since(began))
		assert.EqualValues(t, 2, calls.Load())
	})
}

func TestWaitersLeaveAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(always(200, ok()), tokenFrom(marketplace.TokenFunc(func(ctx context.Context) (string, error) {
			select {
			case <-ctx.Done():
				return "", ctx.Err()
			case <-time.After(time.Second):
				return "fresh-token", nil
			}
		})))
		ctx, cancel := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		wg.Go(func() { assert.ErrorIs(t, c.Pull(ctx, 0, func(rolegate.Record) {}), context.Canceled) })
		synctest.Wait()
		wg.Go(func() { assert.NoError(t, c.Pull(t.Context(), 0, func(rolegate.Record) {})) })
		synctest.Wait()
		cancel() // the one who began it gives up
		wg.Wait()
	})
}

func TestStaticTokenIsNotPrinted(t *testing.T) {
	t.Parallel()
	token := marketplace.StaticToken(secret)
	cfg := marketplace.Config{Token: token}
	c := client(nil)
	var out strings.Builder
	for _, v := range []any{token, &token, cfg, &cfg, c, []any{token}, map[string]any{"t": token}, struct{ T marketplace.StaticToken }{token}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "v", v)
		slog.New(slog.NewTextHandler(&out, nil)).Info("x", "v", v)
	}
	j, err := json.Marshal(map[string]any{"t": token})
	require.NoError(t, err)
	x, err := xml.Marshal(token)
	require.NoError(t, err)
	out.WriteString(string(j) + string(x))
	for _, f := range append(wiretest.Forms(secret), fmt.Sprintf("%x", secret), fmt.Sprintf("%X", secret)) {
		assert.NotContains(t, out.String(), f)
	}
	assert.Contains(t, out.String(), "[redacted]")
	assert.Equal(t, "[redacted]", token.String())
	got, err := token.Token(t.Context())
	require.NoError(t, err)
	assert.Equal(t, secret, got)
}

// A token is renewed before it ends: a minute, or a tenth of its life if that is less.
func TestWhenATokenIsRenewed(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		life, used time.Duration
		asked      int
	}{
		{100 * time.Second, 89 * time.Second, 1}, {100 * time.Second, 91 * time.Second, 2},
		{time.Hour, 58 * time.Minute, 1}, {time.Hour, 59*time.Minute + time.Second, 2},
	} {
		synctest.Test(t, func(t *testing.T) {
			asked := 0
			source := client(always(200, ok()), func(cfg *marketplace.Config) {
				cfg.Token = marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
					asked++
					return fmt.Sprint("token-", asked), time.Now().Add(c.life), nil
				})
			})
			_, err := pull(t, source, 0)
			require.NoError(t, err)
			time.Sleep(c.used)
			_, err = pull(t, source, 0)
			require.NoError(t, err)
			assert.Equal(t, c.asked, asked, "%v of %v", c.used, c.life)
		})
	}
	for life, fine := range map[time.Duration]bool{-time.Second: false, 0: false, time.Second: true} {
		synctest.Test(t, func(t *testing.T) {
			_, err := pull(t, client(always(200, ok()), func(cfg *marketplace.Config) {
				cfg.Token = marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) { return "token-1", time.Now().Add(life), nil })
			}), 0)
			assert.Equal(t, fine, err == nil, "%v: %v", life, err)
		})
	}
	for length, fine := range map[int]bool{8 << 10: true, 8<<10 + 1: false} {
		_, err := pull(t, client(always(200, ok()), func(cfg *marketplace.Config) {
			cfg.Token = marketplace.TokenFunc(func(context.Context) (string, error) { return strings.Repeat("x", length), nil })
		}), 0)
		assert.Equal(t, fine, err == nil, "%d bytes", length)
	}
}
