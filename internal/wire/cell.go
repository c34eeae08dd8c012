package wire

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"
)

// A Cell keeps an access token, or whatever else has to be fetched and can be
// refused, and fetches another one: at most one at a time, however many wait
// for it, and however long it hangs.
type Cell[T any] struct {
	timeout time.Duration
	fetch   func(ctx context.Context, last T) (T, error)

	mu      sync.Mutex
	current Issue[T]
	issued  uint64 // the highest generation
	call    *call[T]
}

// An Issue is what was fetched. Its generation tells it from the one before,
// also if both read the same; 0 is that of none.
type Issue[T any] struct {
	Value      T
	Generation uint64
}

// A call is one call of fetch, under way.
type call[T any] struct {
	done      chan struct{} // closed when the fields below stand
	cancel    context.CancelFunc
	waiters   int
	abandoned bool // nobody waits any more: it was cancelled
	issue     Issue[T]
	err       error
}

// NewCell returns an empty cell. fetch is given the value there was, or the
// zero value, and a ctx that ends after timeout or when nobody waits any more;
// it is never called while an earlier call has not returned. It has to recover
// from its own panics.
func NewCell[T any](timeout time.Duration, fetch func(ctx context.Context, last T) (T, error)) *Cell[T] {
	return &Cell[T]{timeout: timeout, fetch: fetch}
}

// Get returns a value of a generation above refused, the current one if it is.
// It waits for fetch until ctx ends, whose error it returns then, or until the
// cell's timeout.
func (c *Cell[T]) Get(ctx context.Context, refused uint64) (Issue[T], error) {
	wait, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	for {
		c.mu.Lock()
		if c.current.Generation > refused {
			defer c.mu.Unlock()
			return c.current, nil
		}
		if c.call == nil {
			c.start(ctx)
		}
		call, joined := c.call, !c.call.abandoned
		if joined {
			call.waiters++
		}
		c.mu.Unlock()

		select {
		case <-call.done:
			if joined {
				return call.issue, call.err
			}
			// A call that was cancelled before we came is over: ask anew.
		case <-wait.Done():
			if joined {
				c.leave(call)
			}
			if ctx.Err() != nil {
				return Issue[T]{}, ctx.Err()
			}
			return Issue[T]{}, fmt.Errorf("no token within %v: %w", c.timeout, wait.Err())
		}
	}
}

// start calls fetch. c.mu is held. The call belongs to all who wait for it, so
// that it does not end with ctx, which belongs to the first of them.
func (c *Cell[T]) start(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.timeout)
	call := &call[T]{done: make(chan struct{}), cancel: cancel}
	c.call = call
	last := c.current.Value
	go func() {
		// What stands if fetch ends this goroutine, as t.FailNow does.
		var value T
		err := errors.New("the token source ended its goroutine")
		defer func() {
			cancel()
			c.mu.Lock()
			defer c.mu.Unlock()
			if err == nil {
				c.issued++
				c.current = Issue[T]{value, c.issued}
				call.issue = c.current
			}
			call.err = err
			c.call = nil
			close(call.done)
		}()
		value, err = c.fetch(ctx, last)
	}()
}

// leave takes one waiter off the call, and cancels it after the last one.
func (c *Cell[T]) leave(call *call[T]) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if call.waiters--; call.waiters == 0 {
		call.abandoned = true
		call.cancel()
	}
}

// Drop forgets a value that was refused, if it is still the current one.
func (c *Cell[T]) Drop(generation uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.current.Generation == generation {
		c.current = Issue[T]{}
	}
}
