package kratosgate_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"testing"

	"github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/log"
	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/selector"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health/grpc_health_v1"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/grpcgate"
	"github.com/rolegate/rolegate/internal/frametest"
	"github.com/rolegate/rolegate/kratosgate"
)

func TestMain(m *testing.M) {
	log.SetLogger(log.NewStdLogger(io.Discard))
	goleak.VerifyTestMain(m)
}

func TestHTTP(t *testing.T) {
	refused := func(t *testing.T, a frametest.Answer) {
		var body struct {
			Code     int
			Reason   string
			Message  string
			Metadata map[string]string
		}
		require.NoError(t, json.Unmarshal([]byte(a.Body), &body), a.Body)
		assert.Equal(t, a.Status, body.Code)
		frametest.Sentence(t, a.Status, body.Message)
		assert.Len(t, body.Metadata["decision"], 26)
	}
	frametest.Run(t, frametest.Want{Refused: refused}, func(t *testing.T, app frametest.App) string {
		live := kratosgate.Require(app.Gate, rolegate.Listed(), rolegate.EndOnRevoke())
		s := khttp.NewServer(khttp.Address("127.0.0.1:0"), khttp.Timeout(0), khttp.Middleware(
			func(next middleware.Handler) middleware.Handler {
				return func(ctx context.Context, message any) (any, error) {
					defer func() { app.Outer(ctx) }()
					return next(ctx, message)
				}
			},
			kratosgate.Admit(app.Gate),
			selector.Server(kratosgate.Require(app.Gate, rolegate.AnyRole("teacher"))).Path("/school.Grades/List").Build(),
			selector.Server(kratosgate.Require(app.Gate, rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID")))).Path("/school.Grades/Org").Build(),
			selector.Server(live).Path("/school.Grades/Stream", "/school.Grades/Socket").Build(),
		))
		routes(s.Route("/"), app)
		permissions := app.Permissions() // which kratos's middlewares do not see
		s.HandleFunc("/permissions", func(w http.ResponseWriter, r *http.Request) {
			permissions.ServeHTTP(w, r)
			app.Outer(r.Context())
		})
		u, err := s.Endpoint() // listens; while Start runs, both would
		require.NoError(t, err)
		go func() { _ = s.Start(context.Background()) }()
		t.Cleanup(func() { assert.NoError(t, s.Stop(context.Background())) })
		return (&url.URL{Scheme: "http", Host: u.Host}).String()
	})
}

// routes are written as protoc-gen-go-http writes them.
func routes(r *khttp.Router, app frametest.App) {
	add := func(method, path, operation string, handle func(ctx context.Context, c khttp.Context) error) {
		r.Handle(method, path, func(c khttp.Context) error {
			khttp.SetOperation(c, "/school.Grades/"+operation)
			_, err := c.Middleware(func(ctx context.Context, _ any) (any, error) { return nil, handle(ctx, c) })(c, nil)
			return err
		})
	}
	add("GET", "/me", "Me", func(ctx context.Context, c khttp.Context) error {
		user, _ := app.Gate.UserFrom(ctx)
		return c.String(200, fmt.Sprint(user.ID()))
	})
	add("GET", "/grades", "List", func(ctx context.Context, c khttp.Context) error {
		user, _ := app.Gate.UserFrom(ctx)
		return c.String(200, fmt.Sprintf("grades for %d", user.ID()))
	})
	add("GET", "/orgs/{orgID}", "Org", func(ctx context.Context, c khttp.Context) error {
		org, _ := app.Gate.OrgFrom(ctx)
		return c.String(200, fmt.Sprint(org))
	})
	add("POST", "/upload", "Upload", func(_ context.Context, c khttp.Context) error {
		// kratos itself hands its handlers a copy of net/http's request, so that
		// whoever parses a form removes its files, with a guard and without.
		if err := c.Request().ParseMultipartForm(1); err != nil {
			return err
		}
		defer func() { _ = c.Request().MultipartForm.RemoveAll() }()
		return c.String(200, fmt.Sprint(frametest.FilesIn(frametest.TempDir())))
	})
	add("GET", "/stream", "Stream", func(ctx context.Context, c khttp.Context) error {
		w := c.Response()
		w.WriteHeader(200)
		for http.NewResponseController(w).Flush() == nil {
			select {
			case <-ctx.Done():
				return nil
			case <-app.Ticks:
				if ctx.Err() == nil {
					_, _ = fmt.Fprintln(w, "tick")
				}
			}
		}
		return nil
	})
	add("GET", "/socket", "Socket", func(ctx context.Context, c khttp.Context) error {
		conn, _, err := http.NewResponseController(c.Response()).Hijack()
		if err == nil {
			frametest.CopyUntil(ctx, conn)
		}
		return err
	})
}

func TestGRPC(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	conn := serveGRPC(t, &grpc.ServiceDesc{ServiceName: "school.Grades", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{
		unary("Me", func(ctx context.Context) int64 { u, _ := gate.UserFrom(ctx); return u.ID() }),
	}}, kgrpc.Middleware(kratosgate.Require(gate, rolegate.AnyRole("teacher"))))
	for user, want := range map[string]codes.Code{"1": codes.OK, "3": codes.PermissionDenied, "9": codes.PermissionDenied, "": codes.Unauthenticated, "away": codes.Internal} {
		ctx := t.Context()
		if user != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "x-user-id", user)
		}
		out := new(wrapperspb.Int64Value)
		err := conn.Invoke(ctx, "/school.Grades/Me", wrapperspb.Int64(0), out)
		require.Equal(t, want, status.Code(err), "%q: %v", user, err)
		if err == nil {
			assert.EqualValues(t, 1, out.Value)
			continue
		}
		assert.Len(t, errors.FromError(err).Metadata["decision"], 26)
	}
}

// Streams in a kratos server, guarded as docs/adapters.md has it: kratosgate for unary
// calls, grpcgate for streams.
func TestGRPCStreams(t *testing.T) {
	t.Parallel()
	source := frametest.School()
	gate := frametest.Open(t, source)
	guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{
		"/school.Grades/Watch":    gate.Policy(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke()),
		"/grpc.health.v1.Health/": grpcgate.Public, // which kratos registers itself
	}}
	ended := make(chan error, 10) // what the handler's messages end with
	watch := func(_ any, stream grpc.ServerStream) error {
		for {
			in := new(wrapperspb.Int64Value)
			if err := stream.RecvMsg(in); err != nil {
				ended <- err
				return err
			}
			user, _ := gate.UserFrom(stream.Context())
			if err := stream.SendMsg(wrapperspb.Int64(user.ID())); err != nil {
				return err
			}
		}
	}
	both := func(name string) grpc.StreamDesc {
		return grpc.StreamDesc{StreamName: name, ClientStreams: true, ServerStreams: true, Handler: watch}
	}
	conn := serveGRPC(t, &grpc.ServiceDesc{
		ServiceName: "school.Grades", HandlerType: (*any)(nil), Streams: []grpc.StreamDesc{both("Watch"), both("Forgotten")},
	}, kgrpc.Middleware(kratosgate.Admit(gate)), kgrpc.StreamInterceptor(guard.Stream))
	open := func(t *testing.T, user, method string) (grpc.ClientStream, error) {
		ctx, cancel := context.WithTimeout(t.Context(), frametest.Long)
		t.Cleanup(cancel)
		if user != "" {
			ctx = metadata.AppendToOutgoingContext(ctx, "x-user-id", user)
		}
		stream, err := conn.NewStream(ctx, &grpc.StreamDesc{ClientStreams: true, ServerStreams: true}, method)
		require.NoError(t, err)
		_ = stream.SendMsg(wrapperspb.Int64(0)) // io.EOF if it is refused already
		out := new(wrapperspb.Int64Value)
		if err := stream.RecvMsg(out); err != nil {
			return nil, err
		}
		assert.Equal(t, user, fmt.Sprint(out.Value), "the user in the stream's context")
		return stream, nil
	}
	for _, c := range []struct {
		name, user, method string
		code               codes.Code
	}{
		{"no role", "3", "Watch", codes.PermissionDenied},
		{"not listed", "9", "Watch", codes.PermissionDenied},
		{"nobody", "", "Watch", codes.Unauthenticated},
		{"a session store that is away", "away", "Watch", codes.Internal},
		{"a method without a rule", "1", "Forgotten", codes.PermissionDenied},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := open(t, c.user, "/school.Grades/"+c.method)
			require.Equal(t, c.code, status.Code(err), err)
			assert.Len(t, errors.FromError(err).Metadata["decision"], 26)
			assert.Empty(t, ended, "the handler did not run")
		})
	}
	t.Run("a public service", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), frametest.Long)
		defer cancel()
		health, err := grpc_health_v1.NewHealthClient(conn).Watch(ctx, &grpc_health_v1.HealthCheckRequest{})
		require.NoError(t, err)
		_, err = health.Recv()
		require.NoError(t, err)
	})
	for _, c := range []struct {
		name, user string
		end        func()
		code       codes.Code
	}{
		{"it ends on revocation", "2", func() {
			source.Remove(2)
			require.NoError(t, gate.RefreshAll(t.Context()))
		}, codes.PermissionDenied},
		{"it ends with the server's streams", "1", gate.EndStreams, codes.Unavailable},
	} {
		t.Run(c.name, func(t *testing.T) {
			stream, err := open(t, c.user, "/school.Grades/Watch")
			require.NoError(t, err)
			c.end()
			assert.Equal(t, c.code, status.Code(stream.RecvMsg(new(wrapperspb.Int64Value))), "while the handler waits for a message")
			assert.Equal(t, c.code, status.Code(<-ended), "in the handler")
		})
	}
}

// unary is a method of school.Grades, as protoc-gen-go-grpc writes it.
func unary(name string, answer func(ctx context.Context) int64) grpc.MethodDesc {
	return grpc.MethodDesc{MethodName: name, Handler: func(srv any, ctx context.Context, decode func(any) error, intercept grpc.UnaryServerInterceptor) (any, error) {
		in := new(wrapperspb.Int64Value)
		if err := decode(in); err != nil {
			return nil, err
		}
		return intercept(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/school.Grades/" + name}, func(ctx context.Context, _ any) (any, error) {
			return wrapperspb.Int64(answer(ctx)), nil
		})
	}}
}

// serveGRPC starts a kratos server with the service and returns a connection to it.
func serveGRPC(t *testing.T, service *grpc.ServiceDesc, options ...kgrpc.ServerOption) *grpc.ClientConn {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := kgrpc.NewServer(append(options, kgrpc.Listener(listener))...)
	s.RegisterService(service, nil)
	ran := make(chan error, 1)
	go func() { ran <- s.Start(context.Background()) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, conn.Close())
		assert.NoError(t, s.Stop(context.Background()))
		<-ran
	})
	return conn
}

// TestNoServer has the middleware where no server is: it lets nobody pass.
func TestNoServer(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	_, err := kratosgate.Admit(gate)(func(context.Context, any) (any, error) {
		t.Error("the handler was called")
		return nil, nil
	})(t.Context(), nil)
	assert.True(t, errors.IsInternalServer(err))
}
