package benchmarks

import (
	"context"
	"net/http"
	"strconv"

	"github.com/casbin/casbin/v3"

	"github.com/rolegate/rolegate"
)

// A session is what the login of an app has put into a request's context.
type session struct {
	id   int64
	name string
}

type sessionKey struct{}

func sessionOf(r *http.Request) (session, bool) {
	s, ok := r.Context().Value(sessionKey{}).(*session)
	if !ok {
		return session{}, false
	}
	return *s, true
}

// sessionUserID is the func of ByUserID.
func sessionUserID(r *http.Request) (int64, error) {
	s, ok := sessionOf(r)
	if !ok {
		return 0, rolegate.ErrNobody
	}
	return s.id, nil
}

// done is the handler behind the guards.
func done(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusNoContent) }

// A sink is a ResponseWriter that costs nothing.
type sink struct {
	header http.Header
	status int
}

// Header implements [http.ResponseWriter].
func (s *sink) Header() http.Header { return s.header }

// WriteHeader implements [http.ResponseWriter].
func (s *sink) WriteHeader(status int) { s.status = status }

// Write implements [http.ResponseWriter].
func (s *sink) Write(p []byte) (int, error) { return len(p), nil }

// requests makes count requests that are to be admitted, each of a user
// chosen at random: for the grades of whatever school, and for the reports of
// the school where they may see them.
func (w *workload) requests(count int) (grades, reports []*http.Request) {
	for _, q := range w.questions(2 * count) {
		if !q.allowed || len(grades) == count {
			continue
		}
		ctx := context.WithValue(context.Background(), sessionKey{}, &session{q.user, strconv.FormatInt(q.user, 10)})
		grades = append(grades, newRequest(ctx, "/grades"))
		reports = append(reports, newRequest(ctx, "/orgs/"+strconv.FormatInt(q.org, 10)+"/reports"))
	}
	return grades, reports
}

func newRequest(ctx context.Context, path string) *http.Request {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://app.example"+path, nil)
	if err != nil {
		panic(err)
	}
	return r
}

// served is the contestant who has a handler serve requests, one after the
// other and again from the first.
func served(h http.Handler, requests []*http.Request) contestant {
	at, w := 0, &sink{header: http.Header{}}
	return func(ops int) {
		for range ops {
			w.status = 0
			h.ServeHTTP(w, requests[at])
			if w.status != http.StatusNoContent {
				panic("a request was not admitted: status " + strconv.Itoa(w.status))
			}
			if at++; at == len(requests) {
				at = 0
			}
		}
	}
}

// routeModel is RBAC for routes, up to what a policy is matched by.
const routeModel = `
[request_definition]
r = sub, obj, act

[policy_definition]
p = sub, obj, act

[role_definition]
g = _, _

[policy_effect]
e = some(where (p.eft == allow))

[matchers]
`

// casbinRoutes matches in the order of chi-authz' own example, casbinOneRoute as
// kind to casbin as can be, with the cheap comparisons first.
const (
	casbinRoutes   = routeModel + `m = g(r.sub, p.sub) && keyMatch(r.obj, p.obj) && (r.act == p.act || p.act == "*")`
	casbinOneRoute = routeModel + `m = r.act == p.act && keyMatch(r.obj, p.obj) && g(r.sub, p.sub)`
)

// newRouteEnforcer loads casbin with a model, with the users' roles in whatever
// organisation, and with an app of so many routes, each for two roles; the one
// that is asked for is in the middle.
func newRouteEnforcer(w *workload, conf string, routes int) (*casbin.Enforcer, error) {
	return newEnforcer(conf, routePolicies(routes), w, anywhereRule)
}

// anywhereRule is the rule of a grant in RBAC without domains.
func anywhereRule(user string, g grant) []string { return []string{user, roleCodes[g.role]} }

func routePolicies(routes int) (policies [][]string) {
	for i := range routes {
		path := "/route-" + strconv.Itoa(i)
		if i == routes/2 {
			path = "/grades"
		}
		policies = append(policies,
			[]string{roleCodes[teacher], path, http.MethodGet}, []string{roleCodes[admin], path, http.MethodGet})
	}
	return policies
}

// enforce is a middleware of our own that does what github.com/casbin/chi-authz
// does, which is made for the first version of casbin: it asks whether (user,
// path, method) may pass, and answers 403 if not. It takes the user from the
// context, where rolegate finds it too; chi-authz decodes it from the
// Authorization header, which takes longer.
func enforce(e *casbin.Enforcer) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			s, _ := sessionOf(r)
			ok, err := e.Enforce(s.name, r.URL.Path, r.Method)
			if err != nil {
				http.Error(w, http.StatusText(http.StatusInternalServerError), http.StatusInternalServerError)
				return
			}
			if !ok {
				http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}
