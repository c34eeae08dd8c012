package daemon

import (
	"net/http"
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
	route := chiroutes.Route{Method: method, Pattern: strings.TrimLeft(pattern, " \t")}
	if rule.Policy == nil { // a preflight says nothing about who is asking
		route.Method = http.MethodOptions
	} else {
		route.Guards = []*rolegate.Policy{rule.Policy}
	}
	return route
}

// list is what the console asks for.
func (r *routes) list() ([]chiroutes.Route, error) {
	if list := r.now.Load(); list != nil {
		return *list, nil
	}
	return nil, nil
}
