package wire_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/internal/wire"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestKeptSecretsAreNotForgotten(t *testing.T) {
	t.Parallel()
	var s wire.Secrets
	s.Keep("a/password")
	s.Keep("abc") // too short to be one
	for n := range 20 {
		s.Add(fmt.Sprintf("token-%02d", n))
	}
	assert.Equal(t, "[***] [***] abc token-03 [***] [***]", s.Clean("a/password a%2Fpassword abc token-03 token-04 token-19"))
	s.Add("token-04") // used again, so that it is the newest
	s.Add("token-20")
	assert.Equal(t, "[***] token-05", s.Message("token-04 token-05"))
}

func TestMessagesWithoutKnownSecrets(t *testing.T) {
	t.Parallel()
	var s wire.Secrets
	for text, want := range map[string]string{
		"client_secret=abc&x=y":          "client_secret=[***]&x=y",
		`{"password":"abc","x":1}`:       `{"password":"[***]","x":1}`,
		"refreshToken: abc":              "refreshToken: [***]",
		"password wrong":                 "password wrong",
		"Blade-Auth: bearer abc.def.ghi": "Blade-Auth: bearer [***]",
		strings.Repeat("x", 300):         strings.Repeat("x", 200) + "…",
	} {
		assert.Equal(t, want, s.Message(text))
	}
	err := s.Wrap(&url.Error{Op: "Post", URL: "https://h/token?client_secret=abc", Err: io.EOF})
	require.ErrorIs(t, err, io.EOF)
	assert.Equal(t, "EOF", err.Error())
}

func TestObject(t *testing.T) {
	t.Parallel()
	known := []string{"code", "data"}
	for name, tc := range map[string]struct{ body, says string }{
		"good":                      {`{"code":1,"data":{"a":1},"x":null}`, ""},
		"blanks around it":          {" \n{} \t", ""},
		"escaped keys":              {`{"c\u006fde":1}`, ""},
		"a key twice":               {`{"x":1,"x":2}`, "twice"},
		"a key twice, escaped":      {`{"code":1,"c\u006fde":2}`, "twice"},
		"a key twice inside":        {`{"x":{"y":1,"y":2}}`, "a key twice in an object, at byte"},
		"a known key in other case": {`{"CODE":1}`, "code: expected this key in this case"},
		"one of ours":               {`{"bad":1}`, "ours"},
		"no object":                 {`"secret"`, "no object"},
		"nothing":                   {` `, "no JSON"},
		"cut short":                 {`{"code":1`, "breaks off after 9 bytes"},
		"cut short after a comma":   {`{"code":1,`, "breaks off"},
		"a comma too many":          {`{"code":1,}`, "not the expected JSON"},
		"something after it":        {`{}secret`, "after the end"},
		"invalid UTF-8":             {"{\"code\":\"secret\xff\"}", "not the expected JSON"},
		"many keys":                 {manyKeys(65), "more than 64 keys"},
		"as many keys as allowed":   {manyKeys(64), ""},
		"nested deeply":             {`{"x":` + strings.Repeat("[", 1<<20), "byte"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := wire.NewScanner()
			s.Strictly([]byte(tc.body))
			err := s.Object(known, func(key string, v jsontext.Value) error {
				assert.Equal(t, string(v), tc.body[s.InputOffset()-int64(len(v)):s.InputOffset()])
				if key == "bad" {
					return errors.New("ours")
				}
				return nil
			})
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
			assert.NotContains(t, err.Error(), "secret")
		})
	}
}

func manyKeys(n int) string {
	var keys []string
	for i := range n {
		keys = append(keys, fmt.Sprintf(`"k%d":0`, i))
	}
	return "{" + strings.Join(keys, ",") + "}"
}

func TestInts(t *testing.T) {
	t.Parallel()
	s := wire.NewScanner()
	for text, want := range map[string]int64{
		"0": 0, "-1": -1, `"7"`: 7, `"\u0037"`: 7, "9007199254740993": 9007199254740993,
		"9223372036854775807": 9223372036854775807, `"-9223372036854775808"`: -9223372036854775808,
	} {
		s.Strictly([]byte(text))
		n, ok, err := s.ReadInt()
		require.NoError(t, err)
		assert.True(t, ok, text)
		assert.Equal(t, want, n)
	}
	for _, text := range []string{"9223372036854775808", "1.0", "1e2", "-0", `"01"`, `"+1"`, `" 1"`, `""`, "null", "true", "[1]", "{}"} {
		s.Strictly([]byte(text))
		_, ok, err := s.ReadInt()
		require.NoError(t, err)
		assert.False(t, ok, text)
	}
}

// An integer is in its canonical form if it is written as it was read.
func TestParseIntTakesTheCanonicalForm(t *testing.T) {
	t.Parallel()
	check := func(text string) (problem string) {
		want, err := strconv.ParseInt(text, 10, 64)
		canonical := err == nil && strconv.FormatInt(want, 10) == text
		if !canonical {
			want = 0
		}
		if got, ok := wire.ParseInt([]byte(text)); ok != canonical || got != want {
			return fmt.Sprintf("%q: %d, %t; expected %d, %t", text, got, ok, want, canonical)
		}
		return ""
	}
	for _, text := range []string{
		"", "-", "0", "-0", "00", "01", "-01", "+1", "1_0", "0x1", " 1", "1 ", "1.0", "1e2", "--1", "٥",
		"9223372036854775807", "9223372036854775808", "-9223372036854775807", "-9223372036854775808", "-9223372036854775809",
		"9999999999999999999", "-9999999999999999999", "18446744073709551615", "18446744073709551616", "18446744073709551623",
		"10000000000000000000", "1000000000000000000", "-1000000000000000000", "99999999999999999999999999",
	} {
		assert.Empty(t, check(text))
	}
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.OneOf(
			rapid.StringMatching(`-?[0-9]{0,21}`),
			rapid.StringMatching(`-?92233720368547758[0-9]{2}`),
			rapid.Map(rapid.Int64(), func(n int64) string { return strconv.FormatInt(n, 10) }),
			rapid.String(),
		).Draw(t, "text")
		if problem := check(text); problem != "" {
			t.Fatal(problem)
		}
	})
}

func TestCell(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		own := errors.New("own")
		fail := false
		var lasts []int
		c := wire.NewCell(time.Second, func(ctx context.Context, last int) (int, error) {
			lasts = append(lasts, last)
			if fail {
				return 99, own
			}
			return last + 1, nil
		})
		get := func(refused uint64, value int, generation uint64) {
			t.Helper()
			got, err := c.Get(t.Context(), refused)
			require.NoError(t, err)
			assert.Equal(t, wire.Issue[int]{Value: value, Generation: generation}, got)
		}
		get(0, 1, 1)
		get(0, 1, 1)
		get(1, 2, 2)
		get(1, 2, 2)
		fail = true
		got, err := c.Get(t.Context(), 2)
		require.ErrorIs(t, err, own)
		assert.Zero(t, got)
		get(0, 2, 2) // what there was is there still
		fail = false
		c.Drop(1) // is no longer the current one
		get(0, 2, 2)
		c.Drop(2)
		get(0, 1, 3)
		assert.Equal(t, []int{0, 1, 2, 0}, lasts)
	})
}

func TestCellIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := wire.NewCell(time.Second, func(ctx context.Context, _ string) (string, error) {
			<-ctx.Done()
			<-time.After(time.Minute) // heeds it late
			return "late", nil
		})
		began := time.Now()
		_, err := c.Get(t.Context(), 0)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorContains(t, err, "no token within 1s")
		assert.Equal(t, time.Second, time.Since(began))
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		_, err = c.Get(ctx, 0)
		assert.Equal(t, ctx.Err(), err)
		<-time.After(time.Minute)
		got, err := c.Get(t.Context(), 0)
		require.NoError(t, err)
		assert.Equal(t, "late", got.Value)
	})
}

func TestFailure(t *testing.T) {
	t.Parallel()
	assert.Equal(t, wire.FailureNetwork, wire.Failure(io.ErrUnexpectedEOF, false))
	assert.Equal(t, wire.FailureMalformed, wire.Failure(io.ErrUnexpectedEOF, true))
	assert.Equal(t, rolegate.FailureTimeout, wire.Failure(fmt.Errorf("x: %w", context.DeadlineExceeded), true))
	assert.Equal(t, wire.FailureNetwork, wire.Failure(errors.New("reset"), true))
}

// A dead HTTP/2 connection is asked whether it lives.
func TestTransportFindsDeadConnections(t *testing.T) {
	t.Parallel()
	tr := wire.NewTransport()
	require.NotNil(t, tr.HTTP2)
	assert.LessOrEqual(t, tr.HTTP2.SendPingTimeout+tr.HTTP2.PingTimeout, 30*time.Second)
	assert.Positive(t, tr.HTTP2.SendPingTimeout)
	assert.LessOrEqual(t, tr.IdleConnTimeout, 30*time.Second)
}
