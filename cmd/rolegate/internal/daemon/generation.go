package daemon

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/forwardauth"
)

// A generation is what a settings file has become. Requests are served by one
// generation from their beginning to their end.
type generation struct {
	file      *settings.File
	gate      *sharedGate
	proxy     *forwardauth.Handler // nil without the section
	questions []authzen.Rule       // those of AuthZEN
	handlers  map[string]http.Handler

	certificates map[string]*tls.Certificate // of the listeners that have one
}

// A sharedGate is a gate that several generations in a row use.
type sharedGate struct {
	*rolegate.Gate
	key     gateKey
	close   func() error // of what the gate was made with
	routes  *routes
	console http.Handler
	active  atomic.Int64 // requests that are served with it, by whichever generation
	once    sync.Once
	err     error
}

func (g *sharedGate) release() error {
	g.once.Do(func() { g.err = errors.Join(g.Gate.Close(), g.close()) })
	return g.err
}

// generation makes one of a file. If what the file says of the gate is as it
// was, old's gate goes on; else there is a new one. One that is to take the place
// of another that serves must have a list first, and the keys of its issuers.
func (d *daemon) generation(ctx context.Context, f *settings.File, old *generation) (_ *generation, err error) {
	if len(listeners(f)) == 0 {
		return nil, errors.New("expected forward_auth, authzen, admin or control: without any of them nobody could ask")
	}
	g := &generation{file: f, handlers: map[string]http.Handler{}, certificates: map[string]*tls.Certificate{}}
	for _, s := range listeners(f) {
		if s.tls != nil {
			certificate, err := tls.LoadX509KeyPair(s.tls.Certificate, s.tls.Key)
			if err != nil {
				return nil, fmt.Errorf("%s.tls: %w", s.name, err)
			}
			g.certificates[s.name] = &certificate
		}
	}
	key := keyOf(f)
	if old != nil && key.reuses(old.gate.key) {
		g.gate = old.gate
		g.gate.key.roles = key.roles // it knows those of old too, which are among them
	} else {
		if g.gate, err = d.openGate(ctx, f, old != nil && old.gate.Status().State.Serving()); err != nil {
			return nil, err
		}
		g.gate.key = key
	}
	defer func() {
		if err != nil && (old == nil || g.gate != old.gate) {
			err = errors.Join(err, g.gate.release())
		}
	}()
	var errs []error
	if f.ForwardAuth != nil {
		h, err := f.ForwardAuth.Handler(g.gate.Gate, f.Identity, d.Logger)
		errs = append(errs, err)
		g.proxy, g.handlers[forwardAuthSection] = h, h
	}
	if f.AuthZEN != nil {
		h, rules, err := f.AuthZEN.Handler(g.gate.Gate, d.Logger)
		errs = append(errs, err)
		g.questions, g.handlers[authZENSection] = rules, h
	}
	if f.Admin != nil {
		h, err := d.admin(g)
		errs = append(errs, err)
		g.handlers[adminSection] = h
	}
	g.handlers[controlSection] = d.control(g)
	return g, errors.Join(errs...)
}

func (d *daemon) openGate(ctx context.Context, f *settings.File, wait bool) (*sharedGate, error) {
	cfg, ready, release, err := f.ReadyGate(d.Logger)
	if err != nil {
		return nil, err
	}
	if d.idle {
		idle(&cfg)
	}
	cfg.StartEmpty = !wait
	if wait {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.ReloadWait)
		defer cancel()
		if err := ready(ctx); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	gate, err := rolegate.Open(ctx, cfg)
	if err != nil {
		return nil, errors.Join(settings.Named(err, settings.InFile), release())
	}
	shared := &sharedGate{Gate: gate, close: release, routes: &routes{}}
	of := console.Config{Routes: shared.routes.list, Logger: d.Logger}
	if f.Admin != nil {
		of.TrustedOrigins, of.Path = f.Admin.TrustedOrigins, f.Admin.ConsolePath
	}
	shared.console = console.New(gate, of)
	return shared, nil
}

// serve serves by the generation that is the current one when a request comes.
func (d *daemon) serve(name string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := d.enter()
		defer g.gate.active.Add(-1)
		if limit := writeTimeout(name, g.file); limit > 0 { // that of the server is by the first settings
			_ = http.NewResponseController(w).SetWriteDeadline(time.Now().Add(limit)) // which net/http's can
			if d.leaving.Load() {
				w.Header().Set("Connection", "close") // so that the proxy looks for another
			}
		}
		g.handlers[name].ServeHTTP(w, r)
	})
}

// enter returns the current generation, whose gate is not closed before active
// goes down again: whoever closes one has put another in its place first.
func (d *daemon) enter() *generation {
	for {
		g := d.now.Load()
		g.gate.active.Add(1)
		if d.now.Load() == g {
			return g
		}
		g.gate.active.Add(-1)
	}
}

// patience is how long requests by an old gate may go on before it is closed,
// which denies them.
const patience = 10 * time.Second

// end ends a generation that has been replaced. Its gate is closed when its last
// request has ended, or when over is closed, unless it goes on in next.
func (g *generation) end(over <-chan struct{}, next *generation, log *slog.Logger) {
	if g.gate == next.gate {
		return
	}
	deadline := time.NewTimer(patience)
	defer deadline.Stop()
	look := time.NewTicker(10 * time.Millisecond)
	defer look.Stop()
	for g.gate.active.Load() > 0 {
		select {
		case <-look.C:
			continue
		case <-deadline.C:
			log.Warn("the old gate is closed, although requests by it are under way", "after", patience)
		case <-over:
		}
		break
	}
	if err := g.gate.release(); err != nil {
		log.Warn("the old gate did not close well", "err", err)
	}
}
