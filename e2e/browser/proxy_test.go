//go:build drill

package browser

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/forwardauth"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A site is an app behind nginx, which runs with the file that docs/proxies.md shows
// and asks a gate beside it. Browsers know it as school.test, over plain HTTP, where
// they tell nothing by Sec-Fetch headers, and as localhost, where they do.
type site struct {
	source *rolegatetest.Static
	gate   *rolegate.Gate
	port   string // nginx'
	served atomic.Int64
}

// sessionOf reads who is asking from a cookie, or a token.
func sessionOf(r *http.Request) (int64, error) {
	text, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer user-")
	if c, err := r.Cookie("session"); err == nil {
		text, ok = strings.CutPrefix(c.Value, "user-")
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if !ok || err != nil {
		return 0, rolegate.ErrNobody
	}
	return id, nil
}

func openSite(t *testing.T) *site {
	t.Helper()
	s := &site{}
	s.source = rolegatetest.NewStatic(s.teacher(), rolegate.Record{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}}, rolegate.Record{UserID: 3})
	for id := int64(firstPupil); id < firstPupil+pupils; id++ {
		s.source.Put(rolegate.Record{UserID: id})
	}
	var err error
	s.gate, err = rolegate.Open(t.Context(), rolegate.Config{
		Source: s.source, Identify: rolegate.ByUserID(sessionOf), Logger: slog.New(slog.DiscardHandler), OnDeny: rolegate.OnDeny{Off: true},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.gate.Close()) })

	auth, err := forwardauth.New(s.gate, forwardauth.Config{
		Proxy: forwardauth.Nginx, Trusted: rolegate.Loopback(), Logger: slog.New(slog.DiscardHandler), LoginURL: "/login?app=school",
	})
	require.NoError(t, err)
	auth.Admit("GET /{$}")
	for _, route := range []string{"GET /grades/{id}", "POST /upload", "GET /ws", "GET /events", "/api/"} {
		auth.Handle(route, rolegate.AnyRole("teacher"))
	}
	auth.Preflight("/api/")
	asked := httptest.NewServer(auth)
	t.Cleanup(asked.Close)

	s.port = freePort(t)
	app := httptest.NewServer(s.app())
	t.Cleanup(app.Close)
	s.startNginx(t, app.Listener.Addr().String(), asked.Listener.Addr().String())
	return s
}

func (s *site) teacher() rolegate.Record {
	return rolegate.Record{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}}
}

// app is what nginx passes requests on to. Its streams end when the access does,
// which only the app can do.
func (s *site) app() http.Handler {
	teacher := s.gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())
	mux := http.NewServeMux()
	page := func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, "<!doctype html><title>page</title><p id=who>user %s at %s", r.Header.Get("X-Rolegate-User"), html.EscapeString(r.RequestURI))
	}
	mux.HandleFunc("GET /{$}", page)
	mux.HandleFunc("GET /grades/{id}", page)
	mux.HandleFunc("GET /login", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprintf(w, `<!doctype html><form method=post action="/login"><input name=user><input type=hidden name=return_to value="%s"><button>log in</button></form>`,
			html.EscapeString(r.FormValue("return_to")))
	})
	mux.HandleFunc("POST /login", func(w http.ResponseWriter, r *http.Request) {
		http.SetCookie(w, &http.Cookie{Name: "session", Value: "user-" + r.FormValue("user"), Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode})
		http.Redirect(w, r, "/"+strings.TrimLeft(r.FormValue("return_to"), "/"), http.StatusSeeOther)
	})
	mux.HandleFunc("POST /upload", func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		file, _, err := r.FormFile("file")
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		defer file.Close()
		sum := sha256.New()
		n, _ := io.Copy(sum, file)
		fmt.Fprintf(w, "%d %s", n, hex.EncodeToString(sum.Sum(nil)))
	})
	mux.Handle("GET /ws", teacher(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		conn, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: []string{"school.test:" + s.port}}) // $host has no port
		if err != nil {
			return
		}
		defer conn.CloseNow()
		for {
			kind, text, err := conn.Read(r.Context())
			if err != nil || conn.Write(r.Context(), kind, text) != nil {
				return
			}
		}
	})))
	mux.Handle("GET /events", teacher(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "retry: 50\ndata: one\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	cors := func(next http.Handler) http.Handler { // in front of all that may refuse
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Access-Control-Allow-Origin", "http://school.test:"+s.port)
			w.Header().Set("Vary", "Origin")
			if r.Method == http.MethodOptions {
				w.Header().Set("Access-Control-Allow-Headers", "Authorization")
				w.Header().Set("Access-Control-Allow-Methods", "PUT")
				w.WriteHeader(http.StatusNoContent)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	mux.Handle("/api/", cors(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.served.Add(1)
		fmt.Fprintf(w, "%s by %s", r.Method, r.Header.Get("X-Rolegate-User"))
	})))
	// The app guards its console itself. nginx sends it on with another Host.
	admin := s.gate.Require(rolegate.AnyRole("admin"))
	quiet := slog.New(slog.DiscardHandler)
	mux.Handle("/ops/console", admin(console.New(s.gate, console.Config{Logger: quiet, TrustedOrigins: []string{"http://school.test:" + s.port}})))
	mux.Handle("/ops/strict", admin(console.New(s.gate, console.Config{Logger: quiet})))
	return mux
}

// startNginx runs nginx with the file of docs/proxies, and with what the app's
// operator adds to it: the login page and the console, which the gate is not asked
// about.
func (s *site) startNginx(t *testing.T, app, auth string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "..", "docs", "proxies", "nginx.conf"))
	require.NoError(t, err)
	folder := t.TempDir()
	conf := strings.NewReplacer("127.0.0.1:8080", app, "127.0.0.1:9090", auth, "listen 8000;", "listen 127.0.0.1:"+s.port+`;
    location = /login { proxy_pass http://`+app+`; }
    location /ops/ { proxy_pass http://`+app+`; proxy_set_header Host app.internal; }`).Replace(string(text))
	temp := ""
	for _, what := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("%s_temp_path %s;\n", what, filepath.Join(folder, what))
	}
	root := map[bool]string{true: "user root;"}[os.Getuid() == 0]
	main := fmt.Sprintf("%s daemon off; worker_processes 1; pid %s/pid; error_log stderr warn;\nevents {}\nhttp { access_log off;\n%s include %s/site.conf; }\n", root, folder, temp, folder)
	require.NoError(t, os.WriteFile(filepath.Join(folder, "site.conf"), []byte(conf), 0o600))
	require.NoError(t, os.WriteFile(filepath.Join(folder, "main.conf"), []byte(main), 0o600))
	program, err := exec.LookPath("nginx")
	if err != nil {
		program = "/usr/sbin/nginx"
	}
	c := exec.Command(program, "-p", folder, "-c", filepath.Join(folder, "main.conf"), "-e", "stderr")
	var said bytes.Buffer
	c.Stdout, c.Stderr = &said, &said
	require.NoError(t, c.Start(), "install Debian's package nginx-light")
	ended := make(chan struct{})
	go func() { _ = c.Wait(); close(ended) }()
	t.Cleanup(func() {
		_ = c.Process.Signal(syscall.SIGTERM)
		<-ended
		if t.Failed() {
			t.Log(said.String())
		}
	})
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 3000 {
		if conn, err := net.Dial("tcp", "127.0.0.1:"+s.port); err == nil {
			require.NoError(t, conn.Close())
			return
		}
		select {
		case <-ended:
			t.Fatalf("nginx has ended: %s", said.String())
		case <-tick.C:
		}
	}
	t.Fatal("nginx does not listen")
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}

// What browsers do, through nginx: one of each, and one browser for all.
func TestBehindNginx(t *testing.T) {
	for _, l := range withBrowser(t, look{name: "nginx", language: "en", width: 1280, height: 900}) {
		s := openSite(t)
		b := open(t, l, nil, chromedp.Flag("host-resolver-rules", "MAP *.test 127.0.0.1"), chromedp.Flag("no-proxy-server", true))
		plain, secure := "http://school.test:"+s.port, "http://localhost:"+s.port // which browsers take for a secure context
		for _, part := range []struct {
			name string
			test func(t *testing.T)
		}{
			{"login", func(t *testing.T) { s.login(t, b, plain); s.login(t, b, secure) }},
			{"cors", func(t *testing.T) { s.cors(t, b, plain) }},
			{"upload", func(t *testing.T) { s.upload(t, b, plain) }},
			{"websocket", func(t *testing.T) { s.websocket(t, b, plain) }},
			{"events", func(t *testing.T) { s.events(t, b, plain) }},
			{"console", func(t *testing.T) { s.console(t, b, plain) }},
		} {
			t.Run(part.name, func(t *testing.T) {
				b.t = t
				part.test(t)
			})
		}
	}
}

// as logs a user in, nobody for 0, and opens the first page that everybody may see.
func (s *site) as(b *tab, origin string, user int) {
	b.t.Helper()
	b.do("log out", network.ClearBrowserCookies())
	if user != 0 {
		b.do("log in", network.SetCookie("session", "user-"+strconv.Itoa(user)).WithURL(origin).WithHTTPOnly(true))
	}
	b.do("open a page", chromedp.Navigate(origin+"/login"), chromedp.WaitVisible("form", chromedp.ByQuery))
	b.complained()
}

// Who is not logged in comes to the login page and back to what they asked for; who
// may not see it is told so, and not sent round in circles.
func (s *site) login(t *testing.T, b *tab, origin string) {
	for _, c := range []struct {
		user, status float64
	}{{1, 200}, {3, 403}} {
		s.as(b, origin, 0)
		b.do("ask for a page", chromedp.Navigate(origin+"/grades/5?term=1&x=%C3%A4"), chromedp.WaitVisible("form", chromedp.ByQuery))
		assert.Equal(t, origin+"/login?app=school&return_to=%2Fgrades%2F5%3Fterm%3D1%26x%3D%25C3%25A4", eval[string](b, "location.href"))
		b.do("say who", chromedp.SendKeys("input[name=user]", fmt.Sprint(c.user), chromedp.ByQuery),
			chromedp.Submit("form", chromedp.ByQuery), chromedp.WaitNotPresent("form", chromedp.ByQuery), chromedp.WaitReady("body", chromedp.ByQuery))
		assert.Equal(t, origin+"/grades/5?term=1&x=%C3%A4", eval[string](b, "location.href"), "back at the page")
		assert.Equal(t, c.status, eval[float64](b, "performance.getEntriesByType('navigation')[0].responseStatus"))
		if c.status == 200 {
			assert.Equal(t, "user 1 at /grades/5?term=1&x=%C3%A4", b.text("#who"))
		}
	}
	s.as(b, origin, 0)
	assert.Equal(t, "401 false", await[string](b, "fetch('/grades/5').then(r => r.status + ' ' + r.redirected)"), "no login page for a script")
	b.complained()
}

// A page of one site asks another with a token, for which the browser asks first.
func (s *site) cors(t *testing.T, b *tab, origin string) {
	s.as(b, origin, 0)
	ask := func(path string, user int) string {
		return await[string](b, fmt.Sprintf(`fetch("http://api.test:%s%s", {method: "PUT", headers: {Authorization: "Bearer user-%d"}}).then(r => r.text(), e => e.name)`, s.port, path, user))
	}
	assert.Equal(t, "PUT by 1", ask("/api/grades", 1))
	served := s.served.Load()
	assert.Equal(t, "TypeError", ask("/api/grades", 3), "the refusal is nginx', without CORS headers")
	assert.Equal(t, "TypeError", ask("/grades/5", 1), "no preflight passes where no rule lets it")
	assert.Equal(t, served, s.served.Load())
	b.complained()
}

// A file of three megabytes arrives as it is; of who may not, nothing does.
func (s *site) upload(t *testing.T, b *tab, origin string) {
	const send = `(() => {
		const bytes = new Uint8Array(3 << 20).map((_, i) => i * 7)
		const form = new FormData()
		form.append("file", new Blob([bytes]), "Klasse #3 100%.pdf")
		return fetch("/upload", {method: "POST", body: form}).then(async r => r.status + " " + (r.ok ? await r.text() : ""))
	})()`
	want := make([]byte, 3<<20)
	for i := range want {
		want[i] = byte(i * 7)
	}
	sum := sha256.Sum256(want)
	s.as(b, origin, 1)
	assert.Equal(t, fmt.Sprintf("200 %d %x", len(want), sum), await[string](b, send))
	s.as(b, origin, 3)
	served := s.served.Load()
	assert.Equal(t, "403 ", await[string](b, send))
	assert.Equal(t, served, s.served.Load())
	b.complained()
}

// revoke takes the role away from user 1 until the test has ended.
func (s *site) revoke(t *testing.T) {
	t.Helper()
	s.source.Put(rolegate.Record{UserID: 1})
	require.NoError(t, s.gate.Refresh(t.Context()))
	t.Cleanup(func() {
		s.source.Put(s.teacher())
		require.NoError(t, s.gate.Refresh(context.Background()))
	})
}

// A WebSocket echoes until its user loses the role; then it is closed.
func (s *site) websocket(t *testing.T, b *tab, origin string) {
	const dial = `new Promise(done => {
		window.ws = new WebSocket(location.origin.replace("http", "ws") + "/ws")
		window.wsEnd = new Promise(r => ws.onclose = e => r("closed " + e.wasClean))
		ws.onopen = () => ws.send("hello")
		ws.onmessage = e => done(e.data)
		ws.onerror = () => done("refused")
	})`
	s.as(b, origin, 3)
	assert.Equal(t, "refused", await[string](b, dial))
	s.as(b, origin, 1)
	require.Equal(t, "hello", await[string](b, dial))
	s.revoke(t)
	assert.Equal(t, "closed false", await[string](b, "window.wsEnd"))
	assert.Equal(t, "refused", await[string](b, dial))
	b.complained()
}

// An event stream ends when its user loses the role. The browser comes again, is
// refused, and leaves it at that.
func (s *site) events(t *testing.T, b *tab, origin string) {
	s.as(b, origin, 1)
	require.Equal(t, "one", await[string](b, `new Promise(done => {
		window.stream = new EventSource("/events")
		stream.onmessage = e => done(e.data)
		window.over = new Promise(r => stream.onerror = () => stream.readyState == EventSource.CLOSED && r("over"))
	})`))
	s.revoke(t)
	assert.Equal(t, "over", await[string](b, "window.over"))
	b.complained()
}

// The button that accepts removals works where nginx sends another Host on, if the
// console is told by which address browsers know it.
func (s *site) console(t *testing.T, b *tab, origin string) {
	for id := int64(firstPupil); id < firstPupil+pupils; id++ {
		s.source.Remove(id)
	}
	require.ErrorIs(t, s.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
	s.as(b, origin, 2)
	b.do("open the strict one", chromedp.Navigate(origin+"/ops/strict"), chromedp.WaitVisible("#held button", chromedp.ByQuery))
	b.do("press", chromedp.Click("#held button", chromedp.ByQuery), chromedp.WaitNotPresent("#held", chromedp.ByQuery), chromedp.WaitReady("body", chromedp.ByQuery))
	assert.Equal(t, 403., eval[float64](b, "performance.getEntriesByType('navigation')[0].responseStatus"))
	b.do("open the other", chromedp.Navigate(origin+"/ops/console"), chromedp.WaitVisible("#held button", chromedp.ByQuery))
	b.press("#held button", "#accept")
	assert.Equal(t, pupils, s.gate.Status().Held.Users)
	b.press("#accept .danger", "#done")
	assert.Zero(t, s.gate.Status().Held.Users)
	assert.EqualValues(t, 3, s.gate.Status().Users)
	b.complained()
}
