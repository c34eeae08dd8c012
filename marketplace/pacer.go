package marketplace

import (
	"context"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

const (
	// keepRate is what is left of the rate that the marketplace has accepted, once
	// it says that it was too high; halfRate, if it says so again at once.
	keepRate, halfRate = 0.9, 0.5

	// soonAfter is when a second reply of that kind comes at once.
	soonAfter = 3 * time.Second

	// Each second without one raises the rate by so many requests a second, or
	// by this part of it.
	recovery, recoveryPart = 0.1, 0.005

	// firstRate is where to begin if nothing is known.
	firstRate = 1

	// forgetAfter is when the marketplace is taken for one without a limit.
	forgetAfter = 10 * time.Minute

	// leastRate is one request in ten seconds.
	leastRate = 0.1
)

// A pacer spaces requests out: as far apart as Config.MaxRequestsPerSecond
// wants, and further apart for a while after the marketplace has said that
// there were too many.
type pacer struct {
	mu      sync.Mutex
	ceiling rate.Limit
	limiter *rate.Limiter
	replies []time.Time // of the last second, the successful ones
	grown   time.Time   // when the rate was last raised
	cut     time.Time   // when it was last lowered, and the wait after that was over
}

func newPacer(perSecond float64) *pacer {
	ceiling := rate.Inf
	if perSecond > 0 {
		ceiling = rate.Limit(perSecond)
	}
	return &pacer{ceiling: ceiling, limiter: rate.NewLimiter(ceiling, 1)}
}

// wait waits until the next request may be sent.
func (p *pacer) wait(ctx context.Context) error {
	p.mu.Lock()
	p.recover(time.Now())
	p.mu.Unlock()
	return p.limiter.Wait(ctx)
}

// recover raises the rate, slowly.
func (p *pacer) recover(now time.Time) {
	if p.cut.IsZero() {
		return
	}
	if now.Sub(p.cut) >= forgetAfter {
		p.cut = time.Time{}
		p.limiter.SetLimitAt(now, p.ceiling)
		return
	}
	if since := now.Sub(p.grown).Seconds(); since > 0 {
		limit := float64(p.limiter.Limit())
		limit += max(recovery, recoveryPart*limit) * since
		p.limiter.SetLimitAt(now, min(rate.Limit(limit), p.ceiling))
		p.grown = now
	}
}

// accepted notes a request that was answered.
func (p *pacer) accepted() {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.forget(now)
	p.replies = append(p.replies, now)
}

// forget drops the replies that are older than a second.
func (p *pacer) forget(now time.Time) {
	i := 0
	for i < len(p.replies) && now.Sub(p.replies[i]) >= time.Second {
		i++
	}
	p.replies = append(p.replies[:0], p.replies[i:]...)
}

// throttled lowers the rate: the marketplace says that there were too many
// requests, and is left alone for wait.
func (p *pacer) throttled(wait time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	p.recover(now)
	p.forget(now)
	limit := p.limiter.Limit()
	switch accepted := rate.Limit(len(p.replies)); {
	case !p.cut.IsZero() && now.Sub(p.cut) < soonAfter && len(p.replies) == 0:
		// Nothing got through since: the rate as such is not to blame yet.
	case !p.cut.IsZero() && now.Sub(p.cut) < soonAfter:
		limit *= halfRate
	case limit == rate.Inf && accepted == 0:
		limit = firstRate
	case limit == rate.Inf || accepted > 0 && accepted < limit:
		limit = accepted * keepRate
	default:
		limit *= keepRate
	}
	p.limiter.SetLimitAt(now, max(limit, leastRate))
	p.cut, p.grown = now.Add(wait), now.Add(wait)
	p.replies = p.replies[:0]
}
