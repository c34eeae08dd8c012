package examples_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A page shows blocks of the examples and of tests, each under the name of its file.
var shown = regexp.MustCompile("(?s)\n\\[([^\\]\n]+/[^\\]\n]+)\\]\\(\\.\\./([^)]+)\\)\n\n```(?:go|ini|csv)\n(.*?)\n```\n")

// named is the line above a block.
var named = regexp.MustCompile(`(?m)^\[[^\]]+/[^\]]+\]\([^)]+\)$`)

// Every block that names a file stands in that file, and every example is shown
// on one of the pages.
func TestDocs(t *testing.T) {
	files := map[string]bool{}
	blocks := map[string][]string{}
	for _, page := range []string{"adapters.md", "adapters.zh-CN.md", "migrating.md", "migrating.zh-CN.md"} {
		text := read(t, "../docs/"+page)
		for _, block := range shown.FindAllStringSubmatch(text, -1) {
			assert.Equal(t, block[1], block[2], page)
			assert.True(t, strings.Contains("\n"+read(t, "../"+block[1]), "\n"+block[3]+"\n"), "%s: not in %s:\n%s", page, block[1], block[3])
			files[block[1]] = true
			blocks[page] = append(blocks[page], block[0])
		}
		assert.Equal(t, len(named.FindAllString(text, -1)), len(blocks[page]), "%s: a block does not follow the name of its file", page)
		if !strings.HasPrefix(page, "adapters.") { // which show modules of their own, too
			code := strings.Count(text, "\n```go\n") + strings.Count(text, "\n```ini\n") + strings.Count(text, "\n```csv\n")
			assert.Equal(t, code, len(blocks[page]), "%s: a block without the name of its file", page)
		}
	}
	examples, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		assert.True(t, files["examples/"+filepath.ToSlash(example)], "%s is not shown", example)
	}
}

func read(t *testing.T, name string) string {
	text, err := os.ReadFile(filepath.FromSlash(name))
	require.NoError(t, err)
	return string(text)
}
