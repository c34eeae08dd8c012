// Package pull makes refreshes: it takes in the records that a source shows, and
// publishes what they come to. When that happens is decided in package refresh, and
// what a list may do to the one before in package snapshot.
//
// A full refresh is complete as of the moment at which it began. Incremental ones go
// on meanwhile, and what they read after that moment is put on top of it when it is
// published. What they read before it is not: it may list somebody that the full
// refresh has found gone.
package pull

import (
	"context"
	"errors"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A Config is what a [Puller] works with.
type Config struct {
	Now     *snapshot.Live // what requests see
	Clock   func() clock.Instant
	Cursor  *refresh.Cursor
	Roles   *index.RoleSpace
	Fields  index.FieldSet // the texts that are kept
	Aliases index.FieldSet // those by which users are found
	Limits  snapshot.Limits

	Every, ResyncEvery time.Duration // between incremental refreshes, and between full ones

	// Read reads the source from behind a sequence into the list that it gets from
	// list before each record, and calls ended after each page, if there are pages.
	Read func(ctx context.Context, after int64, list func() *List, ended func(context.Context) error) error

	// Fail makes the error of a failure, and IsRegressed reports whether one says that
	// the source was set back.
	Fail        func(why Failure, err error) error
	IsRegressed func(error) bool

	During    func(context.Context) func() bool // watches, until the func is called, whether a sync was running upstream
	Soon      func(refresh.Kind)                // makes a refresh due
	Ambiguous func()                            // an incremental refresh has made an alias ambiguous
	Changed   func(Change)                      // gets what each publish but the first changed; nil if nobody wants it

	// Share hands other replicas what was read from that instant on; nil if there are
	// none.
	Share func(at clock.Instant, e replication.Entry, rows []snapshot.Row)
}

// A Failure says in one word why a refresh failed.
type Failure string

// The failures that are found here.
const (
	Drift     Failure = "schema_drift"
	Regressed Failure = "cursor_regressed"
	OlderList Failure = "older_list"
)

// A Puller makes one refresh at a time of each kind: it reads the source and
// publishes what that shows. Make it with [New].
type Puller struct {
	Config

	accepted  refresh.Accepted // digests of what is held and was accepted
	believing atomic.Int64     // how many wait for a full refresh who know what it shows
	ticks     atomic.Int64     // what tick has returned last

	// The lock for publishing guards what follows.
	began    int64          // the tick before which the full refresh began by which requests are answered
	outdated int64          // what was asked for before that tick has come too late, too
	underWay *fullRefresh   // nil if none is
	rows     snapshot.Rows  // what goes on top of a full refresh that has begun, here or elsewhere
	sameAs   clock.Instant  // when the full refresh began that the last one has found to be as it was
	doubt    *clock.Instant // when an invalid record last made a full refresh due
	missed   int            // how many incremental refreshes in a row have not shown the highest sequence known
}

// New returns a puller that has not read anything yet.
func New(c Config) *Puller { return &Puller{Config: c} }

// A fullRefresh is one that is under way: when it began, and the highest sequence
// that was shown meanwhile to who had asked before that.
type fullRefresh struct {
	tick    int64
	started clock.Instant
	known   int64
}

// margin is by how much later than a full refresh a row must have been read to
// count on top of it, if either is of another replica.
const margin = int64(replication.Margin)

// tick reads the monotonic clock. What is read later is higher, also if the clock
// reads the same.
func (p *Puller) tick() int64 {
	for {
		last := p.ticks.Load()
		next := max(p.Clock().Mono, last+1)
		if p.ticks.CompareAndSwap(last, next) {
			return next
		}
	}
}

// Full reads the whole list and publishes it. It changes nothing if that fails.
func (p *Puller) Full(ctx context.Context, started clock.Instant) (outcome Outcome, err error) {
	syncRan := p.During(ctx)
	if err := p.beginFull(ctx, started); err != nil {
		return Outcome{}, err
	}
	defer p.endFull()
	list := p.collectAll(started)
	if err := list.pullAll(ctx); err != nil {
		return Outcome{}, err
	}
	s, err := index.NewSnapshot(list.table, p.Roles, p.Aliases)
	if err != nil {
		return Outcome{}, err
	}
	outcome = list.outcome()
	next, before, seen, err := p.publishFull(ctx, s, list, syncRan())
	if err != nil {
		return Outcome{}, err
	}
	outcome = outcome.plus(seen)
	if p.Changed == nil {
		// Counting what changed takes a while for a long list: nobody waits for it.
		outcome = outcome.plus(p.compareAll(next, before))
	}
	outcome.Held = next.Held.Size()
	if started.Age(p.Clock()) > p.Every/10 || list.tail.Behind() > 0 {
		p.Soon(refresh.Incremental) // for what has come since it began, and whether the source knows what was known
	}
	return outcome, nil
}

// beginFull has what incremental refreshes read from now on kept.
func (p *Puller) beginFull(ctx context.Context, started clock.Instant) error {
	if err := p.Now.Lock(ctx); err != nil {
		return err
	}
	defer p.Now.Unlock()
	p.underWay, p.sameAs = &fullRefresh{tick: p.tick(), started: started}, clock.Instant{}
	return nil
}

// endFull forgets it, unless another replica may publish an earlier one.
func (p *Puller) endFull() {
	if p.Now.Lock(context.Background()) == nil {
		if p.underWay = nil; p.Share == nil {
			p.rows = snapshot.Rows{}
		}
		p.Now.Unlock()
	}
}

// publishFull publishes a full refresh. It returns the generation that it
// replaced, nil if there was none.
func (p *Puller) publishFull(ctx context.Context, s *index.Snapshot, list *List, syncing bool) (next, before *snapshot.Generation, seen Outcome, err error) {
	if err := p.Now.Lock(ctx); err != nil {
		return nil, nil, seen, err
	}
	defer p.Now.Unlock()
	started, began, tail := p.underWay.started, p.underWay.tick, list.tail
	before = p.Now.Load()
	if before != nil && before.Elsewhere && before.Refreshed.Mono >= started.Mono {
		return nil, nil, seen, refresh.ErrElsewhere
	}
	recent := func(int64) bool { return false }
	if p.Share != nil {
		recent = p.recent(before, began)
	}
	base := &snapshot.Generation{Snapshot: s, Above: tail.Above(), Contact: started, Verified: started, Refreshed: started, ReadUntil: p.Clock()}
	if next, _, err = p.onTop(base, began); err != nil {
		return nil, nil, seen, err
	}
	tail.Knew(p.underWay.known)
	explained := func() bool { return next.OnlyLacks(before, p.Limits) }
	if err := p.Cursor.Older(started, tail, p.believing.Load() > 0, explained); err != nil {
		p.Soon(refresh.Incremental) // does it know what was known?
		return nil, nil, seen, p.Fail(OlderList, err)
	}
	if before != nil {
		if p.Share == nil || before.Contact.Mono-margin > began {
			next.Contact = clock.Later(next.Contact, before.Contact)
		}
		shown := index.Comparison{Before: before.Snapshot, After: next.Snapshot}
		seen.Late = p.Cursor.Missed(tail, func(id int64) bool {
			found := shown.Look(id)
			return found == index.UserAdded || found == index.UserChanged
		})
	}
	view := snapshot.RemovalContext{
		Started: started, Syncing: syncing, Accept: p.Accepted(before),
		Mixed: tail.Doubt() == refresh.Mixed, Behind: tail.Behind(), Doubts: tail.Doubts,
	}
	if err := next.HoldBack(before, p.Limits, view, p.Roles, p.Aliases); err != nil {
		return nil, nil, seen, err
	}
	next.Cursor = p.Cursor.Full(started, p.Clock(), tail, p.gone(before, next, recent))
	if p.Share != nil && next.Same(before) {
		p.sameAs = before.Refreshed
	}
	if p.Share != nil {
		p.Cursor.AddGone(next.Above)
	}
	p.began = began
	p.Now.Publish(next)
	if list.table.Repaired > 0 {
		p.fullForDoubt(started)
	}
	if p.Changed != nil { // they come in the order in which lists are published
		seen = seen.plus(p.compareAll(next, before))
	}
	return next, before, seen, nil
}

// onTop puts on a full refresh that began then what was read since. It returns
// the rows, nil if there are none. It needs the lock.
func (p *Puller) onTop(base *snapshot.Generation, began int64) (next *snapshot.Generation, rows []snapshot.Row, err error) {
	p.rows.Forget(began)
	if rows = p.rows.After(began); len(rows) == 0 {
		return base, nil, nil
	}
	next, changes, err := base.WithRows(rows, began, p.Roles, p.Aliases)
	if errors.Is(err, snapshot.ErrTooManyRoles) {
		err = p.tooManyRoles()
	}
	if err == nil && base.Elsewhere { // else it is compared with the one before
		err = next.HoldLostRoles(base, changes, p.Limits, p.Clock(), p.Roles, p.Aliases)
	}
	if err != nil {
		return nil, nil, err
	}
	next.Touched = next.Snapshot != base.Snapshot
	return next, rows, nil
}

// recent returns whether a row of a user may have come since a full refresh began, or at
// about that time, as far as clocks tell. It may have been asked for long before, by a
// process or machine that was suspended.
func (p *Puller) recent(before *snapshot.Generation, began int64) func(id int64) bool {
	since := began - 2*margin
	if before != nil && before.RowsUntil != (clock.Instant{}) && before.RowsUntil.Mono > since {
		return func(int64) bool { return true }
	}
	users := p.rows.KnownSince(since)
	var read map[int64]int64
	if before != nil && before.ReadUntil != (clock.Instant{}) && before.ReadUntil.Mono > since {
		read = before.Above // by a full refresh that was under way when the other began
	}
	return func(id int64) bool {
		_, ok := read[id]
		return ok || users[id]
	}
}

// gone returns the users that a list does not have any more, but for those with a recent
// row: they may have been added since that began, so that the next row of theirs counts.
func (p *Puller) gone(before, next *snapshot.Generation, recent func(id int64) bool) []int64 {
	return slices.DeleteFunc(next.Removed(before), func(id int64) bool {
		if recent(id) {
			p.Cursor.Doubt(id)
			return true
		}
		return false
	})
}

// Believe has full refreshes believed that lack only users, also if one before was taken
// for older, until the func is called that it returns: who asked for one knows that they
// are gone.
func (p *Puller) Believe() (done func()) {
	p.believing.Add(1)
	return func() { p.believing.Add(-1) }
}

// Settles reports whether a full refresh that is made here settles what is in doubt,
// because somebody waits for it who knows what it should show.
func (p *Puller) Settles() bool {
	gen := p.Now.Load()
	return p.believing.Load() > 0 && gen != nil && gen.Held != nil && gen.Held.Cause == snapshot.HeldByDoubt
}

// Accept accepts what has that digest of all that full refreshes hold, until the func
// is called that it returns.
func (p *Puller) Accept(digest string) (done func()) { return p.accepted.Add(digest) }

// Accepted returns the digest of what a generation holds if it is accepted, ""
// if not.
func (p *Puller) Accepted(gen *snapshot.Generation) string {
	if gen == nil || !p.accepted.Has(gen.HeldDigest) {
		return ""
	}
	return gen.HeldDigest()
}

// SameAs returns when the full refresh began that the last one has found to be as it
// was, and the zero instant if it was not.
func (p *Puller) SameAs() clock.Instant { return p.sameAs }
