//go:build !windows

package main

import (
	"io"
	"path/filepath"

	"github.com/google/renameio/v2"
)

// replaceFile replaces a file by what write writes, or leaves it as it was.
func replaceFile(path string, write func(io.Writer) error) error {
	t, err := renameio.NewPendingFile(path, renameio.WithTempDir(filepath.Dir(path)), renameio.WithStaticPermissions(0o600))
	if err != nil {
		return err
	}
	defer func() { _ = t.Cleanup() }() // nothing is left of it once it has its place
	if err := write(t); err != nil {
		return err
	}
	return t.CloseAtomicallyReplace()
}
