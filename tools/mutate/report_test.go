package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const testSource = `package p

const most = 2 * 3

func (l *list) drop(n int) {
	for range 3 {
		if n < 1 || n > 1 {
			continue
		}
	}
}

func drop(n int) bool { return n >= 2 }
`

const testReport = `{"files": [{"file_name": "p.go", "mutations": [
	{"type": "ARITHMETIC_BASE", "status": "NOT COVERED", "line": 3, "column": 16},
	{"type": "CONDITIONALS_BOUNDARY", "status": "LIVED", "line": 7, "column": 8},
	{"type": "CONDITIONALS_BOUNDARY", "status": "KILLED", "line": 7, "column": 17},
	{"type": "INVERT_LOGICAL", "status": "KILLED", "line": 7, "column": 12},
	{"type": "INVERT_LOOPCTRL", "status": "TIMED OUT", "line": 8, "column": 4},
	{"type": "CONDITIONALS_NEGATION", "status": "NOT VIABLE", "line": 13, "column": 34}
]}]}`

func readTestSource(file string) ([]byte, error) {
	if file != "p.go" {
		return nil, fmt.Errorf("no file %s", file)
	}
	return []byte(testSource), nil
}

func TestParseReport(t *testing.T) {
	t.Parallel()
	report, err := withHangs([]byte(testReport), []byte("p.go:7:if n < 1 && n > 1 {\n"))
	require.NoError(t, err)
	mutants, err := parseReport(report, readTestSource)
	require.NoError(t, err)
	assert.Equal(t, []mutant{
		{key{"p.go", "-", "ARITHMETIC_BASE", "const most = 2 «*» 3"}, 3, 16, "NOT COVERED"},
		{key{"p.go", "list.drop", "CONDITIONALS_BOUNDARY", "if n «<» 1 || n > 1 {"}, 7, 8, "LIVED"},
		{key{"p.go", "list.drop", "CONDITIONALS_BOUNDARY", "if n < 1 || n «>» 1 {"}, 7, 17, "KILLED"},
		{key{"p.go", "list.drop", "INVERT_LOGICAL", "if n < 1 «||» n > 1 {"}, 7, 12, "KILLED"},
		{key{"p.go", "list.drop", "INVERT_LOOPCTRL", "«continue»"}, 8, 4, "TIMED OUT"},
		{key{"p.go", "drop", "CONDITIONALS_NEGATION", "func drop(n int) bool { return n «>=» 2 }"}, 13, 34, "NOT VIABLE"},
		{key{"p.go", "list.drop", hangs, "if n < 1 && n > 1 {"}, 7, 1, hangs},
	}, mutants)
}

func TestParseReportOfAnotherVersion(t *testing.T) {
	t.Parallel()
	for name, report := range map[string]string{
		"no JSON":        `Starting...`,
		"another file":   `{"files": [{"file_name": "q.go", "mutations": [{"line": 1, "column": 1}]}]}`,
		"another line":   `{"files": [{"file_name": "p.go", "mutations": [{"line": 100, "column": 1}]}]}`,
		"another column": `{"files": [{"file_name": "p.go", "mutations": [{"line": 3, "column": 90}]}]}`,
		"a bad hang":     `{"hangs": ["p.go"]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := parseReport([]byte(report), readTestSource)
			assert.Error(t, err)
		})
	}
}

func TestResult(t *testing.T) {
	t.Parallel()
	const (
		continues = "p.go list.drop INVERT_LOOPCTRL\n«continue»\nThe loop has nothing more to do.\n\n"
		limit     = "# a comment\np.go list.drop CONDITIONALS_BOUNDARY\n\tif n «<» 1 || n > 1 {\n\tFor one reason\n\tand another.\n\n"
		constant  = "p.go - ARITHMETIC_BASE\nconst most = 2 «*» 3\nSpeed only.\n\n"
		loop      = "p.go list.drop HANGS\nif n < 1 && n > 1 {\nIt loops for ever.\n\n"
		gone      = "p.go list.drop INVERT_LOGICAL\nif n < 1 «||» n > 1 {\nIt is killed by now.\n\n"
	)
	hung := []byte("p.go:7:if n < 1 && n > 1 {\n")
	for _, c := range []struct {
		name, known string
		hung        []byte
		want        counts
		alive, hang int
		old         int
	}{
		{"nothing is known", "", nil, counts{mutants: 5, killed: 2, alive: 3}, 3, 0, 0},
		{"one is", limit, nil, counts{mutants: 5, killed: 2, known: 1, alive: 2}, 2, 0, 0},
		{"all are", limit + continues + constant, nil, counts{mutants: 5, killed: 2, known: 3}, 0, 0, 0},
		{"one that is killed by now", limit + gone, nil, counts{mutants: 5, killed: 2, known: 1, alive: 2}, 2, 0, 1},
		{"a hang counts as alive", "", hung, counts{mutants: 5, killed: 1, alive: 4}, 3, 1, 0},
		{"one that is known as killed", loop, hung, counts{mutants: 5, killed: 2, alive: 3}, 3, 0, 0},
		{"a hang that is none any more", loop, nil, counts{mutants: 5, killed: 2, alive: 3}, 3, 0, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			report, err := withHangs([]byte(testReport), c.hung)
			require.NoError(t, err)
			mutants, err := parseReport(report, readTestSource)
			require.NoError(t, err)
			known, err := parseKnown(c.known)
			require.NoError(t, err)
			r := newResult([]string{"p.go"}, mutants, known)
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
	assert.Equal(t, counts{}, *newResult([]string{"q.go"}, []mutant{{key: key{file: "p.go"}, status: "LIVED"}}, nil).count[""], "of another file")
	few := result{count: map[string]*counts{"": &c}}
	assert.False(t, few.ok(), "less than 95 %")
}

func TestParseKnown(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"no kind":   "p.go drop\nx\ny\n",
		"no line":   "p.go drop HANGS\n\n",
		"no reason": "p.go drop HANGS\nx\n\np.go drop HANGS\nx\ny\n",
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

func TestTestNames(t *testing.T) {
	t.Parallel()
	output := []byte("--- FAIL: TestB (0.00s)\n    --- FAIL: TestB/c (0.00s)\n--- FAIL: TestA (0.10s)\nok TestZ\n" +
		"panic: test timed out after 30s\n\trunning tests:\n\t\tTestC/some_case (29s)\n\t\tTestD (1m0s)\n\ngoroutine 1:\n")
	assert.Equal(t, []string{"TestA", "TestB"}, failedTests(output))
	assert.Equal(t, []string{"TestC", "TestD"}, hungTests(output))
	assert.Empty(t, hungTests(output[:40]))
}
