package rolegate

import (
	"encoding/binary"
	"hash/maphash"
	"math"
	"math/bits"
	"strings"
)

// This file is the in-memory role index as requests see it: immutable, read
// without a lock, without an allocation. build.go makes it.
//
// A snapshot is a large table, the base, that a full walk built, and a small
// one that lies over it with what changed since. Every column is free of Go
// pointers, so that the garbage collector does not walk the users.

// A snapshot is one generation of the index.
type snapshot struct {
	base *table
	over *table // users changed or removed since base; nil if there are none

	roles  *roleTable
	users  int // listed users in base and over together
	grants int
	held   roleSet // roles that somebody holds, or has held since base was built

	// ambiguous counts, for each kind of identity, the aliases that two or
	// more users share.
	ambiguous [kinds]int
}

// find returns where the user's row is; ok is false if he is not listed.
func (s *snapshot) find(id int64) (t *table, at uint32, ok bool) {
	if s.over != nil {
		if at, ok := s.over.find(id); ok {
			return s.over, at, s.over.slots[at].n != removed
		}
	}
	at, ok = s.base.find(id)
	return s.base, at, ok && s.base.slots[at].n != removed
}

// barred reports whether the user is not listed because of a bad record.
func (s *snapshot) barred(id int64) bool {
	if s.over != nil {
		if at, ok := s.over.find(id); ok {
			return s.over.slots[at].n == removed
		}
	}
	at, ok := s.base.find(id)
	return ok && s.base.slots[at].n == removed
}

// findAlias returns the row of the user who has that alias, and how many such
// users there are; it stops counting at 2, since then nobody enters by it. It
// passes over the users in except.
func (s *snapshot) findAlias(k Kind, text string, except *hold) (t *table, at uint32, found int) {
	if s.over != nil {
		for i, ok := s.over.firstWith(k, text); ok && found < 2; i, ok = s.over.nextWith(k, i) {
			if s.over.live(i) && !except.has(s.over.slots[i].id) {
				t, at, found = s.over, i, found+1
			}
		}
	}
	for i, ok := s.base.firstWith(k, text); ok && found < 2; i, ok = s.base.nextWith(k, i) {
		if s.base.live(i) && !s.replaced(i) && !except.has(s.base.slots[i].id) {
			t, at, found = s.base, i, found+1
		}
	}
	return t, at, found
}

// replaced reports whether over says something else of the user in that slot
// of base.
func (s *snapshot) replaced(at uint32) bool {
	if s.over == nil {
		return false
	}
	_, ok := s.over.find(s.base.slots[at].id)
	return ok
}

// eachUser calls f for every listed user.
func (s *snapshot) eachUser(f func(t *table, at uint32)) {
	for i := range s.base.slots {
		if at := uint32(i); s.base.live(at) && !s.replaced(at) {
			f(s.base, at)
		}
	}
	if s.over == nil {
		return
	}
	for i := range s.over.slots {
		if at := uint32(i); s.over.live(at) {
			f(s.over, at)
		}
	}
}

// A table is an immutable set of users: an open-addressing hash table by user
// id over columns of grants and, if asked for, of strings.
type table struct {
	slots  []slot
	grants []grant
	seed   uint64

	users int // slots that hold a listed user

	// Strings, only if fields is not 0: for each slot, where in text the
	// user's strings begin. One large string, so that a lookup compares a
	// piece of it without copying.
	fields fieldSet
	text   string
	textAt []uint32

	aliases [kinds]aliasIndex
}

// A slot is one user. An id of 0 is an empty slot.
type slot struct {
	id    int64
	first uint32 // his first grant
	n     uint32 // how many he has, or removed
}

// removed instead of a count of grants says that this user is not listed,
// whatever a table below says.
const removed = math.MaxUint32

// A grant is twelve bytes, so that a user's two or three lie in one cache line.
// The organisation is stored as it is: interning it would save four bytes and
// cost a look-up in every decision.
type grant struct {
	orgLow, orgHigh uint32
	role            uint32 // see roleSpace
}

func makeGrant(org int64, role uint32) grant {
	return grant{orgLow: uint32(org), orgHigh: uint32(uint64(org) >> 32), role: role}
}

func (g grant) org() int64 { return int64(uint64(g.orgHigh)<<32 | uint64(g.orgLow)) }

func (g grant) in(other grant) bool {
	return g.orgLow == other.orgLow && g.orgHigh == other.orgHigh
}

// hashID spreads ids, which are often consecutive, over 64 bits.
func hashID(id int64, seed uint64) uint64 {
	high, low := bits.Mul64(uint64(id)^seed, 0x9e3779b97f4a7c15)
	return high ^ low
}

// home is the slot of n where the search for a hash starts.
func home(hash uint64, n int) int {
	high, _ := bits.Mul64(hash, uint64(n))
	return int(high)
}

// find returns the user's slot; it may be a removed one.
func (t *table) find(id int64) (at uint32, ok bool) {
	if len(t.slots) == 0 || id <= 0 {
		return 0, false
	}
	for i := home(hashID(id, t.seed), len(t.slots)); ; {
		switch t.slots[i].id {
		case id:
			return uint32(i), true
		case 0: // there is always one: build.go sees to it
			return 0, false
		}
		if i++; i == len(t.slots) {
			i = 0
		}
	}
}

// live reports whether the slot holds a listed user.
func (t *table) live(at uint32) bool {
	return t.slots[at].id != 0 && t.slots[at].n != removed
}

// grantsOf returns a user's grants, sorted by organisation and then role.
func (t *table) grantsOf(at uint32) []grant {
	s := t.slots[at]
	if s.n == removed {
		return nil
	}
	return t.grants[s.first : s.first+s.n]
}

// field returns one of a user's strings, "" if it is not kept. The string is a
// piece of the table's text.
func (t *table) field(at uint32, f field) string {
	if !t.fields.has(f) {
		return ""
	}
	text := t.text[t.textAt[at]:]
	for i := field(0); ; i++ {
		if !t.fields.has(i) {
			continue
		}
		length, width := uvarint(text)
		if i == f {
			return text[width : width+length]
		}
		text = text[width+length:]
	}
}

// uvarint is binary.Uvarint for a string that build.go wrote.
func uvarint(s string) (value, width int) {
	for shift := 0; ; shift += 7 {
		b := s[width]
		width++
		value |= int(b&0x7f) << shift
		if b < 0x80 {
			return value, width
		}
	}
}

func appendField(b *strings.Builder, s string) {
	var head [binary.MaxVarintLen64]byte
	b.Write(head[:binary.PutUvarint(head[:], uint64(len(s)))])
	b.WriteString(s)
}

// An aliasIndex finds users by one kind of alias: a hash table of slot numbers
// whose strings are compared. Users who share an alias hang on one entry, so
// that a list in which everybody has the same placeholder costs no more than
// another.
type aliasIndex struct {
	entries []uint32          // slot+1, 0 if empty
	next    map[uint32]uint32 // slot to the next slot with the same alias
	seed    maphash.Seed
	shared  []uint32 // first slot of each alias that several users share
}

// firstWith returns the first slot with that alias, and nextWith the one after
// a slot that it returned. They may be slots of removed users.
func (t *table) firstWith(k Kind, text string) (at uint32, ok bool) {
	index := &t.aliases[k]
	if len(index.entries) == 0 || text == "" {
		return 0, false
	}
	e := index.entries[index.probe(t, k, text)]
	return e - 1, e != 0
}

func (t *table) nextWith(k Kind, at uint32) (next uint32, ok bool) {
	next, ok = t.aliases[k].next[at]
	return next, ok
}

// probe returns the entry that holds text, or the empty one where it would go.
func (x *aliasIndex) probe(t *table, k Kind, text string) int {
	for i := home(maphash.String(x.seed, text), len(x.entries)); ; {
		e := x.entries[i]
		if e == 0 || t.field(e-1, k.field()) == text {
			return i
		}
		if i++; i == len(x.entries) {
			i = 0
		}
	}
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
