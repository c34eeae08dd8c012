package rolegate

import (
	"errors"
	"hash/maphash"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
)

// This file makes the tables and snapshots that store.go describes.

// A row is one user on the way into a table.
type row struct {
	id, sequence int64
	grants       []grant // sorted, each once
	text         [numFields]string
	removed      bool
}

// rowOf reads a row back from a table.
func rowOf(t *table, at uint32) row {
	r := row{id: t.slots[at].id, removed: t.slots[at].n == removed, grants: t.grantsOf(at)}
	if r.removed {
		return r
	}
	for f := range numFields {
		r.text[f] = t.field(at, f)
	}
	return r
}

// same reports whether two rows say the same of their user.
func (r row) same(other row) bool {
	return r.id == other.id && r.removed == other.removed &&
		slices.Equal(r.grants, other.grants) && r.text == other.text
}

// A tableBuilder collects rows. Only one goroutine uses it.
type tableBuilder struct {
	t        table
	sequence []int64 // by slot
	used     int     // slots that are not empty
	text     strings.Builder

	// What was noticed: the same user more than once, and those of them whose
	// roles differed.
	duplicates, conflicts int
}

// newTableBuilder makes room for about expect users.
func newTableBuilder(fields fieldSet, expect int) *tableBuilder {
	b := &tableBuilder{}
	b.t.fields = fields
	b.t.seed = rand.Uint64()
	b.resize(slotsFor(expect))
	return b
}

// slotsFor keeps a quarter of the slots empty, and always one.
func slotsFor(users int) int { return users + users/3 + 1 }

// resize moves everything to a table of n slots.
func (b *tableBuilder) resize(n int) {
	old, oldSequence, oldText := b.t.slots, b.sequence, b.t.textAt
	b.t.slots, b.sequence = make([]slot, n), make([]int64, n)
	if b.t.fields != 0 {
		b.t.textAt = make([]uint32, n)
	}
	for i, s := range old {
		if s.id == 0 {
			continue
		}
		at := b.slotFor(s.id)
		b.t.slots[at], b.sequence[at] = s, oldSequence[i]
		if b.t.fields != 0 {
			b.t.textAt[at] = oldText[i]
		}
	}
}

// slotFor returns the user's slot, or the empty one where he would go.
func (b *tableBuilder) slotFor(id int64) int {
	for i := home(hashID(id, b.t.seed), len(b.t.slots)); ; {
		if s := b.t.slots[i].id; s == id || s == 0 {
			return i
		}
		if i++; i == len(b.t.slots) {
			i = 0
		}
	}
}

// errTooLarge is more than 32-bit positions can address.
var errTooLarge = errors.New("the list is larger than the index can hold (4 GiB of text or of grants)")

// put adds a row. Of two rows of one user the higher sequence stays, and of
// equal ones the later; a removed user stays removed.
func (b *tableBuilder) put(r *row) error {
	if slotsFor(b.used+1) > len(b.t.slots) {
		b.resize(2*len(b.t.slots) + 8)
	}
	at := b.slotFor(r.id)
	s := &b.t.slots[at]
	if s.id == 0 {
		b.used++
	} else {
		if s.n != removed && !r.removed {
			b.duplicates++
			if !slices.Equal(b.t.grants[s.first:s.first+s.n], r.grants) {
				b.conflicts++
			}
		}
		if s.n == removed || !r.removed && b.sequence[at] > r.sequence {
			return nil
		}
		if s.n != removed {
			b.t.users--
		}
	}
	s.id = r.id
	b.sequence[at] = r.sequence
	if r.removed {
		s.first, s.n = 0, removed
		return nil
	}
	if uint64(len(b.t.grants))+uint64(len(r.grants)) > math.MaxUint32 || uint64(b.text.Len()) > math.MaxUint32 {
		return &PullError{Failure: FailureTooLarge, Err: errTooLarge}
	}
	s.first, s.n = uint32(len(b.t.grants)), uint32(len(r.grants))
	b.t.grants = append(b.t.grants, r.grants...)
	b.t.users++
	if b.t.fields != 0 {
		b.t.textAt[at] = uint32(b.text.Len())
		for f := range numFields {
			if b.t.fields.has(f) {
				appendField(&b.text, r.text[f])
			}
		}
	}
	return nil
}

// renumber gives the roles from first on the numbers in ids.
func (b *tableBuilder) renumber(first uint32, ids []uint32) {
	for _, s := range b.t.slots {
		if s.id == 0 || s.n == removed {
			continue
		}
		gs, changed := b.t.grants[s.first:s.first+s.n], false
		for i := range gs {
			if gs[i].role >= first {
				gs[i].role, changed = ids[gs[i].role-first], true
			}
		}
		if changed {
			sortGrants(gs)
		}
	}
}

// finish returns the table; the builder is spent.
func (b *tableBuilder) finish(indexed kindSet) *table {
	if fit := slotsFor(b.used); len(b.t.slots) > fit+fit/4 {
		b.resize(fit) // a first walk did not know how many would come
	}
	if cap(b.t.grants) > len(b.t.grants)+len(b.t.grants)/8+16 {
		b.t.grants = append(make([]grant, 0, len(b.t.grants)), b.t.grants...)
	}
	b.t.text = b.text.String()
	for k := KindAccount; k < kinds; k++ {
		if indexed.has(k) {
			b.t.aliases[k] = indexAliases(&b.t, k)
		}
	}
	b.sequence = nil
	return &b.t
}

func indexAliases(t *table, k Kind) aliasIndex {
	named := 0
	for i := range t.slots {
		if at := uint32(i); t.live(at) && t.field(at, k.field()) != "" {
			named++
		}
	}
	x := aliasIndex{entries: make([]uint32, slotsFor(named)), seed: maphash.MakeSeed()}
	for i := range t.slots {
		at := uint32(i)
		if !t.live(at) {
			continue
		}
		text := t.field(at, k.field())
		if text == "" {
			continue
		}
		entry := x.probe(t, k, text)
		first := x.entries[entry]
		if first == 0 {
			x.entries[entry] = at + 1
			continue
		}
		if x.next == nil {
			x.next = map[uint32]uint32{}
		}
		second, shared := x.next[first-1]
		if shared {
			x.next[at] = second
		} else {
			x.shared = append(x.shared, first-1)
		}
		x.next[first-1] = at
	}
	return x
}

// newSnapshot is a snapshot of one table.
func newSnapshot(base *table, roles *roleSpace) *snapshot {
	s := &snapshot{base: base, roles: roles.publish(), users: base.users}
	for i := range base.slots {
		if at := uint32(i); base.live(at) {
			s.grants += int(base.slots[at].n)
			s.holding(base.grantsOf(at))
		}
	}
	s.countAmbiguous()
	return s
}

// holding notes that somebody holds these roles.
func (s *snapshot) holding(gs []grant) {
	for _, g := range gs {
		if !s.held.has(g.role) {
			s.held = s.held.with(g.role)
		}
	}
}

// with returns the snapshot that has these changes too; the same snapshot if
// they change nothing. The cost is that of the changes since base, until they
// are an eighth of it: then there is a new base.
func (s *snapshot) with(changes *table, roles *roleSpace, indexed kindSet) (*snapshot, error) {
	next := &snapshot{base: s.base, users: s.users, grants: s.grants, held: slices.Clone(s.held)}
	expect := changes.users
	if s.over != nil {
		expect += len(s.over.slots)
	}
	b := newTableBuilder(s.base.fields, expect)
	for i := range changes.slots {
		at := uint32(i)
		if changes.slots[at].id == 0 {
			continue
		}
		now := rowOf(changes, at)
		before := row{id: now.id, removed: true}
		t, was, listed := s.find(now.id)
		if listed {
			before = rowOf(t, was)
		}
		if now.same(before) && (!now.removed || s.barred(now.id)) {
			continue
		}
		if listed {
			next.users--
		}
		if !now.removed {
			next.users++
		}
		next.grants += len(now.grants) - len(before.grants)
		next.holding(now.grants)
		if err := b.put(&now); err != nil {
			return nil, err
		}
	}
	if b.used == 0 {
		return s, nil
	}
	if s.over != nil {
		for i := range s.over.slots {
			at := uint32(i)
			id := s.over.slots[at].id
			if id == 0 || b.has(id) {
				continue
			}
			r := rowOf(s.over, at)
			if err := b.put(&r); err != nil {
				return nil, err
			}
		}
	}
	next.over = b.finish(indexed)
	if len(next.over.slots) > 4096 && len(next.over.slots) > len(s.base.slots)/8 {
		base, err := next.merged(indexed)
		if err != nil {
			return nil, err
		}
		return newSnapshot(base, roles), nil
	}
	next.roles = roles.publish()
	next.countAmbiguous()
	return next, nil
}

// has reports whether there is a row of that user.
func (b *tableBuilder) has(id int64) bool { return b.t.slots[b.slotFor(id)].id == id }

// merged returns one table that says what base and over say together.
func (s *snapshot) merged(indexed kindSet) (*table, error) {
	b := newTableBuilder(s.base.fields, s.users)
	var failed error
	s.eachUser(func(t *table, at uint32) {
		r := rowOf(t, at)
		if err := b.put(&r); err != nil {
			failed = err
		}
	})
	if failed != nil {
		return nil, failed
	}
	return b.finish(indexed), nil
}

// countAmbiguous counts the aliases that two or more listed users share.
func (s *snapshot) countAmbiguous() {
	for k := KindAccount; k < kinds; k++ {
		candidates := map[string]struct{}{}
		for _, at := range s.base.aliases[k].shared {
			candidates[s.base.field(at, k.field())] = struct{}{}
		}
		if s.over != nil && len(s.over.aliases[k].entries) > 0 {
			for i := range s.over.slots {
				if at := uint32(i); s.over.live(at) {
					candidates[s.over.field(at, k.field())] = struct{}{}
				}
			}
		}
		s.ambiguous[k] = 0
		for text := range candidates {
			if _, _, found := s.findAlias(k, text, nil); found > 1 {
				s.ambiguous[k]++
			}
		}
	}
}

// sortGrants puts grants into the order of a row and returns each once.
func sortGrants(gs []grant) []grant {
	slices.SortFunc(gs, func(a, b grant) int {
		if a.org() != b.org() {
			if a.org() < b.org() {
				return -1
			}
			return 1
		}
		return int(a.role) - int(b.role)
	})
	return slices.Compact(gs)
}
