package benchmarks

import (
	"net/http"
	"strconv"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
)

// casbinDomains is casbin's RBAC with domains, as its documents have it: a
// policy says what a role may do in one domain, so that there is one for each
// organisation and role that may pass.
const casbinDomains = `
[request_definition]
r = sub, dom, obj, act

[policy_definition]
p = sub, dom, obj, act

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = g(r.sub, p.sub, r.dom) && r.dom == p.dom && r.obj == p.obj && r.act == p.act
`

// The route that casbin is asked about, the only one of its app.
const casbinRoute = "/grades"

// loadCasbin loads casbin, in bulk. Its CachedEnforcer is not asked: it answers
// from a map of earlier answers, which outlive a change of roles.
func loadCasbin(w *workload) (decider, error) {
	var policies [][]string
	for i := range organisations {
		for _, role := range []uint16{teacher, admin} {
			policies = append(policies, []string{roleCodes[role], strconv.FormatInt(orgID(i), 10), casbinRoute, http.MethodGet})
		}
	}
	e, err := newEnforcer(casbinDomains, policies, w, inDomain)
	if err != nil {
		return nil, err
	}
	return func(q *namedQuestion) bool {
		ok, err := e.Enforce(q.userName, q.orgName, casbinRoute, http.MethodGet)
		if err != nil {
			panic(err)
		}
		return ok
	}, nil
}

// casbinReduced is the same reduced by hand to what is asked, as kind to casbin
// as can be: the two roles that pass, in whatever organisation, are all of the
// policy, and there is no route in it.
const casbinReduced = `
[request_definition]
r = sub, dom

[policy_definition]
p = sub

[role_definition]
g = _, _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
m = g(r.sub, p.sub, r.dom)
`

func loadCasbinReduced(w *workload) (decider, error) {
	e, err := newEnforcer(casbinReduced, [][]string{{roleCodes[teacher]}, {roleCodes[admin]}}, w, inDomain)
	if err != nil {
		return nil, err
	}
	return func(q *namedQuestion) bool {
		ok, err := e.Enforce(q.userName, q.orgName)
		if err != nil {
			panic(err)
		}
		return ok
	}, nil
}

// inDomain is the rule of a grant in RBAC with domains.
func inDomain(user string, g grant) []string {
	return []string{user, roleCodes[g.role], strconv.FormatInt(g.org, 10)}
}

// newEnforcer makes an enforcer of a model, its policies, and a rule for each
// grant.
func newEnforcer(conf string, policies [][]string, w *workload, rule func(user string, g grant) []string) (*casbin.Enforcer, error) {
	m, err := model.NewModelFromString(conf)
	if err != nil {
		return nil, err
	}
	e, err := casbin.NewEnforcer(m)
	if err != nil {
		return nil, err
	}
	return e, fill(e, policies, w, rule)
}

// fill adds the policies to an enforcer of whichever version, and a rule for each
// grant.
func fill(e interface {
	AddPolicies(rules [][]string) (bool, error)
	AddGroupingPoliciesEx(rules [][]string) (bool, error)
}, policies [][]string, w *workload, rule func(user string, g grant) []string) error {
	if _, err := e.AddPolicies(policies); err != nil {
		return err
	}
	var (
		buf   [3]grant
		rules [][]string
	)
	for i := range w.size {
		user := strconv.FormatInt(w.userID(i), 10)
		for _, g := range w.grants(buf[:], i) {
			rules = append(rules, rule(user, g))
		}
	}
	_, err := e.AddGroupingPoliciesEx(rules) // passes over a rule that is there twice
	return err
}
