package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// families are the benchmarks, each run in a process of its own.
var families = []string{
	"Decide", "Peers", "Parallel", "Swapping", "Middleware", "Frameworks", "Heap", "GC", "Refresh", "RefreshLatency", "FullRefresh", "FullRefreshHeap", "Start",
}

// results are what the families gave when each was run last.
type results map[string]family

// A family is one run of a family of benchmarks.
type family struct {
	Date    string  `json:"date"`
	Seconds float64 `json:"seconds"`
	Machine machine `json:"machine"`

	// Metrics are the figures by the name of the benchmark, without its family,
	// and by unit.
	Metrics map[string]map[string]float64 `json:"metrics"`
}

// A machine is what a family was run on.
type machine struct {
	CPU      string `json:"cpu"`
	Procs    int    `json:"procs"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
}

// String names a machine in a line.
func (m machine) String() string {
	return fmt.Sprintf("%s, %d cores, %s, %s", m.CPU, m.Procs, m.Platform, m.Go)
}

// get returns a figure; ok is false if it has never been measured.
func (r results) get(name, benchmark, unit string) (value float64, ok bool) {
	value, ok = r[name].Metrics[benchmark][unit]
	return value, ok
}

// load reads results that were saved. No file is no results.
func load(file string) (results, error) {
	text, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return results{}, nil
	}
	if err != nil {
		return nil, err
	}
	all := results{}
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&all); err != nil {
		return nil, fmt.Errorf("%s: %w; remove it to start anew", file, err)
	}
	for name := range all {
		if !anyMatches(regexp.MustCompile("^"+regexp.QuoteMeta(name)+"$"), families) {
			return nil, fmt.Errorf("%s: there is no family %q (any more); remove it from there", file, name)
		}
	}
	return all, nil
}

func save(file string, all results) error {
	text, err := json.MarshalIndent(all, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(text, '\n'), 0o644)
}

// inside are the families that need a look inside the library, whose benchmarks
// are in its own package.
var inside = map[string]bool{"Swapping": true}

// runFamily runs the benchmarks of one family.
func runFamily(ctx context.Context, name string, short bool, log io.Writer) (family, error) {
	args := []string{"test", "-run", "^$", "-bench", "^Benchmark" + name + "$", "-benchtime", "1x", "-timeout", "10m"}
	if short {
		args = append(args, "-short")
	}
	fmt.Fprintln(log, "$ go", strings.Join(append(args, "."), " "))
	var out bytes.Buffer
	cmd := exec.CommandContext(ctx, "go", append(args, ".")...)
	if inside[name] {
		cmd.Dir = ".."
	}
	cmd.Env = append(os.Environ(), "GOWORK=off")
	cmd.Stdout = io.MultiWriter(&out, log)
	cmd.Stderr = log
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // go test ends what it started
	cmd.WaitDelay = 10 * time.Second
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return family{}, err
	}
	f, err := parse(&out)
	if err != nil {
		return family{}, err
	}
	f.Date = began.UTC().Format(time.DateOnly)
	f.Seconds = float64(time.Since(began).Round(100*time.Millisecond)) / 1e9
	if f.Machine.Go, err = goVersion(ctx); err != nil {
		return family{}, err
	}
	return f, nil
}

// goVersion is the version of the Go that ran the benchmarks.
func goVersion(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOVERSION").Output()
	return strings.TrimSpace(string(out)), err
}

// resultLine is a benchmark's line in the output of go test. The name ends with
// the number of cores, unless that is 1.
var resultLine = regexp.MustCompile(`^Benchmark([A-Za-z]+)/(\S+?)(?:-(\d+))?\s+\d+\s+(.+)$`)

// parse reads the output of go test -bench.
func parse(out io.Reader) (family, error) {
	f := family{Machine: machine{Procs: 1}, Metrics: map[string]map[string]float64{}}
	about := map[string]string{}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		line := lines.Text()
		if key, value, ok := strings.Cut(line, ": "); ok {
			about[key] = value
			continue
		}
		m := resultLine.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		if m[3] != "" {
			f.Machine.Procs, _ = strconv.Atoi(m[3])
		}
		fields := strings.Fields(m[4])
		if len(fields)%2 != 0 {
			return family{}, fmt.Errorf("a line of go test that cannot be read: %q", line)
		}
		metrics := map[string]float64{}
		for i := 0; i < len(fields); i += 2 {
			value, err := strconv.ParseFloat(fields[i], 64)
			if err != nil {
				return family{}, fmt.Errorf("a line of go test that cannot be read: %q: %w", line, err)
			}
			metrics[fields[i+1]] = value
		}
		f.Metrics[m[2]] = metrics
	}
	if err := lines.Err(); err != nil {
		return family{}, err
	}
	if len(f.Metrics) == 0 {
		return family{}, errors.New("go test printed no result")
	}
	f.Machine.CPU = strings.TrimSpace(about["cpu"])
	f.Machine.Platform = about["goos"] + "/" + about["goarch"]
	return f, nil
}
