package replication

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

const (
	// pollEvery is how often a replica asks how things stand, and pollSoon how
	// often it does while somebody waits.
	pollEvery = time.Second
	pollSoon  = 200 * time.Millisecond

	// helpAfter is how long a replica leaves a refresh that another one waits for to
	// that one.
	helpAfter = 3 * time.Second

	// loadTries is how often one who has nothing tries to read a base before refreshing
	// instead: a store with much to do is slow.
	loadTries = 3
)

// A work is what a replica is about with one kind of refresh.
type work struct {
	waiting, running bool // the loop waits to be let run, or runs
	leased           bool
	until            int64 // the end of the lease, on the monotonic clock

	demand, self bool
	asked        clock.Instant // when the loop said so last
	wanted       int64         // the same by the store's clock, once others were told of a demand
	bound        int64         // when it does not wait any more
	was          Own           // when the waiting began
}

// A State is all that a replica remembers. [New] makes one; Step returns the
// next one and leaves it as it was.
type State struct {
	cfg    Config
	random rand.PCG

	clock  storeClock
	seen   Base   // what is published
	cursor string // up to where its log is known

	base, loading     Base          // what Own is published as, see as; what is being read
	baseAt, loadingAt clock.Instant // the same as instants; what is being published is of baseAt too
	tries             int           // in vain, to read what is published
	loadAt            int64         // not before then again

	syncing, failing, publishing, repairing bool  // repairing: the store has lost what this replica has
	syncAt, failedAt                        int64 // failedAt: when it began to fail

	wanted, helpAt int64 // the last demand that is known, and when it is helped

	work [Kinds]work

	unsent []Entry // read here, and to be published when the store's clock is read next
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
		if w := &s.work[k]; w.waiting {
			next = min(next, w.bound)
		}
	}
	return next
}

// Holds reports whether this replica holds the lease of a kind.
func (s *State) Holds(k Kind, now clock.Instant) bool {
	return s.work[k].leased && s.work[k].until > now.Mono
}

// as returns what Own is published as: none if it is another list by now.
func (s *State) as(own *Own) Base {
	if !own.Loaded || own.Began != s.baseAt {
		return Base{}
	}
	return s.base
}

// spread returns d, shorter or longer by up to a fifth.
func (s *State) spread(d time.Duration) int64 {
	return int64(float64(d) * (0.8 + 0.4*float64(s.random.Uint64()>>11)/(1<<53)))
}
