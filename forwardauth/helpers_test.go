package forwardauth_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"

	"github.com/rolegate/rolegate/internal/logbook"
)

// The users of most tests: 1 is a teacher in 7 and a homeroom teacher in 8, 2
// is an admin, 3 has no role, 4 strange ones.
func listed() []rolegate.Record {
	return []rolegate.Record{
		{UserID: 1, Account: "zhang@school.example", Grants: []rolegate.Grant{{OrgID: 8, RoleCode: "homeroom"}, {OrgID: 7, RoleCode: "teacher"}}},
		{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
		{UserID: 3},
		{UserID: 4, Account: "张\r\nX-Rolegate-User: 2, 100%:\x7f", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "班主任,8:admin\n"}}},
	}
}

// bySession identifies by a cookie.
var bySession = rolegate.ByUserID(func(r *http.Request) (int64, error) {
	c, err := r.Cookie("session")
	if err != nil {
		return 0, rolegate.ErrNobody
	}
	return strconv.ParseInt(c.Value, 10, 64)
})

func openGate(t testing.TB, change func(*rolegate.Config)) *rolegate.Gate {
	t.Helper()
	cfg := rolegate.Config{
		Source: rolegatetest.NewStatic(listed()...), Identify: bySession, Keep: rolegate.Keep{Account: true},
		Logger: slog.New(slog.DiscardHandler), OnDeny: rolegate.OnDeny{Off: true},
	}
	if change != nil {
		change(&cfg)
	}
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

// newHandler returns a handler for a proxy on the machine itself.
func newHandler(t testing.TB, gate *rolegate.Gate, proxy forwardauth.Proxy, change func(*forwardauth.Config)) *forwardauth.Handler {
	t.Helper()
	cfg := forwardauth.Config{Proxy: proxy, Trusted: rolegate.Loopback(), Logger: slog.New(slog.DiscardHandler)}
	if change != nil {
		change(&cfg)
	}
	h, err := forwardauth.New(gate, cfg)
	require.NoError(t, err)
	return h
}

// A question is what a proxy asks: about an original request, as a user.
type question struct {
	method, host, uri string
	user              int64
}

// about returns a question about a GET.
func about(user int64, uri string) question {
	return question{method: http.MethodGet, host: "school.example", uri: uri, user: user}
}

// request writes the question as that proxy does. Envoy's path_prefix is /check.
func (q question) request(proxy forwardauth.Proxy) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "http://gate.internal/", nil)
	switch proxy {
	case forwardauth.Envoy:
		r.Method, r.Host, r.RequestURI = q.method, q.host, "/check"+q.uri
	case forwardauth.Traefik, forwardauth.Caddy:
		r.Header.Set("X-Forwarded-Method", q.method)
		r.Header.Set("X-Forwarded-Host", q.host)
		r.Header.Set("X-Forwarded-Uri", q.uri)
	default:
		r.Header.Set("X-Original-Method", q.method)
		r.Header.Set("X-Original-Host", q.host)
		r.Header.Set("X-Original-URI", q.uri)
	}
	if q.user != 0 {
		r.Header.Set("Cookie", "session="+strconv.FormatInt(q.user, 10))
	}
	r.RemoteAddr = "127.0.0.1:50000"
	return r
}

// serve returns the answer of a handler.
func serve(h http.Handler, r *http.Request) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// A logBook is what was logged.
type logBook struct{ logbook.Book }

func (b *logBook) logger() *slog.Logger {
	return slog.New(slog.NewJSONHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

var allProxies = []forwardauth.Proxy{forwardauth.Nginx, forwardauth.Traefik, forwardauth.Caddy, forwardauth.Envoy, forwardauth.HAProxy}

// prefixed gives Envoy its prefix.
func prefixed(proxy forwardauth.Proxy) func(*forwardauth.Config) {
	return func(c *forwardauth.Config) {
		if proxy == forwardauth.Envoy {
			c.Prefix = "/check"
		}
	}
}
