package rolegate

import (
	"context"
	"net/http"
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/policy"
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

	// Found is [ReasonGranted] if the list has the identity, or why not:
	// [ReasonNoIdentity] for one that names nobody, [ReasonIdentifyFailed] for a
	// kind that is not indexed (see Config.Aliases), [ReasonAmbiguous] or
	// [ReasonNotAuthorized]. InvalidRecord says of the last that the list has a
	// record of the user, which could not be understood. Without a list, it is
	// Decision.Reason.
	Found         Reason
	InvalidRecord bool

	// Orgs has what the checks come to in the organisation that was asked
	// about or, if none was, in each of the user's, by id ascending; if they have
	// no role at all, in organisation 0. The roles of a decision that is
	// granted hold in one of these.
	Orgs []OrgExplanation

	// IdentityDigest is how the log and events name the identity, "" for a user id:
	// see Config.IdentityKey.
	IdentityDigest string

	// MaxAge is what the policy demands, 0 if any age will do, and Age how long
	// ago the full refresh began up to which revocations are known that could concern
	// this user.
	MaxAge, Age time.Duration

	// Shadow says that the policy has [Shadow]: it lets pass what lacks a role
	// or fails a condition. ShadowAdmit says so of Config.ShadowAdmit, for users
	// who are not listed.
	Shadow, ShadowAdmit bool

	// NeedsRequest says that the answer depends on a [Where]: without a request
	// there is none to ask, and the decision denies, but if every Where holds,
	// the checks pass.
	NeedsRequest bool

	// Wait is how long a request that is to be refused for this reason waits at
	// most for a refresh that may change the answer: an incremental one for a user
	// who is not listed or lacks a role (see OnDeny), a full refresh for a MaxAge. 0:
	// it is refused at once.
	Wait time.Duration
}

// An OrgExplanation is what the checks of a policy come to in one organisation.
type OrgExplanation struct {
	Org    int64    `json:",string"`
	Roles  []string // the user's there, without the hierarchy
	Checks []CheckExplanation
}

// Passes reports whether all checks hold there without a request.
func (o OrgExplanation) Passes() bool {
	return !slices.ContainsFunc(o.Checks, func(c CheckExplanation) bool { return !c.Holds })
}

// A CheckExplanation is what one check comes to.
type CheckExplanation struct {
	Check string // as in Policy.String: "AnyRole(teacher, admin)"

	// Holds says that it holds without a request. NeedsRequest says that it does
	// if a Where does, which only a request can be asked.
	Holds, NeedsRequest bool

	// Roles are the roles of the user's that have a say in it: those that count
	// as one that the check names, by the hierarchy of Config.Implies. For a
	// NoRole that fails they are why.
	Roles []string

	// Either has the checks of an [Either].
	Either []CheckExplanation
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
		Policy: p.String(), State: StateStarting, MaxAge: p.maxAge, Shadow: p.shadow, Decision: Decision{Reason: reason}, Found: reason,
	}
	if g == nil || g.refresher == nil {
		return e
	}
	e.StaleAfter, e.ExpireAfter = g.cfg.Refresh.StaleAfter, g.cfg.Refresh.ExpireAfter
	e.ShadowAdmit, e.IdentityDigest = g.cfg.ShadowAdmit && (p.shadow || p.admits), id.digest(g.cfg.IdentityKey)
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
	refuseExpired(gen, &e.Decision, e.ExpireAfter, now)
	e.Decision.stale = e.State == StateStale
	_, e.Found = lookUp(gen, p.store.cfg.indexed, id)
	e.InvalidRecord = e.Found == ReasonNotAuthorized && id.kind == KindUserID && gen.Invalid(id.id)
	if e.Decision.User.s != nil {
		e.Age = gen.KnownFor(e.Decision.User.ID()).Age(now)
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

// FindUsers returns the listed users with that identity, the lowest most ids of them,
// ascending: more than one where users share an account, by which nobody enters
// then. ok is false for a kind of which no strings are in the list: one that
// is neither indexed (see Config.Identify and Config.Aliases) nor kept (see
// Config.Keep). For one that is kept alone it looks at every user, for which it takes
// about a tenth of a second for a million. It is for a page, not for requests.
func (g *Gate) FindUsers(id Identity, most int) (users []User, ok bool) {
	if g == nil {
		return nil, false
	}
	if id.kind < KindUserID || id.kind > KindUserID && !g.cfg.fields.Has(id.kind.field()) {
		return nil, false
	}
	gen := g.now.Load()
	switch {
	case gen == nil || most <= 0:
	case id.kind == KindUserID:
		if u := userIn(gen.Snapshot, id.id); u.s != nil {
			users = append(users, u)
		}
	default:
		for _, at := range gen.WithText(id.kind.field(), id.text, most) {
			users = append(users, User{s: gen.Snapshot, at: at})
		}
	}
	return users, true
}

// Refusals returns the last refusals of requests, at most so many and never more than
// 1,024, the newest first: so an operator finds the decision id that a client was
// told, if this process refused it and not too many others since. The log has all of
// them. It is safe to call at any time, and holds nothing up.
func (g *Gate) Refusals(most int) []DecisionEvent {
	if g == nil || g.observer == nil {
		return nil
	}
	return g.observer.refusals.last(most)
}

// explainChecks asks the checks one by one, in that organisation or, if org is
// 0, in each of the user's.
func (e *Explanation) explainChecks(p *Policy, org int64) {
	// The first has no request, and denies what a Where decides. For the second,
	// every Where holds.
	subject := e.Decision.User.subject()
	strict := p.program.Begin(subject, org, func(int) bool { return false })
	lenient := p.program.Begin(subject, org, func(int) bool { return true })
	e.NeedsRequest = strict.Verdict() != policy.Passes && lenient.Verdict() == policy.Passes

	orgs := []int64{org}
	if of := e.Decision.User.Orgs(); org == 0 && len(of) > 0 {
		orgs = of
	}
	for _, org := range orgs {
		x := explainer{strict: &strict, lenient: &lenient, user: e.Decision.User, org: org, here: strict.TermsIn(org)}
		out := OrgExplanation{Org: org, Roles: e.Decision.User.rolesIn(org)}
		for _, c := range p.checks {
			out.Checks = append(out.Checks, x.explain(c.check, &c.compiled))
		}
		e.Orgs = append(e.Orgs, out)
	}
}

// An explainer asks checks in one organisation.
type explainer struct {
	strict, lenient *policy.Evaluation
	user            User
	org             int64
	here            uint64 // terms that the user fulfils there
}

func (x *explainer) explain(c Check, compiled *policy.Check) CheckExplanation {
	e := CheckExplanation{Check: c.name(), Holds: x.strict.Holds(compiled, x.here)}
	e.NeedsRequest = !e.Holds && x.lenient.Holds(compiled, x.here)
	e.Roles = x.user.codes(x.strict.Deciding(compiled, x.org))
	if either, ok := c.(eitherCheck); ok {
		for i, child := range either.checks {
			e.Either = append(e.Either, x.explain(child, &compiled.Children()[i]))
		}
	}
	return e
}

// rolesIn returns the codes of the user's roles in an organisation.
func (u User) rolesIn(org int64) []string {
	var roles []uint16
	gs := u.grants()
	for i := range gs.Len() {
		if gs.Org(i) == org {
			roles = append(roles, gs.Role(i))
		}
	}
	return u.codes(roles)
}

// codes returns the codes of roles, sorted.
func (u User) codes(roles []uint16) (codes []string) {
	for _, role := range roles {
		codes = append(codes, u.s.Roles.Code(role))
	}
	slices.Sort(codes)
	return slices.Compact(codes)
}
