package snapshot_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// All instants of a generation are shifted, but those that are none; and the
// generation that requests see stays as it is.
func TestShifted(t *testing.T) {
	t.Parallel()
	at := func(n int) clock.Instant { return clock.Instant{}.Add(time.Duration(n) * time.Minute) }
	made := func(by int, held bool) *snapshot.Generation {
		gen := &snapshot.Generation{Contact: at(1 + by), Verified: at(2 + by), Refreshed: at(3 + by), Cursor: 9}
		if held {
			gen.Held = &snapshot.HeldRemovals{
				Since: at(4 + by), GrantsKnown: at(5 + by), Cause: snapshot.HeldBySync, Looks: []clock.Instant{at(6 + by), at(7 + by)},
				Users: map[int64]snapshot.HeldUser{1: {Missing: at(8 + by), Listed: at(9 + by)}, 2: {Missing: at(10 + by), Listed: at(11 + by)}},
			}
		}
		return gen
	}
	for _, held := range []bool{false, true} {
		gen := made(0, held)
		got := gen.Shifted(func(i clock.Instant) clock.Instant { return i.Add(time.Hour) })
		assert.Equal(t, made(60, held), got)
		assert.Equal(t, made(0, held), gen)
	}
}
