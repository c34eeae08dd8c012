//go:build drill

package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/forwardauth"
)

// randomTargets is how many requests TestProxiesRandomTargets sends through each.
const randomTargets = 400

// Whatever a client makes of a target, the app behind each proxy gets nothing that
// an http.ServeMux or a chi router would route to what that client may not have.
func TestProxiesRandomTargets(t *testing.T) {
	may := map[int]map[string]bool{
		1: {"GET /{$}": true, "GET /names/public": true, "GET /grades/{id}": true, "GET /files/{path...}": true, "POST /orgs/7/reports": true, "POST /upload": true, "/api/": true, "GET /names/{name}": true, "GET /groups/{name}": true},
		3: {"GET /{$}": true, "GET /names/public": true},
	}
	eachProxy(t, func(t *testing.T, g *rig) {
		rnd := rand.New(rand.NewPCG(uint64(g.kind), 1))
		reached := 0
		for range randomTargets {
			user := []int{1, 3}[rnd.IntN(2)]
			lines := randomRequest(rnd)
			g.asked.take()
			answer, text := g.send(t, "", append(lines, "Cookie: session=user-"+strconv.Itoa(user), "Content-Length: 0")...)
			seen := g.app.take()
			if answer.StatusCode != http.StatusOK {
				require.Empty(t, seen, "%q", lines)
				continue
			}
			if len(seen) == 0 && strings.HasPrefix(lines[0], "OPTIONS ") {
				continue // the proxy itself has answered
			}
			require.Len(t, seen, 1, "%q: %s", lines, text)
			reached++
			checked := g.asked.take()
			require.Len(t, checked, 1, "%q", lines)
			method, host, uri := checked[0].original(g.kind)
			assert.Equal(t, [3]string{method, host, encodedByGo.Replace(uri)}, [3]string{seen[0].Method, seen[0].Host, encodedByGo.Replace(seen[0].RequestURI)}, "%q", lines)
			for router, pattern := range routed(seen[0].Request) {
				if pattern != "" && !may[user][pattern] {
					t.Errorf("%q of user %d: the app gets %s %s, which %s routes to %q", lines, user, seen[0].Method, seen[0].RequestURI, router, pattern)
				}
			}
		}
		assert.Greater(t, reached, randomTargets/10, "hardly anything gets through")
		assert.Less(t, reached, randomTargets/2, "hardly anything is denied")
	})
}

// original is the request that the gate was asked about.
func (r request) original(kind forwardauth.Proxy) (method, host, uri string) {
	switch kind {
	case forwardauth.Envoy:
		return r.Method, r.Host, strings.TrimPrefix(r.RequestURI, stubPrefix)
	case forwardauth.Nginx, forwardauth.HAProxy:
		return r.Header.Get("X-Original-Method"), r.checkedHost(kind), r.Header.Get("X-Original-Uri")
	}
	return r.Header.Get("X-Forwarded-Method"), r.checkedHost(kind), r.Header.Get("X-Forwarded-Uri")
}

// routed is where the routers of two apps send a request, whose routes are those of
// the rules.
func routed(r *http.Request) map[string]string {
	mux, router := http.NewServeMux(), chi.NewRouter()
	to := map[string]string{}
	for _, pattern := range []string{
		"GET /{$}", "/admin/", "GET /grades/{id}", "GET /files/{path...}", "POST /orgs/{orgID}/reports", "POST /upload", "/api/", "GET /names/{name}", "GET /names/public", "GET /groups/{name}",
	} {
		note := func(router string) http.HandlerFunc {
			return func(_ http.ResponseWriter, r *http.Request) {
				org, _ := url.PathUnescape(r.PathValue("orgID"))
				to[router] = strings.ReplaceAll(pattern, "{orgID}", org)
			}
		}
		mux.HandleFunc(pattern, note("http.ServeMux"))
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			method, path = "", pattern+"*"
		}
		path = strings.NewReplacer("{$}", "", "{path...}", "*").Replace(path)
		switch method {
		case "":
			router.Handle(path, note("chi"))
		case http.MethodGet:
			router.Head(path, note("chi"))
			fallthrough
		default:
			router.Method(method, path, note("chi"))
		}
	}
	for _, h := range []http.Handler{mux, router} {
		h.ServeHTTP(httptest.NewRecorder(), r.Clone(r.Context()))
	}
	return to
}

// randomRequest is a request that the rules are about, with something done to it.
func randomRequest(rnd *rand.Rand) []string {
	pick := func(from ...string) string { return from[rnd.IntN(len(from))] }
	path := pick("/", "/admin/", "/admin/users", "/grades/5", "/files/a/b.pdf", "/files/a b", "/names/public", "/names/x.pdf", "/groups/a%2Fb", "/orgs/7/reports", "/orgs/9/reports", "/upload", "/api/x", "/settings")
	method := "GET"
	switch {
	case strings.HasPrefix(path, "/orgs") || path == "/upload":
		method = "POST"
	case rnd.IntN(6) == 0:
		method = pick("HEAD", "POST", "OPTIONS", "DELETE", "get", "GET2", "PROPFIND")
	}
	path = strings.ReplaceAll(path, " ", "%20")
	for range rnd.IntN(3) {
		at := rnd.IntN(len(path))
		switch rnd.IntN(8) {
		case 0: // a byte, encoded
			path = path[:at] + fmt.Sprintf(pick("%%%02x", "%%%02X", "%%25%02X", "%%u00%02x"), path[at]) + path[at+1:]
		case 1: // what parts or ends a path
			path = path[:at] + pick("/", "//", "/./", "/../", "%2f", "%2F..%2f", "%5c", `\`, ";", ";a=b", "?", "#", "%3f", "%23", "%3b", "%00", "%0d%0a", "%09") + path[at:]
		case 2: // a way out and in
			path = pick("/admin", "/grades", "/files", "/names", "/api") + pick("/..", "/%2e%2e", "/.%2E", "/..;", "/%252e%252e", "/%c0%ae%c0%ae", `/..\`, "/..%5c") + path
		case 3:
			path += pick("/", "/.", "/..", "%20", ".", "~", ".json", ";.css", "?x=/../admin/", "/%2e", "%", "%2", "%2500")
		case 4:
			path = strings.ToUpper(path[:at]) + path[at:]
		case 5:
			path = path[:at] + pick("张", "é", "\xff", "%ff", "%e5%bc%a0", "%E5%BC%A0", "[", "|", "^", "{", "}", `"`, "<", "@", ":", "+", "&", "=", "%ed%a0%80") + path[at:]
		case 6:
			path = pick("http://school.example", "http://other.example", "https://school.example:80", "HTTP://SCHOOL.example", "//school.example", "school.example") + path
		case 7:
			path += "?" + pick("a=1", "a=%2e%2e", "_method=DELETE", "a;b", "a?b", "%zz")
		}
	}
	lines := []string{method + " " + path + " HTTP/1.1"}
	if rnd.IntN(4) == 0 {
		lines = append(lines, "Host: "+pick("school.example", "SCHOOL.example", "school.example.", "school.example:8000", "other.example", "[::1]"))
	}
	for range rnd.IntN(2) {
		name := pick("X-Original-URI", "X-Original-Method", "X-Original-Host", "X-Forwarded-Uri", "X-Forwarded-Method", "X-Forwarded-Host", "X-Original-URL", "x_original_uri", "X-Envoy-Original-Path", "X-HTTP-Method-Override")
		lines = append(lines, name+": "+pick("/names/public", "GET", "/", "other.example", "http://school.example/names/public"))
	}
	return lines
}
