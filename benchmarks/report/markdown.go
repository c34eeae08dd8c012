package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// method says how the figures come about.
const method = `## How it was measured

Absolute times wander from one machine, and from one minute, to another. So whatever is compared takes turns in one process, in slices of some milliseconds, and what is reported is the median of the ratios of the turns; a time is the median of one side's.

**The list** has one to three grants for each user, spread over 2,000 organisations and 40 roles; half of the grants are for ` + "`teacher` or `admin`" + `. Ids are snowflakes above 2^40. **The question** is always "may this user, in this organisation, pass a route that asks for any of ` + "`teacher`, `admin`" + `?", about users in random order. Half of the answers are yes. Of the others, two in five are about an organisation in which the user has no role, two in five about one in which they have only other roles, and one in five about somebody who is not on the list. Everybody who takes part is given the same list and answers every question right before being timed. rolegate's decisions are checked to allocate nothing.

- **The Go map** is ` + "`map[int64][]grant`" + ` with slices of just the capacity that they need, filled without a size hint. Like rolegate it reads the clock once in each decision and refuses when the list is too old. Nothing guards it from a writer.
- **Changes** are ten rounds in which a fiftieth of the users get other grants; the map gets the same. Of the ten, the worst ratio counts.
- **cedar-go** has the users' roles in an organisation as groups of entities, and one policy. **casbin** has RBAC with domains as its documents show it, with a policy for each organisation and role that may pass its one route; *reduced by hand*, the two roles are all of its policy, for whatever organisation, without a route. Its cache of earlier answers, which outlives a change of roles, is not in use. The **Open Policy Agent** is a prepared query over its store in memory. **gorbac** knows neither users nor organisations: a Go map in front of it finds the roles. All of them get ids as text ready made, and none looks at the clock. Their turns are long enough for the collections that their garbage causes.
- **What cannot be reached.** A decision of rolegate reads the clock, counts itself and hands on who the user is. On the machine above the clock alone takes 46 ns, a third of a decision with 100,000 users; neither cedar-go nor the Open Policy Agent reads one. To be 25 times as fast as the one, a decision would have to take 60 ns, and for 100 times as fast as the other 80 ns: clock and all less than two looks into memory that is not in the first caches. The same goes for the map with 1,000 and 10,000 users, whose look-ups take less than the clock.
- **A guard** is ` + "`Gate.Require`" + `, once with ` + "`InOrg(PathOrg(…))`" + ` and once without, on an ` + "`http.ServeMux`" + `, with requests that it admits; the same handler without a guard is taken off. **The least middleware** takes turns with it: it looks the user up in a Go map of pointers to users with their grants in place, reads the clock to refuse when the list is too old, looks for the role, in the organisation of the path if there is one, and hands on who it is as one value of the context, in as many allocations. It counts nothing, survives no panic, and nothing may change its map. The middleware with casbin does what chi-authz does, on a chi router, with the model of chi-authz' own example and an app of twenty routes for two roles each; and once more with one route and the cheap comparisons first. chi-authz itself is made for casbin's first version.
- **The frameworks** route the same requests to a handler that does nothing, with all guards in front of one route and without; for gRPC the interceptor alone is called. casbin has the twenty routes of chi-authz' example again. Of echo, it is the published middleware itself, with casbin's second version. It is the only one that could be downloaded where this was measured: those of gin, hertz and kratos are middlewares of our own that ask casbin what the published ones ask it (they are for its second version too) and take the user from the context, which costs less than Basic auth or a claim. Every one asks for one of two roles in whatever organisation.
- **Heap** is what is live after two collections, without what was live before the gate was opened.
- **Building anew** is ` + "`rolegate.Open`" + ` on a source in memory, without the time that the source takes to name everybody. The thousand changes are averaged over two hundred refreshes in a row.
- **The full refresh** is read from a server on the loopback interface that has the JSON of all users ready. The other client unmarshals each page into structs with just the fields that it needs, and fills the map.
- **Starting from a stored index** is ` + "`rolegate.Open`" + ` with a file that ` + "`filecache`" + ` has written, beside the same full refresh.
- **Swapping** lets a third goroutine swap prepared generations of 100,000 users every 10 ms; what one core decides is measured without swaps.
- **The worst moment of a full refresh** is the most that one collection after the other finds live while it runs.
`

// markdown is docs/benchmarks.md.
func markdown(all results) []byte {
	var b bytes.Buffer
	b.WriteString("# Benchmarks\n\n")
	b.WriteString("This page is written by `GOWORK=off go run ./report` in the folder [benchmarks](../benchmarks): all figures are from there, and [benchmarks.json](benchmarks.json) has the rest of them.\n\n")
	runs(&b, all)
	b.WriteString("\n| what | to reach | measured | reached |\n| --- | --- | --- | --- |\n")
	for _, q := range requirements {
		figure, reached := q.measured(all)
		fmt.Fprintf(&b, "| %s | %s | %s | %s |\n", q.what, q.goal(), figure, reached)
	}
	b.WriteString("\n![What a decision takes, by the number of users](benchmarks.svg)\n")
	decideTable(&b, all)
	peerTable(&b, all)
	frameworkTable(&b, all)
	otherTable(&b, all)
	b.WriteString("\n" + method)
	return b.Bytes()
}

// runs tells when and on what each family was run.
func runs(b *bytes.Buffer, all results) {
	byMachine := map[string][]string{}
	for _, name := range families {
		if f, ok := all[name]; ok {
			line := fmt.Sprintf("%s, on %s", f.Machine, f.Date)
			byMachine[line] = append(byMachine[line], fmt.Sprintf("%s (%.0f s)", name, f.Seconds))
		}
	}
	if len(byMachine) == 0 {
		b.WriteString("Nothing has been measured yet.\n")
		return
	}
	lines := make([]string, 0, len(byMachine))
	for line, names := range byMachine {
		lines = append(lines, fmt.Sprintf("- %s: %s\n", line, strings.Join(names, ", ")))
	}
	slices.Sort(lines)
	for _, line := range lines {
		b.WriteString(line)
	}
}

// cell is a figure of a table, or a dash.
func cell(all results, family, benchmark, unit string) string {
	value, ok := all.get(family, benchmark, unit)
	if !ok {
		return "–"
	}
	return number(value)
}

func decideTable(b *bytes.Buffer, all results) {
	b.WriteString("\n## Decisions beside a Go map\n\nIn nanoseconds; the ratio is the median of those of the turns, not that of the two medians.\n\n")
	b.WriteString("| users | rolegate | map | ratio | … changed: rolegate | map | ratio |\n| ---: | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for i, n := range decideSizes {
		fmt.Fprintf(b, "| %s |", thousands(n))
		for _, benchmark := range []string{fresh[i], changed[i]} {
			for _, unit := range []string{"ns/decision", "map-ns/decision", "×map"} {
				fmt.Fprintf(b, " %s |", cell(all, "Decide", benchmark, unit))
			}
		}
		b.WriteString("\n")
	}
}

// peerNames are the libraries of the family Peers, and how they are shown.
var peerNames = []struct{ name, shown string }{
	{"casbin", "casbin, RBAC with domains"},
	{"opa", "Open Policy Agent"},
	{"casbin-reduced", "casbin, reduced by hand"},
	{"cedar-go", "cedar-go"},
	{"gorbac", "gorbac behind a map"},
}

func peerTable(b *bytes.Buffer, all results) {
	b.WriteString("\n## Decisions of other libraries\n\nIn nanoseconds, and how many times rolegate's time that is.\n\n| |")
	for _, n := range peerSizes {
		fmt.Fprintf(b, " %s users | |", thousands(n))
	}
	b.WriteString("\n| --- |" + strings.Repeat(" ---: | ---: |", len(peerSizes)) + "\n")
	for _, p := range peerNames {
		fmt.Fprintf(b, "| %s |", p.shown)
		for _, n := range peerSizes {
			benchmark := p.name + "/users=" + n
			ratio := cell(all, "Peers", benchmark, "×rolegate")
			fmt.Fprintf(b, " %s | %s × |", cell(all, "Peers", benchmark, "ns/decision"), ratio)
		}
		b.WriteString("\n")
	}
}

// otherFigures are worth telling beside those that have a limit.
var otherFigures = []struct {
	what, form string
	measure    measure
}{
	{"two cores' decisions from the Go map, beside those of one: what the machine has to give", "%s × one core's", one("Parallel", "users=100000", "map-×one-core")},
	{"decisions of two cores", "%s million a second", one("Parallel", "users=100000", "Mdecisions/s")},
	{"what a guard adds to a request, without `InOrg`", "%s ns", one("Middleware", "anywhere", "ns/request-extra")},
	{"what a guard adds to a request, with `InOrg`", "%s ns", one("Middleware", "in-org", "ns/request-extra")},
	{"what the least middleware with a Go map adds, without an organisation", "%s ns", one("Middleware", "anywhere", "least-ns/request-extra")},
	{"what the least middleware with a Go map adds, in an organisation", "%s ns", one("Middleware", "in-org", "least-ns/request-extra")},
	{"what casbin adds to a request, twenty routes", "%s ns", one("Middleware", "casbin", "ns/request-extra")},
	{"what casbin adds to a request, one route and as kind to it as can be", "%s ns", one("Middleware", "casbin-one-route", "ns/request-extra")},
	{"… beside what rolegate adds", "%s ×", one("Middleware", "casbin-one-route", "×rolegate-extra")},
	{"decisions of two cores, none of them swapping, in the benchmark with swaps", "%s × one core's", one("Swapping", "users=100000", "×one-core")},
	{"starting from a stored index of 1,000,000 users", "%s s", one("Start", "users=1000000", "s/start")},
	{"heap, ids and grants alone, 1,000,000 users", "%s bytes a user", one("Heap", "grants/users=1000000", "B/user")},
	{"the map's, 1,000,000 users", "%s bytes a user", one("Heap", "grants/users=1000000", "map-B/user")},
	{"the map's, 900,000 users", "%s bytes a user", one("Heap", "grants/users=900000", "map-B/user")},
	{"heap with all strings, found by account", "%s bytes a user", one("Heap", "profiles/users=1000000", "B/user")},
	{"a garbage collection with 5,000,000 users in the index", "%s ms", one("GC", "users=5000000", "ms/GC")},
	{"… with as many in the Go map", "%s ms", one("GC", "users=5000000", "map-ms/GC")},
	{"taking in 1,000 changes, 1,000,000 users", "%s ms", one("Refresh", "users=1000000", "ms/refresh")},
	{"building the index anew", "%s ms", one("Refresh", "users=1000000", "ms/anew")},
	{"a full refresh from a source in memory, which also compares", "%s ms", one("Refresh", "users=1000000", "ms/full")},
	{"a full refresh of 1,000,000 users over HTTP", "%s s", one("FullRefresh", "users=1000000", "s/full")},
	{"… by the client with encoding/json", "%s s", one("FullRefresh", "users=1000000", "plain-s/full")},
	{"what is read in it", "%s MB", one("FullRefresh", "users=1000000", "MB")},
	{"the live heap at the worst moment of a full refresh", "%s MB", one("FullRefreshHeap", "users=1000000", "MB-peak")},
}

func otherTable(b *bytes.Buffer, all results) {
	b.WriteString("\n## Other figures\n\n| what | measured |\n| --- | --- |\n")
	for _, f := range otherFigures {
		figure := "not measured"
		if value, ok := f.measure(all); ok {
			figure = fmt.Sprintf(f.form, number(value))
		}
		fmt.Fprintf(b, "| %s | %s |\n", f.what, figure)
	}
}
