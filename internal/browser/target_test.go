package browser_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/browser"
)

func TestReturn(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, uri, cut, want string }{
		{"a page", "/grades", "", "/grades"},
		{"its query, as it was written", "/grades?class=3%20b&x=1+2", "", "/grades?class=3%20b&x=1+2"},
		{"behind a router that cuts the path", "/app/grades?x", "/app", "/app/grades?x"},
		{"the root", "/", "", "/"},
		{"another site", "//evil.example/", "", ""},
		{"another site behind a backslash", `/\evil.example/`, "", ""},
		{"a backslash further on", `/a\b`, "", ""},
		{"a tab that browsers leave out", "/\t/evil.example", "", ""},
		{"another site once a browser has taken out the dots", "/.//evil.example", "", ""},
		{"another site behind dots that go up", "/a/..//evil.example", "", ""},
		{"another site behind encoded dots", "/a/%2E.//evil.example", "", ""},
		{"dots at the end", "/a/%2e?x", "", ""},
		{"dots in a name and in the query", "/a..b/...?x=/../", "", "/a..b/...?x=/../"},
		{"two slashes further on", "/a//b", "", "/a//b"},
		{"all of the server", "*", "", ""},
		{"a whole URL", "http://evil.example/grades", "", "/grades"},
		{"a whole URL with two slashes", "http://evil.example//evil.example", "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := request(c.uri)
			var got string
			http.StripPrefix(c.cut, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = browser.Return(r) })).ServeHTTP(httptest.NewRecorder(), r)
			assert.Equal(t, c.want, got)
		})
	}
	assert.Equal(t, "/a?b", browser.Return(&http.Request{URL: &url.URL{Path: "/a", RawQuery: "b"}}), "a request that no server has read")
}

// request is one as a server reads it, or as it would if it were less strict.
func request(uri string) *http.Request {
	r := httptest.NewRequest("GET", "http://school.example/", nil)
	r.RequestURI = uri
	if u, err := url.ParseRequestURI(uri); err == nil {
		r.URL = u
	}
	return r
}

func TestLeadsBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, location, uri, cut string
		want                     bool
	}{
		{"to the login page", "/login", "/grades", "", false},
		{"from the login page", "/login", "/login", "", true},
		{"from it with a query", "/login?return_to=%2Flogin", "/login?x=1", "", true},
		{"from it, encoded otherwise", "/login", "/%6Cogin", "", true},
		{"by a name beside it", "login", "/login", "", true},
		{"by a name below it", "login", "/a/login", "", true},
		{"by a name elsewhere", "login", "/a/grades", "", false},
		{"by its whole URL", "https://School.example/login", "/login", "", true},
		{"by its whole URL, with the usual port", "https://school.example:443/login", "/login", "", true},
		{"by its whole URL, with a port that a proxy may have left out", "http://school.example:8000/login", "/login", "", true},
		{"on another site", "https://sso.example/login", "/login", "", false},
		{"below a router that cuts the path", "/login", "/app/login", "/app", false},
		{"below it, in full", "/app/login", "/app/login", "/app", true},
		{"no URL", "http://[::1", "/login", "", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var got bool
			http.StripPrefix(c.cut, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { got = browser.LeadsBack(c.location, r) })).ServeHTTP(httptest.NewRecorder(), request(c.uri))
			assert.Equal(t, c.want, got)
		})
	}
}

func TestBlank(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, url, before, after string }{
		{"the only one", "/login?next=", "/login?next=", ""},
		{"the last", "/login?a=b&next=", "/login?a=b&next=", ""},
		{"the first", "/login?next=&a=b", "/login?next=", "&a=b"},
		{"the first of two", "/login?next=&back=", "/login?next=", "&back="},
		{"before a fragment", "https://sso.example/?next=#top", "https://sso.example/?next=", "#top"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			before, after, found := browser.Blank(c.url)
			assert.True(t, found)
			assert.Equal(t, []string{c.before, c.after}, []string{before, after})
		})
	}
	for _, url := range []string{"/login", "/login?", "/login?next", "/login?a=b", "/login?a=b=", "/login?=", "/login?&", "/login#?next=", "/a=", ""} {
		before, after, found := browser.Blank(url)
		assert.False(t, found, url)
		assert.Equal(t, []string{url, ""}, []string{before, after})
	}
}

// Whatever a client asks for, a browser that is sent back stays on the site.
func FuzzReturn(f *testing.F) {
	for _, uri := range []string{"/", "//a", `/\a`, "/\t/a", "/..//a", "*", "http://a//b", "/%2f/a"} {
		f.Add(uri)
	}
	site := &url.URL{Scheme: "https", Host: "school.example", Path: "/login"}
	f.Fuzz(func(t *testing.T, uri string) {
		got := browser.Return(request(uri))
		if got == "" {
			return
		}
		to, err := site.Parse(got)
		if err == nil {
			assert.Equal(t, site.Host, to.Host, "%q", uri)
		}
		// As browsers read it (WHATWG URL): without tabs and newlines, a backslash as a slash.
		plain := strings.NewReplacer("\t", "", "\n", "", "\r", "", `\`, "/").Replace(got)
		assert.True(t, strings.HasPrefix(plain, "/") && !strings.HasPrefix(plain, "//"), "%q", got)
	})
}
