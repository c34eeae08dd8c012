package rolegate

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// PullOutcome is what a pull that succeeded saw and changed.
type RefreshOutcome struct {
	Records int `json:"records"` // records that the source yielded, of both pulls of a walk

	Added        int `json:"added"`          // users who were not listed before
	Removed      int `json:"removed"`        // users who are no longer listed
	Changed      int `json:"changed"`        // users with other roles or names than before
	LostAllRoles int `json:"lost_all_roles"` // those of them who had roles and have none any more

	BadRecords    int `json:"bad_records"`    // records that could not be understood
	DroppedGrants int `json:"dropped_grants"` // grants without an organisation above 0 or a role code
	Duplicates    int `json:"duplicates"`     // records of a user who was there already
	Conflicts     int `json:"conflicts"`      // those of them whose roles differed

	Held int `json:"held"` // users whose removal is held back: see Status.Held
}

// changes reports whether the pull changed anything.
func (o RefreshOutcome) changes() bool { return o.Added+o.Removed+o.Changed > 0 }

// trouble reports whether an operator should look at the source.
func (o RefreshOutcome) trouble() bool { return o.BadRecords+o.Conflicts > 0 }

// walk pulls the whole list into a fresh table, brings that up to date with
// what changed meanwhile, and swaps it in. It changes nothing if any of it
// fails.
func (f *refresher) walk(ctx context.Context, started clock.Instant) (RefreshOutcome, error) {
	f.walking.Store(true)
	defer f.walking.Store(false)
	view := snapshot.RemovalContext{Started: started, Accept: f.accepting.Load() > 0}
	syncAtStart := f.syncMeanwhile(ctx)
	var like *index.Table
	if gen := f.now.Load(); gen != nil {
		like = &gen.Table
	}
	list := f.collect(0, nil, like)
	if err := list.pull(ctx); err != nil {
		return RefreshOutcome{}, err
	}
	s, err := index.NewSnapshot(list.table, f.roles, f.cfg.indexed.fields())
	if err != nil {
		return RefreshOutcome{}, err
	}
	next := &snapshot.Generation{Snapshot: s, Cursor: list.highest, Contact: started, Verified: started, Refreshed: started}
	outcome := list.outcome()

	view.Syncing = <-syncAtStart == SyncRunning || f.checkSync(ctx) == SyncRunning
	f.syncRan.Store(view.Syncing)
	before, late, err := f.finishWalk(ctx, next, view)
	if err != nil {
		return RefreshOutcome{}, err
	}
	outcome = outcome.plus(late)
	if f.changes == nil {
		// Counting what changed takes a while for a long list: nobody waits for it.
		outcome = outcome.plus(f.compareAll(next, before))
	}
	outcome.Held = next.Held.Size()
	return outcome, nil
}

// finishWalk brings a walk up to date and swaps it in. It returns the
// generation that it replaced.
func (f *refresher) finishWalk(ctx context.Context, next *snapshot.Generation, view snapshot.RemovalContext) (before *snapshot.Generation, late RefreshOutcome, err error) {
	// No incremental pull may run meanwhile: it would go on from the old list
	// and bring a removed user back.
	if err := f.lockSwap(ctx); err != nil {
		return nil, late, err
	}
	defer f.unlockSwap()
	if f.replica.following() {
		return nil, late, errOvertaken // its lease ran out meanwhile
	}
	if next.Cursor > 0 {
		next.Contact = f.clock()
		news := f.collect(next.Cursor, next.Snapshot, &next.Table)
		if err := news.pull(ctx); err != nil {
			return nil, late, fmt.Errorf("bringing the walk up to date: %w", err)
		}
		if _, err := next.Apply(news.table, news.highest, f.roles, f.cfg.indexed.fields()); err != nil {
			return nil, late, err
		}
		late = news.outcome()
	}
	before = f.now.Load()
	if err := next.HoldBack(before, f.cfg.limits(), view, f.roles, f.cfg.indexed.fields()); err != nil {
		return nil, late, err
	}
	f.swap(next)
	if f.changes != nil { // they come in the order of the swaps
		late = late.plus(f.compareAll(next, before))
	}
	return before, late, nil
}

// increment pulls what was added and changed since the cursor, and swaps in a
// generation that has it.
func (f *refresher) increment(ctx context.Context, started clock.Instant) (RefreshOutcome, error) {
	if err := f.lockSwap(ctx); err != nil {
		return RefreshOutcome{}, err
	}
	defer f.unlockSwap()
	if f.replica.following() {
		return RefreshOutcome{}, errOvertaken
	}
	gen := f.now.Load()
	news := f.collect(gen.Cursor, gen.Snapshot, &gen.Table)
	if err := news.pull(ctx); err != nil {
		if failureOf(err) == FailureCursorRegressed {
			f.soon(walk)
		}
		return RefreshOutcome{}, err
	}
	if news.unreadable > 0 {
		f.walkForUnreadable(started)
	}
	// A walk may have had contact later, while this pull waited for it to end.
	contact := clock.Later(gen.Contact, started)
	next := &snapshot.Generation{Snapshot: gen.Snapshot, Cursor: gen.Cursor, Contact: contact, Verified: gen.Verified, Refreshed: gen.Refreshed}
	changes, err := next.Apply(news.table, news.highest, f.roles, f.cfg.indexed.fields())
	if err != nil {
		return RefreshOutcome{}, err
	}
	next.Held = gen.Held.Without(changes)
	f.swap(next)
	outcome := news.outcome().plus(f.compareSome(next, gen, changes))
	outcome.Held = next.Held.Size()
	return outcome, nil
}

// walkForUnreadable makes a walk due because a record could not be understood
// and does not even say whose it is: that user may have lost something. At most
// one in each ResyncEvery, or a record that stays bad would cause one a minute.
func (f *refresher) walkForUnreadable(now clock.Instant) {
	f.mu.Lock()
	due := !f.extra || f.badWalk.Age(now) >= f.cfg.Refresh.ResyncEvery
	if due {
		f.extra, f.badWalk = true, now
	}
	f.mu.Unlock()
	if due {
		f.soon(walk)
	}
}

// A collector takes in the records of one pull.
type collector struct {
	f     *refresher
	after int64
	known *index.Snapshot // what the pull goes on from, nil for a walk
	table *index.Builder
	row   index.Row
	stop  context.CancelCauseFunc
	err   error // the first thing that makes the whole pull fail

	lastBad                           error
	highest                           int64
	records, bad, unreadable, dropped int
}

func (f *refresher) collect(after int64, known *index.Snapshot, like *index.Table) *collector {
	return &collector{
		f: f, after: after, known: known, highest: after,
		table: index.NewBuilder(f.cfg.fields, like, f.roles.Publish()),
	}
}

// pull runs the source's Pull to its end and says whether what was collected
// counts.
func (c *collector) pull(ctx context.Context) error {
	ctx, c.stop = context.WithCancelCause(ctx)
	defer c.stop(nil)
	if err := c.f.cfg.Source.Pull(ctx, c.after, c.take); c.err == nil {
		c.err = err
	}
	if c.err == nil && ctx.Err() != nil {
		c.err = context.Cause(ctx) // a source that returns nil when it was cut short
	}
	if c.err == nil && c.bad > 10 && c.bad*100 > c.records {
		c.fail(FailureDrift, "%d of %d records could not be understood: the list's form has changed, or this is not the list; the last: %w", c.bad, c.records, c.lastBad)
	}
	if c.err == nil && !c.table.Settle(c.f.roles) {
		c.tooManyRoles()
	}
	return c.err
}

func (c *collector) tooManyRoles() {
	c.fail(FailureDrift, "more than %d different role codes: roleCode is not what it was", index.MaxRoles)
}

// fail makes the whole pull fail, and ends it early.
func (c *collector) fail(why Failure, format string, args ...any) {
	c.err = &PullError{Failure: why, Err: fmt.Errorf(format, args...)}
	c.stop(c.err)
}

// errUnreadable is why a record is invalid that is right but for a text.
var errUnreadable = errors.New("a text that is indexed or kept could not be read: expected valid UTF-8, or null")

// take takes in one record.
func (c *collector) take(r Record) {
	if c.err != nil {
		return
	}
	c.records++
	if r.Bad == nil && index.FieldSet(r.Unreadable)&c.f.cfg.fields != 0 {
		r.Bad = errUnreadable
	}
	good := r.Bad == nil && r.UserID > 0
	if r.Sequence < c.after && (good || r.Sequence > 0) {
		c.fail(FailureCursorRegressed, "asked for what comes after sequence %d, the source sent %d: it was set back to an earlier state; a full walk will follow it", c.after, r.Sequence)
		return
	}
	c.highest = max(c.highest, r.Sequence)
	if !good {
		c.takeBad(r)
		return
	}
	if c.known != nil && r.Sequence == c.after && c.known.Invalid(r.UserID) {
		return // an inclusive list repeats what the pull that barred him has seen
	}
	c.row.ID, c.row.Sequence, c.row.Invalid, c.row.DroppedGrant = r.UserID, r.Sequence, false, false
	c.row.Grants = c.row.Grants[:0]
	for _, g := range r.Grants {
		if g.OrgID <= 0 || g.RoleCode == "" {
			c.dropped++
			c.row.DroppedGrant = true
			continue
		}
		id, ok := c.table.Role(g.RoleCode)
		if !ok {
			c.tooManyRoles()
			return
		}
		c.row.Grants = append(c.row.Grants, index.Grant{Org: g.OrgID, Role: id})
	}
	c.row.Grants = index.SortGrants(c.row.Grants)
	for f := range index.NumFields {
		c.row.Text[f] = ""
		if c.f.cfg.fields.Has(f) {
			c.row.Text[f] = textOf(f, &r)
		}
	}
	if ThirdUserID(c.row.Text[index.FieldThirdUserID]).nobody() {
		c.row.Text[index.FieldThirdUserID] = "" // 0 and -1 are how platforms write null
	}
	c.table.Put(&c.row)
}

// textOf returns that string of a record.
func textOf(f index.Field, r *Record) string {
	switch f {
	case index.FieldAccount:
		return r.Account
	case index.FieldEmail:
		return r.Email
	case index.FieldThirdAccount:
		return r.ThirdAccount
	case index.FieldThirdUserID:
		return r.ThirdUserID
	case index.FieldNickname:
		return r.Nickname
	case index.FieldThirdUserName:
		return r.ThirdUserName
	}
	return ""
}

// takeBad bars the user of a record that could not be understood, whatever
// other records of this pull say of him.
func (c *collector) takeBad(r Record) {
	c.bad++
	c.lastBad = r.Bad
	if c.lastBad == nil {
		c.lastBad = errors.New("its user id is not above 0")
	}
	if r.UserID <= 0 {
		c.unreadable++
		return
	}
	c.row = index.Row{ID: r.UserID, Invalid: true, Grants: c.row.Grants[:0]}
	c.table.Put(&c.row)
}

// outcome counts what the pull saw.
func (c *collector) outcome() RefreshOutcome {
	return RefreshOutcome{
		Records: c.records, BadRecords: c.bad, DroppedGrants: c.dropped,
		Duplicates: c.table.Duplicates, Conflicts: c.table.Conflicts,
	}
}

// plus adds up two parts of an outcome.
func (o RefreshOutcome) plus(p RefreshOutcome) RefreshOutcome {
	o.Added += p.Added
	o.Removed += p.Removed
	o.Changed += p.Changed
	o.LostAllRoles += p.LostAllRoles
	o.Records += p.Records
	o.BadRecords += p.BadRecords
	o.DroppedGrants += p.DroppedGrants
	o.Duplicates += p.Duplicates
	o.Conflicts += p.Conflicts
	return o
}
