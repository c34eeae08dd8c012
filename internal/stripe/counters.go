// Package stripe counts events that many processors report at once, without
// having them write to the same cache line.
package stripe

import (
	"sync"
	"sync/atomic"
)

// Width is how many different counts a [Counters] has.
const Width = 30

const (
	stripes = 32
	size    = 256 // two stripes never share a pair of cache lines, wherever they begin
)

// Counters are Width counts, numbered from 0, in stripes: a sync.Pool keeps for
// each processor the stripe that it used last. The zero Counters are ready to
// use, and must not be copied. All methods are safe for concurrent use.
type Counters struct {
	_       [size]byte
	stripes [stripes]stripe
	next    atomic.Uint32 // which stripe a processor without one gets
	pool    sync.Pool     // of *stripe
}

type stripe struct {
	n [Width]atomic.Uint64
	_ [size - Width*8]byte
}

// Add adds one to a count. It does not allocate.
func (c *Counters) Add(i int) {
	s, ok := c.pool.Get().(*stripe)
	if !ok {
		s = &c.stripes[c.next.Add(1)%stripes]
	}
	s.n[i].Add(1)
	c.pool.Put(s)
}

// Sum returns one of the counts. What is added meanwhile may be in it or not.
func (c *Counters) Sum(i int) (total uint64) {
	for s := range c.stripes {
		total += c.stripes[s].n[i].Load()
	}
	return total
}
