package replication

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
	"unicode"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
)

const (
	leaveTime    = 400 * time.Millisecond    // how long a call may take while the replica leaves the group
	transferTime = 5 * time.Minute           // how long a base may take on its way
	logEvery     = time.Minute               // how often the log is told that a call goes on failing
	asking       = "asking how things stand" // tells whether the store can be reached
	publishing   = "publishing a base"
)

// A Shell runs a [State]: it has one goroutine, and one more for each call that can take
// long: asking how things stand, and reading or writing a base. Its methods are safe
// for concurrent use.
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
	told    map[string]time.Time // when the log was told of which failure
	spent   clock.Instant
	wait    time.Duration // for which the budget is spent from then
}

// Start joins the group.
func Start(cfg Config, seed uint64, store Store, host Host, now func() clock.Instant, log *slog.Logger) *Shell {
	ctx, cancel := context.WithCancel(context.Background())
	s := &Shell{
		store: store, host: host, now: now, log: log, ctx: ctx, cancel: cancel,
		events: make(chan Event, 16), state: New(cfg, seed), told: map[string]time.Time{},
	}
	s.done.Go(s.run)
	return s
}

// Close leaves the group, gives the leases back and waits for that, for each no
// longer than [leaveTime]. Closing again is harmless.
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
	for k, w := range s.state.work {
		st.Holds[k] = w.leased && w.until > s.now().Mono
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
		select {
		case <-demanded:
			due.Demand, demanded = true, nil
		default:
		}
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
	over, failing := s.wait > 0 && s.spent.Age(s.now()) < s.wait, s.state.failing
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
	for e := (Event{Type: Tick}); s.ctx.Err() == nil; {
		s.step(e)
		e = Event{Type: Tick}
		select {
		case e = <-s.events:
		case <-time.After(time.Duration(max(0, s.state.Next()-s.now().Mono))):
		case <-s.ctx.Done():
		}
	}
	s.step(Event{Type: Closing})
}

// step takes an event, and looks again if what requests see has changed.
func (s *Shell) step(e Event) {
	for changed := true; changed; e = (Event{Type: Tick}) {
		e.Own, e.Now = s.host.Own(), s.now()
		s.mu.Lock()
		next, actions := s.state.Step(e, nil)
		s.state = next
		s.mu.Unlock()
		changed = false
		for _, a := range actions {
			s.do(a)
			changed = changed || a.Type == Confirm || a.Type == Apply || a.Type == Shift
		}
	}
}

// do carries out an action.
func (s *Shell) do(a Action) {
	switch a.Type {
	case Sync:
		s.done.Go(func() { s.sync(a) }) // a store that is silent holds up nothing else
	case Run, Skip:
		s.mu.Lock()
		told := s.waiting[a.Kind]
		s.waiting[a.Kind] = nil
		s.mu.Unlock()
		if told != nil {
			told <- a.Type == Run
		} else if a.Type == Run { // nobody waits any more
			s.done.Go(func() { s.Ran(a.Kind, false, 0, clock.Instant{}) })
		}
	case Soon:
		s.host.Soon(a.Kind)
	case Release:
		s.call(Timeout, "giving a lease back", func(ctx context.Context) error { return s.store.Release(ctx, a.Kind, a.Keep) })
	case Append:
		s.call(Timeout, "publishing rows", func(ctx context.Context) error { return s.store.Append(ctx, a.Entry, a.Epoch) })
	case Confirm:
		s.host.Confirm(a.At)
	case Apply:
		s.host.Apply(a.Entries)
	case Shift:
		s.host.Shift(a.Shifted, a.UnderWay)
	case Load:
		clocks, now := s.state.clock, s.now()
		s.done.Go(func() { s.load(a, func(stamp int64) clock.Instant { return clocks.instant(stamp, now) }) })
	case Publish:
		s.done.Go(func() { s.publish(a) })
	}
}

// call makes a call to the store, and notes how it ends.
func (s *Shell) call(lasts time.Duration, doing string, do func(context.Context) error) error {
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

func (s *Shell) sync(a Action) {
	sent, reply := s.now(), Reply{}
	err := s.call(Timeout, asking, func(ctx context.Context) (err error) {
		reply, err = s.store.Sync(ctx, a)
		return err
	})
	s.send(Event{Type: Synced, Sent: sent, Reply: reply, Failed: err != nil})
}

func (s *Shell) load(a Action, instant func(stamp int64) clock.Instant) {
	err := s.call(transferTime, "taking a base", func(ctx context.Context) error {
		return s.host.Take(ctx, s.store.Load(ctx, a.Base), a.At, instant)
	})
	s.send(Event{Type: Loaded, At: a.At, Failed: err != nil})
}

func (s *Shell) publish(a Action) {
	var b Base
	err := s.call(transferTime, publishing, func(ctx context.Context) (err error) {
		b, err = s.store.Publish(ctx, a.Base, a.Known, a.Epoch, func(w io.Writer) error {
			return s.host.Write(w, a.At, func(i clock.Instant) int64 { return a.Base.Began + i.Mono - a.At.Mono })
		})
		return err
	})
	refused := errors.Is(err, ErrRefused)
	s.send(Event{Type: Published, At: a.At, Reply: Reply{Base: b}, Refused: refused, Failed: err != nil && !refused})
}

// note remembers how a call to the store has ended. The log is told of each failure
// once a minute at most.
func (s *Shell) note(doing string, err error) {
	if errors.Is(err, context.Canceled) && s.ctx.Err() != nil {
		return
	}
	now := s.now().Time()
	s.mu.Lock()
	before := s.status
	if doing == asking && (before.Connected != (err == nil) || before.Since.IsZero()) {
		s.status.Connected, s.status.Since = err == nil, now
	}
	if doing == publishing && err == nil {
		s.status.Published++
		s.status.PublishedAt = now
	}
	tell := false
	if err != nil {
		s.status.Failed++
		s.status.Error = fmt.Sprintf("%s: %v", doing, err)
		failure := strings.Join(strings.FieldsFunc(s.status.Error, unicode.IsDigit), "") // each connection has a port of its own
		if tell = now.Sub(s.told[failure]) >= logEvery; tell {
			s.told[failure] = now
		}
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
