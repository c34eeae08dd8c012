package rolegatetest

import (
	"context"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
)

// askFor is how long a route may take to answer: one that streams and that nothing
// guards would go on for ever.
const askFor = 10 * time.Second

// wildcard is what stands for a value in a path of net/http, chi, kratos, gin, echo,
// go-zero or hertz.
var wildcard = regexp.MustCompile(`\{[^{}]*(\{[^{}]*\}[^{}]*)*\}|[:*][^/]*`)

// RequireRefused asks the app for each of the routes, as nobody, and fails the test
// with a list if the gate does not refuse one, unless it is named as public. It is for
// frameworks that do not show what is in front of a handler, such as echo, kratos,
// go-zero and hertz; [RequireGuarded] calls no handler, and knows the guards.
//
// Routes are written "GET /orgs/:orgID/reports", as the framework's own listing has
// them. It also fails if public names a route that the gate does refuse, or that is not
// among the routes. A handler that nothing guards does run, with 1 for each value in its
// path. Where something in front of the gate refuses whoever sends no token, let app be
// an [net/http.HandlerFunc] that adds one of a user who is not listed.
func RequireRefused(t TB, gate *rolegate.Gate, app http.Handler, routes []string, public ...string) {
	t.Helper()
	if len(routes) == 0 {
		t.Fatalf("rolegatetest: there are no routes: list them when all are registered")
		return
	}
	var open, closed []string
	for _, route := range routes {
		method, path, ok := strings.Cut(route, " ")
		if !ok || !strings.HasPrefix(path, "/") {
			t.Fatalf("rolegatetest: %q is no route: expected a method and a path, such as \"GET /orgs/:orgID\"", route)
			return
		}
		switch refused := refuses(gate, app, method, wildcard.ReplaceAllLiteralString(path, "1")); {
		case !refused && !slices.Contains(public, route):
			open = append(open, route)
		case refused && slices.Contains(public, route):
			closed = append(closed, route)
		}
	}
	var wrong []string
	if len(open) > 0 {
		wrong = append(wrong, "the gate refuses nobody at these routes:\n\t"+strings.Join(open, "\n\t")+
			"\nguard them with Admit or Require, or name them as public")
	}
	for _, route := range public {
		switch {
		case !slices.Contains(routes, route):
			wrong = append(wrong, "there is no route "+route)
		case slices.Contains(closed, route):
			wrong = append(wrong, "the public route "+route+" is guarded: register it without a guard, or do not name it as public")
		}
	}
	if len(wrong) > 0 {
		t.Fatalf("rolegatetest: %s", strings.Join(wrong, "\n"))
	}
}

// refuses reports whether the gate refuses a request without anything in it.
func refuses(gate *rolegate.Gate, app http.Handler, method, path string) bool {
	ctx, cancel := context.WithTimeout(context.Background(), askFor)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, "http://app.example"+path, http.NoBody)
	if err != nil {
		return false
	}
	r.RequestURI, r.RemoteAddr = r.URL.RequestURI(), "192.0.2.1:1234"
	before := lastRefusal(gate)
	func() {
		defer func() { _ = recover() }() // of a handler that nothing guards
		app.ServeHTTP(discarded{}, r)
	}()
	after := lastRefusal(gate)
	return after != "" && after != before
}

func lastRefusal(gate *rolegate.Gate) string {
	for _, e := range gate.Refusals(1) {
		return e.DecisionID
	}
	return ""
}

// discarded is a ResponseWriter that keeps nothing but headers.
type discarded http.Header

func (d discarded) Header() http.Header         { return http.Header(d) }
func (d discarded) Write(p []byte) (int, error) { return len(p), nil }
func (d discarded) WriteHeader(int)             {}
func (d discarded) Flush()                      {}
