package rolegate

import (
	"bytes"
	"encoding/binary"
)

// This file is the in-memory role index as requests see it: immutable, read
// without a lock, without an allocation. build.go makes it; blocks.go stores
// it.

// A snapshot is one generation of the index.
type snapshot struct {
	table
	aliases [kinds]aliasIndex
	roles   *roleTable
	held    roleSet // roles that somebody holds, or has held since the last walk
}

// A table is an immutable set of users with their grants and, if asked for,
// strings, by user id.
//
// It can also bar users: they are not listed because of a bad record, and the
// table remembers them.
type table struct {
	blocks
	seed   uint64
	fields fieldSet // the strings that are kept

	users, grants int // of those who are listed
}

// A place is where a table has a user: valid for that table alone.
type place struct {
	address uint32 // of his block
	i       uint32 // which of its users he is
}

// find returns the place of a listed user.
func (t *table) find(id int64) (at place, ok bool) {
	at, ok = t.seek(id)
	return at, ok && !t.bars(at)
}

// barred reports whether the user is not listed because of a bad record.
func (t *table) barred(id int64) bool {
	at, ok := t.seek(id)
	return ok && t.bars(at)
}

// seek returns the place of a user, who may be barred.
func (t *table) seek(id int64) (at place, ok bool) {
	if len(t.dir) == 0 || id <= 0 { // nobody has such an id
		return place{}, false
	}
	address := t.dir[t.bucket(hashID(id, t.seed))]
	if address == 0 {
		return place{}, false
	}
	i, ok := userBlock(t.at(address)).search(id)
	return place{address: address, i: uint32(i)}, ok
}

func (t *table) block(at place) userBlock { return t.at(at.address) }

// id returns the id of the user in that place.
func (t *table) id(at place) int64 { return t.block(at).id(int(at.i)) }

// bars reports whether the user in that place is barred.
func (t *table) bars(at place) bool { return t.block(at).barred(int(at.i)) }

// content returns what the table has of a user besides his id. Two contents of
// tables with the same fields say the same if their bytes are the same.
func (t *table) content(at place) []byte { return t.block(at).content(int(at.i)) }

// grantsOf returns a user's grants.
func (t *table) grantsOf(at place) grantList { return grantsIn(t.content(at), t.fields) }

// field returns one of a user's strings, empty if it is not kept.
func (t *table) field(at place, f field) []byte { return fieldIn(t.content(at), t.fields, f) }

// eachUser calls f for every listed user.
func (t *table) eachUser(f func(id int64, at place)) {
	t.each(func(id int64, at place, barred bool) {
		if !barred {
			f(id, at)
		}
	})
}

// each calls f for every user, those who are barred too.
func (t *table) each(f func(id int64, at place, barred bool)) {
	for _, address := range t.dir {
		if address == 0 {
			continue
		}
		b := userBlock(t.at(address))
		for i := range b.len() {
			f(b.id(i), place{address: address, i: uint32(i)}, b.barred(i))
		}
	}
}

// differing calls f, once, for every user of whom the tables say something else,
// and no other. It is fast for tables that were made alike: see tableBuilder.
func (t *table) differing(other *table, f func(id int64)) {
	if t.seed != other.seed || len(t.dir) != len(other.dir) {
		t.each(func(id int64, at place, _ bool) {
			if to, ok := other.seek(id); !ok || !t.same(at, other, to) {
				f(id)
			}
		})
		other.each(func(id int64, _ place, _ bool) {
			if _, ok := t.seek(id); !ok {
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
			if !ok || !t.same(place{address, uint32(j)}, other, place{other.dir[i], uint32(k)}) {
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
func (t *table) same(at place, other *table, to place) bool {
	return t.bars(at) == other.bars(to) &&
		bytes.Equal(t.content(at), other.content(to))
}

// A userBlock has the users of one bucket: how many they are, for each of them
// where his content ends, for each his id, ascending, and then the contents. All
// numbers are little-endian. There may be something else behind it.
type userBlock []byte

// barredBit in the place of an end says that the user is barred: he has no
// content.
const barredBit = 1 << 31

func (b userBlock) len() int {
	if len(b) == 0 {
		return 0
	}
	return int(binary.LittleEndian.Uint32(b))
}

func (b userBlock) id(i int) int64 {
	return int64(binary.LittleEndian.Uint64(b[4+4*b.len()+8*i:]))
}

func (b userBlock) barred(i int) bool {
	return binary.LittleEndian.Uint32(b[4+4*i:])&barredBit != 0
}

// begin returns where the content of a user begins, and for the one after the
// last, where the block ends.
func (b userBlock) begin(i int) int {
	if i == 0 {
		return 4 + 12*b.len()
	}
	return int(binary.LittleEndian.Uint32(b[4*i:]) &^ barredBit)
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

// A grantList is a user's grants, sorted by organisation and then role, ten
// bytes each. The organisation is stored as it is: interning it would save some
// bytes and cost a look-up in every decision.
type grantList []byte

const grantSize = 10

func (l grantList) len() int { return len(l) / grantSize }

func (l grantList) org(i int) int64 {
	return int64(binary.LittleEndian.Uint64(l[grantSize*i:]))
}

// role returns a role's number: see roleSpace.
func (l grantList) role(i int) uint16 {
	return binary.LittleEndian.Uint16(l[grantSize*i+8:])
}

// A user's content is his grants, if no strings are kept. Else it is their
// number, the grants, and each string after its length.

func appendContent(dst []byte, gs []grant, text *[numFields]string, fields fieldSet) []byte {
	if fields != 0 {
		dst = binary.AppendUvarint(dst, uint64(len(gs)))
	}
	for _, g := range gs {
		dst = binary.LittleEndian.AppendUint64(dst, uint64(g.org))
		dst = binary.LittleEndian.AppendUint16(dst, g.role)
	}
	for f := range numFields {
		if fields.has(f) {
			dst = binary.AppendUvarint(dst, uint64(len(text[f])))
			dst = append(dst, text[f]...)
		}
	}
	return dst
}

func grantsIn(content []byte, fields fieldSet) grantList {
	if fields == 0 {
		return content
	}
	list, _ := splitContent(content)
	return list
}

// splitContent parts the grants of a content with strings from the strings. A
// barred user has no content.
func splitContent(content []byte) (gs grantList, text []byte) {
	n, width := binary.Uvarint(content)
	content = content[width:]
	return content[:n*grantSize], content[n*grantSize:]
}

func fieldIn(content []byte, fields fieldSet, f field) []byte {
	if !fields.has(f) || len(content) == 0 {
		return nil
	}
	_, text := splitContent(content)
	for i := field(0); ; i++ {
		if !fields.has(i) {
			continue
		}
		length, width := binary.Uvarint(text)
		if i == f {
			return text[width : width+int(length)]
		}
		text = text[width+int(length):]
	}
}

// A grant is one role in one organisation, on the way into a table.
type grant struct {
	org  int64
	role uint16
}

// A field is one of the strings that a table may keep of a user, in the order
// in which they are stored.
type field uint8

const (
	fieldAccount field = iota
	fieldEmail
	fieldThirdAccount
	fieldThirdUserID
	fieldNickname
	fieldThirdUserName
	numFields
)

// of returns that string of a record.
func (f field) of(r *Record) string {
	switch f {
	case fieldAccount:
		return r.Account
	case fieldEmail:
		return r.Email
	case fieldThirdAccount:
		return r.ThirdAccount
	case fieldThirdUserID:
		return r.ThirdUserID
	case fieldNickname:
		return r.Nickname
	case fieldThirdUserName:
		return r.ThirdUserName
	}
	return ""
}

// A fieldSet has a bit for each field.
type fieldSet uint8

func (s fieldSet) has(f field) bool { return s&(1<<f) != 0 }
