package rolegate_test

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An indexWorld is a list that changes at random, beside the gate that follows
// it. It compares all that the two say after each pull.
type indexWorld struct {
	t      *testing.T
	rnd    *rand.Rand
	source *rolegatetest.Static
	gate   *rolegate.Gate

	ids      int64 // users are 1 to ids, times stride
	stride   int64
	accounts int // how many different ones
	longest  int // nickname
	codes    int // roles so far: new ones keep coming

	list   map[int64]rolegate.Record // Grants by organisation and code
	pulled map[int64]rolegate.Record // the same, as of the last pull
	old    []indexMemory
}

// An indexMemory is a user of a generation that is gone, and what was said of
// him.
type indexMemory struct {
	user rolegate.User
	want rolegate.Record
}

func newIndexWorld(t *testing.T, seed uint64, ids, stride int64, accounts, longest int) *indexWorld {
	w := &indexWorld{
		t: t, rnd: rand.New(rand.NewPCG(seed, uint64(ids))), source: rolegatetest.NewStatic(),
		ids: ids, stride: stride, accounts: accounts, longest: longest, codes: 3, list: map[int64]rolegate.Record{},
	}
	w.gate = openGate(t, rolegate.Config{
		Source: w.source, Keep: rolegate.KeepNickname,
		Aliases: []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail},
		Refresh: rolegate.Refresh{ResyncMin: 24 * time.Hour},
	})
	spendFullRefresh(t, w.gate, w.source)
	return w
}

func (w *indexWorld) anyRecord() rolegate.Record {
	id := (1 + w.rnd.Int64N(w.ids)) * w.stride
	r := rolegate.Record{UserID: id, Email: fmt.Sprint(id), Nickname: strings.Repeat("n", w.rnd.IntN(w.longest))}
	if w.rnd.IntN(4) > 0 {
		r.Account = fmt.Sprintf("account-%d", w.rnd.IntN(w.accounts))
	}
	for range w.rnd.IntN(4) {
		r.Grants = append(r.Grants, in(1+w.rnd.Int64N(5), fmt.Sprintf("role-%d", w.rnd.IntN(w.codes))))
	}
	return r
}

// put changes some users.
func (w *indexWorld) put(n int) {
	w.codes++
	bad := 0
	for _, r := range w.list {
		if r.Bad != nil {
			bad++
		}
	}
	var records []rolegate.Record
	seen := map[int64]bool{}
	for range n {
		r := w.anyRecord()
		if seen[r.UserID] {
			continue
		}
		seen[r.UserID] = true
		if bad < 8 && w.rnd.IntN(50) == 0 {
			r.Bad = errors.New("unreadable")
			bad++
		}
		records = append(records, r)
		slices.SortFunc(r.Grants, func(a, b rolegate.Grant) int {
			return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.RoleCode, b.RoleCode))
		})
		r.Grants = slices.Compact(r.Grants)
		w.list[r.UserID] = r
	}
	w.source.Put(records...)
}

// remove takes some users off the list.
func (w *indexWorld) remove(n int) {
	for id := range w.list {
		if n--; n < 0 {
			return
		}
		delete(w.list, id)
		w.source.Remove(id)
	}
}

func (w *indexWorld) checkUser(u rolegate.User, want rolegate.Record) {
	w.t.Helper()
	got := u.Grants()
	slices.SortFunc(got, func(a, b rolegate.Grant) int { // by code, not by its number
		return cmp.Or(cmp.Compare(a.OrgID, b.OrgID), cmp.Compare(a.RoleCode, b.RoleCode))
	})
	if u.ID() != want.UserID || u.Account() != want.Account || u.Nickname() != want.Nickname || !slices.Equal(got, want.Grants) {
		w.t.Fatalf("user %d: %q, %d, %v; want %q, %d, %v", u.ID(), u.Account(), len(u.Nickname()), got, want.Account, len(want.Nickname), want.Grants)
	}
}

// checkOutcome compares what a pull counted with what has changed since the one
// before.
func (w *indexWorld) checkOutcome(got rolegate.RefreshOutcome) {
	w.t.Helper()
	var added, removed, changed int
	for id, r := range w.list {
		before, was := w.pulled[id]
		was = was && before.Bad == nil
		switch is := r.Bad == nil; {
		case is && !was:
			added++
		case was && !is:
			removed++
		case is && (r.Account != before.Account || r.Nickname != before.Nickname || !slices.Equal(r.Grants, before.Grants)):
			changed++
		}
	}
	for id, before := range w.pulled {
		if _, is := w.list[id]; !is && before.Bad == nil {
			removed++
		}
	}
	require.Equal(w.t, [3]int{added, removed, changed}, [3]int{got.Added, got.Removed, got.Changed})
	w.pulled = maps.Clone(w.list)
}

func (w *indexWorld) check() {
	w.t.Helper()
	users, grants := 0, 0
	holders := map[string][]int64{}
	for id, r := range w.list {
		d := w.gate.Decide(w.t.Context(), rolegate.UserID(id))
		if r.Bad != nil {
			require.Equal(w.t, rolegate.ReasonNotAuthorized, d.Reason)
			continue
		}
		users, grants = users+1, grants+len(r.Grants)
		holders[r.Account] = append(holders[r.Account], id)
		w.checkUser(d.User, r)
		if d := w.gate.Decide(w.t.Context(), rolegate.Email(r.Email)); d.User.ID() != id {
			w.t.Fatalf("user %d by his address: %v", id, d)
		}
	}
	for range 50 {
		id := w.rnd.Int64N(w.ids*w.stride + 2)
		if _, ok := w.list[id]; !ok && allowed(w.gate, id) {
			w.t.Fatalf("user %d is not on the list", id)
		}
	}
	shared := 0
	for n := range w.accounts {
		account := fmt.Sprintf("account-%d", n)
		want := rolegate.ReasonNotAuthorized
		switch ids := holders[account]; {
		case len(ids) == 1:
			want = rolegate.ReasonGranted
		case len(ids) > 1:
			want = rolegate.ReasonAmbiguous
			shared++
		}
		d := w.gate.Decide(w.t.Context(), rolegate.Account(account))
		if d.Reason != want || want == rolegate.ReasonGranted && d.User.ID() != holders[account][0] {
			w.t.Fatalf("%s: %v, want %v", account, d, want)
		}
	}
	s := w.gate.Status()
	require.Equal(w.t, [4]int{users, grants, shared, 0}, [4]int{s.Users, s.Grants, s.Ambiguous[rolegate.KindAccount], s.Ambiguous[rolegate.KindEmail]})
	for _, m := range w.old {
		w.checkUser(m.user, m.want)
	}
	for id, r := range w.list {
		if r.Bad == nil {
			m := indexMemory{w.gate.Decide(w.t.Context(), rolegate.UserID(id)).User, r}
			if len(w.old) < 20 {
				w.old = append(w.old, m)
			} else {
				w.old[w.rnd.IntN(20)] = m
			}
			return
		}
	}
}

// Whatever comes and goes, and however large it is, the index says after each
// pull what the list says, and an old generation what it said.
func TestIndexAgainstAMap(t *testing.T) {
	t.Parallel()
	seed := rolesSeed(t)
	for _, w := range []struct {
		ids, stride        int64
		accounts, longest  int
		rounds, most, gone int
	}{
		{ids: 1, stride: 1, accounts: 1, longest: 10, rounds: 60, most: 1, gone: 1},
		{ids: 12, stride: 1, accounts: 3, longest: 5, rounds: 300, most: 4, gone: 5},
		{ids: 300, stride: 1 << 40, accounts: 40, longest: 3000, rounds: 80, most: 60, gone: 100},
		{ids: 200, stride: 3, accounts: 200, longest: 200_000, rounds: 20, most: 60, gone: 40},
		{ids: 6000, stride: 1 << 32, accounts: 3000, longest: 30, rounds: 20, most: 2000, gone: 3000},
	} {
		t.Run(fmt.Sprint(w.ids), func(t *testing.T) {
			t.Parallel()
			defer func() {
				if t.Failed() {
					t.Logf("to see it again: ROLEGATE_SEED=%d go test -run '%s'", seed, t.Name())
				}
			}()
			world := newIndexWorld(t, seed, w.ids, w.stride, w.accounts, w.longest)
			for range w.rounds {
				world.put(1 + world.rnd.IntN(w.most))
				if world.rnd.IntN(6) > 0 {
					require.NoError(t, world.gate.Refresh(t.Context()))
					world.checkOutcome(world.gate.Status().Incremental.Outcome)
				} else {
					world.remove(world.rnd.IntN(w.gone + 1))
					require.NoError(t, world.gate.AcceptShrink(t.Context()))
					world.checkOutcome(world.gate.Status().Full.Outcome)
				}
				world.check()
			}
		})
	}
}
