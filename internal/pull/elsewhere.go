package pull

import (
	"context"
	"errors"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is how what other replicas have read becomes what requests see.

// Adopt publishes what another replica's full refresh has shown, unless one that
// began at the same time or later is published already. It returns the generation
// that was replaced, nil if there was none.
func (p *Puller) Adopt(ctx context.Context, base *snapshot.Generation) (before *snapshot.Generation, taken bool, err error) {
	if err := p.Now.Lock(ctx); err != nil {
		return nil, false, err
	}
	defer p.Now.Unlock()
	before = p.Now.Load()
	if before != nil && before.Refreshed.Mono >= base.Refreshed.Mono {
		return before, false, nil
	}
	known := base.Cursor
	base, err = base.Beside(before, func(id int64) bool { return p.Cursor.IsGone(id, known) }, p.Roles, p.Aliases)
	if err != nil {
		return nil, false, err
	}
	began := base.Refreshed.Mono + margin
	recent := p.recent(before, base.Refreshed.Mono)
	next, rows, err := p.onTop(base, began)
	if err != nil {
		return nil, false, err
	}
	if before != nil && before.Contact.Mono-margin > began {
		next.Contact = clock.Later(base.Contact, before.Contact)
	}
	if before != nil && next.Lately == nil {
		next.Lately = before.Lately
	}
	p.Cursor.Gone(p.gone(before, next, recent))
	p.Cursor.Follow(p.Clock(), base.Contact, base.Cursor, base.Above, func(id int64) bool {
		_, ok := base.Place(id) // or an invalid record of theirs
		return ok
	})
	if base.Held != nil && base.Held.Behind > 0 {
		p.Cursor.Behind(base.Refreshed, base.Held.Behind)
	} else {
		p.Cursor.Confirmed()
	}
	p.Cursor.Page(p.Clock(), sequencesOf(rows), true)
	next.Cursor = p.Cursor.Highest()
	if base.Contact.Mono > began {
		next.RowsUntil = base.Contact
	}
	next.ReadUntil = p.Clock()
	p.began, p.outdated = began, p.tick()
	p.Now.Publish(next)
	if p.Changed != nil {
		p.compareAll(next, before)
	}
	return before, true, nil
}

func sequencesOf(rows []snapshot.Row) map[int64]int64 {
	sequences := make(map[int64]int64, len(rows))
	for _, row := range rows {
		sequences[row.ID] = max(sequences[row.ID], row.Sequence)
	}
	return sequences
}

// Confirm takes in that a full refresh which began then has found the list as it
// is. It reports whether it is still.
func (p *Puller) Confirm(at clock.Instant) bool {
	if p.Now.Lock(context.Background()) != nil {
		return false
	}
	defer p.Now.Unlock()
	gen := p.Now.Load()
	if gen == nil || gen.Touched || gen.Held != nil || gen.Refreshed.Mono >= at.Mono {
		return false
	}
	next := *gen
	next.Contact, next.Verified, next.Refreshed, next.Elsewhere = clock.Later(gen.Contact, at), at, at, true
	p.began, p.outdated = at.Mono+margin, p.tick()
	p.rows.Forget(p.began)
	p.Cursor.Confirmed()
	p.Now.Publish(&next)
	return true
}

// Apply puts on top what another replica's incremental refresh has read. If it
// has missed something before that, it knows the rows, but not that they are all.
func (p *Puller) Apply(e replication.Entry, rows []snapshot.Row) error {
	if err := p.Now.Lock(context.Background()); err != nil {
		return err
	}
	defer p.Now.Unlock()
	gen := p.Now.Load()
	if gen == nil || e.At.Mono-margin <= p.began && len(rows) > 0 {
		return nil
	}
	moves := e.From <= p.Cursor.Highest()
	list := p.collectRows(0, 0)
	list.elsewhere = true
	for _, row := range rows {
		row.Known = e.Known.Mono
		p.rows.Add(row)
		if !p.counts(gen, row) {
			continue
		}
		if err := list.takeRow(&row); err != nil {
			return err
		}
	}
	if !list.table.Settle(p.Roles) {
		return p.tooManyRoles()
	}
	_, err := p.put(list, e.At, e.From, e.Complete && moves, moves)
	return err
}

// counts reports whether a row is newer than all that is known of its user.
func (p *Puller) counts(gen *snapshot.Generation, row snapshot.Row) bool {
	last, _ := p.rows.Of(row.ID, p.began)
	return last.Sequence == row.Sequence && last.Invalid == row.Invalid && last.Read == row.Read && gen.Takes(row, p.began)
}

// errInvalidElsewhere is what is wrong with a record that another replica has read.
var errInvalidElsewhere = errors.New("another replica has found it invalid")

// takeRow takes in a record as far as it was kept.
func (c *List) takeRow(row *snapshot.Row) error {
	r := Record{ID: row.ID, Sequence: row.Sequence}
	if row.Invalid {
		r.Bad = errInvalidElsewhere
	}
	wanted, err := c.Begin(r)
	if err != nil || !wanted {
		return err
	}
	for _, g := range row.Grants {
		if err := c.Grant(g.Org, g.Code); err != nil {
			return err
		}
	}
	if row.DroppedGrant {
		if err := c.Grant(0, ""); err != nil {
			return err
		}
	}
	c.End(&row.Text)
	return nil
}

// Shift takes in that the instants of before were measured wrongly, or with underWay
// only those at which the refreshes began that have not ended. It reports whether the
// list has another age now.
func (p *Puller) Shift(by func(clock.Instant) clock.Instant, underWay bool) bool {
	if p.Now.Lock(context.Background()) != nil {
		return false
	}
	defer p.Now.Unlock()
	mono := func(n int64) int64 { return by(clock.Instant{Mono: n}).Mono }
	p.outdated = p.tick()
	if f := p.underWay; f != nil {
		f.tick, f.started = mono(f.tick), by(f.started)
	}
	if underWay {
		return false
	}
	p.began = mono(p.began)
	p.rows.Shift(mono)
	gen := p.Now.Load()
	if gen == nil {
		return false
	}
	p.Now.Publish(gen.Shifted(by))
	return true
}
