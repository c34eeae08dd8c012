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

func TestQuicklyAndCarefullyAgree(t *testing.T) {
	t.Parallel()
	a, b := full(1, 1), full(2, 2)
	many := strings.Repeat(user(1, 1)+",", 2000) + user(1, 1)
	for _, tc := range []struct {
		name, page string
		quick      bool
	}{
		{"as documented", ok(a, b), true},
		{"empty", ok(), true},
		{"blanks everywhere", " { \"code\" : 200 ,\n\"data\" : [ \t" + strings.ReplaceAll(a, ",", " ,\r\n") + " , " + b + " ] } ", true},
		{"data first", `{"data":[` + a + `,` + b + `],"code":200,"status":"success"}`, true},
		{"keys of the envelope with escapes", `{"c\u006fde":200,"d\u0061ta":[` + a + `]}`, true},
		{"a key of a record with escapes", ok(strings.ReplaceAll(a, `"userId"`, `"user\u0049d"`)), false},
		{"unknown keys", ok(with(`"deptList":[{"x":{"y":[1]}}],"x":"X"`)), true},
		{"ids as strings", ok(`{"userId":"7","lastSequence":"9","roleList":[{"orgId":"3","roleCode":"r","userId":"7"}]}`), true},
		{"an unreadable name for display", ok(with(`"nickname":5,"thirdUserName":{"a":[]}`)), true},
		{"as many users as were asked for", ok(strings.TrimSuffix(strings.Repeat(user(1, 1)+",", 1000), ",")), true},
		{"far more users than were asked for", ok(many), false},
		{"a bad record between good ones", ok(a, `{"userId":7,"USERID":8,"lastSequence":3}`, b), false},
		{"a bad record at the end", ok(a, b, `null`), false},
		{"a doubled key", ok(a, with(`"x":1,"x":2`)), false},
		{"a doubled key with another between", ok(a, with(`"x":1,"y":1,"x":2`)), false},
		{"a doubled key, once with escapes", ok(a, with(`"x":1,"\u0078":2`)), false},
		{"a doubled key of the document", ok(a, `{"gender":1,`+full(2, 2)[1:]), false},
		{"a doubled name for display", ok(a, `{"nickname":"",`+full(2, 2)[1:]), false},
		{"a doubled key in a name for display", ok(a, with(`"nickname":{"z":1,"z":2}`)), false},
		{"a doubled key in a gender", ok(a, with(`"gender":{"z":1,"z":2}`)), false},
		{"a doubled key in a grant", ok(a, strings.Replace(b, `"roleId":5`, `"roleId":5,"roleId":5`, 1)), false},
		{"a doubled unknown key in a grant", ok(a, strings.Replace(b, `"roleId":5`, `"x":5,"x":5`, 1)), false},
		{"a doubled key in a value of a grant", ok(a, strings.Replace(b, `"roleId":5`, `"roleId":[{"x":5,"x":5}]`, 1)), false},
		{"a doubled key in an unknown value of a grant", ok(a, strings.Replace(b, `"roleId":5`, `"x":{"y":[{"z":1,"z":2}]}`, 1)), false},
		{"a doubled key in a roleName", ok(a, strings.Replace(b, `"老师"`, `{"z":1,"z":2}`, 1)), false},
		{"the same key in two grants", ok(with(`"x":0,"roleList":[{"x":1,"orgId":1,"roleCode":"r"},{"x":2,"orgId":2,"roleCode":"r"}]`)), true},
		{"a doubled key deep inside", ok(a, with(`"x":[{"y":{"z":1,"z":2}}]`)), false},
		{"invalid UTF-8 in a record", ok(a, with(`"x":"`+"\xff"+`"`)), false},
		{"invalid UTF-8 in the message", "{\"code\":200,\"message\":\"\xff\",\"data\":[" + a + "]}", false},
		{"a doubled key in something that is not data", `{"code":200,"data":[` + a + `],"page":{"a":1,"a":2}}`, true},
		{"as many unknown keys as are kept in mind", ok(with(strings.TrimPrefix(manyKeys(16), ","))), true},
		{"more of them", ok(with(strings.TrimPrefix(manyKeys(17), ","))), false},
		{"so many in each of two objects", ok(with(strings.TrimPrefix(manyKeys(10), ",") + `,"roleList":[{"orgId":1,"roleCode":"r"` + manyKeys(10) + `},{"orgId":2,"roleCode":"r"` + manyKeys(10) + `}]`)), true},
		{"a failure after the data", `{"data":[` + a + `],"code":500}`, false},
		{"another status after the data", `{"data":[` + a + `],"code":200,"status":"fail"}`, false},
		{"no code", `{"data":[` + a + `]}`, false},
		{"data twice", `{"code":200,"data":[` + a + `],"data":[` + b + `]}`, false},
		{"data in two cases", `{"code":200,"data":[` + a + `],"Data":[` + b + `]}`, false},
		{"data an object", `{"code":200,"data":{}}`, false},
		{"no data", `{"code":200}`, false},
		{"something after the end", ok(a) + "x", false},
		{"cut in the second record", ok(a, b)[:len(ok(a))+20], false},
		{"cut before the last brace", strings.TrimSuffix(ok(a, b), "}"), false},
		{"a comma too many", ok(a, b+","), false},
		{"a comma too few", ok(a + b), false},
		{"a record nested too deeply", ok(with(`"x":` + strings.Repeat("[", 10_000) + strings.Repeat("]", 10_000))), false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			d := marketplace.NewDecoder()
			assert.Equal(t, tc.quick, d.IsQuick([]byte(tc.page)))
			got, rows, err := decoded(d.Page, []byte(tc.page))
			want, wantRows, wantErr := decoded(marketplace.NewDecoder().Carefully, []byte(tc.page))
			assert.Equal(t, want, got)
			assert.Equal(t, wantRows, rows)
			assert.Equal(t, wantErr, err)
		})
	}
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
		require.True(t, d.IsQuick(page))
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
	for name, decode := range map[string]func(*marketplace.Decoder, []byte, func(rolegate.Record)) (int, error){
		"quickly":   (*marketplace.Decoder).Page,
		"carefully": (*marketplace.Decoder).Carefully,
	} {
		var got []rolegate.Record
		_, err := decode(marketplace.NewDecoder(), page, func(r rolegate.Record) {
			grants := slices.Clone(r.Grants)
			_ = append(r.Grants, rolegate.Grant{OrgID: 1, RoleCode: "admin"}, rolegate.Grant{OrgID: 2, RoleCode: "admin"})
			r.Grants = grants
			got = append(got, clean(r))
		})
		require.NoError(t, err)
		assert.Equal(t, want, got, name)
	}
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
		if p%3 == 2 { // is read carefully
			records = append(records, `{"userId":5000}`)
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
	for name, decode := range map[string]func(*marketplace.Decoder, []byte, func(rolegate.Record)) (int, error){
		"quickly":   (*marketplace.Decoder).Page,
		"carefully": (*marketplace.Decoder).Carefully,
	} {
		d := marketplace.NewDecoder()
		allocations := testing.AllocsPerRun(5, func() {
			if rows, err := decode(d, page, func(rolegate.Record) {}); rows != 1000 || err != nil {
				t.Fatal(rows, err)
			}
		})
		assert.Less(t, allocations, 50., name)
	}
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
