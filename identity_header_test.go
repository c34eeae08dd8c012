package rolegate_test

import (
	"bufio"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"github.com/go-chi/chi/v5"
	"github.com/go-chi/chi/v5/middleware"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestHeadersByPeer(t *testing.T) {
	t.Parallel()
	trusted := []netip.Prefix{
		netip.MustParsePrefix("10.1.2.77/24"), // not masked
		netip.MustParsePrefix("fd00::/8"),
		netip.MustParsePrefix("fe80::/10"),
		netip.MustParsePrefix("192.0.2.1/32"),
	}
	id, text := rolegate.UserIDHeader("x-user-id", trusted...), rolegate.TextHeader("x-user-id", trusted...)
	trusted[0] = netip.MustParsePrefix("203.0.113.0/24") // a caller's slice stays the caller's
	for _, c := range []struct {
		peer    string
		trusted bool
		says    string // of a peer that is no peer
	}{
		{"10.1.2.3:4000", true, ""},
		{"10.1.2.255:1", true, ""},
		{"10.1.3.3:4000", false, ""},
		{"192.0.2.1:4000", true, ""},
		{"192.0.2.2:4000", false, ""},
		{"203.0.113.5:4000", false, ""},
		{"[::ffff:10.1.2.3]:4000", true, ""},
		{"[::ffff:10.1.3.3]:4000", false, ""},
		{"[fd12::1]:4000", true, ""},
		{"[fe80::1%eth0]:4000", true, ""},
		{"[2001:db8::1]:4000", false, ""},
		{"[::10.1.2.3]:4000", false, ""}, // IPv4-compatible is not IPv4-mapped
		{"10.1.2.3", false, "RealIP"},
		{"::1", false, "RealIP"},
		{"fd12::1", false, "RealIP"},
		{"", false, "RealIP"},
		{"@", false, "RealIP"}, // a Unix socket
		{"proxy:4000", false, "RealIP"},
		{"10.1.2.3:http", false, "RealIP"},
		{"10.1.2.3:4000, 10.1.2.3:4000", false, "RealIP"},
		{" 10.1.2.3:4000", false, "RealIP"},
		{"10.1.2.03:4000", false, "RealIP"},
		{"10.1.2.3:99999", false, "RealIP"},
	} {
		t.Run(c.peer, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = c.peer
			r.Header.Set("X-User-Id", "42")
			n, err := id(r)
			s, textErr := text(r)
			if c.trusted {
				assert.NoError(t, err)
				assert.NoError(t, textErr)
				assert.EqualValues(t, 42, n)
				assert.Equal(t, "42", s)
				return
			}
			assert.Zero(t, n)
			assert.Empty(t, s)
			for _, err := range []error{err, textErr} {
				assert.ErrorIs(t, err, rolegate.ErrNobody)
				assert.Contains(t, err.Error(), cmp.Or(c.says, "is there, but who has sent it is in none of the trusted networks"))
			}
		})
	}
}

// A server refuses most of these bytes itself. A request may have come some other
// way.
func TestTextHeaderRefusesControlBytes(t *testing.T) {
	t.Parallel()
	read := rolegate.TextHeader("X-Account", rolegate.Loopback()...)
	for _, control := range []string{"\x00", "\x01", "\t", "\n", "\x1f", "\x7f"} {
		for _, text := range []string{control, control + "ann", "an" + control + "n", "ann" + control} {
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = "127.0.0.1:4000"
			r.Header["X-Account"] = []string{text}
			got, err := read(r)
			assert.Empty(t, got, "%q", text)
			assert.ErrorIs(t, err, rolegate.ErrNobody)
			assert.ErrorContains(t, err, "control bytes", "%q: no other identity of the request counts", text)
		}
	}
}

// identityRaw sends header lines byte for byte and returns the status and the
// body.
func identityRaw(t *testing.T, url string, lines ...string) (int, string) {
	t.Helper()
	conn, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", strings.TrimPrefix(url, "http://"))
	require.NoError(t, err)
	defer conn.Close()
	_, err = fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: app\r\nConnection: close\r\n%s\r\n", strings.Join(append(lines, ""), "\r\n"))
	require.NoError(t, err)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp.StatusCode, string(body)
}

// What a header is worth is decided on the wire: these tests go through a
// server.
func TestHeadersOnTheWire(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		rolegate.Record{UserID: 5, Account: "five"},
		rolegate.Record{UserID: 1<<63 - 1, Account: "five six"},
		rolegate.Record{UserID: 6, Account: "王芳"},
		rolegate.Record{UserID: 7, Account: "5, 6"},
	)
	serve := func(identify rolegate.Identifier, outer ...func(http.Handler) http.Handler) string {
		gate := openGate(t, rolegate.Config{Source: source, Identify: identify})
		r := chi.NewRouter()
		r.Use(outer...)
		r.Use(gate.Admit)
		r.Get("/", ok(gate).ServeHTTP)
		server := httptest.NewServer(r)
		t.Cleanup(server.Close)
		return server.URL
	}
	far := netip.MustParsePrefix("10.0.0.0/8")
	//lint:ignore SA1019 what it does to RemoteAddr is what the test is about
	realIP := middleware.RealIP
	servers := map[string]string{
		"id":   serve(rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...))),
		"text": serve(rolegate.ByText(rolegate.KindAccount, rolegate.TextHeader("X-User-Id", rolegate.Loopback()...))),
		"far":  serve(rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", far))),
		"real": serve(rolegate.ByUserID(rolegate.UserIDHeader("X-User-Id", append(rolegate.Loopback(), far)...)), realIP),
	}
	for _, c := range []struct {
		server, name string
		lines        []string
		status       int
		body         string
	}{
		{"id", "canonical", []string{"X-User-Id: 5"}, 200, "user 5"},
		{"id", "the name's case does not count", []string{"x-uSER-id: 5"}, 200, "user 5"},
		{"id", "blanks around belong to HTTP", []string{"X-User-Id: \t 5 \t"}, 200, "user 5"},
		{"id", "the greatest", []string{"X-User-Id: 9223372036854775807"}, 200, "user 9223372036854775807"},
		{"id", "2^63", []string{"X-User-Id: 9223372036854775808"}, 401, ""},
		{"id", "2^64+5", []string{"X-User-Id: 18446744073709551621"}, 401, ""},
		{"id", "none", nil, 401, ""},
		{"id", "empty", []string{"X-User-Id:"}, 401, ""},
		{"id", "zero", []string{"X-User-Id: 0"}, 401, ""},
		{"id", "negative", []string{"X-User-Id: -5"}, 401, ""},
		{"id", "a plus", []string{"X-User-Id: +5"}, 401, ""},
		{"id", "a leading zero", []string{"X-User-Id: 05"}, 401, ""},
		{"id", "an exponent", []string{"X-User-Id: 5e0"}, 401, ""},
		{"id", "another exponent", []string{"X-User-Id: 5e3"}, 401, ""},
		{"id", "a fraction", []string{"X-User-Id: 5.0"}, 401, ""},
		{"id", "hexadecimal", []string{"X-User-Id: 0x5"}, 401, ""},
		{"id", "an underscore", []string{"X-User-Id: 5_0"}, 401, ""},
		{"id", "full-width", []string{"X-User-Id: ５"}, 401, ""},
		{"id", "Arabic", []string{"X-User-Id: ٥"}, 401, ""},
		{"id", "quoted", []string{`X-User-Id: "5"`}, 401, ""},
		{"id", "a blank inside", []string{"X-User-Id: 5 5"}, 401, ""},
		{"id", "a no-break space behind", []string{"X-User-Id: 5\u00a0"}, 401, ""},
		{"id", "joined by a comma", []string{"X-User-Id: 5,6"}, 401, ""},
		{"id", "joined by a comma, the same", []string{"X-User-Id: 5, 5"}, 401, ""},
		{"id", "twice", []string{"X-User-Id: 5", "X-User-Id: 6"}, 401, ""},
		{"id", "twice the same", []string{"X-User-Id: 5", "X-User-Id: 5"}, 401, ""},
		{"id", "twice, in other case", []string{"X-User-Id: 5", "x-user-id: 6"}, 401, ""},
		{"id", "twice, one empty", []string{"X-User-Id: 5", "X-User-Id:"}, 401, ""},
		{"id", "an underscore in the name", []string{"X_User_Id: 5"}, 401, ""},
		{"id", "an underscore in the name, beside the proxy's", []string{"X_User_Id: 6", "X-User-Id: 5"}, 200, "user 5"},
		{"id", "NUL", []string{"X-User-Id: 5\x00"}, 400, ""},
		{"id", "a folded line", []string{"X-User-Id: 5", " 6"}, 401, ""},
		{"id", "a blank before the colon", []string{"X-User-Id : 5"}, 400, ""},
		{"id", "hop by hop", []string{"X-User-Id: 5", "Keep-Alive: X-User-Id"}, 200, "user 5"},
		{"text", "as it is", []string{"X-User-Id: five"}, 200, "user 5"},
		{"text", "a blank inside", []string{"X-User-Id: five six"}, 200, "user 9223372036854775807"},
		{"text", "UTF-8", []string{"X-User-Id: 王芳"}, 200, "user 6"},
		{"text", "a comma that belongs to it", []string{"X-User-Id: 5, 6"}, 200, "user 7"},
		{"text", "two that a comma would join to another's name", []string{"X-User-Id: 5", "X-User-Id: 6"}, 401, ""},
		{"text", "case", []string{"X-User-Id: Five"}, 403, ""},
		{"text", "a tab inside", []string{"X-User-Id: five\tsix"}, 401, ""},
		{"text", "a no-break space behind", []string{"X-User-Id: five\u00a0"}, 401, ""},
		{"text", "none", nil, 401, ""},
		{"far", "a peer that is not trusted", []string{"X-User-Id: 5"}, 401, ""},
		{"far", "a peer that says it is another", []string{"X-User-Id: 5", "X-Forwarded-For: 10.0.0.1", "X-Real-Ip: 10.0.0.1", "Forwarded: for=10.0.0.1"}, 401, ""},
		{"real", "RealIP without a word to believe", []string{"X-User-Id: 5"}, 200, "user 5"},
		{"real", "RealIP with X-Real-Ip", []string{"X-User-Id: 5", "X-Real-Ip: 10.0.0.1"}, 401, ""},
		{"real", "RealIP with X-Forwarded-For", []string{"X-User-Id: 5", "X-Forwarded-For: 127.0.0.1, 10.0.0.1"}, 401, ""},
		{"real", "RealIP with True-Client-Ip", []string{"X-User-Id: 5", "True-Client-Ip: ::1"}, 401, ""},
		{"real", "RealIP with a port", []string{"X-User-Id: 5", "X-Real-Ip: 203.0.113.1:80"}, 200, "user 5"}, // it is not believed, and the peer is
	} {
		t.Run(c.server+"/"+c.name, func(t *testing.T) {
			t.Parallel()
			status, body := identityRaw(t, servers[c.server], c.lines...)
			assert.Equal(t, c.status, status, body)
			if c.status == 200 {
				assert.Equal(t, c.body, body)
			}
		})
	}
}

// identityPeer reports whether net, rather than net/netip, finds the peer on
// this machine.
func identityPeer(remoteAddr string) bool {
	host, _, err := net.SplitHostPort(remoteAddr)
	host, _, _ = strings.Cut(host, "%")
	ip := net.ParseIP(host)
	return err == nil && ip != nil && ip.IsLoopback()
}

func identitySeeds(f *testing.F) {
	for _, peer := range []string{"127.0.0.1:1", "127.0.0.1", "[::1]:1", "[::ffff:127.0.0.1]:1", "[::1%lo]:1", "10.0.0.1:1", "", "@", "127.0.0.1:1:1", "[127.0.0.1]:1", "[::1%]]:0"} {
		for _, value := range []string{"5", "05", "+5", "-5", "0", "", "5e3", "5,6", "9223372036854775808", "９", " 5", "5\x00", "five", "\u00a0", "\xff"} {
			f.Add(value, peer)
		}
	}
}

func FuzzUserIDHeader(f *testing.F) {
	identitySeeds(f)
	read := rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)
	gate := openGate(f, rolegate.Config{Source: identityList(), Identify: rolegate.ByUserID(read)})
	h := gate.Admit(ok(gate))
	f.Fuzz(func(t *testing.T, value, peer string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-User-Id"] = []string{value}
		id, err := read(r)
		if err != nil {
			assert.ErrorIs(t, err, rolegate.ErrNobody)
			assert.Zero(t, id)
		} else {
			assert.Positive(t, id)
			assert.Equal(t, strconv.FormatInt(id, 10), value)
			assert.True(t, identityPeer(peer), "%q", peer)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case err != nil:
			assert.Equal(t, 401, w.Code)
		case id == 42 || id >= 2 && id <= 6:
			assert.Equal(t, 200, w.Code)
		default:
			assert.Equal(t, 403, w.Code)
		}
		r.Header["X-User-Id"] = []string{value, value}
		_, err = read(r)
		assert.ErrorIs(t, err, rolegate.ErrNobody)
	})
}

func FuzzTextHeader(f *testing.F) {
	identitySeeds(f)
	read := rolegate.TextHeader("X-User-Id", rolegate.Loopback()...)
	gate := openGate(f, rolegate.Config{Source: identityList(), Identify: rolegate.ByText(rolegate.KindAccount, read)})
	h := gate.Admit(ok(gate))
	f.Fuzz(func(t *testing.T, value, peer string) {
		r := httptest.NewRequest("GET", "/", nil)
		r.RemoteAddr = peer
		r.Header["X-User-Id"] = []string{value}
		text, err := read(r)
		if err != nil {
			assert.ErrorIs(t, err, rolegate.ErrNobody)
			assert.Empty(t, text)
		} else {
			assert.Equal(t, value, text)
			assert.NotEmpty(t, text)
			assert.Equal(t, strings.Trim(text, " \t\r\n"), text)
			assert.NotContains(t, text, "\n")
			assert.NotContains(t, text, "\x00")
			assert.True(t, identityPeer(peer), "%q", peer)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		switch {
		case err != nil:
			assert.Equal(t, 401, w.Code)
		case text == "42" || text == "only-account":
			assert.Equal(t, 200, w.Code)
		default:
			assert.Equal(t, 403, w.Code)
		}
	})
}

// The log is to tell a header that the proxy does not send from one that is not
// believed.
func TestHeaderThatSaysNothing(t *testing.T) {
	t.Parallel()
	header := rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)
	for name, c := range map[string]struct {
		set  []string
		says string
	}{
		"missing": {nil, "the header X-User-Id is missing"},
		"empty":   {[]string{""}, "the header X-User-Id is empty"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := httptest.NewRequest("GET", "/", nil)
			r.RemoteAddr = "127.0.0.1:4000"
			r.Header["X-User-Id"] = c.set
			_, err := header(r)
			assert.ErrorIs(t, err, rolegate.ErrNobody)
			assert.ErrorContains(t, err, c.says)

			var book logBook
			nobody := rolegate.ByText(rolegate.KindAccount, func(*http.Request) (string, error) { return "", rolegate.ErrNobody })
			gate := openGate(t, rolegate.Config{
				Source: rolegatetest.NewStatic(), Logger: book.logger(), Identify: rolegate.FirstOf(nobody, rolegate.ByUserID(header)),
			})
			w := httptest.NewRecorder()
			gate.Admit(http.NotFoundHandler()).ServeHTTP(w, r)
			assert.Equal(t, http.StatusUnauthorized, w.Code)
			assert.NotContains(t, w.Body.String(), "X-User-Id")
			assert.Contains(t, book.String(), c.says)
		})
	}
}

// A proxy that reaches the app over a Unix socket has no address.
func TestHeadersOverAUnixSocket(t *testing.T) {
	t.Parallel()
	over := func(local net.Addr, remote string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.Header.Set("X-User-Id", "7")
		r.RemoteAddr = remote
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	unix := rolegate.UserIDHeader("X-User-Id", rolegate.TrustedUnix()...)
	loopback := rolegate.UserIDHeader("X-User-Id", rolegate.Loopback()...)

	id, err := unix(over(&net.UnixAddr{}, "@"))
	require.NoError(t, err)
	assert.EqualValues(t, 7, id)
	for name, c := range map[string]struct {
		read func(*http.Request) (int64, error)
		r    *http.Request
	}{
		"it is not trusted":                            {loopback, over(&net.UnixAddr{}, "@")},
		"it is not trusted, whatever the address says": {loopback, over(&net.UnixAddr{}, "127.0.0.1:1")},
		"TCP": {unix, over(&net.TCPAddr{}, "127.0.0.1:1")},
		"an address that a middleware has written": {unix, over(&net.TCPAddr{}, "@")},
	} {
		_, err := c.read(c.r)
		assert.ErrorIs(t, err, rolegate.ErrNobody, name)
	}
}
