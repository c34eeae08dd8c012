package console_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/rolegatetest"

	"github.com/rolegate/rolegate/internal/logbook"
)

// admin is who looks at the console in the tests.
const admin = 900

// byHeader identifies by a header without asking who has sent it: only tests
// may.
var byHeader = rolegate.ByUserID(func(r *http.Request) (int64, error) {
	return strconv.ParseInt(r.Header.Get("X-User-Id"), 10, 64)
})

func user(id int64, grants ...rolegate.Grant) rolegate.Record {
	return rolegate.Record{UserID: id, Grants: grants}
}

func in(org int64, role string) rolegate.Grant { return rolegate.Grant{OrgID: org, RoleCode: role} }

// A book collects log lines.
type book struct{ logbook.Book }

// An app has a gate and a console behind it.
type app struct {
	t      *testing.T
	source *rolegatetest.Static
	gate   *rolegate.Gate
	router *chi.Mux
	log    *book
}

func newApp(t *testing.T, cfg rolegate.Config, records ...rolegate.Record) *app {
	t.Helper()
	return newAppBy(t, byHeader, cfg, records...)
}

func newAppBy(t *testing.T, by rolegate.Identifier, cfg rolegate.Config, records ...rolegate.Record) *app {
	t.Helper()
	a := &app{t: t, source: rolegatetest.NewStatic(append(records, user(admin, in(7, "admin")))...), router: chi.NewRouter(), log: &book{}}
	cfg.Source, cfg.Identify, cfg.Logger = a.source, by, slog.New(slog.DiscardHandler)
	var err error
	a.gate, err = rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, a.gate.Close()) })
	a.router.With(a.gate.Require(rolegate.AnyRole("admin"))).Handle("/console", a.console())
	return a
}

func (a *app) console() http.Handler {
	return console.New(a.gate, console.Config{Routes: chiroutes.Lister(a.router), Name: "school", Logger: slog.New(slog.NewJSONHandler(a.log, nil))})
}

// A page is an answer of the console.
type page struct {
	t      *testing.T
	status int
	header http.Header
	body   string
}

func (p page) has(texts ...string) {
	p.t.Helper()
	for _, text := range texts { // the page itself would bury the message
		assert.True(p.t, strings.Contains(p.body, text), "the page lacks %q", text)
	}
}

func (p page) lacks(texts ...string) {
	p.t.Helper()
	for _, text := range texts {
		assert.False(p.t, strings.Contains(p.body, text), "the page has %q", text)
	}
}

var tokens = regexp.MustCompile(`name="token" value="([A-Z2-7]{26})"`)

func (p page) token() string {
	p.t.Helper()
	m := tokens.FindStringSubmatch(p.body)
	require.NotNil(p.t, m, "the page has no token")
	return m[1]
}

// A change makes a request another.
type change func(*http.Request)

func header(name, value string) change {
	return func(r *http.Request) { r.Header.Set(name, value) }
}

func as(id int64) change { return header("X-User-Id", strconv.FormatInt(id, 10)) }

func speaking(language string) change { return header("Accept-Language", language) }

func serve(t *testing.T, h http.Handler, r *http.Request, changes ...change) page {
	t.Helper()
	r.Header.Set("X-User-Id", strconv.Itoa(admin))
	for _, c := range changes {
		c(r)
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	body, err := io.ReadAll(w.Result().Body)
	require.NoError(t, err)
	return page{t: t, status: w.Code, header: w.Result().Header, body: string(body)}
}

func (a *app) get(changes ...change) page {
	a.t.Helper()
	return serve(a.t, a.router, httptest.NewRequest(http.MethodGet, "https://school.example/console", nil), changes...)
}

// post sends a form as a browser does that has loaded the page before. A token
// that the form has already is left as it is.
func (a *app) post(form url.Values, changes ...change) page {
	a.t.Helper()
	loaded := a.get()
	if !form.Has("token") {
		form = with(form, "token", loaded.token())
	}
	r := httptest.NewRequest(http.MethodPost, "https://school.example/console", strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", "https://school.example")
	r.Header.Set("Cookie", strings.SplitN(loaded.header.Get("Set-Cookie"), ";", 2)[0])
	return serve(a.t, a.router, r, changes...)
}

func with(form url.Values, name, value string) url.Values {
	all := url.Values{name: {value}}
	for k, v := range form {
		all[k] = v
	}
	return all
}

// hold has removals of so many users held, and returns what the button to accept
// them says.
func (a *app) hold() url.Values {
	a.t.Helper()
	for id := int64(1); id <= 30; id++ {
		a.source.Remove(id)
	}
	require.ErrorIs(a.t, a.gate.RefreshAll(a.t.Context()), rolegate.ErrHeld)
	reviewed := a.post(url.Values{"action": {"review"}})
	m := regexp.MustCompile(`name="held" value="([^"]+)"`).FindStringSubmatch(reviewed.body)
	require.NotNil(a.t, m, "the page does not ask once more")
	return url.Values{"action": {"accept"}, "held": {m[1]}}
}

// pupils are thirty users.
func pupils() (records []rolegate.Record) {
	for id := int64(1); id <= 30; id++ {
		records = append(records, user(id, in(8, "pupil")))
	}
	return records
}
