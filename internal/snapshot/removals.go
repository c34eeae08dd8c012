package snapshot

import (
	"maps"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is what a full refresh does about users who are gone from the list:
// remove them, or hold that back because the list may be half-finished.

// A HeldRemovals is the removals that a walk has seen and not applied. The users in it
// are still let in. It is immutable.
type HeldRemovals struct {
	Users map[int64]clock.Instant // each with the start of the walk that first saw him gone
	Since clock.Instant           // the earliest of these
	Cause string

	// forSync is since when removals have been held for a sync, without a moment
	// at which none was held; the zero instant if this is not for one.
	SyncSince clock.Instant
}

// The causes of a hold.
const (
	HeldByShrinkGuard = "shrink_guard" // too many at once: a second full refresh must agree
	HeldBySync        = "sync"         // a sync is running upstream
)

// Has reports whether the user's removal is held. A nil hold holds nothing.
func (h *HeldRemovals) Has(id int64) bool {
	if h == nil {
		return false
	}
	_, ok := h.Users[id]
	return ok
}

func (h *HeldRemovals) Size() int {
	if h == nil {
		return 0
	}
	return len(h.Users)
}

// Without returns the hold less the users of whom a pull has said something.
func (h *HeldRemovals) Without(changes *index.Table) *HeldRemovals {
	if h == nil {
		return nil
	}
	var left map[int64]clock.Instant
	changes.Each(func(id int64, _ index.Place, _ bool) {
		if !h.Has(id) {
			return
		}
		if left == nil {
			left = maps.Clone(h.Users)
		}
		delete(left, id)
	})
	switch {
	case left == nil:
		return h
	case len(left) == 0:
		return nil
	}
	return &HeldRemovals{Users: left, Since: h.Since, Cause: h.Cause, SyncSince: h.SyncSince}
}

// Limits bound what a full refresh may remove, and how long that is held.
type Limits struct {
	MaxShrink    float64       // the part of the list that may be removed at once
	ConfirmAfter time.Duration // by how much later than the first the full refresh begins that confirms a removal
	SyncHold     time.Duration // for how long removals are held while a sync runs
	ExpireAfter  time.Duration // at which verified age the gate closes
	ResyncEvery  time.Duration // between two full refreshes
}

// minShrink is how many users a full refresh may always remove: a school of
// twenty may well lose nine in a day.
const minShrink = 10

// TooMany reports whether removing so many of so many is what a half-finished
// or broken upstream looks like; left is how many the list has without those
// who are out for certain.
func (l Limits) TooMany(removed, left, of int) bool {
	if removed == 0 {
		return false
	}
	return removed >= left || removed >= minShrink && float64(removed) > l.MaxShrink*float64(of)
}

// SyncHoldLasts reports whether removals that have been held for a sync since
// then are held for one now.
func (l Limits) SyncHoldLasts(since, now clock.Instant) bool { return since.Age(now) < l.SyncHold }

// A RemovalContext is what is known when it is decided about the removals of a
// full refresh.
type RemovalContext struct {
	Started clock.Instant // when the refresh began
	Accept  bool          // the operator has said: apply them all
	Syncing bool          // a sync ran when the refresh began or ended
}

// HoldBack puts back into the generation that a walk made those users of the
// one before whose removal must wait.
func (next *Generation) HoldBack(before *Generation, l Limits, c RemovalContext, roles *index.RoleSpace, aliases index.FieldSet) error {
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
	next.Held = before.decide(gone, barred, l, c)
	if next.Held == nil {
		return nil
	}
	next.Verified = before.Verified // what was revoked is not all known to requests
	kept := index.NewCopier(next.Fields, &next.Table)
	for id := range next.Held.Users {
		at, _ := before.Find(id)
		kept.Copy(&before.Table, at)
	}
	t, err := kept.Finish()
	if err != nil {
		return err
	}
	next.Snapshot, err = next.With(t, roles, aliases)
	return err
}

// hold decides which of the users who are gone are held. barred are those who
// are out for a bad record.
func (before *Generation) decide(gone map[int64]struct{}, barred int, l Limits, c RemovalContext) *HeldRemovals {
	last := before.Held
	if len(gone) == 0 || c.Accept {
		return nil
	}
	// A hold keeps the verified age old. It may hide some users' revocation for a
	// while; it must not shut the gate for everybody, as it could after an outage.
	young := before.Verified.Age(c.Started) < l.ExpireAfter-l.ResyncEvery*11/10
	// Removals are held for SyncHold from the first that was held for a sync, and
	// then not again until none is held.
	var forSync clock.Instant
	if last != nil {
		forSync = last.SyncSince
	}
	if c.Syncing && young {
		if forSync == (clock.Instant{}) {
			forSync = c.Started
		}
		if l.SyncHoldLasts(forSync, c.Started) {
			users := make(map[int64]clock.Instant, len(gone))
			for id := range gone {
				users[id] = last.firstSeen(id, HeldBySync, c.Started)
			}
			return newHold(users, HeldBySync, forSync)
		}
	}
	// Removals that an earlier walk has seen too are believed. One that ran
	// while a sync was running is no witness, unless the sync outlasts SyncHold.
	witness := last != nil && (last.Cause == HeldByShrinkGuard || c.Syncing)
	fresh := map[int64]clock.Instant{}
	for id := range gone {
		if witness && last.Has(id) && last.Users[id].Age(c.Started) >= l.ConfirmAfter*9/10 {
			continue
		}
		// A walk that came early does not begin the wait anew, and whom it is the
		// first to miss waits by himself.
		fresh[id] = last.firstSeen(id, HeldByShrinkGuard, c.Started)
	}
	left := before.Users - barred - (len(gone) - len(fresh))
	if !l.TooMany(len(fresh), left, before.Users) {
		return nil
	}
	return newHold(fresh, HeldByShrinkGuard, forSync)
}

// firstSeen is when a walk first saw the user gone, if he is held for that
// cause, or else now.
func (h *HeldRemovals) firstSeen(id int64, cause string, now clock.Instant) clock.Instant {
	if h == nil || h.Cause != cause || !h.Has(id) {
		return now
	}
	return h.Users[id]
}

func newHold(users map[int64]clock.Instant, cause string, forSync clock.Instant) *HeldRemovals {
	h := &HeldRemovals{Users: users, Cause: cause, SyncSince: forSync}
	first := true
	for _, at := range users {
		if first || at.Mono < h.Since.Mono {
			h.Since, first = at, false
		}
	}
	return h
}
