package snapshot_test

import (
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

var usual = snapshot.Limits{MaxShrink: 0.3, ShrinkHold: 15 * time.Minute, ConfirmAfter: time.Minute, SyncHold: 30 * time.Minute, ResyncEvery: 10 * time.Minute}

// A list has the role codes of each user, all in organisation 7.
type list map[int64][]string

// users is a list of users 1 to n, each with that role.
func users(n int64, codes ...string) list {
	l := list{}
	for id := range n {
		l[id+1] = codes
	}
	return l
}

// A story is what requests see while a list changes.
type story struct {
	t      require.TestingT
	limits snapshot.Limits
	roles  *index.RoleSpace
	now    clock.Instant
	gen    *snapshot.Generation
}

func begin(t require.TestingT, l list) *story {
	s := &story{t: t, limits: usual, now: clock.Instant{Mono: int64(1000 * time.Hour), Wall: int64(1000 * time.Hour)}}
	s.roles, _ = index.NewRoleSpace(nil)
	s.refresh(l, snapshot.RemovalContext{})
	return s
}

func (s *story) build(l list) *index.Builder {
	b := index.NewBuilder(0, nil, s.roles.Publish())
	for id, codes := range l {
		row := index.Row{ID: id, Sequence: 1, Invalid: slices.Contains(codes, "invalid"), DroppedGrant: slices.Contains(codes, "dropped")}
		for _, code := range codes {
			if code == "dropped" {
				continue
			}
			role, _ := b.Role(code)
			row.Grants = append(row.Grants, index.Grant{Org: 7, Role: role})
		}
		row.Grants = index.SortGrants(row.Grants)
		b.Put(&row)
	}
	require.True(s.t, b.Settle(s.roles))
	return b
}

// refresh makes a full refresh that begins now.
func (s *story) refresh(l list, c snapshot.RemovalContext) {
	c.Started = s.now
	made, err := index.NewSnapshot(s.build(l), s.roles, 0)
	require.NoError(s.t, err)
	next := &snapshot.Generation{Snapshot: made, Contact: s.now, Verified: s.now, Refreshed: s.now}
	require.NoError(s.t, next.HoldBack(s.gen, s.limits, c, s.roles, 0))
	s.gen = next
}

// increment makes an incremental refresh that brings these users.
func (s *story) increment(l list) {
	next := *s.gen
	changes, err := next.Apply(s.build(l), s.roles, 0)
	require.NoError(s.t, err)
	next.Held = s.gen.Held.Without(changes)
	require.NoError(s.t, next.HoldLostRoles(s.gen, changes, s.limits, s.now, s.roles, 0))
	s.gen = &next
}

func (s *story) after(d time.Duration) *story {
	s.now = s.now.Add(d)
	return s
}

// has returns the roles of a user, nil if the user is not listed.
func (s *story) has(id int64) []string {
	at, ok := s.gen.Find(id)
	if !ok {
		return nil
	}
	codes := []string{}
	gs := s.gen.Snapshot.Grants(at)
	for i := range gs.Len() {
		codes = append(codes, s.gen.Roles.Code(gs.Role(i)))
	}
	slices.Sort(codes)
	return codes
}

// counts returns how many users are listed, how many removals are held, and of how
// many users a loss of roles is.
func (s *story) counts() [3]int {
	return [3]int{s.gen.Users, s.gen.Held.Size(), s.gen.Held.LostRoles()}
}

func TestTooMany(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		removed, left, of int
		want              bool
	}{
		{0, 0, 0, false}, {0, 10, 10, false}, {1, 1, 1, true}, {9, 9, 9, true}, {9, 10, 10, false}, {9, 20, 20, false},
		{10, 20, 20, true}, {30, 100, 100, false}, {31, 100, 100, true}, {31, 31, 200, true},
	} {
		assert.Equal(t, c.want, usual.TooMany(c.removed, c.left, c.of), "%+v", c)
	}
}

// An emptied list locks nobody out, until it has been empty for ShrinkHold and
// three full refreshes have seen so.
func TestShrinkHold(t *testing.T) {
	t.Parallel()
	nothing := snapshot.RemovalContext{}
	for _, c := range []struct {
		name string
		at   []time.Duration // the full refreshes that see it empty
		held bool
	}{
		{"one look", []time.Duration{0}, true},
		{"two looks a minute apart", []time.Duration{0, time.Minute}, true},
		{"two looks, and time enough", []time.Duration{0, 15 * time.Minute}, true},
		{"three looks within a quarter of an hour", []time.Duration{0, 5 * time.Minute, 15*time.Minute - 1}, true},
		{"three looks and time enough", []time.Duration{0, 5 * time.Minute, 15 * time.Minute}, false},
		{"three looks, two of them less than a minute apart by what timers are jittered", []time.Duration{0, 54 * time.Second, 15 * time.Minute}, false},
		{"three looks, two of them closer", []time.Duration{0, 54*time.Second - 1, 15 * time.Minute}, true},
		{"three looks, two of them at once", []time.Duration{0, time.Second, 15 * time.Minute}, true},
		{"three looks, two of them at the end", []time.Duration{0, 15*time.Minute - time.Second, 15 * time.Minute}, true},
		{"many looks at once, then others", []time.Duration{0, 1, 2, 3, 50 * time.Second, time.Minute, 15 * time.Minute}, false},
		{"an hour without a look", []time.Duration{0, time.Hour}, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, users(100, "teacher"))
			verified := s.after(time.Minute).gen.Verified
			first := s.now
			for _, at := range c.at {
				s.now = first.Add(at)
				s.refresh(list{}, nothing)
			}
			if !c.held {
				assert.Equal(t, [3]int{0, 0, 0}, s.counts())
				assert.Nil(t, s.gen.Held)
				assert.Equal(t, s.now, s.gen.Verified)
				return
			}
			require.Equal(t, [3]int{100, 100, 0}, s.counts())
			assert.Equal(t, []string{"teacher"}, s.has(1))
			assert.Equal(t, verified, s.gen.Verified)
			assert.Equal(t, s.now, s.gen.Refreshed)
			assert.Equal(t, snapshot.HeldByShrinkGuard, s.gen.Held.Cause)
			assert.Equal(t, first, s.gen.Held.Since)
			assert.Equal(t, snapshot.HeldUser{Missing: first, Listed: verified}, s.gen.Held.Users[1])
			assert.Equal(t, verified, s.gen.KnownFor(1))
		})
	}
}

// Halves of a list that alternate hold each other's removal for ever; who is listed
// at the moment is known as well as ever, and nobody is locked out.
func TestAlternatingHalves(t *testing.T) {
	t.Parallel()
	whole := users(100, "teacher")
	s := begin(t, whole)
	for round := range 30 {
		s.after(10 * time.Minute)
		half := maps.Clone(whole)
		maps.DeleteFunc(half, func(id int64, _ []string) bool { return id > 10 && int(id)%2 == round%2 })
		s.refresh(half, snapshot.RemovalContext{})
		require.Equal(t, 100, s.gen.Users)
		for id := range whole {
			want := s.now
			if _, ok := half[id]; !ok {
				want = s.now.Add(-10 * time.Minute)
			}
			require.Equal(t, want, s.gen.KnownFor(id), "user %d in round %d", id, round)
		}
	}
}

// While the shrink guard holds, full refreshes are as often as it needs them.
func TestNextLook(t *testing.T) {
	t.Parallel()
	const start = time.Hour
	missing := func(ago ...time.Duration) *snapshot.HeldRemovals {
		h := &snapshot.HeldRemovals{Cause: snapshot.HeldByShrinkGuard, Users: map[int64]snapshot.HeldUser{}}
		for i, d := range ago {
			h.Users[int64(i+1)] = snapshot.HeldUser{Missing: clock.Instant{}.Add(start - d)}
		}
		return h
	}
	role := begin(t, users(100, "teacher"))
	role.refresh(users(100), snapshot.RemovalContext{})
	roles := func(ago time.Duration, h *snapshot.HeldRemovals) *snapshot.HeldRemovals {
		h.Grants, h.GrantsSince = role.gen.Held.Grants, clock.Instant{}.Add(start-ago)
		return h
	}
	young := missing()
	young.Users[1] = snapshot.HeldUser{Missing: clock.Instant{}.Add(2 * time.Minute)}
	sync := missing(12 * time.Minute)
	sync.Cause = snapshot.HeldBySync
	doubt := missing(12 * time.Minute)
	doubt.Cause = snapshot.HeldByDoubt
	often := usual
	often.ResyncEvery = 20 * time.Second
	short := usual
	short.ShrinkHold = 2 * time.Minute
	for _, c := range []struct {
		name   string
		held   *snapshot.HeldRemovals
		limits snapshot.Limits
		now    time.Duration
		want   time.Duration
	}{
		{"nothing is held", nil, usual, start, 10 * time.Minute},
		{"held for a sync", sync, usual, start, 10 * time.Minute},
		{"in doubt", doubt, usual, start, time.Minute},
		{"in doubt, and full refreshes are frequent", doubt, often, start, 20 * time.Second},
		{"a third of the hold", missing(0), usual, start, 5 * time.Minute},
		{"when the hold ends", missing(12 * time.Minute), usual, start, 3 * time.Minute},
		{"when the first of several ends", missing(0, 13*time.Minute, 11*time.Minute), usual, start, 2 * time.Minute},
		{"not so soon that it is no evidence", missing(14*time.Minute + 30*time.Second), usual, start, time.Minute},
		{"the hold has just ended", missing(15 * time.Minute), usual, start, 5 * time.Minute},
		{"the hold has ended", missing(20 * time.Minute), usual, start, 5 * time.Minute},
		{"a hold of two minutes", missing(0), short, start, time.Minute},
		{"roles", roles(12*time.Minute, missing()), usual, start, 3 * time.Minute},
		{"roles sooner than users", roles(12*time.Minute, missing(0)), usual, start, 3 * time.Minute},
		{"the process is younger than the hold", young, usual, 12 * time.Minute, 5 * time.Minute},
	} {
		assert.Equal(t, c.want, c.limits.NextLook(c.held, clock.Instant{}.Add(c.now)), c.name)
	}
}

// Who are out for certain, or go with evidence, are not among those who are left.
func TestWhoIsLeft(t *testing.T) {
	t.Parallel()
	nothing := snapshot.RemovalContext{}
	invalid := func(n int64, l list) list {
		for id := range n {
			l[id+1] = []string{"invalid"}
		}
		return l
	}
	t.Run("all but invalid records are gone", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(9))
		s.refresh(invalid(4, list{}), nothing)
		assert.Equal(t, [3]int{5, 5, 0}, s.counts())
	})
	t.Run("all but those who were accepted", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(22))
		s.after(time.Minute).refresh(users(7), nothing)
		require.Equal(t, [3]int{22, 15, 0}, s.counts())
		s.after(time.Minute).refresh(invalid(2, list{}), snapshot.RemovalContext{Accept: s.gen.HeldDigest()})
		assert.Equal(t, [3]int{5, 5, 0}, s.counts())
	})
	t.Run("all who had roles and are listed still have lost them", func(t *testing.T) {
		t.Parallel()
		before, after := users(33), list{}
		for id := range int64(33) {
			if id < 13 {
				before[id+1] = []string{fmt.Sprint("role-", id)}
			}
			if id < 5 || id >= 13 {
				after[id+1] = nil
			}
		}
		s := begin(t, before)
		s.refresh(after, nothing)
		assert.Equal(t, [3]int{25, 0, 5}, s.counts())
	})
	t.Run("a few more than were accepted", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(20))
		s.after(time.Minute).refresh(users(5), nothing)
		s.after(time.Minute).refresh(users(2), snapshot.RemovalContext{Accept: s.gen.HeldDigest()})
		assert.Equal(t, [3]int{2, 0, 0}, s.counts())
	})
	for _, c := range []struct {
		name string
		last int64
		want [3]int
	}{
		{"all but those who were missing from enough refreshes", 0, [3]int{5, 5, 0}},
		{"a few more than enough refreshes have missed", 2, [3]int{2, 0, 0}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, users(20))
			s.refresh(users(5), nothing)
			s.after(5*time.Minute).refresh(users(5), nothing)
			s.after(10*time.Minute).refresh(users(c.last), nothing)
			assert.Equal(t, c.want, s.counts())
		})
	}
}

func TestRemovalsDuringASync(t *testing.T) {
	t.Parallel()
	syncing, nothing := snapshot.RemovalContext{Syncing: true}, snapshot.RemovalContext{}
	t.Run("one is held while it runs, and goes with the next refresh", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100))
		for range 10 {
			s.after(2*time.Minute).refresh(users(99), syncing)
			require.Equal(t, [3]int{100, 1, 0}, s.counts())
			require.Equal(t, snapshot.HeldBySync, s.gen.Held.Cause)
		}
		s.after(time.Minute).refresh(users(99), nothing)
		assert.Equal(t, [3]int{99, 0, 0}, s.counts())
	})
	t.Run("not for longer than SyncHold", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100))
		s.refresh(users(99), syncing)
		s.after(30*time.Minute-1).refresh(users(98), syncing)
		require.Equal(t, [3]int{100, 2, 0}, s.counts())
		s.after(1).refresh(users(98), syncing)
		require.Equal(t, [3]int{98, 0, 0}, s.counts())
		s.after(1).refresh(users(97), syncing)
		assert.Equal(t, [3]int{98, 1, 0}, s.counts(), "none was held, so it may be held again")
	})
	t.Run("not from when nobody was gone", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100, "teacher"))
		s.after(time.Minute).refresh(users(100), syncing)
		require.Equal(t, [3]int{100, 0, 100}, s.counts())
		assert.Equal(t, snapshot.HeldByShrinkGuard, s.gen.Held.Cause)
		assert.Equal(t, clock.Instant{}, s.gen.Held.SyncSince)
	})
	t.Run("many that outlast it have been seen often enough", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100))
		for range 3 {
			s.refresh(users(10), syncing)
			s.after(10 * time.Minute)
		}
		s.refresh(users(10), syncing)
		assert.Equal(t, [3]int{10, 0, 0}, s.counts())
	})
	t.Run("many that it leaves are for the shrink guard", func(t *testing.T) {
		t.Parallel()
		s := begin(t, users(100))
		for range 5 {
			s.after(5*time.Minute).refresh(users(10), syncing)
		}
		s.after(time.Minute).refresh(users(10), nothing)
		require.Equal(t, [3]int{100, 90, 0}, s.counts(), "what was seen during the sync is no evidence")
		require.Equal(t, snapshot.HeldByShrinkGuard, s.gen.Held.Cause)
		for range 2 {
			s.after(7*time.Minute+30*time.Second).refresh(users(10), nothing)
		}
		assert.Equal(t, [3]int{10, 0, 0}, s.counts())
	})
}

// Who accepts removals accepts those that were shown, and nothing else.
func TestAccept(t *testing.T) {
	t.Parallel()
	s := begin(t, users(100, "teacher"))
	s.after(time.Minute).refresh(users(60, "teacher"), snapshot.RemovalContext{})
	require.Equal(t, [3]int{100, 40, 0}, s.counts())
	shown := s.gen.HeldDigest()
	require.NotEmpty(t, shown)

	before := *s
	s.after(time.Second).refresh(list{}, snapshot.RemovalContext{Accept: shown})
	assert.Equal(t, [3]int{60, 60, 0}, s.counts(), "those who are missing since are held")
	assert.NotEqual(t, shown, s.gen.HeldDigest())

	*s = before
	s.refresh(users(70, "teacher"), snapshot.RemovalContext{Accept: shown})
	assert.Equal(t, [3]int{70, 0, 0}, s.counts(), "ten of them are back")

	*s = before
	s.refresh(users(60, "teacher"), snapshot.RemovalContext{Accept: "another"})
	assert.Equal(t, [3]int{100, 40, 0}, s.counts())

	*s = before
	s.refresh(users(60, "teacher"), snapshot.RemovalContext{Accept: shown, Syncing: true})
	assert.Equal(t, [3]int{60, 0, 0}, s.counts(), "a sync does not matter then")

	*s = before
	s.refresh(users(59, "teacher"), snapshot.RemovalContext{})
	assert.NotEqual(t, shown, s.gen.HeldDigest())
}

func TestInvalidRecordsAreNotHeld(t *testing.T) {
	t.Parallel()
	s := begin(t, users(100, "teacher"))
	some := users(20, "teacher")
	some[1] = []string{"invalid"}
	s.refresh(some, snapshot.RemovalContext{})
	assert.Nil(t, s.has(1))
	assert.Equal(t, [3]int{99, 80, 0}, s.counts())
	s.increment(list{90: {"invalid"}, 91: {"teacher"}})
	assert.Equal(t, [3]int{98, 78, 0}, s.counts(), "an increment has spoken of them")
	assert.Nil(t, s.has(90))
	s.increment(users(100, "teacher"))
	assert.Nil(t, s.gen.Held)
	s.increment(users(100, "invalid"))
	assert.Equal(t, [3]int{0, 0, 0}, s.counts(), "they have lost no roles: they are out")
}

// Once more roles are lost, it counts from then.
func TestMoreRolesAreLost(t *testing.T) {
	t.Parallel()
	for name, see := range map[string]func(s *story, l list){
		"full":        func(s *story, l list) { s.refresh(l, snapshot.RemovalContext{}) },
		"incremental": (*story).increment,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := begin(t, users(100, "pupil", "teacher"))
			see(s.after(time.Minute), users(100, "pupil"))
			first := s.now
			require.Equal(t, first, s.gen.Held.GrantsSince)
			see(s.after(time.Minute), users(100, "pupil"))
			require.Equal(t, first, s.gen.Held.GrantsSince, "nothing more is lost")
			see(s.after(time.Minute), users(100))
			require.Equal(t, [3]int{100, 0, 100}, s.counts())
			require.Equal(t, []string{"pupil", "teacher"}, s.has(1))
			require.Equal(t, s.now, s.gen.Held.GrantsSince)
		})
	}
}

// Where roles are lost one after the other, those that were lost first do not wait until
// the last may go, and what was taken away comes to be known.
func TestRolesThatAreLostOneAfterTheOther(t *testing.T) {
	t.Parallel()
	s := begin(t, users(100, "teacher"))
	bare := func(n int64) list {
		l := users(100, "teacher")
		for id := range n {
			l[id+1] = nil
		}
		return l
	}
	s.after(5*time.Minute).refresh(bare(40), snapshot.RemovalContext{})
	require.Equal(t, [3]int{100, 0, 40}, s.counts())
	verified := s.gen.Verified
	for n := range int64(2) {
		s.after(5*time.Minute).refresh(bare(60+20*n), snapshot.RemovalContext{})
		require.Equal(t, [3]int{100, 0, int(60 + 20*n)}, s.counts())
		require.Equal(t, verified, s.gen.Verified)
	}
	second := s.gen.KnownFor(80)
	s.after(5*time.Minute).refresh(bare(90), snapshot.RemovalContext{})
	assert.Equal(t, [3]int{100, 0, 50}, s.counts())
	assert.Empty(t, s.has(40))
	assert.Equal(t, []string{"teacher"}, s.has(41))
	assert.Equal(t, s.gen.KnownFor(41), s.gen.Verified)
	assert.Greater(t, second.Mono, s.gen.Verified.Mono)
	assert.Greater(t, s.gen.Verified.Mono, verified.Mono)
}

// What a full refresh and an incremental one make of lost roles.
func TestLostRoles(t *testing.T) {
	t.Parallel()
	several := func(n int64, codes func(id int64) []string) list {
		l := list{}
		for id := int64(1); id <= n; id++ {
			l[id] = codes(id)
		}
		return l
	}
	mixed := func(id int64) []string { // half of them are teachers too
		if id%2 == 0 {
			return []string{"pupil", "teacher"}
		}
		return []string{"pupil"}
	}
	different := func(some, of int64) list {
		l := users(of)
		for id := range some {
			l[id+1] = []string{fmt.Sprint("role-", id)}
		}
		return l
	}
	only := func(codes ...string) func(int64) []string { return func(int64) []string { return codes } }
	for _, c := range []struct {
		name          string
		before, after list
		held          int
		user2         []string // the roles of user 2
	}{
		{"everybody's", several(100, mixed), several(100, only()), 100, []string{"pupil", "teacher"}},
		{"everybody's of a few", users(2, "pupil"), users(2), 2, []string{"pupil"}},
		{"those of one alone", users(1, "pupil"), users(1), 0, nil},
		{"31 of a hundred", users(100, "pupil"), several(100, func(id int64) []string {
			if id <= 31 {
				return nil
			}
			return []string{"pupil"}
		}), 31, []string{"pupil"}},
		{"30 of a hundred", users(100, "pupil"), several(100, func(id int64) []string {
			if id <= 30 {
				return nil
			}
			return []string{"pupil"}
		}), 0, []string{}},
		{"a role of fifty", several(100, mixed), several(100, only("pupil")), 50, []string{"pupil", "teacher"}},
		{"a role of ten", several(20, mixed), several(20, only("pupil")), 10, []string{"pupil", "teacher"}},
		{"a role of nine", several(18, mixed), several(18, only("pupil")), 0, []string{"pupil"}},
		{"a role of all but one", several(100, mixed), func() list {
			l := several(100, only("pupil"))
			l[100] = []string{"pupil", "teacher"}
			return l
		}(), 0, []string{"pupil"}},
		{"everybody's who has any", different(5, 25), users(25), 5, []string{"role-1"}},
		{"one's, while others who have none change", func() list {
			l := users(100, "pupil")
			for id := range int64(40) {
				l[id+1] = nil
			}
			return l
		}(), func() list {
			l := users(99, "pupil")
			for id := range int64(40) {
				l[id+1] = []string{"dropped"}
			}
			l[100] = nil
			return l
		}(), 0, nil},
		{"ten who have different roles, of a thousand", different(10, 1000), users(1000), 10, []string{"role-1"}},
		{"nine who have different roles, of a thousand", different(9, 1000), users(1000), 0, nil},
		{"nine who have different roles, of fewer", different(9, 999), users(999), 9, []string{"role-1"}},
		{"one role for another", users(100, "teacher"), users(100, "Teacher"), 100, []string{"Teacher", "teacher"}},
		{"another too, which is gone from one alone", func() list {
			l := several(100, mixed)
			l[2] = []string{"admin", "pupil", "teacher"}
			return l
		}(), several(100, only("pupil")), 50, []string{"pupil", "teacher"}},
	} {
		want2 := c.user2
		if want2 == nil {
			want2 = []string{}
		}
		t.Run(c.name+" by a full refresh", func(t *testing.T) {
			t.Parallel()
			s := begin(t, c.before)
			first := s.now
			s.after(time.Minute).refresh(c.after, snapshot.RemovalContext{})
			since := s.now
			require.Equal(t, [3]int{len(c.before), 0, c.held}, s.counts())
			if len(c.before) > 1 {
				require.Equal(t, want2, s.has(2))
			}
			if c.held == 0 {
				assert.Equal(t, s.now, s.gen.Verified)
				return
			}
			assert.Equal(t, first, s.gen.Verified)
			assert.Equal(t, first, s.gen.KnownFor(2))
			assert.Equal(t, since, s.gen.Held.Since)
			shown := s.gen.HeldDigest()
			accepted := *s
			accepted.refresh(c.after, snapshot.RemovalContext{Accept: shown})
			assert.Nil(t, accepted.gen.Held)

			fixed := *s
			fixed.after(time.Minute).refresh(c.before, snapshot.RemovalContext{})
			if swapped := c.name == "one role for another"; swapped { // and now the other is gone from all
				assert.Equal(t, c.held, fixed.gen.Held.LostRoles())
				assert.Equal(t, since, fixed.gen.KnownFor(2))
			} else {
				assert.Nil(t, fixed.gen.Held)
				assert.Equal(t, fixed.now, fixed.gen.Verified)
			}

			s.after(5*time.Minute).refresh(c.after, snapshot.RemovalContext{})
			require.Equal(t, c.held, s.gen.Held.LostRoles())
			require.Equal(t, shown, s.gen.HeldDigest())
			require.Equal(t, since, s.gen.Held.Since)
			require.Equal(t, first, s.gen.KnownFor(2))
			s.after(10*time.Minute-1).refresh(c.after, snapshot.RemovalContext{})
			require.Equal(t, c.held, s.gen.Held.LostRoles())
			s.after(time.Minute).refresh(c.after, snapshot.RemovalContext{})
			assert.Nil(t, s.gen.Held)
			for id, codes := range c.after {
				assert.ElementsMatch(t, codes, s.has(id))
			}
		})
		t.Run(c.name+" by an incremental refresh", func(t *testing.T) {
			t.Parallel()
			s := begin(t, c.before)
			first := s.now
			s.after(time.Minute).increment(c.after)
			require.Equal(t, [3]int{len(c.before), 0, c.held}, s.counts())
			if len(c.before) > 1 {
				require.Equal(t, want2, s.has(2))
			}
			if c.held == 0 {
				return
			}
			digest := s.gen.HeldDigest()
			s.after(time.Hour).increment(c.after)
			require.Equal(t, digest, s.gen.HeldDigest(), "an incremental refresh that says it again lets go of nothing")
			require.Equal(t, first, s.gen.KnownFor(2))
			s.increment(list{2: c.before[2]})
			require.Equal(t, c.held-1, s.gen.Held.LostRoles(), "the user has them again")
			require.Equal(t, first, s.gen.KnownFor(2))
			s.increment(list{2: {"another"}})
			for id := range c.before {
				if id != 2 {
					require.Subset(t, s.has(id), c.before[id][max(0, len(c.before[id])-1):], "user %d", id)
				}
			}
			s.increment(c.before)
			if c.name != "one role for another" {
				require.Nil(t, s.gen.Held)
			}
		})
	}
}

// apart returns those of some instants, in order, that are far enough apart to
// count as evidence.
func apart(all []clock.Instant) (some []clock.Instant) {
	for _, at := range all {
		if len(some) == 0 || some[len(some)-1].Age(at) >= usual.ConfirmAfter*9/10 {
			some = append(some, at)
		}
	}
	return some
}

// Whatever the list does, the shrink guard keeps its word.
func TestShrinkGuardKeepsItsWord(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SampledFrom([]int64{3, 12, 40}).Draw(t, "users")
		whole := users(n, "teacher")
		s := begin(t, whole)
		starts := map[int64]clock.Instant{}    // of the last full refresh that has shown the user
		missing := map[int64][]clock.Instant{} // the full refreshes since that have not
		heldBefore := map[int64]bool{}
		for id := range whole {
			starts[id] = s.now
		}
		for range rapid.IntRange(1, 12).Draw(t, "refreshes") {
			s.after(rapid.SampledFrom([]time.Duration{time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute}).Draw(t, "after"))
			l := list{}
			for id := int64(1); id <= n; id++ {
				keep := rapid.SampledFrom([]int{0, 1, 1, 2}).Draw(t, "keep")
				if keep == 2 && len(missing[id]) > 0 {
					keep = 0 // who is gone stays gone, mostly
				}
				if keep > 0 {
					l[id] = []string{"teacher"}
				}
			}
			if rapid.IntRange(0, 3).Draw(t, "again") == 0 {
				l = maps.Clone(whole)
				maps.DeleteFunc(l, func(id int64, _ []string) bool { return len(missing[id]) > 0 })
			}
			accept := ""
			if rapid.IntRange(0, 9).Draw(t, "accept") == 0 {
				accept = s.gen.HeldDigest()
			}
			before := s.gen
			s.refresh(l, snapshot.RemovalContext{Accept: accept})
			fresh := 0
			var removed []int64
			for id := int64(1); id <= n; id++ {
				_, was := before.Find(id)
				_, is := s.gen.Find(id)
				if _, listed := l[id]; listed {
					require.True(t, is, "user %d is listed", id)
					require.False(t, s.gen.Held.Has(id))
					require.Equal(t, s.now, s.gen.KnownFor(id), "user %d: what the others' removal says does not concern them", id)
					starts[id], missing[id] = s.now, nil
					continue
				}
				if !was {
					continue
				}
				missing[id] = append(missing[id], s.now)
				require.Equal(t, is, s.gen.Held.Has(id), "user %d is gone, and held or out", id)
				enough := len(apart(missing[id])) >= 3 && missing[id][0].Age(s.now) >= usual.ShrinkHold
				switch {
				case is:
					require.Equal(t, starts[id], s.gen.KnownFor(id))
					require.Equal(t, missing[id][0], s.gen.Held.Users[id].Missing)
					require.False(t, accept != "" && heldBefore[id], "user %d was accepted", id)
				case accept != "" && heldBefore[id] || enough:
				default:
					fresh++
				}
				if !is {
					removed = append(removed, id)
				}
			}
			left := before.Users - (len(removed) - fresh)
			require.False(t, usual.TooMany(fresh, left, before.Users), "%d of %d are removed without evidence: %v", fresh, before.Users, removed)
			for _, id := range removed {
				delete(missing, id)
			}
			heldBefore = map[int64]bool{}
			if s.gen.Held != nil {
				for id := range s.gen.Held.Users {
					heldBefore[id] = true
				}
			}
		}
	})
}
