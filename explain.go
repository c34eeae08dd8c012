package rolegate

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file tells why a decision is what it is: for operators, not for
// requests. It decides with what policy.go decides with, and then asks that
// about each check by itself.

// An Explanation is a decision, with what each step on the way to it came to.
// Steps that were not reached are zero. It has role codes and the user's number
// in it, but no other personal data.
//
// The zero Explanation is of a gate that has no list: it denies.
type Explanation struct {
	// Decision is what [Policy.Decide] would say.
	Decision Decision

	// Policy names the checks: see Policy.String.
	Policy string

	// State is how the list is, and what follows by when it has to be renewed:
	// see Status and Refresh. Without a list, the ages are 0.
	State                   State
	ContactAge, VerifiedAge time.Duration
	StaleAfter, ExpireAfter time.Duration

	// Standing is what the list has of the identity.
	Standing Standing

	// Orgs has what the checks come to in the organisation that was asked
	// about or, if none was, in each of the user's, by id ascending; if he has
	// no role at all, in organisation 0. The roles of a decision that is
	// granted hold in one of these.
	Orgs []OrgExplanation

	// MaxAge is what the policy demands, 0 if any age will do, and Age how long
	// ago the walk began up to which revocations are known that could concern
	// this user.
	MaxAge, Age time.Duration

	// Shadow says that the policy has [Shadow]: it lets pass what lacks a role
	// or fails a condition. ShadowAdmit says so of Config.ShadowAdmit, for users
	// who are not listed.
	Shadow, ShadowAdmit bool

	// AsksRequest says that the answer depends on a [Where]: without a request
	// there is none to ask, and the decision denies, but if every Where holds,
	// the checks pass.
	NeedsRequest bool

	// Wait is how long a request that is to be refused for this reason waits at
	// most for a pull that may change the answer: an incremental one for a user
	// who is not listed or lacks a role (see OnDeny), a full walk for a MaxAge. 0:
	// it is refused at once.
	Wait time.Duration
}

// A Standing says what the list has of an identity.
type Standing string

// What the list can have of an identity. The empty Standing says that it was
// not asked.
const (
	StandingNobody        Standing = "nobody"         // the identity names nobody at all
	StandingNotIndexed    Standing = "not_indexed"    // identities of this kind are not looked for: see Config.Aliases
	StandingUnlisted      Standing = "unlisted"       // it is not on the list
	StandingInvalidRecord Standing = "invalid_record" // the user's record could not be understood: he is out
	StandingAmbiguous     Standing = "ambiguous"      // several users share this alias
	StandingListed        Standing = "listed"         // it is on the list
	StandingHeld          Standing = "held"           // it is gone from the list, but its removal is held back
)

// An OrgExplanation is what the checks of a policy come to in one organisation.
type OrgExplanation struct {
	Org    int64
	Roles  []string // the user's there, without the hierarchy
	Checks []CheckExplanation
}

// Passes reports whether all checks hold there without a request.
func (o OrgExplanation) Passes() bool {
	return !slices.ContainsFunc(o.Checks, func(c CheckExplanation) bool { return c.Outcome != CheckHolds })
}

// A CheckExplanation is what one check comes to.
type CheckExplanation struct {
	Check   string // as in Policy.String: "AnyRole(teacher, admin)"
	Outcome CheckOutcome

	// Roles are the roles of the user's that have a say in it: those that count
	// as one that the check names, by the hierarchy of Config.Implies. For a
	// NoRole that fails they are why.
	Roles []string

	// Either has the checks of an [Either].
	Either []CheckExplanation
}

// A CheckOutcome says what a check comes to.
type CheckOutcome string

// The outcomes of a check.
const (
	CheckHolds        CheckOutcome = "holds"
	CheckFails        CheckOutcome = "fails"
	CheckNeedsRequest CheckOutcome = "needs_request" // it holds if a Where does, which only a request can be asked
)

// A compiledCheck is a check with what it has become.
type compiledCheck struct {
	check Check
	node  node
}

// Explain decides as [Policy.Decide] does, for an operator who wants to know
// why. It takes what is in memory, does not wait and does no I/O. Nothing is
// counted, and no hook is called: nobody has asked to enter.
//
// It costs much more than a decision: it is for a page, not for every request.
// The nil Policy explains itself by the zero Explanation.
func (p *Policy) Explain(ctx context.Context, id Identity, org int64) (e Explanation) {
	_ = ctx // nothing here waits: see Decide
	if p == nil {
		return e
	}
	g := p.gate
	gen, now, reason := p.store.current()
	e = Explanation{
		Policy: p.String(), State: StateStarting, MaxAge: p.maxAge, Shadow: p.shadow, Decision: Decision{Reason: reason},
	}
	if g == nil || g.refresher == nil {
		return e
	}
	e.StaleAfter, e.ExpireAfter = g.cfg.Refresh.StaleAfter, g.cfg.Refresh.ExpireAfter
	e.ShadowAdmit = g.cfg.ShadowAdmit && (p.shadow || p.admits)
	known := gen
	if known == nil {
		known, now = g.now.Load(), g.clock()
	}
	if known != nil {
		e.ContactAge, e.VerifiedAge = known.Contact.Age(now), known.Verified.Age(now)
	}
	if reason != ReasonGranted {
		e.State = map[Reason]State{ReasonNotReady: StateStarting, ReasonExpired: StateExpired, ReasonClosed: StateClosed}[reason]
		return e
	}
	e.State = StateReady
	if e.ContactAge > e.StaleAfter {
		e.State = StateStale
	}
	where := p.scopeOf(org)
	decideWith(gen, &e.Decision, p, id, where, nil)
	refuseOld(gen, &e.Decision, p, now)
	e.Decision.stale = e.State == StateStale
	e.Standing = standing(gen, &e.Decision, id)
	if e.Decision.User.s != nil {
		e.Age = gen.KnownFor(e.Decision.Held).Age(now)
		if !where.unreadable {
			e.explainChecks(p, where.id)
		}
	}
	switch {
	case e.Decision.mayHaveChanged() && g.onDeny != nil:
		e.Wait = g.cfg.OnDeny.Wait
	case e.Decision.Reason == ReasonTooOld:
		e.Wait = g.cfg.Refresh.MaxAgeWait
	}
	return e
}

// OrgOf reads from a request the organisation that a guard with this policy
// would look at: what its [InOrg] says, and 0 without one. An error is what
// would deny the request with [ReasonOrgUnreadable]; a panic in the func is one.
func (p *Policy) OrgOf(r *http.Request) (int64, error) {
	if p == nil || p.org == nil {
		return 0, nil
	}
	scope, err := p.readOrg(r)
	return scope.id, err
}

// Explain tells why that identity is on the list, or is not: see [Gate.Decide]
// and [Policy.Explain].
func (g *Gate) Explain(ctx context.Context, id Identity) Explanation {
	if g == nil {
		return Explanation{}
	}
	return g.admit.Explain(ctx, id, 0)
}

// standing puts into a word what the look-up of a decision has found.
func standing(gen *snapshot.Generation, d *Decision, id Identity) Standing {
	switch {
	case d.Held:
		return StandingHeld
	case d.User.s != nil:
		return StandingListed
	case d.Reason == ReasonNoIdentity:
		return StandingNobody
	case d.Reason == ReasonIdentifyFailed:
		return StandingNotIndexed
	case d.Reason == ReasonAmbiguous:
		return StandingAmbiguous
	case id.kind == KindUserID && gen.Invalid(id.id):
		return StandingInvalidRecord
	default:
		return StandingUnlisted
	}
}

// explainChecks asks the checks one by one, in that organisation or, if org is
// 0, in each of the user's.
func (e *Explanation) explainChecks(p *Policy, org int64) {
	// The first has no request, and denies what a Where decides. For the second,
	// every Where holds.
	strict := trial{p: p, user: e.Decision.User}
	lenient := trial{p: p, user: e.Decision.User, again: true, held: ^uint64(0)}
	now, then := strict.judge(org), lenient.judge(org)
	e.NeedsRequest = now != passes && then == passes

	orgs := []int64{org}
	if of := e.Decision.User.Orgs(); org == 0 && len(of) > 0 {
		orgs = of
	}
	for _, org := range orgs {
		x := explainer{strict: &strict, lenient: &lenient, org: org}
		out := OrgExplanation{Org: org, Roles: x.roles(^uint64(0), false)}
		x.here = strict.termsIn(org)
		for _, c := range p.checks {
			out.Checks = append(out.Checks, x.explain(c.check, &c.node))
		}
		e.Orgs = append(e.Orgs, out)
	}
}

// An explainer asks checks in one organisation. Both its trials have judged.
type explainer struct {
	strict, lenient *trial
	org             int64
	here            uint64 // terms that the user fulfils there
}

func (x *explainer) explain(c Check, n *node) CheckExplanation {
	e := CheckExplanation{Check: c.name(), Outcome: CheckFails}
	switch {
	case x.strict.holds(n, x.here):
		e.Outcome = CheckHolds
	case x.lenient.holds(n, x.here):
		e.Outcome = CheckNeedsRequest
	}
	switch n.op {
	case opAny, opAll:
		e.Roles = x.roles(n.terms, false)
	case opNone:
		e.Roles = x.roles(n.terms, !x.strict.scoped)
	case opEither:
		for i, kid := range c.(eitherCheck).checks {
			e.Either = append(e.Either, x.explain(kid, &n.kids[i]))
		}
	}
	return e
}

// roles returns the user's roles in the organisation, or everywhere, that
// fulfil one of the terms; for all terms there are, every role.
func (x *explainer) roles(terms uint64, everywhere bool) (codes []string) {
	user := x.strict.user
	gs := user.grants()
	for i := range gs.Len() {
		if (everywhere || gs.Org(i) == x.org) && (terms == ^uint64(0) || x.strict.fulfils(gs.Role(i))&terms != 0) {
			codes = append(codes, user.s.Roles.Code(gs.Role(i)))
		}
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}

// termsIn returns the terms that the user fulfils in one organisation.
func (t *trial) termsIn(org int64) (here uint64) {
	gs := t.user.grants()
	for i := range gs.Len() {
		if gs.Org(i) == org {
			here |= t.fulfils(gs.Role(i))
		}
	}
	return here
}
