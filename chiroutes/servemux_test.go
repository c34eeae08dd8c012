package chiroutes_test

import (
	"net/http"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
)

func TestServeMux(t *testing.T) {
	t.Parallel()
	gate := newGate(t)
	teacher := gate.Require(rolegate.AnyRole("teacher"))
	mux := http.NewServeMux()
	for _, pattern := range []string{"/", "GET /open", "/files/", "example.com/a", "GET /x/{id}/{$}", "POST  /two/blanks", "GET /same/{a}", "/same/{b}"} {
		mux.Handle(pattern, never(t))
	}
	mux.Handle("GET /grades/{id}", teacher(never(t)))
	mux.Handle("GET /rest/{path...}", gate.Admit(teacher(never(t))))
	all := []string{"/", "GET /open", "/files/", "example.com/a", "GET /x/{id}/{$}", "POST  /two/blanks", "GET /same/{a}", "/same/{b}", "GET /grades/{id}", "GET /rest/{path...}"}

	routes, err := chiroutes.ServeMux(mux, all...)
	require.NoError(t, err)
	assert.Equal(t, []string{
		"/:", "/files/:", "/same/{b}:", "GET /grades/{id}: AnyRole(teacher)", "GET /open:", "GET /rest/{path...}: Admit, AnyRole(teacher)",
		"GET /same/{a}:", "GET /x/{id}/{$}:", "POST /two/blanks:", "example.com/a:",
	}, texts(routes))
	assert.Equal(t, "GET", routes[1].Method)
	assert.Equal(t, "/open", routes[1].Pattern)

	routes, err = chiroutes.ServeMux(gate.Admit(mux), "GET /open", "GET /grades/{id}")
	require.NoError(t, err)
	assert.Equal(t, []string{"GET /grades/{id}: Admit, AnyRole(teacher)", "GET /open: Admit"}, texts(routes), "a guard around the mux guards each")

	_, err = chiroutes.ServeMux(mux, "GET /open", "GET /gone", "POST /grades/{id}", "GET", "GET /grades/{other}")
	for _, text := range []string{
		`no pattern "GET /gone": "/" takes its requests`, `no pattern "POST /grades/{id}": "/" takes`, `"GET" is no pattern of a ServeMux`,
		`no pattern "GET /grades/{other}": "GET /grades/{id}" takes`,
	} {
		assert.ErrorContains(t, err, text)
	}
	_, err = chiroutes.ServeMux(http.NewServeMux(), "/a")
	assert.ErrorContains(t, err, `no pattern "/a": write it as it is registered`)
	_, err = chiroutes.ServeMux(chi.NewRouter(), "/a")
	assert.ErrorContains(t, err, "the handler is a *chi.Mux")
	_, err = chiroutes.ServeMux(nil, "/a")
	assert.ErrorContains(t, err, "expected an *http.ServeMux")
}

// A custom chi.Routes cannot be looked into, nor can routers without end.
func TestRoutesThatCannotBeListed(t *testing.T) {
	t.Parallel()
	type own struct{ *chi.Mux }
	_, err := chiroutes.Routes(own{chi.NewRouter()})
	assert.ErrorContains(t, err, "own: expected the *chi.Mux of chi.NewRouter")
	_, err = chiroutes.Routes(nil)
	assert.ErrorContains(t, err, "expected the *chi.Mux")
	_, err = chiroutes.Routes((*chi.Mux)(nil))
	assert.ErrorContains(t, err, "expected the *chi.Mux")

	a, b := chi.NewRouter(), chi.NewRouter()
	a.Mount("/b", b)
	b.Mount("/a", a)
	_, err = chiroutes.Routes(a)
	assert.ErrorContains(t, err, "without end")

	r := chi.NewRouter()
	r.With(newGate(t).Admit).Mount("/own", own{chi.NewRouter()})
	assert.Equal(t, everyMethod("/own/*: Admit"), list(t, r), "what it does inside is not known")
}
