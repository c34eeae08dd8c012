package rolegate_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// anyone is a user with whatever a record can have.
func anyone(rnd *rand.Rand, id int64) rolegate.Record {
	text := func(prefix string) string {
		switch rnd.IntN(6) {
		case 0:
			return ""
		case 1:
			return prefix + "shared"
		case 2:
			return prefix + strings.Repeat("长", rnd.IntN(50)) + fmt.Sprint(id)
		default:
			return fmt.Sprint(prefix, id)
		}
	}
	r := rolegate.Record{
		UserID: id, Account: text("a"), Email: text("e"), ThirdAccount: text("ta"), ThirdUserID: text(""),
		Nickname: text("n"), ThirdUserName: text("tn"),
	}
	for range rnd.IntN(4) {
		r.Grants = append(r.Grants, in(1+rnd.Int64N(1<<40), role(rnd)))
	}
	return r
}

func anyones(seed uint64, n int) (records []rolegate.Record) {
	rnd := rand.New(rand.NewPCG(seed, 1))
	for i := range n {
		r := anyone(rnd, 1<<53+int64(i)*7+1)
		if rnd.IntN(200) == 0 {
			r.Bad = errors.New("unreadable")
		}
		records = append(records, r)
	}
	return records
}

var aliasKinds = []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID}

func aliases(bits int) (kinds []rolegate.Kind) {
	for i, k := range aliasKinds {
		if bits>>i&1 == 1 {
			kinds = append(kinds, k)
		}
	}
	return kinds
}

// Every size around which an index is laid out otherwise.
func TestRestartOfManySizes(t *testing.T) {
	t.Parallel()
	for _, n := range []int{0, 1, 2, 3, 4, 5, 8, 9, 255, 256, 257, 4095, 4096, 4097, 16_385, 100_000} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				records := anyones(uint64(n), n)
				requireSame(t, rolegate.Config{
					Source: rolegatetest.NewStatic(records...), Aliases: aliasKinds, Keep: rolegate.Keep{Nickname: true},
				}, records)
				requireSame(t, rolegate.Config{Source: rolegatetest.NewStatic(records...)}, records)
			})
		})
	}
}

// Every combination of strings that are kept and kinds that are indexed.
func TestRestartOfManyFields(t *testing.T) {
	t.Parallel()
	records := anyones(1, 40)
	for set := range 1 << 6 {
		has := func(bit int) bool { return set>>bit&1 != 0 }
		keep := rolegate.Keep{Account: has(0), Email: has(1), ThirdAccount: has(2), ThirdUserID: has(3), Nickname: has(4), ThirdUserName: has(5)}
		t.Run(fmt.Sprintf("%06b", set), func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				for bits := range 1 << len(aliasKinds) {
					requireSame(t, rolegate.Config{Source: rolegatetest.NewStatic(records...), Aliases: aliases(bits), Keep: keep}, records)
				}
			})
		})
	}
}

// The roles get other numbers after the restart: its hierarchy names some before
// the index is read.
func TestRestartNumbersRolesAnew(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRestartNumbersRolesAnew)
}

func testRestartNumbersRolesAnew(t *testing.T) {
	records := anyones(2, 1000)
	cache := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(records...), Implies: map[string][]string{"zeta": {"alpha"}, "teacher": {"pupil"}}})
	for _, implies := range []map[string][]string{
		nil,
		{"principal": {"admin"}, "admin": {"teacher"}},
		{"pupil": {"homeroom"}, "beta": {"gamma"}, "admin": {"principal", "a", "b", "c"}},
	} {
		fresh := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(records...), Implies: implies})
		gate := openGate(t, rolegate.Config{Source: away(), Cache: cache.another(), Implies: implies})
		require.True(t, gate.Status().Cache.Loaded)
		for _, code := range append([]string{"zeta", "alpha", "gamma"}, roleCodes...) {
			want, got := fresh.Policy(rolegate.AnyRole(code)), gate.Policy(rolegate.AnyRole(code))
			for _, r := range records {
				id := rolegate.UserID(r.UserID)
				require.Equal(t, want.Decide(t.Context(), id, 0).Reason, got.Decide(t.Context(), id, 0).Reason, "%d %s", r.UserID, code)
				require.Equal(t, fresh.Decide(t.Context(), id).User.Grants(), gate.Decide(t.Context(), id).User.Grants())
			}
		}
	}
}

func TestRestartWithManyRoles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRestartWithManyRoles)
}

func testRestartWithManyRoles(t *testing.T) {
	const most = 65_536 // that a gate can tell apart
	var records []rolegate.Record
	for i := range int64(most) {
		records = append(records, record(i+1, in(7, fmt.Sprintf("role-%d", i))))
	}
	requireSame(t, rolegate.Config{Source: rolegatetest.NewStatic(records...)}, records)

	cache := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(records...)})
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(record(1)), Cache: cache, Implies: map[string][]string{"one": {"too-many"}},
	})
	assert.False(t, gate.Status().Cache.Loaded)
	assert.Contains(t, gate.Status().Cache.Error, "too many role codes")
	assert.Equal(t, 1, gate.Status().Users)
}

// A role code that nobody has any more must not outlive every restart: there
// is room for so many only.
func TestRestartForgetsRolesThatNobodyHas(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRestartForgetsRolesThatNobodyHas)
}

func testRestartForgetsRolesThatNobodyHas(t *testing.T) {
	cache := &memoryCache{}
	for term := range 5 {
		var records []rolegate.Record
		for i := range 30_000 {
			records = append(records, record(int64(i%100+1), in(7, fmt.Sprintf("class-%d-%d", term, i))))
		}
		// All of one user's grants are in one record.
		grants := map[int64][]rolegate.Grant{}
		for _, r := range records {
			grants[r.UserID] = append(grants[r.UserID], r.Grants...)
		}
		records = records[:100]
		for i := range records {
			records[i].Grants = grants[records[i].UserID]
		}
		gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(records...), Cache: cache}))
		require.NoError(t, err)
		assert.Equal(t, term > 0, gate.Status().Cache.Loaded, gate.Status().Cache.Error)
		require.NoError(t, gate.RefreshAll(t.Context()), "term %d", term)
		assert.Equal(t, 30_000, gate.Status().Grants)
		require.NoError(t, gate.Close())
	}
}

// Who is denied for a bad record stays denied, also for an increment of an
// inclusive server that repeats the record from before.
func TestRestartKeepsBars(t *testing.T) {
	t.Parallel()
	synctest.Test(t, testRestartKeepsBars)
}

func testRestartKeepsBars(t *testing.T) {
	bad := named(2)
	bad.Bad = errors.New("unreadable")
	source := rolegatetest.NewStatic(namedUpTo(3)...)
	cache := &memoryCache{}
	cfg := withAccounts(source)
	cfg.Cache = cache
	gate, err := rolegate.Open(t.Context(), quiet(cfg))
	require.NoError(t, err)
	source.Put(bad)
	require.NoError(t, gate.Refresh(t.Context()))
	require.NoError(t, gate.Close())

	again := &scripted{list: []rolegate.Record{named(1)}, err: errAway}
	cfg.Source = keyed{again}
	gate = openGate(t, cfg)
	require.True(t, gate.Status().Cache.Loaded, gate.Status().Cache.Error)
	assert.False(t, allowed(gate, 2))
	assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "account-2")).Reason)
	assert.Equal(t, 2, gate.Status().Users)
	synctest.Wait() // the first full refresh has failed
	repeated := named(2)
	repeated.Sequence = gate.Status().Cursor
	again.script(func() { again.news, again.err = []rolegate.Record{repeated}, nil })
	require.NoError(t, gate.Refresh(t.Context()))
	assert.False(t, allowed(gate, 2), "the record that the refresh before has seen")
	repeated.Sequence++
	again.script(func() { again.news = []rolegate.Record{repeated} })
	require.NoError(t, gate.Refresh(t.Context()))
	assert.True(t, allowed(gate, 2), "a newer one")
}

// keyed is a source that says that it has the list of every rolegatetest.Static.
type keyed struct{ rolegate.Source }

func (keyed) CacheKey() string { return rolegatetest.NewStatic().CacheKey() }
