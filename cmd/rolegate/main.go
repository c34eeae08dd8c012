// Command rolegate runs a gate by itself: for a reverse proxy that asks it, and
// for programs that ask by OpenID AuthZEN. It also lists, tries and explains.
//
//	rolegate serve -c rolegate.yaml      guard what is behind a reverse proxy
//	rolegate why USER 'GET /grades'      why a user may, or may not
//	rolegate status                      how a running server is
//	rolegate reload                      have it read its settings again
//	rolegate doctor                      try the marketplace, and say what is wrong
//	rolegate pull                        write the list as JSON lines or CSV
//	rolegate fake                        a marketplace to try it with
//
// rolegate help, and rolegate help COMMAND, tell the rest.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strconv"
	"strings"
	"syscall"
	"unicode"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// The exit codes.
const (
	exitOK     = 0
	exitFailed = 1 // it could not be done
	exitUsage  = 2 // it was asked for in a wrong way, or the settings file is wrong
	exitNo     = 3 // it was done, and the answer is no
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	context.AfterFunc(ctx, stop) // a second one ends what does not heed the first
	os.Exit(run(ctx, os.Args[1:], streams{os.Stdin, os.Stdout, os.Stderr, os.Args[0]}))
}

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, std streams) int {
	l := lang.Of(args, os.Getenv)
	cmd := newRoot(std, l)
	cmd.SetArgs(args)
	cmd, err := cmd.ExecuteContextC(ctx)
	var coded *codedError
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &coded):
		if coded.err != nil {
			fmt.Fprintln(std.err, "rolegate:", printable(l.Text(coded.err.Error())))
		}
		return coded.code
	default: // no command has run: the call is wrong
		fmt.Fprintf(std.err, "rolegate: %v\n%s\n", printable(l.Text(err.Error())), l.Sprintf("See: %s --help", cmd.CommandPath()))
		return exitUsage
	}
}

// printable escapes all but lines and what can be seen: texts of the marketplace's,
// such as a role code, are not to move a terminal's cursor.
func printable(text string) string {
	var b strings.Builder
	for _, r := range text {
		if r == '\n' || r == '\t' || unicode.IsPrint(r) {
			b.WriteRune(r)
			continue
		}
		quoted := strconv.QuoteRune(r)
		b.WriteString(quoted[1 : len(quoted)-1])
	}
	return b.String()
}

// oneLine is printable text on one line.
func oneLine(text string) string { return strings.ReplaceAll(printable(text), "\n", `\n`) }

// A codedError ends the program with that code, and says err first if there is
// one.
type codedError struct {
	code int
	err  error
}

func (e *codedError) Error() string {
	if e.err == nil {
		return fmt.Sprintf("exit code %d", e.code)
	}
	return e.err.Error()
}

func (e *codedError) Unwrap() error { return e.err }

// ran marks an error as one of a command that has run.
func ran(err error) error {
	if coded := (*codedError)(nil); err == nil || errors.As(err, &coded) {
		return err
	}
	return &codedError{exitFailed, err}
}

// usage marks an error as one of whoever called the program.
func usage(err error) error {
	if err == nil {
		return nil
	}
	return &codedError{exitUsage, err}
}

// no is the answer no, which has been said already.
func no() error { return &codedError{code: exitNo} }
