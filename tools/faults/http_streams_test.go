package faults_test

import (
	"context"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Line 42: WebSocket and server-sent events must work through the gate, which
// hands on the server's own ResponseWriter; and a revocation must end them
// within one swap.
func TestFault42LongRequests(t *testing.T) {
	t.Parallel()
	for _, how := range []string{"WebSocket", "server-sent events", "server-sent events over HTTP/2"} {
		for _, revoked := range []string{"off the list", "the role is gone", "the gate is closed"} {
			t.Run(how+", "+revoked, func(t *testing.T) {
				t.Parallel()
				source := rolegatetest.NewStatic(webUser(1, webIn(7, "teacher")), webUser(2))
				gate := webOpen(t, webConfig(source))
				begun := make(chan context.Context, 1)
				guarded := gate.Admit(gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(webStream(t, begun)))
				server := httptest.NewUnstartedServer(guarded)
				var say func(text string)
				var hear func() string
				switch how {
				case "WebSocket":
					server.Start()
					t.Cleanup(server.Close)
					conn, in := webDial(t, strings.TrimPrefix(server.URL, "http://"))
					_, err := io.WriteString(conn, "GET / HTTP/1.1\r\nHost: app.test\r\nX-User-Id: 1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
						"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
					require.NoError(t, err)
					resp, err := http.ReadResponse(in, nil)
					require.NoError(t, err)
					defer resp.Body.Close()
					require.Equal(t, 101, resp.StatusCode)
					assert.Equal(t, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", resp.Header.Get("Sec-WebSocket-Accept"))
					say = func(text string) { _, _ = conn.Write(webFrame(1, text)) }
					hear = func() string {
						head := make([]byte, 2)
						_, err := io.ReadFull(in, head)
						require.NoError(t, err)
						payload := make([]byte, head[1])
						_, err = io.ReadFull(in, payload)
						require.NoError(t, err)
						return string(payload)
					}
				default:
					server.EnableHTTP2 = how != "server-sent events"
					if server.EnableHTTP2 {
						server.StartTLS()
					} else {
						server.Start()
					}
					t.Cleanup(server.Close)
					r, err := http.NewRequestWithContext(t.Context(), "GET", server.URL, nil)
					require.NoError(t, err)
					r.Header.Set("X-User-Id", "1")
					resp, err := server.Client().Do(r)
					require.NoError(t, err)
					t.Cleanup(func() { _ = resp.Body.Close() })
					require.Equal(t, 200, resp.StatusCode)
					assert.Equal(t, server.EnableHTTP2, resp.ProtoMajor == 2)
					hear = func() string {
						event := make([]byte, len("data: hello\n\n"))
						_, err := io.ReadFull(resp.Body, event)
						require.NoError(t, err)
						return strings.TrimSpace(strings.TrimPrefix(string(event), "data: "))
					}
				}
				if say != nil {
					say("hello")
				}
				assert.Equal(t, "hello", hear(), "it arrives while the handler still runs")
				ctx := <-begun
				require.NoError(t, ctx.Err())
				source.Put(webUser(2, webIn(7, "pupil")))
				require.NoError(t, gate.Refresh(t.Context()))
				require.NoError(t, gate.RefreshAll(t.Context()))
				require.NoError(t, ctx.Err(), "publishing what takes nothing from the user ends nothing")

				switch revoked {
				case "off the list":
					source.Remove(1)
					require.NoError(t, gate.RefreshAll(t.Context()))
				case "the role is gone":
					source.Put(webUser(1, webIn(7, "pupil")))
					require.NoError(t, gate.Refresh(t.Context()))
				default:
					require.NoError(t, gate.Close())
				}
				require.Error(t, ctx.Err(), "it has ended when the swap has")
				assert.ErrorIs(t, context.Cause(ctx), rolegate.ErrRevoked)
				assert.Equal(t, "ended", hear()[:5])
			})
		}
	}
	t.Run("without EndOnRevoke it goes on", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(webUser(1), webUser(2))
			gate := webOpen(t, webConfig(source))
			leave := make(chan struct{})
			done := make(chan error)
			go webAsk(gate.Admit(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
				<-leave
				done <- r.Context().Err()
			})), "GET", "/", 1)
			synctest.Wait()
			source.Remove(1)
			require.NoError(t, gate.RefreshAll(t.Context()))
			close(leave)
			assert.NoError(t, <-done)
		})
	})
}

// webStream says hello, by WebSocket if it is asked to, waits for its context
// and says that it has ended.
func webStream(t *testing.T, begun chan<- context.Context) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "websocket" {
			w.Header().Set("Content-Type", "text/event-stream")
			_, _ = io.WriteString(w, "data: hello\n\n")
			w.(http.Flusher).Flush()
			begun <- r.Context()
			<-r.Context().Done()
			_, _ = io.WriteString(w, "data: ended\n\n")
			return
		}
		conn, rw, err := w.(http.Hijacker).Hijack()
		if !assert.NoError(t, err) {
			return
		}
		defer conn.Close()
		sum := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = fmt.Fprintf(rw, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: %s\r\n\r\n",
			base64.StdEncoding.EncodeToString(sum[:]))
		_ = rw.Flush()
		said := make([]byte, 2+len("hello"))
		_, _ = io.ReadFull(rw, said)
		_, _ = rw.Write(said)
		_ = rw.Flush()
		begun <- r.Context()
		<-r.Context().Done()
		_, _ = rw.Write(webFrame(8, "ended"))
		_ = rw.Flush()
	})
}

// webFrame is a short WebSocket frame, not masked: both ends are ours.
func webFrame(opcode byte, text string) []byte {
	return append([]byte{0x80 | opcode, byte(len(text))}, text...)
}
