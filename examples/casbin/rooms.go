package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/casbin/casbin/v3"
	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// roomRules are the app's own: which role may book which room. Its managers
// change them while it runs. There is no g in them: the gate knows the roles.
func roomRules() (*casbin.SyncedEnforcer, error) {
	e, err := casbin.NewSyncedEnforcer("rooms.conf", "rooms.csv")
	if err != nil {
		return nil, err
	}
	e.AddFunction("hasRole", func(args ...any) (any, error) {
		if len(args) == 2 {
			user, known := args[0].(rolegate.User)
			if role, ok := args[1].(string); ok && known {
				return user.HasRole(role), nil
			}
		}
		return false, errors.New("hasRole takes a user and a role code")
	})
	return e, nil
}

func rooms(gate *rolegate.Gate, rules *casbin.SyncedEnforcer) chi.Router {
	r := chi.NewRouter()
	r.Use(gate.Admit) // first the marketplace's rule, then the app's own
	r.Post("/rooms/{room}/bookings", func(w http.ResponseWriter, r *http.Request) {
		user, _ := gate.UserFrom(r.Context())
		if allowed, err := rules.Enforce(user, chi.URLParam(r, "room"), "book"); err != nil || !allowed {
			http.Error(w, http.StatusText(http.StatusForbidden), http.StatusForbidden)
			return
		}
		fmt.Fprintln(w, "booked for", user.ID())
	})
	return r
}
