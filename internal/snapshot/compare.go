package snapshot

import "github.com/rolegate/rolegate/internal/index"

// This file is what two generations say of each other.

// Same reports whether a full refresh has found the list as the one before had,
// without anything on top of either. Before is nil for the first.
func (gen *Generation) Same(before *Generation) bool {
	if before == nil || before.Touched || gen.Touched || before.Held != nil || gen.Held != nil || before.Cursor != gen.Cursor {
		return false
	}
	same := true
	before.Differing(&gen.Table, func(int64) { same = false })
	return same
}

// Removed returns the users that a list does not have any more. Before is nil for
// the first.
func (gen *Generation) Removed(before *Generation) (ids []int64) {
	if before == nil {
		return nil
	}
	before.Differing(&gen.Table, func(id int64) {
		if _, there := gen.Place(id); !there { // nor an invalid record of theirs
			ids = append(ids, id)
		}
	})
	return ids
}

// maxExplained is how many users may be gone from a list whose highest sequence
// is below the one that was seen before, if nothing else differs: they had the
// highest.
const maxExplained = 10

// OnlyLacks reports whether a list lacks users and says nothing else that is new,
// so that it need not be older than the one before: a few, or so many that the
// shrink guard holds their removal. Before is nil for the first.
func (gen *Generation) OnlyLacks(before *Generation, l Limits) bool {
	if before == nil {
		return true
	}
	d := index.Comparison{Before: before.Snapshot, After: gen.Snapshot}
	before.Differing(&gen.Table, func(id int64) { d.Look(id) })
	return d.Added+d.Changed == 0 && (d.Removed <= maxExplained || l.TooMany(d.Removed, gen.Users, before.Users))
}
