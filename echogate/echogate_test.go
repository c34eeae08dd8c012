package echogate_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/labstack/echo/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/echogate"
	"github.com/rolegate/rolegate/internal/frametest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestEcho(t *testing.T) {
	refused := func(t *testing.T, a frametest.Answer) {
		var body struct{ Message, Decision string }
		require.NoError(t, json.Unmarshal([]byte(a.Body), &body), a.Body)
		frametest.Sentence(t, a.Status, body.Message)
		assert.Len(t, body.Decision, 26)
	}
	frametest.Run(t, frametest.Want{Refused: refused}, func(t *testing.T, app frametest.App) string {
		server := httptest.NewServer(school(app))
		t.Cleanup(server.Close)
		return server.URL
	})
}

func school(app frametest.App) *echo.Echo {
	gate := app.Gate
	e := echo.New()
	e.Use(func(next echo.HandlerFunc) echo.HandlerFunc {
		return func(c *echo.Context) error {
			defer func() { app.Outer(c.Request().Context()) }()
			return next(c)
		}
	})
	e.Use(echogate.Admit(gate))
	e.GET("/me", func(c *echo.Context) error {
		user, _ := gate.UserFrom(c.Request().Context())
		return c.String(http.StatusOK, fmt.Sprint(user.ID()))
	})
	e.GET("/grades", func(c *echo.Context) error {
		user, _ := gate.UserFrom(c.Request().Context())
		return c.String(http.StatusOK, fmt.Sprintf("grades for %d", user.ID()))
	}, echogate.Require(gate, rolegate.AnyRole("teacher")))
	e.GET("/orgs/:orgID", func(c *echo.Context) error {
		org, _ := gate.OrgFrom(c.Request().Context())
		return c.String(http.StatusOK, fmt.Sprint(org))
	}, echogate.Require(gate, rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("orgID"))))
	e.GET("/permissions", echo.WrapHandler(app.Permissions()))
	e.POST("/upload", func(c *echo.Context) error {
		if err := c.Request().ParseMultipartForm(1); err != nil {
			return err
		}
		return c.String(http.StatusOK, fmt.Sprint(frametest.FilesIn(frametest.TempDir())))
	})
	live := echogate.Require(gate, rolegate.Listed(), rolegate.EndOnRevoke())
	e.GET("/stream", func(c *echo.Context) error {
		flush := http.NewResponseController(c.Response())
		c.Response().WriteHeader(http.StatusOK)
		for flush.Flush() == nil {
			select {
			case <-c.Request().Context().Done():
				return nil
			case <-app.Ticks:
				if c.Request().Context().Err() == nil {
					_, _ = fmt.Fprintln(c.Response(), "tick")
				}
			}
		}
		return nil
	}, live)
	e.GET("/socket", func(c *echo.Context) error {
		conn, _, err := http.NewResponseController(c.Response()).Hijack()
		if err != nil {
			return err
		}
		frametest.CopyUntil(c.Request().Context(), conn)
		return nil
	}, live)
	return e
}

// TestErrorHandler has the app's own handler of errors answer as Config.Deny
// says, and a refusal that is a redirect.
func TestErrorHandler(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	e := echo.New()
	e.HTTPErrorHandler = func(c *echo.Context, err error) {
		var denial *rolegate.Denial
		if errors.As(err, &denial) {
			denial.ServeHTTP(c.Response(), c.Request())
		}
	}
	e.Use(echogate.Require(gate, rolegate.Listed(), rolegate.DenyWith(rolegate.DenyRedirect("/login", nil))))
	e.GET("/", func(*echo.Context) error { return nil })
	for user, want := range map[string]int{"": 303, "9": 403} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("X-User-Id", user)
		r.Header.Set("Accept", "text/html")
		w := httptest.NewRecorder()
		e.ServeHTTP(w, r)
		assert.Equal(t, want, w.Code)
		assert.Equal(t, "application/problem+json", w.Header().Get("Content-Type"))
		assert.Equal(t, want == 303, w.Header().Get("Location") == "/login")
	}
}
