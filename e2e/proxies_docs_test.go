//go:build drill

package e2e

import (
	"os"
	"path/filepath"
	"regexp"
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
	for _, s := range stubs {
		fed = append(fed, s.files...)
	}
	files, err := os.ReadDir(filepath.Join("..", "docs", "proxies"))
	require.NoError(t, err)
	assert.Len(t, files, len(fed)+1, "every file is one that a proxy is fed, or a stub")
	// The last one is linked: TestCommandBehindNginx feeds it to nginx.
	assert.Contains(t, page, "](proxies/"+passwords+")")
	assertSame(t, readFile(t, filepath.Join("..", "docs", "proxies", "nginx.conf")), readFile(t, filepath.Join("..", "docs", "proxies", passwords)))
	for _, name := range fed {
		_, rest, found := strings.Cut(page, "[proxies/"+name+"](proxies/"+name+"):\n\n```")
		require.True(t, found, name)
		_, rest, _ = strings.Cut(rest, "\n")
		shown, _, _ := strings.Cut(rest, "```\n")
		assert.Equal(t, readFile(t, filepath.Join("..", "docs", "proxies", name)), shown, name)
	}
}

// passwords is nginx.conf with a login.
const passwords = "nginx-password.conf"

// assertSame wants the file with a login to be the other one, but for the lines
// that are about who is asking.
func assertSame(t *testing.T, plain, login string) {
	t.Helper()
	about := regexp.MustCompile(`auth_basic|X-User-Id|[Aa]uthorization|\$http_cookie|\$http_sec_websocket_protocol|^ *#|^$`)
	lines := func(text string) (left []string) {
		for line := range strings.Lines(text) {
			if line = strings.TrimRight(line, "\n"); !about.MatchString(line) {
				left = append(left, line)
			}
		}
		return left
	}
	assert.Equal(t, lines(plain), lines(login))
}
