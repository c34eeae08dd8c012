package rolegate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/panics"
	"github.com/rolegate/rolegate/internal/pull"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/retries"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A refresher ties together what keeps the index in step with the source: the
// loop says when, the puller reads and publishes, the journal logs and counts.
type refresher struct {
	*store
	tasks *refresh.Tasks
	loop  *refresh.Loop
	onAge *refresh.OnAge // full refreshes that cannot wait

	pull       *pull.Puller
	sync       *refresh.SyncWatch
	changes    *refresh.Queue[Change] // nil without OnChange
	journal    *journal
	unassigned *refresh.Unassigned
	retries    [refresh.Kinds]retries.Counts
	persist    *refresh.Persist // nil without a Cache, and with one that replicas share
	replica    *replica         // nil without one that replicas share

	opened  clock.Instant
	first   chan struct{} // closed when the first list is there
	ready   sync.Once
	fatal   chan error // what makes Open fail at once
	closing sync.Once
	stopped chan struct{}
}

// startRefresher starts everything that a gate does in the background. It calls
// published after each publish.
func startRefresher(s *store, published func()) *refresher {
	f := &refresher{
		store: s, tasks: refresh.NewTasks(), opened: s.clock(),
		first: make(chan struct{}), fatal: make(chan error, 1), stopped: make(chan struct{}),
	}
	r := &f.cfg.Refresh
	begin := closedChannel()
	changes := refresh.StartQueue(f.tasks, f.log, changeQueue, "Config.OnChange", f.cfg.OnChange)
	sync := refresh.NewSyncWatch(refresh.SyncConfig{
		Tasks: f.tasks, Clock: f.clock, Check: syncCheck(f.cfg.UpstreamSync), Depends: f.syncHold,
		Over: func() { f.loop.Soon(refresh.Full) },
	})
	pulls := pull.Config{
		Now: &f.now, Clock: f.clock, Cursor: refresh.NewCursor(r.LookBack, min(time.Minute, r.ExpireAfter/3)),
		Roles: f.roles, Fields: f.cfg.fields, Aliases: f.cfg.indexed.fields(), Limits: f.cfg.limits(),
		Every: r.Every, ResyncEvery: r.ResyncEvery, Read: f.cfg.read,
		Fail:        func(why pull.Failure, err error) error { return &PullError{Failure: Failure(why), Err: err} },
		IsRegressed: func(err error) bool { return failureOf(err) == FailureCursorRegressed },
		During:      sync.During, Soon: func(k refresh.Kind) { f.loop.Soon(k) }, Ambiguous: func() { f.onAge.Owe() },
	}
	if changes != nil {
		pulls.Changed = func(c pull.Change) { changes.Put(f.changeOf(c)) }
	}
	f.sync, f.changes = sync, changes
	f.unassigned = refresh.NewUnassigned(refresh.UnassignedConfig{
		Tasks: f.tasks, Clock: f.clock, Log: f.log, Roles: f.roles, Fetch: f.cfg.RoleCodes,
		Now: func() *index.Snapshot {
			if gen := f.now.Load(); gen != nil {
				return gen.Snapshot
			}
			return nil
		},
	})
	f.journal = newJournal(f)
	f.now.OnPublish(published)
	var await func(context.Context, refresh.Kind, <-chan struct{}) (bool, error)
	var ran func(refresh.Kind, error)
	switch {
	case f.cfg.shared != nil:
		f.replica = &replica{store: f.store, f: f}
		pulls.Share = f.replica.share
		await, ran = f.replica.await, f.replica.ran
	case f.cfg.Cache != nil:
		storing, stop := context.WithCancel(context.Background()) // outlives tasks by nearly as long as Close waits
		context.AfterFunc(f.tasks.Context(), func() { time.AfterFunc(closeWait*9/10, stop) })
		f.persist = refresh.NewPersist(refresh.PersistConfig{
			Tasks: f.tasks, Clock: f.clock, Log: f.log, Cache: f.cfg.Cache, Storing: storing,
			Restore: f.restore, Used: f.begin, Copy: f.copyToStore,
		})
		begin = f.persist.Begin()
		f.now.OnPublish(f.persist.Changed)
	}
	f.pull = pull.New(pulls)
	f.loop = refresh.NewLoop(refresh.LoopConfig{
		Tasks: f.tasks, Clock: f.clock, Random: f.cfg.random, Budget: r.ExpireAfter - r.ResyncEvery,
		Runs: [refresh.Kinds]refresh.Run{
			{Every: f.untilNextIncremental, Do: f.run(refresh.Incremental), Begin: f.first},
			{Every: f.untilNextFull, Do: f.run(refresh.Full), Begin: begin},
		},
		RetryAfter: f.retryAfter, Await: await, Ran: ran, Ended: f.ended,
	})
	f.onAge = refresh.NewOnAge(f.loop, f.clock, r.ResyncMin)
	f.sync.Start()
	if f.persist != nil {
		f.persist.Start()
	}
	if f.replica != nil {
		f.replica.start()
	}
	f.loop.Start()
	f.tasks.Go(f.unassigned.Watch)
	f.tasks.Go(f.journal.watchStale)
	return f
}

func closedChannel() <-chan struct{} {
	c := make(chan struct{})
	close(c)
	return c
}

// begin says that the first list is there.
func (f *refresher) begin() { f.ready.Do(func() { close(f.first) }) }

// untilNextIncremental is the time between two incremental refreshes. It is shorter
// while they are to say whether the source has gone back.
func (f *refresher) untilNextIncremental() time.Duration {
	if doubts := f.pull.Cursor.Doubts(); doubts > 0 {
		return min(f.cfg.Refresh.Every, doubts)
	}
	return f.cfg.Refresh.Every
}

// untilNextFull is the time between two full refreshes. It is shorter while one
// has yet to decide something.
func (f *refresher) untilNextFull() time.Duration {
	next := f.cfg.untilNextFull(f.now.Load())
	if again := f.pull.Cursor.Again(); again > 0 {
		return min(next, again)
	}
	return next
}

// untilNextFull is the time between two full refreshes: while removals wait to be
// confirmed it is shorter.
func (c *settings) untilNextFull(gen *snapshot.Generation) time.Duration {
	if gen == nil || gen.Held == nil {
		return c.Refresh.ResyncEvery
	}
	return c.limits().NextLook(gen.Held, gen.Refreshed) * 9 / 8 // one that is jittered to come too early decides nothing
}

// run makes one refresh of that kind, whatever the source does.
func (f *refresher) run(k refresh.Kind) func(context.Context, clock.Instant) error {
	return func(ctx context.Context, started clock.Instant) error {
		if source, ok := f.cfg.Source.(IdleConnectionCloser); ok && f.pull.Cursor.Doubts() > 0 {
			source.CloseIdleConnections() // of several servers behind one address, another may answer
		}
		again := &f.retries[k]
		ctx, before := retries.With(ctx, again), again.Pages.Load()
		var outcome pull.Outcome
		err := panics.Call("the source", func() (err error) {
			if k == refresh.Full {
				outcome, err = f.pull.Full(ctx, started)
			} else {
				outcome, err = f.pull.Increment(ctx, started)
			}
			return err
		})
		var panicked *panics.Error
		switch {
		case errors.As(err, &panicked):
			f.log.Error("rolegate: a refresh panicked", "kind", k, "err", err, "stack", string(panicked.Stack))
			return &PullError{Failure: FailurePanic, Err: err}
		case errors.Is(err, panics.ErrEnded):
			return &PullError{Failure: FailurePanic, Err: err}
		}
		if err == nil {
			outcome.Repeated = int(again.Pages.Load() - before)
			f.journal.outcome(k, RefreshOutcome(outcome))
		}
		return err
	}
}

// ended takes in how a refresh has ended.
func (f *refresher) ended(k refresh.Kind, o refresh.Outcome) {
	if o.Err == nil {
		f.begin() // a full one: there is no other first refresh
	}
	f.journal.ended(k, o)
	if o.Err == nil && k == refresh.Incremental && f.loop.Overdue(refresh.Full, f.cfg.Refresh.ResyncEvery/4) {
		f.loop.Soon(refresh.Full) // the machine was suspended, or the wall clock has jumped
	}
	if o.Err != nil && f.now.Load() == nil && f.final(o.Err) {
		select {
		case f.fatal <- o.Err:
		default:
		}
	}
}

// refusedFor is for how long Open tries although the source refuses the
// credentials: of two replicas that start together, each may make the other's
// token invalid.
const refusedFor = 30 * time.Second

// final reports whether Open need not try again after that error.
func (f *refresher) final(err error) bool {
	var pe *PullError
	if errors.As(err, &pe) && pe.Permanent {
		return true
	}
	return errors.Is(err, ErrRefused) && f.opened.Age(f.clock()) >= refusedFor
}

// awaitFirst blocks until there is a list, the source refuses the credentials
// for good, or ctx ends.
func (f *refresher) awaitFirst(ctx context.Context) error {
	select {
	case <-f.first:
		return nil
	case err := <-f.fatal:
		return fmt.Errorf("%w; check the token, the app id and the base URL", err)
	case <-ctx.Done():
		err := context.Cause(ctx)
		if last := f.loop.Stats(refresh.Full).Err; last != nil {
			return fmt.Errorf("%w; the last attempt failed: %w", err, last)
		}
		if r, _ := f.replica.status(); r.Connected && !slices.Contains(r.Leases, refresh.Full.String()) {
			return fmt.Errorf("%w; another replica was to refresh it, and has published nothing yet: see its log", err)
		}
		return err
	}
}

// fresh waits for a refresh of that kind that began after the call.
func (f *refresher) fresh(ctx context.Context, k refresh.Kind) error {
	if k == refresh.Full {
		defer f.pull.Believe()()
	}
	err := f.loop.Fresh(ctx, k)
	if err == nil && k == refresh.Full && f.pull.Settles() { // another replica made it, which has been asked by nobody
		err = f.loop.Fresh(ctx, k)
	}
	var quiet *refresh.QuietError
	switch {
	case err == nil:
	case errors.Is(err, refresh.ErrEnded):
		return ErrClosed
	case ctx.Err() != nil && errors.Is(err, context.Cause(ctx)):
		return err
	case errors.As(err, &quiet):
		return fmt.Errorf("rolegate: %s: %w", k, &PullError{Failure: FailureHTTPStatus, RetryAfter: quiet.Wait, Err: quiet})
	default:
		return fmt.Errorf("rolegate: %s: %w", k, err)
	}
	if held := f.now.Load().Held; k == refresh.Full && held != nil {
		return fmt.Errorf("%w: the full refresh counts, but for %d users who are gone from it and %d who have lost roles (%s)", ErrHeld, held.Size(), held.LostRoles(), held.Cause)
	}
	return nil
}

// resyncFor waits for a full refresh that makes the list young enough, if one may
// be made, and no longer than MaxAgeWait. The age goes back from asked: a refresh
// that takes longer than maxAge would never do, although all that was revoked
// before the request is in it. It is for that user: more may be in doubt of one whose
// removal is held.
func (f *refresher) resyncFor(ctx context.Context, maxAge time.Duration, asked clock.Instant, user int64) {
	f.onAge.Await(ctx, f.cfg.Refresh.MaxAgeWait, func() bool {
		gen := f.now.Load()
		return gen == nil || gen.KnownFor(user).Age(asked) <= maxAge
	})
}

// expired makes a full refresh due because a request found the list expired: a
// machine that wakes from a long sleep does not wait for its timers. If the list
// has expired because removals are held, full refreshes come when they are due.
func (f *refresher) expired() {
	if f.loop.Overdue(refresh.Full, 0) {
		f.loop.Soon(refresh.Full)
	}
}

// maxRetryAfter bounds what a source can ask for.
const maxRetryAfter = 5 * time.Minute

// retryAfter says how long an error asks to be left alone.
func (f *refresher) retryAfter(err error) (all, kind time.Duration) {
	var older *refresh.OlderError
	switch {
	case errors.As(err, &older):
		return 0, older.Again * 21 / 20
	case failureOf(err) == FailureCursorRegressed:
		return 0, f.pull.Cursor.Doubts()
	}
	var pe *PullError
	if errors.As(err, &pe) {
		all = min(max(pe.RetryAfter, 0), maxRetryAfter)
	}
	return all, 0
}

// closeWait is how long Close waits for a source that does not heed its ctx, and
// for what is to be stored.
const closeWait = time.Second

func (f *refresher) close() error {
	f.tasks.End()
	f.closing.Do(func() {
		go func() {
			f.tasks.Wait()
			if source, ok := f.cfg.Source.(IdleConnectionCloser); ok {
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

// syncCheck asks a SyncChecker, nil if there is none.
func syncCheck(checker SyncChecker) func(context.Context) (refresh.SyncReport, error) {
	if checker == nil {
		return nil
	}
	return func(ctx context.Context) (refresh.SyncReport, error) {
		report, err := checker.CheckSync(ctx)
		return refresh.SyncReport{Running: report.State == SyncRunning, State: uint8(report.State), Text: report.Text}, err
	}
}

// syncHold says whether removals are held for a sync, and still may be.
func (f *refresher) syncHold() (held, lasts, quiet bool) {
	gen := f.now.Load()
	if gen == nil || f.loop.Running(refresh.Full) || gen.Elsewhere {
		return false, false, true // one replica watches for all: the one that has refreshed
	}
	if gen.Held == nil || gen.Held.Cause != snapshot.HeldBySync {
		return false, false, false
	}
	return true, f.cfg.limits().SyncHoldLasts(gen.Held.SyncSince, f.clock()), false
}

// ErrClosed is returned by the methods of a gate that was closed.
var ErrClosed = errors.New("rolegate: the gate is closed")

// ErrHeld is in the chain of what [Gate.RefreshAll] returns when the full refresh was
// published, but the users that it found gone are still admitted: see
// Status.Held, and [Gate.AcceptShrink].
var ErrHeld = errors.New("rolegate: removals are held back")

// ErrHeldChanged is returned by [Gate.AcceptShrink] if what is held is not what was
// accepted: look at Status.Held again.
var ErrHeldChanged = errors.New("rolegate: what is held back has changed since it was shown: look again")
