package pull

import (
	"context"
	"errors"
	"fmt"
	"math"
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

	page    int                  // how many have ended
	invalid map[int64]invalidRow // users with a record that could not be understood

	odd    *recently // users whose record was counted as invalid, as one without roles, or for a dropped grant
	counts bool      // the record at hand is

	lastBad                        error
	records, bad, structural       int
	unreadable, dropped, nullRoles int
}

// An invalidRow is what a refresh has shown last of a user with a record that could not
// be understood.
type invalidRow struct {
	sequence int64 // the highest
	page     int
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
	return &List{p: p, odd: new(recently), invalid: map[int64]invalidRow{}, tail: p.Cursor.Tail(started), table: index.NewBuilder(p.Fields, like, p.Roles.Publish())}
}

// collectRows begins to collect rows, which are read from that tick on.
func (p *Puller) collectRows(after, read int64) *List {
	return &List{
		p: p, odd: new(recently), invalid: map[int64]invalidRow{}, after: after, incremental: true, read: read, sequences: map[int64]int64{},
		table: index.NewBuilder(p.Fields, &p.Now.Load().Table, p.Roles.Publish()),
	}
}

// Single makes a snapshot of what fill puts into a list of its own: for users who
// come from no source.
func Single(roles *index.RoleSpace, fields index.FieldSet, fill func(*List) error) (*index.Snapshot, error) {
	p := New(Config{Roles: roles, Fields: fields, Fail: func(_ Failure, err error) error { return err }})
	list := &List{p: p, odd: new(recently), invalid: map[int64]invalidRow{}, sequences: map[int64]int64{}, table: index.NewBuilder(fields, nil, roles.Publish())}
	if err := fill(list); err != nil {
		return nil, err
	}
	if !list.settle() {
		return nil, p.tooManyRoles()
	}
	return index.NewSnapshot(list.table, roles, 0)
}

// pullAll reads the whole list, and says whether that counts.
func (c *List) pullAll(ctx context.Context) error {
	err := c.p.Read(ctx, 0, func() *List { return c }, func(context.Context) error { c.page++; return nil })
	if err == nil && LacksForm(c.structural, c.records) {
		err = c.p.Fail(Drift, fmt.Errorf("%d of %d records do not have the list's form: it has changed, or this is not the list; the last: %w", c.structural, c.records, c.lastBad))
	}
	if err == nil && !c.settle() {
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
	if bad, ok := c.invalid[r.ID]; ok && bad.page < c.page && bad.sequence < r.Sequence {
		delete(c.invalid, r.ID) // repaired while the list is read
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

// settle ends the list: users with a record that could not be understood are invalid,
// whatever their other records say. One of which the sequence could not be read gets the
// highest. It returns false if there are too many role codes.
func (c *List) settle() bool {
	for id, bad := range c.invalid {
		c.table.Put(&index.Row{ID: id, Sequence: bad.sequence, Invalid: true})
	}
	rows := c.rows[:0]
	for _, row := range c.rows {
		if _, is := c.invalid[row.ID]; is {
			if c.sequences[row.ID] == 0 {
				c.sequences[row.ID] = c.highest()
			}
			row = snapshot.Row{ID: row.ID, Sequence: c.sequences[row.ID], Read: row.Read, Invalid: true}
		} else if row.Invalid {
			continue // they were repaired since
		}
		rows = append(rows, row)
	}
	c.rows = rows
	return c.table.Settle(c.p.Roles)
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

// takeBad takes in a record that could not be understood. Its user is invalid, unless a
// later page has a newer record of them: then they were repaired while the list was read.
// Two records on one page are a list that says two things of them.
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
	sequence := max(r.Sequence, c.invalid[r.ID].sequence)
	if r.Sequence == 0 {
		sequence = math.MaxInt64 // no other record is known to be newer
	}
	c.invalid[r.ID] = invalidRow{sequence, c.page}
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
