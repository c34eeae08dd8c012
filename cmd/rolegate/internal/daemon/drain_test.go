package daemon_test

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
)

// An upload is a question of AuthZEN whose body has not been sent to its end: a
// request that is under way for as long as the test wants.
type upload struct {
	conn net.Conn
	in   *bufio.Reader
	rest string
}

func (r *run) upload() *upload {
	r.t.Helper()
	conn, err := net.Dial("tcp", r.addresses["authzen"].String())
	require.NoError(r.t, err)
	r.t.Cleanup(func() { _ = conn.Close() })
	body := `{"subject":{"type":"user","id":"` + teacher + `"},"action":{"name":"read"},"resource":{"type":"grades","id":"1"}}`
	_, err = fmt.Fprintf(conn, "POST /access/v1/evaluation HTTP/1.1\r\nHost: pdp\r\nAuthorization: Bearer %s\r\nContent-Type: application/json\r\nContent-Length: %d\r\nExpect: 100-continue\r\n\r\n", callerToken, len(body))
	require.NoError(r.t, err)
	u := &upload{conn, bufio.NewReader(conn), body}
	line, err := u.in.ReadString('\n') // the handler reads the body
	require.NoError(r.t, err)
	require.Contains(r.t, line, "100 Continue")
	_, err = u.in.ReadString('\n')
	require.NoError(r.t, err)
	return u
}

// finish sends the rest and returns the answer.
func (u *upload) finish(t *testing.T) *http.Response {
	t.Helper()
	_, err := u.conn.Write([]byte(u.rest))
	require.NoError(t, err)
	answer, err := http.ReadResponse(u.in, nil)
	require.NoError(t, err)
	return answer
}

// A server that is to end is not ready any more, goes on answering until drain is
// over, lets what is under way then come to its end, and breaks off the rest.
func TestDrain(t *testing.T) {
	t.Parallel()
	over, waits := make(chan time.Time), make(chan time.Duration, 1)
	r := start(t, strings.Replace(base, "control:", "drain: 30s\ncontrol:", 1), func(wait time.Duration) <-chan time.Time {
		waits <- wait
		return over
	})
	r.client.Transport = &http.Transport{} // connections stay, as those of proxies do
	defer r.client.CloseIdleConnections()
	during, behind := r.upload(), r.upload()
	require.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))

	r.end()
	assert.Equal(t, 30*time.Second, <-waits)
	assert.Equal(t, http.StatusServiceUnavailable, r.status("admin", "/readyz", nil))
	assert.Equal(t, http.StatusOK, r.status("admin", "/healthz", nil))
	assert.Equal(t, 1, r.notices("STOPPING=1"))
	refused := (*control.RefusedError)(nil)
	require.ErrorAs(t, r.reloads(t.Context()), &refused)
	assert.Equal(t, http.StatusServiceUnavailable, refused.Status)
	for range 3 { // new connections and old ones
		answer := r.ask("forward_auth", http.MethodGet, "/", http.Header{
			"X-User-Id": {teacher}, "X-Original-Method": {"GET"}, "X-Original-Host": {"school.example.com"}, "X-Original-Uri": {"/grades"},
		}, "")
		assert.Equal(t, http.StatusOK, answer.StatusCode)
		assert.True(t, answer.Close, "the proxy is to look for another")
	}
	assert.Equal(t, http.StatusOK, during.finish(t).StatusCode)
	select {
	case err := <-r.ended:
		t.Fatal("ended before its time", err)
	default:
	}

	close(over)
	assert.Equal(t, http.StatusOK, behind.finish(t).StatusCode, "what is under way may come to its end")
	require.NoError(t, r.stop())
	_, err := net.Dial("tcp", r.addresses["forward_auth"].String())
	assert.Error(t, err)
	assert.Less(t, strings.Index(r.log.String(), "still answering"), strings.Index(r.log.String(), "shutting down"))
}

// A request that does not end is broken off, and does not hold up the end.
func TestShutdownBreaksOff(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	stuck := r.upload()
	r.end()
	_, err := http.ReadResponse(stuck.in, nil)
	assert.Error(t, err)
	_ = r.stop()
}
