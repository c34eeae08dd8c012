package rolegate

import (
	"slices"
	"strings"
)

// This file counts what is in the list, for a page that shows it.

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
