package console_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/console"
)

// The console behind a proxy that rewrites Host, which browsers reach over plain
// HTTP or HTTPS: its forms come from the proxy's address.
func TestFormsBehindAProxyThatRewritesHost(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	h := a.gate.Admit(console.New(a.gate, console.Config{TrustedOrigins: []string{"http://school.example", "https://school.example:8443"}}))
	for _, c := range []struct {
		name, host, origin, site string
		want                     int
	}{
		{"over plain HTTP, Host rewritten", "127.0.0.1:8080", "http://school.example", "", 200},
		{"over HTTPS, Host rewritten", "127.0.0.1:8080", "https://school.example:8443", "same-origin", 200},
		{"Host as it is", "school.example", "http://school.example", "", 200},
		{"another port", "127.0.0.1:8080", "http://school.example:81", "", 403},
		{"another scheme", "127.0.0.1:8080", "https://school.example", "", 403},
		{"a sister", "127.0.0.1:8080", "http://evil.school.example", "same-site", 403},
		{"another site", "127.0.0.1:8080", "http://evil.example", "", 403},
		{"another site, as the browser says", "127.0.0.1:8080", "http://evil.example", "cross-site", 403},
		{"the trusted origin, as the browser says from another site", "127.0.0.1:8080", "http://school.example", "cross-site", 200},
		{"an origin that is none", "127.0.0.1:8080", "null", "", 403},
		{"rebound DNS", "evil.example", "http://evil.example", "", 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			loaded := serve(t, h, httptest.NewRequest(http.MethodGet, "http://"+c.host+"/console", nil))
			r := httptest.NewRequest(http.MethodPost, "http://"+c.host+"/console", strings.NewReader(url.Values{"action": {"review"}, "token": {loaded.token()}}.Encode()))
			r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			r.Header.Set("Origin", c.origin)
			if c.site != "" {
				r.Header.Set("Sec-Fetch-Site", c.site)
			}
			if c.name != "rebound DNS" { // a page of another name has not got the cookie
				r.Header.Set("Cookie", strings.SplitN(loaded.header.Get("Set-Cookie"), ";", 2)[0])
			}
			assert.Equal(t, c.want, serve(t, h, r).status)
		})
	}
	for _, bad := range []console.Config{
		{TrustedOrigins: []string{"school.example"}}, {TrustedOrigins: []string{"https://school.example/"}}, {TrustedOrigins: []string{""}},
		{Path: "console"}, {Path: "/a;b"}, {Path: "/a b"},
	} {
		assert.Panics(t, func() { console.New(a.gate, bad) }, bad)
	}
}

// A browser sends the cookies of "/admin" to "/admin/other" too: each console has
// a cookie of its own.
func TestTwoConsolesOnOneHost(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	r := chi.NewRouter()
	r.Use(a.gate.Admit)
	r.Handle("/admin", console.New(a.gate, console.Config{}))
	r.Handle("/admin/deep", console.New(a.gate, console.Config{}))
	r.Handle("/moved/*", http.StripPrefix("/moved", console.New(a.gate, console.Config{})))
	r.Handle("/rewritten", console.New(a.gate, console.Config{Path: "/school/console"}))
	cookies := map[string]*http.Cookie{}
	tokens := map[string]string{}
	for _, path := range []string{"/admin", "/admin/deep", "/moved/console", "/rewritten"} {
		p := serve(t, r, httptest.NewRequest(http.MethodGet, path+"?part=", nil))
		cookie, err := http.ParseSetCookie(p.header.Get("Set-Cookie"))
		require.NoError(t, err)
		want := path
		if path == "/rewritten" {
			want = "/school/console"
		}
		assert.Equal(t, want, cookie.Path)
		assert.True(t, cookie.HttpOnly)
		assert.Equal(t, http.SameSiteStrictMode, cookie.SameSite)
		for other, c := range cookies {
			assert.NotEqual(t, c.Name, cookie.Name, "%s and %s", path, other)
		}
		cookies[path], tokens[path] = cookie, p.token()
	}
	for path, token := range tokens {
		form := httptest.NewRequest(http.MethodPost, path, strings.NewReader(url.Values{"action": {"review"}, "token": {token}}.Encode()))
		form.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		for _, c := range cookies { // all, as a browser may
			form.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
		assert.Equal(t, http.StatusOK, serve(t, r, form).status, path)
	}
}

// What is accepted is whose removals were shown, not how many.
func TestAcceptingOfOtherUsersThanShown(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, append(pupils(), user(50))...)
	form := a.hold()
	a.source.Set(append(pupils()[:1], user(admin, in(7, "admin")))...) // 1 is back, 50 is gone
	require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	require.Equal(t, 30, a.gate.Status().Held.Users, "as many as before")
	p := a.post(form)
	assert.Equal(t, http.StatusConflict, p.status)
	p.has("has changed meanwhile")
	assert.Equal(t, 30, a.gate.Status().Held.Users)
}
