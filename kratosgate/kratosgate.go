// Package kratosgate guards the operations of kratos's HTTP and gRPC servers
// with rolegate.
//
//	http.Middleware(
//		kratosgate.Admit(gate), // on the list, or out
//		selector.Server(kratosgate.Require(gate, rolegate.AnyRole("teacher"))).Path("/school.Grades/List").Build(),
//	)
//
// Config.Identify is asked who is calling, with the HTTP request or, for gRPC,
// with one that is made of the call: its metadata are the headers. Its context
// is the one that the middlewares in front have made, such as kratos's jwt.
// [rolegate.PathOrg] knows the variables of the route ({org_id} in the proto).
// The user is in the handler's context: gate.UserFrom(ctx).
//
// kratos runs a middleware once for each unary call. For streams of gRPC use
// [github.com/rolegate/rolegate/grpcgate], by grpc.StreamInterceptor; for
// handlers that are not generated, [rolegate.Gate.Admit] by http.Filter.
package kratosgate

import (
	"context"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/transport"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/gorilla/mux"
	"google.golang.org/grpc/peer"

	"github.com/rolegate/rolegate"
)

// Admit makes a middleware that lets only listed users through:
// [rolegate.Gate.Admit] for kratos.
func Admit(gate *rolegate.Gate) middleware.Middleware { return Guard(gate.AdmitPolicy()) }

// Require makes a middleware that lets a listed user through if all of the
// checks hold: [rolegate.Gate.Require] for kratos. It panics on the same
// mistakes.
func Require(gate *rolegate.Gate, options ...rolegate.Option) middleware.Middleware {
	return Guard(gate.Policy(options...))
}

// Guard makes a middleware of a policy that was compiled before.
func Guard(p *rolegate.Policy) middleware.Middleware {
	return func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, message any) (any, error) {
			tr, ok := transport.FromServerContext(ctx)
			if !ok { // no server's call: nobody can be told from it
				return nil, errors.InternalServer("INTERNAL", "the middleware is not in a server")
			}
			a, denial := p.Check(request(ctx, tr))
			if denial != nil {
				return nil, refusal(tr, denial)
			}
			defer a.End()
			if web, ok := tr.(khttp.Transporter); ok && web.ReplyHeader().Get("Cache-Control") == "" {
				private := http.Header{}
				a.KeepPrivate(private)
				for name := range private {
					web.ReplyHeader().Set(name, private.Get(name))
				}
			}
			return next(a.Context(), message)
		}
	}
}

// request is the HTTP request with the route's variables, or one made of a call
// of gRPC, with the context that the middlewares in front have made.
func request(ctx context.Context, tr transport.Transporter) *http.Request {
	if web, ok := tr.(khttp.Transporter); ok {
		r := web.Request().WithContext(ctx)
		r.Pattern = web.PathTemplate()
		for name, value := range mux.Vars(web.Request()) {
			r.SetPathValue(name, value)
		}
		return r
	}
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: tr.Operation()}, RequestURI: tr.Operation(), Pattern: tr.Operation(),
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}, Body: http.NoBody,
	}
	for _, name := range tr.RequestHeader().Keys() {
		if !strings.HasPrefix(name, ":") {
			r.Header[textproto.CanonicalMIMEHeaderKey(name)] = tr.RequestHeader().Values(name)
		}
	}
	if from, ok := peer.FromContext(ctx); ok && from.Addr != nil {
		r.RemoteAddr = from.Addr.String()
	}
	return r.WithContext(ctx)
}

// refusal is an error of kratos, which its encoders answer in their own form,
// with the decision's id in its metadata and the *rolegate.Denial as its cause.
// The headers of the answer are set, but not those of a body that is not sent.
func refusal(tr transport.Transporter, denial *rolegate.Denial) error {
	if _, ok := tr.(khttp.Transporter); ok {
		for name, values := range denial.Header {
			if name == "Content-Type" || name == "Content-Length" {
				continue
			}
			for i, value := range values {
				if i == 0 && name != "Vary" && name != "Set-Cookie" {
					tr.ReplyHeader().Set(name, value)
				} else {
					tr.ReplyHeader().Add(name, value)
				}
			}
		}
	}
	status := denial.Status
	if status == http.StatusSeeOther {
		status = denial.Reason.Status()
	}
	reason := map[int]string{
		http.StatusUnauthorized: "UNAUTHORIZED", http.StatusForbidden: "FORBIDDEN", http.StatusServiceUnavailable: "SERVICE_UNAVAILABLE",
		rolegate.ReasonClientGone.Status(): "CLIENT_CLOSED",
	}[status]
	if reason == "" {
		reason = "INTERNAL"
	}
	return errors.New(denial.Status, reason, denial.Message()).
		WithMetadata(map[string]string{"decision": denial.ID}).WithCause(denial)
}
