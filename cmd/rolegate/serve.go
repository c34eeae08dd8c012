package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"

	systemd "github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/daemon"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

func newServe(l lang.Language) *cobra.Command {
	var file string
	var check bool
	cmd := &cobra.Command{
		Use:   "serve -c FILE",
		Short: "Answer a reverse proxy, or programs that ask by OpenID AuthZEN",
		Long: `serve runs a gate by a settings file: it keeps the marketplace's list in memory,
and answers a reverse proxy that asks before it passes a request on (nginx,
Traefik, Caddy, Envoy, HAProxy), programs that ask by OpenID AuthZEN 1.0, and
operators. Until there is a list, everything is denied with 503.

On SIGHUP, or when rolegate reload asks for it, it reads the file again, without
denying anybody meanwhile. If anything in the file is wrong, the log says what, and
the old settings go on. Addresses to listen on are changed by a restart.

The settings file is YAML. docs/command.md explains it, docs/rolegate.yaml shows
all of it. No secret is in it, only in which variable or file each one is.`,
		Example: `  rolegate serve -c rolegate.yaml
  rolegate serve -c rolegate.yaml --check     # only look whether the file is right
  kill -HUP "$(pidof rolegate)"               # read the file again`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			f, err := settings.Load(file)
			if err != nil {
				return usage(err)
			}
			if check {
				if err := errors.Join(daemon.Check(cmd.Context(), f), daemon.CheckSockets(f)); err != nil {
					return usage(settings.In(file, err))
				}
				fmt.Fprintln(cmd.OutOrStdout(), l.Sprintf("%s is right", file))
				return nil
			}
			return serve(cmd.Context(), file, f.Log, cmd.OutOrStdout(), cmd.ErrOrStderr(), l)
		},
	}
	cmd.Flags().StringVarP(&file, "config", "c", "", "the settings `file`")
	cmd.Flags().BoolVar(&check, "check", false, "look whether the file is right, and serve nothing")
	_ = cmd.MarkFlagRequired("config")
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	return cmd
}

// serve serves until ctx ends.
func serve(ctx context.Context, file string, log settings.Log, out, errs io.Writer, l lang.Language) error {
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	defer signal.Stop(hangUps)
	reload := make(chan struct{}, 1) // one that waits stands for all that come meanwhile
	done := make(chan struct{})
	defer close(done)
	go func() {
		for {
			select {
			case <-hangUps:
			case <-done:
				return
			}
			select {
			case reload <- struct{}{}:
			default:
			}
		}
	}()

	var level slog.LevelVar
	options := &slog.HandlerOptions{Level: &level, ReplaceAttr: inFile}
	var handler slog.Handler = slog.NewTextHandler(errs, options)
	if log.Format == "json" {
		handler = slog.NewJSONHandler(errs, options)
	}
	err := daemon.Run(ctx, daemon.Options{
		Path: file, Logger: slog.New(handler), Level: &level, Reload: reload,
		Notify: func(state string) { _, _ = systemd.SdNotify(false, state) }, // without systemd there is nobody to tell
		Listening: func(addresses map[string]net.Addr) {
			var names []string
			for name := range addresses {
				names = append(names, name)
			}
			slices.Sort(names)
			var lines strings.Builder
			for _, name := range names {
				lines.WriteString(l.Sprintf("%s is on %s", name, addresses[name]) + "\n")
			}
			_, _ = io.WriteString(out, lines.String())
		},
	})
	if wrong := (*daemon.SettingsError)(nil); errors.As(err, &wrong) {
		return usage(err)
	}
	return err
}

// inFile has errors in the log name the keys of the settings file.
func inFile(_ []string, a slog.Attr) slog.Attr {
	if err, ok := a.Value.Any().(error); ok {
		a.Value = slog.StringValue(settings.InFile(err.Error()))
	}
	return a
}
