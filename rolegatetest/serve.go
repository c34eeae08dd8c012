package rolegatetest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"time"
)

// Start serves the marketplace on a free port of the loopback interface until
// tb's cleanup, and returns the base URL, without the path of the list. Faults
// that hang end with it. It is not for [testing/synctest] bubbles: see
// [Marketplace.Transport].
func (m *Marketplace) Start(tb TB) (baseURL string) {
	tb.Helper()
	return start(tb, m)
}

func start(tb TB, h http.Handler) (baseURL string) {
	tb.Helper()
	baseURL, stop, err := listen(h)
	if err != nil {
		tb.Fatalf("rolegatetest: %v", err)
		return ""
	}
	tb.Cleanup(stop)
	return baseURL
}

// Listen is [Marketplace.Start] for programs. stop closes port and connections,
// waits for the requests in them to end, and may be called more than once.
func (m *Marketplace) Listen() (baseURL string, stop func(), err error) { return listen(m) }

func listen(h http.Handler) (baseURL string, stop func(), err error) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		var err6 error
		if ln, err6 = net.Listen("tcp", "[::1]:0"); err6 != nil {
			return "", nil, fmt.Errorf("listening on the loopback interface: %w", errors.Join(err, err6))
		}
	}
	var connections sync.WaitGroup
	server := &http.Server{
		Handler:           h,
		ReadHeaderTimeout: time.Minute,
		// Close does not wait for handlers; a connection's last state comes
		// after its handler has returned, and its first before Serve does.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(ln) // returns once the server is closed
	}()
	return "http://" + ln.Addr().String(), func() {
		_ = server.Close() // ends the contexts of the requests
		<-served
		connections.Wait()
	}, nil
}

// BaseURL is a base URL for clients that reach a [Marketplace] or a
// [CloudCommand] through its Transport, to which every host is the same.
const BaseURL = "https://marketplace.test"

// Client returns an HTTP client for this marketplace alone: its requests go
// through [Marketplace.Transport], to whatever host.
func (m *Marketplace) Client() *http.Client { return &http.Client{Transport: m.Transport()} }

// Transport returns a [http.RoundTripper] that hands each request to the
// marketplace itself, without a socket and in the caller's goroutine: it can be
// used in [testing/synctest] bubbles and leaves no goroutine behind. An answer
// arrives whole; a fault that breaks the connection breaks the body where it
// would have broken on the wire. When the request's context ends, so does the
// round trip.
func (m *Marketplace) Transport() http.RoundTripper { return transport{m} }

type transport struct{ handler http.Handler }

// RoundTrip implements [http.RoundTripper].
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body != nil {
		defer r.Body.Close()
	}
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context())
	}
	c := newCapture()
	aborted := c.run(t.handler, asReceived(r))
	if r.Context().Err() != nil {
		return nil, context.Cause(r.Context()) // as http.Transport does
	}
	if aborted && c.status == 0 {
		return nil, io.EOF // what net/http says of a connection that was closed on it
	}
	return c.response(r, aborted), nil
}

// asReceived returns the request as a server would have read it.
func asReceived(r *http.Request) *http.Request {
	s := r.Clone(r.Context())
	s.RequestURI = r.URL.RequestURI()
	s.RemoteAddr = "192.0.2.1:1234"
	if s.Host == "" {
		s.Host = r.URL.Host
	}
	s.URL = &url.URL{Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery}
	if s.Header == nil {
		s.Header = make(http.Header)
	}
	if s.Body == nil {
		s.Body = http.NoBody
	}
	s.Proto, s.ProtoMajor, s.ProtoMinor = "HTTP/1.1", 1, 1
	return s
}

// capture is a ResponseWriter that keeps the answer.
type capture struct {
	draft  http.Header // the handler's, who may go on changing it in vain
	header http.Header // as it went out, nil before
	status int         // likewise 0
	body   bytes.Buffer
}

func newCapture() *capture { return &capture{draft: make(http.Header)} }

func (c *capture) Header() http.Header { return c.draft }

func (c *capture) WriteHeader(status int) {
	if c.status == 0 && status >= 200 {
		c.status, c.header = status, c.draft.Clone()
	}
}

func (c *capture) Write(p []byte) (int, error) {
	c.WriteHeader(http.StatusOK)
	return c.body.Write(p)
}

// Flush implements [http.Flusher].
func (c *capture) Flush() { c.WriteHeader(http.StatusOK) }

// run lets h answer r, and reports whether it aborted. Any other panic is a
// mistake in a test, and goes on.
func (c *capture) run(h http.Handler, r *http.Request) (aborted bool) {
	defer func() {
		if p := recover(); p == http.ErrAbortHandler {
			aborted = true
		} else if p != nil {
			panic(p)
		}
	}()
	h.ServeHTTP(c, r)
	return false
}

// response is what a client reads of the answer.
func (c *capture) response(r *http.Request, aborted bool) *http.Response {
	c.WriteHeader(http.StatusOK)
	if c.header.Get("Date") == "" {
		c.header.Set("Date", time.Now().UTC().Format(http.TimeFormat))
	}
	length, err := strconv.ParseInt(c.header.Get("Content-Length"), 10, 64)
	if err != nil {
		length = -1
	}
	c.header.Del("Transfer-Encoding") // is of the connection, as net/http has it
	var body io.Reader = &c.body
	switch {
	case r.Method == http.MethodHead:
		body = http.NoBody
	case aborted || length > int64(c.body.Len()):
		body = io.MultiReader(body, broken{})
	}
	return &http.Response{
		Status:        strconv.Itoa(c.status) + " " + http.StatusText(c.status),
		StatusCode:    c.status,
		Proto:         "HTTP/1.1",
		ProtoMajor:    1,
		ProtoMinor:    1,
		Header:        c.header,
		Body:          io.NopCloser(body),
		ContentLength: length,
		Close:         c.header.Get("Connection") == "close",
		Request:       r,
	}
}

// broken is the rest of a body that was cut.
type broken struct{}

func (broken) Read([]byte) (int, error) { return 0, io.ErrUnexpectedEOF }
