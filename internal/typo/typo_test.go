package typo_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/internal/typo"
)

func TestNearest(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, word, want string }{
		{"a letter is missing", "techer", "teacher"},
		{"a letter too many", "teaacher", "teacher"},
		{"another case", "Teacher", "teacher"},
		{"a character that looks alike", "老帅", "老师"},
		{"the word itself", "admin", "admin"},
		{"as far as a third and one", "techxx", "teacher"},
		{"nothing like it", "janitor", ""},
		{"no character in common", "保安", ""},
		{"no word", "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, tt.want, typo.Nearest(tt.word, slices.Values([]string{"admin", "teacher", "老师"})))
		})
	}
}

func TestNearestTakesTheFirstOfEqualOnes(t *testing.T) {
	t.Parallel()
	require.Equal(t, "bat", typo.Nearest("at", slices.Values([]string{"bat", "cat"})))
	require.Empty(t, typo.Nearest("cat", slices.Values([]string(nil))))
}

func TestDistance(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		a, b string
		want int
	}{
		{"", "", 0},
		{"", "abc", 3},
		{"kitten", "sitting", 3},
		{"flaw", "lawn", 2},
		{"老师", "老帅", 1},
	} {
		require.Equal(t, tt.want, typo.Distance(tt.a, tt.b), "%q %q", tt.a, tt.b)
	}
}

// The distance is a metric, and one edit is at most one away.
func TestDistanceIsAMetric(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		words := rapid.StringOfN(rapid.SampledFrom([]rune("abc师")), 0, 6, -1)
		a, b, c := words.Draw(t, "a"), words.Draw(t, "b"), words.Draw(t, "c")
		ab := typo.Distance(a, b)
		require.Equal(t, a == b, ab == 0)
		require.Equal(t, ab, typo.Distance(b, a))
		require.LessOrEqual(t, typo.Distance(a, c), ab+typo.Distance(b, c))
		require.Equal(t, 1, typo.Distance(a, a+"x"))
	})
}
