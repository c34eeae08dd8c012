package rolegate_test

import (
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The decision's id leads from what the client saw to what the operator may
// know.
func TestDenyLog(t *testing.T) {
	t.Parallel()
	app := newDenyApp(t, nil)
	want := map[string]struct {
		level, route, guard string
		user, org           string
		err                 string
	}{
		"nobody":                {"INFO", "/admit", "Admit", "", "", "no identity"},
		"identify failed":       {"ERROR", "/admit", "Admit", "", "", "the session store is away"},
		"not listed":            {"INFO", "/admit", "Admit", "999", "", ""},
		"not listed, at a role": {"INFO", "/role", "AnyRole(admin)", "999", "", ""},
		"ambiguous":             {"WARN", "/admit", "Admit", "", "", ""},
		"role missing":          {"INFO", "/role", "AnyRole(admin)", "1", "", ""},
		"role missing there":    {"INFO", "/orgs/{orgID}", "AnyRole(teacher) + InOrg", "1", "8", ""},
		"condition failed":      {"INFO", "/where", "Where(own class)", "1", "", ""},
		"condition panicked":    {"ERROR", "/panic", "Where(own class)", "1", "", "panicked"},
		"org unreadable":        {"WARN", "/orgs/{orgID}", "AnyRole(teacher) + InOrg", "1", "", "orgID"},
		"closed":                {"WARN", "/closed", "Admit", "1", "", ""},
		"not ready":             {"WARN", "/not-ready", "Admit", "1", "", ""},
	}
	for _, c := range denyRefusals {
		w := ask(app, "GET", c.path+"?alice=alice@example.com", c.user)
		id := denyID.FindString(w.Body.String())
		var line map[string]any
		for _, l := range app.book.lines("rolegate: refused") {
			if l["decision"] == id {
				require.Nil(t, line, "one line for each refusal")
				line = l
			}
		}
		require.NotNil(t, line, c.name)
		want := want[c.name]
		assert.Equal(t, want.level, line["level"], c.name)
		assert.Equal(t, c.reason.String(), line["reason"], c.name)
		assert.EqualValues(t, c.reason.Status(), line["status"], c.name)
		assert.Equal(t, want.route, line["route"], c.name)
		assert.Equal(t, want.guard, line["guard"], c.name)
		assert.Equal(t, "GET", line["method"], c.name)
		user, _ := line["user_id"].(string)
		assert.Equal(t, want.user, user, c.name)
		org, _ := line["org_id"].(string)
		assert.Equal(t, want.org, org, c.name)
		text, _ := line["err"].(string)
		assert.Contains(t, text, want.err, c.name)
		assert.Equal(t, want.err == "", text == "", "%s: %s", c.name, text)
		known := []string{"time", "level", "msg", "decision", "status", "reason", "method", "route", "guard", "user_id", "org_id", "err", "identity", "identity_digest"}
		for key := range line {
			assert.Contains(t, known, key)
		}
	}

	// By any of the user's names: the number is logged, the name is not.
	r := httptest.NewRequest("GET", "/role", nil)
	r.Header.Set("X-Account", "alice-account")
	app.ServeHTTP(httptest.NewRecorder(), r)
	r.Header.Set("X-Account", "stranger-account")
	app.ServeHTTP(httptest.NewRecorder(), r)
	lines := app.book.lines("rolegate: refused")
	assert.Equal(t, "1", lines[len(lines)-2]["user_id"])
	assert.NotContains(t, lines[len(lines)-1], "user_id")
	assert.Equal(t, "account", lines[len(lines)-1]["identity"])
	for _, name := range []string{
		"alice-account", "alice@example.com", "alice-nick", "alice-third", "alice-id", "alice-name", "twin-account", "stranger",
	} {
		assert.NotContains(t, app.book.String(), name)
	}
}

// Who knows an account, or another name that is no user id, finds its refusals: in
// the log, among the last ones, and in events. Nobody learns the account from them.
func TestDenyLogByIdentity(t *testing.T) {
	t.Parallel()
	key := []byte(strings.Repeat("k", 32))
	for _, kind := range []rolegate.Kind{rolegate.KindAccount, rolegate.KindEmail, rolegate.KindThirdAccount, rolegate.KindThirdUserID} {
		t.Run(kind.String(), func(t *testing.T) {
			t.Parallel()
			open := func(key []byte) (*rolegate.Gate, *logBook) {
				book := new(logBook)
				listed := rolegate.Record{UserID: 1, Account: "alice", Email: "alice", ThirdAccount: "alice", ThirdUserID: "alice"}
				return openGate(t, rolegate.Config{
					Source: rolegatetest.NewStatic(listed), Logger: book.logger(), IdentityKey: key, OnDeny: rolegate.OnDeny{Off: true},
					Identify: rolegate.ByText(kind, func(r *http.Request) (string, error) { return r.Header.Get("X-Name"), nil }),
				}), book
			}
			digestOf := func(gate *rolegate.Gate, text string) string {
				id, err := rolegate.NewIdentity(kind, text)
				require.NoError(t, err)
				return gate.Explain(t.Context(), id).IdentityDigest
			}
			gate, book := open(key)
			h := gate.Require(rolegate.AnyRole("admin"))(never(t))
			shadow := gate.Require(rolegate.AnyRole("admin"), rolegate.Shadow())(ok(gate))
			send := func(h http.Handler, text string) {
				r := httptest.NewRequest("GET", "/", nil)
				r.Header.Set("X-Name", text)
				h.ServeHTTP(httptest.NewRecorder(), r)
			}
			for _, text := range []string{"alice", "mallory", ""} {
				send(h, text)
			}
			send(shadow, "alice")
			lines := append(book.lines("rolegate: refused"), book.lines("rolegate: let pass by a shadow")...)
			require.Len(t, lines, 4)
			for i, text := range []string{"alice", "mallory", "", "alice"} {
				if text == "" {
					assert.NotContains(t, lines[i], "identity")
					assert.NotContains(t, lines[i], "identity_digest")
					continue
				}
				assert.Equal(t, kind.String(), lines[i]["identity"])
				assert.Equal(t, digestOf(gate, text), lines[i]["identity_digest"])
				assert.Regexp(t, "^[0-9a-f]{16}$", lines[i]["identity_digest"])
			}
			refusals := gate.Refusals(10)
			require.Len(t, refusals, 3)
			assert.Equal(t, digestOf(gate, "mallory"), refusals[1].IdentityDigest)
			assert.Equal(t, kind, refusals[1].Identity)
			assert.Equal(t, digestOf(gate, "alice"), refusals[2].IdentityDigest, "a listed one too: its user id is beside it")
			assert.EqualValues(t, 1, refusals[2].UserID)
			assert.Zero(t, refusals[0].Identity)
			assert.NotContains(t, book.String(), "alice")
			assert.NotContains(t, book.String(), "mallory")

			replica, _ := open(key)
			assert.Equal(t, digestOf(gate, "alice"), digestOf(replica, "alice"), "the same on every replica")
			other, _ := open([]byte(strings.Repeat("o", 32)))
			assert.NotEqual(t, digestOf(gate, "alice"), digestOf(other, "alice"))
			own, _ := open(nil)
			next, _ := open(nil)
			assert.NotEqual(t, digestOf(gate, "alice"), digestOf(own, "alice"))
			assert.Equal(t, digestOf(own, "alice"), digestOf(next, "alice"), "a gate that takes another's place")
		})
	}
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
	assert.Empty(t, gate.Explain(t.Context(), rolegate.UserID(1)).IdentityDigest, "a user id is in the log itself")
}

func TestShadowLog(t *testing.T) {
	t.Parallel()
	app := newDenyApp(t, nil)
	h := app.gate.Require(rolegate.AnyRole("admin"), rolegate.Shadow())(ok(app.gate))
	assert.Equal(t, 200, ask(h, "GET", "/", 1).Code)
	lines := app.book.lines("rolegate: let pass by a shadow")
	require.Len(t, lines, 1)
	assert.Equal(t, "INFO", lines[0]["level"])
	assert.Equal(t, "role_missing", lines[0]["reason"])
	assert.Equal(t, "1", lines[0]["user_id"])
	assert.Empty(t, app.book.lines("rolegate: refused"))
}

// What a client writes cannot begin a line of the log.
func TestDenyLogCannotBeForged(t *testing.T) {
	t.Parallel()
	for name, handler := range map[string]func(io.Writer) slog.Handler{
		"text": func(w io.Writer) slog.Handler { return slog.NewTextHandler(w, nil) },
		"json": func(w io.Writer) slog.Handler { return slog.NewJSONHandler(w, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var book logBook
			app := newDenyApp(t, func(c *rolegate.Config) { c.Logger = slog.New(handler(&book)) })
			before := strings.Count(book.String(), "\n")
			const forged = "\nlevel=INFO msg=forged user_id=1"
			r := httptest.NewRequest("GET", "/orgs/"+url.PathEscape("7"+forged), nil)
			r.Header = http.Header{"X-User-Id": {"1"}, "User-Agent": {forged}, "Referer": {forged}}
			r.Host = forged
			w := httptest.NewRecorder()
			app.ServeHTTP(w, r)
			assert.Equal(t, 403, w.Code)
			r = httptest.NewRequest("GET", "/role", nil)
			r.Header.Set("X-Account", forged)
			app.ServeHTTP(httptest.NewRecorder(), r)
			assert.Equal(t, 2, strings.Count(book.String(), "rolegate: refused"))
			assert.NotContains(t, book.String()[before:], "forged")
		})
	}
}

// What a client writes as its method is of any length, and in no log.
func TestMethodsThatAreNotStandard(t *testing.T) {
	t.Parallel()
	book := new(logBook)
	events := make(chan rolegate.DecisionEvent, 1)
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(), Logger: book.logger(), OnDecision: func(e rolegate.DecisionEvent) { events <- e },
	})
	h := gate.Admit(ok(gate))
	for name, c := range map[string]struct{ method, logged string }{
		"a standard one":    {"PATCH", "PATCH"},
		"none":              {"", "GET"},
		"one of WebDAV":     {"PROPFIND", "other"},
		"in lower case":     {"get", "other"},
		"a megabyte of one": {strings.Repeat("A", 1<<20), "other"},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/", nil)
			r.Method = c.method
			w := httptest.NewRecorder()
			h.ServeHTTP(w, r)
			require.Equal(t, http.StatusUnauthorized, w.Code)
			lines := book.lines("rolegate: refused")
			assert.Equal(t, c.logged, lines[len(lines)-1]["method"])
			assert.Equal(t, c.logged, (<-events).Method, "a thousand events may wait for OnDecision")
			assert.Equal(t, c.logged, gate.Refusals(1)[0].Method)
		})
	}
}

// Nor is what a call names as its route, which with gRPC may be a client's.
func TestLongRoutes(t *testing.T) {
	t.Parallel()
	book := new(logBook)
	events := make(chan rolegate.DecisionEvent, 1)
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(), Logger: book.logger(), OnDecision: func(e rolegate.DecisionEvent) { events <- e },
	})
	for _, c := range []struct{ route, want string }{
		{"/school.Grades/List", "/school.Grades/List"},
		{strings.Repeat("a", 1024), strings.Repeat("a", 1024)},
		{strings.Repeat("a", 1<<20), strings.Repeat("a", 1024)},
		{strings.Repeat("张", 1<<20), strings.Repeat("张", 341)},
	} {
		_, denial := gate.AdmitPolicy().CheckCall(t.Context(), rolegate.Call{Identity: rolegate.UserID(9), Method: "POST", Route: c.route})
		require.NotNil(t, denial)
		lines := book.lines("rolegate: refused")
		assert.Equal(t, c.want, lines[len(lines)-1]["route"])
		assert.Equal(t, c.want, (<-events).Route)
		assert.Equal(t, c.want, gate.Refusals(1)[0].Route)
	}
}

// README's own r.Use(gate.Admit), and Admit around a mux: the route is in the line,
// and a middleware outside sees the pattern that it would see without the gate.
func TestDenyLogNamesTheRouteBeforeTheRouting(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, path string
		app        func(gate *rolegate.Gate) http.Handler
		route      string
		outside    string // the pattern of net/http
	}{
		{"chi's Use", "/grades/7", func(gate *rolegate.Gate) http.Handler {
			r := chi.NewRouter()
			r.Use(gate.Admit)
			r.Get("/grades/{id}", never(t).ServeHTTP)
			return r
		}, "/grades/{id}", ""},
		{"a mux", "/grades/7", func(gate *rolegate.Gate) http.Handler { return gate.Admit(denyMux(t)) }, "GET /grades/{id}", "GET /grades/{id}"},
		{"a mux behind two guards", "/grades/7", func(gate *rolegate.Gate) http.Handler {
			return gate.Admit(gate.Require(rolegate.AnyRole("teacher"))(denyMux(t)))
		}, "GET /grades/{id}", "GET /grades/{id}"},
		{"a mux without such a route", "/nowhere", func(gate *rolegate.Gate) http.Handler { return gate.Admit(denyMux(t)) }, "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var book logBook
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Logger: book.logger(), OnDeny: rolegate.OnDeny{Off: true}})
			r := httptest.NewRequest("GET", c.path, nil)
			r.Header.Set("X-User-Id", "9")
			w := httptest.NewRecorder()
			c.app(gate).ServeHTTP(w, r)
			require.Equal(t, 403, w.Code)
			lines := book.lines("rolegate: refused")
			require.Len(t, lines, 1)
			assert.Equal(t, c.route, lines[0]["route"])
			assert.Equal(t, c.outside, r.Pattern)
		})
	}
}

func denyMux(t *testing.T) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("GET /grades/{id}", never(t))
	return mux
}
