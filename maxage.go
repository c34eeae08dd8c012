package rolegate

import (
	"context"
	"fmt"
	"time"
)

// MaxAge makes a guard demand that revocations are known up to d ago: that the
// last full walk began no longer ago than that. If it did not, the request
// waits for one, shared by all who wait, for Refresh.MaxAgeWait at most; there
// is at most one such walk in each Refresh.ResyncMin. If that does not do, the
// answer is 503 with [TooOld]. It is for the few routes on which a revocation
// must count at once; only users who would pass otherwise make it walk.
//
// A [Policy] that decides without a request does not wait: it denies with
// TooOld. It panics if d is not above 0. A guard cannot have both MaxAge and
// [Shadow]: a shadow must not make requests wait.
func MaxAge(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("rolegate: MaxAge(%v): expected a duration above 0", d))
	}
	return maxAgeOption{d}
}

type maxAgeOption struct{ d time.Duration }

func (o maxAgeOption) addTo(s *policySpec) {
	if s.maxAge != 0 {
		panic("rolegate: MaxAge is given twice")
	}
	s.maxAge = o.d
}

// resyncFor waits for a walk that makes the list young enough, if one may be
// made, and no longer than MaxAgeWait.
func (f *refresher) resyncFor(ctx context.Context, maxAge time.Duration) {
	timer := time.NewTimer(f.gate.cfg.Refresh.MaxAgeWait)
	defer timer.Stop()
	for {
		if gen := f.gate.now.Load(); gen == nil || gen.verified.age(f.gate.clock()) <= maxAge {
			return
		}
		if !f.mayWalkForAge() {
			return
		}
		select {
		case <-f.pull(walk):
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// mayWalkForAge reports whether a walk for a MaxAge may begin, or one is under
// way that can be joined.
func (f *refresher) mayWalkForAge() bool {
	if f.walking.Load() {
		return true
	}
	if f.backingOff(walk) {
		return false
	}
	now := f.gate.clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.agedOnce && f.agedWalk.age(now) < f.gate.cfg.Refresh.ResyncMin {
		return false
	}
	f.agedOnce, f.agedWalk = true, now
	return true
}

// untilWalkForAge is when a request that got TooOld may come again.
func (f *refresher) untilWalkForAge() time.Duration {
	now := f.gate.clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.gate.cfg.Refresh.ResyncMin - f.agedWalk.age(now)
}
