package rediscache_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// short has a replica ask for the shortest lease, and usual for that of ten
// seconds.
func short(cfg *rediscache.Config) { cfg.Lease = time.Second }
func usual(cfg *rediscache.Config) { cfg.Lease = 0 }

func TestLease(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t, usual), s.replica(t, usual)
		l, err := a.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.Zero(t, l, "nobody has had it")

		term := lead(t, a, 0)
		l, err = a.Lease(soon(t), true, term)
		require.NoError(t, err)
		require.Equal(t, rolegate.Lease{Held: true, Taken: true, Term: term, For: 10 * time.Second}, l, "it keeps its term")
		l, err = a.Lease(soon(t), false, term)
		require.NoError(t, err)
		require.True(t, l.Held)
		require.LessOrEqual(t, l.For, 10*time.Second)
		require.Greater(t, l.For, time.Second)

		require.NoError(t, b.Release(soon(t)), "it is not b's")
		l, err = b.Lease(soon(t), true, 0)
		require.NoError(t, err)
		require.Equal(t, rolegate.Lease{Taken: true, Term: term}, l)

		require.NoError(t, a.Release(soon(t)))
		l, err = b.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.Equal(t, rolegate.Lease{Term: term}, l, "the last term is told")
		require.Greater(t, lead(t, b, 0), term)
	})
}

func TestLeaseRunsOut(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t, short), s.replica(t, short)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.Eventually(t, func() bool {
			l, err := b.Lease(soon(t), false, 0)
			return err == nil && !l.Taken
		}, wait, 20*time.Millisecond)

		_, err := a.Publish(soon(t), term, v, text("late", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader, "also if nobody else leads")
		_, err = a.Publish(soon(t), term, rolegate.Version{}, text("late", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader)

		again := lead(t, a, 0)
		require.Greater(t, again, term, "a lease that ran out is not renewed")
		next := lead(t, b, again+1)
		_, err = a.Publish(soon(t), again, v, text("late", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader)
		_, err = a.Publish(soon(t), next, v, text("late", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader, "in a term that is another's")
		require.Equal(t, next, publish(t, b, next, v, "two", "one two").Term)
	})
}

// Whoever has seen a higher term than Redis has raises it there.
func TestFloor(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b, c := s.replica(t), s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")

		l, err := b.Lease(soon(t), false, term+1000)
		require.NoError(t, err)
		require.Equal(t, rolegate.Lease{Term: term + 1000, Newest: v}, l, "the lease is void")
		_, err = a.Publish(soon(t), term, v, text("late", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader)

		next := lead(t, a, term)
		require.Greater(t, next, term+1000, "although a has not seen it itself")
		require.Greater(t, lead(t, a, next+7), next+7, "its own lease is void, too")

		far := uint64(1) << 60
		require.Greater(t, lead(t, c, far), far)
		l, err = a.Lease(soon(t), true, next)
		require.NoError(t, err)
		require.False(t, l.Held)
		_, err = a.Lease(soon(t), true, 1<<63)
		require.ErrorContains(t, err, "no term is above")
	})
}

// After Redis has lost everything, it goes on above all that anybody has seen.
func TestFloorAfterLoss(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 1<<40)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.NoError(t, s.client(t).FlushAll(soon(t)).Err())

		fresh := s.replica(t)
		low := lead(t, fresh, 0)
		require.Less(t, low, term)
		publish(t, fresh, low, rolegate.Version{}, "", "from the beginning")

		next := lead(t, b, term) // b has followed a
		require.Greater(t, next, term)
		_, err := fresh.Publish(soon(t), low, rolegate.Version{}, text("", "late"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader)
		to := publish(t, b, next, v, "two", "one two")
		got, _, whole := follow(t, fresh, v)
		require.Equal(t, to, got)
		require.Equal(t, "one two", whole)
	})
}

// One that somebody else holds is not waited for longer than it can last.
func TestLeaseForTooLong(t *testing.T) {
	t.Parallel()
	for name, values := range map[string][]any{
		"longer than it was given for": {"until", time.Now().Add(time.Hour).UnixMilli()},
		"given for longer than any":    {"until", time.Now().Add(time.Hour).UnixMilli(), "span", (24 * time.Hour).Milliseconds()},
		"no number":                    {"until", "1e300"},
		"not a number":                 {"until", "nan"},
		"infinite":                     {"until", "inf"},
		"hexadecimal":                  {"until", "0x7fffffffffff"},
		"negative":                     {"until", "-1"},
		"overflow":                     {"until", "18446744073709551616"},
		"without a span":               {"span", ""},
		"bytes":                        {"until", "\x00\xff"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t, usual), s.replica(t, usual)
				term := lead(t, a, 0)
				s.set(t, a, values...)
				require.Greater(t, lead(t, b, 0), term)
			})
		})
	}
}

// A term that no leader has made does not count, and leaves room for others.
func TestForgedTerm(t *testing.T) {
	t.Parallel()
	for _, forged := range []string{"9223372036854775807", "18446744073709551615", "18446744073709551616", "9007199254740993", "-1", "1e18", "", "7 ", "07", "seven", "\x00"} {
		t.Run(forged, func(t *testing.T) {
			t.Parallel()
			onEach(t, servers, func(t *testing.T, s *server) {
				a, b := s.replica(t, short), s.replica(t)
				term := lead(t, a, 0)
				v := publish(t, a, term, rolegate.Version{}, "", "one")
				s.set(t, a, "term", forged)
				_, err := a.Publish(soon(t), term, v, text("two", "two"))
				require.ErrorIs(t, err, rolegate.ErrNotLeader)
				l, err := b.Lease(soon(t), false, term)
				require.NoError(t, err)
				if l.Taken { // as long as it can last
					require.Equal(t, rolegate.Lease{Taken: true, Newest: v}, l)
				}
				require.Eventually(t, func() bool {
					l, err = b.Lease(soon(t), true, term)
					return err == nil && l.Held
				}, wait, 50*time.Millisecond)
				require.Greater(t, l.Term, term)
				require.Less(t, l.Term, term+1<<21)
				next := l.Term
				l, err = a.Lease(soon(t), true, term)
				require.NoError(t, err)
				require.Equal(t, rolegate.Lease{Taken: true, Term: next, Newest: v}, l)
			})
		})
	}
}

// Replicas with another secret do not take the lease from those who have it, nor
// do they follow them.
func TestAnotherSecret(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		other := s.replica(t, func(cfg *rediscache.Config) { cfg.Secret = "another secret of these tests, as long" })
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		for _, want := range []bool{false, true} {
			l, err := other.Lease(soon(t), want, term+5)
			require.NoError(t, err)
			require.Equal(t, rolegate.Lease{Taken: true, Newest: v}, l)
		}
		_, err := other.Follow(soon(t), rolegate.Version{})
		require.ErrorContains(t, err, "give all replicas the same Secret")
		_, err = other.Load(soon(t))
		require.ErrorContains(t, err, "give all replicas the same Secret")
		v2 := publish(t, a, term, v, "+two", "one+two")
		_, err = other.Follow(soon(t), v)
		require.ErrorContains(t, err, "give all replicas the same Secret")
		require.NotContains(t, err.Error(), "another secret")

		require.NoError(t, a.Release(soon(t)))
		next := lead(t, other, 0)
		to := publish(t, other, next, v2, "+three", "three")
		require.Equal(t, "three", catchUp(t, other, to))
	})
}

// A state that has been lost and is back: a term that this replica has left is
// not gone on with.
func TestEarlierTermOfOurOwn(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		state, log := s.dump(t, key(t, a, "state")), s.dump(t, key(t, a, "log"))
		lost := publish(t, a, term, v, "+lost", "one+lost")
		next := lead(t, a, term+1)
		s.restore(t, key(t, a, "state"), state)
		s.restore(t, key(t, a, "log"), log)
		again := lead(t, a, term)
		require.NotEqual(t, next, again)
		require.NotEqual(t, term, again)
		to := publish(t, a, again, v, "+two", "one+two")
		require.NotEqual(t, lost, to)
		require.Equal(t, "one+two", catchUp(t, s.replica(t), to))
	})
}
