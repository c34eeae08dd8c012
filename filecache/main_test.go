package filecache_test

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"testing"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// TestMain is also the main of the processes that tests start: see helpers.
func TestMain(m *testing.M) {
	if help := helpers[os.Getenv("FILECACHE_TEST_HELPER")]; help != nil {
		help(os.Args[1:])
		return
	}
	goleak.VerifyTestMain(m)
}

// helpers are what processes do that tests start, by the value of
// FILECACHE_TEST_HELPER.
var helpers = map[string]func(args []string){}

// folder is a new folder that is nobody's but ours, whatever the umask.
func folder(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	require.NoError(t, os.Chmod(dir, 0o700))
	return dir
}

// text is a write that writes that.
func text(s string) func(io.Writer) error {
	return func(w io.Writer) error {
		_, err := io.WriteString(w, s)
		return err
	}
}

// names are those of all files in a folder.
func names(t testing.TB, dir string) (list []string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	require.NoError(t, err)
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func content(t testing.TB, c *filecache.Cache) string {
	t.Helper()
	r, err := c.Load(context.Background())
	require.NoError(t, err)
	defer r.Close()
	b, err := io.ReadAll(r)
	require.NoError(t, err)
	return string(b)
}

// config is a gate's with that list and that cache.
func config(source rolegate.Source, cache rolegate.Cache) rolegate.Config {
	return rolegate.Config{
		Source: source, Cache: cache, Logger: slog.New(slog.DiscardHandler),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
	}
}

// A gate that is started, stopped, and started while its source is away.
func TestRestart(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "rolegate.index")
	source := rolegatetest.NewStatic(rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
	gate, err := rolegate.Open(t.Context(), config(source, filecache.New(path)))
	require.NoError(t, err)
	verified := gate.Status().Verified
	require.NoError(t, gate.Close())
	require.Equal(t, []string{"rolegate.index"}, names(t, filepath.Dir(path)))

	source.Fail(io.ErrUnexpectedEOF)
	gate, err = rolegate.Open(t.Context(), config(source, filecache.New(path)))
	require.NoError(t, err)
	defer gate.Close()
	s := gate.Status()
	require.True(t, s.Cache.Loaded, s.Cache.Error)
	require.Equal(t, verified, s.Verified)
	require.True(t, gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(1), 7).Allowed())
}

// A file that is no index does not keep the gate from starting.
func TestSomethingElseInTheFile(t *testing.T) {
	t.Parallel()
	path := filepath.Join(folder(t), "rolegate.index")
	require.NoError(t, os.WriteFile(path, []byte("<html>not an index</html>"), 0o600))
	gate, err := rolegate.Open(t.Context(), config(rolegatetest.NewStatic(rolegate.Record{UserID: 1}), filecache.New(path)))
	require.NoError(t, err)
	defer gate.Close()
	require.Contains(t, gate.Status().Cache.Error, "not a stored index")
	require.True(t, gate.Decide(t.Context(), rolegate.UserID(1)).Allowed())
}
