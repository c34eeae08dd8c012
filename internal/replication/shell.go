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
	state   State            // only run changes it
	waiting [Kinds]chan bool // told true to refresh, false if another replica has
	status  Status
	told    map[string]failure // what the log was told last, by what failed
	spent   clock.Instant      // until then the budget is spent
}

// A failure is one that the log was told of.
type failure struct {
	text string
	at   time.Time
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
	st.Base = s.state.base
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
	for due := (Event{Type: Due, Kind: k, Self: self}); ; {
		s.send(due)
		select {
		case run := <-told:
			return run, nil
		case <-demanded:
			due.Demand, demanded = true, nil
		case <-s.ctx.Done():
			return false, context.Canceled
		case <-ctx.Done():
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.waiting[k] == nil {
				return <-told, nil // it was told at the same moment
			}
			s.waiting[k] = nil
			return false, context.Cause(ctx)
		}
	}
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
	over, failing := s.spent.Age(s.now()) < 0, s.state.failing
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
		s.spent = s.now().Add(wait)
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
	for s.ctx.Err() == nil {
		e := Event{Type: Tick}
		select {
		case e = <-s.events:
		case <-timer.C:
		case <-s.ctx.Done():
			continue
		}
		s.step(e)
		timer.Reset(time.Duration(max(0, s.state.Next()-s.now().Mono)))
	}
	for k := range Kinds {
		if s.state.Holds(k, s.now()) {
			s.do(Action{Type: Release, Kind: k})
		}
	}
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
			queue = append(queue, s.do(a))
		}
	}
}

// do carries out an action. What follows from it at once is returned: a Tick, if
// nothing else, as what requests see may have changed.
func (s *Shell) do(a Action) Event {
	switch a.Type {
	case Sync:
		sent := s.now()
		var reply Reply
		err := s.call(asking, Timeout, func(ctx context.Context) (err error) {
			reply, err = s.store.Sync(ctx, a)
			return err
		})
		return Event{Type: Synced, Sent: sent, Reply: reply, Failed: err != nil}
	case Run, Skip:
		s.mu.Lock()
		told := s.waiting[a.Kind]
		s.waiting[a.Kind] = nil
		s.mu.Unlock()
		if told != nil {
			told <- a.Type == Run
		} else if a.Type == Run { // nobody waits any more
			return Event{Type: Ran, Kind: a.Kind}
		}
	case Soon:
		s.host.Soon(a.Kind)
	case Release:
		s.call("giving a lease back", Timeout, func(ctx context.Context) error { return s.store.Release(ctx, a.Kind, a.Keep) })
	case Append:
		if !s.state.failing { // or each call would take as long as it may, and the next refresh wait
			s.call("publishing rows", Timeout, func(ctx context.Context) error { return s.store.Append(ctx, a.Entry, a.Epoch) })
		}
	case Confirm:
		s.host.Confirm(a.At)
	case Apply:
		s.host.Apply(a.Entries)
	case Shift:
		s.host.Shift(a.Shifted)
	case Load:
		clocks, now := s.state.clock, s.now()
		s.done.Go(func() { s.load(a, func(stamp int64) clock.Instant { return clocks.instant(stamp, now) }) })
	case Publish:
		before := s.state.seen
		s.done.Go(func() { s.publish(a, before) })
	}
	return Event{Type: Tick}
}

const (
	asking       = "asking how things stand" // tells whether the store can be reached
	transferTime = 5 * time.Minute           // how long a base may take on its way
	leaveTime    = 400 * time.Millisecond    // how long a call may take while the replica leaves the group
	logEvery     = time.Minute               // how often the log is told that a call goes on failing
)

// call calls the store, and notes how that ends.
func (s *Shell) call(doing string, lasts time.Duration, do func(context.Context) error) error {
	ctx := s.ctx
	if ctx.Err() != nil {
		ctx, lasts = context.WithoutCancel(ctx), leaveTime
	}
	ctx, cancel := context.WithTimeout(ctx, lasts)
	defer cancel()
	err := panics.Call("the shared store", func() error { return do(ctx) })
	if errors.Is(err, context.DeadlineExceeded) {
		err = fmt.Errorf("no answer within %v", lasts)
	}
	if !errors.Is(err, ErrRefused) {
		s.note(doing, err)
	}
	return err
}

func (s *Shell) load(a Action, instant func(stamp int64) clock.Instant) {
	err := s.call("taking a base", transferTime, func(ctx context.Context) error {
		return s.host.Take(ctx, s.store.Load(ctx, a.Base), a.At, instant)
	})
	s.send(Event{Type: Loaded, Failed: err != nil})
}

func (s *Shell) publish(a Action, before Base) {
	var b Base
	err := s.call("publishing a base", transferTime, func(ctx context.Context) (err error) {
		b, err = s.store.Publish(ctx, a.Base, before, a.Epoch, func(w io.Writer) error {
			return s.host.Write(w, a.At, func(i clock.Instant) int64 { return a.Base.Began + i.Mono - a.At.Mono })
		})
		return err
	})
	if err == nil {
		s.mu.Lock()
		s.status.Published++
		s.status.PublishedAt = s.now().Time()
		s.mu.Unlock()
	}
	s.send(Event{Type: Published, Reply: Reply{Base: b}, Failed: err != nil})
}

// note remembers how a call to the store has ended. The log is told of a failure
// when it is another than before, and once a minute.
func (s *Shell) note(doing string, err error) {
	if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
		return
	}
	now := s.now().Time()
	s.mu.Lock()
	before, last := s.status, s.told[doing]
	if doing == asking && (before.Connected != (err == nil) || before.Since.IsZero()) {
		s.status.Connected, s.status.Since = err == nil, now
	}
	tell := err != nil && (last.text != err.Error() || now.Sub(last.at) >= logEvery)
	if err != nil {
		s.status.Failed++
		s.status.Error = fmt.Sprintf("%s: %v", doing, err)
	}
	if tell {
		s.told[doing] = failure{err.Error(), now}
	}
	s.mu.Unlock()
	switch {
	case tell && doing == asking:
		s.log.Error("rolegate: shared store unavailable; refreshing alone", "doing", doing, "err", err)
	case tell:
		s.log.Error("rolegate: a call to the shared store failed", "doing", doing, "err", err)
	case err == nil && doing == asking && !before.Connected && !before.Since.IsZero():
		s.log.Info("rolegate: shared store available again", "unavailable_for", now.Sub(before.Since).Round(time.Second))
	}
}
