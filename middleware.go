package rolegate

import (
	"context"
	"errors"
	"net/http"

	"github.com/rolegate/rolegate/internal/clock"
)

// Admit guards next: only listed users get through. A middleware for chi's
// r.Use and r.With, and for http.ServeMux by wrapping a handler.
//
// The gate never wraps the ResponseWriter and never reads the body, so that
// what the handler does with them (hijacking, flushing, uploads) works as
// without it. Admit panics if next is nil.
func (g *Gate) Admit(next http.Handler) http.Handler {
	p := &Policy{name: "Admit"}
	if g != nil && g.admit != nil {
		p = g.admit
	}
	return newGuard(g, p, next)
}

// Require makes a middleware that lets a listed user through if all of the
// checks hold for him. It includes [Gate.Admit]. Guards may be stacked: each
// identifies and decides for itself, and nothing in a context or header counts
// as "already checked".
//
// Without [InOrg], all checks for roles that a user must have hold together in
// one same organisation: a user who is teacher in one and homeroom in another
// does not pass AllRoles("teacher", "homeroom"). With InOrg they hold in that
// one.
//
// Require panics on a mistake: no check at all, an empty role code, a nil
// option, two InOrg. It does so when the route is registered, as a bad pattern
// does in http.ServeMux, and never when a request is served.
func (g *Gate) Require(options ...Option) func(http.Handler) http.Handler {
	return g.policy("Require", options).Wrap
}

// Wrap guards next with the policy: [Gate.Require] with a policy that was
// compiled before. It panics if next is nil.
func (p *Policy) Wrap(next http.Handler) http.Handler {
	if p == nil {
		return newGuard(nil, &Policy{name: "nothing"}, next)
	}
	return newGuard(p.gate, p, next)
}

// A guard is a handler with the gate in front of it.
type guard struct {
	gate   *Gate
	policy *Policy
	next   http.Handler
}

func newGuard(g *Gate, p *Policy, next http.Handler) *guard {
	if next == nil {
		panic("rolegate: the handler to guard is nil")
	}
	return &guard{gate: g, policy: p, next: next}
}

// ServeHTTP implements http.Handler.
func (h *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var d Decision
	id := h.decide(&d, r)
	if !d.Allowed() {
		h.gate.refuse(w, r, h.policy, d)
		return
	}
	h.policy.observer.observe(h.policy, &d, r, "")
	if d.Shadowed {
		h.gate.logShadowed(r, h.policy, d)
	}
	if h.policy.endOnRevoke && d.Reason == Granted {
		h.watched(w, r, id, d)
		return
	}
	h.pass(w, r, r.Context(), &d)
}

// pass runs the handler, with what was found out in its context.
func (h *guard) pass(w http.ResponseWriter, r *http.Request, ctx context.Context, d *Decision) {
	h.next.ServeHTTP(w, r.WithContext(&guardedContext{
		Context: ctx, gate: h.gate, user: d.User, org: h.orgFor(r, d),
	}))
}

// decide identifies, judges and counts a request.
func (h *guard) decide(d *Decision, r *http.Request) Identity {
	id, known := h.identify(d, r)
	if known {
		h.judge(d, r, id)
	}
	h.policy.observer.count(d)
	return id
}

// identify finds out who is asking. If that cannot be told, d says why.
func (h *guard) identify(d *Decision, r *http.Request) (id Identity, known bool) {
	if h.gate == nil {
		return Identity{}, false // the zero Decision is NotReady
	}
	id, err := h.gate.cfg.identify(r)
	if err == nil {
		return id, true
	}
	// A gate that cannot tell about anybody says so to nobody too.
	if _, _, reason := h.gate.current(); reason != Granted {
		d.Reason = reason
		return Identity{}, false
	}
	d.Reason, d.err = IdentifyFailed, err
	if errors.Is(err, ErrNobody) {
		d.Reason = NoIdentity
	}
	return Identity{}, false
}

// judge decides; and once more, if a refusal was worth a look at what the
// marketplace has granted meanwhile.
func (h *guard) judge(d *Decision, r *http.Request, id Identity) {
	g := h.gate
	g.judge(d, h.policy, id, orgScope{}, r, clock.Instant{})
	if d.mayHaveChanged() && g.onDeny != nil && g.onDeny.refresh(r.Context(), id) {
		if g.judge(d, h.policy, id, orgScope{id: d.Org}, r, clock.Instant{}); d.mayHaveChanged() {
			g.onDeny.refuse(id)
		}
	}
	if d.Reason == TooOld {
		asked := g.clock()
		g.refresher.resyncFor(r.Context(), h.policy.maxAge, asked, d.Held)
		g.judge(d, h.policy, id, orgScope{id: d.Org}, r, asked)
	}
}

// orgFor returns the organisation that the handler is to see: the one that
// this guard checked or, if it named none, the one that a guard around it
// checked for the same user.
func (h *guard) orgFor(r *http.Request, d *Decision) int64 {
	if d.Org != 0 {
		return d.Org
	}
	if outer := h.gate.guarded(r.Context()); outer != nil && outer.user.ID() == d.User.ID() {
		return outer.org
	}
	return 0
}

// A guardedContext is the request's context with what the guard found out. It
// is a type of its own, rather than two of context.WithValue, because it is
// made for every request.
type guardedContext struct {
	context.Context
	gate *Gate
	user User
	org  int64
}

// A guardedKey is what a gate's values are found by: each gate has its own, so
// that the guard of another app on the same server puts nothing in its place.
type guardedKey struct{ gate *Gate }

// Value implements context.Context.
func (c *guardedContext) Value(key any) any {
	if k, ok := key.(guardedKey); ok && k.gate == c.gate {
		return c
	}
	return c.Context.Value(key)
}

func (g *Gate) guarded(ctx context.Context) *guardedContext {
	c, _ := ctx.Value(guardedKey{g}).(*guardedContext)
	return c
}

// UserFrom returns the user whom a guard of this gate let through. ok is false,
// and the User nobody, if no guard of this gate is in front of the handler (one
// of another gate does not count) or if Config.ShadowAdmit let an unlisted user
// pass.
func (g *Gate) UserFrom(ctx context.Context) (u User, ok bool) {
	if c := g.guarded(ctx); c != nil {
		return c.user, c.user.s != nil
	}
	return User{}, false
}

// OrgFrom returns the organisation that a guard with [InOrg] checked: what a
// handler must use, instead of reading the request again. ok is false if no
// guard of this gate in front of the handler named one.
func (g *Gate) OrgFrom(ctx context.Context) (org int64, ok bool) {
	if c := g.guarded(ctx); c != nil {
		return c.org, c.org != 0
	}
	return 0, false
}

// roleSpace returns the gate's numbers for role codes; a gate that was never
// opened gets some too, so that mistakes in its guards still panic.
func (g *Gate) roleSpace() *roleSpace {
	if g == nil || g.roles == nil {
		s, _ := newRoleSpace(nil)
		return s
	}
	return g.roles
}
