//go:build unix

package benchmarks

import (
	"fmt"
	"syscall"
)

// offHeap returns memory that the garbage collector knows nothing of.
func offHeap(size int) (memory []byte, free func(), err error) {
	memory, err = syscall.Mmap(-1, 0, size, syscall.PROT_READ|syscall.PROT_WRITE, syscall.MAP_ANON|syscall.MAP_PRIVATE)
	if err != nil {
		return nil, nil, fmt.Errorf("memory for the pages: %w", err)
	}
	return memory, func() { _ = syscall.Munmap(memory) }, nil
}
