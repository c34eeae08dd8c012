package snapshot

import (
	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is what a full refresh does about users who are gone from a list that may
// lack users who are listed: see [RemovalContext]. All else in the list counts, and
// they stay as they are known until a later list decides. It decides user by user:
//   - who is listed again is not held, and neither is who has a new row;
//   - who is missing from a list that lacks nobody is gone;
//   - who is missing from two mixed ones, of which the second began ConfirmAfter
//     later, is gone;
//   - of who is missing from another one that is behind, nothing is known still.
//
// Meanwhile they are known as of the last list that had them (see
// [Generation.KnownFor]), and so is what was taken away of all.

// doubt holds the removal of those of the users who are gone who may be listed.
func (h *HeldRemovals) doubt(gone map[int64]struct{}, before *Generation, l Limits, c RemovalContext) {
	h.Cause = HeldByDoubt
	doubtful := map[int64]struct{}{}
	for id := range gone {
		if c.Doubts != nil && !c.Doubts(id) {
			continue
		}
		if c.Behind > 0 || h.missingSince(id, before, c).Age(c.Started) < slack(l.ConfirmAfter) {
			doubtful[id] = struct{}{}
		}
	}
	h.Behind = c.Behind
	if len(doubtful) == 0 {
		h.Cause, h.Behind = HeldByShrinkGuard, 0 // what is held of roles is
	}
	h.hold(doubtful, before, c)
}

// verifiedDespite returns up to when all is known that was taken away, while the removal
// of users is in doubt, or a loss of roles is held: up to when the last full refresh began
// that saw all of them listed, or with these roles.
func (h *HeldRemovals) verifiedDespite(before clock.Instant) clock.Instant {
	if h.Cause != HeldByDoubt && len(h.Users) > 0 {
		return before
	}
	known := h.GrantsKnown
	for _, u := range h.Users {
		if known == (clock.Instant{}) || u.Listed.Mono < known.Mono {
			known = u.Listed
		}
	}
	return clock.Later(before, known)
}

// Beside returns a base of another replica with what is known here of those whose removal
// is in doubt in it: who was listed here later is known so, and who is gone for certain is
// gone. before is what requests see here so far.
func (gen *Generation) Beside(before *Generation, gone func(id int64) bool, roles *index.RoleSpace, aliases index.FieldSet) (*Generation, error) {
	if before == nil || gen.Held == nil || gen.Held.Cause != HeldByDoubt {
		return gen, nil
	}
	next, held := *gen, *gen.Held
	held.Users, held.name, held.Since = make(map[int64]HeldUser, len(gen.Held.Users)), &digest{}, clock.Instant{}
	var out []int64
	for id, u := range gen.Held.Users {
		_, listed := before.Find(id)
		switch {
		case !listed && gone(id):
			out = append(out, id)
			continue
		case before.Held.Has(id):
			u.Listed = clock.Later(u.Listed, before.Held.Users[id].Listed)
		default: // or they were added since
			u.Listed = clock.Later(u.Listed, before.Refreshed)
		}
		held.Users[id] = u
		held.noteSince(u.Missing)
	}
	if held.LostRoles() > 0 {
		held.Grants.Each(func(id int64, _ index.Place, _ bool) { held.noteSince(held.lost(id).Since) })
	} else if len(held.Users) == 0 {
		next.Verified = gen.Refreshed
	}
	next.Verified = held.verifiedDespite(next.Verified)
	if next.Held = held.orNil(); len(out) == 0 {
		return &next, nil
	}
	none, err := index.NewCopier(gen.Fields, &gen.Table).Finish()
	if err == nil {
		next.Snapshot, err = gen.Changed(none, out, roles, aliases)
	}
	return &next, err
}
