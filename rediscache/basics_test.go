package rediscache_test

import (
	"context"
	"io"
	"io/fs"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A leader and two who follow, from nothing to a few changes.
func TestShare(t *testing.T) {
	t.Parallel()
	onEach(t, everywhere, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		_, err := a.Load(soon(t))
		require.ErrorIs(t, err, fs.ErrNotExist)

		term := lead(t, a, 0)
		l, err := b.Lease(soon(t), true, 0)
		require.NoError(t, err)
		require.Equal(t, rolegate.Lease{Taken: true, Term: term}, l)

		v1 := publish(t, a, term, rolegate.Version{}, "", "one")
		require.Equal(t, rolegate.Version{Term: term, Number: 1}, v1)
		v, _, whole := follow(t, b, rolegate.Version{})
		require.Equal(t, v1, v)
		require.Equal(t, "one", whole)

		v2 := publish(t, a, term, v1, "+two", "one two")
		v3 := publish(t, a, term, v2, "+three", "one two three")
		v, change, _ := follow(t, b, v1)
		require.Equal(t, v2, v)
		require.Equal(t, "+two", change)
		v, change, _ = follow(t, b, v2)
		require.Equal(t, v3, v)
		require.Equal(t, "+three", change)

		// Whoever comes now begins with the whole index, and goes on from there.
		c := s.replica(t)
		v, _, whole = follow(t, c, rolegate.Version{})
		require.Equal(t, v1, v)
		require.Equal(t, "one", whole)
		v, change, _ = follow(t, c, v1)
		require.Equal(t, v2, v)
		require.Equal(t, "+two", change)

		r, err := c.Load(soon(t))
		require.NoError(t, err)
		loaded, err := io.ReadAll(r)
		require.NoError(t, err)
		require.NoError(t, r.Close())
		require.Equal(t, "one", string(loaded))

		_, err = b.Follow(within(t, 50*time.Millisecond), v3)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		l, err = b.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.Equal(t, v3, l.Newest)
	})
}

// An index of many chunks comes as it was, and the log says when there is one.
func TestLargeIndex(t *testing.T) {
	t.Parallel()
	onEach(t, everywhere, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v1 := publish(t, a, term, rolegate.Version{}, "", "small")
		v, _, _ := follow(t, b, rolegate.Version{})
		require.Equal(t, v1, v)
		for _, n := range []int{0, 1, 512 << 10, 4 << 19, 5<<20 + 5} {
			whole := index(n)
			to, err := a.Publish(soon(t), term, rolegate.Version{}, large(whole))
			require.NoError(t, err)
			v, _, got := follow(t, b, v)
			require.Equal(t, to, v)
			require.True(t, string(whole) == got, "%d bytes", n)
			require.NoError(t, s.client(t).Del(soon(t), key(t, a, "log")).Err())
			_, _, got = follow(t, s.replica(t), rolegate.Version{})
			require.True(t, string(whole) == got, "%d bytes", n)
		}
	})
}

// The keys of a list have it as their hash tag, and all expire some day.
func TestKeys(t *testing.T) {
	t.Parallel()
	onEach(t, everywhere, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		publish(t, a, term, v, "two", "two")
		publish(t, a, term, rolegate.Version{}, "", "three")
		require.NoError(t, a.Ask(soon(t), []byte("?")))
		lead(t, a, 0)
		require.Len(t, s.keys(t), 5) // an old snapshot among them
		for _, k := range s.keys(t) {
			require.True(t, strings.HasPrefix(k, "rolegate:{"), k)
			require.Contains(t, k, "}:")
			ttl, err := s.client(t).TTL(soon(t), k).Result()
			require.NoError(t, err)
			require.Greater(t, ttl, time.Minute, k)
		}
	})
}

func TestTime(t *testing.T) {
	t.Parallel()
	onEach(t, everywhere, func(t *testing.T, s *server) {
		now, err := s.replica(t).Time(soon(t))
		require.NoError(t, err)
		require.WithinDuration(t, time.Now(), now, time.Minute)
	})
}
