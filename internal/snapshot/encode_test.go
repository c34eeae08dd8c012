package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

const magic = "rolegate index 2\n"

// frame is one frame of a stored index: docs/cache.md has the format.
func frame(kind byte, payload []byte) []byte {
	return append(binary.LittleEndian.AppendUint32([]byte{kind}, uint32(len(payload))), payload...)
}

// sealed is a stored index of these frames, with a checksum that is right.
func sealed(frames ...[]byte) []byte {
	b := append([]byte(magic), bytes.Join(frames, nil)...)
	sum := sha256.Sum256(b)
	return append(b, frame('E', sum[:])...)
}

// frames takes a stored index apart: the payloads, each after its letter.
func frames(data []byte) (list [][]byte) {
	rest := data[len(magic):]
	for len(rest) > 0 {
		size := int(binary.LittleEndian.Uint32(rest[1:]))
		list = append(list, append([]byte{rest[0]}, rest[5:5+size]...))
		rest = rest[5+size:]
	}
	return list
}

// A restored index is a generation that was read back, and of what list.
type restored struct {
	*snapshot.Generation
	key string
}

var endOfTime = clock.Instant{Wall: math.MaxInt64}

func restore(data []byte) (restored, error) {
	s, err := snapshot.Decode(bytes.NewReader(data))
	if err != nil {
		return restored{}, err
	}
	roles, _ := index.NewRoleSpace(map[string][]string{"principal": {"admin"}})
	gen, err := s.Generation(roles, s.Fields&0xf, endOfTime.At)
	return restored{gen, s.Key}, err
}

func (r restored) encode() ([]byte, error) {
	var b bytes.Buffer
	err := r.Encode(&b, r.key, clock.WallStamp)
	return b.Bytes(), err
}

// says is all that it has in it, as text.
func (r restored) says() string {
	lines := []string{fmt.Sprintf("%q %b %d %d %d %d %d %d", r.key, r.Fields, r.Cursor, r.Contact.Wall, r.Verified.Wall, r.Refreshed.Wall, r.Users, r.GrantCount)}
	r.Each(func(id int64, at index.Place, invalid bool) {
		line := fmt.Sprint(id, " ", invalid)
		if !invalid {
			var roles []string
			gs := r.Snapshot.Grants(at)
			for i := range gs.Len() {
				roles = append(roles, fmt.Sprintf("%d %q", gs.Org(i), r.Roles.Code(gs.Role(i))))
			}
			slices.Sort(roles)
			line += fmt.Sprint(roles, r.DroppedGrant(at))
			for f := range index.NumFields {
				line += fmt.Sprintf(" %q", r.Field(at, f))
			}
		}
		lines = append(lines, line)
	})
	for id, sequence := range r.Above {
		lines = append(lines, fmt.Sprintf("above %d %d", id, sequence))
	}
	if h := r.Held; h != nil {
		for id, seen := range h.Users {
			lines = append(lines, fmt.Sprintf("held %d %d %d", id, seen.Missing.Wall, seen.Listed.Wall))
		}
		lines = append(lines, fmt.Sprint("held ", h.Cause, h.Since.Wall, h.SyncSince.Wall, h.GrantsSince.Wall, h.GrantsKnown.Wall,
			h.SyncSince == (clock.Instant{}), h.GrantsSince == (clock.Instant{}), h.GrantsKnown == (clock.Instant{})))
		for i, look := range h.Looks {
			lines = append(lines, fmt.Sprint("look ", i, look.Wall))
		}
		if h.Grants != nil {
			h.Grants.Each(func(id int64, at index.Place, _ bool) {
				gs := h.Grants.Grants(at)
				for i := range gs.Len() {
					lines = append(lines, fmt.Sprintf("held role %d %d %q", id, gs.Org(i), r.Roles.Code(gs.Role(i))))
				}
			})
		}
		lines = append(lines, "digest "+r.HeldDigest())
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// anyGeneration is a generation of a list of a few users, some of them held.
func anyGeneration() *rapid.Generator[*snapshot.Generation] {
	return rapid.Custom(func(t *rapid.T) *snapshot.Generation {
		fields := index.FieldSet(rapid.IntRange(0, 1<<index.NumFields-1).Draw(t, "fields"))
		roles, _ := index.NewRoleSpace(nil)
		b := index.NewBuilder(fields, nil, roles.Publish())
		at := rapid.Map(rapid.Int64Range(1, 1<<60), func(n int64) clock.Instant { return clock.Instant{Mono: n, Wall: n} })
		held := map[int64]snapshot.HeldUser{}
		var lost []index.Row
		for _, id := range rapid.SliceOfNDistinct(rapid.Int64Range(1, 1<<40), 0, 20, rapid.ID).Draw(t, "users") {
			row := index.Row{ID: id, Invalid: rapid.IntRange(0, 5).Draw(t, "invalid") == 0, DroppedGrant: rapid.Bool().Draw(t, "dropped")}
			for range rapid.IntRange(0, 3).Draw(t, "grants") {
				role, _ := b.Role(fmt.Sprint("role-", rapid.IntRange(1, 5).Draw(t, "code")))
				row.Grants = append(row.Grants, index.Grant{Org: rapid.Int64Range(1, 3).Draw(t, "org"), Role: role})
			}
			row.Grants = index.SortGrants(row.Grants)
			for f := range index.NumFields {
				row.Text[f] = rapid.SampledFrom([]string{"", "a", strings.Repeat("long", 50)}).Draw(t, "text")
			}
			b.Put(&row)
			if !row.Invalid && rapid.IntRange(0, 3).Draw(t, "held") == 0 {
				held[id] = snapshot.HeldUser{Missing: at.Draw(t, "missing"), Listed: at.Draw(t, "listed")}
			} else if !row.Invalid && len(row.Grants) > 0 && rapid.IntRange(0, 3).Draw(t, "role held") == 0 {
				lost = append(lost, index.Row{ID: id, Grants: row.Grants[:rapid.IntRange(1, len(row.Grants)).Draw(t, "lost")]})
			}
		}
		if !b.Settle(roles) {
			t.Fatal("too many roles")
		}
		s, err := index.NewSnapshot(b, roles, fields&0xf)
		if err != nil {
			t.Fatal(err)
		}
		gen := &snapshot.Generation{
			Snapshot: s, Cursor: rapid.Int64Range(0, 1<<60).Draw(t, "cursor"),
			Contact: at.Draw(t, "contact"), Verified: at.Draw(t, "verified"), Refreshed: at.Draw(t, "refreshed"),
		}
		if len(held)+len(lost) > 0 {
			gen.Held = &snapshot.HeldRemovals{Users: held, Looks: rapid.SliceOfN(at, 0, 3).Draw(t, "looks"), Cause: rapid.SampledFrom([]string{snapshot.HeldByShrinkGuard, snapshot.HeldBySync, snapshot.HeldByDoubt}).Draw(t, "cause")}
			if gen.Held.Cause == snapshot.HeldBySync || rapid.Bool().Draw(t, "after a sync") {
				gen.Held.SyncSince = at.Draw(t, "for a sync since")
			}
			if gen.Held.Cause == snapshot.HeldByDoubt {
				gen.Held.Behind = rapid.Int64Range(0, 1<<60).Draw(t, "behind")
			}
			since := func(at clock.Instant) {
				if gen.Held.Since == (clock.Instant{}) || at.Mono < gen.Held.Since.Mono {
					gen.Held.Since = at
				}
			}
			for _, seen := range held {
				since(seen.Missing)
			}
			if len(lost) > 0 {
				b := index.NewCopier(0, nil) // the roles of the first list have the numbers of its builder
				for _, row := range lost {
					b.Put(&row)
				}
				if gen.Held.Grants, err = b.Finish(); err != nil {
					t.Fatal(err)
				}
				gen.Held.GrantsSince, gen.Held.GrantsKnown = at.Draw(t, "lost since"), at.Draw(t, "known")
				since(gen.Held.GrantsSince)
			}
		}
		for _, id := range rapid.SliceOfNDistinct(rapid.Int64Range(1, 1<<40), 0, 3, rapid.ID).Draw(t, "above") {
			if gen.Above == nil {
				gen.Above = map[int64]int64{}
			}
			gen.Above[id] = rapid.Int64Range(1, 1<<60).Draw(t, "sequence")
		}
		return gen
	})
}

// What is stored is read back the same. Cut off, changed in one bit, or with
// something behind it, it is not read at all.
func TestStoredAndReadBack(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		before := restored{anyGeneration().Draw(t, "generation"), rapid.String().Draw(t, "key")}
		data, err := before.encode()
		require.NoError(t, err)
		after, err := restore(data)
		require.NoError(t, err)
		require.Equal(t, before.says(), after.says())

		at := rapid.IntRange(0, len(data)-1).Draw(t, "at")
		_, err = restore(data[:at])
		require.ErrorIs(t, err, snapshot.ErrNotIndex)
		spoilt := slices.Clone(data)
		spoilt[at] ^= 1 << rapid.IntRange(0, 7).Draw(t, "bit")
		_, err = restore(spoilt)
		require.ErrorIs(t, err, snapshot.ErrNotIndex)
		_, err = restore(append(data, rapid.Byte().Draw(t, "behind it")))
		require.ErrorIs(t, err, snapshot.ErrNotIndex)
	})
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
	user := func(id int64, content ...byte) []byte {
		return append(append(i64(id), byte(len(content)<<2)), content...)
	}
	grant := func(org int64, role byte) []byte { return append(i64(org), role, 0) }
	both := func(a, b []byte) []byte { return append(slices.Clone(a), b...) }
	hold := func(cause string, forSync int64, looks, users, grants []byte, behind ...int64) []byte {
		b := append(append([]byte{byte(len(cause))}, cause...), i64(append([]int64{forSync}, append(behind, 0)[0])...)...)
		return frame('R', slices.Concat(b, looks, users, grants))
	}
	none := i64(0, 0) // grants
	held := func(cause string, forSync int64, triples ...int64) []byte {
		return hold(cause, forSync, []byte{0}, append([]byte{byte(len(triples) / 3)}, i64(triples...)...), none)
	}
	one := frame('U', user(1))
	teacher := frame('U', user(1, grant(7, 0)...))
	invalid := func(id int64) []byte { return append(i64(id), 2) }

	for _, c := range []struct {
		name string
		data []byte
		ok   bool
	}{
		{"as it should be", sealed(head(0, times, 1, "a", "b"), frame('U', user(1, both(grant(7, 0), grant(7, 1))...)), held("sync", 9, 1, 50, 40)), true},
		{"nobody", sealed(head(0, times, 0)), true},
		{"no users in a frame", sealed(head(0, times, 0), frame('U', nil)), true},
		{"an invalid record", sealed(head(0, times, 0), frame('U', invalid(5))), true},
		{"somebody has a grant that was dropped", sealed(head(0, times, 1), frame('U', append(i64(5), 1))), true},
		{"two frames", sealed(head(0, times, 2), one, frame('U', user(2))), true},
		{"a code that nobody has", sealed(head(0, times, 1, "", "", "b"), frame('U', user(1, grant(7, 2)...))), true},
		{"a string", sealed(head(1, times, 1), frame('U', user(1, 0, 1, 'x'))), true},

		{"a sequence", sealed(head(0, times, 1), one, frame('S', i64(1, 9))), true},
		{"half a sequence", sealed(head(0, times, 1), one, frame('S', i64(1))), false},
		{"a sequence below 1", sealed(head(0, times, 1), one, frame('S', i64(1, 0))), false},
		{"a sequence of nobody", sealed(head(0, times, 1), one, frame('S', i64(0, 9))), false},
		{"a sequence twice", sealed(head(0, times, 1), one, frame('S', i64(1, 9, 1, 9))), false},
		{"sequences twice", sealed(head(0, times, 1), one, frame('S', i64(1, 9)), frame('S', i64(2, 9))), false},
		{"users behind the sequences", sealed(head(0, times, 1), frame('S', i64(1, 9)), one), false},
		{"sequences behind the removals", sealed(head(0, times, 1), one, held("sync", 9, 1, 50, 40), frame('S', i64(1, 9))), false},

		{"nothing at all", sealed(), false},
		{"no head", sealed(one), false},
		{"removals before the head", sealed(held("sync", 9, 1, 50, 40), head(0, times, 1), one), false},
		{"sequences before the head", sealed(frame('S', i64(1, 9)), head(0, times, 1), one), false},
		{"two heads", sealed(head(0, times, 0), head(0, times, 0)), false},
		{"users before the head", sealed(one, head(0, times, 1)), false},
		{"users behind the removals", sealed(head(0, times, 2), one, held("sync", 9, 1, 50, 40), frame('U', user(2))), false},
		{"removals twice", sealed(head(0, times, 1), one, held("sync", 9, 1, 50, 40), held("sync", 9, 1, 50, 40)), false},
		{"an unknown frame", sealed(head(0, times, 0), frame('X', nil)), false},
		{"a frame that ends nowhere", sealed(head(0, times, 0), []byte("U\xff\xff\xff\x3f")), false},
		{"a frame that is too large", sealed(head(0, times, 0), []byte("U\x01\x00\x00\x40")), false},
		{"more in the head", sealed(frame('H', append(slices.Clone(head(0, times, 0))[5:], 0))), false},
		{"no counts in the head", sealed(frame('H', head(0, times, 0)[5:42])), false},
		{"no count of roles in the head", sealed(frame('H', head(0, times, 0)[5:43])), false},
		{"a count that ends nowhere", sealed(frame('H', append(slices.Clone(head(0, times, 0))[5:42], bytes.Repeat([]byte{0xff}, 11)...))), false},
		{"a count that is longer than it need be", sealed(frame('H', append(slices.Clone(head(0, times, 0))[5:42], 0x81, 0, 0)), one), false},
		{"less in the head", sealed(frame('H', head(0, times, 0)[5:40])), false},
		{"an unknown field", sealed(head(64, times, 0)), false},
		{"a cursor below 0", sealed(head(0, i64(-1, 100, 100, 100), 0)), false},
		{"no contact", sealed(head(0, i64(5, 0, 100, 100), 0)), false},
		{"verified before all time", sealed(head(0, i64(5, 100, math.MinInt64, 100), 0)), false},
		{"refreshed before 1970", sealed(head(0, i64(5, 100, 100, -1), 0)), false},
		{"more users than it has", sealed(head(0, times, 2), one), false},
		{"fewer users than it has", sealed(head(0, times, 0), one), false},
		{"a user twice", sealed(head(0, times, 1), frame('U', both(user(1), user(1)))), false},
		{"a user twice, counted twice", sealed(head(0, times, 2), frame('U', both(user(1), user(1)))), false},
		{"user 0", sealed(head(0, times, 1), frame('U', user(0))), false},
		{"an invalid record with roles", sealed(head(0, times, 0, "a"), frame('U', both(append(i64(5), 10<<2|2), grant(7, 0)))), false},
		{"an invalid record with a grant that was dropped", sealed(head(0, times, 0), frame('U', append(i64(5), 3))), false},
		{"a user id below 0", sealed(head(0, times, 1), frame('U', user(-5))), false},
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
		{"held for no cause", sealed(head(0, times, 1), one, held("", 9, 1, 50, 40)), false},
		{"held for an unknown cause", sealed(head(0, times, 1), one, held("brakes", 9, 1, 50, 40)), false},
		{"held for a sync that never began", sealed(head(0, times, 1), one, held("sync", 0, 1, 50, 40)), false},
		{"held for a sync before 1970", sealed(head(0, times, 1), one, held("shrink_guard", -9, 1, 50, 40)), false},
		{"one who is not listed is held", sealed(head(0, times, 1), one, held("sync", 9, 2, 50, 40)), false},
		{"one with an invalid record is held", sealed(head(0, times, 0), frame('U', invalid(1)), held("sync", 9, 1, 50, 40)), false},
		{"one who is held twice", sealed(head(0, times, 1), one, held("sync", 9, 1, 50, 40, 1, 60, 40)), false},
		{"held since before 1970", sealed(head(0, times, 1), one, held("sync", 9, 1, math.MinInt64, 40)), false},
		{"listed before 1970", sealed(head(0, times, 1), one, held("sync", 9, 1, 50, 0)), false},
		{"half a removal", sealed(head(0, times, 1), one, hold("sync", 9, []byte{0}, append([]byte{1}, i64(1)...), nil)), false},
		{"more removals than there are", sealed(head(0, times, 1), one, hold("sync", 9, []byte{0}, append([]byte{2}, i64(1, 50, 40)...), none)), false},
		{"behind", sealed(head(0, times, 1), one, hold("doubt", 0, []byte{0}, append([]byte{1}, i64(1, 50, 40)...), none, 7)), true},
		{"behind with another cause", sealed(head(0, times, 1), one, hold("shrink_guard", 0, []byte{0}, append([]byte{1}, i64(1, 50, 40)...), none, 7)), false},
		{"behind, by a sequence below 0", sealed(head(0, times, 1), one, hold("doubt", 0, []byte{0}, append([]byte{1}, i64(1, 50, 40)...), none, -7)), false},
		{"looks", sealed(head(0, times, 1), one, hold("shrink_guard", 0, append([]byte{3}, i64(7, 8, 9)...), append([]byte{1}, i64(1, 50, 40)...), none)), true},
		{"more looks than count", sealed(head(0, times, 1), one, hold("shrink_guard", 0, append([]byte{4}, i64(6, 7, 8, 9)...), append([]byte{1}, i64(1, 50, 40)...), none)), false},
		{"a look before 1970", sealed(head(0, times, 1), one, hold("shrink_guard", 0, append([]byte{1}, i64(0)...), append([]byte{1}, i64(1, 50, 40)...), none)), false},
		{"a role that is held", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(8, 9), user(1, grant(7, 0)...)))), true},
		{"a role that is held and that the user does not have", sealed(head(0, times, 1, "a", "b"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(8, 9), user(1, grant(7, 1)...)))), false},
		{"a role that is held of nobody", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(8, 9), user(2, grant(7, 0)...)))), false},
		{"no role is held of a user", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(8, 9), user(1)))), false},
		{"a role that is held twice", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, slices.Concat(i64(8, 9), user(1, grant(7, 0)...), user(1, grant(7, 0)...)))), false},
		{"a role that is held since never", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(0, 9), user(1, grant(7, 0)...)))), false},
		{"roles held as never known", sealed(head(0, times, 1, "a"), teacher, hold("shrink_guard", 0, []byte{0}, []byte{0}, both(i64(8, 0), user(1, grant(7, 0)...)))), false},
		{"times of roles and none", sealed(head(0, times, 1), one, hold("shrink_guard", 0, []byte{0}, append([]byte{1}, i64(1, 50, 40)...), i64(8, 9))), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := restore(c.data)
			if c.ok {
				require.NoError(t, err)
				return
			}
			require.ErrorIs(t, err, snapshot.ErrNotIndex)
			require.ErrorContains(t, err, "not a stored index, or it is damaged")
		})
	}
}

// What an index can have, and one more of it.
func TestLimitsOfAnIndex(t *testing.T) {
	t.Parallel()
	head := func(users uint64, roles int) []byte {
		b := append([]byte("\x03key"), make([]byte, 9)...)
		for range 3 {
			b = binary.LittleEndian.AppendUint64(b, 100)
		}
		b = binary.AppendUvarint(binary.AppendUvarint(b, users), uint64(roles))
		for i := range roles {
			b = append(append(b, 4), fmt.Sprintf("%04x", i)[:4]...)
		}
		return frame('H', b)
	}
	for _, c := range []struct {
		name string
		data []byte
		says string
	}{
		{"roles", sealed(head(0, index.MaxRoles)), ""},
		{"one role more", sealed(head(0, index.MaxRoles+1)), "more than an index can have"},
		{"users", sealed(head(math.MaxInt32, 0)), ""},
		{"one user more", sealed(head(math.MaxInt32+1, 0)), "more than an index can have"},
		{"a frame", sealed(head(0, 0), []byte("U\x00\x00\x00\x40")), "it breaks off"},
		{"one byte more in a frame", sealed(head(0, 0), []byte("U\x01\x00\x00\x40")), "a part of it is too large"},
	} {
		_, err := snapshot.Decode(bytes.NewReader(c.data))
		if c.says == "" {
			require.NoError(t, err, c.name)
			continue
		}
		require.ErrorIs(t, err, snapshot.ErrNotIndex, c.name)
		require.ErrorContains(t, err, c.says, c.name)
	}
}

// checkRestored reads what may be an index. Whatever is accepted says the same
// when it is stored again.
func checkRestored(t *testing.T, data []byte) {
	t.Helper()
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	r, err := restore(data)
	runtime.ReadMemStats(&after)
	if used, most := after.TotalAlloc-before.TotalAlloc, uint64(4<<20+400*len(data)); used > most {
		t.Fatalf("%d bytes took %d bytes of memory", len(data), used)
	}
	if err != nil {
		return
	}
	again, err := r.encode()
	require.NoError(t, err)
	second, err := restore(again)
	require.NoError(t, err, "what was stored again")
	require.Equal(t, r.says(), second.says())
}

// small is a stored index of a few users.
func small(t require.TestingT, seed int) []byte {
	data, err := restored{anyGeneration().Example(seed), "key"}.encode()
	require.NoError(t, err)
	return data
}

func FuzzStoredIndex(f *testing.F) {
	for seed := range 20 {
		data := small(f, seed)
		f.Add(data)
		f.Add(data[:len(data)/2])
	}
	f.Add([]byte{})
	f.Fuzz(checkRestored)
}

// FuzzSealedIndex gets past the checksum, to what is behind it.
func FuzzSealedIndex(f *testing.F) {
	for seed := range 20 {
		data := small(f, seed)
		parts := map[byte][]byte{}
		for _, p := range frames(data) {
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
