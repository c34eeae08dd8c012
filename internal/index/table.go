package index

import (
	"bytes"
	"encoding/binary"
)

// This file is the role index as requests see it: immutable, read without a lock
// and without an allocation. builder.go makes it; blocks.go stores it.

// A Snapshot is one generation of the index.
type Snapshot struct {
	Table
	aliases  [NumFields]aliasIndex
	Roles    *RoleTable
	Assigned RoleSet // roles that a listed user has, or has had since the last full refresh
}

// A Table is an immutable set of users with their grants and, if asked for,
// strings, by user id.
//
// It also knows users with an invalid record: they are not listed, whatever else
// is known of them.
type Table struct {
	blocks
	seed   uint64
	Fields FieldSet // the strings that are kept

	Users, GrantCount int // of those who are listed

	numbers *RoleSet // has the numbers of all roles in it for its own: see RoleSpace
}

// A Place is where a table has a user: valid for that table alone.
type Place struct {
	address uint32 // of their block
	i       uint32 // which of its users it is
}

// Find returns the place of a listed user.
func (t *Table) Find(id int64) (at Place, ok bool) {
	at, ok = t.Place(id)
	return at, ok && !t.InvalidAt(at)
}

// Invalid reports whether the user is not listed because of an invalid record.
func (t *Table) Invalid(id int64) bool {
	at, ok := t.Place(id)
	return ok && t.InvalidAt(at)
}

// Place returns the place of a user, whose record may be invalid.
func (t *Table) Place(id int64) (at Place, ok bool) {
	if len(t.dir) == 0 || id <= 0 { // nobody has such an id
		return Place{}, false
	}
	address := t.dir[t.bucket(hashID(id, t.seed))]
	if address == 0 {
		return Place{}, false
	}
	i, ok := userBlock(t.at(address)).search(id)
	return Place{address: address, i: uint32(i)}, ok
}

func (t *Table) block(at Place) userBlock { return t.at(at.address) }

// ID returns the id of the user in that place.
func (t *Table) ID(at Place) int64 { return t.block(at).id(int(at.i)) }

// InvalidAt reports whether the record of the user in that place is invalid.
func (t *Table) InvalidAt(at Place) bool { return t.block(at).marks(int(at.i))&invalid != 0 }

// DroppedGrant reports whether the user has a grant that could not be
// understood. It may have been any role, so nobody can tell that they do not
// have one.
func (t *Table) DroppedGrant(at Place) bool { return t.block(at).marks(int(at.i))&droppedGrant != 0 }

// content returns the grants and the strings of a user. Two contents of tables
// with the same fields say the same if their bytes are the same.
func (t *Table) content(at Place) []byte { return t.block(at).content(int(at.i)) }

// Grants returns a user's grants.
func (t *Table) Grants(at Place) Grants { return grantsIn(t.content(at), t.Fields) }

// Field returns one of a user's strings, empty if it is not kept.
func (t *Table) Field(at Place, f Field) []byte { return fieldIn(t.content(at), t.Fields, f) }

// eachUser calls f for every listed user.
func (t *Table) eachUser(f func(id int64, at Place)) {
	t.Each(func(id int64, at Place, invalid bool) {
		if !invalid {
			f(id, at)
		}
	})
}

// Any reports whether f is true for a user, of those whose record is valid. It looks
// no further than the first.
func (t *Table) Any(f func(at Place) bool) bool {
	for _, address := range t.dir {
		if address == 0 {
			continue
		}
		b := userBlock(t.at(address))
		for i := range b.len() {
			if b.marks(i)&invalid == 0 && f(Place{address: address, i: uint32(i)}) {
				return true
			}
		}
	}
	return false
}

// Each calls f for every user, those with an invalid record too.
func (t *Table) Each(f func(id int64, at Place, invalid bool)) {
	for _, address := range t.dir {
		if address == 0 {
			continue
		}
		b := userBlock(t.at(address))
		for i := range b.len() {
			f(b.id(i), Place{address: address, i: uint32(i)}, b.marks(i)&invalid != 0)
		}
	}
}

// Differing calls f once for every user that the tables differ in,
// and for no other. It is fast for tables that were made alike: see [NewBuilder].
func (t *Table) Differing(other *Table, f func(id int64)) {
	if t.seed != other.seed || len(t.dir) != len(other.dir) {
		t.Each(func(id int64, at Place, _ bool) {
			if to, ok := other.Place(id); !ok || !t.same(at, other, to) {
				f(id)
			}
		})
		other.Each(func(id int64, _ Place, _ bool) {
			if _, ok := t.Place(id); !ok {
				f(id)
			}
		})
		return
	}
	shared := t.sharedWith(&other.blocks)
	for i, address := range t.dir {
		if address == other.dir[i] && shared[address>>offsetBits] {
			continue
		}
		var ours, theirs userBlock
		if address != 0 {
			ours = t.at(address)
		}
		if other.dir[i] != 0 {
			theirs = other.at(other.dir[i])
		}
		if n := userBlockSize(ours); n == userBlockSize(theirs) && bytes.Equal(ours[:n], theirs[:n]) {
			continue
		}
		for j := range ours.len() {
			k, ok := theirs.search(ours.id(j))
			if !ok || !t.same(Place{address, uint32(j)}, other, Place{other.dir[i], uint32(k)}) {
				f(ours.id(j))
			}
		}
		for j := range theirs.len() {
			if _, ok := ours.search(theirs.id(j)); !ok {
				f(theirs.id(j))
			}
		}
	}
}

// same reports whether two tables say the same of one user.
func (t *Table) same(at Place, other *Table, to Place) bool {
	return t.block(at).marks(int(at.i)) == other.block(to).marks(int(to.i)) &&
		bytes.Equal(t.content(at), other.content(to))
}

// A userBlock has the users of one bucket: how many they are, for each of them
// where the content ends, with the marks in the highest bits; for each the id,
// ascending; and then the contents. All numbers are little-endian. Something else
// may follow it.
type userBlock []byte

// marks are what else is known of a user.
type marks uint32

const (
	invalid      marks = 1 << 31 // the record is invalid: the user is not listed and has no content
	droppedGrant marks = 1 << 30 // see Table.DroppedGrant
	allMarks           = invalid | droppedGrant

	maxBlock = 1<<30 - 1
)

func (b userBlock) len() int {
	if len(b) == 0 {
		return 0
	}
	return int(binary.LittleEndian.Uint32(b))
}

func (b userBlock) id(i int) int64 {
	return int64(binary.LittleEndian.Uint64(b[4+4*b.len()+8*i:]))
}

func (b userBlock) marks(i int) marks {
	return marks(binary.LittleEndian.Uint32(b[4+4*i:])) & allMarks
}

// begin returns where the content of a user begins, and for the one after the
// last, where the block ends.
func (b userBlock) begin(i int) int {
	if i == 0 {
		return 4 + 12*b.len()
	}
	return int(binary.LittleEndian.Uint32(b[4*i:]) &^ uint32(allMarks))
}

func (b userBlock) content(i int) []byte { return b[b.begin(i):b.begin(i+1)] }

// userBlockSize is how long the block is that b begins with.
func userBlockSize(b []byte) int {
	if len(b) == 0 {
		return 0
	}
	return userBlock(b).begin(userBlock(b).len())
}

// search returns which user has that id.
func (b userBlock) search(id int64) (i int, ok bool) {
	n := b.len()
	if n == 0 {
		return 0, false
	}
	ids := b[4+4*n : 4+12*n]
	for len(ids) >= 8 {
		if int64(binary.LittleEndian.Uint64(ids)) == id {
			return n - len(ids)/8, true
		}
		ids = ids[8:]
	}
	return 0, false
}

// Grants are a user's grants, sorted by organisation and then role, ten
// bytes each. The organisation is stored as it is: interning it would save some
// bytes and cost a look-up in every decision.
type Grants []byte

const grantSize = 10

// Len returns how many grants there are.
func (l Grants) Len() int { return len(l) / grantSize }

// Org returns the organisation of a grant: an id above 0.
func (l Grants) Org(i int) int64 {
	return int64(binary.LittleEndian.Uint64(l[grantSize*i:]))
}

// Role returns the number of a grant's role: see [RoleTable].
func (l Grants) Role(i int) uint16 {
	return binary.LittleEndian.Uint16(l[grantSize*i+8:])
}

// A user's content is the grants, if no strings are kept. Else it is their
// number, the grants, and each string after its length.

func appendGrants(dst []byte, gs []Grant, fields FieldSet) []byte {
	if fields != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(gs)))
	}
	for _, g := range gs {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.Org))
		dst = binary.LittleEndian.AppendUint16(dst, g.Role)
	}
	return dst
}

func appendContent(dst []byte, gs []Grant, text *[NumFields]string, fields FieldSet) []byte {
	dst = appendGrants(dst, gs, fields)
	for f := range NumFields {
		if fields.Has(f) {
			dst = binary.AppendUvarint(dst, uint64(len(text[f])))
			dst = append(dst, text[f]...)
		}
	}
	return dst
}

func grantsIn(content []byte, fields FieldSet) Grants {
	if fields == 0 {
		return content
	}
	list, _ := splitContent(content)
	return list
}

// splitContent parts the grants of a content with strings from the strings. There
// must be a content.
func splitContent(content []byte) (gs Grants, text []byte) {
	n, width := binary.Uvarint(content)
	content = content[width:]
	return content[:n*grantSize], content[n*grantSize:]
}

func fieldIn(content []byte, fields FieldSet, f Field) []byte {
	if !fields.Has(f) || len(content) == 0 {
		return nil
	}
	_, text := splitContent(content)
	for i := Field(0); ; i++ {
		if !fields.Has(i) {
			continue
		}
		length, width := binary.Uvarint(text)
		if i == f {
			return text[width : width+int(length)]
		}
		text = text[width+int(length):]
	}
}

// A Grant is one role in one organisation, on the way into a table.
type Grant struct {
	Org  int64
	Role uint16
}

// A Field is one of the strings that a table may keep of a user, in the order
// in which they are stored.
type Field uint8

const (
	FieldAccount Field = iota
	FieldEmail
	FieldThirdAccount
	FieldThirdUserID
	FieldNickname
	FieldThirdUserName
	NumFields
)

// A FieldSet has a bit for each field.
type FieldSet uint8

// Has reports whether the field is in the set.
func (s FieldSet) Has(f Field) bool { return s&(1<<f) != 0 }
