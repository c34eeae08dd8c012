package refresh

import (
	"cmp"
	"maps"
	"slices"
)

// A latest remembers of the users who were changed last with which sequence that
// was. A server that lags behind shows them as they were before.
type latest map[int64]int64

// latestUsers is how many users are remembered.
const latestUsers = 64

// add takes in rows, by user id.
func (l latest) add(rows map[int64]int64) {
	for id, sequence := range rows {
		l[id] = max(l[id], sequence)
	}
	l.trim()
}

// follow takes in a full refresh that was applied.
func (l latest) follow(list *Tail) {
	for id, sequence := range list.lower {
		if !list.same[id] {
			l[id] = sequence // set back, and believed
		}
	}
	for _, row := range list.last {
		if _, lower := list.lower[row.id]; !lower && row.id > 0 {
			l[row.id] = max(l[row.id], row.sequence)
		}
	}
	l.trim()
}

// trim forgets all but those with the highest sequences.
func (l latest) trim() {
	if len(l) <= latestUsers {
		return
	}
	down := slices.SortedFunc(maps.Keys(l), func(a, b int64) int { return cmp.Compare(l[b], l[a]) })
	for _, id := range down[latestUsers:] {
		delete(l, id)
	}
}

// without returns a copy without those who have one of these sequences.
func (l latest) without(sequences map[int64]struct{}) latest {
	copied := maps.Clone(l)
	maps.DeleteFunc(copied, func(_, sequence int64) bool { _, out := sequences[sequence]; return out })
	return copied
}
