//go:build drill

package e2e

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// patience is how long anything may take that is not measured.
const patience = 60 * time.Second

// theExample is where the example is built, once.
var theExample struct {
	once   sync.Once
	folder string
	err    error
}

// buildExample returns the binary of the example that shares its list.
func buildExample(t testing.TB) string {
	t.Helper()
	e := &theExample
	e.once.Do(func() {
		if e.folder, e.err = os.MkdirTemp("", "rolegate-e2e-"); e.err != nil {
			return
		}
		build := exec.Command("go", "build", "-o", filepath.Join(e.folder, "example"), ".")
		build.Dir = filepath.Join("..", "example", "replicas")
		if out, err := build.CombinedOutput(); err != nil {
			e.err = fmt.Errorf("go build: %w\n%s", err, out)
		}
	})
	require.NoError(t, e.err)
	return filepath.Join(e.folder, "example")
}

func removeExample() {
	if theExample.folder != "" {
		_ = os.RemoveAll(theExample.folder)
	}
}

// A process is the example as a program of its own: one replica.
type process struct {
	name   string // of the replica; one that is restarted keeps it
	link   *link  // to Redis, if it is one that can be cut
	cmd    *exec.Cmd
	url    string
	client *http.Client
	ended  chan struct{}

	mu      sync.Mutex
	tail    []string // the last lines that it has printed
	changes []time.Time
	serving chan string
}

// startApp starts a replica, which is to be killed in the end, and does not wait
// until it serves.
func startApp(t testing.TB, name, redis string, m *market, env ...string) *process {
	t.Helper()
	a := &process{
		name: name, ended: make(chan struct{}), serving: make(chan string, 1),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 4, DialContext: (&net.Dialer{Timeout: patience}).DialContext}},
	}
	a.cmd = exec.Command(buildExample(t), "-addr", "127.0.0.1:0", "-redis", redis)
	a.cmd.Env = append([]string{
		"ROLEGATE_BASE_URL=" + m.url, "ROLEGATE_APP_ID=" + m.AppID(), "ROLEGATE_ACCESS_TOKEN=" + tokenOf(name),
		"ROLEGATE_REDIS_SECRET=a secret of these tests, for nothing else", "GOMAXPROCS=1",
	}, env...)
	stdout, err := a.cmd.StdoutPipe()
	require.NoError(t, err)
	stderr, err := a.cmd.StderrPipe()
	require.NoError(t, err)
	require.NoError(t, a.cmd.Start())
	var reading sync.WaitGroup
	reading.Go(func() { a.read(stdout) })
	reading.Go(func() { a.read(stderr) })
	go func() {
		reading.Wait()
		_ = a.cmd.Wait()
		close(a.ended)
	}()
	return a
}

// awaitServing waits until it listens.
func (a *process) awaitServing(t testing.TB) {
	t.Helper()
	select {
	case a.url = <-a.serving:
	case <-a.ended:
		require.FailNow(t, "the example ended", a.last())
	case <-time.After(patience):
		require.FailNow(t, "the example does not serve", a.last())
	}
}

var published = regexp.MustCompile(`msg="the list has changed".* published=(\S+)`)

func (a *process) read(from io.Reader) {
	for lines := bufio.NewScanner(from); lines.Scan(); {
		a.line(lines.Text())
	}
}

func (a *process) line(text string) {
	if url, ok := strings.CutPrefix(text, "serving on "); ok {
		a.serving <- url
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if m := published.FindStringSubmatch(text); m != nil {
		if at, err := time.Parse(time.RFC3339Nano, m[1]); err == nil {
			a.changes = append(a.changes, at)
		}
	}
	if strings.Contains(text, "rolegate: refused") {
		return
	}
	if a.tail = append(a.tail, text); len(a.tail) > 40 {
		a.tail = a.tail[1:]
	}
}

// last returns its last lines.
func (a *process) last() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.name + ":\n    " + strings.Join(a.tail, "\n    ") + "\n"
}

// publishes returns when it published the changes that it has told of, but for the
// first so many.
func (a *process) publishes(but int) []time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.changes[min(but, len(a.changes)):]
}

// kill ends it by SIGKILL, and waits until it has.
func (a *process) kill() {
	_ = a.cmd.Process.Kill() // it may have ended
	<-a.ended
	a.client.CloseIdleConnections()
}

// ask sends a request as that user, and returns the status.
func (a *process) ask(ctx context.Context, user int64, path string) (status int, err error) {
	return a.fetch(ctx, user, path, nil)
}

func (a *process) fetch(ctx context.Context, user int64, path string, to any) (status int, err error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, a.url+path, nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	resp, err := a.client.Do(r)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	if to != nil && resp.StatusCode == http.StatusOK {
		return resp.StatusCode, json.NewDecoder(resp.Body).Decode(to)
	}
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

// A status is what a replica says of itself.
type status struct {
	State    string    `json:"state"`
	Users    int       `json:"users"`
	Cursor   int64     `json:"cursor,string"`
	Verified time.Time `json:"verified"`
	Replica  struct {
		Connected bool      `json:"connected"`
		Base      time.Time `json:"base"`
	} `json:"replica"`
}

// status asks it how it is. The second result is false if it does not answer, or
// serves nothing yet.
func (a *process) status(ctx context.Context) (s status, ok bool) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	code, err := a.fetch(ctx, admin, "/status", &s)
	return s, err == nil && code == http.StatusOK
}
