package rolegate_test

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
)

// A refusal is an answer of its own in the middle of what others have prepared.
func TestDenyAmongOtherMiddleware(t *testing.T) {
	t.Parallel()
	app := newDenyApp(t, func(c *rolegate.Config) {
		c.Deny = func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
			h.Add("Vary", "Accept")
			h.Add("Set-Cookie", "mine=1")
			h.Set("X-Both", "shape")
			return rolegate.DenyProblem(h, r, d)
		}
	})
	outer := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{
			"Vary": "Origin", "Set-Cookie": "theirs=1", "Access-Control-Allow-Origin": "https://app.example",
			"Strict-Transport-Security": "max-age=1", "X-Request-Id": "r1", "X-Both": "outer",
			"Content-Encoding": "gzip", "Content-Length": "5", "Content-Range": "bytes 0-4/5", "Etag": `"v1"`,
			"Last-Modified": "Mon, 02 Jan 2006 15:04:05 GMT", "Cache-Control": "public, max-age=3600", "Location": "/elsewhere",
			"Content-Type": "text/html", "Www-Authenticate": "Basic realm=outer", "Retry-After": "99999",
			"Cdn-Cache-Control": "max-age=3600", "Surrogate-Control": "max-age=3600", "Content-Disposition": "attachment", "Expires": "Thu, 01 Jan 2099 00:00:00 GMT",
			"X-Accel-Expires": "3600", "Accept-Ranges": "bytes", "Link": "</next>; rel=next", "Trailer": "X-Sum", "Content-Language": "zh",
			"Content-Security-Policy": "default-src 'self'", "X-Frame-Options": "DENY", "X-Ratelimit-Remaining": "7", "Cross-Origin-Opener-Policy": "same-origin", "Traceparent": "00-1",
		} {
			w.Header().Set(name, value)
		}
		app.ServeHTTP(w, r)
	})
	for _, c := range denyRefusals {
		w := ask(outer, "GET", c.path, c.user)
		h := w.Header()
		assert.Equal(t, c.reason.Status(), w.Code)
		assert.Equal(t, []string{"Origin", "Accept"}, h["Vary"], "added to")
		assert.Equal(t, []string{"theirs=1", "mine=1"}, h["Set-Cookie"], "added to")
		assert.Equal(t, []string{"shape"}, h["X-Both"], "replaced")
		assert.Equal(t, []string{"no-store"}, h["Cache-Control"])
		assert.Equal(t, []string{"application/problem+json"}, h["Content-Type"])
		assert.Equal(t, []string{strconv.Itoa(w.Body.Len())}, h["Content-Length"])
		for _, kept := range []string{
			"Access-Control-Allow-Origin", "Strict-Transport-Security", "X-Request-Id", "Content-Security-Policy", "X-Frame-Options",
			"X-Ratelimit-Remaining", "Cross-Origin-Opener-Policy", "Traceparent",
		} {
			assert.NotEmpty(t, h.Get(kept), kept)
		}
		for _, gone := range []string{
			"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Location", "Cdn-Cache-Control", "Surrogate-Control", "Content-Disposition",
			"Expires", "X-Accel-Expires", "Accept-Ranges", "Link", "Trailer", "Content-Language",
		} {
			assert.Empty(t, h.Values(gone), gone)
		}
		if w.Code == 401 {
			assert.Equal(t, []string{"Bearer"}, h["Www-Authenticate"])
		}
		if w.Code == 503 {
			assert.NotEqual(t, "99999", h.Get("Retry-After"))
		}
	}
}

func TestDenyLeavesNoHeaderWithoutAValue(t *testing.T) {
	t.Parallel()
	w := ask(newDenyApp(t, nil), "GET", "/admit", 999)
	for name, values := range w.Header() {
		assert.NotEmpty(t, values, name)
	}
}

// Middlewares share slices of header values between requests, to spare
// allocations: what is behind their end is not the gate's to write to.
func TestDenyDoesNotWriteBehindTheSlicesOfOthers(t *testing.T) {
	t.Parallel()
	app := newDenyApp(t, func(c *rolegate.Config) {
		c.Deny = func(h http.Header, r *http.Request, d rolegate.Denial) []byte {
			h.Set("Vary", "Accept")
			h.Set("Set-Cookie", "mine=1")
			return nil
		}
	})
	shared := map[string][]string{"Vary": {"Origin", "spare"}, "Set-Cookie": {"theirs=1", "spare"}}
	w := httptest.NewRecorder()
	for name, values := range shared {
		w.Header()[name] = values[:1]
	}
	app.ServeHTTP(w, httptest.NewRequest("GET", "/admit", nil))
	assert.Equal(t, []string{"Origin", "Accept"}, w.Header()["Vary"])
	assert.Equal(t, []string{"theirs=1", "mine=1"}, w.Header()["Set-Cookie"])
	for name, values := range shared {
		assert.Equal(t, "spare", values[1], name)
	}
}

func TestChallenge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ challenge, want string }{
		{"", "Bearer"},
		{`Bearer realm="school"`, `Bearer realm="school"`},
		{`Session realm="学校"`, `Session realm="学校"`},
	} {
		app := newDenyApp(t, func(cfg *rolegate.Config) { cfg.Challenge = c.challenge })
		assert.Equal(t, c.want, ask(app, "GET", "/admit", 0).Header().Get("WWW-Authenticate"))
	}
}
