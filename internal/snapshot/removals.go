package snapshot

import (
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is what a full refresh does about users who are gone from the list:
// remove them, or hold that back because the list may be half-finished. roles.go
// is the same for roles that are gone.

// HeldRemovals are the removals, of users and of grants, that refreshes have seen
// and that are not applied. It is immutable; nil holds nothing.
type HeldRemovals struct {
	Users map[int64]HeldUser
	Cause string        // why the removal of users is held; if of none, HeldByShrinkGuard
	Since clock.Instant // when a refresh first saw the earliest of them

	// SyncSince is since when removals have been held for a sync, without a moment
	// at which none was held; the zero instant if this is not for one.
	SyncSince clock.Instant

	// Behind is the highest sequence that the last full refresh has shown, if users are in
	// doubt because that is behind what was known; 0 if they are not.
	Behind int64

	// Looks are when the last full refreshes began that count as evidence, the
	// latest last: at most as many as have to agree.
	Looks []clock.Instant

	// Grants has of each user whose loss of roles is held the grants that are,
	// nil if there is none; they are among the user's grants in the index too.
	// GrantsSince is when a refresh first saw the latest of them gone, and
	// GrantsKnown up to when all that was taken away of the others is known. Lost has
	// both of each user; the two of all count for who is not in it, as after a restart.
	Grants                   *index.Table
	GrantsSince, GrantsKnown clock.Instant
	Lost                     map[int64]LostGrants

	name *digest // nil if it is made anew each time
}

// A digest is made when it is asked for.
type digest struct {
	once sync.Once
	text string
}

// A HeldUser is a user who is gone from the list, and may enter still.
type HeldUser struct {
	Missing clock.Instant // when the full refresh began that first saw the user gone
	Listed  clock.Instant // when the last one began that saw the user listed
}

// LostGrants are the two times of a user whose loss of roles is held.
type LostGrants struct {
	Since clock.Instant // when a refresh first saw the latest of the grants gone
	Known clock.Instant // up to when all that was taken away of the user is known but for these
}

// The causes of a hold.
const (
	HeldByShrinkGuard = "shrink_guard" // too many at once: more full refreshes must agree
	HeldBySync        = "sync"         // a sync is running upstream
	HeldByDoubt       = "doubt"        // the list may lack users who are listed: another must agree, see doubt.go
)

// Has reports whether the user's removal is held.
func (h *HeldRemovals) Has(id int64) bool {
	if h == nil {
		return false
	}
	_, ok := h.Users[id]
	return ok
}

// Size returns of how many users the removal is held.
func (h *HeldRemovals) Size() int {
	if h == nil {
		return 0
	}
	return len(h.Users)
}

// LostRoles returns of how many users a loss of roles is held.
func (h *HeldRemovals) LostRoles() int {
	if h == nil || h.Grants == nil {
		return 0
	}
	return h.Grants.Users
}

// lost returns the two times of a user whose loss of roles is held.
func (h *HeldRemovals) lost(id int64) LostGrants {
	if times, ok := h.Lost[id]; ok {
		return times
	}
	return LostGrants{h.GrantsSince, h.GrantsKnown}
}

// heldGrants returns the grants of a user whose loss is held.
func (h *HeldRemovals) heldGrants(id int64) index.Grants {
	if h == nil || h.Grants == nil {
		return nil
	}
	at, ok := h.Grants.Find(id)
	if !ok {
		return nil
	}
	return h.Grants.Grants(at)
}

// HeldDigest returns a name for what is held that differs if anything else is, "" if
// nothing is.
func (gen *Generation) HeldDigest() string {
	if gen.Held == nil {
		return ""
	}
	if gen.Held.name == nil {
		return gen.digest()
	}
	gen.Held.name.once.Do(func() { gen.Held.name.text = gen.digest() })
	return gen.Held.name.text
}

func (gen *Generation) digest() string {
	sum := sha256.New()
	put := func(n int64) { _ = binary.Write(sum, binary.LittleEndian, n) }
	put(int64(len(gen.Held.Users)))
	for _, id := range slices.Sorted(maps.Keys(gen.Held.Users)) {
		put(id)
	}
	if gen.Held.Grants != nil {
		var grants []index.Grant
		users := map[int64][]index.Grant{}
		gen.Held.Grants.Each(func(id int64, at index.Place, _ bool) {
			grants = grantsOf(gen.Held.Grants.Grants(at))
			slices.SortFunc(grants, func(a, b index.Grant) int { // by code: numbers are a process's own
				return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(gen.Roles.Code(a.Role), gen.Roles.Code(b.Role)))
			})
			users[id] = grants
		})
		for _, id := range slices.Sorted(maps.Keys(users)) {
			put(id)
			put(int64(len(users[id])))
			for _, g := range users[id] {
				put(g.Org)
				put(int64(len(gen.Roles.Code(g.Role))))
				sum.Write([]byte(gen.Roles.Code(g.Role)))
			}
		}
	}
	return hex.EncodeToString(sum.Sum(nil)[:16])
}

// Without returns what is held less the removal of those users that an
// incremental refresh has read.
func (h *HeldRemovals) Without(changes *index.Table) *HeldRemovals {
	if h == nil {
		return nil
	}
	var left map[int64]HeldUser
	changes.Each(func(id int64, _ index.Place, _ bool) {
		if !h.Has(id) {
			return
		}
		if left == nil {
			left = maps.Clone(h.Users)
		}
		delete(left, id)
	})
	if left == nil {
		return h
	}
	next := *h
	next.Users, next.name = left, &digest{}
	return next.orNil()
}

// orNil returns nil if nothing is held.
func (h *HeldRemovals) orNil() *HeldRemovals {
	if len(h.Users) == 0 && h.LostRoles() == 0 {
		return nil
	}
	return h
}

// Limits bound what a refresh may take away, and for how long that is held.
type Limits struct {
	MaxShrink    float64       // the part of the list that may be removed at once
	ShrinkHold   time.Duration // for how long the shrink guard holds, at least
	ConfirmAfter time.Duration // by how much full refreshes begin apart that each count as evidence
	SyncHold     time.Duration // for how long removals are held while a sync runs
	ResyncEvery  time.Duration // between two full refreshes
}

// minShrink is how many users a full refresh may always remove: a school of
// twenty may well lose nine in a day.
const minShrink = 10

// agreeing is how many full refreshes must have missed a user, or a role, before
// the shrink guard lets go: what a broken import looks like for a minute, or at
// two looks, is no evidence.
const agreeing = 3

// slack is by how much less full refreshes may be apart than they should: timers
// are jittered.
func slack(d time.Duration) time.Duration { return d * 9 / 10 }

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

// NextLook returns in how long a full refresh is to begin, so that what is held
// is decided as soon as it can be; ResyncEvery if nothing is.
func (l Limits) NextLook(h *HeldRemovals, now clock.Instant) time.Duration {
	switch {
	case h != nil && h.Cause == HeldByDoubt:
		return min(l.ConfirmAfter, l.ResyncEvery)
	case h == nil || h.Cause == HeldBySync:
		return l.ResyncEvery
	}
	next := max(l.ShrinkHold/agreeing, l.ConfirmAfter)
	left := l.ResyncEvery
	sooner := func(since clock.Instant) {
		if d := l.ShrinkHold - since.Age(now); d > 0 {
			left = min(left, d)
		}
	}
	for _, u := range h.Users {
		sooner(u.Missing)
	}
	if h.LostRoles() > 0 {
		h.Grants.Each(func(id int64, _ index.Place, _ bool) { sooner(h.lost(id).Since) })
	}
	return min(next, max(left, l.ConfirmAfter), l.ResyncEvery)
}

// A RemovalContext is what is known when it is decided about the removals of a
// full refresh.
type RemovalContext struct {
	Started clock.Instant // when the refresh began
	Syncing bool          // a sync ran when the refresh began or ended

	// Mixed and Behind say that the list may lack users who are listed, because a
	// server lags behind: some of its pages are of that one; or it shows only that
	// sequence at most, and not the highest known. Doubts reports of which users that
	// holds; nil is all.
	Mixed  bool
	Behind int64 // 0 if it is not
	Doubts func(id int64) bool

	// Accept is the digest of what an operator has seen and accepted, "" for
	// nothing: see [Generation.HeldDigest]. What is held and has that digest is
	// applied, as far as this refresh shows it too, and nothing else.
	Accept string
}

// HoldBack decides what becomes of the users and the roles that are gone in a
// generation which a full refresh has made, and puts back those whose removal
// must wait. before is what requests see so far, nil if nothing.
func (gen *Generation) HoldBack(before *Generation, l Limits, c RemovalContext, roles *index.RoleSpace, aliases index.FieldSet) error {
	if before == nil {
		return nil
	}
	gone, invalid := map[int64]struct{}{}, 0
	lost := map[int64][]index.Grant{}
	before.Differing(&gen.Table, func(id int64) {
		from, was := before.Find(id)
		to, is := gen.Find(id)
		switch {
		case !was:
		case is:
			if grants := missing(before.Snapshot.Grants(from), gen.Snapshot.Grants(to)); len(grants) > 0 {
				lost[id] = grants
			}
		case gen.Invalid(id): // they are out, whatever is held
			invalid++
		default:
			gone[id] = struct{}{}
		}
	})
	accepted := c.Accept != "" && c.Accept == before.HeldDigest()
	recent, taken := before.Lately.recent(c.Started, l), loss{at: c.Started, of: before.Users}
	lately := func(now map[int64]struct{}) (others, shorter int) { return recent.usersBeside(now, gen) }
	held := decide(gone, invalid, before, l, c, accepted, lately, &taken)
	lost = suspicious(lost, before, gen, l, recent, &taken, func(role uint16) bool { return gen.Assigned.Has(role) })
	gen.Lately = recent.with(taken)
	if err := held.holdRoles(lost, before, l, c, accepted); err != nil {
		return err
	}
	gen.Held = held.orNil()
	if gen.Held == nil {
		return nil
	}
	gen.Verified = held.verifiedDespite(before.Verified) // what was taken away is not all known to requests
	kept := index.NewCopier(gen.Fields, &gen.Table)
	for id := range held.Users {
		at, _ := before.Find(id)
		kept.Copy(&before.Table, at)
	}
	return gen.putBack(kept, held.Grants, roles, aliases)
}

// decide says of which of the users who are gone the removal is held. invalid is
// how many others are out for an invalid record; lately says how many others have gone
// lately, and how much shorter the list is.
// taken gets who are removed.
func decide(gone map[int64]struct{}, invalid int, before *Generation, l Limits, c RemovalContext, accepted bool, lately func(now map[int64]struct{}) (others, shorter int), taken *loss) *HeldRemovals {
	last := before.Held
	if last == nil {
		last = &HeldRemovals{}
	}
	held := &HeldRemovals{Cause: HeldByShrinkGuard, name: &digest{}}
	out := invalid // for certain
	if accepted {
		all := len(gone)
		gone = maps.Clone(gone)
		maps.DeleteFunc(gone, func(id int64, _ struct{}) bool { return last.Has(id) })
		out += all - len(gone)
	}
	// A full refresh right behind another is no evidence.
	held.Looks = last.Looks
	if n := len(held.Looks); n == 0 || held.Looks[n-1].Age(c.Started) >= slack(l.ConfirmAfter) {
		held.Looks = append(slices.Clip(held.Looks), c.Started)
		held.Looks = held.Looks[max(0, len(held.Looks)-agreeing):]
	}
	// Removals are held for SyncHold from the first that was held for a sync, and
	// then not again until none is held.
	held.SyncSince = last.SyncSince
	if c.Syncing && len(gone) > 0 {
		if held.SyncSince == (clock.Instant{}) {
			held.SyncSince = c.Started
		}
		if l.SyncHoldLasts(held.SyncSince, c.Started) {
			held.Cause = HeldBySync
			held.hold(gone, before, c)
			return held
		}
	}
	fresh := map[int64]struct{}{}
	for id := range gone {
		if missing := held.missingSince(id, before, c); missing == c.Started || !held.agrees(missing, l, c.Started) {
			fresh[id] = struct{}{}
		}
	}
	left := before.Users - out - (len(gone) - len(fresh))
	tooMany := l.TooMany(len(fresh), left, before.Users)
	if !tooMany && len(fresh) > 0 {
		others, shorter := lately(fresh)
		tooMany = l.tooManyTogether(min(len(fresh)+others, shorter), before.Users+others)
	}
	switch {
	case tooMany:
		held.hold(fresh, before, c)
	case c.Mixed || c.Behind > 0:
		held.doubt(gone, before, l, c)
	}
	for id := range fresh {
		if !held.Has(id) {
			taken.users = append(taken.users, id)
		}
	}
	return held
}

// agrees reports whether enough full refreshes have seen what was first seen then,
// for long enough.
func (h *HeldRemovals) agrees(since clock.Instant, l Limits, now clock.Instant) bool {
	looks := 0
	for _, at := range h.Looks {
		if at.Mono >= since.Mono {
			looks++
		}
	}
	return looks >= agreeing && since.Age(now) >= l.ShrinkHold
}

// hold holds the removal of these users; some may be held already.
func (h *HeldRemovals) hold(users map[int64]struct{}, before *Generation, c RemovalContext) {
	h.Users = make(map[int64]HeldUser, len(users))
	for id := range users {
		u := HeldUser{Missing: h.missingSince(id, before, c), Listed: before.Refreshed}
		if before.Held.Has(id) {
			u.Listed = before.Held.Users[id].Listed
		}
		h.Users[id] = u
		h.noteSince(u.Missing)
	}
}

// missingSince returns since when full refreshes have missed a user. What they have
// seen during a sync is no evidence, unless the sync outlasts SyncHold.
func (h *HeldRemovals) missingSince(id int64, before *Generation, c RemovalContext) clock.Instant {
	if before.Held.Has(id) && (before.Held.Cause == h.Cause || c.Syncing) {
		return before.Held.Users[id].Missing
	}
	return c.Started
}

func (h *HeldRemovals) noteSince(at clock.Instant) {
	if h.Since == (clock.Instant{}) || at.Mono < h.Since.Mono {
		h.Since = at
	}
}
