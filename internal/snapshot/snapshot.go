package snapshot

import (
	"maps"
	"slices"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// A Generation is an index with what is known about how old it is. What a full
// refresh makes is a base: see [Generation.WithRows]. It is immutable once requests
// see it.
type Generation struct {
	*index.Snapshot
	Number    uint64        // counts what requests have seen
	Cursor    int64         // the sequence that the next incremental refresh goes on from
	Contact   clock.Instant // start of the last refresh that succeeded, of either kind
	Verified  clock.Instant // start of the last full refresh that held nothing back
	Refreshed clock.Instant // start of the last full refresh that was applied, whatever it held back
	Held      *HeldRemovals // removals that a full refresh has seen and not applied; nil if there are none
	Lately    Losses        // what refreshes have taken away lately; nil if nothing

	// Touched is whether incremental refreshes have changed it since that full one,
	// and Elsewhere whether another replica has made that.
	Touched, Elsewhere bool

	// RowsUntil is up to when rows may be in it that came with a base of another
	// replica, and that nothing else says of: the zero instant if there are none.
	RowsUntil clock.Instant

	// ReadUntil is up to when the full refresh may have read: when it was applied here.
	// The zero instant if it comes from a cache.
	ReadUntil clock.Instant

	// Above has for each user that the last full refresh has shown with a sequence
	// above that from which an incremental refresh would have asked when it began,
	// the highest such sequence; and for each who was removed shortly before, the
	// highest that was known then.
	Above map[int64]int64
}

// KnownFor returns up to when all revocations are known that could concern a user.
// A hold keeps the verified age old for all; but only those whose removal, or loss
// of roles, is held have lost something that requests do not know of.
func (gen *Generation) KnownFor(id int64) clock.Instant {
	if gen.Held != nil {
		if u, ok := gen.Held.Users[id]; ok {
			return u.Listed
		}
		if gen.Held.heldGrants(id).Len() > 0 {
			return gen.Held.lost(id).Known
		}
	}
	return gen.Refreshed
}

// Apply puts the rows that an incremental refresh has read on top of the
// generation's index. Only a generation that nobody else sees yet may be changed
// so.
func (gen *Generation) Apply(rows *index.Builder, roles *index.RoleSpace, aliases index.FieldSet) (changes *index.Table, err error) {
	if changes, err = rows.Finish(); err != nil {
		return nil, err
	}
	s, err := gen.With(changes, roles, aliases)
	if err != nil {
		return nil, err
	}
	gen.Snapshot = s
	return changes, nil
}

// Shifted returns the generation with by applied to all its instants.
func (gen *Generation) Shifted(by func(clock.Instant) clock.Instant) *Generation {
	next := *gen
	next.Contact, next.Verified, next.Refreshed = by(gen.Contact), by(gen.Verified), by(gen.Refreshed)
	for _, until := range []*clock.Instant{&next.RowsUntil, &next.ReadUntil} {
		if *until != (clock.Instant{}) {
			*until = by(*until)
		}
	}
	next.Lately = gen.Lately.shifted(by)
	if gen.Held == nil {
		return &next
	}
	held := *gen.Held
	for _, i := range []*clock.Instant{&held.Since, &held.SyncSince, &held.GrantsSince, &held.GrantsKnown} {
		if *i != (clock.Instant{}) {
			*i = by(*i)
		}
	}
	held.Looks = slices.Clone(held.Looks)
	for i, at := range held.Looks {
		held.Looks[i] = by(at)
	}
	held.Users = maps.Clone(held.Users)
	for id, u := range held.Users {
		held.Users[id] = HeldUser{Missing: by(u.Missing), Listed: by(u.Listed)}
	}
	held.Lost = maps.Clone(held.Lost)
	for id, times := range held.Lost {
		held.Lost[id] = LostGrants{Since: by(times.Since), Known: by(times.Known)}
	}
	next.Held = &held
	return &next
}
