package index_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/index"
)

func TestMatches(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		code, role string
		want       bool
	}{
		{"teacher.*", "teacher.math", true},
		{"teacher.*", "teacher.math.head", true},
		{"teacher:*", "teacher:math", true},
		{"teacher.*", "teacher", false},
		{"teacher.*", "teacher.", false},
		{"teacher.*", "teachers.math", false},
		{"teacher.*", "Teacher.math", false},
		{"teacher.*", "teacher.*", false}, // a list that has a pattern for a code gives nothing by it
		{"teacher", "teacher", true},
		{"teacher", "teacher.math", false},
		{"teacher*", "teacher1", false},
		{".*", ".a", false},
		{"*", "teacher", false},
	} {
		assert.Equal(t, tt.want, index.Matches(tt.code, tt.role), "%q %q", tt.code, tt.role)
	}
}

func TestHierarchyWithPatterns(t *testing.T) {
	t.Parallel()
	implies := map[string][]string{
		"teacher.*":    {"staff"},
		"principal":    {"teacher.*"},
		"staff":        {"member"},
		"teacher.head": {"board.maths"},
		"board.*":      {"minutes"},
		"clerk.*":      {"clerk.base"}, // includes itself among others: no cycle
	}
	held := []string{"teacher.math", "teacher.head", "teacher", "principal", "staff", "board.maths", "clerk.x", "clerk.base", "other"}
	want := map[string]string{
		"staff":       "principal staff teacher.head teacher.math",
		"member":      "principal staff teacher.head teacher.math",
		"teacher.*":   "principal teacher.head teacher.math",
		"board.maths": "board.maths principal teacher.head", // who includes every teacher includes what one of them includes
		"minutes":     "board.maths principal teacher.head",
		"board.*":     "board.maths principal teacher.head",
		"clerk.base":  "clerk.base clerk.x",
		"clerk.*":     "clerk.base clerk.x",
		"teacher":     "teacher",
		"nobody.*":    "",
	}
	roles, faults := index.NewRoleSpace(implies)
	require.Empty(t, faults)
	numbers := map[string]uint16{}
	for _, code := range held {
		own, _ := roles.Satisfying(code)
		numbers[code] = own[0]
	}
	table := roles.Publish()
	for code, holders := range want {
		var counts, satisfying []string
		fixed, patterns := roles.Satisfying(code)
		for _, have := range slices.Sorted(slices.Values(held)) {
			if table.Counts(numbers[have], code) {
				counts = append(counts, have)
			}
			if slices.Contains(fixed, numbers[have]) || slices.ContainsFunc(patterns, func(p string) bool { return index.Matches(p, have) }) {
				satisfying = append(satisfying, have)
			}
		}
		assert.Equal(t, holders, strings.Join(counts, " "), code)
		assert.Equal(t, holders, strings.Join(satisfying, " "), code)
	}
}

func TestCountsDoesNotAllocate(t *testing.T) {
	roles, _ := index.NewRoleSpace(map[string][]string{"teacher.*": {"staff.*"}})
	own, _ := roles.Satisfying("other")
	table := roles.Publish()
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		table.Counts(own[0], "staff.x")
		table.Counts(own[0], "staff.*")
	}))
}

func TestHierarchyOfPatternsWithACycle(t *testing.T) {
	t.Parallel()
	for name, implies := range map[string]map[string][]string{
		"two patterns":               {"a.*": {"b.*"}, "b.*": {"a.*"}},
		"itself":                     {"a.*": {"a.*"}},
		"a code that is covered too": {"a.*": {"b"}, "b": {"a.x"}},
	} {
		_, faults := index.NewRoleSpace(implies)
		require.Len(t, faults, 1, name)
		assert.NotEmpty(t, faults[0].Cycle, name)
	}
}

// Counts, which looks at the codes, and Satisfying, which compiles, say the same.
func TestCountsAgreesWithSatisfying(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		codes := []string{"a", "b", "c", "a.x", "a.y", "b.x", "a.x.1"}
		any := append([]string{"a.*", "b.*", "a.x.*"}, codes...)
		implies := rapid.MapOfN(rapid.SampledFrom(any), rapid.SliceOfN(rapid.SampledFrom(any), 1, 2), 0, 4).Draw(t, "implies")
		roles, faults := index.NewRoleSpace(implies)
		if len(faults) > 0 {
			t.Skip("a cycle")
		}
		numbers := make([]uint16, len(codes))
		for i, code := range codes {
			own, _ := roles.Satisfying(code)
			numbers[i] = own[0]
		}
		table := roles.Publish()
		for _, asked := range any {
			fixed, patterns := roles.Satisfying(asked)
			for i, code := range codes {
				compiled := slices.Contains(fixed, numbers[i]) || slices.ContainsFunc(patterns, func(p string) bool { return index.Matches(p, code) })
				require.Equal(t, table.Counts(numbers[i], asked), compiled, "%s as %s", code, asked)
				if index.Matches(asked, code) {
					require.True(t, compiled, "%s as %s", code, asked)
				}
			}
		}
	})
}
