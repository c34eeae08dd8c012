package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// This file is the go command that the tool calls. The tool takes it for the
// death of a mutant if "go test" exits with 1. But so that does if the mutant
// does not compile, or if the machine was too busy for a test; and a whole
// test run for each mutant takes too long. Hence:
//
//   - A mutant that does not compile is none: exit code 2.
//   - The fast tests run first, then the slow ones, and then the tests of other
//     packages that use this one.
//   - A test that failed runs again. Only one that fails twice kills.
//   - A mutant with which tests do not end, and no other test fails, is written
//     down. It counts as killed only if equivalents.txt says that it loops for
//     ever.

const (
	envGo       = "MUTATE_GO"       // the real go command
	envPackages = "MUTATE_PACKAGES" // the packages of the mutated files
	envFiles    = "MUTATE_FILES"    // these files
	envModule   = "MUTATE_MODULE"   // the copy of the module as it was
)

// slow are tests of the root that take ten times as long as all others together,
// and kill few mutants that these do not.
const slow = "^(TestSimulation.*|TestProperties|TestIndexAgainstAMap|TestIndexFollowsManyChanges|TestIndexGrows|TestRestart.*|TestCache.*|TestDamaged.*|TestStored.*" +
	"|TestVeryLargeUsers|TestWalksOfManySizes|TestChangesComeInOrder|TestOnePlaceholderForEverybody|TestTwoOperatorsAcceptAtOnce|TestBarsOutlastManyChanges" +
	"|TestDecideAgainstANaiveOne|TestReadersSeeOneGeneration|TestUsersAreSafeForConcurrentUse|Example.*|Fuzz.*)$"

// A stage is one test program, and which of its tests to run.
type stage struct {
	pkg  string
	most time.Duration // about ten times as long as it takes
	args []string
}

// stages are what a mutant in a package has to survive.
func stages(pkg string) []stage {
	users := []stage{{pkg: "./tools/faults", most: 150 * time.Second}, {pkg: "./rolegatetest", most: 20 * time.Second}}
	if pkg == "." {
		return append([]stage{
			{".", 30 * time.Second, []string{"-test.skip=" + slow}},
			{".", 200 * time.Second, []string{"-test.run=" + slow}},
		}, users...)
	}
	return append([]stage{{pkg: pkg, most: 20 * time.Second}}, users...)
}

// hangsIn is the file with the mutants that made tests hang.
func hangsIn(module string) string { return filepath.Join(filepath.Dir(module), "hangs") }

// Exit codes, as the tool reads them.
const (
	lived     = 0
	killed    = 1
	notViable = 2
)

func goCommand(args []string) int {
	profile := slices.Index(args, "-coverprofile")
	if len(args) == 0 || args[0] != "test" || profile >= 0 {
		if profile >= 0 { // the tool asks for the tests of all packages
			args = append(args[:len(args)-1:len(args)-1], strings.Fields(os.Getenv(envPackages))...)
		}
		cmd := exec.Command(os.Getenv(envGo), args...)
		cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
		if cmd.Run() != nil || profile >= 0 && coverAll(args[profile+1]) != nil {
			return 1
		}
		return 0
	}
	tmp, err := os.MkdirTemp("", "mutant")
	if err != nil {
		return 3 // is taken for alive
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	// The tool names a package by its import path.
	program, built := filepath.Join(tmp, "program.test"), ""
	for _, s := range stages("." + strings.TrimPrefix(args[len(args)-1], modulePath)) {
		build := exec.Command(os.Getenv(envGo), "test", "-c", "-vet=off", "-ldflags=-s -w", "-o", program, s.pkg)
		switch {
		case s.pkg == built:
		case build.Run() == nil:
			built = s.pkg
		case built == "":
			return notViable
		default:
			return lived
		}
		if s.kills(program) {
			return killed
		}
	}
	return lived
}

// coverAll adds to a profile that all lines of the mutated files are covered. The
// tool leaves out what is not: constants too, which no profile has.
func coverAll(profile string) error {
	f, err := os.OpenFile(profile, os.O_APPEND|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	for _, file := range strings.Fields(os.Getenv(envFiles)) {
		if _, err := fmt.Fprintf(f, "%s/%s:1.1,100000.1 1 1\n", modulePath, file); err != nil {
			return err
		}
	}
	return f.Close()
}

const modulePath = "github.com/rolegate/rolegate"

// kills reports whether tests of the program fail, twice, or do not end.
func (s stage) kills(program string) bool {
	output, failed := s.test(program, s.args...)
	if !failed {
		return false
	}
	tests := failedTests(output)
	if waiting := hungTests(output); len(tests) == 0 && len(waiting) > 0 {
		// Does a test fail that does not hang?
		skip := "^(" + strings.Join(waiting, "|") + ")$"
		if len(s.args) > 0 && strings.HasPrefix(s.args[0], "-test.skip=") {
			skip += strings.Replace(s.args[0], "-test.skip=", "|", 1)
		}
		output, _ = s.test(program, append(s.args[:len(s.args):len(s.args)], "-test.skip="+skip)...)
		if tests = failedTests(output); len(tests) == 0 {
			noteHang()
			return true
		}
	}
	again := s.args
	if len(tests) > 0 {
		again = []string{"-test.run=^(" + strings.Join(tests, "|") + ")$"}
	}
	_, failed = s.test(program, again...)
	return failed
}

// test runs tests of the program.
func (s stage) test(program string, args ...string) (output []byte, failed bool) {
	ctx, cancel := context.WithTimeout(context.Background(), s.most+10*time.Second)
	defer cancel()
	// An endless loop that allocates must not take all memory of the machine.
	script := `ulimit -v 12000000; exec "$@"`
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", script, "sh", program, "-test.failfast", "-test.timeout=" + s.most.String()}, args...)...)
	cmd.Dir, cmd.WaitDelay = s.pkg, time.Second
	output, err := cmd.CombinedOutput()
	return output, err != nil
}

var (
	failure = regexp.MustCompile(`(?m)^--- FAIL: (\w+)`)
	running = regexp.MustCompile(`(?m)^\t\t(\w+)\S* \(\d.*s\)$`)
)

// hungTests returns which tests ran as the time was over.
func hungTests(output []byte) []string {
	_, list, _ := bytes.Cut(output, []byte("panic: test timed out after"))
	return names(running, list)
}

// failedTests returns which tests have failed.
func failedTests(output []byte) []string { return names(failure, output) }

func names(line *regexp.Regexp, output []byte) (list []string) {
	for _, match := range line.FindAllSubmatch(output, -1) {
		list = append(list, string(match[1]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// noteHang writes down in which line the working directory differs from the
// module as it was. The tool formats what it writes in its own way.
func noteHang() {
	module := os.Getenv(envModule)
	_ = filepath.WalkDir(module, func(path string, _ os.DirEntry, _ error) error {
		rel, _ := filepath.Rel(module, path)
		if !strings.HasSuffix(rel, ".go") {
			return nil
		}
		before, _ := os.ReadFile(path)
		after, _ := os.ReadFile(rel)
		was, is := strings.Split(string(before), "\n"), strings.Split(string(after), "\n")
		for i := range min(len(was), len(is)) {
			if unspaced(was[i]) == unspaced(is[i]) {
				continue
			}
			f, err := os.OpenFile(hangsIn(module), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o644)
			if err == nil {
				_, _ = fmt.Fprintf(f, "%s:%d:%s\n", filepath.ToSlash(rel), i+1, strings.Join(strings.Fields(is[i]), " "))
				_ = f.Close()
			}
			return filepath.SkipAll
		}
		return nil
	})
}

func unspaced(line string) string { return strings.Join(strings.Fields(line), "") }
