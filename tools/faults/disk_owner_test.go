package faults_test

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Line 49: a file or folder that others can write to, and a symbolic link. They
// must be refused, with the command that fixes it.
func TestFault49AStoredIndexOfOthers(t *testing.T) {
	t.Parallel()
	forged := webIndex(t, rolegatetest.NewStatic(webUser(1), webUser(666, webIn(7, "admin"))))
	for name, spoil := range map[string]func(t *testing.T, folder, path string){
		"the file is the group's to write": func(t *testing.T, _, path string) { require.NoError(t, os.Chmod(path, 0o620)) },
		"the file is anybody's to write":   func(t *testing.T, _, path string) { require.NoError(t, os.Chmod(path, 0o602)) },
		"the folder is the group's to write": func(t *testing.T, folder, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Chmod(folder, 0o770))
		},
		"the folder is anybody's to write": func(t *testing.T, folder, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Chmod(folder, 0o777))
		},
		"the folder is anybody's to write, with the sticky bit, and so is the file": func(t *testing.T, folder, path string) {
			require.NoError(t, os.Chmod(folder, 0o777|os.ModeSticky))
			require.NoError(t, os.Chmod(path, 0o666))
		},
		"a symbolic link": func(t *testing.T, folder, path string) {
			require.NoError(t, os.Rename(path, filepath.Join(folder, "elsewhere")))
			require.NoError(t, os.Symlink("elsewhere", path))
		},
		"a symbolic link to nothing": func(t *testing.T, _, path string) {
			require.NoError(t, os.Remove(path))
			require.NoError(t, os.Symlink("nowhere", path))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, base := range []string{"index", "the school's index", "$(touch x)`y`*?;&"} {
				folder := webFolder(t)
				path := filepath.Join(folder, base)
				require.NoError(t, os.WriteFile(path, forged, 0o600))
				spoil(t, folder, path)
				cfg := webConfig(rolegatetest.NewStatic(webUser(1)))
				cfg.Cache = filecache.New(path)

				_, err := filecache.New(path).Load(t.Context())
				require.Error(t, err)
				require.NotErrorIs(t, err, fs.ErrNotExist, "it is not as if there were nothing")
				require.Error(t, filecache.New(path).Store(t.Context(), func(io.Writer) error { t.Error("it was written"); return nil }))
				webRepaired(t, cfg)
			}
		})
	}
	t.Run("while the app runs", func(t *testing.T) {
		t.Parallel()
		folder := webFolder(t)
		path := filepath.Join(folder, "index")
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(webUser(1))
			cfg := webConfig(source)
			cfg.Cache = filecache.New(path)
			gate := webOpen(t, cfg)
			webAfter(10 * time.Second)
			require.NoError(t, os.Chmod(path, 0o666))
			source.Put(webUser(2))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, webAllowed(gate, 2))
			webAfter(10 * time.Second)
			assert.EqualValues(t, 1, gate.Status().Cache.Failed)
			assert.Contains(t, gate.Status().Cache.Error, "rm "+path)
		})
	})
}
