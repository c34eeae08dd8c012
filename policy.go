package rolegate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A Policy is what a guard asks for, compiled. [Gate.Policy] makes one and
// [Gate.Require] wraps one around handlers. It is safe for concurrent use.
//
// The nil and the zero Policy deny everything.
type Policy struct {
	gate     *Gate // for guards
	store    *store
	observer *observer
	name     string
	admits   bool // it is the one that asks nothing but to be listed

	// terms says for each role number which terms it fulfils; need and forbid
	// are the terms of the checks that stand by themselves.
	terms        []uint64
	need, forbid uint64
	nodes        []node // Either and Where, those that look at roles first
	wheres       []whereCheck

	org    func(*http.Request) (int64, error)
	shadow bool
	deny   DenyFunc // nil: Config.Deny

	maxAge      time.Duration // 0: any age
	endOnRevoke bool

	checks []compiledCheck // all of them, as they were given: for Explain
}

// String names the checks, such as "AnyRole(teacher, admin) + InOrg".
func (p *Policy) String() string {
	if p == nil {
		return "nothing"
	}
	return p.name
}

// Policy compiles options once, for several routes or for work that is no HTTP
// request. It takes what [Gate.Require] takes, and panics on the same mistakes.
func (g *Gate) Policy(options ...Option) *Policy {
	return g.policy("Policy", options)
}

func (g *Gate) policy(caller string, options []Option) *Policy {
	return newPolicySpec(caller, options).compile(g, g.roleSpace())
}

// Decide says whether that identity passes, for gRPC, jobs and sockets, where
// there is no HTTP request. It takes what is in memory: it does not wait, does
// no I/O and does not allocate.
//
// An org above 0 is as if [InOrg] had yielded it. With 0, a policy without
// InOrg looks for the roles in any one organisation; a policy with InOrg denies
// with [ReasonOrgUnreadable], as both do with a negative org. A [Where] denies without
// being called, since there is no request to ask it about. An identity of a
// kind that is not indexed is [ReasonIdentifyFailed]: see Config.Aliases.
//
// A decision of a policy with [Shadow] may be Allowed although its Reason says
// what would have been refused. Every decision is counted in [Status].
func (p *Policy) Decide(ctx context.Context, id Identity, org int64) (d Decision) {
	_ = ctx // nothing here waits; the parameter is for what observes decisions
	if p == nil {
		return d
	}
	p.store.judge(&d, p, id, p.scopeOf(org), nil, clock.Instant{})
	p.observer.count(&d)
	p.observer.observe(p, &d, nil, "")
	return d
}

// scopeOf turns the org argument of Decide into what decide takes.
func (p *Policy) scopeOf(org int64) orgScope {
	switch {
	case org > 0:
		return orgScope{id: org}
	case org < 0 || p.org != nil:
		return orgScope{unreadable: true}
	default:
		return orgScope{}
	}
}

// An orgScope is where roles are looked for: in one organisation, or, if id is
// 0, in any one. unreadable is a request whose organisation cannot be told.
type orgScope struct {
	id         int64
	unreadable bool
}

// verdict is what the checks of a policy come to.
type verdict uint8

const (
	roleFails verdict = iota // the least: nothing of it holds
	conditionFails
	passes
)

// A trial is the evaluation of one policy for one user.
type trial struct {
	p     *Policy
	user  User
	r     *http.Request // nil: a Where denies
	again bool          // an admission is judged again: no Where runs, and those in held hold

	everywhere uint64 // terms that the user fulfils in any organisation
	scoped     bool   // whether one organisation was named

	asked, held uint64 // conditions that were run, and those that held
	panicked    any    // what a condition panicked with
}

// judge says whether the user passes in that organisation, or, if org is 0, in
// any one of his.
func (t *trial) judge(org int64) verdict {
	gs := t.user.grants()
	if org != 0 {
		t.scoped = true
		var here uint64
		for i := range gs.Len() {
			if gs.Org(i) == org {
				here |= t.fulfils(gs.Role(i))
			}
		}
		return t.inOrg(here)
	}
	for i := range gs.Len() {
		t.everywhere |= t.fulfils(gs.Role(i))
	}
	best := roleFails
	for i := 0; i < gs.Len() && best != passes; {
		var here uint64
		org := gs.Org(i)
		for ; i < gs.Len() && gs.Org(i) == org; i++ {
			here |= t.fulfils(gs.Role(i))
		}
		best = max(best, t.inOrg(here))
	}
	if len(gs) == 0 {
		return t.inOrg(0)
	}
	return best
}

// fulfils returns the terms that a role fulfils.
func (t *trial) fulfils(role uint16) uint64 {
	if int(role) >= len(t.p.terms) {
		return 0
	}
	return t.p.terms[role]
}

// inOrg judges with the terms that the user fulfils in one organisation.
func (t *trial) inOrg(here uint64) verdict {
	if here&t.p.need != t.p.need || t.p.forbid != 0 && t.forbidden(here)&t.p.forbid != 0 {
		return roleFails
	}
	for i := range t.p.nodes {
		n := &t.p.nodes[i]
		switch {
		case t.holds(n, here):
		case n.roles:
			return roleFails
		default:
			return conditionFails
		}
	}
	return passes
}

// forbidden returns the terms that a NoRole looks at: those of the named
// organisation, or of all of them if none was named; and all there are for a user
// with a dropped grant, which may have been any role.
func (t *trial) forbidden(here uint64) uint64 {
	if t.user.s.DroppedGrant(t.user.at) {
		return ^uint64(0)
	}
	if t.scoped {
		return here
	}
	return t.everywhere
}

func (t *trial) holds(n *node, here uint64) bool {
	switch n.op {
	case opAny, opAll:
		return here&n.terms == n.terms
	case opNone:
		return t.forbidden(here)&n.terms == 0
	case opWhere:
		return t.condition(n.where)
	case opEither:
		for i := range n.kids {
			if t.holds(&n.kids[i], here) {
				return true
			}
		}
	}
	return false
}

// condition runs a Where, once.
func (t *trial) condition(i int) bool {
	bit := uint64(1) << i
	if t.again {
		return t.held&bit != 0
	}
	if t.r == nil || t.panicked != nil {
		return false
	}
	if t.asked&bit == 0 {
		t.asked |= bit
		if t.run(i) {
			t.held |= bit
		}
	}
	return t.held&bit != 0
}

func (t *trial) run(i int) (ok bool) {
	defer func() {
		if v := recover(); v != nil {
			ok, t.panicked = false, v
		}
	}()
	return t.p.wheres[i].f(t.user, t.r)
}

// decideWith decides by one generation from beginning to end.
func decideWith(gen *snapshot.Generation, d *Decision, p *Policy, id Identity, where orgScope, r *http.Request) {
	at, reason := lookUp(gen, p.store.cfg.indexed, id)
	if reason != ReasonGranted {
		pass := reason == ReasonNotAuthorized && p.store.cfg.ShadowAdmit && (p.shadow || p.admits)
		*d = Decision{Reason: reason, Shadowed: pass, asked: id.id}
		return
	}
	*d = Decision{Reason: ReasonGranted, User: User{s: gen.Snapshot, at: at}}
	if gen.Held != nil {
		d.Held = gen.Held.Has(d.User.ID())
	}
	if r != nil && p.org != nil && where == (orgScope{}) {
		where, d.err = p.readOrg(r)
	}
	if where.unreadable {
		d.Reason = ReasonOrgUnreadable
		return
	}
	d.Org = where.id
	trial := trial{p: p, user: d.User, r: r}
	verdict := trial.judge(where.id)
	d.conditions = trial.held
	switch {
	case trial.panicked != nil:
		d.Reason, d.err = ReasonConditionFailed, panicError("a Where", trial.panicked)
		return // and no Shadow lets it pass
	case verdict == roleFails:
		d.Reason = ReasonRoleMissing
	case verdict == conditionFails:
		d.Reason = ReasonConditionFailed
	}
	d.Shadowed = p.shadow && d.Reason != ReasonGranted
}

// refuseOld refuses a user who would pass if less is known of revocations than
// the policy's MaxAge asks for.
func refuseOld(gen *snapshot.Generation, d *Decision, p *Policy, asked clock.Instant) {
	if d.Reason == ReasonGranted && p.maxAge != 0 && gen.KnownFor(d.Held).Age(asked) > p.maxAge {
		d.Reason = ReasonTooOld
	}
}

// readOrg calls the func of an InOrg.
func (p *Policy) readOrg(r *http.Request) (scope orgScope, err error) {
	defer func() {
		if v := recover(); v != nil {
			scope, err = orgScope{unreadable: true}, panicError("the func of InOrg", v)
		}
	}()
	org, err := p.org(r)
	if err != nil || org <= 0 {
		if err == nil {
			err = errors.New("the func of InOrg returned an organisation id that is not above 0")
		}
		return orgScope{unreadable: true}, err
	}
	return orgScope{id: org}, nil
}
