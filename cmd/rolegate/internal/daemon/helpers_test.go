package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

const (
	guest   = "1542135022016057001"
	teacher = "1542135022016057002"
	admin   = "1542135022016057004"

	callerToken = "callers-token-for-tests-only"
)

// A run is a server that runs in the test, with a marketplace of its own.
type run struct {
	t         *testing.T
	market    *rolegatetest.Marketplace
	path      string // of the settings file
	socket    string
	log       *logbook.Book
	addresses map[string]net.Addr
	reload    chan struct{}
	client    *http.Client

	mu       sync.Mutex
	notified []string
	end      context.CancelFunc
	ended    chan error
}

// base is a settings file with all sections; %MARKET%, %TOKEN% and %SOCKET% are
// replaced.
const base = `
marketplace: {url: "%MARKET%", app_id: test-app, token: {file: "%TOKEN%"}}
identity:
  - {is: user_id, header: X-User-Id, trusted: loopback}
refresh: {every: 1h, resync_every: 2h, expire_after: 6h}
on_deny: {off: true}
forward_auth:
  listen: 127.0.0.1:0
  proxy: nginx
  trusted: loopback
  rules:
    - {route: "GET /{$}", admit: true}
    - {route: "GET /grades", any_role: [teacher]}
    - {route: "POST /orgs/{orgID}/reports", any_role: [teacher], in_org: orgID}
authzen:
  listen: 127.0.0.1:0
  callers: [{name: gateway, token: {file: "%CALLER%"}}]
  subjects: {user: user_id}
  rules:
    - {resource: grades, action: read, any_role: [teacher]}
    - {resource: news, action: read, admit: true}
    - {resource: report, action: write, any_role: [teacher], org: {property: org_id}}
admin:
  listen: 127.0.0.1:0
  console: {any_role: [admin]}
control: "%SOCKET%"
`

// start runs a server by the file, and waits until it has a list.
func start(t *testing.T, file string, after ...func(time.Duration) <-chan time.Time) *run {
	t.Helper()
	r := begin(t, file, after...)
	require.Eventually(t, func() bool { return r.status("admin", "/readyz", nil) == http.StatusOK }, 10*time.Second, 5*time.Millisecond, r.log)
	return r
}

// begin runs a server, and waits until it listens. after is Options.After.
func begin(t *testing.T, file string, after ...func(time.Duration) <-chan time.Time) *run {
	t.Helper()
	folder := t.TempDir()
	// A socket's name may not be long, which that of a test's folder is.
	short, err := os.MkdirTemp("", "rg")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(short)) })
	r := &run{
		t: t, market: rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{}), path: filepath.Join(folder, "rolegate.yaml"),
		socket: filepath.Join(short, "s"), log: &logbook.Book{}, reload: make(chan struct{}, 1), ended: make(chan error, 1),
		client: &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }},
	}
	r.market.Put(
		rolegatetest.User{ID: 1542135022016057001},
		rolegatetest.User{ID: 1542135022016057002, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
		rolegatetest.User{ID: 1542135022016057004, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
	)
	url := r.market.Start(t)
	r.put(filepath.Join(folder, "token"), r.market.Token()+"\n")
	r.put(filepath.Join(folder, "caller"), callerToken+"\n")
	r.write(strings.NewReplacer("%MARKET%", url, "%TOKEN%", filepath.Join(folder, "token"), "%CALLER%", filepath.Join(folder, "caller"), "%SOCKET%", r.socket).Replace(file))

	ctx, cancel := context.WithCancel(t.Context())
	r.end = cancel
	listening := make(chan map[string]net.Addr, 1)
	var drained func(time.Duration) <-chan time.Time
	if len(after) > 0 {
		drained = after[0]
	}
	go func() {
		r.ended <- daemon.Run(ctx, daemon.Options{
			After: drained, Path: r.path, Logger: slog.New(slog.NewTextHandler(r.log, nil)), Reload: r.reload, ReloadWait: 3 * time.Second,
			Notify: func(s string) {
				r.mu.Lock()
				defer r.mu.Unlock()
				r.notified = append(r.notified, s)
			},
			Listening: func(a map[string]net.Addr) { listening <- a },
		})
	}()
	select {
	case r.addresses = <-listening:
	case err := <-r.ended:
		require.NoError(t, err)
	}
	t.Cleanup(func() { assert.NoError(t, r.stop()) })
	return r
}

// stop ends the server and returns what Run returned. It may be called twice.
func (r *run) stop() error {
	r.end()
	err := <-r.ended
	r.ended <- nil
	return err
}

func (r *run) put(path, text string) {
	r.t.Helper()
	require.NoError(r.t, os.WriteFile(path, []byte(text), 0o600))
}

func (r *run) write(settings string) { r.t.Helper(); r.put(r.path, settings) }

// edit replaces a part of the settings file.
func (r *run) edit(old, new string) {
	r.t.Helper()
	text, err := os.ReadFile(r.path)
	require.NoError(r.t, err)
	require.Contains(r.t, string(text), old)
	r.write(strings.Replace(string(text), old, new, 1))
}

// again has the file read again, and waits until that is done.
func (r *run) again() {
	r.t.Helper()
	done := r.notices("RELOADING=1") + 1
	r.reload <- struct{}{}
	require.Eventually(r.t, func() bool { return r.notices("RELOADING=1") == done && r.notices("READY=1") == done+1 }, 20*time.Second, 5*time.Millisecond, r.log)
}

func (r *run) notices(state string) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.notified {
		if s == state {
			n++
		}
	}
	return n
}

// ask sends a request to a listener.
func (r *run) ask(listener, method, path string, header http.Header, body string) *http.Response {
	r.t.Helper()
	request, err := http.NewRequestWithContext(r.t.Context(), method, "http://"+r.addresses[listener].String()+path, strings.NewReader(body))
	require.NoError(r.t, err)
	for name, values := range header {
		request.Header[name] = values
	}
	answer, err := r.client.Do(request)
	require.NoError(r.t, err)
	data, err := io.ReadAll(answer.Body)
	require.NoError(r.t, err)
	require.NoError(r.t, answer.Body.Close())
	answer.Body = io.NopCloser(bytes.NewReader(data))
	return answer
}

func (r *run) status(listener, path string, header http.Header) int {
	r.t.Helper()
	return r.ask(listener, http.MethodGet, path, header, "").StatusCode
}

// passes asks as nginx does whether a user may.
func (r *run) passes(user, method, uri string) int {
	r.t.Helper()
	return r.status("forward_auth", "/", http.Header{
		"X-User-Id": {user}, "X-Original-Method": {method}, "X-Original-Host": {"school.example.com"}, "X-Original-Uri": {uri},
	})
}

// evaluate asks as an AuthZEN client does.
func (r *run) evaluate(token, body string) (status int, decision bool) {
	r.t.Helper()
	a := r.ask("authzen", http.MethodPost, "/access/v1/evaluation", http.Header{"Authorization": {"Bearer " + token}, "Content-Type": {"application/json"}}, body)
	var d struct{ Decision bool }
	if a.StatusCode == http.StatusOK {
		require.NoError(r.t, json.NewDecoder(a.Body).Decode(&d))
	}
	return a.StatusCode, d.Decision
}

func (r *run) why(q control.Question) (*control.Answer, error) {
	return control.NewClient(r.socket).Why(r.t.Context(), q)
}

// reloads has the file read again by the socket.
func (r *run) reloads(ctx context.Context) error {
	_, err := control.NewClient(r.socket).Reload(ctx)
	return err
}

func (r *run) metrics() string {
	r.t.Helper()
	text, err := io.ReadAll(r.ask("admin", http.MethodGet, "/metrics", nil, "").Body)
	require.NoError(r.t, err)
	return string(text)
}

// metric returns the value of one metric, as it is written.
func (r *run) metric(name string) string {
	r.t.Helper()
	for line := range strings.Lines(r.metrics()) {
		if value, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return "none"
}

var discard = slog.New(slog.DiscardHandler)

// ended is a context that has ended: a server that gets it ends as soon as it
// has begun.
func ended(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
