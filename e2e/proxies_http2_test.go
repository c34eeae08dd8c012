//go:build drill

package e2e

import (
	"bytes"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/rolegate/rolegate/forwardauth"
)

// What HTTP/1 cannot write: pseudo-headers that are there twice, that contradict a
// header or have a whole request in them, and names of headers in capitals. HAProxy
// alone takes HTTP/2 here.
func TestProxiesHTTP2Fields(t *testing.T) {
	eachProxy(t, func(t *testing.T, g *rig) {
		if g.kind != forwardauth.HAProxy {
			return
		}
		good := []string{":method", "GET", ":scheme", "http", ":authority", "school.example", ":path", "/grades/5"}
		with := func(changes ...string) []string { return append(append([]string{}, good...), changes...) }
		instead := func(name string, changes ...string) (fields []string) {
			for i := 0; i < len(good); i += 2 {
				if good[i] != name {
					fields = append(fields, good[i], good[i+1])
				}
			}
			return append(fields, changes...)
		}
		for name, fields := range map[string][]string{
			"as it should be":                    good,
			"two paths":                          with(":path", "/admin/"),
			"two methods":                        with(":method", "DELETE"),
			"two hosts":                          with(":authority", "other.example"),
			"another Host":                       with("host", "other.example"),
			"another Host in front":              append([]string{"host", "other.example"}, good...),
			"a Host alone":                       instead(":authority", "host", "other.example"),
			"no host":                            instead(":authority"),
			"no path":                            instead(":path"),
			"an empty path":                      instead(":path", ":path", ""),
			"an asterisk":                        instead(":path", ":path", "*"),
			"a path without a slash":             instead(":path", ":path", "admin/"),
			"a whole URL":                        instead(":path", ":path", "http://school.example/admin/"),
			"a path that ends the line":          instead(":path", ":path", "/grades/5 HTTP/1.1\r\nX-Rolegate-User: 2\r\nX: "),
			"a path with a blank":                instead(":path", ":path", "/grades/5 /admin/"),
			"a path with a NUL":                  instead(":path", ":path", "/grades/5\x00"),
			"a path with a fragment":             instead(":path", ":path", "/grades/5#/admin/"),
			"a scheme with a host":               instead(":scheme", ":scheme", "http://school.example/admin/?"),
			"a host with a path":                 instead(":authority", ":authority", "school.example/admin"),
			"a host with a user":                 instead(":authority", ":authority", "a@school.example"),
			"a method that ends the line":        instead(":method", ":method", "GET /admin/ HTTP/1.1\r\nX: "),
			"a method with a path":               instead(":method", ":method", "GET /admin/"),
			"CONNECT":                            {":method", "CONNECT", ":authority", "school.example"},
			"CONNECT of a WebSocket":             {":method", "CONNECT", ":protocol", "websocket", ":scheme", "http", ":authority", "school.example", ":path", "/admin/"},
			"CONNECT of another protocol":        {":method", "CONNECT", ":protocol", "h2c", ":scheme", "http", ":authority", "school.example", ":path", "/ws"},
			"a pseudo-header behind the headers": instead(":path", "x-a", "b", ":path", "/admin/"),
			"a pseudo-header that is none":       with(":user", "2"),
			"the user in capitals":               with("X-Rolegate-User", "2"),
			"the user":                           with("x-rolegate-user", "2"),
			"the user with underscores":          with("x_rolegate_user", "2"),
			"a value that ends the line":         with("x-a", "b\r\nx-rolegate-user: 2"),
			"a name that ends the line":          with("x-a: b\r\nx-rolegate-user", "2"),
			"a header of HTTP/1":                 with("connection", "x-rolegate-user"),
			"a length and chunks":                with("transfer-encoding", "chunked"),
			"a length without a body":            with("content-length", "5"),
		} {
			t.Run(name, func(t *testing.T) {
				status := g.frames(t, append(fields, "cookie", "session=user-1"))
				seen, checked := g.app.take(), g.asked.take()
				if len(seen) == 0 {
					assert.NotEqual(t, "200", status)
					assert.NotEqual(t, "as it should be", name)
					return
				}
				require.Len(t, seen, 1)
				require.Len(t, checked, 1)
				method, host, uri := checked[0].original(g.kind)
				assert.Equal(t, [3]string{method, host, uri}, [3]string{seen[0].Method, seen[0].Host, seen[0].RequestURI})
				assert.Contains(t, []string{"/grades/5", "/ws"}, seen[0].URL.Path)
				assert.Empty(t, seen[0].Header["Upgrade"])
				checkCopied(t, seen[0])
			})
		}
	})
}

// frames sends a request of these fields over HTTP/2, and returns the status of the
// answer, "" if there is none.
func (g *rig) frames(t *testing.T, fields []string) (status string) {
	t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	require.NoError(t, err)
	defer conn.Close()
	require.NoError(t, conn.SetDeadline(time.Now().Add(20*time.Second)))
	var block bytes.Buffer
	coder := hpack.NewEncoder(&block)
	for i := 0; i < len(fields); i += 2 {
		require.NoError(t, coder.WriteField(hpack.HeaderField{Name: fields[i], Value: fields[i+1]}))
	}
	_, err = io.WriteString(conn, http2.ClientPreface)
	require.NoError(t, err)
	framer := http2.NewFramer(conn, conn)
	framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	require.NoError(t, framer.WriteSettings())
	require.NoError(t, framer.WriteHeaders(http2.HeadersFrameParam{StreamID: 1, BlockFragment: block.Bytes(), EndStream: true, EndHeaders: true}))
	for {
		frame, err := framer.ReadFrame()
		if err != nil {
			return status // the proxy has had enough
		}
		switch f := frame.(type) {
		case *http2.SettingsFrame:
			if !f.IsAck() {
				_ = framer.WriteSettingsAck()
			}
		case *http2.MetaHeadersFrame:
			if status = f.PseudoValue("status"); f.StreamEnded() || !strings.HasPrefix(status, "1") {
				return status
			}
		case *http2.RSTStreamFrame, *http2.GoAwayFrame:
			return status
		}
	}
}
