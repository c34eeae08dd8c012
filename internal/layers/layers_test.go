package layers_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/layers"
)

func TestViolations(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		imports map[string][]string
		wrong   string // "" for none
	}{
		{"the order", map[string][]string{
			"":                     {"internal/policy", "internal/index", "internal/typo"},
			"internal/policy":      {"internal/index", "internal/clock"},
			"internal/snapshot":    {"internal/index"},
			"internal/index":       nil,
			"internal/typo":        {"internal/text"},
			"marketplace":          {"", "internal/wire"},
			"internal/replication": {"internal/snapshot"},
		}, ""},
		{"upward", map[string][]string{"internal/index": {"internal/snapshot"}}, "internal/index imports internal/snapshot, which is not in a layer below it"},
		{"to the root", map[string][]string{"internal/refresh": {""}}, "internal/refresh imports the root, which is not in a layer below it"},
		{"beside it", map[string][]string{"internal/policy": {"internal/refresh"}}, "internal/policy imports internal/refresh, which is not in a layer below it"},
		{"from the root to what is above it", map[string][]string{"": {"console"}, "console": {""}}, "the root imports console, which is in no layer and imports what is"},
		{"by a helper", map[string][]string{"internal/clock": {"internal/a"}, "internal/a": {"internal/b"}, "internal/b": {"internal/index"}},
			"internal/clock imports internal/a, which is in no layer and imports what is"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.wrong, strings.Join(layers.Violations(c.imports), "\n"))
		})
	}
}

// What the go command says of this module.
func TestImportsRunDownward(t *testing.T) {
	t.Parallel()
	list := exec.CommandContext(t.Context(), "go", "list", "-deps", "-f", "{{if .Module}}{{.ImportPath}} {{join .Imports \" \"}}{{end}}", "../..", "../../internal/...")
	out, err := list.Output()
	require.NoError(t, err)
	const module = "github.com/rolegate/rolegate"
	inModule := func(path string) (below string, ok bool) {
		if path == module {
			return "", true
		}
		return strings.CutPrefix(path, module+"/")
	}
	imports := map[string][]string{}
	for line := range strings.Lines(string(out)) {
		paths := strings.Fields(line)
		if len(paths) == 0 {
			continue
		}
		of, ok := inModule(paths[0])
		if !ok {
			continue
		}
		imports[of] = []string{}
		for _, path := range paths[1:] {
			if to, ok := inModule(path); ok {
				imports[of] = append(imports[of], to)
			}
		}
	}
	require.Contains(t, imports, "")
	require.Contains(t, imports, "internal/snapshot")
	require.Contains(t, imports["internal/snapshot"], "internal/index", "what the go command says is understood")
	assert.Empty(t, layers.Violations(imports))
}
