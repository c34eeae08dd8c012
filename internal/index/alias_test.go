package index

import (
	"fmt"
	"hash/maphash"
	"math/rand/v2"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const accounts = FieldSet(1 << FieldAccount)

// named makes the table of users with these accounts.
func named(t *testing.T, roles *RoleSpace, users map[int64]string) *Builder {
	b := NewBuilder(accounts, nil, roles.Publish())
	for id, account := range users {
		b.Put(&Row{ID: id, Text: [NumFields]string{FieldAccount: account}, Invalid: account == "invalid"})
	}
	require.True(t, b.Settle(roles))
	return b
}

// requireAliases checks that the index has each alias of each user once, and
// knows how many that are and what they take.
func requireAliases(t *testing.T, s *Snapshot, users map[int64]string) {
	t.Helper()
	x := &s.aliases[FieldAccount]
	want, has, blocks := 0, map[int64]bool{}, map[int][]byte{}
	for _, account := range users {
		if account != "" && account != "invalid" {
			want++
		}
	}
	live := 0
	for bucket, address := range x.dir {
		if address == 0 {
			continue
		}
		b := aliasBlock(x.at(address))
		for i := range b.len() {
			id := b.id(i)
			hash := maphash.String(x.seed, users[id])
			require.Equal(t, uint32(hash), b.hash(i))
			require.Equal(t, bucket, x.bucket(hash))
			require.False(t, has[id], "user %d is there twice", id)
			has[id] = true
			if i > 0 {
				require.Negative(t, aliasRef{b.hash(i - 1), b.id(i - 1)}.compare(aliasRef{b.hash(i), id}))
			}
		}
		blocks[bucket] = b[:4+12*b.len()]
		live += (4 + 12*b.len() + 7) / 8 * 8
	}
	require.Len(t, has, want)
	require.Equal(t, want, x.entries)
	require.Equal(t, live, x.live)
	require.LessOrEqual(t, want, 8*len(x.dir), "few to a bucket")
	require.LessOrEqual(t, x.dead, x.live/3+64<<10)
	bytes := 0
	for _, segment := range x.segments {
		bytes += len(segment)
	}
	require.Equal(t, bytes, x.live+x.dead)
}

func TestAliasesFollowChanges(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 2))
	roles, _ := NewRoleSpace(nil)
	users := map[int64]string{}
	s, err := NewSnapshot(named(t, roles, users), roles, accounts)
	require.NoError(t, err)
	requireAliases(t, s, users)
	compacted, grown, dead, tableGrown := 0, 0, 0, 0
	for step := range 250 {
		changed := map[int64]string{}
		for range 1 + random.IntN(200) {
			account := ""
			switch random.IntN(10) {
			case 0:
			case 1:
				account = "invalid"
			case 2:
				account = fmt.Sprint("shared-", random.IntN(5))
			default:
				account = fmt.Sprint("account-", random.IntN(1e6))
			}
			changed[1+random.Int64N(int64(10+step*4))] = account
		}
		var gone []int64
		for id := range users {
			if _, ok := changed[id]; !ok && len(gone) < random.IntN(5) {
				gone = append(gone, id)
			}
		}
		changes, err := named(t, roles, changed).Finish()
		require.NoError(t, err)
		buckets, tableBuckets := len(s.aliases[FieldAccount].dir), len(s.dir)
		s, err = s.Changed(changes, gone, roles, accounts)
		require.NoError(t, err)
		for id, account := range changed {
			users[id] = account
		}
		for _, id := range gone {
			delete(users, id)
		}
		requireAliases(t, s, users)
		require.LessOrEqual(t, s.Users, 8*len(s.dir), "few to a bucket")
		if len(s.dir) != tableBuckets {
			tableGrown++
		}
		x := &s.aliases[FieldAccount]
		switch {
		case len(x.dir) != buckets:
			grown++
		case x.dead < dead:
			compacted++
		}
		dead = x.dead
	}
	assert.True(t, grown > 0 && grown < 10, "it grew %d times", grown)
	assert.True(t, tableGrown > 0 && tableGrown < 10, "the table grew %d times", tableGrown)
	assert.Positive(t, compacted)
}

// A hash leads to a user, and is never believed: two strings may have the same.
func TestAHashIsOnlyAHint(t *testing.T) {
	t.Parallel()
	users := map[int64]string{1: "ann", 2: "bob", 3: "invalid"}
	for _, c := range []struct {
		name string
		ids  []int64 // that the hash of ann leads to
		want []int64
	}{
		{"to the one who has it", []int64{1}, []int64{1}},
		{"to another", []int64{2}, nil},
		{"to both", []int64{1, 2}, []int64{1}},
		{"to nobody", []int64{4}, nil},
		{"to one whose record is invalid", []int64{3}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			roles, _ := NewRoleSpace(nil)
			s, err := NewSnapshot(named(t, roles, users), roles, accounts)
			require.NoError(t, err)
			x := &s.aliases[FieldAccount]
			hash := maphash.String(x.seed, "ann")
			var refs []aliasRef
			for _, id := range c.ids {
				refs = append(refs, aliasRef{uint32(hash), id})
			}
			x.blocks, err = x.with([]blockChange{{x.bucket(hash), appendAliasBlock(nil, refs)}}, aliasBlockSize)
			require.NoError(t, err)
			var found []int64
			for _, at := range s.WithText(FieldAccount, "ann", 9) {
				found = append(found, s.ID(at))
			}
			assert.Equal(t, c.want, found)
			at, n := s.FindAlias(FieldAccount, "ann", nil)
			assert.Equal(t, len(c.want), n)
			if n == 1 {
				assert.Equal(t, c.want[0], s.ID(at))
			}
		})
	}
}

// An alias that many users share hides nobody whose own alias lies behind it.
func TestFindAliasBesideSharedOnes(t *testing.T) {
	t.Parallel()
	roles, _ := NewRoleSpace(nil)
	users := map[int64]string{}
	for id := int64(1); id <= 1000; id++ {
		users[id] = fmt.Sprint("own-", id)
		users[1000+id] = fmt.Sprint("shared-", id%10)
	}
	s, err := NewSnapshot(named(t, roles, users), roles, accounts)
	require.NoError(t, err)
	for id := int64(1); id <= 1000; id++ {
		at, found := s.FindAlias(FieldAccount, users[id], nil)
		require.Equal(t, 1, found)
		require.Equal(t, id, s.ID(at))
	}
}

// However many users share an alias, and are passed over, a look-up asks about few.
func TestFindAliasIsBounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name          string
		sharing, held int
		found         int
	}{
		{"nobody is passed over", 2, 0, 2},
		{"all but one", 5, 4, 1},
		{"as many as may be", maxExcept + 1, maxExcept, 1},
		{"one more", maxExcept + 2, maxExcept + 1, 2},
		{"everybody", 5, 5, 0},
		{"very many", 20_000, 19_999, 2},
		{"very many, and everybody", 20_000, 20_000, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			roles, _ := NewRoleSpace(nil)
			users := map[int64]string{}
			for id := range int64(c.sharing) {
				users[id+1] = "wang"
			}
			s, err := NewSnapshot(named(t, roles, users), roles, accounts)
			require.NoError(t, err)
			asked := 0
			at, found := s.FindAlias(FieldAccount, "wang", func(id int64) bool { asked++; return id <= int64(c.held) })
			assert.Equal(t, c.found, found)
			assert.LessOrEqual(t, asked, maxExcept+1)
			if found == 1 {
				assert.EqualValues(t, c.held+1, s.ID(at))
			}
		})
	}
}
