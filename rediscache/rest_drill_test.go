//go:build drill && unix

package rediscache_test

import (
	"context"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// What replicas cost at rest, each with a client of its own: no more than two
// commands a second that they send, and two connections.
func TestAtRest(t *testing.T) {
	for _, n := range []int{10, 30} {
		t.Run(strconv.Itoa(n), func(t *testing.T) {
			s := startServer(t, programs(t)[0])
			source := rolegatetest.NewStatic(user(1), user(2))
			goroutines := runtime.NumGoroutine()
			for range n {
				open(t, source, rediscache.Config{Client: redis.NewClient(&redis.Options{Addr: s.addr}), Secret: secret})
			}
			time.Sleep(2 * time.Second)
			goroutines = runtime.NumGoroutine() - goroutines
			measure := func() (calls, bytes float64) {
				_, text, _ := strings.Cut(s.info("commandstats", "cmdstat_evalsha"), "calls=")
				text, _, _ = strings.Cut(text, ",")
				return number(t, text), number(t, s.info("stats", "total_net_input_bytes")) + number(t, s.info("stats", "total_net_output_bytes"))
			}
			begun := time.Now()
			calls, bytes := measure()
			time.Sleep(5 * time.Second)
			callsThen, bytesThen := measure()
			per := time.Since(begun).Seconds() * float64(n)
			calls, bytes = (callsThen-calls)/per, (bytesThen-bytes)/per
			connections := (number(t, s.info("clients", "connected_clients")) - 1) / float64(n)
			t.Logf("%d replicas: %.2f commands a second, %.0f bytes a second, %.2f connections and %.1f goroutines each",
				n, calls, bytes, connections, float64(goroutines)/float64(n))
			assert.LessOrEqual(t, calls, 2.0)
			assert.LessOrEqual(t, connections, 2.0)
		})
	}
}

func number(t *testing.T, text string) float64 {
	t.Helper()
	n, err := strconv.ParseFloat(text, 64)
	require.NoError(t, err)
	return n
}

// A server that loses everything, evicts keys or ends connections costs no full
// refresh, and no wrong answer.
func TestTroubledServer(t *testing.T) {
	t.Parallel()
	s := startServer(t, programs(t)[0])
	client := redis.NewClient(&redis.Options{Addr: s.addr})
	t.Cleanup(func() { assert.NoError(t, client.Close()) })
	l := newLoad()
	for range 3 {
		l.open(t, client, rolegate.OnDeny{})
	}
	stop := l.run()
	defer stop()
	l.inStep(t, time.Time{})
	begun, told := time.Now(), map[*replica]int{}
	strikes := map[string]func(){
		"FLUSHALL":     func() { require.NoError(t, s.FlushAll(t.Context()).Err()) },
		"CLIENT KILL":  func() { _ = s.Do(t.Context(), "CLIENT", "KILL", "TYPE", "normal").Err() },
		"SCRIPT FLUSH": func() { require.NoError(t, s.ScriptFlush(t.Context()).Err()) },
		"maxmemory": func() {
			require.NoError(t, s.ConfigSet(t.Context(), "maxmemory-policy", "allkeys-random").Err())
			require.NoError(t, s.ConfigSet(t.Context(), "maxmemory", "2mb").Err())
			for i := range 200 {
				_ = s.Set(t.Context(), "other:"+strconv.Itoa(i), strings.Repeat("x", 10_000), 0).Err()
			}
			require.NoError(t, s.ConfigSet(t.Context(), "maxmemory", "0").Err())
		},
	}
	for _, part := range []string{"log", "base:*", "state"} {
		strikes["without "+part] = func() {
			if keys := s.has("rolegate:*:" + part); len(keys) > 0 {
				require.NoError(t, s.Del(t.Context(), keys...).Err())
			}
		}
	}
	for name, strike := range strikes {
		for _, r := range l.all() {
			told[r] = len(r.log.all())
		}
		strike()
		require.Eventually(t, func() bool { return len(s.has("rolegate:*:base:*")) > 0 }, time.Minute, 10*time.Millisecond, name)
		demanded := time.Now()
		require.NoError(t, l.all()[0].RefreshAll(context.Background()), name)
		took := l.inStep(t, demanded)
		l.check(t, told)
		t.Logf("%s: in step after %v", name, took.Round(10*time.Millisecond))
	}
	regular := int(time.Since(begun) / (loadResync * 9 / 10))
	assert.LessOrEqual(t, l.fulls(begun), len(strikes)+regular+1, "those that were demanded, and those that were due")
}
