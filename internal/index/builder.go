package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
)

// This file makes the tables and snapshots that table.go describes.

// A Row is one user on the way into a table.
type Row struct {
	ID, Sequence int64
	Grants       []Grant // sorted, each once
	Text         [NumFields]string
	Invalid      bool // the record is invalid: the user is not listed
	DroppedGrant bool // there was another grant, which could not be understood
}

func (r *Row) marks() (m marks) {
	if r.Invalid {
		return invalid
	}
	if r.DroppedGrant {
		m = droppedGrant
	}
	return m
}

// A Builder collects rows. Only one goroutine uses it.
type Builder struct {
	table    Table
	buckets  int // how many a table had that this one is to be like
	rows     *sorter
	record   []byte
	assigned RoleSet

	// What Finish notices: the same user more than once, and those of them
	// whose roles differed; and those with an invalid row and a newer one that is
	// not.
	Duplicates, Conflicts, Repaired int

	// The codes by the numbers that rows have until Settle, and which of them
	// are in use. final has the numbers that they get, nil if they are the same.
	codes        []string
	known, fresh map[string]uint16
	used         RoleSet
	reused       bool // a number of known was needed for another code
	final        []uint16
	regrant      []Grant
}

// NewBuilder makes a builder of rows whose roles are numbered by [Builder.Role],
// and then by [Builder.Settle]. roles are the codes that are known already. If
// like is not nil and the new table turns out to have about as many users, it is
// made so that the two compare fast: the same user is in the same bucket.
func NewBuilder(fields FieldSet, like *Table, roles *RoleTable) *Builder {
	b := NewCopier(fields, like)
	b.codes, b.known = slices.Clip(roles.codes), roles.ids
	return b
}

// NewCodedBuilder makes a builder of encoded users whose roles are numbered as
// in codes, "" being nobody's: see [Builder.PutUsers] and [Builder.Settle].
func NewCodedBuilder(fields FieldSet, codes []string) *Builder {
	b := NewCopier(fields, nil)
	b.codes = codes
	for i, code := range codes {
		if code != "" {
			b.used = b.used.with(uint16(i))
		}
	}
	return b
}

// NewCopier makes a builder of users of other tables with the same fields, whose
// roles have their numbers: see [Builder.Copy].
func NewCopier(fields FieldSet, like *Table) *Builder {
	b := &Builder{table: Table{seed: rand.Uint64(), Fields: fields}}
	if like != nil {
		b.table.seed, b.buckets = like.seed, len(like.dir)
	}
	b.rows = newSorter(func(record []byte) uint64 { return hashID(recordID(record), b.table.seed) })
	return b
}

// ErrTooLarge is more than addresses can tell apart.
var ErrTooLarge = errors.New("the list is larger than the index can hold: 32 GiB, and 1 GiB for one user")

// The record of a row is the id, the marks in a byte, the sequence, and the
// user's content.

func recordID(record []byte) int64 { return int64(binary.LittleEndian.Uint64(record)) }

const recordHead = 9

const marksShift = 30

func appendRecordHead(dst []byte, id int64, m marks, sequence int64) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(id))
	dst = append(dst, byte(m>>marksShift))
	return binary.AppendVarint(dst, sequence)
}

// Put takes in a row, of which it keeps a copy.
func (b *Builder) Put(r *Row) {
	b.record = appendRecordHead(b.record[:0], r.ID, r.marks(), r.Sequence)
	if !r.Invalid {
		b.record = appendContent(b.record, r.Grants, &r.Text, b.table.Fields)
	}
	b.rows.add(b.record)
}

// Copy takes in a user of another table with the same fields.
func (b *Builder) Copy(from *Table, at Place) {
	block := from.block(at)
	b.putContent(from.ID(at), block.content(int(at.i)), block.marks(int(at.i)))
}

// CopyWith is Copy, and adds grants to those of the user, who must be listed.
func (b *Builder) CopyWith(from *Table, at Place, more []Grant) {
	gs := from.Grants(at)
	grants := slices.Clone(more)
	for i := range gs.Len() {
		grants = append(grants, Grant{gs.Org(i), gs.Role(i)})
	}
	block := from.block(at)
	b.record = appendRecordHead(b.record[:0], from.ID(at), block.marks(int(at.i)), 0)
	b.record = appendGrants(b.record, SortGrants(grants), from.Fields)
	if from.Fields != 0 {
		_, text := splitContent(block.content(int(at.i)))
		b.record = append(b.record, text...)
	}
	b.rows.add(b.record)
}

func (b *Builder) putContent(id int64, content []byte, m marks) {
	b.record = appendRecordHead(b.record[:0], id, m, 0)
	b.record = append(b.record, content...)
	b.rows.add(b.record)
}

// Role returns a number for a code, which counts until Settle. There are at most
// MaxRoles: ok is false for one more.
func (b *Builder) Role(code string) (role uint16, ok bool) {
	role, ok = b.known[code]
	if ok && b.codes[role] != code {
		ok = false // another has got it
	}
	if !ok {
		role, ok = b.fresh[code]
	}
	if !ok {
		if role, ok = b.newRole(); !ok {
			return 0, false
		}
		code = strings.Clone(code) // it may be a piece of a page
		b.codes[role] = code
		if b.fresh == nil {
			b.fresh = map[string]uint16{}
		}
		b.fresh[code] = role
	}
	b.used = b.used.with(role)
	return role, true
}

// newRole returns a number that no row has.
func (b *Builder) newRole() (role uint16, ok bool) {
	if len(b.codes) < MaxRoles {
		b.codes = append(b.codes, "")
		return uint16(len(b.codes) - 1), true
	}
	if !b.reused {
		b.codes, b.reused = slices.Clone(b.codes), true
	}
	free := b.used.lowestMissing()
	return uint16(free), free < MaxRoles
}

// Settle gives the codes that are in use their numbers in roles: not before, so
// that a list that was not read to its end does not fill those up. It must come
// before Finish; ok is false if there are too many codes.
func (b *Builder) Settle(roles *RoleSpace) (ok bool) {
	var codes []string
	for i, code := range b.codes {
		if b.used.Has(uint16(i)) {
			codes = append(codes, code)
		}
	}
	ids, numbers, ok := roles.use(codes)
	if !ok {
		return false
	}
	b.table.numbers = numbers
	final := make([]uint16, len(b.codes)) // of a code that is not in use: anything
	same := true
	for i := range b.codes {
		if b.used.Has(uint16(i)) {
			final[i], ids = ids[0], ids[1:]
			same = same && int(final[i]) == i
		}
	}
	if !same {
		b.final = final
	}
	return true
}

// A draft is one user of a block that is being made.
type draft struct {
	id, sequence int64
	content      []byte
	marks        marks
}

func (d *draft) listed() bool { return d.marks&invalid == 0 }

// Finish returns the table; the builder is spent. Of two rows of one user the
// higher sequence counts, and of equal ones the later; but an invalid one counts
// in any case.
func (b *Builder) Finish() (*Table, error) {
	var drafts []draft
	var err error
	b.table.blocks, err = b.rows.finish(b.buckets, func(dst []byte, records [][]byte) ([]byte, error) {
		drafts = drafts[:0]
		for _, record := range records {
			drafts = b.merge(drafts, record)
		}
		for _, d := range drafts {
			if d.listed() {
				gs := grantsIn(d.content, b.table.Fields)
				b.table.Users++
				b.table.GrantCount += gs.Len()
				b.assigned = b.assigned.WithGrants(gs)
			}
		}
		return appendUserBlock(dst, drafts)
	})
	b.rows, b.record = nil, nil
	return &b.table, err
}

// merge adds a record to those of its bucket.
func (b *Builder) merge(drafts []draft, record []byte) []draft {
	d := draft{id: recordID(record), marks: marks(record[8]) << marksShift}
	var width int
	d.sequence, width = binary.Varint(record[recordHead:])
	d.content = record[recordHead+width:]
	b.renumberIn(d.content)
	i := slices.IndexFunc(drafts, func(other draft) bool { return other.id == d.id })
	if i < 0 {
		return append(drafts, d)
	}
	old := &drafts[i]
	if old.listed() && d.listed() {
		b.Duplicates++
		if !bytes.Equal(grantsIn(old.content, b.table.Fields), grantsIn(d.content, b.table.Fields)) {
			b.Conflicts++
		}
	}
	if bad, good := old, &d; old.listed() != d.listed() {
		if old.listed() {
			bad, good = good, bad
		}
		if bad.sequence > 0 && bad.sequence < good.sequence {
			b.Repaired++
		}
	}
	if old.listed() && (!d.listed() || d.sequence >= old.sequence) {
		*old = d
	}
	return drafts
}

// renumberIn gives the roles of one user the numbers they are to have.
func (b *Builder) renumberIn(content []byte) {
	if b.final == nil || len(content) == 0 { // there is none of an invalid record
		return
	}
	gs := grantsIn(content, b.table.Fields)
	b.regrant = b.regrant[:0]
	changed := false
	for i := range gs.Len() {
		role := b.final[gs.Role(i)]
		changed = changed || role != gs.Role(i)
		b.regrant = append(b.regrant, Grant{gs.Org(i), role})
	}
	if changed {
		appendContent(gs[:0], SortGrants(b.regrant), nil, 0)
	}
}

// appendUserBlock appends a block with these users: at least one, each
// once.
func appendUserBlock(dst []byte, drafts []draft) ([]byte, error) {
	slices.SortFunc(drafts, func(a, b draft) int { return cmp.Compare(a.id, b.id) })
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(drafts)))
	end := uint64(4 + 12*len(drafts)) // on some machines an int is too small
	for _, d := range drafts {
		if end += uint64(len(d.content)); end > maxBlock {
			return dst, ErrTooLarge
		}
		dst = binary.LittleEndian.AppendUint32(dst, uint32(end)|uint32(d.marks))
	}
	for _, d := range drafts {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(d.id))
	}
	for _, d := range drafts {
		dst = append(dst, d.content...)
	}
	return dst, nil
}

// drafts reads a block back.
func (b userBlock) drafts(to []draft) []draft {
	for i := range b.len() {
		to = append(to, draft{id: b.id(i), content: b.content(i), marks: b.marks(i)})
	}
	return to
}

// NewSnapshot makes the snapshot that a builder has collected.
func NewSnapshot(b *Builder, roles *RoleSpace, aliases FieldSet) (*Snapshot, error) {
	t, err := b.Finish()
	if err != nil {
		return nil, err
	}
	s := &Snapshot{Table: *t, Roles: roles.Publish(), Assigned: b.assigned}
	for f := range NumFields {
		if !aliases.Has(f) {
			continue
		}
		if s.aliases[f], err = s.indexAliases(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// An edit is what a change makes of one user.
type edit struct {
	draft
	bucket int
	gone   bool // nothing is left of them
}

// With returns the snapshot that has these changes too; the same snapshot if
// they change nothing. Its cost is that of the changes and of a copy of the
// directory, which is a byte a user; and once the blocks that were replaced
// take a quarter of the table's place, that of copying the table.
func (s *Snapshot) With(changes *Table, roles *RoleSpace, aliases FieldSet) (*Snapshot, error) {
	return s.Changed(changes, nil, roles, aliases)
}

// Changed is With, and takes the users in gone out of the table. None of them may
// be in changes.
func (s *Snapshot) Changed(changes *Table, gone []int64, roles *RoleSpace, aliases FieldSet) (*Snapshot, error) {
	next := &Snapshot{Table: s.Table, aliases: s.aliases, Assigned: slices.Clone(s.Assigned)}
	var edits []edit
	changes.Each(func(id int64, from Place, isInvalid bool) {
		at, known := s.Place(id)
		listed := known && !s.InvalidAt(at)
		if known && changes.same(from, &s.Table, at) {
			return
		}
		block := changes.block(from)
		e := edit{draft: draft{id: id, content: block.content(int(from.i)), marks: block.marks(int(from.i))}, bucket: s.bucket(hashID(id, s.seed))}
		if listed {
			next.Users--
			next.GrantCount -= s.Grants(at).Len()
		}
		if !isInvalid {
			gs := changes.Grants(from)
			next.Users++
			next.GrantCount += gs.Len()
			next.Assigned = next.Assigned.WithGrants(gs)
		}
		edits = append(edits, e)
	})
	for _, id := range gone {
		at, known := s.Place(id)
		if !known {
			continue
		}
		if !s.InvalidAt(at) {
			next.Users--
			next.GrantCount -= s.Grants(at).Len()
		}
		edits = append(edits, edit{draft: draft{id: id}, bucket: s.bucket(hashID(id, s.seed)), gone: true})
	}
	if len(edits) == 0 {
		return s, nil
	}
	if err := next.apply(edits); err != nil {
		return nil, err
	}
	next.Roles, next.numbers = roles.Publish(), roles.keep(next.Assigned)
	runtime.KeepAlive(s) // until then the numbers are theirs
	runtime.KeepAlive(changes)
	ids := make([]int64, len(edits))
	for i, e := range edits {
		ids[i] = e.id
	}
	for f := range NumFields {
		if !aliases.Has(f) {
			continue
		}
		if err := s.withAliases(f, next, ids); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// apply puts edits, each of another user, into a table that nobody else sees
// yet.
func (t *Table) apply(edits []edit) error {
	if t.Users > 2*perBucket*len(t.dir) {
		return t.regrow(edits)
	}
	slices.SortFunc(edits, func(a, b edit) int { return cmp.Compare(a.bucket, b.bucket) })
	changes := make([]blockChange, 0, len(edits))
	var drafts []draft
	var text []byte
	var err error
	for group := range groups(edits, func(e edit) int { return e.bucket }) {
		drafts = drafts[:0]
		bucket := group[0].bucket
		if address := t.dir[bucket]; address != 0 {
			drafts = userBlock(t.at(address)).drafts(drafts)
		}
		for _, e := range group {
			i := slices.IndexFunc(drafts, func(d draft) bool { return d.id == e.id })
			switch {
			case e.gone:
				drafts = slices.Delete(drafts, i, i+1)
			case i >= 0:
				drafts[i] = e.draft
			default:
				drafts = append(drafts, e.draft)
			}
		}
		if len(drafts) == 0 {
			changes = append(changes, blockChange{bucket: bucket})
			continue
		}
		from := len(text)
		if text, err = appendUserBlock(text, drafts); err != nil {
			return err
		}
		changes = append(changes, blockChange{bucket, text[from:]})
	}
	t.blocks, err = t.blocks.with(changes, userBlockSize)
	return err
}

// regrow makes the table anew, with more buckets.
func (t *Table) regrow(edits []edit) error {
	b := NewCopier(t.Fields, nil)
	edited := make(map[int64]struct{}, len(edits))
	for _, e := range edits {
		edited[e.id] = struct{}{}
		if !e.gone {
			b.putContent(e.id, e.content, e.marks)
		}
	}
	t.Each(func(id int64, at Place, _ bool) {
		if _, ok := edited[id]; !ok {
			b.Copy(t, at)
		}
	})
	grown, err := b.Finish()
	if err != nil {
		return err
	}
	*t = *grown
	return nil
}

// groups yields the runs of elements with the same key.
func groups[T any](all []T, key func(T) int) iter.Seq[[]T] {
	return func(yield func([]T) bool) {
		for from := 0; from < len(all); {
			to := from + 1
			for to < len(all) && key(all[to]) == key(all[from]) {
				to++
			}
			if !yield(all[from:to]) {
				return
			}
			from = to
		}
	}
}

// SortGrants puts grants into the order of a row and returns each once.
func SortGrants(gs []Grant) []Grant {
	slices.SortFunc(gs, func(a, b Grant) int {
		if c := cmp.Compare(a.Org, b.Org); c != 0 {
			return c
		}
		return cmp.Compare(a.Role, b.Role)
	})
	return slices.Compact(gs)
}
