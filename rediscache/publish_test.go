package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// catchUp follows from nothing to a version, and returns what is there: changes
// are what is added to the end.
func catchUp(t testing.TB, c *rediscache.Cache, to rolegate.Version) string {
	t.Helper()
	var at rolegate.Version
	var all string
	for at != to {
		v, change, whole := follow(t, c, at)
		if change == "" {
			all = whole
		}
		all += change
		at = v
	}
	return all
}

// The whole index is published where a change is of no use to those who follow.
func TestWholeInsteadOfTheChange(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (from rolegate.Version, change string){
		"from nothing": func(*testing.T, *server, *rediscache.Cache, rolegate.Version) (rolegate.Version, string) {
			return rolegate.Version{}, "!"
		},
		"from what is not the newest": func(_ *testing.T, _ *server, _ *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			return rolegate.Version{Term: v.Term, Number: v.Number - 1}, "!"
		},
		"from what never was": func(_ *testing.T, _ *server, _ *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			return rolegate.Version{Term: v.Term + 1, Number: v.Number}, "!"
		},
		"the change is too large": func(_ *testing.T, _ *server, _ *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			return v, strings.Repeat("!", 256<<10+1)
		},
		"the whole index is not there": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).Del(soon(t), s.snapshot(t, a)).Err())
			return v, "!"
		},
		"a chunk is not there": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).HDel(soon(t), s.snapshot(t, a), "0").Err())
			return v, "!"
		},
		"the log is not there": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).Del(soon(t), key(t, a, "log")).Err())
			return v, "!"
		},
		"the log has lost the first change": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).XTrimMinID(soon(t), key(t, a, "log"), fmt.Sprintf("%d-%d", v.Term, v.Number)).Err())
			return v, "!"
		},
		"the log takes no more": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).Do(soon(t), "XADD", key(t, a, "log"), "18446744073709551615-18446744073709551615", "a", "b").Err())
			return v, "!"
		},
		"the log is no log": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			require.NoError(t, s.client(t).Set(soon(t), key(t, a, "log"), "x", 0).Err())
			return v, "!"
		},
		"the newest version is garbage": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (rolegate.Version, string) {
			s.set(t, a, "newest", "18446744073709551616-1")
			return v, "!"
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t), s.replica(t)
				term := lead(t, a, 0)
				v := publish(t, a, term, rolegate.Version{}, "", "1")
				v = publish(t, a, term, v, "+2", "1+2")
				v = publish(t, a, term, v, "+3", "1+2+3")
				from, change := spoil(t, s, a, v)
				to := publish(t, a, term, from, change, "1+2+3!")
				got, _, whole := follow(t, b, v)
				require.Equal(t, to, got)
				require.Equal(t, "1+2+3!", whole)
				next := publish(t, a, term, to, "+5", "1+2+3!+5")
				require.Equal(t, "1+2+3!+5", catchUp(t, s.replica(t), next))
				got, change, _ = follow(t, b, to)
				require.Equal(t, next, got)
				require.Equal(t, "+5", change)
			})
		})
	}
}

// snapshot is the key of the newest whole index.
func (s *server) snapshot(t testing.TB, c *rediscache.Cache) string {
	t.Helper()
	name, err := s.client(t).HGet(soon(t), key(t, c, "state"), "snap").Result()
	require.NoError(t, err)
	return key(t, c, "snap:"+name)
}

// A log that has become too long is cut, and those who follow it do not notice.
func TestCompaction(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		on             []kind
		changes, bytes int
	}{
		"too many bytes":   {servers, 12, 100 << 10},
		"too many changes": {realServers, 5003, 1}, // miniredis takes minutes
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, tt.on, func(t *testing.T, s *server) {
				a, b := s.replica(t), s.replica(t)
				term := lead(t, a, 0)
				v := publish(t, a, term, rolegate.Version{}, "", "")
				first := s.snapshot(t, a)
				at, _, _ := follow(t, b, rolegate.Version{})
				all := ""
				change := string(index(tt.bytes))
				for i := range tt.changes {
					if i%100 == 0 {
						require.Equal(t, term, lead(t, a, 0))
					}
					all += change
					v = publish(t, a, term, v, change, all)
					next, got, _ := follow(t, b, at)
					require.Equal(t, v, next)
					require.True(t, change == got)
					at = next
				}
				require.NotEqual(t, first, s.snapshot(t, a), "it was not cut")
				n, err := s.client(t).XLen(soon(t), key(t, a, "log")).Result()
				require.NoError(t, err)
				require.Less(t, n, int64(64))
				require.True(t, all == catchUp(t, s.replica(t), v))
				ttl, err := s.client(t).TTL(soon(t), first).Result()
				require.NoError(t, err)
				require.Greater(t, ttl, time.Minute)
				require.LessOrEqual(t, ttl, 10*time.Minute)
			})
		})
	}
}

// What goes wrong while an index is written leaves what there was.
func TestWriteFails(t *testing.T) {
	t.Parallel()
	bad := errors.New("the index is bad")
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		before := s.keys(t)
		_, err := a.Publish(soon(t), term, rolegate.Version{}, rolegate.Publication{Whole: func(w io.Writer) error {
			_, err := w.Write(index(3 << 20))
			require.NoError(t, err)
			return bad
		}})
		require.ErrorIs(t, err, bad)
		require.ElementsMatch(t, before, s.keys(t))
		require.PanicsWithValue(t, "oh", func() {
			_, _ = a.Publish(soon(t), term, rolegate.Version{}, rolegate.Publication{Whole: func(io.Writer) error { panic("oh") }})
		})
		_, err = a.Publish(soon(t), term, rolegate.Version{}, rolegate.Publication{})
		require.ErrorContains(t, err, "no Whole")
		next := publish(t, a, term, v, "+two", "one+two")
		require.Greater(t, next.Number, v.Number+2, "a number that may have been published is not used again")
		require.Equal(t, "one+two", catchUp(t, s.replica(t), next))
	})
}

// A writer that is paused, dies or loses its lease leaves nothing for long.
func TestWriterLosesItsLease(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		before := s.keys(t)
		var next uint64
		_, err := a.Publish(soon(t), term, rolegate.Version{}, rolegate.Publication{Whole: func(w io.Writer) error {
			_, err := w.Write(index(3 << 20))
			require.NoError(t, err)
			for _, k := range s.keys(t) {
				ttl, err := s.client(t).TTL(soon(t), k).Result()
				require.NoError(t, err)
				require.Greater(t, ttl, time.Duration(0), k)
			}
			require.Greater(t, len(s.keys(t)), len(before))
			next = lead(t, b, term+1) // so that a's is void
			return nil
		}})
		require.ErrorIs(t, err, rolegate.ErrNotLeader)
		l, err := b.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.Equal(t, v, l.Newest)
		require.Equal(t, "one+two", catchUp(t, s.replica(t), publish(t, b, next, v, "+two", "one+two")))
	})
}

// Load and Store are enough for a gate that knows no more than Cache.
func TestLoadAndStore(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		lease := func(cfg *rediscache.Config) { cfg.Lease = 2 * time.Second }
		a, b := s.replica(t, lease), s.replica(t, lease)
		stored := index(3 << 20)
		slow := func(w io.Writer) error {
			pause := time.NewTicker(50 * time.Millisecond)
			defer pause.Stop()
			for rest := stored; len(rest) > 0; <-pause.C { // longer than the lease
				n := min(len(rest), len(stored)/64)
				if _, err := w.Write(rest[:n]); err != nil {
					return err
				}
				rest = rest[n:]
			}
			return nil
		}
		require.NoError(t, a.Store(soon(t), slow))
		r, err := b.Load(soon(t))
		require.NoError(t, err)
		got, err := io.ReadAll(r)
		require.NoError(t, err)
		require.True(t, string(stored) == string(got))
		require.NoError(t, r.Close())
		_, err = r.Read(make([]byte, 1))
		require.Error(t, err)
		c := s.replica(t)
		require.Eventually(t, func() bool {
			l, err := c.Lease(soon(t), true, 0)
			return err == nil && l.Held
		}, wait, 50*time.Millisecond)
		require.ErrorIs(t, b.Store(soon(t), func(io.Writer) error { return errors.New("called") }), rolegate.ErrNotLeader)

		ctx, cancel := context.WithCancel(soon(t))
		r, err = b.Load(ctx)
		require.NoError(t, err)
		cancel()
		_, err = r.Read(make([]byte, 1))
		require.ErrorIs(t, err, context.Canceled)
	})
}
