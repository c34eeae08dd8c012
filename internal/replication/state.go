package replication

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// Config says how patient a replica is. It is the same for all of a group.
type Config struct {
	Lease time.Duration // how long a lease lasts without being renewed

	// Bound is how long a due refresh may wait for another replica's before this
	// one refreshes by itself, and DemandBound how long one may that somebody
	// waits for.
	Bound       [Kinds]time.Duration
	DemandBound time.Duration
}

const (
	// pollEvery is how often a replica asks how things stand, and pollSoon how
	// often it does while somebody waits.
	pollEvery = time.Second
	pollSoon  = 200 * time.Millisecond

	// Timeout is how long a call may take. An answer that comes later says too
	// little about the time: the process may have been paused.
	Timeout = 2 * time.Second

	// slack is by how much two clocks may drift apart between two readings. By
	// more, one of them was set, or the machine was suspended.
	slack = int64(time.Second)

	// Margin is by how much later than a base a row must have been read to be put
	// on top of it, if either is of another replica: the moments are known that
	// well.
	Margin = time.Duration(slack)

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
	raise        bool          // others are to be told of the demand
	asked        clock.Instant // when it was demanded last
	wanted       int64         // the same by the store's clock, once that was told
	bound, alone int64         // when it does not wait any more, and when not if the store does not answer
	was          Own           // when the waiting began
	asking       bool          // a Sync has been sent since
}

// A State is all that a replica remembers. [New] makes one; Step returns the
// next one and leaves it as it was.
type State struct {
	cfg    Config
	random rand.PCG

	low, high   int64 // between these is the store's clock ahead of the monotonic one
	timed       bool
	last        clock.Instant // of that reading
	epoch, void string        // of the store then; one whose times are worth nothing
	prev        clock.Instant // of the last event
	moved       bool          // the wall clock and the monotonic one have drifted apart since
	movedAt     int64         // after this, on the monotonic clock

	// doubt is for how long both clocks of this process may have stood still, as
	// those of a virtual machine can, unless the store's clock was put forward: what
	// is of before doubtAt, on the monotonic clock, may be that much older. It is
	// published as such, and a wall clock that catches up is not taken for one that
	// was set.
	doubt, doubtAt int64

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

// readClock takes in a reading of the store's clock. set says that the clock
// was set, or is another's: then what was told of its times is worth nothing.
// If it may have been put back, what is published may look younger than it is.
//
// If the wall clock and the monotonic one have drifted apart since the last
// reading, it returns what must be added to instants of before. The monotonic
// clock may stand still, but it never runs ahead. If the store's clock agrees with
// it, the wall clock was set. Otherwise only the longest that a clock says is
// certain to be no less than what has passed.
func (s *State) readClock(e *Event) (mono, wall int64, set bool) {
	now, t := e.Now, e.Reply.Time
	low, high := t-now.Mono, t-e.Sent.Mono
	if s.void = ""; s.timed {
		same := e.Reply.Epoch == s.epoch
		byMono, byWall := now.Mono-s.last.Mono, now.Wall-s.last.Wall
		byStore := byMono + high - s.low
		passed := max(byMono, byStore)
		if set = low > s.high+slack || high < s.low-slack || !same; set {
			passed = max(passed, byWall)
		}
		if set && same && byStore < passed-slack {
			s.void, s.syncAt = s.epoch, now.Mono
		}
		if e.Own.Began.Mono > s.doubtAt {
			s.doubt = 0
		}
		switch d := byWall - byMono; {
		case s.moved && (set || d < 0 || d > s.doubt+slack):
			mono, wall = byMono-passed, byWall-passed
		case set && passed > byMono+slack:
			s.doubt, s.doubtAt = s.doubt+passed-byMono, now.Mono
		}
	}
	s.low, s.high, s.timed, s.last, s.moved, s.epoch = low, high, true, now, false, e.Reply.Epoch
	return mono, wall, set
}

// drift notes that the clocks of this process have drifted apart.
func (s *State) drift(now clock.Instant) {
	if s.prev == (clock.Instant{}) {
		s.syncAt = now.Mono // the monotonic clock may read anything, also less than 0
	}
	if d := (now.Wall - s.prev.Wall) - (now.Mono - s.prev.Mono); s.timed && (d > slack || d < -slack) {
		s.moved, s.movedAt, s.syncAt = true, s.prev.Mono, now.Mono
	}
	s.prev = now
}

// instant returns the earliest instant at which the store's clock can have read
// that. In doubt, nothing is younger than it is.
func (s *State) instant(stamp int64, now clock.Instant) clock.Instant {
	return now.Add(-time.Duration(max(0, now.Mono+s.high-stamp)))
}

// stamp returns the earliest time that the store's clock can have read then.
func (s *State) stamp(i, now clock.Instant) int64 {
	t := now.Mono + s.low - int64(i.Age(now))
	if i.Mono <= s.doubtAt {
		t -= s.doubt
	}
	return max(1, t)
}

// future reports whether that cannot have been read from the store's clock yet.
func (s *State) future(stamp int64, now clock.Instant) bool {
	return stamp > now.Mono+s.high+slack
}
