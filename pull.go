package rolegate

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// RefreshOutcome is what a refresh that succeeded saw and changed.
type RefreshOutcome struct {
	Records int `json:"records"` // records that the source yielded

	Added        int `json:"added"`          // users who were not listed before
	Removed      int `json:"removed"`        // users who are no longer listed
	Changed      int `json:"changed"`        // users with other roles or names than before
	LostAllRoles int `json:"lost_all_roles"` // those of them who had roles and have none any more

	BadRecords    int `json:"bad_records"`    // records that could not be understood
	NullRoles     int `json:"null_roles"`     // users with null in place of their roles: they have none
	DroppedGrants int `json:"dropped_grants"` // grants without an organisation above 0 or a role code
	Duplicates    int `json:"duplicates"`     // records of a user who was there already
	Conflicts     int `json:"conflicts"`      // those of them whose roles differed
	Late          int `json:"late"`           // of a full one: changes that incremental ones should have shown

	Held int `json:"held"` // users whose removal is held back: see Status.Held
}

// changes reports whether the refresh changed anything.
func (o RefreshOutcome) changes() bool { return o.Added+o.Removed+o.Changed > 0 }

// trouble reports whether an operator should look at the source.
func (o RefreshOutcome) trouble() bool { return o.BadRecords+o.Conflicts > 0 }

// plus adds up two parts of an outcome.
func (o RefreshOutcome) plus(p RefreshOutcome) RefreshOutcome {
	o.Added += p.Added
	o.Removed += p.Removed
	o.Changed += p.Changed
	o.LostAllRoles += p.LostAllRoles
	o.Records += p.Records
	o.BadRecords += p.BadRecords
	o.NullRoles += p.NullRoles
	o.DroppedGrants += p.DroppedGrants
	o.Duplicates += p.Duplicates
	o.Conflicts += p.Conflicts
	o.Late += p.Late
	return o
}

// A puller makes one refresh at a time of each kind: it reads the source and
// publishes what that shows.
//
// A full refresh is complete as of the moment at which it began. Incremental
// ones go on meanwhile, and what they read after that moment is put on top of it
// when it is published. What they read before it is not: it may list somebody
// that the full refresh has found gone.
type puller struct {
	*store
	cursor  *refresh.Cursor
	sync    *refresh.SyncWatch
	changes *refresh.Queue[Change] // nil without OnChange

	soon      func(refresh.Kind) // makes a refresh due
	ambiguous func()             // an incremental refresh has made an alias ambiguous
	// share hands other replicas what was read from that instant on; nil if there
	// are none.
	share func(at clock.Instant, e replication.Entry, rows []snapshot.Row)

	accepted refresh.Accepted // digests of what is held and was accepted
	ticks    atomic.Int64     // what tick has returned last

	// The lock for publishing guards what follows.
	began    int64          // the tick before which the full refresh began by which requests are answered
	outdated int64          // what was asked for before that tick has come too late, too
	underWay *fullRefresh   // nil if none is
	rows     snapshot.Rows  // what goes on top of a full refresh that has begun, here or elsewhere
	sameAs   clock.Instant  // when the full refresh began that the last one has found to be as it was
	unread   *clock.Instant // when a record that says not even whose it is last made a full refresh due
	missed   int            // how many incremental refreshes in a row have not shown the highest sequence known
}

// A fullRefresh is one that is under way: when it began.
type fullRefresh struct {
	tick    int64
	started clock.Instant
}

// margin is by how much later than a full refresh a row must have been read to
// count on top of it, if either is of another replica.
const margin = int64(replication.Margin)

// tick reads the monotonic clock. What is read later is higher, also if the clock
// reads the same.
func (p *puller) tick() int64 {
	for {
		last := p.ticks.Load()
		next := max(p.clock().Mono, last+1)
		if p.ticks.CompareAndSwap(last, next) {
			return next
		}
	}
}

// full reads the whole list and publishes it. It changes nothing if that fails.
func (p *puller) full(ctx context.Context, started clock.Instant) (outcome RefreshOutcome, err error) {
	syncRan := p.sync.During(ctx)
	if err := p.beginFull(ctx, started); err != nil {
		return RefreshOutcome{}, err
	}
	defer p.endFull()
	var like *index.Table
	if gen := p.now.Load(); gen != nil {
		like = &gen.Table
	}
	list := &collector{p: p, tail: p.cursor.Tail(started), table: index.NewBuilder(p.cfg.fields, like, p.roles.Publish())}
	if err := list.pullAll(ctx); err != nil {
		return RefreshOutcome{}, err
	}
	s, err := index.NewSnapshot(list.table, p.roles, p.cfg.indexed.fields())
	if err != nil {
		return RefreshOutcome{}, err
	}
	outcome = list.outcome()
	next, before, seen, err := p.publishFull(ctx, s, list.tail, syncRan())
	if err != nil {
		return RefreshOutcome{}, err
	}
	outcome = outcome.plus(seen)
	if p.changes == nil {
		// Counting what changed takes a while for a long list: nobody waits for it.
		outcome = outcome.plus(p.compareAll(next, before))
	}
	outcome.Held = next.Held.Size()
	if started.Age(p.clock()) > p.cfg.Refresh.Every/10 {
		p.soon(refresh.Incremental) // for what has come since it began
	}
	return outcome, nil
}

// beginFull has what incremental refreshes read from now on kept.
func (p *puller) beginFull(ctx context.Context, started clock.Instant) error {
	if err := p.now.Lock(ctx); err != nil {
		return err
	}
	defer p.now.Unlock()
	p.underWay, p.sameAs = &fullRefresh{p.tick(), started}, clock.Instant{}
	return nil
}

// endFull forgets it, unless another replica may publish an earlier one.
func (p *puller) endFull() {
	if p.now.Lock(context.Background()) == nil {
		if p.underWay = nil; p.share == nil {
			p.rows = snapshot.Rows{}
		}
		p.now.Unlock()
	}
}

// publishFull publishes a full refresh. It returns the generation that it
// replaced, nil if there was none.
func (p *puller) publishFull(ctx context.Context, s *index.Snapshot, list *refresh.Tail, syncing bool) (next, before *snapshot.Generation, seen RefreshOutcome, err error) {
	if err := p.now.Lock(ctx); err != nil {
		return nil, nil, seen, err
	}
	defer p.now.Unlock()
	started, began := p.underWay.started, p.underWay.tick
	before = p.now.Load()
	if before != nil && before.Elsewhere && before.Refreshed.Mono >= started.Mono {
		return nil, nil, seen, refresh.ErrElsewhere
	}
	var recent []snapshot.Row
	if p.share != nil {
		recent = p.rows.After(began - 2*margin)
	}
	base := &snapshot.Generation{Snapshot: s, Above: list.Above(), Contact: started, Verified: started, Refreshed: started}
	if next, _, err = p.onTop(base, began); err != nil {
		return nil, nil, seen, err
	}
	if err := p.cursor.Older(started, list, func() bool { return next.OnlyLacks(before, p.cfg.limits()) }); err != nil {
		p.soon(refresh.Incremental) // does it know what was known?
		return nil, nil, seen, &PullError{Failure: FailureOlderList, Err: err}
	}
	if before != nil {
		if p.share == nil || before.Contact.Mono-margin > began {
			next.Contact = clock.Later(next.Contact, before.Contact)
		}
		shown := index.Comparison{Before: before.Snapshot, After: next.Snapshot}
		seen.Late = p.cursor.Missed(list, func(id int64) bool {
			found := shown.Look(id)
			return found == index.UserAdded || found == index.UserChanged
		})
	}
	view := snapshot.RemovalContext{Started: started, Syncing: syncing, Accept: p.acceptedOf(before)}
	if err := next.HoldBack(before, p.cfg.limits(), view, p.roles, p.cfg.indexed.fields()); err != nil {
		return nil, nil, seen, err
	}
	next.Cursor = p.cursor.Full(started, p.clock(), list, p.gone(before, next, recent))
	if p.share != nil && next.Same(before) {
		p.sameAs = before.Refreshed
	}
	p.began = began
	p.now.Swap(next)
	if p.changes != nil { // they come in the order of the swaps
		seen = seen.plus(p.compareAll(next, before))
	}
	return next, before, seen, nil
}

// onTop puts on a full refresh that began then what was read since. It returns
// the rows, nil if there are none. It needs lockSwap.
func (p *puller) onTop(base *snapshot.Generation, began int64) (next *snapshot.Generation, rows []snapshot.Row, err error) {
	p.rows.Forget(began)
	if rows = p.rows.After(began); len(rows) == 0 {
		return base, nil, nil
	}
	next, changes, err := base.WithRows(rows, began, p.roles, p.cfg.indexed.fields())
	if errors.Is(err, snapshot.ErrTooManyRoles) {
		err = tooManyRoles()
	}
	if err == nil && base.Elsewhere { // else it is compared with the one before
		err = next.HoldLostRoles(base, changes, p.cfg.limits(), p.clock(), p.roles, p.cfg.indexed.fields())
	}
	if err != nil {
		return nil, nil, err
	}
	next.Touched = next.Snapshot != base.Snapshot
	return next, rows, nil
}

// gone returns the users that a list does not have any more, but for those of the
// recent rows: they were read by another replica, or before another one's list, and at
// about the time when that began. Whether before or after it the clocks cannot tell, so
// that the next row of theirs counts.
func (p *puller) gone(before, next *snapshot.Generation, recent []snapshot.Row) []int64 {
	doubtful := sequencesOf(recent)
	return slices.DeleteFunc(next.Removed(before), func(id int64) bool {
		_, is := doubtful[id]
		if is {
			p.cursor.Doubt(id)
		}
		return is
	})
}

// errOutdated is what becomes of a page that was asked for before a full refresh
// began which was published since.
var errOutdated = errors.New("rolegate: a full refresh has overtaken this page")

// increment reads what was added and changed, and publishes each page as it
// comes.
func (p *puller) increment(ctx context.Context, started clock.Instant) (outcome RefreshOutcome, err error) {
	for {
		run := &increment{p: p, after: p.cursor.From(), started: started}
		if highest := p.cursor.Highest(); highest > run.after {
			run.sought = highest
		}
		err := run.pull(ctx)
		outcome = outcome.plus(run.outcome)
		switch {
		case err == nil:
			outcome.Held = p.now.Load().Held.Size()
			return outcome, nil
		case errors.Is(err, errOutdated) && ctx.Err() == nil:
			started = p.clock()
			continue // what the full refresh does not have comes again
		case failureOf(err) == FailureCursorRegressed:
			p.cursor.Regressed(started)
			p.soon(refresh.Full)
		}
		return RefreshOutcome{}, err
	}
}

// An increment is one incremental refresh under way.
type increment struct {
	p       *puller
	after   int64
	sought  int64 // the highest sequence known, if it must be shown
	shown   bool  // it was, or a higher one
	started clock.Instant
	rows    *collector
	from    int64         // the sequence behind which rows has all
	asked   int64         // the tick before the first page in rows was asked for
	askedAt clock.Instant // when that was
	took    time.Duration // how long publishing took last
	last    clock.Instant // when that was
	outcome RefreshOutcome
}

// pull reads the source to the end.
func (i *increment) pull(ctx context.Context) error {
	i.from = i.after
	i.begin()
	err := i.p.read(ctx, i.after, func() *collector { return i.rows }, i.pageEnded)
	if err != nil {
		return err
	}
	return i.publish(ctx, true)
}

// misses reports whether it has not shown the highest sequence that was known when it
// began, although it asked from below that: whoever had it is gone, or this is a server
// that lags behind, or a restored backup. Then it cannot say what has changed, and a
// full refresh is due.
func (i *increment) misses() bool { return !i.shown && i.p.cursor.Highest() >= i.sought }

// begin begins to collect rows.
func (i *increment) begin() {
	i.asked, i.askedAt = i.p.tick(), i.p.clock()
	i.rows = i.p.collectRows(i.after, i.asked)
}

// collectRows begins to collect rows, which are read from that tick on.
func (p *puller) collectRows(after, read int64) *collector {
	return &collector{
		p: p, after: after, incremental: true, read: read, sequences: map[int64]int64{},
		table: index.NewBuilder(p.cfg.fields, &p.now.Load().Table, p.roles.Publish()),
	}
}

// pageEnded publishes what was read, at once as long as that costs little, and
// at least every second.
func (i *increment) pageEnded(ctx context.Context) error {
	if wait := min(time.Second, 4*i.took); i.last != (clock.Instant{}) && i.last.Age(i.p.clock()) < wait {
		return nil
	}
	return i.publish(ctx, false)
}

// publish publishes the rows that were read, and, with the last, that the
// refresh is complete, if it is.
func (i *increment) publish(ctx context.Context, last bool) error {
	i.shown = i.shown || i.rows.most >= i.sought
	if len(i.rows.sequences) == 0 && i.rows.unreadable == 0 && !last {
		return nil
	}
	i.rows.settle()
	complete, err := i.put(ctx, last)
	if err != nil {
		return err
	}
	if p := i.p; p.share != nil { // not with the lock: it may have to wait
		at := i.askedAt
		if complete {
			at = i.started
		}
		to := max(i.from, i.rows.highest())
		p.share(at, replication.Entry{From: i.from, To: to, Complete: complete}, i.rows.rows)
		i.from = to
	}
	i.begin()
	return nil
}

func (i *increment) put(ctx context.Context, last bool) (complete bool, err error) {
	p := i.p
	if !i.rows.table.Settle(p.roles) {
		return false, tooManyRoles()
	}
	if err := p.now.Lock(ctx); err != nil {
		return false, err
	}
	defer p.now.Unlock()
	begun := p.clock()
	if i.asked <= max(p.began, p.outdated) {
		return false, errOutdated
	}
	if i.rows.unreadable > 0 {
		p.fullForUnreadable(i.started)
	}
	complete = last
	if last && i.misses() {
		complete = false
		p.cursor.Regressed(i.started)
		p.fullForMissed()
	} else if last {
		p.missed = 0
	}
	seen, err := p.put(i.rows, i.started, complete, true)
	if err != nil {
		return false, err
	}
	i.outcome = i.outcome.plus(seen)
	i.last = p.clock()
	i.took = begun.Age(i.last)
	return complete, nil
}

// put puts rows on top of what requests see. complete is whether nothing else
// has changed up to started, and moves whether the next incremental refresh need
// not ask for what comes before them. It needs lockSwap.
func (p *puller) put(rows *collector, started clock.Instant, complete, moves bool) (seen RefreshOutcome, err error) {
	before := p.now.Load()
	next := *before
	changes, err := next.Apply(rows.table, p.roles, p.cfg.indexed.fields())
	if err != nil {
		return seen, err
	}
	p.cursor.Page(p.clock(), rows.sequences, moves)
	if complete {
		p.cursor.Done(started)
		next.Contact = clock.Later(before.Contact, started)
	}
	next.Cursor = p.cursor.Highest()
	next.Held = before.Held.Without(changes)
	if err := next.HoldLostRoles(before, changes, p.cfg.limits(), started, p.roles, p.cfg.indexed.fields()); err != nil {
		return seen, err
	}
	if p.underWay != nil || p.share != nil {
		for _, row := range rows.rows {
			p.rows.Add(row)
		}
	}
	next.Touched = before.Touched || next.Snapshot != before.Snapshot
	if complete || next.Snapshot != before.Snapshot || next.Held != before.Held || next.Cursor != before.Cursor {
		p.now.Swap(&next)
	}
	seen = rows.outcome().plus(p.compareSome(&next, before, changes))
	if p.sharedAliases(&next) > p.sharedAliases(before) {
		p.ambiguous()
	}
	return seen, nil
}

// sharedAliases counts the aliases that several users share.
func (p *puller) sharedAliases(gen *snapshot.Generation) (n int) {
	for k := KindAccount; k < kinds; k++ {
		if p.cfg.indexed.has(k) {
			n += gen.Ambiguous(k.field())
		}
	}
	return n
}

// fullForUnreadable makes a full refresh due because a record could not be
// understood and does not even say whose it is: that user may have lost
// something. At most one in each ResyncEvery, or a record that stays bad would
// cause one a minute. It needs lockSwap.
func (p *puller) fullForUnreadable(now clock.Instant) {
	if p.unread == nil || p.unread.Age(now) >= p.cfg.Refresh.ResyncEvery {
		p.unread = &now
		p.soon(refresh.Full)
	}
}

// fullForMissed makes a full refresh due because two incremental ones in a row did not
// show the highest sequence known; and again after twice as many. One may have met a
// server that lags behind. It needs lockSwap.
func (p *puller) fullForMissed() {
	p.missed++
	if p.missed >= 2 && p.missed&(p.missed-1) == 0 {
		p.soon(refresh.Full)
	}
}

// pullError is a failure with its text.
func pullError(why Failure, format string, args ...any) error {
	return &PullError{Failure: why, Err: fmt.Errorf(format, args...)}
}

func tooManyRoles() error {
	return pullError(FailureDrift, "more than %d different role codes: roleCode is not what it was", index.MaxRoles)
}

// acceptedOf returns the digest of what a generation holds if it is accepted, ""
// if not.
func (p *puller) acceptedOf(gen *snapshot.Generation) string {
	if gen == nil || !p.accepted.Has(gen.HeldDigest) {
		return ""
	}
	return gen.HeldDigest()
}
