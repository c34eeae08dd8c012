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
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rolegate/rolegate"
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
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	s := kgrpc.NewServer(kgrpc.Listener(listener), kgrpc.Middleware(kratosgate.Require(gate, rolegate.AnyRole("teacher"))))
	s.RegisterService(&grpc.ServiceDesc{ServiceName: "school.Grades", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{{
		MethodName: "Me",
		Handler: func(srv any, ctx context.Context, decode func(any) error, interceptor grpc.UnaryServerInterceptor) (any, error) {
			in := new(wrapperspb.Int64Value)
			if err := decode(in); err != nil {
				return nil, err
			}
			return interceptor(ctx, in, &grpc.UnaryServerInfo{Server: srv, FullMethod: "/school.Grades/Me"}, func(ctx context.Context, _ any) (any, error) {
				u, _ := gate.UserFrom(ctx)
				return wrapperspb.Int64(u.ID()), nil
			})
		},
	}}}, nil)
	ran := make(chan error, 1)
	go func() { ran <- s.Start(context.Background()) }()
	conn, err := grpc.NewClient(listener.Addr().String(), grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() {
		assert.NoError(t, conn.Close())
		assert.NoError(t, s.Stop(context.Background()))
		<-ran
	})
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
