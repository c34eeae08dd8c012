package snapshot

import (
	"context"
	"sync/atomic"
)

// Live is the generation that requests see: nil until the first list is there, and
// only ever replaced whole. Its zero value has none and can be read; [Live.Open]
// makes it ready for publishing. It is safe for concurrent use.
type Live struct {
	now atomic.Pointer[Generation]

	// publishing is held (it has room for one) while a generation is made of the one
	// before and published.
	publishing chan struct{}

	news      atomic.Pointer[chan struct{}] // closed with the next publish
	onPublish []func()
}

// Open makes it ready for publishing.
func (l *Live) Open() {
	l.publishing = make(chan struct{}, 1)
	news := make(chan struct{})
	l.news.Store(&news)
}

// OnPublish has call called after each publish, with the lock held, and in the order of
// these calls. It must be called before the first publish.
func (l *Live) OnPublish(call func()) { l.onPublish = append(l.onPublish, call) }

// Load returns the generation that requests see, nil if there is none yet.
func (l *Live) Load() *Generation { return l.now.Load() }

// Store replaces what requests see and tells nobody: for tests.
func (l *Live) Store(gen *Generation) { l.now.Store(gen) }

// Lock waits for the lock for publishing, until ctx ends.
func (l *Live) Lock(ctx context.Context) error {
	select {
	case l.publishing <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// Unlock gives the lock back.
func (l *Live) Unlock() { <-l.publishing }

// Publish makes requests see the next generation, which has a number of its own if it
// differs in more than its ages. It needs the lock.
func (l *Live) Publish(next *Generation) {
	before := l.now.Load()
	switch {
	case before == nil:
		next.Number = 1
	case before.Snapshot == next.Snapshot && before.Held == next.Held:
		next.Number = before.Number
	default:
		next.Number = before.Number + 1
	}
	l.now.Store(next)
	news := make(chan struct{})
	close(*l.news.Swap(&news))
	for _, call := range l.onPublish {
		call()
	}
}

// Published returns a channel that is closed with the next publish.
func (l *Live) Published() <-chan struct{} { return *l.news.Load() }
