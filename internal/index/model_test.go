package index_test

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/index"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
)

// A person is what a list says of one user. Roles are by code.
type person struct {
	Grants  []role // by organisation and then code, each once
	Text    [index.NumFields]string
	Dropped bool
	Invalid bool // and then nothing else counts
}

type role struct {
	Org  int64
	Code string
}

// aliases are the fields by which these tests find users.
const aliases = index.FieldSet(1<<index.FieldAccount | 1<<index.FieldThirdUserID)

func sortRoles(roles []role) []role {
	slices.SortFunc(roles, func(a, b role) int { return cmp.Or(cmp.Compare(a.Org, b.Org), strings.Compare(a.Code, b.Code)) })
	return slices.Compact(roles)
}

// put gives a builder what a list says of a user.
func put(t require.TestingT, b *index.Builder, id, sequence int64, p person) {
	row := index.Row{ID: id, Sequence: sequence, Text: p.Text, DroppedGrant: p.Dropped, Invalid: p.Invalid}
	if !p.Invalid {
		for _, r := range p.Grants {
			number, ok := b.Role(r.Code)
			require.True(t, ok)
			row.Grants = append(row.Grants, index.Grant{Org: r.Org, Role: number})
		}
	}
	row.Grants = index.SortGrants(row.Grants)
	b.Put(&row)
}

// build makes a snapshot of a list.
func build(t require.TestingT, fields index.FieldSet, like *index.Table, roles *index.RoleSpace, list map[int64]person) *index.Snapshot {
	b := index.NewBuilder(fields, like, roles.Publish())
	for id, p := range list {
		put(t, b, id, 1, p)
	}
	require.True(t, b.Settle(roles))
	s, err := index.NewSnapshot(b, roles, aliases&fields)
	require.NoError(t, err)
	return s
}

// read returns what a snapshot says of the user in that place.
func read(s *index.Snapshot, at index.Place) (p person) {
	if s.InvalidAt(at) {
		return person{Invalid: true}
	}
	gs := s.Grants(at)
	for i := range gs.Len() {
		p.Grants = append(p.Grants, role{gs.Org(i), s.Roles.Code(gs.Role(i))})
	}
	for i := 1; i < gs.Len(); i++ {
		if gs.Org(i-1) > gs.Org(i) || gs.Org(i-1) == gs.Org(i) && gs.Role(i-1) >= gs.Role(i) {
			panic("grants are not in order")
		}
	}
	p.Grants = sortRoles(p.Grants)
	p.Dropped = s.DroppedGrant(at)
	for f := range index.NumFields {
		p.Text[f] = string(s.Field(at, f))
	}
	return p
}

// kept is what a snapshot with these fields keeps of a person.
func (p person) kept(fields index.FieldSet) person {
	if p.Invalid {
		return person{Invalid: true}
	}
	p.Grants = sortRoles(slices.Clone(p.Grants))
	for f := range index.NumFields {
		if !fields.Has(f) {
			p.Text[f] = ""
		}
	}
	return p
}

// requireSays compares all that a snapshot says with a list.
func requireSays(t require.TestingT, s *index.Snapshot, fields index.FieldSet, list map[int64]person) {
	want, got := map[int64]person{}, map[int64]person{}
	users, grants := 0, 0
	held := map[string]bool{}
	byAlias := map[index.Field]map[string][]int64{index.FieldAccount: {}, index.FieldThirdUserID: {}}
	for id, p := range list {
		p = p.kept(fields)
		want[id] = p
		_, listed := s.Find(id)
		require.Equal(t, !p.Invalid, listed, "user %d", id)
		require.Equal(t, p.Invalid, s.Invalid(id), "user %d", id)
		if p.Invalid {
			continue
		}
		users++
		grants += len(p.Grants)
		for _, r := range p.Grants {
			held[r.Code] = true
		}
		for f, by := range byAlias {
			if text := p.Text[f]; text != "" {
				by[text] = append(by[text], id)
			}
		}
	}
	s.Each(func(id int64, at index.Place, invalid bool) {
		_, again := got[id]
		require.False(t, again, "user %d comes twice", id)
		got[id] = read(s, at)
		require.Equal(t, got[id].Invalid, invalid)
		require.Equal(t, id, s.ID(at))
	})
	require.Equal(t, want, got)
	require.Equal(t, users, s.Users)
	require.Equal(t, slices.ContainsFunc(slices.Collect(maps.Values(want)), func(p person) bool { return p.Dropped }), s.Any(s.DroppedGrant))
	seen := 0
	require.False(t, s.Any(func(index.Place) bool { seen++; return false }))
	require.Equal(t, users, seen, "whose record is invalid is passed over")
	require.Equal(t, grants, s.GrantCount)
	for f, by := range byAlias {
		if !fields.Has(f) {
			continue
		}
		shared := 0
		for text, ids := range by {
			for name, of := range map[string]*index.Snapshot{"by the index": s, "at every user": {Table: s.Table}} {
				for _, most := range []int{0, 1, 2, len(ids) + 1} {
					var lowest []int64
					for _, at := range of.WithText(f, text, most) {
						lowest = append(lowest, of.ID(at))
					}
					sorted := slices.Sorted(slices.Values(ids))
					require.Equal(t, append([]int64(nil), sorted[:min(most, len(ids))]...), lowest, "%s: %q", name, text)
				}
			}
			at, found := s.FindAlias(f, text, nil)
			require.Equal(t, min(len(ids), 2), found, "%q", text)
			if found == 1 {
				require.Equal(t, ids[0], s.ID(at))
			}
			if found > 1 {
				shared++
				_, left := s.FindAlias(f, text, func(id int64) bool { return id == ids[0] })
				require.Equal(t, min(len(ids)-1, 2), left, "all but one")
			}
		}
		require.Equal(t, shared, s.Ambiguous(f))
		_, found := s.FindAlias(index.FieldNickname, "account-2", nil)
		require.Zero(t, found, "nobody is to be found by that field")
		for _, nobody := range []string{"", "nobody", "account-"} {
			_, found := s.FindAlias(f, nobody, nil)
			require.Zero(t, found)
			require.Empty(t, s.WithText(f, nobody, 9))
			require.Empty(t, (&index.Snapshot{Table: s.Table}).WithText(f, nobody, 9))
		}
	}
	for code := range held {
		require.Contains(t, s.AssignedCodes(), code)
	}
	requireCounts(t, s, list)
}

func requireCounts(t require.TestingT, s *index.Snapshot, list map[int64]person) {
	want := index.Counts{}
	type in struct{ users, orgs map[int64]bool }
	roles := map[string]in{}
	orgs := map[int64]bool{}
	for id, p := range list {
		switch {
		case p.Invalid:
			want.Invalid++
			continue
		case len(p.Grants) == 0:
			want.WithoutRoles++
		}
		want.Users++
		for _, r := range p.Grants {
			if roles[r.Code].users == nil {
				roles[r.Code] = in{map[int64]bool{}, map[int64]bool{}}
			}
			roles[r.Code].users[id], roles[r.Code].orgs[r.Org], orgs[r.Org] = true, true, true
		}
	}
	want.Orgs = len(orgs)
	for code, r := range roles {
		want.Roles = append(want.Roles, index.RoleCount{Code: code, Users: len(r.users), Orgs: len(r.orgs)})
	}
	slices.SortFunc(want.Roles, func(a, b index.RoleCount) int {
		return cmp.Or(cmp.Compare(b.Users, a.Users), strings.Compare(a.Code, b.Code))
	})
	require.Equal(t, want, s.Count())
}

func anyPerson(codes, accounts int) *rapid.Generator[person] {
	return rapid.Custom(func(t *rapid.T) person {
		p := person{
			Invalid: rapid.IntRange(0, 9).Draw(t, "invalid") == 0,
			Dropped: rapid.IntRange(0, 9).Draw(t, "dropped") == 0,
		}
		for range rapid.IntRange(0, 4).Draw(t, "grants") {
			p.Grants = append(p.Grants, role{rapid.Int64Range(1, 5).Draw(t, "org"), fmt.Sprint("role-", rapid.IntRange(1, codes).Draw(t, "code"))})
		}
		p.Grants = sortRoles(p.Grants)
		for f := range index.NumFields {
			switch n := rapid.IntRange(0, accounts).Draw(t, "text"); {
			case n == 0:
			case n == 1:
				p.Text[f] = strings.Repeat("long ", 100)
			default:
				p.Text[f] = fmt.Sprint("account-", n)
			}
		}
		return p
	})
}

func anyFields() *rapid.Generator[index.FieldSet] {
	return rapid.Map(rapid.IntRange(0, 1<<index.NumFields-1), func(n int) index.FieldSet { return index.FieldSet(n) })
}

// A generation is a snapshot that was made, and what the list said then.
type generation struct {
	s    *index.Snapshot
	list map[int64]person
}

// Whatever comes, changes and goes, each snapshot says what the list said when
// it was made, those that were replaced too; and what differs between two is
// found, and nothing else.
func TestSnapshotsAgainstAMap(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields().Draw(t, "fields")
		ids := rapid.SampledFrom([]int64{4, 40, 400}).Draw(t, "ids")
		stride := rapid.SampledFrom([]int64{1, 1 << 32}).Draw(t, "stride")
		anyID := rapid.Map(rapid.Int64Range(1, ids), func(n int64) int64 { return n * stride })
		someone := anyPerson(6, 8)
		roles, _ := index.NewRoleSpace(nil)
		list := map[int64]person{}
		now := build(t, fields, nil, roles, list)
		var before []generation
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				changed := rapid.MapOfN(anyID, someone, 0, int(ids)).Draw(t, "changed")
				gone := rapid.SliceOfNDistinct(anyID, 0, 4, rapid.ID).Draw(t, "gone")
				gone = slices.DeleteFunc(gone, func(id int64) bool { _, ok := changed[id]; return ok })
				before = append(before, generation{now, maps.Clone(list)})
				b := index.NewBuilder(fields, nil, roles.Publish())
				for id, p := range changed {
					put(t, b, id, 1, p)
					list[id] = p
				}
				for _, id := range gone {
					delete(list, id)
				}
				require.True(t, b.Settle(roles))
				changes, err := b.Finish()
				require.NoError(t, err)
				next, err := now.Changed(changes, gone, roles, aliases&fields)
				require.NoError(t, err)
				if same(before[len(before)-1].list, list, fields) {
					require.Same(t, now, next, "nothing has changed")
				}
				now = next
			},
			"build anew": func(t *rapid.T) {
				before = append(before, generation{now, maps.Clone(list)})
				var like *index.Table
				if rapid.Bool().Draw(t, "like") {
					like = &now.Table
				}
				now = build(t, fields, like, roles, list)
			},
			"": func(t *rapid.T) {
				requireSays(t, now, fields, list)
				if len(before) > 0 {
					old := before[rapid.IntRange(0, len(before)-1).Draw(t, "old")]
					requireSays(t, old.s, fields, old.list)
					requireDiffers(t, old, generation{now, list}, fields)
				}
			},
		})
	})
}

func same(a, b map[int64]person, fields index.FieldSet) bool {
	return maps.EqualFunc(a, b, func(p, q person) bool { return samePerson(p, q, fields) })
}

func samePerson(p, q person, fields index.FieldSet) bool {
	return fmt.Sprint(p.kept(fields)) == fmt.Sprint(q.kept(fields))
}

// requireDiffers compares what lies between two snapshots with what lies between
// two lists.
func requireDiffers(t require.TestingT, from, to generation, fields index.FieldSet) {
	want := map[int64]index.Difference{}
	var counts [4]int // added, removed, changed, lost all roles
	for id := range from.list {
		p, q, is := from.list[id], to.list[id], false
		if _, is = to.list[id]; !is {
			q.Invalid = true
		}
		switch {
		case is && samePerson(p, q, fields):
			continue
		case p.Invalid && q.Invalid:
			want[id] = index.UserSame
		case p.Invalid:
			want[id] = index.UserAdded
			counts[0]++
		case q.Invalid:
			want[id] = index.UserRemoved
			counts[1]++
		default:
			want[id] = index.UserChanged
			counts[2]++
			if len(p.Grants) > 0 && len(q.Grants) == 0 {
				counts[3]++
			}
		}
	}
	for id, q := range to.list {
		if _, was := from.list[id]; !was {
			want[id] = index.UserSame
			if !q.Invalid {
				want[id] = index.UserAdded
				counts[0]++
			}
		}
	}
	got := map[int64]index.Difference{}
	c := index.Comparison{Before: from.s, After: to.s}
	to.s.Differing(&from.s.Table, func(id int64) {
		_, again := got[id]
		require.False(t, again, "user %d comes twice", id)
		got[id] = c.Look(id)
	})
	require.Equal(t, want, got)
	require.Equal(t, counts, [4]int{c.Added, c.Removed, c.Changed, c.LostAllRoles})
}

// Nobody has an id of 0 or less, whatever was put into the table.
func TestNobodyHasSuchAnID(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	s := build(t, 0, nil, roles, map[int64]person{-1: {}, 0: {}, 1: {}})
	for _, id := range []int64{-1, 0} {
		_, known := s.Place(id)
		assert.False(t, known, id)
		_, listed := s.Find(id)
		assert.False(t, listed, id)
	}
	_, listed := s.Find(1)
	assert.True(t, listed)
	_, known := new(index.Table).Place(1)
	assert.False(t, known, "nor anybody in a table of nobody")
}

// What is written down of a snapshot is read back the same, by a role space that
// numbers its codes otherwise.
func TestUsersWrittenDown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fields := anyFields().Draw(t, "fields")
		list := rapid.MapOfN(rapid.Int64Range(1, 1<<40), anyPerson(6, 8), 0, 50).Draw(t, "list")
		roles, _ := index.NewRoleSpace(nil)
		s := build(t, fields, nil, roles, list)
		var users []byte
		s.Each(func(_ int64, at index.Place, _ bool) { users = s.AppendUser(users, at) })
		codes := s.Roles.CodesIn(s.Assigned)

		others, _ := index.NewRoleSpace(map[string][]string{"role-5": {"role-3"}, "other": {"role-1"}})
		b := index.NewCodedBuilder(fields, codes)
		require.True(t, b.PutUsers(users))
		require.True(t, b.Settle(others))
		again, err := index.NewSnapshot(b, others, aliases&fields)
		require.NoError(t, err)
		require.Zero(t, b.Duplicates)
		requireSays(t, again, fields, list)
		if len(users) > 0 {
			broken := users[:rapid.IntRange(0, len(users)-1).Draw(t, "broken off")]
			if b := index.NewCodedBuilder(fields, codes); b.PutUsers(broken) {
				part, err := b.Finish()
				require.NoError(t, err)
				assert.Less(t, part.Users, len(list), "it breaks off behind a user")
			}
		}
	})
}

// Of several rows of one user the highest sequence counts, of equal ones the
// last, and an invalid one in any case, however many others lie between them.
func TestRowsOfOneUser(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		type row struct {
			sequence int64
			invalid  bool
		}
		rows := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) row {
			return row{rapid.Int64Range(-3, 5).Draw(t, "sequence"), rapid.IntRange(0, 19).Draw(t, "invalid") == 0}
		}), 1, 6).Draw(t, "rows")
		between := rapid.SampledFrom([]int64{0, 3, 1000}).Draw(t, "others between")
		roles, _ := index.NewRoleSpace(nil)
		b := index.NewBuilder(0, nil, roles.Publish())
		want, winner, invalid, duplicates, conflicts, repaired := int64(0), int64(-100), false, 0, 0, 0
		bad := slices.IndexFunc(rows, func(r row) bool { return r.invalid })
		other := int64(10)
		for i, r := range rows {
			org := int64(i + 1)
			put(t, b, 7, r.sequence, person{Grants: []role{{org, "teacher"}}, Invalid: r.invalid})
			for range between {
				put(t, b, other, 1, person{})
				other++
			}
			if !invalid && !r.invalid && i > 0 {
				duplicates++
				conflicts++
			}
			newer := func(sequence int64) bool { return rows[bad].sequence > 0 && sequence > rows[bad].sequence }
			if bad >= 0 && (i == bad && i > 0 && newer(winner) || i > bad && !r.invalid && newer(r.sequence)) {
				repaired++
			}
			invalid = invalid || r.invalid
			if r.sequence >= winner {
				winner, want = r.sequence, org
			}
		}
		require.True(t, b.Settle(roles))
		s, err := index.NewSnapshot(b, roles, 0)
		require.NoError(t, err)
		require.Equal(t, invalid, s.Invalid(7))
		require.Equal(t, [3]int{duplicates, conflicts, repaired}, [3]int{b.Duplicates, b.Conflicts, b.Repaired})
		if at, ok := s.Find(7); ok {
			require.Equal(t, want, s.Grants(at).Org(0))
		}
		require.Equal(t, int(other-10), s.Users+s.Count().Invalid-1)
	})
}

// A newer row repairs an invalid one. Of two with one sequence neither is newer.
func TestRepairedRows(t *testing.T) {
	t.Parallel()
	for sequence, want := range map[int64]int{4: 0, 5: 0, 6: 1} {
		roles, _ := index.NewRoleSpace(nil)
		b := index.NewBuilder(0, nil, roles.Publish())
		put(t, b, 7, 5, person{Invalid: true})
		put(t, b, 7, sequence, person{})
		require.True(t, b.Settle(roles))
		_, err := b.Finish()
		require.NoError(t, err)
		require.Equal(t, want, b.Repaired, "%d", sequence)
	}
}
