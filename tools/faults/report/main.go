// Command report runs the tests of the fault catalogue and writes
// docs/faults.md: each line, the tests of it, and how they ended.
//
//	go run ./tools/faults/report
//
// It fails, and writes nothing, if a line has no test, or a test failed or was
// skipped, or there is no Redis for those that need one. With -check it only
// compares: for CI, which has run the tests already, and says by -ran, for each
// folder, where go test -v has written what became of them.
package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"maps"
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
	ran := map[string]string{}
	flag.Func("ran", "take the results of a folder's tests from what go test -v has printed, as `FOLDER=FILE`, instead of running them", func(text string) error {
		folder, file, ok := strings.Cut(text, "=")
		if _, known := folders[folder]; !ok || !known {
			return fmt.Errorf("expected a folder with tests of the catalogue and a file, such as %s=tests.txt", slices.Min(slices.Collect(maps.Keys(folders))))
		}
		ran[folder] = file
		return nil
	})
	flag.Parse()
	if err := run(*check, ran); err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// folders have the tests, and which of theirs are of the catalogue: the names begin so.
var folders = map[string]string{"tools/faults": "", "e2e": "TestFault"}

func run(check bool, ran map[string]string) error {
	if err := findRedis(); err != nil {
		return err
	}
	results := map[int][]result{}
	for folder, prefix := range folders {
		found, err := test(folder, prefix, ran[folder])
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

// test runs the tests of a folder, all of which are of the catalogue, or reads how
// they have ended from what go test -v has printed into a file.
func test(folder, prefix, file string) (map[int][]result, error) {
	cmd := exec.Command("go", "test", "-tags", "drill", "-json", "-count=1", "-run", "^"+prefix, ".")
	cmd.Dir = folder
	if file != "" {
		printed, err := os.Open(file)
		if err != nil {
			return nil, err
		}
		defer printed.Close()
		cmd = exec.Command("go", "tool", "test2json")
		cmd.Stdin = printed
	}
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if len(out) == 0 {
		return nil, fmt.Errorf("go test in %s: %w; run this in the root of the repository", folder, err)
	}
	return read(bytes.NewReader(out), prefix)
}

// A result is how the test of a line ended.
type result struct {
	test     string // its name
	subtests int
	ended    string // pass, fail or skip
}

// ofLine finds the number in the name of a test.
var ofLine = regexp.MustCompile(`^TestFault(\d{2,3})[A-Z]\w*$`)

// read takes the results, by line, from what go test -json prints. Of a test that ran
// again, as CI has it when the race detector itself has failed, the last run counts.
func read(out io.Reader, prefix string) (map[int][]result, error) {
	ended := map[string]string{}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var event struct{ Action, Test string }
		if err := json.Unmarshal(lines.Bytes(), &event); err != nil {
			return nil, fmt.Errorf("go test -json: %w", err)
		}
		if event.Test == "" || event.Action != "pass" && event.Action != "fail" && event.Action != "skip" {
			continue
		}
		if strings.HasPrefix(event.Test, prefix) {
			ended[event.Test] = event.Action
		}
	}
	byLine := map[int][]result{}
	subtests := map[string]int{}
	var wrong []error
	for _, test := range slices.Backward(slices.Sorted(maps.Keys(ended))) { // subtests before their test
		name, _, isSub := strings.Cut(test, "/")
		if isSub {
			subtests[name]++
		}
		if ended[test] != "pass" {
			wrong = append(wrong, fmt.Errorf("%s: %s", test, ended[test]))
			continue
		}
		m := ofLine.FindStringSubmatch(name)
		if m == nil {
			wrong = append(wrong, fmt.Errorf("%s: expected a name such as TestFault07DoubledKeys", name))
			continue
		}
		if number, _ := strconv.Atoi(m[1]); !isSub {
			byLine[number] = append(byLine[number], result{test: name, subtests: subtests[name], ended: ended[test]})
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
