package marketplace_test

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// full is a good record with everything in it.
func full(id, seq int64) string {
	return fmt.Sprintf(`{"account":"a%d","email":"e%d@x","gender":1,"lastSequence":%d,"nickname":"张%d","roleList":[`+
		`{"orgId":%d,"roleCode":"r%d","roleId":4,"roleName":"T","userId":%d},{"orgId":%d,"roleCode":"own of %d","roleId":5,"roleName":"老师","userId":%d}],`+
		`"thirdAccount":"ta%d","thirdUserId":%d,"thirdUserName":"三%d","userId":%d}`,
		id, id, seq, id, id+1, id%20, id, id+2, id, id, id, id+3, id, id)
}

// wantFull is what is read from full.
func wantFull(id, seq int64) rolegate.Record {
	return rolegate.Record{
		UserID: id, Sequence: seq, Account: fmt.Sprintf("a%d", id), Email: fmt.Sprintf("e%d@x", id), Nickname: fmt.Sprintf("张%d", id),
		ThirdAccount: fmt.Sprintf("ta%d", id), ThirdUserID: fmt.Sprint(id + 3), ThirdUserName: fmt.Sprintf("三%d", id),
		Grants: []rolegate.Grant{{OrgID: id + 1, RoleCode: fmt.Sprintf("r%d", id%20)}, {OrgID: id + 2, RoleCode: fmt.Sprintf("own of %d", id)}},
	}
}

// decoded is what a way of decoding makes of a page.
func decoded(decode func([]byte, func(rolegate.Record)) (int, error), page []byte) (got []rolegate.Record, rows int, err error) {
	rows, err = decode(page, func(r rolegate.Record) {
		r.Grants = slices.Clone(r.Grants)
		got = append(got, clean(r))
	})
	return got, rows, err
}

// Many records are held at once, and must not have each other's grants or names,
// nor those of a page before.
func TestHeldRecordsAreTheirOwn(t *testing.T) {
	t.Parallel()
	d := marketplace.NewDecoder()
	for _, n := range []int64{3, 1000, 500} {
		var records []string
		var want []rolegate.Record
		for i := range n {
			if i%7 == 3 {
				records = append(records, user(n+i+1, i+1)) // without grants and names
				want = append(want, rolegate.Record{UserID: n + i + 1, Sequence: i + 1})
				continue
			}
			records = append(records, full(n+i+1, i+1))
			want = append(want, wantFull(n+i+1, i+1))
		}
		page := []byte(ok(records...))
		got, _, err := decoded(d.Page, page)
		require.NoError(t, err)
		assert.Equal(t, want, got)
	}
}

// The grants of many records lie side by side.
func TestAppendingToGrantsReachesNobodyElse(t *testing.T) {
	t.Parallel()
	page := []byte(ok(full(1, 1), full(2, 2), user(3, 3), full(4, 4)))
	want := []rolegate.Record{wantFull(1, 1), wantFull(2, 2), {UserID: 3, Sequence: 3}, wantFull(4, 4)}
	var got []rolegate.Record
	_, err := marketplace.NewDecoder().Page(page, func(r rolegate.Record) {
		grants := slices.Clone(r.Grants)
		_ = append(r.Grants, rolegate.Grant{OrgID: 1, RoleCode: "admin"}, rolegate.Grant{OrgID: 2, RoleCode: "admin"})
		r.Grants = grants
		got = append(got, clean(r))
	})
	require.NoError(t, err)
	assert.Equal(t, want, got)
}

// The next page is read into the same memory.
func TestStringsOutliveTheirPage(t *testing.T) {
	t.Parallel()
	const pageSize = 50
	var bodies []string
	var want []rolegate.Record
	for p := range int64(8) {
		var records []string
		for i := range int64(pageSize) {
			id := 1000 + p*pageSize + i // as many digits each, so that each page covers the one before
			records = append(records, full(id, id))
			want = append(want, wantFull(id, id))
		}
		if p%3 == 2 {
			records[0], want = `{"userId":5000}`, slices.Delete(want, len(want)-pageSize, len(want)-pageSize+1)
		}
		bodies = append(bodies, ok(records...))
	}
	bodies = append(bodies, ok())
	got, err := pull(t, client(pages(bodies...)), 0)
	require.NoError(t, err)
	got = slices.DeleteFunc(got, func(r rolegate.Record) bool { return r.Bad != nil })
	assert.Equal(t, want, got)
}

func TestLongAndShortTexts(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(1, 2))
	var records, want []string
	for i := range int64(1000) {
		n := rng.IntN(40)
		if i%50 == 0 {
			n = rng.IntN(100_000)
		}
		text := strings.Repeat(string(rune('a'+i%26)), n)
		want = append(want, text)
		records = append(records, fmt.Sprintf(`{"userId":%d,"lastSequence":%d,"roleList":[],"account":%q}`, i+1, i+1, text))
	}
	got, err := pull(t, client(pages(ok(records...), ok())), 0)
	require.NoError(t, err)
	for i, r := range got {
		require.Equal(t, want[i], r.Account)
	}
}

// A page that turns out to be none is none, however good it began, and the page
// before it does not come again in its stead.
func TestAPageThatFailsAtItsEnd(t *testing.T) {
	t.Parallel()
	good := full(2, 2)
	for name, body := range map[string]string{
		"code":       `{"data":[` + good + `],"code":500}`,
		"status":     `{"data":[` + good + `],"code":200,"status":"fail"}`,
		"no code":    `{"data":[` + good + `]}`,
		"second key": `{"code":200,"data":[` + good + `],"code":200}`,
		"other case": `{"code":200,"data":[` + good + `],"Status":"success"}`,
		"cut":        `{"code":200,"data":[` + good + `]`,
		"more":       ok(good) + `{}`,
		"syntax":     `{"code":200,"data":[` + good + `,{"userId":3,"lastSequence":3,"roleList":[}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			got, err := pull(t, client(pages(ok(full(1, 1)), body)), 0)
			require.Error(t, err)
			assert.Equal(t, []rolegate.Record{wantFull(1, 1)}, got)
		})
	}
}

// Allocations a user would be felt in a list of a million.
func TestDecodingHardlyAllocates(t *testing.T) {
	page := pageOf(1000)
	d := marketplace.NewDecoder()
	allocations := testing.AllocsPerRun(5, func() {
		if rows, err := d.Page(page, func(rolegate.Record) {}); rows != 1000 || err != nil {
			t.Fatal(rows, err)
		}
	})
	assert.Less(t, allocations, 50.)
}

// A decoder lives as long as its pull, and each string that somebody keeps has
// others beside it.
func TestWhatADecoderKeeps(t *testing.T) {
	const users, grants = 1000, 100
	manyGrants := strings.TrimSuffix(strings.Repeat(`{"orgId":1,"roleCode":"r"},`, grants), ",")
	record := `{"userId":1,"lastSequence":1,"roleList":[` + manyGrants + `]},`
	usual := pageOf(users)
	var ownCodes [][]byte
	for p := range 40 {
		var records []string
		for i := range users {
			records = append(records, with(fmt.Sprintf(`"roleList":[{"orgId":1,"roleCode":"own of %d, %d"}]`, p, i)))
		}
		ownCodes = append(ownCodes, []byte(ok(records...)))
	}
	for _, tc := range []struct {
		name  string
		pages [][]byte
		most  uint64
	}{
		{"a page of many grants", [][]byte{[]byte(ok(strings.TrimSuffix(strings.Repeat(record, users), ",")))}, 2 * users * grants * uint64(unsafe.Sizeof(rolegate.Grant{}))},
		{"one page after the other", slices.Repeat([][]byte{usual}, 40), 1 << 20},
		{"a role code for each user", ownCodes, 1 << 20},
		{"a short text beside a long one", [][]byte{[]byte(ok(with(`"email":"` + strings.Repeat("x", 5_000_000) + `","nickname":"n"`))), usual}, 1 << 20},
	} {
		d := marketplace.NewDecoder()
		before := heap()
		var kept string
		for _, page := range tc.pages {
			_, err := d.Page(page, func(r rolegate.Record) { kept = cmp.Or(kept, r.Nickname) })
			require.NoError(t, err)
		}
		assert.Less(t, heap(), before+tc.most, tc.name)
		runtime.KeepAlive(d)
		runtime.KeepAlive(kept)
	}
}

// heap is how much memory is in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
