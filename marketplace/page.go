package marketplace

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// maxErrorBytes is how much is read of a reply with another status than 200:
// enough for an envelope.
const maxErrorBytes = 64 << 10

// A fetcher fetches the pages of one call, one at a time, and holds the one
// that it fetched last.
type fetcher struct {
	*Client
	where   string // the URL of the call, without a query
	body    bytes.Buffer
	scanner *scanner
	records *recordDecoder // nil if the pages have other things than records
}

func (c *Client) fetcher(where string) fetcher {
	return fetcher{Client: c, where: where, scanner: newScanner()}
}

// A page is one that the marketplace has answered with success.
type page struct {
	data            []byte    // a raw JSON array, until the next page
	elements        []element // those of data, likewise; none if they have not been read yet
	date            string    // the Date of the reply, as it came
	asked, received time.Time
}

// fetch asks for a page, with a new token if the current one is refused. A
// second refusal is final: were it not, a marketplace that refuses everybody
// would be asked forever. parameters are what the query has besides the token;
// each begins with an ampersand.
func (f *fetcher) fetch(ctx context.Context, parameters string) (page, error) {
	if ctx.Err() != nil {
		return page{}, interrupted(ctx)
	}
	tok, err := f.tokens.get(ctx, 0)
	if err != nil {
		return page{}, err
	}
	p, err := f.send(ctx, tok.Value, parameters)
	if !isRefused(err) || !f.tokens.renewable {
		return p, err
	}
	// Another pull may have renewed it already: then get returns at once.
	fresh, err := f.tokens.get(ctx, tok.Generation)
	if err != nil {
		return page{}, err
	}
	p, err = f.send(ctx, fresh.Value, parameters)
	if isRefused(err) {
		f.tokens.cell.Drop(fresh.Generation)
	}
	return p, err
}

func isRefused(err error) bool {
	var pe *rolegate.PullError
	return errors.As(err, &pe) && pe.Failure == rolegate.FailureRefused
}

// send sends one request and judges the reply, all within the page timeout.
func (f *fetcher) send(ctx context.Context, token, parameters string) (page, error) {
	pageCtx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := f.request(pageCtx, token, parameters)
	if err != nil {
		return page{}, f.fail(rolegate.FailureOther, f.secrets.Wrap(err))
	}
	p := page{asked: time.Now()}

	// RoundTrip, and not an http.Client: it follows no redirect, and wraps no
	// error into one with the URL in it.
	res, err := f.transport.RoundTrip(req)
	if err == nil && (res == nil || res.Body == nil) {
		err = errors.New("the transport returned neither a reply nor an error")
	}
	if err != nil {
		return page{}, f.broken(ctx, pageCtx, err, false)
	}
	defer res.Body.Close()
	p.received = time.Now()
	p.date = res.Header.Get("Date")
	wait := wire.RetryAfter(res.Header, p.received)

	if wire.FromCache(res.Header) {
		return page{}, withRetryAfter(f.fail(rolegate.FailureCachedReply,
			errors.New("the reply has an Age, so that a cache gave it: exempt this URL from the proxy or CDN in between")), wait)
	}
	if res.StatusCode != http.StatusOK {
		return page{}, withRetryAfter(f.statusError(res), wait)
	}
	if enc := strings.TrimSpace(res.Header.Get("Content-Encoding")); enc != "" && !strings.EqualFold(enc, "identity") {
		return page{}, f.fail(rolegate.FailureMalformed, errors.New("the reply has a Content-Encoding that was not asked for"))
	}
	if err := f.read(res.Body, f.maxBytes); err != nil {
		return page{}, f.broken(ctx, pageCtx, err, true)
	}
	if int64(f.body.Len()) > f.maxBytes {
		return page{}, f.fail(rolegate.FailureTooLarge,
			fmt.Errorf("the page is larger than Config.MaxPageBytes, %d bytes: raise it, or lower Config.PageSize for fewer users", f.maxBytes))
	}
	if f.records != nil {
		if list, ok := f.records.quickly(f.body.Bytes()); ok {
			p.data, p.elements = list.data, list.elements
			return p, nil
		}
	}
	e, err := f.scanner.parseEnvelope(f.body.Bytes())
	switch {
	case err != nil:
		return page{}, withRetryAfter(f.fail(rolegate.FailureMalformed, err), wait)
	case !e.ok():
		return page{}, withRetryAfter(f.envelopeError(res.StatusCode, e), wait)
	case e.data == nil:
		return page{}, f.fail(rolegate.FailureMalformed, errors.New("the envelope has no data"))
	case e.data[0] != '[':
		// Not "nobody is authorised": an empty list is [].
		return page{}, f.fail(rolegate.FailureMalformed, errors.New("data: expected an array"))
	}
	p.data = e.data
	return p, nil
}

// request makes the request for one page.
func (f *fetcher) request(ctx context.Context, token, parameters string) (*http.Request, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, f.where, nil)
	if err != nil {
		return nil, err
	}
	q := "accessToken=" + url.QueryEscape(token) + parameters
	if f.buster != "" {
		q += "&" + f.buster + "=" + rand.Text()
	}
	req.URL.RawQuery = q
	req.Header.Set("X-App-Id", f.appID)
	// Nothing in the request says that the answer is for one app alone, so that
	// a cache has no other way to know.
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("Accept", "application/json")
	req.Header.Set("User-Agent", "rolegate")
	return req, nil
}

// read reads body into f.body, up to one byte more than most.
func (f *fetcher) read(body io.Reader, most int64) error {
	f.body.Reset()
	_, err := f.body.ReadFrom(io.LimitReader(body, most+1))
	return err
}

// broken says why a request brought no whole reply; inBody, if the headers
// were there.
func (f *fetcher) broken(ctx, pageCtx context.Context, err error, inBody bool) error {
	switch {
	case ctx.Err() != nil:
		return interrupted(ctx)
	case pageCtx.Err() != nil:
		return f.fail(rolegate.FailureTimeout, fmt.Errorf("no whole page within %v: %w", f.timeout, pageCtx.Err()))
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		return f.fail(rolegate.FailureMalformed, fmt.Errorf("the reply breaks off after %d bytes: %w", f.body.Len(), io.ErrUnexpectedEOF))
	}
	return f.fail(wire.Failure(err, inBody), f.secrets.Wrap(err))
}

// statusError is the error of a reply with another HTTP status than 200. The
// platform puts an envelope into some of them.
func (f *fetcher) statusError(res *http.Response) *rolegate.PullError {
	var e envelope
	if f.read(res.Body, maxErrorBytes) == nil {
		if parsed, err := f.scanner.parseEnvelope(f.body.Bytes()); err == nil {
			e = parsed
		}
	}
	if f.refused(res.StatusCode, e.code) {
		return f.refusedError(res.StatusCode, e)
	}
	return f.fail(rolegate.FailureHTTPStatus, errors.New(f.describe(res.StatusCode, e)))
}

// envelopeError is the error of an envelope that says that the call failed.
func (f *fetcher) envelopeError(status int, e envelope) *rolegate.PullError {
	if f.refused(status, e.code) {
		return f.refusedError(status, e)
	}
	return f.fail(rolegate.FailureUpstream, errors.New(f.describe(status, e)))
}

func (f *fetcher) refusedError(status int, e envelope) *rolegate.PullError {
	err := f.fail(rolegate.FailureRefused, fmt.Errorf(
		"%s: the access token or the app id is not accepted: check Config.AppID, where Config.Token has its tokens from, and that the app is still on sale",
		f.describe(status, e)))
	err.Permanent = !f.tokens.renewable
	return err
}

// describe says what a reply says of itself, as it may be logged.
func (f *fetcher) describe(status int, e envelope) string {
	s := fmt.Sprintf("HTTP status %d", status)
	if e.parsed {
		s += fmt.Sprintf(", code %d", e.code)
	}
	if e.failed {
		s += fmt.Sprintf(", status %q", f.secrets.Message(e.status))
	}
	if e.message != "" {
		s += fmt.Sprintf(", message “%s”", f.secrets.Message(e.message))
	}
	return s
}
