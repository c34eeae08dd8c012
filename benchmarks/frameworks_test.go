package benchmarks

import (
	"context"
	"net/http"
	"testing"
	"time"

	casbin2 "github.com/casbin/casbin/v2"
	model2 "github.com/casbin/casbin/v2/model"
	"github.com/casbin/casbin/v3"
	"github.com/cloudwego/hertz/pkg/app"
	hertzconfig "github.com/cloudwego/hertz/pkg/common/config"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/route"
	"github.com/gin-gonic/gin"
	kerrors "github.com/go-kratos/kratos/v2/errors"
	"github.com/go-kratos/kratos/v2/middleware"
	khttp "github.com/go-kratos/kratos/v2/transport/http"
	echocasbin "github.com/labstack/echo-contrib/casbin"
	"github.com/labstack/echo/v4"
	"github.com/stretchr/testify/require"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/rest"
	"google.golang.org/grpc"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/echo4gate"
	"github.com/rolegate/rolegate/gingate"
	"github.com/rolegate/rolegate/grpcgate"
	"github.com/rolegate/rolegate/hertzgate"
	"github.com/rolegate/rolegate/kratosgate"
	"github.com/rolegate/rolegate/zerogate"
)

// A framework has a contestant that serves requests for /grades: without a guard,
// behind rolegate's, and behind casbin's middleware, nil where none is published.
// grades are the requests for those that are net/http's.
type framework struct {
	name                  string
	bare, guarded, casbin contestant
}

// teachers is what rolegate and casbin ask for.
var teachers = []string{roleCodes[teacher], roleCodes[admin]}

// BenchmarkFrameworks measures what a guard adds to a request in each framework,
// beside what a middleware with casbin adds.
func BenchmarkFrameworks(b *testing.B) {
	w := newWorkload(sized(100_000, 1000))
	gate := open(b, w)
	grades, _ := w.requests(sized(1<<12, 1<<8))
	enforcer, err := newRouteEnforcer(w, casbinRoutes, 20)
	require.NoError(b, err)
	for _, f := range []framework{
		ginFramework(gate, enforcer, grades), echoFramework(b, gate, w, grades), hertzFramework(gate, enforcer, grades),
		kratosFramework(gate, enforcer, grades), zeroFramework(b, gate, enforcer, grades), grpcFramework(gate, grades),
	} {
		b.Run(f.name, func(b *testing.B) {
			for b.Loop() {
				all := []contestant{f.guarded, f.bare}
				if f.casbin != nil {
					all = append(all, f.casbin)
				}
				o := turns(25*time.Millisecond, 31).run(all...)
				report(b, o.extra(0, 1), "ns/request-extra")
				report(b, o.ns(1), "bare-ns/request")
				report(b, allocsOf(f.guarded)-allocsOf(f.bare), "allocs/request-extra")
				if f.casbin != nil {
					report(b, o.extra(2, 1), "casbin-ns/request-extra")
					report(b, o.extra(2, 1)/o.extra(0, 1), "×rolegate-extra")
					report(b, allocsOf(f.casbin)-allocsOf(f.bare), "casbin-allocs/request-extra")
				}
			}
		})
	}
}

func allocsOf(do contestant) float64 { return testing.AllocsPerRun(1000, func() { do(1) }) }

// ginFramework has a middleware of our own that does what
// github.com/gin-contrib/authz does, which takes the user from Basic auth and is
// for casbin's second version.
func ginFramework(gate *rolegate.Gate, e *casbin.Enforcer, grades []*http.Request) framework {
	gin.SetMode(gin.ReleaseMode)
	serve := func(guard ...gin.HandlerFunc) contestant {
		r := gin.New()
		r.GET("/grades", append(guard, func(c *gin.Context) { c.Status(http.StatusNoContent); c.Writer.WriteHeaderNow() })...)
		return served(r, grades)
	}
	return framework{"gin", serve(), serve(gingate.Require(gate, rolegate.AnyRole(teachers...))), serve(func(c *gin.Context) {
		s, _ := sessionOf(c.Request)
		if ok, err := e.Enforce(s.name, c.Request.URL.Path, c.Request.Method); err != nil {
			panic(err)
		} else if !ok {
			c.AbortWithStatus(http.StatusForbidden)
		}
	})}
}

// echoFramework has github.com/labstack/echo-contrib/casbin itself, which is for
// echo 4 and for casbin's second version.
func echoFramework(tb testing.TB, gate *rolegate.Gate, w *workload, grades []*http.Request) framework {
	m, err := model2.NewModelFromString(casbinRoutes)
	require.NoError(tb, err)
	enforcer, err := casbin2.NewEnforcer(m)
	require.NoError(tb, err)
	require.NoError(tb, fill(enforcer, routePolicies(20), w, anywhereRule))
	serve := func(guard ...echo.MiddlewareFunc) contestant {
		e := echo.New()
		e.GET("/grades", func(c echo.Context) error { return c.NoContent(http.StatusNoContent) }, guard...)
		return served(e, grades)
	}
	return framework{"echo", serve(), serve(echo4gate.Require(gate, rolegate.AnyRole(teachers...))), serve(echocasbin.MiddlewareWithConfig(echocasbin.Config{
		Enforcer: enforcer,
		UserGetter: func(c echo.Context) (string, error) {
			s, _ := sessionOf(c.Request())
			return s.name, nil
		},
	}))}
}

// hertzFramework has a handler of our own that does what
// github.com/hertz-contrib/casbin does for one permission.
func hertzFramework(gate *rolegate.Gate, e *casbin.Enforcer, grades []*http.Request) framework {
	guard := hertzgate.New(gate, func(ctx context.Context, _ *app.RequestContext) (rolegate.Identity, error) {
		s, ok := ctx.Value(sessionKey{}).(*session)
		if !ok {
			return rolegate.Identity{}, rolegate.ErrNobody
		}
		return rolegate.UserID(s.id), nil
	})
	hlog.SetLevel(hlog.LevelWarn)
	serve := func(guard ...app.HandlerFunc) contestant {
		engine := route.NewEngine(hertzconfig.NewOptions(nil))
		engine.GET("/grades", append(guard, func(_ context.Context, c *app.RequestContext) { c.SetStatusCode(http.StatusNoContent) })...)
		c := engine.NewContext()
		c.Request.Header.SetMethod(http.MethodGet)
		c.Request.SetRequestURI("http://app.example/grades")
		at := 0
		return func(ops int) {
			for range ops {
				c.SetIndex(-1)
				c.Response.Reset()
				engine.ServeHTTP(grades[at%len(grades)].Context(), c)
				if c.Response.StatusCode() != http.StatusNoContent {
					panic("a request was not admitted")
				}
				at++
			}
		}
	}
	return framework{"hertz", serve(), serve(guard.Require(rolegate.AnyRole(teachers...))), serve(func(ctx context.Context, c *app.RequestContext) {
		s := ctx.Value(sessionKey{}).(*session)
		if ok, err := e.Enforce(s.name, "/grades", http.MethodGet); err != nil {
			c.AbortWithStatus(http.StatusInternalServerError)
		} else if !ok {
			c.AbortWithStatus(http.StatusForbidden)
		} else {
			c.Next(ctx)
		}
	})}
}

// kratosFramework has a middleware of our own that does what
// github.com/tx7do/kratos-casbin does: it asks for the user, a path and a method.
func kratosFramework(gate *rolegate.Gate, e *casbin.Enforcer, grades []*http.Request) framework {
	serve := func(guard ...middleware.Middleware) contestant {
		s := khttp.NewServer(khttp.Timeout(0), khttp.Middleware(guard...))
		s.Route("/").GET("/grades", func(c khttp.Context) error {
			khttp.SetOperation(c, "/school.Grades/List")
			_, err := c.Middleware(func(context.Context, any) (any, error) { return nil, nil })(c, nil)
			if err == nil {
				c.Response().WriteHeader(http.StatusNoContent)
			}
			return err
		})
		return served(s, grades)
	}
	enforced := func(next middleware.Handler) middleware.Handler {
		return func(ctx context.Context, message any) (any, error) {
			s, _ := ctx.Value(sessionKey{}).(*session)
			r, found := khttp.RequestFromServerContext(ctx)
			if s == nil || !found {
				return nil, kerrors.Unauthorized("UNAUTHORIZED", "nobody")
			}
			if ok, err := e.Enforce(s.name, r.URL.Path, r.Method); err != nil || !ok {
				return nil, kerrors.Forbidden("FORBIDDEN", "no")
			}
			return next(ctx, message)
		}
	}
	return framework{"kratos", serve(), serve(kratosgate.Require(gate, rolegate.AnyRole(teachers...))), serve(enforced)}
}

// zeroFramework has go-zero without what its configuration turns on besides, and a
// middleware of our own that does what github.com/zeromicro/zero-contrib/auth/casbin
// does, which takes the user from the context.
func zeroFramework(tb testing.TB, gate *rolegate.Gate, e *casbin.Enforcer, grades []*http.Request) framework {
	logx.Disable()
	serve := func(guard ...rest.Middleware) contestant {
		conf := rest.RestConf{Host: "127.0.0.1", Port: 1, MaxConns: 100}
		conf.Name, conf.Mode = "school", "test"
		server, err := rest.NewServer(conf)
		require.NoError(tb, err)
		server.AddRoutes(rest.WithMiddlewares(guard, rest.Route{
			Method: http.MethodGet, Path: "/grades", Handler: done,
		}), rest.WithTimeout(0))
		inner, err := rest.NewServerless(server)
		require.NoError(tb, err)
		return served(http.HandlerFunc(inner.Serve), grades)
	}
	return framework{"go-zero", serve(), serve(zerogate.Require(gate, rolegate.AnyRole(teachers...))), serve(rest.ToMiddleware(enforce(e)))}
}

// grpcFramework calls the interceptor, as a server does for each call.
func grpcFramework(gate *rolegate.Gate, grades []*http.Request) framework {
	const method = "/school.Grades/List"
	guard := grpcgate.Guard{Gate: gate, Rules: map[string]*rolegate.Policy{method: gate.Policy(rolegate.AnyRole(teachers...))}}
	info := &grpc.UnaryServerInfo{FullMethod: method}
	handler := func(context.Context, any) (any, error) { return nil, nil }
	serve := func(intercept grpc.UnaryServerInterceptor) contestant {
		at := 0
		return func(ops int) {
			for range ops {
				if _, err := intercept(grades[at%len(grades)].Context(), nil, info, handler); err != nil {
					panic(err)
				}
				at++
			}
		}
	}
	bare := serve(func(ctx context.Context, message any, _ *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		return handler(ctx, message)
	})
	return framework{"gRPC", bare, serve(guard.Unary), nil}
}
