package benchmarks

import (
	"runtime"
	"sync"
	"testing"
	"time"
)

// BenchmarkParallel measures how many more decisions all cores make together
// than one alone. What the same does for a Go map, which nobody writes to, is
// what the machine has to give.
func BenchmarkParallel(b *testing.B) {
	n := sized(100_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		w := newWorkload(n)
		p, m := policy(open(b, w)), newRawMap(w)
		qs := w.questions(sized(1<<18, 1<<12))
		requireGate(b, p, qs)
		requireMap(b, m, qs)
		procs := runtime.GOMAXPROCS(0)
		// Each goroutine begins somewhere else.
		var gate, raw []contestant
		for k := range procs {
			from := len(qs) / procs * k
			own := append(append([]question(nil), qs[from:]...), qs[:from]...)
			gate, raw = append(gate, gateAsked(p, own)), append(raw, mapAsked(m, own))
		}
		for b.Loop() {
			c := turns(50*time.Millisecond, 41)
			var scaling, rawScaling, rates []float64
			for range c.rounds {
				one, all := rate(c.slice, gate[:1]), rate(c.slice, gate)
				rawOne, rawAll := rate(c.slice, raw[:1]), rate(c.slice, raw)
				scaling, rawScaling, rates = append(scaling, all/one), append(rawScaling, rawAll/rawOne), append(rates, all*1e3)
			}
			report(b, median(scaling), "×one-core")
			report(b, median(rawScaling), "map-×one-core")
			report(b, float64(procs), "cores")
			report(b, median(rates), "Mdecisions/s")
		}
	})
}

// rate has each contestant work in a goroutine of its own for some time, and
// returns how many operations they did together in a nanosecond.
func rate(d time.Duration, contestants []contestant) float64 {
	const ops = 256 // between two looks at the clock
	var (
		wg    sync.WaitGroup
		start = make(chan struct{})
		rates = make([]float64, len(contestants))
	)
	for k, do := range contestants {
		wg.Go(func() {
			<-start
			began, done := time.Now(), 0
			for time.Since(began) < d {
				do(ops)
				done += ops
			}
			rates[k] = float64(done) / float64(time.Since(began))
		})
	}
	close(start)
	wg.Wait()
	sum := 0.0
	for _, r := range rates {
		sum += r
	}
	return sum
}
