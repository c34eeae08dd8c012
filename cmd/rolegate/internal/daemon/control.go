package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// control answers the commands why, status and reload. Who may connect to the socket may
// ask everything.
func (d *daemon) control(g *generation) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET "+control.StatusPath, func(w http.ResponseWriter, _ *http.Request) {
		s := g.gate.Status()
		s.Incremental.Error, s.Full.Error = settings.InFile(s.Incremental.Error), settings.InFile(s.Full.Error)
		answer(w, http.StatusOK, s)
	})
	mux.HandleFunc("POST "+control.ReloadPath, func(w http.ResponseWriter, r *http.Request) {
		// A reload that waits for its turn is not to hold up the one before it,
		// which waits for the requests of the gate that it has replaced.
		g.gate.active.Add(-1)
		defer g.gate.active.Add(1)
		done := make(chan reloaded, 1)
		select {
		case d.asks <- reloadAsk{r.Context(), done}:
		case <-d.gone:
			http.Error(w, errShuttingDown.Error(), http.StatusServiceUnavailable)
			return
		case <-r.Context().Done():
			return
		}
		select {
		case got := <-done:
			switch {
			case givenUp(got.err), errors.Is(got.err, context.Canceled), errors.Is(got.err, context.DeadlineExceeded): // that is nothing about the file
				http.Error(w, got.err.Error(), http.StatusServiceUnavailable)
			case got.err != nil:
				http.Error(w, got.err.Error(), http.StatusUnprocessableEntity)
			default:
				answer(w, http.StatusOK, control.Reloaded{UnassignedRoles: got.unassigned})
			}
		case <-r.Context().Done():
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
		who := strconv.FormatInt(a.UserID, 10)
		if q.Kind == rolegate.KindUserID.String() {
			who = q.User // which why has read already
		}
		attrs := []any{"kind", q.Kind, "user_id", who, "reason", a.Reason}
		if a.Digest != "" {
			attrs = append(attrs, "identity_digest", a.Digest)
		}
		d.Logger.Info("asked why", attrs...)
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
		a, err := g.answer(q, e.Decision, g.file.RuleRoles(e.Pattern))
		if err != nil {
			return nil, err
		}
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
				a, err := g.answer(q, rule.Policy.Explain(r.Context(), id, q.Org), g.file.QuestionRoles(q.Resource, q.Action))
				if err == nil {
					a.When = rule.When != nil
				}
				return a, err
			}
		}
		return nil, fmt.Errorf("no rule in authzen.rules is for the action %q on the resource %q", q.Action, q.Resource)
	}
	return g.answer(q, g.gate.Explain(r.Context(), id), nil)
}

// answer says besides of the roles that the rule names which nobody has.
func (g *generation) answer(q control.Question, e rolegate.Explanation, roles []string) (*control.Answer, error) {
	if e.Found == rolegate.ReasonIdentifyFailed {
		return nil, fmt.Errorf("the server does not look for identities of the kind %s: name it in aliases or identity of the settings file, and reload", q.Kind)
	}
	a := control.NewAnswer(e)
	for _, r := range g.gate.Status().UnassignedRoles {
		if slices.Contains(roles, r.Code) {
			a.UnassignedRoles = append(a.UnassignedRoles, r)
		}
	}
	return a, nil
}

// decisionID is what a refused client is told.
var decisionID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

func identity(q control.Question) (rolegate.Identity, error) {
	kind := rolegate.ParseKind(q.Kind)
	id, err := rolegate.NewIdentity(kind, q.User)
	switch {
	case err != nil && decisionID.MatchString(q.User):
		err = errors.New("this is the id of a decision: the log has a line with it that says why, and the console finds it; why answers about a user")
	case err != nil && kind == rolegate.KindUserID:
		err = errors.New("expected the marketplace's number of a user, such as 1542135022016057002, or another identity with its kind in front, such as account:wang")
	}
	return id, err
}
