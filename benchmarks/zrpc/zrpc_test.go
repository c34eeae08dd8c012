//go:build zrpc

// Package zrpc_test has go-zero's gRPC server guarded as docs/adapters.md has it. It
// is here, and behind a tag, since zrpc needs the clients of etcd and Kubernetes:
// neither zerogate nor the workspace is to require them, nor every run of the benchmarks
// to compile them.
package zrpc_test

import (
	"context"
	"errors"
	"net"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"
	"github.com/zeromicro/go-zero/zrpc"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/grpcgate"
	"github.com/rolegate/rolegate/internal/frametest"
)

// grades is a service without generated code: Mine answers the user's number, Org
// the organisation, and Watch sends back what it receives.
func grades(gate *rolegate.Gate) *grpc.ServiceDesc {
	unary := func(name string, answer func(ctx context.Context) int64) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.Int64Value)
			if err := decode(in); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/school.Grades/" + name}
			return intercept(ctx, in, info, func(ctx context.Context, _ any) (any, error) { return wrapperspb.Int64(answer(ctx)), nil })
		}}
	}
	return &grpc.ServiceDesc{
		ServiceName: "school.Grades", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{
			unary("Mine", func(ctx context.Context) int64 { u, _ := gate.UserFrom(ctx); return u.ID() }),
			unary("Org", func(ctx context.Context) int64 { org, _ := gate.OrgFrom(ctx); return org }),
			unary("Forgotten", func(context.Context) int64 { return 0 }),
		},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				in := new(wrapperspb.Int64Value)
				if err := stream.RecvMsg(in); err != nil {
					return err
				}
				if err := stream.SendMsg(in); err != nil {
					return err
				}
			}
		}}},
	}
}

// serveRPC starts a zrpc server as docs/adapters.md has it, and returns a
// connection to it.
func serveRPC(t *testing.T, gate *rolegate.Gate) *grpc.ClientConn {
	t.Helper()
	guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{
		"/school.Grades/Mine":  gate.Policy(rolegate.AnyRole("teacher")),
		"/school.Grades/Org":   gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("none"))),
		"/school.Grades/Watch": gate.Policy(rolegate.Listed(), rolegate.EndOnRevoke()),
	}, Org: func(_ context.Context, method string, message any) (int64, error) {
		n, is := message.(*wrapperspb.Int64Value)
		switch {
		case method != "/school.Grades/Org":
			return 0, nil
		case !is || n.Value <= 0:
			return 0, errors.New("no organisation")
		}
		return n.Value, nil
	}}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	address := listener.Addr().String()
	require.NoError(t, listener.Close())
	conf := zrpc.RpcServerConf{ListenOn: address}
	conf.Name, conf.Mode = "school", "test"
	conf.Middlewares.Recover = true
	server, err := zrpc.NewServer(conf, func(s *grpc.Server) { s.RegisterService(grades(gate), struct{}{}) })
	require.NoError(t, err)
	server.AddUnaryInterceptors(guard.Unary)
	server.AddStreamInterceptors(guard.Stream)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Start()
	}()
	conn, err := grpc.NewClient(address, grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultCallOptions(grpc.WaitForReady(true)))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, conn.Close())
		proc.Shutdown() // what go-zero does on SIGTERM: Start waits for it
		server.Stop()
		<-ended
	})
	return conn
}

func as(t *testing.T, user string) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), frametest.Long)
	t.Cleanup(cancel)
	if user == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-user-id", user)
}

func TestRPC(t *testing.T) {
	logx.Disable()
	source := frametest.School()
	gate := frametest.Open(t, source)
	conn := serveRPC(t, gate)
	for _, c := range []struct {
		name, method, user string
		in                 int64
		code               codes.Code
		out                int64
	}{
		{"admitted, with the user in the context", "Mine", "1", 0, codes.OK, 1},
		{"the organisation of the message", "Org", "1", 7, codes.OK, 7},
		{"another organisation", "Org", "1", 8, codes.PermissionDenied, 0},
		{"an organisation that is none", "Org", "1", -1, codes.PermissionDenied, 0},
		{"no role", "Mine", "3", 0, codes.PermissionDenied, 0},
		{"not listed", "Mine", "9", 0, codes.PermissionDenied, 0},
		{"nobody", "Mine", "", 0, codes.Unauthenticated, 0},
		{"a session store that is away", "Mine", "away", 0, codes.Internal, 0},
		{"a method without a rule", "Forgotten", "1", 0, codes.PermissionDenied, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			out := new(wrapperspb.Int64Value)
			err := conn.Invoke(as(t, c.user), "/school.Grades/"+c.method, wrapperspb.Int64(c.in), out)
			require.Equal(t, c.code, status.Code(err), err)
			assert.Equal(t, c.out, out.Value)
			if err != nil {
				assert.NotContains(t, err.Error(), "store is away")
				assert.NotEmpty(t, status.Convert(err).Details(), "the decision")
			}
		})
	}
	t.Run("a stream ends on revocation", func(t *testing.T) {
		stream, err := conn.NewStream(as(t, "2"), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/school.Grades/Watch")
		require.NoError(t, err)
		out := new(wrapperspb.Int64Value)
		require.NoError(t, stream.SendMsg(wrapperspb.Int64(5)))
		require.NoError(t, stream.RecvMsg(out))
		require.EqualValues(t, 5, out.Value)
		source.Remove(2)
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.Equal(t, codes.PermissionDenied, status.Code(stream.RecvMsg(out)), "while the handler waits for a message")
	})
	t.Run("a stream ends with the server's streams", func(t *testing.T) {
		stream, err := conn.NewStream(as(t, "1"), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/school.Grades/Watch")
		require.NoError(t, err)
		out := new(wrapperspb.Int64Value)
		require.NoError(t, stream.SendMsg(wrapperspb.Int64(5)))
		require.NoError(t, stream.RecvMsg(out))
		gate.EndStreams()
		assert.Equal(t, codes.Unavailable, status.Code(stream.RecvMsg(out)))
	})
}
