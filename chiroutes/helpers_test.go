package chiroutes_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

func newGate(t *testing.T) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}),
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
			return strconv.ParseInt(r.Header.Get("X-User"), 10, 64)
		}),
		Logger: slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate
}

// never is a handler that must not run.
func never(t *testing.T) http.HandlerFunc {
	return func(http.ResponseWriter, *http.Request) { t.Error("a handler was called") }
}

func says(text string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(text)) }
}

// get asks without an identity: what is served then is open.
func get(h http.Handler, method, path string) (status int, body string) {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w.Code, w.Body.String()
}

// list lists routes as "GET /path: outer, inner", sorted.
func list(t *testing.T, router chi.Routes) []string {
	t.Helper()
	routes, err := chiroutes.Routes(router)
	require.NoError(t, err)
	return texts(routes)
}

func texts(routes []chiroutes.Route) []string {
	list := make([]string, len(routes))
	for i, r := range routes {
		names := make([]string, len(r.Guards))
		for j, p := range r.Guards {
			names[j] = p.String()
			if p.IsShadow() {
				names[j] += " (shadow)"
			}
		}
		list[i] = strings.TrimSuffix(r.String()+": "+strings.Join(names, ", "), " ")
	}
	slices.Sort(list)
	return list
}
