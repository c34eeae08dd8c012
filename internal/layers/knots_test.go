package layers_test

import (
	"bytes"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/layers"
)

// The most files of the root that may hold on to each other, all to all: to
// understand one of them, all have to be read.
const mostKnotted = 8

func TestKnots(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		uses map[string][]string
		want [][]string
	}{
		{"none", map[string][]string{"a": {"b", "c"}, "b": {"c"}, "c": nil}, nil},
		{"two that use each other", map[string][]string{"a": {"b"}, "b": {"a", "c"}, "c": nil}, [][]string{{"a", "b"}}},
		{"a ring", map[string][]string{"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}}, [][]string{{"a", "b", "c"}}},
		{"two rings, one above the other", map[string][]string{"a": {"b", "c"}, "b": {"a"}, "c": {"d"}, "d": {"c"}}, [][]string{{"a", "b"}, {"c", "d"}}},
		{"two rings with a file in common", map[string][]string{"a": {"b"}, "b": {"a", "c"}, "c": {"b"}}, [][]string{{"a", "b", "c"}}},
		{"itself", map[string][]string{"a": {"a"}}, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.want, layers.Knots(c.uses))
		})
	}
}

// What files of the root use of each other: every name that one declares and
// another has in its code, methods and fields too.
func TestRootIsNoKnot(t *testing.T) {
	t.Parallel()
	uses := usesBetweenFiles(t, "../..")
	require.Contains(t, uses["middleware.go"], "check.go", "what go/types says is understood")
	for _, knot := range layers.Knots(uses) {
		assert.LessOrEqual(t, len(knot), mostKnotted, "these files hold on to each other: %q", knot)
	}
}

// usesBetweenFiles type-checks the package in dir, without its tests.
func usesBetweenFiles(t *testing.T, dir string) map[string][]string {
	t.Helper()
	list := exec.CommandContext(t.Context(), "go", "list", "-export", "-deps", "-f", "{{.ImportPath}} {{.Export}}", ".")
	list.Dir = dir
	out, err := list.Output()
	require.NoError(t, err)
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		if path, file, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			exports[path] = file
		}
	}
	files := token.NewFileSet()
	var parsed []*ast.File
	paths, err := filepath.Glob(filepath.Join(dir, "*.go"))
	require.NoError(t, err)
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") {
			continue
		}
		f, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
		require.NoError(t, err)
		parsed = append(parsed, f)
	}
	config := types.Config{Importer: importer.ForCompiler(files, "gc", func(path string) (io.ReadCloser, error) {
		data, err := os.ReadFile(exports[path])
		return io.NopCloser(bytes.NewReader(data)), err
	})}
	info := &types.Info{Uses: map[*ast.Ident]types.Object{}}
	pkg, err := config.Check("root", files, parsed, info)
	require.NoError(t, err)
	file := func(p token.Pos) string { return filepath.Base(files.Position(p).Filename) }
	uses := map[string][]string{}
	for name, object := range info.Uses {
		if object.Pkg() != pkg || !object.Pos().IsValid() {
			continue
		}
		if from, to := file(name.Pos()), file(object.Pos()); from != to && !slices.Contains(uses[from], to) {
			uses[from] = append(uses[from], to)
		}
	}
	return uses
}
