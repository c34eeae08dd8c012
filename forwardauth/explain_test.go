package forwardauth_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

func TestExplain(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	h := newHandler(t, gate, forwardauth.Nginx, nil)
	h.Admit("GET /{$}")
	h.Handle("GET school.example.com/grades/{id}", rolegate.AnyRole("teacher"))
	h.Handle("POST /orgs/{orgID}/reports", rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))
	for _, c := range []struct {
		name              string
		method, host, uri string
		user              int64
		pattern           string
		reason            rolegate.Reason
		org               int64
		wrong             string // in Denied or OrgErr
	}{
		{"listed is enough", "GET", "localhost", "/", 3, "GET /{$}", rolegate.ReasonGranted, 0, ""},
		{"not listed", "GET", "localhost", "/", 99, "GET /{$}", rolegate.ReasonNotAuthorized, 0, ""},
		{"nobody", "GET", "localhost", "/", 0, "GET /{$}", rolegate.ReasonNoIdentity, 0, ""},
		{"a role", "GET", "school.example.com", "/grades/5?x=1", 1, "GET school.example.com/grades/{id}", rolegate.ReasonGranted, 0, ""},
		{"HEAD by the rule for GET", "HEAD", "school.example.com", "/grades/5", 2, "GET school.example.com/grades/{id}", rolegate.ReasonRoleMissing, 0, ""},
		{"the organisation of the path", "POST", "localhost", "/orgs/7/reports", 1, "POST /orgs/{orgID}/reports", rolegate.ReasonGranted, 7, ""},
		{"another organisation", "POST", "localhost", "/orgs/8/reports", 1, "POST /orgs/{orgID}/reports", rolegate.ReasonRoleMissing, 8, ""},
		{"no organisation", "POST", "localhost", "/orgs/x/reports", 1, "POST /orgs/{orgID}/reports", rolegate.ReasonOrgUnreadable, 0, "orgID"},
		{"another host", "GET", "localhost", "/grades/5", 1, "", rolegate.ReasonNotReady, 0, "no pattern matches"},
		{"another method", "DELETE", "localhost", "/", 1, "", rolegate.ReasonNotReady, 0, "no pattern matches"},
		{"a redirect", "GET", "localhost", "//", 1, "", rolegate.ReasonNotReady, 0, "empty segment"},
		{"dots", "GET", "localhost", "/x/..", 1, "", rolegate.ReasonNotReady, 0, "dots"},
		{"a host in capitals", "GET", "School.example.com", "/", 1, "", rolegate.ReasonNotReady, 0, "host"},
		{"no path", "GET", "localhost", "grades", 1, "", rolegate.ReasonNotReady, 0, "not a path"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			e := h.Explain(t.Context(), c.method, c.host, c.uri, rolegate.UserID(c.user))
			assert.Equal(t, c.pattern, e.Pattern)
			assert.Equal(t, c.reason, e.Decision.Decision.Reason)
			assert.Equal(t, c.org, e.Org)
			switch {
			case c.wrong == "":
				require.NoError(t, e.Denied)
				assert.NoError(t, e.OrgErr)
			case c.pattern == "":
				assert.ErrorContains(t, e.Denied, c.wrong)
			default:
				assert.ErrorContains(t, e.OrgErr, c.wrong)
			}
		})
	}
	t.Cleanup(func() {
		for reason, n := range gate.Status().Decisions {
			assert.Zero(t, n, "%v is counted, though nobody asked to enter", reason)
		}
	})
}

func TestExplainOfNoHandler(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*forwardauth.Handler{"nil": nil, "zero": {}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Error(t, h.Explain(t.Context(), "GET", "localhost", "/", rolegate.UserID(1)).Denied)
			assert.Empty(t, h.Rules())
		})
	}
}

func TestRules(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	h.Admit("GET /{$}")
	h.Handle("GET /grades", rolegate.AnyRole("teacher"), rolegate.Shadow())
	assert.Panics(t, func() { h.Handle("GET /grades", rolegate.AnyRole("admin")) })
	rules := h.Rules()
	require.Len(t, rules, 2)
	assert.Equal(t, "GET /{$}", rules[0].Pattern)
	assert.Equal(t, "Listed", rules[0].Policy.String())
	assert.Equal(t, "GET /grades", rules[1].Pattern)
	assert.Equal(t, "AnyRole(teacher)", rules[1].Policy.String())
	rules[0].Pattern = "another"
	assert.Equal(t, "GET /{$}", h.Rules()[0].Pattern, "the rules are the caller's own copy")
}
