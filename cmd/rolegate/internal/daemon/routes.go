package daemon

import (
	"strings"
	"sync/atomic"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/forwardauth"
)

// routes has the rules of the current generation, for the console.
type routes struct {
	now atomic.Pointer[[]chiroutes.Route]
}

func (r *routes) set(g *generation) {
	list := make([]chiroutes.Route, 0, len(g.proxy.Rules()))
	for _, rule := range g.proxy.Rules() {
		list = append(list, routeOf(rule))
	}
	r.now.Store(&list)
}

// routeOf splits the pattern of a ServeMux, "GET school.example.com/grades/{id}".
func routeOf(rule forwardauth.Rule) chiroutes.Route {
	method, pattern, found := strings.Cut(rule.Pattern, " ")
	if !found {
		method, pattern = "", rule.Pattern
	}
	return chiroutes.Route{Method: method, Pattern: strings.TrimLeft(pattern, " \t"), Guards: []*rolegate.Policy{rule.Policy}}
}

// list is what the console asks for.
func (r *routes) list() ([]chiroutes.Route, error) {
	if list := r.now.Load(); list != nil {
		return *list, nil
	}
	return nil, nil
}
