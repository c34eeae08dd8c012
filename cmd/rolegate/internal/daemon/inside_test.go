package daemon

import (
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// A reload whose turn does not come any more does not hold up the shutdown, and
// is not reported as done.
func TestReloadWhileShuttingDown(t *testing.T) {
	t.Parallel()
	d := &daemon{Options: Options{Logger: slog.New(slog.DiscardHandler)}, asks: make(chan chan error), gone: make(chan struct{})}
	close(d.gone)
	w := httptest.NewRecorder()
	d.control(&generation{gate: &sharedGate{}}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, control.ReloadPath, nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
}

// A file by which nobody could ask is a mistake, and no server that does nothing.
func TestCheckWantsAListener(t *testing.T) {
	t.Parallel()
	f := &settings.File{Marketplace: settings.Marketplace{URL: "http://127.0.0.1:1", AppID: "a", Token: settings.Secret{Env: "PATH"}}}
	assert.ErrorContains(t, Check(t.Context(), f), "nobody could ask")
	f.Control = "s"
	assert.NoError(t, Check(t.Context(), f))
}

func TestASocketWithALongPath(t *testing.T) {
	t.Parallel()
	_, err := listenUnix(filepath.Join(t.TempDir(), strings.Repeat("x", 60), "s"))
	assert.ErrorIs(t, err, fs.ErrNotExist) // the folder
	folder := filepath.Join(t.TempDir(), strings.Repeat("x", 90))
	require.NoError(t, os.Mkdir(folder, 0o700))
	_, err = listenUnix(filepath.Join(folder, "s"))
	assert.ErrorContains(t, err, "expected a shorter one")
}

// Programs that ask by AuthZEN say themselves about whom: identity is for requests.
func TestCheckWantsNoIdentityForAuthZEN(t *testing.T) {
	t.Parallel()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(strings.Repeat("t", 32)), 0o600))
	f, err := settings.Parse([]byte(`
marketplace: {url: http://127.0.0.1:1, app_id: a, token: {file: "` + token + `"}}
authzen:
  listen: 127.0.0.1:0
  callers: [{name: gateway, token: {file: "` + token + `"}}]
  subjects: {user: user_id}
  rules: [{resource: grades, action: read, any_role: [teacher]}]
`))
	require.NoError(t, err)
	assert.NoError(t, Check(t.Context(), f))
}
