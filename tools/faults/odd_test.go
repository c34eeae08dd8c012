package faults_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Nothing in place of an empty list is the end of one that has begun.
func TestFault83NothingForAnEmptyPage(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"null", `""`, "{}", "{ }"} {
		for _, users := range []int64{2, 9, 10, 11, 20, 1000} {
			for _, inclusive := range []bool{false, true} {
				s := listHouse(users, pagesOf(10))
				s.marketplace.Inclusive = inclusive
				list := s.list
				s.list = func(m *rolegatetest.Marketplace) { list(m); m.Fail(rolegatetest.EmptyAs(empty)) }
				tickRun(t, fmt.Sprintf("%s behind %d users, inclusive=%t", empty, users, inclusive), s, func(t *testing.T, h *tickHouse) {
					for n := range int64(5) {
						require.NoError(t, h.gate.RefreshAll(t.Context()))
						require.NoError(t, h.gate.Refresh(t.Context()))
						assert.Equal(t, h.m.Len(), h.gate.Status().Users)
						h.m.Put(tickUser(5000+n, "teacher"))
						require.NoError(t, h.gate.Refresh(t.Context()))
						assert.True(t, h.allowed(t, 5000+n))
					}
					tickAfter(30 * time.Minute)
					assert.Empty(t, h.gate.Status().Failures)
					h.calm(t)
				})
			}
		}
	}
}

// As the first page of all, the same is a failure: it is not "nobody is authorised".
func TestFault84NothingForAList(t *testing.T) {
	t.Parallel()
	for _, empty := range []string{"null", `""`, "{}", `{"list":[]}`, "0", "false", `"[]"`} {
		tickRun(t, empty, listHouse(40, refreshed(rarely)), func(t *testing.T, h *tickHouse) {
			h.m.Clear()
			h.m.Fail(rewritten(func(_ int64, body string) string { return strings.Replace(body, `"data":[]`, `"data":`+empty, 1) }))
			for range 3 {
				before, decided := h.gate.Status(), h.decisions(t)
				err := h.gate.RefreshAll(t.Context())
				h.failed(t, tickPulls[0], marketplace.FailureMalformed, err, before, decided)
				tickAfter(2 * time.Minute)
			}
			assert.True(t, h.allowed(t, tickAlice))
		})
	}
}

// users reads how one user comes out whose record is spelt like that.
func respelt(t *testing.T, name string, more func(*tickSetup), record func(string) string, f func(t *testing.T, h *tickHouse)) {
	t.Helper()
	s := listHouse(40, func(s *tickSetup) {
		if more != nil {
			more(s)
		}
	})
	list := s.list
	s.list = func(m *rolegatetest.Marketplace) {
		list(m)
		m.Put(tickUser(9, "teacher", "head"))
		m.Respell(9, record)
	}
	tickRun(t, name, s, func(t *testing.T, h *tickHouse) {
		f(t, h)
		h.m.Touch(9)
		require.NoError(t, h.gate.Refresh(t.Context()))
		f(t, h) // after an increment as well
		for id := int64(1); id <= 40; id++ {
			require.True(t, id == 9 || h.allowed(t, id), "and nobody else is concerned")
		}
		h.silent(t, nil)
	})
}

// roleListOf replaces the value of roleList.
func roleListOf(value string) func(string) string {
	return func(record string) string {
		i := strings.Index(record, `"roleList":`)
		j := strings.Index(record[i:], "]") + i + 1
		if value == "" {
			return strings.Replace(record[:i]+record[j:], ",,", ",", 1)
		}
		return record[:i] + `"roleList":` + value + record[j:]
	}
}

// A role list that is null is one without roles, counted; one that is absent or
// anything else is an invalid record.
func TestFault85ARoleListOfNull(t *testing.T) {
	t.Parallel()
	for _, value := range []string{"null", "[]", "", `""`, "{}", "0", "false", `"[]"`, `"teacher"`} {
		respelt(t, fmt.Sprintf("%q", value), nil, roleListOf(value), func(t *testing.T, h *tickHouse) {
			listed := value == "null" || value == "[]"
			assert.Equal(t, listed, h.allowed(t, 9))
			assert.False(t, h.gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(9), 0).Allowed())
			assert.Equal(t, listed, h.gate.Policy(rolegate.NoRole("suspended")).Decide(t.Context(), rolegate.UserID(9), 0).Allowed(), "they have none for certain")
			o := h.gate.Status().Full.Outcome
			assert.Equal(t, value == "null", o.NullRoles == 1)
			assert.Equal(t, listed, o.BadRecords == 0)
		})
	}
}

// A role that names no organisation or no code is dropped and counted, and who has
// it fails every NoRole: it may have been that one.
func TestFault86ARoleWithoutAnOrganisationOrACode(t *testing.T) {
	t.Parallel()
	const fine = `{"orgId":7,"roleCode":"teacher","roleId":1,"roleName":"x","userId":9}`
	for _, odd := range []string{
		"null",
		"{}",
		`{"roleCode":"suspended"}`,
		`{"orgId":null,"roleCode":"suspended"}`,
		`{"orgId":0,"roleCode":"suspended"}`,
		`{"orgId":"0","roleCode":"suspended"}`,
		`{"orgId":-1,"roleCode":"suspended"}`,
		`{"orgId":"","roleCode":"suspended"}`,
		`{"orgId":7}`,
		`{"orgId":7,"roleCode":null}`,
		`{"orgId":7,"roleCode":""}`,
		`{"orgId":null,"roleCode":null}`,
	} {
		for place, list := range map[string]string{
			"before": "[" + odd + "," + fine + "]", "behind": "[" + fine + "," + odd + "]", "alone": "[" + odd + "]", "twice": "[" + odd + "," + fine + "," + odd + "]",
		} {
			respelt(t, odd+" "+place, nil, roleListOf(list), func(t *testing.T, h *tickHouse) {
				decide := func(check rolegate.Check) bool {
					return h.gate.Policy(check).Decide(t.Context(), rolegate.UserID(9), 0).Allowed()
				}
				assert.True(t, h.allowed(t, 9), "they are listed")
				assert.Equal(t, place != "alone", decide(rolegate.AnyRole("teacher")), "the other roles stand")
				assert.False(t, decide(rolegate.AnyRole("suspended")))
				assert.False(t, decide(rolegate.NoRole("suspended")))
				assert.False(t, decide(rolegate.NoRole("anything")))
				assert.False(t, h.gate.Policy(rolegate.NoRole("suspended")).Decide(t.Context(), rolegate.UserID(9), 7).Allowed(), "in an organisation too")
				o := h.gate.Status().Full.Outcome
				assert.Equal(t, strings.Count(list, odd), o.DroppedGrants)
				assert.Zero(t, o.BadRecords)
			})
		}
	}
}

// What is wrong with a field that is not used is ignored.
func TestFault87AnOddFieldThatIsNotUsed(t *testing.T) {
	t.Parallel()
	nickname := func(value string) func(string) string {
		return func(record string) string {
			return strings.Replace(record, `"nickname":"阿丽丝"`, `"nickname":`+value, 1)
		}
	}
	add := func(member string) func(string) string {
		return func(record string) string { return strings.Replace(record, "{", "{"+member+",", 1) }
	}
	for name, record := range map[string]func(string) string{
		"half a surrogate":           nickname(`"王老师\ud83d"`),
		"the other half":             nickname(`"\ude00王老师"`),
		"invalid UTF-8":              nickname("\"\xc3\x28\""),
		"a name cut in a character":  nickname("\"王老\xe5\xb8\""),
		"a number for a string":      nickname("17"),
		"an object for a string":     nickname(`{"zh":"王","en":["W"]}`),
		"true for a string":          nickname("true"),
		"null":                       nickname("null"),
		"a doubled key":              nickname(`"a","nickname":"b"`),
		"a key in another case":      nickname(`"a","Nickname":"b"`),
		"a doubled e-mail address":   add(`"email":"a@example.com"`),
		"a number for an account":    add(`"account":5`),
		"an unknown key":             add(`"deptList":[{"a":1}],"x":"\ud83d"`),
		"an unknown key twice":       add(`"tag":1,"tag":2`),
		"an unknown key, not UTF-8":  add("\"\xff\":\"\xfe\""),
		"a gender that is a string":  func(r string) string { return strings.Replace(r, `"gender":`, `"gender":"男","sex":`, 1) },
		"a gender twice":             add(`"gender":1,"gender":2`),
		"a third id that is none":    add(`"thirdUserId":{}`),
		"a role name, half":          roleListOf(`[{"orgId":7,"roleCode":"teacher","roleName":"\ud83d"}]`),
		"a role name, not UTF-8":     roleListOf("[{\"orgId\":7,\"roleCode\":\"teacher\",\"roleName\":\"\xff\xfe\"}]"),
		"a role name twice":          roleListOf(`[{"orgId":7,"roleCode":"teacher","roleName":"a","roleName":"b"}]`),
		"a role id that is a string": roleListOf(`[{"orgId":7,"roleCode":"teacher","roleId":"x","roleName":5}]`),
		"a role with unknown keys":   roleListOf(`[{"orgId":7,"roleCode":"teacher","orgName":"\ud83d","tags":[null],"tags":{}}]`),
	} {
		respelt(t, name, nil, record, func(t *testing.T, h *tickHouse) {
			assert.True(t, h.allowed(t, 9))
			assert.True(t, h.gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(9), 0).Allowed())
			assert.True(t, h.gate.Policy(rolegate.NoRole("suspended")).Decide(t.Context(), rolegate.UserID(9), 0).Allowed())
			assert.Zero(t, h.gate.Status().Full.Outcome.BadRecords)
		})
	}
}

// The same in a field that is used makes the record invalid: its user is refused, and
// nobody else.
func TestFault88AnOddFieldThatIsUsed(t *testing.T) {
	t.Parallel()
	uses := map[string]func(*rolegate.Config){
		"account":       func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindAccount} },
		"email":         func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail} },
		"thirdAccount":  func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindThirdAccount} },
		"thirdUserId":   func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindThirdUserID} },
		"nickname":      func(c *rolegate.Config) { c.Keep.Nickname = true },
		"thirdUserName": func(c *rolegate.Config) { c.Keep.ThirdUserName = true },
	}
	for field, use := range uses {
		for _, value := range []string{`"\ud83d"`, "\"\xc3\x28\"", "[]", "{}", "true", `"a","` + field + `":"b"`, `"a","` + strings.ToUpper(field) + `":"b"`} {
			respelt(t, field+" of "+strings.ToValidUTF8(value, "?"), func(s *tickSetup) { s.gate = use }, func(record string) string {
				var rest map[string]json.RawMessage
				_ = json.Unmarshal([]byte(record), &rest)
				delete(rest, field)
				without, _ := json.Marshal(rest)
				return strings.Replace(string(without), "{", `{"`+field+`":`+value+",", 1)
			}, func(t *testing.T, h *tickHouse) {
				assert.False(t, h.allowed(t, 9))
				assert.Equal(t, 1, h.gate.Status().Full.Outcome.BadRecords)
				assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
			})
		}
	}
}

// Invalid records close the gate for nobody but their own users, however many they
// are; a full refresh fails as drift only for faults of the list's form, and an
// incremental one never.
func TestFault89ManyInvalidRecords(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		odd        string
		structural bool
	}{
		"half an emoji for an account": {`{"userId":%d,"account":"\ud83d","roleList":[],"lastSequence":%d}`, false},
		"a role code that is cut":      {`{"userId":%d,"roleList":[{"orgId":7,"roleCode":"\ud83d"}],"lastSequence":%d}`, false},
		"doubled accounts":             {`{"userId":%d,"account":"a","account":"b","roleList":[],"lastSequence":%d}`, false},
		"no roleList":                  {`{"userId":%d,"roles":[],"lastSequence":%d}`, true},
		"roles of another form":        {`{"userId":%d,"roleList":["teacher"],"lastSequence":%d}`, true},
		"a role of somebody else":      {`{"userId":%d,"roleList":[{"orgId":7,"roleCode":"a","userId":1234567}],"lastSequence":%d}`, true},
	} {
		for _, odd := range []int64{1, 10, 11, 500, 999} {
			for _, pull := range tickPulls {
				s := listHouse(1000, refreshed(rarely))
				refresh := s.gate
				s.gate = func(c *rolegate.Config) { refresh(c); c.Aliases = []rolegate.Kind{rolegate.KindAccount} }
				tickRun(t, fmt.Sprintf("%s, %d of 1000: %s", name, odd, pull.name), s, func(t *testing.T, h *tickHouse) {
					for id := range odd {
						h.m.Touch(id + 2)
						h.m.Raw(id+2, fmt.Sprintf(c.odd, id+2, h.m.Sequence()))
					}
					err := pull.pull(t.Context(), h.gate)
					if c.structural && odd > 10 && pull.name == "full refresh" {
						refuses(t, err, rolegate.FailureDrift)
						assert.True(t, h.allowed(t, 2), "the list stays")
					} else {
						require.NoError(t, err)
						assert.False(t, h.allowed(t, 2))
						assert.Equal(t, int(odd), pull.status(h.gate.Status()).Outcome.BadRecords)
					}
					for id := odd + 2; id <= 1000; id++ {
						require.True(t, h.allowed(t, id))
					}
					assert.True(t, h.allowed(t, tickAlice))
					assert.Equal(t, rolegate.StateReady, h.gate.Status().State)
				})
			}
		}
	}
}

// Envelopes in other spellings are accepted; what is something else fails, and is
// called what it looks like.
func TestFault90EnvelopesInOtherSpellings(t *testing.T) {
	t.Parallel()
	code := func(s string) func(string) string {
		return func(body string) string { return strings.Replace(body, `"code":200`, `"code":`+s, 1) }
	}
	status := func(s string) func(string) string {
		return func(body string) string { return strings.Replace(body, `"status":"success"`, s, 1) }
	}
	for name, c := range map[string]struct {
		spell func(string) string
		looks string // "" if it is accepted
	}{
		"a byte order mark":  {func(b string) string { return "\ufeff" + b }, ""},
		"code as a string":   {code(`"200"`), ""},
		"SUCCESS":            {status(`"status":"SUCCESS"`), ""},
		"Success":            {status(`"status":"Success"`), ""},
		"no status":          {status(`"traceId":"1"`), ""},
		"status null":        {status(`"status":null`), ""},
		"all of them":        {func(b string) string { return "\ufeff" + code(`"200"`)(status(`"status":"SUCCESS"`)(b)) }, ""},
		"a message of half":  {func(b string) string { return strings.Replace(b, "请求成功", "请求成\xe5", 1) }, ""},
		"blanks around":      {func(b string) string { return "\r\n " + b + "\n\n" }, ""},
		"data first":         {dataFirst, ""},
		"an HTML page":       {func(string) string { return "<!DOCTYPE html><html><body>维护中</body></html>" }, "HTML"},
		"HTML behind blanks": {func(string) string { return "\n\n<html>" }, "HTML"},
		"XML":                {func(string) string { return `<?xml version="1.0"?><error/>` }, "XML"},
		"GBK": {func(b string) string {
			return strings.Replace(b, "请求成功", "\xc7\xeb\xc7\xf3\xb3\xc9\xb9\xa6", 1)
		}, "GBK"},
		"UTF-16":                 {func(string) string { return "\xff\xfe{\x00\"\x00c\x00" }, "UTF-16"},
		"gzip without a word":    {func(string) string { return "\x1f\x8b\x08\x00\x00\x00\x00\x00" }, "gzip"},
		"GBK, and no JSON":       {func(string) string { return "\xcf\xb5\xcd\xb3\xce\xac\xbb\xa4\xd6\xd0" }, "GBK"},
		"words":                  {func(string) string { return "Service is starting" }, ""},
		"a code that is no code": {code("true"), "code"},
	} {
		for _, rows := range []int{1000, 10} {
			tickRun(t, fmt.Sprintf("%s, %d a page", name, rows), listHouse(40, pagesOf(rows), refreshed(rarely)), func(t *testing.T, h *tickHouse) {
				h.m.Put(tickUser(100, "teacher"))
				h.m.Fail(rewritten(func(_ int64, body string) string { return c.spell(body) }))
				if c.looks == "" && name != "words" {
					require.NoError(t, h.gate.Refresh(t.Context()))
					require.NoError(t, h.gate.RefreshAll(t.Context()))
					assert.Equal(t, h.m.Len(), h.gate.Status().Users)
					h.calm(t)
					return
				}
				for _, pull := range tickPulls {
					err := h.keeps(t, pull, marketplace.FailureMalformed)
					assert.ErrorContains(t, err, c.looks)
				}
			})
		}
	}
}

// dataFirst has the data before the code.
func dataFirst(body string) string {
	i := strings.Index(body, `"data":`)
	return "{" + strings.TrimSuffix(body[i:], "}") + "," + strings.TrimSuffix(strings.TrimPrefix(body[:i], "{"), ",") + "}"
}

// Role codes that come and go for years do not use up their numbers.
func TestFault91RoleCodesThatAreUsedUp(t *testing.T) {
	t.Parallel()
	for _, pull := range tickPulls {
		inBubble(t, pull.name, func(t *testing.T) {
			const users, codes, years = 20, 100, 35 // two thousand new codes each
			class := func(year int, user int64) (roles []string) {
				for n := range codes {
					roles = append(roles, fmt.Sprintf("class-%d-%d-%d", year, user, n))
				}
				return roles
			}
			source := &tickScript{pull: tickYield(tickRecord(1, 1, "teacher"))}
			gate, _ := tickGate(t, rolegate.Config{Source: source, Refresh: rarely})
			first, last := gate.Policy(rolegate.AnyRole("class-0-2-7")), gate.Policy(rolegate.AnyRole(fmt.Sprintf("class-%d-2-7", years-1)))
			for year := range years {
				list := []rolegate.Record{tickRecord(1, int64(year*users+users+1), "teacher", "admin")}
				for id := range int64(users) {
					list = append(list, tickRecord(id+2, int64(year*users)+id+2, class(year, id+2)...))
				}
				source.set(tickYield(list...))
				require.NoError(t, pull.pull(t.Context(), gate))
				if year%5 == 0 {
					require.NoError(t, gate.RefreshAll(t.Context()))
				}
				require.Equal(t, year == 0, first.Decide(t.Context(), rolegate.UserID(2), 0).Allowed(), "year %d", year)
				require.Equal(t, year == years-1, last.Decide(t.Context(), rolegate.UserID(2), 0).Allowed(), "year %d", year)
				require.Equal(t, users+1, gate.Status().Users)
			}
			assert.Less(t, gate.Status().Roles, 65_536)
			assert.Empty(t, gate.Status().Failures)
		})
	}
}
