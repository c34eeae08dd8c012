package layers_test

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The root stays small enough to be read: what does not fit belongs into a
// package of its own.
const (
	mostNames = 115 // exported, at top level: consts, vars, types and funcs
	mostFiles = 24  // without tests
)

// rootFiles parses the files of the root, without its tests.
func rootFiles(t *testing.T) (files []*ast.File) {
	t.Helper()
	paths, err := filepath.Glob("../../*.go")
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(token.NewFileSet(), path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		files = append(files, f)
	}
	return files
}

func TestRootHasFewNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, f := range rootFiles(t) {
		names = append(names, exported(f)...)
	}
	require.Contains(t, names, "Open", "what go/parser says is understood")
	require.Contains(t, names, "ReasonGranted")
	assert.LessOrEqual(t, len(names), mostNames, "exported names: %q", names)
}

func TestRootHasFewFiles(t *testing.T) {
	t.Parallel()
	assert.LessOrEqual(t, len(rootFiles(t)), mostFiles)
}

// So do the parts that have to be held in the head as a whole.
func TestLines(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		what  string
		files []string
		most  int
	}{
		{"the root", []string{"*.go"}, 5500},
		{"the state machine of replicas", []string{"internal/replication/state.go", "internal/replication/step.go"}, 400},
		{"its shell", []string{"internal/replication/shell.go"}, 300},
		{"the store in Redis", []string{"rediscache/*.go", "rediscache/internal/store/*.go"}, 800},
	} {
		lines := 0
		for _, pattern := range c.files {
			paths, err := filepath.Glob("../../" + pattern)
			require.NoError(t, err)
			require.NotEmpty(t, paths, pattern)
			for _, path := range paths {
				if strings.HasSuffix(path, "_test.go") {
					continue
				}
				text, err := os.ReadFile(path)
				require.NoError(t, err)
				lines += bytes.Count(text, []byte("\n"))
			}
		}
		assert.LessOrEqual(t, lines, c.most, c.what)
		t.Logf("%s: %d lines", c.what, lines)
	}
}

// exported returns the names that a file exports at top level.
func exported(f *ast.File) (names []string) {
	note := func(id *ast.Ident) {
		if id.IsExported() {
			names = append(names, id.Name)
		}
	}
	for _, d := range f.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			if d.Recv == nil {
				note(d.Name)
			}
		case *ast.GenDecl:
			for _, s := range d.Specs {
				switch s := s.(type) {
				case *ast.TypeSpec:
					note(s.Name)
				case *ast.ValueSpec:
					for _, id := range s.Names {
						note(id)
					}
				}
			}
		}
	}
	return names
}
