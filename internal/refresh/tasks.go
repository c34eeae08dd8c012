package refresh

import (
	"context"
	"sync"
)

// Tasks are goroutines that end together. Make them with [NewTasks].
type Tasks struct {
	ctx    context.Context
	cancel context.CancelFunc

	mu      sync.Mutex
	ended   bool
	running sync.WaitGroup // Add only while not ended
}

// NewTasks returns a group without goroutines.
func NewTasks() *Tasks {
	t := &Tasks{}
	t.ctx, t.cancel = context.WithCancel(context.Background())
	return t
}

// Context returns a context that ends with [Tasks.End].
func (t *Tasks) Context() context.Context { return t.ctx }

// Enter registers work that Wait waits for, which must call Leave when it is
// done. It returns false, and registers nothing, after End.
func (t *Tasks) Enter() bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.ended {
		return false
	}
	t.running.Add(1)
	return true
}

// Leave says that work which Enter has registered is done.
func (t *Tasks) Leave() { t.running.Done() }

// Go runs f in a goroutine of the group. After End it does nothing and returns
// false.
func (t *Tasks) Go(f func()) bool {
	if !t.Enter() {
		return false
	}
	go func() {
		defer t.Leave()
		f()
	}()
	return true
}

// End cancels the context and lets nothing begin any more. It does not wait.
func (t *Tasks) End() {
	t.mu.Lock()
	t.ended = true
	t.mu.Unlock()
	t.cancel()
}

// Wait blocks until all goroutines have ended. Call it after End.
func (t *Tasks) Wait() { t.running.Wait() }
