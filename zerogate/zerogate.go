// Package zerogate guards the routes of go-zero's rest servers with rolegate.
//
//	server.Use(zerogate.Admit(gate)) // on the list, or out
//	server.AddRoutes(rest.WithMiddleware(zerogate.Require(gate, rolegate.AnyRole("teacher")), routes...))
//
// A guard knows the route's parameters (go-zero's pathvar), as
// [rolegate.PathOrg] needs them. A refusal is answered as Config.Deny shapes it.
// The user is in the request's context, which go-zero's logic gets:
// gate.UserFrom(l.ctx). What go-zero's own jwt middleware has put into the
// context, Config.Identify reads there.
//
// For zrpc, use [github.com/rolegate/rolegate/grpcgate]:
// server.AddUnaryInterceptors(guard.Unary) and AddStreamInterceptors(guard.Stream).
package zerogate

import (
	"net/http"

	"github.com/zeromicro/go-zero/rest"
	"github.com/zeromicro/go-zero/rest/pathvar"

	"github.com/rolegate/rolegate"
)

// Admit makes a middleware that lets only listed users through:
// [rolegate.Gate.Admit] for go-zero.
func Admit(gate *rolegate.Gate) rest.Middleware { return Guard(gate.AdmitPolicy()) }

// Require makes a middleware that lets a listed user through if all of the
// checks hold: [rolegate.Gate.Require] for go-zero. It panics on the same
// mistakes.
func Require(gate *rolegate.Gate, options ...rolegate.Option) rest.Middleware {
	return Guard(gate.Policy(options...))
}

// Guard makes a middleware of a policy that was compiled before.
func Guard(p *rolegate.Policy) rest.Middleware {
	return func(next http.HandlerFunc) http.HandlerFunc {
		guarded := p.Wrap(next)
		return func(w http.ResponseWriter, r *http.Request) {
			for name, value := range pathvar.Vars(r) {
				r.SetPathValue(name, value)
			}
			guarded.ServeHTTP(w, r)
		}
	}
}
