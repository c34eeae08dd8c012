package doclinks_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A page for users names what there is: each `rolegate.X`, `gate.X` and the like is
// exported by the package, and each bare `X(…)`, `ByX` or `KindX` by the root.
func TestNames(t *testing.T) {
	t.Parallel()
	packages, err := exportedNames("../..")
	require.NoError(t, err)
	require.Contains(t, packages["rolegate"], "Open", "packages are read")
	require.Contains(t, packages["rolegate"], "RefreshAll", "methods and fields too")
	repository, seen := os.DirFS("../.."), 0
	require.NoError(t, fs.WalkDir(repository, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || path.Ext(name) != ".md" || name == "CHANGELOG.md" {
			return err
		}
		text, err := fs.ReadFile(repository, name)
		seen++
		for _, problem := range unknownNames(string(text), packages) {
			t.Errorf("%s: %s", name, problem)
		}
		return err
	}))
	assert.Greater(t, seen, 30)
}

func TestUnknownNames(t *testing.T) {
	t.Parallel()
	packages := map[string]map[string]bool{"rolegate": {"Open": true, "ByText": true, "Refresh": true, "Gate": true}, "gingate": {"Admit": true}}
	for text, want := range map[string][]string{
		"`rolegate.Open`, `gate.Refresh(ctx)`, `gingate.Admit(g)`, `ByText(k, f)`": nil,
		"`rolegate.Opened(ctx)`":              {"rolegate.Opened is not there"},
		"`gate.Resync`":                       {"gate.Resync is not there"},
		"`gingate.Admits`":                    {"gingate.Admits is not there"},
		"it wants `Opened(c)`":                {"Opened is not there"},
		"it wants `ByThirdUserID`":            {"ByThirdUserID is not there"},
		"```go\nx := rolegate.Opened(c)\n```": {"rolegate.Opened is not there"},
		"`other.Name`, ByThirdUserID(f)":      nil,
	} {
		assert.Equal(t, want, unknownNames(text, packages), text)
	}
}

var (
	qualified = regexp.MustCompile(`\b([a-z]\w*)\.([A-Z]\w*)`)
	// What else begins with a capital is often another program's.
	bareCall = regexp.MustCompile("`([A-Z][a-z]\\w*\\(|(?:By|Kind|Reason|Err|Deny)[A-Z]\\w*)")
)

func unknownNames(text string, packages map[string]map[string]bool) (problems []string) {
	for _, found := range qualified.FindAllStringSubmatch(text, -1) {
		of := found[1]
		if of == "gate" {
			of = "rolegate"
		}
		if names := packages[of]; names != nil && !names[found[2]] {
			problems = append(problems, found[0]+" is not there")
		}
	}
	for _, found := range bareCall.FindAllStringSubmatch(text, -1) {
		if name := strings.TrimSuffix(found[1], "("); !packages["rolegate"][name] {
			problems = append(problems, name+" is not there")
		}
	}
	return problems
}

// exportedNames are those of each package by its name: what it declares, methods and
// fields, of the root and of what users import.
func exportedNames(root string) (map[string]map[string]bool, error) {
	packages := map[string]map[string]bool{}
	err := fs.WalkDir(os.DirFS(root), ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && (strings.HasPrefix(d.Name(), ".") && name != "." || d.Name() == "internal" || d.Name() == "testdata" || d.Name() == "examples"):
			return fs.SkipDir
		case d.IsDir() || path.Ext(name) != ".go" || strings.HasSuffix(name, "_test.go"):
			return nil
		}
		file, err := parser.ParseFile(token.NewFileSet(), path.Join(root, name), nil, parser.SkipObjectResolution)
		if err != nil || file.Name.Name == "main" {
			return err
		}
		names := packages[file.Name.Name]
		if names == nil {
			names = map[string]bool{}
			packages[file.Name.Name] = names
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.FuncDecl:
				names[n.Name.Name] = true
				return false
			case *ast.TypeSpec:
				names[n.Name.Name] = true
			case *ast.Field:
				for _, id := range n.Names {
					names[id.Name] = true
				}
			case *ast.ValueSpec:
				for _, id := range n.Names {
					names[id.Name] = true
				}
			}
			return true
		})
		return nil
	})
	return packages, err
}
