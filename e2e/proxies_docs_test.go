package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// docs/proxies.md shows the very files that the proxies of these tests run with.
func TestProxiesDocs(t *testing.T) {
	t.Parallel()
	page := readFile(t, filepath.Join("..", "docs", "proxies.md"))
	var fed []string
	for _, p := range realProxies {
		fed = append(fed, p.files...)
	}
	files, err := os.ReadDir(filepath.Join("..", "docs", "proxies"))
	require.NoError(t, err)
	assert.Len(t, files, len(fed), "every file is one that a proxy is fed")
	for _, name := range fed {
		_, rest, found := strings.Cut(page, "[proxies/"+name+"](proxies/"+name+"):\n\n```")
		require.True(t, found, name)
		_, rest, _ = strings.Cut(rest, "\n")
		shown, _, _ := strings.Cut(rest, "```\n")
		assert.Equal(t, readFile(t, filepath.Join("..", "docs", "proxies", name)), shown, name)
	}
}
