package snapshot

import (
	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
)

// A Generation is a snapshot with what is known about how old it is.
type Generation struct {
	*index.Snapshot
	Number    uint64        // counts swaps
	Cursor    int64         // the sequence that the next incremental pull goes on from
	Contact   clock.Instant // start of the last pull that succeeded, of either kind
	Verified  clock.Instant // start of the last full walk that succeeded and held nothing back
	Refreshed clock.Instant // start of the last full walk that was swapped in, whatever it held back
	Held      *HeldRemovals // removals that a walk has seen and not applied; nil if there are none
}

// KnownFor is up to when revocations are known that could concern a user, whose
// removal is held or not. A hold keeps the verified age old for all, but only those who are
// held have lost something that is not known to requests.
func (gen *Generation) KnownFor(held bool) clock.Instant {
	if held {
		return gen.Verified
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
