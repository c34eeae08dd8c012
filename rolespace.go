package rolegate

import (
	"fmt"
	"maps"
	"slices"
	"sort"
	"strings"
	"sync"
	"sync/atomic"
)

// maxRoles is how many different role codes a gate tells apart. A marketplace
// has tens; a list with more is not what it claims to be.
const maxRoles = 1 << 16

// A roleSpace numbers role codes. Numbers are never used again for another
// code, so that a compiled check stays right for every snapshot to come.
type roleSpace struct {
	// holders is the role hierarchy turned round: for a code, every other code
	// that includes it. It does not change.
	holders map[string][]string

	mu    sync.Mutex
	ids   map[string]uint16
	codes []string
	named map[string]bool // codes that checks name, and whether the log was told that nobody holds them
	news  chan struct{}   // has a value after a check has named another code

	table atomic.Pointer[roleTable]
}

// A roleTable is what a snapshot knows of a roleSpace. It is immutable.
type roleTable struct {
	ids     map[string]uint16
	codes   []string // by number
	holders map[string][]string
}

// newRoleSpace checks the hierarchy and returns its closure.
func newRoleSpace(implies map[string][]string) (*roleSpace, []error) {
	var errs []error
	for _, code := range slices.Sorted(maps.Keys(implies)) {
		if isBlank(code) || slices.ContainsFunc(implies[code], isBlank) {
			errs = append(errs, mistake("Implies[%q]: a role code is empty: give every code as the marketplace spells it", code))
		}
	}
	holders := map[string][]string{}
	told := map[string]bool{} // codes in a cycle that was reported
	for _, code := range slices.Sorted(maps.Keys(implies)) {
		reached := map[string]bool{}
		path := []string{code}
		if loop := reach(implies, code, path, reached); loop != nil {
			if !told[loop[0]] {
				errs = append(errs, mistake("Implies: %s is a cycle: leave one of these out", strings.Join(quoteAll(loop), " → ")))
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
	s := &roleSpace{holders: holders, ids: map[string]uint16{}, news: make(chan struct{}, 1)}
	for included, codes := range holders {
		sort.Strings(codes)
		s.intern(included)
		for _, code := range codes {
			s.intern(code)
		}
	}
	s.publish()
	return s, errs
}

// reach adds to reached every code that code includes, directly or not, and
// returns the path of a cycle if there is one.
func reach(implies map[string][]string, code string, path []string, reached map[string]bool) []string {
	for _, included := range implies[code] {
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
	return nil
}

func quoteAll(codes []string) []string {
	quoted := make([]string, len(codes))
	for i, code := range codes {
		quoted[i] = fmt.Sprintf("%q", code)
	}
	return quoted
}

func isBlank(s string) bool { return strings.TrimSpace(s) == "" }

// intern returns the number of a code, a new one if it is new; ok is false if
// there are too many.
func (s *roleSpace) intern(code string) (id uint16, ok bool) {
	ids, ok := s.internAll([]string{code})
	if !ok {
		return 0, false
	}
	return ids[0], true
}

// internAll does so for several codes, or for none of them.
func (s *roleSpace) internAll(codes []string) (ids []uint16, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fresh := 0
	for _, code := range codes {
		if _, known := s.ids[code]; !known {
			fresh++
		}
	}
	if len(s.codes)+fresh > maxRoles {
		return nil, false
	}
	ids = make([]uint16, len(codes))
	for i, code := range codes {
		id, known := s.ids[code]
		if !known {
			id = uint16(len(s.codes))
			code = strings.Clone(code) // it may be a piece of a page
			s.codes = append(s.codes, code)
			s.ids[code] = id
		}
		ids[i] = id
	}
	return ids, true
}

// publish returns a table of all codes so far; the same one if there are no
// new ones.
func (s *roleSpace) publish() *roleTable {
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.table.Load(); t != nil && len(t.codes) == len(s.codes) {
		return t
	}
	t := &roleTable{ids: maps.Clone(s.ids), codes: slices.Clone(s.codes), holders: s.holders}
	s.table.Store(t)
	return t
}

// satisfying returns the numbers of the roles that count as code: itself and
// those that include it.
func (s *roleSpace) satisfying(code string) []uint16 {
	ids := make([]uint16, 0, 1+len(s.holders[code]))
	for _, c := range append([]string{code}, s.holders[code]...) {
		id, ok := s.intern(c)
		if !ok {
			panic(fmt.Sprintf("rolegate: more than %d different role codes", maxRoles))
		}
		ids = append(ids, id)
	}
	return ids
}

// counts reports whether the role with that number counts as code.
func (t *roleTable) counts(role uint16, code string) bool {
	if t.codes[role] == code {
		return true
	}
	for _, c := range t.holders[code] {
		if t.codes[role] == c {
			return true
		}
	}
	return false
}
