package settings_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// least is a settings file with no more than is needed.
const least = `marketplace: {url: "https://market.example.com", app_id: school, token: {env: ROLEGATE_ACCESS_TOKEN}}
`

// withHeader says besides who is asking.
const withHeader = least + "identity: [{is: user_id, header: X-User-Id, trusted: loopback}]\n"

// Each mistake is named with its place, and all of a file at once.
func TestMistakes(t *testing.T) {
	t.Parallel()
	const missing = "the value is missing: give one, or leave the key out to have the default"
	const proxy = "forward_auth: {listen: '127.0.0.1:1', proxy: nginx, trusted: loopback, rules: "
	for name, c := range map[string]struct {
		text  string
		wrong []string
	}{
		"nothing":        {"", []string{"the file is empty: expected settings"}},
		"comments alone": {"# nothing\n", []string{"the file is empty: expected settings"}},
		"an empty document": {"---\n", []string{
			"line 2: " + missing,
		}},
		"an empty marketplace": {"marketplace: {}\n", []string{
			"marketplace.url: expected where the marketplace's interface begins, such as https://market.example.com/api",
			"marketplace.app_id: expected the client id of the app",
			"marketplace.token: expected {env: NAME} or {file: PATH}",
		}},
		"unknown keys, at any depth": {"markteplace: {}\n" + least + proxy + "[{route: /x, admit: true, any_rol: [a], either: [{shadow: true}]}]}\n", []string{
			"line 1: unknown key markteplace: expected marketplace",
			"line 3, forward_auth.rules[0]: unknown key any_rol: expected any_role",
			"line 3, forward_auth.rules[0].either[0]: unknown key shadow: expected any_role, all_roles or no_role",
		}},
		"a key twice": {"marketplace:\n  url: a\n  url: b\n" + "log: {}\nlog: {}\n", []string{
			"line 5: the key log is there already",
		}},
		"a key twice in a section": {"marketplace:\n  url: a\n  url: b\n", []string{
			"line 3, marketplace: the key url is there already",
		}},
		"a role twice in implies": {least + "implies: {a: [b], a: [c]}\n", []string{
			"line 2, implies: the key a is there already",
		}},
		"wrong types": {withHeader + `shadow_admit: perhaps
control: [/run/rolegate.sock]
implies: {a: b}
keep: account
refresh: {max_shrink: much, every: [60s]}
on_deny: {per_minute: 1.5}
cache: {file: {path: /x}}
forward_auth: []
admin: {console: {any_role: admin}}
log: {level: loud}
`, []string{
			"line 3, shadow_admit: expected true or false",
			"line 4, control: expected a text",
			"line 5, implies.a: expected a list of texts, such as [teacher, admin]",
			"line 6, keep: expected a list",
			"line 7, refresh.max_shrink: expected a number",
			"line 7, refresh.every: expected a duration such as 30s, 10m or 1h",
			"line 8, on_deny.per_minute: expected a whole number",
			"line 9, cache.file: expected a text",
			"line 10, forward_auth: expected keys with values",
			"line 11, admin.console.any_role: expected a list of texts, such as [teacher, admin]",
			"line 12, log.level: expected debug, info, warn or error",
		}},
		"values that are missing": {withHeader + "log:\nforward_auth: {rules: [{route: /x, any_role: [a, ~], no_role: }]}\n", []string{
			"line 3, log: " + missing,
			"line 4, forward_auth.rules[0].any_role[1]: " + missing,
			"line 4, forward_auth.rules[0].no_role: " + missing,
		}},
		"tags": {least + "control: !!binary L3g=\nlog: !x {}\n", []string{
			"line 2, control: expected a value without a tag (!)",
			"line 3, log: expected a value without a tag (!)",
		}},
		"a tag that does not fit": {least + "on_deny: {per_minute: !!int few}\n", []string{
			"line 2, on_deny.per_minute: expected a value without a tag (!)",
		}},
		"a key that is a list": {least + "implies: {[a]: [b]}\n", []string{
			"line 2, implies: expected a text as the key",
		}},
		"mistakes of both kinds": {least + "log: {format: xml}\nrefresh: {every: often}\n", []string{
			"line 3, refresh.every: expected a duration such as 30s, 10m or 1h",
			"log.format: expected text or json",
		}},
		"kinds and strings to keep": {least + "aliases: [name, [email]]\nkeep: [avatar]\n", []string{
			"line 2, aliases[0]: expected one of user_id, account, email, third_account or third_user_id",
			"line 2, aliases[1]: expected one of user_id, account, email, third_account or third_user_id",
			"line 3, keep[0]: expected one of account, email, third_account, third_user_id, nickname or third_user_name",
		}},
		"a proxy that is none": {withHeader + "forward_auth: {proxy: apache}\n", []string{
			"line 3, forward_auth.proxy: expected one of nginx, traefik, caddy, envoy or haproxy",
		}},
		"cloud_command without its secret": {least + "cloud_command: {url: 'https://x'}\n", []string{
			"cloud_command.client_secret: expected {env: NAME} or {file: PATH}",
		}},
		"identities": {least + `identity:
  - {}
  - {is: user_id}
  - {is: user_id, header: X-User-Id, issuer: "https://x"}
  - {is: user_id, header: "X User", trusted: loopback}
  - {is: user_id, header: X-User-Id}
  - {is: user_id, header: X-User-Id, trusted: loopback, claim: sub}
  - {is: user_id, issuer: "https://x", trusted: loopback}
  - {is: user_id, issuer: "https://x", claim: sub}
  - {is: user_id, issuer: "https://x", audience: a, token_type: refresh}
`, []string{
			"identity[0]: is: expected which of a user's names is read, such as user_id or third_user_id",
			"identity[1]: expected either header, which your proxy sets, or issuer, whose tokens are verified",
			"identity[2]: expected either header, which your proxy sets, or issuer, whose tokens are verified",
			"identity[3]: header: expected the name of a header, such as X-User-Id",
			"identity[4]: trusted: expected the networks that the proxy connects from: from elsewhere the header is not believed",
			"identity[5]: audience, claim, and what else is about a token, go with issuer, not with header",
			"identity[6]: trusted goes with header, not with issuer",
			"identity[7]: audience: expected what the claim aud must have in it",
			"identity[8]: token_type: expected access or id",
		}},
		"caches": {least + "cache: {file: /x, redis: {address: redis, secret: {file: /y}}}\n", []string{
			"cache: expected file or redis, not both: what is in Redis outlives a restart too",
			"cache.redis.address: expected host:port",
		}},
		"a Redis in two ways": {least + "cache: {redis: {address: 'redis:6379', cluster: ['redis:6379'], secret: {file: /y}}}\n", []string{
			"cache.redis: expected one of address, sentinel and cluster",
		}},
		"Sentinels that are not named": {least + "cache: {redis: {sentinel: {addresses: [redis]}, secret: {file: /y}}}\n", []string{
			"cache.redis.sentinel.master: expected the name by which the Sentinels know it, such as mymaster",
			"cache.redis.sentinel.addresses: expected host:port",
		}},
		"no Sentinels": {least + "cache: {redis: {sentinel: {master: m}, secret: {file: /y}}}\n", []string{
			"cache.redis.sentinel.addresses: expected a list of host:port",
		}},
		"a cluster's database": {least + "cache: {redis: {cluster: ['a:1', 'b'], database: 1, secret: {file: /y}}}\n", []string{
			"cache.redis.database: expected 0: a cluster has no other",
			"cache.redis.cluster: expected host:port",
		}},
		"half a client certificate": {least + "cache:\n  redis:\n    address: a:1\n    secret: {file: /y}\n    tls: {certificate: /c}\n", []string{
			"line 6, cache.redis.tls: expected certificate and key, or neither",
		}},
		"what TLS does not know": {least + "cache:\n  redis:\n    address: a:1\n    secret: {file: /y}\n    tls: {insecure: true}\n", []string{
			"line 6, cache.redis.tls: expected true, or {ca: PATH, certificate: PATH, key: PATH, server_name: NAME}, with what is needed of these",
		}},
		"TLS, perhaps": {least + "cache:\n  redis:\n    address: a:1\n    secret: {file: /y}\n    tls: perhaps\n", []string{
			"line 6, cache.redis.tls: expected true, or {ca: PATH, certificate: PATH, key: PATH, server_name: NAME}, with what is needed of these",
		}},
		"a Redis without a secret": {least + "cache: {redis: {address: 'redis:6379'}}\n", []string{
			"cache.redis.secret: expected {env: NAME} or {file: PATH} of a secret that all replicas have; make it with: openssl rand -base64 48",
		}},
		"empty sections with listeners": {least + "forward_auth: {}\nauthzen: {}\nadmin: {}\n", []string{
			"forward_auth.listen: expected host:port, such as 127.0.0.1:9090",
			"forward_auth.proxy: expected which program asks, such as nginx",
			"forward_auth.trusted: expected the networks that the proxy connects from, such as loopback: whoever else could ask would learn who may do what",
			"forward_auth.rules: expected rules: without any, everything is denied",
			"authzen.listen: expected host:port, such as 127.0.0.1:9090",
			"authzen.callers: expected the programs that may ask, each with a token",
			"authzen.rules: expected rules: without any, everything is denied",
			"admin.listen: expected host:port, such as 127.0.0.1:9090",
			"identity: expected how the user is identified: a header or an issuer",
		}},
		"a caller without a token, and one without a name": {least + "authzen: {listen: ':1', callers: [{name: a}, {token: {env: A}}], rules: [{}]}\n", []string{
			"authzen.callers[0]: expected name and token",
			"authzen.callers[1]: expected name and token",
		}},
		"one address for two": {withHeader + proxy + "[{}]}\nadmin: {listen: '127.0.0.1:1'}\n", []string{
			"admin.listen: forward_auth has that address: expected one of its own",
		}},
		"a console without an identity": {least + "admin: {listen: '127.0.0.1:1', console: {any_role: [a]}}\n", []string{
			"identity: expected how the user is identified: a header or an issuer",
		}},
		"a socket with a path that is too long": {least + "control: /" + strings.Repeat("x", 103) + "\n", []string{
			"control: expected the path of a Unix socket, of at most 103 bytes, which no system can go beyond",
		}},
		"two documents":       {least + "---\n" + least, []string{"expected one YAML document, without a line --- in between"}},
		"a tab":               {"marketplace:\n\turl: a\n", []string{"line 2: a tab: expected blanks in front, which YAML wants"}},
		"indentation":         {"marketplace:\n  url: x\n app_id: y\n", []string{"line 3: this is not YAML: did not find expected key"}},
		"a bracket left open": {"aliases: [a\n", []string{"line 2: this is not YAML: did not find expected ',' or ']'"}},
		"an alias of nothing": {"control: *x\n", []string{"line 1: an alias (*) names no anchor (&)"}},
		"a merge of nothing":  {least + "log: {<<: text}\n", []string{"line 2: <<: expected what to merge, keys with values"}},
		"a merge of itself":   {least + "log: &a {<<: *a}\n", []string{"line 2: <<: expected what to merge, keys with values"}},
		"a control byte":      {least + "control: \x01\n", []string{"this is not YAML: control characters are not allowed (value: 1)"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f, err := settings.Parse([]byte(c.text))
			require.Error(t, err)
			assert.Nil(t, f)
			assert.Equal(t, strings.Join(c.wrong, "\n"), err.Error())
		})
	}
}

// marker is what stands for a secret.
const marker = "secret-1f2e3d"

// A secret in a wrong place is a mistake, and in no message.
func TestSecretsAreInNoError(t *testing.T) {
	t.Parallel()
	for _, text := range []string{
		marker, "[" + marker + "]", marker + ": 1", "a: " + marker, "- " + marker, "!" + marker + " a", "&" + marker + " a", "%" + marker + "\n---\n",
		"'" + marker, "\"" + marker, "{" + marker, "*" + marker, "@" + marker, "a: b: " + marker, "\t" + marker, marker + "\x00", marker + "\n---\n" + marker,
		"marketplace: MARK", "marketplace: [MARK]", "marketplace: {MARK: 1}", "marketplace: {MARK: 1, MARK: 2}",
		"marketplace: {url: [MARK]}", "marketplace: {app_id: [MARK]}", "marketplace: {app_id: {MARK: x}}",
		"marketplace: {token: MARK}", "marketplace: {token: [MARK]}", "marketplace: {token: {MARK: x}}", "marketplace: {token: {value: MARK}}",
		"marketplace: {token: {env: MARK}}", "marketplace: {token: {env: [MARK]}}", "marketplace: {token: {env: A, MARK: B}}", "marketplace: {token: {file: {MARK: 1}}}",
		"marketplace: {page_size: MARK}", "marketplace: {page_size: !!int MARK}", "marketplace: {page_timeout: MARK}", "marketplace: {unique_sequences: MARK}",
		least + "cloud_command: {client_secret: MARK}", least + "cloud_command: {client_secret: {env: A}, password: MARK}",
		least + "cloud_command: {sync_id: MARK}", least + "cloud_command: {running: MARK}",
		least + "identity: [{is: MARK}]", least + "identity: [{is: user_id, header: MARK, trusted: MARK}]", least + "identity: [{is: user_id, header: 'X MARK', trusted: loopback}]",
		least + "identity: [{is: user_id, issuer: 'https://a:MARK@x', audience: a, claim: sub, token_type: MARK}]",
		least + "aliases: MARK", least + "aliases: [MARK]", least + "keep: [MARK]",
		least + "implies: {MARK: MARK}", least + "implies: {MARK: [a], MARK: [b]}", least + "implies: {[MARK]: [a]}", least + "implies: {? {MARK: 1} : [a]}",
		least + "cache: {redis: {address: 'u:MARK@redis:1', secret: MARK}}", least + "cache: {redis: {address: 'u:MARK@redis:1', secret: {file: /x}}}",
		least + "forward_auth: {listen: MARK, proxy: MARK, trusted: [MARK]}", least + "forward_auth: {listen: MARK, proxy: nginx, trusted: loopback, rules: [{route: a, MARK: x}]}",
		least + "authzen: {listen: MARK, callers: [{name: a, token: MARK}]}", least + "authzen: {listen: ':1', subjects: {MARK: MARK}}",
		least + "admin: {listen: MARK}", least + "log: {level: MARK}", least + "log: {level: [MARK]}", least + "log: {format: MARK}",
		least + "control: &MARK [*MARK]", least + "log: {<<: MARK}", least + "log: {<<: {MARK: 1}}",
	} {
		text = strings.ReplaceAll(text, "MARK", marker)
		t.Run(text, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Parse([]byte(text))
			require.Error(t, err)
			assert.NotContains(t, err.Error(), marker)
			assert.NotContains(t, err.Error(), marker[:7], "not in parts either")
			assert.NotContains(t, err.Error(), "yaml")
			assert.NotContains(t, err.Error(), "settings.")
		})
	}
}

func TestForms(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"least":                       least,
		"CRLF":                        strings.ReplaceAll(withHeader, "\n", "\r\n"),
		"a byte order mark":           "\ufeff" + withHeader,
		"a document start and end":    "---\n" + withHeader + "...\n",
		"no line end":                 strings.TrimSpace(withHeader),
		"numbers as texts":            least + "control: 7\nimplies: {1: [2]}\n",
		"words that are no booleans":  least + "implies: {on: [yes, no]}\n",
		"an alias for a list":         least + "admin: {listen: ':1'}\nimplies: {a: &some [b, c], d: *some}\n",
		"an alias for networks":       withHeader + "authzen: {listen: ':1', callers: [{name: a, token: {env: &e A}}, {name: b, token: {env: *e}}], rules: [{}]}\n",
		"a merge":                     least + "identity:\n  - &first {is: user_id, header: X-A, trusted: [&lo loopback]}\n  - {<<: *first, header: X-B}\n  - {is: email, header: X-C, trusted: [*lo]}\n",
		"JSON":                        `{"marketplace":{"url":"https://m","app_id":"a","token":{"file":"/x"}}}`,
		"all interfaces":              least + "admin: {listen: ':9090'}\n",
		"two listeners on any port":   withHeader + "forward_auth: {listen: '127.0.0.1:0', proxy: caddy, trusted: 10.0.0.1, rules: [{}]}\nadmin: {listen: '127.0.0.1:0'}\n",
		"kinds and keeps that repeat": least + "aliases: [user_id, email, email]\nkeep: [email, email]\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			_, err := settings.Parse([]byte(text))
			assert.NoError(t, err)
		})
	}
}

// What a few lines could be blown up to is not.
func TestManyAliases(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	b.WriteString(least + "implies:\n  a0: &a0 [" + strings.Repeat("x, ", 20000) + "]\n")
	for i := range 1000 {
		fmt.Fprintf(&b, "  b%d: *a0\n", i)
	}
	begin := time.Now()
	_, err := settings.Parse([]byte(b.String()))
	assert.EqualError(t, err, "line 3: aliases (*) are used too much, or within what they stand for")

	b.Reset()
	b.WriteString(least + "x0: &x0 [a]\n")
	for i := range 40 { // 10^40 items
		fmt.Fprintf(&b, "x%d: &x%d [%s]\n", i+1, i+1, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*x%d, ", i), 10), ", "))
	}
	_, err = settings.Parse([]byte(b.String()))
	assert.ErrorContains(t, err, "unknown key")

	_, err = settings.Parse([]byte(least + "control: " + strings.Repeat("[", 1e5)))
	assert.ErrorContains(t, err, "depth")
	assert.Less(t, time.Since(begin), 20*time.Second)
}

func TestLoad(t *testing.T) {
	t.Parallel()
	folder := t.TempDir()
	file := filepath.Join(folder, "rolegate.yaml")
	put := func(text string) { require.NoError(t, os.WriteFile(file, []byte(text), 0o600)) }

	put(least)
	f, err := settings.Load(file)
	require.NoError(t, err)
	assert.Equal(t, "school", f.Marketplace.AppID)

	put(least + "cache: {x: 1}\n")
	_, err = settings.Load(file)
	assert.EqualError(t, err, file+": line 2, cache: unknown key x: expected file or redis")

	put(least + "cache: {x: 1}\non_deny: {y: 2}\n")
	_, err = settings.Load(file)
	assert.EqualError(t, err, file+":\n  line 2, cache: unknown key x: expected file or redis\n  line 3, on_deny: unknown key y: expected off, wait, per_minute or ttl")

	put("#" + strings.Repeat("x", 4<<20))
	_, err = settings.Load(file)
	assert.EqualError(t, err, file+": expected at most 4194304 bytes")

	_, err = settings.Load(filepath.Join(folder, "none.yaml"))
	assert.ErrorIs(t, err, os.ErrNotExist)
	_, err = settings.Load(folder)
	assert.Error(t, err)
}

// Parse never panics, its errors have no value in them that could be a secret,
// and what it accepts it accepts again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(least))
	f.Add([]byte(withHeader + "forward_auth: {listen: ':1', proxy: nginx, trusted: [loopback, 10.0.0.0/8], rules: [{route: a, any_role: [b], max_age: 1m}]}"))
	f.Add([]byte("marketplace: {url: " + marker + ", app_id: [" + marker + "], token: " + marker + "}"))
	f.Add([]byte("a: &a [*a]\n<<: *a\n? [" + marker + "]\n: !!int x\n---\n" + marker))
	f.Fuzz(func(t *testing.T, data []byte) {
		file, err := settings.Parse(data)
		if err != nil {
			assert.Nil(t, file)
			assert.NotContains(t, err.Error(), "secret-")
			return
		}
		again, err := settings.Parse(data)
		require.NoError(t, err)
		assert.Equal(t, file, again)
	})
}

// A server can be asked while its file is being changed.
func TestControlOf(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ text, want, err string }{
		"a whole file":           {withHeader + "control: /run/s\n", "/run/s", ""},
		"none":                   {least, "", ""},
		"an empty file":          {"", "", "the file is empty"},
		"without a value":        {"control:\n", "", ""},
		"an unknown key":         {"refrehs: {}\ncontrol: /run/s # there\n", "/run/s", ""},
		"a wrong value":          {"control: '/run/s'\nrefresh: {every: often}\nlog:\n", "/run/s", ""},
		"no YAML":                {"refresh: [\ncontrol: \"/run/s\" # there\nlog: {}\n", "/run/s", ""},
		"no YAML before it":      {"\tx: {\ncontrol: /run/s\r\n", "/run/s", ""},
		"no YAML and no control": {"refresh: [\n", "", "nor can it be read where the control socket is: name it with --socket"},
		"a broken one":           {"control: [\n", "", "name it with --socket"},
		"no text":                {"control: [a]\n", "", "line 1: control: expected a text: name the socket with --socket"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(t.TempDir(), "rolegate.yaml")
			require.NoError(t, os.WriteFile(path, []byte(c.text), 0o600))
			got, err := settings.ControlOf(path)
			assert.Equal(t, c.want, got)
			if c.err == "" {
				assert.NoError(t, err)
			} else {
				assert.ErrorContains(t, err, c.err)
			}
		})
	}
	_, err := settings.ControlOf(filepath.Join(t.TempDir(), "none"))
	assert.ErrorIs(t, err, os.ErrNotExist)
}
