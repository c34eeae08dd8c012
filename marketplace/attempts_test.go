package marketplace_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// requests are when a client asked, of which a test answers each by its number.
func requests(ctx context.Context, t *testing.T, answer func(n int) (*http.Response, error), edit ...func(*marketplace.Config)) (at []time.Duration, err error) {
	t.Helper()
	began := time.Now()
	err = client(transport(func(*http.Request) (*http.Response, error) {
		at = append(at, time.Since(began))
		return answer(len(at))
	}), edit...).Pull(ctx, 0, func(rolegate.Record) {})
	return at, err
}

// A first page is asked for again where a connection broke that had been made, and
// not where nobody answers.
func TestFirstPageAfterANetworkError(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		err   error
		again bool
	}{
		{io.EOF, true}, {io.ErrUnexpectedEOF, true}, {syscall.ECONNRESET, true}, {syscall.EPIPE, true},
		{syscall.ECONNREFUSED, false}, {syscall.EHOSTUNREACH, false}, {timeoutError{io.ErrNoProgress}, false},
	} {
		t.Run(c.err.Error(), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				at, err := requests(t.Context(), t, func(n int) (*http.Response, error) {
					if n == 1 {
						return nil, c.err
					}
					return reply(200, ok()), nil
				})
				assert.Equal(t, c.again, err == nil, "%v", err)
				assert.Equal(t, c.again, len(at) == 2)
			})
		})
	}
}

// The pauses double, each by half more or less, and before a first page all of
// them take five seconds at most.
func TestPauses(t *testing.T) {
	t.Parallel()
	for range 20 { // they are random
		synctest.Test(t, func(t *testing.T) {
			at, err := requests(t.Context(), t, func(int) (*http.Response, error) { return reply(503, ""), nil })
			requireFailure(t, rolegate.FailureHTTPStatus, err)
			require.Greater(t, len(at), 3)
			for i := range len(at) - 1 {
				d := 250 * time.Millisecond << i
				assert.GreaterOrEqual(t, at[i+1]-at[i], d/2)
				assert.Less(t, at[i+1]-at[i], d*3/2)
			}
			assert.LessOrEqual(t, at[len(at)-1], 5*time.Second)
		})
	}
	for after, want := range map[string][]time.Duration{
		"2": {0, 2 * time.Second, 4 * time.Second},
		"5": {0, 5 * time.Second},
		"6": {0},
	} {
		synctest.Test(t, func(t *testing.T) {
			at, err := requests(t.Context(), t, func(int) (*http.Response, error) { return reply(503, "", "Retry-After", after), nil })
			requireFailure(t, rolegate.FailureHTTPStatus, err)
			assert.Equal(t, want, at, "Retry-After: %s", after)
		})
	}
}

// Nobody waits whose context will have ended by then.
func TestPausesThatAContextDoesNotLastFor(t *testing.T) {
	t.Parallel()
	for lasts, want := range map[time.Duration]int{2*time.Second - 1: 1, 2 * time.Second: 1, 2*time.Second + 1: 2} {
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), lasts)
			defer cancel()
			at, err := requests(ctx, t, func(n int) (*http.Response, error) {
				if n == 1 {
					return reply(503, "", "Retry-After", "2"), nil
				}
				return reply(200, ok()), nil
			})
			assert.Len(t, at, want, lasts)
			assert.Equal(t, want == 2, err == nil)
			if err != nil {
				requireFailure(t, rolegate.FailureHTTPStatus, err)
			}
		})
	}
}

// How many tokens a page may cost.
func TestRenewalsOfAPage(t *testing.T) {
	t.Parallel()
	refused := func() *http.Response { return reply(401, "") }
	login := func() *http.Response { return reply(200, "<html>") }
	later := []func() *http.Response{func() *http.Response { return reply(200, ok(user(1, 1), user(2, 2))) }}
	for _, c := range []struct {
		name    string
		answers []func() *http.Response // the last goes on
		pauses  []time.Duration         // about so long; 0 for none
		tokens  int
	}{
		{"the first page", []func() *http.Response{refused}, []time.Duration{0}, 2},
		{"a later page", append(later, refused), []time.Duration{0, 0, time.Second, 2 * time.Second}, 4},
		{"a first page that looks like a login, and is refused then", []func() *http.Response{login, login, refused}, []time.Duration{250 * time.Millisecond, 0}, 2},
		{"a first page that always looks like a login", []func() *http.Response{login}, []time.Duration{250 * time.Millisecond, 0}, 2},
	} {
		t.Run(strings.ReplaceAll(c.name, " ", "_"), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tokens := 0
				at, err := requests(t.Context(), t, func(n int) (*http.Response, error) {
					return c.answers[min(n, len(c.answers))-1](), nil
				}, func(cfg *marketplace.Config) {
					cfg.PageSize = 2
					cfg.Token = marketplace.TokenFunc(func(context.Context) (string, error) {
						tokens++
						return fmt.Sprint("token-", tokens), nil
					})
				})
				require.Error(t, err)
				assert.Equal(t, c.tokens, tokens)
				require.Len(t, at, len(c.pauses)+1)
				for i, d := range c.pauses {
					assert.GreaterOrEqual(t, at[i+1]-at[i], d/2)
					assert.LessOrEqual(t, at[i+1]-at[i], d*3/2)
				}
			})
		})
	}
}

// A reply that is no list is asked for again if it may have been cut, or if the
// token may be to blame: once more with the same, and once with another.
func TestWhichRepliesAreAskedForAgain(t *testing.T) {
	t.Parallel()
	const once, token, cut = 1, 3, 4 // cut is at least that often
	for _, c := range []struct {
		name   string
		status int
		body   string
		want   int
	}{
		{"an object that is no envelope", 200, `{"users":[]}`, once},
		{"an object with a mistake in it", 200, `{"code":200,"data":[}]}`, once},
		{"an object that breaks off", 200, `{"code":200,"data":[`, cut},
		{"an object that breaks off, with a newline", 200, "{\"code\":200,\"data\":[\r\n", cut},
		{"an array", 200, `[]`, once},
		{"an array that breaks off", 200, `[1,`, once},
		{"words", 200, `sorry`, once},
		{"nothing", 200, ``, once},
		{"a login page", 200, `<html>log in</html>`, token},
		{"an envelope that says that it failed", 200, `{"code":500,"data":{}}`, token},
		{"204", 204, ``, once},
		{"299", 299, ``, once},
		{"300", 300, ``, token},
		{"403", 403, ``, token},
		{"499", 499, ``, token},
		{"500", 500, ``, once},
		{"500 with an envelope", 500, `{"code":500,"data":{}}`, token},
		{"500 with one that says that all is well", 500, `{"code":200,"data":[]}`, once},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				tokens := 0
				at, err := requests(t.Context(), t, func(int) (*http.Response, error) { return reply(c.status, c.body), nil }, func(cfg *marketplace.Config) {
					cfg.Token = marketplace.TokenFunc(func(context.Context) (string, error) {
						tokens++
						return fmt.Sprint("token-", tokens), nil
					})
				})
				require.Error(t, err)
				if c.want == cut {
					assert.GreaterOrEqual(t, len(at), cut)
				} else {
					assert.Len(t, at, c.want)
				}
			})
		})
	}
}
