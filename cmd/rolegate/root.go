package main

import (
	"errors"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
)

// streams are what the program reads from and writes to.
type streams struct {
	in       io.Reader
	out, err io.Writer
	program  string // as it was called; "" is rolegate
}

func newRoot(std streams, l lang.Language) *cobra.Command {
	name := "" // of the language, which l is already
	root := &cobra.Command{
		Use:   "rolegate",
		Short: "Admit only users that the marketplace has authorised",
		Long: `rolegate keeps the marketplace's list of authorised users in memory, and tells
a reverse proxy, or whoever asks by OpenID AuthZEN, who may pass.

Exit codes: 0 done, 1 it could not be done, 2 the call or the settings file is
wrong, 3 it was done and the answer is no (why: denied; status: not serving;
doctor: something is wrong; pull: some records could not be understood).

No command takes a secret as an argument, which other users of the machine could
read: they come from environment variables and files.`,
		Example: `  rolegate fake &                          # a marketplace to try it with
  rolegate doctor --url http://127.0.0.1:9400 --app-id test-app
  rolegate serve -c rolegate.yaml
  rolegate why 1542135022016057002 'GET /grades' -c rolegate.yaml
  source <(rolegate completion bash)`,
		SilenceUsage:  true,
		SilenceErrors: true,
		RunE:          func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetIn(std.in)
	root.SetOut(std.out)
	root.SetErr(std.err)
	root.AddCommand(newServe(l), newWhy(l), newStatus(l), newReload(l), newDoctor(l), newPull(l), newFake(std.program, l), newVersion())
	for _, cmd := range root.Commands() {
		if run := cmd.RunE; run != nil {
			cmd.RunE = func(cmd *cobra.Command, args []string) error { return ran(run(cmd, args)) }
		}
	}
	root.InitDefaultCompletionCmd() // which says of a shell that it does not know no more than how it is used
	if completion, _, err := root.Find([]string{"completion"}); err == nil && completion != root {
		completion.Args = cobra.NoArgs
		completion.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		for _, shell := range completion.Commands() {
			shell.Args = cobra.NoArgs
		}
	}
	root.PersistentFlags().StringVar(&name, "lang", "", "the `language`, en or zh (that of LC_ALL, LC_MESSAGES or LANG)")
	_ = root.RegisterFlagCompletionFunc("lang", cobra.FixedCompletions([]string{"en", "zh"}, cobra.ShellCompDirectiveNoFileComp))
	root.PersistentPreRunE = func(*cobra.Command, []string) error {
		_, err := lang.For(name, os.Getenv)
		return usage(err)
	}
	if l == lang.Chinese {
		speakChinese(root)
	}
	return root
}

// marketplaceFlags are how a command finds the marketplace: in a settings file,
// or by flags and the environment.
type marketplaceFlags struct {
	file, url, appID, path, tokenEnv, tokenFile string
}

const (
	urlVariable   = "ROLEGATE_BASE_URL"
	appIDVariable = "ROLEGATE_APP_ID"
	tokenVariable = "ROLEGATE_ACCESS_TOKEN"
)

// marketplaceHelp says where a command finds the marketplace.
const marketplaceHelp = `The marketplace is that of the settings file (-c), or that of --url and --app-id,
or of the variables ` + urlVariable + ` and ` + appIDVariable + `. The token is read from the
variable ` + tokenVariable + `, unless the file, --token-env or --token-file says
something else.`

func (f *marketplaceFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVarP(&f.file, "config", "c", "", "take the marketplace from this settings `file`")
	flags.StringVar(&f.url, "url", "", "where the marketplace's interface begins ($"+urlVariable+")")
	flags.StringVar(&f.appID, "app-id", "", "the client id of the app ($"+appIDVariable+")")
	flags.StringVar(&f.path, "path", "", "what is asked for below the URL (app/user/list)")
	flags.StringVar(&f.tokenEnv, "token-env", "", "the environment `variable` with the access token ("+tokenVariable+")")
	flags.StringVar(&f.tokenFile, "token-file", "", "the `file` with the access token")
	cmd.MarkFlagsMutuallyExclusive("token-env", "token-file")
	for _, name := range []string{"url", "app-id", "path", "token-env", "token-file"} {
		cmd.MarkFlagsMutuallyExclusive("config", name)
	}
	_ = cmd.MarkFlagFilename("config", "yaml", "yml")
	_ = cmd.MarkFlagFilename("token-file")
}

// settings returns the whole settings file, or one that has nothing but the
// marketplace.
func (f *marketplaceFlags) settings() (*settings.File, error) {
	if f.file != "" {
		file, err := settings.Load(f.file)
		return file, usage(err)
	}
	m := settings.Marketplace{URL: f.url, AppID: f.appID, Path: f.path, Token: settings.Secret{Env: tokenVariable}}
	if m.URL == "" {
		m.URL = os.Getenv(urlVariable)
	}
	if m.AppID == "" {
		m.AppID = os.Getenv(appIDVariable)
	}
	switch {
	case f.tokenEnv != "":
		m.Token = settings.Secret{Env: f.tokenEnv}
	case f.tokenFile != "":
		m.Token = settings.Secret{File: f.tokenFile}
	}
	var errs []error
	if m.URL == "" {
		errs = append(errs, errors.New("where is the marketplace? give --url, "+urlVariable+" or a settings file with -c"))
	}
	if m.AppID == "" {
		errs = append(errs, errors.New("which app is it? give --app-id, "+appIDVariable+" or a settings file with -c"))
	}
	if m.URL != "" && !strings.Contains(m.URL, "://") {
		errs = append(errs, errors.New("the marketplace's URL (--url, "+urlVariable+"): expected http:// or https:// in front"))
	}
	if err := errors.Join(errs...); err != nil {
		return nil, usage(err)
	}
	return &settings.File{Marketplace: m}, nil
}
