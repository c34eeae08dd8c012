package marketplace_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/marketplace"
)

func TestPageTimeout(t *testing.T) {
	t.Parallel()
	short := func(c *marketplace.Config) { c.PageTimeout = 10 * time.Second }
	cases := map[string]transport{
		"headers that never come": func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		},
		"a body that never comes": func(r *http.Request) (*http.Response, error) {
			res := reply(200, "")
			res.Body = blocked{r.Context()}
			return res, nil
		},
		"a body of one byte a second": func(r *http.Request) (*http.Response, error) {
			res := reply(200, "")
			res.Body = &drip{ctx: r.Context()}
			return res, nil
		},
		"a drip after slow headers": func(r *http.Request) (*http.Response, error) {
			<-time.After(9 * time.Second)
			res := reply(200, "")
			res.Body = &drip{ctx: r.Context()}
			return res, nil
		},
		"the body of an error": func(r *http.Request) (*http.Response, error) {
			res := reply(500, "")
			res.Body = &drip{ctx: r.Context()}
			return res, nil
		},
	}
	for name, tr := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := pull(t, client(tr, short), 0)
				assert.Equal(t, 10*time.Second, time.Since(began))
				if name == "the body of an error" { // the status was there
					requireFailure(t, rolegate.FailureHTTPStatus, err)
					return
				}
				pe := requireFailure(t, rolegate.FailureTimeout, err)
				require.ErrorIs(t, pe, context.DeadlineExceeded)
				var n net.Error
				require.ErrorAs(t, pe, &n)
				assert.True(t, n.Timeout())
			})
		})
	}
}

// A drip gives a byte a second.
type drip struct{ ctx context.Context }

func (d *drip) Read(b []byte) (int, error) {
	select {
	case <-d.ctx.Done():
		return 0, d.ctx.Err()
	case <-time.After(time.Second):
		b[0] = ' '
		return 1, nil
	}
}
func (*drip) Close() error { return nil }

func TestCallersDeadline(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		err := client(transport(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})).Pull(ctx, 0, func(rolegate.Record) {})
		requireFailure(t, rolegate.FailureTimeout, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
	})
}

// raw is the client of a server that writes answer to each connection and closes it,
// with a reset if it says so.
func raw(t *testing.T, answer string, reset bool) *marketplace.Client {
	t.Helper()
	c := client(nil, func(c *marketplace.Config) { c.BaseURL = wiretest.Answers(t, answer, reset) })
	t.Cleanup(c.CloseIdleConnections)
	return c
}

func TestBrokenConnections(t *testing.T) {
	t.Parallel()
	page := ok(user(1, 1))
	head := "HTTP/1.1 200 OK\r\n"
	cases := []struct {
		name, answer string
		reset        bool
		want         rolegate.Failure
	}{
		{"closed at once", "", false, marketplace.FailureNetwork},
		{"reset at once", "", true, marketplace.FailureNetwork},
		{"no HTTP", "SSH-2.0-OpenSSH_9.6\r\n\r\n", false, marketplace.FailureNetwork},
		{"closed in the headers", head + "Content-Type: app", false, marketplace.FailureNetwork},
		{"shorter than Content-Length", fmt.Sprintf("%sContent-Length: %d\r\n\r\n%s", head, len(page)+1, page), false, marketplace.FailureMalformed},
		{"a chunk that breaks off", head + "Transfer-Encoding: chunked\r\n\r\nff\r\n" + page, false, marketplace.FailureMalformed},
		{"no length and cut", head + "Connection: close\r\n\r\n" + page[:len(page)-3], false, marketplace.FailureMalformed},
		{"reset in the body", head + "Content-Length: 9999\r\n\r\n" + page, true, marketplace.FailureNetwork},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := raw(t, tc.answer, tc.reset)
			got, err := pull(t, c, 0)
			pe := requireFailure(t, tc.want, err)
			assert.ErrorContains(t, pe, "127.0.0.1")
			assert.ErrorContains(t, pe, "/app/user/list")
			assert.NotContains(t, pe.Error(), "?")
			assert.Empty(t, got)
		})
	}
}

func TestNoConnection(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	addr := l.Addr().String()
	require.NoError(t, l.Close())
	tlsSrv := httptest.NewUnstartedServer(http.NotFoundHandler())
	tlsSrv.Config.ErrorLog = log.New(io.Discard, "", 0)
	tlsSrv.StartTLS()
	t.Cleanup(tlsSrv.Close)

	refused := client(nil, func(c *marketplace.Config) { c.BaseURL = "http://" + addr })
	_, err = pull(t, refused, 0)
	pe := requireFailure(t, marketplace.FailureNetwork, err)
	var op *net.OpError
	require.ErrorAs(t, pe, &op, "what has no secret in it can be looked at")
	assert.Equal(t, "dial", op.Op)

	untrusted := client(nil, func(c *marketplace.Config) { c.BaseURL = tlsSrv.URL })
	_, err = pull(t, untrusted, 0)
	assert.ErrorContains(t, requireFailure(t, marketplace.FailureNetwork, err), "certificate")

	unknown := client(transport(func(*http.Request) (*http.Response, error) {
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: "market.test", IsNotFound: true}}
	}))
	_, err = pull(t, unknown, 0)
	var dns *net.DNSError
	require.ErrorAs(t, requireFailure(t, marketplace.FailureNetwork, err), &dns)

	_, err = pull(t, client(transport(func(*http.Request) (*http.Response, error) { return nil, nil })), 0)
	requireFailure(t, marketplace.FailureNetwork, err)
	_, err = pull(t, client(transport(func(*http.Request) (*http.Response, error) { return nil, timeoutError{errors.New("slow")} })), 0)
	requireFailure(t, rolegate.FailureTimeout, err)
}

type timeoutError struct{ error }

func (timeoutError) Timeout() bool   { return true }
func (timeoutError) Temporary() bool { return true }

// A request that may only be sent when the call has to be over is not waited for.
func TestACallThatWouldEndBeforeItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		c := client(pages(ok(user(1, 1)), ok(user(1, 1))), func(cfg *marketplace.Config) { cfg.MaxRequestsPerSecond = 0.001 })
		err := c.Pull(ctx, 0, func(rolegate.Record) {})
		requireFailure(t, rolegate.FailureTimeout, err)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.NotContains(t, err.Error(), "%!")
	})
}
