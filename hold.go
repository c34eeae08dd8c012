package rolegate

import (
	"context"
	"fmt"
	"maps"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is what a walk does about users who are gone from the list: apply
// it, or hold it back because the list may be half-finished.

// A hold is the removals that a walk has seen and not applied. The users in it
// are still let in. It is immutable.
type hold struct {
	users map[int64]clock.Instant // each with the start of the walk that first saw him gone
	since clock.Instant           // the earliest of these
	cause HoldCause

	// forSync is since when removals have been held for a sync, without a moment
	// at which none was held; the zero instant if this is not for one.
	forSync clock.Instant
}

// A HoldCause says why removals are held.
type HoldCause string

// The causes of a hold.
const (
	HeldByBrake HoldCause = "shrink_brake" // too many at once: a second walk must agree
	HeldBySync  HoldCause = "sync"         // a sync is running upstream
)

// has reports whether the user's removal is held. A nil hold holds nothing.
func (h *hold) has(id int64) bool {
	if h == nil {
		return false
	}
	_, ok := h.users[id]
	return ok
}

func (h *hold) size() int {
	if h == nil {
		return 0
	}
	return len(h.users)
}

// without returns the hold less the users of whom a pull has said something.
func (h *hold) without(changes *index.Table) *hold {
	if h == nil {
		return nil
	}
	var left map[int64]clock.Instant
	changes.Each(func(id int64, _ index.Place, _ bool) {
		if !h.has(id) {
			return
		}
		if left == nil {
			left = maps.Clone(h.users)
		}
		delete(left, id)
	})
	switch {
	case left == nil:
		return h
	case len(left) == 0:
		return nil
	}
	return &hold{users: left, since: h.since, cause: h.cause, forSync: h.forSync}
}

// minShrink is how many users a walk may always remove: a school of twenty may
// well lose nine in a day.
const minShrink = 10

// tooMany reports whether removing so many of so many is what a half-finished
// or broken upstream looks like; left is how many the list has without those
// who are out for certain.
func (c *settings) tooMany(removed, left, of int) bool {
	if removed == 0 {
		return false
	}
	return removed >= left || removed >= minShrink && float64(removed) > c.Refresh.MaxShrink*float64(of)
}

// confirmGap is how much later than the first the walk must begin that confirms
// a shrink.
func (c *settings) confirmGap() time.Duration { return min(time.Minute, c.Refresh.ResyncEvery) }

// A walkView is what a walk knows when it decides about removals.
type walkView struct {
	started clock.Instant
	accept  bool // the operator has said: apply them all
	syncing bool // a sync ran when the walk began or ended
}

// holdBack puts back into the generation that a walk made those users of the
// one before whose removal must wait.
func (f *refresher) holdBack(next, before *generation, view walkView) error {
	if before == nil {
		return nil
	}
	gone, barred := map[int64]struct{}{}, 0
	before.Differing(&next.Table, func(id int64) {
		_, was := before.Find(id)
		_, is := next.Find(id)
		switch {
		case !was || is:
		case next.Invalid(id): // he is out, whatever is held
			barred++
		default:
			gone[id] = struct{}{}
		}
	})
	next.hold = f.hold(gone, barred, before, view)
	if next.hold == nil {
		return nil
	}
	next.verified = before.verified // what was revoked is not all known to requests
	kept := index.NewCopier(f.cfg.fields, &next.Table)
	for id := range next.hold.users {
		at, _ := before.Find(id)
		kept.PutContent(id, before.Content(at), false)
	}
	t, err := kept.Finish()
	if err != nil {
		return err
	}
	next.Snapshot, err = next.With(t, f.roles, f.cfg.indexed.fields())
	return err
}

// hold decides which of the users who are gone are held. barred are those who
// are out for a bad record.
func (f *refresher) hold(gone map[int64]struct{}, barred int, before *generation, view walkView) *hold {
	cfg := &f.cfg
	last := before.hold
	if len(gone) == 0 || view.accept {
		return nil
	}
	// A hold keeps the verified age old. It may hide some users' revocation for a
	// while; it must not shut the gate for everybody, as it could after an outage.
	young := before.verified.Age(view.started) < cfg.Refresh.ExpireAfter-cfg.Refresh.ResyncEvery*11/10
	// Removals are held for SyncHold from the first that was held for a sync, and
	// then not again until none is held.
	var forSync clock.Instant
	if last != nil {
		forSync = last.forSync
	}
	if view.syncing && young {
		if forSync == (clock.Instant{}) {
			forSync = view.started
		}
		if f.syncHoldLasts(forSync, view.started) {
			users := make(map[int64]clock.Instant, len(gone))
			for id := range gone {
				users[id] = last.firstSeen(id, HeldBySync, view.started)
			}
			return newHold(users, HeldBySync, forSync)
		}
	}
	// Removals that an earlier walk has seen too are believed. One that ran
	// while a sync was running is no witness, unless the sync outlasts SyncHold.
	witness := last != nil && (last.cause == HeldByBrake || view.syncing)
	fresh := map[int64]clock.Instant{}
	for id := range gone {
		if witness && last.has(id) && last.users[id].Age(view.started) >= cfg.confirmGap()*9/10 {
			continue
		}
		// A walk that came early does not begin the wait anew, and whom it is the
		// first to miss waits by himself.
		fresh[id] = last.firstSeen(id, HeldByBrake, view.started)
	}
	left := before.Users - barred - (len(gone) - len(fresh))
	if !cfg.tooMany(len(fresh), left, before.Users) {
		return nil
	}
	return newHold(fresh, HeldByBrake, forSync)
}

// firstSeen is when a walk first saw the user gone, if he is held for that
// cause, or else now.
func (h *hold) firstSeen(id int64, cause HoldCause, now clock.Instant) clock.Instant {
	if h == nil || h.cause != cause || !h.has(id) {
		return now
	}
	return h.users[id]
}

func newHold(users map[int64]clock.Instant, cause HoldCause, forSync clock.Instant) *hold {
	h := &hold{users: users, cause: cause, forSync: forSync}
	first := true
	for _, at := range users {
		if first || at.Mono < h.since.Mono {
			h.since, first = at, false
		}
	}
	return h
}

// tellHold logs a hold that a walk ended with.
func (f *refresher) tellHold(h *hold, before *hold, now clock.Instant) {
	switch {
	case h == nil && before != nil:
		f.log.Info("rolegate: no removals are held any more", "were", before.size(), "cause", before.cause)
	case h == nil:
	case h.cause == HeldBySync:
		f.log.Warn("rolegate: removals are held while a sync is running upstream", "users", h.size(), "held_for", h.since.Age(now).Round(time.Second),
			"at_most", f.cfg.Refresh.SyncHold)
	default:
		f.log.Error("rolegate: the list has shrunk too much at once: its removals are held until a second walk agrees, or Resync is called with AcceptShrink",
			"users", h.size(), "of", f.now.Load().Users, "again_in", f.untilNext(walk).Round(time.Second))
	}
}

// tellBereft logs a pull that left very many users without any role. The brake
// does not hold that: they are listed, and nobody else says what they may do.
func (f *refresher) tellBereft(o PullOutcome, users int) {
	if f.cfg.tooMany(o.Bereft, users, users) {
		f.log.Error("rolegate: very many users have lost all their roles at once: look at the source", "users", o.Bereft, "of", users)
	}
}

// checkSync asks Config.Sync. It never takes longer than syncTimeout, and never
// fails: what goes wrong is SyncUnknown, and is told in Status.
func (f *refresher) checkSync(ctx context.Context) SyncState {
	checker := f.cfg.Sync
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

// syncMeanwhile asks Config.Sync while a walk begins.
func (f *refresher) syncMeanwhile(ctx context.Context) <-chan SyncState {
	answer := make(chan SyncState, 1)
	if f.cfg.Sync == nil || !f.enter() {
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
		held := gen.hold != nil && gen.hold.cause == HeldBySync
		if !held && !f.syncRan.Load() {
			continue // nothing depends on it
		}
		if held && !f.syncHoldLasts(gen.hold.forSync, f.clock()) || f.checkSync(f.ctx) != SyncRunning {
			f.soon(walk)
		}
	}
}

func (f *refresher) syncHoldLasts(since, now clock.Instant) bool {
	return since.Age(now) < f.cfg.Refresh.SyncHold
}
