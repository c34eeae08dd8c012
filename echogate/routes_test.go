package echogate_test

import (
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/echogate"
	"github.com/rolegate/rolegate/internal/frametest"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An app keeps the policy of each route that it guards.
type app struct {
	*echo.Echo
	policies map[string]*rolegate.Policy // by "GET /grades"
}

func (a app) handle(method, path string, p *rolegate.Policy, h echo.HandlerFunc) {
	a.Add(method, path, h, echogate.Guard(p))
	a.policies[method+" "+path] = p
}

// routes lists what echo dispatches, and what guards each route.
func (a app) routes() (routes []chiroutes.Route, err error) {
	for _, r := range a.Router().Routes() {
		route := chiroutes.Route{Method: r.Method, Pattern: r.Path}
		if p := a.policies[r.Method+" "+r.Path]; p != nil {
			route.Guards = append(route.Guards, p)
		}
		routes = append(routes, route)
	}
	return routes, nil
}

// The list of docs/adapters.md says of each route what a request meets.
func TestRoutes(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	a := app{echo.New(), map[string]*rolegate.Policy{}}
	page := func(c *echo.Context) error { return c.NoContent(http.StatusOK) }
	a.POST("/login", page)
	a.handle("GET", "/me", gate.AdmitPolicy(), page)
	a.handle("POST", "/orgs/:orgID/reports", gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID"))), page)
	routes := chiroutes.Must(a.routes())
	rolegatetest.RequireGuarded(t, routes, "POST /login")
	assert.Len(t, routes, 3)
	for _, r := range routes {
		w := httptest.NewRecorder()
		a.ServeHTTP(w, httptest.NewRequest(r.Method, r.Pattern, nil))
		assert.Equal(t, r.Guarded(), w.Code == http.StatusUnauthorized, "%s: %d", r, w.Code)
	}
}
