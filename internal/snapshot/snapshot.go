package snapshot

import (
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

	// Above has for each user that the last full refresh has shown with a sequence
	// above that from which an incremental refresh would have asked when it began,
	// the highest such sequence.
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
			return gen.Held.GrantsKnown
		}
	}
	return gen.Refreshed
}

// Apply puts the rows that an incremental refresh has read on top of the
// generation's index. highest is the highest sequence that it has read. Only a
// generation that nobody else sees yet may be changed so.
func (gen *Generation) Apply(rows *index.Builder, highest int64, roles *index.RoleSpace, aliases index.FieldSet) (changes *index.Table, err error) {
	if changes, err = rows.Finish(); err != nil {
		return nil, err
	}
	s, err := gen.With(changes, roles, aliases)
	if err != nil {
		return nil, err
	}
	gen.Snapshot, gen.Cursor = s, max(gen.Cursor, highest)
	return changes, nil
}

// Stamps are when, on the shared clock, what a generation says of its age was.
type Stamps struct{ Contact, Verified, Refreshed int64 }

// Older reports whether these are of an index that is older in any respect: that
// does not know of a removal that the other knows of, or of a change.
func (s Stamps) Older(than Stamps) bool {
	return s.Verified < than.Verified || s.Contact < than.Contact
}

// Older is the same for generations: on one clock, that of this process.
func (gen *Generation) Older(than *Generation) bool {
	return gen.Verified.Mono < than.Verified.Mono || gen.Contact.Mono < than.Contact.Mono
}
