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

// Every block of docs/adapters.md that names a file stands in that file, and
// every example is shown.
func TestDocs(t *testing.T) {
	text, err := os.ReadFile("../docs/adapters.md")
	require.NoError(t, err)
	blocks := regexp.MustCompile("(?s)\n\\[examples/([^\\]]+)\\]\\(\\.\\./examples/([^)]+)\\)\n\n```go\n(.*?)\n```\n").FindAllStringSubmatch(string(text), -1)
	shown := map[string]bool{}
	for _, block := range blocks {
		assert.Equal(t, block[1], block[2])
		file, err := os.ReadFile(filepath.FromSlash(block[1]))
		require.NoError(t, err)
		assert.True(t, strings.Contains(string(file), "\n"+block[3]+"\n"), "not in %s:\n%s", block[1], block[3])
		shown[block[1]] = true
	}
	examples, err := filepath.Glob("*/main.go")
	require.NoError(t, err)
	require.NotEmpty(t, examples)
	for _, example := range examples {
		assert.True(t, shown[filepath.ToSlash(example)], "%s is not shown", example)
	}
	named := strings.Count(string(text), "](../examples/")
	assert.Equal(t, named, len(blocks), "a block does not follow the name of its file")
}
