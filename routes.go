package rolegate

import (
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"
)

// A Route is one route of a chi router, and what guards it.
type Route struct {
	Method  string // "GET", …
	Pattern string // "/orgs/{orgID}/reports"
	Guards  []Guard
}

// Guarded reports whether at least one guard stands in front of the route.
func (r Route) Guarded() bool { return len(r.Guards) > 0 }

// String is the route as it is registered: "GET /grades".
func (r Route) String() string { return r.Method + " " + r.Pattern }

// A Guard is a guard in front of a [Route].
type Guard struct {
	Gate   *Gate  // whose guard it is
	Policy string // what it asks for: "Admit", or the checks of a Require
	Shadow bool   // whether it has Shadow: it lets pass what lacks a role
	InOrg  bool   // whether it has InOrg: it looks in the organisation of the request

	policy *Policy
}

// Routes lists the routes of a chi router, in chi's order, with the guards
// from the outermost to the innermost. It sees the guards that were given to
// r.Use, r.With, r.Group and r.Route and those that are the handler itself. A
// guard inside another middleware or handler (also one whose ServeHTTP is given
// to r.Get as a func: use r.With or r.Method), and whatever a handler that was
// given to r.Mount does that is no chi router, it does not see: a route may be
// guarded though it is not said to be, but never the other way round.
//
// No handler and no other middleware is called. The error is chi's.
func Routes(router chi.Routes) ([]Route, error) {
	var routes []Route
	err := chi.Walk(ownRoutes{router}, func(method, pattern string, handler http.Handler, middlewares ...func(http.Handler) http.Handler) error {
		route := Route{Method: method, Pattern: pattern}
		for _, m := range middlewares {
			if isGuardMaker(m) {
				route.add(m(http.NotFoundHandler()))
			}
		}
		for {
			g, ok := handler.(*guard)
			if !ok {
				break
			}
			route.add(g)
			handler = g.next
		}
		routes = append(routes, route)
		return nil
	})
	for i, j := 0, 0; i < len(routes); i = j { // chi gives the methods of a pattern in any order
		for j = i; j < len(routes) && routes[j].Pattern == routes[i].Pattern; j++ {
		}
		slices.SortFunc(routes[i:j], func(a, b Route) int { return strings.Compare(a.Method, b.Method) })
	}
	return routes, err
}

// ownRoutes is a router without the middlewares that chi says it has but does
// not run: a router made by With or Group shares the routes of the one it came
// from, while its middlewares stand in front of its own alone, and are told
// with each of those.
type ownRoutes struct{ router chi.Routes }

func (o ownRoutes) Routes() []chi.Route {
	routes := o.router.Routes()
	for i := range routes {
		if routes[i].SubRoutes != nil {
			routes[i].SubRoutes = ownRoutes{routes[i].SubRoutes}
		}
	}
	return routes
}

func (o ownRoutes) Middlewares() chi.Middlewares {
	if m, ok := o.router.(*chi.Mux); ok {
		// Without the field, better no guard too many.
		if inline := reflect.ValueOf(m).Elem().FieldByName("inline"); !inline.IsValid() || inline.Bool() {
			return nil
		}
	}
	return o.router.Middlewares()
}

func (o ownRoutes) Match(c *chi.Context, method, path string) bool {
	return o.router.Match(c, method, path)
}
func (o ownRoutes) Find(c *chi.Context, method, path string) string {
	return o.router.Find(c, method, path)
}

func (r *Route) add(h http.Handler) {
	if g, ok := h.(*guard); ok {
		r.Guards = append(r.Guards, Guard{Gate: g.gate, Policy: g.policy.String(), Shadow: g.policy.shadow, InOrg: g.policy.org != nil, policy: g.policy})
	}
}

// isGuardMaker reports whether m is Gate.Admit of some gate or Policy.Wrap of
// some policy, which is what Require returns. Middlewares are funcs and can
// only be told apart by their code; calling one to see what it makes could
// have any effect, so only these two are called.
func isGuardMaker(m func(http.Handler) http.Handler) bool {
	code := reflect.ValueOf(m).Pointer()
	return code == admitCode || code == wrapCode
}

var (
	admitCode = reflect.ValueOf((&Gate{}).Admit).Pointer()
	wrapCode  = reflect.ValueOf((&Policy{}).Wrap).Pointer()
)
