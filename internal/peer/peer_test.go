package peer_test

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/rolegate/rolegate/internal/peer"
)

func TestTrusted(t *testing.T) {
	t.Parallel()
	networks := []netip.Prefix{netip.MustParsePrefix("10.1.2.3/24"), netip.MustParsePrefix("fe80::/10")}
	tcp, wrong := peer.New(networks)
	assert.Empty(t, wrong)
	both, wrong := peer.New(append(networks, peer.Unix))
	assert.Empty(t, wrong)
	over := func(local net.Addr, remote string) *http.Request {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		return r.WithContext(context.WithValue(r.Context(), http.LocalAddrContextKey, local))
	}
	ip, unix := &net.TCPAddr{}, &net.UnixAddr{Name: "/run/app.sock", Net: "unix"}
	for _, c := range []struct {
		name          string
		r             *http.Request
		inTCP, inBoth bool
		unknown       bool
	}{
		{"in a network", over(ip, "10.1.2.200:50000"), true, true, false},
		{"outside", over(ip, "10.1.3.1:50000"), false, false, false},
		{"IPv4 in IPv6", over(ip, "[::ffff:10.1.2.1]:50000"), true, true, false},
		{"a zone", over(ip, "[fe80::1%eth0]:50000"), true, true, false},
		{"a zone that is none", over(ip, "[fe80::1%a b]:50000"), false, false, true},
		{"rewritten", over(ip, "10.1.2.1"), false, false, true},
		{"rewritten to look like a Unix socket", over(ip, "@"), false, false, true},
		{"a server that does not say where it listens", over(nil, "10.1.2.1:1"), true, true, false},
		{"a Unix socket", over(unix, "@"), false, true, false},
		{"a Unix socket and an address that something has written", over(unix, "10.1.2.1:1"), false, true, false},
		{"the address that stands for Unix sockets", over(ip, netip.AddrPortFrom(peer.Unix.Addr(), 1).String()), false, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for trusted, want := range map[*peer.Trusted]bool{&tcp: c.inTCP, &both: c.inBoth} {
				has, err := trusted.Has(c.r)
				assert.Equal(t, want, has)
				assert.Equal(t, c.unknown, err != nil)
			}
		})
	}
	_, wrong = peer.New([]netip.Prefix{{}, peer.Unix, netip.MustParsePrefix("0.0.0.0/0"), netip.MustParsePrefix("::ffff:0:0/96"), networks[0]})
	assert.Equal(t, []int{0, 2, 3}, wrong)
}
