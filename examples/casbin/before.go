package main

import (
	"net/http"

	"github.com/casbin/casbin/v3"
	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
)

// enforcers are what the app asks before it is moved.
type enforcers struct {
	routes *casbin.Enforcer // which role opens which path
	orgs   *casbin.Enforcer // who may do what in which organisation
	notes  *casbin.Enforcer // whose a note is
}

func loadEnforcers() (e enforcers, err error) {
	if e.routes, err = casbin.NewEnforcer("routes.conf", "routes.csv"); err != nil {
		return e, err
	}
	if e.orgs, err = casbin.NewEnforcer("orgs.conf", "orgs.csv"); err != nil {
		return e, err
	}
	e.notes, err = casbin.NewEnforcer("notes.conf")
	return e, err
}

// authorizer asks casbin 3 what the Authorizer of chi-authz, which is made for
// casbin 1, asks: may this name do this at this path?
func authorizer(e *casbin.Enforcer) func(http.Handler) http.Handler {
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			name, _, _ := r.BasicAuth() // nobody looks at the password
			if allowed, err := e.Enforce(name, r.URL.Path, r.Method); err != nil || !allowed {
				http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
}

func before(e enforcers) http.Handler {
	h := handlersOf(e)
	r := chi.NewRouter()
	r.Use(middleware.CleanPath, middleware.GetHead)
	r.Use(authorizer(e.routes)) // with chi-authz: authz.Authorizer(e)
	r.Get("/healthz", h.healthz)
	r.Get("/orgs/{orgID}", h.org)
	r.Get("/orgs/{orgID}/news", h.news)
	r.Post("/orgs/{orgID}/reports", h.report)
	r.Get("/grades", h.grades)
	r.Get("/grades/export", h.export)
	r.Get("/grades/{id}", h.grade)
	r.Get("/exports/{name}", h.export)
	r.Get("/notes/{id}", h.note)
	return r
}

// handlersOf returns the handlers as they are before the move: two of them ask
// casbin for what its middleware cannot know.
func handlersOf(e enforcers) handlers {
	h := plainHandlers()
	file := h.report
	h.report = func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := r.BasicAuth()
		if allowed, err := e.mayFile(name, chi.URLParam(r, "orgID")); err != nil || !allowed {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		file(w, r)
	}
	show := h.note
	h.note = func(w http.ResponseWriter, r *http.Request) {
		name, _, _ := r.BasicAuth()
		if allowed, err := e.notes.Enforce(person{name}, noteOf(r)); err != nil || !allowed {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		show(w, r)
	}
	return h
}

// mayFile says whether that user may file reports in that organisation. The job
// that reminds of reports asks it too.
func (e enforcers) mayFile(name, org string) (bool, error) {
	return e.orgs.Enforce(name, org, "reports", "file")
}
