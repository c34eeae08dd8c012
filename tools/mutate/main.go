// Command mutate finds out what the tests would not notice. It has gremlins, a
// public tool, change one operator after the other in the files that decide who
// is let in, runs the tests on each of these mutants, and prints those that
// survive:
//
//	go run ./tools/mutate
//	go run ./tools/mutate -files store.go,marketplace/quick.go
//	go run ./tools/mutate -page >docs/mutation.md
//
// Known survivors are listed, each with the reason, in equivalents.txt. The
// command fails if there are others, if an entry of that list is out of date, or
// if less than 95 % of the mutants are killed. A mutant of the root package takes
// some four seconds on two cores that have nothing else to do, one that survives
// a minute, and one of package marketplace a second and a half: all files
// together one to two hours. On a busy machine it takes very much longer, and
// tests that look at the clock may fail for that reason.
//
// The tool runs on a copy of the module, and as a program that is built for the
// occasion: nothing of it gets into go.mod. It calls "go test" through this same
// program (see gotest.go), which is stricter about what killed means.
package main

import (
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const tool = "github.com/go-gremlins/gremlins/cmd/gremlins@v0.6.0"

// decides are the files with rules in them about who is let in, and with what
// these rules are applied to.
var decides = []string{
	"middleware.go", "roles.go", "internal/index/table.go", "refresher.go", "identity.go",
	"check.go", "policy.go", "decision.go", "gate.go", "gatestore.go", "watch.go", "refuse.go", "hold.go", "pull.go", "maxage.go", "internal/index/builder.go", "internal/snapshot/removals.go", "internal/snapshot/snapshot.go",
	"marketplace/quick.go", "marketplace/record.go", "marketplace/secondlook.go", "marketplace/envelope.go", "marketplace/walk.go",
}

// leastShare is how many of a hundred mutants have to be killed.
const leastShare = 95

func main() {
	if strings.TrimSuffix(filepath.Base(os.Args[0]), ".exe") == "go" {
		os.Exit(goCommand(os.Args[1:]))
	}
	files := flag.String("files", strings.Join(decides, ","), "what to mutate: paths in the module")
	workers := flag.Int("workers", 2, "how many mutants are tested at a time")
	from := flag.String("report", "", "print what these reports say, which -o has kept before, instead of running the tool: paths with commas between them")
	keep := flag.String("o", "", "keep the tool's report in this file")
	page := flag.Bool("page", false, "print docs/mutation.md")
	flag.Parse()
	ok, err := run(strings.Split(*files, ","), *workers, *from, *keep, *page)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
	}
	if err != nil || !ok {
		os.Exit(1)
	}
}

func run(files []string, workers int, from, keep string, page bool) (ok bool, err error) {
	var mutants []mutant
	if from == "" {
		report, err := mutate(files, workers)
		if err != nil {
			return false, err
		}
		if keep != "" {
			if err := os.WriteFile(keep, report, 0o644); err != nil {
				return false, err
			}
		}
		if mutants, err = parseReport(report, os.ReadFile); err != nil {
			return false, err
		}
	} else if mutants, err = readReports(strings.Split(from, ",")); err != nil {
		return false, err
	}
	known, err := parseKnown(equivalents)
	if err != nil {
		return false, err
	}
	known = slices.DeleteFunc(known, func(e entry) bool { return !slices.Contains(files, e.file) })
	r := newResult(files, mutants, known)
	if page {
		r.page(os.Stdout)
	} else {
		r.print(os.Stdout)
	}
	return r.ok(), nil
}

// readReports reads reports of different files.
func readReports(paths []string) (all []mutant, err error) {
	for _, path := range paths {
		report, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		mutants, err := parseReport(report, os.ReadFile)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, mutants...)
	}
	return all, nil
}

// mutate runs the tool and returns its report, and with it which mutants made
// tests hang.
func mutate(files []string, workers int) ([]byte, error) {
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	module, bin := filepath.Join(dir, "module"), filepath.Join(dir, "bin")
	others, err := copyModule(module)
	if err != nil {
		return nil, err
	}
	realGo, err := exec.LookPath("go")
	if err != nil {
		return nil, err
	}
	install := exec.Command(realGo, "install", tool)
	install.Dir, install.Env, install.Stderr = module, append(os.Environ(), "GOBIN="+bin, "GOWORK=off"), os.Stderr
	if err := install.Run(); err != nil {
		return nil, fmt.Errorf("building the tool: %w", err)
	}
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	if err := os.Symlink(self, filepath.Join(bin, "go")); err != nil {
		return nil, err
	}

	args := []string{
		"unleash", ".", "--output", filepath.Join(dir, "report.json"), "--workers", fmt.Sprint(workers), "--timeout-coefficient", "60",
		"--invert-assignments", "--invert-bitwise", "--invert-bwassign", "--invert-logical", "--invert-loopctrl", "--remove-self-assignments",
	}
	packages := map[string]bool{}
	for _, file := range files {
		if !slices.Contains(others, file) {
			return nil, fmt.Errorf("the module has no file %s", file)
		}
		packages["./"+filepath.ToSlash(filepath.Dir(file))] = true
	}
	for _, file := range others {
		if !slices.Contains(files, file) {
			args = append(args, "--exclude-files", "^"+regexp.QuoteMeta(file)+"$")
		}
	}
	var list []string
	for p := range packages {
		list = append(list, p)
	}
	slices.Sort(list)
	cmd := exec.Command(filepath.Join(bin, "gremlins"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = module, os.Stderr, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "PATH="+bin+string(os.PathListSeparator)+os.Getenv("PATH"),
		envGo+"="+realGo, envPackages+"="+strings.Join(list, " "), envFiles+"="+strings.Join(files, " "), envModule+"="+module)
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("gremlins: %w", err)
	}
	report, err := os.ReadFile(filepath.Join(dir, "report.json"))
	if err != nil {
		return nil, err
	}
	hung, err := os.ReadFile(hangsIn(module))
	if err != nil && !os.IsNotExist(err) {
		return nil, err
	}
	return withHangs(report, hung)
}

// copyModule copies the module in the working directory, without the modules
// inside of it, and returns its Go files but for the tests.
func copyModule(to string) (files []string, err error) {
	err = filepath.WalkDir(".", func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(path, "go.mod"))
			if path != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || path == filepath.Join("testdata", "rapid")) {
				return filepath.SkipDir
			}
			return os.MkdirAll(filepath.Join(to, path), 0o755)
		}
		if !d.Type().IsRegular() || strings.HasPrefix(d.Name(), "go.work") {
			return nil
		}
		data, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if name := filepath.ToSlash(path); strings.HasSuffix(name, ".go") && !strings.HasSuffix(name, "_test.go") {
			files = append(files, name)
		}
		return os.WriteFile(filepath.Join(to, path), data, 0o644)
	})
	return files, err
}
