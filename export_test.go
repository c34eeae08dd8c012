package rolegate

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/index"
	"github.com/rolegate/rolegate/internal/snapshot"
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
	if err := f.lockSwap(f.tasks.Context()); err != nil {
		return
	}
	defer f.unlockSwap()
	if gen := g.now.Load(); gen != nil {
		early := *gen
		early.Verified, early.Refreshed = early.Contact, early.Contact
		g.now.Store(&early)
	}
}

// Remember returns a func that makes requests see again what they see now.
func Remember(g *Gate) (putBack func()) {
	gen := g.now.Load()
	return func() { g.now.Store(gen) }
}

var endOfTime = clock.Instant{Wall: math.MaxInt64}

func restored(s *snapshot.Stored) (*snapshot.Generation, *index.RoleSpace, kindSet, error) {
	indexed := kindSet(1 << KindUserID)
	for k := KindAccount; k < kinds; k++ {
		if s.Fields.Has(k.field()) {
			indexed |= 1 << k
		}
	}
	roles, _ := index.NewRoleSpace(map[string][]string{"principal": {"admin"}})
	gen, err := s.Generation(roles, indexed.fields(), endOfTime.At)
	return gen, roles, indexed, err
}

// contents is all that a generation has in it, as text.
func contents(gen *snapshot.Generation, key string) string {
	var lines []string
	gen.Each(func(id int64, at index.Place, barred bool) {
		u := User{s: gen.Snapshot, at: at}
		line := fmt.Sprintf("%d %v", id, barred)
		if !barred {
			line += fmt.Sprintf(" %v", u.Grants())
			for f := range index.NumFields {
				line += fmt.Sprintf(" %q", u.text(f))
			}
			for k := KindAccount; k < kinds; k++ {
				if text := u.text(k.field()); text != "" {
					_, found := gen.FindAlias(k.field(), text, nil)
					line += fmt.Sprint(" ", found)
				}
			}
		}
		lines = append(lines, line)
	})
	if gen.Held != nil {
		for id, seen := range gen.Held.Users {
			lines = append(lines, fmt.Sprintf("held %d %d %d", id, seen.Missing.Wall, seen.Listed.Wall))
		}
		lines = append(lines, fmt.Sprint("held ", gen.Held.Cause, gen.Held.Since.Wall, gen.Held.SyncSince.Wall))
	}
	slices.Sort(lines)
	lines = append(lines, fmt.Sprintf("%q %b %d %d %d %d %d %d", key, gen.Fields, gen.Cursor, gen.Contact.Wall, gen.Verified.Wall, gen.Refreshed.Wall, gen.Users, gen.GrantCount))
	return strings.Join(lines, "\n")
}
