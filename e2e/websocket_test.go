//go:build drill

package e2e

import (
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestMain(m *testing.M) {
	flag.Parse()
	_ = flag.Set("test.parallel", "6") // they wait for the most part: more of them than there are cores
	goleak.VerifyTestMain(m, goleak.Cleanup(func(code int) {
		removeExample()
		os.Exit(code)
	}))
}

// A WebSocket through the gate: it echoes until its user loses the role, and
// then is closed within one swap.
func TestWebSocketEndsOnRevoke(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		revoke func(ctx context.Context, source *rolegatetest.Static, gate *rolegate.Gate) error
	}{
		{"off the list", func(ctx context.Context, source *rolegatetest.Static, gate *rolegate.Gate) error {
			source.Remove(1)
			return gate.RefreshAll(ctx)
		}},
		{"without the role", func(ctx context.Context, source *rolegatetest.Static, gate *rolegate.Gate) error {
			source.Put(user(1, "pupil"))
			return gate.Refresh(ctx)
		}},
		{"the gate is closed", func(_ context.Context, _ *rolegatetest.Static, gate *rolegate.Gate) error { return gate.Close() }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			source := rolegatetest.NewStatic(user(1, "teacher"), user(2, "teacher"), user(3, "teacher"))
			gate, err := rolegate.Open(ctx, rolegate.Config{
				Source: source, Logger: slog.New(slog.DiscardHandler),
				Identify: rolegate.ByUserID(func(r *http.Request) (int64, error) {
					if r.URL.Query().Get("session") != "of-user-1" {
						return 0, rolegate.ErrNobody
					}
					return 1, nil
				}),
			})
			require.NoError(t, err)
			defer gate.Close()
			server := httptest.NewServer(gate.Require(rolegate.AnyRole("teacher"), rolegate.EndOnRevoke())(http.HandlerFunc(echo)))
			defer server.Close()
			url := strings.Replace(server.URL, "http", "ws", 1)

			_, refusal, err := websocket.Dial(ctx, url, nil)
			require.Error(t, err)
			assert.Equal(t, http.StatusUnauthorized, refusal.StatusCode, "the upgrade is refused like any request")

			conn, _, err := websocket.Dial(ctx, url+"?session=of-user-1", nil)
			require.NoError(t, err)
			defer conn.CloseNow()
			for _, text := range []string{"one", "two"} {
				require.NoError(t, conn.Write(ctx, websocket.MessageText, []byte(text)))
				_, answer, err := conn.Read(ctx)
				require.NoError(t, err)
				assert.Equal(t, text, string(answer))
			}
			require.NoError(t, c.revoke(ctx, source, gate))
			_, _, err = conn.Read(ctx)
			require.Error(t, err)
			assert.NoError(t, ctx.Err(), "it was the server that closed it")
		})
	}
}

// echo sends back what it gets, until the request's context ends.
func echo(w http.ResponseWriter, r *http.Request) {
	conn, err := websocket.Accept(w, r, nil)
	if err != nil {
		return
	}
	defer conn.CloseNow()
	for {
		kind, text, err := conn.Read(r.Context())
		if err != nil {
			return
		}
		if conn.Write(r.Context(), kind, text) != nil {
			return
		}
	}
}

func user(id int64, role string) rolegate.Record {
	return rolegate.Record{UserID: id, Grants: []rolegate.Grant{{OrgID: 7, RoleCode: role}}}
}
