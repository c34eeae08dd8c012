//go:build drill

package main

import (
	"bytes"
	"go/parser"
	"go/token"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// stranger is somebody who has Go and the release, and nothing else of ours.
type stranger struct {
	t   *testing.T
	env []string
}

func (s stranger) run(folder string, args ...string) string {
	s.t.Helper()
	s.t.Log(strings.Join(args, " "))
	cmd := exec.CommandContext(s.t.Context(), args[0], args[1:]...)
	cmd.Dir, cmd.Env = folder, append(os.Environ(), s.env...)
	out, err := cmd.CombinedOutput()
	require.NoError(s.t, err, "%s\n%s", strings.Join(args, " "), out)
	return string(out)
}

// TestPublishedModules uses what a release of the last commit would be, from
// empty folders: each module, the command, and the README's program.
func TestPublishedModules(t *testing.T) {
	const version = "v0.1.0"
	top := gitIn(t, ".", "rev-parse", "--show-toplevel")
	checkout, to := filepath.Join(t.TempDir(), "checkout"), t.TempDir()
	gitIn(t, ".", "clone", "-q", top, checkout)
	t.Chdir(checkout)
	var out bytes.Buffer
	require.NoError(t, run([]string{version, "--to", to}, &out))
	r, err := open(".")
	require.NoError(t, err)
	modules, err := r.modules()
	require.NoError(t, err)

	// What others have made comes from where this machine has it from. The module
	// cache is a new one, for an earlier release of ours may be in that one.
	ordinary := stranger{t: t}.run(".", "go", "env", "GOMODCACHE", "GOPROXY")
	cache, proxies, _ := strings.Cut(strings.TrimSpace(ordinary), "\n")
	s := stranger{t, []string{
		"GOPROXY=file://" + to + ",file://" + filepath.Join(cache, "cache", "download") + "," + proxies,
		"GONOSUMDB=github.com/rolegate/*", "GOWORK=off", "GOTOOLCHAIN=local",
		"GOFLAGS=-trimpath -modcacherw", "GOMODCACHE=" + t.TempDir(), "GOBIN=" + t.TempDir(),
	}}
	for _, m := range modules {
		packages := importable(t, m)
		if len(packages) == 0 {
			continue
		}
		folder := t.TempDir()
		s.run(folder, "go", "mod", "init", "example.com/app")
		s.run(folder, "go", "get", m.path()+"@"+version)
		require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte("package main\n\nimport (\n\t_ \""+strings.Join(packages, "\"\n\t_ \"")+"\"\n)\n\nfunc main() {}\n"), 0o644))
		s.run(folder, "go", "mod", "tidy")
		s.run(folder, "go", "vet", ".")
		mod, err := os.ReadFile(filepath.Join(folder, "go.mod"))
		require.NoError(t, err)
		assert.NotContains(t, string(mod), "replace", m.path())
		assert.Contains(t, string(mod), m.path()+" "+version)
	}

	empty := t.TempDir()
	s.run(empty, "go", "install", "github.com/rolegate/rolegate/cmd/rolegate@"+version)
	bin := strings.TrimSpace(s.run(empty, "go", "env", "GOBIN"))
	assert.Contains(t, s.run(empty, filepath.Join(bin, "rolegate"), "version"), version)

	for _, name := range []string{"README.md", "README.zh-CN.md"} {
		page, err := os.ReadFile(name)
		require.NoError(t, err)
		_, rest, found := strings.Cut(string(page), "\n```go\n")
		require.True(t, found)
		program, _, _ := strings.Cut(rest, "\n```\n")
		folder := t.TempDir()
		require.NoError(t, os.WriteFile(filepath.Join(folder, "main.go"), []byte(program+"\n"), 0o644))
		s.run(folder, "go", "mod", "init", "example.com/school")
		s.run(folder, "go", "get", "github.com/rolegate/rolegate@"+version)
		s.run(folder, "go", "mod", "tidy")
		s.run(folder, "go", "build", ".")
	}
}

// importable are the packages of a module that others may import.
func importable(t *testing.T, m *module) (packages []string) {
	t.Helper()
	seen := map[string]bool{}
	for _, f := range m.files {
		folder := path.Dir(f.name)
		if !strings.HasSuffix(f.name, ".go") || strings.HasSuffix(f.name, "_test.go") || seen[folder] {
			continue
		}
		seen[folder] = true
		if p := "/" + folder + "/"; strings.Contains(p, "/internal/") || strings.Contains(p, "/testdata/") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), f.name, f.data, parser.PackageClauseOnly)
		require.NoError(t, err)
		if parsed.Name.Name != "main" {
			packages = append(packages, path.Join(m.path(), folder))
		}
	}
	return packages
}
