package authzen_test

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Who is meant, and what is not known.
func TestSubjectsAndRules(t *testing.T) {
	t.Parallel()
	pdp := newPDP(t, config(openGate(t)))
	for _, test := range []struct{ name, body, answer string }{
		{"user id", q("user", "1", "write", "record"), yes},
		{"account", q("account", "alice", "write", "record"), yes},
		{"e-mail", q("email", "alice@example.com", "write", "record"), yes},
		{"third account", q("third_account", "a-1", "write", "record"), yes},
		{"third user id", q("third_user", "4711", "write", "record"), yes},
		{"an id of another kind", q("account", "1", "write", "record"), no("not_authorized")},
		{"another case", q("account", "Alice", "write", "record"), no("not_authorized")},
		{"not listed", q("user", "99", "write", "record"), no("not_authorized")},
		{"shared alias", q("account", "twin", "write", "record"), no("ambiguous")},
		{"user id with a zero before it", q("user", "01", "write", "record"), no("no_identity")},
		{"user id with a sign", q("user", "+1", "write", "record"), no("no_identity")},
		{"user id with blanks", q("user", " 1", "write", "record"), no("no_identity")},
		{"user id zero", q("user", "0", "write", "record"), no("no_identity")},
		{"user id beyond 63 bits", q("user", "9223372036854775808", "write", "record"), no("no_identity")},
		{"user id is text", q("user", "alice", "write", "record"), no("no_identity")},
		{"empty id", q("account", "", "write", "record"), no("no_identity")},
		{"unknown subject type", q("group", "1", "write", "record"), no("unknown_subject_type")},
		{"subject type in another case", q("User", "1", "write", "record"), no("unknown_subject_type")},
		{"empty subject type", q("", "1", "write", "record"), no("unknown_subject_type")},
		{"unknown resource type", q("user", "1", "write", "secret"), no("unknown_resource_type")},
		{"unknown action", q("user", "1", "delete", "record"), no("unknown_action")},
		{"empty action", q("user", "1", "", "record"), no("unknown_action")},
		{"an action of another resource", q("user", "1", "write", "org"), no("unknown_action")},
		{"a Where denies", q("user", "1", "read", "mine"), no("condition_failed")},
		{"a Shadow lets pass, and says nothing", q("user", "1", "read", "shadow"), yes},
		{"a Shadow opens nothing to the unlisted", q("user", "99", "read", "shadow"), no("not_authorized")},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			w := post(pdp, single, test.body)
			require.Equal(t, 200, w.Code)
			assert.Equal(t, test.answer, w.Body.String())
		})
	}
}

// The organisation is read exactly, or not at all.
func TestOrganisation(t *testing.T) {
	t.Parallel()
	var log logBook
	gate := openGate(t)
	cfg := config(gate)
	cfg.Logger = slog.New(slog.NewTextHandler(&log, nil))
	pdp := newPDP(t, cfg)
	report := func(user, properties string) string {
		return fmt.Sprintf(`{"subject":{"type":"user","id":%q},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":%s}}`, user, properties)
	}
	for _, test := range []struct{ name, body, answer string }{
		{"string", report("1", `{"org_id":"7"}`), yes},
		{"number", report("1", `{"org_id":7}`), yes},
		{"escaped", report("1", `{"org\u005fid":"\u0037"}`), yes},
		{"number above 2^53", report("1", `{"org_id":9007199254740993}`), yes},
		{"string above 2^53", report("1", `{"org_id":"9007199254740993"}`), yes},
		{"what a float64 makes of it", report("1", `{"org_id":9007199254740992}`), no("role_missing")},
		{"one above", report("1", `{"org_id":9007199254740994}`), no("role_missing")},
		{"another organisation", report("1", `{"org_id":"8"}`), no("role_missing")},
		{"role in none", report("2", `{"org_id":"7"}`), no("role_missing")},
		{"unlisted, unreadable", report("99", `{}`), no("not_authorized")},
		{"missing", report("1", `{}`), no("org_unreadable")},
		{"in another case", report("1", `{"Org_id":"7"}`), no("org_unreadable")},
		{"fraction", report("1", `{"org_id":7.0}`), no("org_unreadable")},
		{"exponent", report("1", `{"org_id":7e0}`), no("org_unreadable")},
		{"negative", report("1", `{"org_id":-7}`), no("org_unreadable")},
		{"zero", report("1", `{"org_id":0}`), no("org_unreadable")},
		{"beyond 63 bits", report("1", `{"org_id":9223372036854775808}`), no("org_unreadable")},
		{"null", report("1", `{"org_id":null}`), no("org_unreadable")},
		{"boolean", report("1", `{"org_id":true}`), no("org_unreadable")},
		{"array", report("1", `{"org_id":["7"]}`), no("org_unreadable")},
		{"blank before it", report("1", `{"org_id":" 7"}`), no("org_unreadable")},
		{"zero before it", report("1", `{"org_id":"07"}`), no("org_unreadable")},
		{"empty", report("1", `{"org_id":""}`), no("org_unreadable")},
		{"the resource's id", `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"resource":{"type":"org","id":"7"}}`, yes},
		{"the resource's id, another", `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"resource":{"type":"org","id":"8"}}`, no("role_missing")},
		{"the resource's id, no number", `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"resource":{"type":"org","id":"7a"}}`, no("org_unreadable")},
		{"the func panics", q("user", "1", "read", "broken"), no("org_unreadable")},
		{"the func returns 0", q("user", "1", "read", "nowhere"), no("org_unreadable")},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := post(pdp, single, test.body)
			require.Equal(t, 200, w.Code)
			assert.Equal(t, test.answer, w.Body.String())
		})
	}
	assert.Contains(t, log.String(), "panicked with a string")
	assert.NotContains(t, log.String(), "secret", "nobody knows what is in a panic's value")
}

// That the gate cannot tell is a decision too.
func TestGateThatCannotTell(t *testing.T) {
	t.Parallel()
	source := listed()
	release := source.Block()
	t.Cleanup(release)
	starting := openGate(t, func(c *rolegate.Config) { c.Source, c.StartEmpty = source, true })
	closed := openGate(t)
	closedPDP := newPDP(t, config(closed))
	require.NoError(t, closed.Close())

	for name, test := range map[string]struct {
		pdp    *authzen.PDP
		reason string
	}{"not ready": {newPDP(t, config(starting)), "not_ready"}, "closed": {closedPDP, "closed"}} {
		t.Run(name, func(t *testing.T) {
			w := post(test.pdp, single, q("user", "1", "read", "record"))
			require.Equal(t, 200, w.Code)
			assert.Equal(t, no(test.reason), w.Body.String())
		})
	}
}

// What is answered is counted as the guards' decisions are.
func TestDecisionsAreCounted(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	pdp := newPDP(t, config(gate))
	post(pdp, batch, `{"evaluations":[`+q("user", "1", "read", "record")+`,`+q("user", "2", "write", "record")+`,`+q("user", "x", "write", "record")+`]}`)
	assert.Equal(t, map[rolegate.Reason]uint64{rolegate.ReasonGranted: 1, rolegate.ReasonRoleMissing: 1, rolegate.ReasonNoIdentity: 1}, gate.Status().Decisions)
}

// A caller who has gone makes no work.
func TestCallerHasGone(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	pdp := newPDP(t, config(gate))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := httptest.NewRequestWithContext(ctx, http.MethodPost, batch, strings.NewReader(`{"evaluations":[`+q("user", "1", "read", "record")+`]}`))
	r.Header.Set("Authorization", "Bearer pep")
	r.Header.Set("Content-Type", "application/json")
	w := httptest.NewRecorder()
	pdp.ServeHTTP(w, r)
	assert.Empty(t, w.Body.String())
	assert.Empty(t, gate.Status().Decisions)
}

// Many callers at once, while the list changes.
func TestConcurrency(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(rolegate.Record{UserID: 1, Sequence: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
	gate := openGate(t, func(c *rolegate.Config) { c.Source = source })
	pdp := newPDP(t, config(gate))
	var running sync.WaitGroup
	for range 8 {
		running.Go(func() {
			for range 50 {
				w := post(pdp, batch, `{"evaluations":[`+q("user", "1", "read", "record")+`,`+q("user", "2", "read", "record")+`]}`)
				if !assert.Equal(t, 200, w.Code) || !assert.Equal(t, 2, strings.Count(w.Body.String(), "decision")) {
					return
				}
			}
		})
	}
	for i := range int64(20) {
		source.Put(rolegate.Record{UserID: 2, Sequence: 2 + i, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "pupil"}}})
		require.NoError(t, gate.Refresh(t.Context()))
	}
	running.Wait()
}

// A subject's id that is too long for any is nobody's, and names that are longer than
// all known ones are unknown, without being looked for.
func TestLongNames(t *testing.T) {
	t.Parallel()
	longest := strings.Repeat("a", 4096)
	gate := openGate(t, func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(rolegate.Record{UserID: 1, Sequence: 1, Account: longest})
	})
	cfg := config(gate)
	cfg.Rules = []authzen.Rule{{Resource: "record", Action: "read", Policy: gate.Policy(rolegate.Listed())}}
	pdp := newPDP(t, cfg)
	for _, c := range []struct{ name, question, want string }{
		{"the longest id", q("account", longest, "read", "record"), yes},
		{"a longer one", q("account", longest+"a", "read", "record"), no("no_identity")},
		{"a type of subject", q("account"+longest, "1", "read", "record"), no("unknown_subject_type")},
		{"an action", q("user", "1", "read"+longest, "record"), no("unknown_action")},
		{"a type of resource", q("user", "1", "read", "record"+longest), no("unknown_resource_type")},
		{"all of them", q(longest, longest+longest, longest, longest), no("unknown_subject_type")},
	} {
		assert.Equal(t, c.want, post(pdp, single, c.question).Body.String(), c.name)
	}
}

// What an app's own func sees of a resource.
func TestResource(t *testing.T) {
	t.Parallel()
	gate := openGate(t)
	cfg := config(gate)
	cfg.Rules = []authzen.Rule{{Resource: "x", Action: "read", Policy: gate.Policy(rolegate.AnyRole("teacher")), Org: func(r authzen.Resource) (int64, error) {
		assert.Equal(t, "x", r.Type)
		assert.Equal(t, "9", r.ID)
		json, ok := r.Property("a")
		assert.True(t, ok)
		assert.Equal(t, `{"b": 9007199254740993}`, string(json))
		clear(json)
		again, _ := r.Property("a")
		assert.Equal(t, `{"b": 9007199254740993}`, string(again), "it is the caller's own")
		_, ok = r.Property("b")
		assert.False(t, ok)
		return 7, nil
	}}}
	w := post(newPDP(t, cfg), single, `{"subject":{"type":"user","id":"1"},"action":{"name":"read"},"resource":{"type":"x","id":"9","properties":{"a":{"b": 9007199254740993}}}}`)
	assert.Equal(t, yes, w.Body.String())
	_, ok := authzen.Resource{}.Property("a")
	assert.False(t, ok)
}

func BenchmarkEvaluation(b *testing.B) {
	pdp := newPDP(b, config(openGate(b)))
	items := func(n int, resource string) string {
		return `{"subject":{"type":"user","id":"1"},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":{"org_id":"7"` + resource + `}},"evaluations":[` +
			strings.TrimSuffix(strings.Repeat("{},", n), ",") + `]}`
	}
	for _, bench := range []struct{ name, path, body string }{
		{"single", single, q("user", "1", "read", "record")},
		{"items=100", batch, items(100, "")},
		{"items=1000/resource=1MB", batch, items(1000, strings.Repeat(`,"x":1`, 1)+`,"y":["`+strings.Repeat("x", 1_000_000)+`"]`)},
		{"hostile=brackets", single, strings.Repeat(`[`, 1<<20)},
		{"hostile=names", single, `{` + manyNames(60_000) + `}`},
	} {
		b.Run(bench.name, func(b *testing.B) {
			b.SetBytes(int64(len(bench.body)))
			b.ReportAllocs()
			for b.Loop() {
				post(pdp, bench.path, bench.body)
			}
		})
	}
}

func manyNames(n int) string {
	var s strings.Builder
	for i := range n {
		fmt.Fprintf(&s, `"a%d":1,`, i)
	}
	return strings.TrimSuffix(s.String(), ",")
}
