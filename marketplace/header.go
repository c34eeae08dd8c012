package marketplace

import (
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// mostRetryAfter bounds what Retry-After can ask for: a mistyped date must not
// silence the client until next year.
const mostRetryAfter = 5 * time.Minute

// retryAfter reads Retry-After (RFC 9110 §10.2.3), in seconds or as a date, and
// returns a duration from 0 to mostRetryAfter; 0 also if it cannot be read. A
// date is compared with the Date of the same reply, so that a clock of ours
// that is wrong does not matter; now stands in for a reply without one.
func retryAfter(h http.Header, now time.Time) time.Duration {
	s := strings.TrimSpace(h.Get("Retry-After"))
	if s == "" {
		return 0
	}
	if strings.Trim(s, "0123456789") == "" {
		// Too many digits for an int64 are a long time as well.
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil || n > int64(mostRetryAfter/time.Second) {
			return mostRetryAfter
		}
		return time.Duration(n) * time.Second
	}
	at, err := http.ParseTime(s)
	if err != nil {
		return 0
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	return min(max(at.Sub(now), 0), mostRetryAfter)
}

// fromCache reports whether a reply says that it was stored for a while: by an
// Age (RFC 9111 §5.1) other than 0, or by one that is no number, which only
// something between us and the marketplace can have written.
func fromCache(h http.Header) bool {
	for _, v := range h.Values("Age") {
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64); err != nil || n != 0 {
			return true
		}
	}
	return false
}

// sameDateFor is for how long two replies may have the same Date, which counts
// seconds: one second, and one more for the way.
const sameDateFor = 2 * time.Second

// A dateGuard knows caches that send no Age, as nginx does not. The request for
// the first page of a walk is the same each time, so that such a cache answers
// it with a page it has stored, and with the Date of that page. An origin's
// Date moves with the clock.
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
