package rolegate_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// big is an id that JavaScript cannot tell from its neighbours.
const big = 1<<53 + 1

type permissionsAnswer struct {
	UserID      string   `json:"user_id"`
	Permissions []string `json:"permissions"`
	Conditional []string `json:"conditional"`
	Orgs        []struct {
		OrgID       string   `json:"org_id"`
		Roles       []string `json:"roles"`
		Permissions []string `json:"permissions"`
		Conditional []string `json:"conditional"`
	} `json:"orgs"`
}

func permissionsGate(t *testing.T) *rolegate.Gate {
	t.Helper()
	return openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(
			record(1, in(7, "teacher"), in(7, "homeroom"), in(8, "teacher")),
			record(2, in(9, "principal"), in(9, "suspended"), in(10, "principal")),
			record(3),
			record(4, in(1, "platform_admin")),
			record(big, in(big+2, "teacher.math")),
		),
		Implies: map[string][]string{"principal": {"teacher"}, "teacher.*": {"teacher"}},
		OnDeny:  rolegate.OnDeny{Off: true},
	})
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	gate := permissionsGate(t)
	inOrg := rolegate.InOrg(func(*http.Request) (int64, error) {
		t.Error("the func of InOrg was called")
		return 0, nil
	})
	where := rolegate.Where("own", func(rolegate.User, *http.Request) bool {
		t.Error("a Where was called")
		return true
	})
	teacher := rolegate.AnyRole("teacher")
	h := gate.Permissions(map[string]*rolegate.Policy{
		"admit":    gate.AdmitPolicy(),
		"any":      gate.Policy(teacher),
		"one":      gate.Policy(teacher, inOrg),
		"both":     gate.Policy(rolegate.AllRoles("teacher", "homeroom"), inOrg),
		"active":   gate.Policy(teacher, rolegate.NoRole("suspended"), inOrg),
		"platform": gate.Policy(rolegate.AnyRole("platform_admin"), inOrg, rolegate.Everywhere("platform_admin")),
		"own":      gate.Policy(teacher, where, inOrg),
		"own any":  gate.Policy(rolegate.Either(rolegate.AnyRole("homeroom"), where)),
		"fresh":    gate.Policy(teacher, rolegate.MaxAge(time.Nanosecond)),
		"shadow":   gate.Policy(rolegate.AnyRole("nobody"), inOrg, rolegate.Shadow()),
	})
	const org = `{"org_id":"%s","roles":[%s],"permissions":[%s],"conditional":[%s]}`
	for _, c := range []struct {
		name  string
		user  int64
		query string
		want  string
	}{
		{"each organisation", 1, "", `{"user_id":"1","permissions":["admit","any","fresh","own any"],"conditional":[],"orgs":[` +
			fmt.Sprintf(org, "7", `"homeroom","teacher"`, `"active","admit","any","both","fresh","one","own any","shadow"`, `"own"`) + "," +
			fmt.Sprintf(org, "8", `"teacher"`, `"active","admit","any","fresh","one","own any","shadow"`, `"own"`) + `]}`},
		{"one organisation", 1, "?org=8", `{"user_id":"1","permissions":["admit","any","fresh","own any"],"conditional":[],"orgs":[` +
			fmt.Sprintf(org, "8", `"teacher"`, `"active","admit","any","fresh","one","own any","shadow"`, `"own"`) + `]}`},
		{"one without a role", 1, "?org=99&x=y", `{"user_id":"1","permissions":["admit","any","fresh","own any"],"conditional":[],"orgs":[` +
			fmt.Sprintf(org, "99", "", `"admit","any","fresh","own any","shadow"`, "") + `]}`},
		{"the hierarchy, and a role that bars", 2, "", `{"user_id":"2","permissions":["admit","any","fresh"],"conditional":["own any"],"orgs":[` +
			fmt.Sprintf(org, "9", `"principal","suspended"`, `"admit","any","fresh","one","shadow"`, `"own","own any"`) + "," +
			fmt.Sprintf(org, "10", `"principal"`, `"active","admit","any","fresh","one","shadow"`, `"own","own any"`) + `]}`},
		{"no role at all", 3, "", `{"user_id":"3","permissions":["admit"],"conditional":["own any"],"orgs":[]}`},
		{"a role that counts everywhere", 4, "?org=7", `{"user_id":"4","permissions":["admit"],"conditional":["own any"],"orgs":[` +
			fmt.Sprintf(org, "7", "", `"admit","platform","shadow"`, `"own any"`) + `]}`},
		{"ids above 2^53", big, "?org=9007199254740995", `{"user_id":"9007199254740993","permissions":["admit","any","fresh"],"conditional":["own any"],"orgs":[` +
			fmt.Sprintf(org, "9007199254740995", `"teacher.math"`, `"active","admit","any","fresh","one","shadow"`, `"own","own any"`) + `]}`},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := ask(h, http.MethodGet, "/permissions"+c.query, c.user)
			assert.Equal(t, http.StatusOK, w.Code)
			assert.Equal(t, c.want+"\n", w.Body.String())
			head := ask(h, http.MethodHead, "/permissions"+c.query, c.user)
			assert.Equal(t, http.StatusOK, head.Code)
			assert.Empty(t, head.Body.String())
			for _, w := range []*httptest.ResponseRecorder{w, head} {
				assert.Equal(t, http.Header{
					"Cache-Control": {"private, no-store"}, "Content-Type": {"application/json"},
					"Content-Length": {strconv.Itoa(len(c.want) + 1)}, "X-Content-Type-Options": {"nosniff"},
				}, w.Header())
			}
		})
	}
}

// Nobody has asked to enter by a policy that is only told about.
func TestPermissionsCountsTheAdmissionAlone(t *testing.T) {
	t.Parallel()
	gate := permissionsGate(t)
	h := gate.Permissions(map[string]*rolegate.Policy{"no": gate.Policy(rolegate.AnyRole("nobody")), "yes": gate.Policy(rolegate.Listed())})
	assert.Equal(t, http.StatusOK, ask(h, http.MethodGet, "/", 1).Code)
	assert.Equal(t, map[rolegate.Reason]uint64{rolegate.ReasonGranted: 1}, gate.Status().Decisions)
}

func TestPermissionsRefuses(t *testing.T) {
	t.Parallel()
	gate := permissionsGate(t)
	h := gate.Permissions(nil)
	closed := permissionsGate(t)
	require.NoError(t, closed.Close())
	var none *rolegate.Gate
	for _, c := range []struct {
		name         string
		h            http.Handler
		method, path string
		user         int64
		status       int
		says         string
	}{
		{"nobody", h, "GET", "/", 0, 401, "You are not logged in."},
		{"not listed", h, "GET", "/", 99, 403, "You do not have permission to do this."},
		{"not listed, and a method that is not served", h, "POST", "/", 99, 403, "You do not have permission to do this."},
		{"not listed, and an org that is none", h, "GET", "/?org=x", 99, 403, "You do not have permission to do this."},
		{"a closed gate", closed.Permissions(nil), "GET", "/", 1, 503, "temporarily unavailable"},
		{"no gate", none.Permissions(nil), "GET", "/", 1, 503, "temporarily unavailable"},
		{"another method", h, "POST", "/", 1, 405, "Expected GET or HEAD."},
		{"OPTIONS", h, "OPTIONS", "/", 1, 405, "Expected GET or HEAD."},
		{"an org that is no number", h, "GET", "/?org=x", 1, 400, "org: expected one decimal number above 0"},
		{"an empty org", h, "GET", "/?org=", 1, 400, "org: expected one decimal number above 0"},
		{"org 0", h, "GET", "/?org=0", 1, 400, "org: expected one decimal number above 0"},
		{"another spelling", h, "GET", "/?org=07", 1, 400, "org: expected one decimal number above 0"},
		{"two orgs", h, "GET", "/?org=7&org=8", 1, 400, "org: expected one decimal number above 0"},
		{"an org that is too large", h, "GET", "/?org=9223372036854775808", 1, 400, "org: expected one decimal number above 0"},
		{"a query that cannot be read", h, "GET", "/?org=7;org=8", 1, 400, "org: expected one decimal number above 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := ask(c.h, c.method, c.path, c.user)
			assert.Equal(t, c.status, w.Code)
			assert.Contains(t, w.Body.String(), c.says)
			assert.Contains(t, w.Header().Get("Cache-Control"), "no-store")
			assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
			if c.status == http.StatusMethodNotAllowed {
				assert.Equal(t, "GET, HEAD", w.Header().Get("Allow"))
			}
		})
	}
}

// A user who is not listed, but admitted, may do what a Shadow lets pass.
func TestPermissionsOfAShadow(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), ShadowAdmit: true, OnDeny: rolegate.OnDeny{Off: true}})
	org := rolegate.InOrg(rolegate.PathOrg("org"))
	h := gate.Permissions(map[string]*rolegate.Policy{
		"admit": gate.AdmitPolicy(), "listed": gate.Policy(rolegate.Listed()),
		"shadow": gate.Policy(rolegate.AnyRole("teacher"), org, rolegate.Shadow()), "teacher": gate.Policy(rolegate.AnyRole("teacher"), org),
	})
	assert.Equal(t, `{"user_id":"","permissions":["admit","shadow"],"conditional":[],"orgs":[]}`+"\n", ask(h, "GET", "/", 99).Body.String())
}

func TestPermissionsMistakes(t *testing.T) {
	t.Parallel()
	gate, other := permissionsGate(t), permissionsGate(t)
	notMade := `rolegate: Permissions: this gate has not made the policy "x": make it with its Policy`
	mistakes := map[string]string{
		"an empty name": "rolegate: Permissions: a policy has an empty name: give the one that the front end asks for",
		"a nil policy":  notMade, "the zero policy": notMade, "another gate's policy": notMade,
	}
	for name, policies := range map[string]map[string]*rolegate.Policy{
		"an empty name":         {" ": gate.AdmitPolicy()},
		"a nil policy":          {"x": nil},
		"the zero policy":       {"x": {}},
		"another gate's policy": {"x": other.AdmitPolicy()},
	} {
		assert.PanicsWithValue(t, mistakes[name], func() { gate.Permissions(policies) }, name)
	}
	policies := map[string]*rolegate.Policy{"x": gate.AdmitPolicy()}
	h := gate.Permissions(policies)
	policies["y"] = gate.AdmitPolicy()
	assert.Contains(t, ask(h, "GET", "/", 3).Body.String(), `"permissions":["x"]`, "the map is the caller's own")
}

// What the handler says is what the guards do, for each user and organisation.
func TestPermissionsAgreeWithTheGuards(t *testing.T) {
	t.Parallel()
	gate := permissionsGate(t)
	checks := map[string][]rolegate.Option{
		"any":        {rolegate.AnyRole("teacher", "platform_admin")},
		"all":        {rolegate.AllRoles("teacher", "homeroom")},
		"none":       {rolegate.NoRole("suspended")},
		"either":     {rolegate.Either(rolegate.AnyRole("homeroom"), rolegate.NoRole("teacher"))},
		"pattern":    {rolegate.AnyRole("teacher.*")},
		"everywhere": {rolegate.AnyRole("teacher", "platform_admin"), rolegate.NoRole("suspended"), rolegate.Everywhere("platform_admin", "suspended")},
		"shadow":     {rolegate.AllRoles("teacher", "homeroom"), rolegate.Shadow()},
	}
	policies, mux := map[string]*rolegate.Policy{}, http.NewServeMux()
	for name, options := range checks {
		policies[name] = gate.Policy(options...)
		policies[name+"-in"] = gate.Policy(append(slices.Clone(options), rolegate.InOrg(rolegate.PathOrg("org")))...)
	}
	for name, p := range policies {
		mux.Handle("/orgs/{org}/"+name, p.Wrap(ok(gate)))
	}
	h := gate.Permissions(policies)
	permissionsOf := func(query string, user int64) (a permissionsAnswer) {
		require.NoError(t, json.Unmarshal(ask(h, "GET", "/"+query, user).Body.Bytes(), &a))
		return a
	}
	for _, user := range []int64{1, 2, 3, 4, big} {
		each := permissionsOf("", user)
		for _, org := range []int64{1, 7, 8, 9, 10, 99, big + 2} {
			one := permissionsOf(fmt.Sprintf("?org=%d", org), user)
			require.Len(t, one.Orgs, 1)
			assert.Equal(t, each.Permissions, one.Permissions)
			for _, o := range each.Orgs {
				if o.OrgID == one.Orgs[0].OrgID {
					assert.Equal(t, o, one.Orgs[0])
				}
			}
			for name := range policies {
				status := ask(mux, "GET", fmt.Sprintf("/orgs/%d/%s", org, name), user).Code
				assert.Equal(t, status == http.StatusOK, slices.Contains(one.Orgs[0].Permissions, name), "user %d, organisation %d, %s", user, org, name)
			}
		}
	}
}
