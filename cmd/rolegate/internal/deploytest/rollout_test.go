//go:build drill

package deploytest

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A roll-out as deploy/kubernetes.yaml has it, with processes in the place of pods
// and a marketplace that accepts one token at a time: two that serve, the token and
// the settings are changed, a new one comes before an old one goes, twice. Whoever
// asks those that are ready is answered rightly all the while, and each of the old
// ones goes on answering until its drain is over.
func TestRollOut(t *testing.T) {
	t.Parallel()
	program := build(t)
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	market.Put(rolegatetest.User{ID: 1542135022016057002, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
	upstream := market.Start(t)
	secret := filepath.Join(t.TempDir(), "market-token") // the Secret, which every pod mounts
	write := func() { require.NoError(t, os.WriteFile(secret, []byte(market.Token()+"\n"), 0o440)) }
	write()

	const drain = 2 * time.Second
	pod := func() *containerLike {
		text := object(t, "ConfigMap", "rolegate").Data["rolegate.yaml"]
		identity := text[strings.Index(text, "identity:"):strings.Index(text, "forward_auth:")]
		return runSettings(t, program, text, [][2]string{
			{"https://market.example.com/api", upstream}, {"app_id: school", "app_id: " + market.AppID()},
			{"/run/secrets/rolegate/market-token", secret}, {"drain: 30s", "drain: " + drain.String()},
			{identity, "identity: [{is: user_id, header: X-User-Id, trusted: loopback}]\n"}, {"10.244.0.0/16", "127.0.0.1"},
			{`":9090"`, `"127.0.0.1:0"`}, {`":9092"`, `"127.0.0.1:0"`},
		})
	}
	ready := func(c *containerLike) func() bool {
		return func() bool { return c.get("admin", "/readyz", nil) == http.StatusOK }
	}
	comes := func(c *containerLike) {
		t.Helper()
		require.Eventually(t, ready(c), 20*time.Second, 10*time.Millisecond, c.log)
	}
	old := []*containerLike{pod(), pod()}
	for _, c := range old {
		comes(c)
	}

	market.SetToken("AT-2-theSecondTokenForTests") // the first counts no more
	for _, c := range old {
		assert.Equal(t, http.StatusOK, c.passes("/grades"), "by the list that it has")
	}
	stuck := pod() // with the old token: it takes nobody's place
	assert.Equal(t, http.StatusServiceUnavailable, stuck.get("admin", "/readyz", nil))
	write()
	comes(stuck) // whoever is refused reads the file again

	for i, leaving := range old {
		next := stuck
		if i > 0 {
			next = pod()
			comes(next)
		}
		began := time.Now()
		require.NoError(t, leaving.cmd.Process.Signal(syscall.SIGTERM))
		require.Eventually(t, func() bool { return leaving.get("admin", "/readyz", nil) == http.StatusServiceUnavailable }, drain, time.Millisecond, leaving.log)
		assert.Equal(t, http.StatusOK, leaving.passes("/grades"), "who has not heard yet is still answered")
		assert.Equal(t, http.StatusOK, next.passes("/grades"))
		assert.NoError(t, leaving.wait(), leaving.log)
		assert.GreaterOrEqual(t, time.Since(began), drain)
		assert.FileExists(t, filepath.Join(leaving.cache, "own", "list.index"))
	}
}
