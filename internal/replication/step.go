package replication

import (
	"slices"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// Step returns the state that follows an event, and what is to be done, in this
// order. It is pure. Actions are appended to the slice, which may be nil.
func (s State) Step(e Event, to []Action) (State, []Action) {
	if s.clock.drift(e.Now) {
		s.syncAt = e.Now.Mono
	}
	for k := range s.work {
		if w := &s.work[k]; w.leased && w.until <= e.Now.Mono {
			w.leased = false // it was paused, or the store was away
		}
	}
	switch e.Type {
	case Due:
		s.due(&e)
	case Synced:
		s.syncing = false
		to = s.synced(&e, to)
	case Ran:
		to = s.ran(&e, to)
	case Read:
		e.Entry.At, e.Entry.Known = e.At, e.Now
		s.unsent, s.syncAt = append(slices.Clip(s.unsent), e.Entry), e.Now.Mono
	case Loaded:
		s.loaded(&e)
	case Published:
		s.published(&e)
	case Closing:
		s.closing = true
	}
	to = s.settle(&e, to)
	return s.sync(&e, to)
}

// due notes that the loop waits to refresh.
func (s *State) due(e *Event) {
	w := &s.work[e.Kind]
	if w.running {
		return // the loop asks again if that does not do
	}
	bound := s.cfg.Bound[e.Kind]
	if e.Demand {
		bound = s.cfg.DemandBound
		w.demand, w.asked, w.wanted = true, e.Now, 0
	}
	w.self, w.asking = w.self || e.Self, false
	if !w.waiting {
		w.waiting, w.was = true, e.Own
		w.bound, w.alone = e.Now.Mono+s.spread(bound), e.Now.Mono
		if !e.Own.Loaded && !e.Demand {
			w.alone += s.spread(firstWait)
			w.bound += 3 * int64(bound) // it has nothing to do but wait
		}
	}
	if e.Own.Loaded || e.Demand {
		w.bound = min(w.bound, e.Now.Mono+int64(bound))
	}
	s.syncAt = e.Now.Mono
}

// settle lets the loop go on where it need not wait any more.
func (s *State) settle(e *Event, to []Action) []Action {
	for k := range s.work {
		w := &s.work[k]
		busy := s.busy(Kind(k))
		switch {
		case !w.waiting || w.running || s.closing:
		case s.satisfied(Kind(k), &e.Own):
			*w = work{leased: w.leased, until: w.until}
			to = append(to, Action{Type: Skip, Kind: Kind(k)})
		case w.leased && !busy, s.failing && e.Now.Mono >= w.alone, e.Now.Mono >= w.bound:
			w.running = true
			to = append(to, Action{Type: Run, Kind: Kind(k)})
		}
		if w.leased && (s.closing || !w.waiting && !busy) {
			w.leased = false
			to = append(to, Action{Type: Release, Kind: Kind(k)})
		}
	}
	return to
}

// busy reports whether what a refresh of that kind has found is yet to be published:
// nobody else is to make one until it is.
func (s *State) busy(k Kind) bool {
	if k == Full {
		return s.publishing
	}
	return len(s.unsent) > 0
}

// satisfied reports whether what the loop waits to do has been done by another
// replica.
func (s *State) satisfied(k Kind, own *Own) bool {
	w := &s.work[k]
	switch {
	case w.self || !own.Loaded:
		return false
	case !w.was.Loaded && !w.demand:
		return true
	case w.demand:
		shared := w.wanted > 0 && s.base.Began >= w.wanted && own.Began == s.baseAt
		return shared || own.Began.Mono >= w.asked.Mono
	case k == Full:
		return own.Began.Mono > w.was.Began.Mono
	}
	return own.Contact.Mono > w.was.Contact.Mono
}

// sync asks how things stand when it is time.
func (s State) sync(e *Event, to []Action) (State, []Action) {
	if s.syncing || s.closing || e.Now.Mono < s.syncAt {
		return s, to
	}
	a := Action{Type: Sync, Cursor: s.cursor, Known: s.seen, Void: s.clock.void}
	for k := range s.work {
		w := &s.work[k]
		a.Want[k] = w.leased || w.waiting && !w.running && (w.demand || s.loading == (Base{}) && !s.loadsAgain(&e.Own))
		a.Raise = a.Raise || w.demand && w.wanted == 0
		w.asking = true
	}
	a.Want[Full] = a.Want[Full] || s.repairing && e.Now.Mono >= s.repairAt && !s.work[Full].running
	s.syncing = true
	return s, append(to, a)
}

// synced takes in what the store has answered.
func (s *State) synced(e *Event, to []Action) []Action {
	for k := range s.work {
		if w := &s.work[k]; w.waiting && !e.Failed && !e.Own.Loaded {
			w.alone = max(w.alone, e.Now.Mono+int64(firstWait)) // it answers, if slowly
		}
	}
	if took := e.Sent.Age(e.Now); took > Timeout && !e.Failed {
		s.syncAt = e.Now.Mono
		return to
	}
	s.syncAt = e.Now.Mono + s.spread(pollEvery)
	s.failing = e.Failed
	if e.Failed {
		s.unsent = nil // they come again: every refresh looks back
		return to
	}
	r := &e.Reply
	own := &e.Own // as it is after what is done here
	mono, wall, set := s.clock.read(e)
	if set {
		s.base, s.tried = Base{}, Base{}
		s.work[Full].wanted = 0 // others are to be told again
	}
	if mono != 0 || wall != 0 {
		a := Action{Type: Shift, Mono: mono, Wall: wall, Before: s.clock.movedAt}
		for _, i := range []*clock.Instant{
			&own.Began, &own.Contact, &s.baseAt, &s.loadingAt, &s.triedAt,
			&s.work[Full].was.Began, &s.work[Incremental].was.Contact,
		} {
			*i = a.Shifted(*i)
		}
		s.unsent = slices.Clone(s.unsent)
		for i := range s.unsent {
			s.unsent[i].At = a.Shifted(s.unsent[i].At)
		}
		to = append(to, a)
	}
	if s.clock.void != "" {
		s.syncAt = e.Now.Mono
		return to
	}
	to = s.send(e, to)
	to = s.takeBase(e, own, to)
	to = s.takeEntries(e, own, to)
	to = s.help(e, to)
	for k := range s.work {
		w := &s.work[k]
		w.leased = r.Granted[k]
		if w.leased {
			w.until = e.Sent.Mono + int64(s.cfg.Lease)
		}
		if w.demand && w.asking && w.wanted == 0 {
			w.wanted = r.Time
		}
		switch {
		case !w.waiting || w.running:
		case !w.asking: // it began to wait while this call was under way
			s.syncAt = e.Now.Mono
		case w.demand, !own.Loaded && s.loading == (Base{}) && !r.Held[k]:
			s.syncAt = min(s.syncAt, e.Now.Mono+s.spread(pollSoon))
		}
	}
	return s.repair(e, own, to)
}

// send publishes what this replica has read before it asked. Only the store's clock
// tells when that was: the process may have been suspended while it read.
func (s *State) send(e *Event, to []Action) []Action {
	var later []Entry
	for _, entry := range s.unsent {
		if entry.Known.Mono > e.Sent.Mono {
			later = append(later, entry)
			continue
		}
		entry.Read, entry.Ended = s.clock.stamp(entry.At, e.Now), e.Now.Mono+s.clock.high
		entry.At, entry.Known = clock.Instant{}, clock.Instant{}
		to = append(to, Action{Type: Append, Entry: entry, Epoch: s.clock.epoch})
	}
	s.unsent = later
	return to
}

// takeBase takes what is published if it is later than what this replica has.
func (s *State) takeBase(e *Event, own *Own, to []Action) []Action {
	b, known := e.Reply.Base, s.seen
	s.seen = b
	if b == (Base{}) || b == s.base && own.Loaded && own.Began == s.baseAt || b == s.loading || s.clock.future(b.Began, e.Now) {
		return to
	}
	if b != known {
		s.syncAt = e.Now.Mono // a lease is granted to those who know what there is
	}
	// The store's clock tells which of two is later, if own is published there.
	at, shared := s.clock.instant(b.Began, e.Now), own.Loaded && own.Began == s.baseAt && s.base != (Base{})
	switch {
	case b == s.tried && own.Loaded && own.Began == s.triedAt: // nobody said that it was published
		s.base, s.baseAt = b, own.Began
	case shared && (b.Began <= s.base.Began || at.Mono <= own.Began.Mono):
	case own.Loaded && !shared && at.Mono <= own.Began.Mono+slack: // it may be the earlier one
	case own.Loaded && b.Name == s.base.Name && own.Began == s.baseAt && !own.Touched:
		s.base, s.baseAt = b, at
		own.Began = at
		to = append(to, Action{Type: Confirm, Base: b, At: at})
	case b == s.broken && e.Now.Mono < s.brokenUntil, s.loading != (Base{}):
	default:
		if b != s.broken {
			s.tries = 0
		}
		s.loading, s.loadingAt = b, at
		to = append(to, Action{Type: Load, Base: b, At: at})
	}
	return to
}

// takeEntries puts rows on top of what this replica has. One that has nothing
// leaves them until it does, if there is a base to come.
func (s *State) takeEntries(e *Event, own *Own, to []Action) []Action {
	r := &e.Reply
	if !own.Loaded && s.loading != (Base{}) {
		return to
	}
	var entries []Entry
	for _, entry := range r.Entries {
		entry.At, entry.Known = s.clock.instant(entry.Read, e.Now), s.clock.latest(entry.Ended, e.Now)
		if own.Loaded && !s.clock.future(entry.Read, e.Now) && entry.At.Mono > own.Began.Mono+slack {
			entries = append(entries, entry)
		}
	}
	if len(entries) > 0 {
		to = append(to, Action{Type: Apply, Entries: entries})
	}
	if s.cursor = r.Cursor; len(r.Entries) > 0 {
		s.syncAt = e.Now.Mono
	}
	return to
}

// repair has this replica publish what it has, if the store has nothing, or
// something older.
func (s *State) repair(e *Event, own *Own, to []Action) []Action {
	w := &s.work[Full]
	need := own.Loaded && !s.publishing && s.loading == (Base{}) && !w.running &&
		(s.seen == (Base{}) || (s.seen != s.base || own.Began != s.baseAt) &&
			(s.clock.future(s.seen.Began, e.Now) || s.clock.instant(s.seen.Began, e.Now).Mono < own.Began.Mono-slack))
	switch {
	case !need:
		s.repairing = false
	case !s.repairing:
		s.repairing, s.repairAt = true, e.Now.Mono+int64(float64(repairWithin)*s.rand())
		s.syncAt = min(s.syncAt, s.repairAt)
	case w.leased && !w.waiting:
		return s.publish(e, own, false, to)
	}
	return to
}

func (s *State) publish(e *Event, own *Own, same bool, to []Action) []Action {
	b := Base{Began: s.clock.stamp(own.Began, e.Now)}
	if same && s.base.Name != "" && s.seen == s.base {
		b.Name = s.base.Name
	}
	s.publishing, s.tried, s.triedAt = true, b, own.Began
	return append(to, Action{Type: Publish, Kind: Full, Base: b, At: own.Began, Epoch: s.clock.epoch})
}

// help makes a full refresh due that another replica waits for and does not get.
func (s *State) help(e *Event, to []Action) []Action {
	wanted := e.Reply.Wanted
	need := wanted > s.seen.Began && wanted != s.helped && !s.clock.future(wanted, e.Now) && !s.work[Full].waiting
	switch {
	case !need:
		s.helping = false
	case !s.helping:
		s.helping, s.helpAt = true, e.Now.Mono+s.spread(helpAfter)
	case e.Now.Mono >= s.helpAt && !e.Reply.Held[Full]:
		s.helping, s.helped = false, wanted
		to = append(to, Action{Type: Soon, Kind: Full})
	}
	return to
}

// ran notes that a refresh has ended, and publishes what it has found.
func (s *State) ran(e *Event, to []Action) []Action {
	w := &s.work[e.Kind]
	*w = work{leased: w.leased, until: w.until}
	switch {
	case !w.leased, s.busy(e.Kind) && (e.Kind == Full || !e.Failed):
		s.syncAt = e.Now.Mono // and publish it as what is missing
	case e.Kind == Full && !e.Failed && e.Own.Began != s.baseAt:
		return s.publish(e, &e.Own, e.SameAs != (clock.Instant{}) && e.SameAs == s.baseAt, to)
	default:
		w.leased = false
		keep := time.Duration(0)
		if e.Failed {
			keep = min(max(e.Again, s.cfg.Lease/2), 5*time.Minute)
		}
		to = append(to, Action{Type: Release, Kind: e.Kind, Keep: keep})
	}
	return to
}

// loadsAgain reports whether a base that could not be read is worth another try
// before this replica, which has nothing, refreshes instead: a store with much to
// do is slow.
func (s *State) loadsAgain(own *Own) bool {
	return !own.Loaded && s.tries%loadTries != 0 && s.seen == s.broken
}

// loaded notes what became of a Load.
func (s *State) loaded(e *Event) {
	if e.Failed {
		s.broken, s.brokenUntil = s.loading, e.Now.Mono+int64(loadAgain)
		if s.tries++; s.loadsAgain(&e.Own) {
			s.brokenUntil = e.Now.Mono + s.spread(pollEvery)
		}
	} else if e.Own.Began == s.loadingAt {
		s.base, s.baseAt = s.loading, s.loadingAt
	}
	s.loading = Base{}
	s.syncAt = e.Now.Mono
}

// published notes what became of a Publish.
func (s *State) published(e *Event) {
	s.publishing, s.repairing, s.syncAt = false, false, e.Now.Mono
	s.tried = e.Reply.Base // it may be there all the same
	if !e.Failed && !e.Refused {
		s.base, s.baseAt, s.seen, s.tried = e.Reply.Base, s.triedAt, e.Reply.Base, Base{}
	}
}
