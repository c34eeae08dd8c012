package rolegate

import (
	"log/slog"
	"sync/atomic"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// A store is what all parts of a gate have in common: the generation that
// requests see, and what it takes to decide by one. It knows none of the parts.
// Its zero value has no generation and denies; so does a nil one.
type store struct {
	cfg    settings
	log    *slog.Logger
	roles  *index.RoleSpace
	clock  func() clock.Instant
	closed atomic.Bool

	now snapshot.Live // the generation that requests see
}

// init makes a zero store one of a gate that is open.
func (s *store) init(cfg settings) {
	s.cfg, s.log, s.roles, s.clock = cfg, cfg.Logger, cfg.roles, cfg.clock
	s.now.Open()
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
