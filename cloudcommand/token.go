package cloudcommand

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"time"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// defaultTokenType is that of BladeX, for an answer without one.
const defaultTokenType = "bearer"

// A token is what the platform gave out.
type token struct {
	kind    string // token_type
	access  string
	refresh string    // "" if there is none
	renew   time.Time // when it is to be renewed, zero if that is not known
}

// currentToken returns the token there is, or a new one if it is about to
// expire.
func (c *Client) currentToken(ctx context.Context) (wire.Issue[token], error) {
	tok, err := c.newerToken(ctx, 0)
	if err == nil && !tok.Value.renew.IsZero() && !time.Now().Before(tok.Value.renew) {
		return c.newerToken(ctx, tok.Generation)
	}
	return tok, err
}

// newerToken returns a token of a generation above refused.
func (c *Client) newerToken(ctx context.Context, refused uint64) (wire.Issue[token], error) {
	tok, err := c.tokens.Get(ctx, refused)
	if err == nil {
		return tok, nil
	}
	failed := &rolegate.PullError{Failure: wire.FailureToken, Err: err}
	var pe *rolegate.PullError
	if !errors.As(err, &pe) {
		failed.Err = fmt.Errorf("cloudcommand: POST %s: %w", c.tokenWhere, err)
		return tok, failed
	}
	failed.RetryAfter, failed.Err = pe.RetryAfter, pe.Err
	if pe.Failure == rolegate.FailureRefused {
		failed.Failure = rolegate.FailureRefused
	}
	return tok, failed
}

// fetchToken asks for a token: by the refresh token of the last one if that
// gives one, else by the grant.
func (c *Client) fetchToken(ctx context.Context, last token) (tok token, err error) {
	defer func() {
		if r := recover(); r != nil { // the app's transport
			tok, err = token{}, panicked(r)
		}
	}()
	if last.refresh != "" {
		tok, err = c.postToken(ctx, url.Values{"grant_type": {"refresh_token"}, "refresh_token": {last.refresh}})
		if err == nil {
			// RFC 6749 §6: without a new one, the old one goes on.
			tok.refresh = wire.Or(tok.refresh, last.refresh)
			return tok, nil
		}
		if !wasAnswered(err) {
			return tok, err
		}
	}
	return c.postToken(ctx, c.grant())
}

// wasAnswered reports whether the platform did answer, and did not ask to be
// left alone, so that another grant may have a better answer.
func wasAnswered(err error) bool {
	var pe *rolegate.PullError
	if !errors.As(err, &pe) || pe.RetryAfter > 0 {
		return false
	}
	switch pe.Failure {
	case rolegate.FailureRefused, wire.FailureUpstream, wire.FailureMalformed, rolegate.FailureHTTPStatus:
		return true
	}
	return false
}

// postToken sends one request for a token and checks the reply.
func (c *Client) postToken(ctx context.Context, form url.Values) (token, error) {
	form.Set("scope", c.scope)
	form.Set("tenantId", c.tenantID)
	req, err := c.request(ctx, http.MethodPost, c.tokenWhere, form)
	if err != nil {
		return token{}, err
	}
	req.Header.Set("Tenant-Id", c.tenantID)
	asked := time.Now()
	rep, err := c.exchange(req)
	if err != nil {
		return token{}, err
	}
	a, err := parseTokenAnswer(rep.body)
	c.secrets.Add(a.access) // before any text is shown
	c.secrets.Add(a.refresh)
	switch {
	case isRefusal(rep.status) || isRefusal(a.code) || isRefusal(a.errorCode):
		return token{}, rep.fail(rolegate.FailureRefused, fmt.Errorf(
			"%s: the credentials are not accepted: check Config.ClientID, ClientSecret, Username, Password and TenantID",
			c.describeToken(rep.status, a)))
	case rep.status != http.StatusOK:
		return token{}, rep.fail(rolegate.FailureHTTPStatus, errors.New(c.describeToken(rep.status, a)))
	case err != nil:
		return token{}, rep.fail(wire.FailureMalformed, err)
	case a.failed():
		return token{}, rep.fail(wire.FailureUpstream, errors.New(c.describeToken(rep.status, a)))
	}
	tok, err := a.token(asked)
	if err != nil {
		return token{}, rep.fail(wire.FailureMalformed, err)
	}
	return tok, nil
}

// isRefusal reports whether a status or code of the token's address means that
// the credentials are wrong: RFC 6749 §5.2 has 400 and 401 for it, and so has
// BladeX in its bodies.
func isRefusal(code int) bool {
	return code == http.StatusBadRequest || code == http.StatusUnauthorized || code == http.StatusForbidden
}

// A tokenAnswer is an answer of the token's address, in either shape. What has
// two spellings is whichever of them was there.
type tokenAnswer struct {
	envelope
	hasError  bool
	errorCode int    // error_code
	errorWord string // error: not to be shown before Secrets.Message
	errorText string // error_description: nor this

	access, kind, refresh string
	expires               int64 // in seconds, not above 0 if that is not known
}

var (
	tokenKeys = []string{
		"access_token", "token_type", "refresh_token", "expires_in",
		"accessToken", "tokenType", "refreshToken", "expiresIn",
	}
	tokenAnswerKeys = slices.Concat(tokenKeys, envelopeKeys, []string{"error", "error_code", "error_description"})
)

// parseTokenAnswer reads a whole answer. Tokens are returned even with an error,
// if they were read before it.
func parseTokenAnswer(body []byte) (tokenAnswer, error) {
	var a tokenAnswer
	s := wire.NewScanner()
	s.Strictly(body)
	err := s.Object(tokenAnswerKeys, func(key string, v jsontext.Value) error {
		if slices.Contains(tokenKeys, key) {
			return a.setToken(s, key, v)
		}
		return a.set(s, key, v, body)
	})
	if err == nil && len(a.data) > 0 && a.data[0] == '{' {
		inner := wire.NewScanner()
		inner.Strictly(a.data)
		err = inner.Object(tokenKeys, func(key string, v jsontext.Value) error {
			if !slices.Contains(tokenKeys, key) {
				return nil
			}
			return a.setToken(inner, key, v)
		})
	}
	if err != nil {
		return tokenAnswer{access: a.access, refresh: a.refresh}, err
	}
	a.parsed = true
	return a, nil
}

// set takes the value v of a key that is no token's.
func (a *tokenAnswer) set(s *wire.Scanner, key string, v jsontext.Value, body []byte) error {
	switch key {
	case "error_code":
		a.hasError = a.hasError || says(v)
		if n, isInt := s.Int(v); isInt && int64(int32(n)) == n {
			a.errorCode = int(n)
		}
	case "error":
		a.hasError = a.hasError || says(v)
		a.errorWord, _ = s.Text(v)
	case "error_description":
		a.hasError = a.hasError || says(v)
		a.errorText, _ = s.Text(v)
	default:
		return a.envelope.set(s, key, v, body)
	}
	return nil
}

// says reports whether v is something, and not what the framework writes for a
// string that is null.
func says(v jsontext.Value) bool { return v.Kind() != 'n' && string(v) != `""` }

// setToken takes the value v of one of tokenKeys. Its two spellings cannot both
// be there: which one counts would depend on who reads it.
func (a *tokenAnswer) setToken(s *wire.Scanner, key string, v jsontext.Value) error {
	if v.Kind() == 'n' {
		return nil
	}
	var to *string
	switch key {
	case "access_token", "accessToken":
		to = &a.access
	case "token_type", "tokenType":
		to = &a.kind
	case "refresh_token", "refreshToken":
		to = &a.refresh
	default:
		n, ok := s.Int(v)
		if text, isText := s.Text(v); !ok && (!isText || text != "") {
			return fmt.Errorf("%s: expected an integer, as a number or a decimal string", key)
		}
		if a.expires != 0 {
			return fmt.Errorf("%s: expected it once", key)
		}
		a.expires = n
		return nil
	}
	text, ok := s.Text(v)
	switch {
	case !ok:
		return fmt.Errorf("%s: expected a string", key)
	case *to != "":
		return fmt.Errorf("%s: expected it once", key)
	}
	*to = text
	return nil
}

// failed reports whether the answer says that there is no token.
func (a tokenAnswer) failed() bool {
	return a.hasError || (a.hasCode || a.hasSuccess) && !a.ok()
}

// token is the token of an answer to a request that was sent at asked.
func (a tokenAnswer) token(asked time.Time) (token, error) {
	t := token{kind: wire.Or(a.kind, defaultTokenType), access: a.access, refresh: a.refresh}
	switch {
	case t.access == "":
		return token{}, errors.New("the reply has no access_token in it")
	case len(t.access) > wire.MaxTokenBytes || len(t.refresh) > wire.MaxTokenBytes:
		return token{}, fmt.Errorf("the reply has a token of more than %d bytes", wire.MaxTokenBytes)
	case !wire.IsHeaderText(t.access):
		return token{}, errors.New("access_token: expected visible ASCII without blanks, since it is sent as a header")
	case len(t.kind) > 64 || !wire.IsHeaderText(t.kind):
		return token{}, errors.New("token_type: expected a word, since it is sent as a header")
	}
	if a.expires > 0 {
		t.renew = asked.Add(usableFor(a.expires))
	}
	return t, nil
}

// usableFor is how long a token of so many seconds is used: a tenth of them is
// left for the way, 30 seconds at most.
func usableFor(seconds int64) time.Duration {
	const most = int64(365 * 24 * time.Hour / time.Second)
	lives := time.Duration(min(seconds, most)) * time.Second
	return lives - min(lives/10, 30*time.Second)
}

// describeToken says what a reply says of itself, as it may be logged.
func (c *Client) describeToken(status int, a tokenAnswer) string {
	s := fmt.Sprintf("HTTP status %d", status)
	if !a.parsed {
		return s
	}
	if a.hasCode {
		s = c.describe(status, a.envelope)
	}
	if a.errorCode != 0 {
		s += fmt.Sprintf(", error_code %d", a.errorCode)
	}
	if a.errorWord != "" {
		s += fmt.Sprintf(", error “%s”", c.secrets.Message(a.errorWord))
	}
	if a.errorText != "" {
		s += fmt.Sprintf(", error_description “%s”", c.secrets.Message(a.errorText))
	}
	return s
}
