package rolegate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

const changeMagic = "rolegate change 2\n"

func sealedChange(frames ...[]byte) []byte {
	b := append([]byte(changeMagic), bytes.Join(frames, nil)...)
	sum := sha256.Sum256(b)
	return append(b, frame('E', sum[:])...)
}

// A publishedChange is a change and the index that it is of.
type publishedChange struct{ index, change []byte }

// publishedChanges are changes of all kinds.
func publishedChanges(t testing.TB, keep rolegate.Keep) (list []publishedChange) {
	t.Helper()
	bad := named(3)
	bad.Bad = errSimBad
	source, store := rolegatetest.NewStatic(append(users(30), named(40))...), newFakeStore()
	gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source, Cache: store.replica(), Keep: keep}))
	require.NoError(t, err)
	for _, change := range []func(){
		func() { source.Put(record(50, in(8, "teacher")), named(41)) },
		func() { source.Put(record(1), bad) },
		func() { source.Remove(2, 3, 41) },
		func() { source.Remove(10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24) },
		func() { source.Put(record(51)) },
	} {
		wait(t.Context(), time.Second)
		change()
		_ = gate.RefreshAll(t.Context())
		wait(t.Context(), time.Second)
		store.do(func(s *fakeStore) {
			if len(s.log) > 0 { // what comes after it is of another index
				list = append(list, publishedChange{s.whole, s.log[0].change})
			}
			s.newest = rolegate.Version{} // the next is published whole
		})
		require.NoError(t, gate.Refresh(t.Context()))
		wait(t.Context(), time.Second)
	}
	require.NoError(t, gate.Close())
	return list
}

func smallChanges(t *testing.T) (list []publishedChange) {
	synctest.Test(t, func(t *testing.T) {
		list = append(publishedChanges(t, rolegate.Keep{}), publishedChanges(t, keepAll)...)
	})
	return list
}

// checkApplied reads what may be a change. Whatever is accepted says the same
// when it is published again.
func checkApplied(t *testing.T, index, change []byte) (ok bool) {
	t.Helper()
	says, again, err := rolegate.ApplyChange(index, change)
	if err != nil {
		return false
	}
	saysAgain, _, err := rolegate.ApplyChange(index, again)
	if err != nil {
		t.Fatalf("what was published again is not accepted: %v", err)
	}
	if says != saysAgain {
		t.Fatalf("published again, it says something else:\n%s\n\n%s", says, saysAgain)
	}
	return true
}

func TestPublishedChangesAreAccepted(t *testing.T) {
	t.Parallel()
	list := smallChanges(t)
	require.GreaterOrEqual(t, len(list), 10)
	for _, p := range list {
		require.True(t, checkApplied(t, p.index, p.change))
		for _, n := range []int{0, 1, len(changeMagic), len(p.change) / 2, len(p.change) - 1} {
			require.False(t, checkApplied(t, p.index, p.change[:n]), "it was cut off")
		}
		spoilt := slices.Clone(p.change)
		spoilt[len(spoilt)/2]++
		require.False(t, checkApplied(t, p.index, spoilt), "a byte was changed")
		require.False(t, checkApplied(t, p.change, p.change), "a change is no index")
		require.False(t, checkApplied(t, p.index, p.index), "an index is no change")
	}
}

// What is in a change is looked at to the last byte. The index has the users 1
// and 2, without strings.
func TestChangesThatAreNotInOrder(t *testing.T) {
	t.Parallel()
	i64 := func(list ...int64) (b []byte) {
		for _, n := range list {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		return b
	}
	head := func(users int, codes ...string) []byte {
		b := append([]byte{0, 0}, i64(5, 100, 100, 100)...)
		b = append(b, byte(users), byte(len(codes)))
		for _, code := range codes {
			b = append(append(b, byte(len(code))), code...)
		}
		return frame('H', b)
	}
	user := func(id int64, content ...byte) []byte {
		return append(append(i64(id), byte(len(content)<<2)), content...)
	}
	told := func(n ...int64) []byte { return frame('T', i64(n...)) }
	held := frame('R', slices.Concat([]byte{4}, []byte("sync"), i64(9), []byte{0, 1}, i64(1, 50, 40), i64(0, 0)))
	answer := frame('A', append(i64(7), 0, 0))
	at := told(100, 90, 90, 90)
	plain := sealed(head(2), told(95), frame('U', append(user(1), user(2)...)))
	holding := sealed(head(2), told(95), frame('U', append(user(1), user(2)...)), held)

	for _, c := range []struct {
		name   string
		index  []byte
		change []byte
		ok     bool
	}{
		{"nothing new", plain, sealedChange(head(2), at), true},
		{"one more", plain, sealedChange(head(3), at, frame('U', user(3))), true},
		{"one gone", plain, sealedChange(head(1), at, frame('G', i64(2))), true},
		{"one barred", plain, sealedChange(head(1), at, frame('U', append(i64(2), 2))), true},
		{"one gone who was not there", plain, sealedChange(head(2), at, frame('G', i64(9))), true},
		{"one held", plain, sealedChange(head(2), at, held), true},
		{"the same held", holding, sealedChange(head(2), at, frame('K', nil)), true},
		{"none held any more", holding, sealedChange(head(2), at), true},
		{"an answer", plain, sealedChange(head(2), at, answer), true},
		{"all of it", plain, sealedChange(head(2), at, frame('U', user(3)), frame('G', i64(2)), held, answer), true},

		{"nothing at all", plain, sealedChange(), false},
		{"no head", plain, sealedChange(at), false},
		{"two heads", plain, sealedChange(head(2), head(2), at), false},
		{"not dated", plain, sealedChange(head(2)), false},
		{"not dated, but not empty", plain, sealedChange(head(3), frame('U', user(3))), false},
		{"dated twice", plain, sealedChange(head(2), at, at), false},
		{"dated late", plain, sealedChange(head(3), frame('U', user(3)), at), false},
		{"a change of nothing", plain, sealedChange(head(2), told(100)), false},
		{"a change of what has no age", plain, sealedChange(head(2), told(100, 90, 0, 90)), false},
		{"dated before 1970", plain, sealedChange(head(2), told(-1, 90, 90, 90)), false},
		{"more dates", plain, sealedChange(head(2), told(1, 100, 90, 90, 90)), false},
		{"an unknown part", plain, sealedChange(head(2), at, frame('X', nil)), false},
		{"users behind who is gone", plain, sealedChange(head(2), at, frame('G', i64(2)), frame('U', user(3))), false},
		{"answers before who is held", plain, sealedChange(head(2), at, answer, held), false},
		{"held, and the same as before", holding, sealedChange(head(2), at, held, frame('K', nil)), false},
		{"the same as before twice", holding, sealedChange(head(2), at, frame('K', nil), frame('K', nil)), false},
		{"the same as before, and more", holding, sealedChange(head(2), at, frame('K', []byte{1})), false},
		{"the same as before, which is nobody", plain, sealedChange(head(2), at, frame('K', nil)), false},
		{"the same as before, of whom one is gone", holding, sealedChange(head(1), at, frame('G', i64(1)), frame('K', nil)), false},
		{"one held who is not listed", plain, sealedChange(head(1), at, frame('G', i64(1)), held), false},
		{"more users than it leads to", plain, sealedChange(head(3), at), false},
		{"fewer users than it leads to", plain, sealedChange(head(2), at, frame('U', user(3))), false},
		{"a user twice", plain, sealedChange(head(3), at, frame('U', append(user(3), user(3)...))), false},
		{"a user changed and gone", plain, sealedChange(head(1), at, frame('U', user(1)), frame('G', i64(1))), false},
		{"a user gone twice", plain, sealedChange(head(1), at, frame('G', i64(1, 1))), false},
		{"user 0 gone", plain, sealedChange(head(2), at, frame('G', i64(0))), false},
		{"half a user gone", plain, sealedChange(head(1), at, frame('G', i64(1)[:7])), false},
		{"half an answer", plain, sealedChange(head(2), at, frame('A', i64(7))), false},
		{"a role that nobody knows", plain, sealedChange(head(3, "a"), at, frame('U', user(3, append(i64(7), 1, 0)...))), false},
		{"an index that is not dated", sealed(head(2), frame('U', append(user(1), user(2)...))), sealedChange(head(2), at), false},
		{"an index that is dated late", sealed(head(2), frame('U', append(user(1), user(2)...)), told(95)), sealedChange(head(2), at), false},
		{"an index that is dated twice", sealed(head(2), told(95), told(95), frame('U', append(user(1), user(2)...))), sealedChange(head(2), at), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.Equal(t, c.ok, checkApplied(t, c.index, c.change))
		})
	}
}

func FuzzChange(f *testing.F) {
	f.Add([]byte{}, []byte{})
	f.Fuzz(func(t *testing.T, index, change []byte) { checkApplied(t, index, change) })
}

// FuzzSealedChange gets past the checksum, to what is behind it.
func FuzzSealedChange(f *testing.F) {
	f.Add([]byte{}, []byte{}, []byte{}, []byte{}, []byte{}, []byte{})
	f.Fuzz(func(t *testing.T, index, head, users, gone, held, answers []byte) {
		told := frame('T', bytes.Repeat([]byte{1}, 32))
		checkApplied(t, index, sealedChange(head, told, frame('U', users), frame('G', gone), held, frame('A', answers)))
	})
}
