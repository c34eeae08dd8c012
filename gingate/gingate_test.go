package gingate_test

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/gingate"
	"github.com/rolegate/rolegate/internal/frametest"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) {
	gin.SetMode(gin.ReleaseMode)
	goleak.VerifyTestMain(m)
}

func TestGin(t *testing.T) {
	for _, fallback := range []bool{false, true} {
		t.Run(fmt.Sprintf("ContextWithFallback %v", fallback), func(t *testing.T) {
			frametest.Run(t, frametest.Want{}, func(t *testing.T, app frametest.App) string {
				engine := school(app)
				engine.ContextWithFallback = fallback
				server := httptest.NewServer(engine)
				t.Cleanup(server.Close)
				return server.URL
			})
		})
	}
}

func school(app frametest.App) *gin.Engine {
	r := gin.New()
	r.MaxMultipartMemory = 1
	r.Use(func(c *gin.Context) {
		before := c.Request
		defer func() { app.Outer(c.Request.Context()) }()
		c.Next()
		if c.Request != before {
			panic("the guard has left its request behind")
		}
	})
	r.Use(gingate.Admit(app.Gate))
	r.GET("/me", func(c *gin.Context) {
		user, _ := gingate.User(c)
		fromContext, _ := app.Gate.UserFrom(c.Request.Context())
		c.String(http.StatusOK, "%d", min(user.ID(), fromContext.ID()))
	})
	r.GET("/grades", gingate.Require(app.Gate, rolegate.AnyRole("teacher")), func(c *gin.Context) {
		user, _ := gingate.User(c)
		c.String(http.StatusOK, "grades for %d", user.ID())
	})
	inOrg := rolegate.InOrg(rolegate.PathOrg("orgID"))
	r.GET("/orgs/:orgID", gingate.Require(app.Gate, rolegate.AnyRole("teacher"), inOrg), gingate.Admit(app.Gate), func(c *gin.Context) {
		org, _ := gingate.Org(c)
		c.String(http.StatusOK, strconv.FormatInt(org, 10))
	})
	r.GET("/permissions", gin.WrapH(app.Permissions()))
	r.POST("/upload", func(c *gin.Context) {
		if _, err := c.FormFile("report"); err != nil {
			_ = c.AbortWithError(http.StatusBadRequest, err)
			return
		}
		c.String(http.StatusOK, "%d", frametest.FilesIn(frametest.TempDir()))
	})
	live := gingate.Require(app.Gate, rolegate.Listed(), rolegate.EndOnRevoke())
	r.GET("/stream", live, func(c *gin.Context) {
		c.Writer.WriteHeaderNow()
		c.Writer.Flush()
		c.Stream(func(w io.Writer) bool {
			<-app.Ticks
			_, _ = io.WriteString(w, "tick\n")
			return true
		})
	})
	r.GET("/socket", live, func(c *gin.Context) {
		conn, _, err := c.Writer.Hijack()
		if err == nil {
			frametest.Copy(conn)
		}
	})
	return r
}

// TestNoGuard asks who the user is where no guard is in front of the handler,
// and after one has been there.
func TestNoGuard(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	r := gin.New()
	r.Use(func(c *gin.Context) {
		c.Next()
		_, ok := gingate.User(c)
		assert.False(t, ok)
	})
	r.GET("/open", func(c *gin.Context) {
		_, ok := gingate.User(c)
		_, named := gingate.Org(c)
		assert.False(t, ok || named)
	})
	r.GET("/guarded", gingate.Admit(gate), func(*gin.Context) {})
	for _, path := range []string{"/open", "/guarded"} {
		request := httptest.NewRequest("GET", path, nil)
		request.Header.Set("X-User-Id", "1")
		w := httptest.NewRecorder()
		r.ServeHTTP(w, request)
		assert.Equal(t, 200, w.Code)
	}
}

// TestAs has handlers that no guard is in front of, and one that has a guard.
func TestAs(t *testing.T) {
	t.Parallel()
	tell := func(c *gin.Context) {
		user, ok := gingate.User(c)
		org, named := gingate.Org(c)
		c.String(http.StatusOK, "%v %v %d %v %v", user, ok, org, named, user.HasRoleIn(7, "teacher"))
	}
	gate := frametest.Open(t, frametest.School())
	for _, c := range []struct {
		name string
		as   func(r *http.Request) *http.Request
		want string
	}{
		{"nobody", func(r *http.Request) *http.Request { return r }, "nobody false 0 false false"},
		{"a role in an organisation", func(r *http.Request) *http.Request {
			return rolegatetest.As(r, rolegatetest.User{ID: 42}, 7, "teacher")
		}, "user 42 true 7 true true"},
		{"no organisation", func(r *http.Request) *http.Request { return rolegatetest.As(r, rolegatetest.User{ID: 42}, 0) }, "user 42 true 0 false false"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := httptest.NewRecorder()
			plain, _ := gin.CreateTestContext(w)
			plain.Request = c.as(httptest.NewRequest("GET", "/", nil))
			tell(plain)
			assert.Equal(t, c.want, w.Body.String())

			r := gin.New()
			r.GET("/", gingate.Require(gate, rolegate.AnyRole("teacher")), tell)
			for user, want := range map[string]string{"1": "user 1 true", "3": `"status":403`} {
				request := c.as(httptest.NewRequest("GET", "/", nil))
				request.Header.Set("X-User-Id", user)
				w := httptest.NewRecorder()
				r.ServeHTTP(w, request)
				assert.Contains(t, w.Body.String(), want, "a guard decides for itself")
			}
		})
	}
	t.Run("with the hierarchy of a gate", func(t *testing.T) {
		t.Parallel()
		gate, err := rolegate.Open(t.Context(), rolegate.Config{
			Source: frametest.School(), Identify: rolegate.ByUserID(frametest.UserID), Logger: slog.New(slog.DiscardHandler),
			Implies: map[string][]string{"principal": {"teacher"}},
		})
		require.NoError(t, err)
		t.Cleanup(func() { assert.NoError(t, gate.Close()) })
		for of, want := range map[*rolegate.Gate]string{gate: "user 42 true 7 true true", nil: "user 42 true 7 true false"} {
			w := httptest.NewRecorder()
			c, _ := gin.CreateTestContext(w)
			c.Request = rolegatetest.AsOf(of, httptest.NewRequest("GET", "/", nil), rolegatetest.User{ID: 42}, 7, "principal")
			tell(c)
			assert.Equal(t, want, w.Body.String())
		}
	})
	w := httptest.NewRecorder()
	bare, _ := gin.CreateTestContext(w)
	_, ok := gingate.User(bare)
	assert.False(t, ok, "a context without a request")
}

// Of two parameters with one name neither is the organisation.
func TestTwoParametersOfOneName(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	r := gin.New()
	r.GET("/orgs/:id/members/:id", gingate.Require(gate, rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("id"))), func(c *gin.Context) { c.Status(http.StatusOK) })
	request := httptest.NewRequest("GET", "/orgs/8/members/7", nil)
	request.Header.Set("X-User-Id", "1")
	w := httptest.NewRecorder()
	r.ServeHTTP(w, request)
	assert.Equal(t, http.StatusForbidden, w.Code)
}
