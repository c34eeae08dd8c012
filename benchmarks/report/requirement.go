package main

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A requirement is a figure that the project has set itself to reach.
type requirement struct {
	what    string
	limit   float64
	atLeast bool   // the limit is the least, not the most
	form    string // how a figure is written, with %s for the number
	measure measure
}

// A measure finds a figure among the results; ok is false if it is not there.
type measure func(results) (value float64, ok bool)

// one is the figure of one benchmark.
func one(family, benchmark, unit string) measure {
	return func(r results) (float64, bool) { return r.get(family, benchmark, unit) }
}

// worst is the largest figure of several benchmarks, all of which are needed.
func worst(family string, benchmarks []string, unit string) measure {
	return func(r results) (float64, bool) {
		most := math.Inf(-1)
		for _, b := range benchmarks {
			value, ok := r.get(family, b, unit)
			if !ok {
				return 0, false
			}
			most = max(most, value)
		}
		return most, true
	}
}

// The sizes of the families Decide and Peers, and the benchmarks of Decide.
var (
	decideSizes = []string{"1000", "10000", "100000", "1000000", "5000000"}
	peerSizes   = decideSizes[:3]

	fresh   = decides("fresh")
	changed = decides("changed")

	large = []int{3, 4} // of decideSizes

	heapSizes = []string{"grants/users=900000", "grants/users=1000000"}
	guarded   = []string{"anywhere", "in-org"}
)

// pick returns some of all.
func pick(all []string, which []int) (some []string) {
	for _, i := range which {
		some = append(some, all[i])
	}
	return some
}

func decides(when string) (benchmarks []string) {
	for _, n := range decideSizes {
		benchmarks = append(benchmarks, "users="+n+"/"+when)
	}
	return benchmarks
}

var requirements = []requirement{
	{"`Policy.Decide` beside a look-up in a Go map, the worse of 1,000,000 and 5,000,000 users", 1.1, false, "%s × the map's time",
		worst("Decide", pick(fresh, large), "×map")},
	{"… while a fifth of the list changes, the worst of ten rounds", 1.1, false, "%s × the map's time",
		worst("Decide", pick(changed, large), "×map")},
	{"a decision of cedar-go, 100,000 users", 25, true, "%s × rolegate's time",
		one("Peers", "cedar-go/users=100000", "×rolegate")},
	{"a decision of casbin, RBAC with domains, 100,000 users", 100, true, "%s × rolegate's time",
		one("Peers", "casbin/users=100000", "×rolegate")},
	{"a decision of the Open Policy Agent, 100,000 users", 100, true, "%s × rolegate's time",
		one("Peers", "opa/users=100000", "×rolegate")},
	{"decisions of two cores, beside those of one", 1.9, true, "%s × one core's",
		one("Parallel", "users=100000", "×one-core")},
	{"… with generations of the index swapping every 10 ms", 1.8, true, "%s × one core's without swaps",
		one("Swapping", "users=100000", "×one-core-swapping")},
	{"what a guard adds to a request", 400, false, "%s ns",
		worst("Middleware", guarded, "ns/request-extra")},
	{"… beside the least middleware that does so with a Go map", 1.25, false, "%s × what that adds",
		worst("Middleware", guarded, "×least")},
	{"what it allocates for a request", 2, false, "%s times",
		worst("Middleware", guarded, "allocs/request-extra")},
	{"what casbin adds to the same request, as chi-authz uses it", 20, true, "%s × what rolegate adds",
		one("Middleware", "casbin", "×rolegate-extra")},
	{"heap, ids and grants alone, the worse of 900,000 and 1,000,000 users", 0.5, false, "%s × the map's",
		worst("Heap", heapSizes, "×map")},
	{"heap with all strings, found by account: what goes beyond the strings", 100, false, "%s bytes a user",
		one("Heap", "profiles/users=1000000", "B/user-beyond-strings")},
	{"a garbage collection with 5,000,000 users in the index", 1.3, false, "%s × without them",
		one("GC", "users=5000000", "×without")},
	{"taking in 1,000 changes, 1,000,000 users", 0.01, false, "%s × building the index anew",
		one("Refresh", "users=1000000", "×anew")},
	{"the slowest 1 % of a reader's decisions while that goes on", 1.5, false, "%s × when nothing does",
		one("RefreshLatency", "users=1000000", "×idle")},
	{"a full refresh of 1,000,000 users over HTTP, beside a client with encoding/json", 2, true, "%s × as fast",
		one("FullRefresh", "users=1000000", "×faster")},
	{"starting from the file of a stored index, 1,000,000 users", 0.1, false, "%s × that full refresh",
		one("Start", "users=1000000", "×full")},
	{"the live heap at the worst moment of a full refresh of 1,000,000 users", 2.2, false, "%s × the index",
		one("FullRefreshHeap", "users=1000000", "×index")},
}

// goal says what is to be reached.
func (q requirement) goal() string {
	sign := "≤ "
	if q.atLeast {
		sign = "≥ "
	}
	return sign + fmt.Sprintf(q.form, number(q.limit))
}

// measured says what was measured, and whether it is enough.
func (q requirement) measured(r results) (figure, reached string) {
	value, ok := q.measure(r)
	switch {
	case !ok:
		return "not measured", "–"
	case q.reached(value):
		return fmt.Sprintf(q.form, number(value)), "yes"
	default:
		return fmt.Sprintf(q.form, number(value)), "**no**"
	}
}

func (q requirement) reached(value float64) bool {
	if q.atLeast {
		return value >= q.limit
	}
	return value <= q.limit
}

// number writes a figure with three digits, or all that stand before the point.
func number(v float64) string {
	if v == 0 {
		return "0"
	}
	digits := 2 - int(math.Floor(math.Log10(math.Abs(v))))
	s := strconv.FormatFloat(v, 'f', max(digits, 0), 64)
	if strings.Contains(s, ".") {
		s = strings.TrimRight(strings.TrimRight(s, "0"), ".")
	}
	return thousands(s)
}

// thousands puts commas into the part of a number before its point.
func thousands(s string) string {
	if positive, ok := strings.CutPrefix(s, "-"); ok {
		return "-" + thousands(positive)
	}
	whole, rest, _ := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if rest != "" {
		whole += "." + rest
	}
	return whole
}
