package snapshot_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/snapshot"
)

// What goes page by page, less than MaxShrink each time, counts together.
func TestTheGuardAddsUp(t *testing.T) {
	t.Parallel()
	page := func(n, of int64, codes ...string) list { // the nth page of so many users
		l := list{}
		for id := range of {
			l[n*of+id+1] = codes
		}
		return l
	}
	count := func(s *story, code string) (n int) {
		for id := range int64(40) {
			for _, has := range s.has(id + 1) {
				if has == code {
					n++
				}
			}
		}
		return n
	}
	t.Run("users who lose all their roles", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		for n := range int64(10) {
			s.after(time.Minute).increment(page(n, 4))
		}
		assert.Equal(t, 28, count(s, "teacher"), "as many as one refresh may take are gone")
		assert.Equal(t, 28, s.gen.Held.LostRoles())
	})
	t.Run("in full refreshes", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		now := users(40, "teacher")
		for n := range int64(2) {
			for id, codes := range page(n, 10) {
				now[id] = codes
			}
			s.after(10*time.Minute).refresh(now, snapshot.RemovalContext{})
		}
		assert.Equal(t, 30, count(s, "teacher"))
		assert.Equal(t, 10, s.gen.Held.LostRoles())
	})
	t.Run("a role that goes from all who had it", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher", "member"))
		for n := range int64(5) {
			s.after(time.Minute).increment(page(n, 8, "member"))
		}
		assert.Equal(t, 8, count(s, "teacher"), "nobody knows before the last")
		assert.Equal(t, 8, s.gen.Held.LostRoles())
	})
	t.Run("users", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100, "teacher"))
		others := users(100, "teacher")
		for id := range int64(5) {
			delete(others, id+1)
		}
		s.after(9*time.Minute).refresh(others, snapshot.RemovalContext{})
		s.after(30*time.Second).refresh(users(100, "teacher"), snapshot.RemovalContext{}) // they do not count any more
		s.after(30*time.Second).refresh(users(80, "teacher"), snapshot.RemovalContext{})
		require.Equal(t, [3]int{80, 0, 0}, s.counts())
		s.after(10*time.Minute).refresh(users(65, "teacher"), snapshot.RemovalContext{})
		assert.Equal(t, [3]int{80, 15, 0}, s.counts())
		for range 2 {
			s.after(5*time.Minute).refresh(users(65, "teacher"), snapshot.RemovalContext{})
			assert.Equal(t, [3]int{80, 15, 0}, s.counts(), "three must agree")
		}
		s.after(5*time.Minute).refresh(users(65, "teacher"), snapshot.RemovalContext{})
		assert.Equal(t, [3]int{65, 0, 0}, s.counts())
		s.after(time.Minute).refresh(users(62, "teacher"), snapshot.RemovalContext{})
		assert.Equal(t, [3]int{62, 0, 0}, s.counts(), "what was confirmed does not count any more")
	})
	t.Run("users, and then a list that may lack some", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100, "teacher"))
		s.after(10*time.Minute).refresh(users(80, "teacher"), snapshot.RemovalContext{})
		for range 3 {
			s.after(5*time.Minute).refresh(users(65, "teacher"), snapshot.RemovalContext{})
			require.Equal(t, [3]int{80, 15, 0}, s.counts())
		}
		s.after(5*time.Minute).refresh(users(65, "teacher"), snapshot.RemovalContext{Mixed: true})
		require.Equal(t, [3]int{80, 15, 0}, s.counts())
		assert.Equal(t, snapshot.HeldByDoubt, s.gen.Held.Cause, "the guard has let go")
	})
	t.Run("half an hour apart", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		s.after(10*time.Minute).refresh(users(30, "teacher"), snapshot.RemovalContext{})
		s.after(30*time.Minute).refresh(users(22, "teacher"), snapshot.RemovalContext{})
		assert.Equal(t, [3]int{22, 0, 0}, s.counts())
	})
	t.Run("one by one", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(20, "teacher"))
		for n := range int64(12) {
			s.after(time.Minute).increment(page(n, 1))
			assert.Equal(t, max(0, int(n)-8), s.gen.Held.LostRoles(), "ten are too many, and nine are not")
		}
	})
	t.Run("a role whose loss was confirmed", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher", "member"))
		for range 3 {
			s.after(5*time.Minute).refresh(users(40, "member"), snapshot.RemovalContext{})
			require.Equal(t, 40, s.gen.Held.LostRoles())
		}
		s.after(5*time.Minute).refresh(users(40, "member"), snapshot.RemovalContext{})
		require.Nil(t, s.gen.Held)
		s.increment(page(0, 1, "member", "teacher"))
		s.after(time.Minute).increment(page(0, 1, "member"))
		assert.Nil(t, s.gen.Held, "it is of one user, not of 41")
	})
	t.Run("all roles, whose loss was confirmed", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		for range 4 {
			s.after(5*time.Minute).refresh(users(40), snapshot.RemovalContext{})
		}
		require.Nil(t, s.gen.Held)
		s.increment(page(0, 1, "teacher"))
		s.after(time.Minute).increment(page(0, 1))
		assert.Equal(t, 0, s.gen.Held.LostRoles())
	})
	t.Run("a role that was all they had, whose loss was confirmed", func(t *testing.T) {
		t.Parallel()
		school := func(teachers ...string) list {
			l := users(40, "pupil", "monitor")
			for id := range int64(12) {
				l[id+1] = teachers
			}
			return l
		}
		s := begin(t, school("teacher"))
		left := school()
		left[13] = []string{"pupil"} // and what somebody else has lost counts
		for range 4 {
			s.after(5*time.Minute).refresh(left, snapshot.RemovalContext{})
		}
		require.Nil(t, s.gen.Held)
		s.after(time.Minute).increment(list{14: {}})
		assert.Nil(t, s.gen.Held)
	})
	t.Run("users who come back", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100, "teacher"))
		for range 10 {
			s.after(time.Minute).refresh(users(75, "teacher"), snapshot.RemovalContext{})
			require.Equal(t, [3]int{75, 0, 0}, s.counts())
			s.after(time.Minute).refresh(users(100, "teacher"), snapshot.RemovalContext{})
		}
	})
	t.Run("users who make place for others", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		now := users(40, "teacher")
		for n := range int64(40) {
			delete(now, n+1)
			now[n+41] = []string{"teacher"}
			s.after(30*time.Second).refresh(now, snapshot.RemovalContext{})
			require.Equal(t, [3]int{40, 0, 0}, s.counts(), "the list is no shorter")
		}
	})
	t.Run("long after each other", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		for n := range int64(9) {
			s.after(16 * time.Minute).increment(page(n, 4))
		}
		assert.Equal(t, 4, count(s, "teacher"))
		assert.Nil(t, s.gen.Held)
	})
	t.Run("who has got some again", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(40, "teacher"))
		for n := range int64(10) {
			s.after(time.Minute).increment(page(n, 4))
			require.Equal(t, n == 9, s.gen.Held != nil)
			s.increment(page(n, 4, "admin"))
		}
		assert.Equal(t, 40, count(s, "admin"))
		assert.Equal(t, 4, s.gen.Held.LostRoles(), "only nobody is a teacher any more")
	})
	t.Run("who loses them again", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(20, "teacher"))
		for range 5 {
			s.after(time.Minute).increment(page(0, 5))
			require.Nil(t, s.gen.Held, "it is the same five")
			s.increment(page(0, 5, "teacher"))
		}
	})
	t.Run("a handful", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(5, "teacher"))
		for n := range int64(4) {
			s.after(time.Minute).increment(page(n, 1))
		}
		assert.Nil(t, s.gen.Held)
	})
}
