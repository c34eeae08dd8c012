//go:build drill

package rediscache_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/child"
)

// program is the Redis or Valkey of this machine, or "".
var program = func() string {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	return ""
}()

func init() {
	real := kind{filepath.Base(program), func(t testing.TB) *server { return startReal(t) }}
	realServers = []kind{real}
	servers = append(servers, real)
	everywhere = append(everywhere, real, kind{"cluster", startCluster}, kind{"sentinel", startSentinel})
}

// A drill must not pass without a Redis.
func TestThereIsARedis(t *testing.T) {
	t.Parallel()
	require.NotEmpty(t, program, "there is no redis-server: install it, for example with: apt-get install redis-server")
}

// startReal starts a Redis that keeps nothing on disk, unless args say so.
func startReal(t testing.TB, args ...string) *server {
	t.Helper()
	s := &server{dir: t.TempDir(), args: args}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s.addr = l.Addr().String()
	require.NoError(t, l.Close())
	s.start(t)
	return s
}

// start starts it, also again, and waits until it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, s.args...)
	s.run(t, args...)
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialTimeout: time.Second})
	defer client.Close()
	require.Eventually(t, func() bool { return client.Ping(soon(t)).Err() == nil }, wait, 10*time.Millisecond, "redis-server did not start")
}

func (s *server) run(t testing.TB, args ...string) {
	t.Helper()
	cmd := exec.Command(program, args...)
	s.kill = child.Start(t, cmd)
	s.proc = cmd.Process
}
