package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/doctor"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

func newDoctor(l lang.Language) *cobra.Command {
	var (
		market  marketplaceFlags
		asJSON  bool
		timeout time.Duration
	)
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Try the marketplace, and say what is wrong",
		Long: `doctor tries what a gate will depend on: the address, the token and the app id,
one page of the list, its ids, sequences and roles, clocks and caches on the
way. For each thing that is not fine it says what that means and what to do. It
sends the marketplace a handful of requests, and prints no secret, account,
e-mail address or name.

` + marketplaceHelp + `

With -c the rest of the file is tried as well: the rules, the cache file or
Redis, 云上指挥, the issuers, the addresses that are listened on and the control
socket. Nothing is changed.

Exit codes: 0 all is fine, warnings aside; 1 it was ended before all was tried;
2 the call or the settings file is wrong; 3 something else is wrong.`,
		Example: `  rolegate doctor --url https://market.example.com/api --app-id school
  rolegate doctor -c rolegate.yaml --lang zh
  rolegate doctor -c rolegate.yaml --json | jq -r '.findings[] | select(.state == "wrong") | .name'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if timeout <= 0 {
				return usage(fmt.Errorf("--timeout %v: expected more than 0", timeout))
			}
			out := cmd.OutOrStdout()
			report := doctor.NewReport(out, doctor.In(l), os.Getenv)
			if asJSON {
				report = doctor.NewReport(nil, doctor.In(l), os.Getenv)
			}
			whole, err := examine(cmd.Context(), &market, timeout, report)
			if err != nil {
				return err
			}
			if asJSON {
				err = report.JSON(out, whole)
			} else {
				err = report.End(whole)
			}
			switch {
			case err != nil:
				return err
			case report.SettingsWrong():
				return &codedError{code: exitUsage}
			case report.Count(doctor.Wrong) > 0:
				return no()
			case !whole:
				return &codedError{code: exitFailed}
			}
			return nil
		},
	}
	market.add(cmd)
	cmd.Flags().BoolVar(&asJSON, "json", false, "print one JSON object, at the end")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "how long all of it may take")
	return cmd
}

// examine reads the settings and tries what they name. whole is whether all of
// it was tried; the error is one of the call.
func examine(ctx context.Context, market *marketplaceFlags, timeout time.Duration, report *doctor.Report) (whole bool, err error) {
	file, err := market.settings()
	switch {
	case err != nil && market.file == "":
		return false, err
	case err != nil:
		for _, mistake := range strings.Split(err.Error(), "\n") {
			report.Add(doctor.New("settings.file_wrong", mistake))
		}
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	return doctor.Run(ctx, doctor.Options{File: file, Path: market.file, Say: report.Add}) == nil, nil
}
