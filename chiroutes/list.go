package chiroutes

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// An entry is a route, with the pattern that each router on the way has for it.
type entry struct {
	method  string
	levels  []string
	guards  []*rolegate.Policy
	handler http.Handler
}

// list lists what a router dispatches.
func list(routes chi.Routes) ([]entry, error) {
	mux, err := muxOf(routes)
	if err != nil {
		return nil, err
	}
	l := &lister{}
	l.router(mux, place{})
	if l.err != nil {
		return nil, l.err
	}
	return l.entries, nil
}

// A lister goes through a router and those that are mounted below it.
type lister struct {
	entries []entry
	err     error
}

// A place is where a router is mounted, and what of it is reached there.
type place struct {
	levels []string
	guards []*rolegate.Policy

	methods map[string]bool // those that reach it; nil: every method
	root    map[string]bool // those for which another route takes its path "/"
	onlyAt  bool            // only its path "/" is reached
	silent  bool            // its fallbacks are listed elsewhere

	notFound, methodNotAllowed *entry // of the routers around it
}

func (p *place) reaches(method string) bool { return p.methods == nil || p.methods[method] }

func (p *place) entry(method, pattern string, h http.Handler) entry {
	h, guards := unwrap(h, p.guards)
	return entry{method: method, levels: append(slices.Clip(p.levels), pattern), guards: guards, handler: h}
}

// maxDepth is how deep routers may be mounted in one another. Two that are
// mounted in each other have no end.
const maxDepth = 64

var errEndless = errors.New("rolegate: chiroutes: routers are mounted in one another without end: expected at most 64 levels")

// router lists one router.
func (l *lister) router(mux *chi.Mux, p place) {
	if l.err == nil && len(p.levels) > maxDepth {
		l.err = errEndless
	}
	if l.err != nil {
		return
	}
	r, err := read(mux)
	if err != nil {
		l.err = err
		return
	}
	if !r.empty { // an empty one asks for neither a route nor a middleware
		p.guards = append(slices.Clip(p.guards), guardsIn(r.middlewares)...)
	}
	fallbacks := p.fallbacks(r)
	switch {
	case r.empty:
	case p.onlyAt:
		l.atRoot(r.tree, p)
	default:
		l.node(r.tree, &node{}, p)
	}
	l.entries = append(l.entries, fallbacks...)
}

// fallbacks returns what runs if no route does, unless it is what runs around
// the router too, which is listed already.
func (p *place) fallbacks(r router) (entries []entry) {
	pattern := "/*"
	if n := len(p.levels); n > 0 && strings.HasSuffix(p.levels[n-1], "/") {
		pattern = "*"
	}
	for _, f := range []struct {
		method string
		h      http.Handler
		around **entry
	}{{MethodNotFound, r.notFound, &p.notFound}, {MethodNotAllowed, r.methodNotAllowed, &p.methodNotAllowed}} {
		if f.h == nil {
			*f.around = nil
			continue
		}
		e := p.entry(f.method, pattern, f.h)
		listed := *f.around != nil && same((*f.around).handler, e.handler) && slices.Equal((*f.around).guards, e.guards)
		*f.around = &e
		if !listed && !p.silent {
			entries = append(entries, e)
		}
	}
	return entries
}

// node lists a node and those below it.
func (l *lister) node(n, parent *node, p place) {
	left := map[string]bool{} // methods that what was mounted there still has
	taken := map[string][]string{}
	for method, h := range n.handlers {
		switch pattern := n.patterns[method]; {
		case !p.reaches(method), pattern == "/" && p.root[method]:
		case same(h, n.mount):
			left[method] = true
		default:
			taken[pattern] = append(taken[pattern], method)
		}
	}
	for _, pattern := range slices.Sorted(maps.Keys(taken)) {
		slices.Sort(taken[pattern])
		for _, method := range taken[pattern] {
			l.entries = append(l.entries, p.entry(method, pattern, n.handlers[method]))
		}
	}
	if len(left) > 0 {
		l.mounted(n, parent, p, left)
	}
	for _, child := range n.children {
		l.node(child, n, p)
	}
}
