package pull

import (
	"slices"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A Change is what a new list changes: the users, by id ascending.
type Change struct {
	Next, Before            *snapshot.Generation
	Full                    bool // by a full refresh
	Added, Removed, Changed []int64
}

// compare counts what a new list changes, and hands it to Changed. ids calls its
// argument for every user who may differ.
func (p *Puller) compare(next, before *snapshot.Generation, full bool, ids func(look func(id int64))) Outcome {
	if before == nil {
		return Outcome{Added: next.Users}
	}
	d := index.Comparison{Before: before.Snapshot, After: next.Snapshot}
	c := Change{Next: next, Before: before, Full: full}
	ids(func(id int64) {
		switch found := d.Look(id); {
		case p.Changed == nil:
		case found == index.UserChanged:
			c.Changed = append(c.Changed, id)
		case found == index.UserAdded:
			c.Added = append(c.Added, id)
		case found == index.UserRemoved:
			c.Removed = append(c.Removed, id)
		}
	})
	if p.Changed != nil && d.Added+d.Removed+d.Changed > 0 {
		slices.Sort(c.Added)
		slices.Sort(c.Removed)
		slices.Sort(c.Changed)
		p.Changed(c)
	}
	return Outcome{Added: d.Added, Removed: d.Removed, Changed: d.Changed, LostAllRoles: d.LostAllRoles}
}

// compareAll compares all users of both: what a full refresh needs.
func (p *Puller) compareAll(next, before *snapshot.Generation) Outcome {
	return p.compare(next, before, true, func(look func(int64)) {
		next.Differing(&before.Table, look)
	})
}

// compareSome compares by the users that an incremental refresh has read.
func (p *Puller) compareSome(next, before *snapshot.Generation, changes *index.Table) Outcome {
	return p.compare(next, before, false, func(look func(int64)) {
		changes.Each(func(id int64, _ index.Place, _ bool) { look(id) })
	})
}
