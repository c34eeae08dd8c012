package chiroutes

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"reflect"
	"slices"

	"github.com/go-chi/chi/v5"
)

// errMuxLayout is returned when an http.ServeMux has not just the fields that this
// file reads.
var errMuxLayout = errors.New("rolegate: chiroutes: this version of Go has another ServeMux than the one that rolegate was tested with (1.26), or GODEBUG has httpmuxgo121=1: name the patterns, or use a newer rolegate")

// muxRoutes lists all that was registered with a mux, sorted by pattern. The mux is
// not called.
func muxRoutes(mux *http.ServeMux, depth int) (routes []Route, err error) {
	patterns, err := readMux(mux)
	if err != nil {
		return nil, err
	}
	for _, pattern := range slices.Sorted(maps.Keys(patterns)) {
		routes = append(routes, muxRoute(pattern, patterns[pattern], nil))
	}
	return expandAll(routes, depth)
}

// readMux returns the handlers of a mux by their patterns.
func readMux(mux *http.ServeMux) (handlers map[string]http.Handler, err error) {
	defer func() {
		if v := recover(); v != nil { // reflect's, for a field of another kind
			handlers, err = nil, errMuxLayout
		}
	}()
	m := fields{reflect.ValueOf(mux).Elem()}.only("mu", "tree", "index", "mux121")
	if (fields{m.get("mux121")}).get("m").Len() > 0 {
		return nil, errMuxLayout
	}
	handlers = map[string]http.Handler{}
	readMuxNode(m.get("tree"), handlers)
	return handlers, nil
}

func readMuxNode(node reflect.Value, handlers map[string]http.Handler) {
	f := fields{node}.only("pattern", "handler", "children", "multiChild", "emptyChild")
	if p := f.get("pattern"); !p.IsNil() {
		h, _ := f.get("handler").Interface().(http.Handler)
		handlers[(fields{p.Elem()}).get("str").String()] = h
	}
	children := fields{f.get("children")}.only("s", "m")
	for few, i := children.get("s"), 0; i < few.Len(); i++ {
		readMuxNode((fields{few.Index(i)}).get("value").Elem(), handlers)
	}
	for each := children.get("m").MapRange(); each.Next(); {
		readMuxNode(each.Value().Elem(), handlers)
	}
	for _, name := range []string{"multiChild", "emptyChild"} {
		if child := f.get(name); !child.IsNil() {
			readMuxNode(child.Elem(), handlers)
		}
	}
}

// only returns the fields if there are no others: another could have routes in it.
func (f fields) only(names ...string) fields {
	if f.of.NumField() != len(names) {
		panic("there are other fields")
	}
	for _, name := range names {
		f.get(name)
	}
	return f
}

// expandAll lists what routers dispatch that are handlers of other routers' routes.
func expandAll(of []Route, depth int) (routes []Route, err error) {
	for _, r := range of {
		inner, err := expand(r, depth+1)
		if err != nil {
			return nil, err
		}
		routes = append(routes, inner...)
	}
	return routes, nil
}

// expand lists, in place of a route whose handler is a router, what that dispatches.
// It gets the whole path: its patterns are not below the route's.
func expand(r Route, depth int) (routes []Route, err error) {
	var inner []Route
	switch h := r.Handler.(type) {
	case *http.ServeMux:
		if depth > maxDepth {
			return nil, errEndless
		}
		inner, err = muxRoutes(h, depth)
	case *chi.Mux:
		if depth > maxDepth {
			return nil, errEndless
		}
		inner, err = chiRoutes(h, depth)
	default:
		return []Route{r}, nil
	}
	if err != nil {
		return nil, fmt.Errorf("%w (below %v)", err, r)
	}
	for _, in := range inner {
		isFallback := in.Method == MethodNotFound || in.Method == MethodNotAllowed
		switch {
		case r.Method == MethodNotFound || r.Method == MethodNotAllowed || in.Method == "":
			in.Method = r.Method
		case r.Method == "" || isFallback || r.Method == in.Method:
		case r.Method == http.MethodGet && in.Method == http.MethodHead: // a pattern with GET takes HEAD too
		case r.Method == http.MethodHead && in.Method == http.MethodGet:
			in.Method = http.MethodHead
		default:
			continue // no request has both methods
		}
		in.Guards = slices.Concat(r.Guards, in.Guards)
		routes = append(routes, in)
	}
	return routes, nil
}
