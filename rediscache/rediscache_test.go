package rediscache_test

import (
	"errors"
	"io"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) {
	// A client that is closed goes on for a second to dial a server that has died.
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/redis/go-redis/v9/internal/pool.(*ConnPool).tryDial"))
}

const (
	secret = "a secret of these tests, for nothing else"
	list   = "https://marketplace.example|production|app-1"
)

func newClient(t testing.TB, addr string) redis.UniversalClient {
	t.Helper()
	client := redis.NewClient(&redis.Options{Addr: addr, DisableIdentity: true})
	t.Cleanup(func() { _ = client.Close() })
	return client
}

func open(t testing.TB, source rolegate.Source, cfg rediscache.Config) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: source, Logger: slog.New(slog.DiscardHandler), Cache: rediscache.New(cfg),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
	})
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

func user(id int64) rolegate.Record {
	return rolegate.Record{UserID: id, Sequence: id, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}
}

// Gates on one Redis know what another has read: all but one of these have a source
// that is down. How often they refresh is a matter of time: see TestReplicasShareRefreshes.
func TestShare(t *testing.T) {
	t.Parallel()
	addr := miniredis.RunT(t).Addr()
	source, down := rolegatetest.NewStatic(user(1), user(2)), rolegatetest.NewStatic()
	down.Fail(errors.New("down"))
	var gates []*rolegate.Gate
	for _, s := range []rolegate.Source{source, down, down} {
		gates = append(gates, open(t, s, rediscache.Config{Client: newClient(t, addr), Secret: secret}))
	}
	require.Equal(t, 1, source.FullRefreshes())
	all := func(id int64, listed bool) func() bool {
		return func() bool {
			for _, gate := range gates {
				if gate.Decide(t.Context(), rolegate.UserID(id)).Allowed() != listed {
					return false
				}
			}
			return true
		}
	}
	require.True(t, all(1, true)())
	source.Put(user(3))
	source.Remove(2)
	require.NoError(t, gates[0].RefreshAll(t.Context()))
	require.Eventually(t, all(3, true), time.Minute, 10*time.Millisecond)
	require.True(t, all(2, false)())
	require.Equal(t, 2, source.FullRefreshes())
}

// Lists, prefixes and secrets that differ share nothing on one Redis.
func TestApart(t *testing.T) {
	t.Parallel()
	addr := miniredis.RunT(t).Addr()
	for name, cfg := range map[string]rediscache.Config{
		"first":  {Secret: secret},
		"secret": {Secret: "another secret of these tests, for nothing else"},
		"prefix": {Secret: secret, Prefix: "another"},
	} {
		source := rolegatetest.NewStatic(user(1))
		cfg.Client = newClient(t, addr)
		open(t, source, cfg)
		require.Equal(t, 1, source.FullRefreshes(), name)
	}
}

func TestACacheServesOneGate(t *testing.T) {
	t.Parallel()
	c := rediscache.New(rediscache.Config{Client: newClient(t, miniredis.RunT(t).Addr()), Secret: secret})
	_, lease, err := c.Join(list)
	require.NoError(t, err)
	require.Equal(t, 10*time.Second, lease)
	_, _, err = c.Join(list)
	require.ErrorContains(t, err, "one gate")
}

// A Cache that was wrapped, so that a gate does not see what it is, says so.
func TestAWrappedCache(t *testing.T) {
	t.Parallel()
	c := rediscache.New(rediscache.Config{Client: newClient(t, miniredis.RunT(t).Addr()), Secret: secret})
	_, err := c.Load(t.Context())
	require.ErrorContains(t, err, "not wrapped")
	require.ErrorContains(t, c.Store(t.Context(), func(io.Writer) error { return nil }), "not wrapped")
}
