package rolegate_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

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
		{"that organisation", 7, rolegate.ReasonGranted, rolegate.ReasonGranted},
		{"another", 8, rolegate.ReasonRoleMissing, rolegate.ReasonRoleMissing},
		{"none named", 0, rolegate.ReasonGranted, rolegate.ReasonOrgUnreadable},
		{"negative", -1, rolegate.ReasonOrgUnreadable, rolegate.ReasonOrgUnreadable},
		{"the negative of one", -7, rolegate.ReasonOrgUnreadable, rolegate.ReasonOrgUnreadable},
		{"the same in its low 32 bits", 7 + 1<<32, rolegate.ReasonRoleMissing, rolegate.ReasonRoleMissing},
		{"the least", -1 << 63, rolegate.ReasonOrgUnreadable, rolegate.ReasonOrgUnreadable},
		{"the greatest", 1<<63 - 1, rolegate.ReasonRoleMissing, rolegate.ReasonRoleMissing},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			assert.Equal(t, c.free, free.Decide(t.Context(), rolegate.UserID(1), c.org).Reason)
			assert.Equal(t, c.bound, bound.Decide(t.Context(), rolegate.UserID(1), c.org).Reason)
		})
	}
	assert.Equal(t, rolegate.ReasonNotAuthorized, bound.Decide(t.Context(), rolegate.UserID(999), -1).Reason, "who is not listed is that first")
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
		{"an organisation of the user's", func(*http.Request) (int64, error) { return 7, nil }, 200, rolegate.ReasonGranted, 7},
		{"one of the user's, above 2^53", func(*http.Request) (int64, error) { return 1 << 62, nil }, 200, rolegate.ReasonGranted, 1 << 62},
		{"another", func(*http.Request) (int64, error) { return 8, nil }, 403, rolegate.ReasonRoleMissing, 0},
		{"0, although the list says 0 as well", func(*http.Request) (int64, error) { return 0, nil }, 403, rolegate.ReasonOrgUnreadable, 0},
		{"negative, although the list says so as well", func(*http.Request) (int64, error) { return -3, nil }, 403, rolegate.ReasonOrgUnreadable, 0},
		{"an error along with one of the user's", func(*http.Request) (int64, error) { return 7, errors.New("no path") }, 403, rolegate.ReasonOrgUnreadable, 0},
		{"a panic", func(*http.Request) (int64, error) { panic("no path") }, 403, rolegate.ReasonOrgUnreadable, 0},
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
					if c.reason == rolegate.ReasonRoleMissing {
						status = 200
					}
				}
				org := int64(0)
				h := gate.Require(options...)(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					org, _ = gate.OrgFrom(r.Context())
				}))
				assert.Equal(t, status, ask(h, "GET", "/", 1).Code)
				assert.Equal(t, 1, calls)
				if c.reason == rolegate.ReasonGranted {
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
		{"alone, yes", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, true, 1, rolegate.ReasonGranted},
		{"alone, no", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, false, 1, rolegate.ReasonConditionFailed},
		{"not listed", 999, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w} }, true, 0, rolegate.ReasonNotAuthorized},
		{"the role is missing", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{anyRole("teacher"), w} }, true, 0, rolegate.ReasonRoleMissing},
		{"the role is missing, given after it", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, anyRole("teacher")} }, true, 0, rolegate.ReasonRoleMissing},
		{"a role that none may have, given after it", 6, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, rolegate.NoRole("suspended")} }, true, 0, rolegate.ReasonRoleMissing},
		{"an Either of roles, given after it", 4, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{w, either(anyRole("teacher"), anyRole("homeroom"))}
		}, true, 0, rolegate.ReasonRoleMissing},
		{"the roles hold", 2, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{rolegate.AllRoles("teacher", "homeroom"), w}
		}, true, 1, rolegate.ReasonGranted},
		{"the roles hold, it does not", 2, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{rolegate.AllRoles("teacher", "homeroom"), w}
		}, false, 1, rolegate.ReasonConditionFailed},
		{"several organisations in which the roles hold", 3, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{anyRole("teacher", "homeroom"), w}
		}, false, 1, rolegate.ReasonConditionFailed},
		{"the organisation is unreadable", 1, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{w, rolesOrg(0)} }, true, 0, rolegate.ReasonOrgUnreadable},
		{"either the role", 1, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, false, 0, rolegate.ReasonGranted},
		{"or the condition", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, true, 1, rolegate.ReasonGranted},
		{"neither", 4, func(w rolegate.Check) []rolegate.Option { return []rolegate.Option{either(anyRole("teacher"), w)} }, false, 1, rolegate.ReasonRoleMissing},
		{"asked for twice", 3, func(w rolegate.Check) []rolegate.Option {
			return []rolegate.Option{either(anyRole("pupil"), w), anyRole("homeroom")}
		}, true, 1, rolegate.ReasonGranted},
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
			if c.reason != rolegate.ReasonGranted {
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
		{"alone", []rolegate.Option{yes}, rolegate.ReasonConditionFailed, false},
		{"with a role that holds", []rolegate.Option{yes, rolegate.AnyRole("teacher")}, rolegate.ReasonConditionFailed, false},
		{"with a role that does not", []rolegate.Option{yes, rolegate.AnyRole("pupil")}, rolegate.ReasonRoleMissing, false},
		{"beside a role that holds", []rolegate.Option{rolegate.Either(yes, rolegate.AnyRole("teacher"))}, rolegate.ReasonGranted, true},
		{"under a Shadow, which lets pass what it refuses", []rolegate.Option{yes, rolegate.Shadow()}, rolegate.ReasonConditionFailed, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			d := gate.Policy(c.options...).Decide(t.Context(), rolegate.UserID(1), 0)
			assert.Equal(t, c.reason, d.Reason)
			assert.Equal(t, c.allowed, d.Allowed())
			assert.Equal(t, c.reason != rolegate.ReasonGranted && c.allowed, d.Shadowed)
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
