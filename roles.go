package rolegate

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/index"
)

// This file is what a route can ask for, and how that compiles. policy.go
// judges with it.

// An Option is one argument of [Gate.Require] and [Gate.Policy]: a [Check], or
// a modifier such as [InOrg] and [Shadow].
type Option interface {
	// addTo adds the option to a policy that is being made.
	addTo(*policySpec)
}

// A Check is something that must hold for a user to pass: [AnyRole],
// [AllRoles], [NoRole], [Listed], [Where] or [Either]. A nil Check is a mistake
// that panics when the route is registered.
type Check interface {
	Option
	// name is how logs and route listings write it.
	name() string
	// compile turns it into a node over the terms of c.
	compile(c *compiler) node
}

// AnyRole holds for a user who has at least one of these roles, in the
// organisation that is looked at: see [Gate.Require]. A role counts as every
// role that Config.Implies says it includes. Codes compare byte for byte.
//
// It panics if there is no code, or an empty one.
func AnyRole(codes ...string) Check { return newRoleCheck(opAny, codes) }

// AllRoles holds for a user who has every one of these roles, all in one same
// organisation. It panics if there is no code, or an empty one.
func AllRoles(codes ...string) Check { return newRoleCheck(opAll, codes) }

// NoRole holds for a user who has none of these roles, nor one that includes
// them: with [InOrg] in that organisation, without it in any. It panics if
// there is no code, or an empty one. It fails for a user with a grant that was
// dropped, because it had no organisation above 0 or no role code: that may have
// been one of these.
//
// A role that the marketplace takes away shows only at the next full walk, and
// one that it adds at the next incremental pull: so does what NoRole says.
func NoRole(codes ...string) Check { return newRoleCheck(opNone, codes) }

// Listed holds for every user who is on the list. It is for a [Policy] that
// asks for nothing more, as [Gate.Admit] does for a route. Beside an [InOrg] it
// holds in every organisation, also where the user has no role.
func Listed() Check { return listedCheck{} }

// Where holds when f says so. It is for what only the app knows: whose
// document it is, whether the term has begun. The name is for logs and route
// listings.
//
// f runs in the request's goroutine, at most once for each decision, and after
// everything beside it that only roles decide; within an [Either], in the order
// given. A request is decided again, and f runs again, if the gate has pulled
// meanwhile ([OnDeny], [MaxAge]). It gets the user of the decision, who is
// valid for the request, and must not change the request. A panic in it is
// recovered and logged, and denies. In a [Policy] that decides without a
// request it denies without being called.
func Where(name string, f func(User, *http.Request) bool) Check {
	if isBlank(name) {
		panic("rolegate: Where: give the condition a name: operators read it in the log")
	}
	if f == nil {
		panic(fmt.Sprintf("rolegate: Where(%q): the func is nil", name))
	}
	return whereCheck{label: name, f: f}
}

// Either holds when at least one of the checks holds, tried in this order. It
// panics if there is none, or a nil one.
func Either(checks ...Check) Check {
	if len(checks) == 0 {
		panic("rolegate: Either: give at least one check")
	}
	for i, c := range checks {
		if c == nil {
			panic(fmt.Sprintf("rolegate: Either: argument %d is nil", i+1))
		}
	}
	return eitherCheck{checks: slices.Clone(checks)}
}

// InOrg names the organisation in which every role of the guard is looked for:
// f reads its id from the request. [PathOrg] is the usual f. An error, and an
// id that is not above 0, deny the request with [ReasonOrgUnreadable]. The handler
// gets the id that was checked from [Gate.OrgFrom], so that guard and handler
// cannot differ.
//
// f runs in the request's goroutine, once for each guard; a panic in it is
// recovered and logged, and denies. The text of an error is logged as it is:
// keep personal data out of it.
func InOrg(f func(*http.Request) (int64, error)) Option {
	if f == nil {
		panic("rolegate: InOrg: the func is nil")
	}
	return orgOption{f}
}

// PathOrg reads the organisation from a wildcard of the route's pattern, such
// as orgID in /orgs/{orgID}/reports, with chi and with http.ServeMux. Only
// canonical decimals above 0 count: neither 007 nor +7 is organisation 7.
//
// chi knows path values only behind the routing: use r.With, not r.Use.
func PathOrg(name string) func(*http.Request) (int64, error) {
	if isBlank(name) {
		panic("rolegate: PathOrg: give the name of a wildcard, such as orgID in /orgs/{orgID}")
	}
	return func(r *http.Request) (int64, error) {
		text := r.PathValue(name)
		if text == "" {
			return 0, fmt.Errorf("the route has no path value %q here: "+
				"check the wildcard's name, and with chi guard by r.With(…) or on the handler, not by r.Use(…), which runs before the routing", name)
		}
		id, err := parseID(text)
		if err != nil {
			return 0, fmt.Errorf("path value %q: %w", name, err)
		}
		return id, nil
	}
}

// Shadow makes a guard decide, count and log as ever, but let pass what it
// would have refused for a missing role or a condition that does not hold. It
// is for trying a rule on live traffic before it bites. Everything else is
// refused all the same: Shadow opens no route to users who are not listed.
func Shadow() Option { return shadowOption{} }

type orgOption struct {
	f func(*http.Request) (int64, error)
}

func (o orgOption) addTo(s *policySpec) {
	if s.org != nil {
		panic("rolegate: InOrg is given twice: every role of a guard is looked for in one organisation")
	}
	s.org = o.f
}

type shadowOption struct{}

func (shadowOption) addTo(s *policySpec) { s.shadow = true }

// A policySpec collects the options of one policy.
type policySpec struct {
	checks      []Check
	org         func(*http.Request) (int64, error)
	shadow      bool
	deny        DenyFunc      // nil: Config.Deny
	maxAge      time.Duration // 0: any age
	endOnRevoke bool
}

func newPolicySpec(caller string, options []Option) policySpec {
	var s policySpec
	for i, o := range options {
		if o == nil {
			panic(fmt.Sprintf("rolegate: %s: option %d is nil", caller, i+1))
		}
		o.addTo(&s)
	}
	if len(s.checks) == 0 {
		panic(fmt.Sprintf("rolegate: %s without a check lets every listed user pass: give it AnyRole, AllRoles, NoRole, Where or Either, or use Admit or Listed", caller))
	}
	if s.shadow && s.maxAge != 0 {
		panic(fmt.Sprintf("rolegate: %s with Shadow and MaxAge: a shadow must not make requests wait; leave MaxAge out until the rule bites", caller))
	}
	return s
}

// String names all checks, as logs and route listings show them.
func (s policySpec) String() string {
	names := make([]string, len(s.checks))
	for i, c := range s.checks {
		names[i] = c.name()
	}
	if s.org != nil {
		names = append(names, "InOrg")
	}
	if s.maxAge != 0 {
		names = append(names, "MaxAge("+s.maxAge.String()+")")
	}
	return strings.Join(names, " + ")
}

// Checks compile to terms. A term is one bit: "the user has a role that counts
// as this one" (or as one of these). For each role, the compiled policy has the
// terms which that role fulfils; a decision ORs them over the user's grants and
// compares with what is needed. Only Either and Where need more than that.

// maxTerms is how many terms a policy can have. A guard that asks for more
// than 64 things is not one that anybody can read.
const maxTerms = 64

type op uint8

const (
	opAny op = iota
	opAll
	opNone
	opWhere
	opEither
)

// A node is a compiled check.
type node struct {
	op    op
	terms uint64 // opAny, opAll, opNone
	where int    // opWhere: which condition
	kids  []node // opEither
	roles bool   // whether a role has a say in it
}

// A compiler collects what the nodes of one policy share.
type compiler struct {
	roles  *index.RoleSpace
	terms  int
	byRole map[uint16]uint64 // role number to the terms it fulfils
	wheres []whereCheck
}

// term adds a term that every role which counts as one of the codes fulfils.
func (c *compiler) term(codes ...string) uint64 {
	if c.terms == maxTerms {
		panic(fmt.Sprintf("rolegate: a guard can ask for at most %d roles: split it into several policies", maxTerms))
	}
	bit := uint64(1) << c.terms
	c.terms++
	for _, code := range codes {
		c.roles.Name(code)
		for _, id := range c.roles.Satisfying(code) {
			c.byRole[id] |= bit
		}
	}
	return bit
}

type roleCheck struct {
	op    op
	codes []string
}

var opNames = map[op]string{opAny: "AnyRole", opAll: "AllRoles", opNone: "NoRole"}

func newRoleCheck(o op, codes []string) Check {
	if len(codes) == 0 {
		panic(fmt.Sprintf("rolegate: %s: give at least one role code", opNames[o]))
	}
	for i, code := range codes {
		if isBlank(code) {
			panic(fmt.Sprintf("rolegate: %s: role code %d is empty", opNames[o], i+1))
		}
	}
	return roleCheck{op: o, codes: slices.Clone(codes)}
}

func (c roleCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c roleCheck) name() string {
	return opNames[c.op] + "(" + strings.Join(c.codes, ", ") + ")"
}

func (c roleCheck) compile(to *compiler) node {
	n := node{op: c.op, roles: true}
	if c.op != opAll {
		n.terms = to.term(c.codes...)
		return n
	}
	for _, code := range c.codes {
		n.terms |= to.term(code)
	}
	return n
}

type listedCheck struct{}

func (c listedCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (listedCheck) name() string { return "Listed" }

// compile asks for all of no roles: whom it is asked about is listed.
func (listedCheck) compile(*compiler) node { return node{op: opAll, roles: true} }

type whereCheck struct {
	label string
	f     func(User, *http.Request) bool
}

func (c whereCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c whereCheck) name() string { return "Where(" + c.label + ")" }

func (c whereCheck) compile(to *compiler) node {
	if len(to.wheres) == maxTerms {
		panic(fmt.Sprintf("rolegate: a guard can have at most %d conditions", maxTerms))
	}
	to.wheres = append(to.wheres, c)
	return node{op: opWhere, where: len(to.wheres) - 1}
}

type eitherCheck struct{ checks []Check }

func (c eitherCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c eitherCheck) name() string {
	names := make([]string, len(c.checks))
	for i, check := range c.checks {
		names[i] = check.name()
	}
	return "Either(" + strings.Join(names, ", ") + ")"
}

func (c eitherCheck) compile(to *compiler) node {
	n := node{op: opEither}
	for _, check := range c.checks {
		kid := check.compile(to)
		n.roles = n.roles || kid.roles
		n.kids = append(n.kids, kid)
	}
	return n
}

// compile turns a spec into a policy of the gate.
func (s policySpec) compile(g *Gate, roles *index.RoleSpace) *Policy {
	c := &compiler{roles: roles, byRole: map[uint16]uint64{}}
	p := &Policy{gate: g, store: g.state(), observer: g.observedBy(), name: s.String(), org: s.org, shadow: s.shadow, deny: s.deny, maxAge: s.maxAge, endOnRevoke: s.endOnRevoke}
	for _, check := range s.checks {
		n := check.compile(c)
		p.checks = append(p.checks, compiledCheck{check, n})
		switch n.op {
		case opAny, opAll:
			p.need |= n.terms
		case opNone:
			p.forbid |= n.terms
		default:
			p.nodes = append(p.nodes, n)
		}
	}
	// Conditions of the app may be slow: what roles decide is asked first.
	slices.SortStableFunc(p.nodes, func(a, b node) int { return rank(a) - rank(b) })
	p.wheres = c.wheres
	for role, terms := range c.byRole {
		if n := int(role) + 1; n > len(p.terms) {
			p.terms = append(p.terms, make([]uint64, n-len(p.terms))...)
		}
		p.terms[role] = terms
	}
	return p
}

func rank(n node) int {
	if n.roles {
		return 0
	}
	return 1
}

// DenyWith gives a guard a shape of its own for what a refused client sees, in
// place of Config.Deny: pages that send browsers to a login page beside an
// interface that does not. It panics if f is nil.
func DenyWith(f DenyFunc) Option {
	if f == nil {
		panic("rolegate: DenyWith: the func is nil")
	}
	return denyOption{f}
}

type denyOption struct{ f DenyFunc }

func (o denyOption) addTo(s *policySpec) {
	if s.deny != nil {
		panic("rolegate: DenyWith is given twice: a refusal has one shape")
	}
	s.deny = o.f
}

// EndOnRevoke makes a guard cancel the request's context when its user loses
// the access that he was let through with: for WebSockets, event streams and
// long polls. It does so within one swap of the pull that shows it; the cause
// is [ErrRevoked]. It also ends when the list expires and when the gate is
// closed.
//
// The organisation is the one of the admission. A [Where] is not run again: one
// that held then still does, and one that an [Either] did not get to does not. It
// ends only work that heeds r.Context().
func EndOnRevoke() Option { return endOption{} }

type endOption struct{}

func (endOption) addTo(s *policySpec) { s.endOnRevoke = true }

// MaxAge makes a guard demand that revocations are known up to d before the
// request: that the last full walk began no earlier (for a user whose removal
// is held back, the last one that held nothing). If it did, the request
// waits for another, shared by all who wait, for Refresh.MaxAgeWait at most; there
// is at most one such walk in each Refresh.ResyncMin. If that does not do, the
// answer is 503 with [ReasonTooOld]. It is for the few routes on which a revocation
// must count at once; only users who would pass otherwise make it walk.
//
// A [Policy] that decides without a request does not wait: it denies with
// TooOld. It panics if d is not above 0. A guard cannot have both MaxAge and
// [Shadow]: a shadow must not make requests wait.
func MaxAge(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("rolegate: MaxAge(%v): expected a duration above 0", d))
	}
	return maxAgeOption{d}
}

type maxAgeOption struct{ d time.Duration }

func (o maxAgeOption) addTo(s *policySpec) {
	if s.maxAge != 0 {
		panic("rolegate: MaxAge is given twice")
	}
	s.maxAge = o.d
}
