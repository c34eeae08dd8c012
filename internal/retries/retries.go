// Package retries counts what a source does again, for the gate that has asked it. It
// imports nothing of rolegate.
package retries

import (
	"context"
	"sync/atomic"
)

// Counts are what was done again since they were made. They are safe for concurrent
// use; the zero Counts has counted nothing.
type Counts struct {
	Pages  atomic.Uint64 // requests for a page that was asked for before
	Tokens atomic.Uint64 // access tokens after the first
}

type key struct{}

// With returns a ctx in which c counts.
func With(ctx context.Context, c *Counts) context.Context {
	return context.WithValue(ctx, key{}, c)
}

// Page counts a page that is asked for again, if ctx has Counts.
func Page(ctx context.Context) {
	if c, ok := ctx.Value(key{}).(*Counts); ok {
		c.Pages.Add(1)
	}
}

// Token counts a token that takes the place of another, if ctx has Counts.
func Token(ctx context.Context) {
	if c, ok := ctx.Value(key{}).(*Counts); ok {
		c.Tokens.Add(1)
	}
}
