package rolegate

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"iter"
	"math/rand/v2"
	"slices"
)

// This file makes the tables and snapshots that store.go describes.

// A row is one user on the way into a table.
type row struct {
	id, sequence int64
	grants       []grant // sorted, each once
	text         [numFields]string
	barred       bool
}

// A tableBuilder collects rows. Only one goroutine uses it.
type tableBuilder struct {
	t       table
	buckets int // how many a table had that this one is to be like
	rows    *sorter
	record  []byte
	held    roleSet

	// What finish notices: the same user more than once, and those of them
	// whose roles differed.
	duplicates, conflicts int

	// The roles from firstFresh on have their numbers in fresh.
	firstFresh int
	fresh      []uint16
	regrant    []grant
}

// newTableBuilder makes a builder. If like is not nil and the new table turns
// out to have about as many users, it is made so that the two compare fast: the
// same user is in the same bucket.
func newTableBuilder(fields fieldSet, like *table) *tableBuilder {
	b := &tableBuilder{t: table{seed: rand.Uint64(), fields: fields}}
	if like != nil {
		b.t.seed, b.buckets = like.seed, len(like.dir)
	}
	b.rows = newSorter(func(record []byte) uint64 { return hashID(recordID(record), b.t.seed) })
	return b
}

// errTooLarge is more than addresses can tell apart.
var errTooLarge error = &PullError{
	Failure: FailureTooLarge,
	Err:     errors.New("the list is larger than the index can hold: 32 GiB, and 2 GiB for one user"),
}

// The record of a row is its id, with a bit for a user who is barred, its
// sequence, and the user's content.

const recordBarred = 1 << 63 // ids are above 0

func recordID(record []byte) int64 {
	return int64(binary.LittleEndian.Uint64(record) &^ recordBarred)
}

// appendRecordID appends what recordID reads.
func appendRecordID(dst []byte, id int64, barred bool) []byte {
	bits := uint64(id)
	if barred {
		bits |= recordBarred
	}
	return binary.LittleEndian.AppendUint64(dst, bits)
}

// put takes in a row.
func (b *tableBuilder) put(r *row) {
	b.record = appendRecordID(b.record[:0], r.id, r.barred)
	b.record = binary.AppendVarint(b.record, r.sequence)
	if !r.barred {
		b.record = appendContent(b.record, r.grants, &r.text, b.t.fields)
	}
	b.rows.add(b.record)
}

// putContent takes in a user of another table with the same fields.
func (b *tableBuilder) putContent(id int64, content []byte, barred bool) {
	b.record = appendRecordID(b.record[:0], id, barred)
	b.record = binary.AppendVarint(b.record, 0)
	b.record = append(b.record, content...)
	b.rows.add(b.record)
}

// renumber has finish give the roles from first on the numbers in ids.
func (b *tableBuilder) renumber(first int, ids []uint16) {
	for i, id := range ids {
		if int(id) != first+i { // or else they are right
			b.firstFresh, b.fresh = first, ids
			return
		}
	}
}

// A draft is one user of a block that is being made.
type draft struct {
	id, sequence int64
	content      []byte
	barred       bool
}

// finish returns the table; the builder is spent. Of two rows of one user the
// higher sequence counts, and of equal ones the later; who is barred by one row
// is barred.
func (b *tableBuilder) finish() (*table, error) {
	var drafts []draft
	var err error
	b.t.blocks, err = b.rows.finish(b.buckets, func(dst []byte, records [][]byte) ([]byte, error) {
		drafts = drafts[:0]
		for _, record := range records {
			drafts = b.merge(drafts, record)
		}
		for _, d := range drafts {
			if !d.barred {
				gs := grantsIn(d.content, b.t.fields)
				b.t.users++
				b.t.grants += gs.len()
				b.held = b.held.holding(gs)
			}
		}
		return appendUserBlock(dst, drafts)
	})
	b.rows, b.record = nil, nil
	return &b.t, err
}

// merge adds a record to those of its bucket.
func (b *tableBuilder) merge(drafts []draft, record []byte) []draft {
	d := draft{id: recordID(record), barred: binary.LittleEndian.Uint64(record)&recordBarred != 0}
	var width int
	d.sequence, width = binary.Varint(record[8:])
	d.content = record[8+width:]
	b.renumberIn(d.content)
	i := slices.IndexFunc(drafts, func(other draft) bool { return other.id == d.id })
	if i < 0 {
		return append(drafts, d)
	}
	old := &drafts[i]
	if !old.barred && !d.barred {
		b.duplicates++
		if !bytes.Equal(grantsIn(old.content, b.t.fields), grantsIn(d.content, b.t.fields)) {
			b.conflicts++
		}
	}
	if !old.barred && (d.barred || d.sequence >= old.sequence) {
		*old = d
	}
	return drafts
}

// renumberIn gives the roles of one user the numbers they are to have.
func (b *tableBuilder) renumberIn(content []byte) {
	if len(b.fresh) == 0 || len(content) == 0 { // a barred user has no content
		return
	}
	gs := grantsIn(content, b.t.fields)
	b.regrant = b.regrant[:0]
	changed := false
	for i := range gs.len() {
		role := gs.role(i)
		if int(role) >= b.firstFresh {
			role, changed = b.fresh[int(role)-b.firstFresh], true
		}
		b.regrant = append(b.regrant, grant{gs.org(i), role})
	}
	if changed {
		appendContent(gs[:0], sortGrants(b.regrant), nil, 0)
	}
}

// appendUserBlock appends a block with these users, of whom there is at least
// one, each once.
func appendUserBlock(dst []byte, drafts []draft) ([]byte, error) {
	slices.SortFunc(drafts, func(a, b draft) int { return cmp.Compare(a.id, b.id) })
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(drafts)))
	end := uint64(4 + 12*len(drafts)) // on some machines an int is too small
	for _, d := range drafts {
		if end += uint64(len(d.content)); end >= barredBit {
			return dst, errTooLarge
		}
		bits := uint32(end)
		if d.barred {
			bits |= barredBit
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
		to = append(to, draft{id: b.id(i), content: b.content(i), barred: b.barred(i)})
	}
	return to
}

// newSnapshot makes the snapshot that a builder has collected.
func newSnapshot(b *tableBuilder, roles *roleSpace, indexed kindSet) (*snapshot, error) {
	t, err := b.finish()
	if err != nil {
		return nil, err
	}
	s := &snapshot{table: *t, roles: roles.publish(), held: b.held}
	for k := KindAccount; k < kinds; k++ {
		if !indexed.has(k) {
			continue
		}
		if s.aliases[k], err = s.indexAliases(k); err != nil {
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

// with returns the snapshot that has these changes too; the same snapshot if
// they change nothing. Its cost is that of the changes and of a copy of the
// directory, which is a byte a user; and once the blocks that were replaced
// take a quarter of the table's place, that of copying the table.
func (s *snapshot) with(changes *table, roles *roleSpace, indexed kindSet) (*snapshot, error) {
	return s.changed(changes, nil, roles, indexed)
}

// changed is with, and takes the users in gone, none of whom is in changes, out
// of the table.
func (s *snapshot) changed(changes *table, gone []int64, roles *roleSpace, indexed kindSet) (*snapshot, error) {
	next := &snapshot{table: s.table, aliases: s.aliases, held: slices.Clone(s.held)}
	var edits []edit
	changes.each(func(id int64, from place, barred bool) {
		at, known := s.seek(id)
		listed := known && !s.bars(at)
		e := edit{draft: draft{id: id, content: changes.content(from), barred: barred}, bucket: s.bucket(hashID(id, s.seed))}
		if barred && known && !listed || !barred && listed && bytes.Equal(e.content, s.content(at)) {
			return
		}
		if listed {
			next.users--
			next.grants -= s.grantsOf(at).len()
		}
		if !barred {
			gs := changes.grantsOf(from)
			next.users++
			next.grants += gs.len()
			next.held = next.held.holding(gs)
		}
		edits = append(edits, e)
	})
	for _, id := range gone {
		at, known := s.seek(id)
		if !known {
			continue
		}
		if !s.bars(at) {
			next.users--
			next.grants -= s.grantsOf(at).len()
		}
		edits = append(edits, edit{draft: draft{id: id}, bucket: s.bucket(hashID(id, s.seed)), gone: true})
	}
	if len(edits) == 0 {
		return s, nil
	}
	if err := next.apply(edits); err != nil {
		return nil, err
	}
	next.roles = roles.publish()
	ids := make([]int64, len(edits))
	for i, e := range edits {
		ids[i] = e.id
	}
	for k := KindAccount; k < kinds; k++ {
		if !indexed.has(k) {
			continue
		}
		if err := s.withAliases(k, next, ids); err != nil {
			return nil, err
		}
	}
	return next, nil
}

// apply puts edits, each of another user, into a table that nobody else sees
// yet.
func (t *table) apply(edits []edit) error {
	if t.users > 2*perBucket*len(t.dir) {
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
func (t *table) regrow(edits []edit) error {
	b := newTableBuilder(t.fields, nil)
	edited := make(map[int64]struct{}, len(edits))
	for _, e := range edits {
		edited[e.id] = struct{}{}
		if !e.gone {
			b.putContent(e.id, e.content, e.barred)
		}
	}
	t.each(func(id int64, at place, barred bool) {
		if _, ok := edited[id]; !ok {
			b.putContent(id, t.content(at), barred)
		}
	})
	grown, err := b.finish()
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

// sortGrants puts grants into the order of a row and returns each once.
func sortGrants(gs []grant) []grant {
	slices.SortFunc(gs, func(a, b grant) int {
		if c := cmp.Compare(a.org, b.org); c != 0 {
			return c
		}
		return cmp.Compare(a.role, b.role)
	})
	return slices.Compact(gs)
}
