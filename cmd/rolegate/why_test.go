package main

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

// fresh is the line about a list that is served, and later the one about a
// refusal that may change.
const (
	fresh = "  list     ready: last contact <time> ago, revocations known up to <time> ago (<time> at most)\n"
	later = "  then     before it refuses, the gate looks once, for <time> at most, whether that has changed\n"
)

func TestWhy(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	s.state(t, rolegate.StateReady)
	const listed = "  asks     only that the user is on the list\n"
	for name, c := range map[string]struct {
		args []string
		code int
		out  string
	}{
		"granted": {[]string{teacherID, "GET /grades"}, exitOK, `yes: granted (200)
  route    GET /grades is ruled by GET /grades
` + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher)
  org      7: teacher
           + AnyRole(teacher) holds by teacher
  org      8: homeroom
           - AnyRole(teacher) fails
`},
		"a role missing, with organisations": {[]string{adminID, "/grades"}, exitNo, `no: role_missing (403)
  route    GET /grades is ruled by GET /grades
` + fresh + `  user     1542135022016057004 is on the list
  asks     AnyRole(teacher)
  org      7: admin
           - AnyRole(teacher) fails
` + later},
		"no role at all": {[]string{guestID, "/grades"}, exitNo, `no: role_missing (403)
  route    GET /grades is ruled by GET /grades
` + fresh + `  user     1542135022016057001 is on the list
  asks     AnyRole(teacher)
  roles    none in any organisation
           - AnyRole(teacher) fails
` + later},
		"the organisation of the path": {[]string{teacherID, "POST /orgs/7/reports"}, exitOK, `yes: granted (200)
  route    POST /orgs/7/reports is ruled by POST /orgs/{orgID}/reports
` + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher, principal) + NoRole(suspended) + InOrg
  org      7: teacher
           + AnyRole(teacher, principal) holds by teacher
           + NoRole(suspended) holds
  note     nobody has "principal"
`},
		"another organisation": {[]string{teacherID, "POST /orgs/8/reports"}, exitNo, `no: role_missing (403)
  route    POST /orgs/8/reports is ruled by POST /orgs/{orgID}/reports
` + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher, principal) + NoRole(suspended) + InOrg
  org      8: homeroom
           - AnyRole(teacher, principal) fails
           + NoRole(suspended) holds
  note     nobody has "principal"
` + later},
		"a role that nobody may have": {[]string{suspendedID, "POST /orgs/7/reports"}, exitNo, `no: role_missing (403)
  route    POST /orgs/7/reports is ruled by POST /orgs/{orgID}/reports
` + fresh + `  user     1542135022016057005 is on the list
  asks     AnyRole(teacher, principal) + NoRole(suspended) + InOrg
  org      7: suspended, teacher
           + AnyRole(teacher, principal) holds by teacher
           - NoRole(suspended) fails because of suspended
  note     nobody has "principal"
` + later},
		"no organisation": {[]string{teacherID, "POST /orgs/x/reports"}, exitNo, `no: org_unreadable (403)
  route    POST /orgs/x/reports is ruled by POST /orgs/{orgID}/reports
` + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher, principal) + NoRole(suspended) + InOrg
  org      cannot be read from the request: path value "orgID": expected a decimal number above 0, without sign, leading zeros, fraction or exponent
  note     nobody has "principal"
`},
		"one check of several, and an age": {[]string{adminID, "/exams"}, exitNo, `no: role_missing (403)
  route    GET /exams is ruled by GET /exams
` + fresh + `  user     1542135022016057004 is on the list
  asks     Either(AnyRole(teacher), AllRoles(admin, homeroom)) + MaxAge(1h0m0s)
  org      7: admin
           - Either(AnyRole(teacher), AllRoles(admin, homeroom)) fails
             - AnyRole(teacher) fails
             - AllRoles(admin, homeroom) fails, with admin alone
  age      revocations must be known up to <time> ago, and are up to <time> ago
` + later},
		"a rule that is tried out": {[]string{guestID, "/trial"}, exitOK, `yes, but only because the rule is tried out: role_missing (200)
  route    GET /trial is ruled by GET /trial
` + fresh + `  user     1542135022016057001 is on the list
  asks     AnyRole(principal)
  roles    none in any organisation
           - AnyRole(principal) fails
  note     nobody has "principal"
  shadow   the rule is only tried out: users who lack a role pass, and are counted
`},
		"another host": {[]string{adminID, "https://exams.example.com/x"}, exitOK, `yes: granted (200)
  route    GET exams.example.com/x is ruled by GET exams.example.com/
` + fresh + `  user     1542135022016057004 is on the list
  asks     AnyRole(admin)
  org      7: admin
           + AnyRole(admin) holds by admin
`},
		"no rule": {[]string{teacherID, "PUT /grades"}, exitNo, `no: unlisted_route (403)
  route    PUT /grades is denied to everybody: no pattern matches the method, host and path, or only that of another path to which http.ServeMux would redirect
           rules that name a host are asked about with --host, or with a URL
`},
		"a path in two ways": {[]string{teacherID, "GET /grades/../x"}, exitNo, `no: unlisted_route (403)
  route    GET /grades/../x is denied to everybody: the path has a segment of dots
`},
		"a path that looks like a host": {[]string{teacherID, "//grades"}, exitNo, `no: unlisted_route (403)
  route    GET //grades is denied to everybody: the path has an empty segment
`},
		"listed": {[]string{guestID}, exitOK, "yes: granted (200)\n" + fresh + "  user     1542135022016057001 is on the list\n" + listed + "  roles    none in any organisation\n"},
		"a stranger": {[]string{"5", "/"}, exitNo, "no: not_authorized (403)\n  route    GET / is ruled by GET /{$}\n" + fresh +
			"  user     5 is not on the list\n" + listed + later},
		"a record that cannot be understood": {[]string{invalidID}, exitNo, "no: not_authorized (403)\n" + fresh +
			"  user     1542135022016057003 is on the list, but denied: the record could not be understood; the log says why\n" + listed + later},
		"an account": {[]string{"account:wang"}, exitOK, "yes: granted (200)\n" + fresh +
			"  user     1542135022016057004 (account wang) is on the list\n  log      refusals have identity_digest=<digest>\n" + listed + "  org      7: admin\n"},
		"an account that nobody has": {[]string{"account:li"}, exitNo, "no: not_authorized (403)\n" + fresh +
			"  user     account li is not on the list\n  log      refusals have identity_digest=<digest>\n" + listed + later},
		"an account that two have": {[]string{"account:zhao"}, exitNo, "no: ambiguous (403)\n" + fresh +
			"  user     account zhao is shared by several users: nobody enters by it\n  log      refusals have identity_digest=<digest>\n" + listed},
		"nobody": {[]string{"account:"}, exitNo, "no: no_identity (401)\n" + fresh + "  user     an empty account names nobody\n" + listed},
		"AuthZEN": {[]string{teacherID, "--resource", "grades", "--action", "read"}, exitOK, "yes: granted (200)\n" + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher)
  org      7: teacher
           + AnyRole(teacher) holds by teacher
  org      8: homeroom
           - AnyRole(teacher) fails
`},
		"AuthZEN, with conditions": {[]string{teacherID, "--resource", "essay", "--action", "edit"}, exitOK, "yes: granted (200)\n" + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher)
  when     conditions of the rule on the question must hold too, which why does not see
  org      7: teacher
           + AnyRole(teacher) holds by teacher
  org      8: homeroom
           - AnyRole(teacher) fails
`},
		"AuthZEN, in another organisation": {[]string{teacherID, "--resource", "report", "--action", "write", "--org", "8"}, exitNo, "no: role_missing (403)\n" + fresh + `  user     1542135022016057002 is on the list
  asks     AnyRole(teacher)
  org      8: homeroom
           - AnyRole(teacher) fails
` + later},
	} {
		t.Run(name, func(t *testing.T) {
			assert.Equal(t, called{c.code, c.out, ""}, s.calls(t, append([]string{"why"}, c.args...)...))
		})
	}
	for name, c := range map[string]struct {
		args []string
		err  string
	}{
		"a kind that is not indexed":   {[]string{"email:w@example.com", "/grades"}, "the server does not look for identities of the kind email: name it in aliases or identity of the settings file, and reload"},
		"a name":                       {[]string{"wang"}, "expected the marketplace's number of a user, such as 1542135022016057002, or another identity with its kind in front, such as account:wang"},
		"a decision":                   {[]string{"OZCHXBOWD6SGOLEOJPYT5EGXJS"}, "this is the id of a decision: the log has a line with it that says why, and the console finds it; why answers about a user"},
		"an action without a rule":     {[]string{"5", "--resource", "grades", "--action", "write"}, `no rule in authzen.rules is for the action "write" on the resource "grades"`},
		"a rule wants an organisation": {[]string{"5", "--resource", "report", "--action", "write"}, "the rule looks at one organisation: give it with --org, since a question without it is denied"},
		"a rule wants none":            {[]string{"5", "--resource", "grades", "--action", "read", "--org", "7"}, "the rule looks at no particular organisation, as org in authzen.rules would have it: leave --org away"},
	} {
		assert.Equal(t, called{exitUsage, "", "rolegate: " + c.err + "\n"}, s.calls(t, append([]string{"why"}, c.args...)...), name)
	}

	var a control.Answer
	c := calls(t, "why", "account:wang", "/grades", "--json", "-c", s.file)
	assert.Equal(t, exitNo, c.code)
	require.NoError(t, json.Unmarshal([]byte(c.out), &a))
	assert.Equal(t, []control.Org{{Org: 7, Roles: []string{"admin"}, Checks: []control.Check{{Check: "AnyRole(teacher)", Outcome: "fails"}}}}, a.Orgs)
	assert.Equal(t, "role_missing", a.Reason)
	assert.EqualValues(t, 1542135022016057004, a.UserID)
	assert.Contains(t, c.out, `"user_id": "1542135022016057004"`, "which JavaScript would round")
	require.NoError(t, json.Unmarshal([]byte(calls(t, "why", guestID, "/trial", "--json", "-c", s.file).out), &a))
	assert.Equal(t, 200, a.Status, "a rule that is tried out refuses nobody")
}

// The digest that why tells is the one that the log has of a refusal, and the same
// after a reload that makes another gate.
func TestWhyTellsTheDigestOfTheLog(t *testing.T) {
	t.Parallel()
	s := newServer(t, strings.Replace(served, "is: user_id, header: X-User-Id", "is: account, header: X-Account", 1), school)
	s.state(t, rolegate.StateReady)
	digest := func(args ...string) string {
		var a control.Answer
		require.NoError(t, json.Unmarshal([]byte(calls(t, append([]string{"why", "--json", "-c", s.file}, args...)...).out), &a))
		return a.Digest
	}
	wang := digest("account:wang")
	assert.Regexp(t, "^[0-9a-f]{16}$", wang)
	assert.NotEqual(t, wang, digest("account:li"))
	assert.Equal(t, wang, digest("account:wang", "/grades"))
	assert.Empty(t, digest(teacherID), "a user's number is in the log itself")
	assert.Contains(t, calls(t, "why", "account:wang", "-c", s.file, "--lang", "zh").out, "  日志     拒绝记录带有 identity_digest="+wang+"\n")

	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addrs["forward_auth"].String(), nil)
	require.NoError(t, err)
	r.Header = http.Header{"X-Original-Method": {"GET"}, "X-Original-Uri": {"/grades"}, "X-Original-Host": {"school.example"}, "X-Account": {"wang"}}
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	require.Equal(t, http.StatusForbidden, answer.StatusCode)
	assert.Contains(t, s.log.String(), "identity=account identity_digest="+wang)
	text, err := os.ReadFile(s.file)
	require.NoError(t, err)
	write(t, s.file, strings.Replace(string(text), "every: 1h", "every: 50m", 1))
	require.Equal(t, exitOK, calls(t, "reload", "-c", s.file).code)
	assert.Equal(t, wang, digest("account:wang"), "of the process, not of one gate")

	key := filepath.Join(t.TempDir(), "key")
	write(t, key, strings.Repeat("k", 32)+"\n")
	write(t, s.file, string(text)+"log: {identity_key: {file: "+key+"}}\n")
	require.Equal(t, exitOK, calls(t, "reload", "-c", s.file).code)
	assert.Equal(t, "3a99fc6b3ed653c6", digest("account:wang"), "by the key alone")
	write(t, key, "short\n")
	c := calls(t, "reload", "-c", s.file)
	assert.Equal(t, exitUsage, c.code)
	assert.Contains(t, c.err, "log.identity_key has 5 bytes")
	assert.Contains(t, calls(t, "reload", "-c", s.file, "--lang", "zh").err, "log.identity_key 有 5 个字节")
	assert.NotContains(t, s.log.String(), "wang")
}

func TestStatus(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	s.state(t, rolegate.StateReady)
	assert.Equal(t, called{exitOK, `ready
  list       6 users; last contact <time> ago, revocations known up to <time> ago (<time> at most)
  changes    0 succeeded, 0 failed; the next is due in <time>
  full       1 succeeded, 0 failed; the next is due in <time>
  list       invalid records: 1; roles dropped as incomplete: 0; null for roles: 0; changes seen late: 0
  ambiguous  1 of the kind account, each shared by several users: nobody enters by them
  roles      nobody on the list has "principal", which a rule names
`, ""}, s.calls(t, "status"))

	c := s.calls(t, "status", "--json")
	assert.Equal(t, exitOK, c.code)
	var all struct {
		State string
		Users int
		Full  struct{ Succeeded int }
	}
	require.NoError(t, json.Unmarshal([]byte(c.out), &all))
	assert.Equal(t, "ready", all.State)
	assert.Equal(t, 6, all.Users)
	assert.Equal(t, 1, all.Full.Succeeded)
}

func TestNotReady(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, func(m *rolegatetest.Marketplace) { m.Fail(rolegatetest.HTTPStatus(502)) })
	require.Eventually(t, func() bool { return strings.Contains(s.calls(t, "status").out, " in a row failed") }, waitFor, tick)
	c := s.calls(t, "status")
	assert.Equal(t, exitNo, c.code)
	assert.Regexp(t, `^starting: there is no list yet, and everything is denied
  changes    0 succeeded, 0 failed; .*
  full       0 succeeded, \d+ failed; .*
             \d+ in a row failed, the last with: .*HTTP status 502.*
             pages that were asked for again: \d+
`, c.out)
	assert.Equal(t, called{exitNo, `no: not_ready (503)
  route    GET /grades is ruled by GET /grades
  list     starting: there is no list yet; rolegate status says why
  user     1542135022016057002 was not looked for
  asks     AnyRole(teacher)
`, ""}, s.calls(t, "why", teacherID, "/grades"))
}

// Who is gone from the list but held passes, and why says so.
func TestHeld(t *testing.T) {
	t.Parallel()
	text := strings.Replace(served, "refresh: {every: 1h, resync_every: 2h", "refresh: {every: 100ms, resync_every: 200ms", 1)
	s := newServer(t, text, func(m *rolegatetest.Marketplace) {
		school(m)
		for id := range int64(40) {
			m.Put(rolegatetest.User{ID: 100 + id})
		}
	})
	s.state(t, rolegate.StateReady)
	for id := range int64(40) {
		s.market.Revoke(100 + id)
	}
	require.Eventually(t, func() bool { return strings.Contains(s.calls(t, "status").out, "  held  ") }, waitFor, tick, &s.log)
	assert.Contains(t, s.calls(t, "status").out, "  held       40 users gone from the list may pass still (too many at once: further full refreshes must agree)\n")
	c := s.calls(t, "why", "100")
	assert.Equal(t, exitOK, c.code)
	assert.Contains(t, c.out, "  user     100 is gone from the list, but the removal is held back\n")
}

func TestStatusText(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ status, want string }{
		"a sync": {`{"state":"ready","users":1,"expire_after_seconds":3600,"held":{"users":1,"cause":"sync"},"sync":{"state":"running","text":"正在同步数据中"},"incremental":{"running":true}}`, `ready
  list       1 user; last contact 0s ago, revocations known up to 0s ago (1h at most)
  changes    0 succeeded, 0 failed; one is running
  full       0 succeeded, 0 failed; the next is due in 0s
  held       1 user gone from the list may pass still (a sync is running)
  sync       running: 正在同步数据中
`},
		"everything": {`{"state":"stale","users":2,"decisions":{"role_missing":3,"granted":5,"expired":0},"sync":{"state":"unknown","error":"away"},"ambiguous_aliases":{"email":2,"account":1,"third_account":0},"unassigned_roles":[{"code":"techer","nearest":"teacher"},{"code":"warden","known":true}],"replica":{"connected":true},"cache":{"error":"disk full"}}`, `stale: the last contact is long ago; decisions are still made
  list       2 users; last contact 0s ago, revocations known up to 0s ago (0s at most)
  changes    0 succeeded, 0 failed; the next is due in 0s
  full       0 succeeded, 0 failed; the next is due in 0s
  decisions  granted 5, role_missing 3
  sync       could not be asked about: away
  ambiguous  1 of the kind account, each shared by several users: nobody enters by them
  ambiguous  2 of the kind email, each shared by several users: nobody enters by them
  roles      nobody on the list has "techer", which a rule names: was "teacher" meant?
  roles      nobody on the list has "warden", which a rule names; the platform knows it
  replica    connected to the shared store
  cache      disk full
`},
		"refreshes that fail": {`{"state":"ready","users":1,"incremental":{"consecutive_failures":4,"failure":"refused","error":"no"},"full":{"consecutive_failures":1}}`, `ready, but the last 4 incremental refreshes failed (refused) and the last full refresh failed
  list       1 user; last contact 0s ago, revocations known up to 0s ago (0s at most)
  changes    0 succeeded, 0 failed; the next is due in 0s
             4 in a row failed, the last with: no
  full       0 succeeded, 0 failed; the next is due in 0s
             1 in a row failed, the last with: 
`},
		"expired": {`{"state":"expired","users":2}`, `expired: the list is too old, and everything is denied
  list       2 users; last contact 0s ago, revocations known up to 0s ago (0s at most)
  changes    0 succeeded, 0 failed; the next is due in 0s
  full       0 succeeded, 0 failed; the next is due in 0s
`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var s status
			require.NoError(t, json.Unmarshal([]byte(c.status), &s))
			assert.Equal(t, c.want, s.text(lang.English))
		})
	}
}

// The socket is only for the server's own user.
func TestSocketOfAnother(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	require.NoError(t, os.Chmod(s.socket, 0))
	c := s.calls(t, "status")
	if runtime.GOOS == "windows" || os.Geteuid() == 0 { // who is asked for no permission
		assert.Contains(t, []int{exitOK, exitNo}, c.code)
		return
	}
	assert.Equal(t, called{exitFailed, "", "rolegate: " + s.socket + " is not open to this user: run it as the user of the server, or as root\n"}, c)
}
