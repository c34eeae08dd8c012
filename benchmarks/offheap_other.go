//go:build !unix

package benchmarks

// offHeap returns memory of the heap: figures that depend on the garbage
// collector mean little here.
func offHeap(size int) (memory []byte, free func(), err error) {
	return make([]byte, size), func() {}, nil
}
