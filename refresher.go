package rolegate

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
	"golang.org/x/sync/singleflight"
)

// This file keeps the index in step with the source: who runs pulls, and what
// becomes of one that failed. schedule.go is when they run, and pull.go is the
// pull itself.

// A pullKind is an incremental pull, which sees what was added and changed
// since a sequence, or a full walk, which alone sees what is gone.
type pullKind uint8

const (
	incremental pullKind = iota
	walk
	pullKinds
)

func (k pullKind) String() string { return [pullKinds]string{"incremental", "full"}[k] }

// MarshalText has JSON logs tell the kind by its name.
func (k pullKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// A refresher runs the pulls of one gate: one loop for each kind, so that a
// walk of a million users does not hold up a grant. Whoever wants a pull in
// between joins the one that is under way or starts one, through flights.
type refresher struct {
	*store
	ctx     context.Context // ends on close
	cancel  context.CancelFunc
	flights singleflight.Group

	unheld  *unheldRoles
	changes *queue[Change] // nil without OnChange

	wake  [pullKinds]chan struct{} // makes a pull due now
	moved [pullKinds]chan struct{} // says that next has changed
	first chan struct{}            // closed when the first list is there
	fatal chan error               // a refusal before that

	replica  *replica             // nil without a SharedCache
	restored chan struct{}        // closed when the stored index was loaded, or is known to be of no use
	dirty    chan struct{}        // there may be something to store
	stored   *snapshot.Generation // what is stored; only keepStored uses it
	storing  context.Context      // of what is being stored: it outlives ctx by nearly as long as Close waits

	accepting atomic.Int32             // callers who wait for a walk that is to hold nothing back
	begun     [pullKinds]atomic.Uint64 // how many pulls have begun
	walking   atomic.Bool              // a walk is under way
	syncRan   atomic.Bool              // a sync ran during the last walk
	next      [pullKinds]atomic.Int64  // when the loop pulls again, on the monotonic clock
	nextWall  atomic.Int64             // the same of the walk, on the wall clock

	mu       sync.Mutex     // guards what follows; no request that is granted takes it
	ended    bool           // no work begins any more
	running  sync.WaitGroup // loops and pulls; Add only while not ended
	pulls    [pullKinds]pullState
	quiet    clock.Instant          // no pull before this: the source asked for it
	badWalk  clock.Instant          // when an unreadable record last made a walk due
	extra    bool                   // whether one ever did
	holdTold *snapshot.HeldRemovals // what the log was last told is held
	warned   bool                   // whether the log knows that the list is stale
	sync     SyncStatus

	agedWalk clock.Instant // when a MaxAge last made a walk, if agedOnce
	agedOnce bool
	aged     awaitedPull // the walk that was last begun or joined for a MaxAge

	cache     CacheStatus
	cacheTold bool // whether the log knows that storing fails

	failures map[Failure]uint64
	ready    sync.Once
	closing  sync.Once
	stopped  chan struct{}
}

// A pullState is what is remembered of one kind of pull.
type pullState struct {
	RefreshStatus
	err error // the last failure
}

// startRefresher starts everything that a gate does in the background.
func startRefresher(g *Gate) {
	f := &refresher{
		store:    &g.store,
		first:    make(chan struct{}),
		fatal:    make(chan error, 1),
		restored: make(chan struct{}),
		dirty:    make(chan struct{}, 1),
		failures: map[Failure]uint64{},
		stopped:  make(chan struct{}),
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	f.quiet = g.clock()
	f.next[walk].Store(f.quiet.Mono) // at once
	f.nextWall.Store(f.quiet.Wall)
	for k := range f.wake {
		f.wake[k] = make(chan struct{}, 1)
		f.moved[k] = make(chan struct{}, 1)
	}
	g.refresher = f
	if !g.cfg.OnDeny.Off {
		g.onDeny = newDenyRefresher(f, g.cfg.OnDeny.PerMinute)
	}
	g.unheld = newUnheldRoles(f)
	f.unheld = g.unheld
	f.onPublish = []func(){g.watches.check, func() { signal(f.dirty) }}
	f.changes = startQueue(f, changeQueue, "OnChange", g.cfg.OnChange)
	g.observer.decisions = startQueue(f, decisionQueue, "OnDecision", g.cfg.OnDecision)
	if g.cfg.Cache != nil {
		storing, stop := context.WithCancel(context.Background())
		f.storing = storing
		context.AfterFunc(f.ctx, func() { time.AfterFunc(closeWait*9/10, stop) })
		if shared, ok := g.cfg.Cache.(SharedCache); ok {
			f.replica = newReplica(f, shared, g.onDeny)
			f.replica.start()
		} else {
			f.running.Add(1)
			go f.keepStored()
		}
	}
	f.running.Add(int(pullKinds) + 1)
	go f.loop(incremental)
	go f.loop(walk)
	go f.unheld.watch()
	if g.cfg.UpstreamSync != nil {
		f.running.Add(1)
		go f.watchSync()
	}
}

// enter registers work that close has to wait for.
func (f *refresher) enter() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.running.Add(1)
	return true
}

// closeWait is how long Close waits for a source that does not heed its ctx, and
// for what is to be stored.
const closeWait = time.Second

func (f *refresher) close() error {
	f.mu.Lock()
	f.ended = true
	f.mu.Unlock()
	f.cancel()
	f.closing.Do(func() {
		go func() {
			f.running.Wait()
			if source, ok := f.cfg.Source.(interface{ CloseIdleConnections() }); ok {
				source.CloseIdleConnections()
			}
			close(f.stopped)
		}()
	})
	t := time.NewTimer(closeWait)
	defer t.Stop()
	select {
	case <-f.stopped:
		return nil
	case <-t.C:
		return fmt.Errorf("rolegate: not everything stopped within %v: the source must return when its ctx ends, and so must a Cache; hooks must not block", closeWait)
	}
}

// awaitFirst blocks until there is a list, the source refuses the credentials,
// or ctx ends.
func (f *refresher) awaitFirst(ctx context.Context) error {
	select {
	case <-f.first:
		return nil
	case err := <-f.fatal:
		return fmt.Errorf("%w; check the token, the app id and the base URL", err)
	case <-ctx.Done():
		err := context.Cause(ctx)
		if last := f.lastError(walk); last != nil {
			return fmt.Errorf("%w; the last attempt failed: %w", err, last)
		}
		if r := f.replica.status(); r.Role == ReplicaFollower {
			return fmt.Errorf("%w; another replica was to pull it, and has published nothing yet: see its log", err)
		}
		return err
	}
}

// loop pulls at intervals, for ever. No failure ends it.
func (f *refresher) loop(k pullKind) {
	defer f.running.Done()
	if k == walk && f.cfg.Cache != nil && f.replica == nil {
		f.awaitRestored()
	}
	if k == incremental {
		// Before the first walk there is no sequence to go on from.
		select {
		case <-f.first:
		case <-f.ctx.Done():
			return
		}
		// Unless somebody has pulled already: then note has set it.
		f.next[k].CompareAndSwap(0, f.clock().Add(f.interval(k)).Mono)
	}
	timer := time.NewTimer(f.untilNext(k))
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.moved[k]: // somebody else has pulled
			timer.Reset(f.untilNext(k))
			continue
		case <-timer.C:
			if wait := f.untilNext(k); wait > 0 { // the source wants to be left alone
				timer.Reset(wait)
				continue
			}
		case <-f.wake[k]:
			if f.backingOff(k) {
				continue // the timer will ring when it is over
			}
		}
		if f.replica.following() {
			f.replica.judge() // also if a call to the store never returns
			timer.Reset(idle) // or until it has to pull by itself
			continue
		}
		<-f.pull(k)
		timer.Reset(f.untilNext(k))
	}
}

// pull starts a pull of that kind, or joins the one that is under way. The
// channel yields its end.
func (f *refresher) pull(k pullKind) <-chan singleflight.Result {
	return f.flights.DoChan(k.String(), func() (any, error) {
		number := f.begun[k].Add(1)
		if !f.enter() {
			return number, ErrClosed
		}
		defer f.running.Done()
		return number, f.runAndNote(k, f.clock())
	})
}

// pullFresh waits for a pull that started after the call: one that is under
// way may have passed by what the caller wants to see.
func (f *refresher) pullFresh(ctx context.Context, k pullKind) error {
	// Counted, and not by the clock, which may read the same twice.
	var before [pullKinds]uint64
	for kind := range before {
		before[kind] = f.begun[kind].Load()
	}
	for {
		if f.now.Load() == nil {
			k = walk // there is no sequence yet to go on from
		}
		if wait := f.quietFor(); wait > 0 {
			return fmt.Errorf("rolegate: %s: %w", k, &PullError{
				Failure: FailureHTTPStatus, RetryAfter: wait,
				Err: fmt.Errorf("the source asked to be left alone for %v more", wait.Round(time.Second)),
			})
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case result := <-f.pull(k):
			if errors.Is(result.Err, ErrClosed) {
				return ErrClosed
			}
			if errors.Is(result.Err, errOvertaken) {
				continue
			}
			if number, _ := result.Val.(uint64); number <= before[k] {
				continue
			}
			if result.Err != nil {
				return fmt.Errorf("rolegate: %s: %w", k, result.Err)
			}
			if hold := f.now.Load().Held; k == walk && hold != nil {
				return fmt.Errorf("rolegate: the walk counts, but for %d users who are gone from it: %w (%s)", hold.Size(), ErrHeld, hold.Cause)
			}
			return nil
		}
	}
}

// runAndNote makes one pull and remembers how it went.
func (f *refresher) runAndNote(k pullKind, started clock.Instant) error {
	f.begin(k, started)
	outcome, err := f.guarded(k, started)
	if err != nil && f.ctx.Err() != nil {
		err = ErrClosed
	}
	f.note(k, started, outcome, err)
	return err
}

// guarded makes one pull and turns a panic into an error, and likewise the end
// of its goroutine, as by t.FailNow: whoever waits for the pull would wait for
// ever.
func (f *refresher) guarded(k pullKind, started clock.Instant) (o RefreshOutcome, err error) {
	err = &PullError{Failure: FailurePanic, Err: errors.New("the source ended its goroutine")}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				// The stack says where; the value may say more than a log should know.
				f.log.Error("rolegate: a pull panicked", "kind", k, "err", panicError("the source", v), "stack", string(debug.Stack()))
				err = &PullError{Failure: FailurePanic, Err: panicError("the source", v)}
			}
		}()
		// A source that neither answers nor gives up would hold every later pull
		// up; by then the list has expired anyway.
		ctx, cancel := context.WithTimeout(f.ctx, f.cfg.Refresh.ExpireAfter)
		defer cancel()
		switch {
		case f.replica.following():
			err = f.replica.pull(ctx, k)
		case k == walk:
			o, err = f.walk(ctx, started)
		default:
			o, err = f.increment(ctx, started)
		}
	}()
	<-ended
	return o, err
}

func (f *refresher) begin(k pullKind, started clock.Instant) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.pulls[k].Running = true
	f.pulls[k].Started = started.Time()
}

// note remembers a pull that ended, logs it, and sets when the next is due.
func (f *refresher) note(k pullKind, started clock.Instant, o RefreshOutcome, err error) {
	now := f.clock()
	took := time.Duration(now.Mono - started.Mono)
	var hold *snapshot.HeldRemovals
	if gen := f.now.Load(); gen != nil {
		hold = gen.Held
	}
	f.mu.Lock()
	before := f.holdTold
	if err == nil && k == walk {
		f.holdTold = hold
	}
	p := &f.pulls[k]
	p.Running = false
	if errors.Is(err, ErrClosed) || errors.Is(err, errOvertaken) {
		f.mu.Unlock()
		return
	}
	p.Duration = took
	failed := p.Consecutive
	var next clock.Instant
	if err == nil {
		p.Succeeded++
		p.Last = started.Time()
		p.Outcome = o
		p.Consecutive = 0
		f.warned = false
		// Counted from the start, or a slow pull would make the next one late;
		// a pull slower than its interval is followed by a rest all the same.
		interval := f.interval(k)
		next = clock.Later(started.Add(interval), now.Add(interval/10))
		if k == walk && hold != nil && hold.Cause == snapshot.HeldByShrinkGuard {
			next = now.Add(jitter(f.cfg.limits().ConfirmAfter, 0.05))
		}
	} else {
		p.Failed++
		p.Consecutive++
		p.Failure = failureOf(err)
		p.Error = err.Error()
		p.err = err
		p.FailedAt = now.Time()
		f.failures[p.Failure]++
		next = now.Add(f.backOff(k, p.Consecutive))
		f.quiet = clock.Later(f.quiet, now.Add(retryAfter(err)))
	}
	attempt := p.Consecutive
	f.next[k].Store(next.Mono)
	if k == walk {
		f.nextWall.Store(next.Wall)
	}
	f.mu.Unlock()
	signal(f.moved[k])
	if err == nil {
		f.ready.Do(func() { close(f.first) }) // a walk: there is no other first pull
	}

	if err != nil {
		msg := "rolegate: a pull failed; the list stays as it was"
		if f.now.Load() == nil {
			msg = "rolegate: a pull failed; there is no list yet, and nobody is let in"
		}
		f.log.Warn(msg, "kind", k, "failure", failureOf(err), "err", err,
			"attempt", attempt, "next_in", f.untilNext(k).Round(time.Millisecond))
		f.warnIfStale(now)
		if f.now.Load() == nil && errors.Is(err, ErrRefused) {
			select {
			case f.fatal <- err:
			default:
			}
		}
		return
	}
	level := slog.LevelDebug
	if failed > 0 || o.changes() || o.trouble() {
		level = slog.LevelInfo
	}
	if o.trouble() {
		level = slog.LevelWarn
	}
	gen := f.now.Load()
	f.log.Log(f.ctx, level, "rolegate: pulled", "kind", k, "users", gen.Users, "added", o.Added, "removed", o.Removed, "changed", o.Changed,
		"bad_records", o.BadRecords, "dropped_grants", o.DroppedGrants, "conflicts", o.Conflicts, "took", took.Round(time.Millisecond))
	f.tellBereft(o, gen.Users)
	if k == walk {
		f.tellHold(hold, before, now)
		f.warnAmbiguous(gen)
		f.unheld.warn(gen.Snapshot)
	} else if f.walkOverdue(f.cfg.Refresh.ResyncEvery / 4) {
		f.soon(walk) // the machine was suspended, or the wall clock has jumped
	}
}

// warnIfStale says once that the list has had no contact for too long.
func (f *refresher) warnIfStale(now clock.Instant) {
	gen := f.now.Load()
	if gen == nil || gen.Contact.Age(now) <= f.cfg.Refresh.StaleAfter {
		return
	}
	f.mu.Lock()
	told := f.warned
	f.warned = true
	f.mu.Unlock()
	if !told {
		f.log.Error("rolegate: the list is stale: no pull has succeeded for long; it is served until it expires",
			"contact_age", gen.Contact.Age(now).Round(time.Second), "verified_age", gen.Verified.Age(now).Round(time.Second),
			"expire_after", f.cfg.Refresh.ExpireAfter)
	}
}

func (f *refresher) warnAmbiguous(gen *snapshot.Generation) {
	for k := KindAccount; k < kinds; k++ {
		if n := gen.Ambiguous(k.field()); n > 0 && f.cfg.indexed.has(k) {
			f.log.Warn("rolegate: several users share an alias; nobody enters by it", "identity", k, "aliases", n)
		}
	}
}

func (f *refresher) lastError(k pullKind) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.pulls[k].err
}
