package rolegate_test

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The comparison with others is in the module benchmarks; here is what needs a
// look inside.

// benchRecords is a list of n users with one to three grants each.
func benchRecords(n int, seed uint64) []rolegate.Record {
	rnd := rand.New(rand.NewPCG(seed, 4))
	records := make([]rolegate.Record, n)
	for i := range records {
		records[i] = record(1<<40 + int64(i)*3)
		for range 1 + rnd.IntN(3) {
			records[i].Grants = append(records[i].Grants, in(1+rnd.Int64N(2000), role(rnd)))
		}
	}
	return records
}

func benchGate(b *testing.B, source rolegate.Source) *rolegate.Gate {
	b.Helper()
	gate, err := rolegate.Open(b.Context(), rolegate.Config{Source: source, Identify: byHeader, Logger: slog.New(slog.DiscardHandler)})
	require.NoError(b, err)
	b.Cleanup(func() { require.NoError(b, gate.Close()) })
	return gate
}

func BenchmarkDecide(b *testing.B) {
	const users = 100_000
	records := benchRecords(users, 3)
	gate := benchGate(b, rolegatetest.NewStatic(records...))
	policy := gate.Policy(rolegate.AnyRole("teacher", "admin"))
	for _, c := range []struct {
		name string
		org  func(rolegate.Record) int64
	}{
		{"org=one", func(r rolegate.Record) int64 { return r.Grants[0].OrgID }},
		{"org=any", func(rolegate.Record) int64 { return 0 }},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				rnd := rand.New(rand.NewPCG(5, rand.Uint64()))
				for pb.Next() {
					r := records[rnd.IntN(users)]
					policy.Decide(b.Context(), rolegate.UserID(r.UserID), c.org(r))
				}
			})
		})
	}
}

// BenchmarkSwapping measures how many times as much all cores decide together
// as one alone, while prepared generations are published every 10 ms. What one
// alone does is measured without it.
func BenchmarkSwapping(b *testing.B) {
	b.Run("users=100000", func(b *testing.B) { benchmarkSwapping(b, 100_000, 200*time.Millisecond, 15) })
}

func benchmarkSwapping(b *testing.B, users int, slice time.Duration, rounds int) {
	records := benchRecords(users, 3)
	source := rolegatetest.NewStatic(records...)
	gate := benchGate(b, source)
	policy := gate.Policy(rolegate.AnyRole("teacher", "admin"))
	generations := []func(){rolegate.Remember(gate)}
	for seed := range uint64(3) {
		source.Set(benchRecords(users, 10+seed)...)
		require.NoError(b, gate.RefreshAll(b.Context()))
		generations = append(generations, rolegate.Remember(gate))
	}
	// decided is how many decisions so many goroutines make in a slice.
	decided := func(goroutines int, publishes bool) float64 {
		ctx, stop := context.WithTimeout(b.Context(), slice)
		defer stop()
		counts := make([]int, goroutines*16) // apart from each other
		var wg sync.WaitGroup
		for k := range goroutines {
			wg.Go(func() {
				rnd := rand.New(rand.NewPCG(7, uint64(k)))
				n := 0
				for ; n%64 != 0 || ctx.Err() == nil; n++ {
					r := &records[rnd.IntN(users)]
					policy.Decide(ctx, rolegate.UserID(r.UserID), r.Grants[0].OrgID)
				}
				counts[k*16] = n
			})
		}
		if publishes {
			tick := time.NewTicker(10 * time.Millisecond)
			defer tick.Stop()
			for i := 0; ctx.Err() == nil; i++ {
				generations[i%len(generations)]()
				select {
				case <-tick.C:
				case <-ctx.Done():
				}
			}
		}
		wg.Wait()
		sum := 0
		for _, n := range counts {
			sum += n
		}
		return float64(sum)
	}
	for b.Loop() {
		var steady, swapping []float64
		for range rounds {
			one := decided(1, false)
			steady = append(steady, decided(runtime.GOMAXPROCS(0), false)/one)
			swapping = append(swapping, decided(runtime.GOMAXPROCS(0), true)/one)
		}
		slices.Sort(steady)
		slices.Sort(swapping)
		b.ReportMetric(0, "ns/op")
		b.ReportMetric(steady[rounds/2], "×one-core")
		b.ReportMetric(swapping[rounds/2], "×one-core-swapping")
	}
}
