package authzen_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/rolegatetest"
)

// certified is a decision point with the fixture of the certification scenario
// ("Required Fixture" there). That bob is an admin is on the list: what a request claims of a
// subject opens nothing.
func certified(t *testing.T) *authzen.PDP {
	t.Helper()
	gate := openGate(t, func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Sequence: 1, Account: "alice", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "editor"}}},
			rolegate.Record{UserID: 2, Sequence: 2, Account: "bob", Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
		)
	})
	active := authzen.Meets(authzen.Condition{Resource: properties{"status": {NoneOf: []any{"archived"}}}})
	archived := authzen.Meets(authzen.Condition{Resource: properties{"status": {OneOf: []any{"archived"}}}})
	cfg := config(gate)
	cfg.Subjects = map[string]rolegate.Kind{"user": rolegate.KindAccount}
	cfg.Rules = []authzen.Rule{
		{Resource: "record", Action: "read", Policy: gate.Policy(rolegate.Listed())},
		{Resource: "record", Action: "write", Policy: gate.Policy(rolegate.AnyRole("editor", "admin")), When: func(q authzen.Question) bool {
			return q.User.HasRole("editor") && active(q) || q.User.HasRole("admin") && archived(q)
		}},
		{Resource: "record", Action: "delete", Policy: gate.Policy(rolegate.AnyRole("editor")),
			When: authzen.Meets(authzen.Condition{Action: properties{"soft": {OneOf: []any{true}}}})},
	}
	return newPDP(t, cfg)
}

// What questions of the scenario are made of.
const (
	aliceOf   = `"subject":{"type":"user","id":"alice"}`
	bobOf     = `"subject":{"type":"user","id":"bob"}`
	adminOf   = `"subject":{"type":"user","id":"bob","properties":{"role":"admin"}}`
	reading   = `"action":{"name":"read"}`
	writing   = `"action":{"name":"write"}`
	record1   = `"resource":{"type":"record","id":"record-1"}`
	record2   = `"resource":{"type":"record","id":"record-2"}`
	active1   = `"resource":{"type":"record","id":"record-1","properties":{"status":"active"}}`
	archived2 = `"resource":{"type":"record","id":"record-2","properties":{"status":"archived"}}`
	someday   = `"context":{"time":"2025-06-27T18:03-07:00","ip":"192.168.1.1"}`
)

func obj(members ...string) string { return "{" + strings.Join(members, ",") + "}" }
func items(all ...string) string   { return `"evaluations":[` + strings.Join(all, ",") + "]" }

// decisions are those of an answer, in their order, as t and f: "t", or "[tf]".
func decisions(t *testing.T, body []byte) string {
	t.Helper()
	type one struct {
		Decision *bool
		Context  map[string]any
	}
	var got struct {
		one
		Evaluations []one
	}
	require.NoError(t, json.Unmarshal(body, &got))
	letter := func(o one) string {
		require.NotNil(t, o.Decision, "a decision is a boolean: %s", body)
		return map[bool]string{true: "t", false: "f"}[*o.Decision]
	}
	if got.Evaluations == nil {
		return letter(got.one)
	}
	assert.Nil(t, got.Decision, "not at the top of a batch")
	all := ""
	for _, o := range got.Evaluations {
		all += letter(o)
	}
	return "[" + all + "]"
}

// The requests of the levels Basic and Batch, each Core and Properties, and what
// the harness looks at. The names are the section titles of
// https://openid.github.io/authzen/authorization-api-1_0-certification-scenario.html
// (read in November 2026); its source is certification/authorization-api-1_0-scenario.md
// of github.com/openid/authzen.
func TestCertificationDecisions(t *testing.T) {
	t.Parallel()
	pdp := certified(t)
	for _, c := range []struct{ name, path, body, want string }{
		{"Basic Core: permit", single, obj(aliceOf, reading, record1), "t"},
		{"Basic Core: rule 2", single, obj(aliceOf, writing, record1), "t"},
		{"Basic Core: rule 3", single, obj(bobOf, reading, record1), "t"},
		{"Basic Core: deny", single, obj(bobOf, writing, record1), "f"},
		{"Basic Core: context", single, obj(aliceOf, reading, record1, someday), "t"},
		{"Basic Core: more properties", single, obj(`"subject":{"type":"user","id":"alice","properties":{"department":"Sales","role":"manager"}}`,
			`"action":{"name":"read","properties":{"method":"GET"}}`, `"resource":{"type":"record","id":"record-1","properties":{"status":"active","owner":"bob"}}`), "t"},
		{"Basic Core: unknown fields", single, obj(aliceOf, reading, record1, `"foo":"bar"`, `"futureField":{"nested":true}`), "t"},
		{"Basic Properties: archived", single, obj(aliceOf, writing, archived2), "f"},
		{"Basic Properties: archived, for an admin", single, obj(adminOf, writing, archived2), "t"},
		{"Basic Properties: soft delete", single, obj(aliceOf, `"action":{"name":"delete","properties":{"soft":true}}`, record1), "t"},
		{"Basic Properties: hard delete", single, obj(aliceOf, `"action":{"name":"delete","properties":{"soft":false}}`, record1), "f"},

		{"ours: who claims to be an admin is none", single, obj(`"subject":{"type":"user","id":"alice","properties":{"role":"admin"}}`, writing, archived2), "f"},
		{"ours: an admin is one unclaimed", single, obj(bobOf, writing, archived2), "t"},

		{"Batch Core: structure", batch, obj(aliceOf, reading, items(obj(record1), obj(record2))), "[tt]"},
		{"Batch Core: decisions in order", batch, obj(bobOf, record1, items(obj(reading), obj(writing))), "[tf]"},
		{"Batch Core: no defaults", batch, obj(items(obj(aliceOf, reading, record1), obj(bobOf, writing, record1))), "[tf]"},
		{"Batch Core: context is inherited", batch, obj(aliceOf, reading, someday, items(obj(record1), obj(record2, `"context":{"time":"2025-06-27T19:00-07:00","source":"batch-override"}`))), "[tt]"},
		{"Batch Core: an item that lacks its resource", batch, obj(aliceOf, reading, `"options":{"evaluations_semantic":"execute_all"}`, items(obj(record1), obj())), "[tf]"},
		{"Batch Core: no evaluations", batch, obj(aliceOf, reading, record1), "t"},
		{"Batch Core: empty evaluations", batch, obj(aliceOf, reading, record1, items()), "t"},
		{"Batch Properties: of each item", batch, obj(aliceOf, writing, items(obj(active1), obj(archived2))), "[tf]"},
		{"Batch Properties: of subjects", batch, obj(writing, archived2, items(obj(aliceOf), obj(adminOf))), "[ft]"},
		{"Batch Properties: defaults as a whole", batch, obj(aliceOf, writing, active1, items(obj(), obj(archived2))), "[tf]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for range 3 { // the same each time
				w := post(pdp, c.path, c.body, "X-Request-ID", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")
				require.Equal(t, 200, w.Code, w.Body)
				assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
				assert.Equal(t, "bfe9eb29-ab87-4ca3-be83-a1d5d8305716", w.Header().Get("X-Request-Id"))
				assert.Equal(t, c.want, decisions(t, w.Body.Bytes()))
			}
			assert.Equal(t, 200, post(pdp, c.path, c.body).Code, "without an X-Request-ID")
		})
	}
}

// What the scenario wants answered with 400.
func TestCertificationErrors(t *testing.T) {
	t.Parallel()
	pdp := certified(t)
	good := obj(aliceOf, reading, record1)
	for name, body := range map[string]string{
		"no subject": obj(reading, record1), "no action": obj(aliceOf, record1), "no resource": obj(aliceOf, reading),
		"no subject.type": obj(`"subject":{"id":"alice"}`, reading, record1), "no subject.id": obj(`"subject":{"type":"user"}`, reading, record1),
		"no action.name":   obj(aliceOf, `"action":{}`, record1),
		"no resource.type": obj(aliceOf, reading, `"resource":{"id":"record-1"}`), "no resource.id": obj(aliceOf, reading, `"resource":{"type":"record"}`),
		"malformed": `{"subject":`, "empty": "",
		"the subject is a string": obj(`"subject":"alice"`, reading, record1), "action.name is a number": obj(aliceOf, `"action":{"name":123}`, record1),
	} {
		for _, path := range []string{single, batch} {
			w := post(pdp, path, body, "X-Request-ID", "r-1")
			assert.Equal(t, 400, w.Code, name)
			assert.Equal(t, "r-1", w.Header().Get("X-Request-Id"), name)
		}
	}
	for _, contentType := range []string{"text/plain", "application/xml", "application/x-www-form-urlencoded", ""} {
		assert.Equal(t, 400, post(pdp, single, good, "Content-Type", contentType).Code, contentType)
	}
}

// Action Search of the level Search. The gate lists no users and knows no
// resources, so that the other two searches, and with them that level, are not
// to be had: the metadata does not name them, and they are 404.
func TestCertificationActionSearch(t *testing.T) {
	t.Parallel()
	pdp := certified(t)
	const path = "/access/v1/search/action"
	for _, c := range []struct {
		name, body string
		status     int
		want       string
	}{
		{"Core", obj(aliceOf, record1), 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"Core: context", obj(aliceOf, record1, someday), 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"Properties", obj(adminOf, archived2), 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"Pagination: a limit", obj(aliceOf, record1, `"page":{"limit":1}`), 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"Pagination: a token", obj(aliceOf, record1, `"page":{"token":"x"}`), 200, `{"results":[{"name":"read"},{"name":"write"}]}`},
		{"Empty: an unknown subject", obj(`"subject":{"type":"user","id":"nonexistent-user"}`, record1), 200, `{"results":[]}`},
		{"Empty: an unknown type of subject", obj(`"subject":{"type":"spaceship","id":"1"}`, record1), 200, `{"results":[]}`},
		{"Empty: an unknown type of resource", obj(aliceOf, `"resource":{"type":"spaceship","id":"1"}`), 200, `{"results":[]}`},
		{"Error: no resource", obj(aliceOf), 400, ""},
		{"Error: no subject.id", obj(`"subject":{"type":"user"}`, record1), 400, ""},
	} {
		w := post(pdp, path, c.body)
		require.Equal(t, c.status, w.Code, c.name)
		if c.status == 200 {
			assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
			assert.Equal(t, c.want, w.Body.String(), c.name)
		}
	}
	assert.Equal(t, 404, post(pdp, "/access/v1/search/subject", obj(reading, record1)).Code)
	assert.Equal(t, 404, post(pdp, "/access/v1/search/resource", obj(aliceOf, reading)).Code)
}

// The level Discovery: the harness compares the identifier with the URL that it
// began with, and follows the endpoints.
func TestCertificationDiscovery(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	for identifier, well := range map[string]string{
		"https://pdp.example.com":         "/.well-known/authzen-configuration",
		"https://pdp.example.com/":        "/.well-known/authzen-configuration",
		"https://pdp.example.com:8443":    "/.well-known/authzen-configuration",
		"https://pdp.example.com/tenant1": "/.well-known/authzen-configuration/tenant1",
	} {
		cfg := config(gate)
		cfg.URL = identifier
		pdp := newPDP(t, cfg)
		w := httptest.NewRecorder()
		pdp.ServeHTTP(w, httptest.NewRequest(http.MethodGet, well, nil))
		require.Equal(t, 200, w.Code, identifier)
		assert.Equal(t, "application/json", w.Header().Get("Content-Type"))
		var found map[string]string
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &found))
		assert.Equal(t, identifier, found["policy_decision_point"])
		for name, body := range map[string]string{
			"access_evaluation_endpoint":  q("user", "1", "read", "record"),
			"access_evaluations_endpoint": q("user", "1", "read", "record"),
			"search_action_endpoint":      q("user", "1", "read", "record"),
		} {
			u, err := url.Parse(found[name])
			require.NoError(t, err)
			assert.Equal(t, "https", u.Scheme, name)
			assert.Equal(t, 200, post(pdp, u.Path, body).Code, name)
		}
		assert.Len(t, found, 4, "no endpoint that is not there")
	}
}
