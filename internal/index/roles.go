package index

import (
	"fmt"
	"maps"
	"math"
	"math/bits"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
	"weak"
)

// MaxRoles is how many different role codes a gate tells apart at a time. A
// marketplace has tens; a list with more is not what it claims to be.
const MaxRoles = 1 << 16

// A RoleSpace numbers role codes. The number of a code that a check or the
// hierarchy names stays its own, so that a compiled check is right for every
// snapshot to come. The numbers of others are used again when there are no new
// ones left: those that occur in no snapshot and in no table that anybody still
// has, which the garbage collector tells. It is safe for concurrent use.
type RoleSpace struct {
	hierarchy // does not change

	mu    sync.Mutex
	ids   map[string]uint16
	codes []string // by number; "" if it is free
	free  []uint16
	fixed RoleSet                 // that a check or the hierarchy names
	uses  []weak.Pointer[RoleSet] // the numbers that each snapshot has in it
	fresh bool                    // a code has come or gone since table
	named map[string]bool         // codes that checks name, and whether one was reported: see firstReport
	news  chan struct{}           // has a value after a check has named another code

	table atomic.Pointer[RoleTable]
}

// A RoleTable is what a snapshot knows of a roleSpace. It is immutable.
type RoleTable struct {
	hierarchy
	ids   map[string]uint16
	codes []string // by number
}

// A hierarchy says which codes include which, turned round. All of them may be
// patterns.
type hierarchy struct {
	holders  map[string][]string // for a code or a pattern, every other that includes it
	patterns []string            // those of the keys of holders that are patterns
}

// holding calls f for every code or pattern whose roles count as code, but for
// code itself, until f returns false.
func (h *hierarchy) holding(code string, f func(holder string) bool) bool {
	if IsPattern(code) { // what includes any of the codes that it stands for
		for included, holders := range h.holders {
			for _, holder := range holders {
				if meet(code, included) && !f(holder) {
					return false
				}
			}
		}
		return true
	}
	for _, holder := range h.holders[code] {
		if !f(holder) {
			return false
		}
	}
	for _, included := range h.patterns {
		if !Matches(included, code) {
			continue
		}
		for _, holder := range h.holders[included] {
			if !f(holder) {
				return false
			}
		}
	}
	return true
}

// A HierarchyFault is a mistake in a role hierarchy.
type HierarchyFault struct {
	Code  string   // a blank code includes, or is included by, this one; if there is no cycle
	Cycle []string // each of which includes the next; the last is the first
}

// NewRoleSpace checks the hierarchy and returns its closure.
func NewRoleSpace(implies map[string][]string) (*RoleSpace, []HierarchyFault) {
	var faults []HierarchyFault
	for _, code := range slices.Sorted(maps.Keys(implies)) {
		if blankCode(code) || slices.ContainsFunc(implies[code], blankCode) {
			faults = append(faults, HierarchyFault{Code: code})
		}
	}
	holders := map[string][]string{}
	told := map[string]bool{} // codes in a cycle that was reported
	for _, code := range slices.Sorted(maps.Keys(implies)) {
		reached := map[string]bool{}
		path := []string{code}
		if loop := reach(implies, code, path, reached); loop != nil {
			if !told[loop[0]] {
				faults = append(faults, HierarchyFault{Cycle: loop})
				for _, c := range loop {
					told[c] = true
				}
			}
			continue
		}
		for included := range reached {
			holders[included] = append(holders[included], code)
		}
	}
	s := &RoleSpace{hierarchy: hierarchy{holders: holders}, ids: map[string]uint16{}, news: make(chan struct{}, 1)}
	for included, codes := range holders {
		sort.Strings(codes)
		if IsPattern(included) {
			s.patterns = append(s.patterns, included)
		}
		for _, code := range append([]string{included}, codes...) {
			if !IsPattern(code) {
				s.fix(code)
			}
		}
	}
	sort.Strings(s.patterns)
	s.Publish()
	return s, faults
}

// reach adds to reached every code and pattern that code includes, directly or
// not, and returns the path of a cycle if there is one. The first of a path is a
// key of the hierarchy: a pattern there stands for each of its codes alone, and so
// includes what all of them do. Elsewhere it stands for all of them at once, and
// includes what any of them does.
func reach(implies map[string][]string, code string, path []string, reached map[string]bool) []string {
	for _, key := range slices.Sorted(maps.Keys(implies)) {
		applies := key == code || covers(key, code) || len(path) > 1 && covers(code, key)
		if !applies || key != code && slices.Contains(path, key) { // the latter: what it includes is reached from there
			continue
		}
		for _, included := range implies[key] {
			if i := slices.Index(path, included); i >= 0 {
				return append(path[i:len(path):len(path)], included)
			}
			if reached[included] {
				continue
			}
			reached[included] = true
			if loop := reach(implies, included, append(slices.Clip(path), included), reached); loop != nil {
				return loop
			}
		}
	}
	return nil
}

func blankCode(s string) bool { return strings.TrimSpace(s) == "" }

// fix returns the number of a code, which stays its own; ok is false if there are
// too many.
func (s *RoleSpace) fix(code string) (id uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ids, ok := s.number([]string{code})
	if !ok {
		return 0, false
	}
	s.fixed = s.fixed.with(ids[0])
	return ids[0], true
}

// use returns the numbers of codes, new ones for those that are new, or, if there
// are too many, of none. They are in use for as long as somebody has the set that
// it returns too.
func (s *RoleSpace) use(codes []string) (ids []uint16, used *RoleSet, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ids, ok = s.number(codes); !ok {
		return nil, nil, false
	}
	used = new(RoleSet)
	for _, id := range ids {
		*used = used.with(id)
	}
	s.register(used)
	return ids, used, true
}

// keep says that the numbers in a set are in use for as long as somebody has what
// it returns.
func (s *RoleSpace) keep(roles RoleSet) (used *RoleSet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	used = new(RoleSet)
	*used = roles
	s.register(used)
	return used
}

func (s *RoleSpace) register(used *RoleSet) {
	if len(s.uses) == cap(s.uses) { // it grows: are all of them still there?
		s.uses = slices.DeleteFunc(s.uses, func(p weak.Pointer[RoleSet]) bool { return p.Value() == nil })
	}
	s.uses = append(s.uses, weak.Make(used))
}

// number needs mu.
func (s *RoleSpace) number(codes []string) (ids []uint16, ok bool) {
	need := 0
	for _, code := range codes {
		if _, known := s.ids[code]; !known {
			need++
		}
	}
	if !s.room(need) {
		if s.reclaim(codes); !s.room(need) {
			runtime.GC() // what nobody has any more may still look as if somebody had it
			s.reclaim(codes)
		}
		if !s.room(need) {
			return nil, false
		}
	}
	ids = make([]uint16, len(codes))
	for i, code := range codes {
		id, known := s.ids[code]
		if !known {
			code = strings.Clone(code) // it may be a piece of a page
			if last := len(s.free) - 1; last >= 0 {
				id, s.free = s.free[last], s.free[:last]
				s.codes[id] = code
			} else {
				id = uint16(len(s.codes))
				s.codes = append(s.codes, code)
			}
			s.ids[code] = id
			s.fresh = true
		}
		ids[i] = id
	}
	return ids, true
}

func (s *RoleSpace) room(need int) bool { return need <= MaxRoles-len(s.codes)+len(s.free) }

// reclaim frees the numbers that nobody uses, but for those of the codes that are
// about to be.
func (s *RoleSpace) reclaim(but []string) {
	used := slices.Clone(s.fixed)
	for _, code := range but {
		if id, known := s.ids[code]; known {
			used = used.with(id)
		}
	}
	for _, p := range s.uses {
		if roles := p.Value(); roles != nil {
			used = used.union(*roles)
		}
	}
	for id, code := range s.codes {
		if code != "" && !used.Has(uint16(id)) {
			delete(s.ids, code)
			s.codes[id] = ""
			s.free = append(s.free, uint16(id))
			s.fresh = true
		}
	}
}

// Publish returns a table of all codes so far; the same one if nothing is new.
func (s *RoleSpace) Publish() *RoleTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.table.Load(); t != nil && !s.fresh {
		return t
	}
	s.fresh = false
	t := &RoleTable{hierarchy: s.hierarchy, ids: maps.Clone(s.ids), codes: slices.Clone(s.codes)}
	s.table.Store(t)
	return t
}

// Satisfying returns the roles that count as code, which may be a pattern: itself
// and those that include it. The numbers stay theirs. Patterns stand for roles
// that may come later: see [Matches].
func (s *RoleSpace) Satisfying(code string) (roles []uint16, patterns []string) {
	add := func(code string) bool {
		if IsPattern(code) {
			if !slices.Contains(patterns, code) {
				patterns = append(patterns, code)
			}
			return true
		}
		id, ok := s.fix(code)
		if !ok {
			panic(fmt.Sprintf("rolegate: more than %d different role codes", MaxRoles))
		}
		if !slices.Contains(roles, id) {
			roles = append(roles, id)
		}
		return true
	}
	add(code)
	s.holding(code, add)
	return roles, patterns
}

// Counts reports whether the role with that number counts as code, which may be a
// pattern. It does not allocate.
func (t *RoleTable) Counts(role uint16, code string) bool {
	has := t.codes[role]
	return Matches(code, has) || !t.holding(code, func(holder string) bool { return !Matches(holder, has) })
}

// Name remembers that a check names the code, and has Named say so.
func (s *RoleSpace) Name(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil {
		s.named = map[string]bool{}
	}
	if _, known := s.named[code]; known {
		return
	}
	s.named[code] = false
	select {
	case s.news <- struct{}{}:
	default: // one is waiting, or nobody listens: the gate was never opened
	}
}

// NamedCodes returns the codes that checks name, sorted.
func (s *RoleSpace) NamedCodes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Sorted(maps.Keys(s.named))
}

// FirstReport reports whether it is called for the first time with that code,
// which a check names.
func (s *RoleSpace) FirstReport(code string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := !s.named[code]
	s.named[code] = true
	return first
}

// NewNames has a value after a check has named another code.
func (s *RoleSpace) NewNames() <-chan struct{} { return s.news }

// Code returns the code with that number.
func (t *RoleTable) Code(role uint16) string { return t.codes[role] }

// CodesIn returns the codes by number, "" in place of those that are not in used,
// and none behind the last that is.
func (t *RoleTable) CodesIn(used RoleSet) []string {
	codes := slices.Clone(t.codes)
	for i := range codes {
		if !used.Has(uint16(i)) {
			codes[i] = ""
		}
	}
	for len(codes) > 0 && codes[len(codes)-1] == "" {
		codes = codes[:len(codes)-1]
	}
	return codes
}

// Size is how many codes have a number.
func (t *RoleTable) Size() int { return len(t.ids) }

// A RoleSet has a bit for each role number.
type RoleSet []uint64

// Has reports whether the role with that number is in the set.
func (s RoleSet) Has(role uint16) bool {
	return int(role/64) < len(s) && s[role/64]>>(role%64)&1 == 1
}

// WithGrants adds the roles of some grants.
func (s RoleSet) WithGrants(gs Grants) RoleSet {
	for i := range gs.Len() {
		if role := gs.Role(i); !s.Has(role) {
			s = s.with(role)
		}
	}
	return s
}

func (s RoleSet) union(other RoleSet) RoleSet {
	for len(s) < len(other) {
		s = append(s, 0)
	}
	for i, word := range other {
		s[i] |= word
	}
	return s
}

func (s RoleSet) with(role uint16) RoleSet {
	for int(role/64) >= len(s) {
		s = append(s, 0)
	}
	s[role/64] |= 1 << (role % 64)
	return s
}

// lowestMissing returns the lowest number that is not in the set.
func (s RoleSet) lowestMissing() int {
	for i, word := range s {
		if word != math.MaxUint64 {
			return 64*i + bits.TrailingZeros64(^word)
		}
	}
	return 64 * len(s)
}

// Assigns reports whether a listed user has a role that counts as code, which may
// be a pattern, or has had one since the last full refresh.
func (s *Snapshot) Assigns(code string) bool {
	for role, assigned := range s.Roles.codes {
		if assigned != "" && s.Assigned.Has(uint16(role)) && s.Roles.Counts(uint16(role), code) {
			return true
		}
	}
	return false
}

// AssignedCodes lists the codes of the roles of which assigns is true.
func (s *Snapshot) AssignedCodes() (codes []string) {
	for role, code := range s.Roles.codes {
		if s.Assigned.Has(uint16(role)) {
			codes = append(codes, code)
		}
	}
	return codes
}
