//go:build drill && unix

package rediscache_test

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A Redis that is killed, and comes back with nothing.
func TestKilledAndEmpty(t *testing.T) {
	t.Parallel()
	onEach(t, realServers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		next := following(t, soon(t), b, v)
		s.blocked(t, 1)
		s.kill()
		require.Error(t, (<-next).err)
		_, err := a.Publish(soon(t), term, v, text("+two", "one+two"))
		require.Error(t, err)
		require.NotErrorIs(t, err, rolegate.ErrNotLeader)
		s.start(t)

		next = following(t, soon(t), b, v)
		_, err = a.Publish(soon(t), term, v, text("+two", "one+two"))
		require.ErrorIs(t, err, rolegate.ErrNotLeader, "nobody knows that it was")
		newer := lead(t, b, term)
		require.Greater(t, newer, term)
		to := publish(t, b, newer, rolegate.Version{}, "", "two")
		require.Equal(t, outcome{v: to, whole: "two"}, <-next)
	})
}

// A Redis that is killed, and comes back with everything.
func TestKilledAndRestored(t *testing.T) {
	t.Parallel()
	s := startReal(t, "--appendonly", "yes", "--appendfsync", "always")
	a, b := s.replica(t), s.replica(t)
	term := lead(t, a, 0)
	v := publish(t, a, term, rolegate.Version{}, "", "one")
	v2 := publish(t, a, term, v, "+two", "one+two")
	s.kill()
	s.start(t)
	require.Equal(t, outcome{v: v2, change: "+two"}, <-following(t, soon(t), b, v))
	require.Equal(t, term, lead(t, a, term))
	v3 := publish(t, a, term, v2, "+three", "one+two+three")
	require.Equal(t, outcome{v: v3, change: "+three"}, <-following(t, soon(t), b, v2))
	require.Equal(t, "one+two+three", catchUp(t, s.replica(t), v3))
}

// A backup is restored, from before changes that everybody has seen.
func TestOlderBackup(t *testing.T) {
	t.Parallel()
	onEach(t, realServers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.NoError(t, s.client(t).Save(soon(t)).Err())
		backup, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
		require.NoError(t, err)
		v2 := publish(t, a, term, v, "+two", "one+two")
		v3 := publish(t, a, term, v2, "+three", "one+two+three")
		got, _, _ := follow(t, b, v2)
		require.Equal(t, v3, got)
		s.kill()
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "dump.rdb"), backup, 0o600))
		s.start(t)

		// What is older is told once, and the gate has no use for it.
		require.Equal(t, outcome{v: v, whole: "one"}, <-following(t, soon(t), b, v3))
		next := following(t, soon(t), b, v3)
		s.blocked(t, 1)
		require.Equal(t, term, lead(t, a, term), "the lease has not run out yet")
		v4 := publish(t, a, term, v3, "+four", "one+two+three+four")
		require.Equal(t, uint64(4), v4.Number, "and none of the numbers is used twice")
		require.Equal(t, outcome{v: v4, whole: "one+two+three+four"}, <-next)
		require.Equal(t, "one+two+three+four", catchUp(t, s.replica(t), v4))
	})
}

// A failover has lost a term: the next one is not taken for it.
func TestLostTerm(t *testing.T) {
	t.Parallel()
	onEach(t, realServers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		lead(t, a, 0)
		require.NoError(t, a.Release(soon(t)))
		require.NoError(t, s.client(t).Save(soon(t)).Err())
		backup, err := os.ReadFile(filepath.Join(s.dir, "dump.rdb"))
		require.NoError(t, err)
		v := publish(t, a, lead(t, a, 0), rolegate.Version{}, "", "lost")
		s.kill()
		require.NoError(t, os.WriteFile(filepath.Join(s.dir, "dump.rdb"), backup, 0o600))
		s.start(t)
		w := publish(t, b, lead(t, b, 0), rolegate.Version{}, "", "kept")
		require.NotEqual(t, v, w)
	})
}

// A Redis that does not answer keeps nobody waiting for longer than ctx says.
func TestStopped(t *testing.T) {
	t.Parallel()
	onEach(t, realServers, func(t *testing.T, s *server) {
		a, b := s.replica(t), s.replica(t)
		term := lead(t, a, 0)
		stored := index(5 << 20)
		v, err := a.Publish(soon(t), term, rolegate.Version{}, large(stored))
		require.NoError(t, err)
		u, err := b.Follow(soon(t), rolegate.Version{})
		require.NoError(t, err)
		require.NoError(t, u.Whole.Close())
		ctx, cancel := context.WithCancel(soon(t))
		reader, err := b.Load(ctx)
		require.NoError(t, err)
		_, err = reader.Read(make([]byte, 1))
		require.NoError(t, err)

		pid := s.proc.Pid
		require.NoError(t, syscall.Kill(pid, syscall.SIGSTOP))
		var calls sync.WaitGroup
		for name, call := range map[string]func(context.Context) error{
			"time":    func(ctx context.Context) error { _, err := a.Time(ctx); return err },
			"lease":   func(ctx context.Context) error { _, err := a.Lease(ctx, true, 0); return err },
			"release": func(ctx context.Context) error { return b.Release(ctx) },
			"publish": func(ctx context.Context) error { _, err := a.Publish(ctx, term, v, text("+", "?")); return err },
			"whole": func(ctx context.Context) error {
				_, err := a.Publish(ctx, term, rolegate.Version{}, large(stored))
				return err
			},
			"follow": func(ctx context.Context) error { _, err := b.Follow(ctx, v); return err },
			"ask":    func(ctx context.Context) error { return b.Ask(ctx, nil) },
			"asked":  func(ctx context.Context) error { _, err := a.Asked(ctx, ""); return err },
			"load":   func(ctx context.Context) error { _, err := b.Load(ctx); return err },
			"store":  func(ctx context.Context) error { return b.Store(ctx, func(io.Writer) error { return nil }) },
			"read": func(ctx context.Context) error {
				context.AfterFunc(ctx, cancel)
				_, err := io.Copy(io.Discard, reader)
				return err
			},
		} {
			calls.Go(func() {
				start := time.Now()
				err := call(within(t, 300*time.Millisecond))
				if name == "read" {
					require.ErrorIs(t, err, context.Canceled, name)
				} else {
					require.ErrorIs(t, err, context.DeadlineExceeded, name)
				}
				require.Less(t, time.Since(start), 2*time.Second, name)
			})
		}
		calls.Wait()
		require.NoError(t, syscall.Kill(pid, syscall.SIGCONT))

		// Whatever has become of these calls, it goes on.
		require.Eventually(t, func() bool {
			l, err := a.Lease(soon(t), true, term)
			term = max(term, l.Term)
			return err == nil && l.Held
		}, wait, 10*time.Millisecond)
		to := publish(t, a, term, rolegate.Version{}, "", "on")
		require.Equal(t, "on", catchUp(t, s.replica(t), to))
	})
}

// A leader that is cut off for longer than its lease cannot publish any more,
// and those who follow another one do not notice.
func TestPartition(t *testing.T) {
	t.Parallel()
	onEach(t, realServers, func(t *testing.T, s *server) {
		wire := cut(t, s.addr)
		a, b, c := s.replica(t, short, s.at(t, wire.addr)), s.replica(t, short), s.replica(t, short)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		wire.hold()
		_, err := a.Publish(within(t, 200*time.Millisecond), term, v, text("+late", "late"))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		var next uint64
		require.Eventually(t, func() bool {
			l, err := b.Lease(soon(t), true, term)
			next = l.Term
			return err == nil && l.Held
		}, wait, 20*time.Millisecond)
		require.Greater(t, next, term)
		to := publish(t, b, next, v, "+two", "one+two")
		require.Equal(t, outcome{v: to, change: "+two"}, <-following(t, soon(t), c, v))

		wire.goOn() // what a has sent arrives
		require.Eventually(t, func() bool {
			_, err := a.Publish(within(t, time.Second), term, v, text("+late", "late"))
			return err != nil && errors.Is(err, rolegate.ErrNotLeader)
		}, wait, 20*time.Millisecond)
		require.Equal(t, "one+two", catchUp(t, c, to))
		l, err := a.Lease(soon(t), false, 0)
		require.NoError(t, err)
		require.Equal(t, to, l.Newest)
	})
}

// An answer that is lost does not make a call that is tried again a second one.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		wire := cut(t, s.addr)
		a, b := s.replica(t, s.at(t, wire.addr)), s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		for range 5 {
			wire.loseAnswer()
			to := publish(t, a, term, v, "+", "?")
			require.Equal(t, outcome{v: to, change: "+"}, <-following(t, soon(t), b, v))
			v = to
		}
		wire.loseAnswer()
		require.NoError(t, a.Release(soon(t)))
		wire.loseAnswer()
		next := lead(t, a, term)
		require.Equal(t, "one+++++!", catchUp(t, b, publish(t, a, next, v, "!", "?")))
	})
}

// Redis forgets its scripts.
func TestScriptFlush(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		a := s.replica(t)
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		require.NoError(t, s.client(t).ScriptFlush(soon(t)).Err())
		require.Equal(t, term, lead(t, a, term))
		require.NoError(t, s.client(t).ScriptFlush(soon(t)).Err())
		require.Equal(t, "one+two", catchUp(t, s.replica(t), publish(t, a, term, v, "+two", "?")))
	})
}

// A proxy is a wire that can be cut.
type proxy struct {
	addr  string
	mu    sync.Mutex
	held  chan struct{} // closed when bytes go on
	lose  bool
	conns []net.Conn
}

func cut(t testing.TB, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &proxy{addr: l.Addr().String(), held: make(chan struct{})}
	close(p.held)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", to)
			if err != nil {
				_ = in.Close()
				continue
			}
			p.mu.Lock()
			p.conns = append(p.conns, in, out)
			p.mu.Unlock()
			all.Go(func() { p.copy(out, in, false) })
			all.Go(func() { p.copy(in, out, true) })
		}
	})
	t.Cleanup(func() {
		_ = l.Close()
		p.goOn()
		p.mu.Lock()
		for _, c := range p.conns {
			_ = c.Close()
		}
		p.mu.Unlock()
		all.Wait()
	})
	return p
}

func (p *proxy) copy(to, from net.Conn, answers bool) {
	defer to.Close()
	defer from.Close()
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		p.mu.Lock()
		held, lost := p.held, answers && p.lose
		if lost {
			p.lose = false
		}
		p.mu.Unlock()
		<-held
		if lost {
			return
		}
		if _, err := to.Write(b[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) hold() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = make(chan struct{})
}

func (p *proxy) goOn() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.held:
	default:
		close(p.held)
	}
}

// loseAnswer closes a connection instead of handing on the next answer.
func (p *proxy) loseAnswer() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.lose = true
}
