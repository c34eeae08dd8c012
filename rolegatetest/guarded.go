package rolegatetest

import (
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// RequireGuarded fails the test, at once and with a list, if a route of the
// router has no guard in front of it, unless it is one of public, written as
// chi has it: "GET /healthz". It also fails if public names a route that does
// not exist or is guarded after all, so that the exceptions stay true.
//
// See [rolegate.Routes] for which guards it can see. The routes of an
// [net/http.ServeMux] cannot be listed: wrap the whole mux in Admit instead.
func RequireGuarded(t TB, router chi.Routes, public ...string) {
	t.Helper()
	routes, err := rolegate.Routes(router)
	if err != nil {
		t.Fatalf("rolegatetest: the router's routes cannot be listed: %v", err)
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
			wrong = append(wrong, "the public route "+name+" does not exist, or is guarded: leave it out")
		}
	}
	if len(wrong) > 0 {
		t.Fatalf("rolegatetest: %s", strings.Join(wrong, "\n"))
	}
}
