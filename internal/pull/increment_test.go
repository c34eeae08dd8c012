package pull_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

func TestIncrement(t *testing.T) {
	t.Parallel()
	null := user(2, 21)
	null.NullRoles = true
	tooMany := user(1, 21)
	for i := range index.MaxRoles + 1 {
		tooMany.grants = append(tooMany.grants, snapshot.RowGrant{Org: 1, Code: fmt.Sprint("role-", i)})
	}
	for _, c := range []struct {
		name string
		rows []record
		want map[int64][]string // of those who differ from before; nil is out
		seen pull.Outcome
		why  pull.Failure
		due  []refresh.Kind
	}{
		{"nothing", nil, nil, pull.Outcome{}, "", nil},
		{"a new user", []record{user(21, 21, "new")}, map[int64][]string{21: {"new"}}, pull.Outcome{Records: 1, Added: 1}, "", nil},
		{"other roles", []record{user(3, 21, "a", "b")}, map[int64][]string{3: {"a", "b"}}, pull.Outcome{Records: 1, Changed: 1}, "", nil},
		{"no roles", []record{null}, map[int64][]string{2: {}}, pull.Outcome{Records: 1, Changed: 1, LostAllRoles: 1, NullRoles: 1}, "", nil},
		{"a bad record", []record{bad(3, 21)}, map[int64][]string{3: nil}, pull.Outcome{Records: 1, Removed: 1, BadRecords: 1}, "", nil},
		{"a bad record without a sequence", []record{bad(3, 0)}, map[int64][]string{3: nil}, pull.Outcome{Records: 1, Removed: 1, BadRecords: 1}, "", nil},
		{"a bad record and a good one", []record{bad(3, 21), user(3, 22, "a")}, map[int64][]string{3: nil}, pull.Outcome{Records: 2, Removed: 1, BadRecords: 1}, "", []refresh.Kind{refresh.Full}},
		{"a record of nobody", []record{bad(0, 21), user(22, 22, "a")}, map[int64][]string{22: {"a"}}, pull.Outcome{Records: 2, Added: 1, BadRecords: 1}, "", []refresh.Kind{refresh.Full}},
		{"hundreds without its form", slices.Repeat([]record{bad(3, 21)}, 300), map[int64][]string{3: nil}, pull.Outcome{Records: 300, Removed: 1, BadRecords: 1}, "", nil},
		{"the same row again", []record{user(20, 20, "teacher")}, nil, pull.Outcome{Records: 1, Duplicates: 1}, "", nil},
		{"a row that differs under the same sequence", []record{user(20, 20, "later")}, map[int64][]string{20: {"later"}}, pull.Outcome{Records: 1, Changed: 1, Duplicates: 1, Conflicts: 1}, "", nil},
		{"set back", []record{{Record: pull.Record{ID: 3, Sequence: 2}}}, nil, pull.Outcome{}, pull.Regressed, []refresh.Kind{refresh.Full}},
		{"set back, and it cannot be read", []record{bad(3, 2)}, nil, pull.Outcome{}, pull.Regressed, []refresh.Kind{refresh.Full}},
		{"more role codes than there are numbers", []record{tooMany}, nil, pull.Outcome{}, pull.Drift, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t).open(users(20)...)
			_, err := w.pass(every).shows([]record{user(20, 20, "teacher")}).increment() // what is known lies lookBack behind
			require.NoError(t, err)
			before, gen, contact := w.listed(), w.now.Load(), w.now.Load().Contact
			w.pass(3 * time.Minute)
			if c.why == pull.Regressed {
				w.pages = [][]record{{user(21, 21, "x")}}
				_, err := w.increment()
				require.NoError(t, err)
				_, err = w.pass(3 * time.Minute).increment()
				require.NoError(t, err)
				before, gen = w.listed(), w.now.Load()
				w.shows(c.rows).lies = true
			} else {
				w.shows(append([]record{user(20, 20, "teacher")}, c.rows...))
				c.seen.Records++
			}
			seen, err := w.pass(3 * time.Minute).increment()
			assert.Equal(t, c.due, w.due)
			if c.why != "" {
				f, ok := errors.AsType[*failure](err)
				require.True(t, ok, "%v", err)
				assert.Equal(t, c.why, f.why)
				assert.Same(t, gen, w.now.Load())
				return
			}
			require.NoError(t, err)
			assert.Equal(t, c.seen, seen)
			for id, roles := range c.want {
				if roles == nil {
					delete(before, id)
				} else {
					before[id] = roles
				}
			}
			assert.Equal(t, before, w.listed())
			assert.NotEqual(t, contact, w.now.Load().Contact)
			assert.Equal(t, w.at, w.now.Load().Contact)
			assert.Equal(t, gen.Verified, w.now.Load().Verified, "only a full refresh shows who is gone")
			assert.Equal(t, len(c.want) > 0, w.now.Load().Touched)
		})
	}
}

// Each page counts at once, as long as publishing costs little.
func TestIncrementPageByPage(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	var seen []int
	w.read = func(int64) { seen = append(seen, w.now.Load().Users) }
	_, err := w.shows([]record{user(21, 21, "a")}, []record{user(22, 22, "a")}, nil, []record{user(23, 23, "a")}).increment()
	require.NoError(t, err)
	assert.Equal(t, []int{20, 21, 22, 22}, seen)
	assert.Equal(t, 23, w.now.Load().Users)
}

// While publishing takes long, pages wait: four times as long, and a second at most.
func TestIncrementPublishesAtLeastEverySecond(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		takes, per time.Duration // publishing, and a page
		seen       []int
	}{
		{"a tenth of a second", 100 * time.Millisecond, 150 * time.Millisecond, []int{20, 21, 21, 21, 24, 24}},
		{"ten seconds", 10 * time.Second, 600 * time.Millisecond, []int{20, 21, 21, 23, 23, 25}},
		{"nothing", 0, 0, []int{20, 21, 22, 23, 24, 25}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.now.OnPublish(func() { w.pass(c.takes) })
			w.open(users(20)...)
			var seen []int
			var pages [][]record
			for id := range int64(6) {
				pages = append(pages, []record{user(21+id, 21+id, "a")})
			}
			w.read = func(int64) {
				seen = append(seen, w.now.Load().Users)
				w.pass(c.per)
			}
			_, err := w.shows(pages...).increment()
			require.NoError(t, err)
			assert.Equal(t, c.seen, seen)
			assert.Equal(t, 26, w.now.Load().Users)
		})
	}
}

// The parts of a refresh add up.
func TestIncrementCountsAllPages(t *testing.T) {
	t.Parallel()
	page := func(n int64) []record {
		null, dropped := user(n, n), user(n+1, n+1, "a")
		null.NullRoles = true
		dropped.grants = append(dropped.grants, snapshot.RowGrant{})
		return []record{null, dropped, user(n+2, n+2, "a"), user(n+2, n+2, "b"), bad(n-20, n+3), user(n-18, n+4)}
	}
	w := newWorld(t).open(users(40)...)
	seen, err := w.shows(page(41), page(51)).increment()
	require.NoError(t, err)
	assert.Equal(t, pull.Outcome{
		Records: 12, Added: 6, Removed: 2, Changed: 2, LostAllRoles: 2,
		BadRecords: 2, NullRoles: 2, DroppedGrants: 2, Duplicates: 2, Conflicts: 2,
	}, seen)
}

// A refresh that fails has published what came before that, and moves no age.
func TestIncrementThatFails(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	contact := w.now.Load().Contact
	w.err = errors.New("reset")
	_, err := w.shows([]record{user(21, 21, "a")}).increment()
	require.ErrorIs(t, err, w.err)
	assert.Contains(t, w.listed(), int64(21))
	assert.Equal(t, contact, w.now.Load().Contact)
}

// At most one full refresh in each ResyncEvery is for a record that stays bad.
func TestUnreadableRecords(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	due := func() int {
		_, err := w.shows([]record{user(20, 20, "teacher"), bad(0, 21)}).increment()
		require.NoError(t, err)
		n := len(w.due)
		w.due = nil
		return n
	}
	assert.Equal(t, 1, due())
	assert.Equal(t, int64(20), w.now.Load().Cursor, "nobody's sequence moves nothing")
	assert.Equal(t, 0, due())
	w.pass(resyncEvery - 3*time.Second)
	assert.Equal(t, 0, due())
	assert.Equal(t, 1, due(), "ResyncEvery after the first")
	assert.Equal(t, 0, due())
}

// A source that does not show the highest sequence known cannot say what has
// changed. One look is no evidence: it may have met a server that lags behind.
func TestTheHighestSequenceIsMissed(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	_, err := w.shows([]record{user(21, 21, "new")}).increment()
	require.NoError(t, err)
	var due []int
	for range 9 {
		contact := w.now.Load().Contact
		_, err := w.shows([]record{user(20, 20, "teacher")}).pass(time.Minute).increment()
		require.NoError(t, err)
		assert.Equal(t, contact, w.now.Load().Contact, "it has not shown that it knows all")
		due = append(due, len(w.due))
		w.due = nil
	}
	assert.Equal(t, []int{0, 1, 0, 1, 0, 0, 0, 1, 0}, due)
	_, err = w.shows([]record{user(21, 21, "new")}).increment()
	require.NoError(t, err)
	assert.Equal(t, w.at, w.now.Load().Contact)
	_, err = w.shows(nil).increment()
	require.NoError(t, err)
	assert.Empty(t, w.due, "it is counted anew")
	_, err = w.shows(nil).pass(10 * time.Minute).increment() // now it asks from the highest
	require.NoError(t, err)
	_, err = w.shows(nil).increment()
	require.NoError(t, err)
	assert.Equal(t, w.at, w.now.Load().Contact, "nothing need be shown again")
	_, err = w.shows([]record{user(22, 22, "new")}).increment()
	require.NoError(t, err)
	assert.Equal(t, w.at, w.now.Load().Contact, "a higher one will do")
}

// Rows that say nothing new change nothing, although they differ from what is known.
func TestRowsThatSayNothingNew(t *testing.T) {
	t.Parallel()
	t.Run("older than what was read", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).open(users(20)...)
		_, err := w.shows([]record{user(3, 25, "newer")}).increment()
		require.NoError(t, err)
		_, err = w.shows([]record{user(3, 22, "older"), user(3, 25, "newer")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"newer"}, w.listed()[3])
		_, err = w.shows([]record{user(3, 25, "otherwise")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"otherwise"}, w.listed()[3], "under the same sequence")
		_, err = w.shows([]record{user(3, 26, "newest")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"newest"}, w.listed()[3])
	})
	t.Run("of a user who is gone", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).young(20)
		_, err := w.shows(append(users(18), user(20, 20, "teacher"))).full()
		require.NoError(t, err)
		_, err = w.shows([]record{user(19, 19, "teacher"), user(20, 20, "teacher")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(19))
		_, err = w.shows([]record{user(20, 20, "teacher"), user(19, 21, "back")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"back"}, w.listed()[19])
	})
	t.Run("of a user who was shown, and is out", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).young(20)
		_, err := w.shows([]record{user(21, 21, "a"), user(22, 22, "a")}).increment()
		require.NoError(t, err)
		_, err = w.shows(append(users(20), user(22, 22, "a"))).full()
		require.NoError(t, err)
		_, err = w.shows([]record{user(21, 21, "a"), user(22, 22, "a")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(21))
	})
	t.Run("of a user whose record is invalid", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).young(20)
		_, err := w.shows(append(users(20), bad(21, 0), user(22, 22, "x"))).full()
		require.NoError(t, err)
		for _, old := range []int64{21, 22} {
			_, err = w.shows([]record{user(21, old, "old"), user(22, 22, "x")}).increment()
			require.NoError(t, err)
			assert.NotContains(t, w.listed(), int64(21))
		}
		_, err = w.shows([]record{user(22, 22, "x"), user(21, 23, "new")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"new"}, w.listed()[21])
		_, err = w.shows([]record{bad(21, 23), user(21, 23, "new")}).increment()
		require.NoError(t, err)
		_, err = w.shows([]record{user(21, 23, "new")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(21), "it is what was read before, and another record has made them invalid")
	})
	t.Run("of a user whose record is invalid, and was read long ago", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).open(append(users(19), bad(20, 20))...)
		for range 3 {
			_, err := w.shows().pass(lookBack).increment()
			require.NoError(t, err)
		}
		_, err := w.shows([]record{user(20, 20, "old")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(20))
		_, err = w.shows([]record{user(20, 21, "new")}).increment()
		require.NoError(t, err)
		assert.Contains(t, w.listed(), int64(20))
	})
	t.Run("of a user whose invalid record was repaired", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).young(20)
		_, err := w.shows([]record{user(20, 20, "teacher"), bad(3, 21)}).increment()
		require.NoError(t, err)
		_, err = w.shows([]record{user(22, 23, "x")}, []record{user(23, 23, "x"), user(3, 23, "repaired")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"repaired"}, w.listed()[3], "by a batch that ends on the next page")
		_, err = w.shows([]record{bad(3, 24), user(22, 26, "x")}).increment()
		require.NoError(t, err)
		_, err = w.shows([]record{user(3, 25, "late"), user(22, 26, "x")}).increment()
		require.NoError(t, err)
		assert.Equal(t, []string{"late"}, w.listed()[3], "by a transaction that was committed late")
	})
	t.Run("of a user whose record is invalid, and whose sequence is absurd", func(t *testing.T) {
		t.Parallel()
		const absurd = int64(1) << 60
		w := newWorld(t).young(20)
		_, err := w.shows([]record{user(20, 20, "teacher"), bad(3, absurd)}).increment()
		require.NoError(t, err)
		require.Equal(t, int64(20), w.now.Load().Cursor)
		_, err = w.shows([]record{user(20, 20, "teacher"), user(3, absurd, "new")}).increment()
		require.NoError(t, err)
		assert.NotContains(t, w.listed(), int64(3))
		_, err = w.shows([]record{user(20, 20, "teacher"), user(3, absurd+1, "new")}).increment()
		require.NoError(t, err)
		assert.Contains(t, w.listed(), int64(3))
	})
	t.Run("of a user whose removal is held", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t).young(40)
		_, err := w.shows(append(users(20), user(40, 40, "teacher"))).full()
		require.NoError(t, err)
		held := w.now.Load().Held.Size()
		_, err = w.shows([]record{user(39, 39, "teacher"), user(40, 40, "teacher")}).increment()
		require.NoError(t, err)
		assert.Equal(t, held, w.now.Load().Held.Size(), "a server that lags behind lists them still")
		_, err = w.shows([]record{user(39, 39, "other"), user(40, 40, "teacher")}).increment()
		require.NoError(t, err)
		assert.Equal(t, held, w.now.Load().Held.Size(), "under that sequence nothing is new, whatever it says")
		_, err = w.shows([]record{user(40, 40, "teacher"), user(39, 41, "back")}).increment()
		require.NoError(t, err)
		assert.Equal(t, held-1, w.now.Load().Held.Size())
		assert.Equal(t, []string{"back"}, w.listed()[39])
	})
}

// young makes the first list, of so many users, all but ten of which have come since
// the source was asked last: incremental refreshes look back at them.
func (w *world) young(n int64) *world {
	w.t.Helper()
	w.open(users(10)...)
	_, err := w.shows(users(n)).full()
	require.NoError(w.t, err)
	w.due, w.asked = nil, nil
	return w.shows()
}

// A page may have its rows in any order.
func TestAShuffledPageShowsTheHighestSequence(t *testing.T) {
	t.Parallel()
	w := newWorld(t).young(20)
	_, err := w.shows([]record{user(20, 20, "teacher"), user(19, 19, "teacher")}).increment()
	require.NoError(t, err)
	assert.Equal(t, w.at, w.now.Load().Contact)
}

// A new row that makes an alias ambiguous is told, one that only is not.
func TestAmbiguousAliases(t *testing.T) {
	t.Parallel()
	w := newWorld(t).open(users(20)...)
	next := func(rows ...record) int {
		_, err := w.shows(append([]record{user(20, 20, "teacher")}, rows...)).increment()
		require.NoError(t, err)
		n := w.ambiguous
		w.ambiguous = 0
		return n
	}
	assert.Zero(t, next(user(21, 21, "a")))
	assert.Equal(t, 1, next(user(22, 22, "a").called("user-3")))
	assert.Zero(t, next(user(23, 23, "a")))
	assert.Equal(t, 1, next(user(24, 24, "a").called("user-4")))
	mail := user(26, 26, "a")
	mail.text[index.FieldEmail] = "a@b"
	assert.Zero(t, next(mail))
	mail = user(27, 27, "a")
	mail.text[index.FieldEmail] = "a@b"
	assert.Equal(t, 1, next(mail), "of another kind")
	assert.Zero(t, next(user(24, 25, "a").called("user-24")))
}

// What an incremental refresh reads is shared as it is published, as parts of one
// whole.
func TestSharedRows(t *testing.T) {
	t.Parallel()
	w := newWorld(t, sharing, told).open(users(20)...)
	w.read = func(int64) { w.pass(time.Second) }
	dropped := user(22, 22, "b")
	dropped.grants = append(dropped.grants, snapshot.RowGrant{Org: -1, Code: "x"})
	_, err := w.shows([]record{user(20, 20, "teacher"), user(21, 21, "a")}, nil, []record{dropped, bad(3, 0), user(4, 24, "c"), bad(4, 23)}).increment()
	require.NoError(t, err)
	started := w.at.Add(-3 * time.Second)
	require.Len(t, w.shared, 3)

	first, second, last := w.shared[0], w.shared[1], w.shared[2]
	assert.Equal(t, started, first.at)
	assert.Equal(t, [2]int64{20, 21}, [2]int64{first.e.From, first.e.To})
	assert.False(t, first.e.Complete)
	assert.Equal(t, []int64{20, 21}, []int64{first.rows[0].ID, first.rows[1].ID})
	assert.Equal(t, []snapshot.RowGrant{{Org: 1, Code: "a"}}, first.rows[1].Grants)
	assert.Equal(t, "user-21", first.rows[1].Text[index.FieldAccount])

	assert.Equal(t, started.Add(time.Second), second.at, "the page was asked for after the one before was published")
	assert.Equal(t, [2]int64{21, 24}, [2]int64{second.e.From, second.e.To})
	require.Len(t, second.rows, 4)
	assert.True(t, second.rows[0].DroppedGrant)
	assert.Equal(t, snapshot.Row{ID: 3, Sequence: 24, Read: second.rows[1].Read, Invalid: true}, second.rows[1], "the sequence of the highest")
	for _, row := range second.rows[2:] {
		assert.Equal(t, snapshot.Row{ID: 4, Sequence: 24, Read: row.Read, Invalid: true}, row)
	}

	assert.True(t, last.e.Complete)
	assert.Equal(t, started, last.at)
	assert.Equal(t, [2]int64{24, 24}, [2]int64{last.e.From, last.e.To})
	assert.Empty(t, last.rows)
	require.Len(t, w.changes, 2)
	assert.Equal(t, []int64{21}, w.changes[0].Added)
	assert.False(t, w.changes[0].Full)
}
