package rolegatetest_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

// saidTB takes down what a test would fail with.
type saidTB struct{ said []string }

func (*saidTB) Helper()        {}
func (*saidTB) Cleanup(func()) {}
func (b *saidTB) Errorf(format string, args ...any) {
	b.said = append(b.said, fmt.Sprintf(format, args...))
}
func (b *saidTB) Fatalf(format string, args ...any) { b.Errorf(format, args...) }

// What RequireGuarded says of a route that is named as public and is none.
func TestRequireGuardedNotPublic(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { gate.Close() })
	h := func(http.ResponseWriter, *http.Request) {}
	r := chi.NewRouter()
	r.Get("/open", h)
	r.Group(func(r chi.Router) {
		r.Use(gate.Admit)
		r.Get("/", h)
		r.Get("/healthz", h)
		r.Get("/login/{id}/again", h)
		r.Get("/login/{id}", h)
		r.Post("/login", h)
		r.Post("/report", h)
		r.With(gate.Require(rolegate.AnyRole("teacher"))).Get("/grades", h)
	})
	r.With(gate.Require(rolegate.AnyRole("admin"))).Get("/console", h)
	for _, c := range []struct{ name, public, says string }{
		{"guarded by Admit", "GET /healthz", "the public route GET /healthz is guarded by Admit: " +
			"register it outside of r.Use(gate.Admit), beside an r.Group, or do not name it as public"},
		{"guarded by Require", "GET /console", "the public route GET /console is guarded by AnyRole(admin): " +
			"register it without that guard, or do not name it as public"},
		{"guarded by both", "GET /grades", "the public route GET /grades is guarded by Admit and AnyRole(teacher): " +
			"register it without them, or do not name it as public"},
		{"nothing near", "GET /gone", "there is no route GET /gone"},
		{"nothing goes on from the root", "PUT /gone", "there is no route PUT /gone"},
		{"the path goes on", "GET /login", "there is no route GET /login: is GET /login/{id} meant?"},
		{"the path goes on in the same word", "GET /log", "there is no route GET /log"},
		{"the path ends sooner", "GET /healthz/live", "there is no route GET /healthz/live: is GET /healthz meant?"},
		{"a slash at the end", "GET /healthz/", "there is no route GET /healthz/: is GET /healthz meant?"},
		{"another method", "GET /report", "there is no route GET /report: is POST /report meant?"},
		{"a method in lower case", "get /healthz", "there is no route get /healthz: is GET /healthz meant?"},
		{"no method", "/healthz", "there is no route /healthz: is GET /healthz meant?"},
		{"another method of the root", "POST /", "there is no route POST /: is GET / meant?"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tb := new(saidTB)
			rolegatetest.RequireGuarded(tb, chiroutes.Must(chiroutes.Routes(r)), "GET /open", c.public)
			assert.Equal(t, []string{"rolegatetest: " + c.says}, tb.said)
		})
	}
	tb := new(saidTB)
	rolegatetest.RequireGuarded(tb, chiroutes.Must(chiroutes.Routes(r)), "GET /open", "GET /healthz", "GET /gone")
	require.Len(t, tb.said, 1, "everything at once")
	assert.Len(t, strings.Split(tb.said[0], "\n"), 2)
}
