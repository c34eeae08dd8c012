package policy_test

import (
	"encoding/binary"
	"fmt"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
)

// A held is one role in one organisation.
type held struct {
	org  int64
	role string
}

// subject makes a subject that has these grants, sorted by organisation.
func subject(t require.TestingT, roles *index.RoleSpace, dropped bool, grants ...held) policy.Subject {
	slices.SortStableFunc(grants, func(a, b held) int { return int(a.org - b.org) })
	var gs index.Grants
	for _, g := range grants {
		ids, _ := roles.Satisfying(g.role) // its own number comes first
		gs = binary.LittleEndian.AppendUint64(gs, uint64(g.org))
		gs = binary.LittleEndian.AppendUint16(gs, ids[0])
	}
	require.Equal(t, len(grants), gs.Len())
	return policy.Subject{Grants: gs, Roles: roles.Publish(), DroppedGrant: dropped}
}

func TestRun(t *testing.T) {
	t.Parallel()
	const (
		no   = policy.RoleMissing
		cond = policy.ConditionFailed
		yes  = policy.Passes
	)
	teacher1 := held{1, "teacher"}
	for _, tt := range []struct {
		name    string
		compile func(c *policy.Compiler) []policy.Check
		grants  []held
		dropped bool
		org     int64
		says    []bool // of the conditions
		want    policy.Verdict
		asked   []int
	}{
		{"any of two", func(c *policy.Compiler) []policy.Check { return checks(c.Any("admin", "teacher")) }, []held{teacher1}, false, 0, nil, yes, nil},
		{"any in another organisation", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher")) }, []held{teacher1}, false, 2, nil, no, nil},
		{"all in one organisation", func(c *policy.Compiler) []policy.Check { return checks(c.All("teacher", "homeroom")) }, []held{teacher1, {1, "homeroom"}}, false, 0, nil, yes, nil},
		{"all in two organisations", func(c *policy.Compiler) []policy.Check { return checks(c.All("teacher", "homeroom")) }, []held{teacher1, {2, "homeroom"}}, false, 0, nil, no, nil},
		{"two checks in two organisations", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher"), c.Any("homeroom")) }, []held{teacher1, {2, "homeroom"}}, false, 0, nil, no, nil},
		{"none, in another organisation", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher"), c.None("suspended")) }, []held{teacher1, {2, "suspended"}}, false, 0, nil, no, nil},
		{"none, in another organisation than the named", func(c *policy.Compiler) []policy.Check { return checks(c.None("suspended")) }, []held{teacher1, {2, "suspended"}}, false, 1, nil, yes, nil},
		{"none of a user without grants", func(c *policy.Compiler) []policy.Check { return checks(c.None("suspended")) }, nil, false, 0, nil, yes, nil},
		{"none of a user with a dropped grant", func(c *policy.Compiler) []policy.Check { return checks(c.None("suspended")) }, nil, true, 0, nil, no, nil},
		{"none in an either, with a dropped grant", func(c *policy.Compiler) []policy.Check { return checks(c.Either(c.None("suspended"))) }, []held{teacher1}, true, 1, nil, no, nil},
		{"any of a user with a dropped grant", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher")) }, []held{teacher1}, true, 0, nil, yes, nil},
		{"all of nothing", func(c *policy.Compiler) []policy.Check { return checks(c.All()) }, nil, false, 7, nil, yes, nil},
		{"a role that includes it", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher")) }, []held{{1, "principal"}}, false, 0, nil, yes, nil},
		{"a pattern", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher.*")) }, []held{{1, "teacher.math"}}, false, 0, nil, yes, nil},
		{"a pattern and its stem", func(c *policy.Compiler) []policy.Check { return checks(c.Any("teacher.*")) }, []held{teacher1}, false, 0, nil, no, nil},
		{"a pattern that is forbidden", func(c *policy.Compiler) []policy.Check { return checks(c.None("teacher.*")) }, []held{{1, "teacher.math"}}, false, 0, nil, no, nil},
		{"a role of a pattern that includes it", func(c *policy.Compiler) []policy.Check { return checks(c.Any("staff")) }, []held{{1, "clerk.x"}}, false, 0, nil, yes, nil},
		{"everywhere, in an organisation without a role", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("root")
			return checks(c.Any("root"))
		}, []held{{1, "root"}}, false, 9, nil, yes, nil},
		{"everywhere, said twice", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("root")
			c.Everywhere("principal")
			return checks(c.Any("root"), c.Any("principal"))
		}, []held{{1, "root"}, {2, "principal"}}, false, 9, nil, yes, nil},
		{"everywhere lets nobody pass by itself", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("root")
			return checks(c.Any("teacher"))
		}, []held{{1, "root"}}, false, 9, nil, no, nil},
		{"everywhere is not for other roles", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("root")
			return checks(c.Any("teacher"))
		}, []held{teacher1, {1, "root"}}, false, 9, nil, no, nil},
		{"everywhere counts with what it includes", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("principal")
			return checks(c.All("teacher", "homeroom"))
		}, []held{{1, "principal"}, {2, "homeroom"}}, false, 2, nil, yes, nil},
		{"everywhere counts for none too", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("suspended")
			return checks(c.None("suspended"))
		}, []held{{1, "suspended"}}, false, 2, nil, no, nil},
		{"everywhere without a named organisation", func(c *policy.Compiler) []policy.Check {
			c.Everywhere("root")
			return checks(c.All("root", "homeroom"))
		}, []held{{1, "root"}, {2, "homeroom"}}, false, 0, nil, yes, nil},
		{"a condition after the roles", func(c *policy.Compiler) []policy.Check { return checks(c.Condition(), c.Any("teacher")) }, []held{{1, "other"}}, false, 0, []bool{true}, no, nil},
		{"a condition that fails", func(c *policy.Compiler) []policy.Check { return checks(c.Condition(), c.Any("teacher")) }, []held{teacher1}, false, 0, []bool{false}, cond, []int{0}},
		{"a condition is asked once for all organisations", func(c *policy.Compiler) []policy.Check { return checks(c.Condition()) }, []held{teacher1, {2, "teacher"}}, false, 0, []bool{false}, cond, []int{0}},
		{"an either stops at the first", func(c *policy.Compiler) []policy.Check { return checks(c.Either(c.Condition(), c.Condition())) }, nil, false, 0, []bool{true, true}, yes, []int{0}},
		{"an either with roles is a role check", func(c *policy.Compiler) []policy.Check { return checks(c.Either(c.Any("admin"), c.Condition())) }, []held{teacher1}, false, 0, []bool{false}, no, []int{0}},
		{"an either with roles goes first", func(c *policy.Compiler) []policy.Check {
			return checks(c.Condition(), c.Either(c.Any("admin"), c.Condition()))
		}, []held{teacher1}, false, 0, []bool{true, false}, no, []int{1}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			roles, _ := index.NewRoleSpace(map[string][]string{"principal": {"teacher"}, "clerk.*": {"staff"}})
			c := policy.NewCompiler(roles)
			p := c.Program(tt.compile(c))
			var asked []int
			v, passed := p.Run(subject(t, roles, tt.dropped, tt.grants...), tt.org, func(i int) bool {
				asked = append(asked, i)
				return tt.says[i]
			})
			assert.Equal(t, tt.want, v)
			assert.Equal(t, tt.asked, asked)
			for i, says := range tt.says {
				assert.Equal(t, says && slices.Contains(asked, i), passed&(1<<i) != 0, "condition %d", i)
			}
		})
	}
}

func checks(all ...policy.Check) []policy.Check { return all }

func TestTooMuch(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(nil)
	c := policy.NewCompiler(roles)
	for i := range policy.MaxTerms {
		c.Any(fmt.Sprint("role", i))
		c.Condition()
	}
	assert.PanicsWithValue(t, "rolegate: a guard can ask for at most 64 roles: split it into several policies", func() { c.Any("more") })
	assert.PanicsWithValue(t, "rolegate: a guard can have at most 64 conditions", func() { c.Condition() })
}

func TestDeciding(t *testing.T) {
	t.Parallel()
	roles, _ := index.NewRoleSpace(map[string][]string{"principal": {"teacher"}})
	c := policy.NewCompiler(roles)
	anyOf, none, either := c.Any("teacher"), c.None("suspended"), c.Either(c.Any("root"))
	all, condition := c.All("teacher", "principal"), c.Condition()
	c.Everywhere("root")
	p := c.Program(checks(anyOf, none, either, all, condition))
	s := subject(t, roles, false, held{1, "principal"}, held{1, "root"}, held{2, "suspended"}, held{2, "teacher"})
	codes := func(e policy.Evaluation, check policy.Check, org int64) (codes []string) {
		for _, role := range e.Deciding(&check, org) {
			codes = append(codes, s.Roles.Code(role))
		}
		return codes
	}
	open, named := p.Begin(s, 0, nil), p.Begin(s, 1, nil)
	assert.Equal(t, []string{"principal"}, codes(open, anyOf, 1))
	assert.Equal(t, []string{"teacher"}, codes(open, anyOf, 2))
	assert.Equal(t, []string{"principal"}, codes(open, all, 1))
	assert.Empty(t, codes(open, condition, 1))
	assert.Equal(t, []string{"suspended"}, codes(open, none, 1), "no organisation was named: it looks in all")
	assert.Empty(t, codes(named, none, 1))
	assert.Empty(t, codes(open, either, 1), "its checks have them")
	assert.Equal(t, []string{"root"}, codes(open, either.Children()[0], 2), "it counts in every organisation")
}

func TestRunDoesNotAllocate(t *testing.T) {
	roles, _ := index.NewRoleSpace(map[string][]string{"clerk.*": {"staff"}})
	c := policy.NewCompiler(roles)
	c.Everywhere("root")
	p := c.Program(checks(c.Any("teacher.*", "staff"), c.None("suspended"), c.Either(c.Condition(), c.Any("admin"))))
	s := subject(t, roles, false, held{1, "teacher.math"}, held{2, "clerk.x"}, held{3, "root"})
	var calls int
	assert.Zero(t, testing.AllocsPerRun(100, func() {
		if v, _ := p.Run(s, 0, func(int) bool { calls++; return true }); v != policy.Passes {
			t.Error(v)
		}
	}))
	assert.Positive(t, calls)
}
