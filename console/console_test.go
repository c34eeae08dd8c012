package console_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Nobody sees it who was not admitted by a guard of its own gate, whatever
// the request says.
func TestOnlyBehindItsGate(t *testing.T) {
	t.Parallel()
	a, other := newApp(t, rolegate.Config{}), newApp(t, rolegate.Config{})
	shadow := newApp(t, rolegate.Config{ShadowAdmit: true})
	for _, c := range []struct {
		name    string
		handler http.Handler
		as      int64
		status  int
	}{
		{"bare", a.console(), admin, http.StatusForbidden},
		{"behind another gate", other.gate.Require(rolegate.AnyRole("admin"))(a.console()), admin, http.StatusForbidden},
		{"an unlisted user that a shadow admits", shadow.gate.Admit(shadow.console()), 12345, http.StatusForbidden},
		{"another role", a.gate.Require(rolegate.AnyRole("principal"))(a.console()), admin, http.StatusForbidden},
		{"behind its gate", a.gate.Require(rolegate.AnyRole("admin"))(a.console()), admin, http.StatusOK},
		{"behind both", other.gate.Admit(a.gate.Require(rolegate.AnyRole("admin"))(a.console())), admin, http.StatusOK},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, method := range []string{"GET", "HEAD", "POST", "PUT"} {
				p := serve(t, c.handler, httptest.NewRequest(method, "/console?part=live", nil), as(c.as),
					header("X-Rolegate-User", "900"), header("Authorization", "Bearer admin"))
				if c.status == http.StatusForbidden {
					assert.Equal(t, c.status, p.status, method)
					p.lacks("Authorisation", "pupil", "<")
				} else if method == "GET" {
					assert.Equal(t, c.status, p.status)
				}
			}
		})
	}
	lines := strings.Count(a.log.String(), "no guard of its gate is in front")
	a.console() // each says so once, however often it is asked
	assert.LessOrEqual(t, lines, 3)
}

func TestMethods(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		p := serve(t, a.router, httptest.NewRequest(method, "/console", nil))
		assert.Equal(t, http.StatusMethodNotAllowed, p.status, method)
		assert.Equal(t, "GET, HEAD, POST", p.header.Get("Allow"))
	}
	assert.Equal(t, http.StatusOK, serve(t, a.router, httptest.NewRequest("HEAD", "/console", nil)).status)
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	bare := serve(t, a.console(), httptest.NewRequest("GET", "/", nil))
	for _, p := range []page{a.get(), bare, a.post(nil)} {
		assert.Equal(t, "no-store", p.header.Get("Cache-Control"))
		assert.Equal(t, "nosniff", p.header.Get("X-Content-Type-Options"))
		assert.Equal(t, "DENY", p.header.Get("X-Frame-Options"))
		assert.Equal(t, "same-origin", p.header.Get("Referrer-Policy"))
		policy := p.header.Get("Content-Security-Policy")
		assert.Regexp(t, `^default-src 'none'; style-src 'sha256-[^']+'; script-src 'sha256-[^']+'; img-src data:; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'$`, policy)
		assert.NotContains(t, policy, "unsafe")
	}
	p := a.get()
	assert.Equal(t, "text/html; charset=utf-8", p.header.Get("Content-Type"))
	assert.Contains(t, p.header.Values("Vary"), "Accept-Language")
	assert.Equal(t, "text/plain; charset=utf-8", bare.header.Get("Content-Type"))
	cookie := p.header.Get("Set-Cookie")
	assert.Contains(t, cookie, "HttpOnly")
	assert.Contains(t, cookie, "SameSite=Strict")
	assert.Contains(t, cookie, "Secure", "the test's URL is https")
	p.body = strings.ReplaceAll(p.body, "xmlns='http://www.w3.org/2000/svg'", "")
	p.lacks("http://", "https://", "<link rel=\"stylesheet", "style=\"", "onclick")
	again := a.get(header("Cookie", strings.SplitN(cookie, ";", 2)[0]))
	assert.Empty(t, again.header.Get("Set-Cookie"), "a session keeps its token")
	assert.Equal(t, p.token(), again.token())
}

func TestLanguages(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{})
	for _, c := range []struct{ header, lang string }{
		{"", "en"}, {"en", "en"}, {"fr", "en"}, {"*", "en"}, {"zh", "zh-CN"}, {"zh-CN,zh;q=0.9,en;q=0.8", "zh-CN"},
		{"ZH-hans", "zh-CN"}, {"fr, zh;q=0.5, en;q=0.4", "zh-CN"}, {"en;q=0.9, zh;q=0.8", "en"}, {"zh;q=0, en;q=0.1", "en"},
		{"zh;;q", "en"}, {"zh; q=0.7, en; q=0.6", "zh-CN"}, {strings.Repeat("x,", 1000) + "zh", "en"},
	} {
		p := a.get(speaking(c.header))
		assert.Equal(t, c.lang, p.header.Get("Content-Language"), c.header)
		p.has(`<html lang="` + c.lang + `">`)
		if c.lang == "en" {
			p.has("Authorised users", "Contact age", "Last refreshes", "Roles held")
		} else {
			p.has("已授权用户", "距上次同步", "最近的同步", "在用角色")
			p.lacks("Authorised", "Contact age")
		}
	}
}

// What the page shows of a gate.
func TestThePage(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{Aliases: []rolegate.Kind{rolegate.KindAccount}, RoleCodes: nil}, append(pupils(),
		rolegate.Record{UserID: 40, Account: "zhang.min", Nickname: "张敏", Email: "z@example.com"},
		rolegate.Record{UserID: 41, Account: "zhang.min"},
		user(42, in(9, "homeroom"), in(10, "homeroom")),
		rolegate.Record{UserID: 43, Bad: errors.New("unreadable")})...)
	ok := func(http.ResponseWriter, *http.Request) {}
	a.router.Get("/healthz", ok)
	a.router.With(a.gate.Require(rolegate.AnyRole("homerom"), rolegate.Shadow())).Get("/typo", ok)
	p := a.get()
	assert.Equal(t, http.StatusOK, p.status)
	p.has("Ready", `<p class="big">34</p>`, `<p class="big">4</p>`, "2 without any role", "1 out for an unreadable record",
		"stale after 5 min", "expires after 1 h", "Full refresh", "34 added", "1 unreadable",
		"Ambiguous aliases", "homerom", "The nearest is", "<code>homeroom</code>",
		"any method", "open: nothing guards it", "Shadow", "AnyRole(admin)", "2 guarded", "1 open")
	p.lacks("zhang.min", "张敏", "z@example.com")
	a.get(speaking("zh")).lacks("zhang.min", "张敏")

	live := serve(t, a.router, httptest.NewRequest("GET", "/console?part=live", nil))
	live.has("Ready", "34 added")
	live.lacks("<html", "<script", "<form", "AnyRole(admin)")

	bare := console.New(a.gate, console.Config{Logger: slog.New(slog.DiscardHandler)})
	serve(t, a.gate.Require(rolegate.AnyRole("admin"))(bare), httptest.NewRequest("GET", "/", nil)).has("No router was given")
}

// A page that counts is of the list of the moment, and a failure shows.
func TestThePageFollows(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, pupils()...)
	a.get().has(`<p class="big">31</p>`)
	a.source.Put(user(99, in(8, "pupil")))
	require.NoError(t, a.gate.Refresh(t.Context()))
	a.get().has(`<p class="big">32</p>`, "1 added", "Incremental")
	a.source.Fail(&rolegate.PullError{Failure: rolegate.FailureDrift, Err: errors.New("<b>what</b> is this")})
	require.Error(t, a.gate.Refresh(t.Context()))
	a.get().has("Failed", "the form of the list has changed", "schema_drift", "&lt;b&gt;what&lt;/b&gt; is this")
}

// A gate that denies everybody does not admit anybody to its console; one
// that begins to meanwhile is shown as it is.
func TestAGateThatDeniesEverybody(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lang string
		says []string
	}{
		{"English", "en", []string{"Closed", "everybody is refused"}},
		{"Chinese", "zh", []string{"已关闭", "所有请求都会被拒绝"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			a := newApp(t, rolegate.Config{})
			inner := a.console()
			h := a.gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				require.NoError(t, a.gate.Close())
				inner.ServeHTTP(w, r)
			}))
			p := serve(t, h, httptest.NewRequest("GET", "/", nil), speaking(c.lang))
			assert.Equal(t, http.StatusOK, p.status)
			p.has(c.says...)
			assert.Equal(t, http.StatusServiceUnavailable, a.get().status, "and then it is refused by the gate")
		})
	}
	t.Run("starting", func(t *testing.T) {
		t.Parallel()
		source := rolegatetest.NewStatic(user(admin, in(7, "admin")))
		defer source.Block()()
		gate, err := rolegate.Open(t.Context(), rolegate.Config{Source: source, Identify: byHeader, StartEmpty: true, Logger: slog.New(slog.DiscardHandler)})
		require.NoError(t, err)
		defer gate.Close()
		h := gate.Admit(console.New(gate, console.Config{}))
		assert.Equal(t, http.StatusServiceUnavailable, serve(t, h, httptest.NewRequest("GET", "/", nil)).status)
	})
	t.Run("stale and expired", func(t *testing.T) {
		t.Parallel()
		a := newApp(t, rolegate.Config{Refresh: rolegate.Refresh{
			Every: time.Hour, ResyncEvery: time.Hour, StaleAfter: time.Millisecond, ExpireAfter: 3 * time.Hour, SyncHold: time.Minute}})
		require.Eventually(t, func() bool { return a.gate.Status().State == rolegate.StateStale }, 10*time.Second, time.Millisecond)
		a.get().has("Stale", `class="tile over"`)
	})
}

// A sync is a SyncChecker that says always the same.
type syncSays rolegate.SyncReport

func (s syncSays) CheckSync(context.Context) (rolegate.SyncReport, error) {
	if s.State == rolegate.SyncUnknown {
		return rolegate.SyncReport{}, errors.New("<b>nobody</b> answers")
	}
	return rolegate.SyncReport(s), nil
}

// What is around the gate: the sync upstream, and the list on disk.
func TestAround(t *testing.T) {
	t.Parallel()
	newApp(t, rolegate.Config{}).get().lacks("Around the gate")
	for _, c := range []struct {
		name     string
		sync     rolegate.SyncReport
		says, zh []string
	}{
		{"running", rolegate.SyncReport{State: rolegate.SyncRunning, Text: "<i>正在同步数据中</i>"}, []string{"<dd>running", "&lt;i&gt;正在同步数据中"}, []string{"<dd>进行中"}},
		{"done", rolegate.SyncReport{State: rolegate.SyncDone}, []string{"none is running"}, []string{"未在进行"}},
		{"unknown", rolegate.SyncReport{}, []string{"<dd>unknown", "failures: ", "&lt;b&gt;nobody&lt;/b&gt; answers"}, []string{"<dd>未知", "失败 "}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := t.TempDir()
			require.NoError(t, os.Chmod(folder, 0o700))
			a := newApp(t, rolegate.Config{UpstreamSync: syncSays(c.sync), Cache: filecache.New(filepath.Join(folder, "list"))}, pupils()...)
			require.Eventually(t, func() bool { return a.gate.Status().Cache.Stored > 0 }, 20*time.Second, time.Millisecond)
			p := a.get()
			p.has(append(c.says, "Around the gate", "stored so far: 1, last at")...)
			wellFormed(t, p.body)
			a.get(speaking("zh")).has(append(c.zh, "运行环境", "已保存 1 次")...)
			if c.sync.State == rolegate.SyncRunning {
				a.source.Remove(1)
				require.ErrorIs(t, a.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
				a.get().has("Removals of 1 user are held back", "An organisation sync is running upstream")
			}
		})
	}
}

// Codes, routes and messages that are made to break out do not.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	hostile := []string{
		`<script>alert(1)</script>`, `"><img src=x onerror=alert(1)>`, `'-alert(1)-'`, `</style><script>`, `{{.Token}}`, `<!--`,
		"\u202eevil", "a\x00b", `&lt;b&gt;`, "javascript:alert(1)",
	}
	var grants []rolegate.Grant
	for _, code := range hostile {
		grants = append(grants, in(7, code))
	}
	a := newApp(t, rolegate.Config{}, user(5, grants...))
	ok := func(http.ResponseWriter, *http.Request) {}
	for i, code := range hostile {
		a.router.With(a.gate.Require(rolegate.AnyRole(code, "nobody has "+code))).Get(fmt.Sprintf("/%d/<script>alert(2)<script>", i), ok)
	}
	for _, p := range []page{
		a.get(), a.get(speaking("zh")),
		a.post(map[string][]string{"action": {"why"}, "user": {"5"}, "route": {"GET /0/<script>alert(2)<script>"}}),
	} {
		assert.Equal(t, http.StatusOK, p.status)
		assert.Equal(t, 1, strings.Count(p.body, "<script>"), "the page's own")
		assert.Equal(t, 1, strings.Count(p.body, "</script>"))
		assert.Equal(t, 1, strings.Count(p.body, "</style>"))
		p.lacks("<img", "onerror=alert(1)>", "<!--", `"><`+"img")
		p.has("&lt;script&gt;alert(1)&lt;/script&gt;")
		wellFormed(t, p.body)
	}
}

func TestAPageIsWellFormed(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{Aliases: []rolegate.Kind{rolegate.KindEmail}}, pupils()...)
	wellFormed(t, a.get().body)
	form := a.hold()
	wellFormed(t, a.get(speaking("zh")).body)
	wellFormed(t, a.post(map[string][]string{"action": {"review"}}).body)
	wellFormed(t, a.post(form).body)
	wellFormed(t, serve(t, a.router, httptest.NewRequest("GET", "/console?part=live", nil)).body)
}

// Many look while the list changes and somebody presses the button.
func TestManyAtOnce(t *testing.T) {
	t.Parallel()
	a := newApp(t, rolegate.Config{}, pupils()...)
	var wg sync.WaitGroup
	for n := range 4 {
		wg.Go(func() {
			for range 15 {
				switch n {
				case 0:
					assert.Equal(t, http.StatusOK, a.post(map[string][]string{"action": {"why"}, "user": {"5"}}).status)
				case 1:
					assert.ErrorIs(t, a.gate.AcceptShrink(t.Context(), "another"), rolegate.ErrHeldChanged)
				default:
					assert.Equal(t, http.StatusOK, a.get().status)
				}
			}
		})
	}
	wg.Wait()
}

// A big list, with many roles and routes: the page stays small.
func TestABigList(t *testing.T) {
	t.Parallel()
	var records []rolegate.Record
	for id := int64(1000); id < 31000; id++ {
		records = append(records, user(id, in(1+id%3000, fmt.Sprintf("role%d", id%1500))))
	}
	a := newApp(t, rolegate.Config{}, records...)
	p := a.get()
	p.has("30,001", "3,000", "and 1,401 more")
	assert.Less(t, len(p.body), 200_000)
}

func TestMistakes(t *testing.T) {
	t.Parallel()
	assert.PanicsWithValue(t, "rolegate/console: New: the gate is nil", func() { console.New(nil, console.Config{}) })
}
