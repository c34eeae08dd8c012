package rolegate

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// ReplicaStatus tells how a replica does that shares Config.Cache with others.
type ReplicaStatus struct {
	Shared    bool      // the Cache is one that replicas share, such as a rediscache.Cache
	Connected bool      // it has answered last time
	Since     time.Time // since when that is so
	Base      time.Time // when the full refresh began that is published and that this replica uses
	Leases    []string  // the kinds of refresh that this replica makes for all at the moment
}

// A replica is a gate's part in a group that shares a store: what it takes from
// there, and what it puts there. It is the replication.Host.
type replica struct {
	*store
	f     *refresher
	shell *replication.Shell
	first atomic.Bool // the first list has come from the store
}

// demandBound is how long a refresh that somebody waits for waits for that of
// another replica.
const demandBound = 10 * time.Second

// listOf is what replicas that can read each other's lists have in common.
func (c *settings) listOf() string { return fmt.Sprintf("1 %x %s", c.fields, c.cacheKey) }

// join opens the store that a shared Cache has of this list.
func (c *settings) join() (err error) {
	if group, ok := c.Cache.(replication.Group); ok {
		c.shared, c.lease, err = group.Join(c.listOf())
	}
	return err
}

// start joins the group, until the gate is closed.
func (r *replica) start() {
	// A lease that its holder does not give back must run out first, and that of the
	// next one if it dies as well, or all refresh at once then.
	every, patience := &r.cfg.Refresh, 3*r.cfg.lease
	r.shell = replication.Start(replication.Config{
		Lease:       r.cfg.lease,
		Bound:       [replication.Kinds]time.Duration{max(every.Every/2, patience), max(every.ResyncEvery/4, patience)},
		DemandBound: demandBound,
	}, rand.Uint64(), r.cfg.shared, r, r.clock, r.log)
	r.f.tasks.Go(func() {
		<-r.f.tasks.Context().Done()
		r.shell.Close()
	})
}

// await waits for this replica's turn to refresh.
func (r *replica) await(ctx context.Context, k refresh.Kind, demanded <-chan struct{}) (bool, error) {
	// Nobody else accepts what an operator has accepted here, or knows what is asked for.
	self := k == refresh.Full && (r.f.pull.Accepted(r.now.Load()) != "" || r.f.pull.Settles())
	return r.shell.Await(ctx, replication.Kind(k), demanded, self)
}

// ran says how a refresh has ended whose turn it was.
func (r *replica) ran(k refresh.Kind, err error) {
	failed := err != nil && !errors.Is(err, refresh.ErrElsewhere)
	var same clock.Instant
	if k == refresh.Full && !failed {
		same = r.f.pull.SameAs()
	}
	r.shell.Ran(replication.Kind(k), failed, max(r.f.retryAfter(err)), same)
}

// spend takes one of the refreshes that refusals of all replicas may cause.
func (r *replica) spend(ctx context.Context, local func() bool) bool {
	return r.shell.Spend(ctx, r.cfg.OnDeny.PerMinute, local)
}

// maxEntry is how many bytes of rows are published at once.
const maxEntry = 512 << 10

// share publishes what an incremental refresh has read, in several parts if it is
// long.
func (r *replica) share(at clock.Instant, e replication.Entry, rows []snapshot.Row) {
	var b bytes.Buffer
	now := func(int64) int64 { return 1 } // an entry says when its rows were read
	if err := snapshot.EncodeRows(&b, r.cfg.cacheKey, r.cfg.fields, rows, now); err != nil {
		r.log.Error("rolegate: rows cannot be published", "err", err)
		return
	}
	if b.Len() <= maxEntry || len(rows) < 2 {
		e.Rows = b.Bytes()
		r.shell.Read(at, e)
		return
	}
	rows = slices.SortedFunc(slices.Values(rows), func(a, b snapshot.Row) int { return cmp.Compare(a.Sequence, b.Sequence) })
	half := len(rows) / 2
	first := replication.Entry{From: e.From, To: max(e.From, rows[half-1].Sequence)}
	r.share(at, first, rows[:half])
	r.share(at, replication.Entry{From: first.To, To: e.To, Complete: e.Complete}, rows[half:])
}

// Own implements [replication.Host].
func (r *replica) Own() replication.Own {
	gen := r.now.Load()
	if gen == nil {
		return replication.Own{}
	}
	return replication.Own{Loaded: true, Began: gen.Refreshed, Contact: gen.Contact, Touched: gen.Touched}
}

// Take implements [replication.Host].
func (r *replica) Take(ctx context.Context, from io.Reader, at clock.Instant, instant func(int64) clock.Instant) error {
	s, err := snapshot.Decode(refresh.ReaderUntil{Ctx: ctx, Reader: from})
	switch {
	case err != nil:
		return err
	case s.Key != r.cfg.cacheKey, s.Fields != r.cfg.fields:
		return errors.New("it is of another list: another app, marketplace or environment")
	case at.Age(r.clock()) > r.cfg.Refresh.ExpireAfter:
		return fmt.Errorf("it is older than ExpireAfter, %v", r.cfg.Refresh.ExpireAfter)
	}
	gen, err := s.Generation(r.roles, r.cfg.indexed.fields(), func(stamp int64) clock.Instant {
		if stamp == s.Refreshed {
			return at
		}
		return instant(stamp)
	})
	if err != nil {
		return err
	}
	gen.Contact, gen.Elsewhere = clock.Later(gen.Contact, at), true
	before, taken, err := r.f.pull.Adopt(ctx, gen)
	if err != nil || !taken {
		return err
	}
	gen = r.now.Load()
	if before == nil {
		r.first.Store(true)
		r.f.journal.started(gen, "rolegate: started from what another replica has published")
		r.f.begin()
	} else {
		r.f.journal.adopted(gen)
	}
	r.moved()
	return nil
}

// moved sets when the next refreshes are due: others have refreshed.
func (r *replica) moved() {
	gen := r.now.Load()
	r.f.loop.Refreshed(refresh.Incremental, gen.Contact)
	r.f.loop.Refreshed(refresh.Full, gen.Refreshed)
}

// Write implements [replication.Host].
func (r *replica) Write(w io.Writer, at clock.Instant, stamp func(clock.Instant) int64) error {
	gen := r.now.Load()
	if gen.Refreshed != at {
		return fmt.Errorf("what was to be published is replaced: %w", replication.ErrRefused)
	}
	return gen.Encode(w, r.cfg.cacheKey, stamp)
}

// Confirm implements [replication.Host].
func (r *replica) Confirm(at clock.Instant) {
	if r.f.pull.Confirm(at) {
		r.f.journal.adopted(r.now.Load())
		r.moved()
	}
}

// Apply implements [replication.Host].
func (r *replica) Apply(entries []replication.Entry) {
	before := r.now.Load()
	for _, e := range entries {
		read := func(int64) int64 { return e.At.Mono - int64(replication.Margin) } // so that it counts only if it is later by that
		rows, err := snapshot.DecodeRows(e.Rows, r.cfg.cacheKey, r.cfg.fields, read)
		if err == nil {
			err = r.f.pull.Apply(e, rows)
		}
		if err != nil {
			r.log.Warn("rolegate: rows that another replica has published are not used; they come with the next refresh", "err", err)
		}
	}
	if gen := r.now.Load(); before != nil && gen.Contact != before.Contact {
		r.f.journal.adopted(gen)
		r.f.loop.Refreshed(refresh.Incremental, gen.Contact)
	}
}

// Shift implements [replication.Host].
func (r *replica) Shift(by func(clock.Instant) clock.Instant, underWay bool) {
	if r.f.pull.Shift(by, underWay) {
		r.moved()
	}
}

// Soon implements [replication.Host].
func (r *replica) Soon(k replication.Kind) { r.f.loop.Soon(refresh.Kind(k)) }

func (r *replica) status() (s ReplicaStatus, c CacheStatus) {
	if r == nil {
		return s, c
	}
	of := r.shell.Status()
	s = ReplicaStatus{Shared: true, Connected: of.Connected, Since: of.Since}
	if of.Base.Began > 0 {
		s.Base = time.Unix(0, of.Base.Began)
	}
	for k, held := range of.Holds {
		if held {
			s.Leases = append(s.Leases, replication.Kind(k).String())
		}
	}
	return s, CacheStatus{Loaded: r.first.Load(), Stored: of.Published, Last: of.PublishedAt, Failed: of.Failed, Error: of.Error}
}
