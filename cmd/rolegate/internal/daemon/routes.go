package daemon

import (
	"net/http"
	"strings"
	"sync/atomic"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate/forwardauth"
)

// routes shows the rules of the current generation to the console, as a router
// that routes nothing.
type routes struct {
	now atomic.Pointer[[]chi.Route]
}

func (r *routes) set(g *generation) {
	list := make([]chi.Route, 0, len(g.proxy.Rules()))
	for _, rule := range g.proxy.Rules() {
		list = append(list, routeOf(rule))
	}
	r.now.Store(&list)
}

// routeOf writes the pattern of a ServeMux, "GET school.example.com/grades/{id}",
// as chi has it: the method by itself, and the rest.
func routeOf(rule forwardauth.Rule) chi.Route {
	method, pattern, found := strings.Cut(rule.Pattern, " ")
	if !found {
		method, pattern = "*", rule.Pattern
	}
	guard := rule.Policy.Wrap(http.NotFoundHandler())
	return chi.Route{Pattern: strings.TrimLeft(pattern, " \t"), Handlers: map[string]http.Handler{method: guard}}
}

// Routes implements chi.Routes.
func (r *routes) Routes() []chi.Route {
	if list := r.now.Load(); list != nil {
		return append([]chi.Route(nil), *list...)
	}
	return nil
}

// Middlewares implements chi.Routes.
func (*routes) Middlewares() chi.Middlewares { return nil }

// Match implements chi.Routes.
func (*routes) Match(*chi.Context, string, string) bool { return false }

// Find implements chi.Routes.
func (*routes) Find(*chi.Context, string, string) string { return "" }
