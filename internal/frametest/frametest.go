// Package frametest tries a web framework's guards through its real server: the
// same rows for every framework. It serves only the tests of the modules that
// have them, and stands above the root.
package frametest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"mime/multipart"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An App is a school app in the manner of a framework, with these routes, all
// behind the guard that Admit makes:
//
//	GET  /me                  writes the user's number
//	GET  /grades              for teachers
//	GET  /orgs/{orgID}        for teachers of that organisation, whose number it writes
//	GET  /permissions         Permissions, in the framework's manner of taking an http.Handler
//	POST /upload              parses a form with 1 byte of memory and writes FilesIn the folder
//	GET  /stream              for listed users, with EndOnRevoke: writes "tick" lines, each when Ticks yields, while the framework lets it
//	GET  /socket              for listed users, with EndOnRevoke: takes over the connection and copies what it reads
//
// A middleware outside the guards calls Outer, after the handler.
type App struct {
	Gate  *rolegate.Gate
	Ticks <-chan struct{}

	// Outer is given the request's context, and what else the middleware
	// outside sees of it, after the handler.
	Outer func(ctx context.Context)
}

// Permissions is what the app's front end asks.
func (a App) Permissions() http.Handler {
	teacher := rolegate.AnyRole("teacher")
	return a.Gate.Permissions(map[string]*rolegate.Policy{
		"grades": a.Gate.Policy(teacher), "org": a.Gate.Policy(teacher, rolegate.InOrg(rolegate.PathOrg("orgID"))),
	})
}

// Open makes a gate for an app in which users 1 and 2 are teachers of
// organisation 7 and user 3 is listed and nothing more.
func Open(t *testing.T, source rolegate.Source) *rolegate.Gate {
	t.Helper()
	cfg := rolegate.Config{Source: source, Logger: slog.New(slog.DiscardHandler), Identify: rolegate.ByUserID(UserID)}
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate
}

// UserID identifies by a header without asking who has sent it: only tests may.
func UserID(r *http.Request) (int64, error) { return ParseUser(r.Header.Get("X-User-Id")) }

// ParseUser reads who is asking from the header's text. "away" stands for a
// session store that fails.
func ParseUser(text string) (int64, error) {
	switch text {
	case "":
		return 0, rolegate.ErrNobody
	case "away":
		return 0, errors.New("the session store is away")
	}
	return strconv.ParseInt(text, 10, 64)
}

// School is a list with users 1 and 2, teachers of organisation 7, and user 3.
func School() *rolegatetest.Static {
	teacher := []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}
	return rolegatetest.NewStatic(
		rolegate.Record{UserID: 1, Grants: teacher}, rolegate.Record{UserID: 2, Grants: teacher}, rolegate.Record{UserID: 3})
}

// Copy is what /socket does with the connection that it has taken over: it
// answers the handshake and copies what it reads until it is closed.
func Copy(conn net.Conn) {
	defer conn.Close()
	_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: copy\r\n\r\n")
	Echo(conn)
}

// Echo is Copy where the framework has answered the handshake.
func Echo(conn net.Conn) {
	b := make([]byte, 1)
	for {
		if _, err := conn.Read(b); err != nil {
			return
		}
		if _, err := conn.Write(b); err != nil {
			return
		}
		if f, ok := conn.(interface{ Flush() error }); ok {
			_ = f.Flush()
		}
	}
}

// CopyUntil is Copy for frameworks in which the handler has to heed the context.
func CopyUntil(ctx context.Context, conn net.Conn) {
	defer context.AfterFunc(ctx, func() { _ = conn.Close() })()
	Copy(conn)
}

// FilesIn counts the temporary files of uploads.
func FilesIn(dir string) int {
	found, _ := filepath.Glob(filepath.Join(dir, "*"))
	return len(found)
}

// An Answer is what a client got.
type Answer struct {
	Status int
	Header http.Header
	Body   string
}

// Want says what differs between frameworks.
type Want struct {
	// Refused checks the answer to a refusal, in the framework's manner.
	Refused func(t *testing.T, a Answer)

	// NoSocket and NoUpload leave out what the framework does not have.
	NoSocket, NoUpload bool
}

// Run tries all rows. start starts the app's server and returns its address; it
// ends the server with the test.
func Run(t *testing.T, want Want, start func(t *testing.T, app App) string) {
	dir := t.TempDir()
	t.Setenv("TMPDIR", dir)
	source := School()
	gate := Open(t, source)
	ticks := make(chan struct{})
	outer := make(chan error, 100)
	app := App{Gate: gate, Ticks: ticks, Outer: func(ctx context.Context) {
		err := ctx.Err()
		if _, ok := gate.UserFrom(ctx); ok {
			err = errors.New("the user is in the context outside the guard")
		}
		outer <- err
	}}
	// Each answer is read to its end, and so the client keeps no connection that
	// the server would wait for.
	address := start(t, app)
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}

	for _, c := range []struct {
		name, method, path, user string
		status                   int
		body                     string // of 200
	}{
		{"admitted, with the user in the context", "GET", "/me", "3", 200, "3"},
		{"a role", "GET", "/grades", "1", 200, "grades for 1"},
		{"the organisation of the path", "GET", "/orgs/7", "1", 200, "7"},
		{"another organisation", "GET", "/orgs/8", "1", 403, ""},
		{"an organisation that is none", "GET", "/orgs/007", "1", 403, ""},
		{"no role", "GET", "/grades", "3", 403, ""},
		{"not listed", "GET", "/me", "9", 403, ""},
		{"nobody", "GET", "/me", "", 401, ""},
		{"a session store that is away", "GET", "/me", "away", 500, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			a := ask(t, client, c.method, address+c.path, c.user, nil, "")
			require.Equal(t, c.status, a.Status, a.Body)
			if c.status == 200 {
				assert.Equal(t, c.body, strings.TrimSpace(a.Body))
				assert.Equal(t, "private", a.Header.Get("Cache-Control"))
			} else {
				refused(t, a, want)
			}
			assert.NoError(t, <-outer, "the context of the middleware outside, after the handler")
		})
	}
	for language, sentence := range map[string]string{"": "You do not have permission", "zh-CN,zh;q=0.9": "您没有权限", "en-GB": "You do not have permission"} {
		t.Run("a refusal in the client's language: "+language, func(t *testing.T) {
			r := request(t, "GET", address+"/grades", "3", nil)
			r.Header.Set("Accept-Language", language)
			a := send(t, client, r)
			assert.Equal(t, 403, a.Status)
			assert.Contains(t, a.Body, sentence)
			assert.NoError(t, <-outer)
		})
	}
	t.Run("nobody is admitted anywhere", func(t *testing.T) {
		server, err := url.Parse(address)
		require.NoError(t, err)
		proxy := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(server) }, Transport: client.Transport}
		routes := []string{"GET /me", "GET /grades", "GET /orgs/:orgID", "GET /permissions", "POST /upload", "GET /stream", "GET /socket"}
		rolegatetest.RequireRefused(t, gate, proxy, routes)
		for range routes {
			assert.NoError(t, <-outer)
		}
	})
	t.Run("what the front end asks", func(t *testing.T) {
		a := ask(t, client, "GET", address+"/permissions?org=7", "1", nil, "")
		assert.Equal(t, 200, a.Status)
		assert.JSONEq(t, `{"user_id": "1", "permissions": ["grades"], "conditional": [],
			"orgs": [{"org_id": "7", "roles": ["teacher"], "permissions": ["grades", "org"], "conditional": []}]}`, a.Body)
		assert.Equal(t, "private, no-store", a.Header.Get("Cache-Control"))
		assert.Equal(t, "application/json", a.Header.Get("Content-Type"))
		assert.NoError(t, <-outer)
		a = ask(t, client, "GET", address+"/permissions?org=x", "1", nil, "")
		assert.Equal(t, 400, a.Status)
		assert.NoError(t, <-outer)
	})
	if !want.NoUpload {
		t.Run("an upload leaves no files", func(t *testing.T) {
			body, kind := upload(t)
			a := ask(t, client, "POST", address+"/upload", "1", body, kind)
			require.Equal(t, 200, a.Status, a.Body)
			assert.Equal(t, "1", strings.TrimSpace(a.Body), "files while the handler ran")
			assert.NoError(t, <-outer)
			assert.Eventually(t, func() bool { return FilesIn(dir) == 0 }, time.Minute, 10*time.Millisecond, "files after it")
		})
	}
	t.Run("a stream ends on revocation", func(t *testing.T) {
		r := request(t, "GET", address+"/stream", "1", nil)
		ended := make(chan struct{})
		defer close(ended)
		tick := func() {
			select {
			case ticks <- struct{}{}:
			case <-ended:
			}
		}
		go tick() // some frameworks send the headers with the first write
		answer, err := client.Do(r)
		if err == nil {
			defer answer.Body.Close()
		}
		require.NoError(t, err)
		require.Equal(t, 200, answer.StatusCode)
		lines := bufio.NewReader(answer.Body)
		for i := range 2 {
			if i > 0 {
				tick()
			}
			line, err := lines.ReadString('\n')
			require.NoError(t, err)
			require.Contains(t, line, "tick")
		}
		source.Remove(1)
		require.NoError(t, gate.RefreshAll(t.Context()))
		// More ticks: a handler that waits for the next one must wake up to end.
		go func() {
			for {
				select {
				case <-ended:
					return
				default:
					tick()
				}
			}
		}()
		rest, _ := io.ReadAll(lines) // it ends, by the end of the body or of the connection
		assert.NotContains(t, string(rest), "tick", "nothing is sent after the revocation")
		assert.NoError(t, <-outer)
	})
	if !want.NoSocket {
		for _, c := range []struct {
			name, user string
			end        func(t *testing.T)
		}{
			{"a socket ends on revocation", "2", func(t *testing.T) {
				source.Remove(2)
				require.NoError(t, gate.RefreshAll(t.Context()))
			}},
			{"a socket ends with the streams", "3", func(*testing.T) { gate.EndStreams() }},
		} {
			t.Run(c.name, func(t *testing.T) {
				in := openSocket(t, address, c.user)
				c.end(t)
				_, err := in.ReadByte()
				assert.Error(t, err, "the connection is closed")
			})
		}
	}
}

// openSocket returns what /socket sends, once it has sent back what it was sent.
func openSocket(t *testing.T, address, user string) *bufio.Reader {
	t.Helper()
	u, err := url.Parse(address)
	require.NoError(t, err)
	conn, err := net.Dial("tcp", u.Host)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	_, err = fmt.Fprintf(conn, "GET /socket HTTP/1.1\r\nHost: school.example\r\nX-User-Id: %s\r\nConnection: Upgrade\r\nUpgrade: copy\r\n\r\n", user)
	require.NoError(t, err)
	in := bufio.NewReader(conn)
	answer, err := http.ReadResponse(in, nil)
	require.NoError(t, err)
	require.Equal(t, 101, answer.StatusCode)
	_, err = io.WriteString(conn, "hello\n")
	require.NoError(t, err)
	line, err := in.ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "hello\n", line)
	return in
}

// Sentence wants the sentence for a refusal with that status, in English.
func Sentence(t *testing.T, status int, text string) {
	t.Helper()
	assert.Equal(t, rolegate.Denial{Status: status}.Message(), text)
}

func refused(t *testing.T, a Answer, want Want) {
	t.Helper()
	if want.Refused != nil {
		want.Refused(t, a)
	} else {
		assert.Equal(t, "application/problem+json", a.Header.Get("Content-Type"))
		assert.Contains(t, a.Body, `"decision":"`)
	}
	assert.Equal(t, "no-store", a.Header.Get("Cache-Control"))
	if a.Status == 401 {
		assert.NotEmpty(t, a.Header.Get("WWW-Authenticate"))
	}
	for _, secret := range []string{"role_missing", "not_authorized", "store is away", "handler"} {
		assert.NotContains(t, a.Body, secret)
	}
}

func request(t *testing.T, method, address, user string, body io.Reader) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, body)
	require.NoError(t, err)
	if user != "" {
		r.Header.Set("X-User-Id", user)
	}
	return r
}

func ask(t *testing.T, client *http.Client, method, address, user string, body io.Reader, kind string) Answer {
	t.Helper()
	r := request(t, method, address, user, body)
	if kind != "" {
		r.Header.Set("Content-Type", kind)
	}
	return send(t, client, r)
}

func send(t *testing.T, client *http.Client, r *http.Request) Answer {
	t.Helper()
	answer, err := client.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return Answer{answer.StatusCode, answer.Header, string(text)}
}

// upload is a form with a file that is kept on disk even where 10 MB beyond the
// limit stay in memory, as with net/http, or 16 MB, as with hertz.
func upload(t *testing.T) (body io.Reader, kind string) {
	t.Helper()
	var b bytes.Buffer
	form := multipart.NewWriter(&b)
	part, err := form.CreateFormFile("report", "report.pdf")
	require.NoError(t, err)
	_, err = part.Write(make([]byte, 17<<20))
	require.NoError(t, err)
	require.NoError(t, form.Close())
	return &b, form.FormDataContentType()
}

// TempDir is where Run has uploads kept.
func TempDir() string { return os.Getenv("TMPDIR") }

// Long is how long a test waits for what must come, and Short how often it
// looks.
const (
	Long  = time.Minute
	Short = 10 * time.Millisecond
)
