package authzen_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
)

type properties = map[string]authzen.Expected

// meets asks a rule with that condition, for user 1, who is alice.
func meets(t *testing.T, gate *rolegate.Gate, c authzen.Condition) func(subject, resource string) bool {
	t.Helper()
	cfg := config(gate)
	cfg.Rules = []authzen.Rule{{Resource: "essay", Action: "edit", Policy: gate.Policy(rolegate.Listed()), When: authzen.Meets(c)}}
	pdp := newPDP(t, cfg)
	return func(subject, resource string) bool {
		w := post(pdp, single, fmt.Sprintf(`{"subject":%s,"action":{"name":"edit","properties":{"soft":true}},"resource":{"type":"essay",%s},"context":{"channel":"web"}}`, subject, resource))
		require.Equal(t, 200, w.Code, w.Body)
		if w.Body.String() != yes {
			assert.Equal(t, no("condition_failed"), w.Body.String())
		}
		return w.Body.String() == yes
	}
}

// What is expected of a property, and what it is.
func TestCondition(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	alice := `{"type":"user","id":"1","properties":{"status":"draft","role":"admin"}}`
	status := func(e authzen.Expected) authzen.Condition {
		return authzen.Condition{Resource: properties{"status": e}}
	}
	one := func(values ...any) authzen.Condition { return status(authzen.Expected{OneOf: values}) }
	none := func(values ...any) authzen.Condition { return status(authzen.Expected{NoneOf: values}) }
	for name, c := range map[string]struct {
		condition authzen.Condition
		yes, no   string // values of the property, divided by |; - is none
	}{
		"a text":          {one("draft"), `"draft"|"\u0064raft"`, `-|"Draft"|" draft"|""|"drafts"|["draft"]|{"draft":1}|null|1|true`},
		"several texts":   {one("draft", "review"), `"draft"|"review"`, `-|"draft,review"|"final"`},
		"an empty text":   {one(""), `""`, `-|" "|"\u0000"|null|"aaaaaaaaaaaaaaaaaaaaaa"`},
		"Chinese":         {one("草稿"), `"草稿"|"\u8349\u7a3f"`, `"草"|"草稿 "`},
		"a number":        {one(3, int64(big)), `3|9007199254740993`, `-|"3"|3.0|30e-1|9007199254740992|-3|3000000000000000000000000|true`},
		"a boolean":       {one(true), `true`, `-|false|"true"|1|null`},
		"both booleans":   {one(true, false), `true|false`, `-|null|0`},
		"none of texts":   {none("archived", "gone"), `-|"draft"|""|"Archived"|"archived "`, `"archived"|"gone"|"\u0061rchived"|1|true|null|["archived"]|{}`},
		"none of numbers": {none(3), `-|4|-3`, `3|3.0|3e0|"3"|4.0|99999999999999999999999`},
		"not true":        {none(true), `-|false`, `true|"true"|1|null`},
		"the user":        {status(authzen.Expected{User: rolegate.KindUserID}), `"1"|1|"\u0031"`, `-|"2"|"01"|"+1"|1.0|"1 "|"alice"|""|0|-1|null|true|["1"]|"` + strings.Repeat("1", 30) + `"`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ask := meets(t, gate, c.condition)
			for want, values := range map[bool]string{true: c.yes, false: c.no} {
				for value := range strings.SplitSeq(values, "|") {
					resource := `"id":"e","properties":{"status":` + value + `}`
					if value == "-" {
						resource = `"id":"e","properties":{"Status":"draft"}`
						assert.Equal(t, want, ask(alice, `"id":"e"`), "no properties")
					}
					assert.Equal(t, want, ask(alice, resource), value)
				}
			}
		})
	}
}

// The owner is who was found by the name that the property has. Somebody else
// may have it as a name of another kind.
func TestConditionOfTheUser(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	owner := func(kind rolegate.Kind) func(subject, resource string) bool {
		ask := meets(t, gate, authzen.Condition{Resource: properties{"owner": {User: kind}}})
		return func(subject, owner string) bool { return ask(subject, `"id":"e","properties":{"owner":`+owner+`}`) }
	}
	byID, byAccount, byThird := owner(rolegate.KindUserID), owner(rolegate.KindAccount), owner(rolegate.KindThirdUserID)
	user, account, third := `{"type":"user","id":"1"}`, `{"type":"account","id":"alice"}`, `{"type":"third_user","id":"4711"}`

	assert.True(t, byID(user, `"1"`))
	assert.True(t, byID(account, `"1"`), "the number is known of everybody")
	assert.True(t, byID(third, `1`))
	assert.False(t, byID(account, `"alice"`))
	assert.False(t, byID(third, `"4711"`), "which may be somebody else's number")
	assert.True(t, byAccount(account, `"alice"`))
	assert.False(t, byAccount(user, `"alice"`), "an account that was not looked for may be shared")
	assert.False(t, byAccount(account, `"Alice"`))
	assert.False(t, byAccount(account, `"bob"`))
	assert.False(t, byAccount(third, `"4711"`))
	assert.True(t, byThird(third, `"4711"`))
	assert.False(t, byThird(third, `4711`), "only user ids are numbers")
	assert.False(t, byThird(account, `"alice"`))

	// Nobody owns nothing.
	shadow := config(gate)
	shadow.Rules = []authzen.Rule{{Resource: "essay", Action: "edit", Policy: gate.Policy(rolegate.AnyRole("x"), rolegate.Shadow()),
		When: authzen.Meets(authzen.Condition{Resource: properties{"owner": {User: rolegate.KindUserID}}})}}
	for _, owner := range []string{`""`, `0`, `"0"`, `null`} {
		w := post(newPDP(t, shadow), single, `{"subject":{"type":"user","id":"1"},"action":{"name":"edit"},"resource":{"type":"essay","id":"e","properties":{"owner":`+owner+`}}}`)
		assert.Equal(t, no("condition_failed"), w.Body.String(), owner)
	}
}

// Each part of a question by itself, and all of them together.
func TestConditionOfParts(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	alice := `{"type":"user","id":"1","properties":{"soft":"no","channel":"no"}}`
	text := func(s string) properties { return properties{"channel": {OneOf: []any{s}}} }
	soft := properties{"soft": {OneOf: []any{true}}}
	for name, c := range map[string]struct {
		condition authzen.Condition
		want      bool
	}{
		"action":                     {authzen.Condition{Action: soft}, true},
		"action, of the resource":    {authzen.Condition{Resource: soft}, false},
		"action, of the context":     {authzen.Condition{Context: soft}, false},
		"context":                    {authzen.Condition{Context: text("web")}, true},
		"context, otherwise":         {authzen.Condition{Context: text("app")}, false},
		"id":                         {authzen.Condition{ResourceID: &authzen.Expected{OneOf: []any{"1"}}}, true},
		"id, otherwise":              {authzen.Condition{ResourceID: &authzen.Expected{OneOf: []any{"e"}}}, false},
		"id, not":                    {authzen.Condition{ResourceID: &authzen.Expected{NoneOf: []any{"1"}}}, false},
		"one's own":                  {authzen.Condition{ResourceID: &authzen.Expected{User: rolegate.KindUserID}}, true},
		"all":                        {authzen.Condition{Action: soft, Context: text("web"), ResourceID: &authzen.Expected{User: rolegate.KindUserID}}, true},
		"all but one":                {authzen.Condition{Action: soft, Context: text("app"), ResourceID: &authzen.Expected{User: rolegate.KindUserID}}, false},
		"one of several of one part": {authzen.Condition{Context: properties{"channel": {OneOf: []any{"web"}}, "ip": {OneOf: []any{"::1"}}}}, false},
	} {
		assert.Equal(t, c.want, meets(t, gate, c.condition)(alice, `"id":"1"`), name)
	}
}

func TestConditionMistakes(t *testing.T) {
	t.Parallel()
	for says, c := range map[string]authzen.Condition{
		"it asks nothing":                                                         {},
		"it asks nothing: give Resource":                                          {Resource: properties{}},
		`Resource["a"]: expected one of OneOf, NoneOf and User`:                   {Resource: properties{"a": {}}},
		`Action["a"]: expected one of OneOf, NoneOf and User`:                     {Action: properties{"a": {OneOf: []any{1}, NoneOf: []any{2}}}},
		`Context["a"]: expected one of OneOf, NoneOf and User`:                    {Context: properties{"a": {OneOf: []any{1}, User: rolegate.KindUserID}}},
		`Resource["a"]: no value is expected`:                                     {Resource: properties{"a": {OneOf: []any{}}}},
		`Resource["a"]: values of several types`:                                  {Resource: properties{"a": {OneOf: []any{1, "1"}}}},
		`Resource["a"]: a float64 is expected: give a string, an int`:             {Resource: properties{"a": {OneOf: []any{1.5}}}},
		`ResourceID: Kind(17) is no kind of identity: expected rolegate.KindUser`: {ResourceID: &authzen.Expected{User: 17}},
		"Resource: the name of a property is empty":                               {Resource: properties{"": {OneOf: []any{1}}}},
	} {
		func() {
			defer func() { assert.Contains(t, fmt.Sprint(recover()), says) }()
			authzen.Meets(c)
		}()
	}
}

// However many items of a batch look at one large object, it is read once, and no
// text is that is longer than what is expected.
func TestConditionsOfABatchAreBounded(t *testing.T) { // not parallel: it looks at what is allocated
	gate := openGate(t)
	long := strings.Repeat("7", 300_000)
	cfg := config(gate)
	cfg.Rules = []authzen.Rule{{Resource: "essay", Action: "edit", Policy: gate.Policy(rolegate.Listed()), When: authzen.Meets(authzen.Condition{
		Resource: properties{"a": {NoneOf: []any{"x"}}, "owner": {User: rolegate.KindUserID}}, Action: properties{"a": {NoneOf: []any{"x"}}}, Context: properties{"a": {NoneOf: []any{"x"}}},
	})}}
	object := `{"a":"` + long + `","owner":"1"}`
	body := `{"subject":{"type":"user","id":"1"},"action":{"name":"edit","properties":` + object + `},"resource":{"type":"essay","id":"e","properties":` + object + `},"context":` + object + `,"evaluations":[` +
		strings.Repeat(`{},`, 499) + `{}]}`
	pdp := newPDP(t, cfg)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := post(pdp, batch, body)
	runtime.ReadMemStats(&after)
	assert.Equal(t, 500, strings.Count(answer.Body.String(), yes))
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40_000_000), "500 copies would be 450 MB")
}
