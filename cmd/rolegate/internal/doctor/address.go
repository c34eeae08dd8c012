package doctor

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"syscall"
	"time"
)

// soon is how long before its end a certificate is told to end.
const soon = 21 * 24 * time.Hour

// address tries the way to the marketplace: name, port and TLS. It reports
// whether there is one.
func (d *doctor) address(ctx context.Context) bool {
	base, err := url.Parse(d.file.Marketplace.URL)
	if err != nil { // Validate has parsed it
		return false
	}
	d.base = base
	if base.Scheme == "http" && !isLoopback(base.Hostname()) {
		d.say("address.http")
	}
	proxy, err := d.Proxy(&http.Request{URL: base})
	if err != nil {
		d.say("address.proxy_wrong")
		return false
	}
	if proxy != nil {
		// TLS goes through it, and shows in the first reply.
		d.say("address.proxy", proxy.Host)
		return d.connects(ctx, proxy.Hostname(), port(proxy))
	}
	if !d.connects(ctx, base.Hostname(), port(base)) {
		return false
	}
	return base.Scheme == "http" || d.handshake(ctx, net.JoinHostPort(base.Hostname(), port(base)))
}

func port(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	case strings.HasPrefix(u.Scheme, "socks"):
		return "1080"
	}
	return "80"
}

// isLoopback reports whether a host is this machine.
func isLoopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.Unmap().IsLoopback()
}

// connects resolves a name and tries its port.
func (d *doctor) connects(ctx context.Context, host, port string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if _, err := netip.ParseAddr(host); err != nil {
		addrs, err := d.Lookup(ctx, "ip", host)
		if err != nil {
			var dns *net.DNSError
			if errors.As(err, &dns) && dns.IsNotFound {
				d.say("address.name_unknown", host)
			} else {
				d.say("address.name_failed", host)
			}
			return false
		}
		var shown list
		for _, a := range addrs[:min(len(addrs), 4)] {
			shown = append(shown, a.Unmap().String())
		}
		d.say("address.name", host, shown)
	}
	where := net.JoinHostPort(host, port)
	begun := time.Now()
	conn, err := new(net.Dialer).DialContext(ctx, "tcp", where)
	switch {
	case err == nil:
		_ = conn.Close()
		d.say("address.connected", where, duration(time.Since(begun)))
		return true
	case errors.Is(err, syscall.ECONNREFUSED) && isLoopback(host):
		d.say("address.refused_here", where)
	case errors.Is(err, syscall.ECONNREFUSED):
		d.say("address.refused", where)
	case timedOut(err):
		d.say("address.timeout", where)
	default:
		d.say("address.unreachable", where, inner(err))
	}
	return false
}

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}

// inner is a network error without the addresses, which the text has.
func inner(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && op.Err != nil {
		return op.Err
	}
	return err
}

// handshake tries TLS.
func (d *doctor) handshake(ctx context.Context, where string) bool {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	cfg := d.TLS.Clone()
	if cfg == nil {
		cfg = new(tls.Config)
	}
	conn, err := (&tls.Dialer{Config: cfg}).DialContext(ctx, "tcp", where)
	if err != nil {
		d.tlsFailed(where, err)
		return false
	}
	defer conn.Close()
	if c, ok := conn.(*tls.Conn); ok {
		d.certificate(c.ConnectionState())
	}
	return true
}

func (d *doctor) certificate(s tls.ConnectionState) {
	if len(s.PeerCertificates) == 0 {
		return
	}
	c := s.PeerCertificates[0]
	until, host := c.NotAfter.UTC().Format(time.DateOnly), d.base.Hostname()
	if c.NotAfter.Sub(d.Now()) < soon {
		d.say("address.tls_ends_soon", tls.VersionName(s.Version), host, until)
		return
	}
	d.say("address.tls", tls.VersionName(s.Version), host, until)
}

func (d *doctor) tlsFailed(where string, err error) {
	var (
		header    tls.RecordHeaderError
		authority x509.UnknownAuthorityError
		name      x509.HostnameError
		invalid   x509.CertificateInvalidError
	)
	switch {
	case errors.As(err, &header):
		d.say("address.no_tls", where)
	case errors.As(err, &authority):
		d.say("address.tls_authority", where)
	case errors.As(err, &name):
		d.say("address.tls_name", where, d.base.Hostname())
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		d.say("address.tls_expired", where, invalid.Cert.NotAfter.UTC().Format(time.DateOnly))
	case timedOut(err):
		d.say("address.timeout", where)
	default:
		d.say("address.tls_failed", where, inner(err))
	}
}
