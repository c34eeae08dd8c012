package forwardauth

import (
	"context"
	"net/http"

	"github.com/rolegate/rolegate"
)

// An Explanation is what a handler makes of a request, for an operator who
// wants to know why.
type Explanation struct {
	// Pattern is the one that the request matches, "" if there is none: then
	// the request is denied without asking a rule, and Denied says why.
	Pattern string
	Denied  error

	// Org is the organisation that the rule reads from the request, 0 for none.
	// OrgErr is why it cannot be read.
	Org    int64
	OrgErr error

	// Decision is what the gate makes of it.
	Decision rolegate.Explanation
}

// Explain tells what the handler would make of a request of that identity:
// which pattern it matches, and what each step of the decision comes to. uri is
// path and query, as a client writes them. It knows nothing of the proxy: what
// that refuses or changes by itself is not in it, nor is a rule of
// [Handler.Preflight].
//
// It takes what is in memory and does not wait. Nothing is counted. ctx is for
// the app's own funcs. The nil and the zero Handler deny everything.
func (h *Handler) Explain(ctx context.Context, method, host, uri string, id rolegate.Identity) (e Explanation) {
	if h == nil || h.mux == nil {
		e.Denied = &denial{"unlisted", "the handler was not made by New"}
		return e
	}
	request, used, err := original{method, host, uri}.request((&http.Request{}).WithContext(ctx), nil)
	if err != nil {
		e.Denied = err
		return e
	}
	m, err := matchIn(h.mux, request, used)
	if err != nil {
		e.Denied = err
		return e
	}
	e.Pattern = m.request.Pattern
	e.Org, e.OrgErr = m.policy.OrgOf(m.request)
	org := e.Org
	if e.OrgErr != nil {
		org = -1 // which denies as a request without one does
	}
	e.Decision = m.policy.Explain(ctx, id, org)
	return e
}
