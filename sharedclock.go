package rolegate

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A sharedClock turns instants of this process into times of the clock that
// replicas share, and back. Whatever the network does in between, nothing ever
// becomes younger by it: what is told is the earliest that it can have been.
//
// The same instant always becomes the same time, and that the same instant
// again. The zero sharedClock must be read first. Only one goroutine uses it.
type sharedClock struct {
	local     clock.Instant // of the last reading
	low, high int64         // between these was the shared clock at that instant
	read      bool
	known     []dated
}

// A dated is an instant and what is told of it.
type dated struct {
	at    clock.Instant
	stamp int64 // Unix nanoseconds
}

// maxDated is how many are remembered. A generation has three, and what it holds.
const maxDated = 32

// clockJump is by how much the two clocks may drift apart between readings; by
// more, one of them was set.
const clockJump = time.Second

// dateSlack is how far in the future a time may be that somebody else has read
// from the same clock.
const dateSlack = clockJump

// A clock that reads something else has not been set: the age of what happened
// before 1970 could not be told.
var clockBegins, clockEnds = time.Unix(0, 0).AddDate(1, 0, 0), time.Unix(0, 0).AddDate(200, 0, 0)

// update reads the shared clock. It reports whether that was set since the last
// time: what has been told of instants is wrong then.
func (c *sharedClock) update(ctx context.Context, shared SharedCache, clock func() clock.Instant) (jumped bool, err error) {
	before := clock()
	var t time.Time
	if err := callCache(func() (err error) {
		t, err = shared.Time(ctx)
		return err
	}); err != nil {
		return false, err
	}
	if t.Before(clockBegins) || t.After(clockEnds) {
		return false, fmt.Errorf("the clock that the replicas share reads %v", t.UTC().Format(time.DateTime))
	}
	after := clock()
	took := max(0, int64(before.Age(after)))
	low := t.UnixNano()
	high := low + took
	if c.read {
		drift := (low - c.low) - (after.Mono - c.local.Mono)
		slack := int64(clockJump) + took + (c.high - c.low)
		jumped = drift > slack || drift < -slack
	}
	if jumped {
		c.known = nil
	}
	c.local, c.low, c.high, c.read = after, low, high, true
	return jumped, nil
}

// stamp returns the time that is told of an instant.
func (c *sharedClock) stamp(i clock.Instant) int64 {
	if d, ok := c.recall(func(d dated) bool { return d.at == i }); ok {
		return d.stamp
	}
	stamp := max(1, c.low-int64(i.Age(c.local)))
	c.remember(dated{i, stamp})
	return stamp
}

// at returns the instant of which that was told.
func (c *sharedClock) at(stamp int64) clock.Instant {
	if d, ok := c.recall(func(d dated) bool { return d.stamp == stamp }); ok {
		return d.at
	}
	i := c.local.Add(-time.Duration(max(0, c.high-stamp)))
	c.remember(dated{i, stamp})
	return i
}

// recall finds what is remembered, and has it remembered longer than what nobody
// asks for: a walk's instant outlives the contacts that follow it.
func (c *sharedClock) recall(is func(dated) bool) (d dated, ok bool) {
	i := slices.IndexFunc(c.known, is)
	if i < 0 {
		return d, false
	}
	d = c.known[i]
	c.known = append(slices.Delete(c.known, i, i+1), d)
	return d, true
}

func (c *sharedClock) remember(d dated) {
	if len(c.known) == maxDated {
		copy(c.known, c.known[1:])
		c.known = c.known[:maxDated-1]
	}
	c.known = append(c.known, d)
}

// now is what the shared clock read when it was read last.
func (c *sharedClock) now() int64 { return c.low }

// future reports whether a time cannot have been read from this clock yet.
func (c *sharedClock) future(stamp int64) bool { return stamp > c.high+int64(dateSlack) }
