package forwardauth_test

import (
	"context"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

func opensPage(r *http.Request) *http.Request {
	r.Header.Set("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")
	return r
}

func TestLogin(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, proxy := range allProxies {
		for _, c := range []struct {
			name, login, param string
			q                  question
			change             func(http.Header)
			want               int
			to                 string
		}{
			{"a page", "/login", "", about(0, "/grades/5?term=1&x=/"), nil, 401, "/login?return_to=%2Fgrades%2F5%3Fterm%3D1%26x%3D%2F"},
			{"another host", "https://login.example/in?app=school", "next", about(0, "/grades/%E5%BC%A0"), nil, 401, "https://login.example/in?app=school&next=%2Fgrades%2F%25E5%25BC%25A0"},
			{"a script", "/login", "", about(0, "/grades/5"), func(h http.Header) { h.Set("X-Requested-With", "XMLHttpRequest") }, 401, ""},
			{"fetch", "/login", "", about(0, "/grades/5"), func(h http.Header) { h.Set("Sec-Fetch-Mode", "cors") }, 401, ""},
			{"a form", "/login", "", question{"POST", "school.example", "/grades/5", 0}, nil, 401, ""},
			{"JSON", "/login", "", about(0, "/grades/5"), func(h http.Header) { h.Set("Accept", "application/json") }, 401, ""},
			{"one who may not", "/login", "", about(3, "/grades/5"), nil, 403, ""},
			{"one who may", "/login", "", about(1, "/grades/5"), nil, 200, ""},
			{"no login page", "", "", about(0, "/grades/5"), nil, 401, ""},
			{"the login page is guarded", "/login", "", about(0, "/login?return_to=/x"), nil, 401, ""},
			{"the login page is guarded, on this host", "https://school.example/login", "", about(0, "/login"), nil, 401, ""},
			{"the login page is guarded, on this host in capitals and with its port", "https://School.example:443/login", "", about(0, "/login"), nil, 401, ""},
			{"the same path on another host", "https://login.example/login", "", about(0, "/login"), nil, 401, "https://login.example/login?return_to=%2Flogin"},
			{"an ambiguous path", "/login", "", about(0, "//evil.example"), nil, 403, ""},
		} {
			t.Run(proxy.String()+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				var book logBook
				h := newHandler(t, gate, proxy, func(cfg *forwardauth.Config) {
					prefixed(proxy)(cfg)
					cfg.LoginURL, cfg.ReturnParam, cfg.Logger = c.login, c.param, book.logger()
				})
				h.Handle("/", rolegate.AnyRole("teacher"))
				r := opensPage(c.q.request(proxy))
				if c.change != nil {
					c.change(r.Header)
				}
				w := serve(h, r)
				assert.Equal(t, c.to, w.Header().Get(forwardauth.LoginHeader))
				if direct := proxy != forwardauth.Nginx && proxy != forwardauth.HAProxy; direct && c.to != "" {
					assert.Equal(t, http.StatusSeeOther, w.Code)
					assert.Equal(t, c.to, w.Header().Get("Location"))
				} else {
					assert.Equal(t, c.want, w.Code)
					assert.Empty(t, w.Header().Get("Location"))
				}
				if c.to != "" {
					u, err := url.Parse(c.to)
					require.NoError(t, err)
					param := c.param
					if param == "" {
						param = "return_to"
					}
					assert.Equal(t, c.q.uri, u.Query().Get(param))
				}
				loop := c.login != "" && c.q.uri[1:6] == "login" && c.to == ""
				if loop {
					serve(h, r)
					assert.Equal(t, 1, strings.Count(book.String(), "the login page itself is guarded"), "once, however many ask")
				} else {
					assert.NotContains(t, book.String(), "the login page itself is guarded")
				}
			})
		}
	}
}

func TestLoginURLsThatCannotBe(t *testing.T) {
	t.Parallel()
	for _, bad := range []struct{ login, param string }{
		{"login", ""}, {"//evil.example/login", ""}, {"javascript:alert(1)", ""}, {"ftp://a/login", ""}, {"https:///login", ""}, {"/login#top", ""}, {"https://u:p@a/login", ""},
		{"/lo gin", ""}, {"/login\r\n", ""}, {`/\evil.example`, ""}, {"/登录", ""}, {"/login?return_to=/", ""}, {"/login?next=/", "next"}, {"", "next"}, {"%zz", ""}, {"https:login", ""},
	} {
		_, err := forwardauth.New(openGate(t, nil), forwardauth.Config{Proxy: forwardauth.Nginx, Trusted: rolegate.Loopback(), LoginURL: bad.login, ReturnParam: bad.param})
		assert.Error(t, err, bad)
	}
}

// A proxy that connects over a Unix socket has no address.
func TestUnixSocket(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	over := func(local net.Addr, remote string) *http.Request {
		r := about(1, "/").request(forwardauth.Nginx)
		r.RemoteAddr = remote
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	for _, c := range []struct {
		name    string
		trusted []netip.Prefix
		r       *http.Request
		want    int
	}{
		{"it is trusted", rolegate.TrustedUnix(), over(&net.UnixAddr{}, "@"), 200},
		{"it is trusted among others", append(rolegate.Loopback(), rolegate.TrustedUnix()...), over(&net.UnixAddr{}, "@"), 200},
		{"it is not", rolegate.Loopback(), over(&net.UnixAddr{}, "@"), 403},
		{"it is not, whatever the address says", rolegate.Loopback(), over(&net.UnixAddr{}, "127.0.0.1:1"), 403},
		{"it alone is", rolegate.TrustedUnix(), over(&net.TCPAddr{}, "127.0.0.1:1"), 403},
		{"something has written the address", rolegate.TrustedUnix(), over(&net.TCPAddr{}, "@"), 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHandler(t, gate, forwardauth.Nginx, func(cfg *forwardauth.Config) { cfg.Trusted = c.trusted })
			h.Admit("/")
			assert.Equal(t, c.want, serve(h, c.r).Code)
		})
	}

	h := newHandler(t, gate, forwardauth.Nginx, func(cfg *forwardauth.Config) { cfg.Trusted = rolegate.TrustedUnix() })
	h.Admit("/")
	path := t.TempDir() + "/gate.sock"
	listener, err := net.Listen("unix", path)
	require.NoError(t, err)
	server := &http.Server{Handler: h}
	go server.Serve(listener)
	t.Cleanup(func() { server.Close() })
	transport := &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", path)
	}}
	t.Cleanup(transport.CloseIdleConnections)
	r := about(1, "/").request(forwardauth.Nginx)
	r.RequestURI, r.URL = "", &url.URL{Scheme: "http", Host: "gate", Path: "/"}
	res, err := transport.RoundTrip(r)
	require.NoError(t, err)
	res.Body.Close()
	assert.Equal(t, 200, res.StatusCode)
}
