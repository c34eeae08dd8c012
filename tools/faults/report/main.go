// Command report runs the tests of the fault catalogue and writes
// docs/faults.md: each line, the tests of it, and how they ended.
//
//	go run ./tools/faults/report
//
// It fails, and writes nothing, if a line has no test, or a test failed or was
// skipped, or there is no Redis for those that need one. With -check it only
// compares: for CI.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/rolegate/rolegate/tools/faults"
)

const document = "docs/faults.md"

func main() {
	check := flag.Bool("check", false, "compare with "+document+" instead of writing it")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	if err := findRedis(); err != nil {
		return err
	}
	results := map[int][]result{}
	for folder, only := range map[string]string{"tools/faults": "", "e2e": "^TestFault"} {
		found, err := test(folder, only)
		if err != nil {
			return err
		}
		for line, of := range found {
			results[line] = append(results[line], of...)
		}
	}
	page, err := write(faults.Catalogue(), results)
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(document, page, 0o644)
	}
	before, err := os.ReadFile(document)
	if err != nil {
		return err
	}
	if !bytes.Equal(before, page) {
		return fmt.Errorf("%s is not what the tests say: run go run ./tools/faults/report", document)
	}
	return nil
}

// findRedis looks for the Redis that tests start. They pass without one, but are
// fewer then.
func findRedis() error {
	for _, program := range []string{"redis-server", "valkey-server"} {
		if _, err := exec.LookPath(program); err == nil {
			return nil
		}
	}
	return errors.New("there is no redis-server, which lines 50 to 54 need: install it, for example with: apt-get install redis-server")
}

// test runs tests that are in that folder, all of which are of the catalogue.
func test(folder, only string) (map[int][]result, error) {
	cmd := exec.Command("go", "test", "-tags", "drill", "-json", "-count=1", "-run", only, ".")
	cmd.Dir = folder
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if len(out) == 0 {
		return nil, fmt.Errorf("go test in %s: %w; run this in the root of the repository", folder, err)
	}
	return read(bytes.NewReader(out))
}

// A result is how the test of a line ended.
type result struct {
	test     string // its name
	subtests int
	ended    string // pass, fail or skip
}

// ofLine finds the number in the name of a test.
var ofLine = regexp.MustCompile(`^TestFault(\d{2,3})[A-Z]\w*$`)

// read takes the results, by line, from what go test -json prints.
func read(out io.Reader) (map[int][]result, error) {
	byLine := map[int][]result{}
	subtests := map[string]int{}
	var wrong []error
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test, Output string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("go test -json: %w", err)
		}
		if event.Test == "" || event.Action != "pass" && event.Action != "fail" && event.Action != "skip" {
			continue
		}
		name, _, isSub := strings.Cut(event.Test, "/")
		if isSub {
			subtests[name]++
		}
		if event.Action != "pass" {
			wrong = append(wrong, fmt.Errorf("%s: %s", event.Test, event.Action))
			continue
		}
		m := ofLine.FindStringSubmatch(name)
		if m == nil {
			wrong = append(wrong, fmt.Errorf("%s: expected a name such as TestFault07DoubledKeys", name))
			continue
		}
		if number, _ := strconv.Atoi(m[1]); !isSub {
			byLine[number] = append(byLine[number], result{test: name, subtests: subtests[name], ended: event.Action})
		}
	}
	return byLine, errors.Join(append(wrong, lines.Err())...)
}

func write(catalogue []faults.Line, results map[int][]result) ([]byte, error) {
	var b strings.Builder
	b.WriteString("# What will go wrong, and what comes of it\n\n" +
		"Each line has tests in `tools/faults`, or in `e2e` if they need Redis, which `go run ./tools/faults/report` runs to write this page. " +
		"\"The list stays\" means: the index, the cursor and the ages are as before, the failure is counted by its reason, the next refresh backs off, the loop goes on, and nothing secret or personal is in an error or a log line.\n")
	part := ""
	var missing []error
	for _, line := range catalogue {
		if line.Part != part {
			part = line.Part
			fmt.Fprintf(&b, "\n## %s\n\n| | What goes wrong | What comes of it | Test | |\n| ---: | --- | --- | --- | --- |\n", part)
		}
		tests := results[line.Number]
		delete(results, line.Number)
		if len(tests) == 0 {
			missing = append(missing, fmt.Errorf("line %d has no test: %s", line.Number, line.Fault))
			continue
		}
		slices.SortFunc(tests, func(a, b result) int { return strings.Compare(a.test, b.test) })
		var names, ends []string
		for _, r := range tests {
			name := "`" + r.test + "`"
			if r.subtests > 0 {
				name += fmt.Sprintf(" (%d)", r.subtests)
			}
			names, ends = append(names, name), append(ends, r.ended)
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", line.Number, line.Fault, line.Outcome,
			strings.Join(names, ", "), strings.Join(slices.Compact(ends), ", "))
	}
	for number := range results {
		missing = append(missing, fmt.Errorf("the catalogue has no line %d", number))
	}
	return []byte(b.String()), errors.Join(missing...)
}
