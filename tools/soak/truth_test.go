package main

import (
	"math"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// history makes a user of versions, each with its state, when it was begun and
// when it was done.
func history(first state, later ...version) *user {
	u := newUser(7, first)
	u.versions = append(u.versions, later...)
	return u
}

var (
	out        = state{}
	listed     = state{listed: true}
	teaches5   = listed.with(5, teacher)
	homeroom5  = listed.with(5, teacher|homeroom)
	elsewhere  = listed.with(5, homeroom).with(6, teacher)
	shutOut    = state{bad: true}
	inAnothers = state{unsure: true}
)

func TestStates(t *testing.T) {
	t.Parallel()
	s := listed.with(9, pupil).with(5, teacher|homeroom).with(7, admin)
	assert.Equal(t, []orgRoles{{5, teacher | homeroom}, {7, admin}, {9, pupil}}, s.orgs)
	assert.Equal(t, s.orgs[1:], s.with(5, 0).orgs, "no organisation without roles")
	assert.Len(t, s.orgs, 3, "a state does not change")
	assert.Equal(t, teacher|homeroom|admin|pupil, s.anywhere())
	assert.Equal(t, admin, s.in(7))
	assert.Zero(t, s.in(8))
	assert.Equal(t, []rolegate.Grant{{OrgID: 5, RoleCode: "teacher"}, {OrgID: 5, RoleCode: "homeroom"}, {OrgID: 7, RoleCode: "admin"}, {OrgID: 9, RoleCode: "pupil"}}, s.grants())
	assert.True(t, s.equal(listed.with(7, admin).with(9, pupil).with(5, homeroom|teacher)))
	assert.False(t, s.equal(out))
	assert.False(t, out.equal(shutOut))
}

// A change that is under way from 10 to 20 may be seen or not in between.
func TestTimeline(t *testing.T) {
	t.Parallel()
	is := func(want state) func(state) bool { return want.equal }
	u := history(teaches5, version{out, 10, 20}, version{listed, 30, 40})
	for _, c := range []struct {
		from, to              int64
		before, between, last bool // what may have been at some time
	}{
		{0, 9, true, false, false},
		{0, 10, true, true, false},
		{15, 15, true, true, false},
		{20, 29, true, true, false}, // at 20 it may have been seen, or not yet
		{21, 29, false, true, false},
		{21, 30, false, true, true},
		{41, 99, false, false, true},
		{0, 99, true, true, true},
	} {
		assert.Equal(t, c.before, u.ever(c.from, c.to, is(teaches5)), c)
		assert.Equal(t, c.between, u.ever(c.from, c.to, is(out)), c)
		assert.Equal(t, c.last, u.ever(c.from, c.to, is(listed)), c)
		assert.Equal(t, c.before && !c.between && !c.last, u.always(c.from, c.to, is(teaches5)), c)
	}
	under := history(teaches5, version{out, 10, notYet})
	assert.True(t, under.ever(1000, 2000, is(teaches5)), "a change that is not done may not have been seen")
	assert.True(t, under.ever(1000, 2000, is(out)))
	assert.False(t, under.ever(0, 9, is(out)))
}

// The timeline against the plainest there is: every moment, one by one.
func TestTimelineAgainstEachMoment(t *testing.T) {
	t.Parallel()
	for seed := range uint64(300) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		u := newUser(7, listed.with(1, 1))
		at := int64(0)
		for n := range 8 {
			from := at + 1 + rnd.Int64N(4)
			at = from + rnd.Int64N(4)
			u.versions = append(u.versions, version{listed.with(1, roleSet(n+2)), from, at})
		}
		for range 50 {
			from := rnd.Int64N(at + 5)
			to := from + rnd.Int64N(10)
			for i, v := range u.versions {
				want := false
				for moment := from; moment <= to; moment++ {
					until := int64(math.MaxInt64)
					if i+1 < len(u.versions) {
						until = u.versions[i+1].sure
					}
					want = want || v.from <= moment && moment <= until
				}
				require.Equal(t, want, u.ever(from, to, v.equal), "seed %d: version %d from %d to %d", seed, i, from, to)
			}
		}
	}
}

func TestBeginForgets(t *testing.T) {
	t.Parallel()
	u := newUser(7, teaches5)
	u.begin(out, math.MinInt64)()
	u.begin(listed, math.MinInt64)()
	middle := u.versions[1].sure
	require.Len(t, u.versions, 3)
	done := u.begin(out, middle+1)
	require.Len(t, u.versions, 3, "the first was over before")
	assert.Equal(t, int64(notYet), u.versions[2].sure)
	assert.Equal(t, out, u.last())
	assert.True(t, u.ever(now(), now(), teachesNowhere))
	done()
	assert.LessOrEqual(t, u.versions[2].sure, now())
	assert.Contains(t, u.tell(0), "not listed")
}

func teachesNowhere(s state) bool { return s.anywhere()&teacher == 0 }

func TestLies(t *testing.T) {
	t.Parallel()
	var tr truth
	before := now()
	end := tr.lie(math.MinInt64)
	assert.True(t, tr.lied(now(), now()), "it goes on")
	assert.False(t, tr.lied(0, before-1))
	end()
	after := now() + 1
	assert.False(t, tr.lied(after, after+9))
	assert.True(t, tr.lied(before, after))
	tr.lie(after + 1)()
	assert.Len(t, tr.lies, 1, "the first is forgotten")
}
