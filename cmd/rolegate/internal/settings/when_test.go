package settings_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

// ruledBy reads that rule of AuthZEN's, and asks by it: user 1 is a teacher in
// organisation 7, user 2 a pupil there, user 3 an admin in 8, user 4 nothing.
func ruledBy(t *testing.T, rule string) (ask func(subject, resource, more string) bool, err error) {
	t.Helper()
	gate, e := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Sequence: 1, Account: "1542", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher.math"}}},
			rolegate.Record{UserID: 2, Sequence: 2, Account: "wang", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "pupil"}}},
			rolegate.Record{UserID: 3, Sequence: 3, Account: "root", Grants: []rolegate.Grant{{OrgID: 8, RoleCode: "admin"}}},
			rolegate.Record{UserID: 4, Sequence: 4, Account: "li"},
		),
		Aliases: []rolegate.Kind{rolegate.KindAccount}, Logger: discard,
	})
	require.NoError(t, e)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	token := strings.Repeat("t", 20)
	f := parse(t, market+"authzen:\n  listen: ':1'\n  subjects: {user: user_id, account: account}\n  callers: [{name: a, token: {file: "+secretFile(t, token)+"}}]\n  rules:\n    - {resource: essay, action: edit, "+rule+"}\n")
	pdp, _, err := f.AuthZEN.Handler(gate, discard)
	return func(subject, resource, more string) bool {
		kind := "user"
		if strings.Trim(subject, "0123456789") != "" {
			kind = "account"
		}
		r := httptest.NewRequest(http.MethodPost, "/access/v1/evaluation", strings.NewReader(fmt.Sprintf(
			`{"subject":{"type":%q,"id":%q,"properties":{"status":"draft","role":"admin"}},"resource":{"type":"essay","id":"2","properties":%s},%s}`, kind, subject, resource, more)))
		r.Header.Set("Authorization", "Bearer "+token)
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		pdp.ServeHTTP(w, r)
		require.Equal(t, 200, w.Code, w.Body)
		return w.Body.String() == `{"decision":true}`
	}, err
}

// The common cases: the owner may, a draft may, a soft delete may.
func TestWhen(t *testing.T) {
	t.Parallel()
	const edit = `"action":{"name":"edit"}`
	for rule, questions := range map[string]map[[3]string]bool{
		"admit: true, when: [{resource: {owner: {user: user_id}}}]": {
			{"2", `{"owner":"2"}`, edit}: true, {"2", `{"owner":2}`, edit}: true, {"wang", `{"owner":"2"}`, edit}: true,
			{"2", `{"owner":"1"}`, edit}: false, {"2", `{}`, edit}: false, {"5", `{"owner":"5"}`, edit}: false, {"wang", `{"owner":"wang"}`, edit}: false,
		},
		"admit: true, when: [{resource: {owner: {user: account}}}]": {
			{"wang", `{"owner":"wang"}`, edit}: true, {"wang", `{"owner":"li"}`, edit}: false,
			{"1542", `{"owner":"1542"}`, edit}: false, {"2", `{"owner":"wang"}`, edit}: false,
		},
		"admit: true, when: [{resource_id: {user: user_id}}]": {{"2", `{}`, edit}: true, {"1", `{}`, edit}: false},
		"admit: true, when: [{resource_id: '2'}]":             {{"1", `{}`, edit}: true},
		"admit: true, when: [{resource_id: 2}]":               {{"1", `{}`, edit}: false}, // an id is a text
		"admit: true, when: [{resource: {status: draft, pages: {one_of: [1, 2]}}}]": {
			{"4", `{"status":"draft","pages":2}`, edit}: true, {"4", `{"status":"draft","pages":3}`, edit}: false,
			{"4", `{"pages":2}`, edit}: false, {"4", `{"status":"draft","pages":"2"}`, edit}: false,
		},
		"admit: true, when: [{resource: {status: {none_of: [archived]}}}]": {{"4", `{"status":"draft"}`, edit}: true, {"4", `{}`, edit}: true, {"4", `{"status":"archived"}`, edit}: false},
		"admit: true, when: [{resource: {'报告 状态': 草稿}}]":                   {{"4", `{"报告 状态":"草稿"}`, edit}: true, {"4", `{"报告":"草稿"}`, edit}: false},
		"admit: true, when: [{action: {soft: true}, context: {channel: web}}]": {
			{"4", `{}`, `"action":{"name":"edit","properties":{"soft":true}},"context":{"channel":"web"}`}:  true,
			{"4", `{}`, `"action":{"name":"edit","properties":{"soft":true}},"context":{"channel":"app"}`}:  false,
			{"4", `{"soft":true,"channel":"web"}`, edit}:                                                    false,
			{"4", `{}`, `"action":{"name":"edit","properties":{"soft":false}},"context":{"channel":"web"}`}: false,
		},
		// One of several, and roles among them.
		"any_role: [pupil, teacher.*], when: [{any_role: [teacher.*]}, {any_role: [pupil], resource: {owner: {user: user_id}}}]": {
			{"1", `{}`, edit}: true, {"2", `{"owner":"2"}`, edit}: true, {"2", `{"owner":"1"}`, edit}: false, {"3", `{"owner":"3"}`, edit}: false, {"4", `{"owner":"4"}`, edit}: false,
		},
		"any_role: [pupil, admin], org: {property: org}, everywhere: [admin], when: [{any_role: [admin]}, {any_role: [pupil], resource: {owner: {user: user_id}}}]": {
			{"3", `{"org":"7"}`, edit}: true, {"2", `{"org":"7","owner":"2"}`, edit}: true, {"2", `{"org":"8","owner":"2"}`, edit}: false, {"2", `{"org":"7"}`, edit}: false,
		},
		"admit: true, when: [{any_role: [teacher.math]}]": {{"1", `{}`, edit}: true, {"2", `{}`, edit}: false},
		"admit: true, when: [{any_role: [nobody]}]":       {{"1", `{}`, edit}: false},
	} {
		ask, err := ruledBy(t, rule)
		require.NoError(t, err, rule)
		for q, want := range questions {
			assert.Equal(t, want, ask(q[0], q[1], q[2]), "%s: %v", rule, q)
		}
	}
}

func TestWhenMistakes(t *testing.T) {
	t.Parallel()
	for rule, says := range map[string]string{
		"when: []":   "authzen.rules[0], edit essay: when: expected at least one condition",
		"when: [{}]": "when[0]: expected any_role, resource_id, resource, action or context",
		"when: [{resource: {a: 1}}, {action: {}}]": "when[1]: action: expected names of properties, with what they must be",
		"shadow: true, when: [{resource: {a: 1}}]": "when: expected no shadow with it",
		"when: [{any_role: []}]":                   "AnyRole",
		"when: [{resource: {a: {user: email}}}]":   "when[0]: resource: user: no subject is asked about by email: expected user_id, or a kind that authzen.subjects has",
	} {
		_, err := ruledBy(t, "any_role: [a], "+rule)
		assert.ErrorContains(t, err, says, rule)
	}
	for when, says := range map[string]string{
		"{resource: {a: 1}}":                             "line 5, authzen.rules[0].when: expected a list",
		"[{subject: {role: admin}}]":                     "line 5, authzen.rules[0].when[0]: unknown key subject: expected any_role, resource_id, resource, action or context",
		"[{resource: {owner: {is: user_id}}}]":           "line 5, authzen.rules[0].when[0].resource.owner: unknown key is: expected one_of, none_of or user",
		"[{resource: {owner: {Hunter2: user_id}}}]":      "line 5, authzen.rules[0].when[0].resource.owner: unknown key: expected one_of, none_of or user",
		"[{resource: {owner: {user: login}}}]":           "line 5, authzen.rules[0].when[0].resource.owner.user: expected one of user_id, account, email, third_account or third_user_id",
		"[{resource: {owner: {}}}]":                      "line 5, authzen.rules[0].when[0].resource.owner: expected a value, or one key: one_of, none_of or user",
		"[{resource: {a: {one_of: [1], none_of: [2]}}}]": "expected a value, or one key",
		"[{resource: {a: {one_of: 1}}}]":                 "line 5, authzen.rules[0].when[0].resource.a.one_of: expected a list of values, such as [draft, review]",
		"[{resource: {a: {none_of: []}}}]":               "expected a list of values",
		"[{resource: {a: {one_of: [1, x]}}}]":            "line 5, authzen.rules[0].when[0].resource.a.one_of[1]: expected values of one type: texts, whole numbers, or true and false",
		"[{resource: {a: {one_of: [[1]]}}}]":             "expected a text, a whole number, or true or false",
		"[{resource: {a: [x]}}]":                         "line 5, authzen.rules[0].when[0].resource.a: expected a text, a whole number, or true or false",
		"[{resource: {a: 1.5}}]":                         "expected a text, a whole number, or true or false",
		"[{resource: {a: 0x10}}]":                        "expected a text, a whole number, or true or false",
		"[{resource: {a: 007}}]":                         "expected a text, a whole number, or true or false",
		"[{resource: {a: 99999999999999999999}}]":        "expected a text, a whole number, or true or false",
		"[{resource: {a: 2026-11-30}}]":                  "expected a text, a whole number, or true or false",
		"[{resource: {a: ~}}]":                           "line 5, authzen.rules[0].when[0].resource.a: the value is missing",
		"[{resource: {a: 1, a: 2}}]":                     "the key a is there already",
		"[{action: soft}]":                               "line 5, authzen.rules[0].when[0].action: expected keys with values",
	} {
		_, err := settings.Parse([]byte(market + "authzen:\n  listen: ':1'\n  rules:\n    - {resource: r, action: a, admit: true, when: " + when + "}\n"))
		assert.ErrorContains(t, err, says, when)
		assert.NotContains(t, err.Error(), "Hunter2")
	}
	// An alias stands for what it names.
	ask, err := ruledBy(t, "admit: true, when: [{resource: {a: &v draft, b: *v, c: {one_of: [*v]}}}]")
	require.NoError(t, err)
	assert.True(t, ask("4", `{"a":"draft","b":"draft","c":"draft"}`, `"action":{"name":"edit"}`))
	assert.False(t, ask("4", `{"a":"draft","b":"","c":"draft"}`, `"action":{"name":"edit"}`))
}
