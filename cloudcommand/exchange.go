package cloudcommand

import (
	"context"
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

// request makes a request with what all have in common. A form makes it one
// with a body.
func (c *Client) request(ctx context.Context, method, where string, form url.Values) (*http.Request, error) {
	var body io.Reader
	if form != nil {
		body = strings.NewReader(form.Encode())
	}
	req, err := http.NewRequestWithContext(ctx, method, where, body)
	if err != nil {
		return nil, fail(rolegate.FailureOther, method, where, c.secrets.Wrap(err))
	}
	if form != nil {
		req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	c.authorize(req.Header)
	req.Header.Set("Accept", "application/json")
	req.Header.Set("Cache-Control", "no-cache")
	req.Header.Set("User-Agent", "rolegate")
	return req, nil
}

// A reply is one that was received whole, or one that has another status than
// 200 and as much of a body as there was.
type reply struct {
	request *http.Request
	status  int
	body    []byte
	wait    time.Duration // its Retry-After
}

// exchange sends one request and reads the reply.
func (c *Client) exchange(req *http.Request) (reply, error) {
	rep := reply{request: req}
	// RoundTrip, and not an http.Client: it follows no redirect, and wraps no
	// error into one with the URL in it.
	res, err := c.transport.RoundTrip(req)
	if err == nil && (res == nil || res.Body == nil) {
		err = errors.New("the transport returned neither a reply nor an error")
	}
	if err != nil {
		return rep, c.broken(rep, err, false)
	}
	defer res.Body.Close()
	rep.status = res.StatusCode
	rep.wait = wire.RetryAfter(res.Header, time.Now())
	if wire.FromCache(res.Header) {
		return rep, rep.fail(wire.FailureCachedReply,
			errors.New("the reply has an Age, so that a cache gave it: exempt this URL from the proxy or CDN in between"))
	}
	if rep.status != http.StatusOK {
		// Whatever there is of it: the status says enough.
		rep.body, _ = io.ReadAll(io.LimitReader(res.Body, min(c.maxBytes, maxErrorBytes)))
		return rep, nil
	}
	if enc := strings.TrimSpace(res.Header.Get("Content-Encoding")); enc != "" && !strings.EqualFold(enc, "identity") {
		return rep, rep.fail(wire.FailureMalformed, errors.New("the reply has a Content-Encoding that was not asked for"))
	}
	rep.body, err = io.ReadAll(io.LimitReader(res.Body, c.maxBytes+1))
	switch {
	case err != nil:
		return rep, c.broken(rep, err, true)
	case int64(len(rep.body)) > c.maxBytes:
		return rep, rep.fail(rolegate.FailureTooLarge, fmt.Errorf("the reply is larger than Config.MaxBytes, %d bytes", c.maxBytes))
	}
	return rep, nil
}

// broken says why a request brought no whole reply; inBody, if the headers
// were there.
func (c *Client) broken(rep reply, err error, inBody bool) error {
	ended := rep.request.Context().Err()
	switch {
	case ended != nil:
		return rep.fail(rolegate.FailureTimeout, fmt.Errorf("no whole reply within %v: %w", c.timeout, ended))
	case inBody && errors.Is(err, io.ErrUnexpectedEOF):
		return rep.fail(wire.FailureMalformed, fmt.Errorf("the reply breaks off after %d bytes", len(rep.body)))
	}
	return rep.fail(wire.Failure(err, inBody), c.secrets.Wrap(err))
}

// fail is the error of a request: the reason, and where it happened.
func fail(f rolegate.Failure, method, where string, err error) *rolegate.PullError {
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("cloudcommand: %s %s: %w", method, where, err)}
}

// fail is the error of a reply, and how long it asks to be left alone.
func (r reply) fail(f rolegate.Failure, err error) error {
	where := *r.request.URL
	where.RawQuery = ""
	e := fail(f, r.request.Method, where.String(), err)
	e.RetryAfter = r.wait
	return e
}

// interrupted is the error of a check whose ctx is over.
func interrupted(ctx context.Context) error {
	f := rolegate.FailureOther
	if errors.Is(ctx.Err(), context.DeadlineExceeded) {
		f = rolegate.FailureTimeout
	}
	return &rolegate.PullError{Failure: f, Err: fmt.Errorf("cloudcommand: the check was ended by its caller: %w", ctx.Err())}
}

// panicked is the error of a check in which something of the app panicked. The
// value's text is left out: nobody knows what is in it.
func panicked(r any) error {
	return &rolegate.PullError{Failure: rolegate.FailurePanic, Err: fmt.Errorf("cloudcommand: a panic with a %T", r)}
}
