package rolegatetest

import (
	"net/http"
	"sync"
	"time"
)

// maxRequests is how many requests a fake remembers.
const maxRequests = 10_000

// A Request is one request that a [Marketplace] received.
type Request struct {
	Time   time.Time // when it arrived
	Method string
	Path   string
	Header http.Header // a copy

	// AppID is the X-App-Id, and TokenOK whether the accessToken was the one
	// accepted. The token itself is not kept.
	AppID   string
	TokenOK bool

	// After is the lastSequence that was asked for, 0 if it was left out, and
	// Limit is the limit, 1000 if it was left out. Each is -1 if it could not
	// be read.
	After, Limit int64

	// Status is the HTTP status that went out, and Rows the number of users, or
	// roles, that there were for this page, before a [Fault] spoilt it. Both
	// are 0 until the answer is complete, and Status stays 0 if there was none.
	Status, Rows int

	listed bool // the path is that of the list of users
}

// BeginsFullRefresh reports whether r asks for the list from its start. As a method
// expression it is a condition for [Marketplace.FailWhen].
func (r Request) BeginsFullRefresh() bool { return r.listed && r.After == 0 }

// GoesOn reports whether r asks for what came after some sequence: an
// incremental refresh, or the second and later pages of a full refresh. As a method
// expression it is a condition for [Marketplace.FailWhen].
func (r Request) GoesOn() bool { return r.listed && r.After > 0 }

// newRequest reads what will be remembered of r.
func newRequest(r *http.Request, path, token string) Request {
	q := parseQuery(r)
	return Request{
		Time:    time.Now(),
		Method:  r.Method,
		Path:    r.URL.Path,
		Header:  r.Header.Clone(),
		AppID:   r.Header.Get("X-App-Id"),
		TokenOK: q.token != "" && q.token == token,
		After:   q.after,
		Limit:   q.limit,
		listed:  r.URL.Path == path,
	}
}

// Requests returns the requests so far, oldest first: the last 10,000 of them,
// nil if there were none. Those still being answered are among them. The slice
// is the caller's own; the headers in it are shared, and not to be changed.
func (m *Marketplace) Requests() []Request { return m.log.requests() }

// RequestCount returns how many requests there were, of every kind.
func (m *Marketplace) RequestCount() int { return m.log.total() }

// FullRefreshes returns how many full refreshes were begun: requests for the list from
// its start. A first page that is asked for twice counts twice.
func (m *Marketplace) FullRefreshes() int { return m.log.ofNote() }

// ResetRequests forgets all requests so far and counts from zero again. What
// is still being answered is forgotten too.
func (m *Marketplace) ResetRequests() { m.log.reset() }

// requestLog is a ring of the last requests, which are described by an R. Those
// of one kind, that matter to tests, are counted apart.
type requestLog[R any] struct {
	mu    sync.Mutex
	ring  []R // number n is at (n-first) % maxRequests
	first int // the number of the first request since the last reset
	count int // the number of the next request
	noted int
}

// begin notes a request as it arrives and returns its number.
func (l *requestLog[R]) begin(r R, ofNote bool) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	number := l.count
	l.count++
	if ofNote {
		l.noted++
	}
	if len(l.ring) < maxRequests {
		l.ring = append(l.ring, r)
	} else {
		l.ring[(number-l.first)%maxRequests] = r
	}
	return number
}

// finish lets note add how a request was answered, if it is remembered still.
func (l *requestLog[R]) finish(number int, note func(*R)) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if number < l.first || number < l.count-maxRequests {
		return
	}
	note(&l.ring[(number-l.first)%maxRequests])
}

func (l *requestLog[R]) total() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.count - l.first
}

func (l *requestLog[R]) ofNote() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.noted
}

func (l *requestLog[R]) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.ring, l.first, l.noted = nil, l.count, 0
}

func (l *requestLog[R]) requests() []R {
	l.mu.Lock()
	defer l.mu.Unlock()
	oldest := 0
	if len(l.ring) == maxRequests {
		oldest = (l.count - l.first) % maxRequests
	}
	return append(append([]R(nil), l.ring[oldest:]...), l.ring[:oldest]...)
}
