package refresh

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"golang.org/x/time/rate"

	"github.com/rolegate/rolegate/internal/clock"
)

// maxRefused is how many refused keys are remembered, and maxWaiting how many
// wait at once. More are refused without a refresh.
const (
	maxRefused = 4096
	maxWaiting = 10_000
)

// A Limit allows so many events in any minute: half of them at once.
type Limit struct{ limiter *rate.Limiter }

// NewLimit returns a limit of perMinute, which must be above 0.
func NewLimit(perMinute int) Limit {
	// Of so many at once, and so many more until the minute is over.
	burst := (perMinute + 1) / 2
	return Limit{rate.NewLimiter(rate.Every(time.Minute/time.Duration(perMinute+1-burst)), burst)}
}

// Take takes one event, if that is allowed now; else it returns how long until
// one is.
func (l Limit) Take(now clock.Instant) time.Duration {
	at := time.Unix(0, now.Mono) // nobody sets that clock
	r := l.limiter.ReserveN(at, 1)
	wait := r.DelayFrom(at)
	if wait > 0 {
		r.CancelAt(at)
	}
	return wait
}

// OnDeny decides whether a refusal is worth an incremental refresh: who is
// refused may have been granted a moment ago. K is what is refused. Make it with
// [NewOnDeny].
type OnDeny[K comparable] struct {
	loop  *Loop
	clock func() clock.Instant
	may   func(context.Context) bool
	wait  time.Duration
	ttl   time.Duration

	waiting  atomic.Int64
	starting sync.Mutex // is held while it is decided whether one may be made

	mu      sync.Mutex
	refused *simplelru.LRU[K, clock.Instant]
}

// NewOnDeny returns one that makes a refresh only if may allows it. That must
// return soon. A refusal waits for a refresh no longer than wait, and who was
// refused is refused without one for ttl.
func NewOnDeny[K comparable](loop *Loop, clk func() clock.Instant, may func(context.Context) bool, wait, ttl time.Duration) *OnDeny[K] {
	refused, err := simplelru.NewLRU[K, clock.Instant](maxRefused, nil)
	if err != nil {
		panic(err) // only for a size that is not above 0
	}
	return &OnDeny[K]{loop: loop, clock: clk, may: may, wait: wait, ttl: ttl, refused: refused}
}

// Refresh reports whether it is worth deciding again: a refresh has ended that
// this refusal caused or joined, or again, which is called after each publish,
// has returned true. It blocks for the wait at most, and no longer than ctx.
func (d *OnDeny[K]) Refresh(ctx context.Context, k K, published Published, again func() bool) bool {
	if d.waiting.Add(1) > maxWaiting {
		d.waiting.Add(-1)
		return false
	}
	defer d.waiting.Add(-1)
	news := published() // from before the refresh
	ended := d.join(ctx, k)
	if ended == nil {
		return false
	}
	Await(ctx, d.wait, ended, news, published, again)
	return true // whatever has become known meanwhile
}

// join joins the refresh that is under way, or begins one if it may. It returns
// nil if it may not.
func (d *OnDeny[K]) join(ctx context.Context, k K) <-chan struct{} {
	if d.refusedLately(k) {
		return nil
	}
	if f := d.loop.UnderWay(Incremental); f != nil {
		return f.Done()
	}
	d.starting.Lock()
	defer d.starting.Unlock()
	if f := d.loop.UnderWay(Incremental); f != nil {
		return f.Done()
	}
	if d.loop.BackingOff(Incremental) || !d.may(ctx) {
		return nil
	}
	return d.loop.Join(Incremental).Done()
}

func (d *OnDeny[K]) refusedLately(k K) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	at, ok := d.refused.Get(k)
	return ok && at.Age(d.clock()) < d.ttl
}

// Refuse remembers a key that a refresh did not help.
func (d *OnDeny[K]) Refuse(k K) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused.Add(k, d.clock())
}

// Published returns a channel that is closed with the next publish.
type Published func() <-chan struct{}

// Await waits until a refresh has ended, d is over, ctx ends, or again returns
// true after a publish.
func Await(ctx context.Context, d time.Duration, ended, news <-chan struct{}, published Published, again func() bool) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	for {
		select {
		case <-ended:
			return
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		case <-news:
			news = published()
			if again() {
				return
			}
		}
	}
}

// OnAge makes full refreshes for those who cannot wait for the next one, at most
// one in so long. Make it with [NewOnAge].
type OnAge struct {
	loop  *Loop
	clock func() clock.Instant
	every time.Duration

	mu   sync.Mutex
	last clock.Instant // when it last made one, if ever
	ever bool
	owed chan struct{} // closed when the one that is owed has ended; nil if none is
}

// NewOnAge returns one that makes at most one refresh in so long.
func NewOnAge(loop *Loop, clk func() clock.Instant, every time.Duration) *OnAge {
	return &OnAge{loop: loop, clock: clk, every: every}
}

// Await waits until enough returns true: it is asked at first, and after each
// full refresh that is under way or may be made. It gives up when none may be
// made, after wait, and when ctx ends.
func (a *OnAge) Await(ctx context.Context, wait time.Duration, enough func() bool) {
	timer := time.NewTimer(wait)
	defer timer.Stop()
	for !enough() {
		f := a.join()
		if f == nil {
			return
		}
		select {
		case <-f.Done():
		case <-timer.C:
			return
		case <-ctx.Done():
			return
		}
	}
}

// join joins the refresh that is under way or begins one, nil if it may not.
func (a *OnAge) join() *Flight {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.loop.UnderWay(Full) != nil {
		return a.loop.Join(Full)
	}
	now := a.clock()
	if a.loop.BackingOff(Full) || a.ever && a.last.Age(now) < a.every {
		return nil
	}
	a.ever, a.last = true, now
	return a.loop.Join(Full)
}

// Until returns how long until a refresh may be made, 0 if one may be now.
func (a *OnAge) Until() time.Duration {
	a.mu.Lock()
	defer a.mu.Unlock()
	if !a.ever {
		return 0
	}
	return max(0, a.every-a.last.Age(a.clock()))
}

// Owe has one made as soon as it may be, and does not wait for it. One that is
// under way is not enough: it began before.
func (a *OnAge) Owe() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.owed != nil {
		return
	}
	paid := make(chan struct{})
	tasks := a.loop.cfg.Tasks
	if !tasks.Go(func() {
		a.pay(tasks.Context())
		a.mu.Lock()
		a.owed = nil
		a.mu.Unlock()
		close(paid)
	}) {
		return
	}
	a.owed = paid
}

func (a *OnAge) pay(ctx context.Context) {
	timer := time.NewTimer(a.Until())
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
		return
	}
	a.mu.Lock()
	a.ever, a.last = true, a.clock()
	a.mu.Unlock()
	if !a.loop.BackingOff(Full) {
		_ = a.loop.Fresh(ctx, Full) // the loop says how it ended
	}
}

// AwaitOwed waits until the refresh that is owed has ended, or again, which is
// called after each publish, has returned true. It blocks for wait at most, and no
// longer than ctx. It reports whether one was owed.
func (a *OnAge) AwaitOwed(ctx context.Context, wait time.Duration, published Published, again func() bool) bool {
	news, owed := published(), a.Owed()
	if owed == nil {
		return false
	}
	Await(ctx, wait, owed, news, published, again)
	return true
}

// Owed returns a channel that is closed when the refresh that is owed has ended,
// nil if none is owed.
func (a *OnAge) Owed() <-chan struct{} {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.owed
}
