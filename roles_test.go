package rolegate_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// rolesStaff is the list that the tables about roles are about.
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
		{"on the list", []rolegate.Check{rolegate.Listed()}, anywhere, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"on the list, also where the user has no role", []rolegate.Check{rolegate.Listed()}, 99, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
		{"on the list, and a role", []rolegate.Check{rolegate.Listed(), anyRole("homeroom")}, 7, []int64{2}},
		{"on the list or a role", []rolegate.Check{either(anyRole("homeroom"), rolegate.Listed())}, 7, []int64{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
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
		{"none, in any organisation", []rolegate.Check{noRole("suspended")}, anywhere, []int64{1, 2, 3, 4, 5, 7, 10, 11}},
		{"none there", []rolegate.Check{noRole("suspended")}, 7, []int64{1, 2, 3, 4, 5, 6, 7, 10, 11}},
		{"none of two", []rolegate.Check{noRole("suspended", "staff")}, anywhere, []int64{4, 10, 11}},
		{"two checks of what the user must not have", []rolegate.Check{noRole("suspended"), noRole("homeroom")}, anywhere, []int64{1, 4, 5, 7, 10, 11}},
		{"none of a role that others include", []rolegate.Check{noRole("staff")}, 8, []int64{1, 2, 3, 4, 5, 6, 7, 10, 11}},
		{"a role, and none elsewhere", []rolegate.Check{anyRole("teacher"), noRole("suspended")}, anywhere, []int64{1, 2, 3, 5, 7}},
		{"a role there, and none there", []rolegate.Check{anyRole("teacher"), noRole("suspended")}, 8, []int64{8}},
		{"a role and not that role", []rolegate.Check{anyRole("teacher"), noRole("teacher")}, anywhere, nil},
		{"either", []rolegate.Check{either(anyRole("headmaster"), allRoles("teacher", "homeroom"))}, anywhere, []int64{2, 7}},
		{"either with none", []rolegate.Check{either(anyRole("homeroom"), noRole("staff"))}, anywhere, []int64{2, 3, 4, 10, 11}},
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
				want, status := rolegate.ReasonRoleMissing, 403
				if slices.Contains(c.pass, user) {
					want, status = rolegate.ReasonGranted, 200
				}
				d := policy.Decide(t.Context(), rolegate.UserID(user), c.org)
				assert.Equal(t, want, d.Reason, "user %d", user)
				assert.Equal(t, want == rolegate.ReasonGranted, d.Allowed())
				assert.Equal(t, user, d.User.ID(), "also of a user who may not")
				assert.Equal(t, c.org, d.Org)
				assert.Equal(t, want, named.Decide(t.Context(), rolegate.UserID(user), c.org).Reason, "user %d, with InOrg", user)
				assert.Equal(t, status, ask(guarded, "GET", "/", user).Code, "user %d, by HTTP", user)
			}
			d := policy.Decide(t.Context(), rolegate.UserID(999), c.org)
			assert.Equal(t, rolegate.ReasonNotAuthorized, d.Reason, "an unlisted user passes nothing, NoRole included")
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
		{"role missing", false, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.ReasonRoleMissing, true},
		{"role missing, without", false, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.ReasonRoleMissing, false},
		{"role missing, only ShadowAdmit", true, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 1, rolegate.ReasonRoleMissing, false},
		{"a role too many", false, true, []rolegate.Option{rolegate.NoRole("teacher")}, 1, rolegate.ReasonRoleMissing, true},
		{"condition failed", false, true, []rolegate.Option{no}, 1, rolegate.ReasonConditionFailed, true},
		{"role held", false, true, []rolegate.Option{rolegate.AnyRole("teacher")}, 1, rolegate.ReasonGranted, true},
		{"not listed", false, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.ReasonNotAuthorized, false},
		{"not listed, ShadowAdmit and Shadow", true, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.ReasonNotAuthorized, true},
		{"not listed, ShadowAdmit only", true, false, []rolegate.Option{rolegate.AnyRole("pupil")}, 999, rolegate.ReasonNotAuthorized, false},
		{"no identity", true, true, []rolegate.Option{rolegate.AnyRole("pupil")}, 0, rolegate.ReasonNoIdentity, false},
		{"org unreadable", true, true, []rolegate.Option{rolegate.AnyRole("teacher"), rolesOrg(-1)}, 1, rolegate.ReasonOrgUnreadable, false},
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
				assert.Equal(t, c.reason != rolegate.ReasonNotAuthorized, known, "an unlisted user is nobody to the handler")
				if known {
					assert.Equal(t, c.user, u.ID())
				}
			})), "GET", "/", c.user)
			assert.Equal(t, c.pass, ran)
			assert.Equal(t, c.pass, w.Code == 200, w.Code)
			status := gate.Status()
			assert.EqualValues(t, 1, status.Decisions[c.reason])
			shadowed := c.pass && c.reason != rolegate.ReasonGranted
			assert.Equal(t, shadowed, status.Shadowed == 1)

			org := int64(0)
			if c.reason == rolegate.ReasonOrgUnreadable {
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
			Identify:    rolegate.ByText(rolegate.KindAccount, func(*http.Request) (string, error) { return "twin", nil }),
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

// A caller's slices stay the caller's.
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
	gate := openGate(t, rolegate.Config{Source: source, StartEmpty: true, Implies: rolesHierarchy})
	early := gate.Policy(rolegate.AnyRole("teacher", "novice"))
	unseen := gate.Policy(rolegate.NoRole("expelled"))
	assert.Equal(t, rolegate.ReasonNotReady, early.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
	release()
	require.NoError(t, gate.RefreshAll(t.Context()))
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

func TestEverywhere(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		record(1, in(1, "platform_admin")),
		record(2, in(1, "teacher")),
		record(3, in(1, "platform_admin"), in(7, "suspended")),
		record(4, in(1, "teacher.art")),
	)
	gate := openGate(t, rolegate.Config{Source: source, Implies: map[string][]string{"teacher.*": {"teacher"}}})
	everywhere := rolegate.Everywhere("platform_admin")
	for _, c := range []struct {
		name    string
		options []rolegate.Option
		user    int64
		want    rolegate.Reason
	}{
		{"in an organisation without a role", []rolegate.Option{rolegate.AnyRole("teacher", "platform_admin"), everywhere}, 1, rolegate.ReasonGranted},
		{"not without the option", []rolegate.Option{rolegate.AnyRole("teacher", "platform_admin")}, 1, rolegate.ReasonRoleMissing},
		{"not for another role", []rolegate.Option{rolegate.AnyRole("teacher", "platform_admin"), everywhere}, 2, rolegate.ReasonRoleMissing},
		{"it passes no check by itself", []rolegate.Option{rolegate.AnyRole("teacher"), everywhere}, 1, rolegate.ReasonRoleMissing},
		{"another role there still counts", []rolegate.Option{rolegate.AnyRole("platform_admin"), rolegate.NoRole("suspended"), everywhere}, 3, rolegate.ReasonRoleMissing},
		{"a pattern", []rolegate.Option{rolegate.AnyRole("teacher"), rolegate.Everywhere("teacher.*")}, 4, rolegate.ReasonGranted},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			policy := gate.Policy(append(c.options, rolesOrg(7))...)
			d := policy.Decide(t.Context(), rolegate.UserID(c.user), 7)
			assert.Equal(t, c.want, d.Reason)
			assert.Equal(t, c.want, policy.Explain(t.Context(), rolegate.UserID(c.user), 7).Decision.Reason)
			assert.Equal(t, c.want == rolegate.ReasonGranted, policy.Explain(t.Context(), rolegate.UserID(c.user), 7).Orgs[0].Passes())
		})
	}
	assert.Equal(t, "AnyRole(teacher) + Everywhere(a, b)", gate.Policy(rolegate.AnyRole("teacher"), rolegate.Everywhere("a", "b")).String())
	for _, codes := range [][]string{nil, {""}, {"a*"}, {"*"}} {
		assert.Panics(t, func() { rolegate.Everywhere(codes...) })
		assert.Panics(t, func() { rolegate.AnyRole(codes...) })
	}
}

// The hierarchy, patterns and Everywhere work together.
func TestEverywhereWithPatternsAndTheHierarchy(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{
		Source: rolegatetest.NewStatic(
			record(1, in(1, "platform_admin")),
			record(2, in(7, "teacher.math")),
			record(3, in(1, "teacher.math")),
			record(4, in(1, "platform.ops")),
			record(5, in(1, "platform_admin"), in(7, "pupil")),
		),
		Implies: map[string][]string{"teacher.*": {"staff"}, "platform_admin": {"staff", "teacher.*"}},
	})
	for _, c := range []struct {
		name    string
		options []rolegate.Option
		allowed []int64 // in organisation 7
	}{
		{"by what it includes", []rolegate.Option{rolegate.AnyRole("staff"), rolegate.Everywhere("platform_admin")}, []int64{1, 2, 5}},
		{"by a pattern that it includes", []rolegate.Option{rolegate.AllRoles("teacher.*", "staff"), rolegate.Everywhere("platform_admin")}, []int64{1, 2, 5}},
		{"by one code of that pattern", []rolegate.Option{rolegate.AnyRole("teacher.art"), rolegate.Everywhere("platform_admin")}, []int64{1, 5}},
		{"a pattern everywhere", []rolegate.Option{rolegate.AnyRole("staff", "platform.*"), rolegate.Everywhere("platform.*")}, []int64{2, 4}},
		{"what includes a role everywhere", []rolegate.Option{rolegate.AnyRole("staff"), rolegate.Everywhere("staff")}, []int64{1, 2, 3, 5}},
		{"a role that bars everywhere", []rolegate.Option{rolegate.NoRole("staff"), rolegate.Everywhere("staff")}, []int64{4}},
		{"without it", []rolegate.Option{rolegate.AnyRole("staff")}, []int64{2}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			policy := gate.Policy(append(c.options, rolesOrg(7))...)
			var allowed []int64
			for user := int64(1); user <= 5; user++ {
				if policy.Decide(t.Context(), rolegate.UserID(user), 7).Allowed() {
					allowed = append(allowed, user)
				}
			}
			assert.Equal(t, c.allowed, allowed)
		})
	}
}

// A role code of a pattern counts although nobody knew it when the check was made.
func TestPatternsCountForRolesToCome(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(record(1, in(1, "clerk")))
	gate := openGate(t, rolegate.Config{Source: source})
	policy, none := gate.Policy(rolegate.AnyRole("teacher.*")), gate.Policy(rolegate.NoRole("teacher.*"))
	assert.Equal(t, rolegate.ReasonRoleMissing, policy.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
	assert.Len(t, gate.Status().UnassignedRoles, 1)
	source.Set(record(1, in(1, "teacher.chemistry")))
	require.NoError(t, gate.RefreshAll(t.Context()))
	d := policy.Decide(t.Context(), rolegate.UserID(1), 0)
	assert.Equal(t, rolegate.ReasonGranted, d.Reason)
	assert.True(t, d.User.HasRole("teacher.*"))
	assert.False(t, d.User.HasRole("teacher"))
	assert.Equal(t, rolegate.ReasonRoleMissing, none.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
	assert.Empty(t, gate.Status().UnassignedRoles)
}
