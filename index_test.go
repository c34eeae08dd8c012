package rolegate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// named is a user with an account and one role, both of which tell them from
// every other.
func named(id int64) rolegate.Record {
	r := record(id, in(1+id%50, roleCodes[id%5]))
	r.Account = fmt.Sprintf("account-%d", id)
	return r
}

// assertHas compares all that the gate says of the users with these ids with
// what named says.
func assertHas(t *testing.T, gate *rolegate.Gate, ids ...int64) {
	t.Helper()
	for _, id := range ids {
		byID := gate.Decide(t.Context(), rolegate.UserID(id))
		byAccount := gate.Decide(t.Context(), identityOf(rolegate.KindAccount, fmt.Sprintf("account-%d", id)))
		if !byID.Allowed() || byAccount.User.ID() != id {
			t.Fatalf("user %d: %v, and by account %v", id, byID, byAccount)
		}
		require.Equal(t, named(id).Account, byID.User.Account())
		require.Equal(t, named(id).Grants, byID.User.Grants())
	}
}

// upTo is 1 to n.
func upTo(n int64) (ids []int64) {
	for id := range n {
		ids = append(ids, id+1)
	}
	return ids
}

func namedUpTo(n int64) (records []rolegate.Record) {
	for _, id := range upTo(n) {
		records = append(records, named(id))
	}
	return records
}

func withAccounts(source rolegate.Source) rolegate.Config {
	return rolegate.Config{Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount}}
}

// The sizes around which a full refresh is stored otherwise.
func TestFullRefreshesOfManySizes(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{0, 1, 2, 3, 4, 5, 8, 9, 255, 256, 257, 4095, 4096, 4097, 16_385, 50_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			gate := openGate(t, withAccounts(rolegatetest.NewStatic(namedUpTo(n)...)))
			assert.EqualValues(t, n, gate.Status().Users)
			assert.EqualValues(t, n, gate.Status().Grants)
			assertHas(t, gate, upTo(n)...)
			assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), rolegate.UserID(n+1)).Reason)
			assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "account-0")).Reason)
		})
	}
}

// A list that grows from nobody by incremental refreshes alone.
func TestIndexGrows(t *testing.T) {
	t.Parallel()
	const users = 30_000
	source := rolegatetest.NewStatic()
	gate := openGate(t, withAccounts(source))
	for from, step := int64(0), int64(1); from < users; from, step = from+step, step*3/2+1 {
		to := min(from+step, users)
		var more []rolegate.Record
		if from > 2 { // and some who were there change
			changed, bad := named(1), named(2)
			changed.Grants = []rolegate.Grant{in(1000+from, "teacher")}
			bad.Bad = errors.New("unreadable")
			more = append(more, changed, bad)
		}
		for id := from + 1; id <= to; id++ {
			more = append(more, named(id))
		}
		source.Put(more...)
		require.NoError(t, gate.Refresh(t.Context()))
		if from > 2 {
			require.Equal(t, []rolegate.Grant{in(1000+from, "teacher")}, gate.Decide(t.Context(), rolegate.UserID(1)).User.Grants())
			require.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), rolegate.UserID(2)).Reason)
			require.EqualValues(t, to-1, gate.Status().Users)
		}
		assertHas(t, gate, to, from+1)
	}
	source.Put(named(1), named(2))
	require.NoError(t, gate.Refresh(t.Context()))
	assertHas(t, gate, upTo(users)...)
	require.NoError(t, gate.RefreshAll(t.Context()))
	o := gate.Status().Full.Outcome
	assert.Zero(t, o.Added+o.Removed+o.Changed, "the full refresh finds what the increments made")
	assert.Zero(t, gate.Status().Ambiguous[rolegate.KindAccount])
}

// Full refreshes of a list that grows and shrinks count exactly what differs, whatever
// the index was like before.
func TestFullRefreshesCountWhatDiffers(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(namedUpTo(1000)...)
	gate := openGate(t, withAccounts(source))
	full := func(added, removed, changed int) {
		t.Helper()
		require.NoError(t, acceptShrink(t.Context(), gate))
		o := gate.Status().Full.Outcome
		assert.Equal(t, [3]int{added, removed, changed}, [3]int{o.Added, o.Removed, o.Changed})
	}
	full(0, 0, 0)
	source.Remove(1, 500)
	source.Put(named(1001))
	full(1, 2, 0)
	r := named(7)
	r.Grants = append(r.Grants, in(60, "admin"))
	renamed := named(8)
	renamed.Account = "another"
	source.Put(r, renamed)
	full(0, 0, 2)
	source.Put(namedUpTo(9000)...)
	full(8001, 0, 2)
	source.Remove(upTo(8000)...)
	full(0, 8000, 0)
	source.Remove(upTo(9000)...)
	full(0, 1000, 0)
	source.Put(named(3))
	full(1, 0, 0)
}

// A user without roles, who is nothing but an id in the index, is listed or
// invalid all the same.
func TestFullRefreshesTellInvalidFromBare(t *testing.T) {
	t.Parallel()
	bad := record(1)
	bad.Bad = errors.New("unreadable")
	source := rolegatetest.NewStatic(record(1), record(2))
	gate := openGate(t, rolegate.Config{Source: source})
	for _, step := range []struct {
		now            rolegate.Record
		added, removed int
	}{{bad, 0, 1}, {bad, 0, 0}, {record(1), 1, 0}, {record(1), 0, 0}} {
		source.Put(step.now)
		require.NoError(t, gate.RefreshAll(t.Context()))
		o := gate.Status().Full.Outcome
		assert.Equal(t, [3]int{step.added, step.removed, 0}, [3]int{o.Added, o.Removed, o.Changed})
		assert.Equal(t, step.now.Bad == nil, allowed(gate, 1))
	}
}

// A user who is denied for a bad record stays so while everybody else changes often enough for
// the index to be written anew, and a server that is inclusive repeats the
// record from before.
func TestBarsOutlastManyChanges(t *testing.T) {
	t.Parallel()
	const users, invalid = 5000, 4711
	good := named(invalid)
	good.Sequence = 0
	source := rolegatetest.NewStatic(namedUpTo(users)...)
	gate := openGate(t, withAccounts(source))
	bad := named(invalid)
	bad.Bad = errors.New("unreadable")
	source.Put(bad)
	require.NoError(t, gate.Refresh(t.Context()))
	require.Equal(t, users-1, gate.Status().Users)
	for round := range 30 {
		var changed []rolegate.Record
		for _, id := range upTo(users) {
			if id != invalid && rand.IntN(5) == 0 {
				r := named(id)
				r.Grants = append(r.Grants, in(100+int64(round), "admin"))
				changed = append(changed, r)
			}
		}
		source.Put(changed...)
		require.NoError(t, gate.Refresh(t.Context()))
		assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), rolegate.UserID(invalid)).Reason)
		assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, good.Account)).Reason)
		require.Equal(t, users-1, gate.Status().Users)
	}
	source.Put(named(invalid))
	require.NoError(t, gate.Refresh(t.Context()))
	assertHas(t, gate, invalid)
	assert.Equal(t, users, gate.Status().Users)
}

// Users with very many grants, and very long names, among ordinary ones.
func TestVeryLargeUsers(t *testing.T) {
	t.Parallel()
	large := func(id int64, grants int) rolegate.Record {
		r := rolegate.Record{UserID: id, Account: fmt.Sprintf("account-%d", id), Nickname: string(make([]byte, grants))}
		for org := range int64(grants) {
			r.Grants = append(r.Grants, in(org+1, roleCodes[org%5]))
		}
		return r
	}
	records := namedUpTo(100)
	for i, grants := range []int{0, 1, 1000, 10_000, 100_000, 500_000} {
		records = append(records, large(int64(1000+i), grants))
	}
	source := rolegatetest.NewStatic(records...)
	cfg := withAccounts(source)
	cfg.Keep = rolegate.Keep{Nickname: true}
	gate := openGate(t, cfg)
	check := func() {
		t.Helper()
		for _, want := range records[100:] {
			d := gate.Decide(t.Context(), rolegate.UserID(want.UserID))
			require.True(t, d.Allowed())
			require.Equal(t, want.Grants, d.User.Grants())
			require.Equal(t, want.Nickname, d.User.Nickname())
			require.Equal(t, want.UserID, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, want.Account)).User.ID())
		}
		assertHas(t, gate, upTo(100)...)
	}
	check()
	for range 3 {
		for i := range records[100:] {
			records[100+i].Grants = append(records[100+i].Grants, in(1_000_000+rand.Int64N(1<<30), "pupil"))
			records[100+i].Grants = records[100+i].Grants[:len(records[100+i].Grants):len(records[100+i].Grants)]
		}
		for i := range records[100:] { // sorted, as the gate tells them
			gs := records[100+i].Grants
			for j := len(gs) - 1; j > 0 && gs[j-1].OrgID > gs[j].OrgID; j-- {
				gs[j-1], gs[j] = gs[j], gs[j-1]
			}
		}
		source.Put(records[100:]...)
		require.NoError(t, gate.Refresh(t.Context()))
		check()
	}
	require.NoError(t, gate.RefreshAll(t.Context()))
	check()
}

// A full refresh in which users come many times, each time with other roles: the
// highest sequence counts, and of equal ones the later, wherever they lie.
func TestDuplicatesInALongFullRefresh(t *testing.T) {
	t.Parallel()
	const users, times = 3000, 4
	var records []rolegate.Record
	for again := range int64(times) {
		for id := range int64(users) {
			r := rolegate.Record{UserID: id + 1, Sequence: 10 + (again+id)%times, Grants: []rolegate.Grant{in(again+1, "teacher")}}
			if id%100 == 0 {
				r.Sequence = 10
			}
			if id%100 == 1 && again == 2 {
				r.Bad = errors.New("unreadable")
			}
			records = append(records, r)
		}
	}
	gate := openGate(t, rolegate.Config{Source: userSource(func(yield func(rolegate.Record)) {
		for _, r := range records {
			yield(r)
		}
	})})
	for id := range int64(users) {
		d := gate.Decide(t.Context(), rolegate.UserID(id+1))
		switch {
		case id%100 == 1:
			require.Equal(t, rolegate.ReasonNotAuthorized, d.Reason, "user %d is denied by one record", id+1)
		case id%100 == 0:
			require.Equal(t, []rolegate.Grant{in(times, "teacher")}, d.User.Grants(), "user %d: the later", id+1)
		default:
			require.Equal(t, []rolegate.Grant{in((times-1-id%times+times)%times+1, "teacher")}, d.User.Grants(), "user %d: the higher sequence", id+1)
		}
	}
	s := gate.Status()
	assert.Equal(t, users-users/100, s.Users)
	assert.Equal(t, users-users/100, s.Grants)
	o := s.Full.Outcome
	assert.Equal(t, (users-users/100)*(times-1)+users/100, o.Duplicates, "records of a user who was there, and not denied yet")
	assert.Equal(t, o.Duplicates, o.Conflicts)
}
