package lang

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// numbers are the arguments that a format names, or takes in turn.
func numbers(format string) (all []string) {
	n := 0
	for _, v := range verb.FindAllString(strings.ReplaceAll(format, "%%", ""), -1) {
		n++
		if named := argument.FindStringSubmatch(v); named != nil {
			n, _ = strconv.Atoi(named[1])
		}
		all = append(all, strconv.Itoa(n))
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Each Chinese text is one, and has the arguments of the English.
func TestCatalogue(t *testing.T) {
	t.Parallel()
	require.Len(t, chinese, len(commandTexts)+len(errorTexts)+len(settingsTexts)+len(fakeTexts)+len(gateTexts)+len(marketTexts)+len(proxyTexts), "no text is there twice")
	for english, text := range chinese {
		assert.Equal(t, numbers(english), numbers(text), english)
		assert.Equal(t, len(numbers(text)) > 0, argument.MatchString(text), "%s: name the arguments: %%[1]s", english)
		bare := verb.ReplaceAllString(text, "")
		if strings.ContainsFunc(verb.ReplaceAllString(english, ""), unicode.IsLetter) {
			assert.True(t, strings.ContainsFunc(bare, func(r rune) bool { return unicode.Is(unicode.Han, r) || strings.ContainsRune("，：；", r) }), "%s: in Chinese", english)
		}
	}
}

// words are of a text that says something: two in a row, not only names of keys.
var words = regexp.MustCompile(`[a-z]{2,},? [a-z]{2,}`)

// Every text of the command is in the catalogue, and those of forwardauth, whose
// rules it reads and explains.
func TestEveryTextIsThere(t *testing.T) {
	t.Parallel()
	found := 0
	for _, folder := range []string{"../..", "../settings", "../daemon", "../control", "../fake", "../../../../forwardauth"} {
		files, err := filepath.Glob(filepath.Join(folder, "*.go"))
		require.NoError(t, err)
		for _, name := range files {
			if strings.HasSuffix(name, "_test.go") {
				continue
			}
			set := token.NewFileSet()
			file, err := parser.ParseFile(set, name, nil, 0)
			require.NoError(t, err)
			ast.Inspect(file, func(n ast.Node) bool {
				for _, text := range textsOf(n) {
					found++
					for line := range strings.SplitSeq(text, "\n") {
						_, whole := chinese[text]
						_, one := chinese[line]
						_, flag := chinese["--"+line]
						_, label := labels[text]
						if words.MatchString(verb.ReplaceAllString(line, "")) && !whole && !one && !flag && !label {
							t.Errorf("%s: not in Chinese: %q", set.Position(n.Pos()), line)
						}
					}
				}
				return true
			})
		}
	}
	assert.Greater(t, found, 200)
}

// textsOf are the texts that a call says, or makes an error of, and those that a
// function returns.
func textsOf(n ast.Node) (texts []string) {
	literals := func(all []ast.Expr) {
		for _, e := range all {
			if text, ok := e.(*ast.BasicLit); ok && text.Kind == token.STRING {
				text, _ := strconv.Unquote(text.Value)
				texts = append(texts, text)
			}
		}
	}
	if results, ok := n.(*ast.ReturnStmt); ok {
		literals(results.Results)
		return texts
	}
	call, ok := n.(*ast.CallExpr)
	if !ok {
		return nil
	}
	name := ""
	switch f := call.Fun.(type) {
	case *ast.Ident:
		name = f.Name
	case *ast.SelectorExpr:
		name = f.Sel.Name
		if of, ok := f.X.(*ast.Ident); ok && of.Name == "fmt" {
			name = "fmt." + name
		}
	}
	switch name {
	case "New", "fmt.Errorf", "ambiguous", "wrong", "at", "in", "add", "Sprintf", "say", "line":
	default:
		return nil
	}
	literals(call.Args)
	return texts
}
