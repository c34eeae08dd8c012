package replication

import (
	"math"
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
	}
	to = s.sync(&e, s.settle(&e, to))
	return s, to
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
		w.demand, w.wanted = true, 0
	} else if !e.Own.Loaded {
		bound *= 4 // it has nothing to do but wait
	}
	until := e.Now.Mono + s.spread(bound)
	if !w.waiting {
		w.waiting, w.was, w.bound = true, e.Own, until
	}
	w.self, w.asked, w.bound = w.self || e.Self, e.Now, min(w.bound, until)
	s.syncAt = e.Now.Mono
}

// settle lets the loop go on where it need not wait any more.
func (s *State) settle(e *Event, to []Action) []Action {
	// Until what a refresh has found is published, nobody else is to make one.
	busy := [Kinds]bool{len(s.unsent) > 0, s.publishing}
	for k := range s.work {
		w := &s.work[k]
		w.leased = s.Holds(Kind(k), e.Now) // it was paused, or the store was away
		alone := s.failing && (e.Own.Loaded || w.demand || e.Now.Mono >= s.failedAt+int64(s.cfg.DemandBound))
		switch {
		case !w.waiting:
		case s.satisfied(Kind(k), &e.Own):
			*w = work{leased: w.leased, until: w.until}
			to = append(to, Action{Type: Skip, Kind: Kind(k)})
		case w.leased && !busy[k], alone, e.Now.Mono >= w.bound:
			w.waiting, w.running = false, true
			to = append(to, Action{Type: Run, Kind: Kind(k)})
		}
		if w.leased && !w.waiting && !w.running && !busy[k] {
			w.leased = false
			to = append(to, Action{Type: Release, Kind: Kind(k)})
		}
	}
	return to
}

// satisfied reports whether what the loop waits to do has been done by another
// replica.
func (s *State) satisfied(k Kind, own *Own) bool {
	switch w := &s.work[k]; {
	case w.self || !own.Loaded:
		return false
	case w.demand:
		return own.Began.Mono >= w.asked.Mono || w.wanted > 0 && s.as(own).Began >= w.wanted
	case !w.was.Loaded:
		return true
	case k == Full:
		return own.Began.Mono > w.was.Began.Mono
	default:
		return own.Contact.Mono > w.was.Contact.Mono
	}
}

// sync asks how things stand when it is time.
func (s *State) sync(e *Event, to []Action) []Action {
	if s.syncing || e.Now.Mono < s.syncAt {
		return to
	}
	a := Action{Type: Sync, Cursor: s.cursor, Known: s.seen, Void: s.clock.void}
	loads := s.loading != (Base{}) || !e.Own.Loaded && s.tries > 0 && s.tries < loadTries
	for k := range s.work {
		w := &s.work[k]
		a.Want[k] = w.leased || w.waiting && (w.demand || !loads) || Kind(k) == Full && s.repairing && !w.running
		a.Raise = a.Raise || w.demand && w.wanted == 0
	}
	s.syncing = true
	return append(to, a)
}

// synced takes in what the store has answered.
func (s *State) synced(e *Event, to []Action) []Action {
	if !s.failing {
		s.failedAt = e.Now.Mono // if it has
	}
	s.failing, s.syncAt = e.Failed, e.Now.Mono+s.spread(pollEvery)
	switch {
	case e.Failed:
		s.unsent = nil // they come again: every refresh looks back
		return to
	case e.Sent.Age(e.Now) > Timeout:
		s.syncAt = e.Now.Mono
		return to
	}
	r, own := &e.Reply, &e.Own // as it is after what is done here
	mono, wall, set := s.clock.read(e)
	if set {
		s.base, s.baseAt = Base{}, clock.Instant{}
		s.work[Full].wanted = 0 // others are to be told again
	}
	if mono != 0 || wall != 0 {
		a := Action{Type: Shift, Mono: mono, Wall: wall, Before: s.clock.movedAt}
		for _, i := range []*clock.Instant{
			&own.Began, &own.Contact, &s.baseAt, &s.loadingAt, &s.work[Full].was.Began, &s.work[Incremental].was.Contact,
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
	to = s.takeBase(e, to)
	to = s.takeEntries(e, to)
	to = s.help(e, to)
	for k := range s.work {
		w := &s.work[k]
		if w.leased = r.Granted[k]; w.leased {
			w.until = e.Sent.Mono + int64(s.cfg.Lease)
		}
		if w.demand && w.wanted == 0 && e.Sent.Mono >= w.asked.Mono {
			w.wanted = r.Time
		}
		if w.waiting && (w.demand || !own.Loaded && s.loading == (Base{}) && !r.Held[k]) {
			s.syncAt = min(s.syncAt, e.Now.Mono+s.spread(pollSoon))
		}
	}
	return s.repair(e, to)
}

// send publishes what this replica has read before it asked. Only the store's clock
// tells when that was: the process may have been suspended while it read.
func (s *State) send(e *Event, to []Action) []Action {
	for len(s.unsent) > 0 && s.unsent[0].Known.Mono <= e.Sent.Mono {
		entry := s.unsent[0]
		s.unsent = s.unsent[1:]
		entry.Read, entry.Ended = s.clock.stamp(entry.At, e.Now), e.Now.Mono+s.clock.high
		entry.At, entry.Known = clock.Instant{}, clock.Instant{}
		to = append(to, Action{Type: Append, Entry: entry, Epoch: s.clock.epoch})
	}
	return to
}

// takeBase takes what is published if it is later than what this replica has.
func (s *State) takeBase(e *Event, to []Action) []Action {
	b, own := e.Reply.Base, &e.Own
	if b != s.seen {
		s.seen, s.tries, s.loadAt = b, 0, e.Now.Mono
		s.syncAt = e.Now.Mono // a lease is granted to those who know what there is
	}
	at, as := s.clock.instant(b.Began, e.Now), s.as(own)
	switch {
	case b == (Base{}):
	// The store's clock tells which of two is later, if own is published there.
	case as != (Base{}) && (b.Began <= as.Began || at.Mono <= own.Began.Mono):
	case own.Loaded && as == (Base{}) && at.Mono <= own.Began.Mono+slack: // it may be the earlier one
	case b.Name == as.Name && !own.Touched:
		s.base, s.baseAt, own.Began = b, at, at
		to = append(to, Action{Type: Confirm, Base: b, At: at})
	case s.loading == (Base{}) && e.Now.Mono >= s.loadAt:
		s.loading, s.loadingAt = b, at
		to = append(to, Action{Type: Load, Base: b, At: at})
	}
	return to
}

// takeEntries puts rows on top of what this replica has. One that has nothing
// leaves them until it does, if there is a base to come.
func (s *State) takeEntries(e *Event, to []Action) []Action {
	r, own := &e.Reply, &e.Own
	if !own.Loaded && s.loading != (Base{}) {
		return to
	}
	var entries []Entry
	for _, entry := range r.Entries {
		entry.At, entry.Known = s.clock.instant(entry.Read, e.Now), s.clock.latest(entry.Ended, e.Now)
		if own.Loaded && entry.At.Mono > own.Began.Mono+slack {
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
func (s *State) repair(e *Event, to []Action) []Action {
	w, own := &s.work[Full], &e.Own
	s.repairing = own.Loaded && !s.publishing && s.loading == (Base{}) && !w.running &&
		(s.seen == (Base{}) || s.seen != s.as(own) && s.clock.instant(s.seen.Began, e.Now).Mono < own.Began.Mono-slack)
	if s.repairing && w.leased && !w.waiting {
		to = s.publish(e, false, to)
	}
	return to
}

func (s *State) publish(e *Event, same bool, to []Action) []Action {
	b := Base{Began: s.clock.stamp(e.Own.Began, e.Now)}
	if same && s.seen == s.base {
		b.Name = s.base.Name
	}
	s.publishing, s.base, s.baseAt = true, Base{}, e.Own.Began
	return append(to, Action{Type: Publish, Kind: Full, Base: b, At: e.Own.Began, Epoch: s.clock.epoch})
}

// help makes a full refresh due that another replica waits for and does not get.
func (s *State) help(e *Event, to []Action) []Action {
	w, r := &s.work[Full], &e.Reply
	if r.Wanted != s.wanted {
		s.wanted, s.helpAt = r.Wanted, e.Now.Mono+s.spread(helpAfter)
	}
	if e.Now.Mono >= s.helpAt && r.Wanted > s.seen.Began && !r.Held[Full] && !w.waiting && !w.running {
		s.helpAt = math.MaxInt64
		to = append(to, Action{Type: Soon, Kind: Full})
	}
	return to
}

// ran notes that a refresh has ended, and publishes what it has found. What is not
// published now is missing in the store: see repair.
func (s *State) ran(e *Event, to []Action) []Action {
	leased := s.Holds(e.Kind, e.Now)
	s.work[e.Kind] = work{leased: leased, until: s.work[e.Kind].until}
	switch full := e.Kind == Full; {
	case !leased, full && s.publishing:
	case e.Failed:
		s.work[e.Kind].leased = false
		to = append(to, Action{Type: Release, Kind: e.Kind, Keep: min(max(e.Again, s.cfg.Lease/2), 5*time.Minute)})
	case full && s.as(&e.Own) == (Base{}):
		to = s.publish(e, e.SameAs != (clock.Instant{}) && e.SameAs == s.baseAt, to)
	}
	return to
}

// loaded notes what became of a Load.
func (s *State) loaded(e *Event) {
	switch {
	case !e.Failed && e.Own.Began == s.loadingAt:
		s.base, s.baseAt = s.loading, s.loadingAt
	case e.Failed && s.loading == s.seen:
		s.tries++
		s.loadAt = e.Now.Mono + s.spread(pollEvery)<<min(s.tries, 5) // up to half a minute
	}
	s.loading, s.syncAt = Base{}, e.Now.Mono
}

// published notes what became of a Publish.
func (s *State) published(e *Event) {
	s.publishing, s.syncAt = false, e.Now.Mono
	if !e.Failed && s.base == (Base{}) { // or another replica's was taken meanwhile
		s.base = e.Reply.Base
	}
}
