package grpcgate_test

import (
	"context"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/grpcgate"
	"github.com/rolegate/rolegate/internal/frametest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// service is a gRPC service without generated code: Me, Org and Open answer the
// user's number or the organisation; Chat sends back what it receives.
func service(gate *rolegate.Gate) *grpc.ServiceDesc {
	unary := func(name string, answer func(ctx context.Context) int64) grpc.MethodDesc {
		return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.Int64Value)
			if err := decode(in); err != nil {
				return nil, err
			}
			info := &grpc.UnaryServerInfo{Server: srv, FullMethod: "/school.Grades/" + name}
			return interceptor(ctx, in, info, func(ctx context.Context, _ any) (any, error) { return wrapperspb.Int64(answer(ctx)), nil })
		}}
	}
	user := func(ctx context.Context) int64 {
		u, _ := gate.UserFrom(ctx)
		return u.ID()
	}
	org := func(ctx context.Context) int64 {
		org, _ := gate.OrgFrom(ctx)
		return org
	}
	return &grpc.ServiceDesc{
		ServiceName: "school.Grades", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{unary("Me", user), unary("Org", org), unary("Open", user), unary("Forgotten", user)},
		Streams: []grpc.StreamDesc{{StreamName: "Chat", ClientStreams: true, ServerStreams: true, Handler: func(_ any, stream grpc.ServerStream) error {
			for {
				in := new(wrapperspb.Int64Value)
				if err := stream.RecvMsg(in); err != nil {
					return err
				}
				in.Value += user(stream.Context())
				if err := stream.SendMsg(in); err != nil {
					return err
				}
			}
		}}},
	}
}

// serve starts a server and returns a connection to it.
func serve(t *testing.T, gate *rolegate.Gate) *grpc.ClientConn {
	t.Helper()
	guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{
		"/school.Grades/Me":   gate.Policy(rolegate.AnyRole("teacher")),
		"/school.Grades/Org":  gate.Policy(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("none"))),
		"/school.Grades/Open": grpcgate.Public,
		"/school.Grades/Chat": gate.Policy(rolegate.Listed(), rolegate.EndOnRevoke()),
	}, Org: func(_ context.Context, method string, message any) (int64, error) {
		n, _ := message.(*wrapperspb.Int64Value)
		if method != "/school.Grades/Org" {
			return 0, nil
		}
		if n.GetValue() > 1000 {
			return 0, errors.New("no such organisation")
		}
		return n.GetValue(), nil
	}}
	// What is outside the guard finds its context as it was.
	unharmed := func(ctx context.Context) {
		assert.NoError(t, ctx.Err())
		_, ok := gate.UserFrom(ctx)
		assert.False(t, ok)
	}
	server := grpc.NewServer(
		grpc.ChainUnaryInterceptor(func(ctx context.Context, in any, _ *grpc.UnaryServerInfo, next grpc.UnaryHandler) (any, error) {
			out, err := next(ctx, in)
			unharmed(ctx)
			return out, err
		}, guard.Unary),
		grpc.ChainStreamInterceptor(func(srv any, stream grpc.ServerStream, _ *grpc.StreamServerInfo, next grpc.StreamHandler) error {
			err := next(srv, stream)
			if _, ok := gate.UserFrom(stream.Context()); ok {
				t.Error("the user is in the context outside the guard")
			}
			return err
		}, guard.Stream))
	server.RegisterService(service(gate), nil)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	served := make(chan error, 1)
	go func() { served <- server.Serve(listener) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, conn.Close())
		server.Stop()
		assert.NoError(t, <-served)
	})
	return conn
}

func as(ctx context.Context, user string) context.Context {
	if user == "" {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, "x-user-id", user)
}

func TestUnary(t *testing.T) {
	t.Parallel()
	conn := serve(t, frametest.Open(t, frametest.School()))
	for _, c := range []struct {
		name, user, method string
		message, want      int64
		code               codes.Code
	}{
		{"the user in the context", "1", "Me", 0, 1, codes.OK},
		{"no role", "3", "Me", 0, 0, codes.PermissionDenied},
		{"not listed", "9", "Me", 0, 0, codes.PermissionDenied},
		{"nobody", "", "Me", 0, 0, codes.Unauthenticated},
		{"a session store that is away", "away", "Me", 0, 0, codes.Internal},
		{"the organisation of the message", "1", "Org", 7, 7, codes.OK},
		{"another organisation", "1", "Org", 8, 0, codes.PermissionDenied},
		{"no organisation", "1", "Org", 0, 0, codes.PermissionDenied},
		{"an organisation that is none", "1", "Org", -7, 0, codes.PermissionDenied},
		{"an organisation that cannot be read", "1", "Org", 1001, 0, codes.PermissionDenied},
		{"a public method", "", "Open", 0, 0, codes.OK},
		{"a method without a rule", "1", "Forgotten", 0, 0, codes.PermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			out := new(wrapperspb.Int64Value)
			err := conn.Invoke(as(t.Context(), c.user), "/school.Grades/"+c.method, wrapperspb.Int64(c.message), out)
			require.Equal(t, c.code, status.Code(err), "%v", err)
			if c.code == codes.OK {
				assert.Equal(t, c.want, out.Value)
				return
			}
			require.NotEmpty(t, status.Convert(err).Details())
			info, ok := status.Convert(err).Details()[0].(*errdetails.ErrorInfo)
			require.True(t, ok)
			assert.Equal(t, "rolegate", info.Domain)
			assert.Len(t, info.Metadata["decision"], 26)
			for _, secret := range []string{"role_missing", "not_authorized", "away"} {
				assert.NotContains(t, status.Convert(err).String(), secret)
			}
		})
	}
}

// A refusal speaks the client's language.
func TestLanguage(t *testing.T) {
	t.Parallel()
	conn := serve(t, frametest.Open(t, frametest.School()))
	for language, want := range map[string]string{"zh-CN,zh;q=0.9": "您没有权限", "en": "You do not have permission"} {
		ctx := metadata.AppendToOutgoingContext(as(t.Context(), "3"), "accept-language", language)
		err := conn.Invoke(ctx, "/school.Grades/Me", wrapperspb.Int64(0), new(wrapperspb.Int64Value))
		assert.Contains(t, status.Convert(err).Message(), want)
	}
}

// What fails once the client has left, or its deadline has passed, is Canceled
// and no fault of the app's.
func TestClientGone(t *testing.T) {
	t.Parallel()
	away := func(context.Context, string, any) (int64, error) { return 0, errors.New("the store is away") }
	for _, c := range []struct {
		name, user string
		org        func(context.Context, string, any) (int64, error)
		end        func(context.Context) (context.Context, context.CancelFunc)
		want       rolegate.Reason
	}{
		{"while the user is asked for", "away", nil, context.WithCancel, rolegate.ReasonClientGone},
		{"while the organisation is", "1", away, context.WithCancel, rolegate.ReasonClientGone},
		{"by its deadline", "away", nil, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Unix(0, 0))
		}, rolegate.ReasonClientGone},
		{"the organisation, by its deadline", "1", away, func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithDeadline(ctx, time.Unix(0, 0))
		}, rolegate.ReasonClientGone},
		{"with nobody in it", "", nil, context.WithCancel, rolegate.ReasonNoIdentity},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			gate := frametest.Open(t, frametest.School())
			guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{"/school.Grades/Me": gate.AdmitPolicy()}, Org: c.org}
			ctx, leave := c.end(metadata.NewIncomingContext(t.Context(), metadata.MD{}))
			if c.user != "" {
				ctx = metadata.NewIncomingContext(ctx, metadata.Pairs("x-user-id", c.user))
			}
			leave()
			_, err := guard.Unary(ctx, nil, &grpc.UnaryServerInfo{FullMethod: "/school.Grades/Me"}, func(context.Context, any) (any, error) {
				t.Error("the handler was called")
				return nil, nil
			})
			require.Error(t, err)
			assert.Equal(t, c.want == rolegate.ReasonClientGone, status.Code(err) == codes.Canceled, err)
			assert.Equal(t, map[rolegate.Reason]uint64{c.want: 1}, gate.Status().Decisions)
		})
	}
}

func TestUnavailable(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	conn := serve(t, gate)
	require.NoError(t, gate.Close())
	err := conn.Invoke(as(t.Context(), "1"), "/school.Grades/Me", new(emptypb.Empty), new(emptypb.Empty))
	require.Equal(t, codes.Unavailable, status.Code(err))
	require.Len(t, status.Convert(err).Details(), 2)
	retry, ok := status.Convert(err).Details()[1].(*errdetails.RetryInfo)
	require.True(t, ok)
	assert.Positive(t, retry.RetryDelay.AsDuration())
}

// TestStreamEndsOnRevocation has the handler wait for a message meanwhile.
func TestStreamEndsOnRevocation(t *testing.T) {
	t.Parallel()
	source := frametest.School()
	gate := frametest.Open(t, source)
	conn := serve(t, gate)
	open := func(user string) grpc.ClientStream {
		stream, err := conn.NewStream(as(t.Context(), user), &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, "/school.Grades/Chat")
		require.NoError(t, err)
		return stream
	}
	talk := func(stream grpc.ClientStream, n int64) (int64, error) {
		out := new(wrapperspb.Int64Value)
		// io.EOF says that the server has ended the stream already: RecvMsg has why.
		if err := stream.SendMsg(wrapperspb.Int64(n)); err != nil && !errors.Is(err, io.EOF) {
			return 0, err
		}
		err := stream.RecvMsg(out)
		return out.Value, err
	}
	_, err := talk(open("9"), 1)
	assert.Equal(t, codes.PermissionDenied, status.Code(err))
	one, two := open("1"), open("2")
	for n := range int64(3) {
		got, err := talk(one, n)
		require.NoError(t, err)
		require.Equal(t, n+1, got)
		_, err = talk(two, n)
		require.NoError(t, err)
	}
	source.Remove(1)
	require.NoError(t, gate.RefreshAll(t.Context()))
	err = one.RecvMsg(new(wrapperspb.Int64Value))
	assert.Equal(t, codes.PermissionDenied, status.Code(err), "%v", err)
	_, err = talk(two, 1)
	assert.NoError(t, err, "the other user's goes on")
	three := open("2")
	_, err = talk(three, 1)
	require.NoError(t, err)
	require.NoError(t, two.CloseSend())
	assert.Error(t, two.RecvMsg(new(wrapperspb.Int64Value)), "it ends as it ends without the guard")
	gate.EndStreams()
	err = three.RecvMsg(new(wrapperspb.Int64Value))
	assert.Equal(t, codes.Unavailable, status.Code(err), "%v", err)
}
