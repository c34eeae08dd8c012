package rolegate

import (
	"math/rand/v2"
	"sync/atomic"
)

// Decisions are counted in stripes, so that two cores that decide about
// different users do not write to one cache line.
type counters struct {
	stripes [stripeCount]stripe
}

const (
	stripeCount = 32 // a power of two

	countShadowed = int(numReasons) // let pass by a Shadow
	countStale    = countShadowed + 1
	numCounts     = countStale + 1
)

type stripe struct {
	n [numCounts]atomic.Uint64
	_ [128 - numCounts*8]byte // two cache lines: processors fetch them in pairs
}

// of returns the stripe to count a decision about that identity in.
func (c *counters) of(id Identity) *stripe {
	h := uint64(id.id) * 0x9e3779b97f4a7c15
	if id.kind != KindUserID {
		h = rand.Uint64()
	}
	return &c.stripes[h>>59%stripeCount]
}

// sum adds up one count.
func (c *counters) sum(i int) (total uint64) {
	for s := range c.stripes {
		total += c.stripes[s].n[i].Load()
	}
	return total
}
