package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/listing"
	"github.com/rolegate/rolegate/cmd/rolegate/internal/settings"
	"github.com/rolegate/rolegate/marketplace"
)

// pullFlags are the flags of rolegate pull.
type pullFlags struct {
	marketplaceFlags
	output, format      string
	names, excel, quiet bool
	after               int64
	lang                lang.Language
}

func newPull(l lang.Language) *cobra.Command {
	f := &pullFlags{lang: l}
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Write the list of users as JSON lines or CSV",
		Long: `pull reads the marketplace's list from its start to its end, and then writes it,
sorted by user id. It writes the whole list or nothing: if the pull fails or is
interrupted, nothing is on stdout, and the file of -o is as it was.

` + marketplaceHelp + `

JSON lines have one user a line:

  {"user_id":"1542135022016057001","sequence":"1","grants":[{"org_id":"7","role":"teacher"}]}

Ids and sequences are strings, because JavaScript, jq and others round numbers
above 2^53. CSV has one row for each grant, and one without organisation and role
for a user who has none. Accounts, e-mail addresses and other names are left out
unless --names asks for them. With -o, the file can be read by its owner alone.

Do not open CSV in a spreadsheet program without --excel: ids would be rounded,
and a name that begins like a formula would run. Excel shows 1048576 rows.

Records are checked as by a gate. Of several of one user the one with the highest
sequence counts. A record that cannot be understood keeps its user off the list,
is told on stderr, and makes the exit code 3 although everything else is written;
if there are more than ten and more than 1 % of them, the pull fails.

--after writes what came after a sequence, which the line at the end of the last
pull tells. It cannot show who is gone: the marketplace has no message for that,
and only the whole list tells.

The list is in memory before it is written: a million users with two roles each
take about 120 MB, and 220 MB with their names.`,
		Example: `  rolegate pull --url https://market.example.com/api --app-id my-app > users.jsonl
  rolegate pull -c rolegate.yaml -o users.jsonl
  rolegate pull -c rolegate.yaml -o users.csv --names --excel
  rolegate pull -c rolegate.yaml --after 48213
  rolegate pull -c rolegate.yaml | jq -r 'select(any(.grants[]; .role == "admin")) | .user_id'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.run(cmd.Context(), streams{cmd.InOrStdin(), cmd.OutOrStdout(), cmd.ErrOrStderr(), ""}, cmd.Flags().Changed("format"))
		},
	}
	f.add(cmd)
	flags := cmd.Flags()
	flags.StringVarP(&f.output, "output", "o", "", "write to this `file`, mode 0600 (stdout)")
	flags.StringVar(&f.format, "format", "", "jsonl or csv (csv if --excel or the file's name says so, else jsonl)")
	flags.BoolVar(&f.names, "names", false, "accounts, e-mail addresses and other names too")
	flags.BoolVar(&f.excel, "excel", false, "CSV for Excel: no id is rounded and no text is run")
	flags.Int64Var(&f.after, "after", 0, "only what came after this `sequence`; it does not show who is gone")
	flags.BoolVarP(&f.quiet, "quiet", "q", false, "no progress and no summary on stderr")
	_ = cmd.RegisterFlagCompletionFunc("format", cobra.FixedCompletions([]string{"jsonl", "csv"}, cobra.ShellCompDirectiveNoFileComp))
	_ = cmd.MarkFlagFilename("output", "jsonl", "ndjson", "csv")
	return cmd
}

func (f *pullFlags) run(ctx context.Context, std streams, formatGiven bool) error {
	format, err := f.outputFormat(formatGiven)
	if err != nil {
		return usage(err)
	}
	if f.after < 0 {
		return usage(fmt.Errorf("--after %d: expected a sequence, 0 or above", f.after))
	}
	if err := f.checkOutput(); err != nil {
		return usage(err)
	}
	client, err := f.client()
	if err != nil {
		return err
	}
	defer client.CloseIdleConnections()

	began := time.Now()
	list, collected, err := f.pull(ctx, client, std.err)
	if err != nil {
		tellBad(std.err, f.lang, collected.Bad(), 10)
		return f.failed(ctx, err)
	}
	if err := f.write(ctx, list, format, std.out); err != nil {
		if f.output == "" {
			return fmt.Errorf("the list on stdout is not whole: %w", err)
		}
		return nothingWritten(ctx, err)
	}
	tellBad(std.err, f.lang, collected.Bad(), -1)
	if !f.quiet {
		tellStats(std.err, f.lang, list.Stats(), time.Since(began))
	}
	if list.Stats().BadRecords > 0 {
		return no()
	}
	return nil
}

// outputFormat is that of --format or, without it, of --excel and the file's
// name.
func (f *pullFlags) outputFormat(given bool) (listing.Format, error) {
	name := f.format
	if !given {
		name = "jsonl"
		if f.excel || strings.EqualFold(filepath.Ext(f.output), ".csv") {
			name = "csv"
		}
	}
	switch {
	case name != "jsonl" && name != "csv":
		return listing.Format{}, fmt.Errorf("--format %q: expected jsonl or csv", name)
	case f.excel && name != "csv":
		return listing.Format{}, errors.New("--excel: expected --format csv, not jsonl")
	}
	return listing.Format{CSV: name == "csv", Excel: f.excel}, nil
}

// checkOutput finds out before the pull, which may take long, whether the file
// can be replaced.
func (f *pullFlags) checkOutput() error {
	if f.output == "" {
		return nil
	}
	if info, err := os.Lstat(f.output); err == nil && !info.Mode().IsRegular() {
		return fmt.Errorf("--output %s: expected a regular file, or none yet: this is something else, which would be replaced; without --output the list goes to stdout", f.output)
	}
	if info, err := os.Stat(filepath.Dir(f.output)); err != nil || !info.IsDir() {
		return fmt.Errorf("--output %s: expected a file in a folder that exists", f.output)
	}
	return nil
}

// client is the client of the marketplace that the flags name.
func (f *pullFlags) client() (*marketplace.Client, error) {
	file, err := f.settings()
	if err != nil {
		return nil, err
	}
	if _, err := file.Marketplace.Token.Read(); err != nil {
		return nil, usage(fmt.Errorf("the access token: %w", err))
	}
	client := marketplace.New(file.Marketplace.Config())
	return client, usage(settings.Named(client.Validate(), f.marketplaceFlags.names()))
}

// pull reads the list. What was collected is not nil, also after an error.
func (f *pullFlags) pull(ctx context.Context, client *marketplace.Client, log io.Writer) (*listing.List, *listing.Collector, error) {
	collected := listing.New(f.after, f.names)
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	progress := startProgress(log, f.quiet, f.lang)
	err := client.Pull(ctx, f.after, func(r rolegate.Record) {
		collected.Take(r)
		if collected.Failed() != nil {
			stop()
		}
		progress.one()
	})
	progress.end()
	if failed := collected.Failed(); failed != nil {
		return nil, collected, failed
	}
	if err != nil {
		return nil, collected, err
	}
	list, err := collected.Finish()
	return list, collected, err
}

// write writes the list where it belongs.
func (f *pullFlags) write(ctx context.Context, list *listing.List, format listing.Format, out io.Writer) error {
	to := func(w io.Writer) error {
		buffered := bufio.NewWriterSize(w, 64<<10)
		if err := list.Write(ctx, buffered, format); err != nil {
			return err
		}
		return buffered.Flush()
	}
	if f.output == "" {
		return to(out)
	}
	return replaceFile(f.output, to)
}

// names are what the marketplace's settings are called: keys or flags.
func (f *marketplaceFlags) names() func(string) string {
	if f.file != "" {
		return settings.InFile
	}
	return settings.OnLine
}

// failed says what a pull has failed with, and who may know more.
func (f *pullFlags) failed(ctx context.Context, err error) error {
	err = nothingWritten(ctx, settings.Named(err, f.marketplaceFlags.names()))
	if ctx.Err() == nil {
		err = fmt.Errorf("%w\nWhat is wrong, and what to do: rolegate doctor%s", err, f.again())
	}
	return err
}

// again are the flags of that marketplace, for another command.
func (f *marketplaceFlags) again() (flags string) {
	for _, flag := range []struct{ name, value string }{
		{"-c", f.file}, {"--url", f.url}, {"--app-id", f.appID}, {"--path", f.path}, {"--token-env", f.tokenEnv}, {"--token-file", f.tokenFile},
	} {
		if flag.value != "" {
			flags += " " + flag.name + " " + quoted(flag.value)
		}
	}
	return flags
}

// nothingWritten says what has become of the list after an error.
func nothingWritten(ctx context.Context, err error) error {
	var pull *rolegate.PullError
	switch {
	case ctx.Err() != nil:
		return errors.New("interrupted: no list was written")
	case errors.As(err, &pull) && pull.RetryAfter > 0:
		return fmt.Errorf("no list was written: %w; the marketplace asks to be left alone for %v", err, pull.RetryAfter)
	}
	return fmt.Errorf("no list was written: %w", err)
}

// tellBad tells of records that could not be understood, of the first most of
// them unless that is negative.
func tellBad(log io.Writer, l lang.Language, bad []listing.Bad, most int) {
	for i, b := range bad {
		if i == most {
			fmt.Fprintln(log, "rolegate:", l.Sprintf("… and %d more bad records", len(bad)-most))
			return
		}
		reason := oneLine(l.Text(b.Reason.Error()))
		if b.UserID > 0 {
			fmt.Fprintln(log, "rolegate:", l.Sprintf("a bad record of user %d, who is not on the list therefore: %s", b.UserID, reason))
			continue
		}
		fmt.Fprintln(log, "rolegate:", l.Sprintf("a bad record of a user whose id cannot be read: %s", reason))
	}
}

func tellStats(log io.Writer, l lang.Language, s listing.Stats, took time.Duration) {
	grants := l.Sprintf("%d grants", s.Grants)
	if s.Grants == 1 {
		grants = l.Sprintf("1 grant")
	}
	text := l.Sprintf("%s with %s in %v; up to sequence %d", users(l, s.Users), grants, took.Round(time.Millisecond), s.Highest)
	for _, also := range []struct {
		n         int
		one, more string
	}{
		{s.BadRecords, "; 1 bad record", "; %d bad records"},
		{s.DroppedGrants, "; 1 grant without organisation or role left out", "; %d grants without organisation or role left out"},
		{s.Repeated, "; 1 record came twice, as where pages overlap", "; %d records came twice, as where pages overlap"},
	} {
		switch also.n {
		case 0:
		case 1:
			text += l.Sprintf(also.one)
		default:
			text += l.Sprintf(also.more, also.n)
		}
	}
	fmt.Fprintln(log, "rolegate:", text)
}
