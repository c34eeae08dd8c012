package rolegate

import (
	"sync"
	"sync/atomic"
)

// Decisions are counted in stripes, so that two cores do not write to one cache
// line. A sync.Pool keeps for each processor the stripe that it used last.
type counters struct {
	_       [stripeSize]byte
	stripes [stripeCount]stripe
	next    atomic.Uint32 // which stripe a processor without one gets
	pool    sync.Pool     // of *stripe
}

const (
	stripeCount = 32
	stripeSize  = 256 // so that no two have a pair of cache lines in common, wherever they begin

	countShadowed = int(numReasons) // let pass by a Shadow
	countStale    = countShadowed + 1
	numCounts     = countStale + 1
)

type stripe struct {
	n [numCounts]atomic.Uint64
	_ [stripeSize - numCounts*8]byte
}

// add counts a decision.
func (c *counters) add(d *Decision) {
	s, ok := c.pool.Get().(*stripe)
	if !ok {
		s = &c.stripes[c.next.Add(1)%stripeCount]
	}
	s.n[d.Reason].Add(1)
	if d.Shadowed {
		s.n[countShadowed].Add(1)
	}
	if d.stale {
		s.n[countStale].Add(1)
	}
	c.pool.Put(s)
}

// sum adds up one count.
func (c *counters) sum(i int) (total uint64) {
	for s := range c.stripes {
		total += c.stripes[s].n[i].Load()
	}
	return total
}
