package wire

import (
	"net/http"
	"strconv"
	"strings"
	"time"
)

// mostRetryAfter bounds what Retry-After can ask for: a mistyped date must not
// silence the client until next year.
const mostRetryAfter = 5 * time.Minute

// RetryAfter reads Retry-After (RFC 9110 §10.2.3), in seconds or as a date, and
// returns a duration from 0 to mostRetryAfter; 0 also if it cannot be read. A
// date is compared with the Date of the same reply, so that a clock of ours
// that is wrong does not matter; now stands in for a reply without one.
func RetryAfter(h http.Header, now time.Time) time.Duration {
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

// FromCache reports whether a reply says that it was stored for a while: by an
// Age (RFC 9111 §5.1) other than 0, or by one that is no number, which only
// something between us and the upstream can have written.
func FromCache(h http.Header) bool {
	for _, v := range h.Values("Age") {
		if n, err := strconv.ParseUint(strings.TrimSpace(v), 10, 64); err != nil || n != 0 {
			return true
		}
	}
	return false
}
