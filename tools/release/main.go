// Command release makes the modules of this repository as they are published:
// without a replace, each with a require of the others' release.
//
//	go run ./tools/release v0.1.0 --to DIR
//	go run ./tools/release v0.1.0 --to DIR --tag
//
// It reads the commit that is checked out, which must be clean, and writes a
// module proxy into DIR that GOPROXY=file://DIR uses. With --tag it also makes a
// commit with these go.mod files, which no branch gets, tags it for every module,
// and prints how to push the tags, if CHANGELOG.md has the version with its day.
// Nothing is pushed.
//
// Modules that nobody imports stay out: see unpublished.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
)

func main() {
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func run(args []string, out io.Writer) error {
	flags := flag.NewFlagSet("release", flag.ContinueOnError)
	to := flags.String("to", "", "the `folder` to write a module proxy into")
	tag := flags.Bool("tag", false, "tag the modules in this repository")
	var version string
	if len(args) > 0 && args[0] != "" && args[0][0] == 'v' {
		version, args = args[0], args[1:]
	}
	if err := flags.Parse(args); err != nil {
		return err
	}
	if version == "" || flags.NArg() > 0 || *to == "" {
		return errors.New("expected a version and a folder: go run ./tools/release v0.1.0 --to DIR")
	}
	repo, err := open(".")
	if err != nil {
		return err
	}
	if *tag {
		if err := repo.isDated(version); err != nil {
			return err
		}
	}
	modules, err := repo.modules()
	if err != nil {
		return err
	}
	made, err := publish(modules, version)
	if err != nil {
		return err
	}
	for _, m := range made {
		if err := m.write(*to); err != nil {
			return fmt.Errorf("%s: %w", m.path, err)
		}
		fmt.Fprintln(out, m.tag())
	}
	if !*tag {
		return nil
	}
	if err := repo.tag(made); err != nil {
		return err
	}
	fmt.Fprintln(out, "\nPush them in this order:")
	for _, m := range made {
		fmt.Fprintln(out, "  git push origin", m.tag())
	}
	return nil
}
