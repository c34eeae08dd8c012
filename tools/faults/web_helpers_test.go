package faults_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webByHeader identifies by a header without asking who has sent it: only tests
// may.
var webByHeader = rolegate.ByUserID(func(r *http.Request) (int64, error) {
	text := r.Header.Get("X-User-Id")
	if text == "" {
		return 0, rolegate.ErrNobody
	}
	return strconv.ParseInt(text, 10, 64)
})

// webConfig is a config for the source that logs nothing and identifies by
// header.
func webConfig(source rolegate.Source) rolegate.Config {
	return rolegate.Config{Source: source, Identify: webByHeader, Logger: slog.New(slog.DiscardHandler)}
}

// webOpen opens a gate that is closed with the test.
func webOpen(t testing.TB, cfg rolegate.Config) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, gate.Close()) })
	return gate
}

// webGate opens a gate on these users.
func webGate(t testing.TB, records ...rolegate.Record) *rolegate.Gate {
	t.Helper()
	return webOpen(t, webConfig(rolegatetest.NewStatic(records...)))
}

func webUser(id int64, grants ...rolegate.Grant) rolegate.Record {
	return rolegate.Record{UserID: id, Grants: grants}
}

func webIn(org int64, role string) rolegate.Grant { return rolegate.Grant{OrgID: org, RoleCode: role} }

// webOrg is the organisation of every request.
func webOrg(org int64) rolegate.Option {
	return rolegate.InOrg(func(*http.Request) (int64, error) { return org, nil })
}

// webClient reads the fake marketplace in memory: for bubbles.
func webClient(m *rolegatetest.Marketplace) *marketplace.Client {
	return marketplace.New(marketplace.Config{
		BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
	})
}

// webAsk sends a request as that user, nobody if 0, to a handler.
func webAsk(h http.Handler, method, target string, user int64) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, target, nil)
	if user != 0 {
		r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

// webAnswer tells who was admitted.
func webAnswer(gate *rolegate.Gate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		_, _ = io.WriteString(w, u.String())
	})
}

// webNever is a handler that no request may reach.
func webNever(t testing.TB) http.Handler {
	return http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler behind the gate was called") })
}

// webSecret counts how often a handler that is worth guarding was called.
type webSecret struct{ calls atomic.Int64 }

func (s *webSecret) ServeHTTP(w http.ResponseWriter, _ *http.Request) {
	s.calls.Add(1)
	_, _ = io.WriteString(w, "secret")
}

// webAllowed reports whether a user is on the list.
func webAllowed(gate *rolegate.Gate, user int64) bool {
	return gate.Decide(context.Background(), rolegate.UserID(user)).Allowed()
}

// webServe serves a handler and returns the server's host and port.
func webServe(t testing.TB, h http.Handler) string {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return strings.TrimPrefix(server.URL, "http://")
}

// webWait is how long anything may take that is not expected to take long.
const webWait = 30 * time.Second

// webDial opens a connection that is closed with the test.
func webDial(t testing.TB, host string) (net.Conn, *bufio.Reader) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: webWait}).DialContext(t.Context(), "tcp", host)
	require.NoError(t, err)
	t.Cleanup(func() { _ = conn.Close() })
	require.NoError(t, conn.SetDeadline(time.Now().Add(webWait)))
	return conn, bufio.NewReader(conn)
}

// webRaw sends a request line and header lines byte for byte, and returns the
// answer and its body.
func webRaw(t testing.TB, host, line string, headers ...string) (*http.Response, string) {
	t.Helper()
	conn, in := webDial(t, host)
	defer conn.Close()
	_, err := fmt.Fprintf(conn, "%s\r\nHost: app.test\r\nConnection: close\r\n%s\r\n", line, strings.Join(append(headers, ""), "\r\n"))
	require.NoError(t, err)
	method, _, _ := strings.Cut(line, " ")
	resp, err := http.ReadResponse(in, &http.Request{Method: method})
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}

// webAfter lets a bubble's clock go on by d and everything that is due happen.
func webAfter(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// A webBook collects log lines, as JSON objects and as text.
type webBook struct {
	mu         sync.Mutex
	json, text bytes.Buffer
}

func (b *webBook) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: slog.LevelDebug}
	return slog.New(webBoth{
		slog.NewJSONHandler(webLocked{&b.mu, &b.json}, opts),
		slog.NewTextHandler(webLocked{&b.mu, &b.text}, opts),
	})
}

// all returns everything that was logged.
func (b *webBook) all() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.json.String() + b.text.String()
}

// textLines returns the lines as the text handler has written them.
func (b *webBook) textLines() []string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return strings.Split(strings.TrimSuffix(b.text.String(), "\n"), "\n")
}

// lines returns the lines with that message.
func (b *webBook) lines(msg string) (found []map[string]any) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for line := range bytes.Lines(b.json.Bytes()) {
		var entry map[string]any
		if json.Unmarshal(line, &entry) == nil && entry["msg"] == msg {
			found = append(found, entry)
		}
	}
	return found
}

type webLocked struct {
	mu *sync.Mutex
	w  io.Writer
}

func (l webLocked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}

// webBoth hands each record to two handlers.
type webBoth [2]slog.Handler

func (b webBoth) Enabled(context.Context, slog.Level) bool { return true }
func (b webBoth) WithAttrs(as []slog.Attr) slog.Handler {
	return webBoth{b[0].WithAttrs(as), b[1].WithAttrs(as)}
}
func (b webBoth) WithGroup(name string) slog.Handler {
	return webBoth{b[0].WithGroup(name), b[1].WithGroup(name)}
}
func (b webBoth) Handle(ctx context.Context, r slog.Record) error {
	if err := b[0].Handle(ctx, r); err != nil {
		return err
	}
	return b[1].Handle(ctx, r)
}

// webStatus is all that a gate says of itself, as JSON and as Go prints it.
func webStatus(t testing.TB, gate *rolegate.Gate) string {
	t.Helper()
	status := gate.Status()
	text, err := json.Marshal(status)
	require.NoError(t, err)
	return fmt.Sprintf("%s\n%+v\n", text, status)
}

// webClean says that a secret is in none of the texts, however it is written.
func webClean(t testing.TB, secret string, texts ...string) {
	t.Helper()
	for _, text := range texts {
		for _, form := range wiretest.Forms(secret) {
			if i := strings.Index(strings.ToLower(text), strings.ToLower(form)); i >= 0 {
				t.Errorf("the secret is told, as %q: …%s…", form, text[max(0, i-100):min(len(text), i+len(form)+50)])
			}
		}
	}
}
