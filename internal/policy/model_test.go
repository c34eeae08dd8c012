package policy_test

import (
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
	_ "github.com/rolegate/rolegate/internal/rapidseed"
)

// A rule is a check as the documentation words it, for a model that knows nothing
// of bits.
type rule struct {
	kind     string // any, all, none, condition, either
	codes    []string
	says     bool
	children []rule
	number   int // of a condition
}

func (r rule) compile(c *policy.Compiler) policy.Check {
	switch r.kind {
	case "any":
		return c.Any(r.codes...)
	case "all":
		return c.All(r.codes...)
	case "none":
		return c.None(r.codes...)
	case "condition":
		return c.Condition()
	}
	var children []policy.Check
	for _, child := range r.children {
		children = append(children, child.compile(c))
	}
	return c.Either(children...)
}

func (r rule) looksAtRoles() bool {
	return r.kind != "condition" && (r.kind != "either" || slices.ContainsFunc(r.children, rule.looksAtRoles))
}

// A person is a user as the model sees them.
type person struct {
	grants     []held
	dropped    bool
	everywhere []string
	named      int64
	implies    map[string][]string
}

// counts says whether a role counts as a code: by itself, by a pattern, or by what
// it includes, to any depth.
func (p person) counts(role, code string) bool {
	if index.Matches(code, role) {
		return true
	}
	for key, included := range p.implies {
		if index.Matches(key, role) && slices.ContainsFunc(included, func(i string) bool { return p.counts(i, code) }) {
			return true
		}
	}
	return false
}

func (p person) hasIn(org int64, code string) bool {
	return slices.ContainsFunc(p.grants, func(g held) bool {
		spreads := slices.ContainsFunc(p.everywhere, func(e string) bool { return p.counts(g.role, e) })
		return (g.org == org || spreads) && p.counts(g.role, code)
	})
}

func (p person) hasAnywhere(code string) bool {
	return slices.ContainsFunc(p.grants, func(g held) bool { return p.counts(g.role, code) })
}

func (p person) holds(r rule, org int64) bool {
	here := func(code string) bool { return p.hasIn(org, code) }
	switch r.kind {
	case "any":
		return slices.ContainsFunc(r.codes, here)
	case "all":
		return !slices.ContainsFunc(r.codes, func(code string) bool { return !here(code) })
	case "none":
		if p.named == 0 {
			here = p.hasAnywhere
		}
		return !p.dropped && !slices.ContainsFunc(r.codes, here)
	case "condition":
		return r.says
	}
	return slices.ContainsFunc(r.children, func(child rule) bool { return p.holds(child, org) })
}

func (p person) verdict(rules []rule) policy.Verdict {
	orgs := []int64{p.named}
	if p.named == 0 && len(p.grants) > 0 {
		orgs = nil
		for _, g := range p.grants {
			orgs = append(orgs, g.org)
		}
	}
	best := policy.RoleMissing
	for _, org := range orgs {
		fails := func(r rule) bool { return !p.holds(r, org) }
		switch {
		case !slices.ContainsFunc(rules, fails):
			best = max(best, policy.Passes)
		case !slices.ContainsFunc(rules, func(r rule) bool { return r.looksAtRoles() && fails(r) }):
			best = max(best, policy.ConditionFailed)
		}
	}
	return best
}

// Whatever is asked about whoever, the program says what the model says.
func TestProgramsAgreeWithTheModel(t *testing.T) {
	t.Parallel()
	roleCodes := []string{"admin", "teacher", "pupil", "teacher.math", "teacher.art", "suspended"}
	named := append([]string{"teacher.*"}, roleCodes...)
	codes := rapid.SliceOfNDistinct(rapid.SampledFrom(named), 1, 3, rapid.ID[string])
	rapid.Check(t, func(t *rapid.T) {
		implies := map[string][]string{}
		if rapid.Bool().Draw(t, "hierarchy") {
			implies = map[string][]string{"admin": {"teacher", "teacher.art"}, "teacher.*": {"teacher"}, "teacher": {"pupil"}}
		}
		var conditions int
		var draw func(depth int) rule
		draw = func(depth int) rule {
			kinds := []string{"any", "all", "none", "condition", "either"}
			if depth == 2 {
				kinds = kinds[:4]
			}
			r := rule{kind: rapid.SampledFrom(kinds).Draw(t, "kind")}
			switch r.kind {
			case "condition":
				r.says, r.number = rapid.Bool().Draw(t, "says"), conditions
				conditions++
			case "either":
				for range rapid.IntRange(1, 3).Draw(t, "children") {
					r.children = append(r.children, draw(depth+1))
				}
			default:
				r.codes = codes.Draw(t, "codes")
			}
			return r
		}
		var rules []rule
		for range rapid.IntRange(1, 3).Draw(t, "rules") {
			rules = append(rules, draw(0))
		}
		p := person{
			dropped: rapid.IntRange(0, 4).Draw(t, "dropped") == 0,
			named:   rapid.SampledFrom([]int64{0, 0, 1, 2, 9}).Draw(t, "org"),
			implies: implies,
		}
		if rapid.Bool().Draw(t, "everywhere") {
			p.everywhere = codes.Draw(t, "everywhere codes")
		}
		for range rapid.IntRange(0, 4).Draw(t, "grants") {
			p.grants = append(p.grants, held{rapid.Int64Range(1, 3).Draw(t, "grant org"), rapid.SampledFrom(roleCodes).Draw(t, "role")})
		}

		roles, faults := index.NewRoleSpace(implies)
		require.Empty(t, faults)
		c := policy.NewCompiler(roles)
		var compiled []policy.Check
		says := map[int]bool{}
		var note func(r rule)
		note = func(r rule) {
			if r.kind == "condition" {
				says[r.number] = r.says
			}
			for _, child := range r.children {
				note(child)
			}
		}
		for _, r := range rules {
			note(r)
			compiled = append(compiled, r.compile(c))
		}
		if len(p.everywhere) > 0 {
			c.Everywhere(p.everywhere...)
		}
		asked := map[int]bool{}
		program, who := c.Program(compiled), subject(t, roles, p.dropped, slices.Clone(p.grants)...)
		var orgs []int64
		program.EachOrg(who, func(i int) bool { return says[i] }, func(org int64, v policy.Verdict) {
			there := p
			there.named = org
			require.Equal(t, there.verdict(rules), v, "organisation %d", org)
			orgs = append(orgs, org)
		})
		var all []int64
		for _, g := range p.grants {
			all = append(all, g.org)
		}
		slices.Sort(all)
		require.Equal(t, slices.Compact(all), orgs)
		for i, v := range program.DependsEach(who) {
			require.Equal(t, program.Depends(who, orgs[i]), v, "organisation %d", orgs[i])
		}
		got, passed := program.Run(who, p.named, func(i int) bool {
			require.False(t, asked[i], "asked twice")
			asked[i] = true
			return says[i]
		})
		require.Equal(t, p.verdict(rules), got)
		switch depends := program.Depends(who, p.named); depends {
		case policy.Passes, policy.RoleMissing:
			require.Equal(t, depends == policy.Passes, got == policy.Passes, "whatever the conditions say")
		case policy.ConditionFailed:
			pass, _ := program.Run(who, p.named, func(int) bool { return true })
			fail, _ := program.Run(who, p.named, func(int) bool { return false })
			require.Equal(t, policy.Passes, pass)
			require.NotEqual(t, policy.Passes, fail)
		}
		for i, yes := range says {
			require.Equal(t, yes && asked[i], passed&(1<<i) != 0)
		}
	})
}
