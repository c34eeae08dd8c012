package marketplace

import "strings"

// How much memory is asked for at once: at first for the few users of an
// increment, and in the end for about the names of a page. The latter is also the
// most that one string keeps alive.
const (
	firstChunk = 1 << 10
	mostChunk  = 64 << 10
)

// A texts makes strings, many of them in one piece of memory. The zero value is
// ready for use.
type texts struct {
	chunk strings.Builder
	size  int // of chunk, when it was asked for
}

// string returns b as a string that does not share memory with b.
func (t *texts) string(b []byte) string {
	if len(b) > firstChunk/4 {
		return string(b) // the rest of a chunk is not to be wasted for it
	}
	if t.chunk.Cap()-t.chunk.Len() < len(b) {
		t.size = min(max(2*t.size, firstChunk), mostChunk)
		t.chunk.Reset()
		t.chunk.Grow(t.size)
	}
	// What is in the chunk already stays where it is, since b fits.
	from := t.chunk.Len()
	t.chunk.Write(b)
	return t.chunk.String()[from:]
}
