// Package faults has a test for each thing that will go wrong, and the one
// correct outcome of it: docs/faults.md and docs/faults.zh-CN.md list them. Its files
// read like that catalogue; a line that needs several tests has subtests.
//
// It is tests alone. Those of many replicas are in e2e, for they need Redis.
// go run ./tools/faults/report runs them and writes the pages.
package faults

import "slices"

// A Line is one thing that will go wrong, and what must come of it.
type Line struct {
	Number    int
	Part      Part
	Fault     string
	Outcome   string
	FaultZH   string // Fault in Chinese
	OutcomeZH string
}

// A Part is the heading of some lines, in both languages.
type Part struct{ Name, NameZH string }

// Catalogue returns all lines, by number.
func Catalogue() []Line { return slices.Clone(catalogue) }
