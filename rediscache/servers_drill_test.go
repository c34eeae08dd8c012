//go:build drill && unix

package rediscache_test

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// programs are those of this machine that speak as Redis does.
func programs(t testing.TB) (found []string) {
	t.Helper()
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			found = append(found, path)
		}
	}
	require.NotEmpty(t, found, "install it, for example with: apt-get install redis-server")
	return found
}

// A server is a Redis as a process of its own, with its operator's client.
type server struct {
	*redis.Client
	addr, host, port string
	proc             *exec.Cmd
}

// startServer starts a Redis that keeps nothing on disk, and ends it with the test.
func startServer(t testing.TB, program string, args ...string) *server {
	t.Helper()
	s := &server{addr: freeAddr(t)}
	s.host, s.port, _ = net.SplitHostPort(s.addr)
	s.start(t, program, append([]string{
		"--bind", s.host, "--port", s.port, "--dir", t.TempDir(), "--save", "", "--appendonly", "no", "--repl-diskless-sync-delay", "0",
	}, args...)...)
	s.Client = redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1})
	t.Cleanup(func() { assert.NoError(t, s.Close()) })
	require.Eventually(t, func() bool { return s.Ping(context.Background()).Err() == nil }, time.Minute, 10*time.Millisecond)
	return s
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

func (s *server) start(t testing.TB, program string, args ...string) {
	t.Helper()
	s.proc = exec.Command(program, args...)
	require.NoError(t, s.proc.Start())
	t.Cleanup(s.kill)
}

func (s *server) kill() {
	_ = s.proc.Process.Kill()
	_ = s.proc.Wait()
}

// info is a field of what INFO says.
func (s *server) info(section, field string) string {
	for line := range strings.Lines(s.Info(context.Background(), section).Val()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			return value
		}
	}
	return ""
}

// has returns the keys with such names.
func (s *server) has(pattern string) []string { return s.Keys(context.Background(), pattern).Val() }

// startSentinel starts a primary, its replica, and a sentinel that fails over.
func startSentinel(t testing.TB, program string) (primary, second *server, client redis.UniversalClient) {
	t.Helper()
	primary, second = startServer(t, program), startServer(t, program)
	require.NoError(t, second.ReplicaOf(t.Context(), primary.host, primary.port).Err())
	require.Eventually(t, func() bool { return second.info("replication", "master_link_status") == "up" }, time.Minute, 20*time.Millisecond)
	guard := &server{addr: freeAddr(t)}
	_, port, _ := net.SplitHostPort(guard.addr)
	conf := filepath.Join(t.TempDir(), "sentinel.conf")
	require.NoError(t, os.WriteFile(conf, fmt.Appendf(nil, `port %s
bind 127.0.0.1
sentinel monitor primary %s %s 1
sentinel down-after-milliseconds primary 1000
sentinel failover-timeout primary 3000
`, port, primary.host, primary.port), 0o600))
	guard.start(t, program, conf, "--sentinel")
	asks := redis.NewSentinelClient(&redis.Options{Addr: guard.addr, MaxRetries: -1})
	t.Cleanup(func() { assert.NoError(t, asks.Close()) })
	require.Eventually(t, func() bool {
		known, err := asks.Replicas(t.Context(), "primary").Result()
		return err == nil && len(known) == 1
	}, time.Minute, 20*time.Millisecond)
	client = redis.NewFailoverClient(&redis.FailoverOptions{MasterName: "primary", SentinelAddrs: []string{guard.addr}})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	return primary, second, client
}

// startCluster starts three primaries, each with a third of the slots, and a fourth
// node that belongs to nobody yet.
func startCluster(t testing.TB, program string) (nodes []*server, client *redis.ClusterClient) {
	t.Helper()
	var addrs []string
	for i := range 4 {
		_, bus, _ := net.SplitHostPort(freeAddr(t)) // the default may be taken
		s := startServer(t, program, "--cluster-enabled", "yes", "--cluster-config-file", "nodes.conf", "--cluster-port", bus,
			"--cluster-node-timeout", "1000")
		nodes, addrs = append(nodes, s), append(addrs, s.addr)
		if i > 0 {
			require.NoError(t, nodes[0].Do(t.Context(), "CLUSTER", "MEET", s.host, s.port, bus).Err())
		}
		if i < 3 {
			require.NoError(t, s.Do(t.Context(), "CLUSTER", "SET-CONFIG-EPOCH", i+1).Err())
			require.NoError(t, s.ClusterAddSlotsRange(t.Context(), i*16384/3, (i+1)*16384/3-1).Err())
		}
	}
	client = redis.NewClusterClient(&redis.ClusterOptions{Addrs: addrs})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	require.Eventually(t, func() bool {
		for _, s := range nodes {
			known := s.ClusterInfo(t.Context()).Val()
			if !strings.Contains(known, "cluster_state:ok") || !strings.Contains(known, "cluster_known_nodes:4") {
				return false
			}
		}
		return true
	}, time.Minute, 50*time.Millisecond)
	return nodes, client
}

// moveSlot moves the slot of a key to another primary.
func moveSlot(t testing.TB, from, to *server, key string) {
	t.Helper()
	ctx := t.Context()
	slot := from.ClusterKeySlot(ctx, key).Val()
	set := func(on *server, what string, node *server) {
		require.NoError(t, on.Do(ctx, "CLUSTER", "SETSLOT", slot, what, node.ClusterMyID(ctx).Val()).Err())
	}
	set(to, "IMPORTING", from)
	set(from, "MIGRATING", to)
	for {
		keys, err := from.ClusterGetKeysInSlot(ctx, int(slot), 100).Result()
		require.NoError(t, err)
		if len(keys) == 0 {
			break
		}
		for _, k := range keys {
			if err := from.Migrate(ctx, to.host, to.port, k, 0, 5*time.Second).Err(); err != nil {
				require.ErrorContains(t, err, "NOKEY") // it has gone by itself
			}
		}
	}
	set(to, "NODE", to)
	set(from, "NODE", to)
}
