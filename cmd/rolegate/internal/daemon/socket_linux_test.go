package daemon_test

import (
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
)

// Who is too busy to take a connection is there all the same.
func TestASocketWithAFullQueueIsLeftAlone(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	require.NoError(t, r.stop())
	fd, err := syscall.Socket(syscall.AF_UNIX, syscall.SOCK_STREAM, 0)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, syscall.Close(fd)) })
	require.NoError(t, syscall.Bind(fd, &syscall.SockaddrUnix{Name: r.socket}))
	require.NoError(t, syscall.Listen(fd, 0))
	for {
		conn, err := net.Dial("unix", r.socket)
		if err != nil {
			require.ErrorIs(t, err, syscall.EAGAIN)
			break
		}
		t.Cleanup(func() { assert.NoError(t, conn.Close()) })
	}
	before, err := os.Lstat(r.socket)
	require.NoError(t, err)
	assert.ErrorContains(t, daemon.Run(ended(t), daemon.Options{Path: r.path, Logger: discard}), "a process listens there")
	after, err := os.Lstat(r.socket)
	require.NoError(t, err)
	assert.True(t, os.SameFile(before, after))
}
