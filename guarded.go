package rolegate

import "net/http"

// PolicyOf returns the policy of a guard, and the handler behind it: h is what
// [Gate.Admit], [Policy.Wrap] or the middleware of [Gate.Require] returned. For
// every other handler p is nil. It calls no handler. Package chiroutes lists
// with it what guards the routes of a router.
func PolicyOf(h http.Handler) (p *Policy, next http.Handler) {
	if g, ok := h.(*guard); ok {
		return g.policy, g.next
	}
	return nil, nil
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
