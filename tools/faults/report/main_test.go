package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/tools/faults"
)

// Every line of the catalogue can be written in both languages, which say the same of
// the list.
func TestTexts(t *testing.T) {
	t.Parallel()
	lines, results := faults.Catalogue(), map[int][]result{}
	for _, line := range lines {
		results[line.Number] = []result{{test: "TestFault", ended: "pass"}}
		assert.Equal(t, strings.Contains(line.Outcome, "the list stays"), strings.Contains(line.OutcomeZH, "列表不变"), "line %d", line.Number)
	}
	for _, l := range languages {
		page, err := l.write(lines, results)
		require.NoError(t, err)
		assert.Equal(t, len(lines), strings.Count(string(page), "`TestFault`"), l.page)
	}
}

func TestTextsThatAreMissing(t *testing.T) {
	t.Parallel()
	whole := faults.Catalogue()[0]
	results := map[int][]result{whole.Number: {{test: "TestFault01A", ended: "pass"}}}
	for name, omit := range map[string]func(*faults.Line){
		"heading": func(l *faults.Line) { l.Part.NameZH = "" },
		"fault":   func(l *faults.Line) { l.FaultZH = "" },
		"outcome": func(l *faults.Line) { l.OutcomeZH = "" },
	} {
		line := whole
		omit(&line)
		_, err := languages[0].write([]faults.Line{line}, results)
		require.NoError(t, err, "the English page")
		_, err = languages[1].write([]faults.Line{line}, results)
		assert.ErrorContains(t, err, "line 1 has no text for docs/faults.zh-CN.md: "+line.Fault, name)
	}
	_, err := languages[0].write([]faults.Line{whole}, nil)
	assert.ErrorContains(t, err, "line 1 has no test")
	results[2] = results[1]
	_, err = languages[0].write([]faults.Line{whole}, results)
	assert.ErrorContains(t, err, "the catalogue has no line 2")
}
