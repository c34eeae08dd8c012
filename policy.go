package rolegate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/policy"
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

	program *policy.Program
	wheres  []whereCheck // the conditions of the program

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

// Gate returns the gate whose policy it is. It is nil for the nil and the zero
// Policy.
func (p *Policy) Gate() *Gate {
	if p == nil {
		return nil
	}
	return p.gate
}

// IsShadow reports whether the policy has [Shadow]: it admits listed users who
// lack a role.
func (p *Policy) IsShadow() bool { return p != nil && p.shadow }

// HasOrg reports whether the policy has [InOrg]: it looks at the organisation of
// the request.
func (p *Policy) HasOrg() bool { return p != nil && p.org != nil }

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
	p.evaluate(&d, id, p.scopeOf(org), nil, clock.Instant{})
	p.observer.count(&d)
	p.observer.observe(p.name, &d, id, nil, "")
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

// conditions asks the Wheres of a policy about one request.
type conditions struct {
	p    *Policy
	user User
	r    *http.Request // nil: a Where denies
	err  error         // what one panicked with
}

func (c *conditions) ask(i int) (ok bool) {
	if c.r == nil || c.err != nil {
		return false
	}
	defer func() {
		if v := recover(); v != nil {
			ok, c.err = false, panics.Of("a Where", v)
		}
	}()
	return c.p.wheres[i].f(c.user, c.r)
}

// decideWith decides by one generation from beginning to end.
func decideWith(gen *snapshot.Generation, d *Decision, p *Policy, id Identity, where orgScope, r *http.Request) {
	at, reason := lookUp(gen, p.store.cfg.indexed, id)
	if reason != ReasonGranted {
		pass := reason == ReasonNotAuthorized && p.store.cfg.ShadowAdmit && (p.shadow || p.admits)
		*d = Decision{Reason: reason, Shadowed: pass}
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
		if d.err != nil && clientGone(r.Context(), d.err) {
			d.Reason = ReasonClientGone
		}
		return
	}
	d.Org = where.id
	var asked *conditions
	var ask func(int) bool
	if len(p.wheres) > 0 {
		asked = &conditions{p: p, user: d.User, r: r}
		ask = asked.ask
	}
	verdict, passed := p.program.Run(d.User.subject(), where.id, ask)
	d.conditions = passed
	switch {
	case asked != nil && asked.err != nil:
		d.Reason, d.err = ReasonConditionFailed, asked.err
		return // and no Shadow lets it pass
	case verdict == policy.RoleMissing:
		d.Reason = ReasonRoleMissing
	case verdict == policy.ConditionFailed:
		d.Reason = ReasonConditionFailed
	}
	d.Shadowed = p.shadow && d.Reason != ReasonGranted
}

// refuseOld refuses a user who would pass if less is known of revocations than
// the policy's MaxAge asks for.
func refuseOld(gen *snapshot.Generation, d *Decision, p *Policy, asked clock.Instant) {
	if d.Reason == ReasonGranted && p.maxAge != 0 && gen.KnownFor(d.User.ID()).Age(asked) > p.maxAge {
		d.Reason = ReasonTooOld
	}
}

// refuseExpired refuses a user about whose access too little is known, because a removal, or a
// loss of roles, has been held for too long. It concerns nobody else.
func refuseExpired(gen *snapshot.Generation, d *Decision, expireAfter time.Duration, now clock.Instant) {
	if gen.Held != nil && d.Allowed() && gen.KnownFor(d.User.ID()).Age(now) > expireAfter {
		d.Reason, d.Shadowed = ReasonExpired, false
	}
}

// readOrg calls the func of an InOrg.
func (p *Policy) readOrg(r *http.Request) (scope orgScope, err error) {
	defer func() {
		if v := recover(); v != nil {
			scope, err = orgScope{unreadable: true}, panics.Of("the func of InOrg", v)
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

// evaluate decides by the generation of the moment, and does not count. r is nil
// for a decision that no request asks for; with a request the organisation is
// read from it. A MaxAge goes back from asked, the zero instant for now. What it
// decides is in d, which is too large to be handed up step by step.
func (p *Policy) evaluate(d *Decision, id Identity, where orgScope, r *http.Request, asked clock.Instant) {
	gen, now, reason := p.store.current()
	if reason != ReasonGranted {
		*d = Decision{Reason: reason}
		return
	}
	decideWith(gen, d, p, id, where, r)
	if asked == (clock.Instant{}) {
		asked = now
	}
	refuseOld(gen, d, p, asked)
	refuseExpired(gen, d, p.store.cfg.Refresh.ExpireAfter, now)
	d.stale = gen.Contact.Age(now) > p.store.cfg.Refresh.StaleAfter
}

// A compiledCheck is a check with what it has become.
type compiledCheck struct {
	check    Check
	compiled policy.Check
}
