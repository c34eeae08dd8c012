package chiroutes_test

import (
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Without patterns, all that a mux dispatches is listed, of those inside it too.
func TestServeMuxListsAll(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	teacher := gate.Require(rolegate.AnyRole("teacher"))
	inner := http.NewServeMux()
	inner.Handle("/api/x/{id}", never(t))
	inner.Handle("GET /api/y", teacher(never(t)))
	inner.Handle("POST /api/z", never(t))
	router := chi.NewRouter()
	router.Get("/app/a", never(t))
	router.With(teacher).Post("/app/b", never(t))
	router.Handle("/app/deep", inner)
	router.Mount("/app/mounted", inner)
	mux := http.NewServeMux()
	for i := range 12 { // more than a mapping of ServeMux has in a slice
		mux.Handle(fmt.Sprintf("GET /many/%02d/{a}/{rest...}", i), gate.Admit(never(t)))
	}
	mux.Handle("/{$}", never(t))
	mux.Handle("example.com/{$}", never(t))
	mux.Handle("GET /api/", gate.Admit(inner))
	mux.Handle("/app/", router)
	mux.Handle("/stripped/", http.StripPrefix("/stripped", inner))
	want := []string{
		"/{$}:", "example.com/{$}:", "GET /api/x/{id}: Admit", "GET /api/y: Admit, AnyRole(teacher)",
		"GET /app/a:", "POST /app/b: AnyRole(teacher)", "/stripped/:",
		"GET /api/y: AnyRole(teacher)", "HEAD /api/y: AnyRole(teacher)", "POST /api/z:",
	}
	want = append(want, everyMethod("/api/x/{id}:")...)
	want = append(want, everyMethod("/app/mounted/*:")...)
	for i := range 12 {
		want = append(want, fmt.Sprintf("GET /many/%02d/{a}/{rest...}: Admit", i))
	}
	slices.Sort(want)
	routes, err := chiroutes.ServeMux(mux)
	require.NoError(t, err)
	assert.Equal(t, want, texts(routes))

	routes, err = chiroutes.ServeMux(gate.Admit(mux))
	require.NoError(t, err)
	for _, r := range routes {
		assert.Equal(t, "Admit", r.Guards[0].String(), r)
	}
	routes, err = chiroutes.ServeMux(http.NewServeMux())
	require.NoError(t, err)
	assert.Empty(t, routes)

	endless := http.NewServeMux()
	endless.Handle("/", endless)
	_, err = chiroutes.ServeMux(endless)
	assert.ErrorContains(t, err, "without end")
	r := chi.NewRouter()
	r.Handle("/*", endless)
	_, err = chiroutes.Routes(r)
	assert.ErrorContains(t, err, "without end")
}

// A route that somebody forgets to guard is found wherever it is registered.
func TestRequireGuardedOfAMux(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	for name, register := range map[string]func(mux, inner *http.ServeMux, h http.Handler){
		"in the mux":          func(mux, _ *http.ServeMux, h http.Handler) { mux.Handle("GET /forgotten", h) },
		"of another host":     func(mux, _ *http.ServeMux, h http.Handler) { mux.Handle("example.com/forgotten", h) },
		"more special":        func(mux, _ *http.ServeMux, h http.Handler) { mux.Handle("GET /guarded/forgotten", h) },
		"in the mux below it": func(_, inner *http.ServeMux, h http.Handler) { inner.Handle("/inner/forgotten", h) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			mux, inner := http.NewServeMux(), http.NewServeMux()
			mux.Handle("/guarded/", gate.Admit(never(t)))
			inner.Handle("/inner/{id}", gate.Admit(never(t)))
			mux.Handle("/inner/", inner)
			tb := new(failing)
			rolegatetest.RequireGuarded(tb, chiroutes.Must(chiroutes.ServeMux(mux)))
			assert.Empty(t, tb.said)
			register(mux, inner, never(t))
			rolegatetest.RequireGuarded(tb, chiroutes.Must(chiroutes.ServeMux(mux)))
			assert.Contains(t, tb.said, "forgotten")
		})
	}
}

// failing takes down what a test would fail with.
type failing struct{ said string }

func (*failing) Helper()                          {}
func (*failing) Cleanup(func())                   {}
func (f *failing) Errorf(format string, a ...any) { f.said += fmt.Sprintf(format, a...) }
func (f *failing) Fatalf(format string, a ...any) { f.Errorf(format, a...) }

// What requests meet in random muxes, with muxes and routers of chi inside, is
// listed so.
func TestServeMuxListingIsWhatItDispatches(t *testing.T) {
	t.Parallel()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(rolegate.Record{UserID: 1}),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 1, nil }),
		Logger:   slog.New(slog.DiscardHandler),
	})
	require.NoError(t, err)
	t.Cleanup(func() { gate.Close() })
	hits, guarded := 0, 0
	const muxes = randomRouters / 5
	for seed := range uint64(muxes) {
		b := &builder{gate: gate, rand: rand.New(rand.NewPCG(seed, 1))}
		mux := b.serveMux(0)
		routes, err := chiroutes.ServeMux(mux)
		require.NoError(t, err)
		parts := []string{"", "a", "b", "ab", "7", "zz"}
		for range 20 {
			path := ""
			for range 1 + b.rand.IntN(4) {
				path += "/" + parts[b.rand.IntN(len(parts))]
			}
			method := []string{"GET", "POST", "PUT", "HEAD", "LINK"}[b.rand.IntN(5)]
			m := ask(mux, method, path)
			if m.handler == "" {
				continue
			}
			hits++
			if len(m.guards) > 0 {
				guarded++
			}
			listed := slices.ContainsFunc(routes, func(r chiroutes.Route) bool {
				byMethod := r.Method == "" || r.Method == method || r.Method == "GET" && method == "HEAD" || strings.HasPrefix(m.handler, "not")
				h, isNamed := r.Handler.(named)
				is := isNamed && string(h) == m.handler || !isNamed && strings.HasPrefix(m.handler, "opaque") // which chi has wrapped
				return byMethod && is && slices.Equal(names(r.Guards), m.guards)
			})
			if !listed {
				t.Fatalf("mux %d: %s %s is served by %s behind %v\n\t%s\nis listed as\n\t%s", seed, method, path, m.handler, m.guards,
					strings.Join(b.built, "\n\t"), strings.Join(texts(routes), "\n\t"))
			}
		}
	}
	t.Logf("%d requests met a handler, %d of them behind guards", hits, guarded)
	require.Greater(t, hits, 5*muxes)
	require.Greater(t, guarded, muxes)
}

// serveMux builds a random mux.
func (b *builder) serveMux(depth int) *http.ServeMux {
	mux := http.NewServeMux()
	for range 1 + b.rand.IntN(12) {
		b.register(mux, depth)
	}
	return mux
}

// register registers something. What the mux panics at is not registered.
func (b *builder) register(mux *http.ServeMux, depth int) {
	defer func() { _ = recover() }()
	pattern := []string{"", "", "GET ", "POST ", "HEAD ", "LINK "}[b.rand.IntN(6)] + []string{"", "", "", "", "example.com"}[b.rand.IntN(5)]
	for range b.rand.IntN(3) {
		b.ids++
		pattern += "/" + []string{"a", "b", "ab", fmt.Sprintf("{x%d}", b.ids)}[b.rand.IntN(4)]
	}
	pattern += []string{"/", "/", "/{$}", "/{rest...}", "/a"}[b.rand.IntN(5)]
	var h http.Handler
	switch kind := b.rand.IntN(8); {
	case kind == 0 && depth < 2:
		h = b.serveMux(depth + 1)
	case kind == 1 && depth < 2:
		h = b.router(2)
	default:
		h = b.handler("h")
	}
	for range b.rand.IntN(3) {
		h = b.guard().Wrap(h)
	}
	b.say(depth, "%s: %T %v", pattern, h, h)
	mux.Handle(pattern, h)
}
