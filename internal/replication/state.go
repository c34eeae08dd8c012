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

	// repairWithin is the time over which replicas spread that publish again what
	// the store has lost.
	repairWithin = 2 * time.Second

	// helpAfter is how long a replica leaves a refresh that another one waits for
	// to that one.
	helpAfter = 3 * time.Second

	// firstWait is how long a replica that has nothing goes on asking a store that
	// does not answer any more: of many that start at once, each is slow.
	firstWait = 10 * time.Second

	// loadAgain is how long a base that could not be read is left alone.
	loadAgain = 30 * time.Second

	// loadTries is how often in a row it is tried before that.
	loadTries = 3
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
	bound, alone int64         // when it does not wait any more, and when not if the store does not answer
	was          Own           // when the waiting began
	asking       bool          // a Sync has been sent since
}

// A State is all that a replica remembers. [New] makes one; Step returns the
// next one and leaves it as it was.
type State struct {
	cfg    Config
	random rand.PCG

	clock storeClock

	base, loading, tried       Base          // what Own is published as; what is being read; what was being published
	baseAt, loadingAt, triedAt clock.Instant // the same as instants
	seen                       Base          // what is published
	cursor                     string

	syncing, failing, publishing, closing bool
	repairing, helping                    bool // the store has lost what this replica has; somebody waits in vain
	syncAt, repairAt, helpAt              int64
	helped                                int64 // the demand that was helped last
	broken                                Base  // what could not be read
	tries                                 int   // to read it
	brokenUntil                           int64

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
		if w := &s.work[k]; w.waiting && !w.running {
			next = min(next, w.bound)
		}
	}
	return next
}

// Failing reports whether the store has not answered last time.
func (s *State) Failing() bool { return s.failing }

// Holds reports whether this replica holds the lease of a kind.
func (s *State) Holds(k Kind, now clock.Instant) bool {
	return s.work[k].leased && s.work[k].until > now.Mono
}

// Base returns what Own is published as, as far as this replica knows.
func (s *State) Base() Base { return s.base }

// rand returns a number from 0 to 1.
func (s *State) rand() float64 { return float64(s.random.Uint64()>>11) / (1 << 53) }

// spread returns d, shorter or longer by up to a fifth.
func (s *State) spread(d time.Duration) int64 { return int64(float64(d) * (0.8 + 0.4*s.rand())) }
