package benchmarks

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// changed is how many users change between two refreshes.
const changed = 1000

// BenchmarkRefresh measures what it takes to take in a thousand changes, over so
// many refreshes that a fifth of the list changes: whatever has to be tidied up
// from time to time is in it. Beside it, a gate is opened anew and fully refreshed;
// what the source itself takes to name everybody is taken off that, which makes
// building anew look quicker than it is.
func BenchmarkRefresh(b *testing.B) {
	n := sized(1_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		ctx := context.Background()
		w := newWorkload(n)
		gate := open(b, w)
		p := policy(gate)
		refreshes := n / 5 / changed
		for b.Loop() {
			var refresh, anew, full []float64
			for range sized(3, 1) {
				source := seconds(func() { require.NoError(b, w.Pull(ctx, 0, func(rolegate.Record) {})) })
				anew = append(anew, seconds(func() {
					other, err := openGate(w)
					require.NoError(b, err)
					require.NoError(b, other.Close())
				})-source)
				full = append(full, seconds(func() { require.NoError(b, gate.RefreshAll(ctx)) })-source)
				sum := 0.0
				for range refreshes {
					w.change(changed)
					sum += seconds(func() { require.NoError(b, gate.Refresh(ctx)) })
				}
				refresh = append(refresh, sum/float64(refreshes))
			}
			requireGate(b, p, w.questions(1<<12))
			report(b, median(refresh)/median(anew), "×anew")
			report(b, median(refresh)/median(full), "×full")
			report(b, median(refresh)*1e3, "ms/refresh")
			report(b, median(anew)*1e3, "ms/anew")
			report(b, median(full)*1e3, "ms/full")
		}
	})
}

// BenchmarkRefreshLatency measures how long the slowest one in a hundred of a
// reader's batches of 64 decisions takes while refreshes of a thousand changes
// run one after the other, and while nothing happens.
func BenchmarkRefreshLatency(b *testing.B) {
	n := sized(1_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		ctx := context.Background()
		w := newWorkload(n)
		gate := open(b, w)
		p := policy(gate)
		qs := w.questions(sized(1<<20, 1<<12))
		requireGate(b, p, qs)
		at := 0
		// read returns the 99th percentile of the batches of some time.
		read := func(d time.Duration) float64 {
			took := make([]float64, 0, 1<<16)
			for began := time.Now(); time.Since(began) < d; {
				batch := time.Now()
				for range 64 {
					p.Decide(ctx, rolegate.UserID(qs[at].user), qs[at].org)
					if at++; at == len(qs) {
						at = 0
					}
				}
				took = append(took, float64(time.Since(batch)))
			}
			return quantile(took, 0.99)
		}
		for b.Loop() {
			c := turns(300*time.Millisecond, 11)
			var ratios, idle, busy []float64
			refreshes := 0
			for range c.rounds {
				calm := read(c.slice)
				var stop atomic.Bool
				stopped := make(chan error)
				go func() {
					var err error
					for err == nil && !stop.Load() {
						w.change(changed)
						err = gate.Refresh(ctx)
						refreshes++
					}
					stopped <- err
				}()
				stirred := read(c.slice)
				stop.Store(true)
				require.NoError(b, <-stopped)
				ratios, idle, busy = append(ratios, stirred/calm), append(idle, calm), append(busy, stirred)
			}
			report(b, median(ratios), "×idle")
			report(b, median(idle), "idle-ns/64-decisions")
			report(b, median(busy), "busy-ns/64-decisions")
			report(b, float64(refreshes)/float64(c.rounds), "refreshes/round")
		}
		requireGate(b, p, w.questions(1<<12))
	})
}

// seconds is how long f takes.
func seconds(f func()) float64 {
	began := time.Now()
	f()
	return time.Since(began).Seconds()
}
