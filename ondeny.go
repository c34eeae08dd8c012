package rolegate

import (
	"context"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"github.com/rolegate/rolegate/internal/clock"
)

// maxRefused is how many refused identities are remembered, and maxWaiting how
// many requests wait at once. More are refused without a pull.
const (
	maxRefused = 4096
	maxWaiting = 10_000
)

// A denyRefresher decides whether a refusal is worth a pull.
type denyRefresher struct {
	f       *refresher
	seed    maphash.Seed
	waiting atomic.Int64

	mu      sync.Mutex
	refused *simplelru.LRU[refusedKey, clock.Instant]
	current awaitedPull
	begun   []clock.Instant // a ring: when the last PerMinute pulls were begun
	oldest  int
}

// A refusedKey is an identity without its text, which may be as long as a
// header: a thousand of them must not fill the memory.
type refusedKey struct {
	kind Kind
	hash uint64
}

func newDenyRefresher(f *refresher, perMinute int) *denyRefresher {
	refused, err := simplelru.NewLRU[refusedKey, clock.Instant](maxRefused, nil)
	if err != nil {
		panic(err) // only for a size that is not above 0
	}
	return &denyRefresher{f: f, seed: maphash.MakeSeed(), refused: refused, begun: make([]clock.Instant, 0, perMinute)}
}

func (d *denyRefresher) key(id Identity) refusedKey {
	if id.kind == KindUserID {
		return refusedKey{KindUserID, uint64(id.id)}
	}
	return refusedKey{id.kind, maphash.String(d.seed, id.text)}
}

// refresh reports whether it is worth deciding again: a pull has ended that
// this refusal caused or joined. It blocks for OnDeny.Wait at most.
func (d *denyRefresher) refresh(ctx context.Context, id Identity) bool {
	if d.waiting.Add(1) > maxWaiting {
		d.waiting.Add(-1)
		return false
	}
	defer d.waiting.Add(-1)
	ended := d.pull(d.key(id))
	if ended == nil {
		return false
	}
	timer := time.NewTimer(d.f.cfg.OnDeny.Wait)
	defer timer.Stop()
	select {
	case <-ended:
	case <-timer.C:
	case <-ctx.Done():
	}
	return true // whatever has become known meanwhile
}

// pull joins the pull that others wait for, or begins one if it may. It returns
// nil if it may not.
func (d *denyRefresher) pull(k refusedKey) <-chan struct{} {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.f.clock()
	if at, ok := d.refused.Get(k); ok && at.Age(now) < d.f.cfg.OnDeny.TTL {
		return nil
	}
	if ended := d.current.underWay(); ended != nil {
		return ended
	}
	if d.f.backingOff(incremental) || !d.spend(now) {
		return nil
	}
	return d.current.begin(d.f, incremental)
}

// spend takes one of PerMinute pulls, if one is left.
func (d *denyRefresher) spend(now clock.Instant) bool { return d.wait(now) == 0 }

// wait is how long it is until one of PerMinute pulls is left; if that is 0, it
// is taken.
func (d *denyRefresher) wait(now clock.Instant) time.Duration {
	if len(d.begun) < cap(d.begun) {
		d.begun = append(d.begun, now)
		return 0
	}
	if wait := int64(time.Minute) - (now.Mono - d.begun[d.oldest].Mono); wait > 0 {
		return time.Duration(wait)
	}
	d.begun[d.oldest] = now
	d.oldest = (d.oldest + 1) % len(d.begun)
	return 0
}

// refuse remembers an identity that a pull did not help.
func (d *denyRefresher) refuse(id Identity) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.refused.Add(d.key(id), d.f.clock())
}

// An awaitedPull is a pull that many requests wait for by one channel. Its owner
// has a lock around both methods. The zero awaitedPull is none.
type awaitedPull struct{ ended chan struct{} }

// underWay returns a channel that is closed when the pull has ended, nil if it
// has, or if there is none.
func (p *awaitedPull) underWay() <-chan struct{} {
	if p.ended == nil {
		return nil
	}
	select {
	case <-p.ended:
		return nil
	default:
		return p.ended
	}
}

// begin starts a pull of that kind, or joins the one that is under way.
func (p *awaitedPull) begin(f *refresher, k pullKind) <-chan struct{} {
	ended := make(chan struct{})
	p.ended = ended
	result := f.pull(k)
	go func() {
		<-result
		close(ended)
	}()
	return ended
}
