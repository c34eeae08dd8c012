//go:build drill

package deploytest

import (
	"bufio"
	"bytes"
	"debug/elf"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

const teacher = "1542135022016057002"

// What the Dockerfile builds needs nothing of the system that it runs on: no
// library, no variable, no folder but its own two.
func TestTheProgramOfTheImageRunsByItself(t *testing.T) {
	t.Parallel()
	program := build(t)
	if runtime.GOOS == "linux" {
		f, err := elf.Open(program)
		require.NoError(t, err)
		for _, p := range f.Progs {
			assert.NotEqual(t, elf.PT_INTERP, p.Type, "it is linked to libraries")
		}
		libraries, err := f.ImportedLibraries()
		assert.NoError(t, err)
		assert.Empty(t, libraries)
		require.NoError(t, f.Close())
	}

	// A marketplace that answers when it is told to.
	market := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
	market.Put(rolegatetest.User{ID: 1542135022016057002, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}})
	open := make(chan struct{})
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-open:
			market.ServeHTTP(w, r)
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(upstream.Close)

	c := runContainer(t, program, upstream.URL)
	assert.Equal(t, http.StatusOK, c.get("admin", "/healthz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, c.get("admin", "/readyz", nil))
	assert.Equal(t, http.StatusServiceUnavailable, c.passes("/grades"))
	assert.Equal(t, 3, c.healthcheck())

	close(open)
	require.Eventually(t, func() bool { return c.get("admin", "/readyz", nil) == http.StatusOK }, 10*time.Second, 10*time.Millisecond, c.log)
	assert.Equal(t, http.StatusOK, c.passes("/grades"))
	assert.Equal(t, http.StatusForbidden, c.passes("/elsewhere"))
	assert.Equal(t, 0, c.healthcheck())

	require.NoError(t, c.cmd.Process.Signal(syscall.SIGTERM)) // STOPSIGNAL
	assert.NoError(t, c.wait(), c.log)
	for folder, left := range map[string][]string{c.control: nil, c.cache: {"list.index"}, c.cmd.Dir: nil} {
		entries, err := os.ReadDir(folder)
		require.NoError(t, err)
		var names []string
		for _, e := range entries {
			names = append(names, e.Name())
		}
		assert.Equal(t, left, names, folder)
	}
}

// A containerLike is a process that has what the one of a container has: the settings
// of compose, two folders and no variable.
type containerLike struct {
	t              *testing.T
	cmd            *exec.Cmd
	log            *logbook.Book
	control, cache string
	addresses      map[string]string
	client         *http.Client
	ended          chan error
}

func runContainer(t *testing.T, program, marketplace string) *containerLike {
	t.Helper()
	token := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(token, []byte(read(t, "deploy", "compose", "secrets", "market-token")), 0o400))
	return runSettings(t, program, read(t, "deploy", "compose", "rolegate.yaml"), [][2]string{
		{"http://marketplace:9400", marketplace}, {"/run/secrets/market-token", token}, {"172.30.9.250", "127.0.0.1"},
		{"0.0.0.0:9090", "127.0.0.1:0"}, {"0.0.0.0:9092", "127.0.0.1:0"},
	})
}

// runSettings runs the program by settings that are shipped, of which parts are
// replaced: those of the network, besides which the two folders are.
func runSettings(t *testing.T, program, text string, replace [][2]string) *containerLike {
	t.Helper()
	folder := t.TempDir()
	// A socket's name may not be long, which that of a test's folder is.
	control, err := os.MkdirTemp("", "rg")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(control)) })
	c := &containerLike{
		t: t, log: &logbook.Book{}, control: control, cache: filepath.Join(folder, "cache"), addresses: map[string]string{},
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, ended: make(chan error, 1),
	}
	require.NoError(t, os.Mkdir(c.cache, 0o700))
	if strings.Contains(text, "/var/lib/rolegate/own/") { // in what an emptyDir is
		require.NoError(t, os.Chmod(c.cache, 0o777|fs.ModeSetgid))
	}
	empty := filepath.Join(folder, "empty")
	require.NoError(t, os.Mkdir(empty, 0o500))
	settings := filepath.Join(folder, "rolegate.yaml")
	for _, r := range append(replace, [2]string{"/var/lib/rolegate/", c.cache + "/"}, [2]string{"/run/rolegate/", control + "/"}) {
		require.Contains(t, text, r[0])
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	require.NoError(t, os.WriteFile(settings, []byte(text), 0o400))

	c.cmd = exec.Command(program, "serve", "-c", settings)
	c.cmd.Dir, c.cmd.Env = empty, []string{}
	c.cmd.Stderr = c.log
	out, err := c.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, c.cmd.Start())
	t.Cleanup(func() {
		_ = c.cmd.Process.Kill() // if the test has not come to its end
		_ = c.wait()
	})
	lines := bufio.NewScanner(out)
	for len(c.addresses) < 3 && lines.Scan() {
		name, address, _ := strings.Cut(lines.Text(), " is on ")
		c.addresses[name] = address
	}
	go func() {
		_, err := io.Copy(io.Discard, out)
		c.ended <- errors.Join(err, c.cmd.Wait())
	}()
	require.Len(t, c.addresses, 3, "it has not begun to listen: %s", c.log)
	return c
}

// wait waits for the process to end. It may be called twice.
func (c *containerLike) wait() error {
	err := <-c.ended
	c.ended <- err
	return err
}

func (c *containerLike) get(listener, path string, header http.Header) int {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), http.MethodGet, "http://"+c.addresses[listener]+path, nil)
	require.NoError(c.t, err)
	r.Header = header
	answer, err := c.client.Do(r)
	require.NoError(c.t, err, c.log)
	require.NoError(c.t, answer.Body.Close())
	return answer.StatusCode
}

// passes asks as nginx does whether the teacher may.
func (c *containerLike) passes(uri string) int {
	c.t.Helper()
	return c.get("forward_auth", "/", http.Header{
		"X-User-Id": {teacher}, "X-Original-Method": {"GET"}, "X-Original-Host": {"school.example.com"}, "X-Original-Uri": {uri},
	})
}

// healthcheck runs the image's, and returns its exit code.
func (c *containerLike) healthcheck() int {
	c.t.Helper()
	args := healthcheck(c.t)
	for i, a := range args {
		args[i] = strings.ReplaceAll(a, "/run/rolegate/", c.control+"/")
	}
	cmd := exec.CommandContext(c.t.Context(), c.cmd.Path, args[1:]...)
	cmd.Env = []string{}
	var output bytes.Buffer
	cmd.Stdout, cmd.Stderr = &output, &output
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		require.NoError(c.t, err, output.String())
	}
	return cmd.ProcessState.ExitCode()
}
