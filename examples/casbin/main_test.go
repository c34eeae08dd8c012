package main

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// listed is the marketplace's list: everybody that casbin's files know, but for eve, and
// frank besides.
func listed() *rolegatetest.Static {
	user := func(id int64, name string, grants ...rolegate.Grant) rolegate.Record {
		return rolegate.Record{UserID: id, ThirdAccount: name, Grants: grants}
	}
	return rolegatetest.NewStatic(
		user(1, "alice", rolegate.Grant{OrgID: 7, RoleCode: "teacher"}, rolegate.Grant{OrgID: 7, RoleCode: "homeroom"}, rolegate.Grant{OrgID: 8, RoleCode: "teacher"}),
		user(2, "bob", rolegate.Grant{OrgID: 7, RoleCode: "student"}),
		user(3, "carol", rolegate.Grant{OrgID: 7, RoleCode: "admin"}),
		user(4, "dora", rolegate.Grant{OrgID: 7, RoleCode: "admin"}, rolegate.Grant{OrgID: 7, RoleCode: "trainee"}),
		user(6, "frank", rolegate.Grant{OrgID: 7, RoleCode: "teacher"}),
	)
}

func password(name string) string             { return name + "'s password" }
func passwordIsRight(name, given string) bool { return given == password(name) }

func open(t *testing.T, step string, e enforcers, source rolegate.Source, book *logbook.Book) (http.Handler, *rolegate.Gate) {
	cfg := config(source, passwordIsRight)
	cfg.Logger = slog.New(slog.NewJSONHandler(book, nil))
	app, gate, err := start(t.Context(), step, e, cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return app, gate
}

// ask sends a request of that user: with the right password, or with another one
// if the name ends in "?".
func ask(app http.Handler, as, method, path string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "http://school.test"+path, nil)
	if name, guessed := strings.CutSuffix(as, "?"); guessed {
		r.SetBasicAuth(name, "a guess")
	} else if as != "" {
		r.SetBasicAuth(as, password(as))
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w
}

// What casbin and the gate say of the same requests, and what the app answers
// on the way from one to the other.
func TestMove(t *testing.T) {
	t.Parallel()
	e, err := loadEnforcers()
	require.NoError(t, err)
	var triedBook, bothBook, afterBook logbook.Book
	source := listed()
	app := map[string]http.Handler{"before": before(e)}
	app["tried"], _ = open(t, "tried", e, source, &triedBook)
	app["both"], _ = open(t, "both", e, source, &bothBook)
	end, gate := open(t, "", e, source, &afterBook)
	app["after"] = end

	var differences []string // as docs/migrating.md has them
	for _, c := range []struct {
		what, as, method, path     string
		before, tried, both, after int
	}{
		// The same before and after.
		{"a role", "alice", "GET", "/grades", 200, 200, 200, 200},
		{"a role that includes it", "carol", "GET", "/grades", 200, 200, 200, 200},
		{"another role", "bob", "GET", "/grades", 403, 403, 403, 403},
		{"nobody has granted anything", "zoe", "GET", "/grades", 403, 403, 403, 403},
		{"a parameter", "alice", "GET", "/grades/3", 200, 200, 200, 200},
		{"a public path", "", "GET", "/healthz", 200, 200, 200, 200},
		{"a role in that organisation", "alice", "POST", "/orgs/7/reports", 200, 200, 200, 200},
		{"… in another organisation", "alice", "POST", "/orgs/8/reports", 403, 403, 403, 403},
		{"… that includes it", "carol", "POST", "/orgs/7/reports", 200, 200, 200, 200},
		{"an organisation in other digits", "alice", "POST", "/orgs/07/reports", 403, 403, 403, 403},
		{"no deny", "carol", "GET", "/exports/all", 200, 200, 200, 200},
		{"a deny", "dora", "GET", "/exports/all", 403, 403, 403, 403},
		{"an attribute", "bob", "GET", "/notes/1", 200, 200, 200, 200},
		{"… that differs", "bob", "GET", "/notes/2", 403, 403, 403, 403},
		{"… whatever the role", "carol", "GET", "/notes/2", 403, 403, 403, 403},

		// Who is asking.
		{"nobody", "", "GET", "/grades", 403, 401, 401, 401},
		{"a guessed password", "alice?", "GET", "/grades", 200, 401, 401, 401},
		{"a role's name for a user's", "teacher?", "GET", "/grades", 200, 401, 401, 401},
		{"… with a password", "teacher", "GET", "/grades", 200, 200, 403, 403},

		// Who has what.
		{"known to casbin alone", "eve", "GET", "/grades", 200, 200, 403, 403},
		{"known to the marketplace alone", "frank", "GET", "/grades", 403, 403, 403, 200},
		{"a role of another organisation", "bob", "GET", "/orgs/8/news", 200, 200, 403, 403},

		// What a path is.
		{"a pattern that covers another route", "alice", "GET", "/grades/export", 200, 200, 403, 403},
		{"a slash too many, cleaned behind casbin", "dora", "GET", "//exports/all", 200, 200, 403, 403},
		{"a slash at the end, likewise", "alice", "GET", "/grades/", 403, 403, 403, 200},
		{"an encoded slash", "bob", "GET", "/orgs/7%2Fnews", 200, 403, 403, 403},
		{"no organisation", "alice", "GET", "/orgs/x", 200, 403, 403, 403},
		{"HEAD", "alice", "HEAD", "/grades", 403, 403, 403, 200},
		{"no such path", "alice", "GET", "/nothing", 403, 404, 404, 404},
		{"no such method", "alice", "POST", "/grades", 403, 405, 405, 405},
	} {
		for step, want := range map[string]int{"before": c.before, "tried": c.tried, "both": c.both, "after": c.after} {
			assert.Equal(t, want, ask(app[step], c.as, c.method, c.path).Code, "%s, %s: %s %s as %q", c.what, step, c.method, c.path, c.as)
		}
		if c.before != c.after || c.tried != c.both || c.before != c.tried {
			differences = append(differences, fmt.Sprintf("| `%s %s` | %d | %d | %d | %d |", c.method, c.path, c.before, c.tried, c.both, c.after))
		}
		if c.tried < 400 {
			assert.Less(t, c.before, 400, "%s: a trial lets pass what casbin refuses", c.what)
		}
		if c.both < 400 {
			assert.True(t, c.before < 400 && c.after < 400, "%s: one of both refuses", c.what)
		}
	}

	slices.Sort(differences)
	differences = slices.Compact(differences)
	for _, page := range []string{"migrating.md", "migrating.zh-CN.md"} {
		text, err := os.ReadFile("../../docs/" + page)
		require.NoError(t, err)
		told := regexp.MustCompile("(?m)^\\| `[A-Z]+ /[^`]*`( \\| [0-9]{3}){4} \\|").FindAllString(string(text), -1)
		slices.Sort(told)
		assert.Equal(t, differences, slices.Compact(told), page)
	}

	// What the logs say of it. The first three are no difference: there the
	// handler itself asks casbin, behind the guard, and has refused.
	assert.Equal(t, []string{
		"role_missing POST /orgs/{orgID}/reports",
		"condition_failed GET /notes/{id}",
		"condition_failed GET /notes/{id}",
		"not_authorized GET /grades",          // a role's name
		"not_authorized GET /grades",          // eve
		"role_missing GET /orgs/{orgID}/news", // of another organisation
		"role_missing GET /grades/export",
		"role_missing GET /exports/{name}", // a slash too many
	}, logged(t, &triedBook, "rolegate: let pass by a shadow"))
	assert.Equal(t, []string{" GET /grades", " GET /grades", " HEAD /grades"},
		logged(t, &bothBook, "casbin refuses what the gate lets pass"), "frank; a slash at the end; HEAD")

	// A client sees more than 403, and a challenge.
	assert.Empty(t, ask(app["before"], "", "GET", "/grades").Header().Get("WWW-Authenticate"))
	assert.Equal(t, `Basic realm="school"`, ask(end, "", "GET", "/grades").Header().Get("WWW-Authenticate"))

	// Who is taken off the list is out with the next full refresh.
	_, err = e.routes.DeleteUser("alice")
	require.NoError(t, err)
	assert.Equal(t, 403, ask(app["before"], "alice", "GET", "/grades").Code)
	source.Remove(1)
	require.NoError(t, gate.Refresh(t.Context()))
	assert.Equal(t, 200, ask(end, "alice", "GET", "/grades").Code)
	require.NoError(t, gate.RefreshAll(t.Context()))
	assert.Equal(t, 403, ask(end, "alice", "GET", "/grades").Code)

	// Without a list nobody enters.
	require.NoError(t, gate.Close())
	assert.Equal(t, 503, ask(end, "bob", "GET", "/notes/1").Code)
}

// logged returns reason, method and route of the lines with that message, but
// for those of Admit, which stands in front of casbin.
func logged(t *testing.T, book *logbook.Book, message string) (lines []string) {
	for text := range strings.Lines(book.String()) {
		var line struct{ Msg, Reason, Method, Route, Guard string }
		require.NoError(t, json.Unmarshal([]byte(text), &line))
		if line.Msg == message && line.Guard != "Admit" {
			lines = append(lines, line.Reason+" "+line.Method+" "+line.Route)
		}
	}
	return lines
}
