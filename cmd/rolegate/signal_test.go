//go:build drill && unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The program itself reads its file again on SIGHUP, keeps the old settings if
// the new ones are wrong, and ends well on SIGTERM.
func TestSignals(t *testing.T) {
	t.Parallel()
	program := filepath.Join(t.TempDir(), "rolegate")
	text, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput()
	require.NoError(t, err, string(text))

	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	school(market)
	file, socket := settingsFile(t, served, market)
	s := &server{market: market, file: file, socket: socket}
	var out logbook.Book
	cmd := exec.CommandContext(t.Context(), program, "serve", "-c", file)
	cmd.Stdout, cmd.Stderr = &out, &s.log
	require.NoError(t, cmd.Start())
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }()
	t.Cleanup(func() {
		_ = cmd.Process.Kill() // which has ended already, if the test is passed
	})
	s.state(t, rolegate.StateReady)
	require.Eventually(t, func() bool { return strings.Contains(out.String(), "control is on "+socket+"\n") }, waitFor, tick, &s.log)
	assert.Contains(t, out.String(), "forward_auth is on 127.0.0.1:")

	why := func() (int, string) {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), program, "why", adminID, "GET /grades", "-c", file)
		var out bytes.Buffer
		cmd.Stdout = &out
		_ = cmd.Run() // its code tells
		return cmd.ProcessState.ExitCode(), out.String()
	}
	hangUp := func(old, new, logged string, times int) {
		t.Helper()
		data, err := os.ReadFile(file)
		require.NoError(t, err)
		require.Contains(t, string(data), old)
		write(t, file, strings.Replace(string(data), old, new, 1))
		require.NoError(t, cmd.Process.Signal(syscall.SIGHUP))
		require.Eventually(t, func() bool { return strings.Count(s.log.String(), logged) == times }, waitFor, tick, &s.log)
	}
	code, answer := why()
	assert.Equal(t, exitNo, code)
	assert.Contains(t, answer, "no: role_missing (403)\n")

	const read, refused = "the settings file has been read again", "the settings file is refused: the old settings go on"
	hangUp(`"GET /grades", any_role: [teacher]`, `"GET /grades", any_role: [teacher, admin]`, read, 1)
	code, answer = why()
	assert.Equal(t, exitOK, code, answer)

	hangUp(`any_role: [teacher, admin]`, `any_rol: [teacher]`, refused, 1)
	assert.Contains(t, s.log.String(), "forward_auth.rules[1]: unknown key any_rol")
	code, answer = why() // whose file is wrong now
	assert.Equal(t, exitOK, code, answer+": the old settings go on")

	hangUp(`any_rol: [teacher]`, `any_role: [teacher]`, read, 2)
	assert.Equal(t, exitNo, s.calls(t, "why", adminID, "GET /grades").code)

	require.NoError(t, cmd.Process.Signal(syscall.SIGTERM))
	require.NoError(t, <-ended, &s.log)
	assert.NoFileExists(t, socket)
	assert.NotContains(t, s.log.String()+out.String(), market.Token())
}
