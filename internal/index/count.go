package index

import (
	"slices"
	"strings"
	"sync"
	"weak"
)

// Counts is what a snapshot has in it, counted.
type Counts struct {
	Users        int // listed users
	WithoutRoles int // those of them without any role
	Invalid      int // users who are not listed for an invalid record
	Orgs         int // organisations in which somebody has a role

	// roles has the roles that somebody has, by how many do, most first.
	Roles []RoleCount
}

// A RoleCount says how many have a role themselves: the hierarchy does not count.
type RoleCount struct {
	Code  string
	Users int
	Orgs  int // in which somebody has it
}

// Count counts what is in the snapshot. It looks at every user.
func (s *Snapshot) Count() Counts {
	c := Counts{Users: s.Users}
	users := make([]int, len(s.Roles.codes)) // by role number
	inOrgs := map[Grant]struct{}{}
	recent := make([]Grant, 1<<14)          // of those in the map: most of a list's grants are alike
	seen := make([]int, len(s.Roles.codes)) // the last user who was counted for a role
	n := 0
	s.Each(func(_ int64, at Place, invalid bool) {
		if invalid {
			c.Invalid++
			return
		}
		n++
		gs := s.Grants(at)
		if gs.Len() == 0 {
			c.WithoutRoles++
		}
		for i := range gs.Len() {
			role := gs.Role(i)
			if seen[role] != n {
				seen[role] = n
				users[role]++
			}
			g := Grant{gs.Org(i), role}
			if r := &recent[hashID(g.Org, uint64(role))%uint64(len(recent))]; *r != g {
				*r = g
				inOrgs[g] = struct{}{}
			}
		}
	})
	orgs := map[int64]struct{}{}
	perRole := make([]int, len(s.Roles.codes))
	for g := range inOrgs {
		orgs[g.Org] = struct{}{}
		perRole[g.Role]++
	}
	c.Orgs = len(orgs)
	for role, code := range s.Roles.codes {
		if users[role] > 0 {
			c.Roles = append(c.Roles, RoleCount{code, users[role], perRole[role]})
		}
	}
	slices.SortFunc(c.Roles, func(a, b RoleCount) int {
		if a.Users != b.Users {
			return b.Users - a.Users
		}
		return strings.Compare(a.Code, b.Code)
	})
	return c
}

// A LastCount remembers what was counted last, and of which snapshot. It does not
// keep that in memory. The zero LastCount is ready. It is safe for concurrent use.
type LastCount struct {
	mu       sync.Mutex
	snapshot weak.Pointer[Snapshot]
	last     Counts
}

// Of counts what is in the snapshot, unless that is the one that was counted last.
// It blocks those who ask meanwhile. The slice is not the caller's to change.
func (l *LastCount) Of(s *Snapshot) Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot.Value() != s {
		l.snapshot, l.last = weak.Make(s), s.Count()
	}
	return l.last
}
