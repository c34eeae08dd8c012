//go:build drill

package e2e

import (
	"context"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"
)

// redisPrograms is the Redis, or Valkey, of this machine: one, or none.
var redisPrograms = func() []string {
	for _, name := range []string{"redis-server", "valkey-server"} {
		if path, err := exec.LookPath(name); err == nil {
			return []string{path}
		}
	}
	return nil
}()

// inCI is whether this run is one on which others rely: nothing may be missing
// then, and nothing may take long.
var inCI = os.Getenv("CI") == "true"

// A run on a machine that ought to have a Redis must not pass without one.
func TestThereIsARedis(t *testing.T) {
	t.Parallel()
	if inCI {
		require.NotEmpty(t, redisPrograms, "there is no redis-server: install it, for example with: apt-get install redis-server")
	}
}

// A redisServer is a Redis as a process of its own.
type redisServer struct {
	program, addr, dir string
	client             *redis.Client
	proc               *exec.Cmd
}

// startRedis starts a Redis that keeps nothing on disk.
func startRedis(t testing.TB, program string) *redisServer {
	t.Helper()
	s := &redisServer{program: program, addr: freeAddr(t), dir: t.TempDir()}
	s.client = redis.NewClient(&redis.Options{Addr: s.addr, DisableIdentity: true, MaxRetries: -1, DialTimeout: time.Second})
	s.start(t)
	t.Cleanup(func() {
		_ = s.client.Close()
		s.kill()
	})
	return s
}

// freeAddr is an address on which nobody listens.
func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	return l.Addr().String()
}

// start starts it, also again, and waits until it answers.
func (s *redisServer) start(t testing.TB, args ...string) {
	t.Helper()
	_, port, err := net.SplitHostPort(s.addr)
	require.NoError(t, err)
	s.proc = exec.Command(s.program, append([]string{
		"--bind", "127.0.0.1", "--port", port, "--dir", s.dir, "--save", "", "--daemonize", "no",
	}, args...)...)
	require.NoError(t, s.proc.Start())
	require.Eventually(t, func() bool { return s.client.Ping(t.Context()).Err() == nil }, patience, 10*time.Millisecond, "%s did not start", s.program)
}

// kill kills it, as a loss of power does.
func (s *redisServer) kill() {
	if s.proc != nil {
		_ = s.proc.Process.Kill()
		_ = s.proc.Wait()
		s.proc = nil
	}
}

// restartEmpty kills it, and starts one that knows nothing.
func (s *redisServer) restartEmpty(t testing.TB) {
	t.Helper()
	s.kill()
	s.wipe(t)
	s.start(t)
}

func (s *redisServer) wipe(t testing.TB) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(s.dir, "*"))
	require.NoError(t, err)
	for _, f := range files {
		require.NoError(t, os.RemoveAll(f))
	}
}

// backUp returns a dump of everything.
func (s *redisServer) backUp(t testing.TB) []byte {
	t.Helper()
	require.NoError(t, s.client.Save(t.Context()).Err())
	dump, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
	require.NoError(t, err)
	return dump
}

// restore kills it, and starts it with what it had at a backup.
func (s *redisServer) restore(t testing.TB, dump []byte) {
	t.Helper()
	s.kill()
	s.wipe(t)
	require.NoError(t, os.WriteFile(filepath.Join(s.dir, "dump.rdb"), dump, 0o600))
	s.start(t)
}

// A link is the network between one replica and Redis.
type link struct {
	addr string // where the replica finds Redis
	to   string
	ln   net.Listener
	ctx  context.Context
	end  context.CancelFunc
	wg   sync.WaitGroup

	mu     sync.Mutex
	gate   chan struct{} // closed while bytes pass
	delay  time.Duration
	refuse bool
	conns  map[net.Conn]struct{}
}

func newLink(t testing.TB, to string) *link {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l := &link{addr: ln.Addr().String(), to: to, ln: ln, gate: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(l.gate)
	l.ctx, l.end = context.WithCancel(context.Background())
	l.wg.Go(l.serve)
	t.Cleanup(func() {
		l.end()
		_ = ln.Close()
		l.wg.Wait()
	})
	return l
}

func (l *link) serve() {
	for {
		conn, err := l.ln.Accept()
		if err != nil {
			return
		}
		l.wg.Go(func() { l.join(conn) })
	}
}

// join passes on what comes on a connection, in both directions, until one end
// closes it.
func (l *link) join(near net.Conn) {
	defer near.Close()
	l.mu.Lock()
	refuse := l.refuse
	l.conns[near] = struct{}{}
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.conns, near)
	}()
	if refuse {
		return
	}
	far, err := net.Dial("tcp", l.to)
	if err != nil {
		return
	}
	defer far.Close()
	stop := context.AfterFunc(l.ctx, func() { _ = near.Close(); _ = far.Close() })
	defer stop()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{near, far}, {far, near}} {
		both.Go(func() {
			l.pass(way[0], way[1])
			_ = near.Close()
			_ = far.Close()
		})
	}
	both.Wait()
}

func (l *link) pass(from io.Reader, to io.Writer) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		l.mu.Lock()
		gate, delay := l.gate, l.delay
		l.mu.Unlock()
		select {
		case <-gate:
		case <-l.ctx.Done():
			return
		}
		if delay > 0 {
			pause(l.ctx, delay)
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}

// cut loses the connection: nothing gets through, in neither direction, until
// it is repaired; then what was under way arrives, as TCP has it.
func (l *link) cut() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.gate = make(chan struct{})
}

// drop breaks all connections, and refuses new ones, until it is repaired: as if
// nobody listened at the other end.
func (l *link) drop() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.refuse = true
	for conn := range l.conns {
		_ = conn.Close()
	}
}

func (l *link) repair() {
	l.mu.Lock()
	defer l.mu.Unlock()
	select {
	case <-l.gate:
	default:
		close(l.gate)
	}
	l.delay, l.refuse = 0, false
}

// slow has everything take so much longer.
func (l *link) slow(delay time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.delay = delay
}

// pause returns after d, or when ctx ends. It reports whether ctx has not.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
