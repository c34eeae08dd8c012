package school

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/console"
)

// routes is the app: what an app of your own would look like.
func routes(gate *rolegate.Gate) chi.Router {
	app := &app{gate: gate}
	r := chi.NewRouter()
	r.Get("/healthz", app.health) // public: the only route that nothing guards

	r.Group(func(r chi.Router) {
		r.Use(gate.Admit) // on the list, or out
		r.Get("/", app.home)
		r.With(gate.Require(rolegate.AnyRole("teacher", "admin"))).
			Get("/grades", app.grades)
		r.With(gate.Require(rolegate.AllRoles("teacher", "homeroom"), rolegate.InOrg(rolegate.PathOrg("orgID")))).
			Post("/orgs/{orgID}/reports", app.report)
		r.With(gate.Require(rolegate.AnyRole("principal", "admin"), rolegate.InOrg(rolegate.PathOrg("orgID")))).
			Get("/orgs/{orgID}/staff", app.staff)
		r.With(gate.Require(rolegate.AnyRole("admin"))).
			Get("/status", app.status)
		r.With(gate.Require(rolegate.AnyRole("admin"))).
			Handle("/console", console.New(gate, console.Config{Routes: chiroutes.Lister(r), Name: "example"}))

		// For the few routes on which a revocation must count at once: the list
		// must have been refreshed within the last five seconds, or is now.
		r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(5*time.Second))).
			Get("/exams", app.exams)
		// A stream ends when its user loses the role that opened it.
		r.With(gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())).
			Get("/live", app.live)
	})
	return r
}

type app struct{ gate *rolegate.Gate }

func (a *app) health(w http.ResponseWriter, _ *http.Request) {
	state := a.gate.Status().State
	status := http.StatusOK
	if !state.Serving() {
		status = http.StatusServiceUnavailable
	}
	answer(w, status, map[string]any{"state": state})
}

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	u, _ := a.gate.UserFrom(r.Context())
	answer(w, http.StatusOK, map[string]any{"user": u.ID(), "orgs": u.Orgs()})
}

func (a *app) grades(w http.ResponseWriter, r *http.Request) {
	u, _ := a.gate.UserFrom(r.Context())
	answer(w, http.StatusOK, map[string]any{"grades": "of all pupils", "may_edit": u.HasRole("teacher")})
}

func (a *app) report(w http.ResponseWriter, r *http.Request) {
	org, _ := a.gate.OrgFrom(r.Context()) // the one that the guard has checked
	answer(w, http.StatusOK, map[string]any{"report": "filed", "org": org})
}

func (a *app) staff(w http.ResponseWriter, r *http.Request) {
	org, _ := a.gate.OrgFrom(r.Context())
	answer(w, http.StatusOK, map[string]any{"staff": "list", "org": org})
}

func (a *app) exams(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, map[string]any{"exams": "of this term"})
}

// live is a stream of events, as browsers read it.
func (a *app) live(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	out := http.NewResponseController(w)
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		fmt.Fprintf(w, "data: %s\n\n", time.Now().UTC().Format(time.RFC3339))
		if out.Flush() != nil {
			return
		}
		select {
		case <-tick.C:
		case <-r.Context().Done():
			fmt.Fprintf(w, "event: end\ndata: %v\n\n", context.Cause(r.Context()))
			_ = out.Flush()
			return
		}
	}
}

func (a *app) status(w http.ResponseWriter, _ *http.Request) {
	answer(w, http.StatusOK, a.gate.Status())
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // a client that has gone is no concern of ours
}
