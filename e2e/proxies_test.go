//go:build drill

package e2e

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/forwardauth"
)

// What a client sends in the gate's name, or a proxy's, says nothing.
func TestProxiesSpoofedHeaders(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for _, c := range []struct {
			name  string
			user  int
			lines []string
			want  int // 0: either the app gets what the gate says, or nothing
		}{
			{"the user", 1, []string{"X-Rolegate-User: 2", "x-rolegate-user: 2", "X-ROLEGATE-ACCOUNT: admin", "X-Rolegate-Roles: 7:admin", "X-Rolegate-Org: 7", "X-Rolegate-Decision: mine"}, 200},
			{"the user with underscores", 1, []string{"X_Rolegate_User: 2", "X-Rolegate_User: 2", "x_rolegate-user: 2", "X_ROLEGATE_ROLES: 7:admin"}, 200},
			{"the user behind a bare line feed", 1, []string{"X-A: b\nX-Rolegate-User: 2"}, 0},
			{"the user behind a bare carriage return", 1, []string{"X-A: b\rX-Rolegate-User: 2"}, 0},
			{"the user in a folded line", 1, []string{"X-A: b", " X-Rolegate-User: 2"}, 0},
			{"the user in front of a blank", 1, []string{"X-Rolegate-User : 2"}, 0},
			{"the user in front of a tab", 1, []string{"X-Rolegate-User\t: 2"}, 0},
			{"the user behind a NUL", 1, []string{"X-A: b\x00", "X-Rolegate-User\x00: 2"}, 0},
			{"the user behind a long header", 1, []string{"X-A: " + strings.Repeat("a", 7000), "X-Rolegate-User: 2"}, 0},
			{"the user behind many headers", 1, append(slices.Repeat([]string{"X-A: b"}, 95), "X-Rolegate-User: 2"), 0},
			{"the user in a trailer", 1, []string{"Host: school.example", "Trailer: X-Rolegate-User", "TE: trailers", "Transfer-Encoding: chunked", "", "0", "X-Rolegate-User: 2"}, 0},
			{"the gate's headers named in Connection", 1, []string{"Connection: close, X-Rolegate-User, X-Rolegate-Roles"}, 0},
			{"the session named in Connection", 1, []string{"Connection: Cookie, X-Original-URI, X-Forwarded-Uri, X-Original-Method, X-Forwarded-Method"}, 0},
			{"an override of the method and the path", 1, []string{"X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "X-Original-URL: /admin/", "X-Rewrite-URL: /admin/"}, 200},
			{"an override of the host and what is before the path", 1, []string{"X-Forwarded-Host: admin.example", "x-forwarded-host: admin.example", "X-Forwarded-Prefix: /admin", "Forwarded: host=admin.example;proto=https"}, 200},
			{"nobody, who names a user", 0, []string{"X-Rolegate-User: 2", "X-User-Id: 1"}, 401},
			{"a user, who names another", 3, []string{"X-User-Id: 1", "X-Rolegate-User: 1", "X-Forwarded-User: 1"}, 403},
		} {
			t.Run(c.name, func(t *testing.T) {
				answer, text := g.get(t, c.user, "/grades/5", c.lines...)
				seen := g.app.take()
				if c.want != 0 {
					require.Equal(t, c.want, answer.StatusCode, text)
				}
				if answer.StatusCode != http.StatusOK {
					assert.Empty(t, seen)
					return
				}
				require.Len(t, seen, 1)
				if _, there := seen[0].Header[forwardauth.UserHeader]; !there && (g.kind == forwardauth.Traefik || g.kind == forwardauth.Envoy) {
					return // what Connection names was dropped: the app must take that for nobody
				}
				checkCopied(t, seen[0])
				for _, name := range []string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override", "X-Original-Url", "X-Rewrite-Url", "X-Forwarded-Prefix", "Forwarded"} {
					assert.Empty(t, seen[0].Header[name], name)
				}
				if hosts, there := seen[0].Header["X-Forwarded-Host"]; there {
					assert.Equal(t, []string{"school.example"}, hosts, "the proxy's own")
				}
			})
		}
		for _, target := range []string{"/admin/users", "/settings", "/files/../admin/"} {
			answer, _ := g.get(t, 1, target,
				"X-Original-URI: /grades/5", "X-Original-Method: GET", "X-Original-Host: other.example", "X_Original_URI: /grades/5",
				"X-Forwarded-Uri: /grades/5", "X-Forwarded-Method: GET", "X-Forwarded-Host: other.example", "X-Forwarded-Prefix: /grades",
				"X-Auth-Request-Redirect: /grades/5", "X-Envoy-Original-Path: /grades/5")
			assert.Equal(t, http.StatusForbidden, answer.StatusCode, "the client names another path than %s", target)
			for _, checked := range g.asked.take() {
				assert.Equal(t, "school.example", checked.checkedHost(g.kind))
			}
		}
		assert.Empty(t, g.app.take())
	})
}

// With InOrg the app gets the organisation, and the roles in that one.
func TestProxiesOrganisation(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		answer, text := g.send(t, "", "POST /orgs/7/reports HTTP/1.1", "Cookie: session=user-1", "Content-Length: 0",
			"X-Rolegate-Org: 9", "X-Rolegate-Roles: 9:admin")
		require.Equal(t, http.StatusOK, answer.StatusCode, text)
		seen := g.app.take()
		require.Len(t, seen, 1)
		for name, want := range map[string]string{forwardauth.UserHeader: "1", forwardauth.OrgHeader: "7", forwardauth.RolesHeader: "7:teacher"} {
			assert.Equal(t, []string{want}, seen[0].Header[name], name)
		}
	})
}

// checkCopied checks that the app was told who user 1 is by the gate, and
// nothing by the client.
func checkCopied(t *testing.T, r request) {
	t.Helper()
	want := map[string]string{
		forwardauth.UserHeader: "1", forwardauth.AccountHeader: "%E5%BC%A0%E4%B8%89%2C%20100%25%0D%0A",
		forwardauth.OrgHeader: "", forwardauth.RolesHeader: "7:teacher,8:%E7%8F%AD%E4%B8%BB%E4%BB%BB",
	}
	for name, values := range r.Header {
		flat := http.CanonicalHeaderKey(strings.ReplaceAll(name, "_", "-"))
		if !strings.HasPrefix(flat, "X-Rolegate-") {
			continue
		}
		if name == forwardauth.DecisionHeader {
			assert.Len(t, values, 1)
			assert.NotEqual(t, "mine", values[0])
			continue
		}
		text, ours := want[name]
		if assert.True(t, ours, "the client's header %s", name) {
			assert.Equal(t, []string{text}, values, name)
		}
	}
	for name, text := range want {
		assert.Equal(t, text, r.Header.Get(name), name)
	}
}

// Nothing of one request is left for the next one on the connection.
func TestProxiesOneConnection(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		conn, err := net.Dial("tcp", g.addr)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		answers := bufio.NewReader(conn)
		for _, c := range []struct {
			user, target string
			want         int
		}{
			{"1", "/grades/5", 200}, {"3", "/grades/5", 403}, {"1", "/orgs/9/reports", 403}, {"3", "/", 200}, {"2", "/admin/users", 200}, {"1", "/admin/users", 403}, {"1", "/", 200}, {"", "/", 401},
		} {
			_, err = io.WriteString(conn, "GET "+c.target+" HTTP/1.1\r\nHost: school.example\r\nCookie: session=user-"+c.user+"\r\n\r\n")
			require.NoError(t, err)
			answer, err := http.ReadResponse(answers, nil)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, answer.Body)
			require.NoError(t, err)
			assert.Equal(t, c.want, answer.StatusCode, "%s as %s", c.target, c.user)
			for _, seen := range g.app.take() {
				assert.Equal(t, c.user, seen.Header.Get(forwardauth.UserHeader))
				assert.Equal(t, map[string]string{"1": "7:teacher,8:%E7%8F%AD%E4%B8%BB%E4%BB%BB", "2": "7:admin"}[c.user], seen.Header.Get(forwardauth.RolesHeader))
			}
		}
	})
}

// A body goes to the app, whole, and not to the gate.
func TestProxiesBodies(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		large := strings.Repeat("0123456789abcdef", 1<<19) // 8 MiB
		for _, c := range []struct {
			name, body string
			lines      []string
		}{
			{"none", "", []string{"Content-Length: 0"}},
			{"small", "name=value", []string{"Content-Length: 10", "Content-Type: application/x-www-form-urlencoded"}},
			{"large", large, []string{"Content-Length: " + strconv.Itoa(len(large))}},
			{"in chunks", "4\r\nname\r\n6\r\n=value\r\n0\r\n\r\n", []string{"Transfer-Encoding: chunked"}},
		} {
			for _, user := range []string{"1", "3"} {
				t.Run(c.name+", user "+user, func(t *testing.T) {
					begun := time.Now()
					if user != "1" && c.name == "large" {
						c.body, c.lines = large[:100_000], []string{"Content-Length: 100000"} // or the refusal is lost in a reset
					}
					answer, text := g.send(t, c.body, append([]string{"POST /upload HTTP/1.1", "Cookie: session=user-" + user}, c.lines...)...)
					seen, checked := g.app.take(), g.asked.take()
					require.Len(t, checked, 1)
					assert.Empty(t, checked[0].body, "the gate got a body")
					assert.Zero(t, checked[0].ContentLength)
					assert.Less(t, time.Since(begun), 10*time.Second)
					if user != "1" {
						assert.Equal(t, http.StatusForbidden, answer.StatusCode, text)
						assert.Empty(t, seen)
						return
					}
					require.Equal(t, http.StatusOK, answer.StatusCode, text)
					require.Len(t, seen, 1)
					want := c.body
					if c.name == "in chunks" {
						want = "name=value"
					}
					assert.True(t, bytes.Equal([]byte(want), seen[0].body), "%d bytes of %d", len(seen[0].body), len(want))
				})
			}
		}
	})
}

// A WebSocket is checked as the request that it begins as.
func TestProxiesWebSocket(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		ctx := within(t, 20*time.Second)
		for user, want := range map[string]int{"": http.StatusUnauthorized, "3": http.StatusForbidden} {
			_, refusal, err := websocket.Dial(ctx, "ws://"+g.addr+"/ws", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {"session=user-" + user}}})
			require.Error(t, err)
			require.NotNil(t, refusal, "%v", err)
			assert.Equal(t, want, refusal.StatusCode)
		}
		assert.Empty(t, g.app.take())
		conn, _, err := websocket.Dial(ctx, "ws://"+g.addr+"/ws", &websocket.DialOptions{
			HTTPHeader: http.Header{"Cookie": {"session=user-1"}, "X-Rolegate-User": {"2"}}})
		require.NoError(t, err)
		defer conn.CloseNow()
		for _, text := range []string{"one", "two"} {
			require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte(text)))
			_, back, err := conn.Read(ctx)
			require.NoError(t, err)
			assert.Equal(t, text, string(back))
		}
		seen := g.app.take()
		require.Len(t, seen, 1)
		checkCopied(t, seen[0])
	})
}

// A script can give a token for a WebSocket as a subprotocol alone.
func TestProxiesSubprotocol(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		ctx := within(t, 20*time.Second)
		for token, want := range map[string]int{"user-1": http.StatusSwitchingProtocols, "user-3": http.StatusForbidden, "none": http.StatusUnauthorized} {
			conn, answer, err := websocket.Dial(ctx, "ws://"+g.addr+"/ws", &websocket.DialOptions{Subprotocols: []string{"bearer", token}})
			require.NotNil(t, answer, "%v", err)
			assert.Equal(t, want, answer.StatusCode)
			seen := g.app.take()
			if err != nil {
				assert.Empty(t, seen)
				continue
			}
			conn.CloseNow()
			require.Len(t, seen, 1)
			checkCopied(t, seen[0])
		}
	})
}

// No other upgrade reaches the app: HTTP/2 without TLS would be a tunnel for
// requests that nobody checks.
func TestProxiesOtherUpgrades(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for _, lines := range [][]string{
			{"Upgrade: h2c"}, {"Upgrade: H2C"}, {"Upgrade: h2c, websocket"}, {"Upgrade: websocket, h2c"},
			{"Upgrade: h2c", "Upgrade: websocket"}, {"Upgrade: websocket", "Upgrade: h2c"}, {"Upgrade: TLS/1.0"}, {"Upgrade: websocket/h2c"},
		} {
			answer, text := g.get(t, 1, "/grades/5", append(lines, "Connection: Upgrade, HTTP2-Settings", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA")...)
			seen := g.app.take()
			if answer.StatusCode != http.StatusOK {
				assert.Empty(t, seen, "%q", lines)
				continue
			}
			require.Len(t, seen, 1, text)
			for _, value := range seen[0].Header["Upgrade"] {
				assert.Equal(t, "websocket", value, "%q", lines)
			}
		}
	})
}

// The first event arrives while the app holds the second back.
func TestProxiesEventStream(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		conn, err := net.Dial("tcp", g.addr)
		require.NoError(t, err)
		defer conn.Close()
		require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
		_, err = io.WriteString(conn, "GET /events HTTP/1.1\r\nHost: school.example\r\nCookie: session=user-1\r\n\r\n")
		require.NoError(t, err)
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		require.NoError(t, err)
		line, err := bufio.NewReader(answer.Body).ReadString('\n')
		require.NoError(t, err)
		assert.Equal(t, "data: one\n", line)
	})
}

// Whoever loses a role or is taken off the list is out with the next request.
func TestProxiesRevoked(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		answer, text := g.get(t, 1, "/grades/5")
		require.Equal(t, http.StatusOK, answer.StatusCode, text)
		require.Len(t, g.app.take(), 1)
		g.source.Put(user(1, "pupil"))
		require.NoError(t, g.gate.Refresh(t.Context()))
		answer, _ = g.get(t, 1, "/grades/5")
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		answer, text = g.get(t, 1, "/")
		require.Equal(t, http.StatusOK, answer.StatusCode, text)
		require.Len(t, g.app.take(), 1)
		g.source.Remove(1)
		require.NoError(t, g.gate.RefreshAll(t.Context()))
		answer, _ = g.get(t, 1, "/")
		assert.Equal(t, http.StatusForbidden, answer.StatusCode)
		assert.Empty(t, g.app.take())
	})
}

// A user's roles arrive all, or the user does not get in.
func TestProxiesManyRoles(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		for user, roles := range map[int]int{4: 100, 5: 560, 6: 3000} {
			answer, text := g.get(t, user, "/grades/5")
			seen := g.app.take()
			if answer.StatusCode != http.StatusOK {
				assert.Greater(t, roles, 100, text)
				assert.Empty(t, seen)
				continue
			}
			require.Len(t, seen, 1)
			assert.Len(t, strings.Split(seen[0].Header.Get(forwardauth.RolesHeader), ","), roles)
			assert.Equal(t, strconv.Itoa(user), seen[0].Header.Get(forwardauth.UserHeader))
		}
	})
}

// Without a gate to ask nobody gets in; nor when it answers something odd.
func TestProxiesFailClosed(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		rules := g.asked.next
		for _, c := range []struct {
			name   string
			answer http.HandlerFunc
		}{
			{"cut off in the headers", func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nX-Rolegate-User: 1\r\n")
					conn.Close()
				}
			}},
			{"no HTTP", func(w http.ResponseWriter, _ *http.Request) {
				conn, _, err := http.NewResponseController(w).Hijack()
				if err == nil {
					_, _ = io.WriteString(conn, "200 OK\r\n\r\n")
					conn.Close()
				}
			}},
			{"a redirect", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/grades/5", http.StatusFound) }},
			{"not found", http.NotFound},
			{"a fault", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) }},
		} {
			g.asked.next = c.answer
			answer, _ := g.get(t, 1, "/grades/5")
			assert.GreaterOrEqual(t, answer.StatusCode, 300, c.name)
			assert.Empty(t, g.app.take(), c.name)
		}
		g.asked.next = rules

		require.NoError(t, g.gate.Close())
		answer, _ := g.get(t, 1, "/grades/5")
		want := http.StatusServiceUnavailable
		switch g.kind {
		case forwardauth.Nginx:
			want = http.StatusInternalServerError // it knows 401 and 403 only
		case forwardauth.Envoy:
			want = http.StatusForbidden
		}
		assert.Equal(t, want, answer.StatusCode)
		assert.Empty(t, g.app.take())

		g.auth.Close()
		answer, _ = g.get(t, 1, "/grades/5")
		assert.GreaterOrEqual(t, answer.StatusCode, 400)
		assert.Empty(t, g.app.take())
	})
}
