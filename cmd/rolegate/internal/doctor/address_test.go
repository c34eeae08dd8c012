package doctor_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/rolegatetest"
)

// certified serves a marketplace over TLS with a certificate of that name,
// which ends then, and returns who has signed it.
func certified(t *testing.T, m http.Handler, name string, until time.Time) (base string, roots *x509.CertPool) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, DNSNames: []string{name},
		NotBefore: until.AddDate(-1, 0, 0), NotAfter: until, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature,
	}
	if ip := net.ParseIP(name); ip != nil {
		template.IPAddresses = []net.IP{ip}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	require.NoError(t, err)
	certificate, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	roots = x509.NewCertPool()
	roots.AddCert(certificate)
	s := httptest.NewUnstartedServer(m)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	s.Config.ErrorLog = quiet
	s.StartTLS()
	t.Cleanup(s.Close)
	return s.URL, roots
}

var quiet = log.New(io.Discard, "", 0)

func TestTLS(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name      string
		host      string
		until     time.Duration
		untrusted bool
		want      []string
		says      string
	}{
		{name: "good", host: "127.0.0.1", until: 100 * 24 * time.Hour, says: "TLS 1.3; the certificate is for 127.0.0.1 and holds until "},
		{name: "ends soon", host: "127.0.0.1", until: 3 * 24 * time.Hour, want: []string{"warning address.tls_ends_soon"}, says: "Tell the marketplace's operator"},
		{name: "has ended", host: "127.0.0.1", until: -time.Hour, want: []string{"wrong address.tls_expired", "note token.untried"}, says: "must renew it"},
		{name: "of another name", host: "market.example.com", until: 100 * 24 * time.Hour, want: []string{"wrong address.tls_name", "note token.untried"}, says: "not for the name 127.0.0.1"},
		{name: "of nobody known", host: "127.0.0.1", until: 100 * 24 * time.Hour, untrusted: true, want: []string{"wrong address.tls_authority", "note token.untried"}, says: "SSL_CERT_FILE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Grant(1, 7, "teacher")
			base, roots := certified(t, m, tt.host, time.Now().Add(tt.until))
			if tt.untrusted {
				roots = x509.NewCertPool()
			}
			findings := examine(t, doctor.Options{File: fileFor(t, base, m.AppID(), m.Token()), TLS: &tls.Config{RootCAs: roots}})
			require.Equal(t, tt.want, notFine(findings))
			requireSays(t, findings, tt.says)
		})
	}
}

func TestAddress(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(1, 7, "teacher")
	base := m.Start(t)
	host, err := url.Parse(base)
	require.NoError(t, err)
	through := func(*http.Request) (*url.URL, error) {
		return &url.URL{Scheme: "http", Host: host.Host, User: url.UserPassword(redisUser, redisPassword)}, nil
	}
	free, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, free.Close())
	tests := []struct {
		name  string
		base  string
		proxy func(*http.Request) (*url.URL, error)
		dns   error
		want  []string
		says  string
	}{
		{name: "refused", base: "http://" + free.Addr().String(), want: []string{"wrong address.refused_here", "note token.untried"}, says: "In a container"},
		{name: "a name that is none", base: "http://market.example.com", dns: &net.DNSError{Err: "no such host", IsNotFound: true}, want: []string{"warning address.http", "wrong address.name_unknown", "note token.untried"}, says: "typo in the URL"},
		{name: "no DNS", base: "https://market.example.com", dns: &net.DNSError{Err: "i/o timeout", IsTimeout: true},
			want: []string{"wrong address.name_failed", "note token.untried"}, says: "getent hosts market.example.com"},
		{name: "localhost", base: "http://localhost:" + host.Port(), says: "localhost is "},
		{name: "no TLS", base: "https://" + host.Host, want: []string{"wrong address.no_tls", "note token.untried"}, says: "must begin with http://"},
		{name: "through a proxy, in the clear", base: "http://market.example.com", proxy: through,
			want: []string{"warning address.http", "note address.proxy"}, says: "go through the proxy"},
		{name: "a proxy that is none", base: "http://127.0.0.1", proxy: func(*http.Request) (*url.URL, error) { return nil, errors.New("user:" + redisPassword) },
			want: []string{"wrong address.proxy_wrong", "note token.untried"}, says: "http://proxy.example.com:3128"},
		{name: "no URL", base: "market.example.com", want: []string{"wrong settings.marketplace_wrong"}, says: "--url: its scheme is neither http nor https"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			findings := examine(t, doctor.Options{
				File: fileFor(t, tt.base, m.AppID(), m.Token()), Proxy: tt.proxy,
				Lookup: func(context.Context, string, string) ([]netip.Addr, error) {
					return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, tt.dns
				},
			})
			require.Equal(t, tt.want, notFine(findings))
			requireSays(t, findings, tt.says)
		})
	}
}

// A TLS connection through a proxy shows its certificate in the first reply.
func TestTLSThroughAProxy(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(1, 7, "teacher")
	base, roots := certified(t, m, "127.0.0.1", time.Now().Add(24*time.Hour))
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		to, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		defer to.Close()
		from, buffered, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return
		}
		defer from.Close()
		_, _ = io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n")
		go func() { _, _ = io.Copy(to, buffered) }()
		_, _ = io.Copy(from, to)
	}))
	t.Cleanup(proxy.Close)
	where, err := url.Parse(proxy.URL)
	require.NoError(t, err)
	findings := examine(t, doctor.Options{
		File: fileFor(t, base, m.AppID(), m.Token()), TLS: &tls.Config{RootCAs: roots}, Proxy: http.ProxyURL(where),
	})
	require.Equal(t, []string{"note address.proxy", "warning address.tls_ends_soon"}, notFine(findings))
}

func TestEnded(t *testing.T) {
	t.Parallel()
	t.Run("by the caller", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(context.Background())
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Fail(func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
			cancel()
			<-r.Context().Done()
		})
		var said []doctor.Finding
		err := doctor.Run(ctx, doctor.Options{File: fileFor(t, m.Start(t), m.AppID(), m.Token()), Say: func(f doctor.Finding) { said = append(said, f) }})
		require.ErrorIs(t, err, context.Canceled)
		require.Empty(t, notFine(said))
	})
	t.Run("by its time", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Fail(rolegatetest.Hang())
		var said []doctor.Finding
		err := doctor.Run(ctx, doctor.Options{File: fileFor(t, m.Start(t), m.AppID(), m.Token()), Say: func(f doctor.Finding) { said = append(said, f) }})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.Equal(t, []string{"wrong token.timeout"}, notFine(said))
	})
}
