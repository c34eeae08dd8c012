package snapshot_test

import (
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
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
		{"two that are mixed, just as far apart as they must be", []look{{10 * time.Minute, lacks(1), mixed, 1, 0, nil}, {54 * time.Second, lacks(1), mixed, 0, 2, []int64{1}}}},
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

// A list may lack only some of those who are missing.
func TestDoubtOfSome(t *testing.T) {
	t.Parallel()
	s := begin(t, users(40, "teacher"))
	doubts := func(id int64) bool { return id == 40 }
	s.after(10*time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{Behind: 1, Doubts: doubts})
	assert.Equal(t, [3]int{39, 1, 0}, s.counts())
	assert.True(t, s.gen.Held.Has(40))
	s.after(time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{Behind: 1, Doubts: func(int64) bool { return false }})
	assert.Nil(t, s.gen.Held)
}

// All that was taken away is known up to when the last list began that had all of those
// who are in doubt, and all the roles that are held.
func TestHowOldADoubtIs(t *testing.T) {
	t.Parallel()
	s := begin(t, users(40, "teacher", "member"))
	var began []clock.Instant
	for n := range int64(4) {
		s.after(10*time.Second).refresh(users(40-n, "teacher", "member"), snapshot.RemovalContext{Behind: 1})
		began = append(began, s.now)
	}
	assert.Equal(t, 3, s.gen.Held.Size())
	assert.Equal(t, began[0], s.gen.Verified)
	s.after(10*time.Second).refresh(users(40, "teacher", "member"), snapshot.RemovalContext{})
	listed := s.now
	s.after(10*time.Second).refresh(users(39, "member"), snapshot.RemovalContext{Behind: 1})
	assert.Equal(t, [3]int{40, 1, 39}, s.counts())
	assert.Equal(t, listed, s.gen.Verified)
}

// What another replica's list is in doubt of is held with what is known here.
func TestADoubtOfAnotherReplica(t *testing.T) {
	t.Parallel()
	never, gone := func(int64) bool { return false }, func(id int64) bool { return id >= 39 }
	there := func() *story { // 39 and 40 are missing from its list, and were listed ten minutes before
		s := begin(t, users(40, "teacher"))
		s.after(10*time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{Behind: 1})
		require.Equal(t, 2, s.gen.Held.Size())
		return s
	}
	first := there().now.Add(-10 * time.Minute)
	for _, c := range []struct {
		name     string
		here     func(s *story)
		gone     func(id int64) bool
		out      []int64
		known    time.Duration // after the first list
		verified time.Duration
	}{
		{"no list is known here", nil, gone, nil, 0, 0},
		{"an older list", func(s *story) {}, never, nil, 0, 0},
		{"a later list has them", func(s *story) { s.after(8*time.Minute).refresh(users(40, "teacher"), snapshot.RemovalContext{}) }, gone, nil, 8 * time.Minute, 8 * time.Minute},
		{"a later list lacks them, and they may be listed again", func(s *story) { s.after(8*time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{}) }, never, nil, 8 * time.Minute, 8 * time.Minute},
		{"they are gone", func(s *story) { s.after(8*time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{}) }, gone, []int64{39, 40}, 0, 10 * time.Minute},
		{"one of them is gone", func(s *story) { s.after(8*time.Minute).refresh(users(39, "teacher"), snapshot.RemovalContext{}) }, gone, []int64{40}, 8 * time.Minute, 8 * time.Minute},
		{"they are in doubt here, too", func(s *story) {
			s.after(7*time.Minute).refresh(users(40, "teacher"), snapshot.RemovalContext{})
			s.after(time.Minute).refresh(users(38, "teacher"), snapshot.RemovalContext{Behind: 1})
		}, gone, nil, 7 * time.Minute, 7 * time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			from, before := there(), (*snapshot.Generation)(nil)
			if c.here != nil {
				s := begin(t, users(40, "teacher"))
				c.here(s)
				before = s.gen
			}
			gen, err := from.gen.Beside(before, c.gone, from.roles, 0)
			require.NoError(t, err)
			from.gen = gen
			assert.Equal(t, [3]int{40 - len(c.out), 2 - len(c.out), 0}, from.counts())
			for id := int64(39); id <= 40; id++ {
				if slices.Contains(c.out, id) {
					assert.Nil(t, from.has(id))
				} else {
					assert.Equal(t, first.Add(c.known), gen.KnownFor(id))
				}
			}
			assert.Equal(t, first.Add(c.verified), gen.Verified)
			assert.Equal(t, len(c.out) == 2, gen.Held == nil)
			if gen.Held != nil {
				assert.Equal(t, from.now, gen.Held.Since)
			}
			assert.Equal(t, first, there().gen.Verified, "the other replica's is as it was")
		})
	}
	t.Run("roles are held, too", func(t *testing.T) {
		t.Parallel()
		s, here := begin(t, users(40, "teacher", "member")), begin(t, users(40, "teacher", "member"))
		s.after(10*time.Minute).refresh(users(39, "member"), snapshot.RemovalContext{Behind: 1})
		here.after(8*time.Minute).refresh(users(39, "teacher", "member"), snapshot.RemovalContext{})
		gen, err := s.gen.Beside(here.gen, gone, s.roles, 0)
		require.NoError(t, err)
		assert.Equal(t, first, gen.Verified)
		assert.Equal(t, 39, gen.Held.LostRoles())
		assert.Equal(t, s.now, gen.Held.Since)
	})
	t.Run("what else is held is not touched", func(t *testing.T) {
		t.Parallel()
		s, here := begin(t, users(40, "teacher")), begin(t, users(20, "teacher"))
		s.after(10*time.Minute).refresh(users(20, "teacher"), snapshot.RemovalContext{})
		gen, err := s.gen.Beside(here.gen, func(int64) bool { return true }, s.roles, 0)
		require.NoError(t, err)
		assert.Same(t, s.gen, gen)
	})
	t.Run("nothing is held", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		gen, err := s.gen.Beside(s.gen, gone, s.roles, 0)
		require.NoError(t, err)
		assert.Same(t, s.gen, gen)
	})
}
