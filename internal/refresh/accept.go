package refresh

import "sync"

// Accepted has the digests of what operators accept, for as long as somebody
// waits for it. Its zero value accepts nothing. It is safe for concurrent use.
type Accepted struct {
	mu      sync.Mutex
	waiting map[string]int
}

// Add accepts what has that digest, until the func is called that it returns.
func (a *Accepted) Add(digest string) (done func()) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.waiting == nil {
		a.waiting = map[string]int{}
	}
	a.waiting[digest]++
	return sync.OnceFunc(func() {
		a.mu.Lock()
		defer a.mu.Unlock()
		if a.waiting[digest]--; a.waiting[digest] == 0 {
			delete(a.waiting, digest)
		}
	})
}

// Has reports whether what has that digest is accepted. It asks for the digest
// only if anything is.
func (a *Accepted) Has(digest func() string) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.waiting) > 0 && a.waiting[digest()] > 0
}
