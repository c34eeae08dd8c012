package hertzgate_test

import (
	"context"
	"fmt"
	"net"
	"testing"

	"github.com/cloudwego/hertz/pkg/app"
	"github.com/cloudwego/hertz/pkg/app/server"
	"github.com/cloudwego/hertz/pkg/common/adaptor"
	"github.com/cloudwego/hertz/pkg/common/hlog"
	"github.com/cloudwego/hertz/pkg/network"
	"github.com/cloudwego/hertz/pkg/network/standard"
	"github.com/cloudwego/hertz/pkg/protocol/http1/resp"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/hertzgate"
	"github.com/rolegate/rolegate/internal/frametest"
)

func TestMain(m *testing.M) {
	hlog.SetLevel(hlog.LevelFatal)
	goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/cloudwego/hertz/pkg/protocol.UpdateServerDate.func1")) // runs as long as the program
}

func TestHertz(t *testing.T) {
	frametest.Run(t, frametest.Want{}, func(t *testing.T, a frametest.App) string {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		h := server.New(server.WithListener(listener), server.WithTransport(standard.NewTransporter), server.WithMaxRequestBodySize(64<<20))
		school(h, a)
		ran := make(chan error, 1)
		go func() { ran <- h.Run() }()
		t.Cleanup(func() {
			_ = h.Close()
			<-ran
		})
		return "http://" + listener.Addr().String()
	})
}

func school(h *server.Hertz, a frametest.App) {
	guard := hertzgate.New(a.Gate, func(_ context.Context, c *app.RequestContext) (rolegate.Identity, error) {
		id, err := frametest.ParseUser(string(c.GetHeader("X-User-Id")))
		return rolegate.UserID(id), err
	})
	h.Use(func(ctx context.Context, c *app.RequestContext) {
		defer func() { a.Outer(ctx) }()
		c.Next(ctx)
	})
	h.Use(guard.Admit())
	h.GET("/me", func(ctx context.Context, c *app.RequestContext) {
		user, _ := a.Gate.UserFrom(ctx)
		c.String(200, "%d", user.ID())
	})
	h.GET("/grades", guard.Require(rolegate.AnyRole("teacher")), func(ctx context.Context, c *app.RequestContext) {
		user, _ := a.Gate.UserFrom(ctx)
		c.String(200, "grades for %d", user.ID())
	})
	h.GET("/orgs/:orgID", guard.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID"))), func(ctx context.Context, c *app.RequestContext) {
		org, _ := a.Gate.OrgFrom(ctx)
		c.String(200, "%d", org)
	})
	h.GET("/permissions", adaptor.HertzHandler(a.Permissions()))
	h.POST("/upload", func(_ context.Context, c *app.RequestContext) {
		if _, err := c.FormFile("report"); err != nil {
			c.AbortWithMsg(err.Error(), 400)
			return
		}
		c.String(200, "%d", frametest.FilesIn(frametest.TempDir()))
	})
	live := guard.Require(rolegate.Listed(), rolegate.EndOnRevoke())
	h.GET("/stream", live, func(ctx context.Context, c *app.RequestContext) {
		c.SetStatusCode(200)
		c.Response.HijackWriter(resp.NewChunkedBodyWriter(&c.Response, c.GetWriter()))
		for c.Flush() == nil {
			select {
			case <-ctx.Done():
				return
			case <-a.Ticks:
				if ctx.Err() == nil {
					_, _ = fmt.Fprintln(c, "tick")
				}
			}
		}
	})
	h.GET("/socket", live, func(_ context.Context, c *app.RequestContext) {
		c.Response.Header.SetNoDefaultContentType(true)
		c.SetStatusCode(101)
		c.Response.Header.Set("Connection", "Upgrade")
		c.Response.Header.Set("Upgrade", "copy")
		c.Hijack(func(conn network.Conn) { frametest.Echo(conn) })
	})
}

// TestRefusalOfAPreparedAnswer has a handler outside prepare the headers of a
// success, and an identify func that panics.
func TestRefusalOfAPreparedAnswer(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	guard := hertzgate.New(gate, func(_ context.Context, c *app.RequestContext) (rolegate.Identity, error) {
		if string(c.GetHeader("X-User-Id")) == "" {
			panic("no header")
		}
		return rolegate.UserID(9), nil
	})
	for user, want := range map[string]int{"": 500, "9": 403} {
		c := app.NewContext(0)
		c.Request.SetRequestURI("/grades?q=1")
		c.Request.Header.Set("X-User-Id", user)
		c.Response.Header.Set("Etag", `"of a success"`)
		c.Response.Header.Add("Vary", "Origin")
		c.SetHandlers(app.HandlersChain{guard.Require(rolegate.Listed()), func(context.Context, *app.RequestContext) { t.Error("the handler was called") }})
		c.SetIndex(-1)
		c.Next(t.Context())
		assert.Equal(t, want, c.Response.StatusCode())
		assert.Empty(t, c.Response.Header.Get("Etag"))
		assert.Equal(t, "Origin", c.Response.Header.Get("Vary"))
		assert.Contains(t, string(c.Response.Body()), `"decision"`)
	}
	assert.Panics(t, func() { hertzgate.New(gate, nil) })
}
