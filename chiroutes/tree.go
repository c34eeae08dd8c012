package chiroutes

import (
	"errors"
	"fmt"
	"math/bits"
	"net/http"
	"reflect"
	"strings"
	"unsafe"

	"github.com/go-chi/chi/v5"
)

// errLayout is returned when the fields are not there that this file reads.
var errLayout = errors.New("rolegate: chiroutes: this version of chi has another routing tree than the one that rolegate was tested with (v5.5.0): use that one, or a newer rolegate")

// A router is what a chi.Mux dispatches by. chi exports none of it.
type router struct {
	tree                       *node
	middlewares                chi.Middlewares // those that stand in front of all of it
	notFound, methodNotAllowed http.Handler    // nil if the app has set none
	empty                      bool            // no route was registered with it: all is not found
}

// A node is one of the tree.
type node struct {
	handlers  map[string]http.Handler // by method
	patterns  map[string]string       // by method
	mount     http.Handler            // what Mount has put there, for all methods
	subroutes chi.Routes              // the router that Mount has put there

	children   []*node
	slash, all *node // the children "/" and "*"
}

// read reads a router's insides. mux is not called.
func read(mux *chi.Mux) (r router, err error) {
	defer func() {
		if v := recover(); v != nil { // reflect's, for a field of another kind
			err = errLayout
		}
	}()
	methods, err := methodsOf()
	if err != nil {
		return r, err
	}
	m := fields{reflect.ValueOf(mux).Elem()}
	r = router{
		empty:            m.get("handler").IsNil(),
		notFound:         fallback(m.get("notFoundHandler")),
		methodNotAllowed: fallback(m.get("methodNotAllowedHandler")),
	}
	if !m.get("inline").Bool() { // With puts its middlewares in front of each route
		r.middlewares = mux.Middlewares()
	}
	r.tree = readNode(m.get("tree"), methods)
	return r, nil
}

func fallback(v reflect.Value) http.Handler {
	if f := v.Interface().(http.HandlerFunc); f != nil {
		return f
	}
	return nil
}

func readNode(v reflect.Value, methods methodNames) *node {
	f := fields{v.Elem()}
	n := &node{handlers: map[string]http.Handler{}, patterns: map[string]string{}}
	n.subroutes, _ = f.get("subroutes").Interface().(chi.Routes)
	for each := f.get("endpoints").MapRange(); each.Next(); {
		e := fields{each.Value().Elem()}
		h, _ := e.get("handler").Interface().(http.Handler)
		if h == nil {
			continue
		}
		typ := each.Key().Uint()
		name, known := methods.names[typ]
		switch {
		case typ == methods.stub:
			n.mount = h
		case known:
			n.handlers[name] = h
			n.patterns[name] = e.get("pattern").String()
		case bits.OnesCount64(typ) == 1:
			panic("chi has a method without a name")
		} // else it stands for all methods, of which each has an endpoint
	}
	for children, i := f.get("children"), 0; i < children.Len(); i++ {
		for j := range children.Index(i).Len() {
			of := children.Index(i).Index(j)
			child := readNode(of, methods)
			n.children = append(n.children, child)
			switch i { // in the order in which chi looks at them
			case ofStatic:
				if (fields{of.Elem()}).get("prefix").String() == "/" {
					n.slash = child
				}
			case ofAll:
				n.all = child
			}
		}
	}
	return n
}

// Where a node has its children of a kind.
const (
	ofStatic = 0
	ofAll    = 3
)

// fields reads fields of a struct that another package does not export.
type fields struct{ of reflect.Value }

func (f fields) get(name string) reflect.Value {
	v := f.of.FieldByName(name)
	if !v.IsValid() {
		panic("chi has no field " + name)
	}
	return reflect.NewAt(v.Type(), unsafe.Pointer(v.UnsafeAddr())).Elem()
}

// methodNames says what chi's numbers of methods mean.
type methodNames struct {
	names map[uint64]string
	stub  uint64 // what Mount marks its own handlers with
}

// methodsOf finds the methods out, those of chi.RegisterMethod too: it registers
// each with a router and looks where it is then.
func methodsOf() (m methodNames, err error) {
	m.names = map[uint64]string{}
	every := chi.NewRouter()
	every.Handle("/", http.NotFoundHandler())
	for _, r := range every.Routes() {
		for name := range r.Handlers {
			if name == "*" {
				continue
			}
			one := chi.NewRouter()
			one.Method(name, "/", http.NotFoundHandler())
			for _, typ := range typesAt(one) {
				m.names[typ] = name
			}
		}
	}
	mounted := chi.NewRouter()
	mounted.Mount("/", chi.NewRouter())
	for _, typ := range typesAt(mounted) {
		if _, known := m.names[typ]; !known && bits.OnesCount64(typ) == 1 {
			m.stub = typ
		}
	}
	if len(m.names) == 0 || m.stub == 0 {
		return m, errLayout
	}
	return m, nil
}

// typesAt returns the methods of the one route of a router.
func typesAt(mux *chi.Mux) (types []uint64) {
	n := fields{reflect.ValueOf(mux).Elem()}.get("tree")
	for {
		f := fields{n.Elem()}
		for each := f.get("endpoints").MapRange(); each.Next(); {
			types = append(types, each.Key().Uint())
		}
		children := f.get("children")
		next := reflect.Value{}
		for i := range children.Len() {
			if children.Index(i).Len() > 0 {
				next = children.Index(i).Index(0)
			}
		}
		if !next.IsValid() {
			return types
		}
		n = next
	}
}

// muxOf returns the router as one that can be read.
func muxOf(r chi.Routes) (*chi.Mux, error) {
	mux, ok := r.(*chi.Mux)
	if !ok || mux == nil {
		return nil, fmt.Errorf("rolegate: chiroutes: the router is a %s: expected the *chi.Mux of chi.NewRouter", strings.TrimPrefix(fmt.Sprintf("%T", r), "<nil>"))
	}
	return mux, nil
}
