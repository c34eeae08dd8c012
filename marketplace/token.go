package marketplace

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
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
	case StaticToken:
		if strings.TrimSpace(string(t)) == "" {
			return fmt.Errorf(mistake, "it is an empty StaticToken")
		}
		if strings.TrimSpace(string(t)) != string(t) {
			return errors.New("Config.Token: the StaticToken has blanks or line breaks at its ends: expected it without them: use strings.TrimSpace on what was read from a file")
		}
	}
	return nil
}

// tokens keeps the current token, and calls its source for another one.
type tokens struct {
	source    TokenSource
	renewable bool // asking again may give another token
	secrets   *wire.Secrets
	cell      *wire.Cell[string]
}

// A token is what a source returned.
type token = wire.Issue[string]

func newTokens(source TokenSource, timeout time.Duration, s *wire.Secrets) *tokens {
	_, static := source.(StaticToken)
	t := &tokens{source: source, renewable: !static, secrets: s}
	t.cell = wire.NewCell(timeout, t.ask)
	return t
}

// get returns a token of a generation above refused, the current one if it is.
// It waits for the source until ctx or the timeout ends.
func (t *tokens) get(ctx context.Context, refused uint64) (token, error) {
	tok, err := t.cell.Get(ctx, refused)
	switch {
	case err == nil:
		return tok, nil
	case ctx.Err() != nil:
		return token{}, interrupted(ctx)
	}
	return token{}, &rolegate.PullError{Failure: rolegate.FailureToken, Err: fmt.Errorf("marketplace: access token: %w", err)}
}

// ask calls the source once and makes an error of everything that is no token.
func (t *tokens) ask(ctx context.Context, _ string) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			// The value's text is left out: it may have a token in it that nobody has
			// told us, or what the token was asked for with.
			text, err = "", fmt.Errorf("the token source panicked with a %T", r)
		}
	}()
	text, err = t.source.Token(ctx)
	t.secrets.Add(text)
	switch {
	case err != nil:
		return "", t.secrets.Wrap(err)
	case text == "":
		return "", errors.New("the token source returned an empty token")
	case len(text) > wire.MaxTokenBytes:
		return "", fmt.Errorf("the token source returned more than %d bytes, which no URL can carry", wire.MaxTokenBytes)
	}
	return text, nil
}
