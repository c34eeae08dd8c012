// Package fiber_test has fiber's routes guarded as docs/adapters.md has it, and what
// the page says of fiber's adaptor.
package fiber_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gofiber/fiber/v3"
	"github.com/gofiber/fiber/v3/middleware/adaptor"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/frametest"
)

// guard decides by a request that is made of fiber's.
func guard(p *rolegate.Policy) fiber.Handler {
	return func(c fiber.Ctx) error {
		a, denial := p.Check(request(c))
		if denial != nil {
			for name := range denial.Header {
				c.Set(name, denial.Header.Get(name))
			}
			return c.Status(denial.Status).Send(denial.Body)
		}
		outer := c.Context()
		defer func() {
			a.End()
			c.SetContext(outer)
		}()
		c.SetContext(a.Context())
		c.Set("Cache-Control", "private") // the handler may set another
		return c.Next()
	}
}

// request is what net/http would have, without the body. fiber uses the bytes behind
// its strings again, so that they are copied.
func request(c fiber.Ctx) *http.Request {
	uri := c.Request().URI()
	r := &http.Request{
		Method: c.Method(), Host: string(uri.Host()), Pattern: c.Route().Path,
		URL: &url.URL{Path: string(uri.Path()), RawQuery: string(uri.QueryString())}, RequestURI: string(uri.RequestURI()),
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, Header: http.Header{}, Body: http.NoBody,
		RemoteAddr: c.RequestCtx().RemoteAddr().String(), TLS: c.RequestCtx().TLSConnectionState(),
	}
	for name, value := range c.Request().Header.All() {
		r.Header.Add(string(name), string(value))
	}
	for _, name := range c.Route().Params {
		r.SetPathValue(name, strings.Clone(c.Params(name)))
	}
	return r.WithContext(c.Context())
}

// ask returns the answer of the app to a request of that user.
func ask(t *testing.T, app *fiber.App, path, user string) (status int, header http.Header, body string) {
	t.Helper()
	r := httptest.NewRequest("GET", path, nil)
	if user != "" {
		r.Header.Set("X-User-Id", user)
	}
	answer, err := app.Test(r)
	require.NoError(t, err)
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	require.NoError(t, err)
	return answer.StatusCode, answer.Header, string(text)
}

func TestGuard(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	app := fiber.New()
	teacher := rolegate.AnyRole("teacher")
	outside := make(chan bool, 1)
	app.Use(func(c fiber.Ctx) error {
		err := c.Next()
		_, known := gate.UserFrom(c.Context())
		outside <- known
		return err
	})
	me := func(c fiber.Ctx) error {
		user, _ := gate.UserFrom(c.Context())
		org, _ := gate.OrgFrom(c.Context())
		return c.SendString(fmt.Sprint(user.ID(), " in ", org))
	}
	app.Get("/me", guard(gate.AdmitPolicy()), me)
	app.Get("/grades", guard(gate.Policy(teacher)), me)
	inOrg := guard(gate.Policy(teacher, rolegate.InOrg(rolegate.PathOrg("orgID"))))
	app.Get("/orgs/:orgID", inOrg, me)
	app.Group("/in/:orgID", inOrg).Get("/reports", me)
	app.Group("/early", inOrg).Get("/:orgID", me)
	for _, c := range []struct {
		path, user string
		status     int
		body       string
	}{
		{"/me", "3", 200, "3 in 0"},
		{"/grades", "1", 200, "1 in 0"},
		{"/orgs/7", "1", 200, "1 in 7"},
		{"/orgs/8", "1", 403, ""},
		{"/orgs/007", "1", 403, ""},
		{"/in/7/reports", "1", 200, "1 in 7"},
		{"/early/7", "1", 403, ""}, // the group knows no value behind its prefix
		{"/grades", "3", 403, ""},
		{"/me", "9", 403, ""},
		{"/me", "", 401, ""},
		{"/me", "away", 500, ""},
	} {
		status, header, body := ask(t, app, c.path, c.user)
		require.Equal(t, c.status, status, "%s as %q: %s", c.path, c.user, body)
		if status == 200 {
			assert.Equal(t, c.body, body)
			assert.Equal(t, "private", header.Get("Cache-Control"))
		} else {
			assert.Equal(t, "application/problem+json", header.Get("Content-Type"))
			assert.Equal(t, "no-store", header.Get("Cache-Control"))
			assert.Contains(t, body, `"decision":"`)
		}
		assert.False(t, <-outside, "the user is in the context outside the guard")
	}
}

// A handler with EndOnRevoke learns of a revocation by its context.
func TestEndOnRevoke(t *testing.T) {
	t.Parallel()
	source := frametest.School()
	gate := frametest.Open(t, source)
	app := fiber.New()
	app.Get("/wait", guard(gate.Policy(rolegate.Listed(), rolegate.EndOnRevoke())), func(c fiber.Ctx) error {
		source.Remove(2)
		if err := gate.RefreshAll(t.Context()); err != nil {
			return err
		}
		<-c.Context().Done()
		return c.SendString(fmt.Sprint(context.Cause(c.Context())))
	})
	status, _, body := ask(t, app, "/wait", "2")
	assert.Equal(t, 200, status)
	assert.Equal(t, rolegate.ErrRevoked.Error(), body)
}

// What works through fiber's adaptor, and what does not.
func TestAdaptor(t *testing.T) {
	t.Parallel()
	gate := frametest.Open(t, frametest.School())
	app := fiber.New()
	teacher := rolegate.AnyRole("teacher")
	known := func(c fiber.Ctx) error {
		_, known := gate.UserFrom(c.Context())
		return c.SendString(fmt.Sprint(known))
	}
	values := ""
	app.Get("/values", func(c fiber.Ctx) error {
		values = fmt.Sprint(request(c).Header["X-Value"], " ")
		return c.Next()
	}, adaptor.HTTPMiddleware(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			values += fmt.Sprint(r.Header["X-Value"])
			next.ServeHTTP(w, r)
		})
	}), known)
	app.Get("/grades", adaptor.HTTPMiddleware(gate.Require(teacher)), known)
	app.Get("/orgs/:orgID", adaptor.HTTPMiddleware(gate.Require(teacher, rolegate.InOrg(rolegate.PathOrg("orgID")))), known)
	for user, want := range map[string]int{"1": 200, "3": 403, "9": 403, "": 401} {
		status, _, body := ask(t, app, "/grades", user)
		require.Equal(t, want, status, "%q", user)
		if status == 200 {
			assert.Equal(t, "false", body, "the user does not reach the handler")
		}
	}
	status, _, _ := ask(t, app, "/orgs/7", "1")
	assert.Equal(t, 403, status, "there are no path values")
	r := httptest.NewRequest("GET", "/values", nil)
	r.Header["X-Value"] = []string{"1", "2"}
	answer, err := app.Test(r)
	require.NoError(t, err)
	require.NoError(t, answer.Body.Close())
	assert.Equal(t, "[1 2] [2]", values, "of a header that is there twice, one value is left")
}
