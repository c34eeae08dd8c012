package kratosgate_test

import (
	"context"
	"testing"

	"github.com/go-kratos/kratos/v2/middleware"
	"github.com/go-kratos/kratos/v2/middleware/selector"
	kgrpc "github.com/go-kratos/kratos/v2/transport/grpc"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/grpcgate"
	"github.com/rolegate/rolegate/internal/frametest"
	"github.com/rolegate/rolegate/kratosgate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// rules are the policies of the operations: "/school.Grades/List".
type rules map[string]*rolegate.Policy

// guards are for http.Middleware and grpc.Middleware.
func (r rules) guards() (all []middleware.Middleware) {
	for operation, p := range r {
		all = append(all, selector.Server(kratosgate.Guard(p)).Path(operation).Build())
	}
	return all
}

// routes lists the operations of generated services, and what guards each.
func (r rules) routes(services ...grpc.ServiceDesc) (routes []chiroutes.Route, err error) {
	list := func(service, method string) {
		route := chiroutes.Route{Pattern: "/" + service + "/" + method}
		if p := r[route.Pattern]; p != nil {
			route.Guards = append(route.Guards, p)
		}
		routes = append(routes, route)
	}
	for _, s := range services {
		for _, m := range s.Methods {
			list(s.ServiceName, m.MethodName)
		}
		for _, m := range s.Streams {
			list(s.ServiceName, m.StreamName)
		}
	}
	return routes, nil
}

// The list of docs/adapters.md says of each operation what a call meets.
func TestRoutes(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	r := rules{
		"/school.Grades/List":  gate.Policy(rolegate.AnyRole("teacher")),
		"/school.Grades/Watch": gate.Policy(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke()),
	}
	one := func(context.Context) int64 { return 1 }
	service := grpc.ServiceDesc{
		ServiceName: "school.Grades", HandlerType: (*any)(nil), Methods: []grpc.MethodDesc{unary("List", one), unary("Ping", one)},
		Streams: []grpc.StreamDesc{{StreamName: "Watch", ServerStreams: true, Handler: func(any, grpc.ServerStream) error { return nil }}},
	}
	conn := serveGRPC(t, &service, kgrpc.Middleware(r.guards()...), kgrpc.StreamInterceptor(grpcgate.Guard{Gate: gate, Rules: r}.Stream))
	routes := chiroutes.Must(r.routes(service))
	rolegatetest.RequireGuarded(t, routes, "/school.Grades/Ping")
	require.Len(t, routes, 3)
	for _, route := range routes {
		err := conn.Invoke(t.Context(), route.Pattern, wrapperspb.Int64(0), new(wrapperspb.Int64Value))
		assert.Equal(t, route.Guarded(), status.Code(err) == codes.Unauthenticated, "%s: %v", route, err)
	}
}
