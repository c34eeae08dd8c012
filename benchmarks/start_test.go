package benchmarks

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/marketplace"
)

// away is a marketplace that does not answer.
type away struct{ *marketplace.Client }

// Pull implements [rolegate.Source].
func (away) Pull(ctx context.Context, _ int64, _ func(rolegate.Record)) error {
	<-ctx.Done()
	return ctx.Err()
}

// BenchmarkStart compares a start from the file of a stored index with a full refresh of
// the whole list over HTTP.
func BenchmarkStart(b *testing.B) {
	n := sized(1_000_000, 10_000)
	b.Run(users(n), func(b *testing.B) {
		w := newWorkload(n)
		_, url := serve(b, w)
		qs := w.questions(1 << 12)
		file := filepath.Join(b.TempDir(), "index")
		store := filecache.New(file)
		cached := func(c *rolegate.Config) { c.Cache = store }
		for b.Loop() {
			var ratios, starts []float64
			for range sized(5, 1) {
				runtime.GC()
				var gate *rolegate.Gate
				var err error
				full := seconds(func() { gate, err = openGate(marketplaceAt(url), cached) })
				require.NoError(b, err)
				require.Eventually(b, func() bool { return gate.Status().Cache.Stored > 0 }, time.Minute, time.Millisecond)
				require.NoError(b, gate.Close())
				runtime.GC()
				start := seconds(func() { gate, err = openGate(away{marketplaceAt(url)}, cached) })
				require.NoError(b, err)
				require.True(b, gate.Status().Cache.Loaded)
				requireGate(b, policy(gate), qs)
				require.NoError(b, gate.Close())
				require.NoError(b, os.Remove(file))
				ratios, starts = append(ratios, start/full), append(starts, start)
			}
			report(b, median(ratios), "×full")
			report(b, median(starts), "s/start")
		}
	})
}
