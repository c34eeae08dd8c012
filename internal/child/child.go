// Package child starts the processes of tests so that none outlives its test,
// not even one that ends by a panic or a time limit.
package child

import (
	"os/exec"
	"testing"
)

// Start starts cmd, and kills and reaps it when the test ends, unless the
// returned stop did so before. Where the system can, it also kills cmd if this
// process dies without a cleanup.
//
// stop is how a test kills cmd earlier, like a power failure. Wait for a cmd that
// ends by itself before the test does.
func Start(t testing.TB, cmd *exec.Cmd) (stop func()) {
	t.Helper()
	tie(cmd)
	if err := cmd.Start(); err != nil {
		t.Fatalf("start %s: %v", cmd.Path, err)
	}
	stop = func() {
		if cmd.ProcessState == nil {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
		}
	}
	t.Cleanup(stop)
	return stop
}
