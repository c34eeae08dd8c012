package rolegate_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A clockCache has nothing but a clock, which is set by hand. A reading takes as
// long as it says, half of that before the clock is read.
type clockCache struct {
	rolegate.SharedCache
	now    time.Time
	takes  time.Duration
	readBy *rolegate.SharedClock
}

func (c *clockCache) pass(d time.Duration) {
	c.now = c.now.Add(d)
	c.readBy.Mono += int64(d)
	c.readBy.Wall += int64(d)
}

func (c *clockCache) Time(context.Context) (time.Time, error) {
	c.pass(c.takes / 2)
	defer c.pass(c.takes / 2)
	return c.now, nil
}

func newClock(now time.Time, takes time.Duration) (*rolegate.SharedClock, *clockCache) {
	clock := &rolegate.SharedClock{Mono: int64(time.Hour), Wall: time.Unix(2e9, 0).UnixNano()}
	return clock, &clockCache{now: now, takes: takes, readBy: clock}
}

// What one replica tells and another reads is never younger than it is, and not
// much older.
func TestSharedClockTellsAges(t *testing.T) {
	t.Parallel()
	noon := time.Date(2024, 5, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		name         string
		teller       time.Duration // what a reading takes there
		reader       time.Duration
		ago, between time.Duration
	}{
		{"at once", 0, 0, 0, 0},
		{"ten minutes ago", 0, 0, 10 * time.Minute, 0},
		{"read later", 0, 0, time.Minute, 30 * time.Second},
		{"a slow teller", time.Second, 0, time.Minute, time.Second},
		{"a slow reader", 0, time.Second, time.Minute, time.Second},
		{"both slow", time.Second, 2 * time.Second, time.Minute, 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			teller, store := newClock(noon, c.teller)
			_, err := teller.Update(store)
			require.NoError(t, err)
			stamp := teller.Stamp(c.ago)
			now := store.now // when it was told

			reader, other := newClock(now.Add(c.between), c.reader)
			reader.Mono, reader.Wall = 5, 7 // whatever its own clocks read
			other.readBy = reader
			_, err = reader.Update(other)
			require.NoError(t, err)
			require.False(t, reader.Future(stamp))
			truth := c.ago + c.between + c.reader
			age := reader.Age(stamp)
			assert.GreaterOrEqual(t, age, truth)
			assert.LessOrEqual(t, age, truth+c.teller+c.reader)

			other.pass(time.Hour)
			assert.Equal(t, age+time.Hour, reader.Age(stamp), "it ages with the replica's own clock")
			_, err = reader.Update(other)
			require.NoError(t, err)
			assert.Equal(t, age+time.Hour+c.reader, reader.Age(stamp), "another reading makes it neither younger nor older")
			assert.Equal(t, teller.Stamp(c.ago), stamp)
		})
	}
}

func TestSharedClockNoticesThatItWasSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set    time.Duration
		takes  time.Duration
		jumped bool
	}{
		{0, 0, false},
		{500 * time.Millisecond, 0, false},
		{-500 * time.Millisecond, 0, false},
		{2 * time.Second, 0, true},
		{-2 * time.Second, 0, true},
		{2 * time.Second, 2 * time.Second, false},
		{time.Hour, 2 * time.Second, true},
		{-time.Hour, 2 * time.Second, true},
	} {
		t.Run(c.set.String()+" in "+c.takes.String(), func(t *testing.T) {
			t.Parallel()
			clock, store := newClock(time.Unix(1e9, 0), c.takes)
			jumped, err := clock.Update(store)
			require.NoError(t, err)
			require.False(t, jumped, "the first reading")
			store.pass(time.Minute)
			before := clock.Stamp(time.Minute)
			store.now = store.now.Add(c.set)
			jumped, err = clock.Update(store)
			require.NoError(t, err)
			require.Equal(t, c.jumped, jumped)
			if c.jumped {
				require.Equal(t, c.set < -time.Minute, clock.Future(before))
			}
		})
	}
}

func TestSharedClockRefusesAClockThatWasNeverSet(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		now  time.Time
		ok   bool
	}{
		{"the year 1", time.Time{}, false},
		{"1970", time.Unix(600, 0), false},
		{"2000", time.Unix(1e9, 0), true},
		{"a year that nanoseconds cannot tell", time.Date(2300, 1, 1, 0, 0, 0, 0, time.UTC), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			clock, store := newClock(c.now, 0)
			_, err := clock.Update(store)
			require.Equal(t, c.ok, err == nil, err)
		})
	}
}

// What is told again and again keeps its time, whatever else is told meanwhile.
func TestSharedClockRemembersWhatItTells(t *testing.T) {
	t.Parallel()
	clock, store := newClock(time.Unix(1e9, 0), 100*time.Millisecond)
	_, err := clock.Update(store)
	require.NoError(t, err)
	first := clock.Stamp(0)
	age := time.Duration(0)
	for n := range 200 {
		store.takes = time.Duration(n%7) * 100 * time.Millisecond
		_, err := clock.Update(store)
		require.NoError(t, err)
		store.pass(time.Minute)
		age += time.Minute + store.takes
		clock.Stamp(0)
		require.Equal(t, first, clock.Stamp(age))
	}
}
