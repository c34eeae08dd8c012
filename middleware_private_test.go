package rolegate_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"
	"testing/fstest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What a guarded handler answers is private, unless it says something itself.
func TestKeepPrivate(t *testing.T) {
	t.Parallel()
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "no-store") }))
	t.Cleanup(backend.Close)
	to, err := url.Parse(backend.URL)
	require.NoError(t, err)
	says := func(f func(http.Header)) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { f(w.Header()) })
	}
	files := http.FileServerFS(fstest.MapFS{"report.pdf": {Data: []byte("x"), ModTime: time.Unix(1, 0)}})
	for _, c := range []struct {
		name    string
		handler http.Handler
		outside string // what a middleware in front has set
		allow   bool
		want    []string
	}{
		{"says nothing", says(func(http.Header) {}), "", false, []string{"private"}},
		{"a file", files, "", false, []string{"private"}},
		{"says something", says(func(h http.Header) { h.Set("Cache-Control", "public, max-age=60") }), "", false, []string{"public, max-age=60"}},
		{"takes it away", says(func(h http.Header) { h.Del("Cache-Control") }), "", false, nil},
		{"a middleware outside says something", says(func(http.Header) {}), "no-cache", false, []string{"no-cache"}},
		{"a proxy adds what its backend says", httputil.NewSingleHostReverseProxy(to), "", false, []string{"private", "no-store"}},
		{"switched off", says(func(http.Header) {}), "", true, nil},
		{"switched off, a file", files, "", true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), AllowSharedCaches: c.allow})
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if c.outside != "" {
					w.Header().Set("Cache-Control", c.outside)
				}
				gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(c.handler)).ServeHTTP(w, r)
			}))
			defer server.Close()
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, server.URL+"/report.pdf", nil)
			require.NoError(t, err)
			r.Header.Set("X-User-Id", "1")
			resp, err := server.Client().Do(r)
			require.NoError(t, err)
			defer resp.Body.Close()
			_, err = io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, resp.StatusCode)
			assert.Equal(t, c.want, resp.Header["Cache-Control"])
		})
	}
}

// A handler that writes into the values writes into nobody else's, and the header
// costs no allocation of the guard's.
func TestKeepPrivateIsEachRequestsOwn(t *testing.T) {
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	h := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		values := w.Header()["Cache-Control"]
		assert.Equal(t, []string{"private"}, values)
		values[0] = "public"
		w.Header().Add("Cache-Control", "max-age=60")
	}))
	for range 2 {
		assert.Equal(t, []string{"public", "max-age=60"}, ask(h, "GET", "/", 1).Header()["Cache-Control"])
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-User-Id", "1")
	header := http.Header{}
	bare := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {})
	guarded := gate.Admit(bare)
	allocations := testing.AllocsPerRun(100, func() {
		delete(header, "Cache-Control")
		guarded.ServeHTTP(discard{header}, r)
	}) - testing.AllocsPerRun(100, func() { bare.ServeHTTP(discard{header}, r) })
	assert.LessOrEqual(t, allocations, 2.0)
	new(rolegate.Admission).KeepPrivate(header)
}
