package refresh

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
)

const (
	// syncTimeout is how long a refresh waits for the checker at most.
	syncTimeout = 5 * time.Second

	// syncPoll is how often a running sync is asked about while something
	// depends on it.
	syncPoll = 15 * time.Second
)

// A SyncReport is what a checker reports: State is its own, and Running
// says what that means.
type SyncReport struct {
	Running bool
	State   uint8
	Text    string
}

// A SyncConfig says what a [SyncWatch] asks. A nil Check asks nobody; the other
// fields are needed.
type SyncConfig struct {
	Tasks *Tasks
	Clock func() clock.Instant
	Check func(context.Context) (SyncReport, error)

	// Depends reports whether a hold depends on the sync (held), and whether it
	// may last; with quiet, the watch has nothing to do at the moment.
	Depends func() (held, lasts, quiet bool)

	// Over is called when the sync has ended that ran during the last full
	// refresh, or may not hold anything up any longer.
	Over func()
}

// A SyncWatch knows whether a sync is running upstream. Make it with
// [NewSyncWatch].
type SyncWatch struct {
	cfg SyncConfig
	ran atomic.Bool // a sync ran during the last full refresh

	mu     sync.Mutex
	asking *answer // nil if nobody is being asked
	status SyncStatus
}

// SyncStatus is what the checker said last.
type SyncStatus struct {
	Report  SyncReport
	Checked time.Time

	Failed uint64 // how many times it could not tell
	Error  string // the last time
}

// NewSyncWatch returns one that asks when it is asked: see [SyncWatch.Start].
func NewSyncWatch(cfg SyncConfig) *SyncWatch { return &SyncWatch{cfg: cfg} }

// Start begins to watch, in a goroutine of the tasks.
func (s *SyncWatch) Start() {
	if s.cfg.Check != nil {
		s.cfg.Tasks.Go(s.watch)
	}
}

// Status returns what the checker said last.
func (s *SyncWatch) Status() SyncStatus {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status
}

// Running asks whether a sync is running. It never takes longer than five
// seconds, and never fails: what goes wrong counts as no, and is in Status.
func (s *SyncWatch) Running(ctx context.Context) bool {
	if s.cfg.Check == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, syncTimeout)
	defer cancel()
	a := s.ask(ctx)
	report, err := SyncReport{}, error(nil)
	select {
	case <-a.done:
		report, err = a.report, a.err
	case <-ctx.Done():
		err = fmt.Errorf("the SyncChecker did not answer: %w", context.Cause(ctx))
	}
	s.note(report, err)
	return report.Running
}

// An answer is one call of the checker, for all who wait for it.
type answer struct {
	done   chan struct{}
	report SyncReport
	err    error
}

// ask asks the checker in a goroutine, or joins who asks: one that does not heed
// its ctx is left behind, and there is never more than one.
func (s *SyncWatch) ask(ctx context.Context) *answer {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking != nil {
		return s.asking
	}
	a := &answer{done: make(chan struct{})}
	if !s.cfg.Tasks.Go(func() {
		a.err = panics.Call("the SyncChecker", func() (err error) {
			a.report, err = s.cfg.Check(ctx)
			return err
		})
		if a.err != nil {
			a.report = SyncReport{}
		}
		s.mu.Lock()
		s.asking = nil
		s.mu.Unlock()
		close(a.done)
	}) {
		a.err = ErrEnded
		close(a.done)
		return a
	}
	s.asking = a
	return a
}

func (s *SyncWatch) note(report SyncReport, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Report, s.status.Checked = report, s.cfg.Clock().Time()
	if err != nil {
		s.status.Failed++
		s.status.Error = err.Error()
	}
}

// During asks whether a sync is running at the beginning of a full refresh, in a
// goroutine, and at its end: what it returns must be called then, once, and
// says whether one ran at either.
func (s *SyncWatch) During(ctx context.Context) (ran func() bool) {
	atStart := make(chan bool, 1)
	if s.cfg.Check == nil || !s.cfg.Tasks.Go(func() { atStart <- s.Running(ctx) }) {
		return func() bool { return false }
	}
	return func() bool {
		ran := <-atStart || s.Running(ctx)
		s.ran.Store(ran)
		return ran
	}
}

// watch looks whether the sync has ended that something depends on.
func (s *SyncWatch) watch() {
	ctx := s.cfg.Tasks.Context()
	timer := time.NewTimer(syncPoll)
	defer timer.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		timer.Reset(syncPoll)
		held, lasts, quiet := s.cfg.Depends()
		if quiet || !held && !s.ran.Load() {
			continue // nothing depends on it
		}
		if held && !lasts || !s.Running(ctx) {
			s.cfg.Over()
		}
	}
}
