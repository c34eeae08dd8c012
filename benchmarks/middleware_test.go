package benchmarks

import (
	"net/http"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// guards are what the benchmarks put in front of the handler of a route.
func guards(gate *rolegate.Gate) (anywhere, inOrg func(http.Handler) http.Handler) {
	anyRole := rolegate.AnyRole(roleCodes[teacher], roleCodes[admin])
	return gate.Require(anyRole), gate.Require(anyRole, rolegate.InOrg(rolegate.PathOrg("orgID")))
}

func bare(next http.Handler) http.Handler { return next }

// mux routes both routes to the same handler behind a guard.
func mux(guard func(http.Handler) http.Handler) http.Handler {
	m := http.NewServeMux()
	m.Handle("GET /grades", guard(http.HandlerFunc(done)))
	m.Handle("GET /orgs/{orgID}/reports", guard(http.HandlerFunc(done)))
	return m
}

func chiRouter(guard func(http.Handler) http.Handler) http.Handler {
	r := chi.NewRouter()
	r.With(guard).Get("/grades", done)
	return r
}

// BenchmarkMiddleware measures what a guard adds to a request that it lets
// through, on an http.ServeMux beside the least middleware that does so, and, beside casbin as chi-authz uses it, on chi.
func BenchmarkMiddleware(b *testing.B) {
	w := newWorkload(sized(100_000, 1000))
	gate := open(b, w)
	grades, reports := w.requests(sized(1<<12, 1<<8))
	require.Len(b, reports, sized(1<<12, 1<<8))
	anywhere, inOrg := guards(gate)

	for _, route := range []struct {
		name     string
		guard    func(http.Handler) http.Handler
		inOrg    bool
		requests []*http.Request
	}{
		{"anywhere", anywhere, false, grades},
		{"in-org", inOrg, true, reports},
	} {
		b.Run(route.name, func(b *testing.B) {
			guarded, least, unguarded := mux(route.guard), mux(newLeast(w, route.inOrg)), mux(bare)
			for b.Loop() {
				o := turns(5*time.Millisecond, 155).run(served(guarded, route.requests), served(least, route.requests), served(unguarded, route.requests))
				report(b, o.extra(0, 2), "ns/request-extra")
				report(b, o.extra(1, 2), "least-ns/request-extra")
				report(b, o.extra(0, 2)/o.extra(1, 2), "×least")
				report(b, o.ns(2), "bare-ns/request")
				report(b, extraAllocs(least, unguarded, route.requests), "least-allocs/request-extra")
				report(b, extraAllocs(guarded, unguarded, route.requests), "allocs/request-extra")
			}
		})
	}
	for _, c := range []struct {
		name, conf string
		routes     int
	}{
		{"casbin", casbinRoutes, 20},
		{"casbin-one-route", casbinOneRoute, 1},
	} {
		b.Run(c.name, func(b *testing.B) {
			e, err := newRouteEnforcer(w, c.conf, c.routes)
			require.NoError(b, err)
			guarded, enforced, unguarded := chiRouter(anywhere), chiRouter(enforce(e)), chiRouter(bare)
			for b.Loop() {
				o := turns(25*time.Millisecond, 31).run(served(guarded, grades), served(enforced, grades), served(unguarded, grades))
				report(b, o.extra(1, 2)/o.extra(0, 2), "×rolegate-extra")
				report(b, o.extra(1, 2), "ns/request-extra")
				report(b, o.extra(0, 2), "rolegate-ns/request-extra")
				report(b, extraAllocs(enforced, unguarded, grades), "allocs/request-extra")
			}
		})
	}
}

// extraAllocs is how many allocations more a handler makes for a request.
func extraAllocs(guarded, unguarded http.Handler, requests []*http.Request) float64 {
	allocs := func(h http.Handler) float64 {
		serve := served(h, requests)
		return testing.AllocsPerRun(1000, func() { serve(1) })
	}
	return allocs(guarded) - allocs(unguarded)
}
