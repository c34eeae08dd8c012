package rolegate_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/rolegate/rolegate"
)

// A framework with a middleware type of its own asks, and does the rest in its
// own manner.
func ExamplePolicy_Check() {
	gate := exampleGate()
	defer gate.Close()
	teachers := gate.Policy(rolegate.AnyRole("teacher"))
	middleware := func(w http.ResponseWriter, r *http.Request, next http.HandlerFunc) {
		a, denial := teachers.Check(r)
		if denial != nil {
			denial.ServeHTTP(w, r)
			return
		}
		defer a.End()
		next(w, a.Request())
	}

	w := httptest.NewRecorder()
	middleware(w, httptest.NewRequest("GET", "/grades", nil), func(http.ResponseWriter, *http.Request) {})
	fmt.Println(w.Code)
	// Output: 401
}

// A call of RPC has no request: who is asking, and in which organisation, is
// told by what the call carries.
func ExamplePolicy_CheckCall() {
	gate := exampleGate()
	defer gate.Close()
	teachers := gate.Policy(rolegate.AnyRole("teacher"))
	file := func(ctx context.Context, caller, org int64) {
		a, denial := teachers.CheckCall(ctx, rolegate.Call{Identity: rolegate.UserID(caller), Org: org, Route: "/school.Reports/File"})
		if denial != nil {
			fmt.Println("denied:", denial.Status)
			return
		}
		defer a.End()
		user, _ := gate.UserFrom(a.Context())
		fmt.Println("filed by", user.ID())
	}
	file(context.Background(), 1, 7)
	file(context.Background(), 1, 8)
	// Output:
	// filed by 1
	// denied: 403
}
