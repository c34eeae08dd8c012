package store

import (
	"context"

	"github.com/rolegate/rolegate/internal/panics"
)

// call calls f, and returns when it does, or when ctx ends. A client heeds ctx
// when it waits for a connection, but not always when it waits for an answer:
// the goroutine of a call that nobody waits for any more ends with the client's
// own timeouts, or when the client is closed.
func call[T any](ctx context.Context, f func() (T, error)) (none T, err error) {
	var got T
	var failed error
	done := make(chan struct{})
	go func() {
		defer close(done)
		failed = panics.Call("a hook of the Redis client", func() (err error) {
			got, err = f()
			return err
		})
	}()
	select {
	case <-done:
		if failed == nil || ctx.Err() == nil {
			return got, failed
		}
	case <-ctx.Done():
	}
	return none, ctx.Err()
}
