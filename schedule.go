package rolegate

import (
	"errors"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// This file is when the refresher pulls: intervals, back-off, and the moments
// that do not wait for either.

// interval is the time to the next pull after one that succeeded.
func (f *refresher) interval(k pullKind) time.Duration {
	d := f.cfg.Refresh.Every
	if k == walk {
		d = f.cfg.Refresh.ResyncEvery
	}
	return jitter(d, 0.1)
}

// backOff is the time to the next pull after so many in a row have failed: it
// begins at a second and doubles, up to a minute. Faster intervals than that
// back off from themselves to ten times as long.
func (f *refresher) backOff(k pullKind, failed int) time.Duration {
	interval := f.cfg.Refresh.Every
	if k == walk {
		interval = f.cfg.Refresh.ResyncEvery
	}
	d := min(time.Second, interval)
	longest := min(time.Minute, 10*interval)
	for ; failed > 1 && d < longest; failed-- {
		d *= 2
	}
	return jitter(min(d, longest), 0.2)
}

// jitter makes d longer or shorter by up to part of it.
func jitter(d time.Duration, part float64) time.Duration {
	return time.Duration(float64(d) * (1 + part*(2*rand.Float64()-1)))
}

// maxRetryAfter bounds what a source can ask for.
const maxRetryAfter = 5 * time.Minute

func retryAfter(err error) time.Duration {
	var pe *PullError
	if !errors.As(err, &pe) {
		return 0
	}
	return min(max(pe.RetryAfter, 0), maxRetryAfter)
}

// untilNext is how long the loop waits for its next pull of that kind.
func (f *refresher) untilNext(k pullKind) time.Duration {
	f.mu.Lock()
	quiet := f.quiet.Mono
	f.mu.Unlock()
	return time.Duration(max(0, max(f.next[k].Load(), quiet)-f.clock().Mono))
}

// untilNextWalk is the same without the lock, for requests that are refused.
func (f *refresher) untilNextWalk() time.Duration {
	return time.Duration(max(0, f.next[walk].Load()-f.clock().Mono))
}

// backingOff reports whether the last pull of that kind failed and its back-off
// is not over.
func (f *refresher) backingOff(k pullKind) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	now := f.clock()
	return f.pulls[k].Consecutive > 0 && f.next[k].Load() > now.Mono || f.quiet.Mono > now.Mono
}

func (f *refresher) quietFor() time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	return time.Duration(max(0, f.quiet.Mono-f.clock().Mono))
}

// expired makes a walk due because a request found the list expired: a machine
// that wakes from a long sleep does not wait for its timers. If the list has
// expired because removals are held, walks come when they are due.
func (f *refresher) expired() {
	if f.walkOverdue(0) {
		f.soon(walk)
	}
}

// walkOverdue reports whether the next walk should have begun that long ago, by
// the clock that says longer, and has not.
func (f *refresher) walkOverdue(by time.Duration) bool {
	due := clock.Instant{Mono: f.next[walk].Load(), Wall: f.nextWall.Load()}
	return !f.walking.Load() && due.Age(f.clock()) > by
}

// soon makes a pull of that kind due now, unless it is backing off.
func (f *refresher) soon(k pullKind) { signal(f.wake[k]) }

// signal sends on a channel with room for one, unless it is full already.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
