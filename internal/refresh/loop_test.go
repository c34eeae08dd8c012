package refresh_test

import (
	"context"
	"errors"
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

// A source counts the refreshes that a loop makes, and when.
type source struct {
	began [refresh.Kinds][]time.Duration // since the beginning of the test
	takes [refresh.Kinds]time.Duration
	err   [refresh.Kinds]error
}

// start starts a loop with steady jitter, in a bubble of synctest.
func start(t *testing.T, s *source, more func(*refresh.LoopConfig)) (*refresh.Loop, *refresh.Tasks) {
	t.Helper()
	tasks := refresh.NewTasks()
	t.Cleanup(func() {
		tasks.End()
		tasks.Wait()
	})
	begun := time.Now()
	run := func(k refresh.Kind, every time.Duration) refresh.Run {
		return refresh.Run{
			Every: func() time.Duration { return every },
			Do: func(ctx context.Context, _ clock.Instant) error {
				handed.Add(1)
				s.began[k] = append(s.began[k], time.Since(begun))
				select {
				case <-time.After(s.takes[k]):
					handed.Add(1)
					return s.err[k]
				case <-ctx.Done():
					return context.Cause(ctx)
				}
			},
		}
	}
	cfg := refresh.LoopConfig{
		Tasks: tasks, Clock: clock.Read, Random: func() float64 { return 0.5 }, Budget: 50 * time.Minute,
		Runs: [refresh.Kinds]refresh.Run{run(refresh.Incremental, time.Minute), run(refresh.Full, 10*time.Minute)},
	}
	if more != nil {
		more(&cfg)
	}
	l := refresh.NewLoop(cfg)
	l.Start()
	return l, tasks
}

// handed hands what a test has changed to the goroutines that time wakes: the race
// detector knows nothing of a bubble's time.
var handed atomic.Int64

// pass lets time go by, and a little more, in which what is due happens.
func pass(d time.Duration) {
	handed.Add(1)
	time.Sleep(d + time.Millisecond)
	synctest.Wait()
}

func minutes(ns ...int) (ds []time.Duration) {
	for _, n := range ns {
		ds = append(ds, time.Duration(n)*time.Minute)
	}
	return ds
}

func TestLoopRefreshesAtIntervals(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		l, _ := start(t, s, nil)
		pass(20 * time.Minute)
		assert.Equal(t, minutes(0, 10, 20), s.began[refresh.Full])
		assert.Len(t, s.began[refresh.Incremental], 20)
		assert.Equal(t, time.Minute, s.began[refresh.Incremental][0])
		assert.EqualValues(t, 3, l.Stats(refresh.Full).Succeeded)
		assert.Equal(t, 10*time.Minute, l.Until(refresh.Full).Round(time.Second))
	})
}

func TestLoopCountsFromTheStartAndRestsAfterASlowRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.takes[refresh.Full] = 4 * time.Minute
		start(t, s, nil)
		pass(0)
		pass(10 * time.Minute)
		assert.Equal(t, minutes(0, 10), s.began[refresh.Full], "from the start")
		s.takes[refresh.Full] = 12 * time.Minute
		pass(24 * time.Minute)
		assert.Equal(t, minutes(0, 10, 20, 33), s.began[refresh.Full], "a tenth of the interval after the end")
	})
}

func TestLoopBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.err[refresh.Full] = io.EOF
		l, _ := start(t, s, nil)
		pass(5 * time.Minute)
		var seconds []int
		for _, at := range s.began[refresh.Full] {
			seconds = append(seconds, int(at/time.Second))
		}
		assert.Equal(t, []int{0, 1, 3, 7, 15, 31, 63, 123, 183, 243}, seconds)
		stats := l.Stats(refresh.Full)
		assert.Equal(t, io.EOF, stats.Err)
		assert.EqualValues(t, 10, stats.Consecutive)
		assert.True(t, l.BackingOff(refresh.Full))
		l.Soon(refresh.Full)
		synctest.Wait()
		assert.Len(t, s.began[refresh.Full], 10, "Soon does not break the back-off")

		s.err[refresh.Full] = nil
		pass(time.Minute)
		assert.Zero(t, l.Stats(refresh.Full).Consecutive)
		l.Soon(refresh.Full)
		synctest.Wait()
		assert.Len(t, s.began[refresh.Full], 12, "and after a success it need not")
	})
}

// Short intervals back off from themselves, to ten times as long.
func TestLoopBacksOffFromItsInterval(t *testing.T) {
	t.Parallel()
	for every, want := range map[time.Duration][]time.Duration{
		time.Minute:            {60_000, 61_000, 63_000, 67_000, 75_000, 91_000, 123_000, 177_000, 231_000}, // never later than it would be due
		2 * time.Second:        {2000, 3000, 4800, 6600, 8400, 10_200, 12_000, 13_800},
		200 * time.Millisecond: {200, 400, 800, 1600, 2600, 3600, 4600, 5600},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := &source{}
			s.err[refresh.Incremental] = io.EOF
			start(t, s, func(cfg *refresh.LoopConfig) {
				cfg.Runs[refresh.Incremental].Every = func() time.Duration { return every }
			})
			pass(4 * time.Minute)
			for i, at := range want {
				assert.Equal(t, at*time.Millisecond, s.began[refresh.Incremental][i])
			}
		})
	}
}

func TestLoopLeavesTheSourceAloneForAsLongAsItAsks(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.err[refresh.Full] = io.EOF
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.RetryAfter = func(err error) (all, kind time.Duration) {
				if err == io.EOF {
					return 2 * time.Minute, 0
				}
				return 0, 3 * time.Minute
			}
		})
		pass(time.Second)
		var quiet *refresh.QuietError
		require.ErrorAs(t, l.Fresh(t.Context(), refresh.Incremental), &quiet)
		assert.InDelta(t, 119, quiet.Wait.Seconds(), 0.1)
		pass(119 * time.Second)
		assert.Equal(t, minutes(0, 2), s.began[refresh.Full])
		for _, at := range s.began[refresh.Incremental] {
			assert.GreaterOrEqual(t, at, 2*time.Minute, "all kinds keep quiet")
		}

		s.err[refresh.Full] = io.ErrUnexpectedEOF
		pass(2 * time.Minute)
		assert.Equal(t, minutes(0, 2, 4), s.began[refresh.Full])
		pass(3 * time.Minute)
		assert.Equal(t, minutes(0, 2, 4, 7), s.began[refresh.Full], "or those of its kind alone")
		assert.NotEmpty(t, s.began[refresh.Incremental])
	})
}

// A wait that another kind's failure asks for begins while a timer runs already.
func TestAllKindsKeepQuiet(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.err[refresh.Full], s.takes[refresh.Full] = io.EOF, 30*time.Second
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.RetryAfter = func(error) (all, kind time.Duration) { return 5 * time.Minute, 0 }
		})
		pass(2 * time.Minute)
		assert.Empty(t, s.began[refresh.Incremental])
		assert.True(t, l.BackingOff(refresh.Incremental))
		pass(3*time.Minute + 30*time.Second)
		assert.Len(t, s.began[refresh.Incremental], 1)
		assert.EqualValues(t, 5*time.Minute+30*time.Second, s.began[refresh.Incremental][0])
	})
}

// A source that asks for nothing is left alone for the back-off.
func TestLoopBacksOffIfTheSourceDoesNotAsk(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.err[refresh.Full] = io.EOF
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.RetryAfter = func(error) (all, kind time.Duration) {
				if len(s.began[refresh.Full]) == 3 {
					s.err[refresh.Full] = nil
				}
				return 0, 0
			}
		})
		pass(10 * time.Second)
		assert.Equal(t, []time.Duration{0, time.Second, 3 * time.Second, 7 * time.Second}, s.began[refresh.Full])
		stats := l.Stats(refresh.Full)
		assert.EqualValues(t, 3, stats.Failed)
		assert.EqualValues(t, 1, stats.Succeeded)
	})
}

// What backs off does so until the moment when it is due, and not then.
func TestTheEndOfABackOff(t *testing.T) {
	t.Parallel()
	for _, all := range []time.Duration{0, 3 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			s, at := &source{}, clock.Instant{Mono: 1, Wall: 1}
			var mu sync.Mutex
			now := func() clock.Instant {
				mu.Lock()
				defer mu.Unlock()
				return at
			}
			s.err[refresh.Full] = io.EOF
			l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
				cfg.Clock = now
				cfg.RetryAfter = func(error) (time.Duration, time.Duration) { return all, 3 * time.Second }
			})
			synctest.Wait()
			for d, want := range []bool{true, true, true, false, false} {
				mu.Lock()
				at = clock.Instant{Mono: 1, Wall: 1}.Add(time.Duration(d) * time.Second)
				mu.Unlock()
				assert.Equal(t, want, l.BackingOff(refresh.Full), "after %d s", d)
				assert.Equal(t, time.Duration(max(0, 3-d))*time.Second, l.UntilLockFree(refresh.Full), "after %d s", d)
			}
		})
	}
}

func TestOutcomes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.takes[refresh.Full], s.err[refresh.Full] = 3*time.Second, io.EOF
		var outcomes []refresh.Outcome
		start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.Ended = func(k refresh.Kind, o refresh.Outcome) {
				if k == refresh.Full {
					o.Started = clock.Instant{}
					outcomes = append(outcomes, o)
				}
			}
		})
		pass(8 * time.Second)
		s.err[refresh.Full] = nil
		pass(20 * time.Second)
		assert.Equal(t, []refresh.Outcome{
			{Took: 3 * time.Second, Err: io.EOF, Failures: 1}, {Took: 3 * time.Second, Err: io.EOF, Failures: 2}, {Took: 3 * time.Second, Failures: 2},
		}, outcomes)
	})
}

// What somebody else has refreshed is due again soon, unless it is said when.
func TestWhenItsTurnIsNotGiven(t *testing.T) {
	t.Parallel()
	for k, first := range map[refresh.Kind]time.Duration{refresh.Full: 0, refresh.Incremental: time.Minute} {
		synctest.Test(t, func(t *testing.T) {
			s, begun := &source{}, time.Now()
			var asked []time.Duration
			answers := []struct {
				run bool
				err error
			}{{false, nil}, {false, nil}, {true, nil}, {true, nil}}
			if k == refresh.Incremental {
				answers[1].run, answers[1].err = true, io.EOF
			}
			var ran int
			start(t, s, func(cfg *refresh.LoopConfig) {
				cfg.Ran = func(refresh.Kind, error) { ran++ }
				cfg.Await = func(_ context.Context, of refresh.Kind, _ <-chan struct{}) (bool, error) {
					if of != k {
						return true, nil
					}
					asked = append(asked, time.Since(begun))
					a := answers[min(len(asked), len(answers))-1]
					return a.run, a.err
				}
			})
			pass(first + time.Second)
			assert.Equal(t, []time.Duration{first, first + 100*time.Millisecond, first + 200*time.Millisecond}, asked)
			assert.Equal(t, asked[2:], s.began[k])
		})
	}
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		var started atomic.Pointer[refresh.Loop]
		release := make(chan struct{})
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.Ran = func(refresh.Kind, error) {}
			cfg.Await = func(_ context.Context, k refresh.Kind, _ <-chan struct{}) (bool, error) {
				<-release
				if k == refresh.Full {
					started.Load().Refreshed(refresh.Full, clock.Read())
				}
				return k != refresh.Full, nil
			}
		})
		started.Store(l)
		close(release)
		pass(time.Second)
		assert.Equal(t, 10*time.Minute, l.Until(refresh.Full).Round(10*time.Second), "it was said")
	})
}

func TestFreshWaitsForARefreshThatBeganAfterIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.takes[refresh.Full] = time.Minute
		l, _ := start(t, s, nil)
		pass(30 * time.Second) // one is under way
		ended := make(chan error, 100)
		for range 100 {
			go func() { ended <- l.Fresh(context.Background(), refresh.Full) }()
		}
		pass(30 * time.Second)
		assert.Empty(t, ended, "the one that was under way does not do")
		pass(time.Minute)
		assert.Len(t, ended, 100)
		assert.Len(t, s.began[refresh.Full], 2, "one for all of them")

		ctx, cancel := context.WithTimeoutCause(t.Context(), time.Second, io.ErrNoProgress)
		defer cancel()
		assert.Equal(t, io.ErrNoProgress, l.Fresh(ctx, refresh.Full))
	})
}

func TestFreshIsFullBeforeIncrementalOnesMayBegin(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s, first := &source{}, make(chan struct{})
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) { cfg.Runs[refresh.Incremental].Begin = first })
		pass(5 * time.Minute)
		require.NoError(t, l.Fresh(t.Context(), refresh.Incremental))
		assert.Empty(t, s.began[refresh.Incremental])
		assert.Len(t, s.began[refresh.Full], 2)
		close(first)
		require.NoError(t, l.Fresh(t.Context(), refresh.Incremental))
		assert.Len(t, s.began[refresh.Incremental], 1)
		pass(time.Minute)
		assert.Len(t, s.began[refresh.Incremental], 2, "Every after the last")
	})
}

func TestARefreshEndsWithItsBudget(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.takes[refresh.Full] = time.Hour
		l, _ := start(t, s, nil)
		pass(50 * time.Minute)
		assert.ErrorIs(t, l.Stats(refresh.Full).Err, context.DeadlineExceeded)
		assert.ErrorContains(t, l.Stats(refresh.Full).Err, "budget of 50m")
	})
}

// A turn is an Await that a test answers.
type turn struct {
	asked    [refresh.Kinds]int
	demanded bool
	run      chan bool
	ran      []error
}

func (w *turn) await(ctx context.Context, k refresh.Kind, demanded <-chan struct{}) (bool, error) {
	w.asked[k]++
	select {
	case <-demanded:
		w.demanded = true
	default:
	}
	select {
	case run := <-w.run:
		return run, nil
	case <-ctx.Done():
		return false, ctx.Err()
	}
}

func startInTurn(t *testing.T, s *source) (*refresh.Loop, *turn) {
	t.Helper()
	w := &turn{run: make(chan bool)}
	l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
		cfg.Await, cfg.Ran = w.await, func(_ refresh.Kind, err error) { w.ran = append(w.ran, err) }
	})
	pass(0)
	return l, w
}

func TestAFullRefreshWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		l, w := startInTurn(t, s)
		pass(30 * time.Second)
		assert.Empty(t, s.began[refresh.Full])
		assert.False(t, w.demanded)
		w.run <- true
		pass(0)
		assert.Len(t, s.began[refresh.Full], 1)
		assert.Equal(t, []error{nil}, w.ran)

		waits := make(chan error, 1)
		go func() { waits <- l.Fresh(t.Context(), refresh.Full) }()
		pass(0)
		assert.True(t, w.demanded)
		w.run <- false // another replica has
		require.NoError(t, <-waits)
		assert.Len(t, s.began[refresh.Full], 1)
		stats := l.Stats(refresh.Full)
		assert.EqualValues(t, 1, stats.Succeeded)
		assert.Zero(t, stats.Failed)
		assert.Len(t, w.ran, 1)
	})
}

// Only an incremental refresh that is due waits: a refusal does not join it.
func TestAnIncrementalRefreshForSomebodyDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		l, w := startInTurn(t, s)
		w.run <- true
		pass(2 * time.Minute)
		assert.Equal(t, 1, w.asked[refresh.Incremental])
		assert.Nil(t, l.UnderWay(refresh.Incremental))
		require.NoError(t, l.Fresh(t.Context(), refresh.Incremental))
		assert.Len(t, s.began[refresh.Incremental], 1)
		assert.Len(t, w.ran, 1, "of the full one")
	})
}

// What others have refreshed moves what is due.
func TestRefreshedElsewhere(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.err[refresh.Full] = errors.New("out of order")
		l, _ := start(t, s, nil)
		pass(0)
		require.True(t, l.BackingOff(refresh.Full))
		l.Refreshed(refresh.Full, clock.Read())
		assert.False(t, l.BackingOff(refresh.Full))
		assert.Greater(t, l.Until(refresh.Full), 5*time.Minute)
		tried := len(s.began[refresh.Full])
		pass(5 * time.Minute)
		assert.Len(t, s.began[refresh.Full], tried)
	})
}

func TestTheEndOfTheTasksEndsRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &source{}
		s.takes[refresh.Full] = time.Minute
		l, tasks := start(t, s, nil)
		pass(0)
		waits := make(chan error, 1)
		go func() { waits <- l.Fresh(context.Background(), refresh.Full) }()
		synctest.Wait()
		tasks.End()
		tasks.Wait()
		assert.Equal(t, refresh.ErrEnded, <-waits)
		assert.Equal(t, refresh.ErrEnded, l.Fresh(t.Context(), refresh.Full))
		assert.Zero(t, l.Stats(refresh.Full).Failed)
	})
}

func TestOverdue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		slept := time.Duration(0)
		s := &source{}
		l, _ := start(t, s, func(cfg *refresh.LoopConfig) {
			cfg.Clock = func() clock.Instant {
				i := clock.Read()
				i.Wall += int64(slept)
				return i
			}
		})
		pass(time.Minute)
		assert.False(t, l.Overdue(refresh.Full, 0))
		slept = 10 * time.Minute // the machine was suspended: the timers know nothing of it
		assert.True(t, l.Overdue(refresh.Full, 0))
		assert.False(t, l.Overdue(refresh.Full, 2*time.Minute))
		assert.False(t, l.Overdue(refresh.Full, time.Minute+time.Millisecond))
		assert.True(t, l.Overdue(refresh.Full, time.Minute+time.Millisecond-1))
	})
}
