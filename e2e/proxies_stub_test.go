//go:build drill

package e2e

import (
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"github.com/rolegate/rolegate/forwardauth"
)

// Traefik and Envoy are not in Debian. Stubs of them read the files that
// docs/proxies.md shows, and do with each key what the documentation of the program
// says, and nothing that no key says. A key that a stub does not know is a mistake.
// What the programs themselves make of a strange request is not tested by these.

// A stub asks the gate, and says what the app gets of a request that may pass.
type stub interface {
	// ask asks about a request of a client's, in which it may change what the
	// program changes before.
	ask(r *http.Request, auth string) (*http.Response, error)

	// refusal is the status of a refusal, 0 if the answer lets pass. Without an
	// answer it is that of an error.
	refusal(answer *http.Response) int

	// copies reports whether a header of the answer takes the place of a client's.
	copies(name string) bool

	// after changes what goes to the app.
	after(h http.Header)
}

// stubs has what makes each stub of its files, the configuration first.
var stubs = map[forwardauth.Proxy]struct {
	files []string
	read  func(t *testing.T, files []string) stub
}{
	forwardauth.Traefik: {[]string{"traefik.yaml", "traefik-dynamic.yaml"}, readTraefik},
	forwardauth.Envoy:   {[]string{"envoy.yaml"}, readEnvoy},
}

// startStub returns a proxy that asks as this one does.
func startStub(t *testing.T, kind forwardauth.Proxy, app, auth string) *httptest.Server {
	t.Helper()
	s := stubs[kind].read(t, stubs[kind].files)
	to := &url.URL{Scheme: "http", Host: app}
	pass := &httputil.ReverseProxy{FlushInterval: -1, Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(to)
		r.Out.Host = r.In.Host
		r.Out.URL.RawQuery = r.In.URL.RawQuery // also what Go does not parse
		r.Out.Header["X-Forwarded-For"] = r.In.Header["X-Forwarded-For"]
		r.SetXForwarded()
		// These ReverseProxy would remove.
		if values, there := r.In.Header["Forwarded"]; there {
			r.Out.Header["Forwarded"] = values
		}
		if kind == forwardauth.Envoy {
			r.Out.Header["X-Forwarded-Host"] = r.In.Header["X-Forwarded-Host"]
		}
	}}
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, err := s.ask(r, auth)
		if err != nil {
			w.WriteHeader(s.refusal(nil))
			return
		}
		defer answer.Body.Close()
		if status := s.refusal(answer); status != 0 {
			maps.Copy(w.Header(), answer.Header)
			w.WriteHeader(status)
			_, _ = io.Copy(w, answer.Body)
			return
		}
		for _, name := range rolegateHeaders {
			if s.copies(name) {
				r.Header.Del(name)
				if values, ok := answer.Header[name]; ok {
					r.Header[name] = values
				}
			}
		}
		s.after(r.Header)
		pass.ServeHTTP(w, r)
	}))
}

var rolegateHeaders = []string{
	forwardauth.UserHeader, forwardauth.AccountHeader, forwardauth.OrgHeader, forwardauth.RolesHeader, forwardauth.DecisionHeader,
}

// readYAML reads a file of docs/proxies.
func readYAML(t *testing.T, name string, into any) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "docs", "proxies", name))
	require.NoError(t, err)
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	require.NoError(t, d.Decode(into), name)
}

// dropUnderscores removes the headers that CGI and WSGI cannot tell from others.
func dropUnderscores(h http.Header) {
	maps.DeleteFunc(h, func(name string, _ []string) bool { return strings.Contains(name, "_") })
}
