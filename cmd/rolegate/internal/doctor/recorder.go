package doctor

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"strconv"
	"time"
)

// errEnough is how a full refresh is ended that has seen what is to be seen.
var errEnough = errors.New("enough")

// A recorder is the transport of the marketplace's client. It passes on only
// the requests that were agreed on, and remembers the last of them. One
// goroutine uses it.
type recorder struct {
	next http.RoundTripper
	now  func() time.Time

	after string // the lastSequence that may be asked for, "" none
	left  int    // how many requests still may be sent
	sent  int    // how many were sent altogether

	last *exchange
}

// An exchange is a request and what came of it.
type exchange struct {
	limit      int
	status     int
	header     http.Header
	tls        *tls.ConnectionState
	unzipped   bool
	begun      time.Time
	took       time.Duration // until the end of the body
	received   time.Time     // by doctor's clock
	body       bytes.Buffer  // as the client has read it
	incomplete bool          // the body's end was not seen
	err        error         // why there is none of these
	bodyErr    error         // why the body ended where it did
}

// replay gives the same answer once more.
func (x *exchange) replay(req *http.Request) (*http.Response, error) {
	if x.err != nil {
		return nil, x.err
	}
	body := io.Reader(bytes.NewReader(x.body.Bytes()))
	if x.bodyErr != nil {
		body = io.MultiReader(body, failing{x.bodyErr})
	}
	return &http.Response{StatusCode: x.status, Header: x.header, TLS: x.tls, Uncompressed: x.unzipped, Body: io.NopCloser(body), Request: req}, nil
}

// allow lets the next request through if it asks for what comes after that
// sequence, and one more if that one is refused, for which the client reads the
// token anew.
func (r *recorder) allow(after string) { r.after, r.left = after, 2 }

func (r *recorder) RoundTrip(req *http.Request) (*http.Response, error) {
	q := req.URL.Query()
	again := r.left == 1
	if q.Get("lastSequence") != r.after {
		return nil, errEnough
	}
	if r.left == 0 || again && !r.last.refused() {
		return r.last.replay(req) // the client asks again: once is enough to see what is wrong
	}
	r.left--
	r.sent++
	x := &exchange{begun: time.Now(), incomplete: true}
	x.limit, _ = strconv.Atoi(q.Get("limit"))
	r.last = x
	res, err := r.next.RoundTrip(req)
	x.took = time.Since(x.begun)
	if err != nil {
		x.err = err
		return nil, err
	}
	x.received = r.now()
	x.status, x.header, x.tls, x.unzipped = res.StatusCode, res.Header, res.TLS, res.Uncompressed
	res.Body = &recordedBody{ReadCloser: res.Body, x: x}
	return res, nil
}

// refused reports whether the client takes the reply for a refused token.
func (x *exchange) refused() bool {
	return x.status == http.StatusUnauthorized || x.code() == http.StatusUnauthorized
}

// A recordedBody keeps what is read of a body. The client bounds how much.
type recordedBody struct {
	io.ReadCloser
	x *exchange
}

func (b *recordedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.x.body.Write(p[:n])
	b.x.took = time.Since(b.x.begun)
	if err == io.EOF {
		b.x.incomplete = false
	} else if err != nil {
		b.x.bodyErr = err
	}
	return n, err
}

// A failing reader has nothing but an error.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }
