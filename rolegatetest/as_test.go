package rolegatetest_test

import (
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func asGate(t *testing.T, cfg rolegate.Config) *rolegate.Gate {
	t.Helper()
	cfg.Source, cfg.Logger = rolegatetest.NewStatic(rolegate.Record{UserID: 1}), slog.New(slog.DiscardHandler)
	cfg.Identify = rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil })
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate
}

func TestAs(t *testing.T) {
	plain := asGate(t, rolegate.Config{})
	school := asGate(t, rolegate.Config{Implies: map[string][]string{"principal": {"teacher"}}, Keep: rolegate.Keep{Nickname: true}})
	someone := rolegatetest.User{ID: 1<<53 + 1, Nickname: "Li", Account: "li", ThirdUserID: "u-9", Grants: []rolegate.Grant{{OrgID: 8, RoleCode: "principal"}}}
	for _, c := range []struct {
		name  string
		gate  *rolegate.Gate
		org   int64
		roles []string
		orgs  []int64
		has   map[string]bool // in organisation 8, by role
		texts string
	}{
		{"roles in an organisation", plain, 7, []string{"teacher", "homeroom"}, []int64{7, 8}, map[string]bool{"principal": true, "teacher": false}, ""},
		{"no organisation", plain, 0, nil, []int64{8}, map[string]bool{"principal": true, "teacher": false}, ""},
		{"an organisation without a role", plain, 9, nil, []int64{8}, map[string]bool{"principal": true}, ""},
		{"a hierarchy, and a string that is kept", school, 0, nil, []int64{8}, map[string]bool{"principal": true, "teacher": true, "pupil": false}, "Li"},
		{"a nil gate", nil, 7, []string{"teacher"}, []int64{7, 8}, map[string]bool{"principal": true, "teacher": false}, "Li li u-9"},
		{"a gate that was not opened", new(rolegate.Gate), 7, []string{"teacher"}, []int64{7, 8}, map[string]bool{"principal": true}, "Li li u-9"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := httptest.NewRequest("GET", "/x", nil)
			r = rolegatetest.As(r.WithContext(t.Context()), someone, c.org, c.roles...)
			u, ok := c.gate.UserFrom(r.Context())
			require.True(t, ok)
			assert.EqualValues(t, 1<<53+1, u.ID())
			assert.Equal(t, c.orgs, u.Orgs())
			for role, has := range c.has {
				assert.Equal(t, has, u.HasRoleIn(8, role), role)
			}
			for _, role := range c.roles {
				assert.True(t, u.HasRoleIn(c.org, role), role)
			}
			org, ok := c.gate.OrgFrom(r.Context())
			assert.Equal(t, c.org, org)
			assert.Equal(t, c.org != 0, ok)
			texts := ""
			for _, text := range []string{u.Nickname(), u.Account(), u.ThirdUserID()} {
				if text != "" && texts != "" {
					texts += " "
				}
				texts += text
			}
			assert.Equal(t, c.texts, texts)
			again, _ := c.gate.UserFrom(r.Context())
			assert.Equal(t, u, again)
			assert.Equal(t, t.Context().Done(), r.Context().Done(), "the context goes on")
		})
	}
	assert.Len(t, someone.Grants, 1, "the user is the caller's own")
}

// No guard believes it.
func TestGuardsPassOverAs(t *testing.T) {
	gate := asGate(t, rolegate.Config{OnDeny: rolegate.OnDeny{Off: true}})
	h := gate.Admit(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		_, _ = io.WriteString(w, u.String())
	}))
	boss := rolegatetest.User{ID: 99, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, rolegatetest.As(httptest.NewRequest("GET", "/", nil), boss, 7))
	assert.Equal(t, "user 1", w.Body.String(), "the guard has its own user")
	w = httptest.NewRecorder()
	gate.Require(rolegate.AnyRole("admin"))(h).ServeHTTP(w, rolegatetest.As(httptest.NewRequest("GET", "/", nil), boss, 7))
	assert.Equal(t, http.StatusForbidden, w.Code)
}

func TestAsPanics(t *testing.T) {
	r := httptest.NewRequest("GET", "/", nil)
	user := rolegatetest.User{ID: 1}
	for name, as := range map[string]func(){
		"no id":                         func() { rolegatetest.As(r, rolegatetest.User{}, 7, "teacher") },
		"a negative id":                 func() { rolegatetest.As(r, rolegatetest.User{ID: -1}, 7, "teacher") },
		"a negative organisation":       func() { rolegatetest.As(r, user, -7) },
		"roles without an organisation": func() { rolegatetest.As(r, user, 0, "teacher") },
		"an empty role":                 func() { rolegatetest.As(r, user, 7, "") },
	} {
		assert.Panics(t, as, name)
	}
	flags := flag.CommandLine
	defer func() { flag.CommandLine = flags }()
	flag.CommandLine = flag.NewFlagSet("app", flag.ContinueOnError)
	assert.PanicsWithValue(t, "rolegatetest: As is for tests: this program is none", func() { rolegatetest.As(r, user, 7, "teacher") })
}

// A handler by itself, without a list or a guard.
func ExampleAs() {
	var gate *rolegate.Gate // your app's
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		user, _ := gate.UserFrom(r.Context())
		org, _ := gate.OrgFrom(r.Context())
		fmt.Fprintln(w, "report of", user.ID(), "for", org, "head:", user.HasRoleIn(org, "principal"))
	})

	r := httptest.NewRequest("POST", "/orgs/7/reports", nil)
	w := httptest.NewRecorder()
	handler.ServeHTTP(w, rolegatetest.As(r, rolegatetest.User{ID: 42}, 7, "teacher"))
	fmt.Print(w.Body)
	// Output: report of 42 for 7 head: false
}
