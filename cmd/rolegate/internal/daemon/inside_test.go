package daemon

import (
	"context"
	"io/fs"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// A reload whose turn does not come any more does not hold up the shutdown, and
// is not reported as done.
func TestReloadWhileShuttingDown(t *testing.T) {
	t.Parallel()
	d := &daemon{Options: Options{Logger: slog.New(slog.DiscardHandler)}, asks: make(chan reloadAsk), gone: make(chan struct{})}
	close(d.gone)
	w := httptest.NewRecorder()
	d.control(&generation{gate: &sharedGate{}}).ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodPost, control.ReloadPath, nil))
	assert.Equal(t, http.StatusServiceUnavailable, w.Code, w.Body)
}

// An attempt goes on while one of those who asked for it is there.
func TestAttemptGoesOnForWhoStays(t *testing.T) {
	t.Parallel()
	a := &attempt{}
	a.ctx, a.cancel = context.WithCancelCause(t.Context())
	here := func(n int) func() bool {
		return func() bool { a.mu.Lock(); defer a.mu.Unlock(); return a.here == n }
	}
	first, leave := context.WithCancel(t.Context())
	second, leaveToo := context.WithCancel(t.Context())
	defer leaveToo()
	a.join(reloadAsk{ctx: first}, reloadAsk{ctx: second})
	leave()
	require.Eventually(t, here(1), 10*time.Second, time.Millisecond)
	require.NoError(t, a.ctx.Err())
	leaveToo()
	require.Eventually(t, here(0), 10*time.Second, time.Millisecond)
	assert.Equal(t, errNobodyWaits, context.Cause(a.ctx))
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
	_, err := listenUnix(filepath.Join(t.TempDir(), strings.Repeat("x", 60), "s"), 0o600)
	assert.ErrorContains(t, err, "there is no folder")
	folder := filepath.Join(t.TempDir(), strings.Repeat("x", 90))
	require.NoError(t, os.Mkdir(folder, 0o700))
	_, err = listenUnix(filepath.Join(folder, "s"), 0o600)
	assert.ErrorContains(t, err, "expected a shorter one")
}

// Programs that ask by AuthZEN name the user themselves: identity is for requests.
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

// Answers to programs have a limit, by the settings in use; those to operators,
// who may wait for a reload, have none.
func TestWriteTimeout(t *testing.T) {
	t.Parallel()
	long := &settings.File{Refresh: settings.Refresh{MaxAgeWait: settings.Duration(time.Minute)}, OnDeny: settings.OnDeny{Wait: settings.Duration(2 * time.Second)}}
	for _, c := range []struct {
		name string
		file *settings.File
		want time.Duration
	}{
		{forwardAuthSection, &settings.File{}, 34 * time.Second},
		{authZENSection, &settings.File{}, 34 * time.Second},
		{authZENSection, long, 92 * time.Second},
		{adminSection, long, 0},
		{controlSection, long, 0},
	} {
		assert.Equal(t, c.want, writeTimeout(c.name, c.file), c.name)
	}
}

// Who asks and goes away at once takes nobody along who waits for the same.
func TestAttemptGoesOnForWhoWaitedBefore(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "none")
	synctest.Test(t, func(t *testing.T) {
		d := &daemon{Options: Options{Path: path, Logger: slog.New(slog.DiscardHandler), Notify: func(string) {}}}
		under := &attempt{of: d.fingerprint(), done: make(chan struct{})}
		under.ctx, under.cancel = context.WithCancelCause(t.Context())
		under.join(reloadAsk{ctx: t.Context()})
		brief, leave := context.WithCancel(t.Context())
		go func() {
			<-under.ctx.Done()
			leave()
			synctest.Wait()
			under.err = context.Cause(under.ctx)
			close(under.done)
		}()
		next := d.ask(t.Context(), under, reloadAsk{ctx: brief})
		<-next.done
		synctest.Wait()
		require.NoError(t, context.Cause(next.ctx))
		require.ErrorIs(t, next.err, fs.ErrNotExist)
		assert.Len(t, next.leave(), 2)
	})
}
