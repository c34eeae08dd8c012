// Package chiroutes lists the routes of a router, and what guards each of them:
// for a test that fails when a route is open by mistake
// (rolegatetest.RequireGuarded), and for the console.
//
//	routes, err := chiroutes.Routes(router)
//
// The listing is what the router dispatches. For chi that includes the handlers
// of NotFound and MethodNotAllowed, and routes that took the place of a mounted
// router's. [ServeMux] lists the patterns of an [net/http.ServeMux] that the app
// names. Adapters for other frameworks make a []Route of their own.
//
// A guard is seen where it was given to r.Use, r.With, r.Group or r.Route, and
// where it is the handler itself. A guard inside another middleware or handler is
// not seen. So a route may be guarded though the listing does not say so, and
// never the other way round.
//
// chi does not export its routing tree. This package reads it by reflection, and
// returns an error if a future version of chi has another layout.
package chiroutes
