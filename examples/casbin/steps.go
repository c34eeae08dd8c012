package main

import (
	"context"
	"log/slog"
	"net/http"
	"strconv"

	"github.com/casbin/casbin/v3"
	"github.com/go-chi/chi/v5"

	"github.com/rolegate/rolegate"
)

// notGranted returns the lines g of casbin's that the marketplace does not have.
// Those between two roles are among them: they belong into Config.Implies.
func notGranted(ctx context.Context, gate *rolegate.Gate, e *casbin.Enforcer) (lines [][]string, err error) {
	all, err := e.GetGroupingPolicy()
	if err != nil {
		return nil, err
	}
	for _, g := range all {
		org := int64(0) // a role without a domain: in any organisation
		if len(g) > 2 {
			if org, err = strconv.ParseInt(g[2], 10, 64); err != nil {
				return nil, err
			}
		}
		policy := gate.Policy(rolegate.AnyRole(g[1]))
		id, err := rolegate.NewIdentity(rolegate.KindThirdAccount, g[0])
		if err != nil {
			return nil, err
		}
		if !policy.Decide(ctx, id, org).Allowed() {
			lines = append(lines, g)
		}
	}
	return lines, nil
}

// tried lets casbin decide. The gate behind it logs what it would refuse of what
// casbin has let pass. It needs Config.ShadowAdmit.
func tried(gate *rolegate.Gate, casbin func(http.Handler) http.Handler) guards {
	return func(options ...rolegate.Option) func(http.Handler) http.Handler {
		guard := gate.Require(append(options, rolegate.Shadow())...)
		return func(next http.Handler) http.Handler { return casbin(guard(next)) }
	}
}

// both lets pass what the gate and casbin let pass. It logs what casbin refuses
// of what the gate has let pass.
func both(gate *rolegate.Gate, casbin func(http.Handler) http.Handler, log *slog.Logger) guards {
	return func(options ...rolegate.Option) func(http.Handler) http.Handler {
		guard := gate.Require(options...)
		return func(next http.Handler) http.Handler {
			return guard(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				passed := false
				casbin(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					passed = true
					next.ServeHTTP(w, r)
				})).ServeHTTP(w, r)
				if !passed {
					user, _ := gate.UserFrom(r.Context())
					log.InfoContext(r.Context(), "casbin refuses what the gate lets pass",
						"method", r.Method, "route", chi.RouteContext(r.Context()).RoutePattern(), "user_id", user.LogValue())
				}
			}))
		}
	}
}
