package snapshot_test

import (
	"maps"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// What a list says of the one before it.
func TestComparedWithTheOneBefore(t *testing.T) {
	t.Parallel()
	without := func(n int64, ids ...int64) list {
		l := users(n, "teacher")
		for _, id := range ids {
			delete(l, id)
		}
		return l
	}
	with := func(l list, id int64, codes ...string) list {
		l = maps.Clone(l)
		l[id] = codes
		return l
	}
	first := users(100, "teacher")
	upTo := func(n int64) (ids []int64) {
		for id := range n {
			ids = append(ids, id+1)
		}
		return ids
	}
	for _, c := range []struct {
		name      string
		after     list
		removed   []int64
		same      bool
		onlyLacks bool
	}{
		{"nothing has changed", first, nil, true, true},
		{"one is gone", without(100, 7), []int64{7}, false, true},
		{"ten are gone", without(100, upTo(10)...), upTo(10), false, true},
		{"eleven are gone", without(100, upTo(11)...), upTo(11), false, false},
		{"so many that the shrink guard holds them", without(100, upTo(31)...), upTo(31), false, true},
		{"one is gone, and another has other roles", with(without(100, 7), 8, "admin"), []int64{7}, false, false},
		{"one is gone, and another has come", with(without(100, 7), 101, "teacher"), []int64{7}, false, false},
		{"one has come", with(first, 101, "teacher"), nil, false, false},
		{"one has come, and another has other roles", with(with(first, 101, "teacher"), 8, "admin"), nil, false, false},
		{"one is there, but invalid", with(first, 7, "invalid"), nil, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, first)
			before := s.gen
			made, err := index.NewSnapshot(s.build(c.after), s.roles, 0)
			require.NoError(t, err)
			next := &snapshot.Generation{Snapshot: made}
			removed := next.Removed(before)
			slices.Sort(removed)
			assert.Equal(t, c.removed, removed)
			assert.Equal(t, c.same, next.Same(before))
			assert.Equal(t, c.onlyLacks, next.OnlyLacks(before, usual))

			assert.Empty(t, next.Removed(nil))
			assert.False(t, next.Same(nil))
			assert.True(t, next.OnlyLacks(nil, usual))
		})
	}
	t.Run("what is on top of either, what is held and the cursor make a difference", func(t *testing.T) {
		t.Parallel()
		s := begin(t, first)
		for name, change := range map[string]func(*snapshot.Generation){
			"touched": func(gen *snapshot.Generation) { gen.Touched = true },
			"held":    func(gen *snapshot.Generation) { gen.Held = &snapshot.HeldRemovals{} },
			"cursor":  func(gen *snapshot.Generation) { gen.Cursor++ },
		} {
			other := *s.gen
			assert.True(t, other.Same(s.gen))
			change(&other)
			assert.False(t, other.Same(s.gen), name)
			assert.False(t, s.gen.Same(&other), name)
		}
	})
}
