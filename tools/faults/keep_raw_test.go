package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A rawAnswer writes to a connection whatever it likes, once a request has been
// read from it. The server closes the connection afterwards, if it has not.
type rawAnswer func(conn net.Conn)

// rawBytes writes text as it is.
func rawBytes(text string) rawAnswer {
	return func(conn net.Conn) { _, _ = io.WriteString(conn, text) }
}

// rawOK answers 200 with a body whose length is announced.
func rawOK(body string) rawAnswer {
	return rawBytes(fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body))
}

// rawUnsized answers 200 with a body that ends where the connection does.
func rawUnsized(body string) rawAnswer {
	return rawBytes("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n\r\n" + body)
}

// rawReset breaks the connection with a reset, after text.
func rawReset(text string) rawAnswer {
	return func(conn net.Conn) {
		_, _ = io.WriteString(conn, text)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.SetLinger(0)
		}
	}
}

// A rawServer is a marketplace behind a bare listener: it reads one request from
// each connection, and answers as the marketplace does, or with a fault.
type rawServer struct {
	m        *rolegatetest.Marketplace
	listener net.Listener
	fault    atomic.Pointer[rawAnswer]
	requests atomic.Int64
	serving  sync.WaitGroup
	mu       sync.Mutex
	open     map[net.Conn]bool // nil once it is closed
}

// startRaw serves m on l until the test ends.
func startRaw(t *testing.T, m *rolegatetest.Marketplace, l net.Listener) *rawServer {
	s := &rawServer{m: m, listener: l, open: map[net.Conn]bool{}}
	s.serving.Go(s.accept)
	t.Cleanup(func() {
		_ = l.Close()
		s.mu.Lock()
		for conn := range s.open {
			_ = conn.Close()
		}
		s.open = nil
		s.mu.Unlock()
		s.serving.Wait()
	})
	return s
}

// rawListen listens on a free port of the loopback interface.
func rawListen(t *testing.T) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	return l
}

func (s *rawServer) fail(answer rawAnswer) { s.fault.Store(&answer) }
func (s *rawServer) fix()                  { s.fault.Store(nil) }

func (s *rawServer) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.mu.Lock()
		if s.open == nil {
			_ = conn.Close()
		} else {
			s.open[conn] = true
			s.serving.Go(func() { s.serve(conn) })
		}
		s.mu.Unlock()
	}
}

func (s *rawServer) serve(conn net.Conn) {
	defer func() {
		_ = conn.Close()
		s.mu.Lock()
		delete(s.open, conn)
		s.mu.Unlock()
	}()
	request, err := http.ReadRequest(bufio.NewReader(conn))
	if err != nil {
		return
	}
	s.requests.Add(1)
	if answer := s.fault.Load(); answer != nil {
		(*answer)(conn)
		return
	}
	recorder := httptest.NewRecorder()
	s.m.ServeHTTP(recorder, request)
	response := recorder.Result()
	response.Close, response.ContentLength = true, int64(recorder.Body.Len())
	_ = response.Write(conn)
}

// rawPipes is a network in memory, with one listener: for bubbles, where no
// socket may be used. What goes over it is HTTP, byte by byte, all the same.
type rawPipes struct {
	dialled chan net.Conn
	closed  chan struct{}
}

func newRawPipes() *rawPipes {
	return &rawPipes{dialled: make(chan net.Conn), closed: make(chan struct{})}
}

func (p *rawPipes) DialContext(ctx context.Context, _, _ string) (net.Conn, error) {
	client, server := net.Pipe()
	select {
	case p.dialled <- server:
		return client, nil
	case <-p.closed:
		return nil, errors.New("nobody listens")
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (p *rawPipes) Accept() (net.Conn, error) {
	select {
	case conn := <-p.dialled:
		return conn, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *rawPipes) Close() error   { close(p.closed); return nil }
func (p *rawPipes) Addr() net.Addr { return &net.TCPAddr{} }

// rawSockets opens a gate on a raw server on the loopback interface.
func rawSockets(t *testing.T, edit ...func(*marketplace.Config)) (*keepWorld, *rawServer) {
	t.Helper()
	m := keepMarketplace(rolegatetest.MarketplaceConfig{})
	server := startRaw(t, m, rawListen(t))
	source := marketplace.Config{BaseURL: "http://" + server.listener.Addr().String()}
	for _, f := range edit {
		f(&source)
	}
	return openKeepWorld(t, m, source), server
}

// rawBubble runs test in a bubble, with a gate on a raw server in memory.
func rawBubble(t *testing.T, test func(*keepWorld, *rawServer), edit ...func(*marketplace.Config)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := keepMarketplace(rolegatetest.MarketplaceConfig{})
		pipes := newRawPipes()
		server := startRaw(t, m, pipes)
		transport := &http.Transport{DialContext: pipes.DialContext, MaxResponseHeaderBytes: 64 << 10} // as the client's own
		t.Cleanup(transport.CloseIdleConnections)
		source := marketplace.Config{BaseURL: rawBaseURL, Transport: transport}
		for _, f := range edit {
			f(&source)
		}
		w := openKeepWorld(t, m, source)
		w.bubble = true
		test(w, server)
	})
}

// rawBaseURL is where the server of a bubble is said to be.
const rawBaseURL = "http://market.test"

// A rawFault is an answer that is no list, and what comes of it.
type rawFault struct {
	name   string
	answer rawAnswer
	want   rolegate.Failure
	says   string
}

// rawKeeps requires of each fault that the list stays: over memory, with all that
// the loop does about it, and over real sockets.
func rawKeeps(t *testing.T, faults []rawFault, edit ...func(*marketplace.Config)) {
	t.Helper()
	for _, f := range faults {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			rawBubble(t, func(w *keepWorld, server *rawServer) {
				w.keeps(f.want, func() { server.fail(f.answer) }, server.fix, f.says)
			}, edit...)
		})
	}
	if !overSockets {
		return
	}
	t.Run("on real sockets", func(t *testing.T) {
		t.Parallel()
		w, server := rawSockets(t, edit...)
		for _, f := range faults {
			if !w.keepsOnSocket(server, f) {
				t.Logf("that was %q", f.name)
			}
		}
	})
}

// keepsOnSocket is keeps for one of several faults that come in turn.
func (w *keepWorld) keepsOnSocket(server *rawServer, f rawFault) bool {
	w.Helper()
	failed := w.Failed()
	w.keeps(f.want, func() { server.fail(f.answer) }, server.fix, f.says)
	return failed || !w.Failed()
}

// rawBodies makes faults of one body: with its length announced, and without.
func rawBodies(name, body string, want rolegate.Failure, says string) []rawFault {
	return []rawFault{
		{name + ", with its length", rawOK(body), want, says},
		{name + ", without its length", rawUnsized(body), want, says},
	}
}
