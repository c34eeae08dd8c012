package settings_test

import (
	"log/slog"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

const market = "marketplace: {url: http://127.0.0.1:1, app_id: a, token: {env: T}}\n"

// A key without a value would be as if it were not there: a rule with such an
// in_org would admit teachers of every organisation.
func TestAKeyWithoutAValueIsAMistake(t *testing.T) {
	t.Parallel()
	const before = market + `
identity: [{is: user_id, header: X-User-Id, trusted: loopback}]
forward_auth:
  listen: 127.0.0.1:0
  proxy: nginx
  trusted: loopback
  rules:
    - route: GET /orgs/{orgID}
      all_roles: [teacher]
`
	_, err := settings.Parse([]byte(before))
	require.NoError(t, err)
	for _, more := range []string{"in_org:", "in_org: ''", "in_org: ~", "no_role:", "no_role: null", "any_role: [admin, ~]", "either:", "max_age:", "shadow:"} {
		_, err := settings.Parse([]byte(before + "      " + more + "\n"))
		assert.ErrorContains(t, err, "the value is missing", more)
		assert.ErrorContains(t, err, "line 11, forward_auth.rules[0].", more)
	}
	_, err = settings.Parse([]byte(market + "admin:\n"))
	assert.ErrorContains(t, err, "admin: the value is missing")
}

// Errors of the parser show no value, which could be a secret, and no Go type.
func TestParserShowsNoValue(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"shadow_admit: hunter2":                 "expected true or false",
		"refresh: {max_shrink: hunter2}":        "expected a number",
		"cache: hunter2":                        "expected keys with values",
		"aliases: hunter2":                      "expected a list",
		"log: {level: hunter2}":                 "expected debug, info, warn or error",
		"control: *hunter2":                     "an alias (*) names no anchor",
		"cloud_command: {password: hunter2}":    "expected {env: NAME}",
		"cache: {redis: {database: hunter2}}":   "expected a whole number",
		"implies: {a: hunter2}":                 "expected a list",
		"forward_auth: {rules: [{in: hunter}]}": "unknown key in",
	} {
		_, err := settings.Parse([]byte(market + text + "\n"))
		require.ErrorContains(t, err, want, text)
		assert.ErrorContains(t, err, "line 2", text)
		assert.NotContains(t, err.Error(), "hunter", text)
		assert.NotContains(t, err.Error(), "settings.", text)
		assert.NotContains(t, err.Error(), "go-yaml", text)
	}
}

// What a rule could not heed is not accepted.
func TestRulesThatWouldHaveNoEffect(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{Source: rolegatetest.NewStatic(), Identify: rolegate.ByUserID(rolegate.UserIDHeader("X", rolegate.Loopback()...))})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })

	a := &settings.AuthZEN{Rules: []settings.AuthZENRule{{Resource: "r", Action: "a", Admit: true, Org: &settings.Org{ID: true}}}}
	_, _, err = a.Handler(gate, slog.New(slog.DiscardHandler))
	assert.ErrorContains(t, err, "expected admit: true alone")

	f := &settings.ForwardAuth{Proxy: 1, Trusted: rolegate.Loopback(), Rules: []settings.Rule{{Route: "GET /orgs/{$}", InOrg: "$", Checks: settings.Checks{AnyRole: []string{"t"}}}}}
	_, err = f.Handler(gate, nil, slog.New(slog.DiscardHandler))
	assert.ErrorContains(t, err, "in_org: expected the name of a wildcard")

	_, err = settings.Parse([]byte(market + "identity: [{is: user_id, header: X, trusted: loopback}]\nadmin: {listen: 127.0.0.1:0, console: {any_role: [a], shadow: true}}\n"))
	require.Error(t, err)
	assert.True(t, strings.HasPrefix(err.Error(), "admin.console.shadow: "), err)
}
