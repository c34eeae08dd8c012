// Package wiretest is what the tests of upstreams' clients share: a server that writes
// bytes, and a look at errors for secrets.
package wiretest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// Answers starts a server that reads a request from each connection, writes answer and
// hangs up, with a reset if it says so. It returns the server's URL.
func Answers(t testing.TB, answer string, reset bool) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	t.Cleanup(func() { _ = listener.Close() })
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_, _ = http.ReadRequest(bufio.NewReader(conn))
			_, _ = io.WriteString(conn, answer)
			if reset {
				_ = conn.(*net.TCPConn).SetLinger(0)
			}
			_ = conn.Close()
		}
	}()
	return "http://" + listener.Addr().String()
}

// Forms are the ways in which servers and proxies write a secret.
func Forms(secret string) []string {
	quoted, _ := json.Marshal(secret)
	inJSON := string(quoted[1 : len(quoted)-1])
	percent, unicode := "", ""
	for _, b := range []byte(secret) {
		percent += fmt.Sprintf("%%%02x", b)
	}
	for _, r := range secret {
		unicode += fmt.Sprintf(`\u%04X`, r)
	}
	return []string{
		secret, url.QueryEscape(secret), url.PathEscape(secret), percent, strings.ToUpper(percent), unicode,
		inJSON, strings.ReplaceAll(inJSON, "/", `\/`),
	}
}

// Printed is everything that can be printed of an error and of all below it.
func Printed(err error) string {
	var b bytes.Buffer
	var visit func(error)
	visit = func(err error) {
		if err == nil {
			return
		}
		fmt.Fprintf(&b, "%v\n%+v\n%#v\n%s\n%q\n%d\n", err, err, err, err, err, err)
		slog.New(slog.NewJSONHandler(&b, nil)).Error("x", "err", err, "in", struct{ Err error }{err})
		slog.New(slog.NewTextHandler(&b, nil)).Error("x", "err", err)
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			visit(e.Unwrap())
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				visit(err)
			}
		}
	}
	visit(err)
	return b.String()
}
