//go:build drill

package store_test

import (
	"log/slog"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache/internal/store"
)

// What replicas cost at rest, each with a client of its own: no more than two
// commands a second that they send, and two connections.
func TestAtRest(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it, for example with: apt-get install redis-server")
	for _, n := range []int{10, 30} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			addr, _ := begin(t, path)
			admin := connect(t, &redis.Options{Addr: addr})
			for i := range n {
				s, err := store.New(connect(t, &redis.Options{Addr: addr}), secret, "rolegate", list, 10*time.Second)
				require.NoError(t, err)
				h := &host{log: &lines{}, own: replication.Own{}}
				h.Shell = replication.Start(replication.Config{Lease: 10 * time.Second, DemandBound: time.Minute},
					uint64(i), s, h, clock.Read, slog.New(slog.NewTextHandler(h.log, nil)))
				t.Cleanup(h.Close)
			}
			time.Sleep(3 * time.Second)
			const lasts = 10 * time.Second
			before := calls(t, admin, "evalsha")
			traffic := info(t, admin, "stats", "total_net_input_bytes") + info(t, admin, "stats", "total_net_output_bytes")
			time.Sleep(lasts)
			each := float64(calls(t, admin, "evalsha")-before) / lasts.Seconds() / float64(n)
			bytes := float64(info(t, admin, "stats", "total_net_input_bytes")+info(t, admin, "stats", "total_net_output_bytes")-traffic) / lasts.Seconds() / float64(n)
			connections := float64(info(t, admin, "clients", "connected_clients")-1) / float64(n)
			t.Logf("%d replicas: %.2f commands a second, %.0f bytes a second and %.2f connections each", n, each, bytes, connections)
			assert.LessOrEqual(t, each, 2.0)
			assert.LessOrEqual(t, connections, 2.0)
		})
	}
}

func info(t *testing.T, c *redis.Client, section, field string) int {
	t.Helper()
	for line := range strings.Lines(c.Info(t.Context(), section).Val()) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), field+":"); ok {
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			return n
		}
	}
	require.Fail(t, "INFO does not say", field)
	return 0
}

func calls(t *testing.T, c *redis.Client, command string) int {
	t.Helper()
	for line := range strings.Lines(c.Info(t.Context(), "commandstats").Val()) {
		if value, ok := strings.CutPrefix(line, "cmdstat_"+command+":calls="); ok {
			value, _, _ = strings.Cut(value, ",")
			n, err := strconv.Atoi(value)
			require.NoError(t, err)
			return n
		}
	}
	return 0
}

// A server that loses everything, evicts keys, ends connections or starts again
// costs no more than a second: nobody's list grows old, and one still refreshes for
// all.
func TestTroubledServer(t *testing.T) {
	path, err := exec.LookPath("redis-server")
	require.NoError(t, err, "install it, for example with: apt-get install redis-server")
	addr, _ := begin(t, path)
	admin := connect(t, &redis.Options{Addr: addr})
	client := redis.NewClient(&redis.Options{Addr: addr})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	all, refreshed := startHosts(t, client)
	all.watch(t, 4*time.Second)
	for name, strike := range map[string]func(){
		"FLUSHALL":     func() { require.NoError(t, admin.FlushAll(t.Context()).Err()) },
		"CLIENT KILL":  func() { _ = admin.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err() },
		"SCRIPT FLUSH": func() { require.NoError(t, admin.ScriptFlush(t.Context()).Err()) },
		"maxmemory": func() {
			require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err())
			require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", "2mb").Err())
			for i := range 200 {
				_ = admin.Set(t.Context(), "other:"+strconv.Itoa(i), strings.Repeat("x", 10_000), 0).Err()
			}
			require.NoError(t, admin.ConfigSet(t.Context(), "maxmemory", "0").Err())
		},
		"one key after the other": func() {
			for _, part := range []string{"log", "base:", "state"} {
				keys, err := admin.Keys(t.Context(), "rolegate:*"+part+"*").Result()
				require.NoError(t, err)
				if len(keys) > 0 {
					require.NoError(t, admin.Del(t.Context(), keys...).Err())
				}
				all.watch(t, 2*time.Second)
			}
		},
	} {
		strike()
		all.watch(t, 5*time.Second)
		settled := time.Now()
		all.watch(t, 6*time.Second)
		assert.LessOrEqual(t, refreshed.in(settled, time.Now()), 5, name)
	}
	all.wellAgain(t)
}
