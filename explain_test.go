package rolegate_test

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The worlds of TestDecideAgainstANaiveOne: an explanation ends as the decision
// does, and what it says of each check is what a naive person finds.
func TestExplainAgainstDecide(t *testing.T) {
	t.Parallel()
	seed := rolesSeed(t)
	for n := range uint64(24) {
		t.Run(fmt.Sprintf("world=%d", n), func(t *testing.T) {
			t.Parallel()
			w := newRolesWorld(t, rand.New(rand.NewPCG(seed, n+1000)), n)
			for range 3 {
				w.change()
				w.morePolicies(8)
				before := w.gate.Status().Decisions
				decided := 0
				for range 300 {
					if decided += compareExplained(w); t.Failed() {
						t.Logf("to see it again: ROLEGATE_SEED=%d go test -run '%s'", seed, t.Name())
						return
					}
				}
				after := w.gate.Status().Decisions
				sum := 0
				for reason, n := range after {
					sum += int(n - before[reason])
				}
				assert.Equal(t, decided, sum, "an explanation is not counted")
			}
		})
	}
}

// compareExplained asks about one user, and returns how many decisions it made.
func compareExplained(w *rolesWorld) int {
	t, ctx := w.t, w.t.Context()
	p := w.policies[w.rnd.IntN(len(w.policies))]
	org := []int64{0, 0, -7, w.orgs[w.rnd.IntN(len(w.orgs))], 99}[w.rnd.IntN(5)]
	user := w.anyUser()
	id := rolegate.UserID(user)
	switch account := w.known[user].Account; w.rnd.IntN(10) {
	case 0:
		id = rolegate.Identity{}
	case 1:
		id = identityOf(rolegate.KindEmail, "nobody@example.com") // not indexed
	case 2, 3:
		if account != "" {
			id = identityOf(rolegate.KindAccount, account)
		}
	}
	d, e := p.Decide(ctx, id, org), p.Explain(ctx, id, org)
	if !assert.Equal(t, d.Reason, e.Decision.Reason, "%v for %v in %d", p.Policy, id, org) {
		return 1
	}
	assert.Equal(t, d.Allowed(), e.Decision.Allowed())
	assert.Equal(t, d.User.ID(), e.Decision.User.ID())
	assert.Equal(t, d.Org, e.Decision.Org)
	assert.Equal(t, p.String(), e.Policy)
	assert.Zero(t, e.Wait, "OnDeny is off")

	want := d.Reason
	switch d.Reason {
	case rolegate.ReasonNoIdentity, rolegate.ReasonIdentifyFailed, rolegate.ReasonAmbiguous, rolegate.ReasonNotAuthorized:
	default:
		want = rolegate.ReasonGranted
	}
	assert.Equal(t, want, e.Found)
	if e.Found != rolegate.ReasonGranted || d.Reason == rolegate.ReasonOrgUnreadable {
		assert.Empty(t, e.Orgs)
		assert.False(t, e.NeedsRequest)
		return 1
	}
	passes := slices.ContainsFunc(e.Orgs, rolegate.OrgExplanation.Passes)
	assert.Equal(t, d.Reason == rolegate.ReasonGranted, passes, "%v: %+v", p.Policy, e.Orgs)
	assert.True(t, slices.IsSortedFunc(e.Orgs, func(a, b rolegate.OrgExplanation) int { return cmp.Compare(a.Org, b.Org) }))

	grants := w.known[d.User.ID()].Grants
	in, everywhere := rolesOf(grants, w.implies)
	if org > 0 {
		everywhere = rolesIn(in, org)
	}
	yes := withWheres(p.rules)
	assert.Equal(t, !passes && rolesPass(yes, grants, w.implies, org, true), e.NeedsRequest)
	for _, o := range e.Orgs {
		if org > 0 {
			require.Equal(t, org, o.Org)
		}
		require.Len(t, o.Checks, len(p.rules))
		for i, rule := range p.rules {
			holds := rule.holds(rolesIn(in, o.Org), everywhere, false)
			needsRequest := !holds && yes[i].holds(rolesIn(in, o.Org), everywhere, true)
			at := slices.IndexFunc(o.Checks, func(c rolegate.CheckExplanation) bool { return c.Check == rule.name() })
			require.GreaterOrEqual(t, at, 0, "no %s in %+v", rule.name(), o.Checks)
			assert.Equal(t, holds, o.Checks[at].Holds, "%s in %d of %v", rule.name(), o.Org, grants)
			assert.Equal(t, needsRequest, o.Checks[at].NeedsRequest, "%s in %d of %v", rule.name(), o.Org, grants)
		}
	}
	return 1
}

// withWheres are the same rules, but every "where" holds.
func withWheres(rules []rolesRule) []rolesRule {
	out := slices.Clone(rules)
	for i := range out {
		out[i].says = true
		out[i].children = withWheres(out[i].children)
	}
	return out
}

// name is how the package names the rule.
func (r rolesRule) name() string {
	parts := r.codes
	switch r.op {
	case "where":
		parts = []string{fmt.Sprint(r.says)}
	case "either":
		for _, child := range r.children {
			parts = append(parts, child.name())
		}
	}
	op := map[string]string{"any": "AnyRole", "all": "AllRoles", "none": "NoRole", "where": "Where", "either": "Either"}[r.op]
	return op + "(" + strings.Join(parts, ", ") + ")"
}

// A step by step explanation of each kind of refusal.
func TestExplain(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		record(1, in(7, "teacher"), in(8, "homeroom"), in(8, "admin")),
		record(2), record(3, in(7, "pupil")), record(4, in(7, "pupil")),
		rolegate.Record{UserID: 5, Bad: errors.New("unreadable")},
		rolegate.Record{UserID: 6, Account: "twin"}, rolegate.Record{UserID: 7, Account: "twin"},
	)
	gate := openGate(t, rolegate.Config{
		Source: source, Aliases: []rolegate.Kind{rolegate.KindAccount},
		Implies: map[string][]string{"admin": {"teacher"}},
		OnDeny:  rolegate.OnDeny{Wait: 7 * time.Millisecond},
		Refresh: rolegate.Refresh{MaxAgeWait: 9 * time.Millisecond},
	})
	own := func(rolegate.User, *http.Request) bool { return true }
	byOrg := rolegate.InOrg(rolegate.PathOrg("orgID"))
	teacher := rolegate.AnyRole("teacher")
	for _, c := range []struct {
		name    string
		policy  *rolegate.Policy
		id      rolegate.Identity
		org     int64
		reason  rolegate.Reason
		found   rolegate.Reason // ReasonGranted if it is 0
		invalid bool
		asks    bool
		wait    time.Duration
		orgs    []rolegate.OrgExplanation
	}{
		{name: "granted", policy: gate.Policy(teacher), id: rolegate.UserID(1), reason: rolegate.ReasonGranted,
			orgs: []rolegate.OrgExplanation{
				{Org: 7, Roles: []string{"teacher"}, Checks: []rolegate.CheckExplanation{{Check: "AnyRole(teacher)", Holds: true, Roles: []string{"teacher"}}}},
				{Org: 8, Roles: []string{"admin", "homeroom"}, Checks: []rolegate.CheckExplanation{{Check: "AnyRole(teacher)", Holds: true, Roles: []string{"admin"}}}},
			}},
		{name: "in one organisation", policy: gate.Policy(rolegate.AllRoles("teacher", "homeroom"), byOrg), id: rolegate.UserID(1), org: 7,
			reason: rolegate.ReasonRoleMissing, wait: 7 * time.Millisecond,
			orgs: []rolegate.OrgExplanation{{Org: 7, Roles: []string{"teacher"}, Checks: []rolegate.CheckExplanation{
				{Check: "AllRoles(teacher, homeroom)", Roles: []string{"teacher"}}}}}},
		{name: "no organisation is named", policy: gate.Policy(teacher, byOrg), id: rolegate.UserID(1),
			reason: rolegate.ReasonOrgUnreadable},
		{name: "without any role", policy: gate.Policy(teacher), id: rolegate.UserID(2),
			reason: rolegate.ReasonRoleMissing, wait: 7 * time.Millisecond,
			orgs: []rolegate.OrgExplanation{{Checks: []rolegate.CheckExplanation{{Check: "AnyRole(teacher)"}}}}},
		{name: "NoRole looks everywhere", policy: gate.Policy(teacher, rolegate.NoRole("homeroom")), id: rolegate.UserID(1), org: 0,
			reason: rolegate.ReasonRoleMissing, wait: 7 * time.Millisecond,
			orgs: []rolegate.OrgExplanation{
				{Org: 7, Roles: []string{"teacher"}, Checks: []rolegate.CheckExplanation{
					{Check: "AnyRole(teacher)", Holds: true, Roles: []string{"teacher"}},
					{Check: "NoRole(homeroom)", Roles: []string{"homeroom"}}}},
				{Org: 8, Roles: []string{"admin", "homeroom"}, Checks: []rolegate.CheckExplanation{
					{Check: "AnyRole(teacher)", Holds: true, Roles: []string{"admin"}},
					{Check: "NoRole(homeroom)", Roles: []string{"homeroom"}}}},
			}},
		{name: "a Where", policy: gate.Policy(rolegate.Either(teacher, rolegate.Where("own", own))), id: rolegate.UserID(3),
			reason: rolegate.ReasonRoleMissing, asks: true, wait: 7 * time.Millisecond,
			orgs: []rolegate.OrgExplanation{{Org: 7, Roles: []string{"pupil"}, Checks: []rolegate.CheckExplanation{{
				Check: "Either(AnyRole(teacher), Where(own))", NeedsRequest: true, Either: []rolegate.CheckExplanation{
					{Check: "AnyRole(teacher)"}, {Check: "Where(own)", NeedsRequest: true}}}}}}},
		{name: "too old", policy: gate.Policy(rolegate.AnyRole("pupil"), rolegate.MaxAge(time.Nanosecond)), id: rolegate.UserID(3),
			reason: rolegate.ReasonTooOld, wait: 9 * time.Millisecond,
			orgs: []rolegate.OrgExplanation{{Org: 7, Roles: []string{"pupil"}, Checks: []rolegate.CheckExplanation{
				{Check: "AnyRole(pupil)", Holds: true, Roles: []string{"pupil"}}}}}},
		{name: "unlisted", policy: gate.Policy(teacher), id: rolegate.UserID(99), reason: rolegate.ReasonNotAuthorized, found: rolegate.ReasonNotAuthorized, wait: 7 * time.Millisecond},
		{name: "invalid", policy: gate.Policy(teacher), id: rolegate.UserID(5), reason: rolegate.ReasonNotAuthorized, found: rolegate.ReasonNotAuthorized, invalid: true, wait: 7 * time.Millisecond},
		{name: "ambiguous", policy: gate.Policy(teacher), id: identityOf(rolegate.KindAccount, "twin"), reason: rolegate.ReasonAmbiguous, found: rolegate.ReasonAmbiguous},
		{name: "not indexed", policy: gate.Policy(teacher), id: identityOf(rolegate.KindEmail, "a@b"), reason: rolegate.ReasonIdentifyFailed, found: rolegate.ReasonIdentifyFailed},
		{name: "nobody", policy: gate.Policy(teacher), id: rolegate.UserID(0), reason: rolegate.ReasonNoIdentity, found: rolegate.ReasonNoIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := c.policy.Explain(t.Context(), c.id, c.org)
			assert.Equal(t, c.reason, e.Decision.Reason)
			assert.Equal(t, cmp.Or(c.found, rolegate.ReasonGranted), e.Found)
			assert.Equal(t, c.invalid, e.InvalidRecord)
			assert.Equal(t, c.asks, e.NeedsRequest)
			assert.Equal(t, c.wait, e.Wait)
			assert.Equal(t, c.orgs, e.Orgs)
			assert.Equal(t, rolegate.StateReady, e.State)
			assert.Equal(t, 5*time.Minute, e.StaleAfter)
			assert.Equal(t, time.Hour, e.ExpireAfter)
		})
	}
}

func TestExplainAHeldUser(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
	gate := openGate(t, rolegate.Config{Source: source})
	source.Set()
	require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	e := gate.Explain(t.Context(), rolegate.UserID(1))
	assert.Equal(t, rolegate.ReasonGranted, e.Decision.Reason)
	assert.Equal(t, rolegate.ReasonGranted, e.Found)
	assert.True(t, e.Decision.Held)
	assert.Equal(t, []int64{1}, gate.HeldUsers(5))
	assert.Empty(t, gate.HeldUsers(0))
	require.NoError(t, acceptShrink(t.Context(), gate))
	assert.Equal(t, rolegate.ReasonNotAuthorized, gate.Explain(t.Context(), rolegate.UserID(1)).Found)
	assert.Empty(t, gate.HeldUsers(5))
}

func TestExplainWithoutAList(t *testing.T) {
	t.Parallel()
	var none *rolegate.Gate
	var nothing *rolegate.Policy
	assert.Equal(t, rolegate.Explanation{}, none.Explain(t.Context(), rolegate.UserID(1)))
	assert.Equal(t, rolegate.Explanation{}, nothing.Explain(t.Context(), rolegate.UserID(1), 0))
	assert.Equal(t, rolegate.StateStarting, none.Policy(rolegate.AnyRole("a")).Explain(t.Context(), rolegate.UserID(1), 0).State)
	assert.Zero(t, none.Overview())
	assert.Nil(t, none.HeldUsers(3))

	source := rolegatetest.NewStatic(record(1))
	release := source.Block()
	gate := openGate(t, rolegate.Config{Source: source, StartEmpty: true})
	e := gate.Explain(t.Context(), rolegate.UserID(1))
	assert.Equal(t, rolegate.StateStarting, e.State)
	assert.Equal(t, rolegate.ReasonNotReady, e.Decision.Reason)
	assert.Zero(t, gate.Overview())
	release()
	require.NoError(t, gate.RefreshAll(t.Context()))
	assert.Equal(t, rolegate.ReasonGranted, gate.Explain(t.Context(), rolegate.UserID(1)).Decision.Reason)
	require.NoError(t, gate.Close())
	e = gate.Explain(t.Context(), rolegate.UserID(1))
	assert.Equal(t, rolegate.StateClosed, e.State)
	assert.Equal(t, rolegate.ReasonClosed, e.Decision.Reason)
	assert.Equal(t, e.Decision.Reason, e.Found)
}

// An expired and a stale list, by a clock that is set.
func TestExplainAnOldList(t *testing.T) {
	t.Parallel()
	mono, wall := rolegate.ReadClock()
	var later atomic.Int64
	gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: rolegatetest.NewStatic(record(1))}, func() (int64, int64) {
		return mono + later.Load(), wall + later.Load()
	}))
	// Nothing pulls meanwhile: the next refresh is due in a minute of the test's.
	for _, c := range []struct {
		later  time.Duration
		state  rolegate.State
		reason rolegate.Reason
	}{
		{time.Minute, rolegate.StateReady, rolegate.ReasonGranted},
		{6 * time.Minute, rolegate.StateStale, rolegate.ReasonGranted},
		{61 * time.Minute, rolegate.StateExpired, rolegate.ReasonExpired},
	} {
		later.Store(int64(c.later))
		e := gate.Explain(t.Context(), rolegate.UserID(1))
		assert.Equal(t, c.state, e.State)
		assert.Equal(t, c.reason, e.Decision.Reason)
		assert.Equal(t, gate.Status().State, e.State)
		assert.Equal(t, gate.Decide(t.Context(), rolegate.UserID(1)).Reason, e.Decision.Reason)
		assert.Equal(t, c.later, e.VerifiedAge)
	}
}

func TestOrgOf(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	request := func(org string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.SetPathValue("orgID", org)
		return r
	}
	inOrg := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	panics := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(func(*http.Request) (int64, error) { panic("no") }))
	for _, c := range []struct {
		name   string
		policy *rolegate.Policy
		path   string
		org    int64
		err    string
	}{
		{"its organisation", inOrg, "7", 7, ""},
		{"none that counts", inOrg, "007", 0, "orgID"},
		{"none at all", inOrg, "", 0, "orgID"},
		{"a func that panics", panics, "7", 0, "panicked"},
		{"a policy without InOrg", gate.Policy(rolegate.AnyRole("teacher")), "7", 0, ""},
		{"no policy", nil, "7", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			org, err := c.policy.OrgOf(request(c.path))
			assert.Equal(t, c.org, org)
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.err)
			}
		})
	}
}

func TestExplainListed(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	e := gate.Policy(rolegate.Listed()).Explain(t.Context(), rolegate.UserID(4), 0)
	assert.Equal(t, rolegate.ReasonGranted, e.Decision.Reason)
	require.Len(t, e.Orgs, 1)
	assert.Equal(t, []rolegate.CheckExplanation{{Check: "Listed", Holds: true}}, e.Orgs[0].Checks)
	assert.Empty(t, gate.Status().UnassignedRoles)
}

func TestFindUsers(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 5, Account: "twin", ThirdUserID: "t-5", Email: "5@example.com"},
			rolegate.Record{UserID: 4, Account: "li", ThirdUserID: "t-4", Email: "4@example.com"},
			rolegate.Record{UserID: 6, Account: "twin", ThirdUserID: "t-5", Grants: []rolegate.Grant{in(7, "teacher")}},
			rolegate.Record{UserID: 7, Account: "twin", Bad: assert.AnError},
			rolegate.Record{UserID: 8, ThirdUserID: "-1"},
		),
		Aliases: []rolegate.Kind{rolegate.KindAccount}, Keep: rolegate.Keep{ThirdUserID: true},
	})
	for _, c := range []struct {
		name string
		id   rolegate.Identity
		most int
		want []int64
		ok   bool
	}{
		{"a user id", rolegate.UserID(4), 9, []int64{4}, true},
		{"an unlisted id", rolegate.UserID(9), 9, nil, true},
		{"an id whose record is invalid", rolegate.UserID(7), 9, nil, true},
		{"an account", identityOf(rolegate.KindAccount, "li"), 9, []int64{4}, true},
		{"an account of two", identityOf(rolegate.KindAccount, "twin"), 9, []int64{5, 6}, true},
		{"an account of two, at most one", identityOf(rolegate.KindAccount, "twin"), 1, []int64{5}, true},
		{"an account in another case", identityOf(rolegate.KindAccount, "LI"), 9, nil, true},
		{"a third id that is kept alone", identityOf(rolegate.KindThirdUserID, "t-5"), 9, []int64{5, 6}, true},
		{"at most one of these", identityOf(rolegate.KindThirdUserID, "t-5"), 1, []int64{5}, true},
		{"how platforms write null", identityOf(rolegate.KindThirdUserID, "-1"), 9, nil, true},
		{"a kind that is not there", identityOf(rolegate.KindEmail, "4@example.com"), 9, nil, false},
		{"nothing", identityOf(rolegate.KindAccount, ""), 9, nil, true},
		{"user 0", rolegate.UserID(0), 9, nil, true},
		{"nobody", rolegate.Identity{}, 9, nil, false},
		{"none of them", rolegate.UserID(4), 0, nil, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			users, ok := gate.FindUsers(c.id, c.most)
			assert.Equal(t, c.ok, ok)
			var ids []int64
			for _, u := range users {
				ids = append(ids, u.ID())
			}
			assert.Equal(t, c.want, ids)
		})
	}
	var none *rolegate.Gate
	users, ok := none.FindUsers(rolegate.UserID(4), 9)
	assert.Empty(t, users)
	assert.False(t, ok)
}

// Of several refusals no more are returned than were asked for, the newest ones.
func TestTheNewestRefusals(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(), OnDeny: rolegate.OnDeny{Off: true}})
	for id := int64(1); id <= 3; id++ {
		ask(gate.Admit(never(t)), "GET", "/", id)
	}
	for n := 1; n <= 3; n++ {
		got := gate.Refusals(n)
		require.Len(t, got, n)
		assert.EqualValues(t, 3, got[0].UserID)
		assert.EqualValues(t, 4-n, got[n-1].UserID)
	}
	assert.Len(t, gate.Refusals(10), 3, "each once")
}

// A refusal is found by the id that its client was told.
func TestRefusals(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2)), OnDeny: rolegate.OnDeny{Off: true}})
	assert.Empty(t, gate.Refusals(10))
	mux := http.NewServeMux()
	mux.Handle("GET /grades", gate.Require(rolegate.AnyRole("teacher"))(ok(gate)))
	refused := func(user int64) string {
		w := ask(mux, "GET", "/grades", user)
		var answer struct{ Decision string }
		require.NoError(t, json.Unmarshal(w.Body.Bytes(), &answer))
		return answer.Decision
	}
	assert.Equal(t, http.StatusOK, ask(mux, "GET", "/grades", 1).Code)
	first, second := refused(2), refused(99)
	gate.Decide(t.Context(), rolegate.UserID(98))
	got := gate.Refusals(10)
	require.Len(t, got, 2, "neither a grant nor a decision without a request")
	require.Len(t, gate.Refusals(5000), 2, "each once")
	for i, want := range []rolegate.DecisionEvent{
		{DecisionID: second, Reason: rolegate.ReasonNotAuthorized, UserID: 99, Identity: rolegate.KindUserID, Method: "GET", Route: "GET /grades", Guard: "AnyRole(teacher)"},
		{DecisionID: first, Reason: rolegate.ReasonRoleMissing, UserID: 2, Identity: rolegate.KindUserID, Method: "GET", Route: "GET /grades", Guard: "AnyRole(teacher)"},
	} {
		assert.False(t, got[i].Time.IsZero())
		got[i].Time = time.Time{}
		assert.Equal(t, want, got[i])
	}
	reporting := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), SampleGrants: 1, OnDecision: func(rolegate.DecisionEvent) {}})
	assert.Equal(t, http.StatusOK, ask(reporting.Admit(ok(reporting)), "GET", "/", 1).Code)
	assert.Empty(t, reporting.Refusals(10), "a grant that is reported is no refusal")
	assert.Len(t, gate.Refusals(1), 1)
	assert.Empty(t, gate.Refusals(0))
	assert.Empty(t, gate.Refusals(-1))
	var many sync.WaitGroup
	for range 8 {
		many.Go(func() {
			for range 200 {
				ask(mux, "GET", "/grades", 99)
				gate.Refusals(5)
			}
		})
	}
	many.Wait()
	last := refused(2)
	got = gate.Refusals(5000)
	assert.Len(t, got, 1024, "no more are remembered")
	assert.Equal(t, last, got[0].DecisionID)
	var none *rolegate.Gate
	assert.Empty(t, none.Refusals(10))
	assert.Empty(t, new(rolegate.Gate).Refusals(10))
}
