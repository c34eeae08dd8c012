package benchmarks

import (
	"runtime"
	"slices"
	"time"
)

// A contestant does so many operations of one kind.
type contestant func(ops int)

// A contest says for how long contestants are measured: they take turns of
// about one slice each, for so many rounds, and who begins changes from round
// to round. What disturbs the machine for longer than a round disturbs all of
// them.
type contest struct {
	slice  time.Duration
	rounds int

	// collect makes a garbage collection before each turn, not counted: for
	// contestants who leave so much garbage behind that collecting it would
	// fall into the turns of others. What falls into their own turns counts.
	collect bool

	// rest is the slice of all but the first, if it is not 0: those who leave
	// no garbage need no long one.
	rest time.Duration
}

// run measures contestants.
func (c contest) run(contestants ...contestant) outcome {
	ops := make([]int, len(contestants))
	for k, do := range contestants {
		slice := c.slice
		if k > 0 && c.rest != 0 {
			slice = c.rest
		}
		ops[k] = calibrate(do, slice)
	}
	o := make(outcome, len(contestants))
	for round := range c.rounds {
		for turn := range contestants {
			k := (round + turn) % len(contestants)
			if c.collect {
				runtime.GC()
			}
			began := time.Now()
			contestants[k](ops[k])
			o[k] = append(o[k], float64(time.Since(began))/float64(ops[k]))
		}
	}
	return o
}

// calibrate finds out how many operations take a slice.
func calibrate(do contestant, slice time.Duration) int {
	for ops := 1; ; ops *= 4 {
		began := time.Now()
		do(ops)
		if took := time.Since(began); took > slice/8 {
			return max(1, int(float64(ops)*float64(slice)/float64(took)))
		}
	}
}

// An outcome is what one operation took, in nanoseconds, for each contestant in
// each round.
type outcome [][]float64

// ns is what an operation of one contestant takes.
func (o outcome) ns(k int) float64 { return median(o[k]) }

// ratio is how many times as long a takes as b: the median of the rounds'.
func (o outcome) ratio(a, b int) float64 {
	return o.combine(a, b, func(a, b float64) float64 { return a / b })
}

// extra is how much longer a takes than b: the median of the rounds'.
func (o outcome) extra(a, b int) float64 {
	return o.combine(a, b, func(a, b float64) float64 { return a - b })
}

func (o outcome) combine(a, b int, f func(a, b float64) float64) float64 {
	rounds := make([]float64, len(o[a]))
	for i := range rounds {
		rounds[i] = f(o[a][i], o[b][i])
	}
	return median(rounds)
}

// median returns the middle one of values, or what lies between the middle two.
func median(values []float64) float64 { return quantile(values, 0.5) }

// quantile returns the value that the part p of values lies below.
func quantile(values []float64, p float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	at := p * float64(len(sorted)-1)
	low := int(at)
	high := min(low+1, len(sorted)-1)
	return sorted[low] + (at-float64(low))*(sorted[high]-sorted[low])
}
