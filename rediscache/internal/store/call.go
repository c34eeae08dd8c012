package store

import (
	"context"
	"errors"
)

// call calls f, and returns when it does, or when ctx ends. A client heeds ctx
// when it waits for a connection, but not always when it waits for an answer:
// the goroutine of a call that nobody waits for any more ends with the client's
// own timeouts, or when the client is closed.
func call[T any](ctx context.Context, f func() (T, error)) (T, error) {
	var zero T
	type outcome struct {
		v        T
		err      error
		panicked any
	}
	done := make(chan outcome, 1)
	go func() {
		o := outcome{err: errors.New("the goroutine of the call to Redis was ended")}
		defer func() {
			o.panicked = recover() // in a hook of the app's
			done <- o
		}()
		o.v, o.err = f()
	}()
	select {
	case <-ctx.Done():
		return zero, ctx.Err()
	case o := <-done:
		if o.panicked != nil {
			panic(o.panicked)
		}
		if o.err != nil && ctx.Err() != nil {
			return zero, ctx.Err()
		}
		return o.v, o.err
	}
}
