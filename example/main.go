// Command example is a school app on chi behind a rolegate.Gate.
//
//	go run ./example
//
// starts it together with a fake marketplace, sends it a walk-through of
// requests, prints what became of each, and goes on serving. With
// ROLEGATE_BASE_URL, ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN set it uses that
// marketplace instead, without a walk-through. ROLEGATE_REFRESH and
// ROLEGATE_RESYNC are how often it pulls changes and walks the whole list.
//
// With -cache FILE it keeps the last good list in that file, so that it serves
// at once when it is started while the marketplace is away. The folder of the
// file must be writable by nobody else. The fake marketplace ends with the
// program, and the next one is another: the walk-through ends with the command
// that starts the app with the list of the one that is gone.
//
// With -redis ADDR it shares the list with all that use the same Redis: one of
// them pulls from the marketplace, the others follow it. ROLEGATE_REDIS_SECRET is
// the secret that they have in common, ROLEGATE_REDIS_PASSWORD the password of
// that Redis if it has one, and ROLEGATE_REDIS_LEASE how long it takes until
// another one replaces the one that pulls, if that dies.
//
// Users come from the header X-User-Id, which is believed only from this
// machine: a real app has a login. Browsers send no such header: the
// walk-through prints an address with a secret key in it, by which one becomes
// the admin and sees the console.
package main

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
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := run(ctx, os.Args[1:], os.Getenv, os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(2)
	case err != nil:
		fmt.Fprintln(os.Stderr, "example:", err)
		os.Exit(1)
	}
}

// run is the whole program until ctx ends.
func run(ctx context.Context, args []string, getenv func(string) string, stdout, stderr io.Writer) (err error) {
	flags := flag.NewFlagSet("example", flag.ContinueOnError)
	flags.SetOutput(stderr)
	addr := flags.String("addr", "127.0.0.1:8080", "the `address` to serve on")
	cache := flags.String("cache", "", "the `file` to keep the last good list in; none keeps nothing")
	redis := flags.String("redis", "", "the `address` of a Redis by which replicas share one list, such as 127.0.0.1:6379")
	if err := flags.Parse(args); err != nil {
		return err
	}
	set, err := readSettings(getenv)
	if err != nil {
		return err
	}
	set.cache = *cache
	if *redis != "" {
		if err := set.share(*redis, getenv); err != nil {
			return err
		}
		defer set.redis.Close()
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
		cfg.Logger.Info("the list has changed", "walk", c.Walk, "added", len(c.Added), "removed", len(c.Removed), "changed", len(c.Changed), "swapped", c.Time)
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
	server.RegisterOnShutdown(func() { _ = gate.Close() }) // ends the streams, which would hold it up
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
