package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net"
	"slices"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/fake"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/rolegatetest"
)

// fakeFlags are the flags of rolegate fake.
type fakeFlags struct {
	program                            string // as it was called
	lang                               lang.Language
	listen, appID, tokenEnv, tokenFile string
	public                             bool

	users, orgs int
	roles       []string
	seed        uint64

	ids                                string
	pageCap                            int
	inclusive, quietLoss, unauthorized bool
	latency, lag                       time.Duration
	writes                             float64
	tied                               bool
	refusal                            string
	faults                             []string
	listFaults, cloud, verbose         bool
}

func newFake(program string, l lang.Language) *cobra.Command {
	f := &fakeFlags{program: program, lang: l, orgs: 2}
	cmd := &cobra.Command{
		Use:   "fake",
		Short: "Serve a fake marketplace to try rolegate with",
		Long: `fake serves the marketplace's list of users from memory, in health and in
sickness, until it is interrupted. At its start it prints the URL, the token, the
users, and commands to try.

Nothing in it is real and nothing is kept. It listens on this machine alone;
--public lets others read the list. Below /_fake/ it is changed while it runs, by
requests from this machine alone: GET /_fake/ lists them.

A fault is written [cloud:]NAME[=ARG][@WHEN], and cloud: makes it one of 云上指挥.
Of several that strike at once, the one given last counts. --list-faults lists
the names and what WHEN can be.`,
		Example: `  rolegate fake
  rolegate fake --users 100000 --orgs 50 --roles teacher,parent,pupil
  rolegate fake --ids mixed --page-cap 100 --inclusive --latency 50ms
  rolegate fake --fault http-status=503@p=0.2          # one request of five fails
  rolegate fake --fault truncated@full,every=3         # each third full refresh breaks off
  rolegate fake --fault drop-rows=3@from=30s..2m -v    # most users are missing for a while
  curl -d user=1542135022016057005 -d org=8 -d role=teacher http://127.0.0.1:9400/_fake/grant
  curl -d fault=truncated@next=5 http://127.0.0.1:9400/_fake/fault`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), cmd.OutOrStdout(), cmd.ErrOrStderr())
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&f.listen, "listen", "127.0.0.1:9400", "the `address` to serve on; port 0 takes a free one")
	flags.BoolVar(&f.public, "public", false, "let --listen name an address that other machines reach")
	flags.StringVar(&f.appID, "app-id", rolegatetest.DefaultAppID, "the client id that is accepted")
	flags.StringVar(&f.tokenEnv, "token-env", "", "the environment `variable` with another access token to accept, a fake one too; it is not printed")
	flags.StringVar(&f.tokenFile, "token-file", "", "the `file` with another access token to accept")
	flags.Var((*wholeNumber)(&f.users), "users", "how many users to make up besides the demo users")
	flags.Var((*wholeNumber)(&f.orgs), "orgs", "over how many organisations they are spread, from 7 on")
	flags.StringSliceVar(&f.roles, "roles", []string{"teacher", "homeroom", "pupil"}, "the `codes` of the roles that they have")
	flags.Uint64Var(&f.seed, "seed", 1, "the `number` that what is random comes from: the same one, the same users")
	flags.StringVar(&f.ids, "ids", "number", "how ids are spelt in JSON: number, string or mixed")
	flags.Var((*wholeNumber)(&f.pageCap), "page-cap", "the most `rows` that a page has; 0: as many as are asked for")
	flags.BoolVar(&f.inclusive, "inclusive", false, "lastSequence means from this one on, not after it")
	flags.DurationVar(&f.latency, "latency", 0, "how long each request is under way")
	flags.BoolVar(&f.quietLoss, "quiet-role-loss", false, "taking a role away does not raise the user's sequence")
	flags.BoolVar(&f.unauthorized, "unauthorized-http", false, "a refused token is HTTP 401, not code 401 in an HTTP 200")
	flags.StringVar(&f.refusal, "refusal", "", "how a refused token is answered: "+strings.Join(refusals(), ", "))
	flags.Float64Var(&f.writes, "writes", 0, "how many users are changed each second, while the list is read")
	flags.DurationVar(&f.lag, "lag", 0, "how old the list is from which every second request is answered")
	flags.BoolVar(&f.tied, "tied", false, "all users begin with one and the same lastSequence, as after a batch job")
	flags.StringArrayVar(&f.faults, "fault", nil, "meet requests with this `fault`; may be repeated")
	flags.BoolVar(&f.listFaults, "list-faults", false, "list the faults, and end (also --fault list)")
	flags.BoolVar(&f.cloud, "cloud-command", false, "serve a fake 云上指挥 at the same address too")
	flags.BoolVarP(&f.verbose, "verbose", "v", false, "log each request on stderr")
	_ = cmd.MarkFlagFilename("token-file")
	_ = cmd.RegisterFlagCompletionFunc("fault", f.completeFault)
	_ = cmd.RegisterFlagCompletionFunc("refusal", cobra.FixedCompletions(refusals(), cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.RegisterFlagCompletionFunc("ids", cobra.FixedCompletions([]string{"number", "string", "mixed"}, cobra.ShellCompDirectiveNoFileComp))
	return cmd
}

// refusals are the names of the ways to refuse a token.
func refusals() []string { return slices.Sorted(maps.Keys(rolegatetest.Refusals())) }

func (f *fakeFlags) run(ctx context.Context, out, log io.Writer) (err error) {
	if f.listFaults || slices.Contains(f.faults, "list") {
		return listFaults(out, f.lang)
	}
	cfg, err := f.config()
	if err != nil {
		return usage(err)
	}
	if f.verbose {
		cfg.Log = slog.New(slog.NewTextHandler(log, nil))
	}
	var lc net.ListenConfig
	ln, err := lc.Listen(ctx, "tcp", f.listen)
	if err != nil {
		return fmt.Errorf("%w (choose another address with --listen)", err)
	}
	defer func() {
		if closed := ln.Close(); closed != nil && !errors.Is(closed, net.ErrClosed) {
			err = errors.Join(err, closed)
		}
	}()
	page := f.page(ln.Addr(), cfg.Marketplace.Token)
	cfg.Settings = page.settings()
	server, err := fake.New(cfg)
	if err != nil {
		return usage(err)
	}
	if err := page.print(out); err != nil {
		return err
	}
	return server.Serve(ctx, ln)
}

// config returns what the flags say, and every mistake in them.
func (f *fakeFlags) config() (cfg fake.Config, err error) {
	var errs []error
	wrong := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	host, _, err := net.SplitHostPort(f.listen)
	switch {
	case err != nil:
		wrong("--listen %q: expected host:port, such as 127.0.0.1:9400", f.listen)
	case !f.public && !fake.Loopback(host):
		wrong("--listen %q: expected an address of this machine alone, such as 127.0.0.1:9400; or else --public too", f.listen)
	}
	cfg = fake.Config{
		Marketplace: rolegatetest.MarketplaceConfig{
			AppID: f.appID, Token: rolegatetest.DefaultToken, PageCap: f.pageCap, Inclusive: f.inclusive, Latency: f.latency,
			QuietRoleLoss: f.quietLoss, UnauthorizedHTTP: f.unauthorized,
		},
		Users: f.users, Orgs: f.orgs, Roles: f.roles, Seed: f.seed, CloudCommand: f.cloud,
		Writes: f.writes, Lag: f.lag, Tied: f.tied, Lang: f.lang,
	}
	if f.appID == "" || strings.ContainsFunc(f.appID, func(r rune) bool { return r <= ' ' || r >= 0x7f }) {
		wrong("--app-id: expected the client id of an app, such as %s", rolegatetest.DefaultAppID)
	}
	switch {
	case f.tokenEnv != "" && f.tokenFile != "":
		wrong("--token-env, --token-file: expected one of them, not both")
	case f.tokenEnv != "" || f.tokenFile != "":
		if cfg.Marketplace.Token, err = (settings.Secret{Env: f.tokenEnv, File: f.tokenFile}).Read(); err != nil {
			wrong("the access token: %w", err)
		}
	}
	if f.users < 0 || f.users > fake.MaxUsers {
		wrong("--users %d: expected 0 to %d", f.users, fake.MaxUsers)
	}
	if f.orgs < 1 || f.orgs > 1_000_000 {
		wrong("--orgs %d: expected 1 to 1000000", f.orgs)
	}
	if len(f.roles) == 0 || slices.Contains(f.roles, "") {
		wrong("--roles: expected codes with commas between them, such as teacher,pupil")
	}
	if f.pageCap < 0 {
		wrong("--page-cap %d: expected a number of rows, or 0", f.pageCap)
	}
	if f.writes < 0 || f.writes > 100_000 {
		wrong("--writes %v: expected users a second, 0 to 100000", f.writes)
	}
	if f.lag < 0 {
		wrong("--lag %v: expected a time such as 30s", f.lag)
	}
	if f.refusal != "" {
		if cfg.Marketplace.Refusal = rolegatetest.Refusals()[f.refusal]; cfg.Marketplace.Refusal == nil {
			wrong("--refusal %q: expected one of %s", f.refusal, strings.Join(refusals(), ", "))
		}
	}
	if f.latency < 0 {
		wrong("--latency %v: expected a time such as 50ms", f.latency)
	}
	ids := map[string]rolegatetest.IDs{"number": rolegatetest.IDsNumber, "string": rolegatetest.IDsString, "mixed": rolegatetest.IDsMixed}
	var known bool
	if cfg.Marketplace.IDs, known = ids[f.ids]; !known {
		wrong("--ids %q: expected number, string or mixed", f.ids)
	}
	for _, text := range f.faults {
		fault, err := fake.ParseFault(text)
		if err != nil {
			wrong("--%w", err)
			continue
		}
		if fault.Cloud() && !f.cloud {
			wrong("--fault %q: expected --cloud-command too, or else there is no 云上指挥 here", fault)
			continue
		}
		cfg.Faults = append(cfg.Faults, fault)
	}
	return cfg, errors.Join(errs...)
}

// A wholeNumber is a flag that says so of what is none.
type wholeNumber int

func (n *wholeNumber) String() string { return strconv.Itoa(int(*n)) }

func (*wholeNumber) Type() string { return "int" }

// Set implements pflag.Value.
func (n *wholeNumber) Set(text string) error {
	value, err := strconv.Atoi(text)
	if err != nil {
		return errors.New("expected a whole number")
	}
	*n = wholeNumber(value)
	return nil
}

// listFaults prints what --fault can be.
func listFaults(out io.Writer, l lang.Language) error {
	table := tabwriter.NewWriter(out, 0, 0, 3, ' ', 0)
	fmt.Fprintln(table, l.Sprintf("A fault is [cloud:]NAME[=ARG][@WHEN]. NAME and ARG:"))
	for _, k := range fake.Kinds() {
		name, help := k.Name, l.Sprintf(k.Help)
		if k.Arg != "" {
			name += "=" + k.Arg
			help += " (" + k.Default + ")"
		}
		if k.Name == "error-r" {
			name = "cloud:" + name
		}
		fmt.Fprintf(table, "  %s\t%s\n", name, help)
	}
	fmt.Fprintln(table, "\n"+l.Sprintf("WHEN, or several with commas between them, which are asked from left to right:"))
	for _, w := range fake.Whens() {
		fmt.Fprintf(table, "  %s\t%s\n", w[0], l.Sprintf(w[1]))
	}
	return table.Flush()
}

// completeFault completes the name of a fault and, behind an @, when.
func (f *fakeFlags) completeFault(_ *cobra.Command, _ []string, typed string) (found []string, _ cobra.ShellCompDirective) {
	if i := strings.LastIndexAny(typed, "@,"); i >= 0 && strings.Contains(typed, "@") {
		for _, w := range fake.Whens() {
			found = append(found, cobra.CompletionWithDesc(typed[:i+1]+w[0], f.lang.Sprintf(w[1])))
		}
		return found, cobra.ShellCompDirectiveNoFileComp
	}
	prefix := ""
	if strings.HasPrefix(typed, "cloud:") {
		prefix = "cloud:"
	}
	for _, k := range fake.Kinds() {
		text := prefix + k.Name
		if k.Default != "" {
			text += "=" + k.Default
		}
		if _, err := fake.ParseFault(text); err == nil {
			found = append(found, cobra.CompletionWithDesc(text, f.lang.Sprintf(k.Help)))
		}
	}
	return append(found, cobra.CompletionWithDesc("list", f.lang.Sprintf("list them all"))), cobra.ShellCompDirectiveNoFileComp | cobra.ShellCompDirectiveNoSpace
}
