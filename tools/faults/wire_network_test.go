package faults_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

var errKeepNobody = errors.New("nobody listens at that name")

// A keepDialer connects to where it was told last, whatever the URL says: a
// network that goes wrong on the way.
type keepDialer struct {
	dial atomic.Pointer[func(ctx context.Context, network, addr string) (net.Conn, error)]
}

// to connects to addr, or by f if that is not nil.
func (d *keepDialer) to(addr string, f func(ctx context.Context, network, addr string) (net.Conn, error)) {
	if f == nil {
		f = func(ctx context.Context, network, _ string) (net.Conn, error) {
			var plain net.Dialer
			return plain.DialContext(ctx, network, addr)
		}
	}
	d.dial.Store(&f)
}

func (d *keepDialer) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	dial := d.dial.Load()
	if dial == nil {
		return nil, errKeepNobody
	}
	return (*dial)(ctx, network, addr)
}

// keepDialled opens a gate whose client connects through a dialer, to a raw server
// at scheme://market.test. certificates, if there are any, are what the server
// shows, and roots those that the client trusts.
func keepDialled(t *testing.T, scheme string, certificate *atomic.Pointer[tls.Certificate], roots *x509.CertPool) (*keepWorld, *rawServer, *keepDialer) {
	t.Helper()
	m := keepMarketplace(rolegatetest.MarketplaceConfig{})
	listener := rawListen(t)
	addr := listener.Addr().String()
	if certificate != nil {
		listener = tls.NewListener(listener, &tls.Config{
			GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return certificate.Load(), nil },
			NextProtos:     []string{"http/1.1"},
		})
	}
	server := startRaw(t, m, listener)
	dialer := new(keepDialer)
	dialer.to(addr, nil)
	transport := &http.Transport{DialContext: dialer.DialContext, TLSClientConfig: &tls.Config{RootCAs: roots}}
	t.Cleanup(transport.CloseIdleConnections)
	w := openKeepWorld(t, m, marketplace.Config{BaseURL: scheme + "://market.test", Transport: transport})
	return w, server, dialer
}

// A keepCA makes certificates.
type keepCA struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newKeepCA(t *testing.T) *keepCA {
	t.Helper()
	ca := &keepCA{t: t}
	var err error
	ca.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	ca.cert, err = x509.ParseCertificate(ca.make(&x509.Certificate{IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, ca.key))
	require.NoError(t, err)
	return ca
}

func (ca *keepCA) make(c *x509.Certificate, key *ecdsa.PrivateKey) []byte {
	ca.t.Helper()
	c.SerialNumber = big.NewInt(1)
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	c.NotBefore = c.NotAfter.Add(-48 * time.Hour)
	parent := ca.cert
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, ca.key)
	require.NoError(ca.t, err)
	return der
}

// leaf returns a certificate for a server.
func (ca *keepCA) leaf(host string, until time.Time) *tls.Certificate {
	ca.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(ca.t, err)
	der := ca.make(&x509.Certificate{DNSNames: []string{host}, NotAfter: until, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, key)
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

// A connection that cannot be had, or that breaks, fails the refresh, and its error
// names host and path, but never the query. So does a reply that a cache gave.
func TestFault14NoConnectionOrACache(t *testing.T) {
	t.Parallel()
	const head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	network, cached := marketplace.FailureNetwork, marketplace.FailureCachedReply
	page := `{"code":200,"data":[` + keepNewUser + `]}`
	aged := func(age string) rawAnswer {
		return rawBytes(head + "Age: " + age + "\r\nConnection: close\r\n\r\n" + page)
	}
	rawKeeps(t, []rawFault{
		{"Age: 30", aged("30"), cached, "has an Age"},
		{"Age: 1", aged("1"), cached, "has an Age"},
		{"an Age that is no number", aged("old"), cached, "has an Age"},
		{"a negative Age", aged("-1"), cached, "has an Age"},
		{"two Ages", aged("0\r\nAge: 30"), cached, "has an Age"},
		{"an Age on an error", rawBytes("HTTP/1.1 503 Service Unavailable\r\nAge: 30\r\nContent-Length: 0\r\n\r\n"), cached, "has an Age"},
		{"an Age on a refusal", rawBytes("HTTP/1.1 401 Unauthorized\r\nAge: 30\r\nContent-Length: 0\r\n\r\n"), cached, "has an Age"},
		{"closed at once", rawBytes(""), network, ""},
		{"closed in the headers", rawBytes(head + "X-Request: keepsBody"), network, ""},
		{"no HTTP", rawBytes("SSH-2.0-OpenSSH_9.6\r\n\r\n"), network, ""},
		{"headers without an end", rawBytes(head + "X-Pad: " + string(bytes.Repeat([]byte("x"), 1<<20)) + "\r\n\r\n"), network, ""},
	})
	keepServers(t, []keepFault{
		{name: "Age: 30", fault: rolegatetest.CachedReply(30 * time.Second), want: cached, says: "has an Age"},
		{name: "reset at once", fault: rolegatetest.Reset(), want: network},
	})
	t.Run("a cache that repeats a page", keepRepeats)
	t.Run("Age: 0 is no cache", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t)
		server.fail(rawBytes(head + "Age: 0\r\nConnection: close\r\n\r\n" + `{"code":200,"data":[]}`))
		require.NoError(t, w.gate.Refresh(w.Context()))
	})
	t.Run("reset", func(t *testing.T) {
		if !overSockets {
			return
		}
		t.Parallel()
		w, server := rawSockets(t)
		for where, answer := range map[string]rawAnswer{
			"at once": rawReset(""), "in the headers": rawReset(head), "in the body": rawReset(head + "Content-Length: 4096\r\n\r\n" + page),
		} {
			failed := w.Failed()
			w.keeps(network, func() { server.fail(answer) }, server.fix, "")
			if !failed && w.Failed() {
				t.Logf("that was %q", where)
			}
		}
	})
	t.Run("connection refused", func(t *testing.T) {
		t.Parallel()
		w, server, dialer := keepDialled(t, "http", nil, nil)
		w.keeps(network, func() { dialer.to("127.0.0.1:1", nil) }, func() { dialer.to(server.listener.Addr().String(), nil) }, "refused")
	})
	t.Run("connection refused from the start, with the client's own transport", func(t *testing.T) {
		t.Parallel()
		w, _ := rawSockets(t)
		w.source.BaseURL = "http://127.0.0.1:1"
		w.startsWithout(network)
		w.tellsNothing(nil)
	})
	t.Run("the loop goes on by itself after a refused connection", func(t *testing.T) {
		t.Parallel()
		w, server, dialer := keepDialled(t, "http", nil, nil)
		dialer.to("127.0.0.1:1", nil)
		require.Error(t, w.gate.Refresh(w.Context()))
		w.m.Grant(900, 7, "teacher")
		dialer.to(server.listener.Addr().String(), nil)
		require.Eventually(t, func() bool {
			return w.gate.Decide(t.Context(), rolegate.UserID(900)).Allowed()
		}, time.Minute, 20*time.Millisecond)
	})
	t.Run("a name that does not resolve", func(t *testing.T) {
		t.Parallel()
		w, server, dialer := keepDialled(t, "http", nil, nil)
		resolver := &net.Resolver{PreferGo: true, Dial: keepNoSuchName(t)}
		w.keeps(network, func() { dialer.to("", (&net.Dialer{Resolver: resolver}).DialContext) },
			func() { dialer.to(server.listener.Addr().String(), nil) }, "no such host")
	})
	t.Run("a name server that does not answer", func(t *testing.T) {
		t.Parallel()
		w, server, dialer := keepDialled(t, "http", nil, nil)
		resolver := &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) { return nil, errKeepNobody }}
		w.keeps(network, func() { dialer.to("", (&net.Dialer{Resolver: resolver}).DialContext) },
			func() { dialer.to(server.listener.Addr().String(), nil) }, "lookup market.test")
	})
	t.Run("TLS", func(t *testing.T) {
		t.Parallel()
		ca := newKeepCA(t)
		roots := x509.NewCertPool()
		roots.AddCert(ca.cert)
		var shown atomic.Pointer[tls.Certificate]
		good := ca.leaf("market.test", time.Time{})
		shown.Store(good)
		w, server, dialer := keepDialled(t, "https", &shown, roots)
		for says, bad := range map[string]*tls.Certificate{
			"unknown authority":                newKeepCA(t).leaf("market.test", time.Time{}),
			"expired":                          ca.leaf("market.test", time.Now().Add(-time.Hour)),
			"is valid for market.example, not": ca.leaf("market.example", time.Time{}),
		} {
			w.keeps(network, func() { shown.Store(bad) }, func() { shown.Store(good) }, says)
		}
		plain := startRaw(t, w.m, rawListen(t))
		fix := func() { dialer.to(server.listener.Addr().String(), nil) }
		w.keeps(network, func() { dialer.to(plain.listener.Addr().String(), nil) }, fix, "")
		w.keeps(network, func() {
			dialer.to("", func(context.Context, string, string) (net.Conn, error) {
				client, server := net.Pipe()
				return client, server.Close()
			})
		}, fix, "")
		assert.Zero(t, plain.requests.Load(), "nothing is sent without TLS")

		// The client's own transport trusts what the machine does: not this one.
		w.source.BaseURL, w.source.Transport = "https://"+server.listener.Addr().String(), nil
		shown.Store(ca.leaf("127.0.0.1", time.Time{}))
		server.requests.Store(0)
		w.startsWithout(network)
		assert.Zero(t, server.requests.Load())
	})
}

// keepNoSuchName dials a name server that knows no name.
func keepNoSuchName(t *testing.T) func(context.Context, string, string) (net.Conn, error) {
	t.Helper()
	server, err := net.ListenPacket("udp", "127.0.0.1:0")
	require.NoError(t, err)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for query := make([]byte, 4096); ; {
			n, from, err := server.ReadFrom(query)
			if err != nil {
				return
			}
			if n > 3 {
				query[2] |= 0x80                // an answer
				query[3] = query[3]&0xf0 | 0x83 // NXDOMAIN
				_, _ = server.WriteTo(query[:n], from)
			}
		}
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
	})
	return func(ctx context.Context, _, _ string) (net.Conn, error) {
		var d net.Dialer
		return d.DialContext(ctx, "udp", server.LocalAddr().String())
	}
}

// A keepCache is a cache on the way: it answers a request that it has seen with
// what it has stored, Date included, and says nothing of it.
type keepCache struct {
	next   http.RoundTripper
	mu     sync.Mutex
	off    bool
	stored map[string]keepCached
	old    int // how many answers were older than a second
}

type keepCached struct {
	header http.Header
	body   []byte
	at     time.Time
}

func (c *keepCache) RoundTrip(r *http.Request) (*http.Response, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	page, hit := c.stored[r.URL.String()]
	if c.off || !hit {
		response, err := c.next.RoundTrip(r)
		if err != nil {
			return nil, err
		}
		body, err := io.ReadAll(response.Body)
		if err != nil {
			return nil, err
		}
		page = keepCached{response.Header, body, time.Now()}
		c.stored[r.URL.String()] = page
	} else if time.Since(page.at) > time.Second {
		c.old++ // a full refresh asks twice at once, to see users who share a sequence
	}
	return &http.Response{StatusCode: http.StatusOK, Header: page.header.Clone(), Body: io.NopCloser(bytes.NewReader(page.body))}, nil
}

func (c *keepCache) turn(off bool) func() {
	return func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.off = off
	}
}

// keepRepeats requires that a cache between that repeats an old page, and sends no
// Age, is known by the Date that does not move, or not asked the same twice.
func keepRepeats(t *testing.T) {
	t.Parallel()
	behind := func(t *testing.T, edit func(*marketplace.Config), test func(*keepWorld, *keepCache)) {
		t.Helper()
		synctest.Test(t, func(t *testing.T) {
			m := keepMarketplace(rolegatetest.MarketplaceConfig{})
			cache := &keepCache{next: m.Transport(), stored: map[string]keepCached{}}
			source := marketplace.Config{BaseURL: rawBaseURL, Transport: cache}
			edit(&source)
			w := openKeepWorld(t, m, source)
			w.bubble = true
			test(w, cache)
		})
	}
	t.Run("the same request", func(t *testing.T) {
		t.Parallel()
		behind(t, func(c *marketplace.Config) { c.PageSize = 1000 }, func(w *keepWorld, cache *keepCache) {
			require.NoError(w, w.gate.Refresh(w.Context()), "the cache stores the first page of an increment too")
			<-time.After(10 * time.Second)
			w.onlyLater = true // it has seen no Date yet
			w.keeps(marketplace.FailureCachedReply, func() {}, cache.turn(true), "the Date of an earlier one")
			assert.Positive(w, cache.old)
		})
	})
	for name, edit := range map[string]func(*marketplace.Config){
		"no two requests are the same":    func(*marketplace.Config) {},
		"nor are they with a CacheBuster": func(c *marketplace.Config) { c.PageSize, c.CacheBuster = 1000, "_" },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			behind(t, edit, func(w *keepWorld, cache *keepCache) {
				for guest := int64(900); guest < 930; guest++ {
					w.m.Revoke(guest - 1)
					w.m.Grant(guest, 7, "teacher")
					<-time.After(90 * time.Second) // fewer between two full refreshes than the shrink guard holds
					assert.True(w, w.has(guest, "teacher"))
				}
				require.NoError(w, w.gate.RefreshAll(w.Context()))
				assert.Equal(w, 4, w.gate.Status().Users)
				assert.Zero(w, cache.old)
				assert.Empty(w, w.gate.Status().Failures)
			})
		})
	}
}
