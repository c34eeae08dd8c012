package benchmarks

import (
	"runtime"
	"runtime/metrics"
	"time"
)

// liveHeap collects garbage and returns how many bytes are left. Twice, because
// what a sync.Pool or a finalizer holds outlives one collection.
func liveHeap() int64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// peakHeap runs f and returns the highest live heap that a collection found
// meanwhile: it makes one collection after the other.
func peakHeap(f func()) int64 {
	done := make(chan struct{})
	go func() {
		defer close(done)
		f()
	}()
	live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
	var peak int64
	for {
		select {
		case <-done:
			return peak
		default:
			runtime.GC()
			metrics.Read(live)
			peak = max(peak, int64(live[0].Value.Uint64()))
		}
	}
}

// collections returns what each of so many garbage collections takes, in
// nanoseconds.
func collections(count int) []float64 {
	runtime.GC()
	runtime.GC()
	took := make([]float64, count)
	for i := range took {
		began := time.Now()
		runtime.GC()
		took[i] = float64(time.Since(began))
	}
	return took
}
