package rolegate

import (
	"context"
	"net/http"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
)

// Admit guards next: only listed users get through. A middleware for chi's
// r.Use and r.With, and for http.ServeMux by wrapping a handler.
//
// The gate never wraps the ResponseWriter and never reads the body, so that
// what the handler does with them (hijacking, flushing, uploads) works as
// without it. Admit panics if next is nil.
func (g *Gate) Admit(next http.Handler) http.Handler {
	return newGuard(g.AdmitPolicy(), next)
}

// AdmitPolicy returns the policy of [Gate.Admit], for [Policy.Check],
// [Policy.CheckCall] and [Policy.Decide].
func (g *Gate) AdmitPolicy() *Policy {
	if g == nil || g.admit == nil {
		return &Policy{gate: g, store: g.state(), observer: g.observedBy(), name: "Admit", admits: true, program: new(policy.Program)}
	}
	return g.admit
}

// Require makes a middleware that lets a listed user through if all of the
// checks hold for them. It includes [Gate.Admit]. Guards may be stacked: each
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
		p = &Policy{name: p.String()}
	}
	return newGuard(p, next)
}

// A guard is a handler with the gate in front of it.
type guard struct {
	gate   *Gate
	policy *Policy
	next   http.Handler
}

// Guarded returns the policy of the guard, and the handler behind it. Package
// chiroutes looks for this method to list what guards the routes of a router.
func (g *guard) Guarded() (p *Policy, next http.Handler) { return g.policy, g.next }

func newGuard(p *Policy, next http.Handler) *guard {
	if next == nil {
		panic("rolegate: the handler to guard is nil")
	}
	return &guard{gate: p.gate, policy: p, next: next}
}

// ServeHTTP implements http.Handler.
func (g *guard) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a, denial := g.policy.Check(r)
	if denial != nil {
		denial.ServeHTTP(w, r)
		return
	}
	defer a.End()
	g.next.ServeHTTP(w, a.Request())
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

// UserFrom returns the user that a guard of this gate admitted. ok is false,
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
func (g *Gate) roleSpace() *index.RoleSpace {
	if g == nil || g.roles == nil {
		s, _ := index.NewRoleSpace(nil)
		return s
	}
	return g.roles
}
