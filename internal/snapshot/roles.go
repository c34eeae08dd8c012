package snapshot

import (
	"cmp"
	"slices"
	"sort"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// This file is what refreshes do about roles that are gone from users who are
// listed still. If everybody's are gone, or a role from all who had it, the list
// may be broken, and the loss is held as removals are.

func grantsOf(gs index.Grants) (grants []index.Grant) {
	for i := range gs.Len() {
		grants = append(grants, index.Grant{Org: gs.Org(i), Role: gs.Role(i)})
	}
	return grants
}

// missing returns the grants in before that are not in after. Both are sorted.
func missing(before, after index.Grants) (grants []index.Grant) {
	j := 0
	for i := range before.Len() {
		g := index.Grant{Org: before.Org(i), Role: before.Role(i)}
		for j < after.Len() && compare(index.Grant{Org: after.Org(j), Role: after.Role(j)}, g) < 0 {
			j++
		}
		if j == after.Len() || after.Org(j) != g.Org || after.Role(j) != g.Role {
			grants = append(grants, g)
		}
	}
	return grants
}

// compare orders grants as users have them.
func compare(a, b index.Grant) int {
	return cmp.Or(cmp.Compare(a.Org, b.Org), cmp.Compare(a.Role, b.Role))
}

func contains(gs index.Grants, g index.Grant) bool {
	_, found := sort.Find(gs.Len(), func(i int) int {
		return compare(g, index.Grant{Org: gs.Org(i), Role: gs.Role(i)})
	})
	return found
}

// suspicious returns those of the grants that users have lost which look as if
// the list were broken. recent has what was taken away lately, and taken gets the
// others. assigned reports whether anybody in after has a role.
func suspicious(lost map[int64][]index.Grant, before, after *Generation, l Limits, recent Losses, taken *loss, assigned func(role uint16) bool) map[int64][]index.Grant {
	loses := func(id int64) bool {
		_, is := lost[id]
		return is
	}
	everything := map[int64]struct{}{} // users who have lost all their roles
	losers := map[uint16][]int64{}     // who have lost a role altogether
	for id, grants := range lost {
		at, _ := after.Find(id)
		left := after.Snapshot.Grants(at)
		if left.Len() == 0 {
			everything[id] = struct{}{}
		}
		seen := map[uint16]bool{} // roles that the user has still, or was counted for
		for i := range left.Len() {
			seen[left.Role(i)] = true
		}
		for _, g := range grants {
			if !seen[g.Role] {
				losers[g.Role] = append(losers[g.Role], id)
				seen[g.Role] = true
			}
		}
	}
	mass := massLoss(len(everything), func() int { return recent.bareBeside(loses, after) }, before, after, l)
	gone := map[uint16]bool{}
	for role, users := range losers {
		code := after.Roles.Code(role)
		enough := len(users)+recent.ofRole(code) >= minShrink // of some, perhaps twice
		gone[role] = enough && !assigned(role) && len(users)+recent.roleBeside(code, loses) >= minShrink
	}
	held := map[int64][]index.Grant{}
	for id, grants := range lost {
		_, all := everything[id]
		for _, g := range grants {
			if mass && all || gone[g.Role] {
				held[id] = append(held[id], g)
			}
		}
		if all && len(held[id]) == 0 {
			taken.bare = append(taken.bare, id)
		}
	}
	for role, users := range losers {
		for _, id := range users {
			if _, all := everything[id]; !gone[role] && !(mass && all) {
				taken.ofRole(after.Roles.Code(role), id)
			}
		}
	}
	return held
}

// massLoss reports whether so many have lost all their roles at once that the
// list may be broken: all of several, or as many as the shrink guard would not let
// be removed, together with those who have lost them lately.
func massLoss(users int, lately func() int, before, after *Generation, l Limits) bool {
	few := users < 2 || users < minShrink && before.Users >= 100*minShrink // not all of them
	if users == 0 {
		return false
	}
	others := lately()
	if few && users+others < minShrink {
		return false
	}
	had := 0
	before.Each(func(id int64, at index.Place, invalid bool) {
		if _, is := after.Find(id); is && !invalid && before.Snapshot.Grants(at).Len() > 0 {
			had++
		}
	})
	return !few && l.TooMany(users, had, had) || l.tooManyTogether(users+others, had+others)
}

// holdRoles holds the loss of these grants in a full refresh, but for what enough
// refreshes have seen.
func (h *HeldRemovals) holdRoles(lost map[int64][]index.Grant, before *Generation, l Limits, c RemovalContext, accepted bool) error {
	last := before.Held
	for id, grants := range lost {
		was := last.heldGrants(id)
		if was.Len() > 0 && (accepted || h.agrees(last.lost(id).Since, l, c.Started)) {
			grants = slices.DeleteFunc(grants, func(g index.Grant) bool { return contains(was, g) })
		}
		if len(grants) == 0 {
			delete(lost, id)
			continue
		}
		lost[id] = grants
	}
	return h.setGrants(lost, nil, before, c.Started)
}

// setGrants makes the grants whose loss is held those in lost, and, if changed is
// not nil, those that were held before of users who are not in it. Each user has times
// of their own: where roles are lost one after the other, the first are not held until
// the last may go.
func (h *HeldRemovals) setGrants(lost map[int64][]index.Grant, changed *index.Table, before *Generation, now clock.Instant) (err error) {
	last := before.Held
	h.GrantsSince, h.GrantsKnown, h.Lost = clock.Instant{}, clock.Instant{}, map[int64]LostGrants{}
	b := index.NewCopier(0, nil)
	put := func(id int64, times LostGrants) {
		h.Lost[id] = times
		if h.GrantsKnown == (clock.Instant{}) || times.Known.Mono < h.GrantsKnown.Mono {
			h.GrantsKnown = times.Known
		}
		if h.GrantsSince == (clock.Instant{}) || times.Since.Mono > h.GrantsSince.Mono {
			h.GrantsSince = times.Since
		}
		h.noteSince(times.Since)
	}
	for id, grants := range lost {
		b.Put(&index.Row{ID: id, Grants: index.SortGrants(slices.Clone(grants))})
		was, times := last.heldGrants(id), LostGrants{now, before.Refreshed}
		if slices.ContainsFunc(grants, func(g index.Grant) bool { return contains(was, g) }) {
			times.Known = last.lost(id).Known
			if !slices.ContainsFunc(grants, func(g index.Grant) bool { return !contains(was, g) }) {
				times.Since = last.lost(id).Since
			}
		}
		put(id, times)
	}
	if changed != nil && last.LostRoles() > 0 {
		last.Grants.Each(func(id int64, at index.Place, _ bool) {
			if _, ok := changed.Place(id); !ok {
				b.Copy(last.Grants, at)
				put(id, last.lost(id))
			}
		})
	}
	h.Grants = nil
	t, err := b.Finish()
	if err == nil && t.Users > 0 {
		h.Grants = t
	}
	return err
}

// putBack puts users into a generation's index: those in kept, and the grants of
// listed users whose loss is held.
func (gen *Generation) putBack(kept *index.Builder, grants *index.Table, roles *index.RoleSpace, aliases index.FieldSet) error {
	if grants != nil {
		grants.Each(func(id int64, at index.Place, _ bool) {
			if to, ok := gen.Find(id); ok {
				kept.CopyWith(&gen.Table, to, grantsOf(grants.Grants(at)))
			}
		})
	}
	t, err := kept.Finish()
	if err != nil {
		return err
	}
	gen.Snapshot, err = gen.With(t, roles, aliases)
	return err
}

// HoldLostRoles decides what becomes of the roles that are gone in a generation to
// which incremental refreshes have led, and puts back those whose loss must wait.
// changes has the users that they have read, and before is what requests see so
// far. Only full refreshes let go of what is held.
func (gen *Generation) HoldLostRoles(before *Generation, changes *index.Table, l Limits, now clock.Instant, roles *index.RoleSpace, aliases index.FieldSet) error {
	lost, again := map[int64][]index.Grant{}, map[int64][]index.Grant{}
	spoken := false // of somebody whose loss is held
	changes.Each(func(id int64, _ index.Place, _ bool) {
		from, was := before.Find(id)
		to, is := gen.Find(id)
		held := before.Held.heldGrants(id)
		spoken = spoken || held.Len() > 0
		if !was || !is {
			return
		}
		for _, g := range missing(before.Snapshot.Grants(from), gen.Snapshot.Grants(to)) {
			if contains(held, g) {
				again[id] = append(again[id], g)
			} else {
				lost[id] = append(lost[id], g)
			}
		}
	})
	recent, taken := before.Lately.recent(now, l), loss{at: now, of: before.Users}
	lost = suspicious(lost, before, gen, l, recent, &taken, func(role uint16) bool { return gen.somebodyHas(role) })
	gen.Lately = recent.with(taken)
	if len(lost) == 0 && !spoken {
		return nil
	}
	for id, grants := range again {
		lost[id] = append(lost[id], grants...)
	}
	held := &HeldRemovals{Cause: HeldByShrinkGuard}
	if gen.Held != nil {
		*held = *gen.Held
	}
	held.name = &digest{}
	if err := held.setGrants(lost, changes, before, now); err != nil {
		return err
	}
	gen.Held = held.orNil()
	if held.Grants == nil {
		return nil
	}
	return gen.putBack(index.NewCopier(gen.Fields, &gen.Table), held.Grants, roles, aliases)
}

// somebodyHas looks at users until one has the role.
func (gen *Generation) somebodyHas(role uint16) bool {
	return gen.Any(func(at index.Place) bool { return hasRole(gen.Snapshot.Grants(at), role) })
}

func hasRole(gs index.Grants, role uint16) bool {
	for i := range gs.Len() {
		if gs.Role(i) == role {
			return true
		}
	}
	return false
}
