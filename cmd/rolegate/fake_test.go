package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A paper is what a command has printed, while it may still print.
type paper struct {
	mu      sync.Mutex
	text    bytes.Buffer
	written chan struct{} // closed with the first writing
	once    sync.Once
}

func newPaper() *paper { return &paper{written: make(chan struct{})} }

func (p *paper) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.once.Do(func() { close(p.written) })
	return p.text.Write(b)
}

func (p *paper) String() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.text.String()
}

// A runningFake is a rolegate fake that serves.
type runningFake struct {
	url      string
	out, err *paper
	stop     func() (code int)
}

var fakeURL = regexp.MustCompile(`http://[0-9.:]+`)

// startFake runs rolegate fake on a free port until the test ends.
func startFake(t *testing.T, args ...string) *runningFake {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	f := &runningFake{out: newPaper(), err: newPaper()}
	ended := make(chan int, 1)
	go func() {
		ended <- run(ctx, append([]string{"fake", "--listen", "127.0.0.1:0"}, args...), streams{nil, f.out, f.err, ""})
	}()
	f.stop = sync.OnceValue(func() int {
		cancel()
		return <-ended
	})
	t.Cleanup(func() { assert.Zero(t, f.stop(), f.err) })
	select {
	case <-f.out.written:
	case code := <-ended:
		ended <- code
		require.FailNow(t, "rolegate fake has ended", "%d: %s", code, f.err)
	}
	f.url = fakeURL.FindString(f.out.String())
	return f
}

// send sends a request to the fake, a POST if there is a form.
func (f *runningFake) send(t *testing.T, path, form string) (status int, body string) {
	t.Helper()
	method := http.MethodGet
	if form != "" {
		method = http.MethodPost
	}
	r, err := http.NewRequestWithContext(t.Context(), method, f.url+path, strings.NewReader(form))
	require.NoError(t, err)
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(r)
	require.NoError(t, err)
	defer resp.Body.Close()
	read, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(read)
}

// call runs a command to its end.
func call(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, streams{nil, &o, &e, ""})
	return code, o.String(), waits.ReplaceAllString(e.String(), "")
}

// waits is what a command says of a server that does not answer within a second, as on
// a busy machine.
var waits = regexp.MustCompile(`(waiting for the first list of the new settings|正在等待新配置的第一份列表).*\n`)

// tokenFile is a file with the token that the fake accepts by default.
func tokenFile(t *testing.T) string { return fileWith(t, rolegatetest.DefaultToken+"\n") }

func fileWith(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	require.NoError(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// pull runs rolegate pull on the fake, quietly.
func (f *runningFake) pull(t *testing.T, args ...string) (code int, out, err string) {
	t.Helper()
	return call(t, append([]string{"pull", "--quiet", "--url", f.url, "--app-id", "test-app", "--token-file", tokenFile(t)}, args...)...)
}

func TestFakePage(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--users", "30", "--fault", "http-status@from=1h")
	page := f.out.String()
	for _, want := range []string{
		"URL      " + f.url + "\n", "app id   test-app\n", "export ROLEGATE_ACCESS_TOKEN=" + rolegatetest.DefaultToken + "\n",
		"1542135022016057001     1          teacher            teacher in 7\n",
		"1542135022016057002     2          homeroom teacher   teacher, homeroom in 7; teacher in 8\n",
		"1542135022016057005     5          guest              none, but is on the list\n",
		"30 more", "http-status@from=1h", "Ctrl-C", f.url + "/_fake/",
		"rolegate doctor --url " + f.url + " --app-id test-app\n",
	} {
		assert.Contains(t, page, want)
	}
	for line := range strings.Lines(page) {
		assert.LessOrEqual(t, len([]rune(line)), 125, line)
	}
	assert.Zero(t, f.stop())
	assert.Empty(t, f.err.String())
	_, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
	assert.Error(t, err, "nobody is there")
}

// TestFakeByHand is what the page proposes.
func TestFakeByHand(t *testing.T) {
	t.Parallel()
	f := startFake(t)
	curls := regexp.MustCompile(`(?m)^  curl ((?:-d \S+ )+)http://[0-9.:]+(/_fake/\S+)$`).FindAllStringSubmatch(f.out.String(), -1)
	require.Len(t, curls, 2)
	for _, curl := range curls {
		form := strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(curl[1]), "-d "), " -d ", "&")
		status, body := f.send(t, curl[2], form)
		assert.Equal(t, http.StatusOK, status, body)
	}
	code, out, stderr := f.pull(t)
	require.Zero(t, code, stderr)
	assert.Contains(t, out, `{"user_id":"1542135022016057005","sequence":"6","grants":[{"org_id":"8","role":"teacher"}]}`)
	assert.NotContains(t, out, "1542135022016057001")
	_, requests := f.send(t, "/_fake/requests", "")
	assert.Contains(t, requests, `"after":0,`)
}

func TestFakeSettings(t *testing.T) {
	t.Parallel()
	for name, args := range map[string][]string{
		"plain":         nil,
		"cloud command": {"--cloud-command"},
		"odd names":     {"--app-id", `it's"an#app`, "--token-file", fileWith(t, "AT-1-other")},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := startFake(t, args...)
			status, body := f.send(t, "/_fake/settings", "")
			require.Equal(t, http.StatusOK, status)
			file, err := settings.Parse([]byte(body))
			require.NoError(t, err)
			assert.Equal(t, f.url, file.Marketplace.URL)
			if name == "odd names" {
				assert.Equal(t, `it's"an#app`, file.Marketplace.AppID)
				token, err := file.Marketplace.Token.Read()
				require.NoError(t, err)
				assert.Equal(t, "AT-1-other", token)
				assert.Contains(t, f.out.String(), `--app-id 'it'\''s"an#app' --token-file `)
			}
			assert.Equal(t, name == "cloud command", file.CloudCommand != nil)
		})
	}
}

func TestFakeCloudCommand(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--cloud-command", "--verbose")
	assert.Contains(t, f.out.String(), "export ROLEGATE_CLOUD_SECRET="+rolegatetest.DefaultClientSecret)
	client := cloudcommand.New(cloudcommand.Config{
		BaseURL: f.url, ClientID: rolegatetest.DefaultClientID, ClientSecret: rolegatetest.DefaultClientSecret, Done: []string{rolegatetest.DoneMessage},
	})
	defer client.CloseIdleConnections()
	for _, state := range []string{"running", "done", "unknown"} {
		_, body := f.send(t, "/_fake/sync", "state="+state)
		got, err := client.CheckSync(t.Context())
		require.NoError(t, err, body)
		assert.Equal(t, state, got.State.String())
	}
	assert.NotContains(t, f.err.String(), "ecret")
}

func TestFakeWire(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--ids", "string", "--page-cap", "2", "--inclusive", "--app-id", "school", "--latency", "1ms", "--unauthorized-http")
	ask := func(token string) (int, string) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, f.url+"/app/user/list?"+url.Values{"accessToken": {token}, "lastSequence": {"2"}}.Encode(), nil)
		require.NoError(t, err)
		r.Header.Set("X-App-Id", "school")
		resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(r)
		require.NoError(t, err)
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		return resp.StatusCode, string(body)
	}
	status, body := ask(rolegatetest.DefaultToken)
	assert.Equal(t, http.StatusOK, status)
	var page struct {
		Data []struct{ LastSequence string }
	}
	require.NoError(t, json.Unmarshal([]byte(body), &page), body)
	require.Len(t, page.Data, 2)
	assert.Equal(t, "2", page.Data[0].LastSequence)
	status, _ = ask("AT-2-wrong")
	assert.Equal(t, http.StatusUnauthorized, status)
	status, _ = f.send(t, "//app/user/list", "")
	assert.Equal(t, http.StatusNotFound, status, "no path is fixed")
}

func TestFakeVerbose(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--verbose", "--fault", "truncated@next=1", "--token-file", fileWith(t, "AT-7-private"))
	for range 2 {
		call(t, "pull", "--url", f.url, "--app-id", "test-app", "--token-file", fileWith(t, "AT-7-private"))
	}
	f.stop()
	log := f.err.String()
	assert.Regexp(t, `level=INFO msg=request method=GET path=/app/user/list lastSequence=0 limit=\d+ status=200 bytes=\d+ took=\d+(ms|s) fault="truncated@next=1"\n`, log)
	assert.Regexp(t, `lastSequence=4 limit=\d+ status=200 bytes=\d+ took=[^ ]+\n`, log)
	assert.NotContains(t, log+f.out.String(), "private")
}

func TestFakeHangsNot(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--fault", "hang", "--verbose")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan int)
	go func() {
		ended <- run(ctx, []string{"pull", "--url", f.url, "--app-id", "test-app", "--token-file", tokenFile(t)}, streams{nil, io.Discard, io.Discard, ""})
	}()
	require.Eventually(t, func() bool {
		_, requests := f.send(t, "/_fake/requests", "")
		return requests != ""
	}, 10*time.Second, 10*time.Millisecond)
	assert.Zero(t, f.stop(), "a request that hangs must not keep it from ending")
	cancel()
	assert.Equal(t, exitFailed, <-ended)
}

func TestFakeQuietRoleLoss(t *testing.T) {
	t.Parallel()
	for want, args := range map[string][]string{
		"The gate's next incremental refresh sees it.":     nil,
		"Only a full refresh sees it (--quiet-role-loss).": {"--quiet-role-loss"},
	} {
		f := startFake(t, args...)
		_, body := f.send(t, "/_fake/take", "user=1542135022016057001&org=7&role=teacher")
		assert.Contains(t, body, want)
		_, out, _ := f.pull(t, "--after", "5")
		assert.Equal(t, args == nil, out != "")
	}
}

func TestFakeMistakes(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"every machine":     {[]string{"--listen", ":9400"}, `--listen ":9400": expected an address of this machine alone, such as 127.0.0.1:9400; or else --public too`},
		"other machines":    {[]string{"--listen", "192.0.2.1:9400"}, "or else --public too"},
		"a name":            {[]string{"--listen", "example.test:9400"}, "or else --public too"},
		"no port":           {[]string{"--listen", "127.0.0.1"}, `expected host:port, such as 127.0.0.1:9400`},
		"ids":               {[]string{"--ids", "hex"}, `--ids "hex": expected number, string or mixed`},
		"a fault":           {[]string{"--fault", "trunkated"}, `--fault "trunkated": expected one of truncated, unterminated, `},
		"when":              {[]string{"--fault", "hang@never"}, `expected behind the last @ one of always, full`},
		"a cloud's fault":   {[]string{"--fault", "cloud:hang"}, "expected --cloud-command too"},
		"users":             {[]string{"--users", "-1"}, "--users -1: expected 0 to 5000000"},
		"orgs":              {[]string{"--orgs", "0"}, "--orgs 0: expected 1 to 1000000"},
		"roles":             {[]string{"--roles", "a,,b"}, "--roles: expected codes"},
		"page cap":          {[]string{"--page-cap", "-1"}, "--page-cap -1: expected"},
		"latency":           {[]string{"--latency", "-1s"}, "--latency -1s: expected"},
		"app id":            {[]string{"--app-id", "my app"}, "--app-id: expected"},
		"two tokens":        {[]string{"--token-env", "A", "--token-file", "b"}, "--token-env, --token-file: expected one of them, not both"},
		"no token":          {[]string{"--token-file", os.DevNull}, "the access token: the file /dev/null is empty or not set"},
		"several":           {[]string{"--users", "-1", "--ids", "hex"}, "--ids"},
		"an argument":       {[]string{"now"}, "See: rolegate fake --help"},
		"an unknown flag":   {[]string{"--token", "AT-1"}, "unknown flag: --token"},
		"a flag without it": {[]string{"--fault"}, "flag needs an argument: --fault"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			code, out, stderr := call(t, append([]string{"fake"}, tc.args...)...)
			assert.Equal(t, exitUsage, code)
			assert.Empty(t, out)
			assert.Contains(t, stderr, tc.want)
		})
	}
	f := startFake(t)
	code, _, stderr := call(t, "fake", "--listen", strings.TrimPrefix(f.url, "http://"))
	assert.Equal(t, exitFailed, code)
	assert.Contains(t, stderr, "choose another address with --listen")
}

func TestFakePublic(t *testing.T) {
	t.Parallel()
	f := startFake(t, "--public", "--listen", "0.0.0.0:0")
	assert.Contains(t, f.out.String(), "  URL      http://127.0.0.1:")
	status, _ := f.send(t, "/_fake/", "")
	assert.Equal(t, http.StatusOK, status)
}

func TestFakeListsFaults(t *testing.T) {
	t.Parallel()
	code, out, _ := call(t, "fake", "--list-faults")
	assert.Zero(t, code)
	for _, want := range []string{"\n  truncated                the connection", "\n  slow=TIME ", "(2s)\n", "cloud:error-r=CODE", "\n  every=3        each third request\n"} {
		assert.Contains(t, out, want)
	}
	code, also, _ := call(t, "fake", "--fault", "list")
	assert.Zero(t, code)
	assert.Equal(t, out, also)
}

func TestFakeCompletion(t *testing.T) {
	t.Parallel()
	for typed, want := range map[string][]string{
		"":              {"truncated\tthe connection breaks", "slow=2s\t", "list\tlist them all", ":6\n"},
		"cloud:":        {"cloud:error-r=500\t", "cloud:hang\t"},
		"hang@":         {"hang@full\t", "hang@every=3\t", ":4\n"},
		"hang@full,":    {"hang@full,every=3\t"},
		"cloud:slow=1s": {":6\n"},
	} {
		_, out, _ := call(t, "__complete", "fake", "--fault", typed)
		for _, want := range want {
			assert.Contains(t, out, want, typed)
		}
	}
	_, out, _ := call(t, "__complete", "fake", "--fault", "")
	assert.NotContains(t, out, "error-r", "the marketplace has no such error")
}

// TestFakeTokenFromEnvironment sets a variable, and so is not parallel.
func TestFakeTokenFromEnvironment(t *testing.T) {
	t.Setenv("ROLEGATE_TEST_FAKE_TOKEN", "AT-7-private")
	f := startFake(t, "--token-env", "ROLEGATE_TEST_FAKE_TOKEN")
	code, out, stderr := call(t, "pull", "--url", f.url, "--app-id", "test-app", "--token-env", "ROLEGATE_TEST_FAKE_TOKEN")
	assert.Zero(t, code, stderr)
	assert.Equal(t, 5, strings.Count(out, "\n"))
	assert.Contains(t, f.out.String(), "--token-env ROLEGATE_TEST_FAKE_TOKEN\n")
	_, file := f.send(t, "/_fake/settings", "")
	assert.NotContains(t, f.out.String()+f.err.String()+file+out+stderr, "private")
}
