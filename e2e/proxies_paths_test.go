//go:build drill

package e2e

import (
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/forwardauth"
)

// The app behind each proxy gets the path that was checked, byte for byte, and
// nothing that could be read as another one.
func TestProxiesPaths(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for _, c := range []struct {
			name   string
			user   int
			line   string
			want   int
			behind string // the target that the app must see, "" if it is not to be asked
		}{
			{"listed", 3, "GET /", 200, "/"},
			{"a role", 1, "GET /grades/5", 200, "/grades/5"},
			{"the same role elsewhere does not count", 1, "POST /orgs/9/reports", 403, ""},
			{"in the organisation of the path", 1, "POST /orgs/7/reports", 200, "/orgs/7/reports"},
			{"a query", 1, "GET /grades/5?term=1&x=/../admin", 200, "/grades/5?term=1&x=/../admin"},
			{"encoded Chinese", 1, "GET /files/%E5%BC%A0%E4%B8%89", 200, "/files/%E5%BC%A0%E4%B8%89"},
			{"an encoded blank", 1, "GET /files/a%20b+c", 200, "/files/a%20b+c"},
			{"an encoded digit in a value", 1, "GET /grades/%35", 200, "/grades/%35"},
			{"small hexadecimal digits", 1, "GET /files/%e5%bc%a0", 200, "/files/%e5%bc%a0"},
			{"brackets, which browsers do not encode", 1, "GET /files/Klasse%20[3].pdf", 200, "/files/Klasse%20[3].pdf"},
			{"other bytes that they do not encode", 1, "GET /files/a|b^c", 200, "/files/a|b^c"},
			{"HEAD is what GET is", 1, "HEAD /grades/5", 200, "/grades/5"},

			{"nobody", 0, "GET /", 401, ""},
			{"not listed", 99, "GET /", 403, ""},
			{"without the role", 3, "GET /grades/5", 403, ""},
			{"HEAD without the role", 3, "HEAD /grades/5", 403, ""},
			{"no rule", 1, "GET /settings", 403, ""},
			{"no rule for the method", 1, "DELETE /grades/5", 403, ""},
			{"an unknown method", 1, "BREW /grades/5", 403, ""},
			{"ServeMux would redirect to the path with a slash", 2, "GET /admin", 403, ""},

			{"another's pages", 1, "GET /admin/users", 403, ""},
			{"traversal", 1, "GET /files/../admin/users", 403, ""},
			{"traversal to what is allowed", 1, "GET /admin/../grades/5", 403, ""},
			{"encoded dots", 1, "GET /files/%2e%2e/admin/users", 403, ""},
			{"half encoded dots", 1, "GET /files/.%2E/admin/users", 403, ""},
			{"an encoded slash", 1, "GET /files/..%2fadmin", 403, ""},
			{"an encoded slash in a segment", 1, "GET /grades/5%2F6", 403, ""},
			{"encoded twice", 1, "GET /files/%252e%252e/admin", 403, ""},
			{"a double slash", 1, "GET //grades/5", 403, ""},
			{"a double slash within", 1, "GET /files//admin", 403, ""},
			{"a dot", 1, "GET /./grades/5", 403, ""},
			{"a backslash", 1, `GET /files/..\admin`, 403, ""},
			{"an encoded backslash", 1, "GET /files/..%5cadmin", 403, ""},
			{"a semicolon", 1, "GET /files/..;/admin", 403, ""},
			{"an encoded NUL", 1, "GET /grades/5%00", 403, ""},
			{"an overlong dot", 1, "GET /files/%c0%ae%c0%ae/admin", 403, ""},
			{"an encoded letter of the rule's", 1, "GET /%67rades/5", 403, ""},
			{"a broken escape", 1, "GET /grades/%zz", 403, ""},
			{"a fragment", 1, "GET /grades/5#/../admin", 403, ""},
			{"an asterisk", 1, "OPTIONS *", 403, ""},
		} {
			t.Run(c.name, func(t *testing.T) {
				lines := []string{c.line + " HTTP/1.1"}
				if c.user != 0 {
					lines = append(lines, "Authorization: Bearer user-"+strconv.Itoa(c.user))
				}
				if strings.HasPrefix(c.line, "POST") {
					lines = append(lines, "Content-Length: 0")
				}
				answer, text := g.send(t, "", lines...)
				seen := g.app.take()
				if c.want == 200 {
					assert.Equal(t, 200, answer.StatusCode, text)
					require.Len(t, seen, 1)
					assert.Equal(t, c.behind, encodedByGo.Replace(seen[0].RequestURI))
					assert.Equal(t, "school.example", seen[0].Host)
					return
				}
				assert.Empty(t, seen, "the app was asked")
				if badRequests[c.name] && (answer.StatusCode == http.StatusBadRequest || c.line == "OPTIONS *") {
					return // the proxy itself has answered
				}
				assert.Equal(t, c.want, answer.StatusCode, text)
				if answer.StatusCode == http.StatusUnauthorized {
					assert.Equal(t, "Bearer", answer.Header.Get("Www-Authenticate"))
				}
				assert.NotEmpty(t, answer.Header.Get("X-Rolegate-Decision"))
				if g.kind != forwardauth.Nginx && g.kind != forwardauth.HAProxy && !strings.HasPrefix(c.line, "HEAD") {
					assert.Contains(t, text, answer.Header.Get("X-Rolegate-Decision"), "the body comes through")
				}
			})
		}
	})
}

// encodedByGo are bytes that browsers leave as they are in a path, and proxies that
// are written in Go encode.
var encodedByGo = strings.NewReplacer("%7C", "|", "%5E", "^")

// badRequests are what a proxy may refuse with 400 before it asks. An OPTIONS of
// everything is about the proxy itself.
var badRequests = map[string]bool{
	"a broken escape": true, "an encoded NUL": true, "a fragment": true, "an asterisk": true, "a backslash": true,
}

// Whatever a client does with the host, and with a target that is a whole URL,
// the app gets what was checked, or nothing.
func TestProxiesHosts(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for _, lines := range [][]string{
			{"GET http://school.example/admin/users HTTP/1.1"},
			{"GET http://school.example/grades/5 HTTP/1.1"},
			{"GET http://other.example/grades/5 HTTP/1.1"},
			{"GET http://SCHOOL.example/grades/5 HTTP/1.1"},
			{"GET https://school.example//admin/ HTTP/1.1"},
			{"GET school.example:80 HTTP/1.1"},
			{"CONNECT school.example:80 HTTP/1.1"},
			{"CONNECT /grades/5 HTTP/1.1"},
			{"GET /grades/5 HTTP/1.0"},
			{"GET /grades/5 HTTP/1.1", "Host: SCHOOL.example"},
			{"GET /grades/5 HTTP/1.1", "Host: school.example."},
			{"GET /grades/5 HTTP/1.1", "Host: school.example:8000"},
			{"GET /grades/5 HTTP/1.1", "Host: school.example", "Host: other.example"},
			{"GET /grades/5 HTTP/1.1", "Host: school.example, other.example"},
			{"GET /grades/5 HTTP/1.1", "Host: a@school.example"},
			{"GET /grades/5 HTTP/1.1", "Host: school.example/admin"},
			{"GET /grades/5 HTTP/1.1", "Host: "},
			{"GET /grades/5 HTTP/1.1", "Host: [::1]"},
		} {
			g.asked.take()
			answer, text := g.send(t, "", append(lines, "Cookie: session=user-1")...)
			seen, checked := g.app.take(), g.asked.take()
			if answer.StatusCode != http.StatusOK {
				assert.Empty(t, seen, "%q", lines)
				assert.False(t, len(lines) > 1 && lines[1] == "Host: SCHOOL.example" && (g.kind == forwardauth.Nginx || g.kind == forwardauth.HAProxy), "they write it in small letters, for both")
				continue
			}
			require.Len(t, seen, 1, text)
			require.Len(t, checked, 1)
			assert.Equal(t, "/grades/5", seen[0].RequestURI, "%q", lines)
			assert.Equal(t, "GET", seen[0].Method)
			assert.Equal(t, checked[0].checkedHost(g.kind), seen[0].Host, "%q", lines)
		}
	})
}

// checkedHost is the host of the original request, in a question to the gate.
func (r request) checkedHost(kind forwardauth.Proxy) string {
	switch kind {
	case forwardauth.Envoy:
		return r.Host
	case forwardauth.Nginx, forwardauth.HAProxy:
		return r.Header.Get("X-Original-Host")
	}
	return r.Header.Get("X-Forwarded-Host")
}

// HAProxy takes HTTP/2 without TLS, where a target is a whole URL and a cookie
// comes in pieces. The others here do not.
func TestProxiesHTTP2(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		var only http.Protocols
		only.SetUnencryptedHTTP2(true)
		transport := &http.Transport{Protocols: &only}
		defer transport.CloseIdleConnections()
		for target, want := range map[string]int{"/grades/5?x=1": 200, "/admin/users": 403, "/files/%2e%2e/admin": 403, "//grades/5": 403} {
			r, err := http.NewRequestWithContext(within(t, 20*time.Second), http.MethodGet, "http://"+g.addr+target, nil)
			require.NoError(t, err)
			r.Host = "school.example"
			r.Header["Cookie"] = []string{"a=1; b=2", "session=user-1"}
			r.Header.Set("X-Rolegate-User", "2")
			answer, err := transport.RoundTrip(r)
			seen, checked := g.app.take(), g.asked.take()
			if g.kind != forwardauth.HAProxy {
				require.Error(t, err)
				assert.Empty(t, seen)
				return
			}
			require.NoError(t, err)
			answer.Body.Close()
			require.Equal(t, want, answer.StatusCode, target)
			require.Len(t, checked, 1)
			assert.Equal(t, target, checked[0].Header.Get("X-Original-Uri"))
			if want != http.StatusOK {
				assert.Empty(t, seen)
				continue
			}
			require.Len(t, seen, 1)
			assert.Equal(t, target, seen[0].RequestURI)
			assert.Equal(t, "school.example", seen[0].Host)
			checkCopied(t, seen[0])
		}
	})
}
