package doctor_test

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/alicebob/miniredis/v2/server"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A rig has everything that a settings file can name, all of it well.
type rig struct {
	folder string
	market *rolegatetest.Marketplace
	cloud  *rolegatetest.CloudCommand
	redis  *miniredis.Miniredis
	issuer string
	yaml   string
}

// newRig writes a settings file for it. Every path in it begins with the folder.
func newRig(t *testing.T) *rig {
	t.Helper()
	folder, err := os.MkdirTemp("", "d") // short: it has the control socket
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	r := &rig{
		folder: folder,
		market: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{}),
		cloud:  rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{}),
		redis:  miniredis.NewMiniRedis(),
	}
	r.market.Put(lilei(1, teacher), lilei(2, teacher))
	r.market.Grant(2, 7, "admin")
	require.NoError(t, r.redis.Start())
	t.Cleanup(r.redis.Close)
	r.redis.RequireUserAuth(redisUser, redisPassword)
	r.version("7.2.4")
	r.cloud.Done("")
	issuer := httptest.NewServer(http.HandlerFunc(r.serveIssuer))
	t.Cleanup(issuer.Close)
	r.issuer = issuer.URL
	for name, secret := range map[string]string{
		"token": r.market.Token(), "redis-password": redisPassword, "redis-secret": redisSecret,
		"client-secret": rolegatetest.DefaultClientSecret, "password": rolegatetest.DefaultPassword, "caller": callerToken,
	} {
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(secret), 0o600))
	}
	r.yaml = strings.NewReplacer(
		"MARKET", r.market.Start(t), "CLOUD", r.cloud.Start(t), "REDIS", r.redis.Addr(), "ISSUER", r.issuer, "FOLDER", folder,
		"USER", redisUser, "CLIENT", r.cloud.ClientID(), "NAME", r.cloud.Username(),
	).Replace(goodFile)
	return r
}

const goodFile = `
marketplace: {url: MARKET, app_id: test-app, token: {file: FOLDER/token}}
cloud_command:
  url: CLOUD
  client_id: CLIENT
  client_secret: {file: FOLDER/client-secret}
  username: NAME
  password: {file: FOLDER/password}
  done: [同步数据完成]
identity:
  - {is: user_id, header: X-User-Id, trusted: loopback}
  - {is: third_user_id, issuer: ISSUER, audience: app, claim: sub}
implies: {admin: [head]}
cache:
  redis: {address: REDIS, username: USER, password: {file: FOLDER/redis-password}, secret: {file: FOLDER/redis-secret}}
forward_auth:
  listen: 127.0.0.1:0
  proxy: nginx
  trusted: loopback
  rules:
    - {route: GET /grades, any_role: [teacher, head]}
authzen:
  listen: 127.0.0.1:0
  callers: [{name: app, token: {file: FOLDER/caller}}]
  subjects: {user: user_id}
  rules: [{resource: report, action: read, any_role: [admin]}]
admin: {listen: 127.0.0.1:0}
control: FOLDER/control.sock
`

// version has Redis tell a version, which the fake does not by itself.
func (r *rig) version(version string) {
	r.redis.Server().SetPreHook(func(p *server.Peer, cmd string, args ...string) bool {
		if strings.EqualFold(cmd, "INFO") && version != "" {
			p.WriteBulk("# Server\r\nredis_version:" + version + "\r\n")
			return true
		}
		return false
	})
}

func (r *rig) serveIssuer(w http.ResponseWriter, req *http.Request) {
	answer := map[string]any{"keys": []any{map[string]any{
		"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo", "kid": "1", "alg": "EdDSA", "use": "sig",
	}}}
	if req.URL.Path == "/.well-known/openid-configuration" {
		answer = map[string]any{"issuer": r.issuer, "jwks_uri": r.issuer + "/keys"}
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(answer)
}

func (r *rig) change(t *testing.T, old, new string) {
	t.Helper()
	old, new = strings.ReplaceAll(old, "FOLDER", r.folder), strings.ReplaceAll(new, "FOLDER", r.folder)
	require.Contains(t, r.yaml, old)
	r.yaml = strings.ReplaceAll(r.yaml, old, new)
}

// inUse is an address that somebody listens on.
func inUse(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = l.Close() })
	return l.Addr().String()
}

func TestFile(t *testing.T) {
	t.Parallel()
	change := func(old, new string) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) { r.change(t, old, new) }
	}
	const redisCache = "redis: {address: "
	toFile := func(t *testing.T, r *rig) {
		r.yaml = strings.Replace(r.yaml, "cache:\n  "+redisCache, "cache:\n  file: "+r.folder+"/index #", 1)
	}
	all := func(sets ...func(*testing.T, *rig)) func(*testing.T, *rig) {
		return func(t *testing.T, r *rig) {
			for _, set := range sets {
				set(t, r)
			}
		}
	}
	tests := []struct {
		name  string
		set   func(*testing.T, *rig)
		clock time.Duration
		want  []string
		says  string
	}{
		{name: "nothing is wrong", says: "rolegate serve would take these settings; rules: 2"},
		{name: "many rules, for which the gate takes its time", set: func(t *testing.T, r *rig) {
			rules := ""
			for n := range 2000 {
				rules += fmt.Sprintf("\n    - {route: GET /grades/%d, any_role: [teacher]}", n)
			}
			r.change(t, "  rules:\n    -", "  rules:"+rules+"\n    -")
		}, says: "rules: 2002"},
		{name: "a secret that is not there", set: change("FOLDER/token", "FOLDER/no-token"), want: []string{"wrong settings.secret_unreadable"}, says: "no such file"},
		{name: "a variable that is not set", set: change("token: {file: FOLDER/token}", "token: {env: ROLEGATE_NO_SUCH_VARIABLE}"),
			want: []string{"wrong settings.secret_unset"}, says: "export ROLEGATE_NO_SUCH_VARIABLE=…"},
		{name: "a secret that others read", set: func(t *testing.T, r *rig) { require.NoError(t, os.Chmod(r.folder+"/token", 0o644)) },
			want: []string{"warning settings.secret_open"}, says: "chmod g-w,o= "},
		{name: "a password that is not there", set: change("FOLDER/password", "FOLDER/no-password"), want: []string{"wrong settings.secret_unreadable"}, says: "cloud_command.password cannot be read"},
		{name: "a short secret for Redis", set: func(t *testing.T, r *rig) {
			require.NoError(t, os.WriteFile(r.folder+"/redis-secret", []byte("fakeShort"), 0o600))
		}, want: []string{"wrong settings.gate_wrong"}, says: "would not start with this"},
		{name: "a route twice", set: change("    - {route: GET /grades, any_role: [teacher, head]}", "    - {route: GET /grades, any_role: [teacher]}\n    - {route: GET /grades, admit: true}\n    - {route: GET /x}"),
			want: []string{"wrong settings.gate_wrong", "wrong settings.gate_wrong"}, says: `pattern "GET /grades" conflicts with pattern "GET /grades": GET /grades matches`},
		{name: "an authority of Redis that is not there", set: change("redis: {address: ", "redis: {tls: {ca: /nowhere/ca.pem}, address: "),
			want: []string{"wrong settings.gate_wrong"}, says: "cache.redis.tls.ca: open /nowhere/ca.pem"},
		{name: "no subjects", set: change("  subjects: {user: user_id}\n", ""), want: []string{"wrong settings.gate_wrong"}, says: "authzen: Subjects is empty"},
		{name: "a cycle, and a page size", set: all(change("{admin: [head]}", "{admin: [head], head: [admin]}"), change("app_id: test-app", "app_id: test-app, page_size: 5000")),
			want: []string{"wrong settings.marketplace_wrong", "wrong settings.gate_wrong"}, says: "marketplace.page_size: 5000 is out of range"},
		{name: "for doctor alone", set: func(_ *testing.T, r *rig) { r.yaml, _, _ = strings.Cut(r.yaml, "cloud_command:") },
			want: []string{"note settings.nobody_asks"}, says: "Enough for doctor and pull"},

		{name: "a typo in a rule", set: change("any_role: [teacher, head]", "any_role: [techer]"), want: []string{"warning roles.not_held_near"}, says: "Is teacher meant?"},
		{name: "a pattern in a rule", set: change("any_role: [teacher, head]", "any_role: [teacher.*], everywhere: [teacher]"), want: []string{"warning roles.not_held_near"}, says: "the rules name teacher.*"},
		{name: "a pattern of which somebody has a role", set: func(t *testing.T, r *rig) {
			r.change(t, "any_role: [teacher, head]", "any_role: [teacher.*, leader, tutor]")
			r.change(t, "{admin: [head]}", "{admin: [head, leader], 'teacher.*': [tutor]}")
			r.market.Grant(3, 7, "teacher.art")
		}, says: "teacher.art"},
		{name: "a pattern of which the platform knows a role", set: func(t *testing.T, r *rig) {
			r.change(t, "any_role: [teacher, head]", "any_role: [teacher.*]")
			r.change(t, "app_id: test-app", "app_id: test-app, role_list_path: app/role/list")
			r.market.SetRoles("teacher.art", "teacher")
		}, want: []string{"note roles.not_held_yet"}, says: "the platform knows it"},
		{name: "a role that nobody has", set: change("any_role: [teacher, head]", "any_role: [janitor]"), want: []string{"warning roles.not_held"}, says: "the rules name janitor"},
		{name: "a role on another page", set: func(t *testing.T, r *rig) {
			r.change(t, "any_role: [teacher, head]", "either: [{any_role: [janitor]}, {no_role: [teacher]}]")
			r.change(t, "app_id: test-app", "app_id: test-app, page_size: 2")
			r.market.Grant(3, 7, "janitor")
		}, want: []string{"note roles.not_on_page"}, says: "Only the first page"},
		{name: "a role that the platform knows", set: func(t *testing.T, r *rig) {
			r.change(t, "any_role: [teacher, head]", "any_role: [janitor, techer, other-altogether]")
			r.change(t, "app_id: test-app", "app_id: test-app, role_list_path: app/role/list")
			r.market.SetRoles("janitor", "teacher")
		}, want: []string{"note roles.not_held_yet", "warning roles.unknown", "warning roles.unknown_near"}, says: "the platform knows it"},

		{name: "a new file", set: toFile, says: "which is not there yet"},
		{name: "a file", set: all(toFile, func(t *testing.T, r *rig) {
			require.NoError(t, os.WriteFile(r.folder+"/index", make([]byte, 2048), 0o600))
		}), says: "(2.0 KiB, stored "},
		{name: "a file of everybody", set: all(toFile, func(t *testing.T, r *rig) {
			require.NoError(t, os.WriteFile(r.folder+"/index", nil, 0o600))
			require.NoError(t, os.Chmod(r.folder+"/index", 0o666))
		}), want: []string{"wrong cache.file_wrong"}, says: "remove it with: rm "},
		{name: "a folder that will be made", set: all(toFile, change("FOLDER/index", "FOLDER/there/index")), says: "which is not there yet"},
		{name: "no folder", set: all(toFile, change("FOLDER/index", "FOLDER/there/not/index")), want: []string{"wrong cache.file_wrong"}, says: "cache.file: "},

		{name: "no folder, and no subjects", set: all(toFile, change("FOLDER/index", "FOLDER/there/not/index"), change("  subjects: {user: user_id}\n", "")),
			want: []string{"wrong settings.gate_wrong", "wrong cache.file_wrong"}, says: "authzen: Subjects is empty"},

		{name: "a Redis without a version", set: func(_ *testing.T, r *rig) { r.version("") }, want: []string{"note cache.redis_some"}, says: "6.2 or newer"},
		{name: "an old Redis", set: func(_ *testing.T, r *rig) { r.version("5.0.7") }, want: []string{"wrong cache.redis_old"}, says: "is 5.0.7"},
		{name: "no Redis", set: func(_ *testing.T, r *rig) { r.redis.Close() }, want: []string{"wrong cache.redis_away"}, says: "cache.redis.tls"},
		{name: "another password", set: func(t *testing.T, r *rig) {
			require.NoError(t, os.WriteFile(r.folder+"/redis-password", []byte("fakeOther"), 0o600))
		}, want: []string{"wrong cache.redis_password"}, says: "cache.redis.username"},
		{name: "no right to write scripts", set: func(_ *testing.T, r *rig) {
			r.redis.Server().SetPreHook(func(p *server.Peer, cmd string, _ ...string) bool {
				if strings.EqualFold(cmd, "EVAL") {
					p.WriteError("NOPERM User " + redisUser + " has no permissions to run the 'eval' command")
				} else if strings.EqualFold(cmd, "INFO") {
					p.WriteBulk("redis_version:7.0.0")
				} else {
					return false
				}
				return true
			})
		}, want: []string{"wrong cache.redis_rights"}, says: "EVAL, EVALSHA, HMGET"},
		{name: "a Redis that loads", set: func(_ *testing.T, r *rig) {
			r.redis.Server().SetPreHook(func(p *server.Peer, cmd string, _ ...string) bool {
				if strings.EqualFold(cmd, "PING") {
					p.WriteError("READONLY You can't write against a read only replica of " + redisUser)
				}
				return strings.EqualFold(cmd, "PING")
			})
		}, want: []string{"wrong cache.redis_error"}, says: "name the primary"},
		{name: "the clock of Redis", set: func(_ *testing.T, r *rig) { r.redis.SetTime(time.Now().Add(-time.Hour)) }, want: []string{"warning cache.redis_clock"}, says: "differ by "},

		{name: "a sync runs", set: func(_ *testing.T, r *rig) { r.cloud.Running("") }, want: []string{"note cloud.running"}, says: "正在同步数据中"},
		{name: "a sync of which nothing is known", set: func(_ *testing.T, r *rig) { r.cloud.Unknown() }, says: "tells of no sync"},
		{name: "a text that nobody knows", set: change("  done: [同步数据完成]\n", ""), want: []string{"note cloud.unknown", "note cloud.no_done_texts"}, says: "put it into cloud_command.done"},
		{name: "credentials refused", set: func(t *testing.T, r *rig) {
			require.NoError(t, os.WriteFile(r.folder+"/client-secret", []byte("fakeOtherSecret"), 0o600))
		}, want: []string{"wrong cloud.refused"}, says: "tenant_id"},
		{name: "the cloud fails", set: func(_ *testing.T, r *rig) { r.cloud.Fail(rolegatetest.HTTPStatus(502)) }, want: []string{"wrong cloud.failed"}, says: "blade-auth/oauth/token"},

		{name: "an issuer of another name", set: func(t *testing.T, r *rig) { r.change(t, "issuer: "+r.issuer, "issuer: "+r.issuer+"/realm") },
			want: []string{"wrong identity.issuer_failed"}, says: "byte for byte"},
		{name: "no issuer", set: func(t *testing.T, r *rig) { r.change(t, "issuer: "+r.issuer, "issuer: http://127.0.0.1:1") },
			want: []string{"wrong identity.issuer_failed"}, says: "connection refused"},
		{name: "a large network", set: change("X-User-Id, trusted: loopback", "X-User-Id, trusted: [10.0.0.0/8, 10.1.2.0/24]"), want: []string{"warning identity.trusted_wide"}, says: "identity[0].trusted has 10.0.0.0/8"},
		{name: "the Internet", set: change("  trusted: loopback\n", "  trusted: [8.0.0.0/7, 'fd00::/64']\n"), want: []string{"warning identity.trusted_public"}, says: "forward_auth.trusted has 8.0.0.0/7"},

		{name: "in use", set: func(t *testing.T, r *rig) {
			r.change(t, "admin: {listen: 127.0.0.1:0}", "admin: {listen: '"+inUse(t)+"'}")
		},
			want: []string{"warning listeners.taken"}, says: "ss -ltnp"},
		{name: "in use by a rolegate", set: func(t *testing.T, r *rig) {
			r.change(t, "admin: {listen: 127.0.0.1:0}", "admin: {listen: '"+inUse(t)+"'}")
			l, err := net.Listen("unix", r.folder+"/control.sock")
			require.NoError(t, err)
			t.Cleanup(func() { _ = l.Close() })
		}, want: []string{"note listeners.own", "note control.running"}, says: "a rolegate is running"},
		{name: "an address of others", set: change("admin: {listen: 127.0.0.1:0}", "admin: {listen: '192.0.2.1:9090'}"), want: []string{"wrong listeners.elsewhere"}, says: "no address of this machine"},
		{name: "open to all", set: all(change("admin: {listen: 127.0.0.1:0}", "admin: {listen: ':0'}"), change("forward_auth:\n  listen: 127.0.0.1:0", "forward_auth:\n  listen: 0.0.0.0:0")),
			want: []string{"warning listeners.open_for_nobody", "warning listeners.admin_open"}, says: "Listen at 127.0.0.1"},

		{name: "no folder for the socket", set: change("FOLDER/control.sock", "FOLDER/run/control.sock"), want: []string{"wrong control.folder"}, says: "RuntimeDirectory=rolegate"},
		{name: "no socket", set: change("FOLDER/control.sock", "FOLDER/caller"), want: []string{"wrong control.not_a_socket"}, says: "remove what is there"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t)
			if tt.set != nil {
				tt.set(t, r)
			}
			f, err := settings.Parse([]byte(r.yaml))
			require.NoError(t, err)
			findings := examine(t, doctor.Options{File: f, Path: "rolegate.yaml", Now: func() time.Time { return time.Now().Add(tt.clock) }})
			require.Equal(t, tt.want, notFine(findings))
			requireSays(t, findings, tt.says)
			require.LessOrEqual(t, r.market.RequestCount(), mostRequests)
			require.LessOrEqual(t, r.cloud.RequestCount(), mostRequests)
			if tt.want == nil {
				require.Len(t, r.market.Requests(), 2, "the list is not pulled for the gate")
				require.Len(t, r.cloud.Requests(), 2, "one for a token, one for the state")
			}
			require.Empty(t, r.redis.Keys(), "nothing is written to Redis")
			left, err := filepath.Glob(r.folder + "/.rolegate-doctor-*")
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}
