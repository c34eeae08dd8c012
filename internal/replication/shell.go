package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
)

// A Store is what replicas share. Its methods are safe for concurrent use, and
// return soon after ctx ends. Their errors are free of secrets: they are logged.
type Store interface {
	Sync(ctx context.Context, a Action) (Reply, error)
	Release(ctx context.Context, k Kind, keep time.Duration) error
	Append(ctx context.Context, e Entry, epoch string) error

	// Load returns the contents of a base, which ctx ends.
	Load(ctx context.Context, b Base) io.Reader

	// Publish returns the base as it is published. before is the one that it
	// takes the place of. An error that wraps [ErrRefused] says that it is not
	// published for certain.
	Publish(ctx context.Context, b, before Base, epoch string, write func(io.Writer) error) (Base, error)

	// Spend takes one of perMinute that all replicas share. If there is none, it
	// says for how long.
	Spend(ctx context.Context, perMinute int) (ok bool, wait time.Duration, err error)
}

// A Group is a cache that replicas share. Join opens what it has of one list, and
// says how long a lease of it lasts.
type Group interface {
	Join(list string) (store Store, lease time.Duration, err error)
}

// ErrRefused says that another replica holds the lease, that it has published a
// later base, or that the times in what was to be written are worth nothing any
// more.
var ErrRefused = errors.New("another replica was faster")

// A Host is the gate that a replica is of. Its methods are called by one goroutine,
// but for Take and Write, which may take long and are called by others.
type Host interface {
	Own() Own

	// Take decodes a base and has requests see it, unless Own has begun at or
	// after at. instant turns a time in it into one of this process.
	Take(ctx context.Context, r io.Reader, at clock.Instant, instant func(stamp int64) clock.Instant) error

	// Write encodes Own, if it is still of the full refresh that began at.
	Write(w io.Writer, at clock.Instant, stamp func(clock.Instant) int64) error

	Confirm(at clock.Instant)
	Apply(entries []Entry)
	Shift(by func(clock.Instant) clock.Instant)
	Soon(k Kind)
}

// A Shell runs a [State]: it has one goroutine, and one more while a base is read
// or written. Its methods are safe for concurrent use.
type Shell struct {
	store  Store
	host   Host
	now    func() clock.Instant
	log    *slog.Logger
	events chan Event
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup

	mu      sync.Mutex
	state   State
	waiting [Kinds]chan bool // told true to refresh, false if another replica has
	status  Status
	told    map[string]failure // what the log was told last, by what failed
	spent   clock.Instant
	wait    time.Duration // for which the budget is spent from then
}

// A failure is one that the log was told of.
type failure struct {
	text string
	at   time.Time
}

// Status tells how a replica does.
type Status struct {
	Connected bool      // the store has answered last time
	Since     time.Time // since when that is so
	Error     string    // the last
	Failed    uint64    // how often a call has failed
	Base      Base      // what is published and known here
	Holds     [Kinds]bool

	Published   uint64    // how many bases this replica has published
	PublishedAt time.Time // when that was last
}

// Start joins the group.
func Start(cfg Config, seed uint64, store Store, host Host, now func() clock.Instant, log *slog.Logger) *Shell {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Shell{
		store: store, host: host, now: now, log: log, ctx: ctx, cancel: cancel,
		events: make(chan Event, 16), state: New(cfg, seed), told: map[string]failure{},
	}
	s.done.Go(s.run)
	return s
}

// Close leaves the group, gives the leases back and waits for that, but not
// longer than half a second. Closing again is harmless.
func (s *Shell) Close() {
	s.cancel()
	s.done.Wait()
}

// Status returns how it does.
func (s *Shell) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.Base = s.state.Base()
	for k := range Kinds {
		st.Holds[k] = s.state.Holds(k, s.now())
	}
	return st
}

// Await blocks until this replica is to refresh (true) or another one has done so
// (false). Once demanded is closed, which may be nil, the refresh must begin after
// that; with self, this replica must make it. Each true must be followed by a call
// of Ran. There must be one call at a time for each kind.
func (s *Shell) Await(ctx context.Context, k Kind, demanded <-chan struct{}, self bool) (bool, error) {
	told := make(chan bool, 1)
	s.mu.Lock()
	s.waiting[k] = told
	s.mu.Unlock()
	due := Event{Type: Due, Kind: k, Self: self}
	select {
	case <-demanded:
		due.Demand, demanded = true, nil
	default:
	}
	s.send(due)
	for {
		select {
		case run := <-told:
			return run, nil
		case <-demanded:
			demanded, due.Demand = nil, true
			s.send(due)
			continue
		case <-ctx.Done():
		case <-s.ctx.Done():
			return false, context.Canceled
		}
		break
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.waiting[k] == nil {
		return <-told, nil // it was told at the same moment
	}
	s.waiting[k] = nil
	return false, context.Cause(ctx)
}

// Ran says that a refresh has ended that Await allowed: see [Event].
func (s *Shell) Ran(k Kind, failed bool, again time.Duration, sameAs clock.Instant) {
	s.send(Event{Type: Ran, Kind: k, Failed: failed, Again: again, SameAs: sameAs})
}

// Read says what an incremental refresh of this replica has read that began at.
func (s *Shell) Read(at clock.Instant, e Entry) { s.send(Event{Type: Read, At: at, Entry: e}) }

// Spend takes one of the perMinute increments that refusals of all replicas may
// cause. local decides where the store does not.
func (s *Shell) Spend(ctx context.Context, perMinute int, local func() bool) bool {
	s.mu.Lock()
	over, failing := s.wait > 0 && s.spent.Age(s.now()) < s.wait, s.state.Failing()
	s.mu.Unlock()
	if over || failing {
		return !over && local()
	}
	ctx, cancel := context.WithTimeout(ctx, pollSoon)
	defer cancel()
	ok, wait, err := s.store.Spend(ctx, perMinute)
	if err != nil {
		return local()
	}
	if !ok {
		s.mu.Lock()
		s.spent, s.wait = s.now(), wait
		s.mu.Unlock()
	}
	return ok
}

func (s *Shell) send(e Event) {
	select {
	case s.events <- e:
	case <-s.ctx.Done():
	}
}

// run gives the state its events.
func (s *Shell) run() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for s.ctx.Err() == nil {
		e := Event{Type: Tick}
		select {
		case e = <-s.events:
		case <-timer.C:
		case <-s.ctx.Done():
			continue
		}
		s.step(e)
		s.mu.Lock()
		next := s.state.Next()
		s.mu.Unlock()
		timer.Reset(time.Duration(max(0, next-s.now().Mono)))
	}
	s.step(Event{Type: Closing})
}

// step takes an event and all that follow from it at once.
func (s *Shell) step(first Event) {
	for queue := []Event{first}; len(queue) > 0; queue = queue[1:] {
		e := queue[0]
		e.Own, e.Now = s.host.Own(), s.now()
		s.mu.Lock()
		next, actions := s.state.Step(e, nil)
		s.state = next
		s.mu.Unlock()
		for _, a := range actions {
			if follows, ok := s.do(a); ok {
				queue = append(queue, follows)
			}
		}
	}
}

// do carries out an action. What follows from it at once is returned.
func (s *Shell) do(a Action) (follows Event, ok bool) {
	changed := Event{Type: Tick}
	switch a.Type {
	case Sync:
		sent := s.now()
		var reply Reply
		err := s.call(func(ctx context.Context) (err error) {
			reply, err = s.store.Sync(ctx, a)
			return err
		})
		if errors.Is(err, context.DeadlineExceeded) {
			err = fmt.Errorf("no answer within %v", Timeout)
		}
		s.note("asking how things stand", err, true)
		return Event{Type: Synced, Sent: sent, Reply: reply, Failed: err != nil}, true
	case Run, Skip:
		s.mu.Lock()
		told := s.waiting[a.Kind]
		s.waiting[a.Kind] = nil
		s.mu.Unlock()
		switch {
		case told != nil:
			told <- a.Type == Run
		case a.Type == Run: // nobody waits any more
			return Event{Type: Ran, Kind: a.Kind}, true
		}
	case Soon:
		s.host.Soon(a.Kind)
	case Release:
		s.note("giving a lease back", s.call(func(ctx context.Context) error { return s.store.Release(ctx, a.Kind, a.Keep) }), false)
	case Append:
		if s.state.Failing() {
			break // each call would take as long as it may, and the next refresh waits
		}
		s.note("publishing rows", s.call(func(ctx context.Context) error { return s.store.Append(ctx, a.Entry, a.Epoch) }), false)
	case Confirm:
		s.host.Confirm(a.At)
		return changed, true
	case Apply:
		s.host.Apply(a.Entries)
		return changed, true
	case Shift:
		s.host.Shift(a.Shifted)
		return changed, true
	case Load:
		s.done.Go(func() { s.load(a) })
	case Publish:
		s.done.Go(func() { s.publish(a) })
	}
	return follows, false
}

// leaveTime is how long a call may take while the replica leaves the group.
const leaveTime = 400 * time.Millisecond

// call makes a short call to the store.
func (s *Shell) call(do func(context.Context) error) (err error) {
	defer panics.Into(&err, "the shared store")
	ctx, cancel := context.WithTimeout(s.ctx, Timeout)
	if s.ctx.Err() != nil {
		ctx, cancel = context.WithTimeout(context.WithoutCancel(s.ctx), leaveTime)
	}
	defer cancel()
	return do(ctx)
}

// transferTime is how long a base may take on its way.
const transferTime = 5 * time.Minute

func (s *Shell) load(a Action) {
	ctx, cancel := context.WithTimeout(s.ctx, transferTime)
	defer cancel()
	s.mu.Lock()
	state, now := s.state, s.now()
	s.mu.Unlock()
	err := panics.Call("the shared store", func() error {
		return s.host.Take(ctx, s.store.Load(ctx, a.Base), a.At, func(stamp int64) clock.Instant { return state.instant(stamp, now) })
	})
	s.note("taking a base", err, false)
	s.send(Event{Type: Loaded, Failed: err != nil})
}

func (s *Shell) publish(a Action) {
	ctx, cancel := context.WithTimeout(s.ctx, transferTime)
	defer cancel()
	s.mu.Lock()
	before := s.state.seen
	s.mu.Unlock()
	var b Base
	err := panics.Call("the shared store", func() (err error) {
		b, err = s.store.Publish(ctx, a.Base, before, a.Epoch, func(w io.Writer) error {
			return s.host.Write(w, a.At, func(i clock.Instant) int64 { return a.Base.Began + i.Mono - a.At.Mono })
		})
		return err
	})
	refused := errors.Is(err, ErrRefused)
	if !refused {
		s.note("publishing a base", err, false)
	}
	if err == nil {
		s.mu.Lock()
		s.status.Published++
		s.status.PublishedAt = s.now().Time()
		s.mu.Unlock()
	}
	s.send(Event{Type: Published, Reply: Reply{Base: b}, Refused: refused, Failed: err != nil && !refused})
}

// logEvery is how often the log is told that the store goes on failing.
const logEvery = time.Minute

// note remembers how a call to the store has ended. state is whether the call says
// that the store can be reached. The log is told of a failure when it is another
// than before, and once a minute.
func (s *Shell) note(doing string, err error, state bool) {
	if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
		return
	}
	now := s.now().Time()
	s.mu.Lock()
	before := s.status
	if state && (before.Connected != (err == nil) || before.Since.IsZero()) {
		s.status.Connected, s.status.Since = err == nil, now
	}
	tell := false
	if err != nil {
		s.status.Failed++
		s.status.Error = fmt.Sprintf("%s: %v", doing, err)
		last := s.told[doing]
		if tell = last.text != err.Error() || now.Sub(last.at) >= logEvery; tell {
			s.told[doing] = failure{err.Error(), now}
		}
	}
	s.mu.Unlock()
	switch {
	case err != nil && tell && state:
		s.log.Error("rolegate: shared store unavailable; refreshing alone", "doing", doing, "err", err)
	case err != nil && tell:
		s.log.Error("rolegate: a call to the shared store failed", "doing", doing, "err", err)
	case err == nil && state && !before.Connected && !before.Since.IsZero():
		s.log.Info("rolegate: shared store available again", "unavailable_for", now.Sub(before.Since).Round(time.Second))
	}
}
