package rolegate_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

const indexMagic = "rolegate index 2\n"

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

// heldIndex is a stored index with removals that are held.
func heldIndex(t testing.TB, bySync bool) []byte {
	t.Helper()
	source, cache := rolegatetest.NewStatic(users(3)...), &memoryCache{}
	sync := &syncing{}
	gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source, Cache: cache, UpstreamSync: sync}))
	require.NoError(t, err)
	if bySync {
		sync.set(rolegate.SyncRunning)
		source.Remove(1)
	} else {
		source.Set()
	}
	require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
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
		"everything": {Source: rolegatetest.NewStatic(namedUpTo(2)...), Keep: keepAll, Aliases: aliasKinds},
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

// Holds and bars whose times are after the restart's now are not younger than
// it: a removal that was first seen in the future waits from now on.
func TestHeldInTheFuture(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		data := frames(t, heldIndex(t, false))
		removals := data[2]
		require.Equal(t, byte('R'), removals[0])
		seen := removals[len(removals)-32 : len(removals)-24] // of the last user; two times of roles follow
		binary.LittleEndian.PutUint64(seen, uint64(time.Now().Add(time.Hour).UnixNano()))
		cache := &memoryCache{data: sealed(frame('H', data[0][1:]), frame('U', data[1][1:]), frame('R', removals[1:]))}
		gate := openGate(t, rolegate.Config{Source: away(), Cache: cache})
		require.True(t, gate.Status().Cache.Loaded, gate.Status().Cache.Error)
		assert.Equal(t, 3, gate.Status().Held.Users)
		assert.False(t, gate.Status().Held.Since.After(time.Now()))
	})
}
