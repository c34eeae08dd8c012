// Package faults has a test for each thing that will go wrong, and the one
// correct outcome of it: docs/faults.md lists them. Its files read like that
// catalogue; a line that needs several tests has subtests.
//
// It is tests alone. Those of many replicas are in e2e, for they need Redis. go run ./tools/faults/report runs them and writes the
// document.
package faults

import "slices"

// A Line is one thing that will go wrong, and what must come of it.
type Line struct {
	Number  int
	Part    string
	Fault   string
	Outcome string
}

// Catalogue returns all lines, by number.
func Catalogue() []Line { return slices.Clone(catalogue) }
