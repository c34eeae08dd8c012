package snapshot

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/internal/index"
)

// This file is what incremental refreshes have read since a full one began, and
// how the two make one state. Only a full refresh takes somebody away; so the
// state is the newest base, the result of a full refresh, with every row on top
// that was read after the base began. It does not matter who has read a row, how
// often, or in which order the rows come.

// A Row is what an incremental refresh has read of one user.
type Row struct {
	ID, Sequence int64

	// Read is when the request was sent that brought the row: nanoseconds of a
	// clock that all share whose rows are put together.
	Read int64

	// Known is when the row had come, by the same clock: what it says was so at some
	// time between the two. It is not encoded.
	Known int64

	Grants       []RowGrant // of an invalid record none
	Text         [index.NumFields]string
	DroppedGrant bool // there was another grant, which could not be understood

	// Invalid says that the record is invalid: the user is not listed. If its
	// sequence could not be read, it is the highest that the refresh has seen.
	Invalid bool
}

// A RowGrant is a role, by its code, in an organisation above 0.
type RowGrant struct {
	Org  int64
	Code string
}

// compare orders the rows of one user: the last of them counts. A row with a
// higher sequence is newer; of equal ones an invalid one counts, or else the one
// that was read later. What comes then is of no consequence, but that the order
// is the same everywhere.
func (r Row) compare(other Row) int {
	return cmp.Or(
		cmp.Compare(r.Sequence, other.Sequence),
		compareBools(r.Invalid, other.Invalid),
		cmp.Compare(r.Read, other.Read),
		compareBools(r.DroppedGrant, other.DroppedGrant),
		slices.CompareFunc(r.Grants, other.Grants, RowGrant.compare),
		slices.Compare(r.Text[:], other.Text[:]),
	)
}

// outdoes reports whether the other row counts beside no base beside which r is there.
func (r Row) outdoes(other Row) bool { return r.Read >= other.Read && r.compare(other) >= 0 }

func compareBools(a, b bool) int {
	switch {
	case a == b:
		return 0
	case a:
		return 1
	}
	return -1
}

func (g RowGrant) compare(other RowGrant) int {
	return cmp.Or(cmp.Compare(g.Org, other.Org), strings.Compare(g.Code, other.Code))
}

// Rows are rows of several users. The zero Rows is empty. Only one goroutine uses
// it.
type Rows struct {
	// byUser has of each user the rows that can count: those for which there is
	// none that is newer and was read no earlier. Mostly it is one.
	byUser map[int64][]Row
}

// Add takes in a row, and reports whether it is one that can count and was not
// there. The row must not be changed any more.
func (r *Rows) Add(row Row) bool {
	row.Grants = slices.Clone(row.Grants)
	slices.SortFunc(row.Grants, RowGrant.compare)
	row.Grants = slices.Compact(row.Grants)
	rows := r.byUser[row.ID]
	if slices.ContainsFunc(rows, func(old Row) bool { return old.outdoes(row) }) {
		return false
	}
	rows = slices.DeleteFunc(slices.Clone(rows), row.outdoes)
	if r.byUser == nil {
		r.byUser = map[int64][]Row{}
	}
	r.byUser[row.ID] = append(rows, row)
	return true
}

// Of returns the row that counts of a user, of those that were read after a base
// began; ok is false if there is none.
func (r *Rows) Of(id, began int64) (row Row, ok bool) {
	for _, other := range r.byUser[id] {
		if other.Read > began && (!ok || other.compare(row) > 0) {
			row, ok = other, true
		}
	}
	return row, ok
}

// After returns of each user the row that counts beside a base which began then,
// by user id.
func (r *Rows) After(began int64) (rows []Row) {
	for _, id := range slices.Sorted(maps.Keys(r.byUser)) {
		if row, ok := r.Of(id, began); ok {
			rows = append(rows, row)
		}
	}
	return rows
}

// KnownSince returns the users whose row has come since then.
func (r *Rows) KnownSince(at int64) map[int64]bool {
	users := map[int64]bool{}
	for id, rows := range r.byUser {
		if slices.ContainsFunc(rows, func(row Row) bool { return row.Known > at }) {
			users[id] = true
		}
	}
	return users
}

// Forget drops the rows that count beside no base which began then or later.
func (r *Rows) Forget(began int64) {
	for id, rows := range r.byUser {
		rows = slices.DeleteFunc(slices.Clone(rows), func(row Row) bool { return row.Read <= began })
		if r.byUser[id] = rows; len(rows) == 0 {
			delete(r.byUser, id)
		}
	}
}

// Shift applies by to when each row was read, and had come.
func (r *Rows) Shift(by func(int64) int64) {
	for id, rows := range r.byUser {
		rows = slices.Clone(rows)
		for i := range rows {
			rows[i].Read, rows[i].Known = by(rows[i].Read), by(rows[i].Known)
		}
		r.byUser[id] = rows
	}
}

// Len returns of how many users there is a row.
func (r *Rows) Len() int { return len(r.byUser) }

// Takes reports whether a row counts beside what a base knows of its user. began
// is when the full refresh began, by the clock of the rows.
func (gen *Generation) Takes(row Row, began int64) bool {
	if row.Read <= began {
		return false // whatever it says, the full refresh has seen that or what came later
	}
	known, ok := gen.Above[row.ID]
	return !ok || row.Sequence > known || row.Sequence == known && row.Invalid
}

// ErrTooManyRoles says that rows have more different role codes than an index
// can tell apart.
var ErrTooManyRoles = errors.New("more different role codes than an index can tell apart")

// WithRows returns the base with those rows on top that it takes, one of a user,
// and the users that they are about. Their removal is held no more. Everything else, ages and
// cursor, is the base's.
func (gen *Generation) WithRows(rows []Row, began int64, roles *index.RoleSpace, aliases index.FieldSet) (next *Generation, changes *index.Table, err error) {
	b := index.NewBuilder(gen.Fields, nil, roles.Publish())
	for _, row := range rows {
		if gen.Takes(row, began) && !row.put(b) {
			return nil, nil, ErrTooManyRoles
		}
	}
	if !b.Settle(roles) {
		return nil, nil, ErrTooManyRoles
	}
	if changes, err = b.Finish(); err != nil {
		return nil, nil, err
	}
	with := *gen
	if with.Snapshot, err = gen.With(changes, roles, aliases); err != nil {
		return nil, nil, err
	}
	with.Held = gen.Held.Without(changes)
	return &with, changes, nil
}

func (r Row) put(b *index.Builder) (ok bool) {
	to := index.Row{ID: r.ID, Sequence: r.Sequence, Text: r.Text, DroppedGrant: r.DroppedGrant, Invalid: r.Invalid}
	for _, g := range r.Grants {
		role, ok := b.Role(g.Code)
		if !ok {
			return false
		}
		to.Grants = append(to.Grants, index.Grant{Org: g.Org, Role: role})
	}
	to.Grants = index.SortGrants(to.Grants)
	b.Put(&to)
	return true
}

// rowsMagic is what encoded rows begin with; the number is the version.
const rowsMagic = "rolegate rows 1\n"

// The kinds of a row, and of the frames of encoded rows.
const (
	rowListed  = 0
	rowInvalid = 1
	rowDropped = 2 // listed, and a grant was dropped

	frameRows = 'W'
)

// EncodeRows writes rows of the list with that key, with the strings in fields.
// stamp is what is to be written for the time at which a row was read.
func EncodeRows(w io.Writer, key string, fields index.FieldSet, rows []Row, stamp func(int64) int64) error {
	f := newFrameWriter(w, rowsMagic)
	f.buf = append(appendText(f.buf, key), byte(fields))
	f.frame(frameHead, 0)
	for _, r := range rows {
		f.buf = r.encode(f.buf, fields, stamp)
		f.frame(frameRows, frameSize)
	}
	f.frame(frameRows, 1)
	return f.end()
}

func (r Row) encode(dst []byte, fields index.FieldSet, stamp func(int64) int64) []byte {
	for _, n := range []int64{r.ID, r.Sequence, stamp(r.Read)} {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(n))
	}
	switch {
	case r.Invalid:
		return append(dst, rowInvalid)
	case r.DroppedGrant:
		dst = append(dst, rowDropped)
	default:
		dst = append(dst, rowListed)
	}
	dst = binary.AppendUvarint(dst, uint64(len(r.Grants)))
	for _, g := range r.Grants {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.Org))
		dst = appendText(dst, g.Code)
	}
	for f := range index.NumFields {
		if fields.Has(f) {
			dst = appendText(dst, r.Text[f])
		}
	}
	return dst
}

// DecodeRows reads what EncodeRows has written of that list with these fields;
// at turns back what stamp made. It returns all rows or, with an error that wraps
// [ErrNotIndex], none.
func DecodeRows(b []byte, key string, fields index.FieldSet, at func(int64) int64) (rows []Row, err error) {
	head := false
	err = readFrames(bytes.NewReader(b), rowsMagic, func(kind byte, payload []byte) error {
		r := &reader{b: payload}
		switch {
		case kind == frameHead && !head:
			head = true
			if r.text() != key || r.byte() != byte(fields) || r.short || len(r.b) > 0 {
				return damaged("it is of another list, or with other strings")
			}
		case kind == frameRows && head:
			for len(r.b) > 0 {
				row, ok := decodeRow(r, fields, at)
				if !ok {
					return damaged("a row in it is not in order")
				}
				rows = append(rows, row)
			}
		default:
			return damaged("its parts are not in order")
		}
		return nil
	})
	if err == nil && !head {
		err = damaged("it has no head")
	}
	if err != nil {
		return nil, err
	}
	return rows, nil
}

func decodeRow(r *reader, fields index.FieldSet, at func(int64) int64) (row Row, ok bool) {
	row.ID, row.Sequence = int64(r.uint64()), int64(r.uint64())
	read := int64(r.uint64())
	kind := r.byte()
	if row.ID <= 0 || row.Sequence < 0 || read <= 0 || kind > rowDropped {
		return row, false
	}
	row.Read, row.Invalid, row.DroppedGrant = at(read), kind == rowInvalid, kind == rowDropped
	if row.Invalid {
		return row, true
	}
	for n := r.uvarint(); n > 0 && !r.short; n-- {
		g := RowGrant{Org: int64(r.uint64()), Code: r.text()}
		if g.Org <= 0 || g.Code == "" {
			return row, false
		}
		row.Grants = append(row.Grants, g)
	}
	for f := range index.NumFields {
		if fields.Has(f) {
			row.Text[f] = r.text()
		}
	}
	return row, !r.short
}
