package chiroutes_test

import (
	"net/http"
	"slices"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
)

// chi.RegisterMethod adds a method for good.
func init() { chi.RegisterMethod("REPORT") }

// everyMethod is a route of all the methods that chi knows.
func everyMethod(rest string) (list []string) {
	for _, m := range []string{"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "QUERY", "REPORT", "TRACE"} {
		list = append(list, m+" "+rest)
	}
	return list
}

func TestRoutes(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	teacher := gate.Require(rolegate.AnyRole("teacher"))
	shadow := gate.Policy(rolegate.NoRole("suspended"), rolegate.Shadow())
	h := never(t)
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
			r.Get("/b", func(w http.ResponseWriter, r *http.Request) { gate.Admit(http.HandlerFunc(h)).ServeHTTP(w, r) })
		}, []string{"GET /a:", "GET /b:"}},
		{"a guard that is given as a func", func(r chi.Router) {
			r.Get("/a", gate.Admit(teacher(http.HandlerFunc(h))).ServeHTTP)
		}, []string{"GET /a: Admit, AnyRole(teacher)"}},
		{"a route over a mounted router", func(r chi.Router) {
			sub := chi.NewRouter()
			sub.Get("/a", h)
			sub.Post("/new", h)
			r.With(gate.Admit).Mount("/files", sub)
			r.Get("/files/*", h)
		}, []string{"GET /files/*:", "POST /files/new: Admit"}},
		{"all methods over a mounted router", func(r chi.Router) {
			sub := chi.NewRouter()
			sub.Get("/", h)
			sub.Get("/a", h)
			r.With(gate.Admit).Mount("/files", sub)
			r.Handle("/files/*", http.HandlerFunc(h))
		}, append([]string{"GET /files/: Admit"}, everyMethod("/files/*:")...)},
		{"routes over what a mounted router is reached by", func(r chi.Router) {
			sub := chi.NewRouter()
			sub.Get("/", h)
			sub.Get("/a", h)
			r.With(gate.Admit).Mount("/files", sub)
			r.Get("/files/", h)
			r.Mount("/other", sub)
			r.Get("/other", h)
		}, []string{"GET /files/:", "GET /files/a: Admit", "GET /files: Admit", "GET /other/:", "GET /other/a:", "GET /other:"}},
		{"a route over what a router in a mounted router is reached by", func(r chi.Router) {
			r.Route("/files", func(r chi.Router) {
				r.Use(gate.Admit)
				r.Route("/", func(r chi.Router) { r.Get("/", h); r.Get("/a", h) })
			})
			r.Get("/files/", h)
		}, []string{"GET /files/:", "GET /files/a: Admit", "GET /files: Admit"}},
		{"a route over a mounted router that has a NotFound", func(r chi.Router) {
			r.Route("/files", func(r chi.Router) {
				r.Use(gate.Admit)
				r.NotFound(h)
				r.Get("/a", h)
			})
			r.Get("/files/*", h)
		}, []string{"GET /files/*:", "NotFound /files/*: Admit"}},
		{"routes over all but one of what a mounted router is reached by", func(r chi.Router) {
			r.Route("/files", func(r chi.Router) {
				r.Use(gate.Admit)
				r.NotFound(h)
				r.Get("/a", h)
			})
			r.Handle("/files/*", http.HandlerFunc(h))
			r.Get("/files/", h)
		}, append(everyMethod("/files/*:"), "GET /files/:", "NotFound /files/*: Admit")},
		{"a router mounted under another one's name for the same place", func(r chi.Router) {
			r.Get("/{n:[0-9]+}/x", h)
			r.With(gate.Admit).Mount("/{a}", http.HandlerFunc(h))
			r.Route("/{b}/", func(r chi.Router) { r.Get("/x", h) })
		}, append(everyMethod("/{a}/: Admit"), "GET /{b}/x:", "GET /{n:[0-9]+}/x:")},
		{"a route over a mounted handler", func(r chi.Router) {
			r.Mount("/files", http.NotFoundHandler())
			r.With(gate.Admit).Handle("/files/*", http.HandlerFunc(h))
		}, append(everyMethod("/files/*: Admit"), everyMethod("/files/:")...)},
		{"NotFound and MethodNotAllowed", func(r chi.Router) {
			r.Use(gate.Admit)
			r.Get("/", h)
			r.NotFound(h)
			r.MethodNotAllowed(h)
		}, []string{"GET /: Admit", "MethodNotAllowed /*: Admit", "NotFound /*: Admit"}},
		{"NotFound of a router without routes has no guard", func(r chi.Router) {
			r.Use(gate.Admit)
			r.NotFound(h)
		}, []string{"NotFound /*:"}},
		{"NotFound of With", func(r chi.Router) {
			r.With(teacher).NotFound(h)
			r.With(gate.Admit).MethodNotAllowed(h)
			r.Get("/", h)
		}, []string{"GET /:", "MethodNotAllowed /*: Admit", "NotFound /*: AnyRole(teacher)"}},
		{"NotFound of a mounted router", func(r chi.Router) {
			r.NotFound(h)
			r.Route("/same", func(r chi.Router) { r.Get("/", h) })
			r.Route("/guarded", func(r chi.Router) { r.Use(gate.Admit); r.Get("/", h) })
			r.Route("/own", func(r chi.Router) { r.Get("/", h); r.NotFound(says("own")) })
		}, []string{"GET /guarded/: Admit", "GET /own/:", "GET /same/:", "NotFound /*:", "NotFound /guarded/*: Admit", "NotFound /own/*:"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := chi.NewRouter()
			c.build(r)
			slices.Sort(c.want)
			assert.Equal(t, c.want, list(t, r))
		})
	}
}

func TestRoutesCallsNothingOfTheApps(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	calls := 0
	count := func(next http.Handler) http.Handler {
		calls++
		return next
	}
	r := chi.NewRouter()
	r.Use(count, gate.Admit, count)
	r.With(count, gate.Require(rolegate.AnyRole("teacher")), count).Get("/", never(t))
	r.Method("POST", "/", count(gate.Admit(count(never(t)))))
	before := calls
	assert.Equal(t, []string{"GET /: Admit, AnyRole(teacher)", "POST /: Admit, Admit"}, list(t, r))
	assert.Equal(t, before, calls)
}

func TestRoutesOfTwoGates(t *testing.T) {
	t.Parallel()
	a, b := newGate(t), newGate(t)
	r := chi.NewRouter()
	r.Use(a.Admit)
	r.With(b.Require(rolegate.AnyRole("teacher"), rolegate.Shadow())).Get("/", never(t))
	routes, err := chiroutes.Routes(r)
	require.NoError(t, err)
	require.Len(t, routes, 1)
	guards := routes[0].Guards
	require.Len(t, guards, 2)
	assert.Same(t, a, guards[0].Gate())
	assert.Equal(t, "Admit", guards[0].String())
	assert.False(t, guards[0].IsShadow())
	assert.Same(t, b, guards[1].Gate())
	assert.Equal(t, "AnyRole(teacher)", guards[1].String())
	assert.True(t, guards[1].IsShadow())
	assert.False(t, guards[1].HasOrg())
}

func TestRoutesInOrder(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	r := chi.NewRouter()
	r.Use(gate.Admit)
	for _, path := range []string{"/b", "/a", "/c/{id}", "/c/x", "/a/b"} {
		r.Get(path, never(t))
	}
	var chis []string
	require.NoError(t, chi.Walk(r, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		chis = append(chis, method+" "+route)
		return nil
	}))
	routes, err := chiroutes.Routes(r)
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
	gate := newGate(t)
	r := chi.NewRouter()
	r.With(gate.Admit).HandleFunc("/all", never(t))
	r.Get("/two", never(t))
	r.Post("/two", never(t))
	list := func() (names []string) {
		routes, err := chiroutes.Routes(r)
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
	gate := newGate(t)
	root := chi.NewRouter()
	root.Get("/open", says("ok"))
	api := root.With(gate.Admit)
	api.Get("/closed", says("ok"))
	open, _ := get(api, "GET", "/open")
	require.Equal(t, 200, open, "nothing guards it")
	closed, _ := get(api, "GET", "/closed")
	require.Equal(t, 500, closed)

	for name, router := range map[string]chi.Routes{"the first": root, "the one of With": api} {
		routes, err := chiroutes.Routes(router)
		require.NoError(t, err)
		for _, r := range routes {
			assert.Equal(t, r.Pattern == "/closed", r.Guarded(), "%s: %v", name, r)
		}
	}
}
