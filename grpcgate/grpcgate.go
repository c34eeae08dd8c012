// Package grpcgate guards the methods of a gRPC server with rolegate.
//
//	guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{
//		"/school.Grades/List":     gate.Policy(rolegate.AnyRole("teacher")),
//		"/grpc.health.v1.Health/": grpcgate.Public,
//	}}
//	server := grpc.NewServer(grpc.UnaryInterceptor(guard.Unary), grpc.StreamInterceptor(guard.Stream))
//
// Config.Identify is asked who is calling, with a request that is made of the
// call: its metadata are the headers, so that the module bearer reads a token
// from "authorization"; the peer is RemoteAddr and TLS, and the context is the
// call's. The user is in the context: gate.UserFrom(ctx).
package grpcgate

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/protoadapt"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/rolegate/rolegate"
)

// Public in [Guard.Rules] opens a method or a service to whoever calls. As a
// policy it denies.
var Public = new(rolegate.Policy)

// A Guard has the interceptors of a server. Its fields must not change once it
// serves; the methods are safe for concurrent use.
type Guard struct {
	Gate *rolegate.Gate

	// Rules has the policy of each method, by its full name ("/school.Grades/List")
	// or by its service ("/school.Grades/"); the method's own comes first. A
	// method without a rule, or with nil, is closed.
	Rules map[string]*rolegate.Policy

	// Org, if not nil, reads the organisation that a call is about: see
	// [rolegate.Call]. message is the request of a unary call and nil for a
	// stream. It returns 0 if the call names none, and an error if it cannot be
	// read: then the call is denied.
	Org func(ctx context.Context, method string, message any) (int64, error)
}

// Unary is a grpc.UnaryServerInterceptor.
func (g Guard) Unary(ctx context.Context, message any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	p := g.policy(info.FullMethod)
	if p == Public {
		return handler(ctx, message)
	}
	a, denial := g.check(ctx, p, info.FullMethod, message)
	if denial != nil {
		return nil, &refusal{denial}
	}
	defer a.End()
	return handler(a.Context(), message)
}

// Stream is a grpc.StreamServerInterceptor. With [rolegate.EndOnRevoke] in the
// policy, the stream ends with PermissionDenied when the access does, even
// while its handler waits for a message; and with Unavailable after
// [rolegate.Gate.EndStreams], which goes before grpc.Server.GracefulStop.
func (g Guard) Stream(service any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	p := g.policy(info.FullMethod)
	if p == Public {
		return handler(service, stream)
	}
	a, denial := g.check(stream.Context(), p, info.FullMethod, nil)
	if denial != nil {
		return &refusal{denial}
	}
	defer a.End()
	ctx := a.Context()
	ends := ctx.Done() != stream.Context().Done()
	err := handler(service, &guardedStream{stream, ctx, ends})
	if ended := endedBy(ctx); ended != nil {
		return ended
	}
	return err
}

func (g Guard) policy(method string) *rolegate.Policy {
	p := g.Rules[method]
	if p == nil {
		p = g.Rules[method[:strings.LastIndexByte(method, '/')+1]]
	}
	if p == nil {
		return g.Gate.Policy(rolegate.Where("the method has a rule", func(rolegate.User, *http.Request) bool { return false }))
	}
	return p
}

func (g Guard) check(ctx context.Context, p *rolegate.Policy, method string, message any) (rolegate.Admission, *rolegate.Denial) {
	r := request(ctx, method)
	call := rolegate.Call{Method: r.Method, Route: method, Request: func() *http.Request { return r }}
	call.Identity, call.Err = g.Gate.Identify(r)
	if g.Org != nil {
		var err error
		if call.Org, err = g.Org(ctx, method, message); err != nil {
			call.Org = -1
		}
	}
	if over := ctx.Err(); over != nil && (call.Err != nil || call.Org < 0) {
		// The deadline of a call is its client's: one that has passed is as good as
		// a client that has left.
		call.Err = cmp.Or(call.Err, over)
		gone, leave := context.WithCancel(context.WithoutCancel(ctx))
		leave()
		ctx = gone
	}
	return p.CheckCall(ctx, call)
}

// request makes a request of a call.
func request(ctx context.Context, method string) *http.Request {
	r := &http.Request{
		Method: http.MethodPost, URL: &url.URL{Path: method}, RequestURI: method, Pattern: method,
		Proto: "HTTP/2.0", ProtoMajor: 2, Header: http.Header{}, Body: http.NoBody,
	}
	md, _ := metadata.FromIncomingContext(ctx)
	for name, values := range md {
		switch {
		case name == ":authority" && len(values) > 0:
			r.Host = values[0]
		case !strings.HasPrefix(name, ":"):
			r.Header[textproto.CanonicalMIMEHeaderKey(name)] = values
		}
	}
	if from, ok := peer.FromContext(ctx); ok {
		if from.Addr != nil {
			r.RemoteAddr = from.Addr.String()
		}
		if info, ok := from.AuthInfo.(credentials.TLSInfo); ok {
			r.TLS = &info.State
		}
	}
	return r.WithContext(ctx)
}

// A refusal is an error with a gRPC status: Unauthenticated, PermissionDenied,
// Unavailable, Canceled or Internal, with the decision's id in its details. errors.As finds
// the *rolegate.Denial behind it. Neither tells the client why.
type refusal struct{ denial *rolegate.Denial }

func (e *refusal) Error() string { return e.GRPCStatus().String() }
func (e *refusal) Unwrap() error { return e.denial }

// GRPCStatus is what grpc answers with.
func (e *refusal) GRPCStatus() *status.Status {
	code, reason := codes.Internal, "INTERNAL"
	switch e.denial.Status {
	case http.StatusUnauthorized:
		code, reason = codes.Unauthenticated, "UNAUTHENTICATED"
	case http.StatusForbidden:
		code, reason = codes.PermissionDenied, "PERMISSION_DENIED"
	case http.StatusServiceUnavailable:
		code, reason = codes.Unavailable, "UNAVAILABLE"
	}
	if e.denial.Reason == rolegate.ReasonClientGone {
		code, reason = codes.Canceled, "CANCELED"
	}
	s := status.New(code, e.denial.Message())
	details := []protoadapt.MessageV1{&errdetails.ErrorInfo{
		Reason: reason, Domain: "rolegate", Metadata: map[string]string{"decision": e.denial.ID},
	}}
	if e.denial.RetryAfter > 0 {
		details = append(details, &errdetails.RetryInfo{RetryDelay: durationpb.New(e.denial.RetryAfter)})
	}
	if with, err := s.WithDetails(details...); err == nil {
		return with
	}
	return s
}

// endedBy says how a stream ends that a guard has ended, nil for every other.
func endedBy(ctx context.Context) error {
	switch cause := context.Cause(ctx); {
	case errors.Is(cause, rolegate.ErrRevoked):
		return status.Error(codes.PermissionDenied, "The access was revoked.")
	case errors.Is(cause, http.ErrServerClosed):
		return status.Error(codes.Unavailable, "The server is shutting down.")
	}
	return nil
}

// A guardedStream has the context that the guard made; and if ends, it ends
// with it.
type guardedStream struct {
	grpc.ServerStream
	ctx  context.Context
	ends bool
}

func (s *guardedStream) Context() context.Context { return s.ctx }

func (s *guardedStream) SendMsg(m any) error {
	if s.ends && s.ctx.Err() != nil {
		return s.over()
	}
	return s.ServerStream.SendMsg(m)
}

// RecvMsg waits for a message in a goroutine of its own if the access may end
// meanwhile: it lasts no longer than the stream, which ends when its handler
// returns.
func (s *guardedStream) RecvMsg(m any) error {
	if !s.ends {
		return s.ServerStream.RecvMsg(m)
	}
	received := make(chan error, 1)
	go func() { received <- s.ServerStream.RecvMsg(m) }()
	select {
	case err := <-received:
		if s.ctx.Err() != nil {
			return s.over()
		}
		return err
	case <-s.ctx.Done():
		return s.over()
	}
}

func (s *guardedStream) over() error {
	if ended := endedBy(s.ctx); ended != nil {
		return ended
	}
	return status.FromContextError(s.ctx.Err()).Err()
}
