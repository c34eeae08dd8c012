package rolegate

import (
	"cmp"
	"context"
	"errors"
	"strings"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file takes in the records of a refresh.

// A collector takes in the records of one refresh, or of a part of it.
type collector struct {
	p     *puller
	table *index.Builder
	row   index.Row

	tail *refresh.Tail // of a full refresh

	// Of an incremental one:
	incremental bool
	elsewhere   bool            // another replica has read it
	after       int64           // what it asked from
	read        int64           // the tick before it asked
	sequences   map[int64]int64 // the highest of each user that it has read
	most        int64           // the highest of all that moves the cursor, repeated ones included
	rows        []snapshot.Row  // what it has read, for whoever has to put it on top again

	lastBad                                  error
	records, bad, structural                 int
	unreadable, dropped, nullRoles, repeated int
}

// pullAll reads the whole list, and says whether that counts.
func (c *collector) pullAll(ctx context.Context) error {
	err := c.p.read(ctx, 0, func() *collector { return c }, func(context.Context) error { return nil })
	if err == nil && c.structural > 10 && c.structural*100 > c.records {
		err = pullError(FailureDrift, "%d of %d records do not have the list's form: it has changed, or this is not the list; the last: %w", c.structural, c.records, c.lastBad)
	}
	if err == nil && !c.table.Settle(c.p.roles) {
		err = tooManyRoles()
	}
	return err
}

// read reads the source from behind that sequence into what rows returns. It calls
// ended after each page, if the source knows pages.
func (p *puller) read(ctx context.Context, after int64, rows func() *collector, ended func(context.Context) error) (err error) {
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	if source, ok := p.cfg.Source.(PageSource); ok {
		err = source.PullPages(ctx, after, func(records []Record) error {
			for n := range records {
				if err := rows().take(&records[n]); err != nil {
					return err
				}
			}
			return ended(ctx)
		})
	} else {
		var failed error
		err = p.cfg.Source.Pull(ctx, after, func(r Record) {
			if failed == nil {
				if failed = rows().take(&r); failed != nil {
					stop(failed)
				}
			}
		})
		err = cmp.Or(failed, err)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // a source that returns nil when it was cut short
	}
	return err
}

// take takes in one record. An error makes the whole refresh fail.
func (c *collector) take(r *Record) error {
	c.records++
	good := r.Bad == nil && r.UserID > 0 && r.Unreadable.fields()&c.p.cfg.fields == 0
	if r.Sequence < c.after && (good || r.Sequence > 0) {
		return pullError(FailureCursorRegressed, "asked for what comes after sequence %d, the source sent %d: it was set back to an earlier state; a full refresh will follow it", c.after, r.Sequence)
	}
	if c.incremental && r.Sequence > c.most && c.p.cursor.Moves(r.Sequence) {
		c.most = r.Sequence
	}
	if r.UserID > 0 {
		if c.incremental && good && c.repeats(r) {
			c.repeated++
			return nil
		}
		if c.tail != nil {
			if !c.tail.Add(r.UserID, r.Sequence) && good {
				return nil
			}
		} else {
			c.sequences[r.UserID] = max(c.sequences[r.UserID], r.Sequence)
		}
	}
	if !good {
		c.takeBad(r)
		return nil
	}
	if r.NullRoles {
		c.nullRoles++
	}
	c.row.ID, c.row.Sequence, c.row.Invalid, c.row.DroppedGrant = r.UserID, r.Sequence, false, false
	c.row.Grants = c.row.Grants[:0]
	for _, g := range r.Grants {
		if g.OrgID <= 0 || g.RoleCode == "" {
			c.dropped++
			c.row.DroppedGrant = true
			continue
		}
		id, ok := c.table.Role(g.RoleCode)
		if !ok {
			return tooManyRoles()
		}
		c.row.Grants = append(c.row.Grants, index.Grant{Org: g.OrgID, Role: id})
	}
	c.row.Grants = index.SortGrants(c.row.Grants)
	for f := range index.NumFields {
		c.row.Text[f] = ""
		if c.p.cfg.fields.Has(f) {
			c.row.Text[f] = textOf(f, r)
		}
	}
	if id := (Identity{kind: KindThirdUserID, text: c.row.Text[index.FieldThirdUserID]}); id.nobody() {
		c.row.Text[index.FieldThirdUserID] = "" // 0 and -1 are how platforms write null
	}
	c.table.Put(&c.row)
	if c.incremental && !c.elsewhere {
		c.keep(r)
	}
	return nil
}

// keep remembers the row that was made of a record.
func (c *collector) keep(r *Record) {
	row := snapshot.Row{ID: r.UserID, Sequence: r.Sequence, Read: c.read, Invalid: c.row.Invalid, DroppedGrant: c.row.DroppedGrant}
	if !row.Invalid {
		for f, text := range c.row.Text {
			row.Text[f] = strings.Clone(text)
		}
		for _, g := range r.Grants {
			if g.OrgID > 0 && g.RoleCode != "" {
				row.Grants = append(row.Grants, snapshot.RowGrant{Org: g.OrgID, Code: strings.Clone(g.RoleCode)})
			}
		}
	}
	c.rows = append(c.rows, row)
}

// highest returns the highest sequence of an incremental refresh.
func (c *collector) highest() (n int64) {
	for _, sequence := range c.sequences {
		n = max(n, sequence)
	}
	return n
}

// settle makes all rows of a user invalid if one is, as the table has it. One of
// which the sequence could not be read gets the highest.
func (c *collector) settle() {
	invalid := map[int64]bool{}
	for _, row := range c.rows {
		invalid[row.ID] = invalid[row.ID] || row.Invalid
	}
	for i, row := range c.rows {
		if invalid[row.ID] {
			c.rows[i] = snapshot.Row{ID: row.ID, Sequence: cmp.Or(c.sequences[row.ID], c.highest()), Read: row.Read, Invalid: true}
		}
	}
}

// repeats reports whether a record of an incremental refresh says nothing new,
// although it may differ from what is known: it is older than what was read of
// the user before, from a server that lags behind; or a full refresh has found
// the user gone since it was written; or it is what was read before, and another
// record has made the user invalid.
func (c *collector) repeats(r *Record) bool {
	gen := c.p.now.Load()
	seen, ok := c.p.cursor.Seen(r.UserID)
	if ok && r.Sequence < seen {
		return true
	}
	if gen.Invalid(r.UserID) {
		return ok && r.Sequence == seen || r.Sequence <= gen.Cursor
	}
	_, listed := gen.Find(r.UserID)
	if !listed && c.p.cursor.Outdated(r.UserID, r.Sequence) {
		return true
	}
	return ok && r.Sequence <= seen && (!listed || gen.Held.Has(r.UserID))
}

// takeBad takes in a record that could not be understood: its user is invalid,
// whatever other records of this refresh say of them.
func (c *collector) takeBad(r *Record) {
	c.bad++
	switch {
	case r.Bad != nil:
		c.lastBad = r.Bad
	case r.UserID <= 0:
		c.lastBad = errors.New("its user id is not above 0")
	default:
		c.lastBad = errors.New("a text of it that is used could not be understood")
	}
	if r.Structural || r.Bad == nil && r.UserID <= 0 {
		c.structural++
	}
	if r.UserID <= 0 {
		c.unreadable++
		return
	}
	c.row = index.Row{ID: r.UserID, Invalid: true, Grants: c.row.Grants[:0]}
	c.table.Put(&c.row)
	if c.incremental && !c.elsewhere {
		c.keep(r)
	}
}

// outcome counts what was read.
func (c *collector) outcome() RefreshOutcome {
	return RefreshOutcome{
		Records: c.records, BadRecords: c.bad, NullRoles: c.nullRoles, DroppedGrants: c.dropped,
		Duplicates: c.table.Duplicates, Conflicts: c.table.Conflicts,
	}
}

// textOf returns that string of a record.
func textOf(f index.Field, r *Record) string {
	switch f {
	case index.FieldAccount:
		return r.Account
	case index.FieldEmail:
		return r.Email
	case index.FieldThirdAccount:
		return r.ThirdAccount
	case index.FieldThirdUserID:
		return r.ThirdUserID
	case index.FieldNickname:
		return r.Nickname
	case index.FieldThirdUserName:
		return r.ThirdUserName
	}
	return ""
}
