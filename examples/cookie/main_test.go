package main

import (
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	teacher  = 1542135022016057346
	guest    = 2
	stranger = 99
)

// newApp is an app with two users on its list, and its sessions.
func newApp(t *testing.T) (http.Handler, *store) {
	sessions := new(store)
	cfg := config(sessions, rolegatetest.NewStatic(
		rolegate.Record{UserID: teacher, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
		rolegate.Record{UserID: guest},
	))
	cfg.Logger = slog.New(slog.DiscardHandler)
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { gate.Close() })
	app := routes(gate, func(http.ResponseWriter, *http.Request) {})
	rolegatetest.RequireGuarded(t, chiroutes.Must(chiroutes.Routes(app)), "GET /login", "POST /login")
	return app, sessions
}

func ask(app http.Handler, path string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest("GET", path, nil)
	r.Header = header
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

func cookie(value string) http.Header { return http.Header{"Cookie": {cookieName + "=" + value}} }

func TestCookie(t *testing.T) {
	app, sessions := newApp(t)
	begun := func(userID int64, lasts time.Duration) http.Header {
		return cookie(sessions.begin(userID, lasts).Value)
	}
	for _, c := range []struct {
		name   string
		header http.Header
		status int
	}{
		{"no cookie", http.Header{}, 401},
		{"another cookie", http.Header{"Cookie": {"theme=dark"}}, 401},
		{"an empty cookie", cookie(""), 401},
		{"an unknown session", cookie("GUESSEDGUESSEDGUESSEDGUESS"), 401},
		{"the number of a user", cookie("1542135022016057346"), 401},
		{"a cookie that cannot be read", cookie("\x01\\\""), 401},
		{"no cookie at all", http.Header{"Cookie": {";;=;\x00"}}, 401},
		{"an expired session", begun(teacher, -time.Second), 401},
		{"a teacher's session", begun(teacher, time.Hour), 200},
		{"a guest's session", begun(guest, time.Hour), 403},
		{"a stranger's session", begun(stranger, time.Hour), 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := ask(app, "/grades", c.header)
			assert.Equal(t, c.status, w.Code)
			switch c.status {
			case 200:
				assert.Equal(t, "grades for 1542135022016057346\n", w.Body.String())
			case 401:
				assert.Equal(t, `Cookie realm="school"`, w.Header().Get("WWW-Authenticate"))
			}
		})
	}
}

// A store that is away must not look like a logout.
func TestStoreDown(t *testing.T) {
	app, sessions := newApp(t)
	header := cookie(sessions.begin(teacher, time.Hour).Value)
	require.Equal(t, 200, ask(app, "/grades", header).Code)
	sessions.mu.Lock()
	sessions.err = errors.New("connection refused")
	sessions.mu.Unlock()
	assert.Equal(t, 500, ask(app, "/grades", header).Code)
	assert.Equal(t, 500, ask(app, "/grades", cookie("unknown")).Code)
	assert.Equal(t, 401, ask(app, "/grades", http.Header{}).Code, "who sends no cookie needs no store")
}

func TestLoginPage(t *testing.T) {
	app, _ := newApp(t)
	w := ask(app, "/grades", http.Header{"Accept": {"text/html"}})
	assert.Equal(t, 303, w.Code)
	assert.Equal(t, "/login", w.Header().Get("Location"))
	assert.Equal(t, 200, ask(app, "/login", http.Header{}).Code)
}

func TestSessionCookie(t *testing.T) {
	sessions := new(store)
	first, second := sessions.begin(teacher, time.Hour), sessions.begin(teacher, time.Hour)
	assert.NotEqual(t, first.Value, second.Value)
	assert.NoError(t, first.Valid())
	assert.True(t, first.HttpOnly && first.Secure)
}
