package chiroutes

import (
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// Mount registers one handler with the patterns "/a", "/a/" and "/a/*". A route
// that is registered afterwards takes the place of one of them, for one method or
// for all: the handler that was mounted keeps the others.

// mounted lists what Mount has put at a node, for the methods that it still has.
func (l *lister) mounted(n, parent *node, p place, left map[string]bool) {
	pattern := n.patterns[slices.Sorted(maps.Keys(left))[0]]
	if n.subroutes != nil {
		l.below(n, parent, pattern, p, left)
		return
	}
	slash := n // "/a/"
	if !strings.HasSuffix(pattern, "/") {
		slash = n.slash
	}
	if slash == nil || slash.all == nil { // the app has recovered a panic of Mount's
		l.handler(nil, n.mount, place{levels: []string{pattern}, methods: left}, p)
		return
	}
	// "/a/*" is listed with all that is below it, its path "/" too, and "/a/" if
	// that is not. This is the place for what is not reached there any more.
	listed, silent := slash.all, slash.all.any(n.mount, p)
	if n != slash {
		listed, silent = slash, silent || slash.any(n.mount, p)
	}
	only := map[string]bool{}
	for method := range left {
		if !listed.has(n.mount, method) {
			only[method] = true
		}
	}
	if len(only) > 0 {
		h, guards := unwrap(n.mount, p.guards)
		at, _ := unwrap(slash.all.mount, nil)
		routes := slash.all.subroutes
		if !same(h, at) { // chi has let another Mount have "/a/*", and with it the router of this one is gone from the tree
			routes = nil
		}
		l.handler(routes, n.mount, place{
			levels: append(slices.Clip(p.levels), pattern), guards: guards, methods: only, onlyAt: true, silent: silent,
			notFound: p.notFound, methodNotAllowed: p.methodNotAllowed,
		}, p)
	}
}

// below lists the router that is mounted at "/a/*". parent is "/a/".
func (l *lister) below(n, parent *node, pattern string, p place, left map[string]bool) {
	root := map[string]bool{}
	for method := range left {
		taken := parent.handlers[method] != nil && !parent.has(n.mount, method)
		root[method] = taken || pattern == "/*" && p.root[method]
	}
	_, guards := unwrap(n.mount, p.guards)
	l.handler(n.subroutes, n.mount, place{
		levels: append(slices.Clip(p.levels), pattern), guards: guards, methods: left, root: root,
		notFound: p.notFound, methodNotAllowed: p.methodNotAllowed,
	}, p)
}

// handler lists what is mounted at a place: a router of chi's, or a handler whose
// inside cannot be seen.
func (l *lister) handler(routes chi.Routes, h http.Handler, at, around place) {
	if mux, ok := routes.(*chi.Mux); ok {
		l.router(mux, at)
		return
	}
	for _, method := range slices.Sorted(maps.Keys(at.methods)) {
		l.entries = append(l.entries, around.entry(method, at.levels[len(at.levels)-1], h))
	}
}

// atRoot lists what a router dispatches for its path "/".
func (l *lister) atRoot(tree *node, p place) {
	below := map[string]bool{}
	var sub *chi.Mux
	var guards []*rolegate.Policy
	for _, method := range slices.Sorted(maps.Keys(p.methods)) {
		n := tree.slash
		if n != nil && n.handlers[method] == nil {
			n = n.all
		}
		if n == nil || n.handlers[method] == nil {
			continue
		}
		h := n.handlers[method]
		if mux, ok := n.subroutes.(*chi.Mux); ok && same(h, n.mount) {
			sub, below[method] = mux, true
			_, guards = unwrap(h, p.guards)
			continue
		}
		l.entries = append(l.entries, p.entry(method, "", h))
	}
	if sub != nil {
		p.guards, p.methods = guards, below
		l.router(sub, p)
	}
}

// has reports whether what was mounted serves that method at the node. chi wraps
// it anew for each pattern.
func (n *node) has(mount http.Handler, method string) bool {
	h, _ := unwrap(n.handlers[method], nil)
	m, _ := unwrap(mount, nil)
	return same(h, m)
}

func (n *node) any(mount http.Handler, p place) bool {
	for method := range n.handlers {
		if p.reaches(method) && n.has(mount, method) {
			return true
		}
	}
	return false
}
