package authzen

import (
	"context"
	"fmt"
	"net/http"

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

	// ActionProperties and Context are JSON objects, nil if there are none. Other
	// questions of a batch may have the same bytes: do not change them.
	ActionProperties, Context jsontext.Value
}

// holds asks the When of a rule.
func (p *PDP) holds(ctx context.Context, rule Rule, q question, user rolegate.User) (holds bool) {
	defer func() {
		if v := recover(); v != nil {
			holds = false
			p.log.ErrorContext(ctx, "authzen: a When panicked", "resource", rule.Resource, "action", rule.Action, "value", fmt.Sprintf("%T", v))
		}
	}()
	return rule.When(Question{
		User: user, Resource: Resource{Type: q.resource.kind, ID: q.resource.id, of: q.resource}, Action: *q.action,
		ActionProperties: q.actionProperties, Context: q.context,
	})
}

// An action is one of the results of a search.
type action struct {
	Name string `json:"name"`
}

// ActionSearch serves the action search endpoint (§8.6): which of the rules'
// actions the subject may do on the resource, in the order of the rules. It is
// mounted as Evaluation is. All results are on one page.
func (p *PDP) ActionSearch(w http.ResponseWriter, r *http.Request) {
	p.answer(w, r, func(body []byte) (any, error) {
		q, err := readSearch(body)
		if err != nil {
			return nil, err
		}
		e := p.evaluation(r.Context())
		defer e.log()
		found := []action{}
		for _, name := range p.actions[q.resource.kind] {
			q.action = &name
			if e.decide(q).Decision {
				found = append(found, action{name})
			}
		}
		return struct {
			Results []action `json:"results"`
		}{found}, nil
	})
}
