package snapshot_test

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
	"github.com/rolegate/rolegate/internal/snapshot"
)

func anyRow(ids, most int64) *rapid.Generator[snapshot.Row] {
	return rapid.Custom(func(t *rapid.T) snapshot.Row {
		row := snapshot.Row{
			ID:       rapid.Int64Range(1, ids).Draw(t, "id"),
			Sequence: rapid.Int64Range(0, most).Draw(t, "sequence"),
			Read:     rapid.Int64Range(1, most).Draw(t, "read"),
			Invalid:  rapid.IntRange(0, 5).Draw(t, "invalid") == 0,
		}
		if row.Invalid {
			return row
		}
		row.DroppedGrant = rapid.IntRange(0, 5).Draw(t, "dropped") == 0
		for range rapid.IntRange(0, 3).Draw(t, "grants") {
			row.Grants = append(row.Grants, snapshot.RowGrant{Org: rapid.Int64Range(1, 2).Draw(t, "org"), Code: fmt.Sprint("role-", rapid.IntRange(1, 4).Draw(t, "code"))})
		}
		row.Text[index.FieldAccount] = rapid.SampledFrom([]string{"", "ann", "bob"}).Draw(t, "account")
		return row
	})
}

const kept = index.FieldSet(1 << index.FieldAccount)

// anyBase is the result of a full refresh that began at 5; some of its users
// it has shown with a sequence above 5.
func anyBase(t *rapid.T, roles *index.RoleSpace) *snapshot.Generation {
	b := index.NewBuilder(kept, nil, roles.Publish())
	base := &snapshot.Generation{Above: map[int64]int64{}, Refreshed: clock.Instant{Mono: 5}}
	for _, row := range rapid.SliceOfN(anyRow(6, 10), 0, 6).Draw(t, "base") {
		to := index.Row{ID: row.ID, Sequence: row.Sequence, Text: row.Text, DroppedGrant: row.DroppedGrant, Invalid: row.Invalid}
		for _, g := range row.Grants {
			role, _ := b.Role(g.Code)
			to.Grants = append(to.Grants, index.Grant{Org: g.Org, Role: role})
		}
		to.Grants = index.SortGrants(to.Grants)
		b.Put(&to)
		if row.Sequence > 5 {
			base.Above[row.ID] = max(base.Above[row.ID], row.Sequence)
		}
	}
	require.True(t, b.Settle(roles))
	var err error
	base.Snapshot, err = index.NewSnapshot(b, roles, kept)
	require.NoError(t, err)
	return base
}

func TestRowsKnownSince(t *testing.T) {
	t.Parallel()
	var rows snapshot.Rows
	for _, row := range []snapshot.Row{
		{ID: 1, Sequence: 1, Read: 1, Known: 10}, {ID: 1, Sequence: 2, Read: 2, Known: 12}, {ID: 2, Sequence: 3, Read: 3, Known: 11}, {ID: 3, Sequence: 4, Read: 4, Known: 10},
	} {
		require.True(t, rows.Add(row))
	}
	assert.Equal(t, map[int64]bool{1: true, 2: true}, rows.KnownSince(10))
	assert.Equal(t, map[int64]bool{1: true}, rows.KnownSince(11))
	assert.Empty(t, rows.KnownSince(12))
}

// The same base and the same rows give the same state, however often the rows
// come, in whichever order, in how many parts, and whether they are put together
// first or applied one after the other.
func TestRowsInAnyOrder(t *testing.T) {
	t.Parallel()
	const began = 5
	rapid.Check(t, func(t *rapid.T) {
		roles, _ := index.NewRoleSpace(nil)
		base := anyBase(t, roles)
		rows := rapid.SliceOfN(anyRow(6, 10), 0, 12).Draw(t, "rows")
		var all snapshot.Rows
		for _, row := range rows {
			all.Add(row)
		}
		want, _, err := base.WithRows(all.After(began), began, roles, kept)
		require.NoError(t, err)

		again := rapid.Permutation(slices.Concat(rows, rows[:rapid.IntRange(0, len(rows)).Draw(t, "again")])).Draw(t, "order")
		var some snapshot.Rows
		state := base
		for i, row := range again {
			some.Add(row)
			require.False(t, some.Add(row), "it is there already")
			if rapid.IntRange(0, 9).Draw(t, "drop what the base knows") == 0 {
				some.Forget(began)
			}
			row, ok := some.Of(row.ID, began)
			if !ok {
				continue
			}
			state, _, err = state.WithRows([]snapshot.Row{row}, began, roles, kept)
			require.NoError(t, err, "row %d", i)
		}
		require.Equal(t, restored{want, ""}.says(), restored{state, ""}.says())
		require.Equal(t, all.After(began), some.After(began))
		later := rapid.Int64Range(began, 10).Draw(t, "a later base")
		require.Equal(t, all.After(later), some.After(later))
		all.Forget(later)
		require.Equal(t, len(all.After(later)), all.Len())
	})
}

// Of a user counts: what the base says, unless a row was read after it began that
// is newer than what the base has shown.
func TestWhichRowCounts(t *testing.T) {
	t.Parallel()
	teacher := func(sequence, read int64, code string) snapshot.Row {
		return snapshot.Row{ID: 1, Sequence: sequence, Read: read, Grants: []snapshot.RowGrant{{Org: 7, Code: code}}}
	}
	invalid := func(sequence, read int64) snapshot.Row {
		return snapshot.Row{ID: 1, Sequence: sequence, Read: read, Invalid: true}
	}
	for _, c := range []struct {
		name  string
		above map[int64]int64
		rows  []snapshot.Row
		want  string // the role, "" for an invalid record
	}{
		{"no row", nil, nil, "base"},
		{"read after the base began", nil, []snapshot.Row{teacher(3, 6, "row")}, "row"},
		{"read when it began", nil, []snapshot.Row{teacher(9, 5, "row")}, "base"},
		{"read before it began", nil, []snapshot.Row{teacher(9, 4, "row")}, "base"},
		{"older than what the base has shown", map[int64]int64{1: 9}, []snapshot.Row{teacher(8, 6, "row")}, "base"},
		{"what the base has shown", map[int64]int64{1: 9}, []snapshot.Row{teacher(9, 6, "row")}, "base"},
		{"newer than what the base has shown", map[int64]int64{1: 9}, []snapshot.Row{teacher(10, 6, "row")}, "row"},
		{"of another user", map[int64]int64{2: 9}, []snapshot.Row{teacher(3, 6, "row")}, "row"},
		{"the higher sequence, read first", nil, []snapshot.Row{teacher(4, 6, "high"), teacher(3, 7, "low")}, "high"},
		{"of equal sequences the one read later", nil, []snapshot.Row{teacher(4, 7, "late"), teacher(4, 6, "early")}, "late"},
		{"of equal sequences the invalid one", nil, []snapshot.Row{invalid(4, 6), teacher(4, 7, "late")}, ""},
		{"an invalid one of the sequence that the base has shown", map[int64]int64{1: 9}, []snapshot.Row{invalid(9, 6)}, ""},
		{"an invalid one that is older", map[int64]int64{1: 9}, []snapshot.Row{invalid(8, 6)}, "base"},
		{"one that fixes an invalid one", nil, []snapshot.Row{invalid(4, 6), teacher(5, 6, "fixed")}, "fixed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			roles, _ := index.NewRoleSpace(nil)
			base, _, err := (&snapshot.Generation{Snapshot: emptySnapshot(t, roles)}).WithRows([]snapshot.Row{teacher(1, 1, "base")}, 0, roles, kept)
			require.NoError(t, err)
			base.Above = c.above
			base.Held = &snapshot.HeldRemovals{Users: map[int64]snapshot.HeldUser{1: {}}}
			var rows snapshot.Rows
			taken := false
			for _, row := range c.rows {
				rows.Add(row)
				taken = taken || base.Takes(row, 5)
			}
			assert.Equal(t, c.want != "base", taken)
			got, changes, err := base.WithRows(rows.After(5), 5, roles, kept)
			require.NoError(t, err)
			at, ok := got.Find(1)
			require.Equal(t, c.want != "", ok)
			if ok {
				assert.Equal(t, c.want, got.Roles.Code(got.Snapshot.Grants(at).Role(0)))
			}
			_, spoken := changes.Place(1)
			assert.Equal(t, c.want != "base", spoken)
			assert.Equal(t, c.want == "base", got.Held.Has(1), "who is listed again is held no more")
		})
	}
}

// Of a user those rows are kept that can count beside some base: those that no
// other one outdoes, which is read no earlier and is no older.
func TestWhichRowsAreKept(t *testing.T) {
	t.Parallel()
	row := func(sequence, read int64) snapshot.Row { return snapshot.Row{ID: 1, Sequence: sequence, Read: read} }
	for _, c := range []struct {
		name  string
		first snapshot.Row
		then  snapshot.Row
		added bool
		of    map[int64]snapshot.Row // by when a base began
	}{
		{"the same again", row(4, 6), row(4, 6), false, map[int64]snapshot.Row{5: row(4, 6)}},
		{"newer, and read later", row(4, 6), row(5, 7), true, map[int64]snapshot.Row{5: row(5, 7), 6: row(5, 7)}},
		{"newer, and read at once", row(4, 6), row(5, 6), true, map[int64]snapshot.Row{5: row(5, 6)}},
		{"newer, but read earlier", row(4, 6), row(5, 5), true, map[int64]snapshot.Row{4: row(5, 5), 5: row(4, 6)}},
		{"older, but read later", row(4, 6), row(3, 7), true, map[int64]snapshot.Row{5: row(4, 6), 6: row(3, 7)}},
		{"older, and read at once", row(4, 6), row(3, 6), false, map[int64]snapshot.Row{5: row(4, 6)}},
		{"the same read later", row(4, 6), row(4, 7), true, map[int64]snapshot.Row{5: row(4, 7), 6: row(4, 7)}},
		{"the same read earlier", row(4, 6), row(4, 5), false, map[int64]snapshot.Row{4: row(4, 6), 5: row(4, 6)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var rows snapshot.Rows
			require.True(t, rows.Add(c.first))
			assert.Equal(t, c.added, rows.Add(c.then))
			for began, want := range c.of {
				got, ok := rows.Of(1, began)
				assert.True(t, ok, "beside a base of %d", began)
				assert.Equal(t, want, got, "beside a base of %d", began)
			}
			rows.Forget(max(c.first.Read, c.then.Read) - 1)
			assert.Equal(t, 1, rows.Len())
			rows.Forget(max(c.first.Read, c.then.Read))
			assert.Zero(t, rows.Len())
		})
	}
}

func emptySnapshot(t require.TestingT, roles *index.RoleSpace) *index.Snapshot {
	b := index.NewBuilder(kept, nil, roles.Publish())
	require.True(t, b.Settle(roles))
	s, err := index.NewSnapshot(b, roles, kept)
	require.NoError(t, err)
	return s
}

func TestTooManyRolesInRows(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	gen := &snapshot.Generation{Snapshot: emptySnapshot(t, roles)}
	row := snapshot.Row{ID: 1, Read: 1}
	for i := range index.MaxRoles + 1 {
		row.Grants = append(row.Grants, snapshot.RowGrant{Org: 1, Code: fmt.Sprint(i)})
	}
	_, _, err := gen.WithRows([]snapshot.Row{row}, 0, roles, kept)
	require.ErrorIs(t, err, snapshot.ErrTooManyRoles)
	row.Grants = row.Grants[1:]
	_, _, err = gen.WithRows([]snapshot.Row{row}, 0, roles, kept)
	require.NoError(t, err)
}

func identity(n int64) int64 { return n }

func encodeRows(t require.TestingT, rows []snapshot.Row) []byte {
	var b bytes.Buffer
	require.NoError(t, snapshot.EncodeRows(&b, "key", kept, rows, identity))
	return b.Bytes()
}

func TestRowsWrittenDown(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		rows := rapid.SliceOfN(anyRow(1<<40, 1<<50), 0, 10).Draw(t, "rows")
		data := encodeRows(t, rows)
		again, err := snapshot.DecodeRows(data, "key", kept, func(n int64) int64 { return n + 1 })
		require.NoError(t, err)
		require.Len(t, again, len(rows))
		for i := range again {
			again[i].Read--
			require.Equal(t, fmt.Sprint(rows[i]), fmt.Sprint(again[i]))
		}
		for _, other := range []struct {
			key    string
			fields index.FieldSet
		}{{"another", kept}, {"key", 0}} {
			_, err := snapshot.DecodeRows(data, other.key, other.fields, identity)
			require.ErrorIs(t, err, snapshot.ErrNotIndex)
		}
		_, err = snapshot.DecodeRows(data[:rapid.IntRange(0, len(data)-1).Draw(t, "cut off")], "key", kept, identity)
		require.ErrorIs(t, err, snapshot.ErrNotIndex)
	})
}

const rowsMagic = "rolegate rows 1\n"

func sealedRows(frames ...[]byte) []byte {
	b := append([]byte(rowsMagic), bytes.Join(frames, nil)...)
	sum := sha256.Sum256(b)
	return append(b, frame('E', sum[:])...)
}

// A replica or a file may say anything. One row that no list has, and none of them
// is believed.
func TestRowsThatNoListHas(t *testing.T) {
	t.Parallel()
	good := snapshot.Row{ID: 1, Sequence: 1, Read: 1, Grants: []snapshot.RowGrant{{Org: 1, Code: "teacher"}}}
	with := func(change func(*snapshot.Row)) func() []byte {
		return func() []byte {
			bad := good
			bad.Grants = slices.Clone(good.Grants)
			change(&bad)
			return encodeRows(t, []snapshot.Row{good, bad})
		}
	}
	parts := frames(append([]byte(magic), encodeRows(t, []snapshot.Row{good})[len(rowsMagic):]...))
	payload := parts[1][1:] // of one row
	head, rows := frame('H', parts[0][1:]), frame('W', payload)
	for _, c := range []struct {
		name string
		data func() []byte
		ok   bool
	}{
		{"no rows", func() []byte { return encodeRows(t, nil) }, true},
		{"as it is written", func() []byte { return sealedRows(head, rows) }, true},
		{"of the first sequence", with(func(r *snapshot.Row) { r.Sequence = 0 }), true},
		{"without a grant", with(func(r *snapshot.Row) { r.Grants = nil }), true},
		{"no id", with(func(r *snapshot.Row) { r.ID = 0 }), false},
		{"an id below 0", with(func(r *snapshot.Row) { r.ID = -1 }), false},
		{"a sequence below 0", with(func(r *snapshot.Row) { r.Sequence = -1 }), false},
		{"read at no time", with(func(r *snapshot.Row) { r.Read = 0 }), false},
		{"read before all time", with(func(r *snapshot.Row) { r.Read = -1 }), false},
		{"no organisation", with(func(r *snapshot.Row) { r.Grants[0].Org = 0 }), false},
		{"an organisation below 0", with(func(r *snapshot.Row) { r.Grants[0].Org = -1 }), false},
		{"no code", with(func(r *snapshot.Row) { r.Grants[0].Code = "" }), false},
		{"neither organisation nor code", with(func(r *snapshot.Row) { r.Grants[0] = snapshot.RowGrant{} }), false},
		{"of no kind", func() []byte {
			other := bytes.Clone(payload)
			other[24] = 3
			return sealedRows(head, frame('W', other))
		}, false},
		{"without a head", func() []byte { return sealedRows() }, false},
		{"rows without a head", func() []byte { return sealedRows(rows) }, false},
		{"rows before the head", func() []byte { return sealedRows(rows, head) }, false},
		{"two heads", func() []byte { return sealedRows(head, head, rows) }, false},
		{"a part of another kind", func() []byte { return sealedRows(head, rows, frame('X', nil)) }, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			_, err := snapshot.DecodeRows(c.data(), "key", kept, identity)
			if c.ok {
				assert.NoError(t, err)
			} else {
				assert.ErrorIs(t, err, snapshot.ErrNotIndex)
			}
		})
	}
	for end := range len(payload) {
		_, err := snapshot.DecodeRows(sealedRows(head, frame('W', append(bytes.Clone(payload), payload[:end]...))), "key", kept, identity)
		if end == 0 {
			require.NoError(t, err)
		} else {
			require.ErrorIs(t, err, snapshot.ErrNotIndex, "%d bytes of a row", end)
		}
	}
}

// What is decoded is encoded as it was, and has nothing in it that no list says.
func checkRows(t *testing.T, data []byte) {
	rows, err := snapshot.DecodeRows(data, "key", kept, identity)
	if err != nil {
		require.ErrorIs(t, err, snapshot.ErrNotIndex)
		return
	}
	for _, row := range rows {
		require.Positive(t, row.ID)
		require.Positive(t, row.Read)
		require.GreaterOrEqual(t, row.Sequence, int64(0))
		for _, g := range row.Grants {
			require.Positive(t, g.Org)
			require.NotEmpty(t, g.Code)
		}
		require.False(t, row.Invalid && (row.DroppedGrant || len(row.Grants) > 0))
	}
	again, err := snapshot.DecodeRows(encodeRows(t, rows), "key", kept, identity)
	require.NoError(t, err)
	require.Equal(t, rows, again)
}

func FuzzSealedRows(f *testing.F) {
	head := append([]byte("\x03key"), byte(kept))
	for seed := range 10 {
		parts := encodeRows(f, rapid.SliceOfN(anyRow(9, 9), 0, 3).Example(seed))[len(rowsMagic):]
		size := int(parts[1])
		f.Add(parts[5:5+size], parts[5+size:len(parts)-37])
	}
	f.Add(head, []byte("H\x05\x00\x00\x00\x03key\x01"))
	f.Fuzz(func(t *testing.T, head, rest []byte) {
		checkRows(t, sealedRows(frame('H', head), rest))
		checkRows(t, sealedRows(rest, frame('H', head)))
		checkRows(t, append([]byte(rowsMagic), rest...))
	})
}
