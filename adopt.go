package rolegate

import (
	"context"
	"errors"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is how what other replicas have read becomes what requests see.

// adopt publishes what another replica's full refresh has shown, unless one that
// began at the same time or later is published already. It returns the generation
// that was replaced, nil if there was none.
func (p *puller) adopt(ctx context.Context, base *snapshot.Generation) (before *snapshot.Generation, taken bool, err error) {
	if err := p.now.Lock(ctx); err != nil {
		return nil, false, err
	}
	defer p.now.Unlock()
	before = p.now.Load()
	if before != nil && before.Refreshed.Mono >= base.Refreshed.Mono {
		return before, false, nil
	}
	began := base.Refreshed.Mono + margin
	recent := p.rows.After(base.Refreshed.Mono - 2*margin)
	next, rows, err := p.onTop(base, began)
	if err != nil {
		return nil, false, err
	}
	if before != nil && before.Contact.Mono-margin > began {
		next.Contact = clock.Later(base.Contact, before.Contact)
	}
	p.cursor.Gone(p.gone(before, next, recent))
	p.cursor.Follow(p.clock(), base.Contact, base.Cursor, base.Above, func(id int64) bool {
		_, ok := base.Find(id)
		return ok
	})
	p.cursor.Page(p.clock(), sequencesOf(rows), true)
	next.Cursor = p.cursor.Highest()
	p.began, p.outdated = began, p.tick()
	p.now.Swap(next)
	if before != nil && p.changes != nil {
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

// confirm takes in that a full refresh which began then has found the list as it
// is. It reports whether it is still.
func (p *puller) confirm(at clock.Instant) bool {
	if p.now.Lock(context.Background()) != nil {
		return false
	}
	defer p.now.Unlock()
	gen := p.now.Load()
	if gen == nil || gen.Touched || gen.Held != nil || gen.Refreshed.Mono >= at.Mono {
		return false
	}
	next := *gen
	next.Contact, next.Verified, next.Refreshed, next.Elsewhere = clock.Later(gen.Contact, at), at, at, true
	p.began, p.outdated = at.Mono+margin, p.tick()
	p.rows.Forget(p.began)
	p.now.Swap(&next)
	return true
}

// apply puts on top what another replica's incremental refresh has read. If it
// has missed something before that, it knows the rows, but not that they are all.
func (p *puller) apply(e replication.Entry, rows []snapshot.Row) error {
	if err := p.now.Lock(context.Background()); err != nil {
		return err
	}
	defer p.now.Unlock()
	gen := p.now.Load()
	if gen == nil || e.At.Mono-margin <= p.began && len(rows) > 0 {
		return nil
	}
	moves := e.From <= p.cursor.Highest()
	list := p.collectRows(0, e.At.Mono-margin)
	list.elsewhere = true
	for _, row := range rows {
		if !p.rows.Add(row) || !p.counts(gen, row) {
			continue
		}
		record := recordOf(row)
		if err := list.take(&record); err != nil {
			return err
		}
	}
	if !list.table.Settle(p.roles) {
		return tooManyRoles()
	}
	_, err := p.put(list, e.At, e.Complete && moves, moves)
	return err
}

// counts reports whether a row is newer than all that is known of its user.
func (p *puller) counts(gen *snapshot.Generation, row snapshot.Row) bool {
	last, ok := p.rows.Of(row.ID, p.began)
	return ok && last.Sequence == row.Sequence && last.Invalid == row.Invalid && last.Read == row.Read && gen.Takes(row, p.began)
}

// errInvalidElsewhere is what is wrong with a record that another replica has read.
var errInvalidElsewhere = errors.New("another replica has found it invalid")

// recordOf returns the record that a row was made of, as far as it was kept.
func recordOf(row snapshot.Row) Record {
	r := Record{UserID: row.ID, Sequence: row.Sequence}
	if row.Invalid {
		r.Bad = errInvalidElsewhere
		return r
	}
	for _, g := range row.Grants {
		r.Grants = append(r.Grants, Grant{OrgID: g.Org, RoleCode: g.Code})
	}
	if row.DroppedGrant {
		r.Grants = append(r.Grants, Grant{})
	}
	t := &row.Text
	r.Account, r.Email = t[index.FieldAccount], t[index.FieldEmail]
	r.ThirdAccount, r.ThirdUserID = t[index.FieldThirdAccount], t[index.FieldThirdUserID]
	r.Nickname, r.ThirdUserName = t[index.FieldNickname], t[index.FieldThirdUserName]
	return r
}

// shift takes in that the instants of before were measured wrongly.
func (p *puller) shift(by func(clock.Instant) clock.Instant) bool {
	if p.now.Lock(context.Background()) != nil {
		return false
	}
	defer p.now.Unlock()
	mono := func(n int64) int64 { return by(clock.Instant{Mono: n}).Mono }
	p.outdated = p.tick()
	p.began = mono(p.began)
	p.rows.Shift(mono)
	if f := p.underWay; f != nil {
		f.tick, f.started = mono(f.tick), by(f.started)
	}
	gen := p.now.Load()
	if gen == nil {
		return false
	}
	p.now.Swap(gen.Shifted(by))
	return true
}
