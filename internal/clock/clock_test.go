package clock_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/clock"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
)

const second = int64(time.Second)

func TestAge(t *testing.T) {
	t.Parallel()
	begin := clock.Instant{Mono: 10 * second, Wall: 1000 * second}
	for _, c := range []struct {
		name       string
		mono, wall int64 // seconds that each clock went on
		want       time.Duration
	}{
		{"both clocks went on", 5, 5, 5 * time.Second},
		{"the machine was suspended", 5, 3600, time.Hour},
		{"the wall clock was set back", 5, -3600, 5 * time.Second},
		{"the wall clock was set forward", 5, 3605, 3605 * time.Second},
		{"no time has passed", 0, 0, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			now := clock.Instant{Mono: begin.Mono + c.mono*second, Wall: begin.Wall + c.wall*second}
			assert.Equal(t, c.want, begin.Age(now))
		})
	}
}

func anyInstant() *rapid.Generator[clock.Instant] {
	return rapid.Custom(func(t *rapid.T) clock.Instant {
		return clock.Instant{
			Mono: rapid.Int64Range(0, 1<<60).Draw(t, "mono"),
			Wall: rapid.Int64Range(-1<<60, 1<<61).Draw(t, "wall"),
		}
	})
}

// Whatever the clocks do, nothing is younger than either of them says.
func TestAgeIsNeverYounger(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		i, now := anyInstant().Draw(t, "i"), anyInstant().Draw(t, "now")
		age := i.Age(now)
		assert.GreaterOrEqual(t, age, time.Duration(now.Mono-i.Mono))
		assert.GreaterOrEqual(t, age, time.Duration(now.Wall-i.Wall))
		assert.True(t, age == time.Duration(now.Mono-i.Mono) || age == time.Duration(now.Wall-i.Wall))
	})
}

func TestAdd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		i := anyInstant().Draw(t, "i")
		d := time.Duration(rapid.Int64Range(-1<<50, 1<<50).Draw(t, "d"))
		assert.Equal(t, clock.Instant{Mono: i.Mono + int64(d), Wall: i.Wall + int64(d)}, i.Add(d))
		assert.Equal(t, max(d, -d), max(i.Age(i.Add(d)), i.Add(d).Age(i)))
	})
}

// A time of the wall clock becomes the instant that is as old as it says, and a
// time in the future becomes now.
func TestAt(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		now := anyInstant().Draw(t, "now")
		ago := rapid.Int64Range(-1<<50, 1<<50).Draw(t, "ago")
		at := now.At(now.Wall - ago)
		assert.Equal(t, time.Duration(max(ago, 0)), at.Age(now))
		assert.Equal(t, now.Wall-max(ago, 0), clock.WallStamp(at))
		assert.Equal(t, now.Mono-max(ago, 0), at.Mono)
	})
}

func TestTime(t *testing.T) {
	t.Parallel()
	assert.True(t, clock.Instant{}.Time().IsZero(), "no reading is no time")
	assert.Equal(t, time.Unix(0, 0), clock.Instant{Mono: 1}.Time())
	assert.Equal(t, time.Unix(7, 9), clock.Instant{Mono: 1, Wall: 7*second + 9}.Time())
}

func TestLater(t *testing.T) {
	t.Parallel()
	early, late := clock.Instant{Mono: 1, Wall: 9}, clock.Instant{Mono: 2, Wall: 3}
	assert.Equal(t, late, clock.Later(early, late), "by the monotonic clock, whatever the wall clock says")
	assert.Equal(t, late, clock.Later(late, early))
	other := clock.Instant{Mono: 2, Wall: 4}
	assert.Equal(t, other, clock.Later(late, other), "of two at once the second")
}

// Two readings of one process go forward on the monotonic clock, and the wall
// clock is the machine's.
func TestRead(t *testing.T) {
	t.Parallel()
	before := time.Now()
	first := clock.Read()
	second := clock.Read()
	assert.Positive(t, first.Mono)
	assert.GreaterOrEqual(t, second.Mono, first.Mono)
	assert.WithinRange(t, first.Time(), before.Add(-time.Hour), before.Add(time.Hour))
}
