package rolegate

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strings"
)

// WithClock returns cfg with a clock for tests about clocks that are set, and
// about machines that sleep: readings in nanoseconds, monotonic and wall.
func WithClock(cfg Config, read func() (mono, wall int64)) Config {
	cfg.clock = func() instant {
		mono, wall := read()
		return instant{mono: mono, wall: wall}
	}
	return cfg
}

// ReadClock reads the clock that gates read.
func ReadClock() (mono, wall int64) {
	i := readClock()
	return i.mono, i.wall
}

// VerifyEarly makes the list of the moment look as if everything revoked before
// its last contact were known: the mistake that a test of the ages must notice.
func VerifyEarly(g *Gate) {
	f := g.refresher
	if err := f.lockSwap(f.ctx); err != nil {
		return
	}
	defer f.unlockSwap()
	if gen := g.now.Load(); gen != nil {
		early := *gen
		early.verified = early.contact
		g.now.Store(&early)
	}
}

// Remember returns a func that makes requests see again what they see now.
func Remember(g *Gate) (putBack func()) {
	gen := g.now.Load()
	return func() { g.now.Store(gen) }
}

// RestoreIndex reads a stored index as a gate does that has its list and its
// fields, and returns what it says and what would be stored of it.
func RestoreIndex(data []byte) (says string, again []byte, err error) {
	s, err := decodeIndex(bytes.NewReader(data))
	if err != nil {
		return "", nil, err
	}
	key := s.key
	indexed := kindSet(1 << KindUserID)
	for k := KindAccount; k < kinds; k++ {
		if s.fields.has(k.field()) {
			indexed |= 1 << k
		}
	}
	roles, _ := newRoleSpace(map[string][]string{"principal": {"admin"}})
	gen, err := s.generation(roles, indexed, instant{wall: math.MaxInt64}.at)
	if err != nil {
		return "", nil, err
	}
	var b bytes.Buffer
	if err := gen.encode(&b, key, wallStamp); err != nil {
		return "", nil, err
	}
	return gen.says(key), b.Bytes(), nil
}

// says is all that a generation has in it, as text.
func (gen *generation) says(key string) string {
	var lines []string
	gen.each(func(id int64, at place, barred bool) {
		u := User{s: gen.snapshot, at: at}
		line := fmt.Sprintf("%d %v", id, barred)
		if !barred {
			line += fmt.Sprintf(" %v", u.Grants())
			for f := range numFields {
				line += fmt.Sprintf(" %q", u.text(f))
			}
			for k := KindAccount; k < kinds; k++ {
				if text := u.text(k.field()); text != "" {
					_, found := gen.findAlias(k, text, nil)
					line += fmt.Sprint(" ", found)
				}
			}
		}
		lines = append(lines, line)
	})
	if gen.hold != nil {
		for id, seen := range gen.hold.users {
			lines = append(lines, fmt.Sprintf("held %d %d", id, seen.wall))
		}
		lines = append(lines, fmt.Sprint("held ", gen.hold.cause, gen.hold.since.wall, gen.hold.forSync.wall))
	}
	slices.Sort(lines)
	lines = append(lines, fmt.Sprintf("%q %b %d %d %d %d %d %d", key, gen.fields, gen.cursor, gen.contact.wall, gen.verified.wall, gen.walked.wall, gen.users, gen.grants))
	return strings.Join(lines, "\n")
}
