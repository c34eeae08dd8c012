package zerogate_test

import (
	"fmt"
	"net"
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"github.com/zeromicro/go-zero/core/logx"
	"github.com/zeromicro/go-zero/core/proc"
	"github.com/zeromicro/go-zero/rest"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/frametest"
	"github.com/rolegate/rolegate/zerogate"
)

func TestMain(m *testing.M) {
	logx.Disable()
	// go-zero begins these when it is loaded or first used, and ends them never.
	goleak.VerifyTestMain(m,
		goleak.IgnoreAnyFunction("github.com/zeromicro/go-zero/core/stat.init.1.func1"),
		goleak.IgnoreAnyFunction("github.com/zeromicro/go-zero/core/proc.init.1.func1"),
		goleak.IgnoreAnyFunction("github.com/zeromicro/go-zero/core/collection.(*TimingWheel).run"),
		goleak.IgnoreAnyFunction("github.com/zeromicro/go-zero/core/executors.(*PeriodicalExecutor).backgroundFlush.func1"),
	)
}

func TestZero(t *testing.T) {
	frametest.Run(t, frametest.Want{}, func(t *testing.T, app frametest.App) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		port := listener.Addr().(*net.TCPAddr).Port
		require.NoError(t, listener.Close())
		conf := rest.RestConf{Host: "127.0.0.1", Port: port, MaxBytes: 64 << 20, MaxConns: 100}
		conf.Name, conf.Mode = "school", "test"
		server := rest.MustNewServer(conf)
		routes(server, app)
		up := make(chan *http.Server, 1)
		ended := make(chan struct{})
		go func() {
			defer close(ended)
			server.StartWithOpts(func(s *http.Server) { up <- s })
		}()
		inner := <-up
		t.Cleanup(func() {
			assert.NoError(t, inner.Close())
			proc.Shutdown() // what go-zero does on SIGTERM: StartWithOpts waits for it
			<-ended
			server.Stop()
		})
		address := fmt.Sprintf("127.0.0.1:%d", port)
		require.Eventually(t, func() bool {
			conn, err := net.Dial("tcp", address)
			if err == nil {
				_ = conn.Close()
			}
			return err == nil
		}, frametest.Long, frametest.Short)
		return "http://" + address
	})
}

func routes(server *rest.Server, app frametest.App) {
	gate := app.Gate
	server.Use(func(next http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) {
			defer func() { app.Outer(r.Context()) }()
			next(w, r)
		}
	})
	server.Use(zerogate.Admit(gate))
	server.AddRoutes([]rest.Route{
		{Method: "GET", Path: "/me", Handler: func(w http.ResponseWriter, r *http.Request) {
			user, _ := gate.UserFrom(r.Context())
			_, _ = fmt.Fprint(w, user.ID())
		}},
		{Method: "GET", Path: "/permissions", Handler: app.Permissions().ServeHTTP},
		{Method: "POST", Path: "/upload", Handler: func(w http.ResponseWriter, r *http.Request) {
			// go-zero hands its handlers a copy of net/http's request, so that
			// whoever parses a form removes its files, with a guard and without.
			if err := r.ParseMultipartForm(1); err != nil {
				http.Error(w, err.Error(), 400)
				return
			}
			defer func() { _ = r.MultipartForm.RemoveAll() }()
			_, _ = fmt.Fprint(w, frametest.FilesIn(frametest.TempDir()))
		}},
	})
	server.AddRoutes(rest.WithMiddleware(zerogate.Require(gate, rolegate.AnyRole("teacher")),
		rest.Route{Method: "GET", Path: "/grades", Handler: func(w http.ResponseWriter, r *http.Request) {
			user, _ := gate.UserFrom(r.Context())
			_, _ = fmt.Fprintf(w, "grades for %d", user.ID())
		}}))
	server.AddRoutes(rest.WithMiddleware(zerogate.Require(gate, rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID"))),
		rest.Route{Method: "GET", Path: "/orgs/:orgID", Handler: func(w http.ResponseWriter, r *http.Request) {
			org, _ := gate.OrgFrom(r.Context())
			_, _ = fmt.Fprint(w, org)
		}}))
	server.AddRoutes(rest.WithMiddleware(zerogate.Require(gate, rolegate.Listed(), rolegate.EndOnRevoke()),
		rest.Route{Method: "GET", Path: "/stream", Handler: func(w http.ResponseWriter, r *http.Request) {
			w.WriteHeader(200)
			for http.NewResponseController(w).Flush() == nil {
				select {
				case <-r.Context().Done():
					return
				case <-app.Ticks:
					if r.Context().Err() == nil {
						_, _ = fmt.Fprintln(w, "tick")
					}
				}
			}
		}},
		rest.Route{Method: "GET", Path: "/socket", Handler: func(w http.ResponseWriter, r *http.Request) {
			if conn, _, err := http.NewResponseController(w).Hijack(); assertNoError(w, err) {
				frametest.CopyUntil(r.Context(), conn)
			}
		}}), rest.WithTimeout(0))
}

func assertNoError(w http.ResponseWriter, err error) bool {
	if err != nil {
		http.Error(w, err.Error(), 500)
	}
	return err == nil
}
