package marketplace_test

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// with is a good record of user 7, sequence 9, with these members besides, or
// instead if it has them.
func with(members string) string {
	var have map[string]json.RawMessage
	_ = json.Unmarshal([]byte("{"+members+"}"), &have)
	all := []string{members}
	for _, m := range []string{`"userId":7`, `"lastSequence":9`, `"roleList":[]`} {
		if have[strings.Trim(strings.SplitN(m, ":", 2)[0], `"`)] == nil {
			all = append(all, m)
		}
	}
	return "{" + strings.TrimPrefix(strings.Join(all, ","), ",") + "}"
}

func TestGoodRecords(t *testing.T) {
	t.Parallel()
	grants := func(g ...rolegate.Grant) []rolegate.Grant { return g }
	cases := []struct {
		name, json string
		want       rolegate.Record
	}{
		{"the least", with(""), rolegate.Record{}},
		{"the document's example, with ids", `{"account":"a","email":"e@x","gender":1,"lastSequence":9,"nickname":"n",
			"roleList":[{"orgId":3,"roleCode":"teacher","roleId":4,"roleName":"T","userId":7}],
			"thirdAccount":"ta","thirdUserId":5,"thirdUserName":"tn","userId":7}`,
			rolegate.Record{Account: "a", Email: "e@x", Nickname: "n", ThirdAccount: "ta", ThirdUserID: "5", ThirdUserName: "tn",
				Grants: grants(rolegate.Grant{OrgID: 3, RoleCode: "teacher"})}},
		{"ids as strings", `{"userId":"7","lastSequence":"9","roleList":[{"orgId":"3","roleCode":"r","userId":"7"}]}`,
			rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 3, RoleCode: "r"})}},
		{"keys and values with escapes", `{"\u0075serId":"\u0037","lastSequence":9,"roleList":[{"orgId":3,"roleCode":"\u0072"}],"account":"\ud83d\ude00"}`,
			rolegate.Record{Account: "😀", Grants: grants(rolegate.Grant{OrgID: 3, RoleCode: "r"})}},
		{"an id above 2^53", with(`"userId":9007199254740993`), rolegate.Record{UserID: 9007199254740993}},
		{"the highest id", with(`"userId":"9223372036854775807"`), rolegate.Record{UserID: 9223372036854775807}},
		{"sequence above 2^53", with(`"lastSequence":9007199254740993`), rolegate.Record{Sequence: 9007199254740993}},
		{"nulls", with(`"account":null,"email":null,"thirdAccount":null,"thirdUserId":null,"nickname":null,"thirdUserName":null`), rolegate.Record{}},
		{"names for display of any type", with(`"nickname":5,"thirdUserName":{"a":[]}`), rolegate.Record{Unreadable: rolegate.Keep{Nickname: true, ThirdUserName: true}}},
		{"unknown keys", with(`"deptList":[{"x":{"y":[1]}}],"gender":"x"`), rolegate.Record{}},
		{"many unknown keys", with(strings.TrimPrefix(manyKeys(100), ",") + `,"roleList":[{"orgId":3,"roleCode":"r"` + manyKeys(100) + `}]`),
			rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 3, RoleCode: "r"})}},
		{"grants the gate drops", with(`"roleList":[{"orgId":0,"roleCode":"a"},{"orgId":-1,"roleCode":"b"},{"orgId":"-5","roleCode":""}]`),
			rolegate.Record{Grants: grants(rolegate.Grant{RoleCode: "a"}, rolegate.Grant{OrgID: -1, RoleCode: "b"}, rolegate.Grant{OrgID: -5})}},
		{"a role without orgId", with(`"roleList":[{"roleCode":"r"}]`), rolegate.Record{Grants: grants(rolegate.Grant{RoleCode: "r"})}},
		{"a role with orgId null", with(`"roleList":[{"orgId":null,"roleCode":"r"}]`), rolegate.Record{Grants: grants(rolegate.Grant{RoleCode: "r"})}},
		{"a role with an empty orgId", with(`"roleList":[{"orgId":"","roleCode":"r"}]`), rolegate.Record{Grants: grants(rolegate.Grant{RoleCode: "r"})}},
		{"a role without roleCode", with(`"roleList":[{"orgId":1}]`), rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1})}},
		{"a role with roleCode null", with(`"roleList":[{"orgId":1,"roleCode":null}]`), rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1})}},
		{"a role that is null, among others", with(`"roleList":[{"orgId":1,"roleCode":"a"},null,{"orgId":2,"roleCode":"b"}]`),
			rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1, RoleCode: "a"}, rolegate.Grant{}, rolegate.Grant{OrgID: 2, RoleCode: "b"})}},
		{"a role that is empty", with(`"roleList":[{}]`), rolegate.Record{Grants: grants(rolegate.Grant{})}},
		{"a roleList that is null", with(`"roleList":null`), rolegate.Record{NullRoles: true}},
		{"a doubled unknown key", with(`"x":1,"x":1`), rolegate.Record{}},
		{"a doubled key deep inside", with(`"x":[{"y":{"z":1,"z":2}}]`), rolegate.Record{}},
		{"a doubled key that is not read, in a role", with(`"roleList":[{"orgId":1,"roleCode":"r","roleId":1,"roleId":2}]`), rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1, RoleCode: "r"})}},
		{"userId inside something else", with(`"x":{"userId":8,"userId":9}`), rolegate.Record{}},
		{"invalid UTF-8 in a key", with(`"` + "\xff" + `":1`), rolegate.Record{}},
		{"invalid UTF-8 in an unknown field", with(`"x":"` + "\xff" + `\ud83d"`), rolegate.Record{}},
		{"keys of a role in a record", with(`"orgId":"x","roleCode":5`), rolegate.Record{}},
		{"keys of a record in a role", with(`"roleList":[{"orgId":1,"roleCode":"r","account":5,"lastSequence":"x"}]`), rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1, RoleCode: "r"})}},
		{"grants without a user", with(`"roleList":[{"orgId":1,"roleCode":"a","userId":0},{"orgId":1,"roleCode":"b","userId":"0"},{"orgId":1,"roleCode":"c","userId":null}]`),
			rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1, RoleCode: "a"}, rolegate.Grant{OrgID: 1, RoleCode: "b"}, rolegate.Grant{OrgID: 1, RoleCode: "c"})}},
		{"grants before the user they name", `{"roleList":[{"userId":7,"orgId":1,"roleCode":"a"}],"lastSequence":9,"userId":7}`,
			rolegate.Record{Grants: grants(rolegate.Grant{OrgID: 1, RoleCode: "a"})}},
		{"thirdUserId as a number beyond int64", with(`"thirdUserId":18446744073709551616`), rolegate.Record{ThirdUserID: "18446744073709551616"}},
		{"thirdUserId as text", with(`"thirdUserId":"u-05"`), rolegate.Record{ThirdUserID: "u-05"}},
		{"thirdUserId with a zero in front", with(`"thirdUserId":"007"`), rolegate.Record{ThirdUserID: "007"}},
		{"thirdUserId of one dash", with(`"thirdUserId":"-"`), rolegate.Record{ThirdUserID: "-"}},
	}
	for _, none := range []string{`0`, `-1`, `-0`, `"0"`, `"00"`, `"-1"`, `"-0"`, `"-42"`, `""`} {
		cases = append(cases, struct {
			name, json string
			want       rolegate.Record
		}{"thirdUserId " + none + " is none", with(`"thirdUserId":` + none), rolegate.Record{}})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			// A list may be read from any page; this one has it alone.
			got, err := pull(t, client(pages(ok(tc.json), ok())), 0)
			require.NoError(t, err)
			require.Len(t, got, 1)
			require.NoError(t, got[0].Bad)
			if tc.want.UserID == 0 {
				tc.want.UserID = 7
			}
			if tc.want.Sequence == 0 {
				tc.want.Sequence = 9
			}
			if len(got[0].Grants) == 0 {
				got[0].Grants = nil
			}
			assert.Equal(t, tc.want, got[0])
		})
	}
}

// A list may begin to count at 0.
func TestASequenceOfZeroIsOne(t *testing.T) {
	t.Parallel()
	for _, zero := range []string{`0`, `"0"`} {
		got, err := pull(t, client(pages(ok(with(`"lastSequence":`+zero)), ok())), 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		assert.NoError(t, got[0].Bad)
		assert.EqualValues(t, 7, got[0].UserID)
		assert.Zero(t, got[0].Sequence)
	}
}

// What is wrong with a text is for the gate to decide: who does not use it need
// not care.
func TestUnreadableTexts(t *testing.T) {
	t.Parallel()
	fields := map[string]rolegate.Keep{
		"account": {Account: true}, "email": {Email: true}, "thirdAccount": {ThirdAccount: true},
		"thirdUserId": {ThirdUserID: true}, "nickname": {Nickname: true}, "thirdUserName": {ThirdUserName: true},
	}
	for field, want := range fields {
		key := `"` + field + `":`
		cases := map[string]string{
			"true": key + `true`, "an object": key + `{}`, "an array": key + `["x"]`, "a fraction": key + `1.5`,
			"half a surrogate pair": key + `"王老师\ud83d"`, "invalid UTF-8": key + "\"\xff\"", "twice": key + `"a",` + key + `"a"`,
			"twice, once with escapes": key + `"a","\u00` + fmt.Sprintf("%02x", field[0]) + field[1:] + `":"b"`,
			"twice, once unreadable":   key + `5.5,` + key + `"a"`,
			"in another case":          `"` + strings.ToUpper(field) + `":"a"`,
			"in two cases":             key + `"a","` + strings.ToUpper(field) + `":"b"`,
		}
		if field != "thirdUserId" {
			cases["a number"] = key + `5`
		}
		for name, members := range cases {
			t.Run(field+"/"+name, func(t *testing.T) {
				t.Parallel()
				got, err := pull(t, client(pages(ok(with(members)), ok())), 0)
				require.NoError(t, err)
				require.Len(t, got, 1)
				assert.Equal(t, rolegate.Record{UserID: 7, Sequence: 9, Unreadable: want}, clean(got[0]))
			})
		}
	}
}

func TestBadRecords(t *testing.T) {
	t.Parallel()
	type bad struct {
		name, json string
		ids        []int64 // with an invalid record; nil for user 7, empty for nobody
		seq        int64   // -1 for 9
		why        string  // in the error
	}
	const same = -1
	nobody := []int64{0}
	cases := []bad{
		{"null", `null`, nobody, 0, "record"},
		{"a number", `7`, nobody, 0, "record"},
		{"a string", `"userId"`, nobody, 0, "record"},
		{"an array", `[{"userId":7}]`, nobody, 0, "record"},
		{"an empty object", `{}`, nobody, 0, "userId"},
		{"no userId", `{"lastSequence":9,"roleList":[]}`, nobody, same, "userId"},
		{"two ids, one of them 0", `{"userId":0,"USERID":5,"lastSequence":9,"roleList":[]}`, []int64{5}, same, "userId"},
		{"two sequences, one of them 0", `{"userId":7,"lastSequence":0,"LASTSEQUENCE":9,"roleList":[]}`, nil, 0, "lastSequence"},
		{"no lastSequence", `{"userId":7,"roleList":[]}`, nil, 0, "lastSequence"},
		{"no roleList", `{"userId":7,"lastSequence":9}`, nil, same, "roleList"},
		{"a roleList that is an object", with(`"roleList":{}`), nil, same, "roleList"},
		{"a roleList of strings", with(`"roleList":["teacher"]`), nil, same, "roleList[]"},
		{"a grant with orgId 1.5", with(`"roleList":[{"orgId":1.5,"roleCode":"r"}]`), nil, same, "orgId"},
		{"a grant with orgId 2^63", with(`"roleList":[{"orgId":9223372036854775808,"roleCode":"r"}]`), nil, same, "orgId"},
		{"a grant with roleCode 5", with(`"roleList":[{"orgId":1,"roleCode":5}]`), nil, same, "roleCode"},
		{"a grant of somebody else", with(`"roleList":[{"orgId":1,"roleCode":"r","userId":8}]`), nil, same, "roleList[].userId"},
		{"a grant of somebody else, before userId", `{"roleList":[{"orgId":1,"roleCode":"r","userId":"8"}],"userId":7,"lastSequence":9}`, nil, same, "roleList[].userId"},
		{"two grants of two users", with(`"roleList":[{"orgId":1,"roleCode":"r","userId":7},{"orgId":1,"roleCode":"r","userId":8}]`), nil, same, "roleList[].userId"},
		{"two grants of two users, the record's last", with(`"roleList":[{"orgId":1,"roleCode":"r","userId":8},{"orgId":1,"roleCode":"r","userId":7}]`), nil, same, "roleList[].userId"},
		{"a grant of an unreadable user", with(`"roleList":[{"orgId":1,"roleCode":"r","userId":"x"}]`), nil, same, "roleList[].userId"},
		{"a roleCode that is no UTF-8", with(`"roleList":[{"orgId":1,"roleCode":"` + "\xff" + `"}]`), nil, same, "roleCode"},
		{"a roleCode with half a surrogate pair", with(`"roleList":[{"orgId":1,"roleCode":"r\ud83d"}]`), nil, same, "roleCode"},
		{"a roleList twice", with(`"roleList":[],"roleList":[]`), nil, same, "record"},
		{"a doubled key in a grant", with(`"roleList":[{"orgId":1,"roleCode":"r","orgId":1}]`), nil, same, "record"},
		{"a key of a grant in another case", with(`"roleList":[{"orgid":1,"orgId":2,"roleCode":"r"}]`), nil, same, "orgId"},
		{"a doubled userId", `{"userId":7,"lastSequence":9,"roleList":[],"userId":8}`, []int64{7, 8}, same, "record"},
		{"a doubled userId, the same one", `{"userId":7,"lastSequence":9,"roleList":[],"userId":"7"}`, nil, same, "record"},
		{"a doubled userId, one unreadable", `{"userId":7,"lastSequence":9,"roleList":[],"userId":"x"}`, nil, same, "record"},
		{"userId in two cases", `{"userId":7,"lastSequence":9,"roleList":[],"USERID":8}`, []int64{7, 8}, same, "userId"},
		{"userId in three cases", `{"userid":"6","userId":7,"lastSequence":9,"roleList":[],"USERID":8}`, []int64{6, 7, 8}, same, "userId"},
		{"userId in another case alone", `{"userid":7,"lastSequence":9,"roleList":[]}`, nil, same, "userId"},
		{"userId with a long s", `{"uſerId":8,"userId":7,"lastSequence":9,"roleList":[]}`, []int64{7, 8}, same, "userId"},
		{"roleList in two cases", with(`"rolelist":[{"orgId":1,"roleCode":"r"}]`), nil, same, "roleList"},
		{"lastSequence doubled, the same one", `{"userId":7,"lastSequence":9,"lastSequence":"9","roleList":[]}`, nil, same, "record"},
		{"lastSequence doubled, another one", `{"userId":7,"lastSequence":9,"lastSequence":10,"roleList":[]}`, nil, 0, "record"},
		{"lastSequence below 0", with(`"lastSequence":-1`), nil, 0, "lastSequence"},
	}
	for _, v := range []string{`0`, `-1`, `9223372036854775808`, `1e2`, `1.5`, `1.0`, `"abc"`, `""`, `null`, `"+5"`, `" 5"`, `"5 "`, `"05"`, `"0"`, `"-7"`, `true`, `[7]`, `"9223372036854775808"`, `"٥"`} {
		cases = append(cases, bad{"userId " + v, with(`"userId":` + v), nobody, same, "userId"})
	}
	for _, v := range []string{`9223372036854775808`, `1e2`, `1.5`, `"abc"`, `""`, `null`, `"05"`, `true`, `-0`} {
		cases = append(cases, bad{"lastSequence " + v, with(`"lastSequence":` + v), nil, 0, "lastSequence"})
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			if tc.ids == nil {
				tc.ids = []int64{7}
			}
			if tc.seq == same {
				tc.seq = 9
			}
			// Between good ones, which it must leave as they are.
			got, err := pull(t, client(pages(ok(user(1, 1), tc.json, user(2, 9)), ok())), 0)
			require.NoError(t, err)
			require.Len(t, got, 2+len(tc.ids))
			assert.Equal(t, rolegate.Record{UserID: 1, Sequence: 1}, clean(got[0]))
			assert.Equal(t, rolegate.Record{UserID: 2, Sequence: 9}, clean(got[2]))
			// The record's further ids come behind the page.
			bad := append([]rolegate.Record{got[1]}, got[3:]...)
			slices.SortFunc(bad, func(a, b rolegate.Record) int { return cmp.Compare(a.UserID, b.UserID) })
			for i, r := range bad {
				require.Error(t, r.Bad)
				assert.ErrorContains(t, r.Bad, tc.why)
				assert.ErrorContains(t, r.Bad, "expected")
				content := strings.Contains(tc.name, "doubled") || strings.Contains(tc.name, "twice") || strings.HasPrefix(tc.name, "a roleCode")
				assert.Equal(t, rolegate.Record{UserID: tc.ids[i], Sequence: tc.seq, Bad: r.Bad, Structural: !content}, r)
			}
		})
	}
}

func clean(r rolegate.Record) rolegate.Record {
	if len(r.Grants) == 0 {
		r.Grants = nil
	}
	return r
}

func TestNothingLeaksIntoTheNextRecord(t *testing.T) {
	t.Parallel()
	alice := `{"userId":1,"lastSequence":1,"account":"alice","email":"e","thirdAccount":"ta","thirdUserId":"t","nickname":"n","thirdUserName":"tn",
		"roleList":[{"orgId":1,"roleCode":"admin"},{"orgId":2,"roleCode":"admin"}]}`
	half := `{"userId":2,"lastSequence":2,"account":"half","roleList":[{"orgId":1,"roleCode":"admin"},{"orgId":"x"}]}`
	got, err := pull(t, client(pages(ok(alice, user(3, 3), half, user(4, 4)), ok())), 0)
	require.NoError(t, err)
	require.Len(t, got, 4)
	assert.Len(t, got[0].Grants, 2)
	for _, i := range []int{1, 3} {
		assert.Equal(t, rolegate.Record{UserID: got[i].UserID, Sequence: got[i].Sequence}, clean(got[i]))
	}
	assert.Error(t, got[2].Bad)
	assert.Empty(t, got[2].Account+fmt.Sprint(len(got[2].Grants) - 0)[1:])
	assert.Equal(t, "alice", got[0].Account, "strings are the record's own")
}

func TestBadSaysNothingFromTheWire(t *testing.T) {
	t.Parallel()
	const personal = "zhangsan"
	for _, record := range []string{
		`{"userId":"zhangsan","lastSequence":1,"roleList":[]}`,
		`{"userId":1,"lastSequence":"zhangsan","roleList":[]}`,
		`{"userId":1,"lastSequence":1,"roleList":{"zhangsan":1}}`,
		`{"userId":1,"lastSequence":1,"roleList":["zhangsan"]}`,
		`{"userId":1,"lastSequence":1,"roleList":[{"orgId":"zhangsan","roleCode":1}]}`,
	} {
		got, err := pull(t, client(pages(ok(record), ok())), 0)
		require.NoError(t, err)
		require.Len(t, got, 1)
		require.Error(t, got[0].Bad)
		assert.NotContains(t, fmt.Sprintf("%v %+v %#v", got[0].Bad, got[0].Bad, got[0].Bad), personal)
	}
}
