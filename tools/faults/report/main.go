// Command report runs the tests of the fault catalogue and writes docs/faults.md
// and docs/faults.zh-CN.md: each line, the tests of it, and how they ended.
//
//	go run ./tools/faults/report
//
// It fails, and writes nothing, if a line has no test or no Chinese text, or a test
// failed or was skipped, or there is no Redis for those that need one. With -check it only
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

func main() {
	check := flag.Bool("check", false, "compare with the pages instead of writing them")
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
	written := map[string][]byte{}
	for _, l := range languages {
		page, err := l.write(faults.Catalogue(), results)
		if err != nil {
			return err
		}
		written[l.page] = page
	}
	for _, l := range languages { // once all of them are right
		if !check {
			if err := os.WriteFile(l.page, written[l.page], 0o644); err != nil {
				return err
			}
			continue
		}
		before, err := os.ReadFile(l.page)
		if err != nil {
			return err
		}
		if !bytes.Equal(before, written[l.page]) {
			return fmt.Errorf("%s is not what the tests say: run go run ./tools/faults/report", l.page)
		}
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

// A language is one that the catalogue is written in.
type language struct {
	page  string
	begin string // of the page
	head  string // of each table
	ended map[string]string
	texts func(faults.Line) (part, fault, outcome string)
}

var languages = []language{{
	page: "docs/faults.md",
	begin: "# What will go wrong, and what comes of it\n\n" +
		"**English** · [简体中文](faults.zh-CN.md)\n\n" +
		"Each line has tests in `tools/faults`, or in `e2e` if they need Redis, which `go run ./tools/faults/report` runs to write this page. " +
		"\"The list stays\" means: the index, the cursor and the ages are as before, the failure is counted by its reason, the next refresh backs off, the loop goes on, and nothing secret or personal is in an error or a log line.\n",
	head:  "| | What goes wrong | What comes of it | Test | |",
	ended: map[string]string{"pass": "pass"},
	texts: func(l faults.Line) (part, fault, outcome string) { return l.Part.Name, l.Fault, l.Outcome },
}, {
	page: "docs/faults.zh-CN.md",
	begin: "# 会出哪些故障，结果如何\n\n" +
		"[English](faults.md) · **简体中文**\n\n" +
		"每一行都有测试，在 `tools/faults` 里，需要 Redis 的在 `e2e` 里；`go run ./tools/faults/report` 运行这些测试并生成本页。" +
		"「列表不变」指：索引、游标和两种时长都与之前相同，失败按原因计数，下一次同步退避，同步循环继续运行，错误和日志里没有任何敏感信息或个人数据。\n",
	head:  "| | 故障 | 结果 | 测试 | |",
	ended: map[string]string{"pass": "通过"},
	texts: func(l faults.Line) (part, fault, outcome string) { return l.Part.NameZH, l.FaultZH, l.OutcomeZH },
}}

// write returns the page.
func (l language) write(catalogue []faults.Line, results map[int][]result) ([]byte, error) {
	var b strings.Builder
	b.WriteString(l.begin)
	before := ""
	var missing []error
	known := map[int]bool{}
	for _, line := range catalogue {
		known[line.Number] = true
		part, fault, outcome := l.texts(line)
		if part == "" || fault == "" || outcome == "" {
			missing = append(missing, fmt.Errorf("line %d has no text for %s: %s", line.Number, l.page, line.Fault))
			continue
		}
		if part != before {
			before = part
			fmt.Fprintf(&b, "\n## %s\n\n%s\n| ---: | --- | --- | --- | --- |\n", part, l.head)
		}
		tests := slices.SortedFunc(slices.Values(results[line.Number]), func(a, b result) int { return strings.Compare(a.test, b.test) })
		if len(tests) == 0 {
			missing = append(missing, fmt.Errorf("line %d has no test: %s", line.Number, line.Fault))
			continue
		}
		var names, ends []string
		for _, r := range tests {
			name := "`" + r.test + "`"
			if r.subtests > 0 {
				name += fmt.Sprintf(" (%d)", r.subtests)
			}
			names, ends = append(names, name), append(ends, l.ended[r.ended])
		}
		fmt.Fprintf(&b, "| %d | %s | %s | %s | %s |\n", line.Number, fault, outcome,
			strings.Join(names, ", "), strings.Join(slices.Compact(ends), ", "))
	}
	for number := range results {
		if !known[number] {
			missing = append(missing, fmt.Errorf("the catalogue has no line %d", number))
		}
	}
	return []byte(b.String()), errors.Join(missing...)
}
