package snapshot_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// What differs in its ages alone has the number of the one before: whoever has looked at
// that need not look again.
func TestPublishNumbersWhatDiffers(t *testing.T) {
	t.Parallel()
	var live snapshot.Live
	live.Open()
	calls := 0
	live.OnPublish(func() { calls++ })
	list, other, held := &index.Snapshot{}, &index.Snapshot{}, &snapshot.HeldRemovals{}
	for i, c := range []struct {
		gen    snapshot.Generation
		number uint64
	}{
		{snapshot.Generation{Snapshot: list}, 1},
		{snapshot.Generation{Snapshot: list, Cursor: 7}, 1},
		{snapshot.Generation{Snapshot: other}, 2},
		{snapshot.Generation{Snapshot: other, Held: held}, 3},
		{snapshot.Generation{Snapshot: other, Held: held}, 3},
		{snapshot.Generation{Snapshot: list, Held: held}, 4},
		{snapshot.Generation{Snapshot: other}, 5},
	} {
		published := live.Published()
		live.Publish(&c.gen)
		assert.Same(t, &c.gen, live.Load())
		assert.Equal(t, c.number, c.gen.Number, "publish %d", i+1)
		assert.Equal(t, i+1, calls)
		select {
		case <-published:
		default:
			t.Error("nobody was told")
		}
	}
}
