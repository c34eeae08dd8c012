package pull

import (
	"context"
	"errors"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// An outdatedError is what becomes of a page that was asked for before a full refresh
// began which was published since.
type outdatedError struct {
	wait time.Duration // how long others would be, too: that began elsewhere, and clocks differ
}

// Error implements error.
func (*outdatedError) Error() string { return "rolegate: a full refresh has overtaken this page" }

// await waits until pages can be asked for again.
func (e *outdatedError) await(ctx context.Context) error {
	t := time.NewTimer(max(e.wait, 0))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-t.C:
	}
	return ctx.Err()
}

// Increment reads what was added and changed, and publishes each page as it
// comes.
func (p *Puller) Increment(ctx context.Context, started clock.Instant) (outcome Outcome, err error) {
	for {
		above := p.Cursor.From()
		run := &increment{p: p, above: above, after: above, started: started, outcome: outcome}
		if highest := p.Cursor.Highest(); highest > run.after {
			run.sought = highest
		}
		err := run.pull(ctx)
		outcome = run.outcome
		outdated, isOutdated := errors.AsType[*outdatedError](err)
		switch {
		case err == nil:
			outcome.Held = p.Now.Load().Held.Size()
			return outcome, nil
		case isOutdated && outdated.await(ctx) == nil:
			started = p.Clock()
			continue // what the full refresh does not have comes again
		case p.IsRegressed(err):
			p.Cursor.Regressed(started)
			p.Soon(refresh.Full)
		}
		return Outcome{}, err
	}
}

// An increment is one incremental refresh under way.
type increment struct {
	p       *Puller
	above   int64 // it asks for what is above that
	after   int64
	sought  int64 // the highest sequence known, if it must be shown
	shown   bool  // it was, or a higher one
	started clock.Instant
	rows    *List
	odd     recently      // for all the rows
	from    int64         // the sequence behind which rows has all
	asked   int64         // the tick before the first page in rows was asked for
	askedAt clock.Instant // when that was
	took    time.Duration // how long publishing took last
	last    clock.Instant // when that was
	outcome Outcome
}

// pull reads the source to the end.
func (i *increment) pull(ctx context.Context) error {
	i.from = i.after
	i.begin()
	err := i.p.Read(ctx, i.after, func() *List { return i.rows }, i.pageEnded)
	if err != nil {
		return err
	}
	return i.publish(ctx, true)
}

// misses reports whether it has not shown the highest sequence that was known when it
// began, although it asked from below that: whoever had it is gone, or this is a server
// that lags behind, or a restored backup. Then it cannot say what has changed, and a
// full refresh is due.
func (i *increment) misses() bool { return !i.shown && i.p.Cursor.Highest() >= i.sought }

// begin begins to collect rows.
func (i *increment) begin() {
	i.asked, i.askedAt = i.p.tick(), i.p.Clock()
	i.rows = i.p.collectRows(i.after, i.asked)
	i.rows.odd = &i.odd
}

// pageEnded publishes what was read, at once as long as that costs little, and
// at least every second.
func (i *increment) pageEnded(ctx context.Context) error {
	if wait := min(time.Second, 4*i.took); i.last != (clock.Instant{}) && i.last.Age(i.p.Clock()) < wait {
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
	if p := i.p; p.Share != nil { // not with the lock: it may have to wait
		at := i.askedAt
		if complete {
			at = i.started
		}
		to := max(i.from, i.rows.highest())
		p.Share(at, replication.Entry{From: i.from, To: to, Complete: complete}, i.rows.rows)
		i.from = to
	}
	i.begin()
	return nil
}

func (i *increment) put(ctx context.Context, last bool) (complete bool, err error) {
	p := i.p
	if !i.rows.table.Settle(p.Roles) {
		return false, p.tooManyRoles()
	}
	if err := p.Now.Lock(ctx); err != nil {
		return false, err
	}
	defer p.Now.Unlock()
	begun := p.Clock()
	if i.asked <= max(p.began, p.outdated) {
		return false, &outdatedError{time.Duration(p.began-begun.Mono) + 1}
	}
	if i.rows.unreadable > 0 {
		p.fullForDoubt(i.started)
	}
	complete = last
	if last && i.misses() {
		complete = false
		p.Cursor.Regressed(i.started)
		p.fullForMissed()
	} else if last {
		p.missed = 0
	}
	seen, err := p.put(i.rows, i.started, i.above, complete, true)
	if err != nil {
		return false, err
	}
	i.outcome = i.outcome.plus(seen)
	i.last = p.Clock()
	i.took = begun.Age(i.last)
	return complete, nil
}

// put puts rows on top of what requests see, of a refresh that has asked for what is
// above that sequence. complete is whether nothing else has changed up to started, and
// moves whether the next incremental refresh need not ask for what comes before them.
// It needs the lock.
func (p *Puller) put(rows *List, started clock.Instant, above int64, complete, moves bool) (seen Outcome, err error) {
	before := p.Now.Load()
	next := *before
	changes, err := next.Apply(rows.table, p.Roles, p.Aliases)
	if err != nil {
		return seen, err
	}
	if rows.table.Repaired > 0 {
		p.fullForDoubt(started)
	}
	p.Cursor.Page(p.Clock(), rows.sequences, moves)
	if complete {
		p.Cursor.Done(started, above)
		next.Contact = clock.Later(before.Contact, started)
	}
	next.Cursor = p.Cursor.Highest()
	next.Held = before.Held.Without(changes)
	if err := next.HoldLostRoles(before, changes, p.Limits, started, p.Roles, p.Aliases); err != nil {
		return seen, err
	}
	if f := p.underWay; f != nil && rows.read <= f.tick {
		f.known = max(f.known, rows.most)
	}
	if p.underWay != nil || p.Share != nil {
		now := p.Clock().Mono
		for _, row := range rows.rows {
			row.Known = now
			p.rows.Add(row)
		}
	}
	next.Touched = before.Touched || next.Snapshot != before.Snapshot
	if complete || next.Snapshot != before.Snapshot {
		p.Now.Publish(&next)
	}
	seen = rows.outcome().plus(p.compareSome(&next, before, changes))
	if p.sharedAliases(&next) > p.sharedAliases(before) {
		p.Ambiguous()
	}
	return seen, nil
}

// sharedAliases counts the aliases that several users share.
func (p *Puller) sharedAliases(gen *snapshot.Generation) (n int) {
	for f := range index.NumFields {
		if p.Aliases.Has(f) {
			n += gen.Ambiguous(f)
		}
	}
	return n
}

// fullForDoubt makes a full refresh due because a record could not be understood
// and does not even say whose it is: that user may have lost something; or because
// a user has an invalid record and a newer one, and may just have been repaired while
// the list was read. At most one in each ResyncEvery, or a record that stays bad
// would cause one a minute. It needs the lock.
func (p *Puller) fullForDoubt(now clock.Instant) {
	if p.doubt == nil || p.doubt.Age(now) >= p.ResyncEvery {
		p.doubt = &now
		p.Soon(refresh.Full)
	}
}

// fullForMissed makes a full refresh due because two incremental ones in a row did not
// show the highest sequence known; and again after twice as many. One may have met a
// server that lags behind. If a full one has not shown it either, the next is due
// when it can confirm that. It needs the lock.
func (p *Puller) fullForMissed() {
	if p.Cursor.Doubts() > 0 {
		return
	}
	p.missed++
	if p.missed >= 2 && p.missed&(p.missed-1) == 0 {
		p.Soon(refresh.Full)
	}
}
