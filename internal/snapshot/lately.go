package snapshot

import (
	"math"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
)

// This file is what the shrink guard remembers. A job that goes through the list page
// by page takes away less than MaxShrink with each refresh, and in the end everything.
// So what refreshes have taken away within twice ShrinkHold counts together, as long as
// it is not there again. What was held and then applied does not count: full refreshes,
// or an operator, have confirmed it.

// Losses are what refreshes have taken away lately, the oldest first. They are immutable;
// nil are none. They are not stored, and other replicas have their own.
type Losses []loss

// A loss is what one refresh has taken away: who is gone, who has lost all their roles,
// and, by its code, who has lost a role altogether.
type loss struct {
	at          clock.Instant
	of          int // how many users there were
	users, bare []int64
	roles       map[string][]int64
}

// recent returns those that count still at that moment.
func (l Losses) recent(now clock.Instant, limits Limits) Losses {
	old := slices.IndexFunc(l, func(x loss) bool { return x.at.Age(now) < 2*limits.ShrinkHold })
	if old < 0 {
		return nil
	}
	return l[old:]
}

// with returns them with another one.
func (l Losses) with(x loss) Losses {
	if x.users == nil && x.roles == nil {
		return l
	}
	return append(slices.Clip(l), x)
}

func (x *loss) ofRole(code string, id int64) {
	if x.roles == nil {
		x.roles = map[string][]int64{}
	}
	x.roles[code] = append(x.roles[code], id)
}

// count returns how many different users of these count.
func (l Losses) count(users func(loss) []int64, counts func(id int64) bool) int {
	seen := map[int64]struct{}{}
	for _, x := range l {
		for _, id := range users(x) {
			if counts(id) {
				seen[id] = struct{}{}
			}
		}
	}
	return len(seen)
}

// usersBeside counts who is gone, beside those who go now; and by how many users the
// list is shorter than before all of them. Where guests come and go, it is not.
func (l Losses) usersBeside(now map[int64]struct{}, list *Generation) (others, shorter int) {
	if len(l) == 0 {
		return 0, 0
	}
	return l.count(func(x loss) []int64 { return x.users }, func(id int64) bool {
		_, goes := now[id]
		_, listed := list.Find(id)
		return !goes && !listed
	}), l[0].of - list.Users
}

// bareBeside counts who has no roles any more, beside those who lose some now.
func (l Losses) bareBeside(now func(id int64) bool, list *Generation) int {
	return l.count(func(x loss) []int64 { return x.bare }, func(id int64) bool {
		at, listed := list.Find(id)
		return listed && !now(id) && list.Snapshot.Grants(at).Len() == 0
	})
}

// roleBeside counts who has lost a role, beside those who lose some now.
func (l Losses) roleBeside(code string, now func(id int64) bool) int {
	return l.count(func(x loss) []int64 { return x.roles[code] }, func(id int64) bool { return !now(id) })
}

// ofRole is how often somebody has lost a role.
func (l Losses) ofRole(code string) (n int) {
	for _, x := range l {
		n += len(x.roles[code])
	}
	return n
}

// shifted returns them with by applied to all instants.
func (l Losses) shifted(by func(clock.Instant) clock.Instant) Losses {
	l = slices.Clone(l)
	for i := range l {
		l[i].at = by(l[i].at)
	}
	return l
}

// tooManyTogether reports whether so many of so many, lost one after the other, are
// what the guard would not let go at once.
func (l Limits) tooManyTogether(lost, of int) bool { return l.TooMany(lost, math.MaxInt, of) }
