// A school app on gin: sessions by cookie for browsers, HS256 tokens for its
// mobile app, roles in each organisation, a live feed, the console and metrics. It
// takes the marketplace from ROLEGATE_BASE_URL, ROLEGATE_APP_ID and
// ROLEGATE_ACCESS_TOKEN, and the secret of its tokens from SCHOOL_TOKEN_SECRET.
package main

import (
	"context"
	"errors"
	"log"
	"net"
	"net/http"
	"os"
	"os/signal"
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
		c.String(http.StatusOK, "report filed for %d", id)
	})
	org.GET("/feed", gingate.Require(gate, rolegate.AnyRole("teacher"), in, rolegate.EndOnRevoke()), s.feed)

	// Which menus and buttons the front end shows.
	r.GET("/me", gin.WrapH(gate.Permissions(map[string]*rolegate.Policy{"reports.file": report})))
	return r
}

// feed sends what happens in an organisation, until the client leaves or the
// user loses the role.
func (s *school) feed(c *gin.Context) {
	c.Header("Content-Type", "text/event-stream")
	c.Writer.WriteHeaderNow()
	c.Writer.Flush()
	for {
		select {
		case <-c.Request.Context().Done():
			return
		case event := <-s.events:
			if c.Request.Context().Err() == nil {
				c.SSEvent("news", event)
				c.Writer.Flush()
			}
		}
	}
}

// operations are for Prometheus: on a listener of their own that clients do not
// reach.
func operations(gate *rolegate.Gate) http.Handler {
	registry := prometheus.NewRegistry()
	registry.MustRegister(promgate.New(gate, nil))
	mux := http.NewServeMux()
	mux.Handle("GET /metrics", promhttp.HandlerFor(registry, promhttp.HandlerOpts{}))
	return mux
}

// run serves until ctx ends, and then lets requests under way finish.
func run(ctx context.Context, clients, operators net.Listener, s *school, source rolegate.Source) error {
	opening, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	gate, err := rolegate.Open(opening, rolegate.Config{Source: source, Identify: s.identify(), Challenge: `Cookie realm="school"`})
	if err != nil {
		return err
	}
	defer gate.Close()
	servers := []*http.Server{
		{Handler: s.routes(gate), ReadHeaderTimeout: 10 * time.Second},
		{Handler: operations(gate), ReadHeaderTimeout: 10 * time.Second},
	}
	servers[0].RegisterOnShutdown(gate.EndStreams) // which would hold it up
	failed := make(chan error, len(servers))
	for i, listener := range []net.Listener{clients, operators} {
		go func() { failed <- servers[i].Serve(listener) }()
	}
	select {
	case <-ctx.Done():
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
