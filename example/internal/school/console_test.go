package school

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The walk-through ends with an address that opens the console in a browser,
// and in no other.
func TestTheConsoleInABrowser(t *testing.T) {
	p := start(t, nil)
	require.Eventually(t, p.walkedThrough, patience, often, p.stderr)
	found := regexp.MustCompile(`(http://\S+/login)\?key=(\S+)\n`).FindStringSubmatch(p.stdout.String())
	require.NotNil(t, found, p.stdout)
	browser := newClient(t)
	var err error
	browser.Jar, err = cookiejar.New(nil)
	require.NoError(t, err)
	visit := func(url string) (status int, body string) {
		resp, err := browser.Get(url)
		require.NoError(t, err)
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(b)
	}
	status, _ := visit(p.url + "/console")
	assert.Equal(t, http.StatusUnauthorized, status)
	for _, key := range []string{"", "?key=", "?key=AAAAAAAAAAAAAAAAAAAAAAAAAA"} {
		status, _ = visit(found[1] + key)
		assert.Equal(t, http.StatusForbidden, status, key)
	}
	status, body := visit(found[1] + "?key=" + found[2])
	assert.Equal(t, http.StatusOK, status)
	for _, text := range []string{"AllRoles(teacher, homeroom)", "Seen as user 1542135022016057004"} {
		assert.True(t, strings.Contains(body, text), text)
	}
	assert.NotContains(t, p.stderr.String(), found[2], "the key is in no log line")

	status, _ = p.ask(t, newClient(t), "GET", "/console", homeroom)
	assert.Equal(t, http.StatusForbidden, status)
	status, _ = p.ask(t, newClient(t), "GET", "/console", admin)
	assert.Equal(t, http.StatusOK, status)
}
