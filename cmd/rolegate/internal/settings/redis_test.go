package settings_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// An authority signs certificates, in files of a folder.
type authority struct {
	folder string
	cert   *x509.Certificate
	key    *ecdsa.PrivateKey
	serial int64
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{folder: t.TempDir()}
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: "an authority"}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	a.cert, a.key = a.sign(t, "ca", template, nil, nil)
	return a
}

// issue signs a certificate of 127.0.0.1 and of that name.
func (a *authority) issue(t *testing.T, name string) {
	t.Helper()
	template := &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, DNSNames: []string{name + ".example.com"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth},
	}
	a.sign(t, name, template, a.cert, a.key)
}

func (a *authority) sign(t *testing.T, name string, template, parent *x509.Certificate, by *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	if parent == nil {
		parent, by = template, key
	}
	a.serial++
	template.SerialNumber, template.NotBefore, template.NotAfter = big.NewInt(a.serial), time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), by)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(a.path(name+".pem"), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(a.path(name+".key"), pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	cert, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	return cert, key
}

func (a *authority) pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(a.cert)
	return pool
}

func (a *authority) path(name string) string { return filepath.Join(a.folder, name) }

func clientOf(t *testing.T, redisSettings string) (redis.UniversalClient, error) {
	t.Helper()
	client, err := parse(t, least+"cache: {redis: {secret: {file: /y}, "+redisSettings+"}}\n").Cache.Redis.Client()
	if err == nil {
		t.Cleanup(func() { assert.NoError(t, client.Close()) })
	}
	return client, err
}

// A server that wants a certificate of its clients, and has one that no system
// trusts.
func TestRedisByTLS(t *testing.T) {
	t.Parallel()
	ours, others := newAuthority(t), newAuthority(t)
	ours.issue(t, "server")
	ours.issue(t, "client")
	others.issue(t, "client")
	pair, err := tls.LoadX509KeyPair(ours.path("server.pem"), ours.path("server.key"))
	require.NoError(t, err)
	server := miniredis.NewMiniRedis()
	require.NoError(t, server.StartTLS(&tls.Config{Certificates: []tls.Certificate{pair}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ours.pool()}))
	t.Cleanup(server.Close)
	own := func(a *authority) string {
		return ", certificate: " + a.path("client.pem") + ", key: " + a.path("client.key")
	}
	ca := "ca: " + ours.path("ca.pem")
	for _, c := range []struct {
		name, tls string
		works     bool
	}{
		{"what it takes", "{" + ca + own(ours) + "}", true},
		{"by a name in its certificate", "{" + ca + own(ours) + ", server_name: server.example.com}", true},
		{"by a name that is not in it", "{" + ca + own(ours) + ", server_name: other.example.com}", false},
		{"as the system trusts", "true", false},
		{"no TLS", "false", false},
		{"no certificate of its own", "{" + ca + "}", false},
		{"a certificate that somebody else has signed", "{" + ca + own(others) + "}", false},
		{"another authority", "{ca: " + others.path("ca.pem") + own(ours) + "}", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, err := clientOf(t, "address: '"+server.Addr()+"', tls: "+c.tls)
			require.NoError(t, err)
			err = client.Ping(t.Context()).Err()
			assert.Equal(t, c.works, err == nil, "%v", err)
		})
	}
}

// A certificate that is renewed counts for the next connection.
func TestRedisCertificateIsReadAnew(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	a.issue(t, "client")
	f := parse(t, least+"cache: {redis: {address: 'a:1', secret: {file: /y}, tls: {certificate: "+a.path("client.pem")+", key: "+a.path("client.key")+"}}}\n")
	cfg, err := f.Cache.Redis.TLS.Config()
	require.NoError(t, err)
	serial := func() *big.Int {
		cert, err := cfg.GetClientCertificate(nil)
		require.NoError(t, err)
		return cert.Leaf.SerialNumber
	}
	before := serial()
	a.issue(t, "client")
	assert.Equal(t, 1, serial().Cmp(before))
	require.NoError(t, os.WriteFile(a.path("client.key"), []byte("cut sho"), 0o600))
	_, err = cfg.GetClientCertificate(nil)
	assert.Error(t, err)
}

func TestRedisFilesThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	a := newAuthority(t)
	empty := secretFile(t, "not PEM")
	for says, tls := range map[string]string{
		"cache.redis.tls.ca: open /nowhere/ca.pem": "{ca: /nowhere/ca.pem}",
		"has no certificate in it: expected PEM":   "{ca: " + empty + "}",
		"cache.redis.tls.certificate: open":        "{certificate: /nowhere/a.pem, key: /nowhere/a.key}",
		"cache.redis.tls.certificate: tls: failed": "{certificate: " + a.path("ca.pem") + ", key: " + empty + "}",
	} {
		_, err := clientOf(t, "address: 'a:1', tls: "+tls)
		assert.ErrorContains(t, err, says)
	}
}

// Which client is made, and that it is told all.
func TestRedisClients(t *testing.T) {
	t.Parallel()
	first, second := secretFile(t, "first"), secretFile(t, "second")
	client, err := clientOf(t, "address: 'a:1', username: u, password: {file: "+first+"}, database: 3")
	require.NoError(t, err)
	if one, ok := client.(*redis.Client); assert.True(t, ok) {
		o := one.Options()
		assert.Equal(t, []any{"a:1", "u", "first", 3}, []any{o.Addr, o.Username, o.Password, o.DB})
	}
	client, err = clientOf(t, "cluster: ['a:1', 'b:2'], password: {file: "+first+"}")
	require.NoError(t, err)
	if cluster, ok := client.(*redis.ClusterClient); assert.True(t, ok) {
		o := cluster.Options()
		assert.Equal(t, []any{[]string{"a:1", "b:2"}, "first"}, []any{o.Addrs, o.Password})
		assert.LessOrEqual(t, o.ClusterStateReloadInterval, 10*time.Second, "see docs/replicas.md")
	}
	client, err = clientOf(t, "cluster: ['a:1']")
	require.NoError(t, err)
	assert.IsType(t, (*redis.ClusterClient)(nil), client, "one address is enough to find the others")
	client, err = clientOf(t, "sentinel: {master: m, addresses: ['a:1'], password: {file: "+second+"}}, password: {file: "+first+"}, database: 3")
	require.NoError(t, err)
	if behind, ok := client.(*redis.Client); assert.True(t, ok) {
		o := behind.Options()
		assert.Equal(t, []any{"FailoverClient", "first", 3}, []any{o.Addr, o.Password, o.DB})
	}
	_, err = clientOf(t, "sentinel: {master: m, addresses: ['a:1'], password: {file: /nowhere}}, password: {file: /nowhere}")
	assert.ErrorContains(t, err, "cache.redis.password: ")
	assert.ErrorContains(t, err, "cache.redis.sentinel.password: ")

	f := parse(t, least+"cache: {redis: {secret: {file: /y}, sentinel: {master: m, addresses: ['a:1'], password: {file: /s}}, tls: {ca: /ca}}}\n")
	assert.ElementsMatch(t, []settings.Secret{{File: "/y"}, {File: "/s"}}, f.GateSecrets())
	assert.Equal(t, []string{"/ca"}, f.GateFiles())
	assert.Equal(t, []string{"a:1"}, f.Cache.Redis.Addresses())
}
