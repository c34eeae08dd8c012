package benchmarks

import (
	"strconv"

	"github.com/cedar-policy/cedar-go"
)

// loadCedar loads cedar-go. Roles in an organisation are groups, as Cedar's
// documents model roles: a user is in those that they were granted, an
// organisation names the two that pass, and one policy asks whether the user is
// in either. A set of the two, and the user's roles as a set in an attribute,
// were slower.
func loadCedar(w *workload) (decider, error) {
	policies, err := cedar.NewPolicySetFromBytes("route.cedar", []byte(
		`permit(principal, action, resource) when { principal in resource.teacher || principal in resource.admin };`))
	if err != nil {
		return nil, err
	}
	entities := make(cedar.EntityMap, w.size+organisations)
	for i := range organisations {
		uid := cedarOrg(strconv.FormatInt(orgID(i), 10))
		entities[uid] = cedar.Entity{UID: uid, Attributes: cedar.NewRecord(cedar.RecordMap{
			"teacher": cedarRole(grant{orgID(i), teacher}),
			"admin":   cedarRole(grant{orgID(i), admin}),
		})}
	}
	var buf [3]grant
	for i := range w.size {
		var in []cedar.EntityUID
		for _, g := range w.grants(buf[:], i) {
			in = append(in, cedarRole(g))
		}
		uid := cedarUser(strconv.FormatInt(w.userID(i), 10))
		entities[uid] = cedar.Entity{UID: uid, Parents: cedar.NewEntityUIDSet(in...)}
	}
	pass := cedar.NewEntityUID("Action", "pass")
	return func(q *namedQuestion) bool {
		decision, why := cedar.Authorize(policies, entities, cedar.Request{
			Principal: cedarUser(q.userName), Action: pass, Resource: cedarOrg(q.orgName),
		})
		if len(why.Errors) > 0 {
			panic(why.Errors[0].Message)
		}
		return decision == cedar.Allow
	}, nil
}

func cedarUser(id string) cedar.EntityUID { return cedar.NewEntityUID("User", cedar.String(id)) }

func cedarOrg(id string) cedar.EntityUID { return cedar.NewEntityUID("Org", cedar.String(id)) }

func cedarRole(g grant) cedar.EntityUID {
	return cedar.NewEntityUID("Role", cedar.String(strconv.FormatInt(g.org, 10)+"/"+roleCodes[g.role]))
}
