// Package school is the app of the example commands: a school behind a
// rolegate.Gate, and a walk-through that shows what becomes of requests.
package school

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
)

// A Share opens the cache by which replicas share one list, at that address.
// real is false with the fake marketplace, for which a secret is not needed.
type Share func(addr string, real bool, getenv func(string) string) (cache rolegate.Cache, stop func() error, err error)

// Main is the main of a command of that name. A nil share has no flag -redis.
func Main(name string, share Share) {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr, share)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
		os.Exit(1)
	}
}

// run is the whole program until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer, share Share) (err error) {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "the `address` to serve on")
	cache := flags.String("cache", "", "the `file` to keep the last good list in; none keeps nothing")
	redis := new(string)
	if share != nil {
		redis = flags.String("redis", "127.0.0.1:6379", "the `address` of the Redis by which replicas share one list")
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	set, err := readSettings(getenv)
	if err != nil {
		return err
	}
	switch {
	case share != nil && *cache != "":
		return errors.New("leave out -cache: what is in Redis outlives a restart too")
	case share != nil:
		shared, stop, err := share(*redis, set.real, getenv)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, stop()) }()
		set.cache = shared
	case *cache != "":
		set.cache = filecache.New(*cache)
		set.file = *cache
	}
	ln, err := net.Listen("tcp", *addr)
	if err != nil {
		return fmt.Errorf("%w (choose another address with -addr)", err)
	}
	defer ln.Close()

	log := newReasonLog(slog.NewTextHandler(stderr, nil))
	var d *demo
	if !set.real {
		d, err = startDemo(&set)
		if err != nil {
			return err
		}
		defer d.stop()
		set.login = newLogin(admin)
		log.hush(true) // until the table is printed
	}
	cfg := set.config()
	cfg.Logger = slog.New(log)
	cfg.OnChange = func(c rolegate.Change) {
		cfg.Logger.Info("the list has changed", "full", c.Full, "added", len(c.Added), "removed", len(c.Removed), "changed", len(c.Changed), "published", c.Time)
	}
	gate, err := rolegate.Open(ctx, cfg)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, gate.Close()) }()

	router := routes(gate)
	if set.login != nil {
		router.Get("/login", set.login.begin)
	}
	server := &http.Server{Handler: router, ReadHeaderTimeout: 10 * time.Second}
	server.RegisterOnShutdown(gate.EndStreams) // which would hold it up
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	url := "http://" + ln.Addr().String()
	fmt.Fprintf(stdout, "serving on %s\n", url)
	if d != nil {
		if err := d.walkThrough(ctx, url, gate, log, stdout); err != nil && ctx.Err() == nil {
			return errors.Join(err, server.Close())
		}
		log.hush(false)
		d.printCurl(stdout, url)
		fmt.Fprintf(stdout, "The console, as the admin, in a browser on this machine:\n\n  %s\n\n", set.login.url(url))
		d.printRestart(stdout, &set)
		fmt.Fprintln(stdout, "Ctrl-C ends it.")
	}

	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	}
	fmt.Fprintln(stdout, "shutting down")
	patience, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return server.Shutdown(patience)
}
