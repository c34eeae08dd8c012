// Package listing collects the records of a pull, as a gate would, and writes
// them as JSON lines or CSV.
package listing

import (
	"cmp"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/pull"
)

// A User is one user of the list.
type User struct {
	ID, Sequence int64
	Grants       []rolegate.Grant // sorted, each once

	// Names are the names of [NameFields], all "" if they were not collected.
	Names [numNames]string
}

const numNames = 6

// NameFields are the names of the columns of User.Names.
var NameFields = [numNames]string{"account", "email", "nickname", "third_account", "third_user_id", "third_user_name"}

func namesOf(r *rolegate.Record) [numNames]string {
	return [numNames]string{r.Account, r.Email, r.Nickname, r.ThirdAccount, r.ThirdUserID, r.ThirdUserName}
}

// Bad is a record that could not be understood.
type Bad struct {
	UserID int64 // 0 if it was not readable
	Reason error
}

// Stats counts what was seen.
type Stats struct {
	Records       int   // of all kinds
	Users, Grants int   // that are listed
	BadRecords    int   // that could not be understood, of each user once
	DroppedGrants int   // without an organisation above 0 or a role code, of each user once
	Repeated      int   // records of a listed user besides the one that counts
	Highest       int64 // the highest sequence
}

// A Collector takes in the records of one pull, and decides about them as a gate does.
// Only one goroutine uses it.
type Collector struct {
	after int64
	names bool

	entries []entry
	chunks  [][]byte // what the entries point to
	roles   map[string]uint64
	codes   []string
	grants  []rolegate.Grant // of the record at hand
	buf     []byte

	invalid    map[int64]struct{} // users with a bad record
	odd        map[int64]struct{} // users with something odd that was counted
	counts     bool               // what is odd about the record at hand counts
	bad        []Bad
	structural int // of the bad records that count
	stats      Stats
	err        error
}

// An entry is one record. Entries that came later have a higher at.
type entry struct {
	id, sequence int64
	at           uint64 // the chunk, and the byte in it
}

const chunkSize = 1 << 20

// New returns a Collector of what comes after a sequence. It keeps names only
// if it is told to.
func New(after int64, names bool) *Collector {
	return &Collector{after: after, names: names, roles: map[string]uint64{}, invalid: map[int64]struct{}{}, odd: map[int64]struct{}{}, stats: Stats{Highest: after}}
}

// Take takes in one record. It keeps nothing of r.
func (c *Collector) Take(r rolegate.Record) {
	if c.err != nil {
		return
	}
	c.stats.Records++
	c.counts = false
	good := r.Bad == nil && r.UserID > 0
	if r.Sequence < c.after && (good || r.Sequence > 0) {
		c.fail(rolegate.FailureCursorRegressed, "asked for what comes after sequence %d, the marketplace sent %d: it was set back to an earlier state; pull the whole list", c.after, r.Sequence)
		return
	}
	c.stats.Highest = max(c.stats.Highest, r.Sequence)
	if !good {
		c.takeBad(r)
		return
	}
	c.grants = c.grants[:0]
	for _, g := range r.Grants {
		if g.OrgID <= 0 || g.RoleCode == "" {
			if c.count(r.UserID) {
				c.stats.DroppedGrants++
			}
			continue
		}
		c.grants = append(c.grants, g)
	}
	slices.SortFunc(c.grants, func(a, b rolegate.Grant) int {
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.RoleCode, b.RoleCode))
	})
	c.grants = slices.Compact(c.grants)
	c.buf = binary.AppendUvarint(c.buf[:0], uint64(len(c.grants)))
	for _, g := range c.grants {
		role, ok := c.role(g.RoleCode)
		if !ok {
			c.fail(rolegate.FailureDrift, "more than %d different role codes: roleCode is not what it was", index.MaxRoles)
			return
		}
		c.buf = binary.AppendVarint(c.buf, g.OrgID)
		c.buf = binary.AppendUvarint(c.buf, role)
	}
	if c.names {
		for _, name := range namesOf(&r) {
			c.buf = append(binary.AppendUvarint(c.buf, uint64(len(name))), name...)
		}
	}
	c.entries = append(c.entries, entry{r.UserID, r.Sequence, c.store()})
}

// count reports whether something odd about the record at hand counts: once for each
// user, since a source repeats rows.
func (c *Collector) count(id int64) bool {
	_, again := c.odd[id]
	if c.counts = c.counts || !again || id <= 0; id > 0 {
		c.odd[id] = struct{}{}
	}
	return c.counts
}

func (c *Collector) takeBad(r rolegate.Record) {
	if c.count(r.UserID) {
		c.stats.BadRecords++
		if r.Structural || r.Bad == nil {
			c.structural++
		}
	}
	b := Bad{UserID: max(r.UserID, 0), Reason: r.Bad}
	if b.Reason == nil {
		b.Reason = errors.New("its user id is not above 0")
	}
	c.bad = append(c.bad, b)
	if b.UserID > 0 {
		c.invalid[b.UserID] = struct{}{}
	}
}

// fail has the whole pull fail, with the first reason.
func (c *Collector) fail(why rolegate.Failure, format string, args ...any) {
	c.err = &rolegate.PullError{Failure: why, Err: fmt.Errorf(format, args...)}
}

// role numbers a code.
func (c *Collector) role(code string) (uint64, bool) {
	if n, ok := c.roles[code]; ok {
		return n, true
	}
	if len(c.codes) == index.MaxRoles {
		return 0, false
	}
	code = strings.Clone(code) // it may be a piece of a page
	n := uint64(len(c.codes))
	c.roles[code] = n
	c.codes = append(c.codes, code)
	return n, true
}

// store keeps c.buf and returns where.
func (c *Collector) store() uint64 {
	last := len(c.chunks) - 1
	if last < 0 || len(c.chunks[last])+len(c.buf) > cap(c.chunks[last]) {
		c.chunks = append(c.chunks, make([]byte, 0, chunkSize))
		last++
	}
	at := uint64(last)<<32 | uint64(len(c.chunks[last]))
	c.chunks[last] = append(c.chunks[last], c.buf...)
	return at
}

// Failed returns why what was taken in counts for nothing already, or nil.
func (c *Collector) Failed() error { return c.err }

// Bad returns the records that could not be understood, in their order.
func (c *Collector) Bad() []Bad { return c.bad }

// Finish ends the collecting: of several records of a user the one with the
// highest sequence counts, of equal ones the last, and who is in a bad record is
// not listed. It fails where a gate would discard the pull.
func (c *Collector) Finish() (*List, error) {
	if c.err == nil && pull.LacksForm(c.structural, c.stats.Records) {
		c.fail(rolegate.FailureDrift, "%d of %d records do not have the list's form: it has changed, or this is not the list", c.structural, c.stats.Records)
	}
	if c.err != nil {
		return nil, c.err
	}
	slices.SortFunc(c.entries, func(a, b entry) int {
		return cmp.Or(cmp.Compare(a.id, b.id), cmp.Compare(a.sequence, b.sequence), cmp.Compare(a.at, b.at))
	})
	listed := c.entries[:0]
	for i, e := range c.entries {
		if _, invalid := c.invalid[e.id]; invalid {
			continue
		}
		if i+1 < len(c.entries) && c.entries[i+1].id == e.id {
			c.stats.Repeated++
			continue
		}
		listed = append(listed, e)
	}
	c.entries = listed
	l := &List{c: c}
	for u := range l.Users() {
		c.stats.Users++
		c.stats.Grants += len(u.Grants)
	}
	return l, nil
}

// A List is what was collected.
type List struct{ c *Collector }

// Stats returns what was counted.
func (l *List) Stats() Stats { return l.c.stats }

// Users yields the users by their ids. A user is valid until the next one.
func (l *List) Users() iter.Seq[*User] {
	return func(yield func(*User) bool) {
		var u User
		for _, e := range l.c.entries {
			l.c.read(e, &u)
			if !yield(&u) {
				return
			}
		}
	}
}

// read reads back what Take has stored.
func (c *Collector) read(e entry, u *User) {
	b := c.chunks[e.at>>32][e.at&(1<<32-1):]
	uint := func() uint64 {
		n, width := binary.Uvarint(b)
		b = b[width:]
		return n
	}
	u.ID, u.Sequence, u.Grants = e.id, e.sequence, u.Grants[:0]
	for range uint() {
		org, width := binary.Varint(b)
		b = b[width:]
		u.Grants = append(u.Grants, rolegate.Grant{OrgID: org, RoleCode: c.codes[uint()]})
	}
	if !c.names {
		return
	}
	for i := range u.Names {
		n := uint()
		u.Names[i] = string(b[:n])
		b = b[n:]
	}
}
