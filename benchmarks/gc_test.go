package benchmarks

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// BenchmarkGC compares a garbage collection with all users in the index, and
// with the gate closed and gone, by turns. The workload has no pointers in it.
func BenchmarkGC(b *testing.B) {
	n := sized(5_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		w := newWorkload(n)
		count := sized(41, 5)
		for b.Loop() {
			var with, without []float64
			for range sized(4, 1) {
				without = append(without, collections(count)...)
				gate, err := openGate(w)
				require.NoError(b, err)
				with = append(with, collections(count)...)
				require.NoError(b, gate.Close())
				keepAlive(gate)
			}
			without = append(without, collections(count)...)

			m := newRawMap(w)
			raw := collections(sized(7, 3))
			keepAlive(m)
			report(b, median(with)/median(without), "×without")
			report(b, median(with)/1e6, "ms/GC")
			report(b, median(without)/1e6, "without-ms/GC")
			report(b, median(raw)/1e6, "map-ms/GC")
		}
	})
}
