package main

import (
	"fmt"
	"net/http"
	"strconv"
	"testing"

	"github.com/casbin/casbin/v3"
	"github.com/casbin/casbin/v3/model"
	"github.com/casbin/casbin/v3/util"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Every route but the public one is guarded, and none by Admit alone, which any
// listed user passes.
func TestGuarded(t *testing.T) {
	t.Parallel()
	_, gate := open(t, "", enforcers{}, listed(), new(logbook.Book))
	app := after(gate, gate.Require, plainHandlers())
	routes := chiroutes.Must(chiroutes.Routes(app))
	rolegatetest.RequireGuarded(t, routes, "GET /healthz")
	for _, route := range routes {
		if route.Guarded() {
			assert.NotEqual(t, "Admit", route.Guards[len(route.Guards)-1].String(), "%s: any listed user", route)
		}
	}
}

func TestNotGranted(t *testing.T) {
	t.Parallel()
	e, err := loadEnforcers()
	require.NoError(t, err)
	_, gate := open(t, "", e, listed(), new(logbook.Book))
	lines, err := notGranted(t.Context(), gate, e.routes)
	require.NoError(t, err)
	assert.ElementsMatch(t, [][]string{{"admin", "teacher"}, {"teacher", "student"}, {"eve", "teacher"}}, lines)
	lines, err = notGranted(t.Context(), gate, e.orgs)
	require.NoError(t, err)
	assert.ElementsMatch(t, [][]string{{"admin", "homeroom", "7"}}, lines)

	_, err = e.orgs.AddGroupingPolicy("alice", "homeroom", "north")
	require.NoError(t, err)
	_, err = notGranted(t.Context(), gate, e.orgs)
	assert.ErrorIs(t, err, strconv.ErrSyntax)
}

// The job asks both, and they say the same.
func TestMayFile(t *testing.T) {
	t.Parallel()
	e, err := loadEnforcers()
	require.NoError(t, err)
	_, gate := open(t, "", e, listed(), new(logbook.Book))
	policy := gate.Policy(rolegate.AnyRole("homeroom"))
	may := 0
	for _, name := range []string{"alice", "bob", "carol", "dora", "zoe"} {
		for _, org := range []int64{7, 8, 9} {
			if name == "dora" && org == 7 {
				continue // orgs.csv has forgotten her
			}
			old, err := e.mayFile(name, strconv.FormatInt(org, 10))
			require.NoError(t, err)
			assert.Equal(t, old, mayFile(t.Context(), policy, name, org), "%s in %d", name, org)
			if old {
				may++
			}
		}
	}
	assert.Equal(t, 2, may)
}

func TestRooms(t *testing.T) {
	t.Parallel()
	rules, err := roomRules()
	require.NoError(t, err)
	_, gate := open(t, "", enforcers{}, listed(), new(logbook.Book))
	app := rooms(gate, rules)
	book := func(as, room string) int { return ask(app, as, http.MethodPost, "/rooms/"+room+"/bookings").Code }
	assert.Equal(t, 200, book("alice", "laboratory"))
	assert.Equal(t, 200, book("carol", "laboratory"), "an admin is a teacher")
	assert.Equal(t, 403, book("bob", "laboratory"))
	assert.Equal(t, 200, book("bob", "reading-room"))
	assert.Equal(t, 403, book("alice", "attic"))
	assert.Equal(t, 403, book("eve", "reading-room"), "not listed")
	assert.Equal(t, 401, book("", "reading-room"))
	_, err = rules.AddPolicy("student", "laboratory", "book")
	require.NoError(t, err)
	assert.Equal(t, 200, book("bob", "laboratory"), "the app's own rules count at once")
	_, err = rules.Enforce("bob", "laboratory", "book")
	assert.Error(t, err, "a name is no user")
}

// What docs/migrating.md says of casbin beyond the app.
func TestCasbin(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		match         func(path, pattern string) bool
		path, pattern string
		want          bool
	}{
		{util.KeyMatch, "/orgs/7/members", "/orgs/*/reports", true}, // what follows the first * does not count
		{util.KeyMatch2, "/orgs/7/members", "/orgs/*/reports", false},
		{util.KeyMatch2, "/orgs/7/8/reports", "/orgs/*/reports", true}, // a * goes over slashes
		{util.KeyMatch, "/administrators", "/admin*", true},
		{util.KeyMatch, "/admin", "/admin/*", false},
		{util.KeyMatch, "/admin/", "/admin/*", true},
		{util.KeyMatch2, "/grades/export", "/grades/:id", true},
		{util.KeyMatch3, "/grades/export", "/grades/{id}", true},
		{util.KeyMatch2, "/files/plan-pdf", "/files/plan.pdf", true}, // a regular expression
		{util.KeyMatch2, "//exports/all", "/exports/*", false},
		{util.KeyMatch2, "//exports/all", "/*", true},
	} {
		assert.Equal(t, c.want, c.match(c.path, c.pattern), "%s %s", c.path, c.pattern)
	}

	may := func(e *casbin.Enforcer, name string) bool {
		allowed, err := e.Enforce(name, "/grades", "GET")
		require.NoError(t, err)
		return allowed
	}
	const matcher = `g(r.sub, p.sub) && r.obj == p.obj && r.act == p.act`

	// Nothing but a deny: open to all that it does not name.
	e := modelled(t, `!some(where (p.eft == deny))`, matcher)
	assert.True(t, may(e, "whoever"))
	add(t, e, "trainee", "deny")
	assert.True(t, may(e, "whoever"))
	assert.False(t, may(e, "trainee"))

	// A name that skips the rules meets every deny too.
	e = modelled(t, `some(where (p.eft == allow)) && !some(where (p.eft == deny))`, matcher+` || r.sub == "root"`)
	add(t, e, "teacher", "allow")
	assert.True(t, may(e, "root"))
	add(t, e, "trainee", "deny")
	assert.False(t, may(e, "root"))

	// Ten roles up, and no further; a cycle is no mistake.
	e = modelled(t, `some(where (p.eft == allow))`, matcher)
	add(t, e, "role 0", "allow")
	for i := range 11 {
		_, err := e.AddGroupingPolicy(fmt.Sprint("role ", i+1), fmt.Sprint("role ", i))
		require.NoError(t, err)
	}
	assert.True(t, may(e, "role 10"))
	assert.False(t, may(e, "role 11"))
	_, err := e.AddGroupingPolicy("role 0", "role 1")
	require.NoError(t, err)
	assert.True(t, may(e, "role 1"))
}

func modelled(t *testing.T, effect, matcher string) *casbin.Enforcer {
	m, err := model.NewModelFromString("[request_definition]\nr = sub, obj, act\n[policy_definition]\np = sub, obj, act, eft\n" +
		"[role_definition]\ng = _, _\n[policy_effect]\ne = " + effect + "\n[matchers]\nm = " + matcher + "\n")
	require.NoError(t, err)
	e, err := casbin.NewEnforcer(m)
	require.NoError(t, err)
	return e
}

func add(t *testing.T, e *casbin.Enforcer, role, effect string) {
	_, err := e.AddPolicy(role, "/grades", "GET", effect)
	require.NoError(t, err)
}
