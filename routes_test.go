package rolegate_test

import (
	"cmp"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func routesGate(t *testing.T) *rolegate.Gate {
	return openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher")))})
}

// routesList lists routes as "GET /path: outer, inner", sorted.
func routesList(t *testing.T, router chi.Routes) []string {
	t.Helper()
	routes, err := rolegate.Routes(router)
	require.NoError(t, err)
	list := make([]string, len(routes))
	for i, r := range routes {
		names := make([]string, len(r.Guards))
		for j, g := range r.Guards {
			names[j] = g.Policy
			if g.Shadow {
				names[j] += " (shadow)"
			}
		}
		list[i] = strings.TrimSuffix(r.String()+": "+strings.Join(names, ", "), " ")
		assert.Equal(t, len(r.Guards) > 0, r.Guarded())
	}
	slices.Sort(list)
	return list
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	teacher := gate.Require(rolegate.AnyRole("teacher"))
	shadow := gate.Policy(rolegate.NoRole("suspended"), rolegate.Shadow())
	h := never(t).ServeHTTP
	for _, c := range []struct {
		name  string
		build func(chi.Router)
		want  []string
	}{
		{"no routes", func(chi.Router) {}, []string{}},
		{"no guard", func(r chi.Router) { r.Get("/", h) }, []string{"GET /:"}},
		{"Use", func(r chi.Router) {
			r.Use(gate.Admit)
			r.Get("/", h)
			r.Post("/a", h)
		}, []string{"GET /: Admit", "POST /a: Admit"}},
		{"With", func(r chi.Router) {
			r.With(teacher).Get("/grades", h)
			r.Get("/open", h)
		}, []string{"GET /grades: AnyRole(teacher)", "GET /open:"}},
		{"Use and With, outermost first", func(r chi.Router) {
			r.Use(gate.Admit, shadow.Wrap)
			r.With(teacher, gate.Require(rolegate.NoRole("x"))).Get("/", h)
		}, []string{"GET /: Admit, NoRole(suspended) (shadow), AnyRole(teacher), NoRole(x)"}},
		{"Group", func(r chi.Router) {
			r.Get("/open", h)
			r.Group(func(r chi.Router) {
				r.Use(gate.Admit)
				r.Get("/closed", h)
				r.With(teacher).Get("/grades", h)
			})
		}, []string{"GET /closed: Admit", "GET /grades: Admit, AnyRole(teacher)", "GET /open:"}},
		{"Group beside Group", func(r chi.Router) {
			r.Group(func(r chi.Router) { r.Use(gate.Admit); r.Get("/a", h) })
			r.Group(func(r chi.Router) { r.Get("/b", h) })
			r.Group(func(r chi.Router) { r.Use(teacher); r.Get("/c", h) })
		}, []string{"GET /a: Admit", "GET /b:", "GET /c: AnyRole(teacher)"}},
		{"Route", func(r chi.Router) {
			r.Route("/orgs/{orgID}", func(r chi.Router) {
				r.Use(gate.Admit)
				r.Get("/", h)
				r.With(teacher).Post("/reports", h)
			})
			r.Get("/open", h)
		}, []string{"GET /open:", "GET /orgs/{orgID}/: Admit", "POST /orgs/{orgID}/reports: Admit, AnyRole(teacher)"}},
		{"Route in Route in Group", func(r chi.Router) {
			r.Group(func(r chi.Router) {
				r.Use(gate.Admit)
				r.Route("/a", func(r chi.Router) {
					r.Route("/b", func(r chi.Router) {
						r.Use(teacher)
						r.Get("/c", h)
					})
					r.Get("/d", h)
				})
			})
		}, []string{"GET /a/b/c: Admit, AnyRole(teacher)", "GET /a/d: Admit"}},
		{"With a Route", func(r chi.Router) {
			r.With(teacher).Route("/a", func(r chi.Router) { r.Get("/b", h) })
			r.Route("/c", func(r chi.Router) { r.Get("/d", h) })
		}, []string{"GET /a/b: AnyRole(teacher)", "GET /c/d:"}},
		{"Mount", func(r chi.Router) {
			sub := chi.NewRouter()
			sub.Use(gate.Admit)
			sub.Get("/x", h)
			r.Mount("/sub", sub)
			open := chi.NewRouter()
			open.Get("/x", h)
			r.Mount("/open", open)
			r.With(teacher).Mount("/closed", open)
		}, []string{"GET /closed/x: AnyRole(teacher)", "GET /open/x:", "GET /sub/x: Admit"}},
		{"the handler itself", func(r chi.Router) {
			r.Method("GET", "/a", gate.Admit(http.HandlerFunc(h)))
			r.Method("GET", "/b", gate.Admit(teacher(shadow.Wrap(http.HandlerFunc(h)))))
			r.With(gate.Admit).Method("GET", "/c", teacher(http.HandlerFunc(h)))
		}, []string{"GET /a: Admit", "GET /b: Admit, AnyRole(teacher), NoRole(suspended) (shadow)", "GET /c: Admit, AnyRole(teacher)"}},
		{"a mounted handler", func(r chi.Router) {
			r.With(gate.Admit).Method("GET", "/files/*", http.NotFoundHandler())
		}, []string{"GET /files/*: Admit"}},
		{"every guard is Wrap of a policy", func(r chi.Router) {
			r.With(shadow.Wrap).Get("/a", h)
			r.With((*rolegate.Policy)(nil).Wrap).Get("/b", h)
			r.With((*rolegate.Gate)(nil).Admit).Get("/c", h)
		}, []string{"GET /a: NoRole(suspended) (shadow)", "GET /b: nothing", "GET /c: Admit"}},
		{"other middleware", func(r chi.Router) {
			r.Use(func(next http.Handler) http.Handler { return next })
			r.Get("/a", h)
		}, []string{"GET /a:"}},
		{"a guard inside another middleware is not seen", func(r chi.Router) {
			r.Use(func(next http.Handler) http.Handler { return gate.Admit(next) })
			r.Get("/a", h)
		}, []string{"GET /a:"}},
		{"a guard inside another handler is not seen", func(r chi.Router) {
			r.Method("GET", "/a", http.StripPrefix("/a", gate.Admit(http.HandlerFunc(h))))
			r.Get("/b", gate.Admit(http.HandlerFunc(h)).ServeHTTP)
		}, []string{"GET /a:", "GET /b:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := chi.NewRouter()
			c.build(r)
			assert.Equal(t, c.want, routesList(t, r))
		})
	}
}

func TestRoutesCallsNothingOfTheApps(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	calls := 0
	count := func(next http.Handler) http.Handler {
		calls++
		return next
	}
	r := chi.NewRouter()
	r.Use(count, gate.Admit, count)
	r.With(count, gate.Require(rolegate.AnyRole("teacher")), count).Get("/", never(t).ServeHTTP)
	r.Method("POST", "/", count(gate.Admit(count(never(t)))))
	before := calls
	assert.Equal(t, []string{"GET /: Admit, AnyRole(teacher)", "POST /: Admit, Admit"}, routesList(t, r))
	assert.Equal(t, before, calls)
}

func TestRoutesOfTwoGates(t *testing.T) {
	t.Parallel()
	a, b := routesGate(t), routesGate(t)
	r := chi.NewRouter()
	r.Use(a.Admit)
	r.With(b.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())).Get("/", never(t).ServeHTTP)
	routes, err := rolegate.Routes(r)
	require.NoError(t, err)
	require.Len(t, routes, 1)
	guards := routes[0].Guards
	require.Len(t, guards, 2)
	assert.True(t, guards[0].Gate == a)
	assert.Equal(t, "Admit", guards[0].Policy)
	assert.False(t, guards[0].Shadow)
	assert.True(t, guards[1].Gate == b)
	assert.Equal(t, "AnyRole(teacher)", guards[1].Policy)
	assert.True(t, guards[1].Shadow)
	assert.False(t, guards[1].InOrg)
}

func TestRoutesInOrder(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	r := chi.NewRouter()
	r.Use(gate.Admit)
	for _, path := range []string{"/b", "/a", "/c/{id}", "/c/x", "/a/b"} {
		r.Get(path, never(t).ServeHTTP)
	}
	var chis []string
	require.NoError(t, chi.Walk(r, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		chis = append(chis, method+" "+route)
		return nil
	}))
	routes, err := rolegate.Routes(r)
	require.NoError(t, err)
	var ours []string
	for _, route := range routes {
		ours = append(ours, route.String())
	}
	assert.Equal(t, chis, ours)
}

// Two listings of one router are the same, also where a pattern has several
// methods.
func TestRoutesAreAlwaysInTheSameOrder(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	r := chi.NewRouter()
	r.With(gate.Admit).HandleFunc("/all", never(t).ServeHTTP)
	r.Get("/two", never(t).ServeHTTP)
	r.Post("/two", never(t).ServeHTTP)
	list := func() (names []string) {
		routes, err := rolegate.Routes(r)
		require.NoError(t, err)
		for _, route := range routes {
			names = append(names, route.String())
		}
		return names
	}
	first := list()
	for range 20 {
		require.Equal(t, first, list())
	}
}

// A router made by With or Group shares its routes with the one it came from;
// its guards stand in front of its own alone.
func TestRoutesOfARouterThatCameFromWith(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	root := chi.NewRouter()
	root.Get("/open", ok(gate).ServeHTTP)
	api := root.With(gate.Admit)
	api.Get("/closed", ok(gate).ServeHTTP)
	require.Equal(t, 200, ask(api, "GET", "/open", 0).Code, "nothing guards it")
	require.Equal(t, 401, ask(api, "GET", "/closed", 0).Code)

	for name, router := range map[string]chi.Routes{"the first": root, "the one of With": api} {
		routes, err := rolegate.Routes(router)
		require.NoError(t, err)
		for _, r := range routes {
			assert.Equal(t, r.Pattern == "/closed", r.Guarded(), "%s: %v", name, r)
		}
	}
}

// A routesTB takes down what RequireGuarded has to say.
type routesTB struct {
	said   []string
	failed bool
}

func (*routesTB) Helper()        {}
func (*routesTB) Cleanup(func()) {}
func (b *routesTB) Errorf(format string, args ...any) {
	b.said, b.failed = append(b.said, fmt.Sprintf(format, args...)), true
}
func (b *routesTB) Fatalf(format string, args ...any) { b.Errorf(format, args...) }

func TestRequireGuarded(t *testing.T) {
	t.Parallel()
	gate := routesGate(t)
	h := never(t).ServeHTTP
	r := chi.NewRouter()
	r.Get("/healthz", h)
	r.Get("/forgotten", h)
	r.With(gate.Admit).Get("/closed", h)
	r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())).Post("/trial", h)
	for _, c := range []struct {
		name     string
		public   []string
		says     []string
		saysNot  []string
		mayMatch bool
	}{
		{"one forgotten", []string{"GET /healthz"}, []string{"nothing guards", "GET /forgotten", "Admit or Require"}, []string{"/healthz", "/closed", "/trial"}, false},
		{"nothing is public", nil, []string{"GET /forgotten", "GET /healthz"}, []string{"/closed"}, false},
		{"all named", []string{"GET /healthz", "GET /forgotten"}, nil, nil, true},
		{"a public route that is guarded", []string{"GET /healthz", "GET /forgotten", "GET /closed"}, []string{"GET /closed is guarded by Admit"}, []string{"nothing guards"}, false},
		{"a public route that does not exist", []string{"GET /healthz", "GET /forgotten", "GET /gone"}, []string{"there is no route GET /gone"}, []string{"nothing guards"}, false},
		{"a public route of another method", []string{"POST /healthz", "GET /forgotten"}, []string{"GET /healthz", "POST /healthz"}, nil, false},
		{"both kinds of mistake", []string{"GET /gone"}, []string{"GET /forgotten", "GET /healthz", "GET /gone"}, nil, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			tb := new(routesTB)
			rolegatetest.RequireGuarded(tb, r, c.public...)
			assert.Equal(t, !c.mayMatch, tb.failed)
			assert.LessOrEqual(t, len(tb.said), 1, "everything at once")
			said := cmp.Or(strings.Join(tb.said, "\n"), "nothing")
			for _, part := range c.says {
				assert.Contains(t, said, part)
			}
			for _, part := range c.saysNot {
				assert.NotContains(t, said, part)
			}
		})
	}
}
