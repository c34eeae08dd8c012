package rolegate

import (
	"context"
	"log/slog"
	"sync/atomic"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A store is what all parts of a gate have in common: the generation that
// requests see, and what it takes to judge by one. It knows none of the parts.
// Its zero value has no generation and denies; so does a nil one.
type store struct {
	cfg    settings
	log    *slog.Logger
	roles  *index.RoleSpace
	clock  func() clock.Instant
	closed atomic.Bool

	// now is the generation that requests see: nil until the first list is
	// there, and only ever replaced whole.
	now atomic.Pointer[snapshot.Generation]

	// swapping is held (it has room for one) while a generation is made of the
	// one before and published.
	swapping chan struct{}

	news atomic.Pointer[chan struct{}] // closed with the next publish

	// onPublish is called after each publish, with the lock held, in this order.
	// It is set before the first.
	onPublish []func()
}

// init makes a zero store one of a gate that is open.
func (s *store) init(cfg settings) {
	s.cfg, s.log, s.roles, s.clock = cfg, cfg.Logger, cfg.roles, cfg.clock
	s.swapping = make(chan struct{}, 1)
	news := make(chan struct{})
	s.news.Store(&news)
}

// current returns the generation to decide by, or why there is none. Each
// decision reads the clock itself: a flag that a loop sets would stay unset if
// the loop hung.
func (s *store) current() (gen *snapshot.Generation, now clock.Instant, reason Reason) {
	if s == nil {
		return nil, now, ReasonNotReady
	}
	if s.closed.Load() {
		return nil, now, ReasonClosed
	}
	gen = s.now.Load()
	if gen == nil {
		return nil, now, ReasonNotReady
	}
	now = s.clock()
	if gen.Refreshed.Age(now) > s.cfg.Refresh.ExpireAfter {
		return nil, now, ReasonExpired
	}
	return gen, now, ReasonGranted
}

// swap makes requests see the next generation, which has a number of its own if
// it differs in more than its ages. It needs lockSwap.
func (s *store) swap(next *snapshot.Generation) {
	before := s.now.Load()
	switch {
	case before == nil:
		next.Number = 1
	case before.Snapshot == next.Snapshot && before.Held == next.Held:
		next.Number = before.Number
	default:
		next.Number = before.Number + 1
	}
	s.now.Store(next)
	news := make(chan struct{})
	close(*s.news.Swap(&news))
	for _, call := range s.onPublish {
		call()
	}
}

// published returns a channel that is closed with the next publish.
func (s *store) published() <-chan struct{} { return *s.news.Load() }

func (s *store) lockSwap(ctx context.Context) error {
	select {
	case s.swapping <- struct{}{}:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

func (s *store) unlockSwap() { <-s.swapping }

// lookUp finds the listed user with that identity.
func lookUp(gen *snapshot.Generation, indexed kindSet, id Identity) (at index.Place, reason Reason) {
	if id.nobody() {
		return at, ReasonNoIdentity
	}
	if id.kind == KindUserID {
		at, ok := gen.Find(id.id)
		if !ok {
			return at, ReasonNotAuthorized
		}
		return at, ReasonGranted
	}
	if !indexed.has(id.kind) {
		return at, ReasonIdentifyFailed
	}
	at, found := gen.FindAlias(id.kind.field(), id.text, nil)
	if found > 1 && gen.Held != nil {
		// One who is gone from the list, but held, does not take the alias from
		// the one who has it now: a sync may make the same person anew.
		if to, n := gen.FindAlias(id.kind.field(), id.text, gen.Held.Has); n == 1 {
			at, found = to, n
		}
	}
	switch found {
	case 0:
		return at, ReasonNotAuthorized
	case 1:
		return at, ReasonGranted
	default:
		return at, ReasonAmbiguous
	}
}
