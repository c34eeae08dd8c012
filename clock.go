package rolegate

import "time"

// An instant is one reading of both clocks: the monotonic one, which nobody can
// set but which stands still while a machine is suspended, and the wall clock,
// which goes on but can be set.
type instant struct {
	mono, wall int64 // nanoseconds
}

var processStart = time.Now()

// readClock is the clock of every gate but those of a few tests.
func readClock() instant {
	t := time.Now()
	return instant{mono: int64(t.Sub(processStart)), wall: t.UnixNano()}
}

// age is how long ago i was, by the clock that says longer: a machine that was
// suspended is old, and a wall clock that was put back makes nothing young.
func (i instant) age(now instant) time.Duration {
	return time.Duration(max(now.mono-i.mono, now.wall-i.wall))
}

// time is the wall clock's reading.
func (i instant) time() time.Time {
	if i == (instant{}) {
		return time.Time{}
	}
	return time.Unix(0, i.wall)
}
