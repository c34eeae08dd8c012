package settings_test

import (
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

var discard = slog.New(slog.DiscardHandler)

// wang is on the list of every gate of these tests.
var wang = rolegate.Record{
	UserID: 42, Account: "wang", Email: "w@example.com", ThirdAccount: "w", ThirdUserID: "u-7",
	Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 7, RoleCode: "homeroom"}, {OrgID: 8, RoleCode: "admin"}},
}

// secretFile is a file with that in it.
func secretFile(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "secret")
	require.NoError(t, os.WriteFile(path, []byte(text+"\n"), 0o600))
	return path
}

// withSecret is a settings file whose token can be read.
func withSecret(t *testing.T) string {
	t.Helper()
	return strings.Replace(least, "{env: ROLEGATE_ACCESS_TOKEN}", "{file: "+secretFile(t, "token")+"}", 1)
}

// open opens the gate of a settings file, with a list that has only wang.
func open(t *testing.T, text string) (*rolegate.Gate, rolegate.Config) {
	t.Helper()
	cfg, release, err := parse(t, text).Gate(discard)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, release()) })
	cfg.Source, cfg.Cache, cfg.UpstreamSync, cfg.RoleCodes = rolegatetest.NewStatic(wang), nil, nil, nil
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate, cfg
}

// Every kind of identity is read from a header of the proxy, and from no other.
func TestIdentityByHeader(t *testing.T) {
	t.Parallel()
	for kind, value := range map[string]string{
		"user_id": "42", "account": "wang", "email": "w@example.com", "third_account": "w", "third_user_id": "u-7",
	} {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			gate, _ := open(t, withSecret(t)+"identity: [{is: "+kind+", header: X-User, trusted: 10.0.0.0/8}]\n")
			for name, c := range map[string]struct {
				from, value string
				status      int
			}{
				"the proxy":       {"10.1.2.3:4", value, 200},
				"somebody else":   {"10.1.2.3:4", "43", 403},
				"nobody":          {"10.1.2.3:4", "", 401},
				"not of the list": {"192.0.2.1:4", value, 401},
			} {
				r := httptest.NewRequest(http.MethodGet, "/", nil)
				r.RemoteAddr = c.from
				if c.value != "" {
					r.Header.Set("X-User", c.value)
				}
				w := httptest.NewRecorder()
				gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					u, _ := gate.UserFrom(r.Context())
					assert.EqualValues(t, 42, u.ID())
				})).ServeHTTP(w, r)
				assert.Equal(t, c.status, w.Code, name)
			}
		})
	}
}

// The ways to find out who is asking are tried in their order.
func TestSeveralIdentities(t *testing.T) {
	t.Parallel()
	gate, _ := open(t, withSecret(t)+"identity:\n  - {is: email, header: X-Email, trusted: loopback}\n  - {is: account, header: X-Account, trusted: loopback}\n")
	for name, c := range map[string]struct {
		header, value string
		status        int
	}{
		"the first": {"X-Email", "w@example.com", 200}, "the second": {"X-Account", "wang", 200}, "none": {"X-Other", "wang", 401},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "127.0.0.1:1"
		r.Header.Set(c.header, c.value)
		w := httptest.NewRecorder()
		gate.Admit(http.NotFoundHandler()).ServeHTTP(w, r)
		if c.status == 200 {
			assert.Equal(t, http.StatusNotFound, w.Code, name) // what is behind the gate
		} else {
			assert.Equal(t, c.status, w.Code, name)
		}
	}
}

func TestIdentityByIssuer(t *testing.T) {
	t.Parallel()
	for kind, claim := range map[string]string{
		"user_id": "uid", "account": "preferred_username", "email": "email", "third_account": "name", "third_user_id": "sub",
	} {
		gate, _ := open(t, withSecret(t)+"identity: [{is: "+kind+", issuer: 'https://login.example.com', audience: school, claim: "+claim+", algorithms: [ES256], token_type: access}]\n")
		w := httptest.NewRecorder()
		gate.Admit(http.NotFoundHandler()).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/", nil))
		assert.Equal(t, http.StatusUnauthorized, w.Code, kind)
		for name, id := range map[string]rolegate.Identity{
			"user_id": rolegate.UserID(42), "account": identityOf(rolegate.KindAccount, "wang"), "email": identityOf(rolegate.KindEmail, "w@example.com"),
			"third_account": identityOf(rolegate.KindThirdAccount, "w"), "third_user_id": identityOf(rolegate.KindThirdUserID, "u-7"),
		} {
			indexed := gate.Explain(t.Context(), id).Found == rolegate.ReasonGranted
			assert.Equal(t, name == kind || name == "user_id", indexed, "%s with %s", name, kind)
		}
	}
	open(t, withSecret(t)+"identity: [{is: email, issuer: 'https://login.example.com', audience: school}]\n") // the claim is email

	const issuer = "identity: [{issuer: 'https://login.example.com', audience: school, "
	for text, want := range map[string]string{
		issuer + "is: user_id}]":                               "identity[0]: claim: expected which claim of the token names the user, such as sub",
		issuer + "is: email, claim: mail}]":                    "identity[0]: claim: an e-mail address is read from the claim email alone, which email_verified belongs to",
		issuer + "is: user_id, claim: a}, {}]":                 "identity[1]: is: ",
		issuer + "is: user_id, claim: a, algorithms: [none]}]": "is not a signing algorithm",
		"identity: [{issuer: 'https://u:" + marker + "@x', audience: school, is: user_id, claim: a}]":          "identity[0]: rolegate: bearer: ",
		"identity: [{issuer: 'http://login.example.com', audience: school, is: user_id, claim: a}]":            "it is not https",
		"identity: [{is: user_id, header: A, trusted: loopback}, {issuer: x, audience: x, is: email}]":         "identity[1]: rolegate: bearer: ",
		"identity: [{is: user_id, issuer: x, audience: a, claim: b}, {is: email, issuer: y, audience: b}]\n#2": "identity[1]: rolegate: bearer: ",
	} {
		f, err := settings.Parse([]byte(withSecret(t) + text))
		if err == nil {
			_, _, err = f.Gate(discard)
		}
		require.ErrorContains(t, err, want, text)
		assert.NotContains(t, err.Error(), marker)
	}
}

// What the gate is made with is what the file says.
func TestGate(t *testing.T) {
	t.Parallel()
	secret := secretFile(t, strings.Repeat("s", 40))
	cfg, release, err := parse(t, withSecret(t)+`
identity: [{is: third_user_id, header: X-User, trusted: loopback}]
aliases: [user_id, account, account]
keep: [account, nickname]
implies: {principal: [teacher]}
refresh: {every: 1m, resync_every: 2m, stale_after: 3m, expire_after: 4h, max_shrink: 0.5, shrink_hold: 9m, sync_hold: 5m, resync_min: 6s, max_age_wait: 7s, look_back: 8s}
on_deny: {off: true, wait: 8s, per_minute: 9, ttl: 10s}
shadow_admit: true
cloud_command: {url: "https://command.example.com", client_id: a, client_secret: {file: `+secret+`}, username: u, password: {file: `+secret+`}}
cache: {redis: {address: "127.0.0.1:1", secret: {file: `+secret+`}, password: {file: `+secret+`}, tls: true}}
authzen: {listen: ":1", callers: [{name: a, token: {file: `+secret+`}}], subjects: {user: user_id, mail: email}, rules: [{}]}
`).Gate(discard)
	require.NoError(t, err)
	assert.NotNil(t, cfg.Source)
	assert.NotNil(t, cfg.UpstreamSync)
	assert.NotNil(t, cfg.Cache)
	assert.Nil(t, cfg.RoleCodes, "without role_list_path")
	assert.True(t, cfg.ShadowAdmit)
	assert.Equal(t, map[string][]string{"principal": {"teacher"}}, cfg.Implies)
	assert.Equal(t, rolegate.Keep{Account: true, Nickname: true}, cfg.Keep)
	assert.Subset(t, cfg.Aliases, []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail})
	assert.NotContains(t, cfg.Aliases, rolegate.KindUserID)
	assert.Equal(t, rolegate.Refresh{
		Every: time.Minute, ResyncEvery: 2 * time.Minute, StaleAfter: 3 * time.Minute, ExpireAfter: 4 * time.Hour,
		MaxShrink: 0.5, ShrinkHold: 9 * time.Minute, SyncHold: 5 * time.Minute, ResyncMin: 6 * time.Second, MaxAgeWait: 7 * time.Second, LookBack: 8 * time.Second,
	}, cfg.Refresh)
	assert.Equal(t, rolegate.OnDeny{Off: true, Wait: 8 * time.Second, PerMinute: 9, TTL: 10 * time.Second}, cfg.OnDeny)
	assert.NoError(t, release())

	cfg, release, err = parse(t, strings.Replace(withSecret(t), "app_id", "role_list_path: app/role/list, app_id", 1)+"cache: {file: /var/lib/x}\n").Gate(discard)
	require.NoError(t, err)
	assert.NotNil(t, cfg.RoleCodes)
	assert.NotNil(t, cfg.Cache)
	assert.NoError(t, release())

	// Every secret that cannot be read is named.
	const none = "{file: /nowhere/at/all}"
	_, _, err = parse(t, strings.Replace(least, "{env: ROLEGATE_ACCESS_TOKEN}", none, 1)+`
cloud_command: {client_secret: `+none+`}
cache: {redis: {address: "127.0.0.1:1", secret: `+none+`, password: `+none+`}}
`).Gate(discard)
	for _, place := range []string{"marketplace.token: ", "cloud_command.client_secret: ", "cache.redis.secret: ", "cache.redis.password: "} {
		assert.ErrorContains(t, err, place)
	}
	_, _, err = parse(t, withSecret(t)+"cloud_command: {client_secret: {file: "+secret+"}, password: "+none+"}\n").Gate(discard)
	assert.ErrorContains(t, err, "cloud_command.password: ")
}

// The checks of rules hold for the users they should hold for.
func TestChecks(t *testing.T) {
	t.Parallel()
	gate, _ := open(t, withSecret(t)+"identity: [{is: user_id, header: X, trusted: loopback}]\nimplies: {homeroom: [tutor]}\n")
	for text, want := range map[string]string{
		"any_role: [teacher, principal]":                         "granted",
		"any_role: [principal]":                                  "role_missing",
		"any_role: [tutor]":                                      "granted",
		"all_roles: [teacher, homeroom]":                         "granted",
		"all_roles: [teacher, admin]":                            "role_missing", // not in one organisation
		"no_role: [suspended]":                                   "granted",
		"no_role: [admin]":                                       "role_missing",
		"any_role: [teacher], no_role: [admin]":                  "role_missing",
		"any_role: [teacher], all_roles: [homeroom]":             "granted",
		"either: [{any_role: [principal]}, {any_role: [admin]}]": "granted",
		"either: [{all_roles: [a, b]}, {no_role: [admin]}]":      "role_missing",
		"any_role: [teacher], max_age: 1h":                       "granted",
		"any_role: [teacher.*]":                                  "role_missing",
		"all_roles: [teacher, admin], everywhere: [admin]":       "granted",
		"all_roles: [teacher, admin], everywhere: [pupil]":       "role_missing",
		"any_role: [principal], shadow: true":                    "role_missing",
	} {
		options, err := checks(t, text).Options()
		require.NoError(t, err, text)
		e := gate.Policy(options...).Explain(t.Context(), rolegate.UserID(42), 0)
		assert.Equal(t, want, e.Decision.Reason.String(), text)
		assert.Equal(t, strings.Contains(text, "shadow"), e.Shadow, text)
		if strings.Contains(text, "max_age") {
			assert.Equal(t, time.Hour, e.MaxAge)
		}
	}
	for text, want := range map[string]string{
		"":                              "expected a check",
		"max_age: 1m":                   "expected a check",
		"shadow: true":                  "expected a check",
		"any_role: []":                  "give at least one role code",
		"all_roles: []":                 "give at least one role code",
		"no_role: []":                   "give at least one role code",
		"any_role: [' ']":               "role code 1 is empty",
		"any_role: [a], max_age: -1s":   "expected a duration above 0",
		"everywhere: [a]":               "expected a check",
		"any_role: [a], everywhere: []": "give at least one role code",
		"any_role: ['teacher*']":        "an asterisk stands at the end of a pattern",
		"either: []":                    "give at least one check",
		"either: [{}]":                  "either[0]: expected one of any_role, all_roles and no_role",
		"either: [{any_role: [a]}, {any_role: [a], no_role: [b]}]": "either[1]: expected one of any_role, all_roles and no_role",
		"either: [{any_role: []}]":                                 "give at least one role code",
	} {
		_, err := checks(t, text).Options()
		assert.ErrorContains(t, err, want, text)
	}
}

func checks(t *testing.T, text string) *settings.Checks {
	t.Helper()
	return &parse(t, withHeader+"forward_auth: {listen: ':1', proxy: nginx, trusted: loopback, rules: [{route: GET /x, "+text+"}]}\n").ForwardAuth.Rules[0].Checks
}

// A rule that cannot be is named with its route, and all of them at once.
func TestRules(t *testing.T) {
	t.Parallel()
	text := withSecret(t) + `
identity: [{is: user_id, header: X, trusted: loopback}]
forward_auth:
  listen: ":1"
  proxy: nginx
  trusted: loopback
  rules:
`
	gate, _ := open(t, text+"    - {}\n")
	for rule, want := range map[string]string{
		"{route: GET /a, admit: true}":                       "",
		"{route: GET /a, any_role: [b]}":                     "",
		"{route: '/orgs/{id}/a', any_role: [b], in_org: id}": "",
		"{}": `route "": route: expected a pattern`,
		`{route: "GET /orgs/:orgID", any_role: [a]}`:                 `route "GET /orgs/:orgID": route: a wildcard is written {orgID}`,
		`{route: "/static/*", admit: true}`:                          `route "/static/*": route: a wildcard is written {orgID}, and one for the rest of the path {rest...}`,
		"{admit: true}":                                              `route "": route: expected a pattern`,
		"{route: /a}":                                                `route "/a": expected a check`,
		"{route: /a, admit: true, any_role: [b]}":                    "expected admit: true alone",
		"{route: /a, admit: true, shadow: true}":                     "expected admit: true alone",
		"{route: '/o/{id}', admit: true, in_org: id}":                "expected admit: true alone",
		"{route: '/o/{id}', any_role: [b], in_org: orgID}":           "in_org: expected the name of a wildcard",
		"{route: '/o/{id...}', any_role: [b], in_org: id}":           "in_org: expected the name of a wildcard",
		"{route: '/{$}', any_role: [b], in_org: $}":                  "in_org: expected the name of a wildcard",
		"{route: '/{a}/{b}', any_role: [b], in_org: 'a}/{b'}":        "in_org: expected the name of a wildcard",
		"{route: '/a/{b', any_role: [b]}":                            "bad wildcard",
		"{route: /a, any_role: [b]}\n    - {route: /a, admit: true}": `rules[1], route "/a": pattern "/a" conflicts`,
	} {
		f := parse(t, text+"    - "+rule+"\n")
		_, err := f.ForwardAuth.Handler(gate, f.Identity, discard)
		if want == "" {
			assert.NoError(t, err, rule)
		} else {
			assert.ErrorContains(t, err, "forward_auth.rules[", rule)
			assert.ErrorContains(t, err, want, rule)
		}
	}
	f := parse(t, text+"    - {route: /a}\n    - {}\n    - {route: /b, any_role: []}\n")
	_, err := f.ForwardAuth.Handler(gate, f.Identity, discard)
	for _, want := range []string{"rules[0]", "rules[1]", "rules[2]"} {
		assert.ErrorContains(t, err, want)
	}
}

func TestAuthZENRules(t *testing.T) {
	t.Parallel()
	text := withSecret(t) + "authzen:\n  listen: ':1'\n  subjects: {user: user_id}\n  callers: [{name: a, token: {file: " + secretFile(t, strings.Repeat("t", 20)) + "}}]\n  rules:\n"
	gate, _ := open(t, text+"    - {}\naliases: [account]\n")
	for rule, want := range map[string]string{
		"{resource: r, action: a, admit: true}":                                   "",
		"{resource: r, action: a, any_role: [b], org: {id: true}}":                "",
		"{resource: r, action: a, any_role: [b], org: {property: org}}":           "",
		"{resource: r, action: a}":                                                "authzen.rules[0], a r: expected a check",
		"{resource: r, action: a, admit: true, max_age: 1m}":                      "expected admit: true alone",
		"{resource: r, action: a, any_role: [b], org: {}}":                        "authzen.rules[0].org: expected id: true or property: NAME",
		"{resource: r, action: a, any_role: [b], org: {id: true, property: org}}": "authzen.rules[0].org: expected id: true or property: NAME",
		"{resource: r, any_role: [b]}":                                            "lacks the type of a resource or the name of an action",
	} {
		_, rules, err := parse(t, text+"    - "+rule+"\n").AuthZEN.Handler(gate, discard)
		if want == "" {
			assert.NoError(t, err, rule)
			assert.Len(t, rules, 1, rule)
		} else {
			assert.ErrorContains(t, err, want, rule)
		}
	}
	short := parse(t, strings.Replace(text, "callers: [", "callers: [{name: b, token: {file: "+secretFile(t, "short")+"}}, {name: c, token: {file: /nowhere}}, ", 1)+"    - {}\n")
	_, _, err := short.AuthZEN.Handler(gate, discard)
	assert.ErrorContains(t, err, "authzen.callers[0].token: expected at least 20 characters")
	assert.ErrorContains(t, err, "authzen.callers[1].token: open /nowhere")
	assert.NotContains(t, err.Error(), "short")
}

func TestRolesAndSecrets(t *testing.T) {
	t.Parallel()
	f := parse(t, withHeader+`
implies: {principal: [teacher]}
forward_auth: {listen: ":1", proxy: caddy, trusted: loopback, rules: [{route: a, any_role: [c, a]}, {route: b, all_roles: [b], no_role: [d], either: [{any_role: [e]}, {all_roles: [f]}, {no_role: [g]}]}]}
authzen: {listen: ":2", callers: [{name: a, token: {env: CALLER}}], rules: [{resource: r, action: a, any_role: [a, h]}]}
admin: {listen: ":3", console: {any_role: [i]}}
cloud_command: {client_secret: {env: CLOUD}, password: {env: CLOUD_PASSWORD}}
cache: {redis: {address: "a:1", secret: {env: REDIS}, password: {env: REDIS_PASSWORD}}}
`)
	assert.Equal(t, []string{"a", "b", "c", "d", "e", "f", "g", "h", "i"}, f.Roles())
	assert.ElementsMatch(t, []settings.Secret{{Env: "CLOUD"}, {Env: "CLOUD_PASSWORD"}, {Env: "REDIS"}, {Env: "REDIS_PASSWORD"}}, f.GateSecrets(),
		"those that are read when they are needed are not among them")
	none := parse(t, least)
	assert.Empty(t, none.Roles())
	assert.Empty(t, none.GateSecrets())
}

// identityOf returns the identity of that kind.
func identityOf(kind rolegate.Kind, text string) rolegate.Identity {
	id, err := rolegate.NewIdentity(kind, text)
	if err != nil {
		panic(err)
	}
	return id
}
