package authzen_test

import (
	"context"
	"crypto/subtle"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/rolegatetest"
)

func Example() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: rolegatetest.NewStatic(rolegate.Record{ // an app has marketplace.New(…) here
			UserID: 1542135022016057346, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}},
		}),
		Aliases: []rolegate.Kind{rolegate.KindUserID}, // no HTTP is guarded here
		Logger:  slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	teacher := gate.Policy(rolegate.AnyRole("teacher"))
	pdp, err := authzen.New(authzen.Config{
		Gate: gate,
		Caller: func(r *http.Request) error {
			if subtle.ConstantTimeCompare([]byte(r.Header.Get("Authorization")), []byte("Bearer the-gateway's-token")) != 1 {
				return rolegate.ErrNobody
			}
			return nil
		},
		Subjects: map[string]rolegate.Kind{"user": rolegate.KindUserID},
		Rules: []authzen.Rule{
			{Resource: "grades", Action: "read", Policy: teacher},
			{Resource: "report", Action: "write", Policy: teacher, Org: authzen.OrgFromProperty("org_id")},
		},
		URL: "https://pdp.example.com",
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	ask := func(path, body string) {
		r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(body))
		r.Header.Set("Authorization", "Bearer the-gateway's-token")
		r.Header.Set("Content-Type", "application/json")
		w := httptest.NewRecorder()
		pdp.ServeHTTP(w, r)
		fmt.Println(w.Code, w.Body)
	}
	ask("/access/v1/evaluation", `{
		"subject":  {"type": "user", "id": "1542135022016057346"},
		"action":   {"name": "read"},
		"resource": {"type": "grades", "id": "2026"}
	}`)
	ask("/access/v1/evaluations", `{
		"subject": {"type": "user", "id": "1542135022016057346"},
		"action":  {"name": "write"},
		"evaluations": [
			{"resource": {"type": "report", "id": "1", "properties": {"org_id": "7"}}},
			{"resource": {"type": "report", "id": "2", "properties": {"org_id": "8"}}}
		]
	}`)
	// Output:
	// 200 {"decision":true}
	// 200 {"evaluations":[{"decision":true},{"decision":false,"context":{"reason":"role_missing"}}]}
}

func ExampleOrgFromID() {
	org, err := authzen.OrgFromID()(authzen.Resource{Type: "school", ID: "1542135022016057346"})
	fmt.Println(org, err)
	_, err = authzen.OrgFromID()(authzen.Resource{Type: "school", ID: "007"})
	fmt.Println(err)
	// Output:
	// 1542135022016057346 <nil>
	// resource.id: expected a decimal number above 0, without sign, leading zeros, fraction or exponent
}

// The owner may edit an essay until it is handed in.
func ExampleMeets() {
	when := authzen.Meets(authzen.Condition{Resource: map[string]authzen.Expected{
		"owner_id": {User: rolegate.KindUserID},
		"status":   {OneOf: []any{"draft", "review"}},
	}})
	rule := authzen.Rule{Resource: "essay", Action: "edit", When: when} // and a Policy
	fmt.Println(rule.When(authzen.Question{}))
	// Output: false
}
