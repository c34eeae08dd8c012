// A school app on gin: sessions by cookie for browsers, HS256 tokens for its
// mobile app, roles in each organisation, a live feed, the console and metrics. It
// takes the marketplace from ROLEGATE_BASE_URL, ROLEGATE_APP_ID and
// ROLEGATE_ACCESS_TOKEN, and the secret of its tokens from SCHOOL_TOKEN_SECRET.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/gin-gonic/gin"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/console"
	"github.com/rolegate/rolegate/gingate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/promgate"
)

// routes are the app's. Everything but the login is guarded.
func (s *school) routes(gate *rolegate.Gate) http.Handler {
	r := gin.New()
	r.Use(gin.Recovery())
	r.POST("/login", s.login)

	app := r.Group("/", gingate.Admit(gate)) // on the list, or out
	app.Any("/console/*page", gingate.Require(gate, rolegate.AnyRole("operator")), gin.WrapH(console.New(gate, console.Config{Name: "school"})))
	in := rolegate.InOrg(rolegate.PathOrg("orgID"))
	report := gate.Policy(rolegate.AnyRole("teacher", "admin"), in)
	org := app.Group("/orgs/:orgID")
	org.POST("/reports", gingate.Guard(report), func(c *gin.Context) {
		id, _ := gingate.Org(c)
		user, _ := gingate.User(c)
		s.hub.tell(id, fmt.Sprintf("user %d filed a report", user.ID()))
		c.String(http.StatusOK, "report filed for %d", id)
	})
	org.GET("/feed", gingate.Require(gate, rolegate.AnyRole("teacher"), in, rolegate.EndOnRevoke()), s.feed)

	// Which menus and buttons the front end shows.
	r.GET("/me", gin.WrapH(gate.Permissions(map[string]*rolegate.Policy{"reports.file": report})))
	return r
}

// operations are for Prometheus and for whoever spreads requests over replicas: on
// a listener of their own that clients do not reach. A server that is to end, or
// that has no list that is young enough, is not ready.
func operations(gate *rolegate.Gate, leaving *atomic.Bool) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(promgate.New(gate, nil))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if leaving.Load() || !gate.Status().State.Serving() {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	})
	return mux
}

// run serves until ctx ends. Then it is not ready any more, and answers all the same
// for s.drain, so that whoever sends requests can send them elsewhere; it ends the
// feeds, and lets the other requests under way finish.
func run(ctx context.Context, clients, operators net.Listener, s *school, source rolegate.Source) error {
	opening, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	gate, err := rolegate.Open(opening, rolegate.Config{Source: source, Identify: s.identify(), Challenge: `Cookie realm="school"`})
	if err != nil {
		return err
	}
	defer gate.Close()
	var leaving atomic.Bool
	servers := []*http.Server{
		{Handler: s.routes(gate), ReadHeaderTimeout: 10 * time.Second},
		{Handler: operations(gate, &leaving), ReadHeaderTimeout: 10 * time.Second},
	}
	servers[0].RegisterOnShutdown(gate.EndStreams) // which would hold it up
	failed := make(chan error, len(servers))
	for i, listener := range []net.Listener{clients, operators} {
		go func() { failed <- servers[i].Serve(listener) }()
	}
	select {
	case <-ctx.Done():
		leaving.Store(true)
		select {
		case <-time.After(s.drain):
		case err = <-failed:
		}
	case err = <-failed:
	}
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second)
	defer cancel()
	for _, server := range servers {
		err = errors.Join(err, server.Shutdown(ending))
	}
	return err
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	s, err := newSchool([]byte(os.Getenv("SCHOOL_TOKEN_SECRET")))
	if err != nil {
		log.Fatal(err)
	}
	source := marketplace.New(marketplace.Config{
		BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
		Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
	})
	clients, err := net.Listen("tcp", "127.0.0.1:8080")
	if err != nil {
		log.Fatal(err)
	}
	operators, err := net.Listen("tcp", "127.0.0.1:9092")
	if err != nil {
		log.Fatal(err)
	}
	if err := run(ctx, clients, operators, s, source); err != nil {
		log.Fatal(err)
	}
}
