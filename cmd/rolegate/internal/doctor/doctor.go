// Package doctor tries what a gate will depend on, and says what is wrong and
// what to do. It sends the marketplace three requests at most, for the first
// page of users, for what comes after it and for the platform's roles, and each
// of them once more if the token is refused.
package doctor

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"strings"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/internal/wire"
	"github.com/rolegate/rolegate/marketplace"
)

// A State says how something was found to be.
type State uint8

// The states.
const (
	Fine    State = iota
	Note          // good to know, and nothing to do
	Warning       // it works, and should be put right
	Wrong         // it does not work
)

var stateNames = [...]string{"fine", "note", "warning", "wrong"}

func (s State) String() string { return stateNames[s] }

// MarshalText implements encoding.TextMarshaler with what String returns.
func (s State) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// A Finding is what a check found. Its Name says which text goes with it: the
// check, a dot, and what was found. It stays the same for scripts.
type Finding struct {
	Name  string
	State State
	Args  []any // what the text has at its verbs
}

// Check is the name of the check that found it.
func (f Finding) Check() string {
	check, _, _ := strings.Cut(f.Name, ".")
	return check
}

// Options say what is tried.
type Options struct {
	// File is what has been read; Path is where from, "" if nothing but a
	// marketplace was named. With a Path the rest of the file is tried as well.
	File *settings.File
	Path string

	// Say is called with each finding, as soon as it is there.
	Say func(Finding)

	// Proxy and TLS are for the marketplace; nil are those of the environment
	// and of the system.
	Proxy func(*http.Request) (*url.URL, error)
	TLS   *tls.Config

	// Lookup resolves names; nil asks the system.
	Lookup func(ctx context.Context, network, host string) ([]netip.Addr, error)

	// Now is the clock that Dates are compared with; nil is time.Now.
	Now func() time.Time
}

// A doctor is one run.
type doctor struct {
	Options
	file     *settings.File
	base     *url.URL
	client   *marketplace.Client
	recorder *recorder
	secrets  wire.Secrets
	told     map[string]bool // places of the file that have been found wrong

	// interrupted reports whether nobody wants to know any more: what fails then
	// says nothing.
	interrupted func() bool
}

// Run tries everything. It returns ctx's error if that ended before all was
// tried.
func Run(ctx context.Context, o Options) error {
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Lookup == nil {
		o.Lookup = net.DefaultResolver.LookupNetIP
	}
	if o.Proxy == nil {
		o.Proxy = http.ProxyFromEnvironment
	}
	d := &doctor{Options: o, file: o.File, told: map[string]bool{}}
	d.interrupted = func() bool { return errors.Is(ctx.Err(), context.Canceled) }
	transport := wire.NewTransport()
	transport.Proxy = o.Proxy
	if o.TLS != nil {
		transport.TLSClientConfig = o.TLS.Clone()
	}
	defer transport.CloseIdleConnections()
	d.recorder = &recorder{next: transport, now: o.Now}

	if d.settings() {
		d.marketplace(ctx)
	}
	if d.Path != "" {
		d.others(ctx)
	}
	return ctx.Err()
}

// marketplace tries the marketplace, as far as it goes.
func (d *doctor) marketplace(ctx context.Context) {
	if !d.address(ctx) {
		d.say("token.untried")
		return
	}
	p, ok := d.firstPage(ctx)
	if x := d.recorder.last; x != nil && x.status != 0 {
		defer d.freshness(x)
	}
	if !ok {
		return
	}
	d.probe(ctx, p)
	d.page(p)
	d.ids(p)
	d.cursor(p)
	d.roles(ctx, p)
}

// others tries what the file names besides the marketplace.
func (d *doctor) others(ctx context.Context) {
	for _, try := range []func(context.Context){d.cache, d.cloud, d.identity, d.listeners, d.control} {
		if ctx.Err() != nil {
			return
		}
		try(ctx)
	}
}

// say tells a finding, whose state is in the catalogue.
func (d *doctor) say(name string, args ...any) {
	if d.interrupted() {
		return
	}
	for i, arg := range args {
		switch arg := arg.(type) {
		case error:
			args[i] = d.secrets.Clean(arg.Error())
		case string:
			args[i] = d.secrets.Clean(arg)
		}
	}
	d.Say(New(name, args...))
}

// New returns the finding of that name, which is in the catalogue.
func New(name string, args ...any) Finding {
	state, known := catalogue[name]
	if !known {
		panic("doctor: no finding " + name)
	}
	return Finding{name, state, args}
}

// remember keeps a secret out of everything that is said.
func (d *doctor) remember(secret string) {
	d.secrets.Keep(secret)
	d.secrets.Keep(strings.TrimSpace(secret))
}

// reason is why a file or a connection could not be had, without its name,
// which the text has.
func reason(err error) error {
	var path *os.PathError
	if errors.As(err, &path) {
		return path.Err
	}
	return err
}

// aside bounds how long one thing besides the marketplace may take.
func aside(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, 5*time.Second)
}
