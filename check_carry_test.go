package rolegate_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"reflect"
	"slices"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// TestRequestAfterTheHandler compares the request that a middleware outside sees
// after the handler with what it sees without the gate, for all that a handler
// can do to it.
func TestRequestAfterTheHandler(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")))})
	type change struct {
		field string
		do    func(r *http.Request)
	}
	changes := []change{
		{"", func(*http.Request) {}},
		{"Method", func(r *http.Request) { r.Method = "PUT" }},
		{"URL", func(r *http.Request) { r.URL = &url.URL{Path: "/elsewhere"} }},
		{"Proto", func(r *http.Request) { r.Proto = "HTTP/9" }},
		{"ProtoMajor", func(r *http.Request) { r.ProtoMajor = 9 }},
		{"ProtoMinor", func(r *http.Request) { r.ProtoMinor = 9 }},
		{"Header", func(r *http.Request) { r.Header = http.Header{"X-New": {"1"}} }},
		{"Body", func(r *http.Request) { r.Body = io.NopCloser(http.NoBody) }},
		{"ContentLength", func(r *http.Request) { r.ContentLength = 9 }},
		{"TransferEncoding", func(r *http.Request) { r.TransferEncoding = []string{"chunked"} }},
		{"Close", func(r *http.Request) { r.Close = true }},
		{"Host", func(r *http.Request) { r.Host = "elsewhere.example" }},
		{"Form", func(r *http.Request) { r.Form = url.Values{"a": {"1"}} }},
		{"PostForm", func(r *http.Request) { r.PostForm = url.Values{"a": {"1"}} }},
		{"MultipartForm", func(r *http.Request) { r.MultipartForm = &multipart.Form{} }},
		{"Trailer", func(r *http.Request) { r.Trailer = http.Header{"X-New": {"1"}} }},
		{"RemoteAddr", func(r *http.Request) { r.RemoteAddr = "192.0.2.9:9" }},
		{"RequestURI", func(r *http.Request) { r.RequestURI = "/elsewhere" }},
		{"TLS", func(r *http.Request) { r.TLS = &tls.ConnectionState{} }},
		{"Pattern", func(r *http.Request) { r.Pattern = "GET /elsewhere" }},
		{"", func(r *http.Request) { r.SetPathValue("tenant", "7") }},
		{"", func(r *http.Request) {
			r.Pattern = "GET /{a}/{b...}"
			r.SetPathValue("a", "1")
			r.SetPathValue("b", "")
		}},
	}
	clients := []string{"GetBody", "Cancel", "Response"} // no server has them
	seen := map[string]bool{}
	for _, c := range changes {
		seen[c.field] = true
		handler := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { c.do(r) })
		after := func(h http.Handler) *http.Request {
			r := httptest.NewRequest("GET", "/?a=1", nil)
			r.Header.Set("X-User-Id", "1")
			before := r.Context()
			h.ServeHTTP(httptest.NewRecorder(), r)
			assert.Equal(t, before, r.Context(), c.field)
			return r
		}
		panics := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			handler(w, r)
			panic("the app's")
		})
		recovers := func(h http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				defer func() { assert.NotNil(t, recover()) }()
				h.ServeHTTP(w, r)
			})
		}
		bare := after(handler)
		assert.Equal(t, bare, after(recovers(gate.Admit(panics))), "%s, in front of a panic", c.field)
		assert.Equal(t, bare, after(gate.Admit(handler)), c.field)
		assert.Equal(t, bare, after(gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(handler))), c.field)
	}
	for i, request := 0, reflect.TypeFor[http.Request](); i < request.NumField(); i++ {
		if field := request.Field(i); field.IsExported() && !slices.Contains(clients, field.Name) {
			assert.True(t, seen[field.Name], "no change of %s is tried", field.Name)
		}
	}
}

// TestPatternOutside has a router inside the gate, and what is outside sees
// which route it was.
func TestPatternOutside(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	mux := http.NewServeMux()
	mux.Handle("GET /orgs/{orgID}/files/{path...}", ok(gate))
	router := chi.NewRouter()
	router.Get("/orgs/{orgID:[0-9]+}/files/*", ok(gate).ServeHTTP)
	for name, h := range map[string]http.Handler{"ServeMux": mux, "chi, which works on a copy of its own": router} {
		after := func(h http.Handler) (pattern string, values [3]string) {
			r := httptest.NewRequest("GET", "/orgs/7/files/a/b", nil)
			r.Header.Set("X-User-Id", "1")
			h.ServeHTTP(httptest.NewRecorder(), r)
			return r.Pattern, [3]string{r.PathValue("orgID"), r.PathValue("path"), r.PathValue("*")}
		}
		pattern, values := after(h)
		guardedPattern, guardedValues := after(gate.Admit(h))
		assert.Equal(t, pattern, guardedPattern, name)
		assert.Equal(t, values, guardedValues, name)
	}
}

// TestPathValuesOutside has routers inside the gate and one around it, and what is
// outside finds the same path values as without the gate.
func TestPathValuesOutside(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	for name, c := range map[string]struct {
		path  string
		build func(guard func(http.Handler) http.Handler) http.Handler
	}{
		"a wildcard that is empty": {"/files/", func(guard func(http.Handler) http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("GET /files/{rest...}", ok(gate))
			return guard(mux)
		}},
		"a router in a router": {"/orgs/7/files/a", func(guard func(http.Handler) http.Handler) http.Handler {
			inner := http.NewServeMux()
			inner.Handle("GET /orgs/{id}/files/{rest...}", ok(gate))
			outer := http.NewServeMux()
			outer.Handle("/orgs/{org}/", guard(inner))
			return outer
		}},
		"set by the handler": {"/", func(guard func(http.Handler) http.Handler) http.Handler {
			return guard(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { r.SetPathValue("rest", "set") }))
		}},
	} {
		after := func(h http.Handler) (values []string) {
			r := httptest.NewRequest("GET", c.path, nil)
			r.Header.Set("X-User-Id", "1")
			r.SetPathValue("rest", "old")
			h.ServeHTTP(httptest.NewRecorder(), r)
			for _, name := range []string{"org", "id", "rest"} {
				values = append(values, r.PathValue(name))
			}
			return append(values, r.Pattern)
		}
		assert.Equal(t, after(c.build(func(h http.Handler) http.Handler { return h })), after(c.build(gate.Admit)), name)
	}
}

// TestUploadLeavesNoFiles sends files above the memory limit through a guard of
// a real server, which removes the temporary files that the handler made.
func TestUploadLeavesNoFiles(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	during := 0
	server := httptest.NewServer(gate.Admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		assert.NoError(t, r.ParseMultipartForm(1))
		during = len(files(t, dir))
	})))
	var body bytes.Buffer
	form := multipart.NewWriter(&body)
	part, err := form.CreateFormFile("report", "report.pdf")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 11<<20)) // net/http keeps 10 MB above the limit in memory
	require.NoError(t, err)
	require.NoError(t, form.Close())
	r, err := http.NewRequest("POST", server.URL, &body)
	require.NoError(t, err)
	r.Header.Set("Content-Type", form.FormDataContentType())
	r.Header.Set("X-User-Id", "1")
	answer, err := server.Client().Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	server.Close() // waits for the request to be over
	assert.Equal(t, 200, answer.StatusCode)
	assert.Equal(t, 1, during)
	assert.Empty(t, files(t, dir))
}

func files(t *testing.T, dir string) []string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "multipart-*"))
	assert.NoError(t, err)
	return found
}
