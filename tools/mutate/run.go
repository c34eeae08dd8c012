package main

import (
	"bytes"
	"cmp"
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
	flags           []string
	tests           []test // the quickest first
}

// A test is one of a suite that passes without a mutant.
type test struct {
	name string
	took time.Duration // of a processor's time, however busy the machine is
	wall time.Duration
	by   map[int]bool // mutants that it comes by
}

// quick is what the tests take that a mutant meets first, of which there may be
// many. Those that it meets next may take four times as long, and so on.
const quick = 200 * time.Millisecond

// unshrunk is a flag of those test programs that use rapid.
const unshrunk = "-rapid.shrinktime=0s"

// mutate tests the mutants of files of one package, but for those that the store knows.
func mutate(files []string, workers int, kept store) ([]mutant, error) {
	tmp, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	folder := filepath.Dir(files[0])
	p, err := load(folder)
	if err != nil {
		return nil, err
	}
	state, all := hashes(folder), []mutant(nil)
	files = slices.DeleteFunc(slices.Clone(files), func(file string) bool {
		var known []mutant
		if known, err = p.overlay(tmp, []string{file}, nil); err == nil && kept.recall(file, state, known) {
			all = append(all, known...)
			return true
		}
		return false
	})
	if len(files) == 0 || err != nil {
		say("%s: %d mutants, all of them known", folder, len(all))
		return all, err
	}
	mutants, tests, err := p.build(tmp, files)
	if err != nil {
		return nil, err
	}
	of, was := map[string][]mutant{}, map[string]string{} // parts of mutants, and hashes
	for i := 0; i < len(mutants); {
		end := i
		for end < len(mutants) && mutants[end].file == mutants[i].file {
			end++
		}
		of[mutants[i].file], was[mutants[i].file] = mutants[i:end], hash(mutants[i].file)
		kept.recall(mutants[i].file, state, mutants[i:end])
		i = end
	}
	var queue []int
	left := map[string]int{}
	for i, m := range mutants {
		if m.status == "" {
			queue = append(queue, i)
			left[m.file]++
		}
	}
	say("%s: %d mutants, of which %d are to be tested", folder, len(all)+len(mutants), len(queue))
	if err := tests.trace(tmp, workers); err != nil {
		return nil, err
	}
	var mu sync.Mutex
	inParallel(workers, queue, func(i int) {
		m := &mutants[i]
		status := tests.fate(i + 1)
		mu.Lock()
		defer mu.Unlock()
		m.status = status
		if status != killed {
			say("%s: %s:%d: %s: %s", status, m.file, m.line, m.kind, m.text)
		}
		if left[m.file]--; left[m.file] == 0 {
			kept.keep(m.file, was[m.file], state, of[m.file])
		}
	})
	return append(all, mutants...), nil
}

// inParallel calls do for each of a list, of which some are under way at a time.
func inParallel[T any](workers int, list []T, do func(T)) {
	queue := make(chan T)
	var done sync.WaitGroup
	for range workers {
		done.Go(func() {
			for one := range queue {
				do(one)
			}
		})
	}
	for _, one := range list {
		queue <- one
	}
	close(queue)
	done.Wait()
}

func say(format string, args ...any) { fmt.Fprintf(os.Stderr, format+"\n", args...) }

// trace runs every test by itself, and notes which mutants it comes by.
func (s *suite) trace(tmp string, workers int) error {
	out, err := s.command(context.Background(), nil, "-test.list=^(Test|Example|Fuzz)").Output()
	if err != nil {
		return fmt.Errorf("%s: listing the tests: %w", s.folder, err)
	}
	// What fails is not to be looked for in its smallest form.
	if s.command(context.Background(), nil, "-test.list=^$", unshrunk).Run() == nil {
		s.flags = []string{unshrunk}
	}
	var mu sync.Mutex
	inParallel(workers, strings.Fields(string(out)), func(name string) {
		file := filepath.Join(tmp, "trace-"+name)
		cmd, begun := s.command(context.Background(), []string{"MUTANT_TRACE=" + file}, "-test.run=^"+name+"$"), time.Now()
		err := cmd.Run()
		if cmd.ProcessState == nil {
			say("%s: %s is left out: %v", s.folder, name, err)
			return
		}
		t := test{name, cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), time.Since(begun), map[int]bool{}}
		numbers, _ := os.ReadFile(file) // none if it comes by nothing
		_ = os.Remove(file)
		for _, n := range bytes.Fields(numbers) {
			id, _ := strconv.Atoi(string(n))
			t.by[id] = true
		}
		mu.Lock()
		defer mu.Unlock()
		if err != nil {
			say("%s: %s is left out: it fails without a mutant, %v", s.folder, name, err)
		} else {
			s.tests = append(s.tests, t)
		}
	})
	slices.SortFunc(s.tests, func(a, b test) int { return cmp.Compare(a.took, b.took) })
	if len(s.tests) == 0 {
		return fmt.Errorf("%s: no test passes", s.folder)
	}
	return nil
}

func (s *suite) command(ctx context.Context, env []string, args ...string) *exec.Cmd {
	// An endless loop ends, and if it allocates it must not take all memory of the
	// machine. The limit is a hard one: of a soft one the kernel sends SIGXCPU, which
	// a Go program ignores.
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", `ulimit -v 12000000; ulimit -t "${MUTANT_SECONDS:-600}"; exec "$@"`, "sh", s.program}, args...)...)
	// Several of them run at a time: each on one processor, with little to collect.
	cmd.Dir, cmd.Env, cmd.WaitDelay = s.folder, append(append(os.Environ(), "GOMAXPROCS=1", "GOGC=400"), env...), time.Second
	return cmd
}

// fate is what becomes of a mutant.
func (s *suite) fate(id int) (status string) {
	status = uncovered
	for _, batch := range s.batches(id) {
		switch s.run(id, batch) {
		case killed:
			return killed
		case hung:
			status = hung
		case lived:
			if status == uncovered {
				status = lived
			}
		}
	}
	return status
}

// batches are the tests that come by a mutant, the quickest first.
func (s *suite) batches(id int) (all [][]test) {
	var took, most time.Duration = 0, quick
	for _, t := range s.tests {
		if !t.by[id] {
			continue
		}
		if took += t.took; len(all) == 0 || took > most {
			if len(all) > 0 {
				most *= 4
			}
			all, took = append(all, nil), t.took
		}
		all[len(all)-1] = append(all[len(all)-1], t)
	}
	return all
}

var (
	failure = regexp.MustCompile(`(?m)^ *--- FAIL: (\w+)`)
	turn    = regexp.MustCompile(`(?m)^(=== RUN|=== CONT|=== PAUSE|--- PASS:|--- FAIL:|--- SKIP:) +(\w+)(?: \(.*)?$`)
)

// run runs tests with a mutant. Only a test that fails twice kills it: the
// machine may have been too busy for it once. Tests that hang do not: the others
// run again without them.
func (s *suite) run(id int, batch []test) string {
	output, err := s.try(id, batch)
	if err == nil {
		return lived
	}
	failed := names(failure, output)
	if len(failed) == 0 && (bytes.Contains(output, []byte("panic: test timed out after")) || err.Error() == "signal: killed") {
		waiting := underWay(output)
		rest := slices.DeleteFunc(slices.Clone(batch), func(t test) bool { return waiting[t.name] })
		if len(rest) == len(batch) || len(rest) > 0 && s.run(id, rest) == killed {
			return killed
		}
		return hung
	}
	if len(failed) > 0 {
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
	// What hangs in a loop ends by a processor's time, and what waits by the clock,
	// which a busy machine does not keep up with.
	work, most := 2*time.Second, 20*time.Second
	var list []string
	for _, t := range batch {
		work += 5 * t.took
		most += 5*t.wall + 20*t.took
		list = append(list, t.name)
	}
	ctx, cancel := context.WithTimeout(context.Background(), most+20*time.Second)
	defer cancel()
	output := &watched{failed: cancel}
	cmd := s.command(ctx, []string{"MUTANT=" + strconv.Itoa(id), "MUTANT_SECONDS=" + strconv.Itoa(int(work.Seconds()))}, append(s.flags,
		"-test.v", "-test.failfast", "-test.timeout="+most.String(), "-test.run=^("+strings.Join(list, "|")+")$")...)
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

// underWay are the tests that had begun and not ended when the output did.
func underWay(output []byte) map[string]bool {
	running := map[string]bool{}
	for _, match := range turn.FindAllSubmatch(output, -1) {
		running[string(match[2])] = string(match[1]) == "=== RUN" || string(match[1]) == "=== CONT"
	}
	return running
}

func names(line *regexp.Regexp, output []byte) (list []string) {
	for _, match := range line.FindAllSubmatch(output, -1) {
		list = append(list, string(match[1]))
	}
	slices.Sort(list)
	return slices.Compact(list)
}
