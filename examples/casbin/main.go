// A school app that moves from casbin and chi-authz to rolegate, one step at a
// time: MOVE says which (tried, both, or nothing for the end). Run it in its own
// folder, for casbin's files; it takes the marketplace from ROLEGATE_BASE_URL,
// ROLEGATE_APP_ID and ROLEGATE_ACCESS_TOKEN. docs/migrating.md shows its parts.
package main

import (
	"cmp"
	"context"
	"log"
	"log/slog"
	"net/http"
	"os"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
)

func main() {
	e, err := loadEnforcers()
	if err != nil {
		log.Fatal(err)
	}
	source := marketplace.New(marketplace.Config{
		BaseURL: os.Getenv("ROLEGATE_BASE_URL"), AppID: os.Getenv("ROLEGATE_APP_ID"),
		Token: marketplace.TokenFunc(func(context.Context) (string, error) { return os.Getenv("ROLEGATE_ACCESS_TOKEN"), nil }),
	})
	app, gate, err := start(context.Background(), os.Getenv("MOVE"), e, config(source, checkPassword))
	if err != nil {
		log.Fatal(err)
	}
	defer gate.Close()
	log.Println(http.ListenAndServe("127.0.0.1:8080", app))
}

// start opens a gate for one of the steps, and the app behind it.
func start(ctx context.Context, step string, e enforcers, cfg rolegate.Config) (http.Handler, *rolegate.Gate, error) {
	cfg.ShadowAdmit = step == "tried"
	gate, err := rolegate.Open(ctx, cfg)
	if err != nil {
		return nil, nil, err
	}
	switch step {
	case "tried":
		return after(gate, tried(gate, authorizer(e.routes)), handlersOf(e)), gate, nil
	case "both":
		return after(gate, both(gate, authorizer(e.routes), cmp.Or(cfg.Logger, slog.Default())), handlersOf(e)), gate, nil
	default:
		return after(gate, gate.Require, plainHandlers()), gate, nil
	}
}

// checkPassword knows nobody: look in your own users here.
func checkPassword(name, password string) bool { return false }
