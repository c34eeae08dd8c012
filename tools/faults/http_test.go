package faults_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Line 36: a guard without a check, or with an empty role, is a mistake of the
// programmer: it must panic when the route is registered, with a text that says
// what to do. A gate that was never opened must deny.
func TestFault36GuardsWithoutACheck(t *testing.T) {
	t.Parallel()
	anybody := func(*http.Request) (int64, error) { return 7, nil }
	for _, state := range []string{"an open gate", "the zero Gate", "a nil Gate"} {
		for name, mistake := range map[string]func(g *rolegate.Gate){
			"Require()":                  func(g *rolegate.Gate) { g.Require() },
			"Require of modifiers alone": func(g *rolegate.Gate) { g.Require(rolegate.Shadow(), rolegate.EndOnRevoke(), rolegate.InOrg(anybody)) },
			"Require(nil)":               func(g *rolegate.Gate) { g.Require(rolegate.AnyRole("teacher"), nil) },
			"Policy()":                   func(g *rolegate.Gate) { g.Policy() },
			`AnyRole("")`:                func(g *rolegate.Gate) { g.Require(rolegate.AnyRole("")) },
			`AnyRole(" ")`:               func(g *rolegate.Gate) { g.Require(rolegate.AnyRole(" ")) },
			"AnyRole()":                  func(g *rolegate.Gate) { g.Require(rolegate.AnyRole()) },
			`AnyRole("teacher", "")`:     func(g *rolegate.Gate) { g.Require(rolegate.AnyRole("teacher", "")) },
			`AllRoles("")`:               func(g *rolegate.Gate) { g.Require(rolegate.AllRoles("")) },
			"AllRoles()":                 func(g *rolegate.Gate) { g.Require(rolegate.AllRoles()) },
			`NoRole("")`:                 func(g *rolegate.Gate) { g.Require(rolegate.NoRole("")) },
			"NoRole()":                   func(g *rolegate.Gate) { g.Require(rolegate.NoRole()) },
			"Either()":                   func(g *rolegate.Gate) { g.Require(rolegate.Either()) },
			"Either(nil)":                func(g *rolegate.Gate) { g.Require(rolegate.Either(nil)) },
			"Where without a func":       func(g *rolegate.Gate) { g.Require(rolegate.Where("mine", nil)) },
			"two InOrg": func(g *rolegate.Gate) {
				g.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(anybody), rolegate.InOrg(anybody))
			},
			"no handler":  func(g *rolegate.Gate) { g.Require(rolegate.AnyRole("teacher"))(nil) },
			"Admit of it": func(g *rolegate.Gate) { g.Admit(nil) },
		} {
			t.Run(name+" of "+state, func(t *testing.T) {
				t.Parallel()
				gate := webState(t, state)
				defer func() {
					text, isText := recover().(string)
					assert.True(t, isText, "it must panic, in words")
					assert.True(t, strings.HasPrefix(text, "rolegate: "), text)
				}()
				mistake(gate)
			})
		}
	}
	for _, state := range []string{"the zero Gate", "a nil Gate"} {
		t.Run(state+" denies", func(t *testing.T) {
			t.Parallel()
			gate := webState(t, state)
			for name, h := range map[string]http.Handler{
				"Admit":               gate.Admit(webNever(t)),
				"Require":             gate.Require(rolegate.AnyRole("teacher"))(webNever(t)),
				"Require, negated":    gate.Require(rolegate.NoRole("suspended"))(webNever(t)),
				"Require with Shadow": gate.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())(webNever(t)),
				"Require with a Where": gate.Require(rolegate.Where("yes", func(rolegate.User, *http.Request) bool { return true }),
					rolegate.EndOnRevoke())(webNever(t)),
				"Policy.Wrap":     gate.Policy(rolegate.NoRole("suspended")).Wrap(webNever(t)),
				"the zero Policy": (&rolegate.Policy{}).Wrap(webNever(t)),
				"a nil Policy":    (*rolegate.Policy)(nil).Wrap(webNever(t)),
			} {
				for _, user := range []int64{0, 1} {
					w := webAsk(h, "GET", "/", user)
					assert.Equal(t, 503, w.Code, name)
					assert.NotEmpty(t, w.Header().Get("Retry-After"), name)
				}
			}
			assert.False(t, gate.Decide(t.Context(), rolegate.UserID(1)).Allowed())
			assert.False(t, gate.Policy(rolegate.NoRole("x")).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
			assert.False(t, (*rolegate.Policy)(nil).Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
			assert.False(t, rolegate.Decision{}.Allowed())
			u, known := gate.UserFrom(t.Context())
			assert.False(t, known)
			assert.Zero(t, u.ID())
			assert.False(t, gate.Status().State.Serving())
			assert.Error(t, gate.Refresh(t.Context()))
			assert.Error(t, gate.RefreshAll(t.Context()))
			assert.NoError(t, gate.Close())
		})
	}
}

// webState is a gate in that state.
func webState(t *testing.T, state string) *rolegate.Gate {
	t.Helper()
	switch state {
	case "a nil Gate":
		return nil
	case "the zero Gate":
		return &rolegate.Gate{}
	}
	return webGate(t, webUser(1, webIn(7, "teacher")))
}

// Line 37: other methods, and other spellings of a path. The guard is on the
// handler that runs, so that each of them is denied or is another route.
func TestFault37MethodsAndPathsInOtherSpellings(t *testing.T) {
	t.Parallel()
	gate := webGate(t, webUser(1, webIn(7, "admin")), webUser(2, webIn(7, "teacher")))
	admins := gate.Require(rolegate.AnyRole("admin"))
	public := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "public") })
	apps := map[string]func(secret http.Handler) http.Handler{
		"chi, r.With and Get": func(secret http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Handle("/a/*", public)
			r.With(admins).Get("/admin", secret.ServeHTTP)
			return r
		},
		"chi, r.With and all methods": func(secret http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Handle("/*", public)
			r.With(admins).Handle("/admin", secret)
			return r
		},
		"chi, cleaned paths and GetHead": func(secret http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(middleware.CleanPath, middleware.StripSlashes, middleware.GetHead)
			r.Get("/a/*", public)
			r.Group(func(r chi.Router) {
				r.Use(admins)
				r.Get("/admin", secret.ServeHTTP)
				r.Post("/admin", secret.ServeHTTP)
			})
			return r
		},
		"chi, mounted": func(secret http.Handler) http.Handler {
			r, inner := chi.NewRouter(), chi.NewRouter()
			inner.Use(admins)
			inner.Handle("/", secret)
			inner.Handle("/*", secret)
			r.Handle("/a/*", public)
			r.Mount("/admin", inner)
			return r
		},
		"ServeMux, one path": func(secret http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/a/", public)
			mux.Handle("/admin", admins(secret))
			return mux
		},
		"ServeMux, a method and a subtree": func(secret http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/a/{rest...}", public)
			mux.Handle("GET /admin", admins(secret))
			mux.Handle("GET /admin/", admins(secret))
			return mux
		},
		"the handler itself": func(secret http.Handler) http.Handler { return admins(secret) },
	}
	lines := []string{
		"HEAD /admin HTTP/1.1", "OPTIONS /admin HTTP/1.1", "TRACE /admin HTTP/1.1", "POST /admin HTTP/1.1",
		"PUT /admin HTTP/1.1", "PATCH /admin HTTP/1.1", "DELETE /admin HTTP/1.1", "PROPFIND /admin HTTP/1.1",
		"BREW /admin HTTP/1.1", "get /admin HTTP/1.1", "GET_ /admin HTTP/1.1", "OPTIONS * HTTP/1.1",
		"CONNECT /admin HTTP/1.1", "CONNECT app.test:443 HTTP/1.1", "CONNECT app.test:443/admin HTTP/1.1",
		"GET /admin/ HTTP/1.1", "GET //admin HTTP/1.1", "GET //admin// HTTP/1.1", "GET /%61dmin HTTP/1.1", "GET /%61%64min/ HTTP/1.1",
		"GET /a/..%2fadmin HTTP/1.1", "GET /a/..%2Fadmin/ HTTP/1.1", "GET /a/../admin HTTP/1.1", "GET /a/%2e%2e/admin HTTP/1.1",
		"GET /./admin HTTP/1.1", "GET /ADMIN HTTP/1.1", "GET /admin?x=/a/ HTTP/1.1", "GET /admin;a=b HTTP/1.1", "GET /admin%00 HTTP/1.1",
		"GET /admin%2f HTTP/1.1", "GET /%2fadmin HTTP/1.1", "GET /admin%20 HTTP/1.1", "GET /admin. HTTP/1.1", `GET /a\..\admin HTTP/1.1`, "GET /a/%5c..%5cadmin HTTP/1.1",
		"GET http://app.test/admin HTTP/1.1", "GET http://other.test/admin HTTP/1.1", "GET http://app.test//admin HTTP/1.1",
		"HEAD //admin HTTP/1.1", "GET /admin HTTP/1.0",
	}
	for name, app := range apps {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			secret := new(webSecret)
			host := webServe(t, app(secret))
			for _, line := range lines {
				for who, header := range map[string]string{"listed, but no admin": "X-User-Id: 2", "a stranger": "X-User-Id: 3", "nobody": "X-Nobody: 1"} {
					resp, body := webRaw(t, host, line, header)
					assert.Zero(t, secret.calls.Load(), "%s: %s", who, line)
					assert.NotContains(t, body, "secret", "%s: %s", who, line)
					if resp.StatusCode < 300 && !strings.HasPrefix(line, "HEAD ") && !strings.HasPrefix(line, "OPTIONS *") {
						assert.Equal(t, "public", body, "%s: %s", who, line)
					}
				}
			}
			require.Zero(t, secret.calls.Load())
			_, body := webRaw(t, host, "GET /admin HTTP/1.1", "X-User-Id: 1")
			assert.Equal(t, "secret", body, "an admin gets there")
		})
	}
}

// Line 39: headers by which a client claims another method, address or path.
// Every answer must be as without them, and so must what is logged.
func TestFault39HeadersThatClaimSomethingElse(t *testing.T) {
	t.Parallel()
	book := new(webBook)
	cfg := webConfig(rolegatetest.NewStatic(webUser(1, webIn(7, "admin")), webUser(2, webIn(7, "teacher"))))
	cfg.Logger, cfg.OnDeny.Off = book.logger(), true
	cfg.Identify = rolegate.FirstOf(webByHeader, rolegate.ByUserID(rolegate.UserIDHeader("X-Proxy-User", rolegate.Loopback()...)))
	gate := webOpen(t, cfg)
	admins := gate.Require(rolegate.AnyRole("admin"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	r := chi.NewRouter()
	r.Get("/", func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "public") })
	r.With(admins).Delete("/orgs/{orgID}", func(w http.ResponseWriter, r *http.Request) {
		org, _ := gate.OrgFrom(r.Context())
		u, _ := gate.UserFrom(r.Context())
		_, _ = fmt.Fprint(w, "secret ", r.Method, org, u)
	})
	r.With(gate.Admit).Get("/orgs/{orgID}", webAnswer(gate).ServeHTTP)
	host := webServe(t, r)

	claims := []string{
		"X-HTTP-Method-Override: GET", "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: GET", "X-Method-Override: DELETE", "X-Original-Method: GET",
		"X-Forwarded-For: 127.0.0.1", "X-Forwarded-Host: localhost", "X-Forwarded-Proto: https", "X-Forwarded-Port: 443", "X-Forwarded-Server: app",
		"X-Forwarded-Uri: /", "X-Forwarded-Path: /", "X-Forwarded-Prefix: /orgs/7", "X-Forwarded-Method: GET", "X-Forwarded-User: 1",
		"X-Forwarded-Preferred-Username: 1", "X-Forwarded-Email: alice@school.test", "X-Forwarded-Groups: admin", "X-Forwarded-Access-Token: x",
		"Forwarded: for=127.0.0.1;host=localhost;proto=https", "X-Real-Ip: 127.0.0.1", "True-Client-Ip: 127.0.0.1", "X-Client-Ip: 127.0.0.1",
		"X-Original-Url: /", "X-Original-Uri: /", "X-Original-Host: localhost", "X-Original-User: 1", "X-Original-Forwarded-For: 127.0.0.1", "X-Rewrite-Url: /",
		"X-Roles: admin", "X-Org-Id: 7", "X-Middleware-Subrequest: middleware", "X-Rolegate: checked", "X-Rolegate-Reason: granted",
		"Remote-User: 1", "X-Remote-User: 1", "X_User_Id: 1", "Authorization: Basic MTox", "Cookie: user=1; role=admin",
	}
	for _, c := range []struct {
		name, line, user string
		status           int
	}{
		{"no admin", "DELETE /orgs/7 HTTP/1.1", "X-User-Id: 2", 403},
		{"an admin elsewhere", "DELETE /orgs/8 HTTP/1.1", "X-User-Id: 1", 403},
		{"a stranger", "DELETE /orgs/7 HTTP/1.1", "X-User-Id: 3", 403},
		{"a stranger who reads", "GET /orgs/7 HTTP/1.1", "X-User-Id: 3", 403},
		{"nobody", "DELETE /orgs/7 HTTP/1.1", "X-Nobody: 1", 401},
		{"a teacher who reads", "GET /orgs/7 HTTP/1.1", "X-User-Id: 2", 200},
		{"an admin", "DELETE /orgs/7 HTTP/1.1", "X-User-Id: 1", 200},
		{"an admin, another method", "PUT /orgs/7 HTTP/1.1", "X-User-Id: 1", 405},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			plain, want := webRaw(t, host, c.line, c.user)
			require.Equal(t, c.status, plain.StatusCode)
			for _, claim := range append(claims, strings.Join(claims, "\r\n")) {
				resp, body := webRaw(t, host, c.line, c.user, claim)
				assert.Equal(t, plain.StatusCode, resp.StatusCode, claim)
				assert.Equal(t, webNoID(want), webNoID(body), claim)
			}
		})
	}
	t.Cleanup(func() {
		for _, line := range book.lines("rolegate: refused") {
			assert.Contains(t, []any{"DELETE", "GET"}, line["method"])
			assert.Equal(t, "/orgs/{orgID}", line["route"])
		}
		assert.NotContains(t, book.all(), "alice")
		assert.NotContains(t, book.all(), "MTox")
	})
}

// Line 44: another app's gate in front, guards within guards, two apps on one
// server. Each guard must decide for itself, and nothing in a context or header
// may stand for "already checked".
func TestFault44GuardsDecideForThemselves(t *testing.T) {
	t.Parallel()
	a := webGate(t, webUser(1, webIn(7, "admin")), webUser(2, webIn(7, "pupil")))
	b := webGate(t, webUser(1, webIn(7, "pupil")), webUser(3, webIn(7, "admin")))
	adminsOfA, adminsOfB := a.Require(rolegate.AnyRole("admin"), webOrg(7)), b.Require(rolegate.AnyRole("admin"))
	whoForB := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, known := b.UserFrom(r.Context())
		org, named := b.OrgFrom(r.Context())
		_, _ = fmt.Fprintf(w, "%v %v %d %v", u, known, org, named)
	})
	ask := func(h http.Handler, user int64) string {
		w := webAsk(h, "GET", "/", user)
		if w.Code != 200 {
			return fmt.Sprint(w.Code)
		}
		return w.Body.String()
	}
	t.Run("behind gate A by mistake, app B finds no user", func(t *testing.T) {
		t.Parallel()
		assert.Equal(t, "nobody false 0 false", ask(adminsOfA(whoForB), 1))
		assert.Equal(t, "nobody false 0 false", ask(a.Admit(a.Admit(whoForB)), 2))
		assert.Equal(t, "403", ask(adminsOfA(whoForB), 3))
	})
	t.Run("gate A does not open gate B", func(t *testing.T) {
		t.Parallel()
		assert.Equal(t, "403", ask(adminsOfA(adminsOfB(webNever(t))), 1), "admin there, pupil here")
		assert.Equal(t, "403", ask(adminsOfA(b.Admit(webNever(t))), 3))
		assert.Equal(t, "403", ask(b.Admit(adminsOfA(webNever(t))), 3))
		assert.Equal(t, "user 1 true 0 false", ask(adminsOfA(b.Admit(whoForB)), 1), "and A's organisation is not B's")
	})
	t.Run("the same gate twice", func(t *testing.T) {
		t.Parallel()
		asked := 0
		cfg := webConfig(rolegatetest.NewStatic(webUser(1, webIn(7, "admin")), webUser(2, webIn(7, "pupil"))))
		cfg.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) {
			asked++
			return int64(asked), nil // a session that is another's at the second look
		})
		gate := webOpen(t, cfg)
		admins := gate.Require(rolegate.AnyRole("admin"))
		assert.Equal(t, "403", ask(admins(admins(webNever(t))), 0))
		assert.Equal(t, 2, asked)
		asked = 0
		assert.Equal(t, "user 2", ask(admins(gate.Admit(webAnswer(gate))), 0), "the inner guard's user counts")
		asked = 0
		assert.Equal(t, "200", fmt.Sprint(webAsk(admins(webAnswer(gate)), "GET", "/", 0).Code))
		assert.Equal(t, 1, asked)
	})
	t.Run("nested routers, two apps on one server", func(t *testing.T) {
		t.Parallel()
		server, appA, appB := chi.NewRouter(), chi.NewRouter(), chi.NewRouter()
		appA.Use(a.Admit)
		appA.Get("/", webAnswer(a).ServeHTTP)
		appA.Route("/admin", func(r chi.Router) {
			r.Use(adminsOfA)
			r.Get("/", webAnswer(a).ServeHTTP)
			r.With(a.Require(rolegate.NoRole("admin"))).Get("/not", webAnswer(a).ServeHTTP)
		})
		appB.Use(b.Admit)
		appB.Get("/", webAnswer(b).ServeHTTP)
		appB.With(adminsOfB).Get("/admin/", webAnswer(b).ServeHTTP)
		server.Mount("/a", appA)
		server.Mount("/b", appB)
		host := webServe(t, server)
		for path, want := range map[string][3]int{ // by users 1, 2 and 3
			"/a/": {200, 200, 403}, "/a/admin/": {200, 403, 403}, "/a/admin/not": {403, 403, 403},
			"/b/": {200, 403, 200}, "/b/admin/": {403, 403, 200},
		} {
			for i, status := range want {
				// Not by what an answer of another app has set either.
				for _, header := range []string{"X-Nothing: 1", "X-Rolegate: granted", "X-Middleware-Subrequest: rolegate", "X-User-From: 1"} {
					resp, _ := webRaw(t, host, "GET "+path+" HTTP/1.1", fmt.Sprint("X-User-Id: ", i+1), header)
					assert.Equal(t, status, resp.StatusCode, "%s as user %d", path, i+1)
				}
			}
		}
	})
	t.Run("the context of a request that passed, in one that does not", func(t *testing.T) {
		t.Parallel()
		var passed context.Context
		adminsOfA(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { passed = r.Context() })).
			ServeHTTP(httptest.NewRecorder(), webRequest(t.Context(), 1))
		require.NotNil(t, passed)
		_, known := a.UserFrom(passed)
		require.True(t, known)
		for _, h := range []http.Handler{adminsOfA(webNever(t)), b.Admit(webNever(t))} {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, webRequest(passed, 2))
			assert.Equal(t, 403, w.Code)
		}
	})
}

// webRequest is a request as that user, with that context.
func webRequest(ctx context.Context, user int64) *http.Request {
	r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
	r.Header.Set("X-User-Id", fmt.Sprint(user))
	return r
}
