package rolegate

import (
	"context"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// resyncFor waits for a walk that makes the list young enough, if one may be
// made, and no longer than MaxAgeWait. The age goes back from asked: a walk that
// takes longer than maxAge would never do, although all that was revoked before
// the request is in it. held says that it is for a user whose removal is held.
func (f *refresher) resyncFor(ctx context.Context, maxAge time.Duration, asked clock.Instant, held bool) {
	timer := time.NewTimer(f.cfg.Refresh.MaxAgeWait)
	defer timer.Stop()
	for {
		if gen := f.now.Load(); gen == nil || gen.KnownFor(held).Age(asked) <= maxAge {
			return
		}
		ended := f.walkForAge()
		if ended == nil {
			return
		}
		select {
		case <-ended:
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// walkForAge joins the walk that is under way or begins one, nil if it may not.
// The channel is closed when the walk has ended.
func (f *refresher) walkForAge() <-chan struct{} {
	backingOff := f.backingOff(walk)
	now := f.clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	// One that was begun for an age is joined by its channel: it is some time
	// until the walk itself says that it is under way.
	if ended := f.aged.underWay(); ended != nil {
		return ended
	}
	if !f.walking.Load() {
		if backingOff || f.agedOnce && f.agedWalk.Age(now) < f.cfg.Refresh.ResyncMin {
			return nil
		}
		f.agedOnce, f.agedWalk = true, now
	}
	return f.aged.begin(f, walk)
}

// untilWalkForAge is when a request that got TooOld may come again.
func (f *refresher) untilWalkForAge() time.Duration {
	now := f.clock()
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.cfg.Refresh.ResyncMin - f.agedWalk.Age(now)
}
