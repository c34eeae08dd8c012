package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"

	gomodule "golang.org/x/mod/module"
)

// house is a repository with a root, two modules on it, and one for itself.
func house(t *testing.T, change map[string]string) string {
	t.Helper()
	folder := t.TempDir()
	files := map[string]string{
		"LICENSE":          "a license\n",
		"CHANGELOG.md":     "# Changelog\n\n## [0.1.0] - 2026-11-30\n\n## [0.0.9], not tagged yet\n",
		"go.mod":           "module example.com/house\n\ngo 1.26.0\n",
		"house.go":         "package house\n",
		"cellar/go.mod":    "module example.com/house/cellar\n\ngo 1.26.0\n\nrequire example.com/house v0.0.0\n\nreplace example.com/house => ../\n",
		"cellar/doc.go":    "package cellar\n",
		"attic/go.mod":     "module example.com/house/attic\n\ngo 1.26.0\n\nrequire (\n\texample.com/house v0.0.0\n\texample.com/house/cellar v0.0.0\n)\n\nreplace (\n\texample.com/house => ../\n\texample.com/house/cellar => ../cellar\n)\n",
		"attic/attic.go":   "package attic\n",
		"tools/go.mod":     "module example.com/house/tools\n\ngo 1.26.0\n",
		"tools/main.go":    "package main\n",
		"internal/wall.go": "package internal\n",
	}
	for name, data := range change {
		files[name] = data
	}
	for name, data := range files {
		require.NoError(t, os.MkdirAll(filepath.Join(folder, filepath.Dir(name)), 0o755))
		require.NoError(t, os.WriteFile(filepath.Join(folder, name), []byte(data), 0o644))
	}
	gitIn(t, folder, "init", "-q")
	gitIn(t, folder, "add", ".")
	gitIn(t, folder, "-c", "user.name=a", "-c", "user.email=a@example.com", "commit", "-q", "-m", "house: build it")
	gitIn(t, folder, "config", "user.name", "a")
	gitIn(t, folder, "config", "user.email", "a@example.com")
	return folder
}

func gitIn(t *testing.T, folder string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", args...)
	cmd.Dir = folder
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, string(out))
	return strings.TrimSpace(string(out))
}

func TestRelease(t *testing.T) {
	t.Chdir(house(t, nil))
	to := t.TempDir()
	var out bytes.Buffer
	require.NoError(t, run([]string{"v0.1.0", "--to", to, "--tag"}, &out))
	assert.Equal(t, "v0.1.0\ncellar/v0.1.0\nattic/v0.1.0\n", out.String()[:strings.Index(out.String(), "\nPush")], "what is required comes first")

	read := func(name string) string {
		t.Helper()
		data, err := os.ReadFile(filepath.Join(to, "example.com", "house", name))
		require.NoError(t, err)
		return string(data)
	}
	assert.Equal(t, "v0.1.0\n", read("@v/list"))
	assert.Contains(t, read("@v/v0.1.0.info"), `"Version":"v0.1.0"`)
	attic := read("attic/@v/v0.1.0.mod")
	assert.NotContains(t, attic, "replace")
	assert.Contains(t, attic, "example.com/house v0.1.0")
	assert.Contains(t, attic, "example.com/house/cellar v0.1.0")
	assert.NoDirExists(t, filepath.Join(to, "example.com", "house", "tools"))

	// The zips are what the go command makes of the tags, and the sums are theirs.
	for _, folder := range []string{"", "cellar", "attic"} {
		m := gomodule.Version{Path: strings.TrimSuffix("example.com/house/"+folder, "/"), Version: "v0.1.0"}
		fromTag := filepath.Join(t.TempDir(), "tag.zip")
		f, err := os.Create(fromTag)
		require.NoError(t, err)
		require.NoError(t, zip.CreateFromVCS(f, m, ".", strings.TrimPrefix(folder+"/v0.1.0", "/"), folder))
		require.NoError(t, f.Close())
		want, err := dirhash.HashZip(fromTag, dirhash.Hash1)
		require.NoError(t, err)
		got, err := dirhash.HashZip(filepath.Join(to, "example.com", "house", folder, "@v", "v0.1.0.zip"), dirhash.Hash1)
		require.NoError(t, err)
		assert.Equal(t, want, got, m.Path)
		if folder != "attic" {
			assert.Contains(t, gitIn(t, ".", "show", "attic/v0.1.0:attic/go.sum"), m.Path+" v0.1.0 "+want)
		}
	}
	assert.Empty(t, gitIn(t, ".", "status", "--porcelain"), "the checkout stays as it was")
	assert.Contains(t, gitIn(t, ".", "show", "HEAD:attic/go.mod"), "replace")

	require.NoError(t, run([]string{"v0.2.0", "--to", to}, &out))
	assert.Equal(t, "v0.1.0\nv0.2.0\n", read("@v/list"))
}

func TestReleaseRefuses(t *testing.T) {
	for name, c := range map[string]struct {
		args   []string
		change map[string]string
		dirty  bool
		says   string
	}{
		"no version":                            {args: []string{"--to", "x"}, says: "expected a version and a folder"},
		"no folder":                             {args: []string{"v0.1.0"}, says: "expected a version and a folder"},
		"half a version":                        {args: []string{"v0.1", "--to", "x"}, says: "expected one such as v0.1.0"},
		"a version whose path would differ":     {args: []string{"v2.0.0", "--to", "x"}, says: "expected one such as v0.1.0"},
		"changes that are not committed":        {args: []string{"v0.1.0", "--to", "x"}, dirty: true, says: "not committed"},
		"a tag that CHANGELOG.md does not know": {args: []string{"v0.2.0", "--to", "x", "--tag"}, says: `expected a line such as "## [0.2.0] - `},
		"a tag without its day":                 {args: []string{"v0.0.9", "--to", "x", "--tag"}, says: `expected a line such as "## [0.0.9] - `},
		"a replace of somebody else's module": {args: []string{"v0.1.0", "--to", "x"}, says: "replaces example.org/fork",
			change: map[string]string{"go.mod": "module example.com/house\n\ngo 1.26.0\n\nreplace example.org/fork => ./fork\n"}},
		"a module that is not published": {args: []string{"v0.1.0", "--to", "x"}, says: "requires example.com/house/tools@v0.0.0, which is not published",
			change: map[string]string{"cellar/go.mod": "module example.com/house/cellar\n\ngo 1.26.0\n\nrequire example.com/house/tools v0.0.0\n"}},
		"modules that require each other": {args: []string{"v0.1.0", "--to", "x"}, says: "requires itself by way of others",
			change: map[string]string{"cellar/go.mod": "module example.com/house/cellar\n\ngo 1.26.0\n\nrequire example.com/house/attic v0.0.0\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			folder := house(t, c.change)
			t.Chdir(folder)
			if c.dirty {
				require.NoError(t, os.WriteFile("new.go", []byte("package house\n"), 0o644))
			}
			require.ErrorContains(t, run(c.args, &bytes.Buffer{}), c.says)
			assert.NoDirExists(t, "x")
		})
	}
}
