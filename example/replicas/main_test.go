package main

import (
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
	for _, c := range []struct {
		name, addr, ca string
		is             redis.UniversalClient
		says           string
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
		{name: "an authority that is not there", addr: "a:1", ca: "/nowhere/ca.pem", says: "ROLEGATE_REDIS_CA: open"},
		{name: "an authority that is none", addr: "a:1", ca: notPEM, says: "expected PEM"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			client, err := connect(c.addr, "password", c.ca)
			if c.says != "" {
				require.ErrorContains(t, err, c.says)
				assert.NotContains(t, err.Error(), "hunter2")
				return
			}
			require.NoError(t, err)
			assert.IsType(t, c.is, client)
			assert.NoError(t, client.Close())
		})
	}
}
