package school

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// gateStatus asks the app as a user who may, and returns what it tells.
func gateStatus(t *testing.T, p *running, client *http.Client, user int64) (s struct {
	State rolegate.State
	Users int
	Full  struct{ Succeeded int }
	Cache struct{ Loaded bool }
}) {
	t.Helper()
	code, body := p.ask(t, client, "GET", "/status", user)
	require.Equal(t, http.StatusOK, code)
	require.NoError(t, json.Unmarshal([]byte(body), &s))
	return s
}

// ownFile is in a folder that is nobody else's, whatever the umask.
func ownFile(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	return filepath.Join(dir, "list")
}

// The app is started, stopped, and started while the marketplace is down.
func TestRestartWithoutTheMarketplace(t *testing.T) {
	m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	m.Grant(1, 7, "admin")
	m.Grant(2, 7, "teacher")
	env := map[string]string{
		"ROLEGATE_BASE_URL": m.Start(t), "ROLEGATE_APP_ID": m.AppID(), "ROLEGATE_ACCESS_TOKEN": m.Token(),
	}
	file := ownFile(t)
	client := newClient(t)
	first := start(t, env, "-cache", file)
	first.awaitReady(t, client)
	assert.False(t, gateStatus(t, first, client, 1).Cache.Loaded)
	first.end(t)

	m.Revoke(2)
	m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
	second := start(t, env, "-cache", file)
	second.awaitReady(t, client)
	s := gateStatus(t, second, client, 1)
	assert.True(t, s.Cache.Loaded)
	assert.Equal(t, 2, s.Users)
	assert.Zero(t, s.Full.Succeeded)
	status, _ := second.ask(t, client, "GET", "/grades", 2)
	assert.Equal(t, http.StatusOK, status)
	second.end(t)

	m.Recover()
	third := start(t, env, "-cache", file)
	third.awaitReady(t, client)
	require.Eventually(t, func() bool {
		status, _ := third.ask(t, client, "GET", "/grades", 2)
		return status == http.StatusForbidden
	}, patience, often, "a full refresh is due at once")
}

// The walk-through ends with a command that works.
func TestRestartOfTheWalkThrough(t *testing.T) {
	file := ownFile(t)
	first := start(t, nil, "-cache", file)
	require.Eventually(t, first.walkedThrough, patience, often, first.stderr)
	command := regexp.MustCompile(`ROLEGATE_BASE_URL=(\S+) ROLEGATE_APP_ID=(\S+) ROLEGATE_ACCESS_TOKEN=(\S+) go run ./example -cache (\S+)\n`).
		FindStringSubmatch(first.stdout.String())
	require.NotNil(t, command, first.stdout)
	assert.Equal(t, file, command[4])
	first.end(t) // and with it its marketplace

	client := newClient(t)
	second := start(t, map[string]string{"ROLEGATE_BASE_URL": command[1], "ROLEGATE_APP_ID": command[2], "ROLEGATE_ACCESS_TOKEN": command[3]}, "-cache", command[4])
	second.awaitReady(t, client)
	s := gateStatus(t, second, client, admin)
	assert.True(t, s.Cache.Loaded)
	assert.Zero(t, s.Full.Succeeded)
	for user, want := range map[int64]int{homeroom: http.StatusOK, teacher: http.StatusForbidden, stranger: http.StatusForbidden} {
		status, _ := second.ask(t, client, "GET", "/grades", user)
		assert.Equal(t, want, status, user)
	}
	second.end(t)

	// Another walk-through has another marketplace: it starts with its own list.
	third := start(t, nil, "-cache", file)
	require.Eventually(t, third.walkedThrough, patience, often, third.stderr)
	assert.False(t, gateStatus(t, third, client, admin).Cache.Loaded)
}

func TestAFileThatCannotBeKeptSaysSo(t *testing.T) {
	err := run(t.Context(), []string{"-addr", "127.0.0.1:0", "-cache", filepath.Join(t.TempDir(), "none", "none", "list")},
		func(string) string { return "" }, &output{}, &output{}, nil)
	require.ErrorContains(t, err, "make it with: install -d")
}
