package rolegatetest

import (
	"fmt"
	"io"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"
)

// A Fault answers a request in place of a [Marketplace] or a [CloudCommand], well
// or badly. normal is the fake as it would have answered; a fault may call it once, with
// r or a copy of it, or not at all. It must return soon after r.Context() ends,
// and may be called from several goroutines at once. panic(http.ErrAbortHandler)
// breaks the connection.
type Fault func(w http.ResponseWriter, r *http.Request, normal http.Handler)

// FailNext lets the next n requests meet with f, after those of every FailNext
// before. It goes before [Marketplace.FailWhen] and [Marketplace.Fail]. A nil f
// lets n requests through. n of 0 or less does nothing.
func (m *Marketplace) FailNext(n int, f Fault) {
	m.faults.failNext(n, f)
}

// FailWhen lets every request for which when is true meet with f, until
// [Marketplace.Recover]. Of several, the one set last decides; all go before
// [Marketplace.Fail]. A nil f lets such requests through. when is given the
// request as it arrived, without Status and Rows, and may be called from several
// goroutines at once.
func (m *Marketplace) FailWhen(when func(Request) bool, f Fault) {
	m.faults.failWhen(when, f)
}

// Fail lets every request meet with f, until [Marketplace.Recover] or another
// Fail.
func (m *Marketplace) Fail(f Fault) { m.faults.fail(f) }

// Recover ends all faults. Requests that are being answered are not affected.
// [Marketplace.Raw] stays.
func (m *Marketplace) Recover() { m.faults.recover() }

// faults are those that are set for requests that are described by an R.
type faults[R any] struct {
	mu     sync.Mutex
	next   []countedFault
	when   []conditionalFault[R]
	always Fault
}

type countedFault struct {
	n     int
	fault Fault
}

type conditionalFault[R any] struct {
	when  func(R) bool
	fault Fault
}

func (f *faults[R]) failNext(n int, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if n > 0 {
		f.next = append(f.next, countedFault{n, fault})
	}
}

func (f *faults[R]) failWhen(when func(R) bool, fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// A new slice each time: pick reads the old one without the lock.
	f.when = append([]conditionalFault[R]{{when, fault}}, f.when...)
}

func (f *faults[R]) fail(fault Fault) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.always = fault
}

func (f *faults[R]) recover() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.next, f.when, f.always = nil, nil, nil
}

// pick returns the fault that r meets with, nil for none.
func (f *faults[R]) pick(r R) Fault {
	f.mu.Lock()
	if len(f.next) > 0 {
		defer f.mu.Unlock()
		fault := f.next[0].fault
		if f.next[0].n--; f.next[0].n == 0 {
			f.next = f.next[1:]
		}
		return fault
	}
	when, always := f.when, f.always
	f.mu.Unlock() // a condition may ask the fake something
	for _, c := range when {
		if c.when(r) {
			return c.fault
		}
	}
	return always
}

// ErrorEnvelope answers HTTP 200 with the documented error envelope. Note that
// its data is an object, where success has a list.
func ErrorEnvelope(code int, message string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeError(w, http.StatusOK, code, message)
	}
}

// HTTPStatus answers an HTTP status, with headers given as name, value, name,
// value, and an error envelope for a body. An odd number of headers panics.
//
//	rolegatetest.HTTPStatus(503, "Retry-After", "7")
func HTTPStatus(status int, headers ...string) Fault {
	if len(headers)%2 != 0 {
		panic("rolegatetest: HTTPStatus: a header without a value")
	}
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		for i := 0; i < len(headers); i += 2 {
			w.Header().Add(headers[i], headers[i+1])
		}
		if status == http.StatusNoContent || status == http.StatusNotModified {
			w.WriteHeader(status) // these have no body
			return
		}
		writeError(w, status, status, http.StatusText(status))
	}
}

// Body answers HTTP 200, labelled as JSON, with body as it stands.
func Body(body string) Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		writeJSON(w, http.StatusOK, []byte(body))
	}
}

// EmptyBody answers HTTP 200 with nothing.
func EmptyBody() Fault { return Body("") }

// EmptyData answers success with {} where the list belongs: "not known", which
// is not "nobody".
func EmptyData() Fault {
	return Body(`{"code":200,"status":"success","message":"请求成功","data":{}}`)
}

// Garbage answers HTTP 200 with bytes that are not JSON, nor text.
func Garbage() Fault { return Body("\x00\xff\xfe{\"code\":200\x80]]}\x1f\x8b") }

// HTMLPage answers HTTP 200 with a page for people, as a login portal does that
// stands in the way.
func HTMLPage() Fault {
	return func(w http.ResponseWriter, _ *http.Request, _ http.Handler) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, "<!DOCTYPE html>\n<html><head><title>登录</title></head><body>请先登录</body></html>\n")
	}
}

// RefuseToken refuses the access token although it is right, in the way that the
// [MarketplaceConfig] or [CloudCommandConfig] says. Requests for a token are
// answered.
func RefuseToken() Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		normal.ServeHTTP(w, spoil(r, spoilt{refuse: true}))
	}
}

// DropRows drops every user of the list after the first n, and calls that a
// success: an upstream in the middle of its own import. The n are those with
// the lowest sequences of the whole list, not of a page.
func DropRows(n int) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		normal.ServeHTTP(w, spoil(r, spoilt{cut: true, keep: max(n, 0)}))
	}
}

// StuckPage answers every request with the first page of the list, whatever
// sequence is asked for: rows that the client has had already, as after a
// restored backup. The page is full if the list has enough users.
func StuckPage() Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		first := r.Clone(r.Context())
		query := first.URL.Query()
		query.Set("lastSequence", "0")
		first.URL.RawQuery = query.Encode()
		normal.ServeHTTP(w, first)
	}
}

// NoProgress answers every request with a full page of made-up users that all
// have the very sequence asked for (1 if that is 0): a cursor that never moves
// on.
func NoProgress() Fault {
	return invented(func(after, _ int64) int64 { return max(after, 1) })
}

// Endless answers every request with a full page of made-up users whose
// sequences follow on the one asked for: a list without an end.
func Endless() Fault {
	return invented(func(after, nth int64) int64 { return after + nth })
}

// invented answers with full pages of users whose ids follow on the sequence
// asked for, and who have no roles.
func invented(sequence func(after, nth int64) int64) Fault {
	packed := pack(&User{})
	return func(w http.ResponseWriter, r *http.Request, _ http.Handler) {
		q := parseQuery(r)
		after, limit := max(q.after, 0), min(max(q.limit, 1), maxLimit)
		var e encoder
		for nth := int64(1); nth <= limit; nth++ {
			e.rows = append(e.rows, row{sequence: sequence(after, nth), id: after + nth, packed: packed})
		}
		e.page(nil)
		writeJSON(w, http.StatusOK, e.buf)
	}
}

// CachedReply answers as usual, and says that a cache has had the answer for
// so long, in whole seconds.
func CachedReply(age time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		w.Header().Set("Age", strconv.FormatInt(int64(age/time.Second), 10))
		w.Header().Set("X-Cache", "HIT")
		normal.ServeHTTP(w, r)
	}
}

// Hang answers nothing until the client gives up.
func Hang() Fault {
	return func(_ http.ResponseWriter, r *http.Request, _ http.Handler) {
		<-r.Context().Done()
	}
}

// Reset breaks the connection before anything was answered.
func Reset() Fault {
	return func(http.ResponseWriter, *http.Request, http.Handler) {
		panic(http.ErrAbortHandler)
	}
}

// Slow reads the page at once and sends it after perPage: what arrives is as
// old as that. [MarketplaceConfig].Latency is the other half of a slow line, on
// which requests arrive late.
func Slow(perPage time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		if wait(r.Context(), perPage) == nil {
			page.sendHeader(w)
			_, _ = w.Write(page.body.Bytes())
		}
	}
}

// Drip sends a page byte by byte, with a pause of every before each. Through
// [Marketplace.Transport], where answers arrive whole, it is a slow answer.
func Drip(every time.Duration) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		page.sendHeader(w)
		for b := range page.body.Len() {
			flush(w)
			if wait(r.Context(), every) != nil {
				return
			}
			_, _ = w.Write(page.body.Bytes()[b : b+1])
		}
	}
}

// Truncated breaks the connection in the middle of a page whose length was
// announced.
func Truncated() Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		page.sendHeader(w)
		_, _ = w.Write(page.half())
		flush(w)
		panic(http.ErrAbortHandler)
	}
}

// Unterminated ends a page in its middle with no length announced, so that
// nothing but the JSON shows that there was more.
func Unterminated() Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		page.header.Del("Content-Length")
		page.header.Set("Connection", "close")
		page.header.Set("Transfer-Encoding", "identity") // or net/http would send chunks, which have an end
		page.sendHeader(w)
		_, _ = w.Write(page.half())
	}
}

// Trailing answers as usual, with extra after the page.
func Trailing(extra string) Fault {
	return func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		page := takePage(r, normal)
		page.header.Set("Content-Length", strconv.Itoa(page.body.Len()+len(extra)))
		page.sendHeader(w)
		_, _ = fmt.Fprintf(w, "%s%s", page.body.Bytes(), extra)
	}
}

// takePage runs normal and keeps what it answers.
func takePage(r *http.Request, normal http.Handler) *capture {
	c := newCapture()
	normal.ServeHTTP(c, r)
	c.WriteHeader(http.StatusOK) // unless it has said otherwise
	return c
}

// sendHeader passes on status and header.
func (c *capture) sendHeader(w http.ResponseWriter) {
	maps.Copy(w.Header(), c.header)
	w.WriteHeader(c.status)
}

func (c *capture) half() []byte { return c.body.Bytes()[:c.body.Len()/2] }

// flush sends what has been written so far, where that is possible.
func flush(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() }
