package refresh

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// ErrElsewhere is what a full refresh returns if somebody else has made one that
// began after it was wanted: it is neither a success nor a failure, and whoever
// waits for it gets nil.
var ErrElsewhere = errors.New("somebody else has refreshed")

// ErrEnded is what becomes of a refresh when the group of tasks has ended.
var ErrEnded = errors.New("ended")

// A QuietError says that the source asked to be left alone.
type QuietError struct{ Wait time.Duration }

// Error implements error.
func (e *QuietError) Error() string {
	return fmt.Sprintf("the source asked to be left alone for %v more", e.Wait.Round(time.Second))
}

// idle is how soon a refresh is due again that somebody else has made, unless
// [Loop.Refreshed] says when it is.
const idle = 100 * time.Millisecond

// A Run is how one kind of refresh is made.
type Run struct {
	// Every is the time from the start of a refresh that succeeded to the next.
	// It is called after each; the loop makes it longer or shorter by up to a
	// tenth.
	Every func() time.Duration

	// Do makes one refresh. Two of one kind never run at once.
	Do func(ctx context.Context, started clock.Instant) error

	// Begin is closed when there may be refreshes of this kind; nil is at once.
	// The first is then due at once for a Full one, and after Every for an
	// incremental one.
	Begin <-chan struct{}
}

// A LoopConfig says what a [Loop] does. Tasks, Clock and both Runs are needed.
type LoopConfig struct {
	Tasks  *Tasks
	Clock  func() clock.Instant
	Random func() float64 // for jitter; nil is the global one
	Runs   [Kinds]Run

	// Budget is how long one refresh may take before its ctx ends.
	Budget time.Duration

	// RetryAfter says how long to wait after an error: with all refreshes, and
	// with those of its kind (0: the back-off). Nil is 0 for both.
	RetryAfter func(error) (all, kind time.Duration)

	// Await waits for its turn to make a refresh that is due, and to make any full
	// one, if others refresh for us too. It returns false if one of them has
	// refreshed meanwhile. demanded is closed when somebody waits for the refresh;
	// it may be nil. Ran is called after each refresh that Await has allowed. Nil is
	// that there are no others.
	Await func(ctx context.Context, k Kind, demanded <-chan struct{}) (bool, error)
	Ran   func(Kind, error)

	// Ended is called after each refresh, before whoever waits for it goes on.
	Ended func(Kind, Outcome)
}

// An Outcome is how a refresh ended.
type Outcome struct {
	Started  clock.Instant
	Took     time.Duration
	Err      error
	Failures int // in a row: with this one if it failed, and before it if it did not
}

// Stats say how the refreshes of one kind have gone.
type Stats struct {
	Running           bool
	Started           clock.Instant // of the last one, be it running, done or failed
	Last              clock.Instant // start of the last one that succeeded
	Took              time.Duration // of the last one that ended
	Succeeded, Failed uint64
	Consecutive       int           // failures since the last success
	Err               error         // the last failure
	FailedAt          clock.Instant // when it ended
}

// A Loop makes refreshes at intervals, for ever, each kind in a goroutine of its
// own: a full one of a million users does not hold up an incremental one.
// Whoever wants one in between joins the one that is under way or starts one.
type Loop struct {
	cfg LoopConfig

	wake  [Kinds]chan struct{} // makes a refresh due now
	moved [Kinds]chan struct{} // says that next has changed

	next, nextWall [Kinds]atomic.Int64 // when the loop refreshes again
	running        [Kinds]atomic.Bool

	mu      sync.Mutex
	flights [Kinds]*Flight // under way
	begun   [Kinds]uint64
	stats   [Kinds]Stats
	quiet   clock.Instant // no refresh before this: the source asked for it
}

// A Flight is a refresh that many wait for.
type Flight struct {
	done     chan struct{}
	demanded chan struct{} // closed when somebody waits for it
	number   uint64
	started  clock.Instant
	err      error
}

// Done returns a channel that is closed when the refresh has ended.
func (f *Flight) Done() <-chan struct{} { return f.done }

// Err returns how it ended. Call it after Done.
func (f *Flight) Err() error { return f.err }

// NewLoop returns a loop that does nothing yet: see [Loop.Start].
func NewLoop(cfg LoopConfig) *Loop {
	l := &Loop{cfg: cfg, quiet: cfg.Clock()}
	for k := range Kinds {
		l.wake[k], l.moved[k] = make(chan struct{}, 1), make(chan struct{}, 1)
	}
	l.setNext(Full, l.quiet)
	return l
}

// Start starts the goroutines.
func (l *Loop) Start() {
	for k := range Kinds {
		l.cfg.Tasks.Go(func() { l.loop(k) })
	}
}

// loop refreshes at intervals. No failure ends it.
func (l *Loop) loop(k Kind) {
	ctx := l.cfg.Tasks.Context()
	if begin := l.cfg.Runs[k].Begin; begin != nil {
		select {
		case <-begin:
		case <-ctx.Done():
			return
		}
	}
	if k == Incremental {
		// Unless somebody has refreshed already: then that has set it.
		l.next[k].CompareAndSwap(0, l.cfg.Clock().Add(l.interval(k)).Mono)
	}
	timer := time.NewTimer(l.Until(k))
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-l.moved[k]: // somebody else has refreshed
			timer.Reset(l.Until(k))
			continue
		case <-timer.C:
			if wait := l.Until(k); wait > 0 { // the source wants to be left alone
				timer.Reset(max(wait, idle))
				continue
			}
		case <-l.wake[k]:
			if l.BackingOff(k) {
				continue // the timer will ring when it is over
			}
		}
		// An incremental refresh that somebody waits for does not wait for its turn:
		// so it is not to join one that does.
		if k == Incremental && l.cfg.Await != nil {
			if run, err := l.cfg.Await(ctx, k, nil); err != nil || !run {
				timer.Reset(max(l.Until(k), idle))
				continue
			}
		}
		f := l.join(k, false)
		<-f.Done()
		if k == Incremental && l.cfg.Await != nil {
			l.cfg.Ran(k, f.err)
		}
		timer.Reset(l.Until(k))
	}
}

// Join starts a refresh of that kind, or joins the one that is under way, for
// somebody who waits for it.
func (l *Loop) Join(k Kind) *Flight { return l.join(k, true) }

func (l *Loop) join(k Kind, demanded bool) *Flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	if f := l.flights[k]; f != nil {
		f.demand(demanded)
		return f
	}
	l.begun[k]++
	f := &Flight{done: make(chan struct{}), demanded: make(chan struct{}), number: l.begun[k]}
	f.demand(demanded)
	if !l.cfg.Tasks.Enter() {
		f.err = ErrEnded
		close(f.done)
		return f
	}
	f.started = l.cfg.Clock()
	l.flights[k] = f
	l.stats[k].Running, l.stats[k].Started = true, f.started
	l.running[k].Store(true)
	go func() {
		defer l.cfg.Tasks.Leave()
		ctx, cancel := context.WithTimeoutCause(l.cfg.Tasks.Context(), l.cfg.Budget, fmt.Errorf("the refresh took longer than its budget of %v: %w", l.cfg.Budget, context.DeadlineExceeded))
		f.err = l.refresh(ctx, k, f)
		cancel()
		if f.err != nil && l.cfg.Tasks.Context().Err() != nil {
			f.err = ErrEnded
		}
		l.end(k, f)
		close(f.done)
	}()
	return f
}

// demand says that somebody waits for it. It needs the loop's mu.
func (f *Flight) demand(is bool) {
	select {
	case <-f.demanded:
	default:
		if is {
			close(f.demanded)
		}
	}
}

// refresh makes one refresh, a full one when it is its turn.
func (l *Loop) refresh(ctx context.Context, k Kind, f *Flight) error {
	if k == Incremental || l.cfg.Await == nil {
		return l.cfg.Runs[k].Do(ctx, f.started)
	}
	switch run, err := l.cfg.Await(ctx, k, f.demanded); {
	case err != nil:
		return err
	case !run:
		return ErrElsewhere
	}
	f.started = l.cfg.Clock()
	err := l.cfg.Runs[k].Do(ctx, f.started)
	l.cfg.Ran(k, err)
	return err
}

// UnderWay returns the refresh of that kind that is under way, nil if there is
// none.
func (l *Loop) UnderWay(k Kind) *Flight {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.flights[k]
}

// end remembers how a refresh ended, and sets when the next is due.
func (l *Loop) end(k Kind, f *Flight) {
	now := l.cfg.Clock()
	o := Outcome{Started: f.started, Took: time.Duration(now.Mono - f.started.Mono), Err: f.err}
	l.mu.Lock()
	l.flights[k] = nil
	l.running[k].Store(false)
	s := &l.stats[k]
	s.Running = false
	switch {
	case errors.Is(f.err, ErrEnded) || errors.Is(f.err, ErrElsewhere):
		if errors.Is(f.err, ErrElsewhere) {
			f.err = nil
		}
		if l.next[k].Load() <= now.Mono {
			l.setNext(k, now.Add(idle))
		}
		l.mu.Unlock()
		return
	case f.err == nil:
		o.Failures = s.Consecutive
		s.Succeeded++
		s.Last, s.Took, s.Consecutive = f.started, o.Took, 0
		// Counted from the start, or a slow refresh would make the next one late;
		// one slower than its interval is followed by a rest all the same.
		interval := l.interval(k)
		l.setNext(k, clock.Later(f.started.Add(interval), now.Add(interval/10)))
	default:
		s.Failed++
		s.Consecutive++
		s.Took, s.Err, s.FailedAt, o.Failures = o.Took, f.err, now, s.Consecutive
		wait := Jitter(backOffFor(l.cfg.Runs[k].Every()).After(s.Consecutive), 0.2, l.random())
		if l.cfg.RetryAfter != nil {
			all, kind := l.cfg.RetryAfter(f.err)
			l.quiet = clock.Later(l.quiet, now.Add(all))
			if kind > 0 {
				wait = Jitter(kind, 0.05, l.random())
			}
		}
		l.setNext(k, now.Add(wait))
	}
	l.mu.Unlock()
	signal(l.moved[k])
	if l.cfg.Ended != nil {
		l.cfg.Ended(k, o)
	}
}

func (l *Loop) random() func() float64 {
	if l.cfg.Random == nil {
		return rand.Float64
	}
	return l.cfg.Random
}

func (l *Loop) interval(k Kind) time.Duration { return Jitter(l.cfg.Runs[k].Every(), 0.1, l.random()) }

func (l *Loop) setNext(k Kind, at clock.Instant) {
	l.next[k].Store(at.Mono)
	l.nextWall[k].Store(at.Wall)
}

// Fresh waits for a refresh that started after the call: one that is under way
// may have passed by what the caller wants to see. Before incremental ones may
// begin it makes a full one. It returns the refresh's error, ctx's, a
// [*QuietError], or [ErrEnded].
func (l *Loop) Fresh(ctx context.Context, k Kind) error {
	// Counted, and not by the clock, which may read the same twice.
	l.mu.Lock()
	before := l.begun
	l.mu.Unlock()
	for {
		if begin := l.cfg.Runs[k].Begin; k == Incremental && begin != nil {
			select {
			case <-begin:
			default:
				k = Full // there is nothing yet to go on from
			}
		}
		if wait := l.quietFor(); wait > 0 {
			return &QuietError{wait}
		}
		f := l.Join(k)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-f.done:
		}
		switch {
		case errors.Is(f.err, ErrEnded):
			return ErrEnded
		case f.number <= before[k]:
			continue
		}
		return f.err
	}
}

// Soon makes a refresh of that kind due now, unless it is backing off.
func (l *Loop) Soon(k Kind) { signal(l.wake[k]) }

// Until returns how long the loop waits for its next refresh of that kind.
func (l *Loop) Until(k Kind) time.Duration {
	l.mu.Lock()
	quiet := l.quiet.Mono
	l.mu.Unlock()
	return time.Duration(max(0, max(l.next[k].Load(), quiet)-l.cfg.Clock().Mono))
}

// UntilLockFree is Until without the lock, and without a wait that the source
// asked for: for requests that are refused.
func (l *Loop) UntilLockFree(k Kind) time.Duration {
	return time.Duration(max(0, l.next[k].Load()-l.cfg.Clock().Mono))
}

// BackingOff reports whether the last refresh of that kind failed and its
// back-off is not over.
func (l *Loop) BackingOff(k Kind) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.cfg.Clock()
	return l.stats[k].Consecutive > 0 && l.next[k].Load() > now.Mono || l.quiet.Mono > now.Mono
}

func (l *Loop) quietFor() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(max(0, l.quiet.Mono-l.cfg.Clock().Mono))
}

// Running reports whether a refresh of that kind is under way. It takes no lock.
func (l *Loop) Running(k Kind) bool { return l.running[k].Load() }

// Overdue reports whether the next refresh of that kind should have begun that
// long ago, by the clock that says longer, and has not. It takes no lock.
func (l *Loop) Overdue(k Kind, by time.Duration) bool {
	return !l.running[k].Load() && l.Due(k).Age(l.cfg.Clock()) > by
}

// Due returns when the loop makes its next refresh of that kind.
func (l *Loop) Due(k Kind) clock.Instant {
	return clock.Instant{Mono: l.next[k].Load(), Wall: l.nextWall[k].Load()}
}

// Refreshed says that somebody else has refreshed, as of that instant: the next
// refresh of that kind is due as if this loop had.
func (l *Loop) Refreshed(k Kind, at clock.Instant) {
	l.mu.Lock()
	l.stats[k].Consecutive = 0
	l.setNext(k, at.Add(l.interval(k)))
	l.mu.Unlock()
	signal(l.moved[k])
}

// Stats returns how the refreshes of that kind have gone.
func (l *Loop) Stats(k Kind) Stats {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.stats[k]
}
