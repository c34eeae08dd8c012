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
	"strconv"
	"strings"
	"sync"
	"time"
)

// A suite is the test program of a package.
type suite struct {
	folder, program string
	tests           []test
}

// A test is one of a suite that passes without a mutant.
type test struct {
	name string
	took time.Duration
	by   map[int]bool // mutants that it comes by
}

// quick is what a test may take to be among those that a mutant meets first.
const quick = 300 * time.Millisecond

// mutate tests the mutants of files of one package.
func mutate(files, also []string, workers int) ([]mutant, error) {
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	folder := filepath.Dir(files[0])
	mutants, suites, err := build(tmp, folder, files, append([]string{folder}, also...))
	if err != nil {
		return nil, err
	}
	say("%s: %d mutants", folder, len(mutants))
	for _, s := range suites {
		if err := s.trace(tmp, workers); err != nil {
			return nil, err
		}
	}
	queue := make(chan int)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for i := range queue {
				mutants[i].status = fate(suites, i+1)
				if mutants[i].status != killed {
					say("%s: %s:%d: %s: %s", mutants[i].status, mutants[i].file, mutants[i].line, mutants[i].kind, mutants[i].text)
				}
			}
		})
	}
	for i := range mutants {
		if mutants[i].status == "" {
			queue <- i
		}
	}
	close(queue)
	done.Wait()
	return mutants, nil
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// trace runs every test by itself, and notes which mutants it comes by.
func (s *suite) trace(tmp string, workers int) error {
	out, err := s.command(context.Background(), nil, "-test.list=^(Test|Example)").Output()
	if err != nil {
		return fmt.Errorf("%s: listing the tests: %w", s.folder, err)
	}
	names := make(chan string)
	var mu sync.Mutex
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for name := range names {
				file := filepath.Join(tmp, "trace-"+name)
				begun := time.Now()
				err := s.command(context.Background(), []string{"MUTANT_TRACE=" + file}, "-test.run=^"+name+"$").Run()
				t := test{name, time.Since(begun), map[int]bool{}}
				numbers, _ := os.ReadFile(file) // none if it comes by nothing
				_ = os.Remove(file)
				for _, n := range bytes.Fields(numbers) {
					id, _ := strconv.Atoi(string(n))
					t.by[id] = true
				}
				mu.Lock()
				if err != nil {
					say("%s: %s is left out: it fails without a mutant, %v", s.folder, name, err)
				} else {
					s.tests = append(s.tests, t)
				}
				mu.Unlock()
			}
		})
	}
	for _, name := range strings.Fields(string(out)) {
		if strings.HasPrefix(name, "Test") || strings.HasPrefix(name, "Example") {
			names <- name
		}
	}
	close(names)
	done.Wait()
	if len(s.tests) == 0 {
		return fmt.Errorf("%s: no test passes", s.folder)
	}
	return nil
}

func (s *suite) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	// An endless loop that allocates must not take all memory of the machine.
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -v 12000000; exec "$@"`, "sh", s.program}, args...)...)
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.folder, append(os.Environ(), env...), time.Second
	return cmd
}

// fate is what becomes of a mutant.
func fate(suites []*suite, id int) string {
	covered, waits := false, false
	for _, s := range suites {
		var fast, slow []test
		for _, t := range s.tests {
			switch {
			case !t.by[id]:
			case t.took < quick:
				fast = append(fast, t)
			default:
				slow = append(slow, t)
			}
		}
		for _, batch := range [][]test{fast, slow} {
			if len(batch) == 0 {
				continue
			}
			covered = true
			switch s.run(id, batch) {
			case killed:
				return killed
			case hung:
				waits = true
			}
		}
	}
	switch {
	case waits:
		return hung
	case covered:
		return lived
	}
	return uncovered
}

var (
	failure = regexp.MustCompile(`(?m)^ *--- FAIL: (\w+)`)
	running = regexp.MustCompile(`(?m)^\t\t(\w+)\S* \(\d.*s\)$`)
)

// run runs tests with a mutant. Only a test that fails twice kills it: the
// machine may have been too busy for it once. Tests that hang do not: the others
// run again without them.
func (s *suite) run(id int, batch []test) string {
	output, err := s.try(id, batch)
	if err == nil {
		return lived
	}
	if _, list, ended := bytes.Cut(output, []byte("panic: test timed out after")); ended {
		waiting := names(running, list)
		rest := slices.DeleteFunc(slices.Clone(batch), func(t test) bool { return slices.Contains(waiting, t.name) })
		if len(names(failure, output)) == 0 && len(rest) < len(batch) {
			if len(rest) > 0 && s.run(id, rest) == killed {
				return killed
			}
			return hung
		}
	}
	if failed := names(failure, output); len(failed) > 0 {
		batch = slices.DeleteFunc(slices.Clone(batch), func(t test) bool { return !slices.Contains(failed, t.name) })
	}
	for range 2 { // once may be the machine's fault, either way
		if _, err := s.try(id, batch); err != nil {
			return killed
		}
	}
	return lived
}

// try runs tests with a mutant until the first of them fails, of which its case
// of a table may be the only one that ends.
func (s *suite) try(id int, batch []test) ([]byte, error) {
	most := 3 * time.Second
	var list []string
	for _, t := range batch {
		most += 5 * t.took
		list = append(list, t.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), most+20*time.Second)
	defer cancel()
	output := &watched{failed: cancel}
	cmd := s.command(ctx, []string{"MUTANT=" + strconv.Itoa(id)},
		"-test.v", "-test.failfast", "-test.timeout="+most.String(), "-test.run=^("+strings.Join(list, "|")+")$")
	cmd.Stdout, cmd.Stderr = output, output
	err := cmd.Run()
	return output.Bytes(), err
}

// A watched is output in which a line may say that a test has failed.
type watched struct {
	bytes.Buffer
	line   int // where the last line begins
	failed func()
}

func (w *watched) Write(p []byte) (int, error) {
	n, err := w.Buffer.Write(p)
	if failure.Match(w.Bytes()[w.line:]) {
		w.failed()
	}
	w.line = bytes.LastIndexByte(w.Bytes(), '\n') + 1
	return n, err
}

func names(line *regexp.Regexp, output []byte) (list []string) {
	for _, match := range line.FindAllSubmatch(output, -1) {
		list = append(list, string(match[1]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}
