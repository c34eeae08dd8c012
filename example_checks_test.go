package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

func ExampleAnyRole() {
	gate := exampleGate()
	defer gate.Close()
	staff := gate.Require(rolegate.AnyRole("teacher", "admin"))

	exampleVisit(staff(examplePage), "GET /", 1, 5, 6)
	// Output:
	// user 1: 200 welcome
	// user 5: 200 welcome
	// user 6: 403
}

// User 3 is a teacher in one school and has a homeroom in another: that is not
// both.
func ExampleAllRoles() {
	gate := exampleGate()
	defer gate.Close()
	reports := gate.Require(rolegate.AllRoles("teacher", "homeroom"))

	exampleVisit(reports(examplePage), "GET /", 1, 2, 3)
	// Output:
	// user 1: 403
	// user 2: 200 welcome
	// user 3: 403
}

// NoRole admits who has none of the roles anywhere; the user still has to be on
// the list.
func ExampleNoRole() {
	gate := exampleGate()
	defer gate.Close()
	active := gate.Require(rolegate.NoRole("suspended"))

	exampleVisit(active(examplePage), "GET /", 1, 4, 6, 99)
	// Output:
	// user 1: 200 welcome
	// user 4: 403
	// user 6: 200 welcome
	// user 99: 403
}

// What guards no HTTP needs a policy also where the list alone decides.
func ExampleListed() {
	gate := exampleGate()
	defer gate.Close()
	policy := gate.Policy(rolegate.Listed())

	for _, user := range []int64{4, 99} {
		fmt.Println(user, policy.Decide(context.Background(), rolegate.UserID(user), 0))
	}
	// Output:
	// 4 granted
	// 99 not_authorized
}

// Roles say what somebody is. Whose lesson it is, only the app knows.
func ExampleWhere() {
	gate := exampleGate()
	defer gate.Close()
	teacherOf := map[string]int64{"maths": 1, "music": 2}
	own := rolegate.Where("own lesson", func(u rolegate.User, r *http.Request) bool {
		return teacherOf[r.PathValue("lesson")] == u.ID()
	})

	r := chi.NewRouter()
	r.With(gate.Require(rolegate.AnyRole("teacher"), own)).Put("/lessons/{lesson}", examplePage)

	exampleVisit(r, "PUT /lessons/maths", 1, 2)
	exampleVisit(r, "PUT /lessons/music", 1, 2)
	// Output:
	// user 1: 200 welcome
	// user 2: 403
	// user 1: 403
	// user 2: 200 welcome
}

// Checks hold together; Either is for those of which one is enough.
func ExampleEither() {
	gate := exampleGate()
	defer gate.Close()
	reports := gate.Require(
		rolegate.Either(
			rolegate.AnyRole("admin"),
			rolegate.AllRoles("teacher", "homeroom"),
		),
		rolegate.NoRole("suspended"),
	)

	exampleVisit(reports(examplePage), "GET /", 1, 2, 5)
	// Output:
	// user 1: 403
	// user 2: 200 welcome
	// user 5: 200 welcome
}

// The organisation may stand anywhere in a request; here it is in the query.
func ExampleInOrg() {
	gate := exampleGate()
	defer gate.Close()
	fromQuery := func(r *http.Request) (int64, error) {
		org, err := strconv.ParseInt(r.URL.Query().Get("school"), 10, 64)
		if err != nil {
			return 0, errors.New("the query has no number of a school")
		}
		return org, nil
	}
	homeroom := gate.Require(rolegate.AnyRole("homeroom"), rolegate.InOrg(fromQuery))

	exampleVisit(homeroom(examplePage), "GET /class?school=7", 2, 3)
	exampleVisit(homeroom(examplePage), "GET /class?school=8", 2, 3)
	exampleVisit(homeroom(examplePage), "GET /class", 2)
	// Output:
	// user 2: 200 welcome
	// user 3: 403
	// user 2: 403
	// user 3: 200 welcome
	// user 2: 403
}

// PathOrg works with chi, by r.With, and with the patterns of http.ServeMux.
func ExamplePathOrg() {
	gate := exampleGate()
	defer gate.Close()
	homeroom := gate.Require(rolegate.AnyRole("homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))

	r := chi.NewRouter()
	r.With(homeroom).Get("/orgs/{orgID}/class", examplePage)
	mux := http.NewServeMux()
	mux.Handle("GET /orgs/{orgID}/class", homeroom(examplePage))

	exampleVisit(r, "GET /orgs/7/class", 2, 3)
	exampleVisit(mux, "GET /orgs/8/class", 2, 3)
	exampleVisit(mux, "GET /orgs/08/class", 3)
	// Output:
	// user 2: 200 welcome
	// user 3: 403
	// user 2: 403
	// user 3: 200 welcome
	// user 3: 403
}

// A new rule is tried before it bites: Status and the log say which users it
// would have refused.
func ExampleShadow() {
	gate := exampleGate()
	defer gate.Close()
	trial := gate.Require(rolegate.AnyRole("homeroom"), rolegate.Shadow())

	exampleVisit(trial(examplePage), "GET /", 1, 2, 99)
	s := gate.Status()
	fmt.Println(s.Shadowed, "let pass,", s.Decisions[rolegate.ReasonNotAuthorized], "refused all the same")
	// Output:
	// user 1: 200 welcome
	// user 2: 200 welcome
	// user 99: 403
	// 1 let pass, 1 refused all the same
}

// What a front end asks before it shows menus and buttons.
func ExampleGate_Permissions() {
	gate := exampleGate()
	defer gate.Close()
	inOrg := rolegate.InOrg(rolegate.PathOrg("orgID"))
	grades, report := gate.Policy(rolegate.AnyRole("teacher")), gate.Policy(rolegate.AllRoles("teacher", "homeroom"), inOrg)

	mux := http.NewServeMux()
	mux.Handle("GET /grades", grades.Wrap(examplePage))
	mux.Handle("POST /orgs/{orgID}/reports", report.Wrap(examplePage))
	mux.Handle("GET /permissions", gate.Permissions(map[string]*rolegate.Policy{"grades.read": grades, "reports.file": report}))

	exampleVisit(mux, "GET /permissions", 2)
	exampleVisit(mux, "GET /permissions?org=7", 1)
	// Output:
	// user 2: 200 {"user_id":"2","permissions":["grades.read"],"conditional":[],"orgs":[{"org_id":"7","roles":["homeroom","teacher"],"permissions":["grades.read","reports.file"],"conditional":[]}]}
	//
	// user 1: 200 {"user_id":"1","permissions":["grades.read"],"conditional":[],"orgs":[{"org_id":"7","roles":["teacher"],"permissions":["grades.read"],"conditional":[]}]}
}
