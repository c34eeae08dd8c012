package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

// edit replaces a part of the settings file.
func (s *server) edit(t *testing.T, old, new string) {
	t.Helper()
	text, err := os.ReadFile(s.file)
	require.NoError(t, err)
	require.Contains(t, string(text), old)
	write(t, s.file, strings.ReplaceAll(string(text), old, new))
}

func TestReload(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	s.state(t, rolegate.StateReady)
	s.edit(t, "principal", "techer")
	assert.Equal(t, called{exitOK, "the settings are in use\nnobody has \"techer\": is \"teacher\" meant?\n", ""}, s.calls(t, "reload"))
	s.edit(t, "techer", "teacher")
	assert.Equal(t, exitUsage, s.calls(t, "reload").code, "which implies itself")
	s.edit(t, "implies:", "#")
	assert.Equal(t, called{exitOK, "the settings are in use\n", ""}, s.calls(t, "reload"))

	s.edit(t, "refresh:", "refrehs: [")
	c := calls(t, "reload", "-c", s.file) // finds the server all the same
	assert.Equal(t, exitUsage, c.code)
	assert.Contains(t, c.err, "the settings file is refused, and the old settings go on")
}

// A reload that takes long says so, and is given up when it is interrupted.
func TestReloadIsInterrupted(t *testing.T) {
	t.Parallel()
	s := newServer(t, served, school)
	s.state(t, rolegate.StateReady)
	s.market.Fail(rolegatetest.Hang())
	s.edit(t, "every: 1h", "every: 50m")
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var log logbook.Book
	var out bytes.Buffer
	code := make(chan int, 1)
	go func() { code <- run(ctx, []string{"reload", "--socket", s.socket}, streams{os.Stdin, &out, &log, ""}) }()
	const waiting = "waiting for the first list of the new settings, for 2m at most; the old ones go on meanwhile; Ctrl-C gives up\n"
	require.Eventually(t, func() bool { return log.String() == waiting }, waitFor, tick, &log)
	interrupt()
	assert.Equal(t, exitFailed, <-code)
	assert.Equal(t, waiting+"rolegate: interrupted: the old settings go on\n", log.String())
	assert.Empty(t, out.String())

	s.market.Recover()
	assert.Equal(t, called{exitOK, "the settings are in use\nnobody has \"principal\"\n", ""}, s.calls(t, "reload"))
}
