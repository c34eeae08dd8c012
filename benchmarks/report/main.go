// Command report runs the benchmarks at full size and writes down what came of
// them: docs/benchmarks.md, docs/benchmarks.svg, docs/benchmarks.json, and a
// table in each README that has a place for it.
//
//	cd benchmarks && GOWORK=off go run ./report
//
// Each family of benchmarks runs in a process of its own, so that the heap of
// one is no burden to the next. With -only, the families that it matches are
// run anew and the others stay as docs/benchmarks.json has them; -only '^$'
// runs none and just writes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"regexp"
	"strings"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	err := run(ctx, os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// settings are what the command line says.
type settings struct {
	only  *regexp.Regexp
	root  string
	short bool
}

func run(ctx context.Context, args []string, log io.Writer) error {
	s, err := parseArgs(args, log)
	if err != nil {
		return err
	}
	if err := insideModule(); err != nil {
		return err
	}
	file := filepath.Join(s.root, "docs", "benchmarks.json")
	all, err := load(file)
	if err != nil {
		return err
	}
	for _, name := range families {
		if !s.only.MatchString(name) {
			continue
		}
		f, err := runFamily(ctx, name, s.short, log)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		all[name] = f
		if err := save(file, all); err != nil { // now, so that a later failure loses nothing
			return err
		}
	}
	return write(s.root, all, log)
}

func parseArgs(args []string, log io.Writer) (settings, error) {
	flags := flag.NewFlagSet("report", flag.ContinueOnError)
	flags.SetOutput(log)
	only := flags.String("only", "", "run only the families that this `regexp` matches: "+strings.Join(families, ", "))
	root := flags.String("root", "..", "the `folder` of the repository, with docs and the READMEs in it")
	short := flags.Bool("short", false, "a quick look at small lists, for trying this command: needs another -root")
	if err := flags.Parse(args); err != nil {
		return settings{}, err
	}
	if flags.NArg() > 0 {
		return settings{}, fmt.Errorf("expected flags only, got %q", flags.Arg(0))
	}
	re, err := regexp.Compile(*only)
	if err != nil {
		return settings{}, fmt.Errorf("-only: %w", err)
	}
	if *only != "" && *only != "^$" && !anyMatches(re, families) {
		return settings{}, fmt.Errorf("-only %s: it matches none of %s", *only, strings.Join(families, ", "))
	}
	if *short && *root == ".." {
		return settings{}, errors.New("-short: its figures mean nothing and must not be written to the repository: name another folder with -root")
	}
	if info, err := os.Stat(filepath.Join(*root, "docs")); err != nil || !info.IsDir() {
		return settings{}, fmt.Errorf("-root %s: expected a folder with a folder docs in it", *root)
	}
	return settings{only: re, root: *root, short: *short}, nil
}

func anyMatches(re *regexp.Regexp, names []string) bool {
	for _, name := range names {
		if re.MatchString(name) {
			return true
		}
	}
	return false
}

// insideModule says where to run the command if it is not run there.
func insideModule() error {
	const module = "module github.com/rolegate/rolegate/benchmarks"
	text, err := os.ReadFile("go.mod")
	if err != nil || !strings.HasPrefix(string(text), module) {
		return errors.New("run it in the folder benchmarks, where its go.mod is")
	}
	return nil
}

// write writes everything that is made of the results.
func write(root string, all results, log io.Writer) error {
	docs := filepath.Join(root, "docs")
	if err := os.WriteFile(filepath.Join(docs, "benchmarks.md"), markdown(all), 0o644); err != nil {
		return err
	}
	svg, err := chart(all)
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, "benchmarks.svg"), svg, 0o644); err != nil {
		return err
	}
	for _, readme := range readmes {
		if err := readme.update(root, all, log); err != nil {
			return err
		}
	}
	return nil
}
