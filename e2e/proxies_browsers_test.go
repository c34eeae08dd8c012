//go:build drill

package e2e

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/forwardauth"
)

// A browser that nobody is logged in with goes to the login page, with the page
// that it has asked for. A script gets 401.
func TestProxiesLogin(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		answer, _ := g.send(t, "", "GET /grades/5?term=1 HTTP/1.1", "Accept: text/html,*/*;q=0.8")
		assert.Equal(t, http.StatusSeeOther, answer.StatusCode)
		assert.Equal(t, "/login?app=school&return_to=%2Fgrades%2F5%3Fterm%3D1", answer.Header.Get("Location"))
		for _, header := range []string{"Accept: application/json", "Sec-Fetch-Mode: cors", "X-Requested-With: XMLHttpRequest"} {
			answer, _ := g.send(t, "", "GET /grades/5 HTTP/1.1", header)
			assert.Equal(t, http.StatusUnauthorized, answer.StatusCode, header)
			assert.Empty(t, answer.Header.Get("Location"), header)
			assert.Equal(t, "Bearer", answer.Header.Get("Www-Authenticate"), header)
			assert.NotEmpty(t, answer.Header.Get("X-Rolegate-Decision"), header)
		}
		answer, _ = g.get(t, 3, "/grades/5", "Accept: text/html")
		assert.Equal(t, http.StatusForbidden, answer.StatusCode, "another login would not help")
		assert.Empty(t, g.app.take())
	})
}

// A refusal speaks the language of the client, where the proxy hands its body on.
func TestProxiesLanguage(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for language, want := range map[string]string{"zh-CN,zh;q=0.9": "没有权限", "en": "You do not have permission"} {
			answer, text := g.get(t, 3, "/grades/5", "Accept-Language: "+language)
			assert.Equal(t, http.StatusForbidden, answer.StatusCode)
			if g.kind != forwardauth.Nginx && g.kind != forwardauth.HAProxy {
				assert.Contains(t, text, want)
			}
		}
	})
}

// A CORS preflight reaches the app, which answers it; other OPTIONS do not.
func TestProxiesPreflight(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		answer, text := g.send(t, "", "OPTIONS /api/grades HTTP/1.1", "Origin: https://app.example", "Access-Control-Request-Method: POST", "X-Rolegate-User: 2")
		assert.Equal(t, http.StatusOK, answer.StatusCode, text)
		seen := g.app.take()
		require.Len(t, seen, 1)
		assert.Empty(t, seen[0].Header.Get("X-Rolegate-User"))
		for _, lines := range [][]string{
			{"OPTIONS /api/grades HTTP/1.1", "Origin: https://app.example"},
			{"OPTIONS /grades/5 HTTP/1.1", "Origin: https://app.example", "Access-Control-Request-Method: POST"},
			{"GET /api/grades HTTP/1.1", "Origin: https://app.example", "Access-Control-Request-Method: POST"},
		} {
			answer, _ := g.send(t, "", lines...)
			assert.GreaterOrEqual(t, answer.StatusCode, 401, lines)
		}
		assert.Empty(t, g.app.take())
	})
}

// Names of files with bytes that are denied elsewhere reach the app as they were
// sent and checked.
func TestProxiesEncoded(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for target, name := range map[string]string{
			"/names/100%25.pdf":            "/names/100%.pdf",
			"/names/Klasse%20%233.pdf":     "/names/Klasse #3.pdf",
			"/names/a;b.txt":               "/names/a;b.txt",
			"/names/a%3Bb.txt":             "/names/a;b.txt",
			"/names/5;jsessionid=1":        "/names/5;jsessionid=1",
			"/names/100%25%20%231;2?x=%2F": "/names/100% #1;2",
			"/groups/group%2Fname":         "/groups/group/name",
			"/groups/group%2fname":         "/groups/group/name",
			"/groups/who%3F?x":             "/groups/who?",
			"/groups/school%5Cclass":       `/groups/school\class`,
		} {
			answer, text := g.get(t, 1, target)
			assert.Equal(t, http.StatusOK, answer.StatusCode, "%s: %s", target, text)
			seen := g.app.take()
			if assert.Len(t, seen, 1, target) {
				assert.Equal(t, target, seen[0].RequestURI)
				assert.Equal(t, name, seen[0].URL.Path)
			}
		}
		for _, target := range []string{"/names/..;/admin", "/names/a%2Fb", "/names/%252e%252e", "/names/..%23", "/names/;x", "/files/100%25.pdf", "/grades/5;x",
			"/groups/a%2F..%2Fb", "/groups/..%2Fadmin", "/groups/a%5C..%5Cb", "/groups/a%2F%2Fb", "/groups/a%23", "/groups/a%252Fb", "/groups/%2F", "/grades/a%2Fb", "/groups/a/../../admin/"} {
			answer, _ := g.get(t, 1, target)
			assert.GreaterOrEqual(t, answer.StatusCode, 400, target)
			assert.Empty(t, g.app.take(), target)
		}
	})
}
