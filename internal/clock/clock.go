// Package clock reads instants on two clocks and tells their ages. It imports
// nothing of rolegate and is usable without the root.
package clock

import "time"

// An instant is one reading of both clocks: the monotonic one, which nobody can
// set but which stands still while a machine is suspended, and the wall clock,
// which goes on but can be set. The zero instant is no reading.
type Instant struct {
	Mono, Wall int64 // nanoseconds
}

var processStart = time.Now()

// before is what the monotonic clock reads when the process starts: an instant of
// before that is above 0 too.
const before = 1 << 60

// Read reads both clocks. It is the clock of every gate outside of tests.
func Read() Instant {
	t := time.Now()
	return Instant{Mono: before + int64(t.Sub(processStart)), Wall: t.UnixNano()}
}

// age returns how long before now i was, by the clock that says longer: a machine
// that was suspended is old, and a wall clock that was set back makes nothing
// young.
func (i Instant) Age(now Instant) time.Duration {
	return time.Duration(max(now.Mono-i.Mono, now.Wall-i.Wall))
}

// add returns the instant that is d after i, on both clocks.
func (i Instant) Add(d time.Duration) Instant {
	return Instant{Mono: i.Mono + int64(d), Wall: i.Wall + int64(d)}
}

// at returns the instant, not after i, at which the wall clock read wall
// nanoseconds. A restart has only the wall clock to compare with.
func (i Instant) At(wall int64) Instant {
	wall = min(wall, i.Wall)
	return Instant{Mono: i.Mono - (i.Wall - wall), Wall: wall}
}

// time returns the reading of the wall clock, the zero time for no reading.
func (i Instant) Time() time.Time {
	if i == (Instant{}) {
		return time.Time{}
	}
	return time.Unix(0, i.Wall)
}

// wallStamp returns the reading of the wall clock in Unix nanoseconds: what is
// stored for an instant.
func WallStamp(i Instant) int64 { return i.Wall }

// later returns the later of two instants of this process, by the monotonic
// clock.
func Later(a, b Instant) Instant {
	if a.Mono > b.Mono {
		return a
	}
	return b
}
