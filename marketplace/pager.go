package marketplace

import (
	"fmt"
	"math"

	"github.com/rolegate/rolegate"
)

// fewestPerPage is what no server that caps its pages falls short of. A list
// of fewer users is believed to be all there is where a longer one of the same
// kind could be a page that was cut.
const fewestPerPage = 10

// A tally is what counts about the rows of one page for finding the next.
type tally struct {
	rows       int
	low, high  int64  // of the sequences; high is unreadable if none could be read
	atHigh     int    // rows that have the highest
	atCursor   int    // rows that have the cursor's sequence, as it was before
	above      int    // rows above the cursor
	single     bool   // all rows have one and the same sequence
	descending bool   // no row is above the one before it, and not all are equal
	users      uint64 // a sum over the users, in whatever order
	unnamed    bool   // the user of a row could not be read
}

// A pager finds the way through a list that has nothing but its cursor: what to
// ask for next, when the list has ended, and when it cannot be believed. It
// does no I/O.
//
// The capacity of the server is the most rows that a page was seen to have, at
// most the limit. A page with fewer is short: the list had no more when it was
// asked for. The page after it confirms that.
type pager struct {
	limit    int   // rows that are asked for
	after    int64 // what the pull began with
	full     bool  // all of the list is wanted, and not only what is new
	unique   bool  // no two rows have the same sequence
	known    int   // the capacity that the last full refresh has seen, 0 if there was none
	repeats  bool  // the server was seen to begin a page with the last users of the one before
	capacity int   // the most rows seen in a page, of this pull or as it was told
	widest   bool  // the page at hand has more than any before

	cursor   int64 // the highest sequence seen, after at first
	lowest   int64 // the lowest sequence seen
	atCursor int   // rows with the cursor's sequence that were counted
	pages    int
	ask      int64 // what the page at hand was to come after

	// inclusive says that the server answers from the cursor on.
	inclusive bool

	// cut says that a full page from the beginning of the list ended among users
	// who share the cursor's sequence. Only an inclusive server shows the others.
	cut bool

	// The last page that moved the cursor, and the one before it.
	last, before *span

	// spanning is the short page that is asked for once more: see confirm.
	spanning *span
	spans    int // how often that was done
	uneven   bool

	users  uint64 // that of the page before
	absent int    // how often the page at hand was asked for again, since it lacks who was seen before
}

// A span is a page that moved the cursor.
type span struct {
	ask, high int64
	rows      int
}

// maxAbsent is how often the page after a full one is asked for again if it lacks
// even the last users of that one: from another server, which lags behind. The list
// goes on at the one that gave the full page, perhaps with users who share the last
// sequence. So it has no end there, unless nobody has ever seen the server repeat users.
const maxAbsent = 2

// maxSpans is how often a short page is asked for again before the server is
// taken for one whose pages are of uneven size.
const maxSpans = 2

func newPager(after int64, limit int, unique bool, known int, repeats bool) *pager {
	p := &pager{limit: limit, after: after, full: after == 0, unique: unique, known: known, repeats: repeats, cursor: after, ask: after, lowest: math.MaxInt64}
	if !p.full {
		// What is missed now comes with the next full refresh, so that the
		// capacity is taken on trust.
		p.capacity = min(max(known, 0), limit)
		if known == 0 {
			p.capacity = limit
		}
	}
	return p
}

// floor is below what no row of the page that is asked for may lie. The caller
// of a pull checks the first page.
func (p *pager) floor() int64 {
	if p.pages == 0 {
		return math.MinInt64
	}
	return min(p.ask, p.cursor)
}

// short reports whether a page of so many rows has fewer than the server gives.
func (p *pager) short(rows int) bool { return rows < min(p.limit, p.capacity) }

// A pageFault is why a list cannot be read on.
type pageFault struct {
	failure rolegate.Failure
	text    string
}

// next takes in a page, and returns whether it was the last one. If not, p.ask
// is what the next one is to come after.
func (p *pager) next(t tally) (done bool, fault *pageFault) {
	p.pages++
	p.widest = t.rows > p.capacity
	p.capacity = max(p.capacity, t.rows)
	if t.high != unreadable {
		p.lowest = min(p.lowest, t.low)
		if t.low == p.ask && p.ask > 0 {
			p.inclusive = true
		}
	}
	// Rows without a user id may be others than before.
	repeated := !t.unnamed && t.users == p.users
	p.repeats = p.repeats || p.pages > 1 && t.atCursor > 0
	p.users = t.users
	if fault := p.check(t, repeated); fault != nil {
		return false, fault
	}
	if p.spanning != nil {
		return p.spanned(t), nil
	}
	if p.cut && t.atCursor == 0 {
		return false, &pageFault{FailureCursorTie, fmt.Sprintf("users with sequence 0 fill so much of a page that those with sequence %d cannot all be seen: have the marketplace give each change a sequence of its own, above 0", p.cursor)}
	}
	p.cut = false
	if t.high <= p.cursor {
		return p.stuck(t)
	}
	p.before, p.last, p.absent = p.last, &span{p.ask, t.high, t.rows}, 0
	p.cursor, p.atCursor = t.high, t.atHigh
	if repeated {
		// All of them have changed since they were read, and whoever has not
		// would come before them.
		return true, nil
	}
	return p.confirm(), nil
}

// check finds what the pages of a list cannot look like.
func (p *pager) check(t tally, repeated bool) *pageFault {
	echo := t.single && t.high == p.ask
	if repeated && echo && t.rows > 1 && p.ask > p.cursor {
		return &pageFault{FailureCursorLoop, fmt.Sprintf("the same %d users come again, each with the lastSequence that was asked for: the server echoes the request in place of the users' own sequences", t.rows)}
	}
	if p.short(t.rows) || t.rows < 2 {
		return nil
	}
	// Fewer than any server's page holds are all there is, if nothing else was
	// seen.
	few := t.rows < fewestPerPage && t.rows < p.limit && t.low == p.lowest
	switch {
	case t.single && !few:
		text := fmt.Sprintf("a page of %d users who all have sequence %d, as many as the server gives at a time: whether there are more cannot be seen", t.rows, t.high)
		if echo {
			text += ", and it is the sequence that was asked for, so that the server may echo that"
		}
		return &pageFault{FailureCursorTie, text + ": have the marketplace give each change a sequence of its own; until then, a change of one of these users may help"}
	case t.descending && t.rows >= fewestPerPage:
		return &pageFault{FailureDescending, fmt.Sprintf("a full page of %d users comes in descending order, from sequence %d to %d: the cursor would skip all others: have the marketplace sort by lastSequence, ascending", t.rows, t.high, t.low)}
	}
	return nil
}

// confirm decides what comes after a page that moved the cursor. If that page
// and the one before it are short, the list had ended by then, and what came
// since is new; unless the server's pages are of uneven size, or it has come to
// give fewer at a time, so that a short one means nothing. Then the short one
// asked for again is as short as before, while a list that grows shows more.
// An incremental refresh with fewer than any server's page holds need not know.
func (p *pager) confirm() (done bool) {
	if p.before != nil && !p.uneven && p.short(p.before.rows) && (p.short(p.last.rows) || p.widest && p.last.rows < p.limit) {
		if !p.full && p.last.rows < fewestPerPage {
			p.ask = p.onward()
			return p.short(p.last.rows)
		}
		p.spanning, p.ask = p.before, p.before.ask
		p.spans++
		return false
	}
	if p.full && p.pages == 2 && p.before != nil && p.last.rows == p.before.rows && p.last.rows < p.limit && p.last.rows != p.known {
		// All that the server gives at a time, or a short list that grows by as
		// much from page to page.
		p.spanning, p.ask = p.before, p.before.ask
		return false
	}
	p.ask = p.onward()
	return false
}

// onward is what the next page is to come after: one less than the cursor, to
// see again the users who share it, and with them those that the page before
// had no room for.
func (p *pager) onward() int64 {
	if p.unique || p.inclusive {
		return p.cursor
	}
	return p.cursor - 1
}

// spanned takes in the short page that was asked for again.
func (p *pager) spanned(t tally) (done bool) {
	was := p.spanning
	p.spanning = nil
	if t.high > p.cursor {
		p.cursor, p.atCursor = t.high, t.atHigh
	}
	grown := t.high > was.high
	if grown && p.short(was.rows) && p.short(p.last.rows) {
		return true
	}
	if !grown && t.rows > 0 { // a server that lags behind may have nobody there
		p.capacity = t.rows // it gives no more now
	}
	p.uneven = p.uneven || !grown && p.spans == maxSpans
	p.last = nil
	p.ask = p.onward()
	return false
}

// stuck takes in a page that has nothing above the cursor.
func (p *pager) stuck(t tally) (done bool, fault *pageFault) {
	p.atCursor = max(p.atCursor, t.atCursor)
	full := !p.short(t.rows)
	switch {
	case t.rows == 0:
		// Nothing at all: not even who had the cursor is there any more.
		if p.ask < p.cursor && p.uneven {
			p.ask = p.cursor
			return false, nil
		}
		seen := p.ask < p.cursor || p.inclusive && p.ask == p.cursor // they would come again
		if seen && (p.full || p.repeats) && p.last != nil && p.last.rows >= fewestPerPage && !p.short(p.last.rows) {
			switch p.absent++; {
			case p.absent <= maxAbsent:
				return false, nil
			case p.repeats:
				return false, &pageFault{rolegate.FailureCursorRegressed, fmt.Sprintf("nobody comes from sequence %d on, with which a full page of %d users ended: another server answers, which lags behind", p.cursor, p.last.rows)}
			}
		}
		return true, nil
	case p.ask < p.cursor && (full || p.uneven):
		p.cut = full && t.rows >= fewestPerPage && p.ask == 0 && t.high == p.cursor
		p.ask = p.cursor
		return false, nil
	case p.ask < p.cursor:
		return true, nil
	case t.rows >= p.limit:
		return false, &pageFault{FailureCursorLoop, fmt.Sprintf("a full page of %d users has none above sequence %d: the server repeats itself", t.rows, p.cursor)}
	case p.ask == p.cursor && t.atCursor > 0 && p.cursor < math.MaxInt64 && (full || p.uneven || p.full && p.pages == 1):
		// An inclusive server. It may have more: one that gives fewer rows
		// than asked for would repeat these ones each time.
		p.ask = p.cursor + 1
		return false, nil
	}
	return true, nil
}
