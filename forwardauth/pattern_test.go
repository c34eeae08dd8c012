package forwardauth_test

import (
	"net/http"
	"os"
	"os/exec"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

// A rule that no request can match guards nothing: what it is meant for would go
// by a wider rule.
func TestRulesThatCanNeverMatch(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	for _, c := range []struct{ pattern, says string }{
		{"Admin.example/", "small letters"},
		{"GET Admin.example/a", "small letters"},
		{"admin.example:8443/", "without a port"},
		{"admin.example./", "a dot at their end"},
		{".example/", "a dot at their end"},
		{"[::1]/", "without brackets"},
		{"张.example/", "small letters"},
		{"post /admin/", "capitals"},
		{"Post /admin/", "capitals"},
		{"CONNECT /admin/", "CONNECT has no path"},
		{"GET2 /admin/", "capitals"},
		{"/a//b", "an empty segment"},
		{"/../a", "one of dots"},
		{"/a/.", "one of dots"},
		{"/%2e%2e/a", "one of dots"},
		{"/a%00", "control bytes"},
		{"/a%1Fb", "control bytes"},
		{"/a%7f", "control bytes"},
		{"/a%ff", "UTF-8"},
		{"/a;b", "see Handler.Encoded"},
		{"/{x}/a;b", "see Handler.Encoded"},
		{"/a%2fb", "see Handler.Encoded"},
		{"/a%5Cb", "see Handler.Encoded"},
		{"/100%25", "see Handler.Encoded"},
		{"/a%23b", "see Handler.Encoded"},
		{"/a%3fb", "see Handler.Encoded"},
		{"/a%zz", "see Handler.Encoded"},
	} {
		for name, add := range map[string]func(string){
			"Handle":    func(p string) { h.Handle(p, rolegate.AnyRole("teacher")) },
			"Admit":     h.Admit,
			"Preflight": h.Preflight,
		} {
			func() {
				defer func() {
					said, _ := recover().(string)
					if name == "Preflight" && said != "" && said == `rolegate: forwardauth: Preflight("`+c.pattern+`"): expected a pattern without a method, such as /api/` {
						return
					}
					assert.Contains(t, said, "can match no request", "%s %s", name, c.pattern)
					assert.Contains(t, said, c.says, "%s %s", name, c.pattern)
				}()
				add(c.pattern)
			}()
		}
	}
	for _, pattern := range []string{`/files/%2e%2e%2fa`, `/files/a%2f`, `/files/%25%32%66`, `/files/;a`} {
		assert.Panics(t, func() { h.Encoded(`%/;`).Admit(pattern) }, pattern)
	}
	assert.Empty(t, h.Rules())
	for _, pattern := range []string{"admin.example/", "GET admin-1.example/a.b/{x}", "VERSION-CONTROL /vc", "/%E5%BC%A0/", "/张", "/a%20b", "/...", "/{$}", "/a/{rest...}", "/b/"} {
		assert.NotPanics(t, func() { h.Admit(pattern) }, pattern)
	}
	assert.NotPanics(t, func() { h.Encoded("%;").Admit("/100%25/a;b") })
	assert.Equal(t, 200, serve(h, about(1, "/100%25/a;b").request(forwardauth.Nginx)).Code)
}

// Under GODEBUG=httpmuxgo121=1 no rule with a method or a wildcard would match.
func TestNewUnderTheOldServeMux(t *testing.T) {
	t.Parallel()
	const name = "ROLEGATE_TEST_OLD_MUX"
	if os.Getenv(name) != "" {
		_, err := forwardauth.New(openGate(t, nil), forwardauth.Config{Proxy: forwardauth.Nginx, Trusted: rolegate.Loopback()})
		require.ErrorContains(t, err, "httpmuxgo121")
		return
	}
	self, err := os.Executable()
	require.NoError(t, err)
	c := exec.Command(self, "-test.run=^TestNewUnderTheOldServeMux$", "-test.count=1")
	c.Env = append(os.Environ(), "GODEBUG=httpmuxgo121=1", name+"=1")
	out, err := c.CombinedOutput()
	require.NoError(t, err, "%s", out)
	assert.Contains(t, string(out), "PASS")
}

// Hosts in a rule are matched without the port of the request.
func TestHostsOfRules(t *testing.T) {
	t.Parallel()
	h := newHandler(t, openGate(t, nil), forwardauth.Nginx, nil)
	h.Admit("/")
	h.Handle("admin.example/", rolegate.AnyRole("admin"))
	for host, want := range map[string]int{"school.example": 200, "admin.example": 403, "admin.example:8443": 403, "admin.example.": 403, "ADMIN.example": 403} {
		assert.Equal(t, want, serve(h, question{http.MethodGet, host, "/", 1}.request(forwardauth.Nginx)).Code, host)
	}
}

// What a pattern has as it is must stand in the path as browsers write it: chi,
// Express and others match paths before they decode them, and would take
// "/files/%70ublic" for a value of "/files/{name}".
func TestFixedSegmentsAreWrittenPlainly(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, c := range []struct {
		name, pattern, uri string
		want               int
	}{
		{"as it is", "/files/public", "/files/public", 200},
		{"with a query", "/files/public", "/files/public?x=%70/%70", 200},
		{"a letter", "/files/public", "/files/%70ublic", 403},
		{"the last letter", "/files/public", "/files/publi%63", 403},
		{"a letter in front of a wildcard", "/files/{name}", "/%66iles/x", 403},
		{"a letter behind a wildcard", "/files/{name}/edit", "/files/x/ed%69t", 403},
		{"a letter in front of a rest", "/files/{path...}", "/f%69les/x", 403},
		{"a letter in front of a slash", "/files/", "/f%69les/x", 403},
		{"a letter in front of the end", "/files/{$}", "/f%69les/", 403},
		{"a digit", "/v1/x", "/v%31/x", 403},
		{"a hyphen", "/a-b", "/a%2Db", 403},
		{"a tilde", "/~a", "/%7Ea", 403},
		{"an at sign", "/@me", "/%40me", 403},
		{"a plus sign", "/a+b", "/a%2Bb", 403},
		{"Chinese", "/公开", "/%E5%85%AC%E5%BC%80", 200},
		{"Chinese, in small letters", "/公开", "/%e5%85%ac%e5%bc%80", 403},
		{"a blank", "/a%20b", "/a%20b", 200},
		{"a bracket, which Go encodes", "/[3]", "/%5B3%5D", 200},
		{"a bracket", "/[3]", "/[3]", 200},
		{"a bar, in small letters", "/a|b", "/a%7cb", 403},
		{"a pattern that has it encoded", "/%61bc", "/abc", 200},
		{"a pattern that has it encoded, sent so", "/%61bc", "/%61bc", 403},
		{"a value", "/files/{name}", "/files/%70ublic", 200},
		{"a value, Chinese in small letters", "/files/{name}", "/files/%e5%bc%a0", 200},
		{"a value in the rest", "/files/{path...}", "/files/a/%70ublic", 200},
		{"a value below a slash", "/files/", "/files/%70ublic", 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, proxy := range allProxies {
				h := newHandler(t, gate, proxy, prefixed(proxy))
				h.Admit("GET school.example" + c.pattern)
				h.Preflight("school.example" + c.pattern)
				assert.Equal(t, c.want, serve(h, about(1, c.uri).request(proxy)).Code, proxy)
				assert.Equal(t, c.want != 200, h.Explain(t.Context(), "GET", "school.example", c.uri, rolegate.UserID(1)).Denied != nil, proxy)
				preflight := question{"OPTIONS", "school.example", c.uri, 0}.request(proxy)
				preflight.Header.Set("Origin", "https://app.example")
				preflight.Header.Set("Access-Control-Request-Method", "POST")
				assert.Equal(t, c.want, serve(h, preflight).Code, proxy)
			}
		})
	}
}
