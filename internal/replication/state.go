package replication

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A work is what a replica is about with one kind of refresh.
type work struct {
	waiting bool // the loop waits to be let run
	running bool
	leased  bool
	until   int64 // the end of the lease, on the monotonic clock

	demand, self bool
	asked        clock.Instant // when it was demanded last
	wanted       int64         // the same by the store's clock, once others were told
	bound        int64         // when it does not wait any more
	was          Own           // when the waiting began
	asking       bool          // a Sync has been sent since
}

// A State is all that a replica remembers. [New] makes one; Step returns the
// next one and leaves it as it was.
type State struct {
	cfg    Config
	random rand.PCG
	clock  storeClock
	work   [Kinds]work

	base   Base          // what Own is published as, if it is that still
	baseAt clock.Instant // when that began
	seen   Base          // what is published
	cursor string        // of the last entry that was
	unsent []Entry       // read here, and to be published when the store's clock is read next

	loading, broken Base // what is being read, and what could not be
	brokenUntil     int64
	tries           int // to read one that have failed, in a row

	syncing, failing, publishing bool

	alone     int64 // when a store that fails is not waited for any more, for a base
	syncAt    int64
	publishAt int64 // not again before that what was lost
	helped    int64 // the demand that was helped last
}

// New returns the state of a replica that has just started. Replicas with
// different seeds spread their work.
func New(cfg Config, seed uint64) State { return State{cfg: cfg, random: *rand.NewPCG(seed, 0)} }

// Next is when, on the monotonic clock, a Tick is due.
func (s *State) Next() int64 {
	next := s.syncAt
	if s.syncing {
		next = math.MaxInt64
	}
	for k := range s.work {
		if w := &s.work[k]; w.waiting && !w.running {
			next = min(next, w.bound)
		}
	}
	return next
}

// shares reports whether Own is published, as far as this replica knows.
func (s *State) shares(own *Own) bool {
	return own.Loaded && own.Began == s.baseAt && s.base != (Base{})
}

// spread returns d, shorter or longer by up to a fifth.
func (s *State) spread(d time.Duration) int64 {
	return int64(float64(d) * (0.8 + 0.4*float64(s.random.Uint64()>>11)/(1<<53)))
}
