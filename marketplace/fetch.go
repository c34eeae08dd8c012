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
	"github.com/rolegate/rolegate/internal/retries"
	"github.com/rolegate/rolegate/internal/wire"
)

// maxErrorBytes is how much is read of a reply with another status than 200:
// enough for an envelope.
const maxErrorBytes = 64 << 10

var errNoArray = errors.New("data: expected an array")

// A fetcher fetches the pages of one call, one at a time, and holds the one
// that it fetched last.
type fetcher struct {
	*Client
	where   string // the URL of the call, without a query
	body    bytes.Buffer
	decoder *decoder
	decode  func(body []byte) (envelope, error)
}

func (c *Client) fetcher(where string) fetcher {
	f := fetcher{Client: c, where: where, decoder: newDecoder()}
	f.decode = f.decoder.page
	return f
}

// A reply is a page that the marketplace has answered with success.
type reply struct {
	data            dataKind
	date            string // its Date, as it came
	asked, received time.Time
}

// fetch asks for a page until it is there, as long as that makes sense: see
// attempts. parameters are what the query has besides the token; each begins
// with an ampersand. patient says that much would be lost with this page.
func (f *fetcher) fetch(ctx context.Context, parameters string, patient bool) (reply, error) {
	a := attempts{Client: f.Client, patient: patient}
	for {
		if ctx.Err() != nil {
			return reply{}, interrupted(ctx)
		}
		tok, err := f.tokens.get(ctx, a.refused)
		if err != nil {
			return reply{}, err
		}
		if err := f.pacer.wait(ctx); err != nil {
			return reply{}, interrupted(ctx)
		}
		r, t := f.send(ctx, tok.Value.text, parameters)
		if t == nil {
			f.pacer.accepted()
			return r, nil
		}
		if err := a.again(ctx, t, tok); err != nil {
			return reply{}, err
		}
		retries.Page(ctx)
	}
}

// send sends one request and checks the reply, all within the page timeout.
func (f *fetcher) send(ctx context.Context, token, parameters string) (reply, *trouble) {
	pageCtx, cancel := context.WithTimeout(ctx, f.timeout)
	defer cancel()
	req, err := f.request(pageCtx, token, parameters)
	if err != nil {
		return reply{}, f.trouble(noRemedy, rolegate.FailureOther, f.secrets.Wrap(err))
	}
	r := reply{asked: time.Now()}

	// RoundTrip, and not an http.Client: it follows no redirect, and wraps no
	// error into one with the URL in it.
	res, err := f.transport.RoundTrip(req)
	if err == nil && (res == nil || res.Body == nil) {
		err = errors.New("the transport returned neither a reply nor an error")
	}
	if err != nil {
		return reply{}, f.broken(ctx, pageCtx, err, false)
	}
	defer res.Body.Close()
	r.received = time.Now()
	r.date = res.Header.Get("Date")
	wait := wire.RetryAfter(res.Header, r.received)

	if wire.FromCache(res.Header) {
		t := f.trouble(noRemedy, FailureCachedReply, errors.New("the reply has an Age, so that a cache gave it: exempt this URL from the proxy or CDN in between"))
		t.RetryAfter = wait
		return reply{}, t
	}
	if res.StatusCode != http.StatusOK {
		t := f.statusError(res)
		t.RetryAfter = wait
		return reply{}, t
	}
	if enc := strings.TrimSpace(res.Header.Get("Content-Encoding")); enc != "" && !strings.EqualFold(enc, "identity") {
		return reply{}, f.trouble(noRemedy, FailureMalformed, errors.New("the reply has a Content-Encoding that was not asked for"))
	}
	if err := f.read(res.Body, f.maxBytes); err != nil {
		return reply{}, f.broken(ctx, pageCtx, err, true)
	}
	if int64(f.body.Len()) > f.maxBytes {
		return reply{}, f.trouble(noRemedy, rolegate.FailureTooLarge,
			fmt.Errorf("the page is larger than Config.MaxPageBytes, %d bytes: raise it, or lower Config.PageSize for fewer users", f.maxBytes))
	}
	e, err := f.decode(f.body.Bytes())
	switch {
	case err != nil:
		t := f.trouble(f.remedyForMalformed(res), FailureMalformed, err)
		t.RetryAfter = wait
		return reply{}, t
	case !e.ok():
		t := f.envelopeError(res.StatusCode, e)
		t.RetryAfter = wait
		return reply{}, t
	case e.data == noData:
		return reply{}, f.trouble(noRemedy, FailureMalformed, errors.New("the envelope has no data"))
	case e.data == dataOther:
		return reply{}, f.trouble(noRemedy, FailureMalformed, errNoArray)
	}
	r.data = e.data
	return r, nil
}

// remedyForMalformed tells a login page, and a reply that was cut, from other
// things that are no list.
func (f *fetcher) remedyForMalformed(res *http.Response) remedy {
	body := bytes.TrimLeft(f.body.Bytes(), " \t\r\n")
	switch {
	case bytes.HasPrefix(body, []byte("<")), strings.Contains(res.Header.Get("Content-Type"), "html"):
		return perhapsNewToken
	case bytes.HasPrefix(body, []byte("{")) && !bytes.HasSuffix(bytes.TrimRight(body, " \t\r\n"), []byte("}")):
		return askAgain // it breaks off
	}
	return noRemedy
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
func (f *fetcher) broken(ctx, pageCtx context.Context, err error, inBody bool) *trouble {
	// A connection that hangs or was reset may be a dead one that is still
	// taken for alive.
	f.CloseIdleConnections()
	switch {
	case ctx.Err() != nil:
		return &trouble{interrupted(ctx), noRemedy}
	case pageCtx.Err() != nil:
		return f.trouble(askAgain, rolegate.FailureTimeout, fmt.Errorf("no whole page within %v: %w", f.timeout, pageCtx.Err()))
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		return f.trouble(askAgain, FailureMalformed, fmt.Errorf("the reply breaks off after %d bytes: %w", f.body.Len(), io.ErrUnexpectedEOF))
	}
	failure, remedy := wire.Failure(err, inBody), askAgain
	if failure == FailureMalformed {
		remedy = noRemedy
	}
	return f.trouble(remedy, failure, f.secrets.Wrap(err))
}

// statusError is the trouble of a reply with another HTTP status than 200. The
// platform puts an envelope into some of them.
func (f *fetcher) statusError(res *http.Response) *trouble {
	var e envelope
	if f.read(res.Body, maxErrorBytes) == nil {
		if parsed, err := f.decoder.parseEnvelope(f.body.Bytes(), f.decoder.SkipValue); err == nil {
			e = parsed
		}
	}
	status := res.StatusCode
	if f.refused(status, e.code) {
		return f.refusedError(status, e)
	}
	remedy := noRemedy
	switch {
	case status == http.StatusTooManyRequests:
		remedy = askSlower
	case status == http.StatusBadGateway, status == http.StatusServiceUnavailable, status == http.StatusGatewayTimeout:
		remedy = askAgain
	case status >= 300 && status < 500, e.parsed && !e.ok():
		remedy = perhapsNewToken
	}
	return f.trouble(remedy, rolegate.FailureHTTPStatus, errors.New(f.describe(status, e)))
}

// envelopeError is the trouble of an envelope that says that the call failed.
func (f *fetcher) envelopeError(status int, e envelope) *trouble {
	if f.refused(status, e.code) {
		return f.refusedError(status, e)
	}
	return f.trouble(perhapsNewToken, FailureUpstream, errors.New(f.describe(status, e)))
}

func (f *fetcher) refusedError(status int, e envelope) *trouble {
	t := f.trouble(newToken, rolegate.FailureRefused, fmt.Errorf(
		"%s: the access token or the app id is not accepted: check Config.AppID, where Config.Token has its tokens from, and that the app is still on sale",
		f.describe(status, e)))
	t.Permanent = !f.tokens.renewable
	return t
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
