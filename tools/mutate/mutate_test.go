package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// sample has one mutant of each kind, and beside it what must not become one.
const sample = `package sample

import "time"

const size = 2 * 3 // a constant

type flags uint8

func Old(age, limit time.Duration) bool { return age > limit }

func Both(a, b bool) bool {
	return a && // with a comment
		b
}

func Sum(a []int) (sum int) {
	for i := 0; i < len(a); i++ {
		if a[i] == 0 {
			continue
		}
		sum += a[i]
	}
	return sum - 0
}

func Count(list []string) map[string]int {
	m := map[string]int{}
	for _, s := range list {
		m[s]++
	}
	return m
}

func Has(f flags, n int) bool { return f&(1<<n) != 0 }

func Text(a, b string) string { return a + b }

func Minus(a int64) int64 { return -a }

func Forever(next func() bool) int {
	for {
		if next() {
			continue
		}
		if !next() {
			return 1
		}
	}
}

func Wait() {
	for i := 0; i < 3; i++ {
	}
}

func Never() bool {
	_ = size
	return 1 < 2
}
`

const sampleTest = `package sample

import "testing"

func TestAll(t *testing.T) {
	if Old(1, 1) || !Old(2, 1) {
		t.Error("Old")
	}
	if Both(true, false) || !Both(true, true) {
		t.Error("Both")
	}
	if Sum([]int{1, 0, 2}) != 3 {
		t.Error("Sum")
	}
	if !Has(4, 2) || Has(4, 1) {
		t.Error("Has")
	}
	if Minus(1) != -1 || Text("a", "b") != "ab" {
		t.Error("Minus or Text")
	}
	if size != 6 {
		t.Error("size")
	}
}

func TestForever(t *testing.T) {
	n := 0
	if Forever(func() bool { n++; return n == 1 }) != 1 || n != 3 {
		t.Error("Forever")
	}
}

func TestWait(t *testing.T) { Wait() }

func TestFailsAnyway(t *testing.T) { t.Error("as always") }
`

func TestMutate(t *testing.T) {
	folder := t.TempDir()
	for name, text := range map[string]string{
		"go.mod": "module sample\n\ngo 1.26.0\n", "p/sample.go": sample, "p/sample_test.go": sampleTest,
	} {
		require.NoError(t, os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(text), 0o644))
	}
	t.Chdir(folder)
	t.Setenv("GOWORK", "off")
	mutants, err := mutate([]string{"p/sample.go"}, 2, store{})
	require.NoError(t, err)
	got := map[string]string{}
	for _, m := range mutants {
		got[m.function+" "+m.kind+" "+m.text] = m.status
	}
	assert.Equal(t, map[string]string{
		"Old CONDITIONALS_BOUNDARY func Old(age, limit time.Duration) bool { return age «>» limit }": killed,
		"Old CONDITIONALS_NEGATION func Old(age, limit time.Duration) bool { return age «>» limit }": killed,
		"Both INVERT_LOGICAL return a «&&» // with a comment":                                        killed,
		"Sum CONDITIONALS_BOUNDARY for i := 0; i «<» len(a); i++ {":                                  killed,
		"Sum CONDITIONALS_NEGATION for i := 0; i «<» len(a); i++ {":                                  killed,
		"Sum INCREMENT_DECREMENT for i := 0; i < len(a); i«++» {":                                    killed,
		"Sum CONDITIONALS_NEGATION if a[i] «==» 0 {":                                                 killed,
		"Sum INVERT_LOOPCTRL «continue»":                                                             killed,
		"Sum INVERT_ASSIGNMENTS sum «+=» a[i]":                                                       killed,
		"Sum REMOVE_SELF_ASSIGNMENTS sum «+=» a[i]":                                                  killed,
		"Sum ARITHMETIC_BASE return sum «-» 0":                                                       lived,
		"Count INCREMENT_DECREMENT m[s]«++»":                                                         uncovered,
		"Has CONDITIONALS_NEGATION func Has(f flags, n int) bool { return f&(1<<n) «!=» 0 }":         killed,
		"Has INVERT_BITWISE func Has(f flags, n int) bool { return f«&»(1<<n) != 0 }":                killed,
		"Has INVERT_BITWISE func Has(f flags, n int) bool { return f&(1«<<»n) != 0 }":                killed,
		"Minus INVERT_NEGATIVES func Minus(a int64) int64 { return «-»a }":                           killed,
		"Forever INVERT_LOOPCTRL «continue»":                                                         notViable,
		"Wait CONDITIONALS_BOUNDARY for i := 0; i «<» 3; i++ {":                                      lived,
		"Wait CONDITIONALS_NEGATION for i := 0; i «<» 3; i++ {":                                      lived,
		"Wait INCREMENT_DECREMENT for i := 0; i < 3; i«++» {":                                        hung,
	}, got)
}
