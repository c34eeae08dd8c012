package rolegate

import (
	"context"
	"fmt"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is what the refresher does about removals that are held back: log
// them, and ask whether a sync runs for which they are. internal/snapshot
// decides what is held.

// A HoldCause says why removals are held.
type HoldCause string

// The causes of a hold.
const (
	HeldByShrinkGuard HoldCause = HoldCause(snapshot.HeldByShrinkGuard) // too many at once: a second walk must agree
	HeldBySync        HoldCause = HoldCause(snapshot.HeldBySync)        // a sync is running upstream
)

// limits are what bounds the removals of a full refresh.
func (c *settings) limits() snapshot.Limits {
	r := &c.Refresh
	return snapshot.Limits{
		MaxShrink: r.MaxShrink, ConfirmAfter: min(time.Minute, r.ResyncEvery),
		SyncHold: r.SyncHold, ExpireAfter: r.ExpireAfter, ResyncEvery: r.ResyncEvery,
	}
}

// tellHold logs a hold that a walk ended with.
func (f *refresher) tellHold(h *snapshot.HeldRemovals, before *snapshot.HeldRemovals, now clock.Instant) {
	switch {
	case h == nil && before != nil:
		f.log.Info("rolegate: no removals are held any more", "were", before.Size(), "cause", before.Cause)
	case h == nil:
	case h.Cause == snapshot.HeldBySync:
		f.log.Warn("rolegate: removals are held while a sync is running upstream", "users", h.Size(), "held_for", h.Since.Age(now).Round(time.Second),
			"at_most", f.cfg.Refresh.SyncHold)
	default:
		f.log.Error("rolegate: the list has shrunk too much at once: its removals are held until a second walk agrees, or AcceptShrink is called",
			"users", h.Size(), "of", f.now.Load().Users, "again_in", f.untilNext(walk).Round(time.Second))
	}
}

// tellBereft logs a pull that left very many users without any role. The brake
// does not hold that: they are listed, and nobody else says what they may do.
func (f *refresher) tellBereft(o RefreshOutcome, users int) {
	if f.cfg.limits().TooMany(o.LostAllRoles, users, users) {
		f.log.Error("rolegate: very many users have lost all their roles at once: look at the source", "users", o.LostAllRoles, "of", users)
	}
}

// checkSync asks Config.UpstreamSync. It never takes longer than syncTimeout, and never
// fails: what goes wrong is SyncUnknown, and is told in Status.
func (f *refresher) checkSync(ctx context.Context) SyncState {
	checker := f.cfg.UpstreamSync
	if checker == nil {
		return SyncUnknown
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	// A checker that does not heed its ctx is left behind; there is never more
	// than one.
	answer := f.flights.DoChan("sync", func() (report any, err error) {
		if !f.enter() {
			return SyncReport{}, ErrClosed
		}
		defer f.running.Done()
		defer func() {
			if v := recover(); v != nil {
				report, err = SyncReport{}, panicError("the SyncChecker", v)
			}
		}()
		return checker.CheckSync(ctx)
	})
	var report SyncReport
	var err error
	select {
	case result := <-answer:
		report, _ = result.Val.(SyncReport)
		err = result.Err
	case <-ctx.Done():
		err = fmt.Errorf("the SyncChecker did not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		report.State = SyncUnknown
	}
	f.noteSync(report, err)
	return report.State
}

// syncTimeout is how long a pull waits for a SyncChecker at most.
const syncTimeout = 5 * time.Second

// syncPoll is how often a running sync is asked about while removals are held.
const syncPoll = 15 * time.Second

// syncMeanwhile asks Config.UpstreamSync while a walk begins.
func (f *refresher) syncMeanwhile(ctx context.Context) <-chan SyncState {
	answer := make(chan SyncState, 1)
	if f.cfg.UpstreamSync == nil || !f.enter() {
		answer <- SyncUnknown
		return answer
	}
	go func() {
		defer f.running.Done()
		answer <- f.checkSync(ctx)
	}()
	return answer
}

func (f *refresher) noteSync(report SyncReport, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	before := f.sync
	f.sync = SyncStatus{State: report.State, Text: report.Text, Checked: f.clock().Time(), Failed: before.Failed, Error: before.Error}
	if err != nil {
		f.sync.Failed++
		f.sync.Error = err.Error()
	}
}

// watchSync makes a walk due as soon as the sync ends that ran during the last
// walk, or as SyncHold is over for which removals are held.
func (f *refresher) watchSync() {
	defer f.running.Done()
	timer := time.NewTimer(syncPoll)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(syncPoll)
		gen := f.now.Load()
		if gen == nil || f.walking.Load() || f.replica.following() {
			continue
		}
		held := gen.Held != nil && gen.Held.Cause == snapshot.HeldBySync
		if !held && !f.syncRan.Load() {
			continue // nothing depends on it
		}
		if held && !f.cfg.limits().SyncHoldLasts(gen.Held.SyncSince, f.clock()) || f.checkSync(f.ctx) != SyncRunning {
			f.soon(walk)
		}
	}
}
