package settings_test

import (
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/forwardauth"
)

// parse reads a file that is right.
func parse(t *testing.T, text string) *settings.File {
	t.Helper()
	f, err := settings.Parse([]byte(text))
	require.NoError(t, err)
	return f
}

func TestDuration(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Duration{
		"30s": 30 * time.Second, "1h30m": 90 * time.Minute, `"10m"`: 10 * time.Minute, "1.5s": 1500 * time.Millisecond, "0": 0, "-5s": -5 * time.Second,
	} {
		assert.Equal(t, want, time.Duration(parse(t, least+"refresh: {every: "+text+"}\n").Refresh.Every), text)
	}
	for _, text := range []string{"5", "1d", "often", "[1s]", "{}", "10 m", "1e3s", "99999999999h"} {
		_, err := settings.Parse([]byte(least + "refresh: {every: " + text + "}\n"))
		assert.EqualError(t, err, "line 2, refresh.every: expected a duration such as 30s, 10m or 1h", text)
	}
}

func TestNetworks(t *testing.T) {
	t.Parallel()
	const identity = least + "identity: [{is: user_id, header: X-A, trusted: "
	for text, want := range map[string][]netip.Prefix{
		"loopback":                rolegate.Loopback(),
		"[loopback, 10.1.2.0/24]": append(rolegate.Loopback(), netip.MustParsePrefix("10.1.2.0/24")),
		"[unix]":                  rolegate.TrustedUnix(),
		"10.1.2.3":                {netip.MustParsePrefix("10.1.2.3/32")},
		`["fd00::/8", "fd00::1"]`: {netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("fd00::1/128")},
	} {
		assert.Equal(t, settings.Networks(want), parse(t, identity+text+"}]\n").Identity[0].Trusted, text)
	}
	for text, want := range map[string]string{
		"localhost": "expected loopback, unix, an address", "10.0.0.0/33": "expected loopback, unix, an address", "{}": "expected loopback, unix, an address", "[[loopback]]": "expected loopback, unix, an address",
		"'fe80::1%eth0'": "expected loopback, unix, an address", "0.0.0.0/0": "the whole Internet", "'::/0'": "the whole Internet", "'::ffff:10.0.0.0/104'": "no plain IPv4 network", "[]": "trusted: expected the networks",
	} {
		_, err := settings.Parse([]byte(identity + text + "}]\n"))
		assert.ErrorContains(t, err, want, text)
	}
}

func TestNames(t *testing.T) {
	t.Parallel()
	f := parse(t, least+"aliases: [user_id, account, email, third_account, third_user_id]\nkeep: [account, email, third_account, third_user_id, nickname, third_user_name]\n")
	assert.Equal(t, []settings.Kind{
		settings.Kind(rolegate.KindUserID), settings.Kind(rolegate.KindAccount), settings.Kind(rolegate.KindEmail),
		settings.Kind(rolegate.KindThirdAccount), settings.Kind(rolegate.KindThirdUserID),
	}, f.Aliases)
	assert.Equal(t, []settings.Keep{"account", "email", "third_account", "third_user_id", "nickname", "third_user_name"}, f.Keep)

	for text, want := range map[string]forwardauth.Proxy{
		"nginx": forwardauth.Nginx, "traefik": forwardauth.Traefik, "caddy": forwardauth.Caddy, "envoy": forwardauth.Envoy, "haproxy": forwardauth.HAProxy,
	} {
		f := parse(t, withHeader+"forward_auth: {listen: ':1', trusted: loopback, proxy: "+text+", rules: [{}]}\n")
		assert.Equal(t, settings.Proxy(want), f.ForwardAuth.Proxy, text)
	}
	for _, text := range []string{"NGINX", "[nginx]", "1"} {
		_, err := settings.Parse([]byte(withHeader + "forward_auth: {listen: ':1', trusted: loopback, proxy: " + text + ", rules: [{}]}\n"))
		assert.EqualError(t, err, "line 3, forward_auth.proxy: expected one of nginx, traefik, caddy, envoy or haproxy", text)
	}
}

// An address to listen on has a port that is a number; that of a Redis a host too.
func TestAddresses(t *testing.T) {
	t.Parallel()
	for address, right := range map[string]struct{ listen, redis bool }{
		"127.0.0.1:9090": {true, true}, "[::1]:9090": {true, true}, "redis:6379": {true, true}, ":9090": {true, false}, "127.0.0.1:0": {true, false}, "redis:0": {true, false},
		"9090": {}, "127.0.0.1": {}, "127.0.0.1:": {}, ":": {}, "127.0.0.1:http": {}, "127.0.0.1:65536": {}, "127.0.0.1:-1": {}, "::1:9090": {}, "": {}, "http://127.0.0.1:80": {},
	} {
		_, err := settings.Parse([]byte(least + "admin: {listen: '" + address + "'}\n"))
		assert.Equal(t, right.listen, err == nil, "%s: %v", address, err)
		_, err = settings.Parse([]byte(least + "cache: {redis: {address: '" + address + "', secret: {file: /x}}}\n"))
		assert.Equal(t, right.redis, err == nil, "%s: %v", address, err)
	}
}

func TestSecretRead(t *testing.T) { // not parallel: t.Setenv
	folder := t.TempDir()
	file := func(text string) settings.Secret {
		f, err := os.CreateTemp(folder, "")
		require.NoError(t, err)
		_, err = f.WriteString(text)
		require.NoError(t, err)
		require.NoError(t, f.Close())
		return settings.Secret{File: f.Name()}
	}
	t.Setenv("ROLEGATE_TEST_SECRET", "of the environment")
	t.Setenv("ROLEGATE_TEST_EMPTY", "")
	t.Setenv("ROLEGATE_TEST_LINES", marker+"\n"+marker)
	for name, c := range map[string]struct {
		secret settings.Secret
		want   string
		err    string
	}{
		"a variable":                  {settings.Secret{Env: "ROLEGATE_TEST_SECRET"}, "of the environment", ""},
		"a variable that is empty":    {settings.Secret{Env: "ROLEGATE_TEST_EMPTY"}, "", "the environment variable ROLEGATE_TEST_EMPTY is empty or not set"},
		"a variable that is not set":  {settings.Secret{Env: "ROLEGATE_TEST_UNSET"}, "", "the environment variable ROLEGATE_TEST_UNSET is empty or not set"},
		"a variable of several lines": {settings.Secret{Env: "ROLEGATE_TEST_LINES"}, "", "the environment variable ROLEGATE_TEST_LINES has more than one line"},
		"a file":                      {file(" of a file "), " of a file ", ""},
		"a file with a line end":      {file("of a file\n"), "of a file", ""},
		"a file of Windows":           {file("of a file\r\n"), "of a file", ""},
		"a file with empty lines":     {file("of a file\n\n\n"), "of a file", ""},
		"an empty file":               {file(""), "", "is empty or not set"},
		"a file of a line end":        {file("\n"), "", "is empty or not set"},
		"a file of several lines":     {file(marker + "\n" + marker + "\n"), "", "has more than one line"},
		"a file with a zero byte":     {file(marker + "\x00"), "", "has more than one line"},
		"a file that is too large":    {file(strings.Repeat(marker, 10000)), "", "expected at most 65536 bytes"},
		"a file of the largest size":  {file(strings.Repeat("x", 64<<10)), strings.Repeat("x", 64<<10), ""},
		"a missing file":              {settings.Secret{File: filepath.Join(folder, "none")}, "", "no such file"},
		"a folder":                    {settings.Secret{File: folder}, "", "directory"},
		"nothing":                     {settings.Secret{}, "", "it is not said where the secret is"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := c.secret.Read()
			assert.Equal(t, c.want, got)
			if c.err == "" {
				assert.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, c.err)
			assert.NotContains(t, err.Error(), marker)
		})
	}

	// It is read anew each time.
	s := file("one")
	one, err := s.Read()
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(s.File, []byte("two"), 0o600))
	two, err := s.Read()
	require.NoError(t, err)
	assert.Equal(t, []string{"one", "two"}, []string{one, two})
}

func TestSecretSaysWhere(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "the environment variable A", settings.Secret{Env: "A"}.String())
	assert.Equal(t, "the file /run/a", settings.Secret{File: "/run/a"}.String())
	assert.Equal(t, "nowhere", settings.Secret{}.String())
	assert.True(t, settings.Secret{}.IsZero())
	assert.False(t, settings.Secret{File: "a"}.IsZero())

	for _, text := range []string{"{env: A, file: b}", "{}", "{env: [A]}", "{ENV: A}", "A", "[env, A]", `{file: "a\0b"}`} {
		_, err := settings.Parse([]byte("marketplace: {url: x, app_id: y, token: " + text + "}\n"))
		assert.EqualError(t, err, "line 1, marketplace.token: expected {env: NAME} or {file: PATH}: no secret is written into this file", text)
	}
	for _, text := range []string{"A B", "A=b", "1A", "a-b", "$A", strings.Repeat("A", 65)} {
		_, err := settings.Parse([]byte("marketplace: {url: x, app_id: y, token: {env: '" + text + "'}}\n"))
		assert.EqualError(t, err, "line 1, marketplace.token: expected the name of an environment variable, such as ROLEGATE_ACCESS_TOKEN, not the secret itself", text)
	}
}
