// Package echogate guards the routes of echo 5 with rolegate. The package
// echo4gate does so for echo 4.
//
//	e.Use(echogate.Admit(gate)) // on the list, or out
//	e.GET("/grades", grades, echogate.Require(gate, rolegate.AnyRole("teacher")))
//
// A guard knows the route's pattern and its parameters, as [rolegate.PathOrg]
// needs them, also in e.Use; in e.Pre, in front of the routing, it does not.
// The user is in the request's context: gate.UserFrom(c.Request().Context()).
package echogate

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v5"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/request"
)

// Admit makes a middleware that lets only listed users through:
// [rolegate.Gate.Admit] for echo.
func Admit(gate *rolegate.Gate) echo.MiddlewareFunc { return Guard(gate.AdmitPolicy()) }

// Require makes a middleware that lets a listed user through if all of the
// checks hold: [rolegate.Gate.Require] for echo. It panics on the same mistakes.
func Require(gate *rolegate.Gate, options ...rolegate.Option) echo.MiddlewareFunc {
	return Guard(gate.Policy(options...))
}

// Guard makes a middleware of a policy that was compiled before.
func Guard(p *rolegate.Policy) echo.MiddlewareFunc {
	return func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			outer := c.Request()
			outer.Pattern = c.Path()
			found := c.PathValues()
			request.SetPathValues(outer, len(found), func(i int) (name, value string) { return found[i].Name, found[i].Value })
			a, denial := p.Check(outer)
			if denial != nil {
				return refuse(c, denial)
			}
			defer func() {
				a.End()
				c.SetRequest(outer)
			}()
			c.SetRequest(a.Request())
			a.KeepPrivate(c.Response().Header())
			return next(c)
		}
	}
}

// refuse sets the headers of the answer and leaves the rest to echo's handler of
// errors, but for a redirect, which is no error.
func refuse(c *echo.Context, denial *rolegate.Denial) error {
	if denial.Status < http.StatusBadRequest {
		denial.ServeHTTP(c.Response(), c.Request())
		return nil
	}
	h := c.Response().Header()
	for name, values := range denial.Header {
		if name != "Content-Type" && name != "Content-Length" {
			h[name] = append(h[name][:0:0], values...)
		}
	}
	return &Error{denial}
}

// An Error is a refusal as echo's handler of errors gets it. The default one
// answers with the status and {"message":"…","decision":"…"}, in the client's language; one of the
// app's can answer with what Config.Deny has shaped, by Denial.ServeHTTP.
type Error struct{ Denial *rolegate.Denial }

// Error says what the client may know. What is behind it is in Denial, which
// errors.As finds, and in the log.
func (e *Error) Error() string {
	return http.StatusText(e.Denial.Status) + " (decision " + e.Denial.ID + ")"
}

// StatusCode implements echo.HTTPStatusCoder.
func (e *Error) StatusCode() int { return e.Denial.Status }

// Unwrap returns the Denial.
func (e *Error) Unwrap() error { return e.Denial }

// MarshalJSON implements json.Marshaler.
func (e *Error) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"message": e.Denial.Message(), "decision": e.Denial.ID})
}
