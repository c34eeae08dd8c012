package refresh

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
)

// A Cursor knows from which sequence an incremental refresh goes on.
//
// Sequences are taken when a transaction begins, and are seen when it commits:
// a row may appear below what was seen already. So each refresh looks back: it
// asks from the highest sequence that was known LookBack before the refresh
// before it began. Whatever was under way for no longer than that is seen.
//
// A few sequences that lie absurdly far above all others do not move it, and
// neither do those behind which an incremental refresh has missed something.
// Else a single typo would blind all that follow.
//
// Make it with [NewCursor].
type Cursor struct {
	lookBack time.Duration
	gap      time.Duration // how much later the full refresh begins that confirms an older one

	mu        sync.Mutex
	highest   int64              // the highest sequence known that moves it
	known     []knownSequence    // by time; the first is what was known at the last start less lookBack, or the earliest
	done      clock.Instant      // when the last refresh began that was completed
	outliers  map[int64]struct{} // sequences that do not move it
	recent    map[int64]int64    // for users above the first of known, the highest sequence seen
	latest    latest             // the users who were changed last
	gone      map[int64]absence  // users who were removed, for as long as a row of theirs can come that is as old
	returning bool               // the last full refresh has listed some of them again
	older     *olderList         // what the last full refresh showed, if that was older than what is known
	lags      bool               // some server was seen to lag behind
}

// A knownSequence is the highest sequence that was known from a moment on.
type knownSequence struct {
	since    clock.Instant
	sequence int64
}

// An olderList is a full refresh whose highest sequence is below one that was
// seen before.
type olderList struct {
	started clock.Instant
	highest int64
	lacks   bool // it lacks users, and nothing else is older
	checks  int  // incremental refreshes that began later and have not shown what is known either
}

// Of several servers behind one address, each refresh meets with any one. So it
// takes more than a few that agree until a list is believed that is older than
// what is known: mostChecks incremental refreshes between two full ones, which come
// every gap/checksPerGap until then, or, if they are slower, any number in patience
// gaps. While nothing has shown that a server lags behind, a third of both says that
// the users are gone who had the highest sequences.
const (
	checksPerGap = 20
	mostChecks   = 15
	patience     = 5
	soon         = 3
)

// NewCursor returns a cursor that knows nothing. A list that is older than what
// is known is believed when a full refresh that begins gap later shows it too.
func NewCursor(lookBack, gap time.Duration) *Cursor {
	return &Cursor{lookBack: lookBack, gap: gap, recent: map[int64]int64{}, latest: latest{}, gone: map[int64]absence{}}
}

// maxOutliers is how many sequences can be absurd. More are a change of how the
// source numbers.
const maxOutliers = 16

// Absurd reports whether a sequence is out of all proportion to the one below
// it.
func Absurd(sequence, below int64) bool {
	return below > 0 && sequence-below > 1<<40 && sequence>>10 > below
}

// From returns the sequence that an incremental refresh asks from which begins
// now.
func (c *Cursor) From() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.known) == 0 {
		return 0
	}
	// The first of known that counts is the last before that.
	first := 0
	for i, k := range c.known {
		if k.since.Age(c.done) >= c.lookBack {
			first = i
		}
	}
	c.known = slices.Delete(c.known, 0, first)
	from := c.known[0].sequence
	for id, sequence := range c.recent {
		if sequence <= from {
			delete(c.recent, id)
		}
	}
	if c.older != nil {
		from = min(from, c.highest-1) // to see whether the source still has it
	}
	for id, a := range c.gone {
		if a.known < from {
			delete(c.gone, id)
		}
	}
	return max(0, from)
}

func (c *Cursor) fresh() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.known) == 0
}

// Highest returns the highest sequence that is known and moves the cursor.
func (c *Cursor) Highest() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.highest
}

// Moves reports whether a row with that sequence, which is known or was shown by an
// incremental refresh, moves the cursor.
func (c *Cursor) Moves(sequence int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, out := c.outliers[sequence]
	return !out
}

// Lags says that a refresh has shown a user as they were before what is known: some
// server lags behind.
func (c *Cursor) Lags() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lags = true
}

// Seen returns the highest sequence that was seen lately of that user. ok is
// false if none was, or not lately.
func (c *Cursor) Seen(id int64) (sequence int64, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	sequence, ok = c.recent[id]
	return sequence, ok
}

// An absence is what is known of a user who was removed. A row of theirs says
// nothing new if it has no higher sequence than was known when a full refresh had
// found them gone: it comes from a server that lags behind. But it may be that a
// source lists them again under the sequence that they had. So full refreshes are
// believed when two in a row show that, the second at least the gap later.
type absence struct {
	known int64         // the highest sequence by then
	again clock.Instant // when the full refresh began that was the first in a row to list them again; zero if none
}

// Gone notes that those users were removed, because a full refresh of another
// replica has found them gone.
func (c *Cursor) Gone(ids []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.remove(ids, c.highest)
}

// Doubt notes that a user is not listed by a full refresh, but may have been added after
// it began: the next row of theirs counts.
func (c *Cursor) Doubt(id int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.recent, id)
}

func (c *Cursor) remove(ids []int64, known int64) {
	for _, id := range ids {
		c.gone[id] = absence{known: max(c.gone[id].known, known)}
	}
}

// Outdated reports whether a row is of a user who was removed, and was written
// before that: an incremental refresh passes it over.
func (c *Cursor) Outdated(id, sequence int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.gone[id]
	return ok && sequence <= a.known
}

// IsGone reports whether a user was found gone when that sequence was known, so that no
// row up to it lists them again.
func (c *Cursor) IsGone(id, known int64) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	a, ok := c.gone[id]
	return ok && a.known >= known
}

// Doubts returns how soon another incremental refresh is to look whether the source
// still has what is known, 0 if nobody doubts that.
func (c *Cursor) Doubts() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.older == nil {
		return 0
	}
	return c.gap / checksPerGap
}

// Again returns how soon another full refresh decides whether users are listed
// again who were removed, or are gone who had the highest sequences; 0 if the last one
// has left neither open.
func (c *Cursor) Again() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	again := c.gap * 9 / 8 // one that is jittered to come too early decides nothing
	switch {
	case c.older != nil && c.older.lacks && !c.lags:
		return again / soon
	case c.returning:
		return again
	}
	return 0
}

// returned notes which users a full refresh that began then has listed again.
// applied is whether it was applied.
func (c *Cursor) returned(started clock.Instant, list *Tail, applied bool) {
	if list.mixed() {
		return // it says nothing of who was removed
	}
	c.returning = false
	for id, a := range c.gone {
		switch believed, listed := list.again[id]; {
		case listed && believed && applied:
			delete(c.gone, id)
			continue
		case !listed:
			a.again = clock.Instant{}
		case a.again == (clock.Instant{}):
			a.again = started
			fallthrough
		default:
			c.returning = true
		}
		c.gone[id] = a
	}
}

// Page takes in the rows of an incremental refresh that were applied at that
// moment, by user id. moves is false if there may be others before them that are
// not known: then the next refresh asks for those.
func (c *Cursor) Page(at clock.Instant, rows map[int64]int64, moves bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	highest := c.highest
	for id, sequence := range rows {
		c.recent[id] = max(c.recent[id], sequence)
		if !moves {
			continue
		}
		if c.older != nil && sequence >= c.highest {
			c.older = nil // the source still knows it: another server of it lags
		}
		if _, ok := c.outliers[sequence]; ok || sequence <= highest {
			continue
		}
		if Absurd(sequence, c.highest) {
			if c.outliers == nil {
				c.outliers = map[int64]struct{}{}
			}
			c.outliers[sequence] = struct{}{}
			continue
		}
		highest = sequence
	}
	if moves {
		c.latest.add(rows)
	}
	if len(c.outliers) > maxOutliers { // that is how the source numbers now
		for sequence := range c.outliers {
			highest = max(highest, sequence)
		}
		c.outliers = nil
	}
	c.advance(at, highest)
}

// AddGone adds users who were removed, and for each the highest sequence that was
// known when a full refresh had found them gone.
func (c *Cursor) AddGone(to map[int64]int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for id, a := range c.gone {
		if a.known > 0 { // or it says nothing
			to[id] = max(to[id], a.known)
		}
	}
}

// Follow takes in, at that moment, a full refresh that somebody else has made: up to
// when it knows what has changed, the highest sequence that it knows, by user those
// that were new when it began, also of users who were gone, and who is listed. A cursor
// that has missed what came before that asks for nothing below those: a server that lags
// behind would show users who are gone since.
func (c *Cursor) Follow(at, contact clock.Instant, highest int64, above map[int64]int64, listed func(id int64) bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	away := c.done == (clock.Instant{}) || c.done.Age(contact) > c.lookBack
	c.complete(contact)
	low := highest
	for id, sequence := range above {
		low = min(low, sequence-1)
		if listed(id) {
			c.recent[id] = max(c.recent[id], sequence)
		} else {
			c.remove([]int64{id}, sequence)
		}
	}
	if highest < c.highest { // it used an older list, or whoever had that is gone
		maps.DeleteFunc(c.recent, func(id, sequence int64) bool { return sequence > highest && listed(id) })
		c.known = slices.DeleteFunc(c.known, func(k knownSequence) bool { return k.sequence >= highest })
		c.known = append(c.known, knownSequence{at, highest})
		maps.DeleteFunc(c.gone, func(id int64, _ absence) bool { return listed(id) })
		clear(c.latest)
		c.highest, c.outliers = highest, nil
	}
	c.advance(at, highest)
	if away {
		c.known = slices.DeleteFunc(c.known, func(k knownSequence) bool { return k.sequence <= low })
		c.known = slices.Insert(c.known, 0, knownSequence{contact.Add(-c.lookBack), low})
	}
}

// Confirmed says that a full refresh which somebody else has made was whole, and not
// older than what is known.
func (c *Cursor) Confirmed() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.older = nil
}

// Behind says that a full refresh which somebody else has made, and which began then, has
// shown no higher sequence than that, and less than is known. Whoever makes the next one
// confirms it: see [Cursor.Older].
func (c *Cursor) Behind(started clock.Instant, shown int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.older == nil || shown < c.older.highest {
		c.older = &olderList{started: started, highest: shown, lacks: true}
	}
}

// Done says that an incremental refresh was completed which began then and asked for
// what is above that sequence.
func (c *Cursor) Done(started clock.Instant, after int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.complete(started)
	if after < c.highest { // or it says nothing of whether the source still has that
		c.check(started)
	}
}

// Regressed says that an incremental refresh which began then has shown that the
// source was set back.
func (c *Cursor) Regressed(started clock.Instant) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.check(started)
}

func (c *Cursor) check(started clock.Instant) {
	if c.older != nil && started.Mono > c.older.started.Mono {
		c.older.checks++
	}
}

// complete notes when the last refresh began that was completed. The zero instant
// is none, and not the beginning of time: a clock may read less.
func (c *Cursor) complete(started clock.Instant) {
	if c.done == (clock.Instant{}) || started.Mono > c.done.Mono {
		c.done = started
	}
}

func (c *Cursor) advance(at clock.Instant, highest int64) {
	if highest > c.highest || len(c.known) == 0 {
		c.highest = max(c.highest, highest)
		c.known = append(c.known, knownSequence{at, c.highest})
	}
}

// An OlderError says that a full refresh has shown a list that is older than
// what is known.
type OlderError struct {
	Shown, Known int64         // the highest sequences
	Again        time.Duration // how much later the next may begin that confirms it
}

// Error implements error.
func (e *OlderError) Error() string {
	if e.Shown >= e.Known {
		return "some of its rows are older than others: servers behind one address that do not agree; it lists somebody again who was removed, and nothing of it is applied"
	}
	return fmt.Sprintf("its highest sequence is %d, and %d was seen before: a server that lags behind, or a restored backup; nothing of it is applied until a full refresh that begins at least %v later shows the same", e.Shown, e.Known, e.Again)
}

// Older returns an [*OlderError] if a full refresh that began then and showed
// that list is older than what is known: its highest sequence is below one that
// was seen before, that is not explained, and no refresh that began at least the
// gap earlier has shown the same, with incremental ones between them that have not
// shown what is known either. What explains it is that just those users are gone who
// had the highest sequences: nobody is listed again, or with a lower sequence than
// before. A list without a user has no sequence.
// An error is returned as well if a list which several servers have shown, some of them
// lagging, would bring somebody back.
//
// A list that is not older may lack users all the same who are listed: see [Doubt].
// What is explained is in doubt until a second refresh confirms it if the highest
// sequence has come to be known within the time that refreshes look back, or if a server
// was ever seen to lag behind; unless somebody has asked for this refresh, who knows
// what it should show.
func (c *Cursor) Older(started clock.Instant, list *Tail, asked bool, explained func() bool) (err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	shown, _ := list.highest(c.outliers)
	c.lags = c.lags || list.mixed() || list.regressed()
	defer func() {
		if err != nil {
			c.returned(started, list, false) // a second one may confirm it
		}
	}()
	switch {
	case len(list.last) == 0:
		return nil
	case list.mixed() && list.believes():
		return &OlderError{Shown: shown, Known: min(list.known, shown), Again: c.gap}
	case shown >= list.known:
		c.older = nil
		if list.mixed() && !asked {
			list.doubt = Mixed
		}
		return nil
	}
	lacks := len(list.again) == 0 && !list.regressed() && explained()
	confirmed := c.older != nil && shown >= c.older.highest && c.older.confirmed(c.older.started.Age(started), c.gap, lacks && !c.lags)
	if lacks && (asked || confirmed || c.older == nil && list.settled() && !c.lags) {
		c.older = nil
		return nil
	}
	if confirmed {
		return nil
	}
	if c.older == nil || shown < c.older.highest {
		c.older = &olderList{started: started, highest: shown, lacks: lacks}
	}
	if lacks {
		list.doubt, list.shown = Behind, shown
		if !c.lags {
			list.beyond = maps.Clone(c.recent)
			maps.DeleteFunc(list.beyond, func(_, sequence int64) bool { return sequence <= shown })
		}
		return nil
	}
	return &OlderError{Shown: shown, Known: list.known, Again: c.gap}
}

// confirmed reports whether a full refresh that shows the same is believed which
// began so much later. likely says that it lacks only users, as it would if they
// were gone.
func (o *olderList) confirmed(later, gap time.Duration, likely bool) bool {
	checks := mostChecks
	if likely && o.lacks {
		gap, checks = gap/soon, checks/soon
	}
	return later >= gap && (o.checks >= checks || o.checks > 0 && later >= patience*gap)
}

// Full takes in a full refresh that began then and was applied at that moment,
// and has found those users gone. It returns the highest sequence that is known.
func (c *Cursor) Full(started, at clock.Instant, list *Tail, gone []int64) int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	highest, outliers := list.highest(c.outliers)
	known := c.highest
	c.outliers = outliers
	c.complete(started)
	if c.older != nil && list.doubt == Whole { // it was confirmed: this is another list
		c.older = nil
		clear(c.recent)
		clear(c.gone)
		clear(c.latest)
		known = highest
	}
	c.latest.follow(list)
	for _, row := range list.above {
		c.recent[row.id] = max(c.recent[row.id], row.sequence)
	}
	for _, id := range list.unread {
		c.recent[id] = max(c.recent[id], highest)
	}
	c.returned(started, list, true)
	c.remove(gone, max(known, highest))
	if list.doubt == Whole && highest < list.known && c.highest == list.known { // whoever had that is gone
		c.highest, c.known = highest, nil
	}
	c.advance(at, highest)
	return c.highest
}

// Missed takes in what a full refresh, before Full is told of it, has shown to be
// different from what was known, and returns how many of the last rows incremental refreshes should
// have seen and have not: rows at or below the sequence from which they had
// asked. If only a few sequences lie above all of those, they do not move the
// cursor any more, unless a server lags behind: then it may have been that one which
// was asked, and what is known of others must stay.
func (c *Cursor) Missed(list *Tail, differs func(id int64) bool) (missed int) {
	last := int64(0)
	for _, row := range list.last {
		if row.sequence <= list.from && differs(row.id) {
			missed++
			last = max(last, row.sequence)
		}
	}
	if missed == 0 {
		return 0
	}
	above := map[int64]struct{}{}
	for _, row := range list.last {
		if row.sequence > last {
			above[row.sequence] = struct{}{}
		}
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, ok := above[c.highest]; ok && len(above) <= maxOutliers && !c.lags {
		c.outliers, c.highest, c.known = above, last, []knownSequence{{c.done, last}}
	}
	return missed
}
