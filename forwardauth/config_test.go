package forwardauth_test

import (
	"net/http"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/forwardauth"
)

func TestNewNamesEveryMistake(t *testing.T) {
	t.Parallel()
	_, err := forwardauth.New(nil, forwardauth.Config{Prefix: "check/", Headers: []string{"X-Original-URI", "a b"}})
	require.Error(t, err)
	for _, text := range []string{"the gate is nil", "Proxy is none", "Prefix is for Envoy", "Trusted is empty", `"X-Original-URI"`, `"a b"`} {
		assert.ErrorContains(t, err, text)
	}
}

func TestNewMistakes(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, c := range []struct {
		name   string
		change func(*forwardauth.Config)
		want   string
	}{
		{"an unknown proxy", func(c *forwardauth.Config) { c.Proxy = 17 }, "Proxy(17)"},
		{"a prefix for nginx", func(c *forwardauth.Config) { c.Prefix = "/check" }, "Prefix is for Envoy"},
		{"a prefix that ends with a slash", func(c *forwardauth.Config) { c.Proxy, c.Prefix = forwardauth.Envoy, "/check/" }, "ends with a slash"},
		{"a prefix without a slash", func(c *forwardauth.Config) { c.Proxy, c.Prefix = forwardauth.Envoy, "check" }, "not a path"},
		{"a prefix with dots", func(c *forwardauth.Config) { c.Proxy, c.Prefix = forwardauth.Envoy, "/../check" }, "dots"},
		{"no network", func(c *forwardauth.Config) { c.Trusted = nil }, "Trusted is empty"},
		{"the zero network", func(c *forwardauth.Config) { c.Trusted = []netip.Prefix{{}} }, "network 1"},
		{"the whole Internet", func(c *forwardauth.Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")} }, "network 1"},
		{"IPv4 in IPv6", func(c *forwardauth.Config) { c.Trusted = []netip.Prefix{netip.MustParsePrefix("::ffff:0:0/96")} }, "network 1"},
		{"the host as a header", func(c *forwardauth.Config) { c.Headers = []string{"host"} }, `"host"`},
		{"a forwarded header", func(c *forwardauth.Config) { c.Headers = []string{"x-forwarded-uri"} }, `"x-forwarded-uri"`},
		{"a header of the answer", func(c *forwardauth.Config) { c.Headers = []string{"X-Rolegate-User"} }, `"X-Rolegate-User"`},
		{"a header without a name", func(c *forwardauth.Config) { c.Headers = []string{""} }, `""`},
	} {
		t.Run(c.name, func(t *testing.T) {
			cfg := forwardauth.Config{Proxy: forwardauth.Nginx, Trusted: rolegate.Loopback()}
			c.change(&cfg)
			h, err := forwardauth.New(gate, cfg)
			assert.ErrorContains(t, err, c.want)
			assert.Nil(t, h)
		})
	}
}

func TestConfigIsCopied(t *testing.T) {
	t.Parallel()
	trusted := rolegate.Loopback()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, func(c *forwardauth.Config) { c.Trusted = trusted })
	trusted[0] = netip.MustParsePrefix("10.0.0.0/8")
	h.Admit("/")
	assert.Equal(t, http.StatusOK, serve(h, about(1, "/").request(forwardauth.Nginx)).Code)
}

func TestHandlePanicsOnMistakes(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	h.Handle("GET /grades", rolegate.AnyRole("teacher"))
	for name, register := range map[string]func(){
		"no check":               func() { h.Handle("/a") },
		"only a modifier":        func() { h.Handle("/a", rolegate.InOrg(rolegate.PathOrg("id"))) },
		"a nil option":           func() { h.Handle("/a", nil) },
		"an empty role":          func() { h.Handle("/a", rolegate.AnyRole("")) },
		"a shape of its own":     func() { h.Handle("/a", rolegate.AnyRole("teacher"), rolegate.DenyWith(cloudcommand.DenyBladeX)) },
		"no pattern":             func() { h.Admit("") },
		"a pattern without path": func() { h.Admit("GET") },
		"the same pattern twice": func() { h.Admit("GET /grades") },
		"a conflict":             func() { h.Admit("/{x}/b"); h.Admit("/b/{x}") },
		"the zero Handler":       func() { new(forwardauth.Handler).Admit("/a") },
	} {
		assert.Panics(t, register, name)
	}
	assert.Equal(t, http.StatusForbidden, serve(h, about(1, "/a").request(forwardauth.Nginx)).Code, "what panicked is no rule")
}

func TestZeroHandlerDenies(t *testing.T) {
	t.Parallel()
	for name, h := range map[string]*forwardauth.Handler{"nil": nil, "zero": {}} {
		w := serve(h, about(1, "/").request(forwardauth.Nginx))
		assert.Equal(t, http.StatusForbidden, w.Code, name)
	}
	gate := openGate(t, nil)
	assert.Equal(t, http.StatusForbidden, serve(newHandler(t, gate, forwardauth.Nginx, nil), about(1, "/").request(forwardauth.Nginx)).Code, "without rules")
	zero := newHandler(t, &rolegate.Gate{}, forwardauth.Nginx, nil)
	zero.Admit("/")
	assert.Equal(t, http.StatusServiceUnavailable, serve(zero, about(1, "/").request(forwardauth.Nginx)).Code, "the zero gate has no list")
}

func TestProxyNames(t *testing.T) {
	t.Parallel()
	var names []string
	for _, p := range allProxies {
		names = append(names, p.String())
	}
	assert.Equal(t, []string{"nginx", "Traefik", "Caddy", "Envoy", "HAProxy"}, names)
	assert.Equal(t, "none", forwardauth.Proxy(0).String())
	assert.Equal(t, "Proxy(6)", forwardauth.Proxy(6).String())
	assert.Equal(t, "Proxy(200)", forwardauth.Proxy(200).String())
}
