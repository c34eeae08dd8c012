package rediscache_test

import (
	"net"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/rediscache"
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

// A server is a Redis.
type server struct {
	addr string
	mini *miniredis.Miniredis // or
	dir  string
	args []string
	proc *exec.Cmd
	dial func(testing.TB, string) redis.UniversalClient
}

// servers are the kinds of Redis that every test of the suite is run on.
var servers = func() []kind {
	kinds := []kind{{"miniredis", startMini}}
	return append(kinds, realServers...)
}()

type kind struct {
	name  string
	start func(testing.TB) *server
}

// realServers has the Redis of this machine, if there is one; everywhere has it
// also as a cluster, and behind a sentinel.
var realServers, everywhere = func() (plain, all []kind) {
	all = []kind{{"miniredis", startMini}}
	if program == "" {
		return nil, all
	}
	plain = []kind{{filepath.Base(program), func(t testing.TB) *server { return startReal(t) }}}
	return plain, append(append(all, plain...), kind{"cluster", startCluster}, kind{"sentinel", startSentinel})
}()

// onEach runs a test on every kind of Redis, each time on a new one.
func onEach(t *testing.T, kinds []kind, test func(*testing.T, *server)) {
	t.Helper()
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			test(t, k.start(t))
		})
	}
}

func startMini(t testing.TB) *server {
	t.Helper()
	m := miniredis.RunT(t)
	return &server{addr: m.Addr(), mini: m}
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
	t.Cleanup(func() { s.kill() })
	return s
}

// start starts it, also again, and waits until it answers.
func (s *server) start(t testing.TB) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	args := append([]string{"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "", "--appendonly", "no", "--daemonize", "no"}, s.args...)
	s.proc = exec.Command(program, args...)
	require.NoError(t, s.proc.Start())
	client := redis.NewClient(&redis.Options{Addr: s.addr, MaxRetries: -1, DialTimeout: time.Second})
	defer client.Close()
	require.Eventually(t, func() bool { return client.Ping(soon(t)).Err() == nil }, wait, 10*time.Millisecond, "redis-server did not start")
}

// kill kills it, as a loss of power does.
func (s *server) kill() {
	if s.proc != nil {
		_ = s.proc.Process.Kill()
		_ = s.proc.Wait()
		s.proc = nil
	}
}

// client returns a new client, as an app has it.
func (s *server) client(t testing.TB) redis.UniversalClient {
	t.Helper()
	return s.clientAt(t, s.addr)
}

func (s *server) clientAt(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	dial := s.dial
	if dial == nil {
		dial = func(_ testing.TB, addr string) redis.UniversalClient {
			return redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
		}
	}
	client := dial(t, addr)
	t.Cleanup(func() { _ = client.Close() })
	return client
}

// at has a replica reach Redis at another address.
func (s *server) at(t testing.TB, addr string) func(*rediscache.Config) {
	return func(cfg *rediscache.Config) { cfg.Client = s.clientAt(t, addr) }
}
