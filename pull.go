package rolegate

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
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

	follows   func() bool        // another replica refreshes
	soon      func(refresh.Kind) // makes a refresh due
	ambiguous func()             // an incremental refresh has made an alias ambiguous

	accepting sync.Mutex
	accepted  map[string]int // digests of what is held and was accepted, with how many wait for it
	begun     atomic.Uint64  // how many full refreshes have begun

	// The lock for publishing guards what follows.
	published uint64         // the number of the last full refresh that was published
	overlay   *overlay       // what was read since the one under way began; nil if none is
	unread    *clock.Instant // when a record that says not even whose it is last made a full refresh due
}

// An overlay is what incremental refreshes have read since a full one began.
type overlay struct {
	number uint64 // of the full refresh
	pages  []overlayPage
}

type overlayPage struct {
	changes   *index.Table
	sequences map[int64]int64 // of its users; 0 for one that could not be read
}

// full reads the whole list and publishes it. It changes nothing if that fails.
func (p *puller) full(ctx context.Context, started clock.Instant) (outcome RefreshOutcome, err error) {
	view := snapshot.RemovalContext{Started: started}
	syncRan := p.sync.During(ctx)
	if err := p.beginFull(ctx); err != nil {
		return RefreshOutcome{}, err
	}
	defer p.endFull()
	var like *index.Table
	if gen := p.now.Load(); gen != nil {
		like = &gen.Table
	}
	list := &collector{p: p, tail: p.cursor.Tail(), table: index.NewBuilder(p.cfg.fields, like, p.roles.Publish())}
	if err := list.pullAll(ctx); err != nil {
		return RefreshOutcome{}, err
	}
	s, err := index.NewSnapshot(list.table, p.roles, p.cfg.indexed.fields())
	if err != nil {
		return RefreshOutcome{}, err
	}
	outcome = list.outcome()
	next := &snapshot.Generation{Snapshot: s, Above: list.tail.Above(), Contact: started, Verified: started, Refreshed: started}
	view.Syncing = syncRan()
	before, seen, err := p.publishFull(ctx, next, list.tail, view)
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
func (p *puller) beginFull(ctx context.Context) error {
	if err := p.lockSwap(ctx); err != nil {
		return err
	}
	defer p.unlockSwap()
	p.overlay = &overlay{number: p.begun.Load() + 1}
	p.begun.Add(1)
	return nil
}

// endFull forgets it, if the full refresh was not published.
func (p *puller) endFull() {
	if p.lockSwap(context.Background()) == nil {
		p.overlay = nil
		p.unlockSwap()
	}
}

// publishFull publishes a full refresh. It returns the generation that it
// replaced.
func (p *puller) publishFull(ctx context.Context, next *snapshot.Generation, list *refresh.Tail, view snapshot.RemovalContext) (before *snapshot.Generation, seen RefreshOutcome, err error) {
	if err := p.lockSwap(ctx); err != nil {
		return nil, seen, err
	}
	defer p.unlockSwap()
	if p.follows() {
		return nil, seen, refresh.ErrSkipped // its lease ran out meanwhile
	}
	before = p.now.Load()
	if err := p.putOnTop(next); err != nil {
		return nil, seen, err
	}
	if err := p.cursor.Older(view.Started, list, func() bool { return onlyGone(before, next, p.cfg.limits()) }); err != nil {
		return nil, seen, &PullError{Failure: FailureOlderList, Err: err}
	}
	if before != nil {
		next.Contact = clock.Later(next.Contact, before.Contact)
		shown := index.Comparison{Before: before.Snapshot, After: next.Snapshot}
		seen.Late = p.cursor.Missed(list, func(id int64) bool {
			found := shown.Look(id)
			return found == index.UserAdded || found == index.UserChanged
		})
	}
	gone := removed(before, next)
	view.Accept = p.acceptedOf(before)
	if err := next.HoldBack(before, p.cfg.limits(), view, p.roles, p.cfg.indexed.fields()); err != nil {
		return nil, seen, err
	}
	next.Cursor = p.cursor.Full(view.Started, p.clock(), list, gone)
	p.published, p.overlay = p.overlay.number, nil
	p.swap(next)
	if p.changes != nil { // they come in the order of the swaps
		seen = seen.plus(p.compareAll(next, before))
	}
	return before, seen, nil
}

// removed returns the users that a list does not have any more.
func removed(before, next *snapshot.Generation) (ids []int64) {
	if before == nil {
		return nil
	}
	before.Differing(&next.Table, func(id int64) {
		if _, listed := next.Find(id); !listed {
			ids = append(ids, id)
		}
	})
	return ids
}

// maxExplained is how many users may be gone from a list whose highest sequence
// is below the one that was seen before, if nothing else differs: they had the
// highest.
const maxExplained = 10

// onlyGone reports whether a list lacks users and says nothing else that is new,
// so that it need not be older: a few, or so many that the shrink guard holds
// their removal.
func onlyGone(before, next *snapshot.Generation, l snapshot.Limits) bool {
	if before == nil {
		return true
	}
	d := index.Comparison{Before: before.Snapshot, After: next.Snapshot}
	before.Differing(&next.Table, func(id int64) { d.Look(id) })
	return d.Added+d.Changed == 0 && (d.Removed <= maxExplained || l.TooMany(d.Removed, next.Users, before.Users))
}

// putOnTop puts on a full refresh what incremental ones have read since it
// began: of each user what was read last, unless the full refresh has a higher
// sequence of them.
func (p *puller) putOnTop(next *snapshot.Generation) error {
	if p.overlay == nil || len(p.overlay.pages) == 0 {
		return nil
	}
	last := map[int64]overlayPage{}
	for _, page := range p.overlay.pages {
		for id := range page.sequences {
			last[id] = page
		}
	}
	rows := index.NewCopier(next.Fields, &next.Table)
	for id, page := range last {
		if at, ok := page.changes.Place(id); ok && (page.sequences[id] == 0 || page.sequences[id] >= next.Above[id]) {
			rows.Copy(page.changes, at)
		}
	}
	t, err := rows.Finish()
	if err != nil {
		return err
	}
	next.Snapshot, err = next.With(t, p.roles, p.cfg.indexed.fields())
	return err
}

// errOutdated is what becomes of a page that was asked for before a full refresh
// began which was published since.
var errOutdated = errors.New("rolegate: a full refresh has overtaken this page")

// increment reads what was added and changed, and publishes each page as it
// comes.
func (p *puller) increment(ctx context.Context, started clock.Instant) (outcome RefreshOutcome, err error) {
	for {
		if p.follows() {
			return RefreshOutcome{}, refresh.ErrSkipped
		}
		run := &increment{p: p, after: p.cursor.From(), started: started}
		err := run.pull(ctx)
		outcome = outcome.plus(run.outcome)
		switch {
		case err == nil:
			outcome.Held = p.now.Load().Held.Size()
			return outcome, nil
		case errors.Is(err, errOutdated) && ctx.Err() == nil:
			continue // what the full refresh does not have comes again
		case failureOf(err) == FailureCursorRegressed:
			p.soon(refresh.Full)
		}
		return RefreshOutcome{}, err
	}
}

// An increment is one incremental refresh under way.
type increment struct {
	p       *puller
	after   int64
	started clock.Instant
	rows    *collector
	asked   uint64        // how many full refreshes had begun when the first page in rows was asked for
	askedAt clock.Instant // when that was
	took    time.Duration // how long publishing took last
	last    clock.Instant // when that was
	outcome RefreshOutcome
}

// pull reads the source to the end.
func (i *increment) pull(ctx context.Context) error {
	i.begin()
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	var err error
	if source, ok := i.p.cfg.Source.(PageSource); ok {
		err = source.PullPages(ctx, i.after, func(records []Record) error {
			for n := range records {
				if err := i.rows.take(&records[n]); err != nil {
					return err
				}
			}
			return i.pageEnded(ctx)
		})
	} else {
		err = i.rows.pullRecords(ctx, stop, i.after)
	}
	if err == nil && ctx.Err() != nil {
		err = context.Cause(ctx) // a source that returns nil when it was cut short
	}
	if err != nil {
		return err
	}
	return i.publish(ctx, true)
}

// begin begins to collect rows.
func (i *increment) begin() {
	gen := i.p.now.Load()
	i.asked, i.askedAt = i.p.begun.Load(), i.p.clock()
	i.rows = &collector{
		p: i.p, after: i.after, incremental: true, sequences: map[int64]int64{},
		table: index.NewBuilder(i.p.cfg.fields, &gen.Table, i.p.roles.Publish()),
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
// refresh is complete.
func (i *increment) publish(ctx context.Context, complete bool) error {
	p := i.p
	if len(i.rows.sequences) == 0 && i.rows.unreadable == 0 && !complete {
		return nil
	}
	if !i.rows.table.Settle(p.roles) {
		return tooManyRoles()
	}
	if err := p.lockSwap(ctx); err != nil {
		return err
	}
	defer p.unlockSwap()
	if p.follows() {
		return refresh.ErrSkipped
	}
	begun := p.clock()
	before := p.now.Load()
	if i.asked < p.published || i.askedAt.Mono < before.Refreshed.Mono { // which may be another replica's
		return errOutdated
	}
	next := *before
	changes, err := next.Apply(i.rows.table, 0, p.roles, p.cfg.indexed.fields())
	if err != nil {
		return err
	}
	p.cursor.Page(begun, i.rows.sequences)
	if complete {
		p.cursor.Done(i.started)
		next.Contact = clock.Later(before.Contact, i.started)
	}
	next.Cursor = p.cursor.Highest()
	next.Held = before.Held.Without(changes)
	if err := next.HoldLostRoles(before, changes, p.cfg.limits(), i.started, p.roles, p.cfg.indexed.fields()); err != nil {
		return err
	}
	if p.overlay != nil && i.asked >= p.overlay.number && len(i.rows.sequences) > 0 {
		p.overlay.pages = append(p.overlay.pages, overlayPage{changes, i.rows.sequences})
	}
	if i.rows.unreadable > 0 {
		p.fullForUnreadable(i.started)
	}
	if complete || next.Snapshot != before.Snapshot || next.Held != before.Held || next.Cursor != before.Cursor {
		p.swap(&next)
	}
	i.outcome = i.outcome.plus(i.rows.outcome()).plus(p.compareSome(&next, before, changes))
	if p.sharedAliases(&next) > p.sharedAliases(before) {
		p.ambiguous()
	}
	i.last = p.clock()
	i.took = begun.Age(i.last)
	i.begin()
	return nil
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

// pullError is a failure with its text.
func pullError(why Failure, format string, args ...any) error {
	return &PullError{Failure: why, Err: fmt.Errorf(format, args...)}
}

func tooManyRoles() error {
	return pullError(FailureDrift, "more than %d different role codes: roleCode is not what it was", index.MaxRoles)
}
