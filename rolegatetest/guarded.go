package rolegatetest

import (
	"slices"
	"strings"

	"github.com/rolegate/rolegate/chiroutes"
)

// RequireGuarded fails the test, at once and with a list, if one of the routes
// has no guard in front of it, unless it is named as public, written as the
// listing has it: "GET /healthz". It also fails if public names a route that does
// not exist or is guarded after all, so that the exceptions stay true, and if there
// is no route at all.
//
// [chiroutes.Routes] lists the routes of a chi router: what it dispatches, with
// "NotFound /*" and "MethodNotAllowed /*" where the app serves something of its
// own. [chiroutes.ServeMux] lists those of an [net/http.ServeMux]. A handler whose
// inside cannot be seen, such as http.StripPrefix around a mux, is one route: guard
// the whole of it. What a middleware in front of the guards answers is no route.
func RequireGuarded(t TB, routes []chiroutes.Route, public ...string) {
	t.Helper()
	if len(routes) == 0 {
		t.Fatalf("rolegatetest: there are no routes: list them when all are registered")
		return
	}
	var open, known []string
	for _, r := range routes {
		name := r.String()
		switch {
		case r.Guarded():
		case slices.Contains(public, name):
			known = append(known, name)
		default:
			open = append(open, name)
		}
	}
	var wrong []string
	if len(open) > 0 {
		wrong = append(wrong, "nothing guards these routes:\n\t"+strings.Join(open, "\n\t")+
			"\nguard them with Admit or Require, or name them as public")
	}
	for _, name := range public {
		if !slices.Contains(known, name) {
			wrong = append(wrong, notPublic(routes, name))
		}
	}
	if len(wrong) > 0 {
		t.Fatalf("rolegatetest: %s", strings.Join(wrong, "\n"))
	}
}

// notPublic says why name is no public route: it is guarded, or there is none.
func notPublic(routes []chiroutes.Route, name string) string {
	i := slices.IndexFunc(routes, func(r chiroutes.Route) bool { return r.String() == name })
	if i < 0 {
		text := "there is no route " + name
		if near := nearest(routes, name); near != "" {
			text += ": is " + near + " meant?"
		}
		return text
	}
	cure := "register it outside of r.Use(gate.Admit), beside an r.Group"
	var guards []string
	for _, p := range routes[i].Guards {
		guards = append(guards, p.String())
		if p.String() != "Admit" {
			cure = "register it without them"
		}
	}
	if len(guards) == 1 && guards[0] != "Admit" {
		cure = "register it without that guard"
	}
	return "the public route " + name + " is guarded by " + strings.Join(guards, " and ") + ": " + cure + ", or do not name it as public"
}

// nearest is the route that name could stand for: of the same method, with a path
// that goes on where the other ends, or else of the same path. "" is none.
func nearest(routes []chiroutes.Route, name string) string {
	method, path, ok := strings.Cut(name, " ")
	if !ok {
		method, path = "", name
	}
	path = strings.TrimRight(path, "/")
	best, rest := "", 0
	for _, r := range routes {
		pattern := strings.TrimRight(r.Pattern, "/")
		apart := len(pattern) - len(path)
		short, long := path, pattern
		if apart < 0 {
			short, long, apart = pattern, path, -apart
		}
		goesOn := short == long || short != "" && strings.HasPrefix(long, short+"/") // everything goes on from "/"
		if r.Method == method && goesOn && (best == "" || apart < rest) {
			best, rest = r.String(), apart
		}
	}
	if best != "" {
		return best
	}
	for _, r := range routes {
		if strings.TrimRight(r.Pattern, "/") == path {
			return r.String()
		}
	}
	return ""
}
