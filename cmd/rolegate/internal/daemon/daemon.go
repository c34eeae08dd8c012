// Package daemon is the server of the command rolegate: a gate with a listener
// for a reverse proxy, one for programs that ask by OpenID AuthZEN and one for
// operators, by a settings file that it can read again while it runs.
package daemon

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// Options say what to run, and what to call.
type Options struct {
	Path   string // of the settings file
	Logger *slog.Logger
	Level  *slog.LevelVar // of Logger; log.level of the file is set in it

	// Reload has a value each time that the file is to be read again.
	Reload <-chan struct{}

	// Notify is called with what a service manager wants to know: READY=1 and
	// so on, as in sd_notify(3). Nil tells nobody.
	Notify func(state string)

	// Listening is called once, with the address of each listener by the name of
	// its section, as soon as connections are accepted. Nil tells nobody.
	Listening func(map[string]net.Addr)

	// ReloadWait is how long a new gate may take to read its first list, when a
	// changed file needs one: 2 min by default. Until then the old one serves.
	ReloadWait time.Duration

	// After is time.After by default; it says when drain of the settings is over.
	After func(time.Duration) <-chan time.Time
}

// A daemon is one run of the server.
type daemon struct {
	Options
	start   *settings.File // what the listeners were opened by
	now     atomic.Pointer[generation]
	leaving atomic.Bool // it is being shut down
	reloads reloads
	asks    chan reloadAsk // by the control socket
	gone    chan struct{}  // closed when nobody takes from asks any more
	over    chan struct{}  // closed when the listeners have ended
	idle    bool           // nothing is asked for
	ends    sync.WaitGroup // of generations that have been replaced
}

// Run serves until ctx ends. Then it is not ready any more, and answers for as long
// as drain in the settings says; and then it ends what is under way, for some
// seconds at most. It returns at once with an error if the settings file is wrong or a
// listener cannot be opened. While there is no list yet, requests are answered
// 503.
func Run(ctx context.Context, o Options) (err error) {
	if o.ReloadWait == 0 {
		o.ReloadWait = 2 * time.Minute
	}
	if o.After == nil {
		o.After = time.After
	}
	if o.Notify == nil {
		o.Notify = func(string) {}
	}
	file, err := settings.Load(o.Path)
	if err != nil {
		return &SettingsError{err}
	}
	d := &daemon{Options: o, start: file, asks: make(chan reloadAsk), gone: make(chan struct{}), over: make(chan struct{})}
	d.setLevel(file)
	first, err := d.generation(ctx, file, nil)
	if err != nil {
		return &SettingsError{settings.In(o.Path, err)}
	}
	d.now.Store(first)
	first.gate.routes.set(first)
	d.reloads.succeeded(time.Now())
	defer func() {
		close(d.over)
		d.ends.Wait()
		err = errors.Join(err, d.now.Load().gate.release())
	}()

	servers, err := d.listen(file)
	if err != nil {
		return err
	}
	failed := make(chan error, len(servers))
	var running sync.WaitGroup
	for _, s := range servers {
		running.Go(func() {
			if err := s.server.Serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
				failed <- fmt.Errorf("%s: %w", s.name, err)
			}
		})
	}
	defer running.Wait()
	if o.Listening != nil {
		addresses := map[string]net.Addr{}
		for _, s := range servers {
			addresses[s.name] = s.listener.Addr()
		}
		o.Listening(addresses)
	}
	o.Notify("READY=1")

	err = d.until(ctx, failed)
	o.Notify("STOPPING=1")
	d.leaving.Store(true)
	close(d.gone)
	if err == nil {
		err = d.drain(failed)
	}
	d.Logger.Info("shutting down")
	return errors.Join(err, shutDown(servers, d.Logger))
}

// drain goes on serving until whoever sends requests has seen that the server is
// not ready any more, or until a listener has failed.
func (d *daemon) drain(failed <-chan error) error {
	wait := time.Duration(d.now.Load().file.Drain)
	if wait == 0 {
		return nil
	}
	d.Logger.Info("not ready any more: still answering", "drain", wait)
	select {
	case <-d.After(wait):
		return nil
	case err := <-failed:
		return err
	}
}

// until reads the settings file again whenever that is asked for, until ctx ends
// or a listener has failed.
func (d *daemon) until(ctx context.Context, failed <-chan error) error {
	ctx, stop := context.WithCancel(ctx)
	var under *attempt // nil: none
	defer func() {
		stop()
		if under != nil {
			<-under.done
			d.finish(ctx, under)
		}
	}()
	for {
		var done <-chan struct{}
		if under != nil {
			done = under.done
		}
		select {
		case <-d.Reload:
			under = d.ask(ctx, under, reloadAsk{ctx: context.Background()})
		case a := <-d.asks:
			under = d.ask(ctx, under, a)
		case <-done:
			d.finish(ctx, under)
			under = nil
		case err := <-failed:
			return err
		case <-ctx.Done():
			return nil
		}
	}
}

// A SettingsError is a mistake in the settings file.
type SettingsError struct{ err error }

func (e *SettingsError) Error() string { return e.err.Error() }

func (e *SettingsError) Unwrap() error { return e.err }

func (d *daemon) setLevel(f *settings.File) {
	if d.Level != nil {
		d.Level.Set(f.Log.Level)
	}
}
