package rediscache_test

import (
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// Whatever a version, a pointer or a packed change looks like, it is read in its
// one form, or not at all.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"", "0-0", "1-1", "01-1", "+1-1", "1-", "18446744073709551615-18446744073709551615", "18446744073709551616-0", "7-abc 1-1 1 5", "7-abc 1-1 0 5", "\x00abc", "\x01\x03\x00", "\x02"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		if v, ok := rediscache.ParseVersion(string(b)); ok {
			require.Equal(t, string(b), v)
		}
		if p, ok := rediscache.ParsePointer(string(b)); ok {
			require.Equal(t, string(b), p)
			require.Equal(t, 3, strings.Count(p, " "))
		}
		if plain, err := rediscache.Unpack(b); err == nil {
			again, err := rediscache.Unpack(rediscache.Pack(plain))
			require.NoError(t, err)
			require.Equal(t, string(plain), string(again))
		}
	})
}

// FuzzStored puts bytes into Redis in the places of others: nothing that the
// leader has not published is believed, nothing panics, and nothing hangs.
func FuzzStored(f *testing.F) {
	for _, field := range []string{"token", "until", "term", "proof", "newest", "ptr", "snap", "chunks", "logn", "from", "change", "id", "chunk", "ask"} {
		f.Add(field, []byte("1-1"))
	}
	f.Add("until", []byte("99999999999999"))
	f.Add("id", []byte("18446744073709551615-18446744073709551615"))
	s := startMini(f)
	client := s.client(f)
	a, b := s.replica(f), s.replica(f)
	f.Fuzz(func(t *testing.T, field string, value []byte) {
		require.NoError(t, client.FlushAll(soon(t)).Err())
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		v2 := publish(t, a, term, v, "+two", "one+two")
		switch field {
		case "from", "change", "id":
			values := map[string]any{"from": "1-1", "change": "x", field: value}
			id := v2.Number + 1
			_ = client.XAdd(soon(t), &redis.XAddArgs{Stream: key(t, a, "log"), ID: versionID(term, id), Values: values}).Err()
			if field == "id" {
				_ = client.XAdd(soon(t), &redis.XAddArgs{Stream: key(t, a, "log"), ID: string(value), Values: values}).Err()
			}
		case "chunk":
			require.NoError(t, client.HSet(soon(t), s.snapshot(t, a), "0", value).Err())
		case "ask":
			require.NoError(t, client.XAdd(soon(t), &redis.XAddArgs{Stream: key(t, a, "asks"), Values: []any{"ask", value}}).Err())
			list, err := b.Asked(within(t, 5*time.Millisecond), "")
			require.Error(t, err)
			require.Empty(t, list)
		default:
			require.NoError(t, client.HSet(soon(t), key(t, a, "state"), field, value).Err())
		}
		for _, after := range []rolegate.Version{{}, v, v2} {
			o := <-following(t, within(t, 5*time.Millisecond), b, after)
			if o.err == nil {
				require.Contains(t, []string{"one", "+two"}, o.change+o.whole)
			}
		}
		_, err := b.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.NoError(t, client.HSet(soon(t), key(t, a, "state"), "until", "0").Err()) // not to wait until it runs out
		next := lead(t, a, term+1)
		to := publish(t, a, next, rolegate.Version{}, "", "all")
		require.Equal(t, outcome{v: to, whole: "all"}, <-following(t, soon(t), b, rolegate.Version{}))
	})
}
