package chiroutes

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/rolegate/rolegate"
)

// ServeMux lists the routes of an [http.ServeMux], sorted by pattern. h is the mux
// itself, or the mux behind guards: gate.Admit(mux). A route with GET serves HEAD
// too. In place of a mux, or a router of chi, that is the handler of a pattern, what
// it dispatches is listed.
//
// Given patterns, it lists those alone, "GET /grades/{id}", in their order and with
// whatever handler. It is an error if the mux does not dispatch to one. That works
// with every version of Go; without patterns, the mux is read by reflection, and it is
// an error if a version of Go has another one.
//
// It calls no handler.
func ServeMux(h http.Handler, patterns ...string) ([]Route, error) {
	inner, guards := unwrap(h, nil)
	mux, ok := inner.(*http.ServeMux)
	if !ok {
		return nil, fmt.Errorf("rolegate: chiroutes: the handler is a %T: expected an *http.ServeMux, alone or behind guards", inner)
	}
	if len(patterns) == 0 {
		return expand(Route{Guards: guards, Handler: mux}, 0)
	}
	routes := make([]Route, 0, len(patterns))
	var errs []error
	for _, pattern := range patterns {
		r, err := askFor(pattern)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		found, by := mux.Handler(r)
		switch by {
		case pattern:
			routes = append(routes, muxRoute(pattern, found, guards))
		case "":
			errs = append(errs, fmt.Errorf("rolegate: chiroutes: the mux has no pattern %q: write it as it is registered", pattern))
		default:
			errs = append(errs, fmt.Errorf("rolegate: chiroutes: the mux has no pattern %q: %q takes its requests", pattern, by))
		}
	}
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}
	return routes, nil
}

func muxRoute(pattern string, h http.Handler, outer []*rolegate.Policy) Route {
	h, guards := unwrap(h, outer)
	method, rest, found := strings.Cut(pattern, " ")
	if !found {
		method, rest = "", pattern
	}
	return Route{Method: method, Pattern: strings.TrimLeft(rest, " \t"), Guards: guards, Handler: h}
}

// fresh is what a wildcard is for askFor: no literal of a pattern is the same.
const fresh = "rolegate-chiroutes-wildcard"

// askFor makes a request that the pattern matches, and no other pattern does that
// is not at least as specific.
func askFor(pattern string) (*http.Request, error) {
	method, rest, found := strings.Cut(pattern, " ")
	if !found {
		method, rest = "ROLEGATE-ANY", pattern // no pattern with a method takes it
	}
	rest = strings.TrimLeft(rest, " \t")
	slash := strings.IndexByte(rest, '/')
	if slash < 0 || method == "" {
		return nil, fmt.Errorf("rolegate: chiroutes: %q is no pattern of a ServeMux: expected such as \"GET /grades/{id}\"", pattern)
	}
	host, path := rest[:slash], rest[slash:]
	segments := strings.Split(path, "/")
	for i, s := range segments {
		switch {
		case s == "{$}":
			segments[i] = ""
		case strings.HasPrefix(s, "{") && strings.HasSuffix(s, "}"):
			segments[i] = fresh
		default:
			if u, err := url.PathUnescape(s); err == nil {
				segments[i] = u
			}
		}
	}
	return &http.Request{Method: method, Host: host, URL: &url.URL{Path: strings.Join(segments, "/")}, Header: http.Header{}}, nil
}
