package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

func newReload(l lang.Language) *cobra.Command {
	var server serverFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running server read its settings file again",
		Long: `reload has the server that runs on this machine read its settings file again, as
SIGHUP does, and waits for what becomes of it. If anything in the file is wrong,
the old settings go on, and reload says what it is; the exit code is 2 then.

Nobody is denied meanwhile. Where the file says something else of the marketplace
or the list, the new list is read first, for two minutes at most; if it cannot be
had, the old settings go on too, and the exit code is 1. Ctrl-C gives it up, and so
does a newer reload of another file.

Role codes that the new settings name and nobody has are told; the exit code is 0.`,
		Example: `  rolegate reload -c rolegate.yaml
  kubectl exec deploy/rolegate -- rolegate reload`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := server.client()
			if err != nil {
				return err
			}
			told, err := reload(cmd.Context(), client, cmd.ErrOrStderr(), l)
			switch refused := (*control.RefusedError)(nil); {
			case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
				return usage(fmt.Errorf("the settings file is refused, and the old settings go on: %w", err))
			case errors.As(err, &refused):
				return fmt.Errorf("the old settings go on: %w", err)
			case err != nil && cmd.Context().Err() != nil:
				return errors.New("interrupted: the old settings go on")
			case err != nil:
				return err
			}
			out := cmd.OutOrStdout()
			fmt.Fprintln(out, l.Sprintf("the settings are in use"))
			for _, r := range told.UnassignedRoles {
				fmt.Fprintln(out, oneLine(unassigned(l, r)))
			}
			return nil
		},
	}
	server.add(cmd)
	return cmd
}

// reload has the server read its file again, and says so if that takes long.
func reload(ctx context.Context, client *control.Client, log io.Writer, l lang.Language) (told *control.Reloaded, err error) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		told, err = client.Reload(ctx)
	}()
	long := time.NewTimer(time.Second)
	defer long.Stop()
	select {
	case <-done:
	case <-long.C:
		fmt.Fprintln(log, l.Sprintf("waiting for the first list of the new settings, for 2m at most; the old ones go on meanwhile; Ctrl-C gives up"))
		<-done
	}
	return told, err
}
