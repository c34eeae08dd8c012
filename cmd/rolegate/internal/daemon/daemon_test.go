package daemon_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestEveryListenerAnswers(t *testing.T) {
	t.Parallel()
	r := start(t, base)

	assert.NotContains(t, r.log.String(), r.addresses["forward_auth"].String(), "whoever started it is told, once")
	root, err := io.ReadAll(r.ask("admin", http.MethodGet, "/", nil, "").Body)
	require.NoError(t, err)
	assert.Equal(t, "rolegate: /metrics /healthz /readyz /console\n", string(root))
	assert.Equal(t, http.StatusOK, r.passes(guest, "GET", "/"))
	assert.Equal(t, http.StatusForbidden, r.passes(guest, "GET", "/grades"))
	assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
	assert.Equal(t, http.StatusOK, r.passes(teacher, "POST", "/orgs/7/reports"))
	assert.Equal(t, http.StatusForbidden, r.passes(teacher, "POST", "/orgs/8/reports"))
	assert.Equal(t, http.StatusForbidden, r.passes(teacher, "GET", "/unlisted"))
	assert.Equal(t, http.StatusUnauthorized, r.passes("", "GET", "/grades"))

	for name, c := range map[string]struct {
		token, body string
		status      int
		decision    bool
	}{
		"granted":          {callerToken, `{"subject":{"type":"user","id":"` + teacher + `"},"action":{"name":"read"},"resource":{"type":"grades","id":"1"}}`, 200, true},
		"a role missing":   {callerToken, `{"subject":{"type":"user","id":"` + guest + `"},"action":{"name":"read"},"resource":{"type":"grades","id":"1"}}`, 200, false},
		"listed":           {callerToken, `{"subject":{"type":"user","id":"` + guest + `"},"action":{"name":"read"},"resource":{"type":"news","id":"1"}}`, 200, true},
		"a stranger":       {callerToken, `{"subject":{"type":"user","id":"5"},"action":{"name":"read"},"resource":{"type":"news","id":"1"}}`, 200, false},
		"another org":      {callerToken, `{"subject":{"type":"user","id":"` + teacher + `"},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":{"org_id":"8"}}}`, 200, false},
		"the org":          {callerToken, `{"subject":{"type":"user","id":"` + teacher + `"},"action":{"name":"write"},"resource":{"type":"report","id":"1","properties":{"org_id":"7"}}}`, 200, true},
		"another's token":  {callerToken + "x", `{}`, 401, false},
		"no token at all":  {"", `{}`, 401, false},
		"no such resource": {callerToken, `{"subject":{"type":"user","id":"` + teacher + `"},"action":{"name":"read"},"resource":{"type":"exam","id":"1"}}`, 200, false},
	} {
		status, decision := r.evaluate(c.token, c.body)
		assert.Equal(t, c.status, status, name)
		assert.Equal(t, c.decision, decision, name)
	}

	assert.Equal(t, http.StatusOK, r.status("admin", "/healthz", nil))
	assert.Equal(t, http.StatusUnauthorized, r.status("admin", "/console", nil))
	assert.Equal(t, http.StatusForbidden, r.status("admin", "/console", http.Header{"X-User-Id": {teacher}}))
	page := r.ask("admin", http.MethodGet, "/console", http.Header{"X-User-Id": {admin}}, "")
	assert.Equal(t, http.StatusOK, page.StatusCode)
	text, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	assert.Contains(t, string(text), "/orgs/{orgID}/reports")

	assert.Equal(t, "3", r.metric("rolegate_index_users"))
	assert.Equal(t, "1", r.metric(`rolegate_state{state="ready"}`))
	assert.Equal(t, "1", r.metric("rolegate_settings_last_reload_successful"))
	assert.NotEqual(t, "0", r.metric("rolegate_settings_last_reload_success_timestamp_seconds"))
	assert.NotEqual(t, "0", r.metric(`rolegate_decisions_total{decision="deny",reason="role_missing"}`))
	assert.NotEqual(t, "none", r.metric("go_goroutines"))
	assert.Contains(t, r.addresses, "control")
	assert.NotContains(t, r.log.String()+r.metrics(), r.market.Token())
	assert.NotContains(t, r.log.String()+r.metrics(), callerToken)
}

func TestUntilThereIsAListEverythingIsDenied(t *testing.T) {
	t.Parallel()
	r := begin(t, strings.Replace(base, "%TOKEN%", "%CALLER%", 1)) // a token that is refused
	require.Eventually(t, func() bool { return r.market.RequestCount() > 0 }, 10*time.Second, 5*time.Millisecond)
	assert.Equal(t, http.StatusOK, r.status("admin", "/healthz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, r.status("admin", "/readyz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, r.passes(teacher, "GET", "/grades"))
	a, err := r.why(control.Question{Kind: "user_id", User: teacher, Method: "GET", Host: "localhost", URI: "/grades"})
	require.NoError(t, err)
	assert.Equal(t, "not_ready", a.Reason)

	// The settings are fixed while it runs: nothing has to serve meanwhile.
	r.edit("caller", "token")
	r.again()
	require.Eventually(t, func() bool { return r.passes(teacher, "GET", "/grades") == http.StatusOK }, 10*time.Second, 5*time.Millisecond, r.log)
}

func TestWhy(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	for name, c := range map[string]struct {
		q       control.Question
		reason  string
		pattern string
	}{
		"a route":                  {control.Question{User: teacher, Method: "GET", URI: "/grades"}, "granted", "GET /grades"},
		"a role missing":           {control.Question{User: guest, Method: "GET", URI: "/grades"}, "role_missing", "GET /grades"},
		"the org of the path":      {control.Question{User: teacher, Method: "POST", URI: "/orgs/7/reports"}, "granted", "POST /orgs/{orgID}/reports"},
		"another org":              {control.Question{User: teacher, Method: "POST", URI: "/orgs/8/reports"}, "role_missing", "POST /orgs/{orgID}/reports"},
		"no org":                   {control.Question{User: teacher, Method: "POST", URI: "/orgs/x/reports"}, "org_unreadable", "POST /orgs/{orgID}/reports"},
		"no rule":                  {control.Question{User: teacher, Method: "GET", URI: "/unlisted"}, "unlisted_route", ""},
		"a path in two ways":       {control.Question{User: teacher, Method: "GET", URI: "/grades/../x"}, "unlisted_route", ""},
		"whether a user is listed": {control.Question{User: guest}, "granted", ""},
		"a stranger":               {control.Question{User: "5"}, "not_authorized", ""},
		"AuthZEN":                  {control.Question{User: teacher, Resource: "grades", Action: "read"}, "granted", ""},
		"AuthZEN, without org":     {control.Question{User: teacher, Resource: "report", Action: "write", Org: 8}, "role_missing", ""},
	} {
		t.Run(name, func(t *testing.T) {
			if c.q.Kind == "" {
				c.q.Kind = "user_id"
			}
			if c.q.Method != "" {
				c.q.Host = "localhost"
			}
			a, err := r.why(c.q)
			require.NoError(t, err)
			assert.Equal(t, c.reason, a.Reason)
			assert.Equal(t, c.pattern, a.Pattern)
			assert.Equal(t, c.reason == "granted", a.Allowed)
		})
	}
	for name, q := range map[string]control.Question{
		"not indexed":        {Kind: "account", User: "wang"},
		"no number":          {Kind: "user_id", User: "007"},
		"no kind":            {Kind: "name", User: "wang"},
		"no rule of AuthZEN": {Kind: "user_id", User: teacher, Resource: "grades", Action: "write"},
	} {
		_, err := r.why(q)
		refused := (*control.RefusedError)(nil)
		require.ErrorAs(t, err, &refused, name)
		assert.Equal(t, http.StatusBadRequest, refused.Status, name)
	}
	assert.Equal(t, "0", r.metric(`rolegate_decisions_total{decision="allow",reason="granted"}`), "asking why counts as nothing")
}

func TestReload(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		edit    func(*run)
		refused string // what the log says, "" if it is taken
		fulls   int    // of all gates
		grades  int    // what the teacher gets for GET /grades afterwards
	}{
		"a rule with a role more": {func(r *run) {
			r.edit(`"GET /grades", any_role: [teacher]`, `"GET /grades", all_roles: [teacher, principal]`)
		}, "", 1, 403},
		"a rule without its role": {func(r *run) {
			r.edit(`"GET /grades", any_role: [teacher]`, `"GET /grades", any_role: [techer]`)
			r.again()
			r.edit(`"GET /grades", any_role: [techer]`, `"GET /grades", any_role: [teacher]`)
		}, "", 2, 200},
		"a rule gone":                {func(r *run) { r.edit(`    - {route: "GET /grades", any_role: [teacher]}`, "") }, "", 1, 403},
		"another drain":              {func(r *run) { r.edit("control:", "drain: 1ms\ncontrol:") }, "", 1, 200},
		"a drain below nothing":      {func(r *run) { r.edit("control:", "drain: -1s\ncontrol:") }, "drain: expected how long", 1, 200},
		"another gate":               {func(r *run) { r.edit("every: 1h", "every: 50m") }, "", 2, 200},
		"no YAML":                    {func(r *run) { r.edit("refresh: {", "refresh: [") }, "YAML", 1, 200},
		"an unknown key":             {func(r *run) { r.edit("refresh:", "refrehs:") }, "refrehs", 1, 200},
		"a pattern that is none":     {func(r *run) { r.edit("GET /grades", "GET grades{") }, "forward_auth.rules[1]", 1, 200},
		"two patterns in conflict":   {func(r *run) { r.edit("GET /{$}", "GET /grades") }, "conflicts", 1, 200},
		"a rule without a check":     {func(r *run) { r.edit("any_role: [teacher]}", "}") }, "expected a check", 1, 200},
		"a setting that cannot be":   {func(r *run) { r.edit("expire_after: 6h", "expire_after: 1h") }, "refresh.expire_after (1h0m0s) is less than twice refresh.resync_every", 1, 200},
		"another address":            {func(r *run) { r.edit("listen: 127.0.0.1:0", "listen: 127.0.0.1:1") }, "restart", 1, 200},
		"a listener gone":            {func(r *run) { r.edit("control:", "#") }, "restart", 1, 200},
		"a token that is refused":    {func(r *run) { r.edit("token\"}", "caller\"}") }, "refuse", 1, 200},
		"a marketplace that is away": {func(r *run) { r.edit(`app_id: test-app`, `app_id: test-app, path: nowhere`) }, "404", 1, 200},
		"a file that is gone":        {func(r *run) { require.NoError(r.t, os.Remove(r.path)) }, "no such file", 1, 200},
		"a secret that cannot be read": {func(r *run) {
			r.edit(`callers: [{name: gateway, token: {file: "`, `callers: [{name: gateway, token: {file: "/nowhere`)
		}, "authzen.callers[0]", 1, 200},
		"the console for others":        {func(r *run) { r.edit("console: {any_role: [admin]}", "console: {any_role: [admin, teacher]}") }, "", 1, 200},
		"a console without a condition": {func(r *run) { r.edit("console: {any_role: [admin]}", "console: {}") }, "admin.console", 1, 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := start(t, base)
			require.Equal(t, 200, r.passes(teacher, "GET", "/grades"))
			c.edit(r)
			r.again()
			log := r.log.String()
			if c.refused == "" {
				assert.NotContains(t, log, "the settings file is refused")
				assert.Equal(t, "1", r.metric("rolegate_settings_last_reload_successful"))
			} else {
				assert.Contains(t, log, "the settings file is refused")
				assert.Contains(t, log, c.refused)
				assert.Equal(t, "0", r.metric("rolegate_settings_last_reload_successful"))
			}
			if !strings.Contains(name, "token that") && !strings.Contains(name, "away") {
				assert.Equal(t, c.fulls, r.market.FullRefreshes())
			}
			assert.Equal(t, c.grades, r.passes(teacher, "GET", "/grades"))
			assert.Equal(t, 200, r.passes(teacher, "GET", "/"))
		})
	}
}

// While the file is read again, and gates come and go, nobody is denied.
func TestReloadDeniesNobodyMeanwhile(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	var stop atomic.Bool
	var asked, refused atomic.Int64
	var users sync.WaitGroup
	for range 4 {
		users.Go(func() {
			for !stop.Load() {
				if r.passes(teacher, "GET", "/grades") != http.StatusOK {
					refused.Add(1)
				}
				asked.Add(1)
			}
		})
	}
	for i := range 6 {
		r.edit([]string{"every: 1h", "every: 2h"}[i%2], []string{"every: 2h", "every: 1h"}[i%2])
		r.edit([]string{"resync_every: 2h", "resync_every: 3h"}[i%2], []string{"resync_every: 3h", "resync_every: 2h"}[i%2])
		r.again()
	}
	stop.Store(true)
	users.Wait()
	assert.Zero(t, refused.Load(), r.log)
	assert.Positive(t, asked.Load())
	assert.Equal(t, 7, r.market.FullRefreshes(), "each was another gate")
	assert.NotContains(t, r.log.String(), "refused: the old settings go on")
}

// A rule that is fixed is not complained of for ever, and one console goes on.
func TestReloadForgetsRoles(t *testing.T) {
	t.Parallel()
	r := start(t, strings.Replace(base, "any_role: [teacher]}", "any_role: [techer]}", 1))
	require.Eventually(t, func() bool { return r.metric("rolegate_index_unassigned_roles") == "1" }, 10*time.Second, 5*time.Millisecond)
	r.edit("techer", "teacher")
	r.again()
	require.Eventually(t, func() bool { return r.metric("rolegate_index_unassigned_roles") == "0" }, 10*time.Second, 5*time.Millisecond)
	text, err := io.ReadAll(r.ask("admin", http.MethodGet, "/console", http.Header{"X-User-Id": {admin}}, "").Body)
	require.NoError(t, err)
	assert.NotContains(t, string(text), "techer")
}

// The console's forms come from the origins that the file names, where a proxy rewrites
// Host, and its cookie is for the path that browsers see.
func TestConsoleBehindAProxy(t *testing.T) {
	t.Parallel()
	r := start(t, strings.Replace(base, "console: {any_role: [admin]}", "console: {any_role: [admin]}\n  trusted_origins: ['https://ops.example']\n  console_path: /ops/console", 1))
	page := r.ask("admin", http.MethodGet, "/console", http.Header{"X-User-Id": {admin}}, "")
	require.Equal(t, http.StatusOK, page.StatusCode)
	text, err := io.ReadAll(page.Body)
	require.NoError(t, err)
	token := regexp.MustCompile(`name="token" value="([A-Z2-7]{26})"`).FindSubmatch(text)
	require.NotNil(t, token)
	cookie, err := http.ParseSetCookie(page.Header.Get("Set-Cookie"))
	require.NoError(t, err)
	assert.Equal(t, "/ops/console", cookie.Path)
	for origin, want := range map[string]int{"https://ops.example": http.StatusOK, "https://evil.example": http.StatusForbidden, "null": http.StatusForbidden} {
		answer := r.ask("admin", http.MethodPost, "/console", http.Header{
			"X-User-Id": {admin}, "Origin": {origin}, "Sec-Fetch-Site": {"cross-site"}, "Cookie": {cookie.Name + "=" + cookie.Value},
			"Content-Type": {"application/x-www-form-urlencoded"},
		}, "action=review&token="+string(token[1]))
		assert.Equal(t, want, answer.StatusCode, origin)
	}
}

func TestControlSocket(t *testing.T) {
	t.Parallel()
	t.Run("is the user's own, and goes with the server", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		info, err := os.Lstat(r.socket)
		require.NoError(t, err)
		assert.Equal(t, os.FileMode(0o600), info.Mode().Perm())
		assert.Equal(t, os.ModeSocket, info.Mode().Type())
		entries, err := os.ReadDir(filepath.Dir(r.socket))
		require.NoError(t, err)
		assert.Len(t, entries, 1, "the folder in which it was made is gone")
		require.NoError(t, r.stop())
		_, err = os.Lstat(r.socket)
		assert.ErrorIs(t, err, os.ErrNotExist)
		_, err = r.why(control.Question{Kind: "user_id", User: guest})
		assert.ErrorContains(t, err, "no rolegate serve listens on")
	})
	t.Run("of a process that was killed is replaced", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		require.NoError(t, r.stop())
		l, err := net.Listen("unix", r.socket)
		require.NoError(t, err)
		l.(*net.UnixListener).SetUnlinkOnClose(false)
		require.NoError(t, l.Close())
		require.NoError(t, daemon.Run(ended(t), daemon.Options{Path: r.path, Logger: discard}))
	})
	t.Run("of another server is left alone", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		err := daemon.Run(t.Context(), daemon.Options{Path: r.path, Logger: discard})
		assert.ErrorContains(t, err, "another rolegate listens there")
		_, err = r.why(control.Question{Kind: "user_id", User: guest})
		assert.NoError(t, err)
	})
	t.Run("does not take the place of a file", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		require.NoError(t, r.stop())
		r.put(r.socket, "precious")
		err := daemon.Run(t.Context(), daemon.Options{Path: r.path, Logger: discard})
		assert.ErrorContains(t, err, "is no socket")
		assert.FileExists(t, r.socket)
	})
}

func TestAListenerThatCannotBeOpened(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	r.edit("listen: 127.0.0.1:0", "listen: "+r.addresses["forward_auth"].String())
	r.edit("control:", "#")
	err := daemon.Run(t.Context(), daemon.Options{Path: r.path, Logger: discard})
	assert.ErrorContains(t, err, "forward_auth: listen")
	var wrong *daemon.SettingsError
	assert.NotErrorAs(t, err, &wrong)
}

func TestCheckAsksNobody(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	require.NoError(t, r.stop())
	r.market.ResetRequests()
	file, err := settings.Load(r.path)
	require.NoError(t, err)
	cached := filepath.Join(t.TempDir(), "index")
	file.Cache.File = cached
	require.NoError(t, daemon.Check(t.Context(), file))
	assert.Zero(t, r.market.RequestCount())
	assert.NoFileExists(t, cached)

	file.Cache.File = "/nowhere/at/all/index"
	file.Implies = map[string][]string{"a": {"b"}, "b": {"a"}}
	err = daemon.Check(t.Context(), file)
	assert.ErrorContains(t, err, "/nowhere", "what the cache says of itself")
	assert.ErrorContains(t, err, "Implies")
}

func TestShutdown(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	r.market.Fail(rolegatetest.Hang()) // a pull that is under way holds nothing up
	require.NoError(t, r.stop())
	assert.Equal(t, 1, r.notices("STOPPING=1"))
	_, err := net.Dial("tcp", r.addresses["forward_auth"].String())
	assert.Error(t, err)
}

func TestTLS(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	certificate, key, pool := selfSigned(t, folder, "first")
	r := begin(t, strings.Replace(base, "admin:\n", "admin:\n  tls: {certificate: \""+certificate+"\", key: \""+key+"\"}\n", 1))
	issuer := func(pool *x509.CertPool) string {
		conn, err := tls.Dial("tcp", r.addresses["admin"].String(), &tls.Config{RootCAs: pool, ServerName: "127.0.0.1"})
		require.NoError(t, err)
		defer conn.Close()
		return conn.ConnectionState().PeerCertificates[0].Subject.CommonName
	}
	assert.Equal(t, "first", issuer(pool))

	_, _, pool = selfSigned(t, folder, "second") // in the same files
	assert.NotPanics(t, r.again)
	assert.Equal(t, "second", issuer(pool))

	r.put(key, "no key")
	r.again()
	assert.Contains(t, r.log.String(), "admin.tls")
	assert.Equal(t, "second", issuer(pool), "the old certificate goes on")

	r.edit("  tls: ", "  # ")
	r.again()
	assert.Contains(t, r.log.String(), "tls can only be added or taken away by a restart")
}

// selfSigned writes a certificate for 127.0.0.1 and its key.
func selfSigned(t *testing.T, folder, name string) (certificate, key string, pool *x509.CertPool) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	require.NoError(t, err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	require.NoError(t, err)
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	require.NoError(t, err)
	certificate, key = filepath.Join(folder, "cert.pem"), filepath.Join(folder, "key.pem")
	require.NoError(t, os.WriteFile(certificate, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	require.NoError(t, os.WriteFile(key, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: secret}), 0o600))
	parsed, err := x509.ParseCertificate(der)
	require.NoError(t, err)
	pool = x509.NewCertPool()
	pool.AddCert(parsed)
	return certificate, key, pool
}

// A request that waits for the old gate is answered by it.
func TestReloadWaitsForRequests(t *testing.T) {
	t.Parallel()
	r := start(t, exams)
	got := r.waits(500 * time.Millisecond)
	r.edit("every: 1h", "every: 50m")
	r.again()
	assert.Equal(t, http.StatusOK, <-got)
	assert.Contains(t, r.log.String(), "new_gate=true")
}

func TestReloadByTheSocket(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	r.edit(`"GET /grades", any_role: [teacher]`, `"GET /grades", any_role: [admin]`)
	require.NoError(t, r.reloads(t.Context()))
	assert.Equal(t, http.StatusForbidden, r.passes(teacher, "GET", "/grades"))

	// One that replaces the gate that answers it.
	r.edit("every: 1h", "every: 50m")
	require.NoError(t, r.reloads(t.Context()))
	assert.Contains(t, r.log.String(), "new_gate=true")
	assert.Equal(t, http.StatusForbidden, r.passes(teacher, "GET", "/grades"))

	r.edit("any_role: [admin]", "any_rule: [admin]")
	err := r.reloads(t.Context())
	refused := (*control.RefusedError)(nil)
	require.ErrorAs(t, err, &refused)
	assert.ErrorContains(t, err, "any_rule")
	assert.Equal(t, http.StatusForbidden, r.passes(teacher, "GET", "/grades"))
}
