package marketplace

import (
	"context"
	"fmt"
	"strconv"

	"github.com/rolegate/rolegate"
)

// Pull implements [rolegate.Source]: it calls yield for every listed user whose
// sequence is above after, for all of them when after is 0, and returns nil
// only when the marketplace has nothing more. See the package's "How it pages".
// Users may be yielded more than once, and records whose sequence is not above
// after are yielded as they came.
//
// It blocks until the list has been read or ctx ends. A page takes at most four
// times Config.PageTimeout, and may be asked for again up to five times, after
// a pause; set a deadline for the whole. yield is called on the caller's
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
	limit := c.limit()
	p := pull{
		fetcher: c.fetcher(c.listURL),
		pager:   newPager(after, limit, c.unique, int(c.capacity.Load()), c.repeats.Load()),
		page:    page,
	}
	if after < 0 {
		return p.fail(rolegate.FailureOther, fmt.Errorf("pull after sequence %d: expected at least 0", after))
	}
	err := p.run(ctx)
	if p.pager.repeats {
		c.repeats.Store(true)
	}
	if err != nil {
		return err
	}
	if after == 0 {
		c.capacity.Store(int64(p.pager.capacity))
	}
	return nil
}

// limit is how many users one pull asks for in each request: Config.PageSize
// or, without it, another number than the hundred pulls before it did.
func (c *Client) limit() int {
	if c.pageSize != 0 {
		return c.pageSize
	}
	return maxPageSize - int(c.pulls.Add(1)%(maxPageSize/10+1))
}

// A pull is one pull, under way.
type pull struct {
	fetcher
	*pager
	page  func([]rolegate.Record) error
	total int // records that were counted
}

func (p *pull) run(ctx context.Context) error {
	doubted := false
	for first := true; ; first = false {
		e, err := p.fetch(ctx, p.parameters(), !first)
		if err != nil {
			return err
		}
		if first {
			if err := p.ownDate(p.guard(), p.ask, e); err != nil {
				return err
			}
		}
		if e.data == dataEmpty && p.full {
			if first {
				// Not "nobody is authorised": an empty list is [].
				return p.fail(FailureMalformed, errNoArray)
			}
			if !doubted {
				doubted = true
				continue // it ends the list if it says so twice
			}
		}
		t, err := p.count(e.data == dataEmpty)
		if err != nil {
			return err
		}
		done, fault := p.next(t)
		if fault != nil {
			return p.fail(fault.failure, fmt.Errorf("%s", fault.text))
		}
		if err := p.page(p.decoder.yield()); err != nil {
			return err
		}
		if done {
			return nil
		}
	}
}

// parameters are what asks for the page at hand.
func (p *pull) parameters() string {
	return "&lastSequence=" + strconv.FormatInt(p.ask, 10) + "&limit=" + strconv.Itoa(p.limit)
}

// guard is the one for pulls like this one. Incremental refreshes have their
// own, so that their many replies do not drive out those of the full ones.
func (p *pull) guard() *dateGuard {
	if p.full {
		return p.fullDates
	}
	return p.newsDates
}

// count takes the tally of the page at hand. A sequence below the floor is one
// that was not asked for: the list went back while it was read.
func (p *pull) count(empty bool) (tally, error) {
	t := tally{low: -1, high: unreadable, single: true, descending: true}
	if empty {
		p.decoder.reset()
	}
	floor, last, sequenced := p.floor(), int64(unreadable), 0
	for i := range p.decoder.records {
		r := &p.decoder.records[i]
		t.rows++
		t.users += mix(uint64(r.UserID))
		t.unnamed = t.unnamed || r.UserID <= 0
		seq := r.Sequence
		if seq == unreadable {
			t.single, t.descending = false, false
			continue
		}
		if seq < floor {
			return t, p.fail(rolegate.FailureCursorRegressed, fmt.Errorf("sequence %d in a page after %d", seq, floor))
		}
		sequenced++
		if sequenced == 1 {
			t.low = seq
		} else {
			t.single = t.single && seq == last
			t.descending = t.descending && seq <= last
		}
		switch {
		case seq > t.high:
			t.high, t.atHigh = seq, 1
		case seq == t.high:
			t.atHigh++
		}
		t.low = min(t.low, seq)
		if seq == p.cursor {
			t.atCursor++
		} else if seq > p.cursor {
			t.above++
		}
		last = seq
	}
	t.descending = t.descending && !t.single
	// As many rows with the cursor's sequence as there were before are the ones
	// from before; so are all those of a page that is asked for again.
	fresh := t.rows - min(t.atCursor, p.atCursor)
	if p.spanning != nil {
		fresh = t.above
	}
	if p.total += fresh; p.total > p.maxUsers {
		return t, p.fail(rolegate.FailureTooLarge, fmt.Errorf("the list has more than Config.MaxUsers, %d records", p.maxUsers))
	}
	return t, nil
}

// mix spreads the bits of an id (splitmix64), so that sums of different ids
// differ.
func mix(n uint64) uint64 {
	n = (n ^ n>>30) * 0xbf58476d1ce4e5b9
	n = (n ^ n>>27) * 0x94d049bb133111eb
	return n ^ n>>31
}
