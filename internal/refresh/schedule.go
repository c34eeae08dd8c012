package refresh

import (
	"math/rand/v2"
	"time"
)

// A BackOff says how long to wait after failures in a row: First after the
// first, and twice as long after each further one, up to Longest.
type BackOff struct{ First, Longest time.Duration }

// After returns the wait after so many failures in a row, without jitter.
func (b BackOff) After(failures int) time.Duration {
	d := b.First
	for ; failures > 1 && d < b.Longest; failures-- {
		d *= 2
	}
	return min(d, b.Longest)
}

// backOffFor is the back-off of a refresh that is due at intervals: it begins at
// a second and goes up to a minute, but no further than that the next one comes when
// it would have come without the failure. Intervals below a second back off from
// themselves to ten times as long, up to a second.
func backOffFor(interval time.Duration) BackOff {
	longest := max(interval*9/10, min(interval*10, time.Second)) // it is jittered by a fifth, and the interval by a tenth
	return BackOff{First: min(time.Second, interval), Longest: min(time.Minute, longest)}
}

// Jitter returns d made longer or shorter by up to part of it, by a number from
// [0, 1) that random returns. A nil random is the global one.
func Jitter(d time.Duration, part float64, random func() float64) time.Duration {
	if random == nil {
		random = rand.Float64
	}
	return time.Duration(float64(d) * (1 + part*(2*random()-1)))
}
