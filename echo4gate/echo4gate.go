// Package echo4gate guards the routes of echo 4 with rolegate. The package
// echogate does so for echo 5.
//
//	e.Use(echo4gate.Admit(gate)) // on the list, or out
//	e.GET("/grades", grades, echo4gate.Require(gate, rolegate.AnyRole("teacher")))
//
// A guard knows the route's pattern and its parameters, as [rolegate.PathOrg]
// needs them, also in e.Use; in e.Pre, in front of the routing, it does not.
// The user is in the request's context: gate.UserFrom(c.Request().Context()).
package echo4gate

import (
	"encoding/json"
	"net/http"

	"github.com/labstack/echo/v4"

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
		return func(c echo.Context) error {
			outer := c.Request()
			outer.Pattern = c.Path()
			names, values := c.ParamNames(), c.ParamValues()
			request.SetPathValues(outer, len(names), func(i int) (name, value string) { return names[i], values[i] })
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
// errors, but for a redirect, which is no error. The default handler answers
// {"message":"Forbidden","decision":"…"}; one of the app's finds the
// [rolegate.Denial] with errors.As, and can answer with what Config.Deny has
// shaped, by its ServeHTTP.
func refuse(c echo.Context, denial *rolegate.Denial) error {
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
	return echo.NewHTTPError(denial.Status, message{denial}).SetInternal(denial)
}

// message is what a client is told. It is JSON in a form of its own, so that
// echo's Debug adds nothing to it.
type message struct{ denial *rolegate.Denial }

// MarshalJSON implements json.Marshaler.
func (m message) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]string{"message": m.denial.Message(), "decision": m.denial.ID})
}

// String is the message in a log line.
func (m message) String() string {
	return http.StatusText(m.denial.Status) + " (decision " + m.denial.ID + ")"
}
