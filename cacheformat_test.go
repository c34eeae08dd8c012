package rolegate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"runtime"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

const indexMagic = "rolegate index 1\n"

// frame is one frame of a stored index: docs/cache.md has the format.
func frame(kind byte, payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(payload))), payload...)
}

// sealed is a stored index of these frames, with a checksum that is right.
func sealed(frames ...[]byte) []byte {
	b := append([]byte(indexMagic), bytes.Join(frames, nil)...)
	sum := sha256.Sum256(b)
	return append(b, frame('E', sum[:])...)
}

// frames takes a stored index apart: the payloads, each after its letter.
func frames(t testing.TB, data []byte) (list [][]byte) {
	t.Helper()
	rest, ok := bytes.CutPrefix(data, []byte(indexMagic))
	require.True(t, ok)
	for len(rest) > 0 {
		size := int(binary.LittleEndian.Uint32(rest[1:]))
		list = append(list, append([]byte{rest[0]}, rest[5:5+size]...))
		rest = rest[5+size:]
	}
	return list
}

// smallIndexes are stored indexes of all kinds.
func smallIndexes(t testing.TB) (list [][]byte) {
	t.Helper()
	bad := named(3)
	bad.Bad = errors.New("unreadable")
	records := append(users(2), named(7), bad)
	for _, cfg := range []rolegate.Config{
		{Source: rolegatetest.NewStatic()},
		{Source: rolegatetest.NewStatic(records...)},
		{Source: rolegatetest.NewStatic(records...), Keep: rolegate.KeepAll},
		{Source: rolegatetest.NewStatic(records...), Aliases: aliasKinds},
	} {
		data, _ := storedBy(t, cfg).stored()
		list = append(list, data)
	}
	return append(list, heldIndex(t, false), heldIndex(t, true))
}

// heldIndex is a stored index with removals that are held.
func heldIndex(t testing.TB, bySync bool) []byte {
	t.Helper()
	source, cache := rolegatetest.NewStatic(users(3)...), &memoryCache{}
	sync := &syncing{}
	gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source, Cache: cache, Sync: sync}))
	require.NoError(t, err)
	if bySync {
		sync.set(rolegate.SyncRunning)
		source.Remove(1)
	} else {
		source.Set()
	}
	require.ErrorIs(t, gate.Resync(t.Context()), rolegate.ErrHeld)
	require.NoError(t, gate.Close())
	data, _ := cache.stored()
	require.Len(t, frames(t, data), 4)
	return data
}

// Nothing that is not exactly what was stored is used: the gate warns and starts
// from its source.
func TestDamagedIndexes(t *testing.T) {
	t.Parallel()
	for name, cfg := range map[string]rolegate.Config{
		"ids alone":  {Source: rolegatetest.NewStatic(users(3)...)},
		"everything": {Source: rolegatetest.NewStatic(namedUpTo(2)...), Keep: rolegate.KeepAll, Aliases: aliasKinds},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			whole, _ := storedBy(t, cfg).stored()
			refused := func(what string, data []byte) {
				t.Helper()
				var book logBook
				cfg := cfg
				cfg.Source, cfg.Logger, cfg.Cache = rolegatetest.NewStatic(record(99)), book.logger(), &memoryCache{data: data}
				gate, err := rolegate.Open(t.Context(), quiet(cfg))
				require.NoError(t, err, what)
				defer gate.Close()
				s := gate.Status()
				require.False(t, s.Cache.Loaded, what)
				require.Equal(t, uint64(1), s.Cache.Failed, what)
				require.Contains(t, s.Cache.Error, "not a stored index, or it is damaged", what)
				require.Len(t, book.lines("rolegate: the stored index is not used; the list comes from the source"), 1, what)
				require.Zero(t, listed(gate, 3), what)
				require.True(t, allowed(gate, 99), what)
			}
			for i := range whole {
				for bit := range 8 {
					data := slices.Clone(whole)
					data[i] ^= 1 << bit
					refused(fmt.Sprintf("bit %d of byte %d", bit, i), data)
				}
				refused(fmt.Sprintf("cut after %d", i), whole[:i:i])
			}
			for b := range 256 {
				refused(fmt.Sprintf("%#x behind it", b), append(slices.Clone(whole), byte(b)))
			}
			refused("twice", append(slices.Clone(whole), whole...))
		})
	}
}

// What has the right checksum, but does not say what an index can say.
func TestForgedIndexes(t *testing.T) {
	t.Parallel()
	i64 := func(ns ...int64) (b []byte) {
		for _, n := range ns {
			b = binary.LittleEndian.AppendUint64(b, uint64(n))
		}
		return b
	}
	head := func(fields byte, times []byte, users byte, codes ...string) []byte {
		b := append([]byte("\x03key"), fields)
		b = append(append(b, times...), users, byte(len(codes)))
		for _, c := range codes {
			b = append(append(b, byte(len(c))), c...)
		}
		return frame('H', b)
	}
	times := i64(5, 100, 100, 100)
	user := func(id int64, content ...byte) []byte { return append(append(i64(id), byte(len(content))), content...) }
	grant := func(org int64, role byte) []byte { return append(i64(org), role, 0) }
	both := func(a, b []byte) []byte { return append(slices.Clone(a), b...) }
	held := func(cause string, forSync int64, pairs ...int64) []byte {
		return frame('R', append(append([]byte{byte(len(cause))}, cause...), i64(append([]int64{forSync}, pairs...)...)...))
	}
	one := frame('U', user(1))
	barred := int64(math.MinInt64)

	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"as it should be", sealed(head(0, times, 1, "a", "b"), frame('U', user(1, both(grant(7, 0), grant(7, 1))...)), held("sync", 9, 1, 50)), true},
		{"nobody", sealed(head(0, times, 0)), true},
		{"no users in a frame", sealed(head(0, times, 0), frame('U', nil)), true},
		{"somebody is barred", sealed(head(0, times, 0), frame('U', user(barred|5))), true},
		{"two frames", sealed(head(0, times, 2), one, frame('U', user(2))), true},
		{"a code that nobody has", sealed(head(0, times, 1, "", "", "b"), frame('U', user(1, grant(7, 2)...))), true},
		{"a string", sealed(head(1, times, 1), frame('U', user(1, 0, 1, 'x'))), true},

		{"nothing at all", sealed(), false},
		{"no head", sealed(one), false},
		{"two heads", sealed(head(0, times, 0), head(0, times, 0)), false},
		{"users before the head", sealed(one, head(0, times, 1)), false},
		{"users behind the removals", sealed(head(0, times, 2), one, held("sync", 9, 1, 50), frame('U', user(2))), false},
		{"removals twice", sealed(head(0, times, 1), one, held("sync", 9, 1, 50), held("sync", 9, 1, 50)), false},
		{"an unknown frame", sealed(head(0, times, 0), frame('X', nil)), false},
		{"a frame that ends nowhere", sealed(head(0, times, 0), []byte("U\xff\xff\xff\x3f")), false},
		{"a frame that is too large", sealed(head(0, times, 0), []byte("U\x01\x00\x00\x40")), false},
		{"more in the head", sealed(frame('H', append(slices.Clone(head(0, times, 0))[5:], 0))), false},
		{"less in the head", sealed(frame('H', head(0, times, 0)[5:40])), false},
		{"an unknown field", sealed(head(64, times, 0)), false},
		{"a cursor below 0", sealed(head(0, i64(-1, 100, 100, 100), 0)), false},
		{"no contact", sealed(head(0, i64(5, 0, 100, 100), 0)), false},
		{"verified before all time", sealed(head(0, i64(5, 100, math.MinInt64, 100), 0)), false},
		{"walked before 1970", sealed(head(0, i64(5, 100, 100, -1), 0)), false},
		{"more users than it has", sealed(head(0, times, 2), one), false},
		{"fewer users than it has", sealed(head(0, times, 0), one), false},
		{"a user twice", sealed(head(0, times, 1), frame('U', both(user(1), user(1)))), false},
		{"a user twice, counted twice", sealed(head(0, times, 2), frame('U', both(user(1), user(1)))), false},
		{"user 0", sealed(head(0, times, 1), frame('U', user(0))), false},
		{"a barred user with roles", sealed(head(0, times, 0, "a"), frame('U', user(barred|5, grant(7, 0)...))), false},
		{"half a user", sealed(head(0, times, 1), frame('U', i64(1)[:7])), false},
		{"half a grant", sealed(head(0, times, 1, "a"), frame('U', user(1, grant(7, 0)[:9]...))), false},
		{"a role without a code", sealed(head(0, times, 1, "a"), frame('U', user(1, grant(7, 1)...))), false},
		{"a role whose code is empty", sealed(head(0, times, 1, "a", ""), frame('U', user(1, grant(7, 1)...))), false},
		{"a code twice", sealed(head(0, times, 0, "a", "a")), false},
		{"organisation 0", sealed(head(0, times, 1, "a"), frame('U', user(1, grant(0, 0)...))), false},
		{"organisation -1", sealed(head(0, times, 1, "a"), frame('U', user(1, grant(-1, 0)...))), false},
		{"a grant twice", sealed(head(0, times, 1, "a"), frame('U', user(1, both(grant(7, 0), grant(7, 0))...))), false},
		{"grants out of order", sealed(head(0, times, 1, "a", "b"), frame('U', user(1, both(grant(7, 1), grant(7, 0))...))), false},
		{"organisations out of order", sealed(head(0, times, 1, "a"), frame('U', user(1, both(grant(8, 0), grant(7, 0))...))), false},
		{"a string that ends nowhere", sealed(head(1, times, 1), frame('U', user(1, 0, 2, 'x'))), false},
		{"bytes behind the strings", sealed(head(1, times, 1), frame('U', user(1, 0, 1, 'x', 'y'))), false},
		{"no string", sealed(head(1, times, 1), frame('U', user(1, 0))), false},
		{"no content", sealed(head(1, times, 1), frame('U', user(1))), false},
		{"more grants than there is room for", sealed(head(1, times, 1), frame('U', user(1, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 0))), false},
		{"a length that is longer than it need be", sealed(head(1, times, 1), frame('U', user(1, 0x80, 0, 1, 'x'))), false},
		{"nobody is held", sealed(head(0, times, 1), one, held("sync", 9)), false},
		{"held for no cause", sealed(head(0, times, 1), one, held("", 9, 1, 50)), false},
		{"held for an unknown cause", sealed(head(0, times, 1), one, held("brakes", 9, 1, 50)), false},
		{"held for a sync that never began", sealed(head(0, times, 1), one, held("sync", 0, 1, 50)), false},
		{"held for a sync before 1970", sealed(head(0, times, 1), one, held("shrink_brake", -9, 1, 50)), false},
		{"one who is not listed is held", sealed(head(0, times, 1), one, held("sync", 9, 2, 50)), false},
		{"one who is barred is held", sealed(head(0, times, 0), frame('U', user(barred|1)), held("sync", 9, 1, 50)), false},
		{"one who is held twice", sealed(head(0, times, 1), one, held("sync", 9, 1, 50, 1, 60)), false},
		{"held since before 1970", sealed(head(0, times, 1), one, held("sync", 9, 1, math.MinInt64)), false},
		{"half a removal", sealed(head(0, times, 1), one, held("sync", 9, 1)), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, _, err := rolegate.RestoreIndex(c.data)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, "not a stored index, or it is damaged")
		})
	}
}

// Holds and bars whose times are after the restart's now are not younger than
// it: a removal that was first seen in the future waits from now on.
func TestHeldInTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := frames(t, heldIndex(t, false))
		removals := data[2]
		require.Equal(t, byte('R'), removals[0])
		seen := removals[len(removals)-8:]
		binary.LittleEndian.PutUint64(seen, uint64(time.Now().Add(time.Hour).UnixNano()))
		cache := &memoryCache{data: sealed(frame('H', data[0][1:]), frame('U', data[1][1:]), frame('R', removals[1:]))}
		gate := openGate(t, rolegate.Config{Source: away(), Cache: cache})
		require.True(t, gate.Status().Cache.Loaded, gate.Status().Cache.Error)
		assert.Equal(t, 3, gate.Status().Held.Users)
		assert.False(t, gate.Status().Held.Since.After(time.Now()))
	})
}

// checkRestored reads what may be an index. Whatever is accepted says the same
// when it is stored again.
func checkRestored(t *testing.T, data []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	says, again, err := rolegate.RestoreIndex(data)
	runtime.ReadMemStats(&after)
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+400*len(data)); used > most {
		t.Fatalf("%d bytes took %d bytes of memory", len(data), used)
	}
	if err != nil {
		return
	}
	saysAgain, _, err := rolegate.RestoreIndex(again)
	if err != nil {
		t.Fatalf("what was stored again is not accepted: %v", err)
	}
	if says != saysAgain {
		t.Fatalf("stored again, it says something else:\n%s\n\n%s", says, saysAgain)
	}
}

func FuzzStoredIndex(f *testing.F) {
	for _, data := range smallIndexes(f) {
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte{})
	f.Fuzz(checkRestored)
}

// FuzzSealedIndex gets past the checksum, to what is behind it.
func FuzzSealedIndex(f *testing.F) {
	for _, data := range smallIndexes(f) {
		parts := map[byte][]byte{}
		for _, p := range frames(f, data) {
			parts[p[0]] = p[1:]
		}
		f.Add(parts['H'], parts['U'], []byte{}, parts['R'], []byte{})
		f.Add(parts['H'], parts['U'], parts['U'], []byte{}, []byte{})
		f.Add(parts['H'], parts['U'], []byte{}, []byte{}, []byte("U\x00\x00\x00\x00"))
	}
	f.Fuzz(func(t *testing.T, head, users, more, held, raw []byte) {
		list := [][]byte{frame('H', head), frame('U', users), frame('U', more)}
		if len(held) > 0 {
			list = append(list, frame('R', held))
		}
		checkRestored(t, sealed(append(list, raw)...))
	})
}
