package refresh_test

import (
	"context"
	"io"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
)

// A limit allows half of a minute's events at once, and no more than all of them
// in any minute. What it refuses costs nothing.
func TestLimit(t *testing.T) {
	t.Parallel()
	for perMinute, c := range map[int]struct {
		atOnce int
		next   time.Duration
	}{1: {1, time.Minute}, 2: {1, 30 * time.Second}, 3: {2, 30 * time.Second}, 4: {2, 20 * time.Second}, 10: {5, 10 * time.Second}} {
		l := refresh.NewLimit(perMinute)
		at := func(d time.Duration) clock.Instant { return clock.Instant{Mono: int64(time.Hour + d), Wall: -1} }
		taken := 0
		for l.Take(at(0)) == 0 {
			taken++
			require.LessOrEqual(t, taken, perMinute)
		}
		assert.Equal(t, c.atOnce, taken, "%d at once", perMinute)
		left := func(d time.Duration) time.Duration { return l.Take(at(d)).Round(time.Millisecond) }
		assert.Equal(t, c.next, left(0), "%d", perMinute)
		for d := time.Second; d < time.Minute; d += time.Second {
			switch wait := left(d); {
			case wait == 0:
				taken++
			case d < c.next:
				assert.Equal(t, c.next-d, wait, "%d", perMinute)
			}
		}
		assert.Equal(t, perMinute, taken)
	}
}

// A denied is an OnDeny of a loop, and what it asks.
type denied struct {
	*refresh.OnDeny[int]
	loop  *refresh.Loop
	s     *source
	may   bool
	mu    sync.Mutex
	news  chan struct{}
	again bool
}

func startDenied(t *testing.T) *denied {
	t.Helper()
	d := &denied{s: &source{}, may: true, news: make(chan struct{})}
	d.loop, _ = start(t, d.s, func(cfg *refresh.LoopConfig) {
		cfg.Runs[refresh.Incremental].Every = func() time.Duration { return time.Hour }
	})
	d.OnDeny = refresh.NewOnDeny[int](d.loop, clock.Read, func(context.Context) bool { return d.may }, 2*time.Second, time.Minute)
	d.s.takes[refresh.Incremental] = time.Second
	pass(0)
	return d
}

// refuse is a refusal of that key: what Refresh says, and after how long.
func (d *denied) refuse(ctx context.Context, key int) (bool, time.Duration) {
	began := time.Now()
	again := d.Refresh(ctx, key, func() <-chan struct{} {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.news
	}, func() bool {
		d.mu.Lock()
		defer d.mu.Unlock()
		return d.again
	})
	return again, time.Since(began)
}

// publish publishes something that helps, or not, after which next is waited for.
func (d *denied) publish(now, next chan struct{}, helps bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.news, d.again = next, helps
	close(now)
}

func TestOnDeny(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		test func(t *testing.T, d *denied)
	}{
		{"it begins a refresh and waits for it", func(t *testing.T, d *denied) {
			again, took := d.refuse(t.Context(), 1)
			assert.True(t, again)
			assert.Equal(t, time.Second, took)
			assert.Len(t, d.s.began[refresh.Incremental], 1)
		}},
		{"it joins the one that is under way, whatever may", func(t *testing.T, d *denied) {
			f := d.loop.Join(refresh.Incremental)
			pass(500 * time.Millisecond)
			d.may = false
			again, took := d.refuse(t.Context(), 1)
			assert.True(t, again)
			assert.Less(t, took, time.Second)
			<-f.Done()
			assert.Len(t, d.s.began[refresh.Incremental], 1)
		}},
		{"several begin one", func(t *testing.T, d *denied) {
			var yes atomic.Int32
			for key := range 10 {
				go func() {
					if again, _ := d.refuse(t.Context(), key); again {
						yes.Add(1)
					}
				}()
			}
			pass(time.Second)
			assert.EqualValues(t, 10, yes.Load())
			assert.Len(t, d.s.began[refresh.Incremental], 1)
		}},
		{"not if it may not", func(t *testing.T, d *denied) {
			d.may = false
			again, took := d.refuse(t.Context(), 1)
			assert.False(t, again)
			assert.Zero(t, took)
			assert.Empty(t, d.s.began[refresh.Incremental])
		}},
		{"not while it backs off", func(t *testing.T, d *denied) {
			d.s.err[refresh.Incremental] = io.EOF
			again, _ := d.refuse(t.Context(), 1)
			require.True(t, again)
			again, took := d.refuse(t.Context(), 2)
			assert.False(t, again)
			assert.Zero(t, took)
		}},
		{"not for who was refused lately", func(t *testing.T, d *denied) {
			d.OnDeny.Refuse(1)
			time.Sleep(time.Minute - 1)
			again, _ := d.refuse(t.Context(), 1)
			assert.False(t, again)
			again, _ = d.refuse(t.Context(), 2)
			assert.True(t, again, "somebody else")
			again, _ = d.refuse(t.Context(), 1)
			assert.True(t, again, "it is not lately any more")
		}},
		{"for who was refused as long ago as counts", func(t *testing.T, d *denied) {
			d.OnDeny.Refuse(1)
			time.Sleep(time.Minute)
			again, _ := d.refuse(t.Context(), 1)
			assert.True(t, again)
		}},
		{"no longer than the wait", func(t *testing.T, d *denied) {
			d.s.takes[refresh.Incremental] = time.Minute
			again, took := d.refuse(t.Context(), 1)
			assert.True(t, again)
			assert.Equal(t, 2*time.Second, took)
		}},
		{"no longer than the caller", func(t *testing.T, d *denied) {
			ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
			defer cancel()
			_, took := d.refuse(ctx, 1)
			assert.Equal(t, 500*time.Millisecond, took)
		}},
		{"until something was published that helps", func(t *testing.T, d *denied) {
			news, next := d.news, make(chan struct{})
			time.AfterFunc(100*time.Millisecond, func() { d.publish(news, next, false) })
			time.AfterFunc(300*time.Millisecond, func() { d.publish(next, next, true) })
			_, took := d.refuse(t.Context(), 1)
			assert.Equal(t, 300*time.Millisecond, took)
		}},
		{"no more wait at once than can", func(t *testing.T, d *denied) {
			var ended atomic.Int32
			for key := range 10_000 {
				go func() {
					d.refuse(t.Context(), key)
					ended.Add(1)
				}()
			}
			synctest.Wait()
			require.Zero(t, ended.Load())
			again, took := d.refuse(t.Context(), 1)
			assert.False(t, again)
			assert.Zero(t, took)
			pass(time.Second)
			assert.EqualValues(t, 10_000, ended.Load())
			again, _ = d.refuse(t.Context(), 1)
			assert.True(t, again, "they have gone")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) { c.test(t, startDenied(t)) })
		})
	}
}

func TestOnAge(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		test func(t *testing.T, a *refresh.OnAge, l *refresh.Loop, tasks *refresh.Tasks, s *source)
	}{
		{"it makes none if there is no need", func(t *testing.T, a *refresh.OnAge, _ *refresh.Loop, _ *refresh.Tasks, s *source) {
			a.Await(t.Context(), time.Minute, func() bool { return true })
			assert.Len(t, s.began[refresh.Full], 1)
			assert.Zero(t, a.Until())
		}},
		{"one in so long", func(t *testing.T, a *refresh.OnAge, l *refresh.Loop, _ *refresh.Tasks, s *source) {
			begun := time.Now()
			a.Await(t.Context(), time.Minute, func() bool { return time.Since(begun) > 0 })
			assert.Equal(t, time.Second, time.Since(begun))
			assert.Len(t, s.began[refresh.Full], 2)
			assert.Equal(t, 2*time.Minute-time.Second, a.Until())
			time.Sleep(2*time.Minute - time.Second - 1)
			a.Await(t.Context(), time.Minute, func() bool { return false })
			assert.Len(t, s.began[refresh.Full], 2, "too early, by a nanosecond")
			time.Sleep(time.Nanosecond)
			assert.Zero(t, a.Until())
			begun = time.Now()
			a.Await(t.Context(), time.Minute, func() bool { return time.Since(begun) > 0 })
			assert.Len(t, s.began[refresh.Full], 3)
			time.Sleep(3 * time.Minute)
			assert.Zero(t, a.Until())
		}},
		{"it joins one that is under way, and gives up behind it", func(t *testing.T, a *refresh.OnAge, l *refresh.Loop, _ *refresh.Tasks, s *source) {
			l.Join(refresh.Full)
			pass(0)
			var asked int
			a.Await(t.Context(), time.Minute, func() bool { asked++; return asked > 1 })
			assert.Len(t, s.began[refresh.Full], 2)
			assert.Zero(t, a.Until(), "it has made none itself")
		}},
		{"not while it backs off", func(t *testing.T, a *refresh.OnAge, l *refresh.Loop, _ *refresh.Tasks, s *source) {
			s.err[refresh.Full] = io.EOF
			<-l.Join(refresh.Full).Done()
			synctest.Wait()
			a.Await(t.Context(), time.Minute, func() bool { return false })
			assert.Len(t, s.began[refresh.Full], 2)
			assert.Zero(t, a.Until())
			a.Owe()
			pass(10 * time.Millisecond)
			assert.Nil(t, a.Owed())
			assert.Len(t, s.began[refresh.Full], 2)
		}},
		{"no longer than the wait, or the caller", func(t *testing.T, a *refresh.OnAge, _ *refresh.Loop, _ *refresh.Tasks, s *source) {
			s.takes[refresh.Full] = 10 * time.Minute
			begun := time.Now()
			a.Await(t.Context(), time.Minute, func() bool { return false })
			assert.Equal(t, time.Minute, time.Since(begun))
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			a.Await(ctx, time.Minute, func() bool { return false })
			assert.Equal(t, time.Minute+time.Second, time.Since(begun))
		}},
		{"what is owed is made when it may be, once", func(t *testing.T, a *refresh.OnAge, _ *refresh.Loop, _ *refresh.Tasks, s *source) {
			begun := time.Now()
			a.Await(t.Context(), time.Minute, func() bool { return time.Since(begun) > 0 })
			a.Owe()
			owed := a.Owed()
			require.NotNil(t, owed)
			a.Owe()
			assert.Equal(t, owed, a.Owed())
			pass(time.Minute)
			assert.Len(t, s.began[refresh.Full], 2)
			handed.Add(1)
			<-owed
			synctest.Wait()
			assert.Equal(t, 2*time.Minute+time.Second, time.Since(begun).Round(time.Millisecond))
			assert.Len(t, s.began[refresh.Full], 3)
			assert.Nil(t, a.Owed())
			assert.Positive(t, a.Until())
		}},
		{"who waits for what is owed learns whether there was any", func(t *testing.T, a *refresh.OnAge, _ *refresh.Loop, _ *refresh.Tasks, s *source) {
			news := make(chan struct{})
			published := func() <-chan struct{} { return news }
			never := func() bool { return false }
			begun := time.Now()
			assert.False(t, a.AwaitOwed(t.Context(), time.Minute, published, never))
			assert.Zero(t, time.Since(begun))
			a.Await(t.Context(), time.Minute, func() bool { return time.Since(begun) > 0 })
			a.Owe()
			assert.True(t, a.AwaitOwed(t.Context(), time.Minute, published, never))
			assert.Equal(t, time.Minute+time.Second, time.Since(begun), "no longer than they may wait")
			assert.True(t, a.AwaitOwed(t.Context(), time.Hour, published, never))
			assert.Equal(t, 2*time.Minute+time.Second, time.Since(begun).Round(time.Millisecond))
			assert.Len(t, s.began[refresh.Full], 3)
		}},
		{"nothing is owed at the end", func(t *testing.T, a *refresh.OnAge, _ *refresh.Loop, tasks *refresh.Tasks, _ *source) {
			begun := time.Now()
			a.Await(t.Context(), time.Minute, func() bool { return time.Since(begun) > 0 })
			a.Owe()
			owed := a.Owed()
			tasks.End()
			<-owed
			assert.Equal(t, time.Second, time.Since(begun))
			a.Owe()
			assert.Nil(t, a.Owed())
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &source{}
				l, tasks := start(t, s, nil)
				pass(0)
				s.takes[refresh.Full] = time.Second
				c.test(t, refresh.NewOnAge(l, clock.Read, 2*time.Minute), l, tasks, s)
			})
		})
	}
}
