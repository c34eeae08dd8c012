// Package gingate guards gin's routes with rolegate.
//
//	r.Use(gingate.Admit(gate)) // on the list, or out
//	r.GET("/grades", gingate.Require(gate, rolegate.AnyRole("teacher")), grades)
//
// A guard knows the route's pattern and its parameters, as [rolegate.PathOrg]
// needs them, also in r.Use: gin routes before it runs any middleware. A refusal
// is answered as Config.Deny shapes it, and the chain is aborted. Behind a guard,
// [User] and [Org] return what it has found; so do gate.UserFrom and gate.OrgFrom
// with the request's context.
//
// With [rolegate.EndOnRevoke], c.Stream ends when the access does, nothing more
// is written, and a connection that a WebSocket has taken over is closed, until
// the handler has returned. So it is when the server shuts down, if that calls
// [rolegate.Gate.EndStreams].
//
// [Routes] lists an engine's routes, for a test that finds those that nothing guards.
package gingate

import (
	"bufio"
	"context"
	"errors"
	"net"
	"net/http"
	"sync"

	"github.com/gin-gonic/gin"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/request"
	"github.com/rolegate/rolegate/internal/testuser"
)

// Admit makes a handler that lets only listed users through: [rolegate.Gate.Admit]
// for gin.
func Admit(gate *rolegate.Gate) gin.HandlerFunc { return Guard(gate.AdmitPolicy()) }

// Require makes a handler that lets a listed user through if all of the checks
// hold: [rolegate.Gate.Require] for gin. It panics on the same mistakes.
func Require(gate *rolegate.Gate, options ...rolegate.Option) gin.HandlerFunc {
	return Guard(gate.Policy(options...))
}

// admissionKey is where a guard keeps what it has found, for User and Org.
type admissionKey struct{}

// Guard makes a handler of a policy that was compiled before.
func Guard(p *rolegate.Policy) gin.HandlerFunc { return guard{p}.handle }

type guard struct{ policy *rolegate.Policy }

func (g guard) handle(c *gin.Context) {
	if c.Request == nil { // only Routes asks without one
		c.Set(policyKey{}, g.policy)
		c.Abort()
		return
	}
	outer, writer, before := c.Request, c.Writer, admission(c)
	outer.Pattern = c.FullPath()
	request.SetPathValues(outer, len(c.Params), func(i int) (name, value string) { return c.Params[i].Key, c.Params[i].Value })
	a, denial := g.policy.Check(outer)
	if denial != nil {
		denial.ServeHTTP(c.Writer, outer)
		c.Abort()
		return
	}
	defer func() {
		a.End()
		c.Request, c.Writer = outer, writer
		c.Set(admissionKey{}, before)
	}()
	c.Request = a.Request()
	a.KeepPrivate(c.Writer.Header())
	if a.Context().Done() != outer.Context().Done() {
		c.Writer = newEndingWriter(writer, a.Context())
	}
	if a.Org == 0 && before != nil && before.User.ID() == a.User.ID() {
		a.Org = before.Org // the guard outside has checked it
	}
	c.Set(admissionKey{}, &a)
	c.Next()
}

func admission(c *gin.Context) *rolegate.Admission {
	found, _ := c.Get(admissionKey{})
	a, _ := found.(*rolegate.Admission)
	return a
}

// found is the admission that User and Org tell of: the innermost guard's or, in the
// test of a handler without one, that of rolegatetest.As.
func found(c *gin.Context) *rolegate.Admission {
	a := admission(c)
	if a == nil && c.Request != nil {
		a, _ = c.Request.Context().Value(testuser.Key{}).(*rolegate.Admission)
	}
	return a
}

// User returns the user that the innermost guard admitted. ok is false if
// there is no guard in front of the handler, or if Config.ShadowAdmit let an
// unlisted user pass. It does not depend on gin's ContextWithFallback.
func User(c *gin.Context) (u rolegate.User, ok bool) {
	if a := found(c); a != nil {
		return a.User, a.User.ID() != 0
	}
	return rolegate.User{}, false
}

// Org returns the organisation that a guard with [rolegate.InOrg] checked. ok is
// false if none did.
func Org(c *gin.Context) (org int64, ok bool) {
	if a := found(c); a != nil {
		return a.Org, a.Org != 0
	}
	return 0, false
}

// An endingWriter ends what a handler writes when its access ends. c.Stream does
// not look at the request's context, but asks CloseNotify.
type endingWriter struct {
	gin.ResponseWriter
	ctx  context.Context
	gone func() <-chan bool
}

func newEndingWriter(w gin.ResponseWriter, ctx context.Context) *endingWriter {
	return &endingWriter{w, ctx, sync.OnceValue(func() <-chan bool {
		gone := make(chan bool, 1)
		context.AfterFunc(ctx, func() { gone <- true })
		return gone
	})}
}

// CloseNotify implements http.CloseNotifier: the client is gone, or the access.
func (w *endingWriter) CloseNotify() <-chan bool { return w.gone() }

// Write implements io.Writer.
func (w *endingWriter) Write(p []byte) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.ResponseWriter.Write(p)
}

// WriteString implements io.StringWriter.
func (w *endingWriter) WriteString(s string) (int, error) {
	if w.ctx.Err() != nil {
		return 0, context.Cause(w.ctx)
	}
	return w.ResponseWriter.WriteString(s)
}

// Hijack implements http.Hijacker. The connection is closed when the access
// ends, but not when the handler returns: then it is another's.
func (w *endingWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buffered, err := w.ResponseWriter.Hijack()
	if err == nil {
		context.AfterFunc(w.ctx, func() {
			if cause := context.Cause(w.ctx); errors.Is(cause, rolegate.ErrRevoked) || errors.Is(cause, http.ErrServerClosed) {
				_ = conn.Close()
			}
		})
	}
	return conn, buffered, err
}
