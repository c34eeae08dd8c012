package rolegate

import (
	"github.com/rolegate/rolegate/internal/clock"
)

// WithClock returns cfg with a clock for tests about clocks that are set, and
// about machines that sleep: readings in nanoseconds, monotonic and wall.
func WithClock(cfg Config, read func() (mono, wall int64)) Config {
	cfg.clock = func() clock.Instant {
		mono, wall := read()
		return clock.Instant{Mono: mono, Wall: wall}
	}
	return cfg
}

// WithRandom returns cfg with the source of its jitter, for simulations that
// repeat.
func WithRandom(cfg Config, random func() float64) Config {
	cfg.random = random
	return cfg
}

// ReadClock reads the clock that gates read.
func ReadClock() (mono, wall int64) {
	i := clock.Read()
	return i.Mono, i.Wall
}

// VerifyEarly makes the list of the moment look as if everything revoked before
// its last contact were known: the mistake that a test of the ages must notice.
func VerifyEarly(g *Gate) {
	f := g.refresher
	if err := f.now.Lock(f.tasks.Context()); err != nil {
		return
	}
	defer f.now.Unlock()
	if gen := g.now.Load(); gen != nil {
		early := *gen
		early.Verified, early.Refreshed = early.Contact, early.Contact
		g.now.Store(&early)
	}
}

// BelieveLists has every full refresh believed as if somebody had asked for it who knows
// who is gone: the mistake that a test of lists which may lack users must notice.
func BelieveLists(g *Gate) { g.refresher.pull.Believe() }

// Remember returns a func that makes requests see again what they see now.
func Remember(g *Gate) (putBack func()) {
	gen := g.now.Load()
	return func() { g.now.Store(gen) }
}
