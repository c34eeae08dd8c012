package forwardauth_test

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

// Everything below is let pass by its rule, if it is not ambiguous.
func TestAmbiguous(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, c := range []struct {
		name  string
		q     question
		allow bool
	}{
		{"a path", about(1, "/a/b"), true},
		{"the root", about(1, "/"), true},
		{"a slash at the end", about(1, "/a/"), true},
		{"a query", about(1, "/a?b=/../c//d;e%2f%00"), true},
		{"an empty query", about(1, "/a?"), true},
		{"two question marks", about(1, "/a?b?c"), true},
		{"a query with bytes of UTF-8", about(1, "/a?b=张"), true},
		{"every plain byte", about(1, "/azAZ09-._~!$&'()*+,=:@"), true},
		{"what browsers do not encode", about(1, "/Klasse%20[3]|a^b"), true},
		{"three dots", about(1, "/..."), true},
		{"dots within a name", about(1, "/a..b/.c"), true},
		{"encoded Chinese", about(1, "/%E5%BC%A0"), true},
		{"encoded bytes of all digits", about(1, "/%F0%9f%98%80%39%e5%BC%A0%6a"), true},
		{"an encoded blank", about(1, "/a%20b"), true},
		{"an encoded letter", about(1, "/%61"), true},
		{"a long path", about(1, "/"+strings.Repeat("a/", 4000)), true},

		{"no path", about(1, "a"), false},
		{"a query alone", about(1, "?a"), false},
		{"an asterisk", about(1, "*"), false},
		{"a whole URL", about(1, "http://school.example/a"), false},
		{"an authority", about(1, "school.example:443"), false},
		{"two slashes", about(1, "//a"), false},
		{"two slashes within", about(1, "/a//b"), false},
		{"two slashes at the end", about(1, "/a//"), false},
		{"a dot", about(1, "/./a"), false},
		{"a dot at the end", about(1, "/a/."), false},
		{"two dots", about(1, "/../a"), false},
		{"two dots at the end", about(1, "/a/.."), false},
		{"encoded dots", about(1, "/%2e%2E/a"), false},
		{"half encoded dots", about(1, "/.%2e/a"), false},
		{"an encoded dot in a name", about(1, "/a%2eb"), false},
		{"an encoded slash", about(1, "/a%2fb"), false},
		{"an encoded slash in capitals", about(1, "/a%2Fb"), false},
		{"an encoded backslash", about(1, "/a%5cb"), false},
		{"a backslash", about(1, `/a\b`), false},
		{"an encoded NUL", about(1, "/a%00"), false},
		{"an encoded newline", about(1, "/a%0ab"), false},
		{"an encoded DEL", about(1, "/a%7f"), false},
		{"encoded twice", about(1, "/a%252fb"), false},
		{"a semicolon", about(1, "/a;b"), false},
		{"a semicolon in an earlier segment", about(1, "/a;b/c"), false},
		{"an encoded slash in an earlier segment", about(1, "/a%2fb/c"), false},
		{"dots and a semicolon", about(1, "/..;/a"), false},
		{"an encoded semicolon", about(1, "/a%3bb"), false},
		{"an encoded question mark", about(1, "/a%3fb"), false},
		{"an encoded hash", about(1, "/a%23b"), false},
		{"a percent sign at the end", about(1, "/a%"), false},
		{"one digit", about(1, "/a%6"), false},
		{"no digits", about(1, "/a%zz"), false},
		{"IIS' escapes", about(1, "/a%u002e"), false},
		{"no UTF-8", about(1, "/a%ff"), false},
		{"an overlong dot", about(1, "/%c0%ae%c0%ae/"), false},
		{"a surrogate", about(1, "/%ed%a0%80"), false},
		{"UTF-8 as it is", about(1, "/张"), false},
		{"a fragment", about(1, "/a#b"), false},
		{"a fragment in the query", about(1, "/a?b#c"), false},
		{"a blank", about(1, "/a b"), false},
		{"a blank in the query", about(1, "/a?b c"), false},
		{"a control byte in the query", about(1, "/a?b\x00"), false},
		{"DEL in the query", about(1, "/a?b\x7f"), false},
		{"braces", about(1, "/{x}"), false},
		{"a quote", about(1, `/a"b`), false},

		{"no method", question{"", "a", "/", 1}, false},
		{"small letters", question{"get", "a", "/", 1}, false},
		{"CONNECT", question{"CONNECT", "a", "/", 1}, false},
		{"two methods", question{"GET, POST", "a", "/", 1}, false},
		{"a method with a dash", question{"VERSION-CONTROL", "a", "/", 1}, true},
		{"a method from A to Z", question{"AZ", "a", "/", 1}, true},
		{"no host", question{"GET", "", "/", 1}, false},
		{"a host in capitals", question{"GET", "School.example", "/", 1}, false},
		{"a host with a dot at its end", question{"GET", "school.example.", "/", 1}, false},
		{"a host with two dots", question{"GET", "school..example", "/", 1}, false},
		{"a host and a path", question{"GET", "school.example/a", "/", 1}, false},
		{"a user and a host", question{"GET", "a@school.example", "/", 1}, false},
		{"two hosts", question{"GET", "a, b", "/", 1}, false},
		{"a host with a port", question{"GET", "school.example:8000", "/", 1}, true},
		{"a host with half a port", question{"GET", "school.example:", "/", 1}, false},
		{"a port that is no number", question{"GET", "school.example:80a", "/", 1}, false},
		{"a port alone", question{"GET", ":80", "/", 1}, false},
		{"IPv6", question{"GET", "[::1]:8000", "/", 1}, true},
		{"IPv6 without a port", question{"GET", "[2001:db8::1]", "/", 1}, true},
		{"IPv6 without a bracket", question{"GET", "[::1", "/", 1}, false},
		{"IPv6 with a tail", question{"GET", "[::1]a", "/", 1}, false},
		{"IPv6 with letters", question{"GET", "[::g]", "/", 1}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, proxy := range allProxies {
				var book logBook
				h := newHandler(t, gate, proxy, func(cfg *forwardauth.Config) {
					prefixed(proxy)(cfg)
					cfg.Logger = book.logger()
				})
				h.Admit("/")
				want := http.StatusForbidden
				if c.allow {
					want = http.StatusOK
				}
				assert.Equal(t, want, serve(h, c.q.request(proxy)).Code, proxy.String())
				assert.NotContains(t, book.String(), `"unlisted"`, "it is denied for what it is, not because ServeMux would redirect")
			}
		})
	}
}

// Only the headers of the handler's own proxy say something, each once.
func TestOriginalHeaders(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, proxy := range allProxies {
		ask := func(change func(*http.Request)) int {
			h := newHandler(t, gate, proxy, prefixed(proxy))
			h.Admit("GET /open")
			h.Handle("GET /admin", rolegate.AnyRole("admin"))
			r := about(1, "/open").request(proxy)
			change(r)
			return serve(h, r).Code
		}
		prefix := map[forwardauth.Proxy]string{forwardauth.Traefik: "X-Forwarded-", forwardauth.Caddy: "X-Forwarded-"}[proxy]
		if prefix == "" {
			prefix = "X-Original-"
		}
		t.Run(proxy.String(), func(t *testing.T) {
			assert.Equal(t, 200, ask(func(*http.Request) {}))
			assert.Equal(t, 200, ask(func(r *http.Request) {
				if prefix != "X-Original-" || proxy == forwardauth.Envoy {
					r.Header.Set("X-Original-URL", "/admin")
				}
				for _, name := range []string{"X-Rewrite-URL", "X-HTTP-Method-Override", "X-Forwarded-Prefix", "X_Original_URI", "X-Envoy-Original-Path", "Forwarded"} {
					r.Header.Set(name, "/admin")
				}
			}), "headers that nobody asked for")
			if proxy == forwardauth.Envoy {
				assert.Equal(t, 403, ask(func(r *http.Request) { r.RequestURI = "/open" }), "without the prefix")
				assert.Equal(t, 403, ask(func(r *http.Request) { r.RequestURI = "/check" }), "nothing but the prefix")
				assert.Equal(t, 403, ask(func(r *http.Request) { r.RequestURI = "/checkopen" }))
				assert.Equal(t, 403, ask(func(r *http.Request) { r.RequestURI = "http://a/check/open" }))
				assert.Equal(t, 403, ask(func(r *http.Request) { r.RequestURI = "/check/admin"; r.Header.Set("X-Original-URI", "/open") }))
				return
			}
			for _, name := range []string{"URI", "Method", "Host"} {
				assert.Equal(t, 403, ask(func(r *http.Request) { r.Header.Del(prefix + name) }), "without "+name)
				assert.Equal(t, 403, ask(func(r *http.Request) { r.Header.Set(prefix+name, "") }), "empty "+name)
				assert.Equal(t, 403, ask(func(r *http.Request) { r.Header.Add(prefix+name, r.Header.Get(prefix+name)) }), "two of "+name)
			}
			other := map[string]string{"X-Original-": "X-Forwarded-", "X-Forwarded-": "X-Original-"}[prefix]
			assert.Equal(t, 200, ask(func(r *http.Request) { r.Header.Set(other+"URI", "/admin"); r.Header.Set(other+"Method", "POST") }), "another proxy's headers")
			assert.Equal(t, 403, ask(func(r *http.Request) { r.Header.Set(prefix+"URI", "/admin"); r.Header.Set(other+"URI", "/open") }))
			assert.Equal(t, 403, ask(func(r *http.Request) {
				for _, name := range []string{"URI", "Method", "Host"} {
					r.Header[http.CanonicalHeaderKey(other+name)] = r.Header[http.CanonicalHeaderKey(prefix+name)]
					r.Header.Del(prefix + name)
				}
			}), "only another proxy's headers")
		})
	}
}

// ingress-nginx sends the URL, and leaves the rest to its clients if it is not
// told otherwise.
func TestOriginalURL(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, host, uri string
		urls            []string
		status          int
	}{
		{"none", "school.example", "/open?x=1", nil, 200},
		{"the same", "school.example", "/open?x=1", []string{"https://school.example/open?x=1"}, 200},
		{"the same, with a port and in capitals", "school.example", "/open", []string{"http://School.Example:8080/open"}, 200},
		{"the same, an address", "[::1]", "/open", []string{"http://[::1]:8080/open"}, 200},
		{"another path", "school.example", "/open", []string{"https://school.example/admin"}, 403},
		{"another query", "school.example", "/open", []string{"https://school.example/open?x=1"}, 403},
		{"another host", "school.example", "/open", []string{"https://other.example/open"}, 403},
		{"another address", "[::1]", "/open", []string{"http://[::2]/open"}, 403},
		{"no URL", "school.example", "/open", []string{"/open"}, 403},
		{"a host alone", "school.example", "/open", []string{"https://school.example"}, 403},
		{"two, one of them another", "school.example", "/open", []string{"https://school.example/open", "https://school.example/admin"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
			h.Admit("/open")
			h.Handle("/admin", rolegate.AnyRole("admin"))
			r := about(1, c.uri).request(forwardauth.Nginx)
			r.Header.Set("X-Original-Host", c.host)
			r.Header["X-Original-Url"] = c.urls
			assert.Equal(t, c.status, serve(h, r).Code)
		})
	}
}

func TestPeers(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, func(c *forwardauth.Config) {
		c.Trusted = []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fd00::/8")}
	})
	h.Admit("/")
	for peer, want := range map[string]int{
		"10.1.2.9:1": 200, "[::ffff:10.1.2.9]:1": 200, "[fd00::1]:1": 200, "[fd00::1%eth0]:1": 200,
		"10.1.3.9:1": 403, "127.0.0.1:1": 403, "[fe80::1]:1": 403, "10.1.2.9": 403, "@": 403, "": 403, "10.1.2.9:1, 10.1.2.8:1": 403,
	} {
		r := about(1, "/").request(forwardauth.Nginx)
		r.RemoteAddr = peer
		r.Header.Set("X-Forwarded-For", "10.1.2.9")
		r.Header.Set("X-Real-IP", "10.1.2.9")
		assert.Equal(t, want, serve(h, r).Code, peer)
	}
}

// What the app's funcs see is the original request, of which nothing is
// believed that a client could have written in the proxy's name.
func TestWhatIdentifySees(t *testing.T) {
	t.Parallel()
	for _, proxy := range allProxies {
		t.Run(proxy.String(), func(t *testing.T) {
			var seen *http.Request
			gate := openGate(t, func(c *rolegate.Config) {
				c.Identify = rolegate.FirstOf(
					rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
					rolegate.ByUserID(func(r *http.Request) (int64, error) {
						seen = r
						return 1, nil
					}))
			})
			h := newHandler(t, gate, proxy, func(c *forwardauth.Config) {
				prefixed(proxy)(c)
				c.Headers = []string{"user-agent"}
			})
			var asked *http.Request
			h.Handle("POST school.example/grades/{id}", rolegate.Where("looks", func(_ rolegate.User, r *http.Request) bool {
				asked = r
				return true
			}))
			r := question{"POST", "school.example:8443", "/grades/%35?term=1", 1}.request(proxy)
			r.Header.Set("X-User-Id", "2") // the client's
			r.Header.Set("User-Agent", "curl")
			r.Header.Set("Authorization", "Bearer x")
			r.TLS = &tls.ConnectionState{} // the proxy's
			w := serve(h, r)
			require.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, "1", w.Header().Get(forwardauth.UserHeader), "X-User-Id is not among Headers")
			for _, o := range []*http.Request{seen, asked} {
				assert.Equal(t, "POST", o.Method)
				assert.Equal(t, "school.example:8443", o.Host)
				assert.Equal(t, "/grades/%35?term=1", o.RequestURI)
				assert.Equal(t, "/grades/5", o.URL.Path)
				assert.Equal(t, "term=1", o.URL.RawQuery)
				assert.Equal(t, "5", o.PathValue("id"))
				assert.Equal(t, "127.0.0.1:50000", o.RemoteAddr)
				assert.Equal(t, http.Header{"Cookie": {"session=1"}, "Authorization": {"Bearer x"}, "User-Agent": {"curl"}}, o.Header)
				assert.Equal(t, http.NoBody, o.Body)
				assert.Nil(t, o.TLS)
			}
			named := newHandler(t, gate, proxy, func(c *forwardauth.Config) {
				prefixed(proxy)(c)
				c.Headers = []string{"X-User-Id"}
			})
			named.Admit("/")
			assert.Equal(t, "2", serve(named, r).Header().Get(forwardauth.UserHeader), "it is now")
		})
	}
}
