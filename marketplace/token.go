package marketplace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"
	"unicode"

	"golang.org/x/time/rate"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/retries"
	"github.com/rolegate/rolegate/internal/wire"
)

// A TokenSource has access tokens. How the marketplace gives them out is not
// part of its document of the list, so that the app brings its own way.
type TokenSource interface {
	// Token returns an access token. The client asks for one before its first
	// request, keeps it, and asks again only once the marketplace has refused
	// it: Token must then return another one, not the same from a cache of its
	// own, if there is one to be had.
	//
	// ctx ends after Config.PageTimeout, or when no pull waits for the token
	// any more. A panic is recovered and fails the pull. Token is never called
	// while an earlier call has not returned. An error that has
	// [rolegate.ErrRefused] in its chain says that waiting will not help.
	Token(ctx context.Context) (string, error)
}

// TokenFunc is a function that is a [TokenSource].
type TokenFunc func(ctx context.Context) (string, error)

// Token calls f.
func (f TokenFunc) Token(ctx context.Context) (string, error) { return f(ctx) }

// ExpiringTokenFunc is a function that is a [TokenSource] and says besides when
// the token ends, so that the client asks for another one before that. The zero
// time means that this is not known. With golang.org/x/oauth2:
//
//	marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
//		t, err := source.Token()
//		if err != nil {
//			return "", time.Time{}, err
//		}
//		return t.AccessToken, t.Expiry, nil
//	})
type ExpiringTokenFunc func(ctx context.Context) (token string, expiry time.Time, err error)

// Token calls f, and leaves out when the token ends.
func (f ExpiringTokenFunc) Token(ctx context.Context) (string, error) {
	token, _, err := f(ctx)
	return token, err
}

// StaticToken is a [TokenSource] that always has the same token: for tests and
// for trying something out. When the marketplace refuses it, there is nothing
// to renew, and the pull fails at once.
//
// It prints and marshals as "[redacted]". Package fmt finds that out only for
// exported fields of a struct: do not keep it in an unexported one that is
// printed.
type StaticToken string

// Token returns the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// String returns "[redacted]".
func (StaticToken) String() string { return wire.Redacted }

// GoString returns "[redacted]".
func (StaticToken) GoString() string { return wire.Redacted }

// Format writes "[redacted]", whatever the verb.
func (StaticToken) Format(s fmt.State, _ rune) { wire.FormatRedacted(s) }

// LogValue returns "[redacted]".
func (StaticToken) LogValue() slog.Value { return slog.StringValue(wire.Redacted) }

// MarshalText returns "[redacted]", so that JSON, XML and YAML have nothing
// else.
func (StaticToken) MarshalText() ([]byte, error) { return []byte(wire.Redacted), nil }

func checkToken(t TokenSource) error {
	const mistake = "Config.Token: %s: expected a marketplace.TokenFunc, a StaticToken, or something of your own that has a Token method"
	switch t := t.(type) {
	case nil:
		return fmt.Errorf(mistake, "it is nil")
	case TokenFunc:
		if t == nil {
			return fmt.Errorf(mistake, "it is a nil function")
		}
	case ExpiringTokenFunc:
		if t == nil {
			return fmt.Errorf(mistake, "it is a nil function")
		}
	case StaticToken:
		if strings.TrimSpace(string(t)) == "" {
			return fmt.Errorf(mistake, "it is an empty StaticToken")
		}
		if err := checkTokenText(string(t)); err != nil {
			return fmt.Errorf("Config.Token: the StaticToken %w", err)
		}
	}
	return nil
}

// checkTokenText finds what no token has, and what files and shells put into
// one. Its errors go on from "the token".
func checkTokenText(text string) error {
	const advice = "expected it without them: use strings.TrimSpace on what was read from a file"
	switch {
	case strings.TrimSpace(text) != text && strings.ContainsAny(text, "\r\n"):
		return errors.New("has blanks or line breaks at its ends: " + advice)
	case strings.TrimSpace(text) != text:
		return errors.New("has blanks at its ends: " + advice)
	case strings.ContainsFunc(text, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New("has a line break or another control character in it: expected one line of text")
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return errors.New("has an invisible character in it: expected what can be seen of it alone; a byte order mark comes from a file that an editor on Windows has saved, and others from a web page")
	}
	return nil
}

const (
	// A token is renewed so long before its end, or when a tenth of its life is
	// left if that is less.
	renewBefore = time.Minute

	// One new token in so long, and two at once, may be asked for on suspicion:
	// a marketplace that is down is not to be flooded with logins.
	suspicionEvery, suspicions = 2 * time.Minute, 2
)

// A token is what a source returned.
type token struct {
	text    string
	renewAt time.Time // the zero time, if it is not known when it ends
	expiry  time.Time
}

// An issue is a token and its generation.
type issue = wire.Issue[token]

// tokens keeps the current token, and calls its source for another one.
type tokens struct {
	source    TokenSource
	renewable bool // asking again may give another token
	secrets   *wire.Secrets
	cell      *wire.Cell[token]
	suspicion *rate.Limiter
	given     bool // the source has returned a token before
}

func newTokens(source TokenSource, timeout time.Duration, s *wire.Secrets) *tokens {
	_, static := source.(StaticToken)
	t := &tokens{source: source, renewable: !static, secrets: s}
	t.suspicion = rate.NewLimiter(rate.Every(suspicionEvery), suspicions)
	t.cell = wire.NewCell(timeout, t.ask)
	return t
}

// mayBeToBlame reports whether a new token is to be asked for although nobody
// says that the old one was refused.
func (t *tokens) mayBeToBlame() bool { return t.suspicion.Allow() }

// get returns a token of a generation above refused, the current one if it is
// and does not end soon. It waits for the source until ctx or the timeout ends.
func (t *tokens) get(ctx context.Context, refused uint64) (issue, error) {
	tok, err := t.cell.Get(ctx, refused)
	if err == nil && !tok.Value.renewAt.IsZero() && !time.Now().Before(tok.Value.renewAt) {
		fresh, freshErr := t.cell.Get(ctx, tok.Generation)
		if freshErr == nil || !time.Now().Before(tok.Value.expiry) {
			tok, err = fresh, freshErr
		} // or else the old one will do for a while
	}
	switch {
	case err == nil:
		return tok, nil
	case ctx.Err() != nil:
		return issue{}, interrupted(ctx)
	}
	return issue{}, &rolegate.PullError{
		Failure:   FailureToken,
		Permanent: errors.Is(err, rolegate.ErrRefused),
		Err:       fmt.Errorf("marketplace: access token: %w", err),
	}
}

// ask calls the source once and makes an error of everything that is no token.
func (t *tokens) ask(ctx context.Context, _ token) (tok token, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value's text is left out: it may have a token in it that nobody has
			// told us, or what the token was asked for with.
			tok, err = token{}, fmt.Errorf("the token source panicked with a %T", r)
		}
	}()
	if f, ok := t.source.(ExpiringTokenFunc); ok {
		tok.text, tok.expiry, err = f(ctx)
	} else {
		tok.text, err = t.source.Token(ctx)
	}
	t.secrets.Add(strings.TrimSpace(tok.text))
	switch {
	case err != nil:
		return token{}, t.secrets.Wrap(err)
	case strings.TrimSpace(tok.text) == "":
		return token{}, errors.New("the token source returned an empty token")
	case len(tok.text) > wire.MaxTokenBytes:
		return token{}, fmt.Errorf("the token source returned more than %d bytes, which no URL can carry", wire.MaxTokenBytes)
	}
	if err := checkTokenText(tok.text); err != nil {
		return token{}, fmt.Errorf("the token that the source returned %w", err)
	}
	if !tok.expiry.IsZero() {
		life := time.Until(tok.expiry)
		if life <= 0 {
			return token{}, errors.New("the token source returned a token that has ended already: expected another one, not the same from a cache")
		}
		tok.renewAt = tok.expiry.Add(-min(renewBefore, life/10))
	}
	if t.given {
		retries.Token(ctx)
	}
	t.given = true
	return tok, nil
}
