package gingate_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/gin-gonic/gin"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/chiroutes"
	"github.com/rolegate/rolegate/gingate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func openGate(t *testing.T) *rolegate.Gate {
	t.Helper()
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source:   rolegatetest.NewStatic(),
		Identify: rolegate.ByUserID(func(*http.Request) (int64, error) { return 0, rolegate.ErrNobody }),
	})
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, gate.Close()) })
	return gate
}

// TestRoutes lists routes with guards of the engine, of groups and of their own, and
// asks each of them: what is listed as guarded refuses nobody in particular.
func TestRoutes(t *testing.T) {
	gate := openGate(t)
	ran := false
	handler := func(*gin.Context) { ran = true }
	middleware := func(c *gin.Context) {
		require.NotNil(t, c.Request, "only guards are asked")
		c.Next()
	}
	teacher := gate.Policy(rolegate.AnyRole("teacher"))
	r := gin.New()
	r.HandleMethodNotAllowed = true
	r.Use(middleware)
	r.POST("/login", handler)
	r.GET("/behind", handler, gingate.Admit(gate)) // guards nothing: the handler has run
	app := r.Group("/app", gingate.Admit(gate), middleware)
	app.GET("", handler)
	app.Any("/console/*page", gingate.Guard(teacher), handler)
	orgs := app.Group("/orgs/:orgID")
	orgs.GET("/reports", gingate.Require(gate, rolegate.AnyRole("admin"), rolegate.InOrg(rolegate.PathOrg("orgID"))), handler)
	orgs.GET("/reports/:id", handler)
	r.GET("/applications", handler) // shares a node's beginning
	r.NoRoute(handler)

	routes, err := gingate.Routes(r)
	require.NoError(t, err)
	listed := map[string]string{}
	for _, route := range routes {
		listed[route.String()] = fmt.Sprint(route.Guards)
	}
	want := map[string]string{
		"POST /login":                      "[]",
		"GET /behind":                      "[]",
		"GET /app":                         "[Admit]",
		"GET /app/orgs/:orgID/reports":     "[Admit AnyRole(admin) + InOrg]",
		"GET /app/orgs/:orgID/reports/:id": "[Admit]",
		"GET /applications":                "[]",
		"NotFound /*":                      "[]",
	}
	for _, route := range r.Routes() {
		if route.Path == "/app/console/*page" {
			want[route.Method+" "+route.Path] = "[Admit AnyRole(teacher)]"
		}
	}
	assert.Equal(t, want, listed)
	assert.False(t, ran)
	assert.Len(t, r.Routes(), len(want)-1)
	for _, route := range routes {
		if route.Method == chiroutes.MethodNotFound {
			route.Method, route.Pattern = "GET", "/nowhere"
		}
		ran = false
		w := httptest.NewRecorder()
		r.ServeHTTP(w, httptest.NewRequest(route.Method, route.Pattern, nil))
		assert.Equal(t, !route.Guarded(), ran, route.String())
	}
	rolegatetest.RequireGuarded(t, routes, "POST /login", "GET /behind", "GET /applications", "NotFound /*")
}

func TestRoutesOfNothing(t *testing.T) {
	routes, err := gingate.Routes(gin.New())
	assert.NoError(t, err)
	assert.Empty(t, routes)
	_, err = gingate.Routes(nil)
	assert.ErrorContains(t, err, "rolegate: gingate: Routes: the engine is nil")
	_, err = gingate.Routes(&gin.Engine{})
	assert.NoError(t, err)
}

// A guard without a request admits nobody.
func TestGuardWithoutRequest(t *testing.T) {
	var c gin.Context
	gingate.Admit(openGate(t))(&c)
	assert.True(t, c.IsAborted())
}
