// Package peer says whether a request comes from a proxy that is trusted. It
// serves the root, for identities in headers, and forwardauth.
package peer

import (
	"errors"
	"net"
	"net/http"
	"net/netip"

	"golang.org/x/net/http/httpguts"
)

// Unix stands for everybody who connects over a Unix socket, among networks. It
// is in the discard prefix of RFC 6666, from which nothing can come.
var Unix = netip.MustParsePrefix("100::726f:6c65:6761:7465/128")

// Trusted are networks that requests are believed from.
type Trusted struct {
	networks []netip.Prefix
	unix     bool
}

// New takes the networks, and returns those that cannot be one of a proxy's: an
// invalid one, all of the Internet, and IPv4 written as IPv6.
func New(networks []netip.Prefix) (t Trusted, wrong []int) {
	for i, p := range networks {
		switch {
		case p == Unix:
			t.unix = true
		case !p.IsValid() || p.Bits() == 0 || p.Addr().Is4In6():
			wrong = append(wrong, i)
		default:
			t.networks = append(t.networks, p.Masked())
		}
	}
	return t, wrong
}

// ErrAddress is what Has returns for a RemoteAddr that the server has not written.
var ErrAddress = errors.New("the peer's address is not IP:port: something in front of the gate, such as chi's RealIP, has rewritten it; put the gate before that")

// Has reports whether the request comes from one of the networks. Whether it came
// over a Unix socket is known from the server's own address, which no client and
// no middleware writes.
func (t Trusted) Has(r *http.Request) (bool, error) {
	if _, unix := r.Context().Value(http.LocalAddrContextKey).(*net.UnixAddr); unix {
		return t.unix, nil
	}
	peer, err := netip.ParseAddrPort(r.RemoteAddr)
	if zone := peer.Addr().Zone(); err != nil || zone != "" && !httpguts.ValidHeaderFieldName(zone) {
		return false, ErrAddress
	}
	addr := peer.Addr().Unmap().WithZone("")
	for _, n := range t.networks {
		if n.Contains(addr) {
			return true, nil
		}
	}
	return false, nil
}
