package authzen

import (
	"context"
	"fmt"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate"
)

// A Question is what a [Rule.When] looks at. User is the one on the list that the
// subject names; properties that the caller claims of a subject are not in it, since
// they are not to be believed. What else is in it the caller has sent.
type Question struct {
	User     rolegate.User
	Resource Resource
	Action   string
	Org      int64 // what Rule.Org has read; 0 without one

	// ActionProperties and Context are JSON objects, nil if there are none. Other
	// questions of a batch may have the same bytes: do not change them.
	ActionProperties, Context jsontext.Value

	subject         rolegate.Identity // the user, as the caller named them
	subjectID       string
	action, context *object
}

// holds asks the When of a rule.
func (p *PDP) holds(ctx context.Context, rule Rule, q question, id rolegate.Identity, d rolegate.Decision) (holds bool) {
	defer func() {
		if v := recover(); v != nil {
			holds = false
			p.log.ErrorContext(ctx, "authzen: a When panicked", "resource", rule.Resource, "action", rule.Action, "value", fmt.Sprintf("%T", v))
		}
	}()
	return rule.When(Question{
		User: d.User, Resource: Resource{Type: q.resource.kind, ID: q.resource.id, of: q.resource}, Action: *q.action, Org: d.Org,
		ActionProperties: q.actionProperties.json(), Context: q.context.json(),
		subject: id, subjectID: q.subject.id, action: q.actionProperties, context: q.context,
	})
}
