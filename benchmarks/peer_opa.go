package benchmarks

import (
	"context"
	"strconv"

	"github.com/open-policy-agent/opa/v1/ast"
	"github.com/open-policy-agent/opa/v1/rego"
	"github.com/open-policy-agent/opa/v1/storage/inmem"
)

// opaPolicy asks whether one of the user's roles in the organisation is one of
// the two. Without a default, and with the roles as a list, it was quicker than
// with a default, with a rule for each of the two roles, and with the roles as
// keys of an object.
const opaPolicy = `package route

allow if {
	some role in data.grants[input.user][input.org]
	role in {"teacher", "admin"}
}
`

// loadOPA loads the Open Policy Agent: a query that is prepared once, the
// grants in its store in memory as lists within objects, so that it finds a
// user's by their keys, and the input as the terms that it works with. The
// store keeps plain values, which the query reads quicker than terms.
func loadOPA(w *workload) (decider, error) {
	users := make(map[string]any, w.size)
	var buf [3]grant
	for i := range w.size {
		orgs := map[string]any{}
		for _, g := range w.grants(buf[:], i) {
			org := strconv.FormatInt(g.org, 10)
			codes, _ := orgs[org].([]any)
			orgs[org] = append(codes, roleCodes[g.role])
		}
		users[strconv.FormatInt(w.userID(i), 10)] = orgs
	}
	store := inmem.NewFromObjectWithOpts(map[string]any{"grants": users}, inmem.OptRoundTripOnWrite(false))
	ctx := context.Background()
	query, err := rego.New(
		rego.Query("data.route.allow"),
		rego.Module("route.rego", opaPolicy),
		rego.Store(store),
	).PrepareForEval(ctx)
	if err != nil {
		return nil, err
	}
	user, org := ast.StringTerm("user"), ast.StringTerm("org")
	return func(q *namedQuestion) bool {
		answer, err := query.Eval(ctx, rego.EvalParsedInput(ast.NewObject(
			[2]*ast.Term{user, ast.StringTerm(q.userName)},
			[2]*ast.Term{org, ast.StringTerm(q.orgName)},
		)))
		if err != nil {
			panic(err)
		}
		return answer.Allowed()
	}, nil
}
