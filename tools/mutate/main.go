// Command mutate finds out what the tests would not notice. It changes one
// operator after the other in the files that decide who is admitted, runs the
// tests on each of these mutants, and prints those that survive:
//
//	go run ./tools/mutate
//	go run ./tools/mutate -files marketplace/pager.go,console/accept.go
//	go run ./tools/mutate -survivors
//	go run ./tools/mutate -page >docs/mutation.md
//
// Known survivors are listed, each with the reason, in equivalents.txt. The
// command fails if there are others, if an entry of that list is out of date, or
// if less than 95 % of the mutants are killed.
//
// All mutants of a package are in one test program, which runs the one that the
// environment names, and each mutant meets only the tests that come by it: see
// schema.go and run.go. Nothing is written into the repository: what became of the
// mutants of a package is kept in the user's cache, until the package or its tests
// change (store.go). -all takes nothing from there.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// areas are the files with rules in them about who is admitted, and with what these
// rules are applied to, by package: a mutant meets the tests of its own, and no
// slower ones. internal/replication is not among them: its simulation
// has mutants of its own, one for each rule (simulation_drill_test.go).
var areas = [][]string{
	{"internal/index/*.go"},
	{"internal/snapshot/*.go"},
	{"internal/policy/*.go"},
	{"internal/refresh/*.go"},
	{"internal/pull/*.go"},
	{"internal/permits/*.go"},
	{"internal/request/*.go"},
	{"internal/peer/*.go"},
	{"internal/ids/*.go"},
	{
		"check.go", "collect.go", "decision.go", "deny.go", "gate.go", "identity.go", "middleware.go", "permissions.go",
		"policy.go", "refresher.go", "roles.go", "source.go", "store.go", "user.go", "watch.go",
	},
	{"marketplace/*.go"},
	{"cloudcommand/check.go"},
	{"forwardauth/*.go"},
	{"console/accept.go", "console/find.go"},
	{"bearer/source.go", "bearer/verifier.go"},
}

// leastShare is how many of a hundred have to be killed.
const leastShare = 95

func main() {
	only := flag.String("files", "", "mutate only these files: paths in the repository, with commas between them")
	workers := flag.Int("workers", 2, "how many mutants are tested at a time")
	page := flag.Bool("page", false, "print docs/mutation.md")
	everything := flag.Bool("all", false, "take nothing from earlier runs")
	survivors := flag.Bool("survivors", false, "test only what survived an earlier run, with the tests as they are now")
	flag.Parse()
	kept := store{}
	if cache, err := os.UserCacheDir(); err == nil {
		kept.folder = filepath.Join(cache, "rolegate-mutate")
	}
	switch {
	case *everything:
		kept.use = nothing
	case *survivors:
		kept.use = ofSameFile
	}
	ok, err := run(*only, *workers, kept, *page, os.Stdout)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(only string, workers int, kept store, page bool, out io.Writer) (ok bool, err error) {
	known, err := parseKnown(equivalents)
	if err != nil {
		return false, err
	}
	var wanted []string
	if only != "" {
		wanted = strings.Split(only, ",")
	}
	var files []string
	var mutants []mutant
	for _, a := range areas {
		found, err := find(a, wanted)
		if err != nil {
			return false, err
		}
		if len(found) == 0 {
			continue
		}
		files = append(files, found...)
		of, err := mutate(found, workers, kept)
		if err != nil {
			return false, err
		}
		mutants = append(mutants, of...)
	}
	for _, name := range wanted {
		if !slices.Contains(files, name) {
			return false, fmt.Errorf("%s is in no area: add it to areas", name)
		}
	}
	known = slices.DeleteFunc(known, func(e entry) bool { return !slices.Contains(files, e.file) && len(wanted) > 0 })
	r := newResult(files, mutants, known)
	if page {
		r.page(out)
	} else {
		r.print(out)
	}
	return r.ok(), nil
}

// find returns the files of patterns, or those of them that are wanted.
func find(patterns, wanted []string) (files []string, err error) {
	for _, pattern := range patterns {
		found, err := filepath.Glob(pattern)
		if err != nil || len(found) == 0 {
			return nil, fmt.Errorf("no file is %s: run this in the root of the repository", pattern)
		}
		for _, name := range found {
			if !strings.HasSuffix(name, "_test.go") && (wanted == nil || slices.Contains(wanted, name)) {
				files = append(files, name)
			}
		}
	}
	return files, nil
}
