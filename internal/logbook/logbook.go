// Package logbook is where tests of several packages collect what was logged.
package logbook

import (
	"bytes"
	"sync"
)

// A Book keeps what is written to it, from any goroutines. Its zero value is
// empty and ready for use.
type Book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

// Write implements io.Writer. It never fails.
func (b *Book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

// String returns all that was written so far.
func (b *Book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}
