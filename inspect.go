package rolegate

import (
	"slices"
	"sync"
	"weak"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/refresh"
)

// Overview counts what is in the list. It looks at every user, once for each
// list that differs from the one before: about a third of a second for a million
// users with two roles each. It blocks who asks meanwhile, but no request and no
// pull. The slice is the
// caller's own. Before the first list it is the zero Overview.
func (g *Gate) Overview() Overview {
	if g == nil {
		return Overview{}
	}
	gen := g.now.Load()
	if gen == nil {
		return Overview{}
	}
	o := g.overview.of(gen.Snapshot)
	o.Generation = gen.Number
	return o
}

// HeldUsers returns the lowest most ids of the users who are gone from the list,
// but whose removal is held back: see Status.Held.
func (g *Gate) HeldUsers(most int) []int64 {
	if g == nil {
		return nil
	}
	gen := g.now.Load()
	if gen == nil || gen.Held == nil {
		return nil
	}
	ids := make([]int64, 0, len(gen.Held.Users))
	for id := range gen.Held.Users {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	return slices.Clone(ids[:max(0, min(most, len(ids)))])
}

// A lastOverview remembers what was counted last, and of which snapshot. It does
// not keep that in memory.
type lastOverview struct {
	mu       sync.Mutex
	snapshot weak.Pointer[index.Snapshot]
	last     Overview
}

func (l *lastOverview) of(s *index.Snapshot) Overview {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.snapshot.Value() != s {
		l.snapshot, l.last = weak.Make(s), overviewOf(s)
	}
	o := l.last
	o.Roles = slices.Clone(o.Roles)
	return o
}

// Status returns how the gate is. It is cheap, but takes a lock that the
// refreshing takes too: call it for a page or a metric, not for every request.
func (g *Gate) Status() Status {
	if g == nil || g.refresher == nil {
		return Status{State: StateStarting}
	}
	s := Status{
		State:     StateStarting,
		Roles:     g.roles.Publish().Size(),
		Failures:  map[Failure]uint64{},
		Decisions: map[Reason]uint64{},
		Ambiguous: map[Kind]int{},

		StaleAfter: g.cfg.Refresh.StaleAfter, ExpireAfter: g.cfg.Refresh.ExpireAfter,
	}
	gen, now, reason := g.current()
	switch {
	case reason == ReasonGranted && gen.Contact.Age(now) > g.cfg.Refresh.StaleAfter:
		s.State = StateStale
	case reason == ReasonGranted:
		s.State = StateReady
	case reason == ReasonExpired:
		s.State = StateExpired
	case reason == ReasonClosed:
		s.State = StateClosed
	}
	if gen = g.now.Load(); gen != nil {
		now = g.clock()
		s.UnassignedRoles = g.unheld.list(gen.Snapshot)
		if h := gen.Held; h != nil {
			s.Held = HeldStatus{Users: h.Size(), LostRoles: h.LostRoles(), Cause: h.Cause, Since: h.Since.Time(), Digest: gen.HeldDigest()}
		}
		s.Users, s.Grants = gen.Users, gen.GrantCount
		s.Generation, s.Cursor = gen.Number, gen.Cursor
		s.Contact, s.ContactAge = gen.Contact.Time(), gen.Contact.Age(now)
		s.Verified, s.VerifiedAge = gen.Verified.Time(), gen.Verified.Age(now)
	}
	for k := KindAccount; k < kinds; k++ {
		if g.cfg.indexed.has(k) {
			s.Ambiguous[k] = 0
			if gen != nil {
				s.Ambiguous[k] = gen.Ambiguous(k.field())
			}
		}
	}
	for r := range numReasons {
		if n := g.observer.counters.Sum(int(r)); n > 0 {
			s.Decisions[r] = n
		}
	}
	s.Shadowed = g.observer.counters.Sum(countShadowed)
	s.StaleDecisions = g.observer.counters.Sum(countStale)
	s.DroppedDecisions = g.observer.decisions.Dropped()
	g.refresher.fill(&s)
	return s
}

// fill adds what the refresher knows.
func (f *refresher) fill(s *Status) {
	var outcomes [refresh.Kinds]RefreshOutcome
	s.Failures, outcomes = f.journal.counts()
	s.Incremental = f.pullStatus(refresh.Incremental, outcomes[refresh.Incremental])
	s.Full = f.pullStatus(refresh.Full, outcomes[refresh.Full])
	checked := f.pull.sync.Status()
	s.Sync = SyncStatus{State: SyncState(checked.Report.State), Text: checked.Report.Text, Checked: checked.Checked, Failed: checked.Failed, Error: checked.Error}
	s.Replica, s.Cache = f.replica.status()
	if f.persist != nil {
		s.Cache = CacheStatus(f.persist.Status())
	}
	s.DroppedChanges = f.pull.changes.Dropped()
}

func (f *refresher) pullStatus(k refresh.Kind, last RefreshOutcome) RefreshStatus {
	of := f.loop.Stats(k)
	s := RefreshStatus{
		Running: of.Running, Started: of.Started.Time(), Last: of.Last.Time(), Duration: of.Took,
		Succeeded: of.Succeeded, Failed: of.Failed, Consecutive: of.Consecutive, FailedAt: of.FailedAt.Time(),
		Outcome: last, NextIn: f.loop.Until(k),
	}
	if of.Err != nil {
		s.Failure, s.Error = failureOf(of.Err), of.Err.Error()
	}
	return s
}

func overviewOf(s *index.Snapshot) Overview {
	c := s.Count()
	o := Overview{Users: c.Users, WithoutRoles: c.WithoutRoles, InvalidRecords: c.Invalid, Orgs: c.Orgs}
	for _, r := range c.Roles {
		o.Roles = append(o.Roles, RoleHolders{Code: r.Code, Users: r.Users, Orgs: r.Orgs})
	}
	return o
}
