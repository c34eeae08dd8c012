package snapshot_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/snapshot"
)

// Who is missing from a list that may lack users who are listed stays until another
// list decides.
func TestDoubt(t *testing.T) {
	t.Parallel()
	mixed, behind, whole := snapshot.RemovalContext{Mixed: true}, snapshot.RemovalContext{Behind: 1}, snapshot.RemovalContext{}
	lacks := func(ids ...int64) list {
		l := users(40, "teacher")
		for _, id := range ids {
			delete(l, id)
		}
		return l
	}
	type look struct {
		after time.Duration
		shows list
		by    snapshot.RemovalContext
		held  int // users whose removal is in doubt then
		known int // the look up to which all removals are known, 0 is the first list
		out   []int64
	}
	for _, c := range []struct {
		name  string
		looks []look
	}{
		{"a list that lacks nobody decides", []look{{10 * time.Minute, lacks(1), behind, 1, 0, nil}, {time.Second, lacks(1), whole, 0, 2, []int64{1}}}},
		{"they are listed again", []look{{10 * time.Minute, lacks(1), behind, 1, 0, nil}, {time.Second, lacks(), mixed, 0, 2, nil}}},
		{"two that are behind decide nothing", []look{
			{10 * time.Minute, lacks(1), behind, 1, 0, nil}, {time.Minute, lacks(1), behind, 1, 0, nil}, {time.Hour, lacks(1), behind, 1, 0, nil},
		}},
		{"two that are mixed agree", []look{{10 * time.Minute, lacks(1), mixed, 1, 0, nil}, {55 * time.Second, lacks(1), mixed, 0, 2, []int64{1}}}},
		{"one that is mixed confirms one that is behind", []look{{10 * time.Minute, lacks(1), behind, 1, 0, nil}, {55 * time.Second, lacks(1), mixed, 0, 2, []int64{1}}}},
		{"two mixed ones right behind each other are one look", []look{
			{10 * time.Minute, lacks(1), mixed, 1, 0, nil}, {50 * time.Second, lacks(1), mixed, 1, 0, nil}, {5 * time.Second, lacks(1), mixed, 0, 3, []int64{1}},
		}},
		{"each user is decided about alone", []look{
			{10 * time.Minute, lacks(1), mixed, 1, 0, nil},
			{time.Minute, lacks(1, 2), mixed, 1, 1, []int64{1}},
			{time.Minute, lacks(1, 2, 3), mixed, 1, 2, []int64{1, 2}},
			{time.Minute, lacks(1, 2), mixed, 0, 4, []int64{1, 2}},
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, lacks())
			began := []int64{s.now.Mono}
			for i, look := range c.looks {
				s.after(look.after).refresh(look.shows, look.by)
				began = append(began, s.now.Mono)
				require.Equal(t, look.held, s.gen.Held.Size(), "look %d", i+1)
				assert.Equal(t, began[look.known], s.gen.Verified.Mono, "look %d", i+1)
				assert.Equal(t, s.now, s.gen.Refreshed)
				assert.Equal(t, s.now, s.gen.Contact)
				for id := range int64(40) {
					out := slices.Contains(look.out, id+1)
					assert.Equal(t, out, s.has(id+1) == nil, "user %d after look %d", id+1, i+1)
					switch {
					case out:
					case s.gen.Held.Has(id + 1):
						assert.Equal(t, began[look.known], s.gen.KnownFor(id+1).Mono)
						assert.Equal(t, snapshot.HeldByDoubt, s.gen.Held.Cause)
					default:
						assert.Equal(t, s.now, s.gen.KnownFor(id+1), "and nobody else is")
					}
				}
			}
		})
	}
}

// A new row ends the doubt of one user.
func TestDoubtEndsWithARow(t *testing.T) {
	t.Parallel()
	s := begin(t, users(40, "teacher"))
	left := users(40, "teacher")
	delete(left, 1)
	delete(left, 2)
	s.after(10*time.Minute).refresh(left, snapshot.RemovalContext{Behind: 1})
	s.increment(list{1: {"admin"}})
	assert.Equal(t, []string{"admin"}, s.has(1))
	assert.False(t, s.gen.Held.Has(1))
	assert.True(t, s.gen.Held.Has(2))
}

// What may be of a broken upstream is held by the guard, and for a sync as without
// doubt.
func TestDoubtIsTheLeastOfCauses(t *testing.T) {
	t.Parallel()
	s := begin(t, users(40, "teacher"))
	s.after(10*time.Minute).refresh(users(20, "teacher"), snapshot.RemovalContext{Mixed: true})
	assert.Equal(t, snapshot.HeldByShrinkGuard, s.gen.Held.Cause)
	assert.Equal(t, 20, s.gen.Held.Size())
	s = begin(t, users(40, "teacher"))
	s.after(10*time.Minute).refresh(users(39, "teacher"), snapshot.RemovalContext{Mixed: true, Syncing: true})
	assert.Equal(t, snapshot.HeldBySync, s.gen.Held.Cause)
}

// An operator may accept it, too.
func TestDoubtAccepted(t *testing.T) {
	t.Parallel()
	s := begin(t, users(40, "teacher"))
	s.after(10*time.Minute).refresh(users(39, "teacher"), snapshot.RemovalContext{Behind: 1})
	require.Equal(t, 1, s.gen.Held.Size())
	s.after(time.Second).refresh(users(38, "teacher"), snapshot.RemovalContext{Behind: 1, Accept: s.gen.HeldDigest()})
	assert.Nil(t, s.has(40))
	assert.NotNil(t, s.has(39), "it is not what was accepted")
}
