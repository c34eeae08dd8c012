package marketplace

import (
	"errors"
	"sync"
	"time"
)

// sameDateFor is for how long two replies may have the same Date, which counts
// seconds: one second, and one more for the way.
const sameDateFor = 2 * time.Second

// A dateGuard knows caches that send no Age and pass on the Date that they have
// stored. If the request for the first page of a full refresh is the same as that of an
// earlier one (see Config.PageSize), such a cache answers it with a page it has
// stored, and with the Date of that page. An origin's Date moves with the clock.
// nginx it does not know: that sends no Age, and the Date of the moment.
//
// It remembers several, since a client may be handed to several such caches in
// turn.
type dateGuard struct {
	mu   sync.Mutex
	seen [8]struct {
		after int64
		date  string
		at    time.Time
	}
	next int
}

// repeats reports whether date is that of an earlier reply to the same request
// that had been received at least sameDateFor before this one was asked for.
// asked and received must carry a monotonic clock reading: the wall clock may
// be set while we look.
func (g *dateGuard) repeats(after int64, date string, asked, received time.Time) bool {
	if date == "" {
		return false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	for _, s := range g.seen {
		if s.date == date && s.after == after {
			return asked.Sub(s.at) >= sameDateFor
		}
	}
	s := &g.seen[g.next%len(g.seen)]
	g.next++
	s.after, s.date, s.at = after, date, received
	return false
}

// ownDate returns an error if a page has the Date of an earlier one that guard
// has seen.
func (f *fetcher) ownDate(guard *dateGuard, after int64, p reply) error {
	if !guard.repeats(after, p.date, p.asked, p.received) {
		return nil
	}
	return f.fail(FailureCachedReply,
		errors.New("the reply has the Date of an earlier one, so that a cache gave it: exempt this URL from the proxy or CDN in between"))
}
