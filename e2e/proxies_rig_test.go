//go:build drill

package e2e

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A realProxy is a program that is fed the files that docs/proxies.md shows.
type realProxy struct {
	kind    forwardauth.Proxy
	program string
	files   []string // in docs/proxies, the configuration first

	// command makes the program run with the configuration, in that folder,
	// and what it needs around it.
	command func(t *testing.T, program, folder string) *exec.Cmd
}

var realProxies = []realProxy{
	{forwardauth.Nginx, "nginx", []string{"nginx.conf"}, func(t *testing.T, program, folder string) *exec.Cmd {
		var temp strings.Builder
		for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
			fmt.Fprintf(&temp, "%s_temp_path %s;\n", what, filepath.Join(folder, what))
		}
		write(t, filepath.Join(folder, "main.conf"), fmt.Sprintf(
			"%[3]sdaemon off; worker_processes 1; pid %[1]s/pid; error_log stderr warn;\nevents {}\nhttp { access_log off;\n%[2]sinclude %[1]s/nginx.conf; }\n",
			folder, temp.String(), map[bool]string{true: "user root; "}[os.Getuid() == 0]))
		return exec.Command(program, "-p", folder, "-c", filepath.Join(folder, "main.conf"), "-e", "stderr")
	}},
	{forwardauth.HAProxy, "haproxy", []string{"haproxy.cfg", "rolegate.lua"}, func(_ *testing.T, program, folder string) *exec.Cmd {
		return exec.Command(program, "-db", "-f", filepath.Join(folder, "haproxy.cfg"))
	}},
	{forwardauth.Caddy, "caddy", []string{"Caddyfile"}, func(t *testing.T, program, folder string) *exec.Cmd {
		write(t, filepath.Join(folder, "main"), "{\n\tadmin off\n}\nimport "+filepath.Join(folder, "Caddyfile")+"\n")
		c := exec.Command(program, "run", "--adapter", "caddyfile", "--config", filepath.Join(folder, "main"))
		c.Env = append(os.Environ(), "HOME="+folder, "XDG_CONFIG_HOME="+folder, "XDG_DATA_HOME="+folder)
		return c
	}},
}

// eachProxy runs a test with every proxy that is installed, and with stubs of
// the others. In CI all must be installed.
func eachProxy(t *testing.T, test func(*testing.T, *rig)) {
	t.Helper()
	t.Parallel()
	for _, p := range realProxies {
		program, err := lookProgram(p.program)
		if err != nil && os.Getenv("CI") == "true" {
			t.Errorf("%s is not installed: install Debian's packages nginx-light, haproxy and caddy", p.program)
		}
		if err != nil {
			continue
		}
		t.Run(p.kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, newRig(t, p.kind, func(app, auth string) string { return start(t, p, program, app, auth) }))
		})
	}
	for _, kind := range []forwardauth.Proxy{forwardauth.Traefik, forwardauth.Envoy} {
		t.Run("stub of "+kind.String(), func(t *testing.T) {
			t.Parallel()
			test(t, newRig(t, kind, func(app, auth string) string {
				s := startStub(t, kind, app, auth)
				t.Cleanup(s.Close)
				return s.Listener.Addr().String()
			}))
		})
	}
}

// lookProgram also looks where Debian puts servers, which is not in the PATH of
// everybody.
func lookProgram(name string) (string, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		path, err = exec.LookPath("/usr/sbin/" + name)
	}
	return path, err
}

// A rig is a proxy with an app behind and a gate beside it.
type rig struct {
	kind   forwardauth.Proxy
	gate   *rolegate.Gate
	source *rolegatetest.Static
	app    *app
	auth   *httptest.Server
	asked  *asked
	addr   string // of the proxy
}

func newRig(t *testing.T, kind forwardauth.Proxy, start func(app, auth string) (addr string)) *rig {
	t.Helper()
	g := &rig{kind: kind, app: &app{}, asked: &asked{}, source: rolegatetest.NewStatic(listed()...)}
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: g.source, Keep: rolegate.Keep{Account: true}, Logger: slog.New(slog.DiscardHandler),
		// A header comes first that only something in front of the proxy may set.
		Identify: rolegate.FirstOf(rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)), rolegate.ByUserID(session)),
	})
	require.NoError(t, err)
	t.Cleanup(func() {
		err := gate.Close()
		for range 20 { // it waits for a second each time, which can be too little where much else runs
			if err != nil {
				err = gate.Close()
			}
		}
		require.NoError(t, err)
	})
	g.gate = gate
	g.asked.next = rules(t, gate, kind)
	g.auth = httptest.NewServer(g.asked)
	t.Cleanup(g.auth.Close)
	behind := httptest.NewServer(g.app)
	t.Cleanup(behind.Close)
	for range 5 { // somebody else may take the port first
		if g.addr = start(behind.Listener.Addr().String(), g.auth.Listener.Addr().String()); g.addr != "" {
			return g
		}
	}
	t.Fatalf("%v does not start", kind)
	return nil
}

// rules are what the tests of all proxies ask for.
func rules(t *testing.T, gate *rolegate.Gate, kind forwardauth.Proxy) *forwardauth.Handler {
	t.Helper()
	cfg := forwardauth.Config{Proxy: kind, Trusted: rolegate.Loopback(), Logger: slog.New(slog.DiscardHandler), LoginURL: "/login?app=school", Headers: []string{"Sec-WebSocket-Protocol"}}
	if kind == forwardauth.Envoy {
		cfg.Prefix = stubPrefix
	}
	h, err := forwardauth.New(gate, cfg)
	require.NoError(t, err)
	teacher := rolegate.AnyRole("teacher")
	h.Admit("GET /{$}")
	h.Handle("/admin/", rolegate.AnyRole("admin"))
	h.Handle("GET /grades/{id}", teacher)
	h.Handle("GET /files/{path...}", teacher)
	h.Handle("POST /orgs/{orgID}/reports", teacher, rolegate.InOrg(rolegate.PathOrg("orgID")))
	h.Handle("POST /upload", teacher)
	h.Handle("GET /ws", teacher)
	h.Handle("GET /events", teacher)
	h.Handle("/api/", teacher)
	h.Preflight("/api/")
	h.Encoded("%#;").Handle("GET /names/{name}", teacher)
	h.Encoded(`/?\`).Handle("GET /groups/{name}", teacher)
	h.Admit("GET /names/public")
	return h
}

// listed are the users: 1 a teacher, 2 an admin, 3 without a role, 4 with many,
// 5 and 6 with more than some proxies can carry.
func listed() []rolegate.Record {
	teacherIn := func(id, orgs int64) rolegate.Record {
		r := rolegate.Record{UserID: id}
		for org := range orgs {
			r.Grants = append(r.Grants, rolegate.Grant{OrgID: 1000000000000000000 + org, RoleCode: "teacher"})
		}
		return r
	}
	one := user(1, "teacher")
	one.Account = "张三, 100%\r\n"
	one.Grants = append(one.Grants, rolegate.Grant{OrgID: 8, RoleCode: "班主任"})
	return []rolegate.Record{one, user(2, "admin"), {UserID: 3}, teacherIn(4, 100), teacherIn(5, 560), teacherIn(6, 3000)}
}

// session reads who is asking from a cookie, or a token in a header or a subprotocol.
func session(r *http.Request) (int64, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer user-")
	if protocol, token, found := strings.Cut(r.Header.Get("Sec-WebSocket-Protocol"), ","); found && protocol == "bearer" {
		text, ok = strings.CutPrefix(strings.TrimSpace(token), "user-")
	}
	if c, err := r.Cookie("session"); err == nil {
		text, ok = strings.CutPrefix(c.Value, "user-")
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return 0, rolegate.ErrNobody
	}
	return id, nil
}

// start runs the proxy and returns its address, "" if it did not come up.
func start(t *testing.T, p realProxy, program, app, auth string) string {
	t.Helper()
	folder := t.TempDir()
	port := freePort(t)
	_, authPort, _ := net.SplitHostPort(auth)
	for _, name := range p.files {
		text := readFile(t, filepath.Join("..", "docs", "proxies", name))
		text = strings.NewReplacer(
			"127.0.0.1:8080", app, "127.0.0.1:9090", auth, "127.0.0.1 9090", "127.0.0.1 "+authPort,
			"listen 8000;", "listen 127.0.0.1:"+port+";", "bind :8000", "bind 127.0.0.1:"+port, "http://:8000", "http://:"+port,
			"/etc/haproxy/", folder+"/").Replace(text)
		write(t, filepath.Join(folder, name), text)
	}
	var said lockedBuffer
	c := p.command(t, program, folder)
	c.Dir, c.Stdout, c.Stderr = folder, &said, &said
	require.NoError(t, c.Start())
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		select {
		case <-ended:
		case <-time.After(5 * time.Second):
			_ = c.Process.Kill()
			<-ended
		}
		if t.Failed() {
			t.Logf("%s said:\n%s", p.program, said.String())
		}
	})
	addr := "127.0.0.1:" + port
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 1000 {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return addr
		}
		select {
		case <-ended:
			return ""
		case <-tick.C:
		}
	}
	return ""
}

// given are the ports that proxies of these tests have got. Two proxies can
// listen on the same one, and share its connections, without noticing.
var given sync.Map

func freePort(t *testing.T) string {
	t.Helper()
	for {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer l.Close()
		_, port, err := net.SplitHostPort(l.Addr().String())
		require.NoError(t, err)
		if _, taken := given.LoadOrStore(port, true); !taken {
			return port
		}
	}
}

// send sends a request as it is written, line by line, and returns the answer
// with its body. A blank line and the body follow the lines.
func (g *rig) send(t *testing.T, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	method, _, _ := strings.Cut(lines[0], " ")
	if !slices.ContainsFunc(lines, func(l string) bool { return strings.HasPrefix(l, "Host:") }) {
		lines = append(lines, "Host: school.example")
	}
	written := make(chan struct{})
	go func() { // a proxy may answer before it has read all
		defer close(written)
		_, _ = io.WriteString(conn, strings.Join(lines, "\r\n")+"\r\n\r\n"+body)
	}()
	answer, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: method})
	require.NoError(t, err, lines[0])
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err, lines[0])
	conn.Close()
	<-written
	return answer, string(text)
}

// get asks for a target as that user.
func (g *rig) get(t *testing.T, user int, target string, lines ...string) (*http.Response, string) {
	t.Helper()
	return g.send(t, "", append([]string{"GET " + target + " HTTP/1.1", "Cookie: session=user-" + strconv.Itoa(user)}, lines...)...)
}

// An app is what the proxy guards. It keeps what it was asked for.
type app struct {
	mu   sync.Mutex
	seen []request
}

// A request is one that an app, or the gate, has got.
type request struct {
	*http.Request
	body []byte
}

func (a *app) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	seen := request{Request: r}
	if r.Header.Get("Upgrade") == "" {
		seen.body, _ = io.ReadAll(r.Body)
	}
	a.mu.Lock()
	a.seen = append(a.seen, seen)
	a.mu.Unlock()
	switch r.URL.Path {
	case "/ws":
		echo(w, r)
	case "/events":
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done() // the second event never comes
	default:
		fmt.Fprintf(w, "%s %s, %d bytes", r.Method, r.RequestURI, len(seen.body))
	}
}

// take returns what the app was asked for since the last time.
func (a *app) take() []request {
	a.mu.Lock()
	defer a.mu.Unlock()
	seen := a.seen
	a.seen = nil
	return seen
}

// asked is the gate's handler, with notes of what it was asked.
type asked struct {
	app
	next http.Handler
}

func (a *asked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.next.ServeHTTP(w, r)
	body, _ := io.ReadAll(r.Body)
	a.mu.Lock()
	a.seen = append(a.seen, request{Request: r, body: body})
	a.mu.Unlock()
}

// A lockedBuffer is what a program says.
type lockedBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func write(t *testing.T, name, text string) {
	t.Helper()
	require.NoError(t, os.WriteFile(name, []byte(text), 0o600))
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	require.NoError(t, err)
	return string(text)
}

func within(t *testing.T, d time.Duration) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
