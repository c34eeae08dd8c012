package deploytest

import (
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestUnitGivesWhatTheSettingsName(t *testing.T) {
	t.Parallel()
	u := unit(t)
	f := parse(t, read(t, "deploy", "systemd", "rolegate.yaml"))

	var credentials []string
	for _, c := range u["LoadCredential"] {
		name, file, found := strings.Cut(c, ":")
		require.True(t, found)
		assert.Equal(t, "/etc/rolegate/"+name, file)
		credentials = append(credentials, "/run/credentials/rolegate.service/"+name)
	}
	assert.ElementsMatch(t, credentials, secrets(t, f))

	assert.Equal(t, "/run/"+u["RuntimeDirectory"][0], path.Dir(f.Control))
	assert.Equal(t, "/var/lib/"+u["StateDirectory"][0], path.Dir(f.Cache.File))
	for _, mode := range []string{"RuntimeDirectoryMode", "StateDirectoryMode"} {
		assert.Equal(t, []string{"0700"}, u[mode], mode)
	}
	assert.True(t, strings.HasPrefix(f.ForwardAuth.Listen, "127.0.0.1:"), "nobody but this machine")
	assert.True(t, strings.HasPrefix(f.Admin.Listen, "127.0.0.1:"))
}

func TestUnitRunsTheServer(t *testing.T) {
	t.Parallel()
	u := unit(t)
	for name, want := range map[string][]string{
		"Type":                     {"notify"}, // READY=1
		"ExecStart":                {"/usr/local/bin/rolegate serve -c /etc/rolegate/rolegate.yaml"},
		"ExecReload":               {"/usr/local/bin/rolegate serve -c /etc/rolegate/rolegate.yaml --check", "/bin/kill -HUP $MAINPID"},
		"Restart":                  {"on-failure"},
		"RestartPreventExitStatus": {"2"},
		"Environment":              {"GOTRACEBACK=crash"}, // or a panic would be taken for a mistake in the settings
		"LimitCORE":                {"0"},
	} {
		assert.Equal(t, want, u[name], name)
	}
	seconds, err := strconv.Atoi(strings.TrimSuffix(u["TimeoutStopSec"][0], "s"))
	require.NoError(t, err)
	assert.Greater(t, seconds, 5+1)
}

func TestUnitIsCareful(t *testing.T) {
	t.Parallel()
	u := unit(t)
	for _, name := range []string{
		"DynamicUser", "NoNewPrivileges", "ProtectHome", "ProtectClock", "ProtectHostname", "ProtectKernelLogs",
		"ProtectKernelModules", "ProtectKernelTunables", "ProtectControlGroups", "PrivateTmp", "PrivateDevices", "PrivateUsers",
		"LockPersonality", "MemoryDenyWriteExecute", "RestrictRealtime", "RestrictSUIDSGID", "RestrictNamespaces",
	} {
		assert.Equal(t, []string{"yes"}, u[name], name)
	}
	assert.Equal(t, []string{"strict"}, u["ProtectSystem"])
	assert.Equal(t, []string{""}, u["CapabilityBoundingSet"])
	assert.Equal(t, []string{"AF_INET AF_INET6 AF_UNIX"}, u["RestrictAddressFamilies"])
	assert.True(t, slices.Contains(u["SystemCallFilter"], "@system-service"))
}
