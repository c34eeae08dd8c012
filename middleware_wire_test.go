package rolegate_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An exchange is all that handler and client see of one request.
type exchange struct {
	Seen     map[string]string // by the handler, by field
	Interim  []string          // 1xx answers
	Status   int
	Proto    string
	Header   http.Header
	Body     string
	Trailer  http.Header
	Length   int64
	Encoding []string
	Error    bool // the client got none, or not all of it
}

// wireHandlers are what apps do with a request and an answer.
var wireHandlers = map[string]struct {
	method, body string
	do           func(w http.ResponseWriter, r *http.Request, say func(name string, value any))
}{
	"nothing": {"GET", "", func(http.ResponseWriter, *http.Request, func(string, any)) {}},
	"a HEAD": {"HEAD", "", func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) {
		w.Header().Set("Content-Length", "7")
	}},
	"not found":  {"GET", "", func(w http.ResponseWriter, r *http.Request, _ func(string, any)) { http.NotFound(w, r) }},
	"no content": {"DELETE", "", func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) { w.WriteHeader(http.StatusNoContent) }},
	"a body, and trailers both ways": {"POST", "hello", func(w http.ResponseWriter, r *http.Request, say func(string, any)) {
		w.Header().Set("Trailer", "X-Sum")
		n, err := io.Copy(w, r.Body)
		say("copied", fmt.Sprint(n, err))
		say("trailer", r.Trailer)
		w.Header().Set("X-Sum", "5")
		w.Header().Set(http.TrailerPrefix+"X-Late", "yes")
	}},
	"a form": {"POST", "a=1&b=2", func(w http.ResponseWriter, r *http.Request, say func(string, any)) {
		say("form", fmt.Sprint(r.ParseForm(), r.Form, r.PostForm))
		fmt.Fprint(w, "done")
	}},
	"a body that is not read": {"PUT", strings.Repeat("x", 1<<10), func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) { fmt.Fprint(w, "no need") }},
	"a body that is too large": {"PUT", strings.Repeat("x", 1<<10), func(w http.ResponseWriter, r *http.Request, say func(string, any)) {
		_, err := io.Copy(io.Discard, http.MaxBytesReader(w, r.Body, 10))
		say("copied", err)
		http.Error(w, "too large", http.StatusRequestEntityTooLarge)
	}},
	"early hints": {"GET", "", func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) {
		w.Header().Set("Link", "</style.css>; rel=preload")
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusProcessing)
		fmt.Fprint(w, "later")
	}},
	"what the ResponseWriter can do": {"GET", "", func(w http.ResponseWriter, _ *http.Request, say func(string, any)) {
		say("type", fmt.Sprintf("%T", w))
		control := http.NewResponseController(w)
		say("deadlines", fmt.Sprint(control.SetReadDeadline(time.Time{}), control.SetWriteDeadline(time.Time{})))
		say("duplex", control.EnableFullDuplex())
		if to, ok := w.(io.ReaderFrom); ok {
			n, err := to.ReadFrom(strings.NewReader("read from"))
			say("read from", fmt.Sprint(n, err))
		}
		say("flush", control.Flush())
		_, err := io.WriteString(w, "and a string")
		say("wrote", err)
	}},
	"full duplex": {"POST", strings.Repeat("line\n", 100), func(w http.ResponseWriter, r *http.Request, say func(string, any)) {
		say("duplex", http.NewResponseController(w).EnableFullDuplex())
		buf := make([]byte, 50)
		for {
			n, err := r.Body.Read(buf)
			_, _ = w.Write(buf[:n])
			_ = http.NewResponseController(w).Flush()
			if err != nil {
				say("read", err)
				return
			}
		}
	}},
	"headers of its own": {"GET", "", func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) {
		w.Header()["Set-Cookie"] = []string{"a=1", "b=2"}
		w.Header()["x-lower"] = []string{"kept"}
		w.Header().Set("Cache-Control", "public")
		w.Header()["Date"] = nil
		w.WriteHeader(http.StatusTeapot)
	}},
	"hijacked": {"GET", "", func(w http.ResponseWriter, _ *http.Request, say func(string, any)) {
		conn, _, err := http.NewResponseController(w).Hijack()
		say("hijacked", err == nil)
		if err == nil {
			_, _ = io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nhi")
			_ = conn.Close()
		}
	}},
	"aborted": {"GET", "", func(w http.ResponseWriter, _ *http.Request, _ func(string, any)) {
		fmt.Fprint(w, "a part")
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}},
}

// TestOnTheWireAsWithoutTheGate compares every field of the request that the handler
// sees, and what a middleware outside sees of it afterwards, and everything that the
// client gets, with and without guards.
func TestOnTheWireAsWithoutTheGate(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), AllowSharedCaches: true})
	teacher := gate.Require(rolegate.AnyRole("teacher"), rolegate.InOrg(rolegate.PathOrg("org")))
	streams := gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Hour), rolegate.EndOnRevoke())
	bare := func(h http.Handler) http.Handler { return h }
	routers := map[string]func(outer, inner func(http.Handler) http.Handler, h http.Handler) http.Handler{
		"ServeMux": func(outer, inner func(http.Handler) http.Handler, h http.Handler) http.Handler {
			mux := http.NewServeMux()
			mux.Handle("/orgs/{org}/{rest...}", inner(h))
			return outer(mux)
		},
		"chi": func(outer, inner func(http.Handler) http.Handler, h http.Handler) http.Handler {
			r := chi.NewRouter()
			r.Use(outer)
			r.With(inner).Handle("/orgs/{org}/*", h)
			return r
		},
	}
	for router, build := range routers {
		for _, http2 := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, HTTP/2 %t", router, http2), func(t *testing.T) {
				t.Parallel()
				var serving atomic.Value
				server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					serving.Load().(http.Handler).ServeHTTP(w, r)
				}))
				server.EnableHTTP2 = http2
				server.StartTLS()
				t.Cleanup(server.Close)
				for name, c := range wireHandlers {
					run := func(outer, inner func(http.Handler) http.Handler) exchange {
						var mu sync.Mutex
						seen := map[string]string{}
						say := func(name string, value any) {
							mu.Lock()
							defer mu.Unlock()
							seen[name] = fmt.Sprint(value)
						}
						ended := make(chan struct{})
						h := build(outer, inner, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							fieldsOf(r, say)
							c.do(w, r, say)
						}))
						serving.Store(http.Handler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
							defer close(ended)
							defer fieldsOf(r, func(name string, value any) { say("afterwards "+name, value) })
							h.ServeHTTP(w, r)
						})))
						e := send(t, server, c.method, c.body)
						<-ended
						e.Seen = seen
						return e
					}
					want, got := run(bare, bare), run(gate.Admit, teacher)
					assert.Equal(t, want, got, name)
					assert.Equal(t, want, run(gate.Admit, streams), name)
					if got.Proto != "" {
						assert.Equal(t, http2, got.Proto == "HTTP/2.0", name)
					}
				}
			})
		}
	}
}

// fieldsOf says what each field of a request has.
func fieldsOf(r *http.Request, say func(name string, value any)) {
	v := reflect.ValueOf(r).Elem()
	for i := range v.NumField() {
		field := v.Type().Field(i)
		switch field.Name {
		case "RemoteAddr": // each connection has a port of its own
			host, _, err := net.SplitHostPort(r.RemoteAddr)
			say(field.Name, fmt.Sprint(host, err))
		case "Body":
			say(field.Name, fmt.Sprintf("%T", r.Body))
		case "TLS":
			say(field.Name, r.TLS.NegotiatedProtocol)
		case "GetBody", "Cancel", "Response":
			say(field.Name, v.Field(i).IsNil())
		default:
			if field.IsExported() {
				say(field.Name, v.Field(i))
			}
		}
	}
	say("path values", []string{r.PathValue("org"), r.PathValue("rest"), r.PathValue("*")})
	_, deadline := r.Context().Deadline()
	say("deadline", deadline)
	say("server", r.Context().Value(http.ServerContextKey) != nil)
	say("address", r.Context().Value(http.LocalAddrContextKey) != nil)
}

// send sends a request, with a trailer and Expect: 100-continue if it has a body.
func send(t *testing.T, server *httptest.Server, method, body string) (e exchange) {
	t.Helper()
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			e.Interim = append(e.Interim, fmt.Sprint(code, h))
			return nil
		},
	})
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, method, server.URL+"/orgs/7/a%20b?x=1;2&y=%zz", nil)
	require.NoError(t, err)
	r.Header = http.Header{"X-User-Id": {"1"}, "Accept": {"text/plain", "*/*"}, "Cookie": {"a=1; b=2"}}
	if body != "" {
		r.Body = io.NopCloser(bytes.NewBufferString(body))
		r.ContentLength = -1
		r.Trailer = http.Header{"X-Client-Sum": {"9"}}
		r.Header.Set("Expect", "100-continue")
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	client := server.Client()
	transport := client.Transport.(*http.Transport).Clone()
	transport.ExpectContinueTimeout = time.Minute
	defer transport.CloseIdleConnections()
	answer, err := (&http.Client{Transport: transport}).Do(r)
	if err != nil {
		e.Error = true
		return e
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	e.Error = err != nil
	e.Status, e.Proto, e.Header, e.Body, e.Trailer = answer.StatusCode, answer.Proto, answer.Header, string(text), answer.Trailer
	e.Length, e.Encoding = answer.ContentLength, slices.Clone(answer.TransferEncoding)
	e.Header.Del("Date")
	return e
}
