// Package fake is the marketplace that the command rolegate fake serves: that of
// package rolegatetest with users on its list, faults that come and go, and a
// way to change it by hand while it runs.
package fake

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Config says what is served.
type Config struct {
	Marketplace rolegatetest.MarketplaceConfig

	Users int      // how many are generated, besides the demo users
	Orgs  int      // over how many organisations they are spread, at least 1
	Roles []string // what roles they have, at least one
	Seed  uint64   // of the users and of the faults that strike at random

	Writes float64       // users who are changed each second
	Lag    time.Duration // every second reply is from a list as it was so long ago
	Tied   bool          // all users begin with one and the same sequence

	Faults []*Fault

	CloudCommand bool // serve 云上指挥 as well

	// Settings is a settings file for this fake, which GET /_fake/settings has.
	Settings string

	Lang lang.Language // of what is below /_fake/
	Log  *slog.Logger  // one line for each request; nil: none
}

// A Server is the fake marketplace, 云上指挥 if it is asked for, and below
// /_fake/ the means to change both.
type Server struct {
	market  *rolegatetest.Marketplace
	cloud   *rolegatetest.CloudCommand // nil without
	control http.Handler
	moving  http.Handler // the marketplace, with what happens while it is read
	faults  *faults
	cfg     Config
}

// New returns a server whose list has the users of cfg.
func New(cfg Config) (*Server, error) {
	s := &Server{market: rolegatetest.NewMarketplace(cfg.Marketplace), faults: newFaults(cfg.Seed), cfg: cfg}
	s.control = s.newControl()
	for _, u := range Demo() {
		s.market.Put(u.User)
	}
	generate(s.market, cfg.Users, cfg.Orgs, cfg.Roles, cfg.Seed)
	s.market.SetRoles(codes(cfg.Roles)...)
	if cfg.Tied {
		var all []int64
		for _, u := range s.market.Users() {
			all = append(all, u.ID)
		}
		s.market.TouchTied(all...)
	}
	s.moving = moving(s.market, cfg)
	if cfg.CloudCommand {
		s.cloud = rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	}
	for _, f := range cfg.Faults {
		if err := s.Fail(f); err != nil {
			return nil, err
		}
	}
	return s, nil
}

// Marketplace returns the marketplace.
func (s *Server) Marketplace() *rolegatetest.Marketplace { return s.market }

// Fail lets requests meet with f.
func (s *Server) Fail(f *Fault) error {
	if f.cloud && s.cloud == nil {
		return fmt.Errorf("fault %q: expected --cloud-command too, or else there is no 云上指挥 here", f)
	}
	strikes := s.faults.add(f)
	fault := func(w http.ResponseWriter, r *http.Request, normal http.Handler) {
		if n, ok := r.Context().Value(noteKey{}).(*note); ok {
			n.fault = f.text
		}
		f.fault(w, r, normal)
	}
	if f.cloud {
		s.cloud.FailWhen(func(rolegatetest.CloudRequest) bool { return strikes(false, false) }, fault)
	} else {
		s.market.FailWhen(func(q rolegatetest.Request) bool { return strikes(q.BeginsFullRefresh(), q.GoesOn()) }, fault)
	}
	return nil
}

// Recover ends all faults.
func (s *Server) Recover() {
	s.faults.clear()
	s.market.Recover()
	if s.cloud != nil {
		s.cloud.Recover()
	}
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path+"/" == controlPrefix {
		http.Redirect(w, r, controlPrefix, http.StatusPermanentRedirect)
		return
	}
	if strings.HasPrefix(r.URL.Path, controlPrefix) {
		s.control.ServeHTTP(w, r)
		return
	}
	// No ServeMux: it would fix paths, and the marketplace does not.
	fake := s.moving
	if s.cloud != nil && (r.URL.Path == rolegatetest.DefaultCheckPath || r.URL.Path == rolegatetest.DefaultTokenPath) {
		fake = s.cloud
	}
	if s.cfg.Log == nil {
		fake.ServeHTTP(w, r)
		return
	}
	n := &note{ResponseWriter: w}
	began := time.Now()
	query := r.URL.Query()
	defer func() { // also when a fault aborts
		args := []any{"method", r.Method, "path", r.URL.Path}
		for _, name := range []string{"lastSequence", "limit"} {
			if number, ok := decimal(query.Get(name)); ok { // of the query nothing else: it has the token
				args = append(args, name, number)
			}
		}
		args = append(args, "status", n.status, "bytes", n.bytes, "took", time.Since(began).Round(time.Millisecond))
		if n.fault != "" {
			args = append(args, "fault", n.fault)
		}
		s.cfg.Log.Info("request", args...)
	}()
	fake.ServeHTTP(n, r.WithContext(context.WithValue(r.Context(), noteKey{}, n)))
}

type noteKey struct{}

// A note is what the log tells of an answer.
type note struct {
	http.ResponseWriter
	status, bytes int
	fault         string
}

// WriteHeader implements http.ResponseWriter.
func (n *note) WriteHeader(status int) {
	if n.status == 0 && status >= 200 {
		n.status = status
	}
	n.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (n *note) Write(p []byte) (int, error) {
	if n.status == 0 {
		n.status = http.StatusOK
	}
	written, err := n.ResponseWriter.Write(p)
	n.bytes += written
	return written, err
}

// Unwrap lets http.ResponseController through.
func (n *note) Unwrap() http.ResponseWriter { return n.ResponseWriter }

// patience is how long requests may go on after the server was told to end.
const patience = time.Second

// Serve serves on ln until ctx ends, and returns when no request is being
// answered any more. Those that hang lose their connections.
func (s *Server) Serve(ctx context.Context, ln net.Listener) error {
	var connections sync.WaitGroup
	server := &http.Server{
		Handler:           s,
		ReadHeaderTimeout: 10 * time.Second,
		ErrorLog:          slog.NewLogLogger(slog.DiscardHandler, slog.LevelError), // clients that go away
		// Close does not wait for handlers; a connection's last state comes
		// after its handler has returned, and its first before Serve does.
		ConnState: func(_ net.Conn, state http.ConnState) {
			switch state {
			case http.StateNew:
				connections.Add(1)
			case http.StateClosed, http.StateHijacked:
				connections.Done()
			}
		},
	}
	served := make(chan error, 1)
	go func() { served <- server.Serve(ln) }()
	var err error
	select {
	case err = <-served:
	case <-ctx.Done():
		limited, cancel := context.WithTimeout(context.WithoutCancel(ctx), patience)
		defer cancel()
		_ = server.Shutdown(limited) // what it leaves, Close ends
		err = <-served
	}
	_ = server.Close()
	connections.Wait()
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}
