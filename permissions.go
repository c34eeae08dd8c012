package rolegate

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"

	"github.com/rolegate/rolegate/internal/permits"
	"github.com/rolegate/rolegate/internal/policy"
)

// This file tells front ends what their user may do. It decides nothing: the
// guards on the routes do.

// Permissions makes a handler that tells a front end which menus and buttons to
// show: who the user of the request is, in which organisations they have which
// roles, and which of the named policies hold for them. It is guarded by
// [Gate.Admit]: whoever is refused there gets that refusal. The answer is never
// cached, and its ids are strings, since JavaScript rounds numbers above 2^53:
//
//	{
//	  "user_id": "1542135022016057002",
//	  "permissions": ["grades.read"],
//	  "conditional": [],
//	  "orgs": [
//	    {"org_id": "7", "roles": ["homeroom", "teacher"], "permissions": ["grades.read", "reports.file"], "conditional": ["grades.edit"]},
//	    {"org_id": "8", "roles": ["teacher"], "permissions": ["grades.read"], "conditional": ["grades.edit"]}
//	  ]
//	}
//
// A policy is best the one that guards the route, and the answer is what that guard
// would decide. One without [InOrg] does not depend on the organisation: it stands
// in the list outside of them, and in each of them. One with InOrg stands only in
// the organisations in which it holds; its func is not called. With the query
// org=7 the answer has that organisation alone, whether the user has a role there
// or not: so a front end asks about the organisations that only a role of
// [Everywhere] opens. The roles are as they were granted, without the hierarchy of
// Config.Implies.
//
// A policy with a [Where] is conditional if it holds provided that the Where does:
// only the request itself can tell. Nothing waits for a [MaxAge]: the answer is by
// the list in memory, and the guard may refuse until a full refresh. Likewise only
// whoever is not listed is looked up again before they are refused, see [OnDeny]. A
// policy with [Shadow] holds for every listed user, since its guard lets them pass.
//
// Only the admission is counted, logged and reported. A method other than GET and
// HEAD is answered 405, and an org that is not a decimal number above 0 is answered
// 400. The handler is safe for concurrent use. Permissions panics if a name is
// empty, and on a policy that this gate has not made.
func (g *Gate) Permissions(policies map[string]*Policy) http.Handler {
	h := permissions{names: slices.Sorted(maps.Keys(policies))}
	for _, name := range h.names {
		p := policies[name]
		if isBlank(name) {
			panic("rolegate: Permissions: a policy has an empty name: give the one that the front end asks for")
		}
		if p == nil || p.program == nil || p.gate != g {
			panic(fmt.Sprintf("rolegate: Permissions: this gate has not made the policy %q: make it with its Policy", name))
		}
		h.policies = append(h.policies, p)
	}
	return g.Admit(permits.Handler{Of: func(r *http.Request, org int64) permits.User {
		user, _ := g.UserFrom(r.Context())
		return h.of(user, org)
	}})
}

// permissions are named policies.
type permissions struct {
	names    []string // ascending
	policies []*Policy
}

// of tells what a user may do, in one organisation or, if org is 0, in each of
// theirs. All of it is by one list: the one by which they were admitted.
func (h permissions) of(u User, org int64) permits.User {
	all := permits.User{List: permits.NewList(), Orgs: []permits.Org{}}
	if u.s != nil {
		all.UserID = strconv.FormatInt(u.ID(), 10)
	}
	if org != 0 {
		all.Orgs = append(all.Orgs, permits.Org{OrgID: org, Roles: append([]string{}, u.rolesIn(org)...), List: permits.NewList()})
	} else {
		all.Orgs = u.orgPermissions()
	}
	for i, p := range h.policies {
		name := h.names[i]
		if p.org != nil && u.s != nil {
			p.permitsIn(u, org, all.Orgs, name)
			continue
		}
		held := p.permits(u)
		add(&all.List, name, held)
		for i := range all.Orgs {
			add(&all.Orgs[i].List, name, held)
		}
	}
	return all
}

// add adds a policy to a list by what it comes to.
func add(to *permits.List, name string, v policy.Verdict) {
	to.Add(name, v == policy.Passes, v == policy.ConditionFailed)
}

// orgPermissions returns the user's organisations with their roles, ascending.
func (u User) orgPermissions() []permits.Org {
	all := []permits.Org{}
	gs := u.grants()
	for i, from := 0, 0; i < gs.Len(); i++ {
		if i+1 < gs.Len() && gs.Org(i+1) == gs.Org(i) {
			continue
		}
		var roles []uint16
		for ; from <= i; from++ {
			roles = append(roles, gs.Role(from))
		}
		all = append(all, permits.Org{OrgID: gs.Org(i), Roles: u.codes(roles), List: permits.NewList()})
	}
	return all
}

// permits is what a guard with the policy, which looks at no organisation, comes to
// for an admitted user; also, whatever the policy, for one who is not listed, but
// admitted by Config.ShadowAdmit.
func (p *Policy) permits(u User) policy.Verdict {
	switch {
	case u.s == nil && p.store.cfg.ShadowAdmit && (p.shadow || p.admits):
		return policy.Passes
	case u.s == nil:
		return policy.RoleMissing
	}
	return p.shadowed(p.program.Depends(u.subject(), 0))
}

// shadowed is what a verdict comes to: a shadow lets pass.
func (p *Policy) shadowed(v policy.Verdict) policy.Verdict {
	if p.shadow {
		return policy.Passes
	}
	return v
}

// permitsIn adds the policy, which has InOrg, to the organisations in which it holds:
// org, or each of the user's if that is 0.
func (p *Policy) permitsIn(u User, org int64, to []permits.Org, name string) {
	if org != 0 {
		add(&to[0].List, name, p.shadowed(p.program.Depends(u.subject(), org)))
		return
	}
	for i, v := range p.program.DependsEach(u.subject()) {
		add(&to[i].List, name, p.shadowed(v))
	}
}
