package main

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// What the marketplace calls a role neither moves the cursor nor makes a line of
// its own that could be read as an answer.
func TestNothingOfOthersMovesTheCursor(t *testing.T) {
	t.Parallel()
	const role = "x\x1b[2J\u009b1A\u202e\nyes: granted (200)"
	b := &strings.Builder{}
	require.NoError(t, explain(b, lang.English, control.Question{Kind: "user_id", User: "7"}, &control.Answer{
		Reason: "role_missing", Status: 403, UserID: 7, Found: "granted", State: "ready", Policy: "any of " + role, OrgErr: role,
		Orgs: []control.Org{{Org: 7, Roles: []string{role}, Checks: []control.Check{{Check: "any of " + role, Outcome: "holds", Roles: []string{role}}}}},
	}))
	shown := (&status{
		State: "ready", Full: pull{Consecutive: 1, Error: role}, UnassignedRoles: []rolegate.UnassignedRole{{Code: role, Nearest: role}},
		Decisions: map[string]uint64{role: 1},
	}).text(lang.English)
	for name, text := range map[string]string{"why": b.String(), "status": shown, "an error": printable(role)} {
		assert.Empty(t, strings.Trim(strings.Map(func(r rune) rune {
			if r == '\x1b' || r == '\u009b' || r == '\u202e' {
				return r
			}
			return -1
		}, text), ""), name)
	}
	for _, text := range []string{b.String(), shown} {
		assert.NotContains(t, text, "\nyes: granted")
		assert.Contains(t, text, `x\x1b[2J`)
	}
}

func TestUnknownCommandIsAMistakeOfTheCall(t *testing.T) {
	t.Parallel()
	code, _, stderr := call(t, "nonsense")
	assert.Equal(t, exitUsage, code)
	assert.Contains(t, stderr, "See: rolegate --help")
}

// A path that begins with two slashes is not a host: the gate denies it as
// ambiguous, and why has to say so.
func TestRouteWithTwoSlashes(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]control.Question{
		"GET //admin/grades":        {Method: "GET", Host: "localhost", URI: "//admin/grades"},
		"https://school.cn/grades":  {Method: "GET", Host: "school.cn", URI: "/grades"},
		"POST http://school.cn:8/x": {Method: "POST", Host: "school.cn:8", URI: "/x"},
	} {
		var q control.Question
		require.NoError(t, routeOf(&q, text, ""), text)
		assert.Equal(t, want, q, text)
	}
}
