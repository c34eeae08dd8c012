package rolegate

import (
	"cmp"
	"slices"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A diff is what lies between two snapshots: always the counts, and the users
// themselves if somebody wants to know.
type diff struct {
	index.Comparison
	detailed bool
	change   Change
}

// look compares what the snapshots say of one user.
func (d *diff) look(id int64) {
	switch found := d.Comparison.Look(id); {
	case !d.detailed:
	case found == index.UserChanged:
		d.note(&d.change.Changed, id)
	case found == index.UserAdded:
		d.note(&d.change.Added, id)
	case found == index.UserRemoved:
		d.note(&d.change.Removed, id)
	}
}

func (d *diff) note(to *[]UserChange, id int64) {
	*to = append(*to, UserChange{UserID: id, Before: userIn(d.Before, id).Grants(), After: userIn(d.After, id).Grants()})
}

// compare counts what a swap changed, and hands it to OnChange. ids calls its
// argument for every user who may differ.
func (p *puller) compare(next, before *snapshot.Generation, isWalk bool, ids func(look func(id int64))) RefreshOutcome {
	if before == nil {
		return RefreshOutcome{Added: next.Users}
	}
	d := diff{Comparison: index.Comparison{Before: before.Snapshot, After: next.Snapshot}, detailed: p.changes != nil}
	ids(d.look)
	if d.detailed && d.Added+d.Removed+d.Changed > 0 {
		byID := func(a, b UserChange) int { return cmp.Compare(a.UserID, b.UserID) }
		slices.SortFunc(d.change.Added, byID)
		slices.SortFunc(d.change.Removed, byID)
		slices.SortFunc(d.change.Changed, byID)
		d.change.Time, d.change.Full, d.change.Generation = p.clock().Time(), isWalk, next.Number
		p.changes.Put(d.change)
	}
	return RefreshOutcome{Added: d.Added, Removed: d.Removed, Changed: d.Changed, LostAllRoles: d.LostAllRoles}
}

// compareAll compares all users of both: what a full refresh needs.
func (p *puller) compareAll(next, before *snapshot.Generation) RefreshOutcome {
	return p.compare(next, before, true, func(look func(int64)) {
		next.Differing(&before.Table, look)
	})
}

// compareSome compares by the users that an incremental refresh has read.
func (p *puller) compareSome(next, before *snapshot.Generation, changes *index.Table) RefreshOutcome {
	return p.compare(next, before, false, func(look func(int64)) {
		changes.Each(func(id int64, _ index.Place, _ bool) { look(id) })
	})
}
