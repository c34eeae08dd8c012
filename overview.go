package rolegate

import (
	"slices"
	"strings"
	"sync"
	"weak"
)

// This file counts what is in the list, for a page that shows it.

// An Overview is what the list has in it, counted. It is free of personal data.
type Overview struct {
	Generation uint64 // the list that it is of: see Status.Generation; 0 if there is none yet
	Users      int    // listed users
	Roleless   int    // those of them without any role
	Barred     int    // users who are out because their record could not be understood
	Orgs       int    // organisations in which somebody has a role

	// Roles has the role codes that somebody holds, by how many do, most first.
	Roles []RoleHolders
}

// RoleHolders says how many hold a role: those to whom the marketplace has
// granted it, without the hierarchy of Config.Implies.
type RoleHolders struct {
	Code  string
	Users int
	Orgs  int // organisations in which somebody holds it
}

// Overview counts what is in the list. It looks at every user, once for each
// list that differs from the one before: about a third of a second for a million
// users with two roles each. It blocks who asks meanwhile, but no request and no
// pull. The slice is the
// caller's own. Before the first list it is the zero Overview.
func (g *Gate) Overview() Overview {
	if g == nil {
		return Overview{}
	}
	gen := g.now.Load()
	if gen == nil {
		return Overview{}
	}
	o := g.overview.of(gen.snapshot)
	o.Generation = gen.number
	return o
}

// HeldUsers returns the lowest most ids of the users who are gone from the list,
// but whose removal is held back: see Status.Held.
func (g *Gate) HeldUsers(most int) []int64 {
	if g == nil {
		return nil
	}
	gen := g.now.Load()
	if gen == nil || gen.hold == nil {
		return nil
	}
	ids := make([]int64, 0, len(gen.hold.users))
	for id := range gen.hold.users {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Clone(ids[:max(0, min(most, len(ids)))])
}

// A lastOverview remembers what was counted last, and of which snapshot. It does
// not keep that in memory.
type lastOverview struct {
	mu       sync.Mutex
	snapshot weak.Pointer[snapshot]
	last     Overview
}

func (l *lastOverview) of(s *snapshot) Overview {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot.Value() != s {
		l.snapshot, l.last = weak.Make(s), s.overview()
	}
	o := l.last
	o.Roles = slices.Clone(o.Roles)
	return o
}

func (s *snapshot) overview() Overview {
	o := Overview{Users: s.users}
	users := make([]int, len(s.roles.codes)) // by role number
	inOrgs := map[grant]struct{}{}
	recent := make([]grant, 1<<14)          // of those in the map: most of a list's grants are alike
	seen := make([]int, len(s.roles.codes)) // the last user who was counted for a role
	n := 0
	s.each(func(_ int64, at place, barred bool) {
		if barred {
			o.Barred++
			return
		}
		n++
		gs := s.grantsOf(at)
		if gs.len() == 0 {
			o.Roleless++
		}
		for i := range gs.len() {
			role := gs.role(i)
			if seen[role] != n {
				seen[role] = n
				users[role]++
			}
			g := grant{gs.org(i), role}
			if r := &recent[hashID(g.org, uint64(role))%uint64(len(recent))]; *r != g {
				*r = g
				inOrgs[g] = struct{}{}
			}
		}
	})
	orgs := map[int64]struct{}{}
	perRole := make([]int, len(s.roles.codes))
	for g := range inOrgs {
		orgs[g.org] = struct{}{}
		perRole[g.role]++
	}
	o.Orgs = len(orgs)
	for role, code := range s.roles.codes {
		if users[role] > 0 {
			o.Roles = append(o.Roles, RoleHolders{Code: code, Users: users[role], Orgs: perRole[role]})
		}
	}
	slices.SortFunc(o.Roles, func(a, b RoleHolders) int {
		if a.Users != b.Users {
			return b.Users - a.Users
		}
		return strings.Compare(a.Code, b.Code)
	})
	return o
}
