package rolegatetest

import (
	"encoding/base64"
	"math"
	"net/http"
	"strings"
	"time"
)

// maxForm is how much of a form is read.
const maxForm = 64 << 10

// A CloudRequest is one request that a [CloudCommand] received.
type CloudRequest struct {
	Time   time.Time // when it arrived
	Method string
	Path   string
	Header http.Header // a copy

	// ClientOK is whether the Basic credentials were the ones accepted, and
	// TokenOK whether Blade-Auth had an access token that was.
	ClientOK, TokenOK bool

	// SyncID is the id that was asked about, 0 if it was left out, -1 if it
	// could not be read.
	SyncID int64

	// GrantType and TenantID are those of a request for a token, "" otherwise.
	GrantType, TenantID string

	// Status is the HTTP status that went out, 0 until the answer is complete
	// and if there was none.
	Status int

	forToken, forState bool
}

// AsksForToken reports whether r is a request for a token. As a method
// expression it is a condition for [CloudCommand.FailWhen].
func (r CloudRequest) AsksForToken() bool { return r.forToken }

// AsksForState reports whether r asks how a sync is. As a method expression it
// is a condition for [CloudCommand.FailWhen].
func (r CloudRequest) AsksForState() bool { return r.forState }

// newRequest reads what will be remembered of r.
func (c *CloudCommand) newRequest(r *http.Request) CloudRequest {
	req := CloudRequest{
		Time:     time.Now(),
		Method:   r.Method,
		Path:     r.URL.Path,
		Header:   r.Header.Clone(),
		forToken: r.URL.Path == c.cfg.TokenPath,
		forState: r.URL.Path == c.cfg.Path,
	}
	credentials := base64.StdEncoding.EncodeToString([]byte(c.cfg.ClientID + ":" + c.cfg.ClientSecret))
	req.ClientOK = only(r.Header, "Authorization") == "Basic "+credentials
	token, isBearer := strings.CutPrefix(only(r.Header, "Blade-Auth"), "bearer ")
	req.TokenOK = isBearer && c.accepts(token)
	if req.forToken {
		r.Body = http.MaxBytesReader(nil, r.Body, maxForm)
		_ = r.ParseForm() // what cannot be read is not there
		req.GrantType, req.TenantID = r.PostForm.Get("grant_type"), only(r.Header, "Tenant-Id")
	}
	var ok bool
	if req.SyncID, ok = parseInt(r.URL.Query()["id"], 0, 1, math.MaxInt64); !ok {
		req.SyncID = -1
	}
	return req
}

// only returns the value of a header that came once.
func only(h http.Header, name string) string {
	if len(h.Values(name)) != 1 {
		return ""
	}
	return h.Get(name)
}

// Requests returns the requests so far, oldest first: the last 10,000 of them,
// nil if there were none. Those still being answered are among them. The slice
// is the caller's own; the headers in it are shared, and not to be changed.
func (c *CloudCommand) Requests() []CloudRequest { return c.log.requests() }

// RequestCount returns how many requests there were, of every kind.
func (c *CloudCommand) RequestCount() int { return c.log.total() }

// TokenRequests returns how many requests asked for a token.
func (c *CloudCommand) TokenRequests() int { return c.log.ofNote() }

// ResetRequests forgets all requests so far and counts from zero again. What
// is still being answered is forgotten too.
func (c *CloudCommand) ResetRequests() { c.log.reset() }

// FailNext lets the next n requests meet with f, after those of every FailNext
// before. It goes before [CloudCommand.FailWhen] and [CloudCommand.Fail]. A nil
// f lets n requests through. n of 0 or less does nothing.
func (c *CloudCommand) FailNext(n int, f Fault) { c.faults.failNext(n, f) }

// FailWhen lets every request for which when is true meet with f, until
// [CloudCommand.Recover]. Of several, the one set last decides; all go before
// [CloudCommand.Fail]. A nil f lets such requests through. when is given the
// request as it arrived, without Status, and may be called from several
// goroutines at once.
func (c *CloudCommand) FailWhen(when func(CloudRequest) bool, f Fault) { c.faults.failWhen(when, f) }

// Fail lets every request meet with f, until [CloudCommand.Recover] or another
// Fail.
func (c *CloudCommand) Fail(f Fault) { c.faults.fail(f) }

// Recover ends all faults. Requests that are being answered are not affected.
func (c *CloudCommand) Recover() { c.faults.recover() }

// Start serves the platform on a free port of the loopback interface until tb's
// cleanup, and returns the base URL. Faults that hang end with it. It is not for
// [testing/synctest] bubbles: see [CloudCommand.Transport].
func (c *CloudCommand) Start(tb TB) (baseURL string) {
	tb.Helper()
	return start(tb, c)
}

// Listen is [CloudCommand.Start] for programs. stop closes port and
// connections, waits for the requests in them to end, and may be called more
// than once.
func (c *CloudCommand) Listen() (baseURL string, stop func(), err error) { return listen(c) }

// Client returns an HTTP client for this platform alone: its requests go
// through [CloudCommand.Transport], to whatever host.
func (c *CloudCommand) Client() *http.Client { return &http.Client{Transport: c.Transport()} }

// Transport returns a [http.RoundTripper] that hands each request to the
// platform itself, as [Marketplace.Transport] does.
func (c *CloudCommand) Transport() http.RoundTripper { return transport{c} }
