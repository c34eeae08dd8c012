package policy

import "github.com/rolegate/rolegate/internal/index"

// A Verdict is what the checks of a program come to.
type Verdict uint8

// The verdicts. The least one is what counts if no organisation comes to more.
const (
	RoleMissing     Verdict = iota // a check that roles decide does not hold
	ConditionFailed                // a condition does not hold
	Passes                         // all checks hold
)

// A Subject is the user that a program is run for.
type Subject struct {
	Grants index.Grants
	Roles  *index.RoleTable // which numbers the roles of the grants

	// DroppedGrant says that the user has a grant which could not be understood:
	// it may have been any role, and so every none fails.
	DroppedGrant bool
}

// An Evaluation is one run of a program. It is not safe for concurrent use.
type Evaluation struct {
	p       *Program
	subject Subject
	ask     func(condition int) bool
	org     int64

	all    uint64 // terms that the subject fulfils in any organisation, for a none
	spread uint64 // terms that count in every organisation
	asked  uint64 // conditions that were asked about
	passed uint64 // those of them that hold
}

// Run evaluates the program for that subject in one organisation or, if org is
// 0, in any one of the subject's. It calls ask at most once for each condition,
// and only if everything before it holds. held are the conditions that did. It
// does not allocate.
func (p *Program) Run(s Subject, org int64, ask func(condition int) bool) (v Verdict, held uint64) {
	e := Evaluation{p: p, subject: s, org: org, ask: ask}
	e.begin()
	v = e.Verdict()
	return v, e.passed
}

// Begin prepares an evaluation: see Run.
func (p *Program) Begin(s Subject, org int64, ask func(condition int) bool) Evaluation {
	e := Evaluation{p: p, subject: s, org: org, ask: ask}
	e.begin()
	return e
}

// begin looks at all organisations, if a check does.
func (e *Evaluation) begin() {
	if p := e.p; e.org == 0 && p.none || p.everywhere != 0 {
		gs := e.subject.Grants
		for i := range gs.Len() {
			terms := e.Fulfils(gs.Role(i))
			e.all |= terms
			if terms&p.everywhere != 0 {
				e.spread |= terms
			}
		}
	}
}

// Verdict evaluates all checks.
func (e *Evaluation) Verdict() Verdict {
	if e.org != 0 {
		return e.in(e.TermsIn(e.org))
	}
	gs := e.subject.Grants
	if gs.Len() == 0 {
		return e.in(0)
	}
	best, here := RoleMissing, e.spread
	for i := range gs.Len() {
		here |= e.Fulfils(gs.Role(i))
		if i+1 < gs.Len() && gs.Org(i+1) == gs.Org(i) {
			continue
		}
		if best = max(best, e.in(here)); best == Passes {
			return best
		}
		here = e.spread
	}
	return best
}

// EachOrg evaluates all checks in each organisation in which the subject has a
// role, ascending, as if it were the one that was named. It takes one pass over
// the grants, however many organisations there are.
func (p *Program) EachOrg(s Subject, ask func(condition int) bool, yield func(org int64, v Verdict)) {
	e := p.Begin(s, 0, ask)
	gs, here := s.Grants, e.spread
	for i := range gs.Len() {
		here |= e.Fulfils(gs.Role(i))
		if i+1 < gs.Len() && gs.Org(i+1) == gs.Org(i) {
			continue
		}
		e.org = gs.Org(i)
		yield(e.org, e.in(here))
		here = e.spread
	}
}

// Fulfils returns the terms that a role fulfils.
func (e *Evaluation) Fulfils(role uint16) (terms uint64) {
	if int(role) < len(e.p.terms) {
		terms = e.p.terms[role]
	}
	for i := range e.p.patterns {
		if p := &e.p.patterns[i]; index.Matches(p.code, e.subject.Roles.Code(role)) {
			terms |= p.terms
		}
	}
	return terms
}

// TermsIn returns the terms that the subject fulfils in one organisation.
func (e *Evaluation) TermsIn(org int64) (here uint64) {
	gs := e.subject.Grants
	here = e.spread
	for i := range gs.Len() {
		if gs.Org(i) == org {
			here |= e.Fulfils(gs.Role(i))
		}
	}
	return here
}

// in evaluates with the terms that the subject fulfils in one organisation.
func (e *Evaluation) in(here uint64) Verdict {
	if here&e.p.need != e.p.need || e.p.forbid != 0 && e.forbidden(here)&e.p.forbid != 0 {
		return RoleMissing
	}
	for i := range e.p.rest {
		c := &e.p.rest[i]
		switch {
		case e.Holds(c, here):
		case c.roles:
			return RoleMissing
		default:
			return ConditionFailed
		}
	}
	return Passes
}

// forbidden returns the terms that a none looks at: those of the named
// organisation, or of all of them if none was named.
func (e *Evaluation) forbidden(here uint64) uint64 {
	switch {
	case e.subject.DroppedGrant:
		return ^uint64(0)
	case e.org != 0:
		return here
	default:
		return e.all
	}
}

// Holds evaluates one check with the terms that the subject fulfils in an
// organisation: see TermsIn.
func (e *Evaluation) Holds(c *Check, here uint64) bool {
	switch c.op {
	case opAny, opAll:
		return here&c.terms == c.terms
	case opNone:
		return e.forbidden(here)&c.terms == 0
	case opCondition:
		return e.condition(c.condition)
	case opEither:
		for i := range c.children {
			if e.Holds(&c.children[i], here) {
				return true
			}
		}
	}
	return false
}

// condition asks about a condition, once.
func (e *Evaluation) condition(i int) bool {
	bit := uint64(1) << i
	if e.asked&bit == 0 {
		e.asked |= bit
		if e.ask(i) {
			e.passed |= bit
		}
	}
	return e.passed&bit != 0
}

// Deciding returns the roles that have a say in a check in that organisation:
// those that fulfil one of its terms, wherever the subject has them if the check
// looks there. The numbers are in the order of the grants. A condition and an
// either have no terms, and so no roles.
func (e *Evaluation) Deciding(c *Check, org int64) (roles []uint16) {
	gs := e.subject.Grants
	for i := range gs.Len() {
		terms := e.Fulfils(gs.Role(i))
		looks := gs.Org(i) == org || c.op == opNone && e.org == 0 || terms&e.p.everywhere != 0
		if looks && terms&c.terms != 0 {
			roles = append(roles, gs.Role(i))
		}
	}
	return roles
}
