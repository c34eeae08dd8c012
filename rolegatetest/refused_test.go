package rolegatetest_test

import (
	"log/slog"
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestRequireRefused(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(),
		Identify: rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)),
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { gate.Close() })
	asked := map[string]int{}
	open := func(w http.ResponseWriter, r *http.Request) {
		asked[r.URL.Path]++
		w.(http.Flusher).Flush()
		_, _ = w.Write([]byte("open"))
	}
	guarded := func(http.ResponseWriter, *http.Request) { asked["guarded"]++ }
	r := chi.NewRouter()
	r.Get("/healthz", open)
	r.Get("/panics", func(http.ResponseWriter, *http.Request) { panic("no database") })
	r.Get("/own", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }) // not the gate's
	r.Get("/open/{a}/{b:[0-9]{1,3}}/c/*", open)
	r.With(gate.Admit).Get("/", guarded)
	r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))).Post("/orgs/{orgID}", guarded)

	for _, c := range []struct {
		name           string
		routes, public []string
		says           string
	}{
		{"all guarded", []string{"GET /", "POST /orgs/{orgID}"}, nil, ""},
		{"one is public", []string{"GET /", "GET /healthz"}, []string{"GET /healthz"}, ""},
		{"one is open", []string{"GET /", "GET /healthz"}, nil, "the gate refuses nobody at these routes:\n\tGET /healthz\n"},
		{"one panics", []string{"GET /panics"}, nil, "the gate refuses nobody at these routes:\n\tGET /panics\n"},
		{"refused by the app itself", []string{"GET /own"}, nil, "the gate refuses nobody at these routes:\n\tGET /own\n"},
		{"wildcards", []string{"GET /open/:a/:b/c/*rest", "GET /open/{a}/{b:[0-9]{1,3}}/c/{rest...}"}, nil, "the gate refuses nobody"},
		{"not there", []string{"GET /nowhere"}, nil, "the gate refuses nobody"},
		{"public and guarded", []string{"GET /"}, []string{"GET /"}, "the public route GET / is guarded: register it without a guard"},
		{"public and not listed", []string{"GET /"}, []string{"GET /healthz"}, "there is no route GET /healthz"},
		{"no routes", nil, nil, "there are no routes"},
		{"no method", []string{"/grades"}, nil, `"/grades" is no route: expected a method and a path`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var b saidTB
			rolegatetest.RequireRefused(&b, gate, r, c.routes, c.public...)
			if c.says == "" {
				assert.Empty(t, b.said)
				return
			}
			require.Len(t, b.said, 1)
			assert.Contains(t, b.said[0], c.says)
		})
	}
	assert.Zero(t, asked["guarded"])
	assert.Equal(t, 2, asked["/open/1/1/c/1"])
}
