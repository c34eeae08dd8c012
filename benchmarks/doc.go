// Package benchmarks measures rolegate beside what it could be replaced by: a
// Go map, other authorization libraries, and the JSON client that one writes in
// an afternoon.
//
// What it reports are ratios. Absolute times wander from one machine, and from
// one minute, to another; so whatever is compared takes turns in one process,
// in slices of some milliseconds (see contest), and what counts is the median of
// the ratios of the turns. The benchmarks are ordinary ones:
//
//	GOWORK=off go test -run '^$' -bench Decide -benchtime 1x
//	GOWORK=off go test -short -bench . -benchtime 1x ./...
//
// The second is a quick look at whether everything still works, with small
// lists, whose figures mean nothing. The command report runs all of them, each
// family in a process of its own, and writes docs/benchmarks.md.
//
// Everybody who takes part in a comparison is given the same list and the same
// questions, and answers all of them right before being timed.
package benchmarks
