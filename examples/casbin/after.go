package main

import (
	"context"
	"net/http"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"

	"github.com/rolegate/rolegate"
)

// byLogin identifies by HTTP Basic auth. The gate believes the name, so that
// check has to look at the password.
func byLogin(check func(name, password string) bool) rolegate.Identifier {
	return rolegate.ByText(rolegate.KindThirdAccount, func(r *http.Request) (string, error) {
		name, password, ok := r.BasicAuth()
		if !ok || !check(name, password) {
			return "", rolegate.ErrNobody
		}
		return name, nil
	})
}

func config(source rolegate.Source, check func(name, password string) bool) rolegate.Config {
	return rolegate.Config{
		Source:    source,
		Identify:  byLogin(check),
		Challenge: `Basic realm="school"`, // browsers ask for a password again
		Implies: map[string][]string{
			"admin":   {"teacher", "homeroom"},
			"teacher": {"student"},
		},
		Keep: rolegate.Keep{ThirdAccount: true}, // to see whose a note is
	}
}

// guards is what gate.Require is: it makes a guard of checks.
type guards func(...rolegate.Option) func(http.Handler) http.Handler

// after is the app behind a gate. require is gate.Require in the end, and
// something else on the way there.
func after(gate *rolegate.Gate, require guards, h handlers) chi.Router {
	inOrg := rolegate.InOrg(rolegate.PathOrg("orgID"))
	r := chi.NewRouter()
	r.Use(middleware.CleanPath, middleware.GetHead)
	r.Get("/healthz", h.healthz) // anyone
	r.Group(func(r chi.Router) {
		r.Use(gate.Admit)
		r.With(require(rolegate.AnyRole("teacher"), inOrg)).Get("/orgs/{orgID}", h.org)
		r.With(require(rolegate.AnyRole("student"), inOrg)).Get("/orgs/{orgID}/news", h.news)
		r.With(require(rolegate.AnyRole("homeroom"), inOrg)).Post("/orgs/{orgID}/reports", h.report)
		r.With(require(rolegate.AnyRole("teacher"))).Get("/grades", h.grades)
		r.With(require(rolegate.AnyRole("admin"))).Get("/grades/export", h.export)
		r.With(require(rolegate.AnyRole("teacher"))).Get("/grades/{id}", h.grade)
		r.With(require(rolegate.AnyRole("admin"), rolegate.NoRole("trainee"))).Get("/exports/{name}", h.export)
		r.With(require(rolegate.AnyRole("student"), rolegate.Where("own note", ownNote))).Get("/notes/{id}", h.note)
	})
	return r
}

// ownNote says whether it is the user's own. A note that does not exist is
// nobody's.
func ownNote(user rolegate.User, r *http.Request) bool {
	owner := noteOf(r).Owner
	return owner != "" && owner == user.ThirdAccount()
}

// mayFile says whether that user may file reports in that organisation, for the
// job that reminds of them. Compile the policy once, when the app starts.
func mayFile(ctx context.Context, policy *rolegate.Policy, name string, org int64) bool {
	id, err := rolegate.NewIdentity(rolegate.KindThirdAccount, name)
	return err == nil && policy.Decide(ctx, id, org).Allowed()
}
