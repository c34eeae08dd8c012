package chiroutes

import (
	"net/http"
	"reflect"
	"slices"
	"unsafe"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// A guard is what [rolegate.Gate.Admit] and [rolegate.Policy.Wrap] return: it
// tells its policy, and the handler behind it.
type guard interface {
	Guarded() (*rolegate.Policy, http.Handler)
}

// unwrap takes the guards off a handler that are the handler itself, or that
// chi's With has put in front of it.
func unwrap(h http.Handler, guards []*rolegate.Policy) (http.Handler, []*rolegate.Policy) {
	guards = slices.Clip(guards)
	for {
		if g, ok := h.(guard); ok {
			p, next := g.Guarded()
			if p != nil {
				h, guards = next, append(guards, p)
				continue
			}
		}
		switch inner := h.(type) {
		case *chi.ChainHandler:
			h, guards = inner.Endpoint, append(guards, guardsIn(inner.Middlewares)...)
		case http.HandlerFunc:
			bound := boundTo(inner)
			if bound == nil {
				return h, guards
			}
			h = bound
		default:
			return h, guards
		}
	}
}

// guardsIn returns the guards among middlewares. Middlewares are funcs and can
// only be told apart by their code. Calling one could have any effect, so only
// Gate.Admit and Policy.Wrap are called, the latter being what Require returns.
func guardsIn(middlewares chi.Middlewares) (guards []*rolegate.Policy) {
	for _, m := range middlewares {
		if code := reflect.ValueOf(m).Pointer(); code == admitCode || code == wrapCode {
			p, _ := m(http.NotFoundHandler()).(guard).Guarded()
			guards = append(guards, p)
		}
	}
	return guards
}

var (
	admitCode = reflect.ValueOf((&rolegate.Gate{}).Admit).Pointer()
	wrapCode  = reflect.ValueOf((&rolegate.Policy{}).Wrap).Pointer()
	serveCode = reflect.ValueOf(http.NotFoundHandler().ServeHTTP).Pointer()
)

// boundTo returns the handler whose ServeHTTP was given as a func, and nil for
// every other func. chi does so with what is given to NotFound on a router of
// With. A func value points to its code, which the values follow that it is
// bound to: here the one http.Handler.
func boundTo(f http.HandlerFunc) http.Handler {
	if f == nil || reflect.ValueOf(f).Pointer() != serveCode {
		return nil
	}
	return (*(**struct {
		code    uintptr
		handler http.Handler
	})(unsafe.Pointer(&f))).handler
}

// same reports whether two handlers are one value. Funcs, which Go does not
// compare, are one if they point to the same place: two closures of one func
// differ.
func same(a, b http.Handler) bool {
	f, isFunc := a.(http.HandlerFunc)
	g, both := b.(http.HandlerFunc)
	if isFunc && both {
		return *(*unsafe.Pointer)(unsafe.Pointer(&f)) == *(*unsafe.Pointer)(unsafe.Pointer(&g))
	}
	return a != nil && reflect.TypeOf(a).Comparable() && reflect.TypeOf(a) == reflect.TypeOf(b) && a == b
}
