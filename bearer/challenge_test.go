package bearer

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
)

// Header lines of their own, as another shape of refusals may write them.
func TestWithErrorInLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		have, want []string
	}{
		{"none", nil, []string{}},
		{"empty", []string{""}, []string{""}},
		{"the second", []string{`Basic realm="b"`, "Bearer"}, []string{`Basic realm="b"`, `Bearer error="e"`}},
		{"both", []string{"Bearer", "Bearer"}, []string{`Bearer error="e"`, "Bearer"}},
		{"a quote that does not end", []string{`Basic realm="b, Bearer`}, []string{`Basic realm="b, Bearer`}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, withError(c.have, "e"))
		})
	}
}

// Whatever the header is, nothing is lost of it, and the error is in a Bearer
// challenge or nowhere.
func FuzzWithError(f *testing.F) {
	for _, value := range []string{"Bearer", `Basic realm="a, Bearer", Bearer x="y"`, `Negotiate a==, Bearer`, `"`, `\`, ",,", "=", "Bearer\trealm=a"} {
		f.Add(value)
	}
	f.Fuzz(func(t *testing.T, value string) {
		const mark = `error="zzz"`
		if strings.Contains(value, mark) {
			return
		}
		got := withError([]string{value}, "zzz")
		assert.Len(t, got, 1)
		found := 0
		for _, c := range split(got[0]) {
			if strings.HasSuffix(c, mark) {
				scheme, _, _ := strings.Cut(c, " ")
				assert.True(t, strings.EqualFold(scheme, "Bearer"), "%q of %q", c, value)
				found++
			}
		}
		assert.Equal(t, found, strings.Count(got[0], mark), "%q", got[0])
		assert.LessOrEqual(t, found, 1)
		plain := func(s string) string {
			return strings.Map(func(c rune) rune {
				if c == ' ' || c == '\t' || c == ',' {
					return -1
				}
				return c
			}, s)
		}
		assert.Equal(t, plain(value), plain(strings.ReplaceAll(got[0], mark, "")))
	})
}
