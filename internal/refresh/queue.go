package refresh

import (
	"log/slog"
	"sync/atomic"

	"github.com/rolegate/rolegate/internal/panics"
)

// A Queue hands events to a hook of the app's from a goroutine of its own, so
// that a hook that is slow, or hangs, holds up nothing else. What does not fit
// is dropped and counted. The nil Queue takes nothing.
type Queue[T any] struct {
	events  chan T
	dropped atomic.Uint64
}

// StartQueue returns a queue for that many events, nil if hook is nil. A panic
// of the hook, which name names, is logged; the next event is handed on.
func StartQueue[T any](tasks *Tasks, log *slog.Logger, size int, name string, hook func(T)) *Queue[T] {
	if hook == nil {
		return nil
	}
	q := &Queue[T]{events: make(chan T, size)}
	ctx := tasks.Context()
	call := func(e T) (err error) {
		defer panics.Into(&err, name)
		hook(e)
		return nil
	}
	tasks.Go(func() {
		for {
			select {
			case <-ctx.Done():
				return
			case e := <-q.events:
				if ctx.Err() != nil {
					return // a hook that is slow must not go on with all that waits
				}
				if err := call(e); err != nil {
					log.Error("rolegate: a hook panicked", "err", err)
				}
			}
		}
	})
	return q
}

// Put queues an event, or drops it. It never blocks.
func (q *Queue[T]) Put(e T) {
	if q == nil {
		return
	}
	select {
	case q.events <- e:
	default:
		q.dropped.Add(1)
	}
}

// Dropped returns how many events did not fit.
func (q *Queue[T]) Dropped() uint64 {
	if q == nil {
		return 0
	}
	return q.dropped.Load()
}
