package pull

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A List takes in the records of one refresh, or of a part of it: each with
// [List.Begin], one [List.Grant] for each of the user's roles, and [List.End]. Only
// one goroutine uses it.
type List struct {
	p     *Puller
	table *index.Builder
	row   index.Row

	tail *refresh.Tail // of a full refresh

	// Of an incremental one:
	incremental bool
	elsewhere   bool                // another replica has read it
	after       int64               // what it asked from
	read        int64               // the tick before it asked
	sequences   map[int64]int64     // the highest of each user that it has read
	most        int64               // the highest sequence of all that moves the cursor, repeated ones included
	rows        []snapshot.Row      // what it has read, for whoever has to put it on top again
	grants      []snapshot.RowGrant // of the record that has begun

	odd    *recently // users whose record was counted as invalid, as one without roles, or for a dropped grant
	counts bool      // the record at hand is

	lastBad                        error
	records, bad, structural       int
	unreadable, dropped, nullRoles int
}

// A recently remembers the last users that it was given, some thousands. A source
// repeats rows where a page ends, and sometimes a whole page.
type recently struct{ now, before map[int64]struct{} }

// add takes in a user, and reports whether it has them already.
func (r *recently) add(id int64) (again bool) {
	if _, again = r.now[id]; !again {
		_, again = r.before[id]
	}
	if r.now == nil || len(r.now) >= 1<<12 {
		r.now, r.before = map[int64]struct{}{}, r.now
	}
	r.now[id] = struct{}{}
	return again
}

// count reports whether something odd about the record at hand counts: once for
// each user.
func (c *List) count(id int64) bool {
	c.counts = c.counts || id <= 0 || !c.odd.add(id)
	return c.counts
}

// A Record is what a source says of one user, but for their roles and names.
type Record struct {
	ID, Sequence int64
	NullRoles    bool           // the list has null in place of their roles
	Bad          error          // why it could not be understood, nil if it was
	Structural   bool           // Bad is a fault of the list's form
	Unreadable   index.FieldSet // the texts that could not be understood
}

// collectAll begins to collect the whole list.
func (p *Puller) collectAll(started clock.Instant) *List {
	var like *index.Table
	if gen := p.Now.Load(); gen != nil {
		like = &gen.Table
	}
	return &List{p: p, odd: new(recently), tail: p.Cursor.Tail(started), table: index.NewBuilder(p.Fields, like, p.Roles.Publish())}
}

// collectRows begins to collect rows, which are read from that tick on.
func (p *Puller) collectRows(after, read int64) *List {
	return &List{
		p: p, odd: new(recently), after: after, incremental: true, read: read, sequences: map[int64]int64{},
		table: index.NewBuilder(p.Fields, &p.Now.Load().Table, p.Roles.Publish()),
	}
}

// Single makes a snapshot of what fill puts into a list of its own: for users who
// come from no source.
func Single(roles *index.RoleSpace, fields index.FieldSet, fill func(*List) error) (*index.Snapshot, error) {
	p := New(Config{Roles: roles, Fields: fields, Fail: func(_ Failure, err error) error { return err }})
	list := &List{p: p, odd: new(recently), sequences: map[int64]int64{}, table: index.NewBuilder(fields, nil, roles.Publish())}
	if err := fill(list); err != nil {
		return nil, err
	}
	if !list.table.Settle(roles) {
		return nil, p.tooManyRoles()
	}
	return index.NewSnapshot(list.table, roles, 0)
}

// pullAll reads the whole list, and says whether that counts.
func (c *List) pullAll(ctx context.Context) error {
	err := c.p.Read(ctx, 0, func() *List { return c }, func(context.Context) error { return nil })
	if err == nil && LacksForm(c.structural, c.records) {
		err = c.p.Fail(Drift, fmt.Errorf("%d of %d records do not have the list's form: it has changed, or this is not the list; the last: %w", c.structural, c.records, c.lastBad))
	}
	if err == nil && !c.table.Settle(c.p.Roles) {
		err = c.p.tooManyRoles()
	}
	return err
}

// LacksForm reports whether so many records without the list's form, of so many, say
// that it is another list: more than ten, and more than one in a hundred.
func LacksForm(structural, records int) bool { return structural > 10 && structural*100 > records }

func (p *Puller) tooManyRoles() error {
	return p.Fail(Drift, fmt.Errorf("more than %d different role codes: roleCode is not what it was", index.MaxRoles))
}

// Begin takes in a record. If the user's roles and names are wanted, those follow. An
// error makes the whole refresh fail.
func (c *List) Begin(r Record) (wanted bool, err error) {
	c.records++
	c.counts = false
	good := r.Bad == nil && r.ID > 0 && r.Unreadable&c.p.Fields == 0
	if r.Sequence < c.after && (good || r.Sequence > 0) {
		return false, c.p.Fail(Regressed, fmt.Errorf("asked for what comes after sequence %d, the source sent %d: it was set back to an earlier state; a full refresh will follow it", c.after, r.Sequence))
	}
	if c.incremental && r.Sequence > c.most && c.p.Cursor.Moves(r.Sequence) {
		c.most = r.Sequence
	}
	if r.ID > 0 {
		if c.incremental && good && c.repeats(&r) {
			return false, nil
		}
		if c.tail != nil {
			if !c.tail.Add(r.ID, r.Sequence) && good {
				return false, nil
			}
		} else {
			c.sequences[r.ID] = max(c.sequences[r.ID], r.Sequence)
		}
	}
	if !good {
		c.takeBad(&r)
		return false, nil
	}
	if r.NullRoles && c.count(r.ID) {
		c.nullRoles++
	}
	c.row.ID, c.row.Sequence, c.row.Invalid, c.row.DroppedGrant = r.ID, r.Sequence, false, false
	c.row.Grants, c.grants = c.row.Grants[:0], nil
	return true, nil
}

// Grant takes in one role of the user. One without an organisation above 0 or
// without a code is dropped and counted. An error makes the whole refresh fail.
func (c *List) Grant(org int64, code string) error {
	if org <= 0 || code == "" {
		if c.count(c.row.ID) {
			c.dropped++
		}
		c.row.DroppedGrant = true
		return nil
	}
	id, ok := c.table.Role(code)
	if !ok {
		return c.p.tooManyRoles()
	}
	c.row.Grants = append(c.row.Grants, index.Grant{Org: org, Role: id})
	if c.keeps() {
		c.grants = append(c.grants, snapshot.RowGrant{Org: org, Code: strings.Clone(code)})
	}
	return nil
}

// End takes in the user's names, and with them the record is complete.
func (c *List) End(text *[index.NumFields]string) {
	c.row.Grants = index.SortGrants(c.row.Grants)
	for f := range index.NumFields {
		c.row.Text[f] = ""
		if c.p.Fields.Has(f) {
			c.row.Text[f] = text[f]
		}
	}
	c.table.Put(&c.row)
	if c.keeps() {
		row := snapshot.Row{ID: c.row.ID, Sequence: c.row.Sequence, Read: c.read, DroppedGrant: c.row.DroppedGrant, Grants: c.grants}
		for f, text := range c.row.Text {
			row.Text[f] = strings.Clone(text)
		}
		c.rows = append(c.rows, row)
	}
}

// keeps reports whether what is read has to be put on top again, perhaps.
func (c *List) keeps() bool { return c.incremental && !c.elsewhere }

// highest returns the highest sequence of an incremental refresh.
func (c *List) highest() (n int64) {
	for _, sequence := range c.sequences {
		n = max(n, sequence)
	}
	return n
}

// settle makes all rows of a user invalid if one is, as the table has it. One of
// which the sequence could not be read gets the highest.
func (c *List) settle() {
	invalid := map[int64]bool{}
	for _, row := range c.rows {
		invalid[row.ID] = invalid[row.ID] || row.Invalid
	}
	for i, row := range c.rows {
		if invalid[row.ID] {
			if c.sequences[row.ID] == 0 {
				c.sequences[row.ID] = c.highest()
			}
			c.rows[i] = snapshot.Row{ID: row.ID, Sequence: c.sequences[row.ID], Read: row.Read, Invalid: true}
		}
	}
}

// repeats reports whether a record of an incremental refresh says nothing new,
// although it may differ from what is known: it is older than what was read of
// the user before, from a server that lags behind; or a full refresh has found
// the user gone since it was written; or it is what was read before, and another
// record has made the user invalid.
func (c *List) repeats(r *Record) bool {
	gen := c.p.Now.Load()
	seen, ok := c.p.Cursor.Seen(r.ID)
	if ok && r.Sequence < seen {
		c.p.Cursor.Lags()
		return true
	}
	if gen.Invalid(r.ID) {
		return ok && r.Sequence <= seen || r.Sequence <= c.after
	}
	_, listed := gen.Find(r.ID)
	if !listed && c.p.Cursor.Outdated(r.ID, r.Sequence) {
		return true
	}
	return ok && r.Sequence <= seen && (!listed || gen.Held.Has(r.ID))
}

// takeBad takes in a record that could not be understood: its user is invalid,
// whatever other records of this refresh say of them.
func (c *List) takeBad(r *Record) {
	counts := c.count(r.ID)
	if counts {
		c.bad++
	}
	switch {
	case r.Bad != nil:
		c.lastBad = r.Bad
	case r.ID <= 0:
		c.lastBad = errors.New("its user id is not above 0")
	default:
		c.lastBad = errors.New("a text of it that is used could not be understood")
	}
	if counts && (r.Structural || r.Bad == nil && r.ID <= 0) {
		c.structural++
	}
	if r.ID <= 0 {
		c.unreadable++
		if c.tail != nil && r.Sequence > 0 {
			c.tail.Shown(r.Sequence)
		}
		return
	}
	if c.tail != nil && r.Sequence == 0 {
		c.tail.Unread(r.ID)
	}
	c.row = index.Row{ID: r.ID, Sequence: r.Sequence, Invalid: true, Grants: c.row.Grants[:0]}
	c.table.Put(&c.row)
	if c.keeps() {
		c.rows = append(c.rows, snapshot.Row{ID: r.ID, Sequence: r.Sequence, Read: c.read, Invalid: true})
	}
}

// outcome counts what was read.
func (c *List) outcome() Outcome {
	return Outcome{
		Records: c.records, BadRecords: c.bad, NullRoles: c.nullRoles, DroppedGrants: c.dropped,
		Duplicates: c.table.Duplicates, Conflicts: c.table.Conflicts,
	}
}
