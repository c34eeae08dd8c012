package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"testing"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestShare(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		real bool
		env  map[string]string
		says string
	}{
		"the fake marketplace":           {},
		"a marketplace without a secret": {real: true, says: "openssl rand"},
		"a marketplace":                  {real: true, env: map[string]string{"ROLEGATE_REDIS_SECRET": "shared by all replicas of this test"}},
		"a lease without a unit":         {env: map[string]string{"ROLEGATE_REDIS_LEASE": "15"}, says: `ROLEGATE_REDIS_LEASE="15"`},
		"no lease at all":                {env: map[string]string{"ROLEGATE_REDIS_LEASE": "0s"}, says: "expected a duration"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cache, stop, err := share("127.0.0.1:1", c.real, func(name string) string { return c.env[name] })
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				return
			}
			require.NoError(t, err)
			assert.NotNil(t, cache)
			assert.NoError(t, stop())
		})
	}
}

func TestConnect(t *testing.T) {
	t.Parallel()
	notPEM := filepath.Join(t.TempDir(), "ca.pem")
	require.NoError(t, os.WriteFile(notPEM, []byte("nothing"), 0o600))
	certificate, key := ownCertificate(t)
	for _, c := range []struct {
		name, addr string
		tls        access
		is         redis.UniversalClient
		says       string
	}{
		{name: "an address", addr: "127.0.0.1:1", is: (*redis.Client)(nil)},
		{name: "an IPv6 address", addr: "[::1]:1", is: (*redis.Client)(nil)},
		{name: "TLS", addr: "rediss://u:p@a:1/2", is: (*redis.Client)(nil)},
		{name: "Sentinels", addr: "redis://a:1?master_name=m&addr=b:2", is: (*redis.Client)(nil)},
		{name: "a cluster", addr: "redis://a:1?addr=b:2", is: (*redis.ClusterClient)(nil)},
		{name: "no port", addr: "redis", says: "expected host:port"},
		{name: "another scheme", addr: "http://u:hunter2@a:1", says: "expected host:port"},
		{name: "a database that is none", addr: "redis://u:hunter2@a:1/x", says: "expected host:port"},
		{name: "no URL", addr: "redis://u:hunter2@a:1:\x7f", says: "expected host:port"},
		{name: "an authority that is not there", addr: "rediss://a:1", tls: access{ca: "/nowhere/ca.pem"}, says: "ROLEGATE_REDIS_CA: open"},
		{name: "an authority that is none", addr: "rediss://a:1", tls: access{ca: notPEM}, says: "expected PEM"},
		{name: "an authority without TLS", addr: "a:1", tls: access{ca: certificate}, says: "expected -redis rediss://"},
		{name: "an authority and a certificate", addr: "rediss://a:1", tls: access{ca: certificate, certificate: certificate, key: key}, is: (*redis.Client)(nil)},
		{name: "a certificate for Sentinels", addr: "rediss://a:1?master_name=m", tls: access{certificate: certificate, key: key}, is: (*redis.Client)(nil)},
		{name: "a certificate for a cluster", addr: "rediss://a:1?addr=b:2", tls: access{certificate: certificate, key: key}, is: (*redis.ClusterClient)(nil)},
		{name: "a certificate without its key", addr: "rediss://a:1", tls: access{certificate: certificate}, says: "ROLEGATE_REDIS_CERT and ROLEGATE_REDIS_KEY"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.tls.password = "password"
			client, err := connect(c.addr, c.tls)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				assert.NotContains(t, err.Error(), "hunter2")
				return
			}
			require.NoError(t, err)
			assert.IsType(t, c.is, client)
			var shown *tls.Config
			switch client := client.(type) {
			case *redis.Client:
				shown = client.Options().TLSConfig
			case *redis.ClusterClient:
				shown = client.Options().TLSConfig
			}
			if c.tls.certificate != "" {
				require.NotNil(t, shown)
				assert.Len(t, shown.Certificates, 1, "the replica shows its own")
				assert.Equal(t, c.tls.ca != "", shown.RootCAs != nil)
			}
			assert.NoError(t, client.Close())
		})
	}
}

// ownCertificate returns the files of a certificate that has signed itself, and its key.
func ownCertificate(t *testing.T) (certificate, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	folder := t.TempDir()
	certificate, key = filepath.Join(folder, "replica.pem"), filepath.Join(folder, "replica-key.pem")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}), 0o600))
	return certificate, key
}
