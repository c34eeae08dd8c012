package rolegate

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/rolegate/rolegate/internal/ids"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/policy"
	"github.com/rolegate/rolegate/internal/request"
)

// This file is what a route can ask for. internal/policy compiles and evaluates
// it.

// An Option is one argument of [Gate.Require] and [Gate.Policy]: a [Check], or
// a modifier such as [InOrg] and [Shadow].
type Option interface {
	// addTo adds the option to a policy that is being made.
	addTo(*policySpec)
}

// An option is one that is no Check.
type option func(*policySpec)

func (o option) addTo(s *policySpec) { o(s) }

// A Check is something that must hold for a user to pass: [AnyRole],
// [AllRoles], [NoRole], [Listed], [Where] or [Either]. A nil Check is a mistake
// that panics when the route is registered.
type Check interface {
	Option
	// name is how logs and route listings write it.
	name() string
	// compile turns it into a check of the program that c makes.
	compile(c *compiler) policy.Check
}

// AnyRole holds for a user who has at least one of these roles, in the
// organisation that is looked at: see [Gate.Require]. A role counts as every
// role that Config.Implies says it includes. Codes compare byte for byte.
// A code that ends in .* (or :*, /*, -*, _*) is a pattern: teacher.* stands for
// every role code that begins with "teacher.", those to come too.
//
// It panics if there is no code, or an empty one.
func AnyRole(codes ...string) Check { return newRoleCheck(opAny, codes) }

// AllRoles holds for a user who has every one of these roles, all in one same
// organisation. It panics if there is no code, or an empty one.
func AllRoles(codes ...string) Check { return newRoleCheck(opAll, codes) }

// NoRole holds for a user who has none of these roles, nor one that includes
// them: with [InOrg] in that organisation, without it in any. It panics if
// there is no code, or an empty one. It fails for a user with a grant that was
// dropped, because it had no organisation above 0 or no role code: that may have
// been one of these.
//
// A role that the marketplace takes away shows only at the next full refresh, and
// one that it adds at the next incremental refresh: so does what NoRole says.
func NoRole(codes ...string) Check { return newRoleCheck(opNone, codes) }

// Listed holds for every user who is on the list. It is for a [Policy] that
// asks for nothing more, as [Gate.Admit] does for a route. Beside an [InOrg] it
// holds in every organisation, also where the user has no role.
func Listed() Check { return listedCheck{} }

// Where holds when f says so. It is for what only the app knows: whose
// document it is, whether the term has begun. The name is for logs and route
// listings.
//
// f runs in the request's goroutine, at most once for each decision, and after
// everything beside it that only roles decide; within an [Either], in the order
// given. A request is decided again, and f runs again, if the gate has pulled
// meanwhile ([OnDeny], [MaxAge]). It gets the user of the decision, who is
// valid for the request, and must not change the request. A panic in it is
// recovered and logged, and denies. In a [Policy] that decides without a
// request it denies without being called.
func Where(name string, f func(User, *http.Request) bool) Check {
	if isBlank(name) {
		panic("rolegate: Where: give the condition a name: operators read it in the log")
	}
	if f == nil {
		panic(fmt.Sprintf("rolegate: Where(%q): the func is nil", name))
	}
	return whereCheck{label: name, f: f}
}

// Either holds when at least one of the checks holds, tried in this order. It
// panics if there is none, or a nil one.
func Either(checks ...Check) Check {
	if len(checks) == 0 {
		panic("rolegate: Either: give at least one check")
	}
	for i, c := range checks {
		if c == nil {
			panic(fmt.Sprintf("rolegate: Either: argument %d is nil", i+1))
		}
	}
	return eitherCheck{checks: slices.Clone(checks)}
}

// InOrg names the organisation in which every role of the guard is looked for:
// f reads its id from the request. [PathOrg] is the usual f. An error, and an
// id that is not above 0, deny the request with [ReasonOrgUnreadable]. The handler
// gets the id that was checked from [Gate.OrgFrom], so that guard and handler
// cannot differ.
//
// f runs in the request's goroutine, once for each guard; a panic in it is
// recovered and logged, and denies. An error with a method RetryAfter is answered
// 503, as for an [Identifier]. The text of an error is logged as it is:
// keep personal data out of it.
func InOrg(f func(*http.Request) (int64, error)) Option {
	if f == nil {
		panic("rolegate: InOrg: the func is nil")
	}
	return option(func(s *policySpec) {
		if s.org != nil {
			panic("rolegate: InOrg is given twice: every role of a guard is looked for in one organisation")
		}
		s.org = f
	})
}

// PathOrg reads the organisation from a wildcard of the route's pattern, such
// as orgID in /orgs/{orgID}/reports, with chi, with http.ServeMux, and with a
// framework by the guards of its module. Only canonical decimals above 0 count:
// neither 007 nor +7 is organisation 7. If chi or a framework has found two
// wildcards of that name, as below /orgs/{id} mounts /members/{id}, neither counts:
// name them apart.
//
// chi knows path values only behind the routing: use r.With, not r.Use.
func PathOrg(name string) func(*http.Request) (int64, error) {
	if isBlank(name) {
		panic("rolegate: PathOrg: give the name of a wildcard, such as orgID in /orgs/{orgID}")
	}
	return func(r *http.Request) (int64, error) {
		if request.IsTwice(r, name) {
			return 0, fmt.Errorf("the route has two wildcards named %q, one of a router that is mounted below the other: name them apart", name)
		}
		text := r.PathValue(name)
		if text == "" {
			if strings.ContainsAny(r.Pattern, "{:") && !strings.HasSuffix(r.Pattern, "*") { // routed, to its end
				return 0, fmt.Errorf("the route %s has no path value %q, or two: give PathOrg the name of one of its wildcards", r.Pattern, name)
			}
			known := ""
			if others := request.Wildcards(r); len(others) > 0 {
				known = ", but " + strings.Join(others, ", ")
			}
			return 0, fmt.Errorf("the route has no path value %q here%s: check the wildcard's name, and guard behind the routing, %s", name, known, behindRouting)
		}
		id, err := ids.Parse(text)
		if err != nil {
			return 0, fmt.Errorf("path value %q: %w", name, err)
		}
		return id, nil
	}
}

// behindRouting says for each router how a guard gets to know the path values.
const behindRouting = "with chi by r.With(…) or on the handler and not by r.Use(…), with http.ServeMux on the handler, " +
	"with gin by gingate, with echo by echogate in e.Use(…) and not in e.Pre(…), with kratos by kratosgate and not by http.Filter(…), " +
	"with go-zero by zerogate, with hertz by hertzgate; gRPC has no path: give grpcgate.Guard an Org"

// Shadow makes a guard decide, count and log as ever, but let pass what it
// would have refused for a missing role or a condition that does not hold. It
// is for trying a rule on live traffic before it bites. Everything else is
// refused all the same: Shadow opens no route to users who are not listed.
func Shadow() Option { return option(func(s *policySpec) { s.shadow = true }) }

// A policySpec collects the options of one policy.
type policySpec struct {
	checks      []Check
	everywhere  []string // roles that count in every organisation
	org         func(*http.Request) (int64, error)
	shadow      bool
	deny        DenyFunc      // nil: Config.Deny
	maxAge      time.Duration // 0: any age
	endOnRevoke bool
}

func newPolicySpec(caller string, options []Option) policySpec {
	var s policySpec
	for i, o := range options {
		if o == nil {
			panic(fmt.Sprintf("rolegate: %s: option %d is nil", caller, i+1))
		}
		o.addTo(&s)
	}
	if len(s.checks) == 0 {
		panic(fmt.Sprintf("rolegate: %s without a check lets every listed user pass: give it AnyRole, AllRoles, NoRole, Where or Either, or use Admit or Listed", caller))
	}
	if s.shadow && s.maxAge != 0 {
		panic(fmt.Sprintf("rolegate: %s with Shadow and MaxAge: a shadow must not make requests wait; leave MaxAge out until the rule bites", caller))
	}
	return s
}

// String names all checks, as logs and route listings show them.
func (s policySpec) String() string {
	names := make([]string, len(s.checks))
	for i, c := range s.checks {
		names[i] = c.name()
	}
	if s.org != nil {
		names = append(names, "InOrg")
	}
	if len(s.everywhere) > 0 {
		names = append(names, "Everywhere("+strings.Join(s.everywhere, ", ")+")")
	}
	if s.maxAge != 0 {
		names = append(names, "MaxAge("+s.maxAge.String()+")")
	}
	return strings.Join(names, " + ")
}

// A compiler collects what the checks of one policy share.
type compiler struct {
	policy.Compiler
	wheres []whereCheck
}

// An op is which of the role checks it is.
type op string

const (
	opAny  op = "AnyRole"
	opAll  op = "AllRoles"
	opNone op = "NoRole"
)

type roleCheck struct {
	op    op
	codes []string
}

func newRoleCheck(o op, codes []string) Check {
	return roleCheck{op: o, codes: checkedCodes(string(o), codes)}
}

// checkedCodes returns a copy of the codes that were given to caller. A mistake
// in them panics.
func checkedCodes(caller string, codes []string) []string {
	if len(codes) == 0 {
		panic(fmt.Sprintf("rolegate: %s: give at least one role code", caller))
	}
	for i, code := range codes {
		if isBlank(code) {
			panic(fmt.Sprintf("rolegate: %s: role code %d is empty", caller, i+1))
		}
		if strings.Contains(code, "*") && !index.IsPattern(code) {
			panic(fmt.Sprintf("rolegate: %s: role code %q: an asterisk stands at the end of a pattern and behind one of . : / - _, such as teacher.*", caller, code))
		}
	}
	return slices.Clone(codes)
}

func (c roleCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c roleCheck) name() string {
	return string(c.op) + "(" + strings.Join(c.codes, ", ") + ")"
}

func (c roleCheck) compile(to *compiler) policy.Check {
	switch c.op {
	case opAll:
		return to.All(c.codes...)
	case opNone:
		return to.None(c.codes...)
	default:
		return to.Any(c.codes...)
	}
}

type listedCheck struct{}

func (c listedCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (listedCheck) name() string { return "Listed" }

// compile asks for all of no roles: who is evaluated is listed.
func (listedCheck) compile(to *compiler) policy.Check { return to.All() }

type whereCheck struct {
	label string
	f     func(User, *http.Request) bool
}

func (c whereCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c whereCheck) name() string { return "Where(" + c.label + ")" }

func (c whereCheck) compile(to *compiler) policy.Check {
	to.wheres = append(to.wheres, c)
	return to.Condition()
}

type eitherCheck struct{ checks []Check }

func (c eitherCheck) addTo(s *policySpec) { s.checks = append(s.checks, c) }

func (c eitherCheck) name() string {
	names := make([]string, len(c.checks))
	for i, check := range c.checks {
		names[i] = check.name()
	}
	return "Either(" + strings.Join(names, ", ") + ")"
}

func (c eitherCheck) compile(to *compiler) policy.Check {
	checks := make([]policy.Check, len(c.checks))
	for i, check := range c.checks {
		checks[i] = check.compile(to)
	}
	return to.Either(checks...)
}

// compile turns a spec into a policy of the gate.
func (s policySpec) compile(g *Gate, roles *index.RoleSpace) *Policy {
	c := &compiler{Compiler: *policy.NewCompiler(roles)}
	p := &Policy{gate: g, store: g.state(), observer: g.observedBy(), name: s.String(), org: s.org, shadow: s.shadow, deny: s.deny, maxAge: s.maxAge, endOnRevoke: s.endOnRevoke}
	checks := make([]policy.Check, len(s.checks))
	for i, check := range s.checks {
		checks[i] = check.compile(c)
		p.checks = append(p.checks, compiledCheck{check, checks[i]})
	}
	if len(s.everywhere) > 0 {
		c.Everywhere(s.everywhere...)
	}
	p.program, p.wheres = c.Program(checks), c.wheres
	return p
}

// Everywhere makes roles count in every organisation: a user who has one of them
// in any organisation is looked at as if they had it in the one that the guard
// looks at, with all that it includes by Config.Implies. It is for administrators
// of the whole platform. It lets nobody pass by itself: name the role in a check,
// or have it include one that is named.
//
//	gate.Require(AnyRole("teacher", "platform_admin"), InOrg(PathOrg("orgID")), Everywhere("platform_admin"))
//
// It panics if there is no code, or an empty one.
func Everywhere(codes ...string) Option {
	codes = checkedCodes("Everywhere", codes)
	return option(func(s *policySpec) { s.everywhere = append(s.everywhere, codes...) })
}

// DenyWith gives a guard a shape of its own for what a refused client sees, in
// place of Config.Deny: pages that send browsers to a login page beside an
// interface that does not. It panics if f is nil.
func DenyWith(f DenyFunc) Option {
	if f == nil {
		panic("rolegate: DenyWith: the func is nil")
	}
	return option(func(s *policySpec) {
		if s.deny != nil {
			panic("rolegate: DenyWith is given twice: a refusal has one shape")
		}
		s.deny = f
	})
}

// EndOnRevoke makes a guard cancel the request's context when its user loses
// the access with which they were admitted: for WebSockets, event streams and
// long polls. It does so as soon as the refresh that shows it is published; the cause
// is [ErrRevoked]. It also ends when the list expires and when the gate is
// closed; and when the server shuts down, if that calls [Gate.EndStreams].
//
// The organisation is the one of the admission. A [Where] is not run again: one
// that held then still does, and one that an [Either] did not get to does not. It
// ends only work that heeds r.Context().
func EndOnRevoke() Option { return option(func(s *policySpec) { s.endOnRevoke = true }) }

// MaxAge makes a guard demand that revocations are known up to d before the
// request: that the last full refresh began no earlier (for a user whose removal
// is held back, the last one that held nothing). If it did, the request
// waits for another, shared by all who wait, for Refresh.MaxAgeWait at most; there
// is at most one such full refresh in each Refresh.ResyncMin. If that does not do, the
// answer is 503 with [ReasonTooOld]. It is for the few routes on which a revocation
// must count at once; only users who would pass otherwise cause a full refresh.
//
// A [Policy] that decides without a request does not wait: it denies with
// TooOld. It panics if d is not above 0. A guard cannot have both MaxAge and
// [Shadow]: a shadow must not make requests wait.
func MaxAge(d time.Duration) Option {
	if d <= 0 {
		panic(fmt.Sprintf("rolegate: MaxAge(%v): expected a duration above 0", d))
	}
	return option(func(s *policySpec) {
		if s.maxAge != 0 {
			panic("rolegate: MaxAge is given twice")
		}
		s.maxAge = d
	})
}
