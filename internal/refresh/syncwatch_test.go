package refresh_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
)

// A checker says what a test has it say.
type checker struct {
	mu      sync.Mutex
	running bool
	err     error
	panics  bool
	takes   time.Duration
	calls   int

	held, lasts, quiet bool
	over               int
}

func (c *checker) check(ctx context.Context) (refresh.SyncReport, error) {
	handed.Add(1)
	c.mu.Lock()
	c.calls++
	running, err, panics, takes := c.running, c.err, c.panics, c.takes
	c.mu.Unlock()
	if panics {
		panic("oh no")
	}
	time.Sleep(takes)
	return refresh.SyncReport{Running: running, Text: "text"}, err
}

// set changes what it says.
func (c *checker) set(change func()) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change()
}

// watch starts a watch in a bubble of synctest.
func (c *checker) watch(t *testing.T) (*refresh.SyncWatch, *refresh.Tasks) {
	t.Helper()
	tasks := refresh.NewTasks()
	t.Cleanup(func() {
		tasks.End()
		tasks.Wait()
	})
	w := refresh.NewSyncWatch(refresh.SyncConfig{
		Tasks: tasks, Clock: clock.Read, Check: c.check,
		Depends: func() (held, lasts, quiet bool) {
			handed.Add(1)
			c.mu.Lock()
			defer c.mu.Unlock()
			return c.held, c.lasts, c.quiet
		},
		Over: func() { c.over++ },
	})
	w.Start()
	return w, tasks
}

func TestNoSyncChecker(t *testing.T) {
	t.Parallel()
	w := refresh.NewSyncWatch(refresh.SyncConfig{})
	w.Start()
	assert.False(t, w.Running(t.Context()))
	assert.False(t, w.During(t.Context())())
	assert.Zero(t, w.Status())
}

// Only a clear yes is one.
func TestSyncIsRunning(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		set   *checker
		want  bool
		took  time.Duration
		error string
	}{
		{"yes", &checker{running: true}, true, 0, ""},
		{"no", &checker{}, false, 0, ""},
		{"yes, but with an error", &checker{running: true, err: io.EOF}, false, 0, "EOF"},
		{"a panic", &checker{running: true, panics: true}, false, 0, "the SyncChecker"},
		{"yes, within the time", &checker{running: true, takes: 5*time.Second - 1}, true, 5*time.Second - 1, ""},
		{"yes, but too late", &checker{running: true, takes: time.Minute}, false, 5 * time.Second, "did not answer"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, _ := c.set.watch(t)
				begun := time.Now()
				assert.Equal(t, c.want, w.Running(t.Context()))
				assert.Equal(t, c.took, time.Since(begun))
				status := w.Status()
				assert.Equal(t, c.want, status.Report.Running)
				assert.Equal(t, time.Now(), status.Checked.In(time.Now().Location()))
				if c.error == "" {
					assert.Zero(t, status.Failed)
					assert.Equal(t, "text", status.Report.Text)
					return
				}
				assert.EqualValues(t, 1, status.Failed)
				assert.Contains(t, status.Error, c.error)
				assert.Zero(t, status.Report)
			})
		})
	}
}

func TestSyncCheckerIsAskedByOneAtATime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &checker{running: true, takes: 20 * time.Second}
		w, tasks := c.watch(t)
		for range 3 {
			assert.False(t, w.Running(t.Context()))
		}
		synctest.Wait()
		assert.Equal(t, 1, c.calls)
		pass(4 * time.Second)
		assert.True(t, w.Running(t.Context()), "it has its answer a second later")
		pass(time.Second)
		c.set(func() { c.takes = 0 })
		assert.True(t, w.Running(t.Context()))
		assert.Equal(t, 2, c.calls)
		tasks.End()
		tasks.Wait()
		assert.False(t, w.Running(t.Context()))
		assert.Contains(t, w.Status().Error, "ended")
		assert.False(t, w.During(t.Context())())
	})
}

func TestSyncDuringARefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ atStart, atEnd, want bool }{{false, false, false}, {true, false, true}, {false, true, true}, {true, true, true}} {
		synctest.Test(t, func(t *testing.T) {
			s := &checker{running: c.atStart}
			w, _ := s.watch(t)
			ran := w.During(t.Context())
			synctest.Wait()
			s.set(func() { s.running = c.atEnd })
			assert.Equal(t, c.want, ran(), "%+v", c)
		})
	}
}

// A sync is watched for as long as something depends on it.
func TestSyncIsOver(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		set     *checker
		ran     bool
		want    int // how many times in 35 s
		watched bool
	}{
		{"nothing depends on it", &checker{}, false, 0, false},
		{"held, and it runs", &checker{held: true, lasts: true, running: true}, false, 0, true},
		{"held, and it has ended", &checker{held: true, lasts: true}, false, 2, true},
		{"held for too long", &checker{held: true, running: true}, false, 2, false},
		{"not held, but it ran", &checker{}, true, 2, true},
		{"not held, but it ran and runs", &checker{running: true}, true, 0, true},
		{"not held, which cannot last", &checker{running: true, lasts: false}, true, 0, true},
		{"nothing to do", &checker{held: true, lasts: true, quiet: true}, true, 0, false},
		{"held, and it cannot tell", &checker{held: true, lasts: true, running: true, err: io.EOF}, false, 2, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				w, _ := c.set.watch(t)
				if c.ran {
					was := c.set.running
					c.set.running = true
					require.True(t, w.During(t.Context())())
					c.set.set(func() { c.set.running = was })
				}
				c.set.set(func() { c.set.calls = 0 })
				pass(15*time.Second - time.Second)
				assert.Zero(t, c.set.over)
				pass(21 * time.Second)
				assert.Equal(t, c.want, c.set.over)
				want := 0
				if c.watched {
					want = 2
				}
				assert.Equal(t, want, c.set.calls)
			})
		})
	}
}

func TestSyncIsWatchedAgain(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := &checker{lasts: true}
		c.watch(t)
		pass(time.Minute)
		assert.Zero(t, c.calls)
		c.set(func() { c.held = true })
		pass(15 * time.Second)
		assert.Equal(t, 1, c.over)
	})
}
