package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The examples are about one school. In an app, the list comes from the
// marketplace (marketplace.New) instead.
var exampleList = []rolegate.Record{
	{UserID: 1, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}}},
	{UserID: 2, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 7, RoleCode: "homeroom"}}},
	{UserID: 3, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 8, RoleCode: "homeroom"}}},
	{UserID: 4, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "teacher"}, {OrgID: 7, RoleCode: "suspended"}}},
	{UserID: 5, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: "admin"}}},
	{UserID: 6}, // listed, and nothing more
}

// exampleSession finds out who is logged in. An app asks its session store; the
// examples take a cookie's word for it.
func exampleSession(r *http.Request) (int64, error) {
	cookie, err := r.Cookie("session")
	if err != nil {
		return 0, rolegate.ErrNobody
	}
	return strconv.ParseInt(cookie.Value, 10, 64)
}

// exampleGate opens a gate for exampleList.
func exampleGate() *rolegate.Gate {
	return exampleGateWith(func(*rolegate.Config) {})
}

func exampleGateWith(change func(*rolegate.Config)) *rolegate.Gate {
	cfg := rolegate.Config{
		Source:   rolegatetest.NewStatic(exampleList...),
		Identify: rolegate.ByUserID(exampleSession),
		Logger:   slog.New(slog.DiscardHandler), // refusals are logged
	}
	change(&cfg)
	gate, err := rolegate.Open(context.Background(), cfg)
	if err != nil {
		panic(err)
	}
	return gate
}

// examplePage is a handler that says "welcome".
var examplePage = http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "welcome") })

// exampleVisit sends a request, such as "GET /grades", for each of the users
// and prints what they get. User 0 is nobody.
func exampleVisit(h http.Handler, request string, users ...int64) {
	for _, user := range users {
		method, path, _ := strings.Cut(request, " ")
		r := httptest.NewRequest(method, path, nil)
		if user != 0 {
			r.AddCookie(&http.Cookie{Name: "session", Value: strconv.FormatInt(user, 10)})
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		body := ""
		if w.Code < 300 {
			body = " " + w.Body.String()
		}
		fmt.Printf("user %d: %d%s\n", user, w.Code, body)
	}
}

// exampleAnswer sends a request without a session and prints what a refused
// client sees, with … for the decision's id.
func exampleAnswer(h http.Handler, headers ...string) {
	r := httptest.NewRequest("GET", "/", nil)
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	fmt.Println(w.Code, w.Header().Get("Location"), w.Header().Get("Content-Type"))
	fmt.Print(regexp.MustCompile(`[A-Z2-7]{26}`).ReplaceAllString(w.Body.String(), "…"))
}

func Example() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   rolegatetest.NewStatic(exampleList...), // an app has marketplace.New(…)
		Identify: rolegate.ByUserID(exampleSession),
		Logger:   slog.New(slog.DiscardHandler),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()

	r := chi.NewRouter()
	r.Use(gate.Admit) // on the list, or out
	r.Get("/", func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		fmt.Fprintf(w, "good morning, %v", u)
	})
	r.With(gate.Require(rolegate.AnyRole("teacher", "admin"))).
		Get("/grades", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "grades") })

	exampleVisit(r, "GET /", 1, 6, 99, 0)
	exampleVisit(r, "GET /grades", 1, 6)
	// Output:
	// user 1: 200 good morning, user 1
	// user 6: 200 good morning, user 6
	// user 99: 403
	// user 0: 401
	// user 1: 200 grades
	// user 6: 403
}

// Open returns when the first list is in memory. Its context bounds how long a
// start may take, and nothing after it.
func ExampleOpen() {
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	gate, err := rolegate.Open(ctx, rolegate.Config{
		Source:   rolegatetest.NewStatic(exampleList...),
		Identify: rolegate.ByUserID(exampleSession),
	})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer gate.Close()
	fmt.Println(gate.Status().State, gate.Status().Users)
	// Output: ready 6
}

// All mistakes of a config are told at once.
func ExampleOpen_mistakes() {
	_, err := rolegate.Open(context.Background(), rolegate.Config{
		Implies: map[string][]string{"admin": {"teacher"}, "teacher": {"admin"}},
		Refresh: rolegate.Refresh{Every: 30},
	})
	fmt.Println(err)
	// Output:
	// rolegate: the config has mistakes:
	// Source is nil: say where the list of authorised users comes from, such as marketplace.New(…)
	// Identify is not set: say who is asking with ByUserID or ByText
	// Implies: "admin" → "teacher" → "admin" is a cycle: leave one of these out
	// Refresh.Every is 30ns: less than 1ms is surely a mistake; a bare number is nanoseconds, write 30*time.Second
}

// Waiting does not fix credentials that the source refuses: Open returns at
// once.
func ExampleErrRefused() {
	source := rolegatetest.NewStatic()
	source.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Permanent: true, Err: errors.New("the token has been withdrawn")})
	_, err := rolegate.Open(context.Background(), rolegate.Config{
		Source:   source,
		Identify: rolegate.ByUserID(exampleSession),
		Logger:   slog.New(slog.DiscardHandler),
	})
	fmt.Println(errors.Is(err, rolegate.ErrRefused))
	fmt.Println(err)
	// Output:
	// true
	// rolegate: no list of authorised users: refused: the token has been withdrawn; check the token, the app id and the base URL
}

func ExampleGate_Admit() {
	gate := exampleGate()
	defer gate.Close()

	mux := http.NewServeMux()
	mux.Handle("GET /lessons", gate.Admit(examplePage))

	exampleVisit(mux, "GET /lessons", 6, 99, 0)
	// Output:
	// user 6: 200 welcome
	// user 99: 403
	// user 0: 401
}

func ExampleGate_Require() {
	gate := exampleGate()
	defer gate.Close()

	r := chi.NewRouter()
	r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.NoRole("suspended"))).
		Get("/grades", examplePage)

	exampleVisit(r, "GET /grades", 1, 4, 6)
	// Output:
	// user 1: 200 welcome
	// user 4: 403
	// user 6: 403
}

// A policy is compiled once, and good for several routes.
func ExampleGate_Policy() {
	gate := exampleGate()
	defer gate.Close()
	staff := gate.Policy(rolegate.AnyRole("teacher", "admin"))
	fmt.Println(staff)

	r := chi.NewRouter()
	r.With(staff.Wrap).Get("/grades", examplePage)
	r.With(staff.Wrap).Get("/timetable", examplePage)

	exampleVisit(r, "GET /grades", 5, 6)
	exampleVisit(r, "GET /timetable", 5, 6)
	// Output:
	// AnyRole(teacher, admin)
	// user 5: 200 welcome
	// user 6: 403
	// user 5: 200 welcome
	// user 6: 403
}

func ExamplePolicy_Wrap() {
	gate := exampleGate()
	defer gate.Close()
	staff := gate.Policy(rolegate.AnyRole("teacher", "admin"))

	mux := http.NewServeMux()
	mux.Handle("GET /grades", staff.Wrap(examplePage))

	exampleVisit(mux, "GET /grades", 5, 6)
	// Output:
	// user 5: 200 welcome
	// user 6: 403
}

// A job that mails reports has no HTTP request to guard.
func ExamplePolicy_Decide() {
	gate := exampleGate()
	defer gate.Close()
	mayReport := gate.Policy(rolegate.AllRoles("teacher", "homeroom"))

	for _, user := range []int64{2, 3, 99} {
		inAny := mayReport.Decide(context.Background(), rolegate.UserID(user), 0)
		inSchool8 := mayReport.Decide(context.Background(), rolegate.UserID(user), 8)
		fmt.Println(user, inAny, inSchool8, inAny.Allowed())
	}
	// Output:
	// 2 granted role_missing true
	// 3 role_missing role_missing false
	// 99 not_authorized not_authorized false
}

func ExampleGate_Decide() {
	gate := exampleGate()
	defer gate.Close()

	d := gate.Decide(context.Background(), rolegate.UserID(2))
	fmt.Println(d, d.Allowed(), d.User.Grants())
	fmt.Println(gate.Decide(context.Background(), rolegate.UserID(99)))
	// Output:
	// granted true [{7 teacher} {7 homeroom}]
	// not_authorized
}

func ExampleGate_UserFrom() {
	gate := exampleGate()
	defer gate.Close()

	home := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		u, _ := gate.UserFrom(r.Context())
		if u.HasRole("homeroom") {
			fmt.Fprint(w, "your class is waiting")
			return
		}
		fmt.Fprint(w, "welcome")
	})

	exampleVisit(gate.Admit(home), "GET /", 1, 2)
	// Output:
	// user 1: 200 welcome
	// user 2: 200 your class is waiting
}

// The handler takes the organisation that the guard has checked, and does not
// read the request again.
func ExampleGate_OrgFrom() {
	gate := exampleGate()
	defer gate.Close()

	r := chi.NewRouter()
	r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))).
		Get("/orgs/{orgID}/grades", func(w http.ResponseWriter, r *http.Request) {
			org, _ := gate.OrgFrom(r.Context())
			fmt.Fprintf(w, "grades of school %d", org)
		})

	exampleVisit(r, "GET /orgs/7/grades", 1)
	exampleVisit(r, "GET /orgs/8/grades", 1)
	// Output:
	// user 1: 200 grades of school 7
	// user 1: 403
}

// Refresh makes a grant count now, say because a webhook has announced it.
func ExampleGate_Refresh() {
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source = list })
	defer gate.Close()

	list.Put(rolegate.Record{UserID: 12})
	fmt.Println(gate.Decide(context.Background(), rolegate.UserID(12)))
	if err := gate.Refresh(context.Background()); err != nil {
		fmt.Println(err)
	}
	fmt.Println(gate.Decide(context.Background(), rolegate.UserID(12)))
	// Output:
	// not_authorized
	// granted
}

// What was taken away shows only when the whole list is refreshed.
func ExampleGate_RefreshAll() {
	list := rolegatetest.NewStatic(exampleList...)
	gate := exampleGateWith(func(c *rolegate.Config) { c.Source = list })
	defer gate.Close()
	ctx := context.Background()

	list.Remove(1)
	fmt.Println(gate.Refresh(ctx), gate.Decide(ctx, rolegate.UserID(1)))
	fmt.Println(gate.RefreshAll(ctx), gate.Decide(ctx, rolegate.UserID(1)))
	// Output:
	// <nil> granted
	// <nil> not_authorized
}

// A readiness probe takes an app out of rotation while it would deny everybody.
func ExampleGate_Status() {
	gate := exampleGate()
	defer gate.Close()

	ready := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		s := gate.Status()
		if !s.State.Serving() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		fmt.Fprintf(w, "%s, %d users, %d grants", s.State, s.Users, s.Grants)
	})

	exampleVisit(ready, "GET /readyz", 0)
	// Output: user 0: 200 ready, 6 users, 8 grants
}

func ExampleUser() {
	gate := exampleGate()
	defer gate.Close()

	u := gate.Decide(context.Background(), rolegate.UserID(3)).User
	fmt.Println(u.ID(), u.Orgs(), u.Grants())
	fmt.Println(u.HasRole("homeroom"), u.HasRoleIn(7, "homeroom"), u.HasRoleIn(8, "homeroom", "admin"))
	// Output:
	// 3 [7 8] [{7 teacher} {8 homeroom}]
	// true false true
}

// A role can include others: nobody needs to name the admin at every route.
func ExampleConfig_implies() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Implies = map[string][]string{
			"admin":   {"teacher"},
			"teacher": {"staff"},
		}
	})
	defer gate.Close()

	exampleVisit(gate.Require(rolegate.AnyRole("staff"))(examplePage), "GET /", 1, 5, 6)
	// Output:
	// user 1: 200 welcome
	// user 5: 200 welcome
	// user 6: 403
}

// Names are kept only if they are asked for.
func ExampleConfig_keep() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = rolegatetest.NewStatic(rolegate.Record{UserID: 1, Nickname: "王芳", Email: "wang@example.com"})
		c.Keep = rolegate.Keep{Nickname: true, Account: true}
	})
	defer gate.Close()

	u := gate.Decide(context.Background(), rolegate.UserID(1)).User
	fmt.Printf("%q %q\n", u.Nickname(), u.Email())
	// Output: "王芳" ""
}

// Shadows are for trying the gate on live traffic: a user that it would refuse is
// counted and logged, and admitted.
func ExampleConfig_shadowAdmit() {
	gate := exampleGateWith(func(c *rolegate.Config) { c.ShadowAdmit = true })
	defer gate.Close()

	exampleVisit(gate.Admit(examplePage), "GET /", 1, 99, 0)
	s := gate.Status()
	fmt.Println(s.Decisions[rolegate.ReasonNotAuthorized], s.Shadowed)
	// Output:
	// user 1: 200 welcome
	// user 99: 200 welcome
	// user 0: 401
	// 1 1
}

// Where freshness is worth more requests to the marketplace, say so.
func ExampleRefresh() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Refresh = rolegate.Refresh{
			Every:       10 * time.Second, // grants
			ResyncEvery: time.Minute,      // revocations
			ExpireAfter: 5 * time.Minute,  // a revocation counts by then, whatever happens
		}
	})
	defer gate.Close()
	fmt.Println(gate.Status().Full.NextIn < 2*time.Minute)
	// Output: true
}

// exampleLines is a source that reads a list which somebody keeps by hand, a
// user on each line.
type exampleLines struct{ read func() (string, error) }

// Pull implements rolegate.Source. The number of the line is the sequence: an
// incremental refresh sees new lines, the next full refresh those that were changed.
func (s exampleLines) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	text, err := s.read()
	if err != nil {
		return err // and the list in memory stays as it was
	}
	for i, line := range strings.Split(text, "\n") {
		r := rolegate.Record{Sequence: int64(i + 1)}
		if r.Sequence <= after {
			continue
		}
		var grant rolegate.Grant
		if _, err := fmt.Sscanf(line, "%d %d %s", &r.UserID, &grant.OrgID, &grant.RoleCode); err != nil {
			r.Bad = errors.New("expected: user, organisation, role")
		}
		r.Grants = []rolegate.Grant{grant}
		yield(r)
	}
	return nil
}

// Anything that can list all users with their roles can be a source.
func ExampleSource() {
	gate := exampleGateWith(func(c *rolegate.Config) {
		c.Source = exampleLines{read: func() (string, error) { return "1 7 teacher\n2 7 admin", nil }}
	})
	defer gate.Close()

	exampleVisit(gate.Require(rolegate.AnyRole("admin"))(examplePage), "GET /", 1, 2, 3)
	// Output:
	// user 1: 403
	// user 2: 200 welcome
	// user 3: 403
}
