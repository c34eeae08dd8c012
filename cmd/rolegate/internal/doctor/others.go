package doctor

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"sync/atomic"
	"syscall"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/bearer"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/internal/wire"
)

// cloud asks 云上指挥 once how the sync is.
func (d *doctor) cloud(ctx context.Context) {
	c := d.file.CloudCommand
	if c == nil || d.told["cloud_command.client_secret"] || d.told["cloud_command.password"] {
		return
	}
	client, err := c.Client()
	if err != nil || client.Validate() != nil {
		return // settings has said so
	}
	defer client.CloseIdleConnections()
	if u, err := url.Parse(c.URL); err == nil && u.Scheme == "http" && !isLoopback(u.Hostname()) {
		d.say("cloud.http")
	}
	report, err := client.CheckSync(ctx)
	switch {
	case errors.Is(err, rolegate.ErrRefused):
		d.say("cloud.refused", err)
		return
	case err != nil:
		d.say("cloud.failed", err)
		return
	}
	switch text := report.Text; report.State {
	case rolegate.SyncRunning:
		d.say("cloud.running", text)
	case rolegate.SyncDone:
		d.say("cloud.done", text)
	default:
		if text == "" {
			d.say("cloud.silent")
		} else {
			d.say("cloud.unknown", text)
		}
	}
	if len(c.Done) == 0 {
		d.say("cloud.no_done_texts")
	}
}

// identity tries the issuers, and looks at whose headers are believed.
func (d *doctor) identity(ctx context.Context) {
	for i, id := range d.file.Identity {
		if id.Issuer != "" {
			d.issuer(ctx, id)
		}
		d.wide(fmt.Sprintf("identity[%d].trusted", i), id.Trusted)
	}
	if a := d.file.ForwardAuth; a != nil {
		d.wide("forward_auth.trusted", a.Trusted)
	}
}

func (d *doctor) issuer(ctx context.Context, id settings.Identity) {
	ctx, cancel := aside(ctx)
	defer cancel()
	transport := wire.NewTransport()
	defer transport.CloseIdleConnections()
	var told lastError
	v, err := bearer.New(bearer.Config{
		Issuer: id.Issuer, Audience: id.Audience, Algorithms: id.Algorithms, Logger: slog.New(&told),
		Client: &http.Client{Transport: bound{ctx, transport}},
	})
	if err != nil {
		return // settings has said so
	}
	if err = v.Ready(ctx); err == nil {
		d.say("identity.issuer", id.Issuer)
		return
	}
	if logged := told.err.Load(); logged != nil {
		err = *logged
	}
	d.say("identity.issuer_failed", id.Issuer, d.secrets.Wrap(err))
}

// A bound transport ends its requests with ctx: a fetch of keys has one of its
// own, which would go on for longer.
type bound struct {
	ctx  context.Context
	next http.RoundTripper
}

func (b bound) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithCancel(r.Context())
	context.AfterFunc(b.ctx, cancel)
	return b.next.RoundTrip(r.WithContext(ctx))
}

// lastError is a slog.Handler that keeps the error of a failed fetch, which is
// logged before Ready returns.
type lastError struct{ err atomic.Pointer[error] }

func (*lastError) Enabled(context.Context, slog.Level) bool { return true }
func (l *lastError) WithAttrs([]slog.Attr) slog.Handler     { return l }
func (l *lastError) WithGroup(string) slog.Handler          { return l }
func (l *lastError) Handle(_ context.Context, r slog.Record) error {
	r.Attrs(func(a slog.Attr) bool {
		if err, ok := a.Value.Any().(error); ok {
			l.err.Store(&err)
		}
		return true
	})
	return nil
}

// wide says which networks are larger than what a proxy is in.
func (d *doctor) wide(place string, networks settings.Networks) {
	for _, n := range networks {
		most, public := 16, 24
		if n.Addr().Is6() {
			most, public = 48, 64
		}
		switch a := n.Addr(); {
		case a.IsLoopback():
		case !a.IsPrivate() && !a.IsLinkLocalUnicast() && n.Bits() < public:
			d.say("identity.trusted_public", place, n.String())
		case n.Bits() < most:
			d.say("identity.trusted_wide", place, n.String())
		}
	}
}

// listeners tries the addresses that are listened on.
func (d *doctor) listeners(ctx context.Context) {
	f := d.file
	if a := f.ForwardAuth; a != nil {
		d.listener(ctx, "forward_auth", a.Listen)
		if everywhere(a.Listen) && loopbackOnly(a.Trusted) {
			d.say("listeners.open_for_nobody", "forward_auth", a.Listen)
		}
	}
	if a := f.AuthZEN; a != nil {
		d.listener(ctx, "authzen", a.Listen)
	}
	if a := f.Admin; a != nil {
		d.listener(ctx, "admin", a.Listen)
		if everywhere(a.Listen) {
			d.say("listeners.admin_open", a.Listen)
		}
	}
}

// everywhere reports whether an address is that of every network.
func everywhere(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	addr, err := netip.ParseAddr(host)
	return host == "" || err == nil && addr.IsUnspecified()
}

func loopbackOnly(networks settings.Networks) bool {
	for _, n := range networks {
		if !n.Addr().IsLoopback() {
			return false
		}
	}
	return len(networks) > 0
}

func (d *doctor) listener(ctx context.Context, who, address string) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", address)
	switch {
	case err == nil:
		_ = l.Close()
		d.say("listeners.free", who, address)
	case errors.Is(err, syscall.EADDRINUSE) && d.running():
		d.say("listeners.own", who, address)
	case errors.Is(err, syscall.EADDRINUSE):
		d.say("listeners.taken", who, address)
	case errors.Is(err, fs.ErrPermission):
		d.say("listeners.forbidden", who, address)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		d.say("listeners.elsewhere", who, address)
	default:
		d.say("listeners.failed", who, address, inner(err))
	}
}

// running reports whether somebody answers at the control socket.
func (d *doctor) running() bool {
	if d.file.Control == "" {
		return false
	}
	conn, err := net.Dial("unix", d.file.Control)
	if err != nil {
		return false
	}
	_ = conn.Close()
	return true
}

// maxSocket is how long the path of a socket may be where that is least, on
// macOS; Linux has room for four more.
const maxSocket = 103

// maxFolder is how long that of its folder may be: serve makes the socket in a
// folder of its own in there.
const maxFolder = maxSocket - len("/.rolegate-4294967295/s")

// control looks at where the control socket is to be.
func (d *doctor) control(context.Context) {
	path := d.file.Control
	if path == "" {
		return
	}
	folder := filepath.Dir(path)
	info, err := os.Lstat(path)
	most := min(maxSocket, maxFolder+1+len(filepath.Base(path)))
	switch {
	case len(path) > most:
		d.say("control.too_long", path, most)
	case err == nil && info.Mode()&fs.ModeSocket == 0:
		d.say("control.not_a_socket", path)
	case d.running():
		d.say("control.running", path)
	default:
		if err := writable(folder); err != nil {
			d.say("control.folder", folder, reason(err))
			return
		}
		d.say("control.fine", path)
	}
}
