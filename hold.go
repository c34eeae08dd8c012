package rolegate

import (
	"time"

	"github.com/rolegate/rolegate/internal/snapshot"
)

// limits are what bounds the removals of a full refresh.
func (c *settings) limits() snapshot.Limits {
	r := &c.Refresh
	return snapshot.Limits{
		MaxShrink: r.MaxShrink, ShrinkHold: r.ShrinkHold, ConfirmAfter: min(time.Minute, r.ResyncEvery),
		SyncHold: r.SyncHold, ResyncEvery: r.ResyncEvery,
	}
}

// accept has full refreshes apply what is held under that digest, until the func is
// called that it returns.
func (p *puller) accept(digest string) (done func()) {
	p.accepting.Lock()
	defer p.accepting.Unlock()
	if p.accepted == nil {
		p.accepted = map[string]int{}
	}
	p.accepted[digest]++
	return func() {
		p.accepting.Lock()
		defer p.accepting.Unlock()
		if p.accepted[digest]--; p.accepted[digest] == 0 {
			delete(p.accepted, digest)
		}
	}
}

// acceptedOf returns the digest of what a generation holds if it is accepted, ""
// if not.
func (p *puller) acceptedOf(gen *snapshot.Generation) string {
	p.accepting.Lock()
	defer p.accepting.Unlock()
	if gen == nil || len(p.accepted) == 0 {
		return ""
	}
	digest := gen.HeldDigest()
	if p.accepted[digest] == 0 {
		return ""
	}
	return digest
}
