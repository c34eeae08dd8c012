package benchmarks

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// sized returns the size for a whole run, or the one for -short.
func sized(whole, short int) int {
	if testing.Short() {
		return short
	}
	return whole
}

// turns returns a contest of so many rounds, or a brief one for -short.
func turns(slice time.Duration, rounds int) contest {
	if testing.Short() {
		return contest{slice: time.Millisecond, rounds: 3}
	}
	return contest{slice: slice, rounds: rounds}
}

// users is how benchmarks name a size.
func users(n int) string { return fmt.Sprintf("users=%d", n) }

// report reports a metric, and none for the benchmark as a whole: how long all
// of it took tells nothing.
func report(b *testing.B, value float64, unit string) {
	b.Helper()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(value, unit)
}

// open is openGate for the length of a test.
func open(tb testing.TB, source rolegate.Source, edit ...func(*rolegate.Config)) *rolegate.Gate {
	tb.Helper()
	gate, err := openGate(source, edit...)
	require.NoError(tb, err)
	tb.Cleanup(func() { require.NoError(tb, gate.Close()) })
	return gate
}

// requireAnswers requires that somebody answers every question right.
func requireAnswers(tb testing.TB, who string, qs []question, allowed func(q question) bool) {
	tb.Helper()
	for _, q := range qs {
		if allowed(q) != q.allowed {
			require.Failf(tb, "a wrong answer", "%s, asked about user %d in %d, says %t", who, q.user, q.org, !q.allowed)
		}
	}
}

// requireGate is requireAnswers for a policy, and requireMap for a map.
func requireGate(tb testing.TB, p *rolegate.Policy, qs []question) {
	tb.Helper()
	requireAnswers(tb, "rolegate", qs, func(q question) bool {
		return p.Decide(context.Background(), rolegate.UserID(q.user), q.org).Allowed()
	})
}

func requireMap(tb testing.TB, m *rawMap, qs []question) {
	tb.Helper()
	requireAnswers(tb, "the map", qs, func(q question) bool { return m.allowed(q.user, q.org) })
}

// requireNoAllocs requires that decisions allocate nothing.
func requireNoAllocs(tb testing.TB, p *rolegate.Policy, qs []question) {
	tb.Helper()
	ask := gateAsked(p, qs)
	require.Zero(tb, testing.AllocsPerRun(100, func() { ask(10) }), "allocations of ten decisions")
}

// keepAlive keeps what was measured from being collected before.
func keepAlive(values ...any) {
	for _, v := range values {
		runtime.KeepAlive(v)
	}
}
