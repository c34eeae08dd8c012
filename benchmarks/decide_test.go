package benchmarks

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkDecide compares a decision with the look-up in a Go map: right after
// the list was read, and in each of ten rounds of changes, in which a fiftieth
// of the users get other grants. Of those, the worst round counts.
func BenchmarkDecide(b *testing.B) {
	sizes := []int{1000, 10_000, 100_000, 1_000_000, 5_000_000}
	if testing.Short() {
		sizes = sizes[:2]
	}
	for _, n := range sizes {
		b.Run(users(n), func(b *testing.B) {
			w := newWorkload(n)
			gate := open(b, w)
			p, m := policy(gate), newRawMap(w)

			// measure asks new questions: the old ones may have other answers now.
			measure := func(b *testing.B, c contest) outcome {
				qs := w.questions(sized(max(1<<16, min(n, 1<<20)), 1<<12))
				requireMap(b, m, qs)
				requireGate(b, p, qs)
				requireNoAllocs(b, p, qs)
				return c.run(gateAsked(p, qs), mapAsked(m, qs))
			}
			b.Run("fresh", func(b *testing.B) {
				for b.Loop() {
					o := measure(b, turns(25*time.Millisecond, 31))
					report(b, o.ratio(0, 1), "×map")
					report(b, o.ns(0), "ns/decision")
					report(b, o.ns(1), "map-ns/decision")
				}
			})
			b.Run("changed", func(b *testing.B) {
				for b.Loop() {
					var worst, ns, mapNS float64
					for range 10 {
						for _, i := range w.change(n / 50) {
							m.put(w, int(i))
						}
						require.NoError(b, gate.Refresh(context.Background()))
						o := measure(b, turns(20*time.Millisecond, 15))
						if ratio := o.ratio(0, 1); ratio > worst {
							worst, ns, mapNS = ratio, o.ns(0), o.ns(1)
						}
					}
					report(b, worst, "×map")
					report(b, ns, "ns/decision")
					report(b, mapNS, "map-ns/decision")
				}
			})
		})
	}
}
