package faults_test

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A keepFault is a fault of a whole web server, and what comes of it.
type keepFault struct {
	name  string
	fault rolegatetest.Fault
	want  rolegate.Failure
	want2 rolegate.Failure // over HTTP/2, if it is another one
	says  string
}

// keepServers requires of each fault that the list stays, with a net/http server
// over HTTP/1.1 and over HTTP/2.
func keepServers(t *testing.T, faults []keepFault, edit ...func(*marketplace.Config)) {
	t.Helper()
	if !overSockets {
		return
	}
	for protocol, start := range map[string]func(*testing.T, ...func(*marketplace.Config)) *keepWorld{
		"HTTP1": keepHTTP1, "HTTP2": keepHTTP2,
	} {
		t.Run("on a server of "+protocol, func(t *testing.T) {
			t.Parallel()
			w := start(t, edit...)
			for _, f := range faults {
				want := f.want
				if protocol == "HTTP2" && f.want2 != "" {
					want = f.want2
				}
				failed := w.Failed()
				w.keeps(want, func() { w.m.Fail(f.fault) }, w.m.Recover, f.says)
				if !failed && w.Failed() {
					t.Logf("that was %q", f.name)
				}
			}
		})
	}
}

// keepHTTP1 opens a gate on a server of HTTP/1.1, with the client's own transport.
func keepHTTP1(t *testing.T, edit ...func(*marketplace.Config)) *keepWorld {
	t.Helper()
	m := keepMarketplace(rolegatetest.MarketplaceConfig{})
	source := marketplace.Config{BaseURL: m.Start(t)}
	for _, f := range edit {
		f(&source)
	}
	return openKeepWorld(t, m, source)
}

// keepHTTP2 opens a gate on a server of HTTP/2 over TLS.
func keepHTTP2(t *testing.T, edit ...func(*marketplace.Config)) *keepWorld {
	t.Helper()
	m := keepMarketplace(rolegatetest.MarketplaceConfig{})
	var others atomic.Int64 // requests of another protocol
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.ProtoMajor != 2 {
			others.Add(1)
		}
		m.ServeHTTP(w, r)
	}))
	server.EnableHTTP2 = true
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.StartTLS()
	t.Cleanup(server.Close)
	source := marketplace.Config{BaseURL: server.URL, Transport: server.Client().Transport}
	for _, f := range edit {
		f(&source)
	}
	w := openKeepWorld(t, m, source)
	t.Cleanup(func() { assert.Zero(t, others.Load(), "all of it is HTTP/2") })
	return w
}
