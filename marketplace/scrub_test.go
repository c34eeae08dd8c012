package marketplace_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/marketplace"
)

func requireClean(t *testing.T, err error, token string) {
	t.Helper()
	text := wiretest.Printed(err)
	for _, f := range wiretest.Forms(token) {
		require.NotContains(t, text, f)
	}
	require.NotContains(t, text, "lastSequence=")
	var u *url.Error
	require.False(t, errors.As(err, &u), "a URL with its query")
	var n net.Error
	if errors.As(err, &n) {
		for _, f := range wiretest.Forms(token) {
			require.NotContains(t, wiretest.Printed(n), f)
		}
	}
}

// leaky is an error that has the token in a field it does not print.
type leaky struct {
	token string
	err   error
}

func (leaky) Error() string   { return "leaky" }
func (l leaky) Unwrap() error { return l.err }

func TestTransportErrorsAreScrubbed(t *testing.T) {
	t.Parallel()
	full := "http://market.test/api/app/user/list?accessToken=" + url.QueryEscape(secret) + "&limit=5"
	own := errors.New("mine")
	cases := []struct {
		name string
		err  error
		is   error
	}{
		{"an url.Error", &url.Error{Op: "Get", URL: full, Err: context.Canceled}, context.Canceled},
		{"an url.Error in an url.Error", &url.Error{Op: "Get", URL: full, Err: &url.Error{Op: "Get", URL: full, Err: io.EOF}}, io.EOF},
		{"an url.Error in something", fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: full, Err: own}), own},
		{"an url.Error without a query", fmt.Errorf("proxy: %w", &url.Error{Op: "Get", URL: "http://proxy.test", Err: own}), own},
		{"a joined url.Error", errors.Join(own, &url.Error{Op: "Get", URL: full, Err: io.EOF}), own},
		{"the token itself", fmt.Errorf("token %s was odd: %w", secret, own), own},
		{"in a field", leaky{secret, own}, own},
		{"in a field behind something", fmt.Errorf("x: %w", leaky{secret, own}), own},
		{"a timeout with the URL", &url.Error{Op: "Get", URL: full, Err: context.DeadlineExceeded}, context.DeadlineExceeded},
		{"who refused us", fmt.Errorf("%s: %w", full, rolegate.ErrRefused), nil},
	}
	for _, f := range wiretest.Forms(secret) {
		cases = append(cases, struct {
			name string
			err  error
			is   error
		}{"as " + f, fmt.Errorf("dial %s: %w", f, own), own})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			_, err := pull(t, client(transport(func(*http.Request) (*http.Response, error) { return nil, tc.err })), 0)
			var pe *rolegate.PullError
			require.ErrorAs(t, err, &pe)
			requireClean(t, err, secret)
			if _, ok := tc.err.(*url.Error); ok {
				assert.Equal(t, 1, strings.Count(err.Error(), "http://"), "the URL is told once: %v", err)
			}
			if tc.is != nil {
				require.ErrorIs(t, err, tc.is)
			}
		})
	}
}

func TestWrappedErrorsAreStillThemselves(t *testing.T) {
	t.Parallel()
	inner := &net.OpError{Op: "read", Net: "tcp", Err: errors.New("reset")}
	err := marketplace.WrapError(secret, fmt.Errorf("with %s: %w", secret, inner))
	var op *net.OpError
	require.ErrorAs(t, err, &op)
	assert.Same(t, inner, op)
	var n net.Error
	require.ErrorAs(t, err, &n)
	assert.False(t, n.Timeout())

	var l leaky
	assert.False(t, errors.As(marketplace.WrapError(secret, leaky{secret, io.EOF}), &l))
	assert.ErrorIs(t, marketplace.WrapError(secret, leaky{secret, io.EOF}), io.EOF)
	assert.False(t, errors.As(marketplace.WrapError(secret, io.EOF), &n))
}

func TestMessagesAreScrubbed(t *testing.T) {
	t.Parallel()
	cases := []struct{ name, message, want string }{
		{"the token in capitals", "<" + strings.ToUpper(secret) + ">", "<[***]>"},
		{"plain", "系统繁忙 (busy)", "系统繁忙 (busy)"},
		{"another token of that shape", "token AT-17-abcDEF.x_y~z expired", "token [***] expired"},
		{"basic credentials", "Authorization: Basic YWxpY2U6c2VjcmV0", "Authorization: Basic [***]"},
		{"basic credentials in small letters", "basic YWxpY2U6c2VjcmV0 refused", "basic [***] refused"},
		{"a bearer token", "Bearer eyJhbGciOi.x.y", "Bearer [***]"},
		{"a URL", "GET https://h/p?accessToken=x&y=z failed", "GET https://h/p?[***] failed"},
		{"a parameter", "accessToken=x&y=z", "accessToken=[***]&y=z"},
		{"a parameter in JSON", `{"access_token":"x","y":"z"}`, `{"access_token":"[***]","y":"z"}`},
		{"an e-mail address", "user zhang.san@school.cn unknown", "user [***] unknown"},
		{"a telephone number", "tel 13800138000", "tel [***]"},
		{"an identity card", "id 11010519491231002X", "id [***]"},
		{"control bytes", "a\r\nb\x00c\x1b[31m\u202e", `a\r\nb\x00c\x1b[31m\u202e`},
		{"200 runes", strings.Repeat("汉", 200), strings.Repeat("汉", 200)},
		{"201 runes", strings.Repeat("汉", 201), strings.Repeat("汉", 200) + "…"},
	}
	for _, f := range wiretest.Forms(secret) {
		cases = append(cases, struct{ name, message, want string }{"the token as " + f, "<" + f + ">", "<[***]>"})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			quoted, err := json.Marshal(tc.message)
			require.NoError(t, err)
			_, err = pull(t, client(always(200, `{"code":500,"data":{},"message":`+string(quoted)+`}`)), 0)
			assert.ErrorContains(t, requireFailure(t, marketplace.FailureUpstream, err), "“"+tc.want+"”")
		})
	}
}

func TestHalfATokenAtACut(t *testing.T) {
	t.Parallel()
	// Wherever a long text is cut, no half of a token is left.
	for n := 0; n < 40; n += 7 {
		text := strings.Repeat("x", 64<<10-n) + secret
		clean, message := marketplace.Scrub(secret, text)
		assert.NotContains(t, clean+message, "AT-")
	}
	long := strings.Repeat("abcdefgh", 1024)
	for _, before := range []string{"", "x"} {
		clean, message := marketplace.Scrub(long, before+strings.Repeat(long, 9))
		assert.NotContains(t, clean+message, "abcd")
	}
	clean, _ := marketplace.Scrub(secret, strings.Repeat("汉", 64<<10))
	assert.Equal(t, strings.Repeat("汉", 500)+"…", clean)
}

func TestTokenOfLastWeek(t *testing.T) {
	t.Parallel()
	names := []string{"first-token", "second-token", "third-token"}
	n := 0
	c := client(always(401, `{"code":401,"message":"first-token second-token third-token","data":{}}`), func(c *marketplace.Config) {
		c.Token = marketplace.TokenFunc(func(context.Context) (string, error) {
			n++
			return names[n-1], nil
		})
	})
	_, _ = pull(t, c, 0)
	_, err := pull(t, c, 0)
	requireFailure(t, marketplace.FailureToken, err) // there is no fourth: it panicked
	assert.Equal(t, 4, n)
	_, err = pull(t, client(always(500, "")), 0)
	requireFailure(t, rolegate.FailureHTTPStatus, err)
}

func FuzzScrub(f *testing.F) {
	for _, form := range wiretest.Forms(secret) {
		f.Add(secret, "before "+form+" after")
	}
	f.Add("abcd", "aabcdbcd")
	f.Add("u202e", "\u202e")
	f.Add("x00c", "\x00c")
	f.Add("%41%41", "AA%2541%2541 %41%41")
	f.Add(`\\\\`, `\\\\\\\\`)
	f.Add("tök€n\xff", "tök€n\xff")
	f.Fuzz(func(t *testing.T, token, text string) {
		clean, message := marketplace.Scrub(token, text)
		// What is shown is UTF-8, so that half a character at the end of a token
		// cannot be in it, though the bytes of another character may begin so.
		token = strings.ToValidUTF8(token, "\uFFFD")
		for _, s := range []string{clean, message} {
			if !utf8.ValidString(s) {
				t.Fatalf("not valid UTF-8: %q", s)
			}
			if strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f }) {
				t.Fatalf("control bytes: %q", s)
			}
			// What replaces a token may itself have the letters of one.
			if utf8.RuneCountInString(token) >= 4 && len(token) < 1000 && !strings.ContainsAny(token, "[*]?… ") &&
				!strings.Contains(strings.ToLower(token), "basic") && !strings.Contains(strings.ToLower(token), "bearer") &&
				strings.Contains(s, token) {
				t.Fatalf("%q is still in %q", token, s)
			}
		}
		if n := utf8.RuneCountInString(message); n > 201 {
			t.Fatalf("%d runes", n)
		}
	})
}
