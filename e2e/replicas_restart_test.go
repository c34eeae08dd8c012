//go:build drill && unix

package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// restarts is how many replicas restart at once. ROLEGATE_E2E_RESTARTS is
// another number, for machines without the memory.
func restarts(t testing.TB) int {
	t.Helper()
	text := os.Getenv("ROLEGATE_E2E_RESTARTS")
	if text == "" {
		return 200
	}
	n, err := strconv.Atoi(text)
	require.NoError(t, err, "ROLEGATE_E2E_RESTARTS")
	return n
}

// All replicas are killed, and 200 start at once: the marketplace sees two walks
// at most, whether Redis still has the index or not.
func TestReplicasRestartAtOnce(t *testing.T) {
	for _, program := range redisPrograms {
		t.Run(filepath.Base(program), func(t *testing.T) {
			d := newDrill(t, program)
			begin := func(n int, name string) {
				d.apps = nil
				for i := range n {
					a := startApp(t, fmt.Sprintf("%s-%d", name, i), d.redis.addr, d.market)
					t.Cleanup(a.kill)
					// On a machine of their own, Redis and the marketplace would not
					// have to wait for all of them.
					require.NoError(t, syscall.Setpriority(syscall.PRIO_PROCESS, a.cmd.Process.Pid, 19))
					d.apps = append(d.apps, a)
				}
			}
			begin(drillReplicas, "before")
			ready := func() {
				for _, a := range d.apps {
					a.awaitServing(t)
					require.Eventually(t, func() bool {
						s, ok := a.status(t.Context())
						return ok && s.State == "ready"
					}, 3*patience, 200*time.Millisecond, a.last())
				}
			}
			ready()
			for _, c := range []struct {
				name   string
				before func()
			}{
				{"Redis has the index", func() {}},
				{"Redis has nothing", func() { d.flush(t) }},
			} {
				for _, a := range d.apps {
					a.kill()
				}
				c.before()
				begun := time.Now()
				begin(restarts(t), c.name)
				started := time.Since(begun)
				ready()
				took := time.Since(begun)
				walks := d.market.seen(begun)
				t.Logf("%s: %d replicas were started within %v, and ready after %v, with %d walks", c.name, len(d.apps),
					started.Round(time.Millisecond), took.Round(time.Millisecond), len(walks))
				assert.LessOrEqual(t, len(walks), 2, "%+v", walks)
			}
		})
	}
}
