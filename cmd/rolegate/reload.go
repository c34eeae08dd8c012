package main

import (
	"errors"
	"fmt"
	"net/http"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
)

func newReload() *cobra.Command {
	var server serverFlags
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a running server read its settings file again",
		Long: `reload has the server that runs on this machine read its settings file again, as
SIGHUP does, and waits for what becomes of it. If anything in the file is wrong,
the old settings go on, and reload says what it is; the exit code is 2 then.

Nobody is denied meanwhile. Where the file says something else of the marketplace
or the list, the new list is read first, for two minutes at most; if it cannot be
had, the old settings go on too, and the exit code is 1.`,
		Example: `  rolegate reload -c rolegate.yaml
  kubectl exec deploy/rolegate -- rolegate reload`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			client, err := server.client()
			if err != nil {
				return err
			}
			err = client.Reload(cmd.Context())
			switch refused := (*control.RefusedError)(nil); {
			case errors.As(err, &refused) && refused.Status == http.StatusUnprocessableEntity:
				return usage(fmt.Errorf("the settings file is refused, and the old settings go on: %w", err))
			case errors.As(err, &refused):
				return fmt.Errorf("the old settings go on: %w", err)
			}
			if err == nil {
				fmt.Fprintln(cmd.OutOrStdout(), "the settings are in use")
			}
			return err
		},
	}
	server.add(cmd)
	return cmd
}
