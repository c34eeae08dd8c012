package authzen

import (
	"context"
	"errors"
	"fmt"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/identities"
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
	for _, item := range q.items {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		d := p.decide(ctx, item)
		answers = append(answers, d)
		if q.semantic == denyOnFirstDeny && !d.Decision || q.semantic == permitOnFirstPermit && d.Decision {
			break
		}
	}
	return struct {
		Evaluations []decision `json:"evaluations"`
	}{answers}, nil
}

// decide answers one question. What is not known is refused, never an error.
func (p *PDP) decide(ctx context.Context, q question) decision {
	if q.lacks() != "" {
		return denied(incomplete)
	}
	kind, ok := p.subjects[q.subject.kind]
	if !ok {
		return denied(unknownSubject)
	}
	rule, ok := p.rules[target{q.resource.kind, *q.action}]
	if !ok {
		if p.types[q.resource.kind] {
			return denied(unknownAction)
		}
		return denied(unknownResource)
	}
	d := rule.Policy.Decide(ctx, identity(kind, q.subject.id), p.org(ctx, rule, q.resource))
	if !d.Allowed() {
		return denied(d.Reason.String())
	}
	return decision{Decision: true}
}

// identity is whom a subject's id names. An id that no user can have is nobody.
func identity(kind rolegate.Kind, id string) rolegate.Identity {
	found, err := identities.Of(kind, id)
	if err != nil {
		return rolegate.Identity{}
	}
	return found
}

// unreadable is an organisation that a policy refuses with org_unreadable, after
// it has looked whether the user is listed.
const unreadable = -1

// org asks the rule in which organisation to look, 0 for any.
func (p *PDP) org(ctx context.Context, rule Rule, e *entity) (org int64) {
	if rule.Org == nil {
		return 0
	}
	err := errors.New("the func returned an id that is not above 0")
	func() {
		defer func() {
			if v := recover(); v != nil {
				org, err = 0, fmt.Errorf("the func panicked with a %T", v)
			}
		}()
		var wrong error
		if org, wrong = rule.Org(Resource{Type: e.kind, ID: e.id, of: e}); wrong != nil {
			org, err = 0, wrong
		}
	}()
	if org <= 0 {
		p.log.InfoContext(ctx, "authzen: the organisation cannot be read from the resource", "resource", rule.Resource, "action", rule.Action, "err", err)
		return unreadable
	}
	return org
}
