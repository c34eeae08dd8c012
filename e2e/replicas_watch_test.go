//go:build drill

package e2e

import (
	"context"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"testing"
	"time"
)

// A watch asks replicas all the time, gently, and checks what they say: who is
// on the list is always admitted, and soon; who was revoked never again; and no
// replica's list ever gets older.
type watch struct {
	ctx context.Context
	end context.CancelFunc
	wg  sync.WaitGroup

	mu       sync.Mutex
	revoked  []int64 // nobody may admit them
	wrong    []string
	answers  []answer
	late     []answer // what the machine makes of everybody: see lateness
	watching map[string]*watched
}

// An answer is how long something took.
type answer struct {
	at      time.Time
	took    time.Duration
	refusal bool // the gate may look once more before it refuses
	who     string
}

// A watched is one process.
type watched struct {
	stop context.CancelFunc
	done sync.WaitGroup
	last status
}

const (
	// askEvery is how often each replica is asked.
	askEvery = 150 * time.Millisecond

	// checkEvery is how often each replica is asked how it is.
	checkEvery = time.Second
)

func newWatch(t testing.TB) *watch {
	t.Helper()
	w := &watch{watching: map[string]*watched{}}
	w.ctx, w.end = context.WithCancel(context.Background())
	w.wg.Go(w.timers)
	t.Cleanup(func() {
		w.end()
		w.wg.Wait()
	})
	return w
}

// timers notes how late a timer is.
func (w *watch) timers() {
	const every = 10 * time.Millisecond
	for {
		begun := time.Now()
		if !pause(w.ctx, every) {
			return
		}
		took := time.Since(begun) - every
		if took < time.Millisecond {
			continue
		}
		w.mu.Lock()
		w.late = append(w.late, answer{at: begun, took: took})
		w.mu.Unlock()
	}
}

// begin watches a replica that is ready, until stop.
func (w *watch) begin(a *process) {
	ctx, stop := context.WithCancel(w.ctx)
	one := &watched{stop: stop}
	w.mu.Lock()
	w.watching[a.name] = one
	w.mu.Unlock()
	one.done.Go(func() { w.askAll(ctx, a) })
	one.done.Go(func() { w.checkAll(ctx, a, one) })
}

// stop ends it, before the replica is killed or paused.
func (w *watch) stop(a *process) {
	w.mu.Lock()
	one := w.watching[a.name]
	delete(w.watching, a.name)
	w.mu.Unlock()
	if one != nil {
		one.stop()
		one.done.Wait()
	}
}

func (w *watch) blame(a *process, format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.wrong = append(w.wrong, time.Now().Format("15:04:05.000 ")+a.name+": "+fmt.Sprintf(format, args...))
}

// askAll asks for the teacher, and now and then for those who were revoked.
func (w *watch) askAll(ctx context.Context, a *process) {
	for n := 0; pause(ctx, askEvery); n++ {
		w.askNothing(ctx, a)
		if user, ok := w.draw(n); ok && n%5 == 4 {
			w.ask(ctx, a, user, http.StatusForbidden)
			continue
		}
		w.ask(ctx, a, teacher, http.StatusOK)
	}
}

// askNothing asks for what is not there, which no gate guards: that takes as long
// as the process takes for anything.
func (w *watch) askNothing(ctx context.Context, a *process) {
	begun := time.Now()
	if code, err := a.ask(ctx, teacher, "/nothing"); err == nil && code == http.StatusNotFound {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.late = append(w.late, answer{at: begun, took: time.Since(begun), who: a.name})
	}
}

// draw returns one of the revoked.
func (w *watch) draw(n int) (int64, bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.revoked) == 0 {
		return 0, false
	}
	return w.revoked[n/5%len(w.revoked)], true
}

func (w *watch) ask(ctx context.Context, a *process, user int64, expected int) {
	begun := time.Now()
	code, err := a.ask(ctx, user, "/grades")
	took := time.Since(begun)
	switch {
	case ctx.Err() != nil:
		return
	case err != nil:
		w.blame(a, "no answer: %v", err)
	case code != expected:
		w.blame(a, "user %d: status %d, expected %d", user-firstUser, code, expected)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.answers = append(w.answers, answer{at: begun, took: took, refusal: expected != http.StatusOK, who: a.name})
}

// checkAll sees that the list never gets older.
func (w *watch) checkAll(ctx context.Context, a *process, one *watched) {
	for pause(ctx, checkEvery) {
		s, ok := a.status(ctx)
		if !ok {
			continue // askAll finds that out
		}
		w.mu.Lock()
		before := one.last
		one.last = s
		w.mu.Unlock()
		switch {
		case s.Cursor < before.Cursor:
			w.blame(a, "the cursor went back from %d to %d", before.Cursor, s.Cursor)
		case s.Verified.Before(before.Verified.Add(-time.Second)): // a full refresh is several seconds younger than the one before
			w.blame(a, "the list went back from that of %v to that of %v", before.Verified, s.Verified)
		case s.State != "ready":
			w.blame(a, "it is %s", s.State)
		}
	}
}

// forbid has nobody let that user in any more.
func (w *watch) forbid(user int64) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.revoked = append(w.revoked, user)
}

// lateness is what the machine, and whatever else runs on it, has made of
// everything since then: how late a timer of this process was at most, or how
// long a replica took for a request that no gate guards.
func (w *watch) lateness(since time.Time) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slowest(w.late, since, false)
}

func slowest(of []answer, since time.Time, refusal bool) (most time.Duration) {
	for _, a := range of {
		if !a.at.Before(since) && a.refusal == refusal {
			most = max(most, a.took)
		}
	}
	return most
}

// faults returns what was wrong since the last call.
func (w *watch) faults() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	wrong := w.wrong
	w.wrong = nil
	return wrong
}

// tookAtMost returns how long the slowest grant and the slowest refusal since
// then took, and how many there were.
func (w *watch) tookAtMost(since time.Time) (grant, refusal time.Duration, n int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, a := range w.answers {
		if !a.at.Before(since) {
			n++
		}
	}
	return slowest(w.answers, since, false), slowest(w.answers, since, true), n
}

// quantile returns the value that so many hundredths of them do not exceed.
func quantile(of []time.Duration, hundredths int) time.Duration {
	if len(of) == 0 {
		return 0
	}
	sorted := slices.Sorted(slices.Values(of))
	return sorted[(len(sorted)*hundredths+99)/100-1]
}
