package main

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/alexedwards/scs/v2"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

// scs.New starts a goroutine that StopCleanup ends, but not without a race with its start.
func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/alexedwards/scs/v2/memstore.(*MemStore).startCleanup"))
}

func TestSessions(t *testing.T) {
	const big = 1542135022016057346
	sessions := scs.New()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: big, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
			rolegate.Record{UserID: 2},
		),
		Identify: bySession(sessions), Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	defer gate.Close()
	app := routes(gate, sessions, func(w http.ResponseWriter, r *http.Request) {
		id, _ := strconv.ParseInt(r.URL.Query().Get("id"), 10, 64) // a password is checked elsewhere
		assert.NoError(t, logIn(r.Context(), sessions, id))
	})
	rolegatetest.RequireGuarded(t, chiroutes.Must(chiroutes.Routes(app.(chi.Routes))), "POST /login")

	ask := func(method, path string, cookie *http.Cookie) *httptest.ResponseRecorder {
		r := httptest.NewRequest(method, path, nil)
		if cookie != nil {
			r.AddCookie(cookie)
		}
		w := httptest.NewRecorder()
		app.ServeHTTP(w, r)
		return w
	}
	logged := func(id string) *http.Cookie {
		cookies := ask("POST", "/login?id="+id, nil).Result().Cookies()
		require.Len(t, cookies, 1)
		return cookies[0]
	}
	assert.Equal(t, 401, ask("GET", "/grades", nil).Code)
	assert.Equal(t, 401, ask("GET", "/grades", &http.Cookie{Name: "session", Value: "guessed"}).Code)
	assert.Equal(t, 401, ask("GET", "/grades", logged("0")).Code, "a session without a user")
	assert.Equal(t, 403, ask("GET", "/grades", logged("2")).Code)
	assert.Equal(t, 403, ask("GET", "/grades", logged("99")).Code)
	teacher := logged(strconv.Itoa(big))
	w := ask("GET", "/grades", teacher)
	assert.Equal(t, 200, w.Code)
	assert.Equal(t, "grades for 1542135022016057346\n", w.Body.String())

	// A login changes the token: the old one is nobody's.
	again := ask("POST", "/login?id=2", teacher).Result().Cookies()
	require.Len(t, again, 1)
	assert.NotEqual(t, teacher.Value, again[0].Value)
	assert.Equal(t, 401, ask("GET", "/grades", teacher).Code)
}
