package rolegate_test

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// rolesStaff is the list that the tables of this file are about.
func rolesStaff() *rolegatetest.Static {
	return rolegatetest.NewStatic(
		record(1, in(7, "teacher")),
		record(2, in(7, "teacher"), in(7, "homeroom")),
		record(3, in(7, "teacher"), in(8, "homeroom")),
		record(4),
		record(5, in(7, "admin")),
		record(6, in(7, "teacher"), in(8, "suspended")),
		record(7, in(7, "headmaster")),
		record(8, in(7, "banned"), in(8, "teacher")),
		record(9, in(0, "admin"), in(-7, "admin"), in(7, "")),
		record(10, in(7, "Teacher"), in(8, "teacher "), in(9, "te\u0301acher")),
		record(11, in(7, "教师")),
	)
}

var rolesHierarchy = map[string][]string{
	"headmaster": {"admin"},
	"admin":      {"teacher", "clerk"},
	"teacher":    {"staff"},
	"banned":     {"suspended"},
}

func rolesOrg(org int64) rolegate.Option {
	return rolegate.InOrg(func(*http.Request) (int64, error) { return org, nil })
}

func TestChecks(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff(), Implies: rolesHierarchy})
	const anywhere = 0
	anyRole, allRoles, noRole, either := rolegate.AnyRole, rolegate.AllRoles, rolegate.NoRole, rolegate.Either
	for _, c := range []struct {
		name   string
		checks []rolegate.Check
		org    int64
		pass   []int64 // of the users 1 to 11
	}{
		{"one role", []rolegate.Check{anyRole("homeroom")}, anywhere, []int64{2, 3}},
		{"one role there", []rolegate.Check{anyRole("homeroom")}, 7, []int64{2}},
		{"one role where nobody has any", []rolegate.Check{anyRole("homeroom")}, 99, nil},
		{"one of two", []rolegate.Check{anyRole("homeroom", "headmaster")}, anywhere, []int64{2, 3, 7}},
		{"a role that nobody has", []rolegate.Check{anyRole("pupil")}, anywhere, nil},
		{"a role through the hierarchy", []rolegate.Check{anyRole("teacher")}, anywhere, []int64{1, 2, 3, 5, 6, 7, 8}},
		{"a role through all of the hierarchy", []rolegate.Check{anyRole("staff")}, 7, []int64{1, 2, 3, 5, 6, 7}},
		{"the hierarchy has one direction", []rolegate.Check{anyRole("admin")}, anywhere, []int64{5, 7}},
		{"case counts", []rolegate.Check{anyRole("Teacher")}, anywhere, []int64{10}},
		{"blanks count", []rolegate.Check{anyRole("teacher ")}, anywhere, []int64{10}},
		{"a composed letter is another one", []rolegate.Check{anyRole("t\u00e9acher")}, anywhere, nil},
		{"a decomposed letter as it was granted", []rolegate.Check{anyRole("te\u0301acher")}, 9, []int64{10}},
		{"Chinese", []rolegate.Check{anyRole("教师")}, 7, []int64{11}},
		{"all of one", []rolegate.Check{allRoles("homeroom")}, anywhere, []int64{2, 3}},
		{"all of two, in one same organisation", []rolegate.Check{allRoles("teacher", "homeroom")}, anywhere, []int64{2}},
		{"all of two there", []rolegate.Check{allRoles("teacher", "homeroom")}, 8, nil},
		{"all of one role twice", []rolegate.Check{allRoles("homeroom", "homeroom")}, anywhere, []int64{2, 3}},
		{"all of two through one grant", []rolegate.Check{allRoles("teacher", "clerk")}, anywhere, []int64{5, 7}},
		{"two checks, in one same organisation", []rolegate.Check{anyRole("teacher"), anyRole("homeroom")}, anywhere, []int64{2}},
		{"two checks, one of them in Either", []rolegate.Check{anyRole("teacher"), either(anyRole("homeroom"), anyRole("suspended"))}, anywhere, []int64{2}},
		{"none, in any organisation", []rolegate.Check{noRole("suspended")}, anywhere, []int64{1, 2, 3, 4, 5, 7, 9, 10, 11}},
		{"none there", []rolegate.Check{noRole("suspended")}, 7, []int64{1, 2, 3, 4, 5, 6, 7, 9, 10, 11}},
		{"none of two", []rolegate.Check{noRole("suspended", "staff")}, anywhere, []int64{4, 9, 10, 11}},
		{"none of a role that others include", []rolegate.Check{noRole("staff")}, 8, []int64{1, 2, 3, 4, 5, 6, 7, 9, 10, 11}},
		{"a role, and none elsewhere", []rolegate.Check{anyRole("teacher"), noRole("suspended")}, anywhere, []int64{1, 2, 3, 5, 7}},
		{"a role there, and none there", []rolegate.Check{anyRole("teacher"), noRole("suspended")}, 8, []int64{8}},
		{"a role and not that role", []rolegate.Check{anyRole("teacher"), noRole("teacher")}, anywhere, nil},
		{"either", []rolegate.Check{either(anyRole("headmaster"), allRoles("teacher", "homeroom"))}, anywhere, []int64{2, 7}},
		{"either with none", []rolegate.Check{either(anyRole("homeroom"), noRole("staff"))}, anywhere, []int64{2, 3, 4, 9, 10, 11}},
		{"either in either", []rolegate.Check{either(either(either(anyRole("教师"))), allRoles("headmaster"))}, anywhere, []int64{7, 11}},
		{"two Eithers, in one same organisation", []rolegate.Check{either(anyRole("teacher")), either(anyRole("homeroom"))}, anywhere, []int64{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			options := make([]rolegate.Option, len(c.checks))
			for i, check := range c.checks {
				options[i] = check
			}
			policy := gate.Policy(options...)
			guarded := policy.Wrap(ok(gate))
			named := policy
			if c.org != anywhere {
				named = gate.Policy(append(options, rolesOrg(c.org))...)
				guarded = named.Wrap(ok(gate))
			}
			for user := range int64(11) {
				user++
				want, status := rolegate.RoleMissing, 403
				if slices.Contains(c.pass, user) {
					want, status = rolegate.Granted, 200
				}
				d := policy.Decide(t.Context(), rolegate.UserID(user), c.org)
				assert.Equal(t, want, d.Reason, "user %d", user)
				assert.Equal(t, want == rolegate.Granted, d.Allowed())
				assert.Equal(t, user, d.User.ID(), "also of a user who may not")
				assert.Equal(t, c.org, d.Org)
				assert.Equal(t, want, named.Decide(t.Context(), rolegate.UserID(user), c.org).Reason, "user %d, with InOrg", user)
				assert.Equal(t, status, ask(guarded, "GET", "/", user).Code, "user %d, by HTTP", user)
			}
			d := policy.Decide(t.Context(), rolegate.UserID(999), c.org)
			assert.Equal(t, rolegate.NotAuthorized, d.Reason, "an unlisted user passes nothing, NoRole included")
			assert.Zero(t, d.User.ID())
		})
	}
}

// What the checks say, the methods of User say too.
func TestUserKnowsTheHierarchyAsTheChecksDo(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff(), Implies: rolesHierarchy})
	codes := []string{"teacher", "homeroom", "admin", "headmaster", "clerk", "staff", "suspended", "banned", "教师", "pupil", "Teacher", "teacher "}
	for user := int64(1); user <= 11; user++ {
		u := gate.Decide(t.Context(), rolegate.UserID(user)).User
		for _, code := range codes {
			check := gate.Policy(rolegate.AnyRole(code))
			assert.Equal(t, check.Decide(t.Context(), rolegate.UserID(user), 0).Allowed(), u.HasRole(code), "user %d %s", user, code)
			for _, org := range []int64{7, 8, 9, 99} {
				assert.Equal(t, check.Decide(t.Context(), rolegate.UserID(user), org).Allowed(), u.HasRoleIn(org, code), "user %d %s in %d", user, code, org)
			}
			assert.False(t, u.HasRoleIn(0, code))
			assert.False(t, u.HasRoleIn(-7, code))
		}
	}
}

func TestOrgOfDecide(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff(), Implies: rolesHierarchy})
	free := gate.Policy(rolegate.AnyRole("teacher"))
	bound := gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(func(*http.Request) (int64, error) {
		t.Error("there is no request to read")
		return 7, nil
	}))
	for _, c := range []struct {
		name        string
		org         int64
		free, bound rolegate.Reason
	}{
		{"that organisation", 7, rolegate.Granted, rolegate.Granted},
		{"another", 8, rolegate.RoleMissing, rolegate.RoleMissing},
		{"none named", 0, rolegate.Granted, rolegate.OrgUnreadable},
		{"negative", -1, rolegate.OrgUnreadable, rolegate.OrgUnreadable},
		{"the negative of one", -7, rolegate.OrgUnreadable, rolegate.OrgUnreadable},
		{"the same in its low 32 bits", 7 + 1<<32, rolegate.RoleMissing, rolegate.RoleMissing},
		{"the least", -1 << 63, rolegate.OrgUnreadable, rolegate.OrgUnreadable},
		{"the greatest", 1<<63 - 1, rolegate.RoleMissing, rolegate.RoleMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.free, free.Decide(t.Context(), rolegate.UserID(1), c.org).Reason)
			assert.Equal(t, c.bound, bound.Decide(t.Context(), rolegate.UserID(1), c.org).Reason)
		})
	}
	assert.Equal(t, rolegate.NotAuthorized, bound.Decide(t.Context(), rolegate.UserID(999), -1).Reason, "who is not listed is that first")
}

func TestInOrg(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{OnDeny: rolegate.OnDeny{Off: true}, Source: rolegatetest.NewStatic(
		record(1, in(7, "teacher"), in(0, "admin"), in(-3, "admin"), in(1<<62, "teacher")),
	)})
	for _, c := range []struct {
		name   string
		f      func(*http.Request) (int64, error)
		status int
		reason rolegate.Reason
		org    int64
	}{
		{"his", func(*http.Request) (int64, error) { return 7, nil }, 200, rolegate.Granted, 7},
		{"his, above 2^53", func(*http.Request) (int64, error) { return 1 << 62, nil }, 200, rolegate.Granted, 1 << 62},
		{"another", func(*http.Request) (int64, error) { return 8, nil }, 403, rolegate.RoleMissing, 0},
		{"0, although the list says 0 as well", func(*http.Request) (int64, error) { return 0, nil }, 403, rolegate.OrgUnreadable, 0},
		{"negative, although the list says so as well", func(*http.Request) (int64, error) { return -3, nil }, 403, rolegate.OrgUnreadable, 0},
		{"an error along with his", func(*http.Request) (int64, error) { return 7, errors.New("no path") }, 403, rolegate.OrgUnreadable, 0},
		{"a panic", func(*http.Request) (int64, error) { panic("no path") }, 403, rolegate.OrgUnreadable, 0},
	} {
		for _, shadow := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s/shadow=%t", c.name, shadow), func(t *testing.T) {
				t.Parallel()
				calls := 0
				options := []rolegate.Option{rolegate.AnyRole("teacher", "admin"), rolegate.InOrg(func(r *http.Request) (int64, error) {
					calls++
					return c.f(r)
				})}
				status := c.status
				if shadow {
					options = append(options, rolegate.Shadow())
					if c.reason == rolegate.RoleMissing {
						status = 200
					}
				}
				org := int64(0)
				h := gate.Require(options...)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					org, _ = gate.OrgFrom(r.Context())
				}))
				assert.Equal(t, status, ask(h, "GET", "/", 1).Code)
				assert.Equal(t, 1, calls)
				if c.reason == rolegate.Granted {
					assert.Equal(t, c.org, org)
				}
			})
		}
	}
}

// A guard reads the organisation once, also if it looks a second time whether
// the user has been granted a role there meanwhile: guard and handler are about
// one organisation, whatever the request says later.
func TestInOrgIsReadOnceForEachGuard(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
	gate := openGate(t, rolegate.Config{Source: source})
	reads := 0
	check := gate.Require(rolegate.AnyRole("homeroom"), rolegate.InOrg(func(*http.Request) (int64, error) {
		reads++
		return 7, nil
	}))
	source.Put(record(1, in(7, "homeroom")))
	assert.Equal(t, 200, ask(check(ok(gate)), "GET", "/", 1).Code, "just granted")
	assert.Equal(t, 1, reads)
}

func TestPathOrg(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"), in(1<<63-1, "teacher")))})
	check := gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("org")))
	for _, c := range []struct {
		value  string
		status int
	}{
		{"7", 200}, {"9223372036854775807", 200}, {"8", 403},
		{"07", 403}, {"+7", 403}, {"-7", 403}, {"0", 403}, {"7.0", 403}, {"7e0", 403}, {"0x7", 403}, {"7_0", 403},
		{" 7", 403}, {"7 ", 403}, {"7\n", 403}, {"7\x00", 403}, {"７", 403}, {"9223372036854775808", 403}, {"18446744073709551623", 403},
		{"", 403}, {"seven", 403},
	} {
		t.Run(strconv.Quote(c.value), func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.Header.Set("X-User-Id", "1")
			r.SetPathValue("org", c.value)
			w := httptest.NewRecorder()
			check(ok(gate)).ServeHTTP(w, r)
			assert.Equal(t, c.status, w.Code)
		})
	}
}

func TestWhere(t *testing.T) {
	t.Parallel()
	// One request is one decision: a refusal is not looked at again.
	gate := openGate(t, rolegate.Config{Source: rolesStaff(), Implies: rolesHierarchy, OnDeny: rolegate.OnDeny{Off: true}})
	anyRole, either := rolegate.AnyRole, rolegate.Either

	// Each case has one Where, given as the last argument's place holder.
	for _, c := range []struct {
		name    string
		user    int64
		options func(where rolegate.Check) []rolegate.Option
		says    bool
		calls   int
		reason  rolegate.Reason
	}{
		{"alone, yes", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, true, 1, rolegate.Granted},
		{"alone, no", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, false, 1, rolegate.ConditionFailed},
		{"not listed", 999, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, true, 0, rolegate.NotAuthorized},
		{"the role is missing", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{anyRole("teacher"), w} }, true, 0, rolegate.RoleMissing},
		{"the role is missing, given after it", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, anyRole("teacher")} }, true, 0, rolegate.RoleMissing},
		{"a role that none may have, given after it", 6, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, rolegate.NoRole("suspended")} }, true, 0, rolegate.RoleMissing},
		{"an Either of roles, given after it", 4, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{w, either(anyRole("teacher"), anyRole("homeroom"))}
		}, true, 0, rolegate.RoleMissing},
		{"the roles hold", 2, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{rolegate.AllRoles("teacher", "homeroom"), w}
		}, true, 1, rolegate.Granted},
		{"the roles hold, it does not", 2, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{rolegate.AllRoles("teacher", "homeroom"), w}
		}, false, 1, rolegate.ConditionFailed},
		{"several organisations in which the roles hold", 3, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{anyRole("teacher", "homeroom"), w}
		}, false, 1, rolegate.ConditionFailed},
		{"the organisation is unreadable", 1, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, rolesOrg(0)} }, true, 0, rolegate.OrgUnreadable},
		{"either the role", 1, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, false, 0, rolegate.Granted},
		{"or the condition", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, true, 1, rolegate.Granted},
		{"neither", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, false, 1, rolegate.RoleMissing},
		{"asked for twice", 3, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{either(anyRole("pupil"), w), anyRole("homeroom")}
		}, true, 1, rolegate.Granted},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			calls := 0
			where := rolegate.Where("mine", func(u rolegate.User, r *http.Request) bool {
				calls++
				assert.Equal(t, c.user, u.ID())
				assert.Equal(t, "/path", r.URL.Path)
				return c.says
			})
			policy := gate.Policy(c.options(where)...)
			w := ask(policy.Wrap(ok(gate)), "GET", "/path", c.user)
			assert.Equal(t, c.reason.Status(), w.Code)
			assert.Equal(t, c.calls, calls)
			if c.reason != rolegate.Granted {
				assert.NotZero(t, gate.Status().Decisions[c.reason])
			}

			calls = 0
			d := policy.Decide(t.Context(), rolegate.UserID(c.user), 7)
			assert.Zero(t, calls, "without a request it is not called")
			if c.calls > 0 {
				assert.False(t, d.Allowed(), "and does not hold")
			}
		})
	}
}

func TestWhereWithoutARequest(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	yes := rolegate.Where("yes", func(rolegate.User, *http.Request) bool { return true })
	for _, c := range []struct {
		name    string
		options []rolegate.Option
		reason  rolegate.Reason
		allowed bool
	}{
		{"alone", []rolegate.Option{yes}, rolegate.ConditionFailed, false},
		{"with a role that holds", []rolegate.Option{yes, rolegate.AnyRole("teacher")}, rolegate.ConditionFailed, false},
		{"with a role that does not", []rolegate.Option{yes, rolegate.AnyRole("pupil")}, rolegate.RoleMissing, false},
		{"beside a role that holds", []rolegate.Option{rolegate.Either(yes, rolegate.AnyRole("teacher"))}, rolegate.Granted, true},
		{"under a Shadow, which lets pass what it refuses", []rolegate.Option{yes, rolegate.Shadow()}, rolegate.ConditionFailed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := gate.Policy(c.options...).Decide(t.Context(), rolegate.UserID(1), 0)
			assert.Equal(t, c.reason, d.Reason)
			assert.Equal(t, c.allowed, d.Allowed())
			assert.Equal(t, c.reason != rolegate.Granted && c.allowed, d.Shadowed)
		})
	}
}

func TestAWhereThatPanicsDenies(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff(), ShadowAdmit: true})
	boom := rolegate.Where("boom", func(rolegate.User, *http.Request) bool { panic("alice@example.com") })
	yes := rolegate.Where("yes", func(rolegate.User, *http.Request) bool { return true })
	for name, options := range map[string][]rolegate.Option{
		"alone":                                     {boom},
		"beside one that holds":                     {yes, boom},
		"before a role that would hold":             {rolegate.Either(boom, rolegate.AnyRole("teacher"))},
		"before a condition that would hold":        {rolegate.Either(boom, yes)},
		"deep down":                                 {rolegate.Either(rolegate.Either(rolegate.AnyRole("pupil"), boom), yes)},
		"in the second organisation":                {rolegate.Either(rolegate.AllRoles("teacher", "pupil"), boom), rolegate.AnyRole("homeroom")},
		"under a Shadow":                            {boom, rolegate.Shadow()},
		"under a Shadow, before a role that holds":  {rolegate.Either(boom, rolegate.AnyRole("teacher")), rolegate.Shadow()},
		"under a Shadow, with a role that does not": {rolegate.Either(boom, rolegate.AnyRole("teacher")), rolegate.Shadow(), rolesOrg(8)},
		"whatever it panics with": {rolegate.Where("abort", func(rolegate.User, *http.Request) bool {
			panic(http.ErrAbortHandler)
		}), rolegate.Shadow()},
		"with nil": {rolegate.Where("nil", func(rolegate.User, *http.Request) bool {
			panic(nil)
		}), rolegate.Shadow()},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, 403, ask(gate.Require(options...)(never(t)), "GET", "/", 3).Code)
		})
	}
	t.Run("after a role that holds it is not run", func(t *testing.T) {
		t.Parallel()
		h := gate.Require(rolegate.Either(rolegate.AnyRole("teacher"), boom), rolesOrg(7))(ok(gate))
		assert.Equal(t, 200, ask(h, "GET", "/", 3).Code)
	})
}

func TestShadow(t *testing.T) {
	t.Parallel()
	no := rolegate.Where("no", func(rolegate.User, *http.Request) bool { return false })
	for _, c := range []struct {
		name          string
		admit, shadow bool // ShadowAdmit, Shadow
		options       []rolegate.Option
		user          int64
		reason        rolegate.Reason
		pass          bool
	}{
		{"role missing", false, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.RoleMissing, true},
		{"role missing, without", false, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.RoleMissing, false},
		{"role missing, only ShadowAdmit", true, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.RoleMissing, false},
		{"a role too many", false, true, []rolegate.Option{rolegate.NoRole("teacher")}, 1, rolegate.RoleMissing, true},
		{"condition failed", false, true, []rolegate.Option{no}, 1, rolegate.ConditionFailed, true},
		{"role held", false, true, []rolegate.Option{rolegate.AnyRole("teacher")}, 1, rolegate.Granted, true},
		{"not listed", false, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.NotAuthorized, false},
		{"not listed, ShadowAdmit and Shadow", true, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.NotAuthorized, true},
		{"not listed, ShadowAdmit only", true, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.NotAuthorized, false},
		{"no identity", true, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 0, rolegate.NoIdentity, false},
		{"org unreadable", true, true, []rolegate.Option{rolegate.AnyRole("teacher"), rolesOrg(-1)}, 1, rolegate.OrgUnreadable, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gate := openGate(t, rolegate.Config{Source: rolesStaff(), ShadowAdmit: c.admit})
			options := c.options
			if c.shadow {
				options = append(slices.Clone(options), rolegate.Shadow())
			}
			policy := gate.Policy(options...)
			ran := false
			w := ask(policy.Wrap(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				ran = true
				u, known := gate.UserFrom(r.Context())
				assert.Equal(t, c.reason != rolegate.NotAuthorized, known, "an unlisted user is nobody to the handler")
				if known {
					assert.Equal(t, c.user, u.ID())
				}
			})), "GET", "/", c.user)
			assert.Equal(t, c.pass, ran)
			assert.Equal(t, c.pass, w.Code == 200, w.Code)
			status := gate.Status()
			assert.EqualValues(t, 1, status.Decisions[c.reason])
			shadowed := c.pass && c.reason != rolegate.Granted
			assert.Equal(t, shadowed, status.Shadowed == 1)

			org := int64(0)
			if c.reason == rolegate.OrgUnreadable {
				org = -1
			}
			d := policy.Decide(t.Context(), rolegate.UserID(c.user), org)
			assert.Equal(t, c.reason, d.Reason)
			assert.Equal(t, c.pass, d.Allowed())
			assert.Equal(t, shadowed, d.Shadowed)
			want := c.reason.String()
			if shadowed {
				want += " (shadowed)"
			}
			assert.Equal(t, want, d.String())
		})
	}
	t.Run("Admit", func(t *testing.T) {
		t.Parallel()
		gate := openGate(t, rolegate.Config{Source: rolesStaff(), ShadowAdmit: true})
		assert.Equal(t, 200, ask(gate.Admit(ok(gate)), "GET", "/", 999).Code)
		assert.Equal(t, 401, ask(gate.Admit(never(t)), "GET", "/", 0).Code)
		d := gate.Decide(t.Context(), rolegate.UserID(999))
		assert.True(t, d.Allowed())
		assert.True(t, d.Shadowed)
	})
	t.Run("an ambiguous alias passes no shadow", func(t *testing.T) {
		t.Parallel()
		gate := openGate(t, rolegate.Config{
			Source:      rolegatetest.NewStatic(rolegate.Record{UserID: 1, Account: "twin"}, rolegate.Record{UserID: 2, Account: "twin"}),
			Identify:    rolegate.ByAccount(func(*http.Request) (string, error) { return "twin", nil }),
			ShadowAdmit: true,
		})
		assert.Equal(t, 403, ask(gate.Admit(never(t)), "GET", "/", 0).Code)
		assert.Equal(t, 403, ask(gate.Require(rolegate.NoRole("x"), rolegate.Shadow())(never(t)), "GET", "/", 0).Code)
	})
}

func TestMistakesPanicAtRegistration(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	yes := func(rolegate.User, *http.Request) bool { return true }
	many := make([]string, 65)
	for i := range many {
		many[i] = fmt.Sprintf("role%d", i)
	}
	conditions := make([]rolegate.Option, 65)
	for i := range conditions {
		conditions[i] = rolegate.Where(fmt.Sprintf("condition %d", i), yes)
	}
	type check func(...string) rolegate.Check
	for _, c := range []struct {
		name string
		f    func()
		says []string
	}{
		{"Require without an option", func() { gate.Require() }, []string{"Require", "AnyRole", "Admit"}},
		{"Policy without an option", func() { gate.Policy() }, []string{"Policy", "AnyRole"}},
		{"only modifiers", func() { gate.Require(rolesOrg(7), rolegate.Shadow()) }, []string{"without a check", "AnyRole"}},
		{"a nil option", func() { gate.Require(rolegate.AnyRole("teacher"), nil) }, []string{"option 2 is nil"}},
		{"a nil check", func() { gate.Require(rolegate.Check(nil)) }, []string{"option 1 is nil"}},
		{"InOrg twice", func() { gate.Require(rolegate.AnyRole("teacher"), rolesOrg(7), rolesOrg(8)) }, []string{"InOrg", "twice", "one organisation"}},
		{"InOrg of nil", func() { rolegate.InOrg(nil) }, []string{"InOrg", "nil"}},
		{"PathOrg of nothing", func() { rolegate.PathOrg("") }, []string{"PathOrg", "wildcard"}},
		{"PathOrg of a blank", func() { rolegate.PathOrg(" ") }, []string{"PathOrg", "wildcard"}},
		{"Where without a name", func() { rolegate.Where("", yes) }, []string{"Where", "name"}},
		{"Where without a func", func() { rolegate.Where("mine", nil) }, []string{`Where("mine")`, "nil"}},
		{"Either of nothing", func() { rolegate.Either() }, []string{"Either", "at least one"}},
		{"Either of nil", func() { rolegate.Either(rolegate.AnyRole("teacher"), nil) }, []string{"Either", "argument 2 is nil"}},
		{"AnyRole of nothing", func() { rolegate.AnyRole() }, []string{"AnyRole", "at least one role code"}},
		{"AllRoles of nothing", func() { rolegate.AllRoles() }, []string{"AllRoles", "at least one role code"}},
		{"NoRole of nothing", func() { rolegate.NoRole() }, []string{"NoRole", "at least one role code"}},
		{"an empty slice of codes", func() { rolegate.AnyRole([]string{}...) }, []string{"AnyRole", "at least one role code"}},
		{"an empty code", func() { rolegate.AnyRole("teacher", "") }, []string{"AnyRole", "role code 2 is empty"}},
		{"a blank code", func() { rolegate.AllRoles("\t ") }, []string{"AllRoles", "role code 1 is empty"}},
		{"an empty code in NoRole", func() { rolegate.NoRole("") }, []string{"NoRole", "role code 1 is empty"}},
		{"more than 64 roles at once", func() { gate.Require(rolegate.AllRoles(many...)) }, []string{"at most 64", "split"}},
		{"more than 64 checks", func() {
			var options []rolegate.Option
			for _, code := range many {
				options = append(options, rolegate.Either(rolegate.NoRole(code)))
			}
			gate.Policy(options...)
		}, []string{"at most 64"}},
		{"more than 64 conditions", func() { gate.Policy(conditions...) }, []string{"at most 64 conditions"}},
		{"Wrap of nil", func() { gate.Policy(rolegate.AnyRole("teacher")).Wrap(nil) }, []string{"handler", "nil"}},
		{"Admit of nil", func() { gate.Admit(nil) }, []string{"handler", "nil"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			defer func() {
				message := fmt.Sprint(recover())
				assert.True(t, strings.HasPrefix(message, "rolegate: "), message)
				for _, part := range c.says {
					assert.Contains(t, message, part)
				}
			}()
			c.f()
			t.Error("it did not panic")
		})
	}
	for name, f := range map[string]check{"AnyRole": rolegate.AnyRole, "NoRole": rolegate.NoRole} {
		t.Run(name+" of many codes is one thing to ask for", func(t *testing.T) {
			t.Parallel()
			assert.NotPanics(t, func() { gate.Require(f(many...)) })
		})
	}
	t.Run("64 are not too many", func(t *testing.T) {
		t.Parallel()
		assert.NotPanics(t, func() { gate.Require(rolegate.AllRoles(many[:64]...)) })
		assert.NotPanics(t, func() { gate.Policy(conditions[:64]...) })
	})
}

// A caller's slices stay his own.
func TestChecksCopyTheirCodes(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	codes := []string{"teacher"}
	alternatives := []rolegate.Check{rolegate.AnyRole(codes...)}
	check := rolegate.Either(alternatives...)
	codes[0] = "pupil"
	alternatives[0] = rolegate.NoRole("pupil")
	policy := gate.Policy(check)
	assert.True(t, policy.Decide(t.Context(), rolegate.UserID(1), 0).Allowed())
	assert.False(t, policy.Decide(t.Context(), rolegate.UserID(4), 0).Allowed())
	assert.Equal(t, "Either(AnyRole(teacher))", policy.String())
}

func TestPolicyString(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolesStaff()})
	yes := rolegate.Where("own class", func(rolegate.User, *http.Request) bool { return true })
	assert.Equal(t, "AnyRole(teacher, admin) + InOrg", gate.Policy(rolesOrg(7), rolegate.AnyRole("teacher", "admin")).String())
	assert.Equal(t, "Either(AllRoles(a, b), NoRole(c)) + Where(own class)",
		gate.Policy(rolegate.Either(rolegate.AllRoles("a", "b"), rolegate.NoRole("c")), yes).String())
	assert.Equal(t, "nothing", (*rolegate.Policy)(nil).String())
}

// A policy that was compiled before there was any list is right for every list
// to come, with whatever new codes.
func TestPoliciesOutliveLists(t *testing.T) {
	t.Parallel()
	source := rolesStaff()
	release := source.Block()
	gate := openGate(t, rolegate.Config{Source: source, Async: true, Implies: rolesHierarchy})
	early := gate.Policy(rolegate.AnyRole("teacher", "novice"))
	unseen := gate.Policy(rolegate.NoRole("expelled"))
	assert.Equal(t, rolegate.NotReady, early.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
	release()
	require.NoError(t, gate.Resync(t.Context()))
	assert.True(t, early.Decide(t.Context(), rolegate.UserID(5), 0).Allowed())
	assert.True(t, unseen.Decide(t.Context(), rolegate.UserID(5), 0).Allowed())

	source.Put(record(20, in(7, "brand new")), record(21, in(7, "novice")), record(22, in(7, "expelled")), record(23, in(3, "later still")))
	require.NoError(t, gate.Refresh(t.Context()))
	late := gate.Policy(rolegate.AnyRole("brand new"))
	for user, want := range map[int64][3]bool{20: {false, true, true}, 21: {true, true, false}, 22: {false, false, false}, 23: {false, true, false}} {
		for i, policy := range []*rolegate.Policy{early, unseen, late} {
			assert.Equal(t, want[i], policy.Decide(t.Context(), rolegate.UserID(user), 0).Allowed(), "user %d, %v", user, policy)
		}
	}
}

func TestManyRoleCodes(t *testing.T) {
	t.Parallel()
	const codes = 300
	records := make([]rolegate.Record, codes)
	implies := map[string][]string{}
	for i := range records {
		records[i] = record(int64(i+1), in(7, fmt.Sprintf("role%d", i)))
		if i%10 != 0 {
			implies[fmt.Sprintf("role%d", i)] = []string{fmt.Sprintf("role%d", i-1)} // ten in a row include each other
		}
	}
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(records...), Implies: implies})
	for _, i := range []int{0, 5, 63, 64, 65, 199, 200, 255, 256, 299} {
		code := fmt.Sprintf("role%d", i)
		any, none := gate.Policy(rolegate.AnyRole(code)), gate.Policy(rolegate.NoRole(code))
		for user := range codes {
			has := user/10 == i/10 && user >= i
			id := rolegate.UserID(int64(user + 1))
			assert.Equal(t, has, any.Decide(t.Context(), id, 7).Allowed(), "role%d counts as %s", user, code)
			assert.Equal(t, !has, none.Decide(t.Context(), id, 0).Allowed(), "role%d counts as %s", user, code)
		}
	}
	assert.Equal(t, codes, gate.Status().Roles)
}

// rolesSeed makes a failure repeatable: ROLEGATE_SEED=… go test -run …
func rolesSeed(t *testing.T) uint64 {
	t.Helper()
	text, given := os.LookupEnv("ROLEGATE_SEED")
	if !given {
		return rand.Uint64()
	}
	seed, err := strconv.ParseUint(text, 10, 64)
	require.NoError(t, err)
	return seed
}

// TestDecideAgainstANaiveOne compares the index and the compiled checks with
// plain maps and loops, over random lists that change, random hierarchies and
// random policies.
func TestDecideAgainstANaiveOne(t *testing.T) {
	t.Parallel()
	seed := rolesSeed(t)
	const worlds, perWorld = 40, 2500
	var cases atomic.Int64
	t.Cleanup(func() {
		if !t.Failed() {
			assert.EqualValues(t, worlds*perWorld, cases.Load())
		}
	})
	for n := range uint64(worlds) {
		t.Run(fmt.Sprintf("world=%d", n), func(t *testing.T) {
			t.Parallel()
			w := newRolesWorld(t, rand.New(rand.NewPCG(seed, n)), n)
			defer func() {
				if t.Failed() {
					t.Logf("to see it again: ROLEGATE_SEED=%d go test -run '%s'", seed, t.Name())
				}
			}()
			for range perWorld / 500 {
				w.change()
				w.morePolicies(8)
				for range 500 {
					cases.Add(1)
					if w.compare(); t.Failed() {
						return
					}
				}
			}
		})
	}
}

// A rolesRule is a check as a naive person writes it down.
type rolesRule struct {
	op    string // "any", "all", "none", "where", "either"
	codes []string
	says  bool // "where"
	kids  []rolesRule
}

// holds says whether a rule holds for somebody who has these roles here, and
// those anywhere at all.
func (r rolesRule) holds(here, everywhere map[string]bool, request bool) bool {
	has := func(code string) bool { return here[code] }
	switch r.op {
	case "any":
		return slices.ContainsFunc(r.codes, has)
	case "all":
		return !slices.ContainsFunc(r.codes, func(code string) bool { return !has(code) })
	case "none":
		return !slices.ContainsFunc(r.codes, func(code string) bool { return everywhere[code] })
	case "where":
		return r.says && request
	default:
		return slices.ContainsFunc(r.kids, func(kid rolesRule) bool { return kid.holds(here, everywhere, request) })
	}
}

// rolesPass says whether all rules hold: in that organisation or, if org is 0,
// in one same organisation, whichever, with NoRole looking at all of them.
func rolesPass(rules []rolesRule, grants []rolegate.Grant, implies map[string][]string, org int64, request bool) bool {
	in, everywhere := map[int64]map[string]bool{0: {}}, map[string]bool{}
	for _, g := range grants {
		if g.OrgID <= 0 || g.RoleCode == "" {
			continue
		}
		if in[g.OrgID] == nil {
			in[g.OrgID] = map[string]bool{}
		}
		for todo := []string{g.RoleCode}; len(todo) > 0; todo = append(todo[1:], implies[todo[0]]...) {
			in[g.OrgID][todo[0]], everywhere[todo[0]] = true, true
		}
	}
	if org > 0 {
		in, everywhere = map[int64]map[string]bool{org: in[org]}, in[org]
	}
	for _, here := range in {
		if !slices.ContainsFunc(rules, func(r rolesRule) bool { return !r.holds(here, everywhere, request) }) {
			return true
		}
	}
	return false
}

// asCheck is the same rule as the package knows it.
func (r rolesRule) asCheck(calls map[*rolesCalls]struct{}) rolegate.Check {
	switch r.op {
	case "any":
		return rolegate.AnyRole(r.codes...)
	case "all":
		return rolegate.AllRoles(r.codes...)
	case "none":
		return rolegate.NoRole(r.codes...)
	case "where":
		count := new(rolesCalls)
		calls[count] = struct{}{}
		return rolegate.Where(fmt.Sprint(r.says), func(rolegate.User, *http.Request) bool {
			count.n++
			return r.says
		})
	default:
		kids := make([]rolegate.Check, len(r.kids))
		for i, kid := range r.kids {
			kids[i] = kid.asCheck(calls)
		}
		return rolegate.Either(kids...)
	}
}

type rolesCalls struct{ n int }

type rolesPolicy struct {
	*rolegate.Policy
	rules         []rolesRule
	calls         map[*rolesCalls]struct{}
	inOrg, shadow bool
}

// A rolesWorld is one app with its marketplace, and what the gate ought to
// know of it.
type rolesWorld struct {
	t        *testing.T
	rnd      *rand.Rand
	size     int
	codes    []string
	orgs     []int64
	implies  map[string][]string
	source   *rolegatetest.Static
	gate     *rolegate.Gate
	policies []rolesPolicy

	listed map[int64]rolegate.Record // what the marketplace has
	known  map[int64]rolegate.Record // what the gate has pulled of it
	put    map[int64]bool            // what an incremental pull will see
}

func newRolesWorld(t *testing.T, rnd *rand.Rand, n uint64) *rolesWorld {
	w := &rolesWorld{
		t: t, rnd: rnd, source: rolegatetest.NewStatic(), implies: map[string][]string{},
		size:   []int{1, 5, 40, 300}[n%4],
		listed: map[int64]rolegate.Record{}, known: map[int64]rolegate.Record{}, put: map[int64]bool{},
	}
	if n%20 == 7 {
		w.size = 5000 // changes of which the most make a new base
	}
	for i := range []int{2, 6, 70, 250}[rnd.IntN(4)] {
		w.codes = append(w.codes, fmt.Sprintf("r%d", i))
	}
	for i := range 1 + rnd.IntN(4) {
		w.orgs = append(w.orgs, []int64{7, 8, 7 + 1<<32, 1<<63 - 1, 1}[i])
	}
	for range rnd.IntN(2 * min(len(w.codes), 10)) {
		// A higher number never includes a lower one: no cycle.
		low := rnd.IntN(len(w.codes))
		high := low + rnd.IntN(len(w.codes)-low)
		if low != high {
			w.implies[w.codes[low]] = append(w.implies[w.codes[low]], w.codes[high])
		}
	}
	if rnd.IntN(10) > 0 { // or of nobody
		w.putSome(w.size)
	}
	async := rnd.IntN(2) == 0
	var release func()
	if async {
		release = w.source.Block()
	}
	w.gate = openGate(t, rolegate.Config{
		Source: w.source, Async: async, Implies: w.implies,
		Aliases: []rolegate.Kind{rolegate.KindAccount},
		OnDeny:  rolegate.OnDeny{Off: true}, // one request is one decision
	})
	w.morePolicies(4) // some before there is a list
	if async {
		release()
	}
	w.resync()
	return w
}

func (w *rolesWorld) anyCode() string { return w.codes[w.rnd.IntN(len(w.codes))] }

func (w *rolesWorld) someCodes(most int) []string {
	codes := make([]string, 1+w.rnd.IntN(most))
	for i := range codes {
		codes[i] = w.anyCode()
	}
	return codes
}

func (w *rolesWorld) anyUser() int64 {
	id := int64(1 + w.rnd.IntN(w.size*5/4+1))
	if w.rnd.IntN(10) == 0 {
		return id + 1<<53 // ids that a float would mix up
	}
	return id
}

func (w *rolesWorld) anyAccount() string {
	if w.rnd.IntN(5) == 0 {
		return ""
	}
	return fmt.Sprintf("account%d", w.rnd.IntN(w.size*2))
}

func (w *rolesWorld) anyRecord(id int64) rolegate.Record {
	r := rolegate.Record{UserID: id, Account: w.anyAccount()}
	for range w.rnd.IntN(5) {
		g := rolegate.Grant{OrgID: w.orgs[w.rnd.IntN(len(w.orgs))], RoleCode: w.anyCode()}
		switch w.rnd.IntN(30) {
		case 0:
			g.OrgID = -g.OrgID
		case 1:
			g.OrgID = 0
		case 2:
			g.RoleCode = ""
		}
		r.Grants = append(r.Grants, g)
	}
	return r
}

// removeSome takes about n users off the list: fewer than would make a walk
// hesitate to believe it.
func (w *rolesWorld) removeSome(n int) {
	gone := 0
	for id := range w.known {
		if _, listed := w.listed[id]; !listed {
			gone++
		}
	}
	for _, id := range slices.Sorted(maps.Keys(w.listed)) {
		if w.rnd.IntN(w.size) >= n {
			continue
		}
		if _, known := w.known[id]; known {
			if gone++; gone >= min(len(w.known), max(10, len(w.known)/4)) {
				return
			}
		}
		delete(w.listed, id)
		delete(w.put, id)
		w.source.Remove(id)
	}
}

func (w *rolesWorld) putSome(n int) {
	var records []rolegate.Record
	bad := 0
	for range n {
		r := w.anyRecord(w.anyUser())
		if slices.ContainsFunc(records, func(other rolegate.Record) bool { return n < 100 && other.UserID == r.UserID }) {
			continue // several records of one user are for other tests
		}
		if bad < 3 && w.rnd.IntN(50) == 0 {
			bad++
			r.Bad = errors.New("unreadable")
		}
		records = append(records, r)
	}
	if n >= 100 {
		slices.SortStableFunc(records, func(a, b rolegate.Record) int { return int(min(1, max(-1, a.UserID-b.UserID))) })
		records = slices.CompactFunc(records, func(a, b rolegate.Record) bool { return a.UserID == b.UserID })
	}
	for _, r := range records {
		w.listed[r.UserID], w.put[r.UserID] = r, true
	}
	w.source.Put(records...)
}

func (w *rolesWorld) resync() {
	require.NoError(w.t, w.gate.Resync(w.t.Context()))
	w.known = map[int64]rolegate.Record{}
	for id := range w.listed {
		w.learn(id)
	}
	clear(w.put)
}

func (w *rolesWorld) refresh() {
	require.NoError(w.t, w.gate.Refresh(w.t.Context()))
	for id := range w.put {
		w.learn(id)
	}
	clear(w.put)
}

func (w *rolesWorld) learn(id int64) {
	w.known[id] = w.listed[id]
	if w.known[id].Bad != nil {
		delete(w.known, id)
	}
}

func (w *rolesWorld) change() {
	switch w.rnd.IntN(6) {
	case 0: // all of them new, and nothing pulled in between
		w.removeSome(w.size)
		w.putSome(w.size)
		w.resync()
	case 1:
		w.removeSome(1 + w.size/20)
		w.putSome(1)
		w.resync()
	case 2: // new codes, of which the policies so far know nothing
		for range 3 {
			w.codes = append(w.codes, fmt.Sprintf("r%d", len(w.codes)))
		}
		fallthrough
	default:
		w.removeSome(1)
		w.putSome(max(1, w.size*w.rnd.IntN(80)/100))
		w.refresh()
		w.putSome(1 + w.size/10)
		w.refresh()
	}
}

func (w *rolesWorld) anyRule(depth int) rolesRule {
	switch n := w.rnd.IntN(10); {
	case n < 3:
		return rolesRule{op: "any", codes: w.someCodes(4)}
	case n < 5:
		return rolesRule{op: "all", codes: w.someCodes(2)}
	case n < 7:
		return rolesRule{op: "none", codes: w.someCodes(3)}
	case n < 8 || depth == 0:
		return rolesRule{op: "where", says: w.rnd.IntN(2) == 0}
	default:
		r := rolesRule{op: "either"}
		for range 1 + w.rnd.IntN(3) {
			r.kids = append(r.kids, w.anyRule(depth-1))
		}
		return r
	}
}

func (w *rolesWorld) morePolicies(n int) {
	for range n {
		p := rolesPolicy{calls: map[*rolesCalls]struct{}{}, inOrg: w.rnd.IntN(3) == 0, shadow: w.rnd.IntN(5) == 0}
		var options []rolegate.Option
		for range 1 + w.rnd.IntN(3) {
			rule := w.anyRule(2)
			p.rules = append(p.rules, rule)
			options = append(options, rule.asCheck(p.calls))
		}
		if p.inOrg {
			options = append(options, rolegate.InOrg(func(r *http.Request) (int64, error) {
				return strconv.ParseInt(r.Header.Get("X-Org"), 10, 64)
			}))
		}
		if p.shadow {
			options = append(options, rolegate.Shadow())
		}
		w.rnd.Shuffle(len(options), func(i, j int) { options[i], options[j] = options[j], options[i] })
		p.Policy = w.gate.Policy(options...)
		w.policies = append(w.policies, p)
	}
}

// expect says why a request or decision ought to be answered as it is. A
// refusal by checks is RoleMissing here, whichever check it was.
func (w *rolesWorld) expect(p rolesPolicy, users []int64, org int64, named, request bool) rolegate.Reason {
	switch {
	case len(users) == 0:
		return rolegate.NotAuthorized
	case len(users) > 1:
		return rolegate.Ambiguous
	case org < 0 || named && org == 0:
		return rolegate.OrgUnreadable
	case rolesPass(p.rules, w.known[users[0]].Grants, w.implies, org, request):
		return rolegate.Granted
	default:
		return rolegate.RoleMissing
	}
}

// compare asks one question of both.
func (w *rolesWorld) compare() {
	p := w.policies[w.rnd.IntN(len(w.policies))]
	org := []int64{0, 0, -7, w.orgs[w.rnd.IntN(len(w.orgs))], w.orgs[w.rnd.IntN(len(w.orgs))], 99}[w.rnd.IntN(6)]
	var id rolegate.Identity
	var users []int64
	user := w.anyUser()
	account := w.known[user].Account
	if account == "" || w.rnd.IntN(4) > 0 {
		id = rolegate.UserID(user)
		if _, listed := w.known[user]; listed {
			users = []int64{user}
		}
	} else {
		id = rolegate.Account(account)
		for other, r := range w.known {
			if r.Account == account {
				users = append(users, other)
			}
		}
	}
	want := w.expect(p, users, org, p.inOrg, false)
	d := p.Decide(w.t.Context(), id, org)
	w.check(p, id, users, org, want, d.Reason, d.Allowed())

	if id.Kind() != rolegate.KindUserID || w.rnd.IntN(10) > 0 {
		return
	}
	// And the same by HTTP, where a Where is asked.
	if !p.inOrg {
		org = 0
	}
	for calls := range p.calls {
		calls.n = 0
	}
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("X-User-Id", strconv.FormatInt(user, 10))
	r.Header.Set("X-Org", strconv.FormatInt(org, 10))
	rec := httptest.NewRecorder()
	passed := false
	p.Wrap(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { passed = true })).ServeHTTP(rec, r)
	want = w.expect(p, users, org, p.inOrg, true)
	w.check(p, id, users, org, want, want, passed)
	assert.Equal(w.t, passed, rec.Code == 200)
	for calls := range p.calls {
		assert.LessOrEqual(w.t, calls.n, 1, "a Where runs once at most")
	}
}

func (w *rolesWorld) check(p rolesPolicy, id rolegate.Identity, users []int64, org int64, want, got rolegate.Reason, allowed bool) {
	if got == rolegate.ConditionFailed {
		got = rolegate.RoleMissing
	}
	mayPass := want == rolegate.Granted || p.shadow && want == rolegate.RoleMissing
	if got == want && allowed == mayPass {
		return
	}
	grants := []rolegate.Grant{}
	for _, user := range users {
		grants = append(grants, w.known[user].Grants...)
	}
	w.t.Errorf("%v for %v (users %v, %v) in %d, hierarchy %v: got %v, allowed %t; want %v, allowed %t",
		p.Policy, id, users, grants, org, w.implies, got, allowed, want, mayPass)
}
