package refresh_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/clock"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/internal/refresh"
)

// minute is the instant so many minutes after the beginning.
func minute(n float64) clock.Instant {
	return clock.Instant{Mono: 1, Wall: 1}.Add(time.Duration(n * float64(time.Minute)))
}

// full has a cursor take in a full refresh without latency.
func full(c *refresh.Cursor, at clock.Instant, sequences ...int64) {
	list := c.Tail(minute(0))
	for _, sequence := range sequences {
		list.Add(sequence, sequence)
	}
	c.Full(at, at, list, nil)
}

// pull has it take in an incremental refresh of one page.
func pull(c *refresh.Cursor, at clock.Instant, sequences ...int64) {
	rows := map[int64]int64{}
	for _, sequence := range sequences {
		rows[sequence] = sequence
	}
	c.Page(at, rows, true)
	c.Done(at, 0)
}

// look has as many incremental refreshes find those rows, and no others, as are to
// look whether a list is older than what is known.
func look(c *refresh.Cursor, at clock.Instant, sequences ...int64) {
	for range 15 {
		pull(c, at, sequences...)
	}
}

func newCursor() *refresh.Cursor { return refresh.NewCursor(2*time.Minute, time.Minute) }

func TestCursorLooksBack(t *testing.T) {
	t.Parallel()
	c := newCursor()
	assert.Zero(t, c.From())
	full(c, minute(0), 98, 99, 100)
	assert.EqualValues(t, 100, c.From(), "nothing older is known")
	pull(c, minute(1), 110)
	pull(c, minute(2), 120)
	assert.EqualValues(t, 100, c.From())
	pull(c, minute(3), 130)
	assert.EqualValues(t, 110, c.From(), "known two minutes before the last began")
	pull(c, minute(4))
	assert.EqualValues(t, 120, c.From())
	assert.EqualValues(t, 130, c.Highest())
	pull(c, minute(20))
	assert.EqualValues(t, 130, c.From(), "whatever was under way then has ended")
}

// A monotonic clock may read anything, also less than nothing.
func TestCursorLooksBackWhateverTheClockReads(t *testing.T) {
	t.Parallel()
	at := func(n float64) clock.Instant { return minute(n - 1e6) }
	c := newCursor()
	full(c, at(0), 100)
	pull(c, at(1), 110)
	pull(c, at(2), 120)
	assert.EqualValues(t, 100, c.From())
	pull(c, at(3), 130)
	assert.EqualValues(t, 110, c.From())
}

// A row of a user who was removed counts if it is newer than what was known then.
func TestCursorKnowsWhoWasRemoved(t *testing.T) {
	t.Parallel()
	c := newCursor()
	full(c, minute(0), 98, 99, 100)
	list := c.Tail(minute(1))
	list.Add(98, 98)
	list.Add(99, 99)
	c.Full(minute(1), minute(1), list, []int64{100})
	assert.EqualValues(t, 99, c.Highest())
	assert.True(t, c.Outdated(100, 100), "what they had is known")
	assert.False(t, c.Outdated(100, 101))
	assert.False(t, c.Outdated(99, 1))
	assert.True(t, c.IsGone(100, 100))
	assert.False(t, c.IsGone(100, 101), "they may be listed again under that")
	assert.False(t, c.IsGone(99, 1))
	gone := map[int64]int64{}
	c.AddGone(gone)
	assert.Equal(t, map[int64]int64{100: 100}, gone)
	pull(c, minute(2))
	c.Gone([]int64{99}) // another replica's full refresh
	assert.True(t, c.Outdated(99, 99))
	assert.False(t, c.Outdated(99, 100))
	pull(c, minute(3), 120)
	pull(c, minute(9), 121)
	require.EqualValues(t, 120, c.From())
	for _, id := range []int64{99, 100} {
		assert.False(t, c.Outdated(id, 99), "no row of that age can come any more")
	}

	unknown, gone := newCursor(), map[int64]int64{}
	unknown.Gone([]int64{100})
	unknown.AddGone(gone)
	assert.Empty(t, gone, "no sequence was known by then")
}

// Full refreshes that list users again who were removed, under the sequence that
// they had, are believed when two in a row agree that are far enough apart.
func TestCursorBelievesTwoThatAgree(t *testing.T) {
	t.Parallel()
	type look struct {
		at      float64
		lists   bool
		counts  bool
		another bool // is due soon
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"a minute apart", []look{{2, true, false, true}, {3, true, true, false}, {4, true, true, false}}},
		{"too soon", []look{{2, true, false, true}, {2.5, true, false, true}, {3, true, true, false}}},
		{"not in a row", []look{{2, true, false, true}, {3, false, false, false}, {4, true, false, true}, {5, true, true, false}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cursor := newCursor()
			full(cursor, minute(0), 98, 99, 100)
			list := cursor.Tail(minute(1))
			list.Add(100, 100)
			cursor.Full(minute(1), minute(1), list, []int64{98, 99})
			for _, l := range c.looks {
				list := cursor.Tail(minute(l.at))
				list.Add(100, 100)
				if l.lists {
					assert.Equal(t, l.counts, list.Add(99, 99), "at %v", l.at)
				}
				require.NoError(t, cursor.Older(minute(l.at), list, false, func() bool { return false }))
				cursor.Full(minute(l.at), minute(l.at), list, nil)
				soon := time.Duration(0)
				if l.another {
					soon = 67*time.Second + 500*time.Millisecond
				}
				assert.Equal(t, soon, cursor.Again(), "at %v", l.at)
				assert.Equal(t, !l.lists || !l.counts, cursor.Outdated(99, 99), "at %v", l.at)
			}
		})
	}
}

// Only rows that are not newer than what was known are of a server that lags.
func TestCursorBelievesNewRowsOfWhoIsGone(t *testing.T) {
	t.Parallel()
	c := newCursor()
	full(c, minute(0), 98, 99, 100)
	list := c.Tail(minute(1))
	list.Add(100, 100)
	c.Full(minute(1), minute(1), list, []int64{98, 99})
	list = c.Tail(minute(2))
	assert.True(t, list.Add(98, 101))
	assert.False(t, list.Add(99, 100))
	assert.True(t, list.Add(97, 0), "this one was never known")
}

// Whatever commits no later than LookBack after it took its sequence is shown by
// the first refresh that begins after the commit.
func TestCursorMissesNoLateCommit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type tx struct{ taken, committed float64 }
		var txs []tx // the sequence is the index and 1
		at := 0.0
		for range rapid.IntRange(1, 40).Draw(t, "transactions") {
			at += rapid.Float64Range(0, 1).Draw(t, "pause")
			txs = append(txs, tx{at, at + rapid.Float64Range(0, 2).Draw(t, "takes")})
		}
		c, seen := newCursor(), map[int]bool{}
		visible := func(after int64, now float64) (rows []int64) {
			for i, x := range txs {
				if int64(i+1) > after && x.committed <= now {
					rows = append(rows, int64(i+1))
				}
			}
			return rows
		}
		// The first full refresh may pass by what it cannot know of.
		now := 0.0
		full(c, minute(now))
		for now < at+5 {
			began := now
			now += rapid.Float64Range(0.1, 4).Draw(t, "until the next")
			rows := visible(c.From(), now)
			pull(c, minute(now), rows...)
			for _, row := range rows {
				seen[int(row)-1] = true
			}
			for i, x := range txs {
				if x.committed <= now {
					require.True(t, seen[i], "transaction %d took its sequence at %v and committed at %v, between %v and %v", i+1, x.taken, x.committed, began, now)
				}
			}
		}
	})
}

func TestCursorAbsurdSequences(t *testing.T) {
	t.Parallel()
	const typo = 1 << 62
	t.Run("in an increment", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		pull(c, minute(1), 101, typo)
		assert.EqualValues(t, 101, c.Highest())
		pull(c, minute(2), 102, typo)
		assert.EqualValues(t, 102, c.Highest())
	})
	t.Run("in a full refresh", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100, typo-1, typo)
		assert.EqualValues(t, 100, c.Highest())
		full(c, minute(10), 99, 100, 103, typo-1, typo)
		assert.EqualValues(t, 103, c.Highest())
	})
	t.Run("the source numbers otherwise from now on", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		for i := range int64(20) {
			pull(c, minute(1+float64(i)), typo+i)
		}
		assert.EqualValues(t, typo+19, c.Highest())
	})
	t.Run("two numbers are no proportion", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 1)
		pull(c, minute(1), 1<<40)
		assert.EqualValues(t, 1<<40, c.Highest())
	})
	t.Run("it outruns what full refreshes show", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100, 5000)
		require.EqualValues(t, 5000, c.Highest(), "not absurd by itself")
		pull(c, minute(5))
		list := c.Tail(minute(0))
		for _, sequence := range []int64{99, 100, 101, 102, 5000} { // 101 and 102 are news
			list.Add(sequence, sequence)
		}
		require.NoError(t, c.Older(minute(10), list, false, never))
		assert.Equal(t, 2, c.Missed(list, func(id int64) bool { return id == 101 || id == 102 }))
		assert.EqualValues(t, 102, c.Full(minute(10), minute(10), list, nil))
		assert.EqualValues(t, 102, c.Highest())
		assert.EqualValues(t, 102, c.From())
		pull(c, minute(11), 103, 5000)
		assert.EqualValues(t, 103, c.Highest(), "and it does not come back")
		full(c, minute(20), 99, 103, 5000)
		assert.EqualValues(t, 103, c.Highest())
	})
	t.Run("a server that lags behind was asked", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100, 105)
		pull(c, minute(5))
		c.Lags()
		list := c.Tail(minute(5))
		for _, sequence := range []int64{99, 100, 101, 105} {
			list.Add(sequence, sequence)
		}
		require.NoError(t, c.Older(minute(10), list, false, never))
		assert.Equal(t, 1, c.Missed(list, func(id int64) bool { return id == 101 }))
		c.Full(minute(10), minute(10), list, nil)
		assert.EqualValues(t, 105, c.Highest(), "it is known still")
		list = c.Tail(minute(11))
		for _, sequence := range []int64{99, 100, 101} {
			list.Add(sequence, sequence)
		}
		require.ErrorAs(t, c.Older(minute(11), list, false, never), new(*refresh.OlderError))
	})
	t.Run("late commits are no reason to go back", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		var sequences []int64
		for s := range int64(100) {
			sequences = append(sequences, s+1)
		}
		full(c, minute(0), sequences...)
		pull(c, minute(5))
		list := c.Tail(minute(0))
		for _, sequence := range sequences {
			list.Add(sequence, sequence)
		}
		assert.Equal(t, 1, c.Missed(list, func(id int64) bool { return id == 50 }))
		c.Full(minute(10), minute(10), list, nil)
		assert.EqualValues(t, 100, c.Highest())
	})
}

// What is out of proportion, to the number.
func TestCursorProportions(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		below, sequence int64
		moves           bool
	}{
		{1, 1<<40 + 1, true}, {1, 1<<40 + 2, false},
		{1 << 31, 1 << 41, true}, {1 << 31, 1<<41 + 1024, false}, {1 << 31, 1<<41 + 1023, true},
		{0, 1 << 62, true},
	} {
		cursor := newCursor()
		full(cursor, minute(0), c.below)
		pull(cursor, minute(1), c.sequence)
		assert.Equal(t, c.moves, cursor.Highest() == c.sequence, "%+v", c)
	}
}

// As many sequences as can be absurd move nothing; one more, and they are how the
// source numbers.
func TestCursorManyAbsurdSequences(t *testing.T) {
	t.Parallel()
	const typo = 1 << 62
	t.Run("in increments", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		for i := range int64(16) {
			pull(c, minute(1+float64(i)), typo+i)
		}
		assert.EqualValues(t, 100, c.Highest())
		pull(c, minute(20), typo+3)
		assert.EqualValues(t, 100, c.Highest(), "it was among them")
		pull(c, minute(21), typo+16)
		assert.EqualValues(t, typo+16, c.Highest())
	})
	for n, want := range map[int64]int64{1: 102, 16: 102, 17: 5016} {
		t.Run(fmt.Sprintf("%d behind which something was missed", n), func(t *testing.T) {
			t.Parallel()
			c := newCursor()
			sequences := []int64{99, 100}
			for i := range n {
				sequences = append(sequences, 5000+i)
			}
			full(c, minute(0), sequences...)
			pull(c, minute(5))
			list := c.Tail(minute(5))
			for _, sequence := range append(sequences, 102) {
				list.Add(sequence, sequence)
			}
			assert.Equal(t, 1, c.Missed(list, func(id int64) bool { return id == 102 }))
			c.Full(minute(10), minute(10), list, nil)
			assert.Equal(t, want, c.Highest())
			pull(c, minute(11), 5000)
			assert.Equal(t, want, c.Highest(), "one of them alone does not come back")
		})
	}
	t.Run("an increment has gone on meanwhile", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 5000)
		pull(c, minute(5))
		list := c.Tail(minute(5))
		for _, sequence := range []int64{99, 101, 5000} {
			list.Add(sequence, sequence)
		}
		pull(c, minute(6), 5001)
		assert.Equal(t, 1, c.Missed(list, func(id int64) bool { return id == 101 }))
		assert.EqualValues(t, 5001, c.Highest())
	})
	t.Run("the highest itself was missed", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		pull(c, minute(5))
		list := c.Tail(minute(5))
		list.Add(99, 99)
		list.Add(100, 100)
		assert.Equal(t, 1, c.Missed(list, func(id int64) bool { return id == 100 }), "nobody asks for that any more")
		c.Full(minute(10), minute(10), list, nil)
		assert.EqualValues(t, 100, c.Highest())
	})
}

// Every row of a page is remembered, whatever the others of it are.
func TestCursorRemembersWholePages(t *testing.T) {
	t.Parallel()
	const typo = 1 << 62
	for name, c := range map[string]struct {
		rows  map[int64]int64
		moves bool
	}{
		"that do not move it": {map[int64]int64{1: 101, 2: 102, 3: 103}, false},
		"of old rows":         {map[int64]int64{1: 97, 2: 98, 3: 100}, true},
		"of absurd rows":      {map[int64]int64{1: typo, 2: typo + 1, 3: typo + 2}, true},
	} {
		cursor := newCursor()
		full(cursor, minute(0), 100)
		cursor.Page(minute(1), c.rows, c.moves)
		for id, sequence := range c.rows {
			seen, _ := cursor.Seen(id)
			assert.Equal(t, sequence, seen, name)
		}
	}
}

// A full refresh does not forget since when what is known.
func TestCursorLooksBackBehindAFullRefresh(t *testing.T) {
	t.Parallel()
	t.Run("one with news", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 100)
		full(c, minute(1), 100, 110)
		assert.EqualValues(t, 100, c.From())
	})
	t.Run("one without news", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 90)
		pull(c, minute(4), 100)
		full(c, minute(5), 90, 100)
		assert.EqualValues(t, 90, c.From())
	})
	t.Run("an increment has gone on meanwhile", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		list := c.Tail(minute(5))
		list.Add(99, 99)
		pull(c, minute(1), 105)
		c.Full(minute(1), minute(2), list, nil)
		assert.EqualValues(t, 105, c.Highest())
	})
}

// A tail is of the last rows, in whichever order they came.
func TestCursorKnowsTheLastRows(t *testing.T) {
	t.Parallel()
	missed := func(rows, from int) int {
		c := newCursor()
		full(c, minute(0), 1<<30)
		pull(c, minute(5))
		list := c.Tail(minute(5))
		for i := range rows {
			list.Add(int64(i+1), int64(i+1))
		}
		return c.Missed(list, func(id int64) bool { return id > int64(from) })
	}
	assert.Equal(t, 1024, missed(1024, 0))
	assert.Equal(t, 1024, missed(1025, 0))
	assert.Equal(t, 1023, missed(1024, 1))
	assert.Equal(t, 1024, missed(1025, 1), "the first has made room")
	assert.Equal(t, 1024, missed(3000, 3000-1024))
	assert.Equal(t, 1, missed(3000, 2999))

	c := newCursor()
	full(c, minute(0), 100)
	list := c.Tail(minute(5))
	for _, sequence := range []int64{99, 100, 101, 102} {
		list.Add(sequence, sequence)
	}
	list.Add(101, 90)
	assert.Equal(t, map[int64]int64{101: 101, 102: 102}, list.Above())
}

func never() bool { return false }

func TestCursorOlderLists(t *testing.T) {
	t.Parallel()
	older := func(c *refresh.Cursor, at float64, explained bool, sequences ...int64) error {
		list := c.Tail(minute(0))
		for _, sequence := range sequences {
			list.Add(sequence, sequence)
		}
		err := c.Older(minute(at), list, false, func() bool { return explained })
		if err == nil {
			c.Full(minute(at), minute(at), list, nil)
		}
		return err
	}
	t.Run("a second one a minute later", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		var e *refresh.OlderError
		require.ErrorAs(t, older(c, 10, false, 90, 95), &e)
		assert.Equal(t, refresh.OlderError{Shown: 95, Known: 100, Again: time.Minute}, *e)
		assert.EqualValues(t, 100, c.Highest())
		require.Error(t, older(c, 11, false, 90, 96), "no incremental refresh has looked")
		look(c, minute(11.2))
		require.Error(t, older(c, 10.5, false, 90, 95), "not a minute later")
		require.NoError(t, older(c, 11.5, false, 90, 96))
		assert.EqualValues(t, 96, c.Highest(), "it is believed")
		assert.EqualValues(t, 96, c.From())
	})
	t.Run("a refresh between them shows that the source knows more", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.Error(t, older(c, 10, false, 95))
		assert.EqualValues(t, 99, c.From(), "it is asked for what it should have")
		pull(c, minute(10.5), 100)
		require.Error(t, older(c, 11, false, 95), "one server of several lags behind")
		require.NoError(t, older(c, 13, false, 101))
	})
	t.Run("a refresh between them shows nothing of that", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.Error(t, older(c, 10, false, 95))
		pull(c, minute(10.5), 96)
		require.Error(t, older(c, 11, false, 96), "one look may have met with a server that lags as well")
		look(c, minute(10.7), 96)
		require.NoError(t, older(c, 11, false, 96))
	})
	t.Run("in five minutes, one refresh between them", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.Error(t, older(c, 10, false, 95))
		require.Error(t, older(c, 14.9, false, 95), "none has looked")
		pull(c, minute(14.9), 95)
		require.Error(t, older(c, 14.9, false, 95))
		require.NoError(t, older(c, 15, false, 95))
	})
	t.Run("an incremental refresh that began with the first shows nothing", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.Error(t, older(c, 10, false, 95))
		look(c, minute(10), 96)
		require.Error(t, older(c, 11, false, 96))
		look(c, minute(11.5), 96)
		require.NoError(t, older(c, 13, false, 96))
	})
	t.Run("it is not explained by the second alone", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.Error(t, older(c, 10, false, 95))
		require.NoError(t, older(c, 10.5, true, 95))
		assert.EqualValues(t, 100, c.Highest(), "whoever is missing may be listed")
		assert.Positive(t, c.Doubts())
	})
	t.Run("who is listed again in one that is not applied is noted", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 98, 99, 100)
		list := c.Tail(minute(1))
		list.Add(98, 98)
		list.Add(100, 100)
		c.Full(minute(1), minute(1), list, []int64{99})
		require.Error(t, older(c, 2, false, 98, 99))
		pull(c, minute(2.5))
		assert.True(t, c.Tail(minute(3)).Add(99, 99))
	})
	t.Run("somebody is shown as they were before", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		c.Page(minute(1), map[int64]int64{99: 101}, true)
		for n := range 200 { // long ago
			pull(c, minute(2+float64(n)))
		}
		require.Error(t, older(c, 300, true, 99, 100), "no user who is gone explains that")
		assert.Positive(t, c.Doubts())
		pull(c, minute(300.5), 101)
		assert.Zero(t, c.Doubts())
	})
	t.Run("pages of it are of a server that lags", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 98, 99, 100)
		list := c.Tail(minute(1))
		list.Add(99, 101)
		list.Add(100, 100)
		c.Full(minute(1), minute(1), list, []int64{98})
		mixed := func(at float64, again bool) error {
			list := c.Tail(minute(at))
			for _, row := range [][2]int64{{99, 99}, {100, 100}, {99, 101}} {
				list.Add(row[0], row[1])
			}
			if again {
				list.Add(98, 98)
			}
			err := c.Older(minute(at), list, false, func() bool { return false })
			if err == nil {
				c.Full(minute(at), minute(at), list, nil)
			}
			return err
		}
		for n := range 5 {
			require.NoError(t, mixed(2+float64(n), true))
			assert.True(t, c.Outdated(98, 98), "it says nothing of who was removed")
			assert.Zero(t, c.Again())
		}
		list = c.Tail(minute(10))
		for _, row := range [][2]int64{{98, 98}, {99, 101}, {100, 100}} {
			list.Add(row[0], row[1])
		}
		require.NoError(t, c.Older(minute(10), list, false, func() bool { return false }))
		c.Full(minute(10), minute(10), list, nil)
		require.NoError(t, mixed(12, false))
		var e *refresh.OlderError
		require.ErrorAs(t, mixed(13, true), &e, "it would be believed, and some of it is old")
		assert.Contains(t, e.Error(), "servers behind one address")
	})
	t.Run("still older", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 100)
		require.Error(t, older(c, 10, false, 95))
		c.Regressed(minute(11))
		require.Error(t, older(c, 12, false, 90))
		for range 15 {
			c.Regressed(minute(12.5))
		}
		require.NoError(t, older(c, 13, false, 90))
	})
	t.Run("nobody has asked for what is known", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 100)
		require.Error(t, older(c, 10, false, 95))
		for range 15 {
			c.Page(minute(10.5), nil, true)
			c.Done(minute(10.5), 100)
		}
		require.Error(t, older(c, 11, false, 95), "they say nothing of whether the source still has it")
	})
	t.Run("whoever had the highest sequence is gone", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.NoError(t, older(c, 10, true, 99))
		assert.EqualValues(t, 99, c.Highest())
		assert.Zero(t, c.Doubts())
	})
	t.Run("whoever was changed just now is gone", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99)
		pull(c, minute(10), 100)
		require.NoError(t, older(c, 10.1, true, 99))
		assert.EqualValues(t, 100, c.Highest())
	})
	t.Run("whoever had the highest sequence is gone, where some server lags behind", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		c.Lags()
		require.NoError(t, older(c, 10, true, 99))
		assert.EqualValues(t, 100, c.Highest(), "or the list ends with a page of a server that lags behind")
		assert.EqualValues(t, 99, c.From(), "it is asked for what it should have")
		look(c, minute(10.5))
		require.NoError(t, older(c, 11, true, 99))
		assert.EqualValues(t, 99, c.Highest())
		assert.Zero(t, c.Doubts())
	})
	t.Run("nobody is left", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100)
		require.NoError(t, older(c, 10, false))
		assert.Zero(t, c.From())
	})
	t.Run("an absurd sequence does not make an older list young", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100, 1<<62)
		require.Error(t, older(c, 10, false, 95, 1<<62))
	})
	t.Run("a corrected absurd sequence does not make a list old", func(t *testing.T) {
		t.Parallel()
		c := newCursor()
		full(c, minute(0), 99, 100, 1<<62)
		require.NoError(t, older(c, 10, false, 99, 100, 101))
	})
}

func TestCursorRemembersWhatItSawLately(t *testing.T) {
	t.Parallel()
	c := newCursor()
	full(c, minute(0), 100)
	pull(c, minute(1), 101, 102)
	seen, ok := c.Seen(101)
	assert.True(t, ok)
	assert.EqualValues(t, 101, seen)
	full(c, minute(2), 100, 102, 103) // 101 is gone: a server that lags must not bring it back
	_, ok = c.Seen(101)
	assert.True(t, ok)
	_, ok = c.Seen(103)
	assert.True(t, ok)
	pull(c, minute(9))
	pull(c, minute(10))
	c.From()
	_, ok = c.Seen(103)
	assert.False(t, ok, "it is not asked for any more")
}

func TestCursorFollows(t *testing.T) {
	t.Parallel()
	c := newCursor()
	listed := func(id int64) bool { return id != 2 }
	c.Follow(minute(0), minute(0), 100, nil, listed)
	c.Follow(minute(1), minute(1), 110, map[int64]int64{1: 108, 2: 109}, listed)
	assert.EqualValues(t, 100, c.From())
	c.Follow(minute(4), minute(4), 110, nil, listed)
	c.Follow(minute(5), minute(5), 120, nil, listed)
	assert.EqualValues(t, 110, c.From())

	again := newCursor()
	again.Follow(minute(0), minute(0), 100, nil, listed)
	again.Follow(minute(1), minute(1), 110, nil, listed)
	again.Page(minute(2), map[int64]int64{1: 120, 4: 110}, true)
	again.Follow(minute(3), minute(3), 110, nil, listed)
	assert.EqualValues(t, 100, again.From(), "that is known since then")
	kept, _ := again.Seen(4)
	assert.EqualValues(t, 110, kept, "the list has it")

	often := newCursor()
	for at, highest := range []int64{100, 110, 110, 110} {
		often.Follow(minute(float64(at)), minute(float64(at)), highest, nil, listed)
	}
	assert.EqualValues(t, 110, often.From(), "it is known since the second of them")

	c.Page(minute(5), map[int64]int64{3: 130}, false)
	assert.EqualValues(t, 120, c.Highest(), "what lies before it may be unknown")
	seen, _ := c.Seen(3)
	assert.EqualValues(t, 130, seen)

	c.Page(minute(5), map[int64]int64{1: 140, 2: 141}, true)
	c.Follow(minute(6), minute(6), 115, nil, listed)
	assert.EqualValues(t, 110, c.From(), "another replica has gone by an older list, or by one without those who had the highest: it looks back still")
	assert.EqualValues(t, 115, c.Highest())
	_, ok := c.Seen(1)
	assert.False(t, ok, "it is listed: the sequence is of a list that is gone")
	_, ok = c.Seen(2)
	assert.True(t, ok, "it is gone: what lags behind does not bring it back")
}

// A replica that was away asks for no more than one that has just started: a server that
// lags behind would show it users who are gone since, and were never known here.
func TestCursorFollowsAfterItWasAway(t *testing.T) {
	t.Parallel()
	listed := func(id int64) bool { return id != 9 }
	above := map[int64]int64{1: 118, 9: 117}
	for _, c := range []struct {
		name  string
		knows func(c *refresh.Cursor)
		above map[int64]int64
		from  int64
	}{
		{"it has just started", func(*refresh.Cursor) {}, above, 116},
		{"it has just started, and nothing was new", func(*refresh.Cursor) {}, nil, 120},
		{"it was away", func(c *refresh.Cursor) { full(c, minute(0), 100) }, above, 116},
		{"it was away, and nothing was new", func(c *refresh.Cursor) { full(c, minute(0), 100) }, nil, 120},
		{"it was away, and the list is an older one", func(c *refresh.Cursor) { full(c, minute(0), 130) }, above, 116},
		{"it was there", func(c *refresh.Cursor) { full(c, minute(28), 110) }, above, 110},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cursor := newCursor()
			c.knows(cursor)
			cursor.Follow(minute(31), minute(30), 120, c.above, listed)
			assert.Equal(t, c.from, cursor.From())
			assert.EqualValues(t, 120, cursor.Highest())
			assert.Equal(t, c.above != nil, cursor.Outdated(9, 117), "it was gone")
			assert.False(t, cursor.Outdated(9, 118))
		})
	}
}

// Records that do not say whose they are take the place of nobody among those who were
// changed last.
func TestCursorRemembersUsersOnly(t *testing.T) {
	t.Parallel()
	c := newCursor()
	list := c.Tail(minute(0))
	for id := range int64(64) {
		list.Add(id+1, id+1)
	}
	list.Shown(65)
	c.Full(minute(0), minute(0), list, nil)
	list = c.Tail(minute(10))
	list.Add(1, 0)
	list.Add(1, 1)
	list.Shown(65)
	require.NoError(t, c.Older(minute(10), list, false, never))
	assert.Equal(t, refresh.Mixed, list.Doubt())
}

// Where the pages of one list are of servers that do not agree, a user may be on none
// of them.
func TestCursorDoubts(t *testing.T) {
	t.Parallel()
	explained, not := func() bool { return true }, never
	look15 := func(c *refresh.Cursor) { look(c, minute(10.5)) }
	list := func(c *refresh.Cursor, at float64, rows ...int64) *refresh.Tail {
		list := c.Tail(minute(at))
		for _, sequence := range rows {
			if sequence == 199 {
				list.Add(99, sequence)
				continue
			}
			list.Add(sequence, sequence)
		}
		return list
	}
	changed := func(c *refresh.Cursor) { c.Page(minute(10.5), map[int64]int64{99: 199}, true) }
	for _, c := range []struct {
		name      string
		meanwhile func(*refresh.Cursor) // between a list at minute 10 that ends with 99 and the one at minute 11
		rows      []int64
		asked     bool
		explained func() bool
		want      refresh.Doubt
	}{
		{"all is shown", nil, []int64{98, 99, 100}, false, not, refresh.Whole},
		{"more is shown", look15, []int64{98, 99, 201}, false, not, refresh.Whole},
		{"the highest is missing again, and nobody has looked", nil, []int64{98, 99}, false, explained, refresh.Behind},
		{"the highest is missing again", look15, []int64{98, 99}, false, explained, refresh.Whole},
		{"more is missing", look15, []int64{98}, false, explained, refresh.Behind},
		{"the source has shown the highest meanwhile", func(c *refresh.Cursor) { pull(c, minute(10.5), 100); look(c, minute(10.6)) }, []int64{98, 99}, false, explained, refresh.Behind},
		{"somebody knows what is missing", nil, []int64{98, 99}, true, explained, refresh.Whole},
		{"somebody is shown twice", changed, []int64{98, 99, 100, 199}, false, not, refresh.Mixed},
		{"somebody is shown twice, and somebody knows it", changed, []int64{98, 99, 100, 199}, true, not, refresh.Whole},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cursor := newCursor()
			full(cursor, minute(0), 98, 99, 100)
			cursor.Lags()
			first := list(cursor, 10, 98, 99)
			require.NoError(t, cursor.Older(minute(10), first, false, explained))
			assert.Equal(t, refresh.Behind, first.Doubt())
			cursor.Full(minute(10), minute(10), first, nil)
			if c.meanwhile != nil {
				c.meanwhile(cursor)
			}
			second := list(cursor, 11, c.rows...)
			require.NoError(t, cursor.Older(minute(11), second, c.asked, c.explained))
			assert.Equal(t, c.want, second.Doubt())
		})
	}
}

// As long as nothing has shown that a server lags behind, twenty seconds and five looks
// say that those are gone who had the highest sequences, whoever has seen that first.
func TestCursorSettlesWhoIsGone(t *testing.T) {
	t.Parallel()
	explained := func() bool { return true }
	seconds := func(s float64) clock.Instant { return minute(10 + s/60) }
	for _, c := range []struct {
		name      string
		lags      bool
		elsewhere int64 // what a full refresh of another replica has shown; 0 for one of our own
		looks     int
		after     float64 // seconds
		rows      []int64
		want      refresh.Doubt
		again     time.Duration
	}{
		{"two that agree", false, 0, 5, 20, []int64{98, 99}, refresh.Whole, 0},
		{"the first is another replica's", false, 99, 5, 20, []int64{98, 99}, refresh.Whole, 0},
		{"too early", false, 0, 5, 19, []int64{98, 99}, refresh.Behind, 22500 * time.Millisecond},
		{"too few have looked", false, 0, 4, 20, []int64{98, 99}, refresh.Behind, 22500 * time.Millisecond},
		{"nobody has looked, for long", false, 0, 0, 100, []int64{98, 99}, refresh.Behind, 22500 * time.Millisecond},
		{"few have looked for long", false, 0, 1, 100, []int64{98, 99}, refresh.Whole, 0},
		{"more is missing", false, 0, 5, 20, []int64{98}, refresh.Behind, 22500 * time.Millisecond},
		{"more is missing than from the other replica's", false, 99, 5, 20, []int64{98}, refresh.Behind, 22500 * time.Millisecond},
		{"a server lags behind", true, 0, 5, 20, []int64{98, 99}, refresh.Behind, 0},
		{"a server lags behind, of another replica's", true, 99, 5, 20, []int64{98, 99}, refresh.Behind, 0},
		{"a server lags behind, and all have looked", true, 99, 15, 60, []int64{98, 99}, refresh.Whole, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cursor := newCursor()
			full(cursor, minute(0), 98, 99)
			pull(cursor, minute(9.5), 100)
			if c.lags {
				cursor.Lags()
			}
			refreshed := func(at clock.Instant, rows ...int64) refresh.Doubt {
				list := cursor.Tail(at)
				for _, sequence := range rows {
					list.Add(sequence, sequence)
				}
				require.NoError(t, cursor.Older(at, list, false, explained))
				assert.Equal(t, list.Doubt() == refresh.Behind, list.Behind() > 0)
				cursor.Full(at, at, list, nil)
				return list.Doubt()
			}
			assert.Zero(t, cursor.Doubts())
			if c.elsewhere > 0 {
				cursor.Follow(seconds(0), seconds(0), 100, nil, func(int64) bool { return true })
				cursor.Behind(seconds(0), c.elsewhere)
			} else {
				require.Equal(t, refresh.Behind, refreshed(seconds(0), 98, 99))
			}
			assert.Equal(t, 3*time.Second, cursor.Doubts())
			for range c.looks {
				cursor.Done(seconds(1), 98)
			}
			assert.Equal(t, c.want, refreshed(seconds(c.after), c.rows...))
			assert.Equal(t, c.again, cursor.Again())
		})
	}
}

// What another replica has shown counts from the first time that it showed as much.
func TestCursorKnowsWhatOthersHaveShown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		second int64
		want   refresh.Doubt
	}{
		{"the same again", 99, refresh.Whole},
		{"more", 100, refresh.Whole},
		{"less", 98, refresh.Behind},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cursor := newCursor()
			full(cursor, minute(0), 98, 99)
			pull(cursor, minute(9.5), 101)
			cursor.Behind(minute(10), 99)
			for range 5 {
				cursor.Done(minute(10.1), 98)
			}
			cursor.Behind(minute(10.2), c.second)
			list := cursor.Tail(minute(10.4))
			list.Add(98, 98)
			list.Add(99, 99)
			require.NoError(t, cursor.Older(minute(10.4), list, false, func() bool { return true }))
			assert.Equal(t, c.want, list.Doubt())
		})
	}
}

// As long as no server was seen to lag behind, only those are in doubt who had a higher
// sequence than the list shows.
func TestCursorDoubtsSome(t *testing.T) {
	t.Parallel()
	for _, lags := range []bool{false, true} {
		cursor := newCursor()
		full(cursor, minute(0), 97, 98, 99)
		pull(cursor, minute(9.5), 100, 101)
		if lags {
			cursor.Lags()
		}
		list := cursor.Tail(minute(10))
		assert.False(t, list.Doubts(101), "nothing is known yet")
		list.Add(98, 98)
		list.Add(100, 100)
		require.NoError(t, cursor.Older(minute(10), list, false, func() bool { return true }))
		assert.True(t, list.Doubts(101))
		assert.Equal(t, lags, list.Doubts(100), "it is shown")
		assert.Equal(t, lags, list.Doubts(97), "it was not changed lately")
	}
}
