package pull_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A list that lacks whoever had the highest sequence of all may end with a page of a
// server that lags behind: see [refresh.Doubt].
func TestWhoHadTheHighestSequenceIsMissing(t *testing.T) {
	t.Parallel()
	checks := func(w *world) {
		for range 20 {
			_, err := w.pass(2 * time.Second).increment()
			require.NoError(w.t, err)
		}
	}
	for _, c := range []struct {
		name      string
		meanwhile func(*world)
		then      []record
		listed    bool
		held      int
	}{
		{"the next list shows what is known, and lacks them", nil, append(users(19), user(1, 21, "teacher")), false, 0},
		{"the next list has them", nil, users(20), true, 0},
		{"the next list ends there too, and nobody has looked", nil, users(19), true, 1},
		{"and no incremental refresh has shown them", checks, users(19), false, 0},
		{"an incremental refresh has shown them", func(w *world) {
			checks(w)
			_, err := w.shows([]record{user(20, 20, "teacher")}).increment()
			require.NoError(w.t, err)
		}, users(19), true, 1},
		{"they have a new row", func(w *world) {
			_, err := w.shows([]record{user(20, 22, "admin")}).increment()
			require.NoError(w.t, err)
			assert.Nil(w.t, w.now.Load().Held)
		}, append(users(19), user(20, 22, "admin")), true, 0},
		{"the next list lacks more", checks, users(18), true, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).open(users(20)...)
			w.Cursor.Lags()
			first := w.at
			seen, err := w.shows(users(19)).pass(resyncEvery).full()
			require.NoError(t, err)
			assert.Equal(t, 1, seen.Held)
			assert.Zero(t, seen.Removed)
			gen := w.now.Load()
			assert.Contains(t, w.listed(), int64(20))
			assert.Equal(t, snapshot.HeldByDoubt, gen.Held.Cause)
			assert.Equal(t, w.at, gen.Contact)
			assert.Equal(t, w.at, gen.KnownFor(19), "it is about nobody else")
			assert.Equal(t, first, gen.KnownFor(20))
			assert.Equal(t, first, gen.Verified)
			assert.EqualValues(t, 20, gen.Cursor)
			assert.Positive(t, w.Cursor.Doubts(), "incremental refreshes look for them")

			w.shows(users(19))
			if c.meanwhile != nil {
				c.meanwhile(w)
			}
			assert.NotContains(t, w.due, refresh.Full, "one is due in any case")
			_, err = w.shows(c.then).pass(gap).full()
			require.NoError(t, err)
			gen = w.now.Load()
			assert.Equal(t, c.listed, w.listed()[20] != nil)
			assert.Equal(t, c.held, gen.Held.Size())
			if c.held == 0 {
				assert.Equal(t, w.at, gen.Verified)
				assert.Zero(t, w.Cursor.Doubts())
			}
		})
	}
}

// Without that, only who was changed just now is in doubt: a server may lag by as much
// as refreshes look back.
func TestWhoIsMissingWithOneServer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		do   func(*world)
		held bool
		lags bool // nobody who is missing is certain to be gone
	}{
		{"who was known for long", func(w *world) { w.pass(10 * time.Minute) }, false, false},
		{"who was changed just now", func(w *world) {
			_, err := w.pass(10 * time.Minute).shows([]record{user(20, 21, "admin")}).increment()
			require.NoError(w.t, err)
		}, true, false},
		{"who was known for long, and a row was of a server that lags", func(w *world) {
			_, err := w.shows([]record{user(20, 21, "admin")}, []record{user(20, 20, "teacher")}).increment()
			require.NoError(w.t, err)
			for range 10 {
				_, err := w.pass(time.Minute).shows([]record{user(20, 21, "admin")}).increment()
				require.NoError(w.t, err)
			}
		}, true, true},
		{"who was known for long, and rows came again", func(w *world) {
			for range 10 {
				_, err := w.pass(time.Minute).shows([]record{user(20, 21, "admin")}, []record{user(20, 21, "admin")}).increment()
				require.NoError(w.t, err)
			}
		}, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).open(users(20)...)
			c.do(w)
			_, err := w.shows(users(19)[1:]).full()
			require.NoError(t, err)
			assert.Equal(t, c.held, w.now.Load().Held.Has(20))
			assert.Equal(t, c.held, w.listed()[20] != nil)
			assert.Equal(t, c.lags, w.listed()[1] != nil, "who had a sequence that is lower than others")
		})
	}
}

// Whoever waits for a full refresh knows who is gone.
func TestWhoAsksIsBelieved(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	w.Cursor.Lags()
	done := w.Believe()
	_, err := w.shows(users(19)).full()
	require.NoError(t, err)
	assert.NotContains(t, w.listed(), int64(20))
	assert.Equal(t, w.at, w.now.Load().Verified)
	done()
	_, err = w.shows(users(18)).full()
	require.NoError(t, err)
	assert.Contains(t, w.listed(), int64(19))
	assert.False(t, w.Settles(), "nobody asks")
	defer w.Believe()()
	assert.True(t, w.Settles())
	_, err = w.full()
	require.NoError(t, err)
	assert.NotContains(t, w.listed(), int64(19), "nor does what was in doubt before stay so")
	assert.False(t, w.Settles(), "nothing is in doubt")
}

// A list that shows a user as they were and as they are is of two servers. Who is
// missing may have been changed meanwhile, or by a transaction that was committed late.
func TestAMixedList(t *testing.T) {
	t.Parallel()
	mixed := func(without int64) (list []record) {
		for _, r := range append(users(20), user(30, 30, "teacher"), user(5, 31, "admin")) {
			if r.ID != without {
				list = append(list, r)
			}
		}
		return list
	}
	for _, c := range []struct {
		name   string
		after  time.Duration
		then   []record
		listed bool
		held   int
	}{
		{"another one lacks them", gap, mixed(7), false, 0},
		{"another one lacks them at once", time.Second, mixed(7), true, 1},
		{"another one lacks somebody else", gap, mixed(8), true, 1},
		{"the next is of one server, and lacks them", time.Second, append(mixed(7)[:4], mixed(7)[5:]...), false, 0},
		{"the next is of one server, and has them", time.Second, append(mixed(0)[:4], mixed(0)[5:]...), true, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).open(append(users(20), user(30, 30, "teacher"))...)
			_, err := w.shows([]record{user(5, 31, "admin")}).increment()
			require.NoError(t, err)
			_, err = w.shows(mixed(7)).full()
			require.NoError(t, err)
			assert.Contains(t, w.listed(), int64(7))
			assert.Equal(t, []string{"admin"}, w.listed()[5])
			assert.Equal(t, 1, w.now.Load().Held.Size())

			_, err = w.shows(c.then).pass(c.after).full()
			require.NoError(t, err)
			assert.Equal(t, c.listed, w.listed()[7] != nil)
			assert.Equal(t, c.held, w.now.Load().Held.Size())
		})
	}
}

// What another replica's list is in doubt of is held with what is known here.
func TestADoubtOfAnotherReplica(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		here    func(w *world) // behind the last full refresh that the other replica has, two seconds before this one
		cursor  int64          // the highest sequence known to the other replica
		listed  bool
		since   time.Duration // when they were last seen listed, before the other replica's list
		certain bool          // nothing is held, and all is known
	}{
		{"nothing more is known here", func(*world) {}, 20, true, 10 * time.Minute, false},
		{"they were listed here since", func(w *world) {
			_, err := w.shows(users(20)).full()
			require.NoError(w.t, err)
		}, 20, true, 2 * time.Second, false},
		{"they are in doubt here, and were listed since", func(w *world) {
			_, err := w.shows(users(20)).full()
			require.NoError(w.t, err)
			_, err = w.pass(time.Second / 2).shows(users(19)).full()
			require.NoError(w.t, err)
			require.True(w.t, w.now.Load().Held.Has(20))
		}, 20, true, 2 * time.Second, false},
		{"they are gone here", func(w *world) {
			defer w.Believe()()
			_, err := w.shows(users(19)).full()
			require.NoError(w.t, err)
		}, 20, false, 0, true},
		{"they are gone here, and may have been added since", func(w *world) {
			defer w.Believe()()
			_, err := w.shows(users(19)).full()
			require.NoError(w.t, err)
		}, 21, true, 2 * time.Second, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t, sharing).open(users(20)...)
			w.Cursor.Lags()
			began := w.at
			c.here(w.pass(10*time.Minute - 3*time.Second))
			w.at = began.Add(10 * time.Minute)

			base := w.base(users(20)...)
			base.Cursor, base.Verified = c.cursor, began
			base.Held = &snapshot.HeldRemovals{
				Cause: snapshot.HeldByDoubt, Behind: 19, Since: w.at, Looks: []clock.Instant{w.at},
				Users: map[int64]snapshot.HeldUser{20: {Missing: w.at, Listed: began}},
			}
			before := w.now.Load()
			require.True(t, w.adopt(base))
			gen := w.now.Load()
			assert.Equal(t, c.listed, w.listed()[20] != nil)
			assert.False(t, gen.Verified.Mono < before.Verified.Mono, "no age goes back")
			assert.Equal(t, c.certain, gen.Held == nil)
			assert.Equal(t, c.certain, w.Cursor.Doubts() == 0)
			if c.certain {
				assert.Equal(t, w.at, gen.Verified)
				return
			}
			assert.Equal(t, w.at.Add(-c.since), gen.KnownFor(20))
			assert.Equal(t, w.at.Add(-c.since), gen.Verified)
			assert.Equal(t, w.at, gen.Held.Since)
		})
	}
}

// What the guard holds is no doubt about what the source knows; and what was taken away
// here counts on.
func TestAHoldOfAnotherReplicaIsNoDoubt(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing).open(users(40)...)
	_, err := w.shows(users(35)).full()
	require.NoError(t, err)
	lately := w.now.Load().Lately
	require.NotEmpty(t, lately)
	w.pass(time.Minute)
	base := w.base(users(35)...)
	base.Held = &snapshot.HeldRemovals{
		Cause: snapshot.HeldByShrinkGuard, Since: w.at, Looks: []clock.Instant{w.at},
		Users: map[int64]snapshot.HeldUser{35: {Missing: w.at, Listed: w.at.Add(-time.Minute)}},
	}
	require.True(t, w.adopt(base))
	assert.Zero(t, w.Cursor.Doubts())
	assert.Equal(t, lately, w.now.Load().Lately)
}
