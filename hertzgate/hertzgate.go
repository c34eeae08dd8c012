// Package hertzgate guards hertz's routes with rolegate.
//
//	guard := hertzgate.New(gate, func(ctx context.Context, c *app.RequestContext) (rolegate.Identity, error) {
//		return sessionOf(ctx, c) // rolegate.UserID(…), or rolegate.ErrNobody
//	})
//	h.Use(guard.Admit())
//	h.GET("/grades", guard.Require(rolegate.AnyRole("teacher")), grades)
//
// hertz is not net/http: who is asking is read from hertz's own request, and
// Config.Identify is not asked. An *http.Request without a body is made only for
// a policy with [rolegate.InOrg] or [rolegate.Where] and for the shape of a
// refusal. [rolegate.PathOrg] knows the route's parameters. The user is in the
// context that the handler gets: gate.UserFrom(ctx).
package hertzgate

import (
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/network"

	"github.com/rolegate/rolegate"
	named "github.com/rolegate/rolegate/internal/request"
)

// A Guard makes hertz's handlers of a gate. [New] makes one. It is safe for
// concurrent use.
type Guard struct {
	gate     *rolegate.Gate
	identify func(context.Context, *app.RequestContext) (rolegate.Identity, error)
}

// New makes a Guard. identify says who is asking: it returns
// [rolegate.ErrNobody] if nobody is logged in, which is answered 401, and
// another error if that cannot be told, which is answered 500. New panics if
// identify is nil.
func New(gate *rolegate.Gate, identify func(context.Context, *app.RequestContext) (rolegate.Identity, error)) *Guard {
	if identify == nil {
		panic("rolegate: hertzgate.New: the identify func is nil")
	}
	return &Guard{gate, identify}
}

// Admit makes a handler that lets only listed users through:
// [rolegate.Gate.Admit] for hertz.
func (g *Guard) Admit() app.HandlerFunc { return g.Policy(g.gate.AdmitPolicy()) }

// Require makes a handler that lets a listed user through if all of the checks
// hold: [rolegate.Gate.Require] for hertz. It panics on the same mistakes.
func (g *Guard) Require(options ...rolegate.Option) app.HandlerFunc {
	return g.Policy(g.gate.Policy(options...))
}

// Policy makes a handler of a policy that was compiled before.
func (g *Guard) Policy(p *rolegate.Policy) app.HandlerFunc {
	return func(ctx context.Context, c *app.RequestContext) {
		call := rolegate.Call{
			Method: string(c.Method()), Route: c.FullPath(),
			Request: func() *http.Request { return request(c) },
		}
		call.Identity, call.Err = g.who(ctx, c)
		a, denial := p.CheckCall(ctx, call)
		if denial != nil {
			refuse(c, denial)
			return
		}
		goesOn := false
		defer func() {
			if !goesOn {
				a.End()
			}
		}()
		c.Next(a.Context())
		// hertz sends the headers when all handlers have returned; those of net/http
		// add theirs to what is there.
		if len(c.Response.Header.Peek("Cache-Control")) == 0 {
			private := http.Header{}
			a.KeepPrivate(private)
			for name := range private {
				c.Response.Header.Set(name, private.Get(name))
			}
		}
		// hertz runs the handler of a connection that was taken over when all
		// handlers have returned: the admission lasts until that one has.
		if taken := c.GetHijackHandler(); taken != nil && a.Context().Done() != ctx.Done() {
			goesOn = true
			raw := c.GetConn() // Close of what the handler gets does nothing
			c.SetHijackHandler(func(conn network.Conn) {
				defer a.End()
				defer context.AfterFunc(a.Context(), func() { _ = raw.Close() })()
				taken(conn)
			})
		}
	}
}

// who asks identify; a panic in it must not end the server's goroutine.
func (g *Guard) who(ctx context.Context, c *app.RequestContext) (id rolegate.Identity, err error) {
	defer func() {
		if v := recover(); v != nil {
			id, err = rolegate.Identity{}, errors.New("the identify func panicked")
		}
	}()
	return g.identify(ctx, c)
}

// refuse writes the answer and ends the chain.
func refuse(c *app.RequestContext, denial *rolegate.Denial) {
	c.Abort()
	c.Response.ResetBody()
	c.SetStatusCode(denial.Status)
	h := &c.Response.Header
	for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Location"} {
		h.Del(name) // of a success that a handler outside prepared
	}
	for name, values := range denial.Header {
		switch name {
		case "Content-Length":
			continue
		case "Vary", "Set-Cookie":
		default:
			h.Del(name)
		}
		for _, value := range values {
			h.Add(name, value)
		}
	}
	c.Response.SetBody(denial.Body)
}

// request makes a request without a body.
func request(c *app.RequestContext) *http.Request {
	r := &http.Request{
		Method: string(c.Method()), Host: string(c.Host()), Pattern: c.FullPath(),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: http.NoBody, RemoteAddr: c.RemoteAddr().String(), RequestURI: string(c.Request.Header.RequestURI()),
	}
	u, err := url.ParseRequestURI(r.RequestURI)
	if err != nil {
		u = &url.URL{Path: string(c.Path()), RawQuery: string(c.URI().QueryString())}
	}
	r.URL = u
	c.Request.Header.VisitAll(func(name, value []byte) {
		if key := textproto.CanonicalMIMEHeaderKey(string(name)); key != "Host" {
			r.Header[key] = append(r.Header[key], string(value))
		}
	})
	named.SetPathValues(r, len(c.Params), func(i int) (name, value string) { return c.Params[i].Key, c.Params[i].Value })
	return r
}
