package layers

import (
	"cmp"
	"maps"
	"slices"
)

// Knots returns what holds on to each other: the strongly connected components of
// more than one member, each sorted, by their first members. uses has for each
// member those that it uses.
func Knots(uses map[string][]string) (knots [][]string) {
	reach := map[string]map[string]bool{}
	for from := range uses {
		reach[from] = map[string]bool{}
		for next := []string{from}; len(next) > 0; {
			to := next[len(next)-1]
			next = next[:len(next)-1]
			for _, used := range uses[to] {
				if !reach[from][used] {
					reach[from][used] = true
					next = append(next, used)
				}
			}
		}
	}
	taken := map[string]bool{}
	for _, from := range slices.Sorted(maps.Keys(reach)) {
		if taken[from] {
			continue
		}
		knot := []string{from}
		for to := range reach[from] {
			if to != from && reach[to][from] {
				knot = append(knot, to)
				taken[to] = true
			}
		}
		if len(knot) > 1 {
			slices.Sort(knot)
			knots = append(knots, knot)
		}
	}
	slices.SortFunc(knots, func(a, b []string) int { return cmp.Compare(a[0], b[0]) })
	return knots
}
