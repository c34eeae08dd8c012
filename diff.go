package rolegate

import (
	"bytes"
	"cmp"
	"slices"
)

// A diff is what lies between two snapshots: always the counts, and the users
// themselves if somebody wants to know.
type diff struct {
	before, after           *snapshot
	added, removed, changed int
	bereft                  int

	detailed bool
	change   Change
}

// look compares what the snapshots say of one user.
func (d *diff) look(id int64) {
	at, was := d.before.find(id)
	to, is := d.after.find(id)
	switch {
	case was && is:
		if !bytes.Equal(d.before.content(at), d.after.content(to)) {
			d.changed++
			if len(d.before.grantsOf(at)) > 0 && len(d.after.grantsOf(to)) == 0 {
				d.bereft++
			}
			d.note(&d.change.Changed, id)
		}
	case is:
		d.added++
		d.note(&d.change.Added, id)
	case was:
		d.removed++
		d.note(&d.change.Removed, id)
	}
}

func (d *diff) note(to *[]UserChange, id int64) {
	if d.detailed {
		*to = append(*to, UserChange{UserID: id, Before: d.before.user(id).Grants(), After: d.after.user(id).Grants()})
	}
}

// user returns the listed user with that id, or nobody.
func (s *snapshot) user(id int64) User {
	at, ok := s.find(id)
	if !ok {
		return User{}
	}
	return User{s: s, at: at}
}

// compare counts what a swap changed, and hands it to OnChange. ids calls its
// argument for every user who may differ.
func (f *refresher) compare(next, before *generation, isWalk bool, ids func(look func(id int64))) PullOutcome {
	if before == nil {
		return PullOutcome{Added: next.users}
	}
	d := diff{before: before.snapshot, after: next.snapshot, detailed: f.changes != nil}
	ids(d.look)
	if d.detailed && d.added+d.removed+d.changed > 0 {
		byID := func(a, b UserChange) int { return cmp.Compare(a.UserID, b.UserID) }
		slices.SortFunc(d.change.Added, byID)
		slices.SortFunc(d.change.Removed, byID)
		slices.SortFunc(d.change.Changed, byID)
		d.change.Time, d.change.Walk, d.change.Generation = f.clock().Time(), isWalk, next.number
		f.changes.put(d.change)
	}
	return PullOutcome{Added: d.added, Removed: d.removed, Changed: d.changed, Bereft: d.bereft}
}

// compareAll compares all users of both: what a walk needs.
func (f *refresher) compareAll(next, before *generation) PullOutcome {
	return f.compare(next, before, true, func(look func(int64)) {
		next.differing(&before.table, look)
	})
}

// compareSome compares by the users whom an incremental pull spoke of.
func (f *refresher) compareSome(next, before *generation, changes *table) PullOutcome {
	return f.compare(next, before, false, func(look func(int64)) {
		changes.each(func(id int64, _ place, _ bool) { look(id) })
	})
}
