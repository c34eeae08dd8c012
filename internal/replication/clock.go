package replication

import (
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// slack is by how much two clocks may drift apart between two readings. By more, one
// of them was set, or the machine was suspended.
const slack = int64(time.Second)

// A storeClock is what a replica knows of the store's clock, by its own two. The
// zero value knows nothing.
type storeClock struct {
	low, high   int64 // between these is it ahead of the monotonic clock
	timed       bool
	last        clock.Instant // of that reading, or of the first event if there was none
	epoch, void string        // of the store then; one whose times are worth nothing
	prev        clock.Instant // of the last event
	moved       bool          // the wall clock and the monotonic one have drifted apart since
	movedAt     int64         // after this, on the monotonic clock

	// doubt is for how long both clocks of this process may have stood still, as
	// those of a virtual machine can, unless the store's clock was put forward: what
	// is of before doubtAt, on the monotonic clock, may be that much older. It is
	// published as such, and a wall clock that catches up is not taken for one that
	// was set.
	doubt, doubtAt int64
}

// read takes in a reading. set says that the clock was set, or is another's: then
// what was told of its times is worth nothing. If it may have been put back, what is
// published may look younger than it is: void names the epoch of that.
//
// If the wall clock and the monotonic one have drifted apart since the last
// reading, it returns what must be added to instants of before. The monotonic
// clock may stand still, but it never runs ahead. If the store's clock agrees with
// it, the wall clock was set. Otherwise only the longest that a clock says is
// certain to be no less than what has passed. Where only the store's clock says so,
// underWay is for what began before and has not ended: how old that is in truth is
// told by nothing later.
func (c *storeClock) read(e *Event) (mono, wall, underWay int64, set bool) {
	now, t := e.Now, e.Reply.Time
	low, high := t-now.Mono, t-e.Sent.Mono
	byMono, byWall := now.Mono-c.last.Mono, now.Wall-c.last.Wall
	if c.void = ""; !c.timed && c.moved {
		passed := max(byMono, byWall)
		mono, wall = byMono-passed, byWall-passed
	}
	if c.timed {
		same := e.Reply.Epoch == c.epoch
		byStore := byMono + high - c.low
		passed := max(byMono, byStore)
		if set = low > c.high+slack || high < c.low-slack || !same; set {
			passed = max(passed, byWall)
		}
		if set && same && byStore < passed-slack {
			c.void = c.epoch
		}
		if e.Own.Began.Mono > c.doubtAt {
			c.doubt = 0
		}
		switch d := byWall - byMono; {
		case c.moved && (set || d < 0 || d > c.doubt+slack):
			mono, wall = byMono-passed, byWall-passed
		case set && passed > byMono+slack:
			underWay = byMono - passed
			c.doubt, c.doubtAt = c.doubt-underWay, now.Mono
		}
	}
	c.low, c.high, c.timed, c.last, c.moved, c.epoch = low, high, true, now, false, e.Reply.Epoch
	return mono, wall, underWay, set
}

// drift notes when the clocks of this process have drifted apart. It reports whether
// they have, or were never seen before.
func (c *storeClock) drift(now clock.Instant) bool {
	first := c.prev == (clock.Instant{}) // the monotonic clock may read anything, also less than 0
	d := (now.Wall - c.prev.Wall) - (now.Mono - c.prev.Mono)
	moved := !first && (d > slack || d < -slack)
	if first {
		c.last = now
	}
	if moved {
		c.moved, c.movedAt = true, c.prev.Mono
	}
	c.prev = now
	return moved || first
}

// instant returns the earliest instant at which the store's clock can have read
// that. In doubt, nothing is younger than it is.
func (c *storeClock) instant(stamp int64, now clock.Instant) clock.Instant {
	return now.Add(-time.Duration(max(0, now.Mono+c.high-stamp)))
}

// latest returns the latest such instant.
func (c *storeClock) latest(stamp int64, now clock.Instant) clock.Instant {
	return now.Add(-time.Duration(max(0, now.Mono+c.low-stamp)))
}

// stamp returns the earliest time that the store's clock can have read then.
func (c *storeClock) stamp(i, now clock.Instant) int64 {
	t := now.Mono + c.low - int64(i.Age(now))
	if c.doubts(i) {
		t -= c.doubt
	}
	return max(1, t)
}

// doubts reports whether that may be older than it looks.
func (c *storeClock) doubts(i clock.Instant) bool { return c.doubt > 0 && i.Mono <= c.doubtAt }

// future reports whether that cannot have been read from the store's clock yet.
func (c *storeClock) future(stamp int64, now clock.Instant) bool {
	return stamp > now.Mono+c.high+slack
}
