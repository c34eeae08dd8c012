package marketplace

import (
	"context"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/rolegate/rolegate"
)

// Pull implements [rolegate.Source]: it calls yield for every listed user whose
// sequence is above after, for all of them when after is 0, and returns nil
// only when the marketplace has nothing more. See the package's "How it pages".
// Users may be yielded more than once, and records whose sequence is not above
// after are yielded as they came.
//
// It blocks until the list has been read or ctx ends, and takes at most four
// times Config.PageTimeout for each page. yield is called on the caller's
// goroutine. The strings of a record stay as they are, but share memory with
// those of others: who keeps a few of many is better off with a
// [strings.Clone] of them.
//
// Every error but that of [Client.Validate] is a [*rolegate.PullError]; with
// errors.Is, [rolegate.ErrRefused] is found in one for a refused token or app
// id, and [context.DeadlineExceeded] and [context.Canceled] in those of a ctx
// that ended. Its text has no token, query or personal data in it.
func (c *Client) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return c.PullPages(ctx, after, func(records []rolegate.Record) error {
		for _, r := range records {
			yield(r)
		}
		return nil
	})
}

// PullPages implements [rolegate.PageSource]: it is [Client.Pull] by the page.
func (c *Client) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	if err := c.Validate(); err != nil {
		return err
	}
	w := walk{
		fetcher: c.fetcher(c.listURL),
		page:    page,
		limit:   c.limit(),
		cursor:  after,
	}
	w.records = newRecordDecoder()
	if after < 0 {
		return w.fail(rolegate.FailureOther, fmt.Errorf("pull after sequence %d: expected at least 0", after))
	}
	return w.run(ctx)
}

// limit is how many users one pull asks for in each request: Config.PageSize
// or, without it, another number than the hundred pulls before it did.
func (c *Client) limit() int {
	if c.pageSize != 0 {
		return c.pageSize
	}
	return maxPageSize - int(c.pulls.Add(1)%(maxPageSize/10+1))
}

// A walk is one pull, under way.
type walk struct {
	fetcher
	page  func([]rolegate.Record) error
	out   []rolegate.Record // of the page at hand
	limit int               // how many users are asked for in one request

	// cursor is the highest sequence that was seen, and at first the one that
	// Pull was called with.
	cursor int64

	// atCursor is how many of the rows counted have the cursor's sequence, and
	// total is how many have been counted.
	atCursor, total int
}

// A tally is what counts about the rows of one page for finding the next.
type tally struct {
	rows     int
	high     int64 // the highest sequence, -1 if none was readable
	atHigh   int   // rows that have it
	atCursor int   // rows that have the walk's cursor, as it was before
}

func (w *walk) run(ctx context.Context) error {
	// ask is what the next page is to come after: the cursor itself; one less,
	// to see again the users who share the cursor, and with them those whom
	// the page before had no room for; or one more, to get past them.
	ask := w.cursor
	for first := true; ; first = false {
		p, err := w.fetch(ctx, w.parameters(ask))
		if err != nil {
			return err
		}
		if first {
			if err := w.ownDate(w.guard(ask), ask, p); err != nil {
				return err
			}
		}
		floor := int64(math.MinInt64) // the caller judges the first page
		if !first {
			floor = min(ask, w.cursor)
		}
		t, err := w.read(p, floor)
		if err != nil {
			return err
		}
		switch {
		case t.high > w.cursor:
			w.cursor, w.atCursor = t.high, t.atHigh
			if ask = w.cursor; !w.unique {
				ask--
			}
			continue
		case ask < w.cursor:
			ask = w.cursor
		case t.rows == 0:
			return nil
		case t.rows >= w.limit:
			return w.fail(rolegate.FailureCursorLoop, fmt.Errorf(
				"a full page of %d users has none above sequence %d: the server repeats itself, or more users than fit into a page share that sequence", t.rows, w.cursor))
		case ask == w.cursor && t.atCursor > 0 && w.cursor < math.MaxInt64:
			// An inclusive server. It may have more: one that gives fewer rows
			// than asked for would repeat these ones each time.
			ask = w.cursor + 1
		default:
			return nil
		}
		w.atCursor = max(w.atCursor, t.atCursor)
	}
}

// parameters are what asks for the users after a sequence.
func (w *walk) parameters(after int64) string {
	return "&lastSequence=" + strconv.FormatInt(after, 10) + "&limit=" + strconv.Itoa(w.limit)
}

// guard is the one for pulls like this one. Increments have their own, so that
// their many replies do not drive out those of the walks.
func (w *walk) guard(after int64) *dateGuard {
	if after == 0 {
		return w.walks
	}
	return w.increments
}

// read hands over the records of a page. A sequence below floor is one that was
// not asked for: the list went back while it was read.
func (w *walk) read(p page, floor int64) (tally, error) {
	t := tally{high: -1}
	w.out = w.out[:0]
	err := w.records.each(p, func(e *element) error {
		seq := e.record.Sequence
		t.rows++
		if e.sequenced {
			switch {
			case seq < floor:
				return w.fail(rolegate.FailureCursorRegressed, fmt.Errorf("sequence %d in a page after %d", seq, floor))
			case seq > t.high:
				t.high, t.atHigh = seq, 1
			case seq == t.high:
				t.atHigh++
			}
			if seq == w.cursor {
				t.atCursor++
			}
		}
		// As many rows with the cursor's sequence as there were before are the
		// ones from before.
		if fresh := t.rows - min(t.atCursor, w.atCursor); fresh > w.maxUsers-w.total {
			return w.fail(rolegate.FailureTooLarge, fmt.Errorf("the list has more than Config.MaxUsers, %d records", w.maxUsers))
		}
		r := e.record
		if len(p.elements) == 0 {
			r.Grants = slices.Clone(r.Grants) // valid for this element alone
		}
		w.out = append(w.out, r)
		for _, id := range e.more {
			r.UserID = id
			w.out = append(w.out, r)
		}
		return nil
	})
	if err != nil {
		return t, err
	}
	err = w.page(w.out)
	w.total += t.rows - min(t.atCursor, w.atCursor)
	return t, err
}
