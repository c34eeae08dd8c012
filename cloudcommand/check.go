package cloudcommand

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// CheckSync implements [rolegate.SyncChecker]: it asks once how the sync of
// Config.SyncID or Config.CurrentSyncID is. Text is the platform's message as
// it may be logged, 200 characters of it at most, "" if there is none.
//
// It blocks until it knows, until ctx ends, or for Config.Timeout. It asks for
// a token first if there is none, and once more for another one if that is
// refused.
//
// Every error but that of [Client.Validate] is a [*rolegate.PullError]; with
// errors.Is, [rolegate.ErrRefused] is found in one for credentials or a token
// that the platform does not accept, and [context.DeadlineExceeded] and
// [context.Canceled] in those of a ctx that ended. Its text has no secret or
// personal data in it.
func (c *Client) CheckSync(ctx context.Context) (rolegate.SyncReport, error) {
	if err := c.Validate(); err != nil {
		return rolegate.SyncReport{}, err
	}
	return c.check(ctx, c.syncID)
}

// check asks about one sync, all within the timeout.
func (c *Client) check(ctx context.Context, id func() int64) (report rolegate.SyncReport, err error) {
	defer func() {
		// The app's functions and its transport.
		if r := recover(); r != nil {
			report, err = rolegate.SyncReport{}, panicked(r)
		}
	}()
	within, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	d, err := c.askWithToken(within, id())
	switch {
	case err != nil && ctx.Err() != nil:
		return rolegate.SyncReport{}, interrupted(ctx)
	case err != nil:
		return rolegate.SyncReport{}, err
	}
	report = rolegate.SyncReport{State: c.interpret(d), Text: c.secrets.Message(d.Message)}
	if report.State > rolegate.SyncDone {
		report.State = rolegate.SyncUnknown
	}
	return report, nil
}

// askWithToken asks with a new token if the current one is refused. A second
// refusal is final: were it not, a platform that refuses everybody would be
// asked forever.
func (c *Client) askWithToken(ctx context.Context, id int64) (Data, error) {
	tok, err := c.currentToken(ctx)
	if err != nil {
		return Data{}, err
	}
	d, err := c.ask(ctx, tok.Value, id)
	if !errors.Is(err, rolegate.ErrRefused) {
		return d, err
	}
	// Another check may have renewed it already: then it is there at once.
	fresh, err := c.newerToken(ctx, tok.Generation)
	if err != nil {
		return Data{}, err
	}
	d, err = c.ask(ctx, fresh.Value, id)
	if errors.Is(err, rolegate.ErrRefused) {
		c.tokens.Drop(fresh.Generation)
	}
	return d, err
}

// ask sends one request and checks the reply.
func (c *Client) ask(ctx context.Context, tok token, id int64) (Data, error) {
	req, err := c.request(ctx, http.MethodGet, c.where, nil)
	if err != nil {
		return Data{}, err
	}
	if id > 0 {
		req.URL.RawQuery = "id=" + strconv.FormatInt(id, 10)
	}
	req.Header.Set("Blade-Auth", tok.kind+" "+tok.access)
	rep, err := c.exchange(req)
	if err != nil {
		return Data{}, err
	}
	e, envelopeErr := parseEnvelope(rep.body)
	d, appKey, dataErr := parseData(e.data)
	c.secrets.Add(appKey) // before any text is shown
	switch {
	case c.refused(rep.status, e.code):
		return Data{}, rep.fail(rolegate.FailureRefused, fmt.Errorf(
			"%s: the token is not accepted, or the role of its user is too small: check Config.ClientID, the user and the user's rights on the platform",
			c.describe(rep.status, e)))
	case rep.status != http.StatusOK:
		return Data{}, rep.fail(rolegate.FailureHTTPStatus, errors.New(c.describe(rep.status, e)))
	case envelopeErr != nil:
		return Data{}, rep.fail(wire.FailureMalformed, envelopeErr)
	case !e.ok():
		return Data{}, rep.fail(wire.FailureUpstream, errors.New(c.describe(rep.status, e)))
	case dataErr != nil:
		return Data{}, rep.fail(wire.FailureMalformed, dataErr)
	}
	return d, nil
}

// describe says what a reply says of itself, as it may be logged.
func (c *Client) describe(status int, e envelope) string {
	s := fmt.Sprintf("HTTP status %d", status)
	if !e.parsed {
		return s
	}
	s += fmt.Sprintf(", code %d", e.code)
	if e.hasSuccess {
		s += fmt.Sprintf(", success %t", e.success)
	}
	if e.msg != "" {
		s += fmt.Sprintf(", msg “%s”", c.secrets.Message(e.msg))
	}
	return s
}
