// Package chiroutes lists the routes of a router, and what guards each of them:
// for a test that fails when a route is open by mistake
// (rolegatetest.RequireGuarded), and for the console.
//
//	routes, err := chiroutes.Routes(router)
//
// The listing is what the router dispatches. For chi that includes the handlers
// of NotFound and MethodNotAllowed, and routes that took the place of a mounted
// router's. [ServeMux] lists those of an [net/http.ServeMux]. Routers may be mounted
// in one another: a handler that is a router is looked into. Adapters for other frameworks make a []Route of their own.
//
// A guard is seen where it was given to r.Use, r.With, r.Group or r.Route, and
// where it is the handler itself. A guard inside another middleware or handler is
// not seen, nor is a router inside one, as in http.StripPrefix or in chi's Mount of
// what is no router of chi's: such a handler is one route. So a route may be guarded though the listing does not say so, and never the
// other way round. What a middleware in front of the guards answers by itself, such
// as a preflight or chi's Heartbeat, is no route and not listed.
//
// Neither chi nor net/http exports its routing tree. This package reads them by
// reflection, and returns an error if a future version has another layout.
package chiroutes
