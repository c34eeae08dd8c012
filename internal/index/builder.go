package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
	"strings"
)

// This file makes the tables and snapshots that store.go describes.

// A Row is one user on the way into a table.
type Row struct {
	ID, Sequence int64
	Grants       []Grant // sorted, each once
	Text         [NumFields]string
	Invalid      bool
}

// A Builder collects rows. Only one goroutine uses it.
type Builder struct {
	table    Table
	buckets  int // how many a table had that this one is to be like
	rows     *sorter
	record   []byte
	assigned RoleSet

	// What finish notices: the same user more than once, and those of them
	// whose roles differed.
	Duplicates, Conflicts int

	// The codes by the numbers that rows have until settle, and which of them
	// are in use. final has the numbers that they get, nil if they are the same.
	codes        []string
	known, fresh map[string]uint16
	used         RoleSet
	final        []uint16
	regrant      []Grant
}

// NewBuilder makes a builder of rows whose roles are numbered by role, and
// then settle. roles are the codes that are known already. If like is not nil
// and the new table turns out to have about as many users, it is made so that
// the two compare fast: the same user is in the same bucket.
func NewBuilder(fields FieldSet, like *Table, roles *RoleTable) *Builder {
	b := NewCopier(fields, like)
	b.codes, b.known = slices.Clip(roles.codes), roles.ids
	return b
}

// NewCodedBuilder makes a builder of contents whose roles are numbered as in
// codes, "" being nobody's. settle gives them numbers of a roleSpace.
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

// NewCopier makes a builder of contents of other tables with the same fields,
// whose roles have their numbers.
func NewCopier(fields FieldSet, like *Table) *Builder {
	b := &Builder{table: Table{seed: rand.Uint64(), Fields: fields}}
	if like != nil {
		b.table.seed, b.buckets = like.seed, len(like.dir)
	}
	b.rows = newSorter(func(record []byte) uint64 { return hashID(recordID(record), b.table.seed) })
	return b
}

// ErrTooLarge is more than addresses can tell apart.
var ErrTooLarge = errors.New("the list is larger than the index can hold: 32 GiB, and 2 GiB for one user")

// The record of a row is its id, with a bit for a user who is barred, its
// sequence, and the user's content.

const RecordInvalid = 1 << 63 // ids are above 0

func recordID(record []byte) int64 {
	return int64(binary.LittleEndian.Uint64(record) &^ RecordInvalid)
}

// AppendRecordID appends what recordID reads.
func AppendRecordID(dst []byte, id int64, barred bool) []byte {
	bits := uint64(id)
	if barred {
		bits |= RecordInvalid
	}
	return binary.LittleEndian.AppendUint64(dst, bits)
}

// Put takes in a row.
func (b *Builder) Put(r *Row) {
	b.record = AppendRecordID(b.record[:0], r.ID, r.Invalid)
	b.record = binary.AppendVarint(b.record, r.Sequence)
	if !r.Invalid {
		b.record = appendContent(b.record, r.Grants, &r.Text, b.table.Fields)
	}
	b.rows.add(b.record)
}

// PutContent takes in a user of another table with the same fields.
func (b *Builder) PutContent(id int64, content []byte, barred bool) {
	b.record = AppendRecordID(b.record[:0], id, barred)
	b.record = binary.AppendVarint(b.record, 0)
	b.record = append(b.record, content...)
	b.rows.add(b.record)
}

// Role returns a number for a code, which counts until settle. There are at most
// maxRoles: ok is false for one more.
func (b *Builder) Role(code string) (role uint16, ok bool) {
	id, known := b.known[code]
	if !known {
		id, known = b.fresh[code]
	}
	if !known {
		if len(b.codes) == MaxRoles {
			return 0, false
		}
		id = uint16(len(b.codes))
		code = strings.Clone(code) // it may be a piece of a page
		b.codes = append(b.codes, code)
		if b.fresh == nil {
			b.fresh = map[string]uint16{}
		}
		b.fresh[code] = id
	}
	b.used = b.used.with(id)
	return id, true
}

// Settle gives the codes that are in use numbers of the roleSpace. Only now,
// since that keeps them: what was not read to its end must not fill it up. It
// must come before finish, and ok is false if there are too many codes.
func (b *Builder) Settle(roles *RoleSpace) (ok bool) {
	var codes []string
	for i, code := range b.codes {
		if b.used.has(uint16(i)) {
			codes = append(codes, code)
		}
	}
	ids, ok := roles.internAll(codes)
	if !ok {
		return false
	}
	final := make([]uint16, len(b.codes)) // of a code that is not in use: anything
	same := true
	for i := range b.codes {
		if b.used.has(uint16(i)) {
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
	invalid      bool
}

// Finish returns the table; the builder is spent. Of two rows of one user the
// higher sequence counts, and of equal ones the later; who is barred by one row
// is barred.
func (b *Builder) Finish() (*Table, error) {
	var drafts []draft
	var err error
	b.table.blocks, err = b.rows.finish(b.buckets, func(dst []byte, records [][]byte) ([]byte, error) {
		drafts = drafts[:0]
		for _, record := range records {
			drafts = b.merge(drafts, record)
		}
		for _, d := range drafts {
			if !d.invalid {
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
	d := draft{id: recordID(record), invalid: binary.LittleEndian.Uint64(record)&RecordInvalid != 0}
	var width int
	d.sequence, width = binary.Varint(record[8:])
	d.content = record[8+width:]
	b.renumberIn(d.content)
	i := slices.IndexFunc(drafts, func(other draft) bool { return other.id == d.id })
	if i < 0 {
		return append(drafts, d)
	}
	old := &drafts[i]
	if !old.invalid && !d.invalid {
		b.Duplicates++
		if !bytes.Equal(grantsIn(old.content, b.table.Fields), grantsIn(d.content, b.table.Fields)) {
			b.Conflicts++
		}
	}
	if !old.invalid && (d.invalid || d.sequence >= old.sequence) {
		*old = d
	}
	return drafts
}

// renumberIn gives the roles of one user the numbers they are to have.
func (b *Builder) renumberIn(content []byte) {
	if b.final == nil || len(content) == 0 { // a barred user has no content
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

// appendUserBlock appends a block with these users, of whom there is at least
// one, each once.
func appendUserBlock(dst []byte, drafts []draft) ([]byte, error) {
	slices.SortFunc(drafts, func(a, b draft) int { return cmp.Compare(a.id, b.id) })
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(drafts)))
	end := uint64(4 + 12*len(drafts)) // on some machines an int is too small
	for _, d := range drafts {
		if end += uint64(len(d.content)); end >= invalidBit {
			return dst, ErrTooLarge
		}
		bits := uint32(end)
		if d.invalid {
			bits |= invalidBit
		}
		dst = binary.LittleEndian.AppendUint32(dst, bits)
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
		to = append(to, draft{id: b.id(i), content: b.content(i), invalid: b.invalid(i)})
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
	gone   bool // nothing is left of him
}

// With returns the snapshot that has these changes too; the same snapshot if
// they change nothing. Its cost is that of the changes and of a copy of the
// directory, which is a byte a user; and once the blocks that were replaced
// take a quarter of the table's place, that of copying the table.
func (s *Snapshot) With(changes *Table, roles *RoleSpace, aliases FieldSet) (*Snapshot, error) {
	return s.Changed(changes, nil, roles, aliases)
}

// Changed is with, and takes the users in gone, none of whom is in changes, out
// of the table.
func (s *Snapshot) Changed(changes *Table, gone []int64, roles *RoleSpace, aliases FieldSet) (*Snapshot, error) {
	next := &Snapshot{Table: s.Table, aliases: s.aliases, Assigned: slices.Clone(s.Assigned)}
	var edits []edit
	changes.Each(func(id int64, from Place, barred bool) {
		at, known := s.Place(id)
		listed := known && !s.InvalidAt(at)
		e := edit{draft: draft{id: id, content: changes.Content(from), invalid: barred}, bucket: s.bucket(hashID(id, s.seed))}
		if barred && known && !listed || !barred && listed && bytes.Equal(e.content, s.Content(at)) {
			return
		}
		if listed {
			next.Users--
			next.GrantCount -= s.Grants(at).Len()
		}
		if !barred {
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
	next.Roles = roles.Publish()
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
			b.PutContent(e.id, e.content, e.invalid)
		}
	}
	t.Each(func(id int64, at Place, barred bool) {
		if _, ok := edited[id]; !ok {
			b.PutContent(id, t.Content(at), barred)
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
