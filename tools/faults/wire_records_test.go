package faults_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// keepInBubble runs test in a bubble, with a gate on a marketplace in memory.
func keepInBubble(t *testing.T, cfg rolegatetest.MarketplaceConfig, test func(*keepWorld)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := keepMarketplace(cfg)
		w := openKeepWorld(t, m, marketplace.Config{BaseURL: rolegatetest.BaseURL, Transport: m.Transport()})
		w.bubble = true
		test(w)
	})
}

// A keepSpelling makes another record of a good one.
type keepSpelling = func(good string) string

// keepWith adds a member in front of those of the record.
func keepWith(member string) keepSpelling {
	return func(good string) string { return "{" + member + "," + strings.TrimPrefix(good, "{") }
}

// keepWithLast adds it behind them.
func keepWithLast(member string) keepSpelling {
	return func(good string) string { return strings.TrimSuffix(good, "}") + "," + member + "}" }
}

// keepReplaced writes new for the first old of the record.
func keepReplaced(old, new string) keepSpelling {
	return func(good string) string {
		if !strings.Contains(good, old) {
			panic("no " + old + " in " + good)
		}
		return strings.Replace(good, old, new, 1)
	}
}

// The teacher's record, as the marketplace spells it, has these in it.
const (
	keepUserID   = `"userId":2`
	keepSequence = `"lastSequence":` // and its end
	keepRoles    = `"roleList":[{"orgId":7,"roleCode":"teacher",`
)

// keepWithSequence spells the sequence of the record as value.
func keepWithSequence(value string) keepSpelling {
	return func(good string) string { return good[:strings.Index(good, keepSequence)] + keepSequence + value + "}" }
}

// keepBad requires that the teacher's record, spelt like that, denies the users
// who are denied by it and nobody else: in an incremental refresh, in a full refresh, and in
// the first list; and that a good record ends it.
func keepBad(t *testing.T, spelling keepSpelling, invalid ...int64) {
	t.Helper()
	bads := len(invalid)
	if bads == 0 {
		bads = 1 // no user is named: the good record is gone, and that is that
	}
	keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
		w.m.Put(rolegatetest.User{ID: 100, Account: "dora"})
		require.NoError(w, w.gate.Refresh(w.Context()))
		want := w.decisions()
		w.allowed(want)
		denied := func() {
			w.Helper()
			for guard, status := range w.decisions() {
				user := int64(guard[0] - '0')
				if user == keepTeacher || slices.Contains(invalid, user) {
					assert.Equal(w, http.StatusForbidden, status, "user %s", guard)
				} else {
					assert.Equal(w, want[guard], status, "user %s", guard)
				}
			}
			assert.True(w, w.admits(100), "nobody else is concerned")
			decision := w.gate.Decide(w.Context(), identityOf(rolegate.KindAccount, "bob"))
			assert.False(w, decision.Allowed(), "nor does the user enter by account")
		}
		w.m.Respell(keepTeacher, spelling)
		w.m.Touch(keepTeacher)
		require.NoError(w, w.gate.Refresh(w.Context()))
		assert.GreaterOrEqual(w, w.gate.Status().Incremental.Outcome.BadRecords, bads) // each time that it is read
		synctest.Wait()                                                                // a record of nobody makes a full refresh due, which finds out whose it was
		denied()
		require.NoError(w, w.gate.RefreshAll(w.Context()))
		assert.GreaterOrEqual(w, w.gate.Status().Full.Outcome.BadRecords, bads)
		denied()
		assert.Zero(w, w.gate.Status().Held.Users, "no shrink guard holds it up")
		assert.Empty(w, w.gate.Status().Failures, "the refresh itself is good")

		before := w.gate
		w.gate = w.open(false)
		denied()
		w.gate = before

		w.m.Respell(keepTeacher, nil)
		w.m.Touch(keepAdmin, keepTeacher, keepPlain)
		require.NoError(w, w.gate.Refresh(w.Context()))
		assert.Equal(w, want, w.decisions(), "a good record ends it")
		w.tellsNothing(nil)
	})
}

// Doubled keys, keys in another case and invalid UTF-8, where it is read, make a record bad, which
// denies its own user and nobody else; it is never the last one that wins. In the
// envelope they make the page none.
func TestFault07DoubledKeys(t *testing.T) {
	t.Parallel()
	const bob, both = keepTeacher, keepAdmin
	admin := `[{"orgId":7,"roleCode":"admin"}]`
	for name, c := range map[string]struct {
		spelling keepSpelling
		invalid  []int64
	}{
		"roleList twice, the worse one first":   {keepWith(`"roleList":` + admin), []int64{bob}},
		"roleList twice, the worse one last":    {keepWithLast(`"roleList":` + admin), []int64{bob}},
		"roleList twice, once with escapes":     {keepWithLast(`"role\u004cist":` + admin), []int64{bob}},
		"roleList twice, the same one":          {keepWith(`"roleList":[{"orgId":7,"roleCode":"teacher"}]`), []int64{bob}},
		"userId twice, another one first":       {keepWith(`"userId":1`), []int64{both, bob}},
		"userId twice, another one last":        {keepWithLast(`"userId":"1"`), []int64{both, bob}},
		"userId twice, the stranger's":          {keepWithLast(`"userId":4`), []int64{bob, keepStranger}},
		"userId twice, the same one":            {keepWithLast(`"userId":2`), []int64{bob}},
		"lastSequence twice":                    {keepWith(`"lastSequence":1`), []int64{bob}},
		"account twice":                         {keepWith(`"account":"wang.alice"`), []int64{bob}},
		"orgId twice in a role":                 {keepReplaced(keepRoles, keepRoles+`"orgId":8,`), []int64{bob}},
		"roleCode twice in a role":              {keepReplaced(keepRoles, keepRoles+`"roleCode":"admin",`), []int64{bob}},
		"USERID besides userId":                 {keepWith(`"USERID":1`), []int64{both, bob}},
		"USERID after userId":                   {keepWithLast(`"USERID":4`), []int64{bob, keepStranger}},
		"USERID alone":                          {keepReplaced(keepUserID, `"USERID":2`), []int64{bob}},
		"userid alone":                          {keepReplaced(keepUserID, `"userid":2`), []int64{bob}},
		"userId with a long s":                  {keepWith(`"uſerId":4`), []int64{bob, keepStranger}},
		"RoleList besides roleList":             {keepWith(`"RoleList":` + admin), []int64{bob}},
		"rolelist alone":                        {keepReplaced(`"roleList"`, `"rolelist"`), []int64{bob}},
		"LASTSEQUENCE besides lastSequence":     {keepWith(`"LASTSEQUENCE":1`), []int64{bob}},
		"Account besides account":               {keepWith(`"Account":"wang.alice"`), []int64{bob}},
		"RoleCode besides roleCode":             {keepReplaced(keepRoles, keepRoles+`"RoleCode":"admin",`), []int64{bob}},
		"ORGID instead of orgId":                {keepReplaced(`"orgId"`, `"ORGID"`), []int64{bob}},
		"UserId in a role":                      {keepReplaced(keepRoles, keepRoles+`"UserId":2,`), []int64{bob}},
		"invalid UTF-8 in account":              {keepReplaced(`"account":"bob"`, "\"account\":\"bob\xff\""), []int64{bob}},
		"invalid UTF-8 in nickname":             {keepReplaced(`"nickname":"`, "\"nickname\":\"\xc3\x28"), []int64{bob}},
		"invalid UTF-8 in roleCode":             {keepReplaced(`"roleCode":"teacher"`, "\"roleCode\":\"teacher\xff\""), []int64{bob}},
		"half a surrogate pair":                 {keepReplaced(`"account":"bob"`, `"account":"bob\ud83d"`), []int64{bob}},
		"a good record besides the bad one":     {func(good string) string { return keepWith(`"roleList":[]`)(good) + "," + good }, []int64{bob}},
		"a good record in front of the bad one": {func(good string) string { return good + "," + keepWith(`"roleList":[]`)(good) }, []int64{bob}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			keepBad(t, c.spelling, c.invalid...)
		})
	}
	t.Run("in the envelope", func(t *testing.T) {
		t.Parallel()
		var faults []rawFault
		for name, body := range map[string]string{
			"code twice": `{"code":500,"code":200,"data":[]}`, "code twice, the good one first": `{"code":200,"data":[],"code":500}`,
			"data twice": `{"code":200,"data":[` + keepNewUser + `],"data":[]}`, "data twice, once with escapes": `{"code":200,"data":[],"d\u0061ta":[]}`,
			"Code": `{"Code":500,"code":200,"data":[]}`, "DATA": `{"code":200,"data":[],"DATA":[` + keepNewUser + `]}`, "Status": `{"code":200,"Status":"fail","data":[]}`,
			"an unknown key twice": `{"code":200,"x":1,"x":1,"data":[]}`, "invalid UTF-8 in a key": "{\"code\":200,\"code\xff\":1,\"data\":[]}",
		} {
			faults = append(faults, rawFault{name, rawOK(body), marketplace.FailureMalformed, ""})
		}
		rawKeeps(t, faults)
	})
}

// keepUser is the user that a handler behind the gate finds.
func (w *keepWorld) keepUser(user int64) (found rolegate.User) {
	w.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Header.Set("X-Test-User", strconv.FormatInt(user, 10))
	w.gate.Admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		found, _ = w.gate.UserFrom(r.Context())
	})).ServeHTTP(httptest.NewRecorder(), r)
	return found
}

// What a record leaves out is not taken from the one before it: after alice, the
// admin, bob has no roles and no names.
func TestFault08NothingLeaksIntoTheNextRecord(t *testing.T) {
	t.Parallel()
	bare := func(rest string) keepSpelling {
		return func(good string) string {
			return `{"userId":2,` + rest + good[strings.Index(good, keepSequence):]
		}
	}
	role := func(role string) keepSpelling { return bare(`"roleList":[` + role + `],`) }
	for name, c := range map[string]struct {
		bob    keepSpelling
		listed bool // without roles and names; else denied
	}{
		"no roles":                       {role(""), true},
		"no roleList":                    {bare(""), false},
		"a role without a code":          {role(`{"orgId":7}`), true},
		"a role without an organisation": {role(`{"roleCode":"admin"}`), true},
		"an empty role":                  {role(`{}`), true},
		"a null for the roles":           {bare(`"roleList":null,`), true},
		"a null for a role":              {role(`null`), true},
		"a second role with an odd code": {role(`{"orgId":7,"roleCode":"teacher"},{"orgId":8,"roleCode":5}`), false},
		"a second role in an odd place":  {role(`{"orgId":7,"roleCode":"teacher"},{"orgId":"x","roleCode":"admin"}`), false},
		"no userId":                      {func(good string) string { return `{"roleList":[],` + good[strings.Index(good, keepSequence):] }, false},
		"no lastSequence":                {func(string) string { return `{"userId":2,"roleList":[]}` }, false},
		"nothing":                        {func(string) string { return `{}` }, false},
	} {
		for _, ids := range []rolegatetest.IDs{rolegatetest.IDsNumber, rolegatetest.IDsString} {
			for _, rows := range []int{0, 2} { // in a page
				t.Run(fmt.Sprintf("%s, ids of kind %d, at most %d rows", name, ids, rows), func(t *testing.T) {
					t.Parallel()
					keepInBubble(t, rolegatetest.MarketplaceConfig{IDs: ids, PageCap: rows}, func(w *keepWorld) {
						check := func(when string) {
							w.Helper()
							assert.Equal(w, c.listed, w.admits(keepTeacher), when)
							assert.False(w, w.has(keepTeacher, "admin"), when)
							assert.False(w, w.has(keepTeacher, "teacher"), when)
							if c.listed {
								bob := w.keepUser(keepTeacher)
								assert.EqualValues(w, keepTeacher, bob.ID(), when)
								assert.Empty(w, bob.Grants(), when)
								assert.Empty(w, bob.Account()+bob.Email()+bob.Nickname()+bob.ThirdAccount()+bob.ThirdUserID()+bob.ThirdUserName(), when)
							}
							alice := w.gate.Decide(w.Context(), identityOf(rolegate.KindAccount, "wang.alice"))
							assert.True(w, alice.Allowed(), when)
							assert.EqualValues(w, keepAdmin, alice.User.ID(), when)
							assert.Len(w, alice.User.Grants(), 2, when)
							assert.Zero(w, w.gate.Status().Ambiguous[rolegate.KindAccount], when)
							assert.True(w, w.admits(keepPlain), when)
							assert.False(w, w.has(keepPlain, "admin"), when)
						}
						w.m.Respell(keepTeacher, c.bob)
						require.NoError(w, w.gate.RefreshAll(w.Context()))
						check("a full refresh")
						w.m.Touch(keepAdmin, keepTeacher, keepPlain)
						require.NoError(w, w.gate.Refresh(w.Context()))
						synctest.Wait()
						check("an increment")
						w.m.Put(rolegatetest.User{ID: 50})
						w.m.Raw(50, `{}`) // with it, the page is read with more care
						w.m.Touch(keepAdmin, keepTeacher, keepPlain)
						require.NoError(w, w.gate.Refresh(w.Context()))
						require.NoError(w, w.gate.RefreshAll(w.Context()))
						check("a page with a bad record")
					})
				})
			}
		}
	}
	t.Run("after a record that was bad half-way", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			w.m.Respell(keepAdmin, func(good string) string {
				return strings.Replace(good, `"roleList":[`, `"roleList":[{"orgId":7,"roleCode":"admin"},{"orgId":"x","roleCode":"admin"},`, 1)
			})
			w.m.Respell(keepTeacher, role(""))
			require.NoError(w, w.gate.RefreshAll(w.Context()))
			assert.False(w, w.admits(keepAdmin))
			assert.True(w, w.admits(keepTeacher))
			assert.Empty(w, w.keepUser(keepTeacher).Grants())
			assert.Empty(w, w.keepUser(keepTeacher).Account())
		})
	})
	t.Run("from one refresh into the next", func(t *testing.T) {
		t.Parallel()
		keepInBubble(t, rolegatetest.MarketplaceConfig{}, func(w *keepWorld) {
			w.m.Touch(keepAdmin)
			require.NoError(w, w.gate.Refresh(w.Context()))
			w.m.Respell(keepTeacher, role(""))
			w.m.Touch(keepTeacher)
			require.NoError(w, w.gate.Refresh(w.Context()))
			assert.True(w, w.admits(keepTeacher))
			assert.Empty(w, w.keepUser(keepTeacher).Grants())
			<-time.After(time.Minute)
			assert.Len(w, w.keepUser(keepAdmin).Grants(), 2)
		})
	})
}
