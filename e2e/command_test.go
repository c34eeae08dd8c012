//go:build drill

package e2e

import (
	"bufio"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/forwardauth"
)

// The users of rolegate fake.
const (
	fakeGuest   = "1542135022016057005"
	fakeTeacher = "1542135022016057001"
)

// commandSettings is what rolegate serve runs by; %FAKE% and %FOLDER% are
// replaced.
const commandSettings = `
marketplace: {url: "%FAKE%", app_id: test-app, token: {env: ROLEGATE_ACCESS_TOKEN}}
identity:
  - {is: user_id, header: X-User-Id, trusted: loopback}
refresh: {every: 1s, resync_every: 2s}
forward_auth:
  listen: 127.0.0.1:0
  proxy: nginx
  trusted: loopback
  rules:
    - {route: "GET /{$}", admit: true}
    - {route: "GET /grades", any_role: [teacher]}
    - {route: "POST /orgs/{orgID}/reports", all_roles: [teacher, homeroom], in_org: orgID}
admin: {listen: "127.0.0.1:0"}
control: "%FOLDER%/s"
`

// rolegate fake, rolegate serve and a real nginx, asked with curl: what docs/
// command.md tells its reader to do.
func TestCommandBehindNginx(t *testing.T) {
	t.Parallel()
	nginx, nerr := lookProgram("nginx")
	curl, cerr := lookProgram("curl")
	if nerr != nil || cerr != nil {
		if os.Getenv("CI") == "true" {
			t.Error("nginx or curl is not installed: install Debian's packages nginx-light and curl")
		}
		return
	}
	// A socket's name may not be long, which that of a test's folder is.
	folder, err := os.MkdirTemp("", "rg")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, os.RemoveAll(folder)) })
	c := &command{folder: folder, program: filepath.Join(folder, "rolegate"), curl: curl}
	build := exec.Command("go", "build", "-o", c.program, ".")
	build.Dir = filepath.Join("..", "cmd", "rolegate")
	out, err := build.CombinedOutput()
	require.NoError(t, err, "%s", out)

	fake := c.begin(t, "fake", "--listen", "127.0.0.1:0")
	fakeURL := fake.said(t, `http://127\.0\.0\.1:\d+`)
	token := fake.said(t, `AT-\S+`)
	settings := filepath.Join(folder, "rolegate.yaml")
	write(t, settings, strings.NewReplacer("%FAKE%", fakeURL, "%FOLDER%", folder).Replace(commandSettings))
	c.env = []string{"ROLEGATE_ACCESS_TOKEN=" + token}
	serve := c.begin(t, "serve", "-c", settings)
	gate := strings.Fields(serve.said(t, `forward_auth is on \S+`))[3]

	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprintf(w, "app: %s %s, password %q", r.Header.Get("X-Rolegate-User"), r.Header.Get("X-Rolegate-Roles"), r.Header.Get("Authorization"))
	}))
	t.Cleanup(app.Close)
	write(t, filepath.Join(folder, "users"), fakeGuest+":{PLAIN}guest\n"+fakeTeacher+":{PLAIN}teacher\n")
	inFront := func(gate string) (proxy string) {
		for range 5 { // somebody else may take the port first
			p := realProxies[0]
			require.Equal(t, forwardauth.Nginx, p.kind)
			p.files = []string{passwords}
			p.command = func(t *testing.T, program, place string) *exec.Cmd {
				text := readFile(t, filepath.Join(place, passwords))
				write(t, filepath.Join(place, "nginx.conf"), strings.ReplaceAll(text, "/etc/nginx/users", filepath.Join(folder, "users")))
				return realProxies[0].command(t, program, place)
			}
			if proxy = start(t, p, nginx, app.Listener.Addr().String(), gate); proxy != "" {
				break
			}
		}
		require.NotEmpty(t, proxy)
		return proxy
	}
	proxy := inFront(gate)
	visit := func(user, method, path string, more ...string) (status, body string) {
		args := []string{"-X", method, "-u", user}
		return c.ask(t, append(append(args, more...), "http://"+proxy+path)...)
	}
	guest, teacher := fakeGuest+":guest", fakeTeacher+":teacher"
	eventually := func(status, user, method, path string) {
		t.Helper()
		require.Eventually(t, func() bool { got, _ := visit(user, method, path); return got == status }, patience, 50*time.Millisecond,
			"%s %s of %s does not become %s", method, path, user, status)
	}
	eventually("200", teacher, "GET", "/grades")

	for _, s := range []struct {
		name, user, method, path string
		more                     []string
		status, body             string
	}{
		{name: "a teacher", user: teacher, method: "GET", path: "/grades", status: "200", body: "app: " + fakeTeacher + " 7:teacher"},
		{name: "no password reaches the app", user: teacher, method: "GET", path: "/grades", status: "200", body: `password ""`},
		{name: "a guest", user: guest, method: "GET", path: "/", status: "200", body: "app: " + fakeGuest},
		{name: "a guest where a role is asked for", user: guest, method: "GET", path: "/grades", status: "403"},
		{name: "a wrong password", user: fakeTeacher + ":wrong", method: "GET", path: "/grades", status: "401"},
		{name: "another user's number in a header", user: guest, method: "GET", path: "/grades", more: []string{"-H", "X-User-Id: " + fakeTeacher, "-H", "X-Rolegate-User: " + fakeTeacher}, status: "403"},
		{name: "another user's number in a header, where the user may", user: guest, method: "GET", path: "/", more: []string{"-H", "X-Rolegate-User: " + fakeTeacher}, status: "200", body: "app: " + fakeGuest},
		{name: "the user's organisation, a role missing", user: teacher, method: "POST", path: "/orgs/7/reports", status: "403"},
		{name: "no rule", user: teacher, method: "GET", path: "/other", status: "403"},
		{name: "two ways to read a path", user: teacher, method: "GET", path: "/x/../grades", more: []string{"--path-as-is"}, status: "403"},
	} {
		status, body := visit(s.user, s.method, s.path, s.more...)
		assert.Equal(t, s.status, status, s.name)
		assert.Contains(t, body, s.body, s.name)
	}

	// The same over a Unix socket, which is believed for whoever may open it.
	socket := filepath.Join(folder, "p")
	overSocket := filepath.Join(folder, "unix.yaml")
	write(t, overSocket, strings.NewReplacer("%FAKE%", fakeURL, "%FOLDER%/s", filepath.Join(folder, "t"), "listen: 127.0.0.1:0", "listen: unix:"+socket,
		"trusted: loopback", "trusted: unix").Replace(commandSettings))
	second := c.begin(t, "serve", "-c", overSocket)
	second.said(t, "forward_auth is on ")
	if os.Geteuid() == 0 { // nginx works as another user then, who would be in the socket's group
		require.NoError(t, os.Chmod(folder, 0o711))
		require.NoError(t, os.Chmod(socket, 0o666))
	}
	behind := "http://" + inFront("unix:"+socket)
	require.Eventually(t, func() bool { got, _ := c.ask(t, "-u", teacher, behind+"/grades"); return got == "200" }, patience, 50*time.Millisecond)
	status, body := c.ask(t, "-u", guest, behind+"/")
	assert.Equal(t, "200", status)
	assert.Contains(t, body, "app: "+fakeGuest)
	status, _ = c.ask(t, "-u", guest, "-H", "X-User-Id: "+fakeTeacher, behind+"/grades")
	assert.Equal(t, "403", status)
	second.end(t)
	status, _ = c.ask(t, "-u", teacher, behind+"/grades")
	assert.Equal(t, "500", status, "without the gate there is no way in")

	// A grant counts with the next increment: the user was refused a moment ago,
	// so the gate does not look for them at once.
	status, _ = c.ask(t, "-X", "POST", fakeURL+"/_fake/grant?user="+fakeGuest+"&org=7&role=teacher")
	require.Regexp(t, "^20", status)
	eventually("200", guest, "GET", "/grades")
	// Taken away shows with the next full refresh.
	status, _ = c.ask(t, "-X", "POST", fakeURL+"/_fake/revoke?user="+fakeGuest)
	require.Regexp(t, "^20", status)
	eventually("403", guest, "GET", "/")

	said, code := c.run(t, "why", "-c", settings, fakeTeacher, "GET /grades")
	assert.Equal(t, 0, code, said)
	said, code = c.run(t, "why", "-c", settings, fakeGuest, "GET /grades")
	assert.Equal(t, 3, code, said)
	assert.Contains(t, said, "not_authorized")
	said, code = c.run(t, "status", "-c", settings)
	assert.Equal(t, 0, code, said)
	said, code = c.run(t, "doctor", "-c", settings)
	assert.Equal(t, 0, code, said)
	said, code = c.run(t, "pull", "-c", settings)
	assert.Equal(t, 0, code, said)
	assert.Contains(t, said, fakeTeacher)
	assert.NotContains(t, said, token)

	// A bad file is refused and the old rules go on; a good one counts.
	text := readFile(t, settings)
	write(t, settings, strings.Replace(text, "any_role: [teacher]", "any_role: teacher]", 1))
	require.NoError(t, serve.cmd.Process.Signal(syscall.SIGHUP))
	serve.said(t, "the settings file is refused")
	status, _ = visit(teacher, "GET", "/grades")
	assert.Equal(t, "200", status)
	write(t, settings, strings.Replace(text, "any_role: [teacher]", "any_role: [admin]", 1))
	require.NoError(t, serve.cmd.Process.Signal(syscall.SIGHUP))
	eventually("403", teacher, "GET", "/grades")

	// A marketplace that is gone locks nobody out, and a gate that is gone lets
	// nobody in.
	fake.end(t)
	status, _ = visit(teacher, "GET", "/")
	assert.Equal(t, "200", status)
	serve.end(t)
	status, _ = visit(teacher, "GET", "/")
	assert.Equal(t, "500", status)
}

// A command is the program rolegate, and how it is called.
type command struct {
	folder, program, curl string
	env                   []string
}

func (c *command) make(args ...string) *exec.Cmd {
	cmd := exec.Command(c.program, args...)
	cmd.Dir, cmd.Env = c.folder, append([]string{"LANG=C.UTF-8", "HOME=" + c.folder}, c.env...)
	return cmd
}

// run runs a command to its end.
func (c *command) run(t *testing.T, args ...string) (said string, code int) {
	t.Helper()
	cmd := c.make(args...)
	out, err := cmd.CombinedOutput()
	if cmd.ProcessState == nil {
		require.NoError(t, err)
	}
	return string(out), cmd.ProcessState.ExitCode()
}

// ask runs curl.
func (c *command) ask(t *testing.T, args ...string) (status, body string) {
	t.Helper()
	cmd := exec.Command(c.curl, append([]string{"-s", "--noproxy", "*", "--max-time", "30", "-w", "\n%{http_code}"}, args...)...)
	out, err := cmd.Output()
	require.NoError(t, err)
	cut := strings.LastIndexByte(string(out), '\n')
	return string(out[cut+1:]), string(out[:cut])
}

// A child is the program while it runs.
type child struct {
	cmd   *exec.Cmd
	lines chan string
	heard strings.Builder
	ended chan struct{}
}

// begin starts a command that goes on until the end of the test.
func (c *command) begin(t *testing.T, args ...string) *child {
	t.Helper()
	p := &child{cmd: c.make(args...), lines: make(chan string, 1024), ended: make(chan struct{})}
	reader, writer, err := os.Pipe()
	require.NoError(t, err)
	p.cmd.Stdout, p.cmd.Stderr = writer, writer
	require.NoError(t, p.cmd.Start())
	require.NoError(t, writer.Close())
	go func() {
		for scan := bufio.NewScanner(reader); scan.Scan(); {
			select {
			case p.lines <- scan.Text():
			default: // nobody listens any more
			}
		}
		close(p.lines)
		_ = reader.Close()
		_ = p.cmd.Wait()
		close(p.ended)
	}()
	t.Cleanup(func() {
		_ = p.cmd.Process.Kill()
		<-p.ended
		if t.Failed() {
			for line := range p.lines {
				p.heard.WriteString(line + "\n")
			}
			t.Logf("rolegate %s said:\n%s", args[0], p.heard.String())
		}
	})
	return p
}

// said waits for a line that has the pattern in it, and returns what matches.
func (p *child) said(t *testing.T, pattern string) string {
	t.Helper()
	find := regexp.MustCompile(pattern)
	if found := find.FindString(p.heard.String()); found != "" {
		return found
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	for {
		select {
		case line, more := <-p.lines:
			p.heard.WriteString(line + "\n")
			if found := find.FindString(line); found != "" {
				return found
			}
			require.True(t, more, "it ended without saying %q:\n%s", pattern, p.heard.String())
		case <-late.C:
			require.Fail(t, "it does not say", "%q:\n%s", pattern, p.heard.String())
		}
	}
}

// end ends it as a service manager does, and wants it to end well.
func (p *child) end(t *testing.T) {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGTERM))
	<-p.ended
	assert.Equal(t, 0, p.cmd.ProcessState.ExitCode())
}
