package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A child is the example as a process of its own.
type child struct {
	cmd    *exec.Cmd
	url    string
	secret []byte // that it must not print

	ended   chan struct{}
	waitErr error // once ended

	mu      sync.Mutex
	tail    []string // the last lines that are not of refusals
	lines   uint64
	said    string // what it must not have said
	goodbye bool
}

// startChild builds the example and starts it. It is killed when ctx ends; and
// should this process be killed itself, the next line that the example logs
// ends it, since nobody reads its pipe.
func startChild(ctx context.Context, folder string, race bool, secret string, env ...string) (*child, error) {
	binary := filepath.Join(folder, "example")
	args := []string{"build", "-o", binary}
	if race {
		args = append(args, "-race")
	}
	build := exec.CommandContext(ctx, "go", append(args, "github.com/rolegate/rolegate/example")...)
	if out, err := build.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("go build: %w\n%s", err, out)
	}
	c := &child{cmd: exec.CommandContext(ctx, binary, "-addr", "127.0.0.1:0"), secret: []byte(secret), ended: make(chan struct{})}
	c.cmd.Env = append(os.Environ(), env...)
	stdout, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	stderr, err := c.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	serving := make(chan string, 1)
	var reading sync.WaitGroup
	reading.Go(func() {
		c.read(stdout, func(line string) {
			if url, ok := strings.CutPrefix(line, "serving on "); ok {
				serving <- url
			}
			c.goodbye = c.goodbye || line == "shutting down"
		})
	})
	reading.Go(func() { c.read(stderr, func(string) {}) })
	go func() {
		reading.Wait()
		c.waitErr = c.cmd.Wait()
		close(c.ended)
	}()
	select {
	case c.url = <-serving:
		return c, nil
	case <-c.ended:
		return nil, fmt.Errorf("the example ended: %w\n%s", c.waitErr, c.last())
	case <-time.After(20 * time.Second):
		c.kill()
		return nil, fmt.Errorf("the example does not serve\n%s", c.last())
	}
}

// unsaid are words that no line of the example may have in it.
var unsaid = []string{"panic", "fatal error", "DATA RACE", "level=ERROR msg=\"http"}

// read looks through what the example prints.
func (c *child) read(from io.Reader, each func(line string)) {
	lines := bufio.NewReaderSize(from, 1<<20)
	for {
		line, err := lines.ReadSlice('\n')
		c.look(line, each)
		if err != nil && !errors.Is(err, bufio.ErrBufferFull) {
			return
		}
	}
}

func (c *child) look(line []byte, each func(string)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.lines++
	what := ""
	if bytes.Contains(line, c.secret) {
		what = "the access token"
	}
	for _, word := range unsaid {
		if bytes.Contains(line, []byte(word)) {
			what = word
		}
	}
	if what != "" && c.said == "" {
		c.said = fmt.Sprintf("the example printed %s: %s", what, line)
	}
	if len(line) == 0 || what == "" && bytes.Contains(line, []byte("rolegate: refused")) {
		return
	}
	text := strings.TrimSuffix(string(line), "\n")
	c.tail = append(c.tail, text)
	if len(c.tail) > 60 {
		c.tail = c.tail[1:]
	}
	each(text)
}

// wrong returns what the example has printed that it must not, "" for nothing.
func (c *child) wrong() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.said
}

// last returns its last lines.
func (c *child) last() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "    " + strings.Join(c.tail, "\n    ") + "\n"
}

// interrupt asks the example to end, and says what is wrong with how it does.
func (c *child) interrupt() error {
	if err := c.cmd.Process.Signal(os.Interrupt); err != nil {
		return fmt.Errorf("SIGINT: %w", err)
	}
	select {
	case <-c.ended:
	case <-time.After(10 * time.Second):
		c.kill()
		return errors.New("the example did not end within 10 s of SIGINT")
	}
	if c.waitErr != nil {
		return fmt.Errorf("the example ended with %w", c.waitErr)
	}
	if !c.goodbye {
		return errors.New("the example did not say that it shuts down")
	}
	return nil
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill() // it may have ended
	<-c.ended
}

// A footprint is what the example takes of its machine at one time.
type footprint struct {
	at           time.Time
	rss          int64 // bytes
	threads, fds int
}

// footprint reads it from /proc; there is none on other systems than Linux.
func (c *child) footprint() (footprint, error) {
	folder := filepath.Join("/proc", strconv.Itoa(c.cmd.Process.Pid))
	text, err := os.ReadFile(filepath.Join(folder, "status"))
	if err != nil {
		return footprint{}, err
	}
	fds, err := os.ReadDir(filepath.Join(folder, "fd"))
	if err != nil {
		return footprint{}, err
	}
	f := footprint{at: time.Now(), fds: len(fds)}
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) < 2:
		case fields[0] == "VmRSS:":
			kilobytes, _ := strconv.ParseInt(fields[1], 10, 64)
			f.rss = kilobytes << 10
		case fields[0] == "Threads:":
			f.threads, _ = strconv.Atoi(fields[1])
		}
	}
	if f.rss == 0 || f.threads == 0 {
		return footprint{}, errors.New("/proc does not tell the size of the example")
	}
	return f, nil
}
