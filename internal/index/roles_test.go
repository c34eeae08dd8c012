package index_test

import (
	"fmt"
	"runtime"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/index"
)

func TestHierarchyFaults(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		implies map[string][]string
		want    []index.HierarchyFault
	}{
		{"none", map[string][]string{"principal": {"admin", "teacher"}, "admin": {"teacher"}, "teacher": nil}, nil},
		{"a blank code", map[string][]string{" ": {"a"}, "b": {"c"}}, []index.HierarchyFault{{Code: " "}}},
		{"a blank code that is included", map[string][]string{"b": {"c", "\t"}}, []index.HierarchyFault{{Code: "b"}}},
		{"a code that includes itself", map[string][]string{"a": {"a"}}, []index.HierarchyFault{{Cycle: []string{"a", "a"}}}},
		{"a cycle, told once", map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}}, []index.HierarchyFault{{Cycle: []string{"a", "b", "c", "a"}}}},
		{"two cycles", map[string][]string{"a": {"b"}, "b": {"a"}, "x": {"y"}, "y": {"x"}},
			[]index.HierarchyFault{{Cycle: []string{"a", "b", "a"}}, {Cycle: []string{"x", "y", "x"}}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, faults := index.NewRoleSpace(c.implies)
			assert.Equal(t, c.want, faults)
		})
	}
}

// A role counts as itself and as all that it includes, over any number of steps.
func TestHierarchy(t *testing.T) {
	t.Parallel()
	roles, faults := index.NewRoleSpace(map[string][]string{"principal": {"admin"}, "admin": {"teacher", "clerk"}, "teacher": {"pupil"}})
	require.Empty(t, faults)
	table := roles.Publish()
	names := func(numbers []uint16) (codes []string) {
		for _, n := range numbers {
			codes = append(codes, table.Code(n))
		}
		slices.Sort(codes)
		return codes
	}
	for code, want := range map[string][]string{
		"pupil":     {"admin", "principal", "pupil", "teacher"},
		"clerk":     {"admin", "clerk", "principal"},
		"principal": {"principal"},
	} {
		numbers, patterns := roles.Satisfying(code)
		assert.Empty(t, patterns)
		assert.Equal(t, want, names(numbers))
		for _, other := range []string{"principal", "admin", "teacher", "clerk", "pupil"} {
			own, _ := roles.Satisfying(other)
			n := own[0]
			assert.Equal(t, slices.Contains(want, other), table.Counts(n, code), "%s as %s", other, code)
		}
	}
	assert.Equal(t, 5, table.Size())
	assert.Same(t, table, roles.Publish(), "nothing is new")
	roles.Satisfying("new")
	assert.Equal(t, 6, roles.Publish().Size())
	assert.Equal(t, 5, table.Size(), "what was published does not change")
}

// All that a code includes counts, whatever else of it is known by then.
func TestHierarchyIsWhole(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name         string
		implies      map[string][]string
		holder, code string
	}{
		{"after one that was reached already", map[string][]string{"a": {"b", "c", "d"}, "b": {"c"}}, "a", "d"},
		{"after one whose first step was reached already", map[string][]string{"a": {"b", "e"}, "b": {"c"}, "c": {"b1"}, "e": {"c", "f"}}, "a", "f"},
		{"by the second pattern", map[string][]string{"x": {"a.*"}, "y": {"b.*"}}, "y", "b.1"},
		{"by the first pattern", map[string][]string{"x": {"a.*"}, "y": {"b.*"}}, "x", "a.1"},
		{"by a pattern beside the code", map[string][]string{"x": {"b.*"}, "y": {"b.1"}}, "x", "b.1"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			roles, faults := index.NewRoleSpace(c.implies)
			require.Empty(t, faults)
			own, _ := roles.Satisfying(c.holder)
			numbers, _ := roles.Satisfying(c.code)
			assert.Contains(t, numbers, own[0])
			assert.True(t, roles.Publish().Counts(own[0], c.code))
		})
	}
}

func TestNamedCodes(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	assert.Empty(t, roles.NamedCodes())
	roles.Name("b")
	roles.Name("a")
	roles.Name("b")
	assert.Equal(t, []string{"a", "b"}, roles.NamedCodes())
	<-roles.NewNames()
	select {
	case <-roles.NewNames():
		t.Error("one value tells of all that came before it")
	default:
	}
	roles.Name("a")
	select {
	case <-roles.NewNames():
		t.Error("it was named already")
	default:
	}
	assert.True(t, roles.FirstReport("a"))
	assert.False(t, roles.FirstReport("a"))
	assert.True(t, roles.FirstReport("b"))
}

// unique is a list in which everybody has a role of their own.
func unique(name string, users int64) map[int64]person {
	list := map[int64]person{}
	for id := range users {
		list[id+1] = person{Grants: []role{{7, "pupil"}, {7, fmt.Sprint(name, "-", id)}}}
	}
	return list
}

// requireRoles checks the roles of a unique list.
func requireRoles(t *testing.T, s *index.Snapshot, list map[int64]person) {
	t.Helper()
	for id, p := range list {
		at, ok := s.Find(id)
		require.True(t, ok)
		require.Equal(t, sortRoles(p.Grants), read(s, at).Grants)
	}
}

// A list whose codes are all new in every term goes on for ever: the numbers of
// codes that nobody has any more are used again. Never those of a snapshot that
// somebody still has, of a code that a check names, or of a list that is being
// read.
func TestRoleNumbersAreUsedAgain(t *testing.T) {
	t.Parallel()
	const users = 8000
	roles, _ := index.NewRoleSpace(map[string][]string{"principal": {"teacher"}})
	named, _ := roles.Satisfying("class-0-5")
	first, firstList := build(t, 0, nil, roles, unique("class-0", users)), unique("class-0", users)
	slow := index.NewBuilder(0, nil, roles.Publish()) // a list that takes years to read
	slowList := unique("class-0", 100)
	for id, p := range slowList {
		put(t, slow, id, 1, p)
	}
	now := first
	for term := 1; term <= 20; term++ {
		list := unique(fmt.Sprint("class-", term), users)
		if term%2 == 0 {
			now = build(t, 0, &now.Table, roles, list)
		} else {
			b := index.NewBuilder(0, nil, roles.Publish())
			for id, p := range list {
				put(t, b, id, 1, p)
			}
			require.True(t, b.Settle(roles))
			changes, err := b.Finish()
			require.NoError(t, err)
			now, err = now.With(changes, roles, 0)
			require.NoError(t, err)
		}
		requireRoles(t, now, list)
		if term == 12 {
			requireRoles(t, first, firstList)
			first = nil // nobody has it any more
		}
	}
	again, _ := roles.Satisfying("class-0-5")
	assert.Equal(t, named, again, "a check names it")
	assert.Equal(t, "class-0-5", now.Roles.Code(named[0]))
	assert.LessOrEqual(t, now.Roles.Size(), index.MaxRoles)
	assert.False(t, now.Assigns("class-0-5"))

	require.True(t, slow.Settle(roles))
	s, err := index.NewSnapshot(slow, roles, 0)
	require.NoError(t, err)
	requireRoles(t, s, slowList)
	assert.True(t, s.Assigns("class-0-5"))
	runtime.KeepAlive(now)
}

// More codes than there are numbers, at once, are refused, and nothing is lost by
// it: neither the numbers that are in use nor the list of before.
func TestTooManyRoles(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	list := unique("class", 8000)
	s := build(t, 0, nil, roles, list)
	b := index.NewBuilder(0, nil, roles.Publish())
	for i := range index.MaxRoles {
		_, ok := b.Role(fmt.Sprint("another-", i))
		require.True(t, ok, "%d", i)
	}
	_, ok := b.Role("one more")
	require.False(t, ok)
	_, ok = b.Role("another-7")
	require.True(t, ok, "it has a number")
	require.False(t, b.Settle(roles), "8,001 are in use")
	requireRoles(t, s, list)
	require.Equal(t, 8001, roles.Publish().Size())
	runtime.KeepAlive(s)
}

// The last number is given too, and the only one that is free.
func TestTheLastRoleNumber(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	all := func(from, to int) *index.Snapshot {
		b := index.NewBuilder(0, nil, roles.Publish())
		for i := from; i < to; i++ {
			put(t, b, int64(i+1), 1, person{Grants: []role{{7, fmt.Sprint("role-", i)}}})
		}
		if !b.Settle(roles) {
			return nil
		}
		s, err := index.NewSnapshot(b, roles, 0)
		require.NoError(t, err)
		return s
	}
	has := func(s *index.Snapshot, i int) {
		t.Helper()
		at, ok := s.Find(int64(i + 1))
		require.True(t, ok)
		require.Equal(t, []role{{7, fmt.Sprint("role-", i)}}, read(s, at).Grants)
	}
	most, last := all(1, index.MaxRoles), all(0, 1)
	require.NotNil(t, most)
	require.NotNil(t, last, "it is the last that is free")
	has(last, 0)
	require.Nil(t, all(index.MaxRoles, index.MaxRoles+1), "there is none left")
	runtime.KeepAlive(last) // from here on nobody has it
	another := all(index.MaxRoles, index.MaxRoles+1)
	require.NotNil(t, another, "a single one is free again")
	has(another, index.MaxRoles)
	for i := 1; i < index.MaxRoles; i += 1000 {
		has(most, i)
	}
	require.Equal(t, index.MaxRoles, another.Roles.Size())
	runtime.KeepAlive(most)
}

// The numbers of a snapshot that somebody has stay its own, however many others
// have been made and dropped since.
func TestRoleNumbersOfAnOldSnapshot(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	list := unique("old", 5)
	old := build(t, 0, nil, roles, list)
	for i := range 100 {
		build(t, 0, nil, roles, unique(fmt.Sprint("passing-", i), 5))
	}
	for i := range 10 {
		build(t, 0, nil, roles, unique(fmt.Sprint("many-", i), 8000))
	}
	requireRoles(t, old, list)
	again := build(t, 0, nil, roles, list)
	requireRoles(t, again, list)
	for id := range list {
		at, _ := old.Find(id)
		to, _ := again.Find(id)
		require.Equal(t, old.Grants(at), again.Grants(to), "the numbers are those of then")
	}
	runtime.KeepAlive(old)
}

// What is written down has the codes up to the last that is in use.
func TestCodesIn(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	build(t, 0, nil, roles, map[int64]person{1: {Grants: []role{{7, "a"}}}, 2: {Grants: []role{{7, "b"}}}, 3: {Grants: []role{{7, "c"}}}})
	table := roles.Publish()
	number := map[string]uint16{}
	for i := range uint16(3) {
		number[table.Code(i)] = i
	}
	set := func(codes ...string) (used index.RoleSet) {
		var gs []index.Grant
		for _, code := range codes {
			gs = append(gs, index.Grant{Org: 1, Role: number[code]})
		}
		var content []byte
		for _, g := range index.SortGrants(gs) {
			content = append(content, grant(g.Org, g.Role)...)
		}
		return used.WithGrants(content)
	}
	first, second, third := table.Code(0), table.Code(1), table.Code(2)
	assert.Empty(t, table.CodesIn(nil))
	assert.Equal(t, []string{first}, table.CodesIn(set(first)))
	assert.Equal(t, []string{first, "", third}, table.CodesIn(set(third, first)))
	assert.Equal(t, []string{"", second}, table.CodesIn(set(second)))
	assert.Equal(t, []string{first, second, third}, table.CodesIn(set(first, second, third)))
}

func TestRoleSet(t *testing.T) {
	t.Parallel()
	numbers := []uint16{0, 1, 63, 64, 127, 128, 1023, 1024, index.MaxRoles - 1}
	for i, in := range numbers {
		set := index.RoleSet(nil).WithGrants(grant(7, in))
		for _, other := range numbers {
			assert.Equal(t, other == in, set.Has(other), "%d in a set of %d", other, in)
		}
		assert.Len(t, set, int(in)/64+1, "no longer than it has to be")
		for _, more := range numbers[:i] {
			with := set.WithGrants(grant(7, more))
			assert.True(t, with.Has(in) && with.Has(more))
			assert.Len(t, with, len(set))
		}
	}
}

// While a list is read, the number of a code that nobody has any more may go to
// another, and to one only.
func TestNumbersWhileAListIsRead(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	old := build(t, 0, nil, roles, map[int64]person{1: {Grants: []role{{7, "a"}, {7, "b"}, {7, "c"}, {7, "d"}}}})
	b := index.NewBuilder(0, nil, roles.Publish())
	number := map[uint16]string{}
	take := func(code string) {
		t.Helper()
		n, ok := b.Role(code)
		require.True(t, ok, code)
		if was, taken := number[n]; taken && was != code {
			t.Fatalf("%s has the number of %s", code, was)
		}
		number[n] = code
	}
	take("b")
	for i := range index.MaxRoles - 4 {
		take(fmt.Sprint("new-", i))
	}
	take("x") // has the number of a, c or d
	take("y")
	take("a")
	for _, code := range []string{"b", "x", "y", "a", "new-0", "new-77"} {
		take(code)
	}
	require.Len(t, number, index.MaxRoles)
	for _, code := range []string{"c", "d", "z"} {
		_, ok := b.Role(code)
		require.False(t, ok, "all numbers are in use")
	}
	runtime.KeepAlive(old)
}

// A copy says of a user what the table says, and may have more grants.
func TestCopies(t *testing.T) {
	t.Parallel()
	for name, fields := range map[string]index.FieldSet{"without strings": 0, "with strings": aliases} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			roles, _ := index.NewRoleSpace(nil)
			list := map[int64]person{
				1: {Grants: []role{{7, "teacher"}}, Text: [index.NumFields]string{index.FieldAccount: "ann", index.FieldThirdUserID: "a-1"}},
				2: {Dropped: true},
				3: {Invalid: true},
			}
			s := build(t, fields, nil, roles, list)
			to := index.NewCopier(fields, nil)
			teacher, _ := roles.Satisfying("teacher")
			for id := range list {
				at, ok := s.Place(id)
				require.True(t, ok)
				if id == 3 {
					to.Copy(&s.Table, at)
				} else {
					to.CopyWith(&s.Table, at, []index.Grant{{Org: 9, Role: teacher[0]}, {Org: 7, Role: teacher[0]}, {Org: 1, Role: teacher[0]}})
				}
			}
			copied, err := to.Finish()
			require.NoError(t, err)
			again := &index.Snapshot{Table: *copied, Roles: roles.Publish()}
			for id, p := range list {
				if id != 3 {
					p.Grants = []role{{1, "teacher"}, {7, "teacher"}, {9, "teacher"}}
				}
				at, ok := again.Place(id)
				require.True(t, ok)
				assert.Equal(t, p.kept(fields), read(again, at))
			}
		})
	}
}

// What was counted of a snapshot is counted once, and not told of another.
func TestLastCount(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	one, two := build(t, 0, nil, roles, unique("one", 3)), build(t, 0, nil, roles, unique("two", 5))
	var last index.LastCount
	for _, s := range []*index.Snapshot{one, one, two, one} {
		assert.Equal(t, s.Count(), last.Of(s))
	}
	first, again := last.Of(one), last.Of(one)
	assert.Same(t, &first.Roles[0], &again.Roles[0], "the very same")
}
