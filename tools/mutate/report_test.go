package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestResult(t *testing.T) {
	t.Parallel()
	const (
		continues = "p.go list.drop INVERT_LOOPCTRL\n«continue»\nThe loop has nothing more to do.\n\n"
		limit     = "# a comment\np.go list.drop CONDITIONALS_BOUNDARY\n\tif n «<» 1 || n > 1 {\n\tFor one reason\n\tand another.\n\n"
		loop      = "p.go drop CONDITIONALS_NEGATION\nfor n «>» 1 {\nIt loops for ever.\n\n"
		gone      = "p.go list.drop INVERT_LOGICAL\nif n < 1 «||» n > 1 {\nIt is killed by now.\n\n"
	)
	mutants := []mutant{
		{key{"p.go", "list.drop", boundary, "if n «<» 1 || n > 1 {"}, 7, 8, lived},
		{key{"p.go", "list.drop", boundary, "if n < 1 || n «>» 1 {"}, 7, 17, killed},
		{key{"p.go", "list.drop", logical, "if n < 1 «||» n > 1 {"}, 7, 12, killed},
		{key{"p.go", "list.drop", loopctrl, "«continue»"}, 8, 4, uncovered},
		{key{"p.go", "drop", negation, "func drop(n int) bool { return n «>=» 2 }"}, 13, 34, notViable},
	}
	hangs := mutant{key{"p.go", "drop", negation, "for n «>» 1 {"}, 20, 7, hung}
	for _, c := range []struct {
		name, known string
		hangs       bool
		want        counts
		alive, hang int
		old         int
	}{
		{"nothing is known", "", false, counts{mutants: 4, killed: 2, alive: 2}, 2, 0, 0},
		{"one is", limit, false, counts{mutants: 4, killed: 2, known: 1, alive: 1}, 1, 0, 0},
		{"all are", limit + continues, false, counts{mutants: 4, killed: 2, known: 2}, 0, 0, 0},
		{"one that is killed by now", limit + gone, false, counts{mutants: 4, killed: 2, known: 1, alive: 1}, 1, 0, 1},
		{"a hang counts as alive", "", true, counts{mutants: 5, killed: 2, alive: 3}, 2, 1, 0},
		{"one that is known", loop, true, counts{mutants: 5, killed: 2, known: 1, alive: 2}, 2, 0, 0},
		{"a hang that is none any more", loop, false, counts{mutants: 4, killed: 2, alive: 2}, 2, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			known, err := parseKnown(c.known)
			require.NoError(t, err)
			all := mutants
			if c.hangs {
				all = append(all[:len(all):len(all)], hangs)
			}
			r := newResult([]string{"p.go"}, all, known)
			assert.Equal(t, c.want, *r.count["p.go"])
			assert.Equal(t, c.want, *r.count[""])
			assert.Len(t, r.alive, c.alive)
			assert.Len(t, r.hung, c.hang)
			assert.Len(t, r.old, c.old)
			assert.Equal(t, c.alive+c.hang+c.old == 0, r.ok())
			var b bytes.Buffer
			r.print(&b)
			assert.Equal(t, c.alive > 0, strings.Contains(b.String(), "\nSurvivors:\n"))
		})
	}
}

func TestShares(t *testing.T) {
	t.Parallel()
	c := counts{mutants: 200, killed: 180, known: 10, alive: 10}
	assert.InDelta(t, 94.7, c.share(), 0.1)
	assert.InDelta(t, 90, c.shareOfAll(), 0.1)
	assert.Equal(t, counts{}, *newResult([]string{"q.go"}, []mutant{{key: key{file: "p.go"}, status: lived}}, nil).count[""], "of another file")
	few := result{count: map[string]*counts{"": &c}}
	assert.False(t, few.ok(), "less than 95 %")
}

func TestParseKnown(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no kind":   "p.go drop\nx\ny\n",
		"no line":   "p.go drop INVERT_LOGICAL\n\n",
		"no reason": "p.go drop INVERT_LOGICAL\nx\n\np.go drop INVERT_LOGICAL\nx\ny\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseKnown(text)
			assert.ErrorContains(t, err, "equivalents.txt")
		})
	}
	_, err := parseKnown(equivalents)
	require.NoError(t, err)
}

func TestNames(t *testing.T) {
	t.Parallel()
	output := []byte("=== RUN   TestA\n--- FAIL: TestA (0.10s)\n=== RUN   TestB\n=== RUN   TestB/c\n    --- FAIL: TestB/c (0.00s)\n--- FAIL: TestB (0.00s)\n" +
		"=== RUN   TestC\n=== PAUSE TestC\n=== RUN   TestD\n=== RUN   TestD/some_case\n=== PAUSE TestD/some_case\n=== RUN   TestE\n=== PAUSE TestE\n=== CONT  TestC\nok TestZ\n")
	assert.Equal(t, []string{"TestA", "TestB"}, names(failure, output))
	assert.Equal(t, map[string]bool{"TestA": false, "TestB": false, "TestC": true, "TestD": true, "TestE": false}, underWay(output))
}
