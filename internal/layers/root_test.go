package layers_test

import (
	"go/ast"
	"go/parser"
	"go/token"
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
