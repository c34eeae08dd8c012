package rediscache_test

import (
	"context"
	"errors"
	"io"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// An outcome is what a call of Follow came to.
type outcome struct {
	v             rolegate.Version
	change, whole string
	err           error
}

// following calls Follow in a goroutine.
func following(t testing.TB, ctx context.Context, c *rediscache.Cache, after rolegate.Version) <-chan outcome {
	t.Helper()
	done := make(chan outcome, 1)
	go func() {
		var o outcome
		u, err := c.Follow(ctx, after)
		o.v, o.change, o.err = u.Version, string(u.Change), err
		if u.Whole != nil {
			var b []byte
			b, o.err = io.ReadAll(u.Whole)
			o.whole = string(b)
			_ = u.Whole.Close()
		}
		done <- o
	}()
	return done
}

// blocked reports whether a call is waiting in Redis.
func (s *server) blocked(t testing.TB, n int) {
	t.Helper()
	if s.mini != nil {
		return // it does not tell
	}
	client := s.client(t)
	require.Eventually(t, func() bool {
		info := client.InfoMap(soon(t), "clients").Item("Clients", "blocked_clients")
		return info == string(rune('0'+n))
	}, wait, 5*time.Millisecond)
}

func TestFollowWaits(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		first := following(t, soon(t), b, rolegate.Version{})
		s.blocked(t, 1)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.Equal(t, outcome{v: v, whole: "one"}, <-first)

		second := following(t, soon(t), b, v)
		s.blocked(t, 1)
		v2 := publish(t, a, term, v, "+two", "one+two")
		require.Equal(t, outcome{v: v2, change: "+two"}, <-second)

		// An idle call lasts longer than Redis is asked to wait at a time.
		third := following(t, soon(t), b, v2)
		fourth := time.After(5 * time.Second)
		select {
		case o := <-third:
			require.Fail(t, "it did not wait", "%v", o)
		case <-fourth:
		}
		v3 := publish(t, a, term, rolegate.Version{}, "", "three")
		require.Equal(t, outcome{v: v3, whole: "three"}, <-third)

		ctx, cancel := context.WithCancel(soon(t))
		fifth := following(t, ctx, b, v3)
		s.blocked(t, 1)
		start := time.Now()
		cancel()
		require.ErrorIs(t, (<-fifth).err, context.Canceled)
		require.Less(t, time.Since(start), time.Second)
	})
}

// However many calls there are, they hold two connections.
func TestTwoConnections(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		ctx, cancel := context.WithCancel(soon(t))
		var all sync.WaitGroup
		for range 8 {
			all.Go(func() { _, _ = b.Follow(ctx, rolegate.Version{}) })
			all.Go(func() { _, _ = b.Asked(ctx, "") })
		}
		s.blocked(t, 2)
		if s.mini == nil {
			client := s.client(t)
			require.Never(t, func() bool {
				blocked := client.InfoMap(soon(t), "clients").Item("Clients", "blocked_clients")
				return blocked != "0" && blocked != "1" && blocked != "2"
			}, 500*time.Millisecond, 20*time.Millisecond)
		}
		publish(t, a, lead(t, a, 0), rolegate.Version{}, "", "one")
		cancel()
		all.Wait()
	})
}

// A whole index that nobody had a use for is not loaded again and again.
func TestWholeOnce(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 1<<30)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		v = publish(t, a, term, v, "+two", "one+two")

		ahead := rolegate.Version{Term: term + 5, Number: 7} // from a Redis that is no more
		u, err := b.Follow(soon(t), ahead)
		require.NoError(t, err)
		_, err = u.Whole.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, u.Whole.Close())
		got, _, whole := follow(t, b, ahead)
		require.Equal(t, "one", whole, "it has not been read to its end")
		require.Equal(t, uint64(1), got.Number)

		_, err = b.Follow(within(t, 100*time.Millisecond), ahead)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		next := following(t, soon(t), b, ahead)
		publish(t, a, term, v, "+three", "one+two+three")
		require.Equal(t, "one", (<-next).whole, "there is something newer")

		next = following(t, soon(t), b, ahead)
		to := publish(t, a, lead(t, a, ahead.Term), rolegate.Version{}, "", "four")
		require.Equal(t, outcome{v: to, whole: "four"}, <-next)
	})
}

// Redis loses all, while somebody follows.
func TestFlushAll(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		got, _, _ := follow(t, b, rolegate.Version{})
		require.Equal(t, v, got)
		next := following(t, soon(t), b, v)
		s.blocked(t, 1)
		require.NoError(t, s.client(t).FlushAll(soon(t)).Err())

		_, err := a.Publish(soon(t), term, v, text("+two", "one+two"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader)
		newer := lead(t, a, term)
		to := publish(t, a, newer, v, "+two", "one+two")
		require.Equal(t, outcome{v: to, whole: "one+two"}, <-next)
	})
}

// Redis loses parts: the log, the state, the snapshot. Nobody spins, and what is
// published next is found.
func TestPartsLost(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(t *testing.T, s *server, a *rediscache.Cache) []string{
		"log":      func(t *testing.T, s *server, a *rediscache.Cache) []string { return []string{key(t, a, "log")} },
		"state":    func(t *testing.T, s *server, a *rediscache.Cache) []string { return []string{key(t, a, "state")} },
		"snapshot": func(t *testing.T, s *server, a *rediscache.Cache) []string { return []string{s.snapshot(t, a)} },
		"log and snapshot": func(t *testing.T, s *server, a *rediscache.Cache) []string {
			return []string{key(t, a, "log"), s.snapshot(t, a)}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t), s.replica(t)
				term := lead(t, a, 0)
				v1 := publish(t, a, term, rolegate.Version{}, "", "one")
				v2 := publish(t, a, term, v1, "+two", "one+two")
				v := publish(t, a, term, v2, "+three", "one+two+three")
				require.NoError(t, s.client(t).Del(soon(t), lose(t, s, a)...).Err())
				for _, after := range []rolegate.Version{{}, v1, v2, v} {
					calls := 0
					for ctx := within(t, 150*time.Millisecond); ctx.Err() == nil && calls < 3; calls++ {
						o := <-following(t, ctx, b, after)
						if o.err == nil {
							require.Contains(t, []string{"one", "+two", "+three"}, o.whole+o.change)
						}
					}
				}
				next := lead(t, a, term)
				to := publish(t, a, next, v, "+four", "one+two+three+four")
				require.Equal(t, "one+two+three+four", catchUp(t, s.replica(t), to))
				require.Equal(t, outcome{v: to, whole: "one+two+three+four"}, <-following(t, soon(t), b, v))
			})
		})
	}
}

// A state that says other than the log is an error, and not a loop.
func TestStateAndLogDisagree(t *testing.T) {
	t.Parallel()
	for name, forge := range map[string]func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) (after rolegate.Version){
		"newest is not in the log": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			s.set(t, a, "newest", "18446744073709551615-5")
			return rolegate.Version{Term: v.Term, Number: 1}
		},
		"newest is before the log": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			s.set(t, a, "newest", "0-1")
			return rolegate.Version{Number: 1}
		},
		"newest is garbage": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			s.set(t, a, "newest", "x")
			return rolegate.Version{Term: v.Term, Number: 1}
		},
		"an entry comes from nowhere": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			require.NoError(t, s.client(t).Do(soon(t), "XADD", key(t, a, "log"), "18446744073709551615-1", "from", "1-1", "change", "x").Err())
			return v
		},
		"an entry has no version": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			require.NoError(t, s.client(t).Do(soon(t), "XADD", key(t, a, "log"), "18446744073709551615-1", "from", "1", "change", "x").Err())
			return v
		},
		"a log without a state": func(t *testing.T, s *server, a *rediscache.Cache, v rolegate.Version) rolegate.Version {
			require.NoError(t, s.client(t).Del(soon(t), key(t, a, "state")).Err())
			return v
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t), s.replica(t)
				term := lead(t, a, 0)
				v := publish(t, a, term, rolegate.Version{}, "", "one")
				after := forge(t, s, a, v)
				o := <-following(t, soon(t), b, after)
				require.NotErrorIs(t, o.err, context.DeadlineExceeded)
				if o.err == nil { // the whole index there is; but not twice
					require.Equal(t, "one", o.whole)
					o = <-following(t, within(t, 100*time.Millisecond), b, after)
				}
				require.Error(t, o.err)
				term = lead(t, a, term)
				to := publish(t, a, term, v, "+two", "one+two")
				require.Equal(t, "one+two", catchUp(t, b, to))
			})
		})
	}
}

// A snapshot that is replaced while somebody reads it can be read to its end.
func TestReadWhileReplaced(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		stored := index(5 << 20)
		_, err := a.Publish(soon(t), term, rolegate.Version{}, large(stored))
		require.NoError(t, err)
		u, err := b.Follow(soon(t), rolegate.Version{})
		require.NoError(t, err)
		_, err = u.Whole.Read(make([]byte, 10))
		require.NoError(t, err)
		v := publish(t, a, term, rolegate.Version{}, "", "two")
		rest, err := io.ReadAll(u.Whole)
		require.NoError(t, err)
		require.NoError(t, u.Whole.Close())
		require.Equal(t, string(stored[len(stored)-len(rest):]), string(rest))
		require.Equal(t, outcome{v: v, whole: "two"}, <-following(t, soon(t), b, u.Version))
	})
}

// A chunk that somebody cannot read makes the leader write a new whole index.
func TestBrokenChunk(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.NoError(t, s.client(t).HSet(soon(t), s.snapshot(t, a), "0", "x").Err())
		o := <-following(t, soon(t), b, rolegate.Version{})
		require.ErrorContains(t, o.err, "give all replicas the same Secret")
		require.False(t, errors.Is(o.err, io.EOF))
		to := publish(t, a, term, v, "+two", "one+two")
		require.Equal(t, outcome{v: to, whole: "one+two"}, <-following(t, soon(t), b, rolegate.Version{}))
	})
}
