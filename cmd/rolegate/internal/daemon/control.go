package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
)

// control answers the commands why and status. Who may connect to the socket may
// ask everything.
func (d *daemon) control(g *generation) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, g.gate.Status())
	})
	mux.HandleFunc("POST "+control.ReloadPath, func(w http.ResponseWriter, r *http.Request) {
		// A reload that waits for its turn is not to hold up the one before it,
		// which waits for the requests of the gate that it has replaced.
		g.gate.active.Add(-1)
		defer g.gate.active.Add(1)
		answer := make(chan error, 1)
		select {
		case d.asks <- answer:
		case <-d.gone:
			http.Error(w, "the server is shutting down", http.StatusServiceUnavailable)
			return
		case <-r.Context().Done():
			return
		}
		switch err := <-answer; {
		case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
			http.Error(w, err.Error(), http.StatusServiceUnavailable) // that is nothing about the file
		case err != nil:
			http.Error(w, err.Error(), http.StatusUnprocessableEntity)
		}
	})
	mux.HandleFunc("POST "+control.WhyPath, func(w http.ResponseWriter, r *http.Request) {
		var q control.Question
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10)).Decode(&q); err != nil {
			http.Error(w, "the question cannot be read: are both of the same version?", http.StatusBadRequest)
			return
		}
		a, err := g.why(r, q)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		d.Logger.Info("asked why", "kind", q.Kind, "user_id", a.UserID, "reason", a.Reason)
		answer(w, http.StatusOK, a)
	})
	return mux
}

func (g *generation) why(r *http.Request, q control.Question) (*control.Answer, error) {
	id, err := identity(q)
	if err != nil {
		return nil, err
	}
	switch {
	case q.Method != "":
		if g.proxy == nil {
			return nil, errors.New("the server has no routes: forward_auth is not in its settings file")
		}
		e := g.proxy.Explain(r.Context(), q.Method, q.Host, q.URI, id)
		if e.Denied != nil {
			return &control.Answer{Reason: "unlisted_route", Status: http.StatusForbidden, Denied: e.Denied.Error()}, nil
		}
		a := control.NewAnswer(e.Decision)
		a.Pattern = e.Pattern
		if e.OrgErr != nil {
			a.OrgErr = e.OrgErr.Error()
		}
		return a, nil
	case q.Resource != "" || q.Action != "":
		for _, rule := range g.questions {
			if rule.Resource == q.Resource && rule.Action == q.Action {
				switch {
				case rule.Org != nil && q.Org == 0:
					return nil, errors.New("the rule looks at one organisation: give it with --org, since a question without it is denied")
				case rule.Org == nil && q.Org != 0:
					return nil, errors.New("the rule looks at no particular organisation, as org in authzen.rules would have it: leave --org away")
				}
				return control.NewAnswer(rule.Policy.Explain(r.Context(), id, q.Org)), nil
			}
		}
		return nil, fmt.Errorf("no rule in authzen.rules is for the action %q on the resource %q", q.Action, q.Resource)
	}
	return control.NewAnswer(g.gate.Explain(r.Context(), id)), nil
}

func identity(q control.Question) (rolegate.Identity, error) {
	switch q.Kind {
	case rolegate.KindAccount.String():
		return rolegate.Account(q.User), nil
	case rolegate.KindEmail.String():
		return rolegate.Email(q.User), nil
	case rolegate.KindThirdAccount.String():
		return rolegate.ThirdAccount(q.User), nil
	case rolegate.KindThirdUserID.String():
		return rolegate.ThirdUserID(q.User), nil
	case rolegate.KindUserID.String():
		id, err := strconv.ParseInt(q.User, 10, 64)
		if err != nil || id <= 0 || strconv.FormatInt(id, 10) != q.User {
			return rolegate.Identity{}, errors.New("expected the marketplace's number of a user, such as 1542135022016057002, or another identity with its kind in front, such as account:wang")
		}
		return rolegate.UserID(id), nil
	}
	return rolegate.Identity{}, errors.New("expected a kind of identity that rolegate knows")
}
