package request_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/request"
)

func TestMethod(t *testing.T) {
	t.Parallel()
	for method, want := range map[string]string{
		"": "GET", "GET": "GET", "HEAD": "HEAD", "PATCH": "PATCH", "TRACE": "TRACE", "CONNECT": "CONNECT",
		"get": "other", "PROPFIND": "other", strings.Repeat("A", 1<<20): "other",
	} {
		assert.Equal(t, want, request.Method(&http.Request{Method: method}), "%.20s", method)
	}
}

func TestRoute(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/orgs/7/wang", nil)
	assert.Empty(t, request.Route(r), "never the path")
	routed := chi.NewRouteContext()
	routed.RoutePatterns = []string{"/orgs/{id}/{name}"}
	r = r.WithContext(context.WithValue(r.Context(), chi.RouteCtxKey, routed))
	assert.Equal(t, "/orgs/{id}/{name}", request.Route(r))
	r.Pattern = "GET /orgs/{id}/{name}"
	assert.Equal(t, "GET /orgs/{id}/{name}", request.Route(r))
	for n, want := range map[int]int{1023: 1023, 1025: 1024, 4096: 1024} {
		r.Pattern = strings.Repeat("x", n)
		assert.Len(t, request.Route(r), want)
	}
}

func TestWildcards(t *testing.T) {
	t.Parallel()
	r := httptest.NewRequest(http.MethodGet, "/orgs/7/files/a", nil)
	assert.Empty(t, request.Wildcards(r), "chi has not routed it")
	var names []string
	mux := chi.NewRouter()
	mux.Get("/orgs/{id}/files/*", func(_ http.ResponseWriter, r *http.Request) { names = request.Wildcards(r) })
	mux.ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, []string{"id"}, names)
}

// In a middleware that runs before the routing, at each depth.
func TestRouteBeforeTheRouting(t *testing.T) {
	t.Parallel()
	var seen []string
	note := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			seen = append(seen, request.Route(r))
			next.ServeHTTP(w, r)
		})
	}
	end := func(http.ResponseWriter, *http.Request) {}
	r := chi.NewRouter()
	r.Use(note)
	r.Get("/grades/{id}", end)
	r.Route("/orgs/{org}", func(r chi.Router) {
		r.Use(note)
		r.Get("/", end)
		r.Get("/members/{id}", end)
		r.Get("/files/*", end)
	})
	for _, c := range []struct {
		method, path string
		want         []string
	}{
		{"GET", "/grades/7", []string{"/grades/{id}"}},
		{"GET", "/orgs/7/members/9", []string{"/orgs/{org}/members/{id}", "/orgs/{org}/members/{id}"}},
		{"GET", "/orgs/7%2F8/members/9", []string{"/orgs/{org}/members/{id}", "/orgs/{org}/members/{id}"}},
		{"GET", "/orgs/7/files/a/b", []string{"/orgs/{org}/files/*", "/orgs/{org}/files/*"}},
		{"GET", "/nowhere", []string{""}},
		{"POST", "/grades/7", []string{""}},
		{"BREW", "/grades/7", []string{""}},
	} {
		seen = nil
		r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest(c.method, c.path, nil))
		assert.Equal(t, c.want, seen, "%s %s", c.method, c.path)
	}
}

// A mux inside a router of chi knows the route better, and a context that no router
// has filled in knows none.
func TestRouteInsideAnotherRouter(t *testing.T) {
	t.Parallel()
	var seen string
	mux := http.NewServeMux()
	mux.HandleFunc("GET /api/users/{id}", func(_ http.ResponseWriter, r *http.Request) { seen = request.Route(r) })
	r := chi.NewRouter()
	r.Handle("/api/*", mux)
	r.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/api/users/7", nil))
	assert.Equal(t, "GET /api/users/{id}", seen)

	alone := httptest.NewRequest("GET", "/api/users/7", nil)
	assert.Empty(t, request.Route(alone.WithContext(context.WithValue(t.Context(), chi.RouteCtxKey, chi.NewRouteContext()))))
}

func TestIsTwice(t *testing.T) {
	t.Parallel()
	ask := func(pattern, inner, path, name string) (twice bool) {
		r, below := chi.NewRouter(), chi.NewRouter()
		below.Get(inner, func(_ http.ResponseWriter, r *http.Request) { twice = request.IsTwice(r, name) })
		r.Mount(pattern, below)
		res := httptest.NewRecorder()
		r.ServeHTTP(res, httptest.NewRequest("GET", path, nil))
		assert.Equal(t, 200, res.Code, path)
		return twice
	}
	assert.True(t, ask("/orgs/{id}", "/members/{id}", "/orgs/7/members/9", "id"))
	assert.False(t, ask("/orgs/{id}", "/members/{member}", "/orgs/7/members/9", "id"))
	assert.False(t, ask("/orgs/{id}", "/members/{member}", "/orgs/7/members/9", "member"))
	assert.False(t, ask("/orgs/{id}", "/members/{member}", "/orgs/7/members/9", "other"))
	assert.False(t, request.IsTwice(httptest.NewRequest("GET", "/orgs/7", nil), "id"), "it is of no router of chi's")

	// A ServeMux below a router of chi.
	below := func(pattern, inner, path string) (twice bool) {
		mux, r := http.NewServeMux(), chi.NewRouter()
		mux.HandleFunc(inner, func(_ http.ResponseWriter, r *http.Request) { twice = request.IsTwice(r, "id") })
		r.Handle(pattern, mux)
		res := httptest.NewRecorder()
		r.ServeHTTP(res, httptest.NewRequest("GET", path, nil))
		assert.Equal(t, 200, res.Code, path)
		return twice
	}
	assert.True(t, below("/orgs/{id}/*", "/orgs/{org}/members/{id}", "/orgs/7/members/9"))
	assert.False(t, below("/orgs/{id}/*", "/orgs/{org}/members/{member}", "/orgs/7/members/9"))
	assert.False(t, below("/orgs/{org}/*", "/orgs/{org}/members/{id}", "/orgs/7/members/9"))
	assert.False(t, below("/orgs/{id}/*", "/orgs/{org}/members/{member}", "/orgs/7%2F8/members/9"), "an encoded one is no other")
}

func TestSuitsRefusal(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{
		"Set-Cookie": true, "set-cookie": true, "Vary": true, "Strict-Transport-Security": true, "Access-Control-Allow-Origin": true,
		"Cross-Origin-Opener-Policy": true, "Ratelimit-Limit": true, "X-Request-Id": true, "X-Frame-Options": true, "Traceparent": true,
		"Cache-Control": false, "Cdn-Cache-Control": false, "Surrogate-Control": false, "Etag": false, "Last-Modified": false, "Expires": false,
		"Content-Type": false, "Content-Length": false, "Content-Disposition": false, "Location": false, "Link": false,
		"X-Accel-Redirect": false, "X-Sendfile": false, "X-Cache-Key": false, "x-accel-expires": false, "X-Litespeed-Cache": false,
		"X-Varnish-Ttl": false, "X-Ttl": false, "X-Surrogate-Key": false, "X-Cdn-Cache": false, "X-Proxy-Cache": false, "X-Cacheable": false,
		"X-Reproxy-Url": false, "X-Archive-Files": false, "X-Lighttpd-Send-File": false, "X-Sendfile2": false,
		"X-Served-By": true, "X-Ratelimit-Remaining": true, "X-Download-Options": true, "X-": true,
	} {
		assert.Equal(t, want, request.SuitsRefusal(name), name)
	}
}

func TestSetPathValues(t *testing.T) {
	t.Parallel()
	type param struct{ name, value string }
	for _, c := range []struct {
		name   string
		params []param
		want   map[string]string
	}{
		{"none", nil, map[string]string{"id": ""}},
		{"two names", []param{{"id", "7"}, {"member", "9"}}, map[string]string{"id": "7", "member": "9"}},
		{"one name twice", []param{{"id", "7"}, {"x", "1"}, {"id", "9"}}, map[string]string{"id": "", "x": "1"}},
		{"with one value", []param{{"id", "7"}, {"id", "7"}}, map[string]string{"id": ""}},
		{"three times", []param{{"id", "7"}, {"id", "8"}, {"id", "9"}}, map[string]string{"id": ""}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			for range 2 { // guards may be stacked
				request.SetPathValues(r, len(c.params), func(i int) (string, string) { return c.params[i].name, c.params[i].value })
				for name, want := range c.want {
					assert.Equal(t, want, r.PathValue(name))
				}
			}
		})
	}
}
