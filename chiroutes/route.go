package chiroutes

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// The methods of the two fallbacks of a chi router, which are routes too if the
// app sets them: "NotFound /api/*" is what every path below /api gets that no
// other route takes.
const (
	MethodNotFound   = "NotFound"
	MethodNotAllowed = "MethodNotAllowed"
)

// A Route is one route of a router, and what guards it.
type Route struct {
	Method  string // "GET", …, MethodNotFound or MethodNotAllowed; "" for every method
	Pattern string // "/orgs/{orgID}/reports"

	// Guards are the policies in front of the route, the outermost first.
	Guards []*rolegate.Policy

	// Handler is what runs behind the guards that the listing has seen. Adapters
	// for other frameworks may leave it nil.
	Handler http.Handler
}

// Guarded reports whether at least one guard stands in front of the route.
func (r Route) Guarded() bool { return len(r.Guards) > 0 }

// String returns the route as it is registered: "GET /grades".
func (r Route) String() string {
	if r.Method == "" {
		return r.Pattern
	}
	return r.Method + " " + r.Pattern
}

// Routes lists the routes of a chi router, which must be a *chi.Mux, as
// chi.NewRouter and every chi.Router of chi's own is. The routes are in chi's
// order, the methods of a pattern sorted, and the fallbacks of a router behind
// its routes. A route that others hide for each of its paths is listed too. In
// place of an http.ServeMux that is the handler of a route, what it dispatches is
// listed; one that is given to Mount is one route, since chi wraps it.
//
// It calls no handler and no middleware except Gate.Admit and Policy.Wrap. Do not
// call it while routes are being registered.
func Routes(router chi.Routes) ([]Route, error) { return chiRoutes(router, 0) }

func chiRoutes(router chi.Routes, depth int) ([]Route, error) {
	found, err := list(router)
	if err != nil {
		return nil, err
	}
	routes := make([]Route, len(found))
	for i, e := range found {
		routes[i] = e.route()
	}
	return expandAll(routes, depth)
}

// Must returns routes, and panics if they could not be listed: for a test,
//
//	rolegatetest.RequireGuarded(t, chiroutes.Must(chiroutes.Routes(router)))
func Must(routes []Route, err error) []Route {
	if err != nil {
		panic(err)
	}
	return routes
}

// Lister returns a func that lists the routes of a router when it is called: for
// the console, which is registered before the last route is.
func Lister(router chi.Routes) func() ([]Route, error) {
	return func() ([]Route, error) { return Routes(router) }
}

// route joins the patterns of the routers on the way, as chi does.
func (e entry) route() Route {
	pattern := strings.Join(e.levels, "")
	for strings.Contains(pattern, "/*/") {
		pattern = strings.ReplaceAll(pattern, "/*/", "/")
	}
	return Route{Method: e.method, Pattern: pattern, Guards: slices.Clip(e.guards), Handler: e.handler}
}
