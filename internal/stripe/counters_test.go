package stripe_test

import (
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/stripe"
)

func TestCountersAddUpFromAllGoroutines(t *testing.T) {
	t.Parallel()
	const goroutines, each = 64, 500
	var c stripe.Counters
	var wg sync.WaitGroup
	for i := range goroutines {
		wg.Go(func() {
			for j := range each {
				c.Add(0)
				c.Add(i%4 + 1)
				c.Add(stripe.Width - 1)
				if j%100 == 0 {
					runtime.Gosched() // to another processor, perhaps
				}
			}
		})
	}
	wg.Wait()
	require.EqualValues(t, goroutines*each, c.Sum(0))
	for i := range 4 {
		require.EqualValues(t, goroutines*each/4, c.Sum(i+1))
	}
	require.EqualValues(t, goroutines*each, c.Sum(stripe.Width-1))
	require.Zero(t, c.Sum(5), "nobody counted it")
}

// The garbage collector empties the pool: what was counted stays.
func TestCountersOutliveTheirPool(t *testing.T) {
	t.Parallel()
	var c stripe.Counters
	for range 100 {
		c.Add(7)
		runtime.GC()
	}
	require.EqualValues(t, 100, c.Sum(7))
}

func TestAddDoesNotAllocate(t *testing.T) {
	var c stripe.Counters
	require.Zero(t, int(testing.AllocsPerRun(1000, func() { c.Add(1) })))
}

func BenchmarkAdd(b *testing.B) {
	var c stripe.Counters
	b.ReportAllocs()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add(1)
		}
	})
}
