//go:build drill

package browser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The users of the school.
const (
	firstPupil = 1542135022016058000
	pupils     = 30
	teacher    = 1542135022016057001
	homeroom   = 1542135022016057002
	admin      = 1542135022016057004
)

// A school is an app with a console.
type school struct {
	source *rolegatetest.Static
	gate   *rolegate.Gate
	url    string
	log    *book
}

// A book collects log lines.
type book struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (b *book) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.Write(p)
}

func (b *book) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

func openSchool(t *testing.T, refresh rolegate.Refresh, more ...rolegate.Record) *school {
	t.Helper()
	grants := func(pairs ...any) (gs []rolegate.Grant) {
		for i := 0; i < len(pairs); i += 2 {
			gs = append(gs, rolegate.Grant{OrgID: int64(pairs[i].(int)), RoleCode: pairs[i+1].(string)})
		}
		return gs
	}
	records := append([]rolegate.Record{
		{UserID: teacher, Grants: grants(7, "teacher"), Account: "li.wei"},
		{UserID: homeroom, Grants: grants(7, "teacher", 7, "homeroom", 8, "teacher"), Account: "zhang.min"},
		{UserID: admin, Grants: grants(7, "admin"), Account: "shared"},
		{UserID: 1542135022016057005, Account: "shared"},
	}, more...)
	for id := int64(firstPupil); id < firstPupil+pupils; id++ {
		records = append(records, rolegate.Record{UserID: id, Grants: grants(8, "pupil")})
	}
	s := &school{source: rolegatetest.NewStatic(records...), log: &book{}}
	logger := slog.New(slog.NewJSONHandler(s.log, nil))
	var err error
	s.gate, err = rolegate.Open(t.Context(), rolegate.Config{
		Source: s.source, Logger: logger, Aliases: []rolegate.Kind{rolegate.KindAccount},
		Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) { return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64) }),
		Refresh:  refresh,
		OnDeny:   rolegate.OnDeny{Wait: 100 * time.Millisecond},
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, s.gate.Close()) })

	ok := func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") }
	r := chi.NewRouter()
	r.Get("/healthz", ok)
	r.Group(func(r chi.Router) {
		r.Use(s.gate.Admit)
		r.Get("/", ok)
		r.With(s.gate.Require(rolegate.AnyRole("teacher", "admin"))).Get("/grades", ok)
		r.With(s.gate.Require(rolegate.AllRoles("teacher", "homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))).Post("/orgs/{orgID}/reports", ok)
		r.With(s.gate.Require(rolegate.AnyRole("principle", "admin"), rolegate.InOrg(rolegate.PathOrg("orgID")))).Get("/orgs/{orgID}/staff", ok)
		r.With(s.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(5*time.Second))).Get("/exams", ok)
		r.With(s.gate.Require(rolegate.Either(rolegate.AnyRole("admin"), rolegate.Where("own pupil", func(rolegate.User, *http.Request) bool { return true })))).
			Get("/pupils/{id}", ok)
		r.With(s.gate.Require(rolegate.NoRole("pupil"), rolegate.Shadow())).Get("/library", ok)
	})
	r.With(s.gate.Require(rolegate.AnyRole("admin"))).Handle("/console", console.New(s.gate, console.Config{Routes: chiroutes.Lister(r), Name: "第一中学", Logger: logger}))
	r.Handle("/bare", console.New(s.gate, console.Config{Routes: chiroutes.Lister(r), Logger: logger}))
	server := httptest.NewServer(r)
	t.Cleanup(server.Close)
	s.url = server.URL
	return s
}

func (s *school) visit(t *testing.T, l look, user int64) *tab {
	t.Helper()
	b := open(t, l, map[string]any{"X-User-Id": strconv.FormatInt(user, 10)})
	b.do("open the console", chromedp.Navigate(s.url+"/console"), chromedp.WaitVisible("#list", chromedp.ByQuery))
	return b
}

// shrink has a full refresh find everybody gone but those who are no pupils.
func (s *school) shrink(t *testing.T) {
	t.Helper()
	for id := int64(firstPupil); id < firstPupil+pupils; id++ {
		s.source.Remove(id)
	}
	require.ErrorIs(t, s.gate.RefreshAll(t.Context()), rolegate.ErrHeld)
}

// refused has user 99, who is not listed, refused, and returns the decision id.
func (s *school) refused(t *testing.T, path string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.url+path, nil)
	require.NoError(t, err)
	r.Header.Set("X-User-Id", "99")
	answer, err := http.DefaultClient.Do(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	var told struct{ Decision string }
	require.NoError(t, json.NewDecoder(answer.Body).Decode(&told))
	return told.Decision
}

// Everything that the page has is clicked through, in each look.
func TestConsole(t *testing.T) {
	for _, l := range withBrowser(t,
		look{name: "en-light", language: "en-GB,en;q=0.8", width: 1280, height: 900},
		look{name: "en-dark", language: "en", dark: true, width: 1280, height: 900},
		look{name: "zh-light", language: "zh-CN,zh;q=0.9,en;q=0.8", width: 1280, height: 900},
		look{name: "zh-dark", language: "zh-CN", dark: true, width: 1280, height: 900},
		look{name: "en-mobile", language: "en", width: 390, height: 844},
		look{name: "zh-mobile", language: "zh", dark: true, width: 390, height: 844},
	) {
		t.Run(l.name, func(t *testing.T) {
			zh := strings.HasPrefix(l.name, "zh")
			in := func(english, chinese string) string {
				if zh {
					return chinese
				}
				return english
			}
			s := openSchool(t, rolegate.Refresh{})
			b := s.visit(t, l, admin)
			assert.Equal(t, in("en", "zh-CN"), eval[string](b, "document.documentElement.lang"))
			assert.Contains(t, b.text("#list"), in("Ready", "正常"))
			assert.Contains(t, b.text("#list"), "34")
			assert.Contains(t, b.text("#roles"), "pupil")
			assert.Contains(t, b.text("#look"), "principle")
			assert.Contains(t, b.text("#look"), in("Account", "账号"))
			assert.Contains(t, b.text("#routes"), in("open: nothing guards it", "公开：没有守卫"))
			assert.Contains(t, b.text("#routes"), "AllRoles(teacher, homeroom) + InOrg")
			assert.NotContains(t, eval[string](b, "document.documentElement.outerHTML"), "li.wei", "no accounts")
			assert.Equal(t, eval[float64](b, "document.documentElement.clientWidth"), eval[float64](b, "document.documentElement.scrollWidth"), "nothing sticks out")
			b.shoot("overview")

			// Why: granted, refused, and what only a request can tell.
			for _, q := range []struct {
				name, kind, user, org, route, verdict, says string
			}{
				{"granted", "user_id", strconv.Itoa(homeroom), "7", "POST /orgs/{orgID}/reports", "ok", in("The user passes.", "放行。")},
				{"elsewhere", "user_id", strconv.Itoa(homeroom), "8", "POST /orgs/{orgID}/reports", "no", "role_missing"},
				{"unlisted", "user_id", "99", "", "GET /grades", "no", "not_authorized"},
				{"by-account", "account", "li.wei", "", "GET /exams", "", ""},
				{"ambiguous", "account", "shared", "", "", "no", "ambiguous"},
				{"depends", "user_id", strconv.Itoa(teacher), "", "GET /pupils/{id}", "ask", "Where"},
				{"every-route", "account", "zhang.min", "", "*", "ok", in("in organisation 7", "机构 7")},
				{"shadow", "user_id", strconv.Itoa(firstPupil), "", "GET /library", "ok", "shadowed"},
			} {
				b.fill("kind", q.kind)
				b.fill("user", q.user)
				b.fill("org", q.org)
				b.fill("route", q.route)
				b.do("forget the last answer", chromedp.Evaluate(`document.querySelector("#why .answer")?.remove()`, nil))
				b.press("#why button", "#why .answer")
				if q.verdict != "" {
					assert.True(t, eval[bool](b, `document.querySelector("#why .verdict").classList.contains("`+q.verdict+`")`), q.name)
				}
				assert.Contains(t, b.text("#why .answer"), q.says, q.name)
				html := eval[string](b, "document.documentElement.outerHTML")
				assert.NotContains(t, html, "li.wei", "an account that was typed in is not shown")
				assert.NotContains(t, html, "zhang.min", "an account that was typed in is not shown")
				switch q.name {
				case "elsewhere":
					b.shoot("why")
				case "every-route":
					assert.Contains(t, b.text("#users"), strconv.Itoa(homeroom))
					assert.Equal(t, eval[float64](b, "document.documentElement.clientWidth"), eval[float64](b, "document.documentElement.scrollWidth"), "nothing sticks out")
					b.shoot("actions")
				}
			}
			assert.NotContains(t, s.log.String(), "li.wei")

			// A decision id leads to its refusal, and the form to why.
			decision := s.refused(t, "/grades")
			b.do("the last refusals", chromedp.Navigate(s.url+"/console"), chromedp.WaitVisible("#refusals", chromedp.ByQuery))
			assert.Contains(t, b.text("#refusals"), decision)
			b.fill("decision", decision)
			b.press(`#why h3 + form button`, "#refusal")
			assert.Contains(t, b.text("#refusal"), "not_authorized")
			assert.Equal(t, "99", eval[string](b, `document.querySelector('[name="user"]').value`))
			assert.Equal(t, "GET /grades", eval[string](b, `document.querySelector('[name="route"]').value`))
			assert.Equal(t, eval[float64](b, "document.documentElement.clientWidth"), eval[float64](b, "document.documentElement.scrollWidth"), "nothing sticks out")
			b.shoot("refusal")

			// Removals are held: the page finds out by itself.
			b.do("back", chromedp.Navigate(s.url+"/console"), chromedp.WaitVisible("#list", chromedp.ByQuery))
			s.shrink(t)
			assert.Contains(t, b.text("#held"), "30")
			assert.Contains(t, b.text("#held"), strconv.Itoa(firstPupil))
			b.shoot("held")
			b.press("#held button", "#accept")
			assert.Contains(t, b.text("#accept"), "30")
			b.shoot("accept")
			b.press("#accept a", "#held button")
			assert.Equal(t, pupils, s.gate.Status().Held.Users, "nothing was done so far")
			b.press("#held button", "#accept")
			b.press("#accept .danger", "#done")
			assert.Contains(t, b.text("#done"), in("It removed 30 users.", "共移除 30 个用户。"))
			assert.Zero(t, s.gate.Status().Held.Users)
			assert.Contains(t, s.log.String(), fmt.Sprintf(`"user_id":"%d","held":30,"cause":"shrink_guard","outcome":"applied","removed":30`, int64(admin)))

			// Pausing, and going on.
			b.do("pause", chromedp.Click("#pause", chromedp.ByQuery))
			assert.Equal(t, in("Resume updates", "恢复自动更新"), b.text("#pause"))
			b.do("resume", chromedp.Click("#pause", chromedp.ByQuery))
			assert.Equal(t, in("Pause updates", "暂停自动更新"), b.text("#pause"))
			assert.Empty(t, b.complained())

			// The admin is none any more: the page says that it is not true any more.
			s.source.Put(rolegate.Record{UserID: admin})
			require.NoError(t, s.gate.Refresh(context.Background()))
			assert.Contains(t, b.text("#lost"), in("cannot be updated", "无法更新"))
			b.complained() // the browser says that it got a 403
		})
	}
}

// A page of hostile names runs nothing of theirs.
func TestConsoleOfHostileNames(t *testing.T) {
	for _, l := range withBrowser(t, look{name: "hostile", language: "en", width: 1280, height: 900}) {
		t.Run(l.name, func(t *testing.T) {
			hostile := []rolegate.Grant{
				{OrgID: 7, RoleCode: `"><script>window.owned=1</script>`}, {OrgID: 7, RoleCode: `<img src=x onerror=window.owned=1>`},
				{OrgID: 7, RoleCode: `</style></script><svg onload=window.owned=1>`}, {OrgID: 7, RoleCode: strings.Repeat("long", 200)},
				{OrgID: 7, RoleCode: "\u202egnp.exe"},
			}
			s := openSchool(t, rolegate.Refresh{}, rolegate.Record{UserID: 5, Grants: hostile})
			s.source.Fail(errors.New(`<script>window.owned=1</script>`))
			require.Error(t, s.gate.Refresh(t.Context()))
			b := s.visit(t, l, admin)
			b.fill("user", "5")
			b.fill("route", "GET /grades")
			b.press("#why button", "#why .answer")
			assert.Contains(t, b.text("#why .answer"), `<script>window.owned=1</script>`)
			assert.Contains(t, b.text("#roles"), `<img src=x onerror=window.owned=1>`)
			assert.Contains(t, b.text("#roles"), `\u{202e}gnp.exe`)
			b.shoot("why")
			assert.False(t, eval[bool](b, "'owned' in window"))
			assert.Equal(t, eval[float64](b, "document.documentElement.clientWidth"), eval[float64](b, "document.documentElement.scrollWidth"), "nothing sticks out")
			assert.Empty(t, b.complained())

			// And what is put into the page all the same, its policy does not run.
			b.do("inject", chromedp.Evaluate(`{const s = document.createElement("script"); s.textContent = "window.owned=1"; document.body.append(s)}`, nil))
			assert.False(t, eval[bool](b, "'owned' in window"))
			assert.Contains(t, strings.Join(b.complained(), "\n"), "Content Security Policy")
		})
	}
}

// Without JavaScript, and mounted bare.
func TestConsoleWithoutScripts(t *testing.T) {
	for _, l := range withBrowser(t, look{name: "noscript", language: "en", width: 1280, height: 900, withoutScripts: true}) {
		t.Run(l.name, func(t *testing.T) {
			s := openSchool(t, rolegate.Refresh{})
			s.shrink(t)
			b := s.visit(t, l, admin)
			assert.Contains(t, b.text("noscript"), "does not update itself")
			b.press("#held button", "#accept")
			b.press("#accept .danger", "#done")
			assert.Zero(t, s.gate.Status().Held.Users)
			b.complained()
			b.do("open the bare one", chromedp.Navigate(s.url+"/bare"), chromedp.WaitVisible("body", chromedp.ByQuery))
			assert.Contains(t, b.text("body"), "behind a Require")
		})
	}
}
