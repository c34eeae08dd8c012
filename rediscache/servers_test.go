package rediscache_test

import (
	"os"
	"testing"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate/rediscache"
)

// A server is a Redis.
type server struct {
	addr string
	mini *miniredis.Miniredis // or
	dir  string
	args []string
	proc *os.Process // of a real one
	kill func()      // kills it, as a loss of power does
	dial func(testing.TB, string) redis.UniversalClient
}

// servers are the kinds of Redis that every test of the suite is run on. Real
// ones come with the tag drill: realServers has the Redis of this machine, and
// everywhere has it also as a cluster, and behind a sentinel.
var (
	servers     = []kind{{"miniredis", startMini}}
	everywhere  = []kind{{"miniredis", startMini}}
	realServers []kind
)

type kind struct {
	name  string
	start func(testing.TB) *server
}

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
