package marketplace

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
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

const redacted = "[redacted]"

// Token returns the token.
func (t StaticToken) Token(context.Context) (string, error) { return string(t), nil }

// String returns "[redacted]".
func (StaticToken) String() string { return redacted }

// GoString returns "[redacted]".
func (StaticToken) GoString() string { return redacted }

// Format writes "[redacted]", whatever the verb.
func (StaticToken) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, redacted) }

// LogValue returns "[redacted]".
func (StaticToken) LogValue() slog.Value { return slog.StringValue(redacted) }

// MarshalText returns "[redacted]", so that JSON, XML and YAML have nothing
// else.
func (StaticToken) MarshalText() ([]byte, error) { return []byte(redacted), nil }

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

// A token is what a source returned. Its generation tells it from the one
// before, also if both read the same.
type token struct {
	text       string
	generation uint64
}

// tokens keeps the current token, and calls its source for another one: at
// most one call at a time, however many wait, and however long it hangs.
type tokens struct {
	source    TokenSource
	renewable bool // asking again may give another token
	timeout   time.Duration
	secrets   *secrets

	mu      sync.Mutex
	current token
	issued  uint64 // the highest generation
	call    *tokenCall
}

// A tokenCall is one call of the source, under way.
type tokenCall struct {
	done      chan struct{} // closed when the fields below stand
	cancel    context.CancelFunc
	waiters   int
	abandoned bool // nobody waits any more: it was cancelled
	token     token
	err       error
}

func newTokens(source TokenSource, timeout time.Duration, s *secrets) *tokens {
	_, static := source.(StaticToken)
	return &tokens{source: source, renewable: !static, timeout: timeout, secrets: s}
}

// get returns a token of a generation above refused, the current one if it is.
// It waits for the source until ctx or t.timeout ends.
func (t *tokens) get(ctx context.Context, refused uint64) (token, error) {
	wait, cancel := context.WithTimeout(ctx, t.timeout)
	defer cancel()
	for {
		t.mu.Lock()
		if t.current.generation > refused {
			defer t.mu.Unlock()
			return t.current, nil
		}
		if t.call == nil {
			t.start(ctx)
		}
		call, joined := t.call, !t.call.abandoned
		if joined {
			call.waiters++
		}
		t.mu.Unlock()

		select {
		case <-call.done:
			if joined {
				return call.token, call.err
			}
			// A call that was cancelled before we came is over: ask anew.
		case <-wait.Done():
			if joined {
				t.leave(call)
			}
			if ctx.Err() != nil {
				return token{}, interrupted(ctx)
			}
			return token{}, tokenError(fmt.Errorf("no token within %v: %w", t.timeout, wait.Err()))
		}
	}
}

// start calls the source. t.mu is held. The call belongs to all who wait for
// it, so that it does not end with ctx, which belongs to the first of them.
func (t *tokens) start(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), t.timeout)
	call := &tokenCall{done: make(chan struct{}), cancel: cancel}
	t.call = call
	go func() {
		// What stands if Token ends this goroutine, as t.FailNow does.
		var text string
		err := tokenError(errors.New("the token source ended its goroutine"))
		defer func() {
			cancel()
			t.mu.Lock()
			defer t.mu.Unlock()
			if err == nil {
				t.issued++
				t.current = token{text, t.issued}
			}
			call.token, call.err = t.current, err
			t.call = nil
			close(call.done)
		}()
		text, err = t.ask(ctx)
	}()
}

// ask calls the source once and makes an error of everything that is no token.
func (t *tokens) ask(ctx context.Context) (text string, err error) {
	defer func() {
		if r := recover(); r != nil {
			text, err = "", tokenError(fmt.Errorf("the token source panicked: %s", t.secrets.clean(fmt.Sprint(r), maxErrorRunes)))
		}
	}()
	text, err = t.source.Token(ctx)
	t.secrets.add(text)
	switch {
	case err != nil:
		return "", tokenError(t.secrets.wrap(err))
	case text == "":
		return "", tokenError(errors.New("the token source returned an empty token"))
	case len(text) > maxTokenBytes:
		return "", tokenError(fmt.Errorf("the token source returned more than %d bytes, which no URL can carry", maxTokenBytes))
	}
	return text, nil
}

// leave takes one waiter off the call, and cancels it after the last one.
func (t *tokens) leave(call *tokenCall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if call.waiters--; call.waiters == 0 {
		call.abandoned = true
		call.cancel()
	}
}

// drop forgets a token that was refused, if it is still the current one.
func (t *tokens) drop(generation uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.current.generation == generation {
		t.current = token{}
	}
}

func tokenError(err error) error {
	return &rolegate.PullError{Failure: rolegate.FailureToken, Err: fmt.Errorf("marketplace: access token: %w", err)}
}
