// Package policy compiles the checks of a guard to bits and evaluates them.
//
// A term is one bit: "the user has a role that counts as this one" (or as one of
// these). A [Program] knows for each role which terms it fulfils; an evaluation
// ORs them over the user's grants and compares with what is needed. Only an
// either and a condition need more than that.
package policy

import (
	"fmt"
	"slices"

	"github.com/rolegate/rolegate/internal/index"
)

// MaxTerms is how many terms, and how many conditions, a program can have. A
// guard that asks for more than 64 things is not one that anybody can read.
const MaxTerms = 64

type op uint8

const (
	opAny op = iota
	opAll
	opNone
	opCondition
	opEither
)

// A Check is one check of a program. The compiler that made it is the only one
// that may be given it.
type Check struct {
	op        op
	terms     uint64  // any, all, none
	condition int     // which condition
	children  []Check // either
	roles     bool    // whether a role has a say in it
}

// Children returns the checks of an either.
func (c *Check) Children() []Check { return c.children }

// A Compiler collects what the checks of one program share. It panics when
// there are too many terms or conditions.
type Compiler struct {
	roles      *index.RoleSpace
	terms      int
	conditions int
	byRole     []uint64
	patterns   []pattern
	everywhere uint64
}

// A pattern is a family of role codes, and the terms that each of them fulfils.
type pattern struct {
	code  string
	terms uint64
}

// NewCompiler compiles for lists whose role codes are numbered by roles.
func NewCompiler(roles *index.RoleSpace) *Compiler { return &Compiler{roles: roles} }

// Any makes a check for at least one of the roles.
func (c *Compiler) Any(codes ...string) Check {
	return Check{op: opAny, roles: true, terms: c.term(codes...)}
}

// None makes a check for none of the roles.
func (c *Compiler) None(codes ...string) Check {
	return Check{op: opNone, roles: true, terms: c.term(codes...)}
}

// All makes a check for all of the roles in one organisation. For no roles it
// always holds.
func (c *Compiler) All(codes ...string) Check {
	check := Check{op: opAll, roles: true}
	for _, code := range codes {
		check.terms |= c.term(code)
	}
	return check
}

// Condition makes a check that the caller of an evaluation is asked about, by
// its number: they count up from 0.
func (c *Compiler) Condition() Check {
	if c.conditions == MaxTerms {
		panic(fmt.Sprintf("rolegate: a guard can have at most %d conditions", MaxTerms))
	}
	c.conditions++
	return Check{op: opCondition, condition: c.conditions - 1}
}

// Either makes a check for at least one of the checks, in this order.
func (c *Compiler) Either(checks ...Check) Check {
	return Check{op: opEither, children: checks, roles: slices.ContainsFunc(checks, func(c Check) bool { return c.roles })}
}

// Everywhere makes the roles count in every organisation, wherever a user has them.
func (c *Compiler) Everywhere(codes ...string) { c.everywhere |= c.term(codes...) }

// term adds a term that every role which counts as one of the codes fulfils.
func (c *Compiler) term(codes ...string) uint64 {
	if c.terms == MaxTerms {
		panic(fmt.Sprintf("rolegate: a guard can ask for at most %d roles: split it into several policies", MaxTerms))
	}
	bit := uint64(1) << c.terms
	c.terms++
	for _, code := range codes {
		c.roles.Name(code)
		roles, patterns := c.roles.Satisfying(code)
		for _, role := range roles {
			for int(role) >= len(c.byRole) {
				c.byRole = append(c.byRole, 0)
			}
			c.byRole[role] |= bit
		}
		for _, code := range patterns {
			c.patterns = append(c.patterns, pattern{code, bit})
		}
	}
	return bit
}

// A Program is what a guard asks for, compiled. It is immutable.
type Program struct {
	terms        []uint64 // by role number
	patterns     []pattern
	everywhere   uint64  // terms whose roles count in every organisation
	need, forbid uint64  // terms of the checks that stand by themselves
	rest         []Check // the others, those that look at roles first
	none         bool    // whether there is a none, which looks at all organisations if none is named
}

// Program makes a program of checks that must all hold.
func (c *Compiler) Program(checks []Check) *Program {
	p := &Program{terms: c.byRole, patterns: c.patterns, everywhere: c.everywhere}
	for _, check := range checks {
		p.none = p.none || check.hasNone()
		switch check.op {
		case opAny, opAll:
			p.need |= check.terms
		case opNone:
			p.forbid |= check.terms
		default:
			p.rest = append(p.rest, check)
		}
	}
	// Conditions of the app may be slow: what roles decide is asked first.
	slices.SortStableFunc(p.rest, func(a, b Check) int { return rank(a) - rank(b) })
	return p
}

func (c *Check) hasNone() bool {
	return c.op == opNone || slices.ContainsFunc(c.children, func(c Check) bool { return c.hasNone() })
}

func rank(c Check) int {
	if c.roles {
		return 0
	}
	return 1
}
