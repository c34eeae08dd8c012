package rediscache_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

func messages(list []rolegate.Asked) (all []string) {
	for _, m := range list {
		all = append(all, string(m.Message))
	}
	return all
}

func TestAsk(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b, c := s.replica(t), s.replica(t), s.replica(t)
		type heard struct {
			list []rolegate.Asked
			err  error
		}
		first := make(chan heard, 1)
		go func() {
			list, err := a.Asked(soon(t), "")
			first <- heard{list, err}
		}()
		s.blocked(t, 1)
		require.NoError(t, b.Ask(soon(t), []byte("one")))
		h := <-first
		require.NoError(t, h.err)
		require.Equal(t, []string{"one"}, messages(h.list))

		require.NoError(t, c.Ask(soon(t), nil))
		require.NoError(t, b.Ask(soon(t), []byte(strings.Repeat("x", 1024))))
		require.ErrorContains(t, b.Ask(soon(t), make([]byte, 1025)), "1025 bytes")
		list, err := a.Asked(soon(t), h.list[0].ID)
		require.NoError(t, err)
		require.Equal(t, []string{"", strings.Repeat("x", 1024)}, messages(list))

		again, err := a.Asked(soon(t), h.list[0].ID)
		require.NoError(t, err)
		require.Equal(t, list, again)
		_, err = a.Asked(within(t, 50*time.Millisecond), list[1].ID)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = a.Asked(soon(t), "x")
		require.ErrorContains(t, err, "not the ID")

		all, err := c.Asked(soon(t), "")
		require.NoError(t, err)
		require.Len(t, all, 3, "a new leader begins with the last ones")
	})
}

// What is not authentic, or a copy, is left out.
func TestForgedAsk(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		other := s.replica(t, func(cfg *rediscache.Config) { cfg.Secret = rediscache.Secret(strings.Repeat("other", 9)) })
		client, asks := s.client(t), key(t, a, "asks")
		require.NoError(t, other.Ask(soon(t), []byte("of another secret")))
		require.NoError(t, b.Ask(soon(t), []byte("one")))
		last, err := client.XRevRangeN(soon(t), asks, "+", "-", 1).Result()
		require.NoError(t, err)
		sealed := last[0].Values["ask"].(string)
		for _, values := range [][]any{
			{"ask", sealed}, {"ask", sealed[:len(sealed)-1]}, {"ask", sealed + "x"}, {"ask", sealed, "ask", "x"},
			{"ask", ""}, {"ask", "x"}, {"sk", sealed}, {"ask", strings.Repeat("x", 1<<20)},
		} {
			require.NoError(t, client.XAdd(soon(t), &redis.XAddArgs{Stream: asks, Values: values}).Err())
		}
		for i := range 8 * len(sealed) {
			flipped := []byte(sealed)
			flipped[i/8] ^= 1 << (i % 8)
			require.NoError(t, client.XAdd(soon(t), &redis.XAddArgs{Stream: asks, Values: []any{"ask", flipped}}).Err())
		}
		require.NoError(t, b.Ask(soon(t), []byte("two")))
		list, err := a.Asked(soon(t), "")
		require.NoError(t, err)
		if len(list) == 1 { // as many as are read at once
			more, err := a.Asked(soon(t), list[0].ID)
			require.NoError(t, err)
			list = append(list, more...)
		}
		require.Equal(t, []string{"one", "two"}, messages(list))
	})
}

// Redis has begun anew, or somebody has spoilt the stream.
func TestAsksLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, client redis.UniversalClient, asks string){
		"flushed": func(t *testing.T, client redis.UniversalClient, _ string) {
			require.NoError(t, client.FlushAll(soon(t)).Err())
		},
		"no stream": func(t *testing.T, client redis.UniversalClient, asks string) {
			require.NoError(t, client.Set(soon(t), asks, "x", 0).Err())
		},
		"no room behind it": func(t *testing.T, client redis.UniversalClient, asks string) {
			require.NoError(t, client.Do(soon(t), "XADD", asks, "18446744073709551615-18446744073709551615", "ask", "x").Err())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t), s.replica(t)
				require.NoError(t, b.Ask(soon(t), []byte("one")))
				list, err := a.Asked(soon(t), "")
				require.NoError(t, err)
				lose(t, s.client(t), key(t, a, "asks"))
				// A stream that begins anew within a millisecond numbers its entries as
				// the one before: an ask that is lost so is repeated by whoever waits.
				at, err := a.Time(soon(t))
				require.NoError(t, err)
				require.Eventually(t, func() bool {
					now, err := a.Time(soon(t))
					return err == nil && now.Sub(at) > 2*time.Millisecond
				}, time.Minute, time.Millisecond)
				require.NoError(t, b.Ask(soon(t), []byte("two")))
				list, err = a.Asked(soon(t), list[0].ID)
				require.NoError(t, err)
				require.Equal(t, []string{"two"}, messages(list))
			})
		})
	}
}

// Messages that nobody has read are not kept without end.
func TestManyAsks(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		for i := range 1500 {
			require.NoError(t, a.Ask(soon(t), fmt.Append(nil, i)))
		}
		n, err := s.client(t).XLen(soon(t), key(t, a, "asks")).Result()
		require.NoError(t, err)
		require.LessOrEqual(t, n, int64(1200))
		ttl, err := s.client(t).TTL(soon(t), key(t, a, "asks")).Result()
		require.NoError(t, err)
		require.Greater(t, ttl, time.Minute)
	})
}

// Old messages are not heeded, nor old ones that are stored again.
func TestOldAsks(t *testing.T) {
	t.Parallel()
	s := startMini(t)
	now := time.Now()
	s.mini.SetTime(now)
	a, b := s.replica(t), s.replica(t)
	require.NoError(t, b.Ask(soon(t), []byte("one")))
	stored, err := s.client(t).XRange(soon(t), key(t, a, "asks"), "-", "+").Result()
	require.NoError(t, err)
	begin := "1-0"

	s.mini.SetTime(now.Add(11 * time.Second))
	require.NoError(t, b.Ask(soon(t), []byte("two")))
	list, err := a.Asked(soon(t), "")
	require.NoError(t, err)
	require.Equal(t, []string{"two"}, messages(list), "a new leader heeds those of ten seconds")
	list, err = a.Asked(soon(t), begin)
	require.NoError(t, err)
	require.Equal(t, []string{"one", "two"}, messages(list))

	s.mini.SetTime(now.Add(62 * time.Second))
	require.NoError(t, s.client(t).XAdd(soon(t), &redis.XAddArgs{Stream: key(t, a, "asks"), Values: stored[0].Values}).Err())
	require.NoError(t, b.Ask(soon(t), []byte("three")))
	for _, c := range []*rediscache.Cache{a, s.replica(t)} {
		list, err = c.Asked(soon(t), begin)
		require.NoError(t, err)
		require.Equal(t, []string{"two", "three"}, messages(list))
	}
}

// Redis has begun anew, and its clock is behind what it was.
func TestAsksAfterTheClockWasSetBack(t *testing.T) {
	t.Parallel()
	s := startMini(t)
	now := time.Now()
	s.mini.SetTime(now)
	a, b := s.replica(t), s.replica(t)
	require.NoError(t, b.Ask(soon(t), []byte("one")))
	list, err := a.Asked(soon(t), "")
	require.NoError(t, err)
	s.mini.FlushAll()
	s.mini.SetTime(now.Add(-time.Hour))
	require.NoError(t, b.Ask(soon(t), []byte("two")))
	list, err = a.Asked(soon(t), list[0].ID)
	require.NoError(t, err)
	require.Equal(t, []string{"two"}, messages(list))
}
