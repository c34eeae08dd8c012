package authzen

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolegate/rolegate"
)

// A decision is the answer to one question, as the specification writes it
// (§5.5).
type decision struct {
	Decision bool    `json:"decision"`
	Context  *reason `json:"context,omitempty"`
}

type reason struct {
	Reason string `json:"reason"`
}

// The reasons for which no policy is asked.
const (
	unknownSubject  = "unknown_subject_type"
	unknownResource = "unknown_resource_type"
	unknownAction   = "unknown_action"
	incomplete      = "incomplete"
)

func denied(why string) decision { return decision{Context: &reason{why}} }

// batch answers questions in their order, until the semantic says that it is
// enough. Each is decided for itself, by the list of its moment.
func (p *PDP) batch(ctx context.Context, q request) (any, error) {
	answers := make([]decision, 0, len(q.items))
	e := p.evaluation(ctx)
	defer e.log()
	for _, item := range q.items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := e.decide(item)
		answers = append(answers, d)
		if q.semantic == denyOnFirstDeny && !d.Decision || q.semantic == permitOnFirstPermit && d.Decision {
			break
		}
	}
	return struct {
		Evaluations []decision `json:"evaluations"`
	}{answers}, nil
}

// one answers one question.
func (p *PDP) one(ctx context.Context, q question) decision {
	e := p.evaluation(ctx)
	defer e.log()
	return e.decide(q)
}

// An evaluation is of one request, which may have many questions about one
// resource.
type evaluation struct {
	p    *PDP
	ctx  context.Context
	orgs map[asked]int64 // what rules have read

	unread int // organisations that could not be read
	rule   Rule
	err    error // of the first, in rule
}

// asked is a rule and the resource that it was asked about.
type asked struct {
	target
	resource *entity
}

func (p *PDP) evaluation(ctx context.Context) *evaluation {
	return &evaluation{p: p, ctx: ctx, orgs: map[asked]int64{}}
}

// log writes one line, however many questions could not be answered.
func (e *evaluation) log() {
	if e.unread > 0 {
		e.p.log.InfoContext(e.ctx, "authzen: the organisation cannot be read from the resource",
			"resource", e.rule.Resource, "action", e.rule.Action, "err", e.err, "times", e.unread)
	}
}

// decide answers one question. What is not known is refused, never an error.
func (e *evaluation) decide(q question) decision {
	p := e.p
	if q.lacks() != "" {
		return denied(incomplete)
	}
	kind, ok := p.subjects[p.name(q.subject.kind)]
	if !ok {
		return denied(unknownSubject)
	}
	rule, ok := p.rules[target{p.name(q.resource.kind), p.name(*q.action)}]
	if !ok {
		if p.types[p.name(q.resource.kind)] {
			return denied(unknownAction)
		}
		return denied(unknownResource)
	}
	id := identity(kind, q.subject.id)
	d := rule.Policy.Decide(e.ctx, id, e.org(rule, q.resource))
	switch {
	case !d.Allowed():
		return denied(d.Reason.String())
	case rule.When != nil && !p.holds(e.ctx, rule, q, id, d):
		return denied(rolegate.ReasonConditionFailed.String())
	}
	return decision{Decision: true}
}

// name is a type or an action to look for, "" if it is longer than all that are
// known: the items of a batch may have one of a megabyte in common.
func (p *PDP) name(of string) string {
	if len(of) > p.longest {
		return ""
	}
	return of
}

// maxID is how long the id of a subject may be: no system's are longer, and the items
// of a batch may have one of a megabyte in common.
const maxID = 4096

// identity is the user that a subject's id names. An id that no user can have is nobody.
func identity(kind rolegate.Kind, id string) rolegate.Identity {
	if len(id) > maxID {
		return rolegate.Identity{}
	}
	found, err := rolegate.NewIdentity(kind, id)
	if err != nil {
		return rolegate.Identity{}
	}
	return found
}

// unreadable is an organisation that a policy refuses with org_unreadable, after
// it has looked whether the user is listed.
const unreadable = -1

// org asks the rule in which organisation to look, 0 for any: once for each
// resource.
func (e *evaluation) org(rule Rule, resource *entity) int64 {
	if rule.Org == nil {
		return 0
	}
	key := asked{target{rule.Resource, rule.Action}, resource}
	if org, known := e.orgs[key]; known {
		return org
	}
	org, err := readOrg(rule, resource)
	if err != nil {
		if org = unreadable; e.unread == 0 {
			e.rule, e.err = rule, err
		}
		e.unread++
	}
	e.orgs[key] = org
	return org
}

func readOrg(rule Rule, resource *entity) (org int64, err error) {
	defer func() {
		if v := recover(); v != nil {
			org, err = 0, fmt.Errorf("the func panicked with a %T", v)
		}
	}()
	org, err = rule.Org(Resource{Type: resource.kind, ID: resource.id, of: resource})
	if err == nil && org <= 0 {
		err = errors.New("the func returned an id that is not above 0")
	}
	return org, err
}
