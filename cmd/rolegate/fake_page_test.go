package main

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/assert"
)

// What the page tells to type is what finds the program.
func TestProgramName(t *testing.T) {
	folder := t.TempDir()
	for _, name := range []string{"rolegate", "rolegate-command"} {
		write(t, filepath.Join(folder, name), "#!/bin/sh\n")
		assert.NoError(t, os.Chmod(filepath.Join(folder, name), 0o700))
	}
	t.Chdir(folder)
	for called, want := range map[string]string{
		"": "rolegate", "./rolegate": "./rolegate", "./rolegate-command": "./rolegate-command", "/opt/my tools/rolegate": "'/opt/my tools/rolegate'",
	} {
		t.Setenv("PATH", "")
		assert.Equal(t, want, programName(called), called)
	}
	t.Setenv("PATH", folder)
	assert.Equal(t, "rolegate", programName("rolegate"))
	assert.Equal(t, "rolegate", programName("./rolegate"), "the same")
	assert.Equal(t, "./rolegate-command", programName("./rolegate-command"))
}
