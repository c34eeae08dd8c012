// A gRPC server whose methods are guarded by policies. It takes the marketplace
// from ROLEGATE_BASE_URL, ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"os"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/health"
	healthpb "google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/status"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

// A guard says for each method, by its full name, which policy decides. A method
// that it does not name is closed.
type guard struct {
	policies map[string]*rolegate.Policy

	// identify says who is calling: by the peer's certificate, or a token in the
	// metadata. It returns rolegate.ErrNobody if it does not know.
	identify func(context.Context) (rolegate.Identity, error)
}

// check decides. Which reason is behind a PermissionDenied is not told: a caller
// must not find out who exists.
func (g guard) check(ctx context.Context, method string) error {
	policy := g.policies[method]
	if policy == nil {
		return status.Error(codes.PermissionDenied, "you may not do this")
	}
	id, err := g.identify(ctx)
	if err != nil && !errors.Is(err, rolegate.ErrNobody) {
		return status.Error(codes.Internal, "who you are could not be found out")
	}
	d := policy.Decide(ctx, id, 0) // of nobody too, so that it is counted
	switch {
	case d.Allowed():
		return nil
	case d.Reason.Status() == 401:
		return status.Error(codes.Unauthenticated, "you are not logged in")
	case d.Reason.Status() == 403:
		return status.Error(codes.PermissionDenied, "you may not do this")
	case d.Reason.Status() == 503:
		return status.Error(codes.Unavailable, "whether you may do this cannot be told at the moment")
	default:
		return status.Error(codes.Internal, "who you are could not be found out")
	}
}

func (g guard) unary(ctx context.Context, request any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
	if err := g.check(ctx, info.FullMethod); err != nil {
		return nil, err
	}
	return handler(ctx, request)
}

func (g guard) stream(server any, stream grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
	if err := g.check(stream.Context(), info.FullMethod); err != nil {
		return err
	}
	return handler(server, stream)
}

func newServer(gate *rolegate.Gate, identify func(context.Context) (rolegate.Identity, error)) *grpc.Server {
	g := guard{identify: identify, policies: map[string]*rolegate.Policy{
		healthpb.Health_Check_FullMethodName: gate.Policy(rolegate.AnyRole("teacher", "admin")),
		healthpb.Health_Watch_FullMethodName: gate.Policy(rolegate.AnyRole("admin")),
	}}
	server := grpc.NewServer(grpc.UnaryInterceptor(g.unary), grpc.StreamInterceptor(g.stream))
	healthpb.RegisterHealthServer(server, health.NewServer()) // in the place of your service
	return server
}

func main() {
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: marketplace.New(marketplace.Config{
			BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
			Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
		}),
		Aliases: []rolegate.Kind{rolegate.KindUserID}, // no HTTP is guarded, so that there is no Identify
	})
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	listener, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	nobody := func(context.Context) (rolegate.Identity, error) { return rolegate.Identity{}, rolegate.ErrNobody } // your login
	log.Println(newServer(gate, nobody).Serve(listener))
}
