package index

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"hash/maphash"
	"slices"
	"sort"
)

// An aliasIndex finds users by one kind of alias. It has the hash of each alias
// and the id of its user; the string itself is the user's, and is compared
// there. So what it says is never more than a hint, and a user whose neighbours
// change need not be written anew.
type aliasIndex struct {
	blocks
	seed    maphash.Seed
	entries int

	shared int // aliases that two or more users have
}

// An aliasBlock has the entries of one bucket: how many they are, and for each
// the lower half of the hash and the user id, sorted by both. So an alias that
// all users share, a placeholder, slows the search for no other.
type aliasBlock []byte

const aliasEntry = 12

func (b aliasBlock) len() int { return int(binary.LittleEndian.Uint32(b)) }

func (b aliasBlock) hash(i int) uint32 { return binary.LittleEndian.Uint32(b[4+aliasEntry*i:]) }

func (b aliasBlock) id(i int) int64 { return int64(binary.LittleEndian.Uint64(b[8+aliasEntry*i:])) }

// first returns the first entry with that hash, or where it would be.
func (b aliasBlock) first(hash uint32) int {
	return sort.Search(b.len(), func(i int) bool { return b.hash(i) >= hash })
}

func aliasBlockSize(b []byte) int { return 4 + aliasEntry*aliasBlock(b).len() }

// An aliasRef is one entry, on the way into an index.
type aliasRef struct {
	hash uint32
	id   int64
}

func (r aliasRef) compare(other aliasRef) int {
	if c := cmp.Compare(r.hash, other.hash); c != 0 {
		return c
	}
	return cmp.Compare(r.id, other.id)
}

func appendAliasBlock(dst []byte, refs []aliasRef) []byte {
	if len(refs) == 0 {
		return dst
	}
	slices.SortFunc(refs, aliasRef.compare)
	dst = binary.LittleEndian.AppendUint32(dst, uint32(len(refs)))
	for _, r := range refs {
		dst = binary.LittleEndian.AppendUint32(dst, r.hash)
		dst = binary.LittleEndian.AppendUint64(dst, uint64(r.id))
	}
	return dst
}

// FindAlias returns the place of the user who has that alias, and how many such
// users there are; it stops counting at 2, since then nobody enters by it. It
// passes over the users in except, but over maxExcept of them at most: more who
// share an alias would cost each decision too much, and nobody enters by it.
func (s *Snapshot) FindAlias(f Field, text string, except func(id int64) bool) (at Place, found int) {
	x := &s.aliases[f]
	if len(x.dir) == 0 || text == "" {
		return at, 0
	}
	hash := maphash.String(x.seed, text)
	address := x.dir[x.bucket(hash)]
	if address == 0 {
		return at, 0
	}
	block := aliasBlock(x.at(address))
	first := block.first(uint32(hash))
	for i := first; i < block.len() && block.hash(i) == uint32(hash) && found < 2; i++ {
		if i-first > maxExcept {
			return at, 2
		}
		id := block.id(i)
		if it, ok := s.Find(id); ok && string(s.Field(it, f)) == text && (except == nil || !except(id)) {
			at, found = it, found+1
		}
	}
	return at, found
}

// maxExcept is more than the users who share an alias because each was made anew.
const maxExcept = 64

// WithText returns where the users are who have that string, the lowest most ids of
// them, ascending. It asks the index of aliases or, if the field has none, looks at
// every user: about a tenth of a second for a million.
func (s *Snapshot) WithText(f Field, text string, most int) (found []Place) {
	if text == "" || most < 1 {
		return nil
	}
	if x := &s.aliases[f]; len(x.dir) > 0 {
		hash := maphash.String(x.seed, text)
		address := x.dir[x.bucket(hash)]
		if address == 0 {
			return nil
		}
		block := aliasBlock(x.at(address))
		for i := block.first(uint32(hash)); i < block.len() && block.hash(i) == uint32(hash) && len(found) < most; i++ {
			if at, ok := s.Find(block.id(i)); ok && string(s.Field(at, f)) == text {
				found = append(found, at)
			}
		}
		return found
	}
	if !s.Fields.Has(f) {
		return nil
	}
	s.eachUser(func(_ int64, at Place) {
		if string(s.Field(at, f)) == text {
			found = append(found, at)
		}
	})
	slices.SortFunc(found, func(a, b Place) int { return cmp.Compare(s.ID(a), s.ID(b)) })
	return found[:min(most, len(found))]
}

// Ambiguous returns how many aliases of that field two or more users share.
func (s *Snapshot) Ambiguous(f Field) int { return s.aliases[f].shared }

// indexAliases makes the index of one kind.
func (s *Snapshot) indexAliases(f Field) (aliasIndex, error) {
	x := aliasIndex{seed: maphash.MakeSeed()}
	list := newSorter(binary.LittleEndian.Uint64)
	var record [16]byte
	s.eachUser(func(id int64, at Place) {
		if text := s.Field(at, f); len(text) > 0 {
			binary.LittleEndian.PutUint64(record[:], maphash.Bytes(x.seed, text))
			binary.LittleEndian.PutUint64(record[8:], uint64(id))
			list.add(record[:])
		}
	})
	x.entries = list.n
	var refs []aliasRef
	var err error
	x.blocks, err = list.finish(0, func(dst []byte, records [][]byte) ([]byte, error) {
		refs = refs[:0]
		for _, r := range records {
			refs = append(refs, aliasRef{binary.LittleEndian.Uint32(r), int64(binary.LittleEndian.Uint64(r[8:]))})
		}
		dst = appendAliasBlock(dst, refs)
		x.shared += s.countShared(f, refs)
		return dst, nil
	})
	return x, err
}

// countShared counts the aliases that two or more of these users share, who are
// sorted.
func (s *Snapshot) countShared(f Field, refs []aliasRef) (n int) {
	for group := range groups(refs, func(r aliasRef) int { return int(r.hash) }) {
		if len(group) == 1 {
			continue
		}
		users := map[string]int{}
		for _, r := range group {
			if at, ok := s.Find(r.id); ok {
				text := s.Field(at, f)
				if users[string(text)]++; users[string(text)] == 2 {
					n++
				}
			}
		}
	}
	return n
}

// An aliasEdit is an entry that comes or goes.
type aliasEdit struct {
	aliasRef
	bucket int
	text   string
	gone   bool
}

// withAliases gives next, which has the users already, the index of one kind:
// that of s, brought up to date with what differs for the users with these ids.
func (s *Snapshot) withAliases(f Field, next *Snapshot, ids []int64) error {
	x := s.aliases[f]
	var edits []aliasEdit
	note := func(id int64, text []byte, gone bool) {
		if len(text) > 0 {
			hash := maphash.Bytes(x.seed, text)
			edits = append(edits, aliasEdit{aliasRef{uint32(hash), id}, x.bucket(hash), string(text), gone})
		}
	}
	for _, id := range ids {
		var before, after []byte
		if at, ok := s.Find(id); ok {
			before = s.Field(at, f)
		}
		if at, ok := next.Find(id); ok {
			after = next.Field(at, f)
		}
		if !bytes.Equal(before, after) {
			note(id, before, true)
			note(id, after, false)
		}
	}
	if len(edits) == 0 {
		next.aliases[f] = x
		return nil
	}
	slices.SortFunc(edits, func(a, b aliasEdit) int { return cmp.Compare(a.bucket, b.bucket) })
	var changes []blockChange
	for group := range groups(edits, func(e aliasEdit) int { return e.bucket }) {
		bucket := group[0].bucket
		var refs []aliasRef
		if address := x.dir[bucket]; address != 0 {
			block := aliasBlock(x.at(address))
			for i := range block.len() {
				refs = append(refs, aliasRef{block.hash(i), block.id(i)})
			}
		}
		before := len(refs)
		gone := map[aliasRef]struct{}{}
		for _, e := range group {
			if e.gone {
				gone[e.aliasRef] = struct{}{}
			}
		}
		refs = slices.DeleteFunc(refs, func(r aliasRef) bool { _, ok := gone[r]; return ok })
		for _, e := range group {
			if !e.gone {
				refs = append(refs, e.aliasRef)
			}
		}
		x.entries += len(refs) - before
		changes = append(changes, blockChange{bucket, appendAliasBlock(nil, refs)})
	}
	if x.entries > 2*perBucket*len(x.dir) {
		var err error
		next.aliases[f], err = next.indexAliases(f)
		return err
	}
	blocks, err := x.with(changes, aliasBlockSize)
	if err != nil {
		return err
	}
	x.blocks = blocks
	next.aliases[f] = x
	// Which of the aliases that somebody gave up or took were, and are, shared?
	told := map[string]struct{}{}
	for _, e := range edits {
		if _, ok := told[e.text]; ok {
			continue
		}
		told[e.text] = struct{}{}
		_, before := s.FindAlias(f, e.text, nil)
		_, after := next.FindAlias(f, e.text, nil)
		next.aliases[f].shared += max(after, 1) - max(before, 1)
	}
	return nil
}
