package marketplace_test

import (
	"bytes"
	"errors"
	"log/slog"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func TestValidate(t *testing.T) {
	t.Parallel()
	cases := []struct {
		name string
		edit func(*marketplace.Config)
		says string // "" if it is valid
	}{
		{"good", func(*marketplace.Config) {}, ""},
		{"https with a port", func(c *marketplace.Config) { c.BaseURL = "https://m.test:8443/a/" }, ""},
		{"an IPv6 host", func(c *marketplace.Config) { c.BaseURL = "http://[::1]:80" }, ""},
		{"limits at their ends", func(c *marketplace.Config) { c.PageSize, c.MaxPageBytes = 1000, 1<<30 }, ""},
		{"no rate", func(c *marketplace.Config) { c.MaxRequestsPerSecond = 0 }, ""},
		{"a rate of a fraction", func(c *marketplace.Config) { c.MaxRequestsPerSecond = 0.5 }, ""},
		{"a rate below 0", func(c *marketplace.Config) { c.MaxRequestsPerSecond = -1 }, "MaxRequestsPerSecond"},
		{"a rate that is no number", func(c *marketplace.Config) { c.MaxRequestsPerSecond = math.NaN() }, "MaxRequestsPerSecond"},
		{"a rate without end", func(c *marketplace.Config) { c.MaxRequestsPerSecond = math.Inf(1) }, "MaxRequestsPerSecond"},
		{"a code that refuses", func(c *marketplace.Config) { c.RefusedCodes = []int{40014} }, ""},
		{"success as a refusal", func(c *marketplace.Config) { c.RefusedCodes = []int{40014, 200} }, "RefusedCodes"},
		{"no code as a refusal", func(c *marketplace.Config) { c.RefusedCodes = []int{0} }, "RefusedCodes"},
		{"no BaseURL", func(c *marketplace.Config) { c.BaseURL = "" }, "BaseURL: it is empty"},
		{"the whole URL of the list", func(c *marketplace.Config) { c.BaseURL = "http://m.test/api/app/user/list/" }, "it ends in app/user/list, which the client adds itself"},
		{"a BaseURL that ends like a Path", func(c *marketplace.Config) { c.BaseURL, c.Path = "http://m.test/list", "list" }, ""},
		{"no scheme", func(c *marketplace.Config) { c.BaseURL = "m.test/api" }, "http nor https"},
		{"another scheme", func(c *marketplace.Config) { c.BaseURL = "ftp://m.test" }, "http nor https"},
		{"no host", func(c *marketplace.Config) { c.BaseURL = "http:///api" }, "no host"},
		{"a port alone", func(c *marketplace.Config) { c.BaseURL = "http://:80/api" }, "no host"},
		{"opaque", func(c *marketplace.Config) { c.BaseURL = "http:m.test" }, "no host"},
		{"a password", func(c *marketplace.Config) { c.BaseURL = "http://u:hunter2@m.test" }, "user name"},
		{"a query", func(c *marketplace.Config) { c.BaseURL = "http://m.test?accessToken=hunter2" }, "query"},
		{"an empty query", func(c *marketplace.Config) { c.BaseURL = "http://m.test?" }, "query"},
		{"a fragment", func(c *marketplace.Config) { c.BaseURL = "http://m.test#a" }, "fragment"},
		{"an empty fragment", func(c *marketplace.Config) { c.BaseURL = "http://m.test#" }, "fragment"},
		{"no URL", func(c *marketplace.Config) { c.BaseURL = "http://u:hunter2@m.test:port" }, "parsed"},
		{"no AppID", func(c *marketplace.Config) { c.AppID = "" }, "AppID: it is empty"},
		{"AppID with a line break", func(c *marketplace.Config) { c.AppID = "a\nb" }, "AppID"},
		{"AppID with a blank", func(c *marketplace.Config) { c.AppID = "a " }, "AppID"},
		{"AppID beyond ASCII", func(c *marketplace.Config) { c.AppID = "é" }, "AppID"},
		{"no Token", func(c *marketplace.Config) { c.Token = nil }, "Token: it is nil"},
		{"a nil TokenFunc", func(c *marketplace.Config) { c.Token = marketplace.TokenFunc(nil) }, "nil function"},
		{"an empty StaticToken", func(c *marketplace.Config) { c.Token = marketplace.StaticToken("") }, "empty StaticToken"},
		{"a StaticToken with its line break", func(c *marketplace.Config) { c.Token = marketplace.StaticToken("hunter2\n") }, "TrimSpace"},
		{"a Path with a query", func(c *marketplace.Config) { c.Path = "list?a=b" }, "Path"},
		{"a Path with a fragment", func(c *marketplace.Config) { c.Path = "list#b" }, "Path"},
		{"a Path that climbs", func(c *marketplace.Config) { c.Path = "../list" }, "Path"},
		{"a Path that climbs, escaped", func(c *marketplace.Config) { c.Path = "a/%2e%2e/list" }, "Path"},
		{"a Path of a slash", func(c *marketplace.Config) { c.Path = "/" }, "Path"},
		{"a Path that is a URL", func(c *marketplace.Config) { c.Path = "https://m.test/list" }, "Path"},
		{"a Path with a bad escape", func(c *marketplace.Config) { c.Path = "a%zz" }, "Path"},
		{"a Path with a control byte", func(c *marketplace.Config) { c.Path = "a\n" }, "Path"},
		{"a RoleListPath", func(c *marketplace.Config) { c.RoleListPath = "/app/role/list/" }, ""},
		{"a RoleListPath with a query", func(c *marketplace.Config) { c.RoleListPath = "roles?a=b" }, "RoleListPath: it has a query"},
		{"a RoleListPath that climbs", func(c *marketplace.Config) { c.RoleListPath = "../roles" }, "RoleListPath"},
		{"a RoleListPath of a slash", func(c *marketplace.Config) { c.RoleListPath = "/" }, "RoleListPath"},
		{"PageSize 1001", func(c *marketplace.Config) { c.PageSize = 1001 }, "PageSize: 1001"},
		{"PageSize -1", func(c *marketplace.Config) { c.PageSize = -1 }, "PageSize: -1"},
		{"PageTimeout -1", func(c *marketplace.Config) { c.PageTimeout = -time.Second }, "PageTimeout"},
		{"MaxPageBytes -1", func(c *marketplace.Config) { c.MaxPageBytes = -1 }, "MaxPageBytes"},
		{"MaxPageBytes of 2 GiB", func(c *marketplace.Config) { c.MaxPageBytes = 2 << 30 }, "MaxPageBytes"},
		{"MaxUsers -1", func(c *marketplace.Config) { c.MaxUsers = -1 }, "MaxUsers"},
		{"a CacheBuster of the call's", func(c *marketplace.Config) { c.CacheBuster = "limit" }, "CacheBuster"},
		{"a CacheBuster with an ampersand", func(c *marketplace.Config) { c.CacheBuster = "a&b" }, "CacheBuster"},
	}
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			c := client(nil, tc.edit)
			err := c.Validate()
			if tc.says == "" {
				require.NoError(t, err)
				return
			}
			require.ErrorContains(t, err, tc.says)
			require.ErrorContains(t, err, "expected")
			assert.NotContains(t, err.Error(), "hunter2")
			assert.Equal(t, err, c.Pull(t.Context(), 0, func(rolegate.Record) { t.Error("yielded") }))
			assert.Empty(t, c.CacheKey())
			assert.NotContains(t, c.String()+c.LogValue().String(), "hunter2")
		})
	}
}

func TestValidateTellsAllAtOnce(t *testing.T) {
	t.Parallel()
	err := marketplace.New(marketplace.Config{Path: "?", RoleListPath: "?", PageSize: -1, PageTimeout: -1, MaxPageBytes: -1, MaxUsers: -1, CacheBuster: "?"}).Validate()
	for _, field := range []string{"BaseURL", "AppID", "Token", "Path", "RoleListPath", "PageSize", "PageTimeout", "MaxPageBytes", "MaxUsers", "CacheBuster"} {
		assert.ErrorContains(t, err, "Config."+field+":")
	}
	for _, c := range []*marketplace.Client{nil, {}} {
		require.ErrorContains(t, c.Validate(), "marketplace.New")
		require.ErrorContains(t, c.Pull(t.Context(), 0, nil), "marketplace.New")
		_, err := c.RoleCodes(t.Context())
		require.ErrorContains(t, err, "marketplace.New")
		assert.Empty(t, c.CacheKey())
		c.CloseIdleConnections()
	}
}

func TestCacheKey(t *testing.T) {
	t.Parallel()
	seen := map[string]string{}
	for _, c := range []struct{ base, path, app string }{
		{"http://m.test", "", "a"}, {"https://m.test", "", "a"}, {"http://m.test/b", "", "a"},
		{"http://m.test", "", "b"}, {"http://m.test", "b", "a"}, {"http://m.test:81", "", "a"},
	} {
		id := client(nil, func(cfg *marketplace.Config) { cfg.BaseURL, cfg.Path, cfg.AppID = c.base, c.path, c.app }).CacheKey()
		assert.NotContains(t, id, secret)
		assert.Empty(t, seen[id], "%+v", c)
		seen[id] = c.base
	}
	same := func(base string) string {
		return client(nil, func(cfg *marketplace.Config) { cfg.BaseURL = base }).CacheKey()
	}
	assert.Equal(t, same("http://m.test/api"), same("HTTP://M.test/api/"))
	assert.Equal(t, "http://m.test/api/app/user/list app-1", same("http://m.test/api"))
}

func TestClientLogsWithoutSecrets(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	slog.New(slog.NewTextHandler(&b, nil)).Info("x", "source", client(nil))
	assert.Contains(t, b.String(), "source.url=http://market.test/api/app/user/list source.app=app-1")
	assert.Equal(t, "marketplace.Client(http://market.test/api/app/user/list as app-1)", client(nil).String())
}

func TestAPanicOfYieldLeavesTheClientUsable(t *testing.T) {
	t.Parallel()
	c := client(pages(ok(user(1, 1)), ok()))
	assert.PanicsWithError(t, "mine", func() {
		_ = c.Pull(t.Context(), 0, func(rolegate.Record) { panic(errors.New("mine")) })
	})
	_, err := pull(t, c, 0)
	require.NoError(t, err)
}
