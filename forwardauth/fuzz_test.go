package forwardauth_test

import (
	"bufio"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

// patterns are those of an app and of the rules before it.
var patterns = []string{
	"/", "GET /{$}", "GET /grades/{id}", "/grades/{id}/{term}", "POST /orgs/{orgID}/reports", "/admin/", "/admin/users", "GET /admin/{page}/edit",
	"/files/{path...}", "/files/{dir}/index", "/%61bc", "/a%20b/", "admin.example/", "admin.example/grades/{id}", "DELETE /x",
}

// wildcard is a wildcard of http.ServeMux that takes the rest of a path.
var wildcard = regexp.MustCompile(`\{[a-z]+\.\.\.\}$`)

// chiApp is the app in chi, which matches the path as it was sent, and knows no hosts.
func chiApp(handle func(pattern string) http.HandlerFunc) http.Handler {
	r := chi.NewRouter()
	for _, pattern := range patterns {
		method, path, found := strings.Cut(pattern, " ")
		if !found {
			method, path = "", pattern
		}
		path, _ = url.PathUnescape(path)
		if path[0] != '/' || strings.Contains(path, " ") { // of which chi says that it is behind a method
			continue
		}
		switch {
		case strings.HasSuffix(path, "/{$}"):
			path = strings.TrimSuffix(path, "{$}")
		case strings.HasSuffix(path, "/"):
			path += "*"
		default:
			path = wildcard.ReplaceAllString(path, "*")
		}
		switch h := handle(pattern); method {
		case "":
			r.Handle(path, h)
		case http.MethodGet:
			r.Head(path, h)
			fallthrough
		default:
			r.Method(method, path, h)
		}
	}
	return r
}

// FuzzOriginal asks about any target, method and host: what is let pass is what
// net/http's server, given the same as a request, routes to the same pattern
// with the same path values. chi routes it there too, or nowhere.
func FuzzOriginal(f *testing.F) {
	for _, uri := range []string{
		"/", "/grades/5", "/grades/%35?x=1", "/grades/5/", "/admin", "/admin/", "//admin/", "/admin/../grades/5", "/%61dmin/", "/admin%2f", "/admin;x", "/files/a/b",
		"/files/%2e%2e/admin", "/files/", "/files/Klasse%20[3].pdf", "/files/a|b^c/[x]", "/[::1]/", "/orgs/7/reports", "/abc", "/a%20b/c", "*", "http://admin.example/", "/a?b#c", "/\x00", "/é", "/grades/%c3%a9", "/grades/%ff", "/a%zz", "?", "",
	} {
		f.Add("GET", "school.example", uri)
	}
	for _, uri := range []string{
		"/files/100%25.pdf", "/files/Klasse%20%233.pdf", "/files/a;b.txt", "/files/a;jsessionid=1/b", "/files/group%2Fname", "/files/..%2fadmin", "/files/..;/admin",
		"/files/%252e%252e%252fadmin", "/files/a%5c..%5cb", "/files/a%3f", "/files/%2f%2fa", "/files/%2e%2e%3fx", "/files/a%25%32%66b", "/admin;/users", "/admin%2fusers",
		"/%67rades/5", "/admin/%75sers", "/files/a/%69ndex", "/files/a/ind%65x", "/%61bc", "/abc/%61", "/orgs/7/report%73", "/files/%5B3%5D/%7c",
	} {
		f.Add("GET", "school.example", uri)
	}
	f.Add("POST", "admin.example", "/orgs/7/reports")
	f.Add("HEAD", "admin.example:8080", "/grades/5")
	f.Add("CONNECT", "admin.example:443", "/")
	f.Add("GET", "[::1]:80", "/local")
	f.Add("GET", "ADMIN.example", "/x")
	f.Add("GET / HTTP/1.1\r\nHost: a\r\n\r\nGET", "a", "/")

	gate := openGate(f, func(c *rolegate.Config) {
		c.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil })
	})
	var checked *http.Request
	handlers := map[forwardauth.Proxy]*forwardauth.Handler{}
	for _, proxy := range allProxies {
		h := newHandler(f, gate, proxy, prefixed(proxy))
		seen := rolegate.Where("seen", func(_ rolegate.User, r *http.Request) bool { checked = r; return true })
		for i, pattern := range patterns {
			if i%2 == 1 {
				h.Handle(pattern, seen)
			} else {
				h.Encoded(`%#?;/\`).Handle(pattern, seen)
			}
		}
		handlers[proxy] = h
	}
	var routed *http.Request
	app := http.NewServeMux()
	for _, pattern := range patterns {
		app.HandleFunc(pattern, func(_ http.ResponseWriter, r *http.Request) { routed = r })
	}
	var elsewhere string          // where chi routes it
	values := map[string]string{} // of its wildcards
	inChi := chiApp(func(pattern string) http.HandlerFunc {
		return func(_ http.ResponseWriter, r *http.Request) {
			elsewhere = pattern
			clear(values)
			for i, params := 0, chi.RouteContext(r.Context()).URLParams; i < len(params.Keys); i++ {
				if values[params.Keys[i]] = params.Values[i]; r.URL.RawPath != "" {
					values[params.Keys[i]], _ = url.PathUnescape(params.Values[i])
				}
			}
		}
	})

	f.Fuzz(func(t *testing.T, method, host, uri string) {
		for proxy, h := range handlers {
			checked, routed, elsewhere = nil, nil, ""
			w := serve(h, question{method, host, uri, 1}.request(proxy))
			if w.Code != http.StatusOK {
				if checked != nil || w.Code != http.StatusForbidden {
					t.Fatalf("%v: %d for %q", proxy, w.Code, uri)
				}
				continue
			}
			r, err := http.ReadRequest(bufio.NewReader(strings.NewReader(method + " " + uri + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")))
			if err != nil {
				t.Fatalf("%v: net/http does not read %q: %v", proxy, uri, err)
			}
			serve(inChi, r.Clone(t.Context()))
			serve(app, r)
			if routed == nil || routed.Pattern != checked.Pattern {
				t.Fatalf("%v: %q was checked as %q, and is routed to %+v", proxy, uri, checked.Pattern, routed)
			}
			for _, name := range []string{"id", "term", "orgID", "page", "path", "dir"} {
				if a, b := checked.PathValue(name), routed.PathValue(name); a != b {
					t.Fatalf("%v: %q: %s is %q for the gate and %q for the app", proxy, uri, name, a, b)
				}
			}
			// chi is not asked about patterns with a host or a blank.
			if host, _, _ := strings.Cut(checked.Pattern, "/"); !strings.Contains(host, ".") && !strings.Contains(checked.Pattern, "%20") && elsewhere != "" {
				if elsewhere != checked.Pattern {
					t.Fatalf("%v: %q was checked as %q, and chi routes it to %q", proxy, uri, checked.Pattern, elsewhere)
				}
				for name, value := range values {
					if name == "*" {
						name = "path"
					}
					if want := checked.PathValue(name); want != value && !strings.HasSuffix(checked.Pattern, "/") {
						t.Fatalf("%v: %q: %s is %q for the gate and %q for chi", proxy, uri, name, want, value)
					}
				}
			}
			// Whoever decodes the path once more, or cuts it at what a rule lets stand,
			// gets no other path out of it: no dots, no empty segment.
			for _, segment := range strings.FieldsFunc(checked.URL.Path[1:], func(c rune) bool { return strings.ContainsRune(`/\`, c) }) {
				plain, err := url.PathUnescape(segment)
				if err != nil {
					plain = segment
				}
				plain, _, _ = strings.Cut(strings.NewReplacer("?", ";", "#", ";").Replace(plain), ";")
				if plain == "" || plain == "." || plain == ".." {
					t.Fatalf("%v: %q was let pass", proxy, uri)
				}
			}
			if w.Header().Get(forwardauth.UserHeader) != "1" {
				t.Fatalf("%v: nobody was let pass", proxy)
			}
		}
	})
}
