package main

import (
	"errors"
	"io"
	"os"
	"path/filepath"
)

// replaceFile replaces a file by what write writes, or leaves it as it was.
func replaceFile(path string, write func(io.Writer) error) error {
	t, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+"*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(t.Name()) }() // nothing is left of it once it has its place
	if err := errors.Join(write(t), t.Sync(), t.Close()); err != nil {
		return err
	}
	return os.Rename(t.Name(), path)
}
