package replication

import (
	"math"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
)

// Step returns the state that follows an event, and what is to be done, in this
// order. It is pure. Actions are appended to the slice, which may be nil.
func (s State) Step(e Event, to []Action) (State, []Action) {
	if s.clock.drift(e.Now) {
		s.syncAt, s.publishAt = e.Now.Mono, e.Now.Mono
	}
	for k := range s.work {
		w := &s.work[k]
		w.leased = w.leased && w.until > e.Now.Mono // or it was paused, or the store was away
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
		w.demand, w.asked, w.wanted = true, e.Now, 0
	}
	w.self, w.asking, s.syncAt = w.self || e.Self, false, e.Now.Mono
	if !w.waiting {
		w.waiting, w.was, w.bound = true, e.Own, math.MaxInt64
	}
	until := e.Now.Mono + s.spread(bound)
	if !e.Own.Loaded && !e.Demand {
		until += 3 * int64(bound) // it has nothing to do but wait
	}
	w.bound = min(w.bound, until)
}

// settle lets the loop go on where it need not wait any more.
func (s *State) settle(e *Event, to []Action) []Action {
	for k := range s.work {
		w := &s.work[k]
		busy := s.busy(Kind(k))
		switch {
		case !w.waiting || w.running || e.Type == Closing:
		case s.satisfied(Kind(k), &e.Own):
			*w = work{leased: w.leased, until: w.until}
			to = append(to, Action{Type: Skip, Kind: Kind(k)})
		case w.leased && !busy, e.Now.Mono >= w.bound,
			s.failing && (w.demand || e.Now.Mono >= s.alone || e.Own.Loaded && (Kind(k) == Incremental || s.loading == (Base{}))):
			w.running = true
			to = append(to, Action{Type: Run, Kind: Kind(k)})
		}
		if w.leased && (e.Type == Closing || !w.waiting && !busy) {
			w.leased = false
			to = append(to, Action{Type: Release, Kind: Kind(k)})
		}
	}
	return to
}

// busy reports whether what a refresh of that kind has found is yet to be published:
// nobody else is to make one until it is.
func (s *State) busy(k Kind) bool {
	return k == Full && s.publishing || k == Incremental && len(s.unsent) > 0
}

// satisfied reports whether another replica has done what the loop waits to do.
func (s *State) satisfied(k Kind, own *Own) bool {
	w := &s.work[k]
	switch {
	case w.self || !own.Loaded:
		return false
	case !w.was.Loaded && !w.demand:
		return true
	case w.demand:
		return own.Began.Mono >= w.asked.Mono || w.wanted > 0 && s.base.Began >= w.wanted && s.shares(own)
	case k == Full:
		return own.Began.Mono > w.was.Began.Mono
	}
	return own.Contact.Mono > w.was.Contact.Mono
}

// sync asks how things stand when it is time.
func (s *State) sync(e *Event, to []Action) []Action {
	if s.syncing || e.Type == Closing || e.Now.Mono < s.syncAt {
		return to
	}
	a := Action{Type: Sync, Cursor: s.cursor, Known: s.seen, Void: s.clock.void}
	for k := range s.work {
		w := &s.work[k]
		a.Want[k] = w.leased || w.waiting && !w.running && (w.demand || s.loading == (Base{}) && (e.Own.Loaded || s.tries == 0))
		a.Raise = a.Raise || w.demand && w.wanted == 0
		w.asking = true
	}
	a.Want[Full] = a.Want[Full] || s.lost(e, &e.Own)
	s.syncing = true
	return append(to, a)
}

// synced takes in what the store has answered.
func (s *State) synced(e *Event, to []Action) []Action {
	if e.Failed && !s.failing {
		s.alone = e.Now.Mono + s.spread(failTime)
	}
	s.failing, s.syncAt = e.Failed, e.Now.Mono
	if e.Failed {
		s.unsent = nil // they come again: every refresh looks back
		s.syncAt += s.spread(pollEvery)
		return to
	}
	if e.Sent.Age(e.Now) > Timeout {
		return to
	}
	r, own := &e.Reply, &e.Own // own: as it is after what is done here
	mono, wall, underWay, set := s.clock.read(e)
	if set {
		s.base = Base{}
		s.work[Full].wanted = 0 // others are to be told again
	}
	if underWay != 0 {
		to = append(to, Action{Type: Shift, Mono: underWay, Before: e.Now.Mono, UnderWay: true})
	}
	if mono != 0 || wall != 0 {
		a := Action{Type: Shift, Mono: mono, Wall: wall, Before: s.clock.movedAt}
		for _, i := range []*clock.Instant{&own.Began, &own.Contact, &s.baseAt, &s.work[Full].was.Began, &s.work[Incremental].was.Contact} {
			*i = a.Shifted(*i)
		}
		s.unsent = slices.Clone(s.unsent)
		for i := range s.unsent {
			s.unsent[i].At = a.Shifted(s.unsent[i].At)
		}
		to = append(to, a)
	}
	if s.clock.void != "" {
		return to
	}
	s.syncAt += s.spread(pollEvery)
	to = s.send(e, to)
	to = s.takeBase(e, own, to)
	to = s.help(e, s.takeEntries(e, own, to))
	for k := range s.work {
		w := &s.work[k]
		if w.leased = r.Granted[k]; w.leased {
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
	if w := &s.work[Full]; w.leased && !w.waiting && s.lost(e, own) {
		to = s.publish(e, own, false, to)
	}
	return to
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
	b := e.Reply.Base
	if b != s.seen {
		s.seen, s.syncAt = b, e.Now.Mono // a lease is granted to those who know what there is
	}
	at, shares := s.clock.instant(b.Began, e.Now), s.shares(own)
	switch later := at.Mono - own.Began.Mono; {
	case b == (Base{}), s.clock.future(b.Began, e.Now):
	case shares && (later <= 0 || b.Began <= s.base.Began), own.Loaded && !shares && later <= slack: // it may be the earlier one
	case shares && b.Name == s.base.Name && !own.Touched:
		s.base, s.baseAt, own.Began = b, at, at
		to = append(to, Action{Type: Confirm, Base: b, At: at})
	case s.loading != (Base{}), b == s.broken && e.Now.Mono < s.brokenUntil:
	default:
		s.loading = b
		to = append(to, Action{Type: Load, Base: b, At: at})
	}
	return to
}

// takeEntries puts rows on top of what this replica has. One that has nothing
// leaves them until it does, if there is a base to come.
func (s *State) takeEntries(e *Event, own *Own, to []Action) []Action {
	if !own.Loaded && s.loading != (Base{}) {
		return to
	}
	var entries []Entry
	for _, entry := range e.Reply.Entries {
		entry.At, entry.Known = s.clock.instant(entry.Read, e.Now), s.clock.latest(entry.Ended, e.Now)
		if own.Loaded && !s.clock.future(entry.Read, e.Now) && entry.At.Mono > own.Began.Mono+slack {
			entries = append(entries, entry)
		}
	}
	if len(entries) > 0 {
		to = append(to, Action{Type: Apply, Entries: entries})
	}
	if s.cursor = e.Reply.Cursor; len(e.Reply.Entries) > 0 {
		s.syncAt = e.Now.Mono
	}
	return to
}

// lost reports whether the store lacks what this replica has, or has what is older for certain.
func (s *State) lost(e *Event, own *Own) bool {
	if !own.Loaded || s.publishing || s.loading != (Base{}) || s.work[Full].running || e.Now.Mono < s.publishAt {
		return false
	}
	older := !s.clock.doubts(own.Began) && s.seen.Began < s.clock.stamp(own.Began, e.Now)-slack
	return s.seen == (Base{}) || s.clock.future(s.seen.Began, e.Now) || older && (s.seen != s.base || !s.shares(own))
}

func (s *State) publish(e *Event, own *Own, same bool, to []Action) []Action {
	b := Base{Began: s.clock.stamp(own.Began, e.Now)}
	if same && s.base.Name != "" && s.seen == s.base {
		b.Name = s.base.Name
	}
	s.publishing = true
	return append(to, Action{Type: Publish, Kind: Full, Base: b, At: own.Began, Known: s.seen, Epoch: s.clock.epoch})
}

// help makes a full refresh due that another replica waits for and does not get.
func (s *State) help(e *Event, to []Action) []Action {
	r, newest := &e.Reply, max(s.seen.Began, s.clock.stamp(e.Own.Began, e.Now))
	if r.Wanted <= newest+slack || r.Wanted == s.helped || r.Time < r.Wanted+int64(helpAfter) || r.Held[Full] || s.work[Full].waiting {
		return to
	}
	s.helped = r.Wanted
	return append(to, Action{Type: Soon, Kind: Full})
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
		a := Action{Type: Release, Kind: e.Kind}
		if e.Failed {
			a.Keep = min(max(e.Again, s.cfg.Lease/2), s.cfg.Lease) // the source may refuse this replica alone
		}
		w.leased, to = false, append(to, a)
	}
	return to
}

// loaded notes what became of a Load. A replica that has nothing tries again before it
// refreshes instead: a store with much to do is slow.
func (s *State) loaded(e *Event) {
	s.syncAt = e.Now.Mono
	if e.Failed {
		s.syncAt += s.spread(pollEvery)
		if s.tries++; e.Own.Loaded || s.tries >= loadTries {
			s.broken, s.brokenUntil, s.tries = s.loading, e.Now.Mono+int64(loadAgain), 0
		}
	} else if s.tries = 0; e.Own.Began == e.At {
		s.base, s.baseAt = s.loading, e.At
	}
	s.loading = Base{}
}

// published notes what became of a Publish. If nobody knows, Own is not taken for what
// is published: then it is read once more than it need be.
func (s *State) published(e *Event) {
	s.publishing, s.syncAt = false, e.Now.Mono
	switch {
	case e.Failed:
		s.publishAt = e.Now.Mono + s.spread(publishAgain)
	case !e.Refused:
		if s.seen = e.Reply.Base; e.Own.Began == e.At {
			s.base, s.baseAt = s.seen, e.At
		}
	}
}
