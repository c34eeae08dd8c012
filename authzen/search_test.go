package authzen_test

import (
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
)

// Which actions may this user do on that? It is what a page asks for its buttons.
func TestActionSearch(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"a teacher", `{"subject":{"type":"user","id":"1"},"resource":{"type":"record","id":"r"}}`, 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"a pupil", `{"subject":{"type":"user","id":"2"},"resource":{"type":"record","id":"r"}}`, 200, `{"results":[{"name":"read"}]}`},
		{"an action that is sent counts for nothing", `{"subject":{"type":"user","id":"2"},"action":{"name":"write"},"resource":{"type":"record","id":"r"}}`, 200, `{"results":[{"name":"read"}]}`},
		{"in the organisation", `{"subject":{"type":"user","id":"1"},"resource":{"type":"org","id":"7"}}`, 200, `{"results":[{"name":"read"}]}`},
		{"in another one", `{"subject":{"type":"user","id":"1"},"resource":{"type":"org","id":"8"}}`, 200, `{"results":[]}`},
		{"nobody", `{"subject":{"type":"user","id":"99"},"resource":{"type":"record","id":"r"}}`, 200, `{"results":[]}`},
		{"an unknown type of subject", `{"subject":{"type":"robot","id":"1"},"resource":{"type":"record","id":"r"}}`, 200, `{"results":[]}`},
		{"an unknown type of resource", `{"subject":{"type":"user","id":"1"},"resource":{"type":"moon","id":"r"}}`, 200, `{"results":[]}`},
		{"no subject", `{"resource":{"type":"record","id":"r"}}`, 400, "The subject is missing.\n"},
		{"no resource", `{"subject":{"type":"user","id":"1"}}`, 400, "The resource is missing.\n"},
		{"half a subject", `{"subject":{"type":"user"},"resource":{"type":"record","id":"r"}}`, 400, "The subject.id is missing.\n"},
		{"no object", `[]`, 400, "The body must be a JSON object.\n"},
		{"nothing", ``, 400, "The body is empty.\n"},
		{"something behind it", `{} {}`, 400, "There is something behind the JSON object.\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := post(pdp, "/access/v1/search/action", c.body, "X-Request-ID", "abc")
			assert.Equal(t, c.status, w.Code)
			assert.Equal(t, c.want, w.Body.String())
			assert.Equal(t, "abc", w.Header().Get("X-Request-Id"))
		})
	}
	assert.Equal(t, 401, post(pdp, "/access/v1/search/action", `{}`, "Authorization", "").Code)
}

// The owner may: what the list does not know is asked of the question.
func TestWhen(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	cfg := config(gate)
	var seen authzen.Question
	cfg.Rules = []authzen.Rule{
		{Resource: "essay", Action: "edit", Policy: gate.Policy(rolegate.AnyRole("pupil", "teacher")), When: func(q authzen.Question) bool {
			seen = q
			owner, ok := q.Resource.Property("owner")
			return ok && string(owner) == fmt.Sprintf("%q", fmt.Sprint(q.User.ID()))
		}},
		{Resource: "essay", Action: "panic", Policy: gate.Policy(rolegate.Listed()), When: func(authzen.Question) bool { panic("secret") }},
		{Resource: "essay", Action: "read", Policy: gate.Policy(rolegate.Listed()), When: func(authzen.Question) bool { return true }},
	}
	var book logBook
	cfg.Logger = slog.New(slog.NewJSONHandler(&book, nil))
	pdp := newPDP(t, cfg)
	ask := func(subject, action, owner string) string {
		return post(pdp, "/access/v1/evaluation", fmt.Sprintf(
			`{"subject":{"type":"user","id":%q,"properties":{"owner":"x"}},"action":{"name":%q,"properties":{"soft":true}},"resource":{"type":"essay","id":"e","properties":{"owner":%q}},"context":{"ip":"::1"}}`,
			subject, action, owner)).Body.String()
	}
	assert.Equal(t, `{"decision":true}`, ask("2", "edit", "2"))
	assert.EqualValues(t, 2, seen.User.ID())
	assert.Equal(t, "edit", seen.Action)
	assert.Equal(t, "essay", seen.Resource.Type)
	assert.Equal(t, "e", seen.Resource.ID)
	assert.JSONEq(t, `{"soft":true}`, string(seen.ActionProperties))
	assert.JSONEq(t, `{"ip":"::1"}`, string(seen.Context))
	assert.Equal(t, `{"decision":false,"context":{"reason":"condition_failed"}}`, ask("2", "edit", "1"), "somebody else's")
	assert.Equal(t, `{"decision":false,"context":{"reason":"condition_failed"}}`, ask("1", "panic", "1"))
	assert.Contains(t, book.String(), "a When panicked")
	assert.NotContains(t, book.String(), "secret")
	seen = authzen.Question{}
	assert.Equal(t, `{"decision":false,"context":{"reason":"not_authorized"}}`, ask("99", "edit", "99"))
	assert.Zero(t, seen.Action, "a question that the policy refuses is not asked")

	batch := post(pdp, "/access/v1/evaluations", `{"subject":{"type":"user","id":"2"},"resource":{"type":"essay","id":"e","properties":{"owner":"2"}},"action":{"name":"edit","properties":{"a":1}},"context":{"c":1},
		"evaluations":[{},{"action":{"name":"edit"},"context":{"c":2}},{"resource":{"type":"essay","id":"e"}}]}`)
	assert.Equal(t, `{"evaluations":[{"decision":true},{"decision":true},{"decision":false,"context":{"reason":"condition_failed"}}]}`, batch.Body.String())
	assert.Equal(t, `{"results":[{"name":"edit"},{"name":"read"}]}`, post(pdp, "/access/v1/search/action",
		`{"subject":{"type":"user","id":"2"},"resource":{"type":"essay","id":"e","properties":{"owner":"2"}}}`).Body.String())
}

// A batch asks for the organisation once for each resource, writes one line, and
// copies no property that is too long for an id.
func TestBatchIsBounded(t *testing.T) { // not parallel: it looks at what is allocated
	gate := openGate(t)
	cfg := config(gate)
	reads := 0
	teacher := gate.Policy(rolegate.AnyRole("teacher"))
	cfg.Rules = []authzen.Rule{
		{Resource: "report", Action: "write", Policy: teacher, Org: authzen.OrgFromProperty("org_id")},
		{Resource: "report", Action: "read", Policy: teacher, Org: func(r authzen.Resource) (int64, error) {
			reads++
			return authzen.OrgFromProperty("org_id")(r)
		}},
	}
	var book logBook
	cfg.Logger = slog.New(slog.NewJSONHandler(&book, nil))
	pdp := newPDP(t, cfg)
	items := strings.Repeat(`{},`, 499) + `{}`
	ask := func(action, org string) string {
		w := post(pdp, "/access/v1/evaluations", `{"subject":{"type":"user","id":"1"},"action":{"name":"`+action+`"},"resource":{"type":"report","id":"r","properties":{"org_id":"`+org+`"}},"evaluations":[`+items+`]}`)
		require.Equal(t, 200, w.Code)
		return w.Body.String()
	}
	assert.Equal(t, 500, strings.Count(ask("read", "7"), `{"decision":true}`))
	assert.Equal(t, 1, reads)
	assert.Empty(t, book.String())
	long := strings.Repeat("7", 900_000)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	answer := ask("write", long)
	runtime.ReadMemStats(&after)
	assert.Less(t, after.TotalAlloc-before.TotalAlloc, uint64(40_000_000), "500 copies would be 450 MB")
	assert.Equal(t, 500, strings.Count(answer, `"org_unreadable"`))
	assert.Equal(t, 1, strings.Count(book.String(), "\n"))
	assert.Contains(t, book.String(), "longer than any organisation's id")
	assert.NotContains(t, book.String(), "7777")
}
