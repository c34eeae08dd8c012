package faults_test

import (
	"fmt"
	"math"
	"net/http"
	"runtime"
	"runtime/debug"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// keepBigID is above 2^53: a float would make its neighbour of it.
const keepBigID = 1<<53 + 1

// keepNoIDs are spellings of no id at all.
var keepNoIDs = map[string]string{
	"2^63": `9223372036854775808`, "2^63 as text": `"9223372036854775808"`, "2^64+2": `18446744073709551618`, "below -2^63": `-9223372036854775809`,
	"1e2": `1e2`, "1e2 as text": `"1e2"`, "2e0": `2e0`, "1.5": `1.5`, "1.5 as text": `"1.5"`, "2.0": `2.0`,
	"letters": `"abc"`, "digits and letters": `"2abc"`, "empty": `""`, "null": `null`, "the text null": `"null"`,
	"a zero in front": `"02"`, "a plus": `"+2"`, "blanks": `" 2"`, "hexadecimal": `"0x2"`, "other digits": `"２"`, "-0": `-0`,
	"true": `true`, "an object": `{}`, "an array": `[2]`,
}

// Ids are read exactly, as numbers and as strings, or make their record bad; none
// goes through a float.
func TestFault09Ids(t *testing.T) {
	t.Parallel()
	for name, ids := range map[string]rolegatetest.IDs{"numbers": rolegatetest.IDsNumber, "strings": rolegatetest.IDsString, "both by turns": rolegatetest.IDsMixed} {
		t.Run("exact above 2^53, as "+name, func(t *testing.T) {
			t.Parallel()
			keepInBubble(t, rolegatetest.MarketplaceConfig{IDs: ids, FirstSequence: keepBigID}, func(w *keepWorld) {
				w.m.Grant(keepBigID, keepBigID, "teacher")
				w.m.Grant(math.MaxInt64, math.MaxInt64, "teacher")
				teacher := w.gate.Policy(rolegate.AnyRole("teacher"))
				for range 2 {
					require.NoError(w, w.gate.Refresh(w.Context()))
					for id, listed := range map[int64]bool{
						keepBigID - 1: false, keepBigID: true, keepBigID + 1: false, keepBigID + 2: false, math.MaxInt64: true, math.MaxInt64 - 1: false,
					} {
						assert.Equal(w, listed, w.admits(id), "user %d", id)
						for _, org := range []int64{id - 1, id, max(id, id+1)} {
							allowed := teacher.Decide(w.Context(), rolegate.UserID(id), org).Allowed()
							assert.Equal(w, listed && org == id, allowed, "user %d in %d", id, org)
						}
					}
					assert.EqualValues(w, keepBigID+4, w.gate.Status().Cursor, "sequences, too")
					require.NoError(w, w.gate.RefreshAll(w.Context()))
				}
				assert.Zero(w, w.gate.Status().Full.Outcome.BadRecords)
			})
		})
	}
	t.Run("a number and a string are the same user", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			const first, second = `{"userId":50,"lastSequence":4,"roleList":[{"orgId":7,"roleCode":"admin","userId":"50"}]}`,
				`{"userId":"50","lastSequence":"5","roleList":[{"orgId":"7","roleCode":"teacher","userId":50}]}`
			w.m.Put(rolegatetest.User{ID: 50}, rolegatetest.User{ID: 51})
			for _, records := range []string{first + "," + second, second + "," + first} {
				w.m.Raw(50, records)
				require.NoError(w, w.gate.RefreshAll(w.Context()))
				assert.Equal(w, 5, w.gate.Status().Users, "on one page it is one user")
				assert.True(w, w.has(50, "teacher"))
				assert.False(w, w.has(50, "admin"), "of the higher sequence")
				assert.Zero(w, w.gate.Status().Full.Outcome.BadRecords)
				assert.Positive(w, w.gate.Status().Full.Outcome.Duplicates)
			}
		})
	})
	bad := func(name string, spelling keepSpelling, invalid ...int64) {
		t.Run("bad: "+name, func(t *testing.T) {
			t.Parallel()
			keepBad(t, spelling, invalid...)
		})
	}
	for name, value := range keepNoIDs {
		bad("userId "+name, keepReplaced(keepUserID, `"userId":`+value))
		bad("lastSequence "+name, keepWithSequence(value), keepTeacher)
		if name != "null" && name != "empty" { // is none: the role is dropped, or names no user of its own
			bad("orgId "+name, keepReplaced(`"orgId":7`, `"orgId":`+value), keepTeacher)
			bad("userId of a role "+name, keepReplaced(keepRoles, `"roleList":[{"orgId":7,"roleCode":"teacher","userId":`+value+`},{"orgId":7,"roleCode":"teacher",`), keepTeacher)
		}
	}
	for name, value := range map[string]string{"-1": `-1`, "-1 as text": `"-1"`, "the lowest int64": `-9223372036854775808`} {
		bad("userId "+name, keepReplaced(keepUserID, `"userId":`+value))
		bad("lastSequence "+name, keepWithSequence(value), keepTeacher)
	}
	bad("userId 0", keepReplaced(keepUserID, `"userId":0`))
	bad("userId 0 as text", keepReplaced(keepUserID, `"userId":"0"`))
	bad("no userId", keepReplaced(keepUserID+",", ""))
	bad("the userId of a role is another's", keepReplaced(keepRoles, `"roleList":[{"orgId":7,"roleCode":"teacher","userId":1},{"orgId":7,"roleCode":"teacher",`), keepTeacher)
	for _, value := range []string{`-1`, `"-1"`, `0`, `"0"`} {
		t.Run("a role in organisation "+value+" is dropped", func(t *testing.T) {
			t.Parallel()
			keepDropped(t, `{"orgId":`+value+`,"roleCode":"admin"}`)
		})
	}
}

// keepDropped requires that a role in front of the teacher's others, spelt like
// that, is dropped and counted, in refreshes of both kinds, and that the others stand.
func keepDropped(t *testing.T, role string) {
	t.Helper()
	keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
		w.m.Grant(keepTeacher, 7, "janitor")
		require.NoError(w, w.gate.Refresh(w.Context()))
		w.m.Respell(keepTeacher, keepReplaced(`"roleList":[`, `"roleList":[`+role+`,`))
		check := func(dropped int) {
			w.Helper()
			assert.Positive(w, dropped, "counted")
			assert.True(w, w.has(keepTeacher, "janitor"), "the other roles stand")
			assert.True(w, w.has(keepTeacher, "teacher"))
			assert.False(w, w.has(keepTeacher, "admin"))
			assert.Len(w, w.keepUser(keepTeacher).Grants(), 2)
			for _, g := range w.keepUser(keepTeacher).Grants() {
				assert.NotEmpty(w, g.RoleCode)
				assert.Positive(w, g.OrgID)
			}
		}
		w.m.Touch(keepTeacher)
		require.NoError(w, w.gate.Refresh(w.Context()))
		check(w.gate.Status().Incremental.Outcome.DroppedGrants)
		require.NoError(w, w.gate.RefreshAll(w.Context()))
		check(w.gate.Status().Full.Outcome.DroppedGrants)
		assert.Zero(w, w.gate.Status().Full.Outcome.BadRecords)
	})
}

// A roleList that is absent or null makes the record bad: it is not "no roles",
// which is []. A role without a code is dropped, and the others stand.
func TestFault10RoleList(t *testing.T) {
	t.Parallel()
	whole := func(good string) string {
		_, rest, _ := strings.Cut(good, `"roleList":`)
		list, _, _ := strings.Cut(rest, "]")
		return `"roleList":` + list + "]"
	}
	for name, list := range map[string]string{
		"absent": "", "an object": `"roleList":{},`, "empty text": `"roleList":"",`, "false": `"roleList":false,`,
		"the text []": `"roleList":"[]",`, "a list of texts": `"roleList":["teacher"],`, "a list of lists": `"roleList":[[]],`,
		"with another name": `"roles":[],`,
	} {
		t.Run("bad: "+name, func(t *testing.T) {
			t.Parallel()
			keepBad(t, func(good string) string { return strings.Replace(good, whole(good)+",", list, 1) }, keepTeacher)
		})
	}
	for name, code := range map[string]string{"a number": `"roleCode":5,`, "an object": `"roleCode":{},`} {
		t.Run("bad: a roleCode that is "+name, func(t *testing.T) {
			t.Parallel()
			keepBad(t, keepReplaced(`"roleCode":"teacher",`, code), keepTeacher)
		})
	}
	t.Run("an empty one is no roles", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			w.m.Respell(keepTeacher, func(good string) string { return strings.Replace(good, whole(good), `"roleList":[ ]`, 1) })
			w.m.Touch(keepTeacher)
			for _, pull := range []func() error{
				func() error { return w.gate.Refresh(w.Context()) }, func() error { return w.gate.RefreshAll(w.Context()) },
			} {
				require.NoError(w, pull())
				assert.True(w, w.admits(keepTeacher), "the user is on the list")
				assert.False(w, w.has(keepTeacher, "teacher"))
				assert.Empty(w, w.keepUser(keepTeacher).Grants())
				assert.Equal(w, 3, w.gate.Status().Users)
				assert.Zero(w, w.gate.Status().Full.Outcome.BadRecords)
			}
			assert.Equal(w, http.StatusForbidden, keepStatus(w.T, w.gate.Require(rolegate.AnyRole("teacher")), keepTeacher))
		})
	})
	for name, role := range map[string]string{
		"with an empty code": `{"orgId":7,"roleCode":"","roleName":"admin"}`, "without a code": `{"orgId":7}`, "with null for a code": `{"orgId":7,"roleCode":null}`,
		"without an organisation": `{"roleCode":"admin"}`, "that is null": `null`,
	} {
		t.Run("a role "+name+" is dropped", func(t *testing.T) {
			t.Parallel()
			keepDropped(t, role)
		})
	}
	t.Run("null is no roles", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			w.m.Respell(keepTeacher, func(good string) string { return strings.Replace(good, whole(good), `"roleList":null`, 1) })
			require.NoError(w, w.gate.RefreshAll(w.Context()))
			assert.True(w, w.admits(keepTeacher), "a listed user")
			assert.False(w, w.has(keepTeacher, "teacher"))
			assert.Zero(w, w.gate.Status().Full.Outcome.BadRecords)
		})
	})
	t.Run("and a user who has no other has no roles", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			w.m.Respell(keepTeacher, keepReplaced(`"roleCode":"teacher"`, `"roleCode":""`))
			require.NoError(w, w.gate.RefreshAll(w.Context()))
			assert.True(w, w.admits(keepTeacher))
			assert.Empty(w, w.keepUser(keepTeacher).Grants())
			assert.Positive(w, w.gate.Status().Full.Outcome.DroppedGrants)
		})
	})
}

// JSON that is nested 100,000 deep fails the refresh, wherever it is, and blows up
// neither stack nor memory. It is not parallel: what it measures is the process.
func TestFault11NestedJSON(t *testing.T) {
	before := debug.SetMaxStack(8 << 20) // half of what 100,000 levels need: beyond it, the process ends
	t.Cleanup(func() { debug.SetMaxStack(before) })
	const deep = 100_000
	arrays, objects := strings.Repeat("[", deep), strings.Repeat(`{"a":`, deep)
	nested := map[string]string{
		"arrays": arrays + strings.Repeat("]", deep), "objects": objects + "null" + strings.Repeat("}", deep),
		"arrays without an end": arrays, "objects without an end": objects,
	}
	var faults, some []rawFault
	for kind, value := range nested {
		for where, page := range map[string]string{
			"alone":                 `%s`,
			"as data":               `{"code":200,"data":%s}`,
			"as a record":           `{"code":200,"data":[` + keepNewUser + `,%s]}`,
			"as the code":           `{"code":%s,"data":[]}`,
			"as the message":        `{"code":200,"data":[],"message":%s}`,
			"in an unknown key":     `{"code":200,"data":[],"x":%s}`,
			"in a record":           `{"code":200,"data":[{"userId":4,"lastSequence":99,"roleList":[],"x":%s}]}`,
			"as userId":             `{"code":200,"data":[{"userId":%s,"lastSequence":99,"roleList":[]}]}`,
			"as roleList":           `{"code":200,"data":[{"userId":4,"lastSequence":99,"roleList":%s}]}`,
			"in a role":             `{"code":200,"data":[{"userId":4,"lastSequence":99,"roleList":[{"orgId":7,"roleCode":"admin","x":%s}]}]}`,
			"in an envelope's data": `{"code":500,"data":%s}`,
		} {
			f := rawFault{kind + " " + where, rawOK(fmt.Sprintf(page, value)), marketplace.FailureMalformed, ""}
			if faults = append(faults, f); strings.HasPrefix(kind, "objects") && where != "as the code" && where != "as userId" {
				some = append(some, f)
			}
		}
	}
	t.Run("memory", func(t *testing.T) {
		w, server := rawSockets(t)
		for _, f := range faults {
			server.fail(f.answer)
			var earlier, later runtime.MemStats
			runtime.ReadMemStats(&earlier)
			require.Error(t, w.gate.RefreshAll(t.Context()))
			runtime.ReadMemStats(&later)
			assert.Less(t, later.TotalAlloc-earlier.TotalAlloc, uint64(16<<20), f.name)
		}
	})
	rawKeeps(t, some) // in all that follows from it; it takes its time
	t.Run("what is nested a little is a page", func(t *testing.T) {
		w, server := rawSockets(t)
		little := strings.Repeat(`[{"a":`, 50) + "1" + strings.Repeat("}]", 50)
		server.fail(rawOK(`{"code":200,"x":` + little + `,"data":[{"userId":4,"lastSequence":99,"roleList":[],"x":` + little + `}]}`))
		require.NoError(t, acceptShrink(t.Context(), w.gate))
		assert.True(t, w.admits(keepStranger))
	})
}
