package rolegatetest_test

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/rolegate/rolegate"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/rolegatetest"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"
)

func TestChangesRaiseTheSequence(t *testing.T) {
	t.Parallel()
	grants := func(roles ...string) (g []rolegate.Grant) {
		for _, role := range roles {
			g = append(g, rolegate.Grant{OrgID: 1, RoleCode: role})
		}
		return g
	}
	for name, tc := range map[string]struct {
		cfg      rolegatetest.MarketplaceConfig
		change   func(*rolegatetest.Marketplace)
		sequence int64 // starts at 2
		after    []int64
		of1      []rolegate.Grant // user 1 starts as a teacher
	}{
		"nothing":               {change: func(*rolegatetest.Marketplace) {}, sequence: 2, of1: grants("teacher")},
		"put again":             {change: func(m *rolegatetest.Marketplace) { m.Put(rolegatetest.User{ID: 1}) }, sequence: 3, after: []int64{1}},
		"put in order":          {change: func(m *rolegatetest.Marketplace) { m.Put(users(3, 4)...) }, sequence: 4, after: []int64{3, 4}, of1: grants("teacher")},
		"put tied":              {change: func(m *rolegatetest.Marketplace) { m.PutTied(users(3, 4)...) }, sequence: 3, after: []int64{3, 4}, of1: grants("teacher")},
		"put nobody tied":       {change: func(m *rolegatetest.Marketplace) { m.PutTied() }, sequence: 2, of1: grants("teacher")},
		"grant":                 {change: func(m *rolegatetest.Marketplace) { m.Grant(1, 1, "admin", "teacher") }, sequence: 3, after: []int64{1}, of1: grants("teacher", "admin")},
		"grant what is there":   {change: func(m *rolegatetest.Marketplace) { m.Grant(1, 1, "teacher") }, sequence: 2, of1: grants("teacher")},
		"grant to a stranger":   {change: func(m *rolegatetest.Marketplace) { m.Grant(9, 1) }, sequence: 3, after: []int64{9}, of1: grants("teacher")},
		"take":                  {change: func(m *rolegatetest.Marketplace) { m.Take(1, 1, "teacher") }, sequence: 3, after: []int64{1}},
		"take quietly":          {cfg: rolegatetest.MarketplaceConfig{QuietRoleLoss: true}, change: func(m *rolegatetest.Marketplace) { m.Take(1, 1, "teacher") }, sequence: 2},
		"take elsewhere":        {change: func(m *rolegatetest.Marketplace) { m.Take(1, 2, "teacher") }, sequence: 2, of1: grants("teacher")},
		"take from a stranger":  {change: func(m *rolegatetest.Marketplace) { m.Take(9, 1, "teacher") }, sequence: 2, of1: grants("teacher")},
		"revoke":                {change: func(m *rolegatetest.Marketplace) { m.Revoke(2, 9) }, sequence: 2, of1: grants("teacher")},
		"touch":                 {change: func(m *rolegatetest.Marketplace) { m.Touch(1, 9) }, sequence: 3, after: []int64{1}, of1: grants("teacher")},
		"clear":                 {change: func(m *rolegatetest.Marketplace) { m.Clear() }, sequence: 2},
		"clear and begin again": {change: func(m *rolegatetest.Marketplace) { m.Clear(); m.Grant(1, 1, "x") }, sequence: 3, after: []int64{1}, of1: grants("x")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := rolegatetest.NewMarketplace(tc.cfg)
			m.Grant(1, 1, "teacher")
			m.Grant(2, 1, "teacher")
			tc.change(m)
			assert.Equal(t, tc.sequence, m.Sequence())
			assert.ElementsMatch(t, tc.after, ids(newReader(m).page(t, 2, 10)))
			user, _ := m.User(1)
			assert.Equal(t, tc.of1, user.Grants)
		})
	}
}

func TestUserComesBackAsPut(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String()
		want := rolegatetest.User{
			ID:      rapid.Int64().Draw(t, "id"),
			Account: text.Draw(t, "account"), Email: text.Draw(t, "email"), Nickname: text.Draw(t, "nickname"),
			ThirdAccount: text.Draw(t, "thirdAccount"), ThirdUserID: text.Draw(t, "thirdUserID"), ThirdUserName: text.Draw(t, "thirdUserName"),
			Gender: rapid.Int().Draw(t, "gender"),
		}
		for range rapid.IntRange(0, 20).Draw(t, "grants") {
			want.Grants = append(want.Grants, rolegate.Grant{OrgID: rapid.Int64().Draw(t, "org"), RoleCode: text.Draw(t, "role")})
		}
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Put(want)
		got, ok := m.User(want.ID)
		if !ok {
			t.Fatal("not listed")
		}
		assert.Equal(t, want, got)
		assert.Equal(t, []rolegatetest.User{want}, m.Users())
	})
}

// The list against the plainest list there is: a slice that is searched whole.
func TestListAgainstAPlainSlice(t *testing.T) {
	t.Parallel()
	type plain struct{ id, sequence int64 }
	var list []plain
	random := rand.New(rand.NewPCG(1, 2))
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	c := newReader(m)
	for range 5000 {
		user := random.Int64N(200)
		list = slices.DeleteFunc(list, func(p plain) bool { return p.id == user })
		if random.IntN(3) == 0 {
			m.Revoke(user)
		} else {
			m.Put(rolegatetest.User{ID: user})
			list = append(list, plain{user, m.Sequence()})
		}
		if random.IntN(20) > 0 {
			continue
		}
		after, want := max(m.Sequence()-random.Int64N(300), 0), []int64{}
		for _, p := range list {
			if p.sequence > after && len(want) < 50 {
				want = append(want, p.id)
			}
		}
		require.Equal(t, want, ids(c.page(t, after, 50)))
		require.Equal(t, len(list), m.Len())
	}
}

func TestBackupAndRestore(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(users(1, 200)...)
	m.Revoke(3)
	before, backup := m.Users(), m.Backup()

	for _, u := range m.Users() { // leave not a row of it as it was
		m.Grant(u.ID, 1, "admin")
	}
	m.Clear()
	m.Put(users(500, 501)...)
	m.Restore(backup)
	assert.Equal(t, before, m.Users())
	assert.Equal(t, int64(200), m.Sequence())

	m.Grant(1, 1, "teacher")
	assert.Equal(t, int64(201), m.Sequence(), "given out a second time")
	m.Restore(backup)
	assert.Equal(t, before, m.Users(), "a backup does not change")

	other := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	other.Restore(backup)
	assert.Equal(t, before, other.Users())
	other.Restore(new(rolegatetest.Backup))
	assert.Nil(t, other.Users())
	other.Put(users(1, 1)...)
	assert.Equal(t, int64(1), other.Sequence())
	assert.Equal(t, before, m.Users())
}

func TestRaw(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Put(users(1, 3)...)
	c := newReader(m)
	m.Raw(2, `{"userId":9223372036854775808,"bad":`+"\xff}")
	m.Raw(4, `{"userId":4}`) // not on the list
	m.Respell(3, func(record string) string {
		return strings.Replace(record, `"userId":3`, `"userId":3,"userId":33`, 1)
	})
	body := c.get(t.Context(), 0, 10).body
	assert.Contains(t, body, `"lastSequence":1},{"userId":9223372036854775808,"bad":`+"\xff},{\"userId\":3,\"userId\":33,\"account\":\"user3\"")
	assert.NotContains(t, body, `"userId":4`)
	assert.Equal(t, int64(3), m.Sequence())

	m.Raw(2, "")
	m.Respell(3, nil)
	assert.Equal(t, []int64{1, 2, 3}, ids(c.page(t, 0, 10)))
}

func TestTextIsEscaped(t *testing.T) {
	t.Parallel()
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	for n, text := range []string{"", "王芳", `"\`, "\x00\n\r\t\x7f", "<script>&", "\u2028", "\U0001f600"} {
		m.Put(rolegatetest.User{ID: int64(n), Account: text})
	}
	for _, r := range newReader(m).page(t, 0, 10) {
		user, _ := m.User(int64(r.UserID))
		assert.Equal(t, user.Account, r.Account)
	}
	m.Put(rolegatetest.User{ID: 99, Account: "a\xffb"})
	assert.Equal(t, "a\ufffdb", newReader(m).page(t, m.Sequence()-1, 10)[0].Account)
}
