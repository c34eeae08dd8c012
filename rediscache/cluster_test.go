//go:build drill

package rediscache_test

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// startCluster starts a cluster of one that has all slots. Like any, it refuses
// what has keys in two of them.
func startCluster(t testing.TB) *server {
	t.Helper()
	s := startReal(t, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", freePort(t))
	s.dial = func(_ testing.TB, addr string) redis.UniversalClient {
		return redis.NewClusterClient(&redis.ClusterOptions{Addrs: []string{addr}})
	}
	node := redis.NewClient(&redis.Options{Addr: s.addr})
	defer node.Close()
	require.NoError(t, node.ClusterAddSlotsRange(soon(t), 0, 16383).Err())
	require.Eventually(t, func() bool {
		err := node.Set(soon(t), "x", "y", 0).Err()
		return err == nil && node.Del(soon(t), "x").Err() == nil
	}, wait, 20*time.Millisecond)
	return s
}

// startSentinel starts a Redis that clients find through a sentinel.
func startSentinel(t testing.TB) *server {
	t.Helper()
	s := startReal(t)
	_, master, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	port := freePort(t)
	watch := &server{dir: t.TempDir(), addr: net.JoinHostPort("127.0.0.1", port)}
	conf := filepath.Join(watch.dir, "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, "port %s\nbind 127.0.0.1\nsentinel monitor master 127.0.0.1 %s 1\n", port, master), 0o600))
	watch.run(t, conf, "--sentinel")
	client := redis.NewSentinelClient(&redis.Options{Addr: watch.addr})
	defer client.Close()
	require.Eventually(t, func() bool { return client.Ping(soon(t)).Err() == nil }, wait, 20*time.Millisecond)
	s.dial = func(testing.TB, string) redis.UniversalClient {
		return redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "master", SentinelAddrs: []string{watch.addr}})
	}
	return s
}

func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
