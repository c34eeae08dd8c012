package forwardauth_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/forwardauth"
)

// Files have names with bytes that are denied elsewhere. A rule lets stand those
// that it names, and nothing that is another path when it is decoded once more, or
// cut.
func TestEncoded(t *testing.T) {
	t.Parallel()
	gate := openGate(t, nil)
	for _, c := range []struct {
		name, encoded, uri string
		value              string // of the wildcard; "" if it is denied
	}{
		{"a percent sign", "%", "/files/100%25.pdf", "100%.pdf"},
		{"a percent sign at the end", "%", "/files/100%25", "100%"},
		{"a percent sign and one digit", "%", "/files/100%255", "100%5"},
		{"a percent sign and what is not quite a digit", "%", "/files/100%25:@", "100%:@"},
		{"a hash", "#", "/files/Klasse%20%233.pdf", "Klasse #3.pdf"},
		{"a semicolon", ";", "/files/a;b.txt", "a;b.txt"},
		{"an encoded semicolon", ";", "/files/a%3Bb.txt", "a;b.txt"},
		{"a session", ";", "/files/a;jsessionid=1", "a;jsessionid=1"},
		{"a slash", "/", "/files/group%2Fname", "group/name"},
		{"a slash in small letters", "/", "/files/group%2fname", "group/name"},
		{"a backslash", `\`, "/files/a%5Cb", `a\b`},
		{"a question mark", "?", "/files/why%3F", "why?"},
		{"several", "%#;", "/files/100%25%20%231;2", "100% #1;2"},
		{"nothing that would need it", "%", "/files/a", "a"},

		{"another byte than the rule's", "#", "/files/100%25", ""},
		{"one of two", "%", "/files/100%25%23", ""},
		{"the other one of two", ";", "/files/a%23b;c", ""},
		{"encoded twice", "%", "/files/a%252fb", ""},
		{"encoded twice, in part", "%", "/files/a%25%32%66b", ""},
		{"a dot, encoded twice", "%/", "/files/%252e%252e", ""},
		{"dots and a slash", "/", "/files/..%2fadmin", ""},
		{"a slash and dots", "/", "/files/a%2f..", ""},
		{"a slash and a dot", "/", "/files/.%2fa", ""},
		{"a slash at the front", "/", "/files/%2fa", ""},
		{"a slash at the end", "/", "/files/a%2f", ""},
		{"two slashes", "/", "/files/a%2f%2fb", ""},
		{"dots and a backslash", `\`, "/files/..%5cadmin", ""},
		{"two backslashes", `\`, "/files/a%5c%5cb", ""},
		{"dots and a semicolon", ";", "/files/..;a", ""},
		{"a dot and a semicolon", ";", "/files/.;a", ""},
		{"a semicolon at the front", ";", "/files/;a", ""},
		{"dots and a question mark", "?", "/files/..%3fa", ""},
		{"dots and a hash", "#", "/files/..%23a", ""},
		{"a hash at the front", "#", "/files/%23a", ""},
		{"an encoded dot", `%#?;/\`, "/files/%2e", ""},
		{"a control byte", `%#?;/\`, "/files/a%0a", ""},
		{"a backslash as it is", `\`, `/files/a\b`, ""},
		{"a hash as it is", "#", "/files/a#b", ""},
		{"a percent sign as it is", "%", "/files/100%", ""},
		{"no UTF-8", "%", "/files/%25%ff", ""},
		{"another rule's path", "%", "/other/100%25", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, proxy := range allProxies {
				var value string
				h := newHandler(t, gate, proxy, prefixed(proxy))
				h.Encoded(c.encoded).Handle("GET /files/{name}", rolegate.Where("seen", func(_ rolegate.User, r *http.Request) bool {
					value = r.PathValue("name")
					return true
				}))
				h.Admit("/other/{name}")
				code := serve(h, about(1, c.uri).request(proxy)).Code
				assert.Equal(t, c.value, value, proxy)
				assert.Equal(t, c.value != "", code == http.StatusOK, proxy)
				assert.Equal(t, c.value == "", h.Explain(t.Context(), "GET", "school.example", c.uri, rolegate.UserID(1)).Denied != nil)
			}
		})
	}
	h := newHandler(t, gate, forwardauth.Nginx, nil)
	h.Encoded("#%").Admit("/a/{x}")
	h.Admit("/b/{x}")
	assert.Equal(t, "%#", h.Rules()[0].Encoded)
	assert.Empty(t, h.Rules()[1].Encoded)
	for _, bytes := range []string{"", ".", "%a", " "} {
		assert.Panics(t, func() { h.Encoded(bytes) }, bytes)
	}
}
