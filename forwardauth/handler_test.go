package forwardauth_test

import (
	"bufio"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestAllow(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, proxy := range allProxies {
		t.Run(proxy.String(), func(t *testing.T) {
			h := newHandler(t, gate, proxy, prefixed(proxy))
			h.Admit("GET /{$}")
			h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
			h.Handle("GET /orgs/{orgID}/reports", rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
			h.Handle("GET /orgs/{orgID}/home", rolegate.AnyRole("homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))
			for _, c := range []struct {
				name string
				q    question
				want [4]string // user, account, org, roles
			}{
				{"in any organisation", about(1, "/grades/5?x=1"), [4]string{"1", "zhang@school.example", "", "7:teacher,8:homeroom"}},
				{"in one", about(1, "/orgs/7/reports"), [4]string{"1", "zhang@school.example", "7", "7:teacher"}},
				{"in another", about(1, "/orgs/8/home"), [4]string{"1", "zhang@school.example", "8", "8:homeroom"}},
				{"without roles", about(3, "/"), [4]string{"3", "", "", ""}},
				{"strange names", about(4, "/"), [4]string{"4", "%E5%BC%A0%0D%0AX-Rolegate-User%3A%202%2C%20100%25%3A%7F", "", "7:%E7%8F%AD%E4%B8%BB%E4%BB%BB%2C8%3Aadmin%0A"}},
			} {
				w := serve(h, c.q.request(proxy))
				require.Equal(t, http.StatusOK, w.Code, c.name)
				for i, name := range []string{forwardauth.UserHeader, forwardauth.AccountHeader, forwardauth.OrgHeader, forwardauth.RolesHeader} {
					assert.Equal(t, []string{c.want[i]}, w.Header()[name], "%s: %s", c.name, name)
				}
				assert.Len(t, w.Header().Get(forwardauth.DecisionHeader), 26, c.name)
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				assert.Empty(t, w.Body.String())
			}
		})
	}
}

// A body that a proxy announces, and may not send, is not waited for.
func TestConnectionIsClosedBehindABody(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	h.Admit("/")
	for length, want := range map[int64]string{0: "", 5: "close", -1: "close"} {
		r := about(1, "/").request(forwardauth.Nginx)
		r.ContentLength = length
		assert.Equal(t, want, serve(h, r).Header().Get("Connection"), length)
	}
}

func TestDeny(t *testing.T) {
	t.Parallel()
	down := openGate(t, nil)
	require.NoError(t, down.Close())
	gate := openGate(t, func(c *rolegate.Config) {
		c.Deny = func(h http.Header, _ *http.Request, _ rolegate.Denial) []byte {
			h.Set("X-Mine", "1")
			h.Set("Location", "/login")
			return []byte("mine")
		}
	})
	for _, c := range []struct {
		name string
		gate *rolegate.Gate
		q    question
		want int
	}{
		{"nobody", gate, about(0, "/grades/5"), http.StatusUnauthorized},
		{"not listed", gate, about(99, "/grades/5"), http.StatusForbidden},
		{"without the role", gate, about(3, "/grades/5"), http.StatusForbidden},
		{"in the wrong organisation", gate, about(1, "/orgs/8/reports"), http.StatusForbidden},
		{"an organisation that is none", gate, about(1, "/orgs/07/reports"), http.StatusForbidden},
		{"no rule", gate, about(1, "/settings"), http.StatusForbidden},
		{"no rule, nobody", gate, about(0, "/settings"), http.StatusForbidden},
		{"no rule for the method", gate, question{"POST", "school.example", "/grades/5", 1}, http.StatusForbidden},
		{"ServeMux would redirect", gate, about(2, "/admin"), http.StatusForbidden},
		{"another host's rule", gate, about(1, "/only"), http.StatusForbidden},
		{"an ambiguous path", gate, about(1, "/grades/../admin/"), http.StatusForbidden},
		{"a Where that panics", gate, about(1, "/panic"), http.StatusForbidden},
		{"the identify func fails", gate, question{"GET", "school.example", "/grades/5", -5}, http.StatusInternalServerError},
		{"closed", down, about(1, "/grades/5"), http.StatusServiceUnavailable},
	} {
		for _, proxy := range allProxies {
			t.Run(c.name+", "+proxy.String(), func(t *testing.T) {
				h := newHandler(t, c.gate, proxy, prefixed(proxy))
				h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
				h.Handle("GET /orgs/{orgID}/reports", rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
				h.Handle("/admin/", rolegate.AnyRole("admin"))
				h.Handle("other.example/only", rolegate.AnyRole("teacher"))
				h.Handle("/panic", rolegate.Where("panics", func(rolegate.User, *http.Request) bool { panic("no") }))
				r := c.q.request(proxy)
				if c.q.user < 0 {
					r.Header.Set("Cookie", "session=broken")
				}
				w := serve(h, r)
				require.Equal(t, c.want, w.Code)
				assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
				assert.Equal(t, "no-store", w.Header().Get("Cache-Control"))
				assert.Equal(t, "nosniff", w.Header().Get("X-Content-Type-Options"))
				assert.Equal(t, c.want == http.StatusUnauthorized, w.Header().Get("Www-Authenticate") == "Bearer")
				assert.Equal(t, c.want == http.StatusServiceUnavailable, w.Header().Get("Retry-After") != "")
				assert.Empty(t, w.Header()["X-Mine"], "Config.Deny has no say")
				assert.Empty(t, w.Header()["Location"])
				assert.Empty(t, w.Header()[forwardauth.UserHeader])
				var problem struct {
					Status   int
					Decision string
				}
				require.NoError(t, json.Unmarshal(w.Body.Bytes(), &problem))
				assert.Equal(t, c.want, problem.Status)
				assert.Equal(t, w.Header().Get(forwardauth.DecisionHeader), problem.Decision)
				assert.NotEmpty(t, problem.Decision)
				assert.NotContains(t, w.Body.String(), "role", "the reason stays untold")
			})
		}
	}
}

// Each refusal is in the language of the client, with a rule or without.
func TestLanguage(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, proxy := range allProxies {
		h := newHandler(t, gate, proxy, prefixed(proxy))
		h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
		for accept, want := range map[string]string{"": "You do not have permission", "zh-CN,zh;q=0.9": "您没有权限执行此操作", "en": "You do not have permission"} {
			for _, path := range []string{"/grades/5", "/settings"} {
				r := about(3, path).request(proxy)
				r.Header.Set("Accept-Language", accept)
				w := serve(h, r)
				assert.Equal(t, http.StatusForbidden, w.Code)
				assert.Contains(t, w.Body.String(), want, "%v %s %s", proxy, accept, path)
			}
		}
	}
}

// All 403s are alike, whether a rule was asked or not.
func TestForbiddenIsAlike(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Caddy, nil)
	h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
	var first string
	for _, uri := range []string{"/grades/5", "/settings", "/grades/../5", "*"} {
		w := serve(h, about(3, uri).request(forwardauth.Caddy))
		id := w.Header().Get(forwardauth.DecisionHeader)
		require.NotEmpty(t, id)
		var text strings.Builder
		require.NoError(t, w.Header().Write(&text))
		all := strings.ReplaceAll(text.String()+w.Body.String(), id, "…")
		if first == "" {
			first = all
		}
		assert.Equal(t, first, all, uri)
	}
}

// The proxy's own request may have any method; the answer has a body that
// fits it, whatever the method of the original one.
func TestMethodsOfTheProxy(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.HAProxy, nil)
	h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
	server := httptest.NewServer(h)
	defer server.Close()
	for _, asks := range []string{"GET", "HEAD", "POST", "OPTIONS", "PUT", "TRACE", "BREW"} {
		for _, original := range []string{"GET", "HEAD"} {
			for user, want := range map[int64]int{0: 401, 1: 200, 3: 403, 4: 403} {
				q := about(user, map[bool]string{true: "/settings", false: "/grades/5"}[user == 4]).request(forwardauth.HAProxy)
				q.Header.Set("X-Original-Method", original)
				r, err := http.NewRequestWithContext(t.Context(), asks, server.URL, nil)
				require.NoError(t, err)
				r.Header = q.Header
				answer, err := server.Client().Do(r)
				require.NoError(t, err, "%s about %s", asks, original)
				body, err := io.ReadAll(answer.Body)
				require.NoError(t, err, "%s about %s", asks, original)
				answer.Body.Close()
				assert.Equal(t, want, answer.StatusCode, "%s about %s", asks, original)
				if asks == "HEAD" || original == "HEAD" && user != 4 || want == 200 {
					assert.Empty(t, body) // a rule answers as to the original request
				} else {
					assert.NotEmpty(t, body)
				}
			}
		}
	}
}

// A proxy that announces a body and does not send it is answered at once.
func TestBodyIsNotRead(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	h.Admit("/")
	server := httptest.NewServer(h)
	defer server.Close()
	for name, framing := range map[string]string{
		"a length":          "Content-Length: 1000\r\n",
		"a large length":    "Content-Length: 100000000\r\n",
		"chunks":            "Transfer-Encoding: chunked\r\n",
		"continue expected": "Content-Length: 1000\r\nExpect: 100-continue\r\n",
	} {
		for _, user := range []string{"1", "99"} {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			require.NoError(t, err)
			defer conn.Close()
			require.NoError(t, conn.SetDeadline(time.Now().Add(10*time.Second)))
			_, err = io.WriteString(conn, "POST / HTTP/1.1\r\nHost: gate\r\nX-Original-Method: POST\r\nX-Original-Host: a\r\nX-Original-URI: /\r\nCookie: session="+user+"\r\n"+framing+"\r\n")
			require.NoError(t, err)
			answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
			require.NoError(t, err, name)
			assert.Equal(t, map[string]int{"1": 200, "99": 403}[user], answer.StatusCode, name)
		}
	}
	r := about(1, "/").request(forwardauth.Nginx)
	r.Body, r.ContentLength = io.NopCloser(unreadable{t}), 5
	assert.Equal(t, http.StatusOK, serve(h, r).Code)
}

type unreadable struct{ t *testing.T }

func (u unreadable) Read([]byte) (int, error) {
	u.t.Error("the body was read")
	return 0, errors.New("the body was read")
}

func TestRevoked(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(listed()...)
	gate := openGate(t, func(c *rolegate.Config) { c.Source = source })
	h := newHandler(t, gate, forwardauth.Caddy, nil)
	h.Admit("/")
	require.Equal(t, http.StatusOK, serve(h, about(3, "/").request(forwardauth.Caddy)).Code)
	source.Remove(3)
	require.NoError(t, gate.RefreshAll(t.Context()))
	assert.Equal(t, http.StatusForbidden, serve(h, about(3, "/").request(forwardauth.Caddy)).Code)
}

// Shadow lets pass as it does in the gate; ShadowAdmit opens nothing that it
// does not open for guards without Shadow.
func TestShadow(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, func(c *rolegate.Config) { c.ShadowAdmit = true }), forwardauth.Nginx, nil)
	h.Admit("/listed")
	h.Handle("/shadow", rolegate.AnyRole("admin"), rolegate.Shadow())
	for _, c := range []struct {
		user int64
		path string
		want int
		as   string
	}{
		{1, "/shadow", 200, "1"}, {99, "/shadow", 200, ""}, {0, "/shadow", 401, ""}, {99, "/listed", 403, ""},
	} {
		w := serve(h, about(c.user, c.path).request(forwardauth.Nginx))
		assert.Equal(t, c.want, w.Code, "user %d, %s", c.user, c.path)
		assert.Equal(t, c.as, w.Header().Get(forwardauth.UserHeader))
	}
}

// Modifiers that need no answer of the app's own do here what they do in a
// guard.
func TestModifiers(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	teacher := rolegate.AnyRole("teacher")
	h.Handle("/end", teacher, rolegate.EndOnRevoke())
	h.Handle("/fresh", teacher, rolegate.MaxAge(time.Hour))
	for _, path := range []string{"/end", "/fresh"} {
		assert.Equal(t, http.StatusOK, serve(h, about(1, path).request(forwardauth.Nginx)).Code, path)
		assert.Equal(t, http.StatusForbidden, serve(h, about(3, path).request(forwardauth.Nginx)).Code, path)
	}
}

// Rules may be added while requests come.
func TestRulesAddedMeanwhile(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	var asking sync.WaitGroup
	for range 4 {
		asking.Go(func() {
			for i := range 200 {
				w := serve(h, about(1, "/rule/"+strconv.Itoa(i)).request(forwardauth.Nginx))
				assert.Contains(t, []int{http.StatusOK, http.StatusForbidden}, w.Code)
			}
		})
	}
	for i := range 200 {
		h.Handle("GET /rule/"+strconv.Itoa(i), rolegate.AnyRole("teacher"))
	}
	asking.Wait()
	for i := range 200 {
		require.Equal(t, http.StatusOK, serve(h, about(1, "/rule/"+strconv.Itoa(i)).request(forwardauth.Nginx)).Code)
	}
}

func TestLog(t *testing.T) {
	t.Parallel()
	var book logBook
	gate := openGate(t, func(c *rolegate.Config) { c.Logger = book.logger() })
	h := newHandler(t, gate, forwardauth.Nginx, func(c *forwardauth.Config) { c.Logger = book.logger() })
	h.Handle("GET /grades/{id}", rolegate.AnyRole("teacher"))
	for _, c := range []struct {
		name string
		q    question
		want []string
	}{
		{"a rule", about(3, "/grades/secret"), []string{`"reason":"role_missing"`, `"route":"GET /grades/{id}"`, `"guard":"AnyRole(teacher)"`, `"user_id":"3"`}},
		{"no rule", about(3, "/secret"), []string{`"reason":"unlisted"`, `"proxy":"nginx"`, `"level":"INFO"`}},
		{"an ambiguous path", about(3, "/../secret"), []string{`"reason":"ambiguous"`, "dots"}},
		{"no path", about(3, ""), []string{`"reason":"original_unknown"`, `"level":"WARN"`, "X-Original-Uri"}},
		{"let pass", about(1, "/grades/secret"), []string{`"level":"DEBUG"`, `"user_id":"1"`, `"route":"GET /grades/{id}"`}},
	} {
		r := c.q.request(forwardauth.Nginx)
		w := serve(h, r)
		id := w.Header().Get(forwardauth.DecisionHeader)
		var line string
		for l := range strings.Lines(book.String()) {
			if strings.Contains(l, id) {
				line = l
			}
		}
		for _, want := range append(c.want, `"decision":"`+id+`"`) {
			assert.Contains(t, line, want, c.name)
		}
		assert.NotContains(t, line, "secret", c.name)
	}
}
