package rolegate

import (
	"context"
	"fmt"
	"slices"
	"time"
)

// This file finds role codes that checks name and nobody has: mostly typos.

// An UnheldRole is a role code that a check names and no listed user holds, nor
// a role that includes it.
type UnheldRole struct {
	Code string `json:"code"`

	// Nearest is the code most like it that somebody holds or the platform
	// knows, "" if none is like it.
	Nearest string `json:"nearest,omitempty"`

	// Known says that the platform knows the code (see Config.RoleCodes): then
	// it is no typo, only that nobody has it yet.
	Known bool `json:"known"`
}

// name remembers that a check names the code.
func (s *roleSpace) name(code string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.named == nil {
		s.named = map[string]bool{}
	}
	if _, known := s.named[code]; known {
		return
	}
	s.named[code] = false
	select {
	case s.news <- struct{}{}:
	default: // one is waiting, or nobody listens: the gate was never opened
	}
}

// unheld lists the codes that checks name and nobody in the snapshot holds, by
// code.
func (g *Gate) unheld(s *snapshot) []UnheldRole {
	g.roles.mu.Lock()
	var codes []string
	for code := range g.roles.named {
		codes = append(codes, code)
	}
	g.roles.mu.Unlock()
	slices.Sort(codes)
	platform := g.refresher.platformRoles()
	var unheld []UnheldRole
	for _, code := range codes {
		if slices.ContainsFunc(g.roles.satisfying(code), s.held.has) {
			continue
		}
		u := UnheldRole{Code: code, Known: slices.Contains(platform, code)}
		if !u.Known {
			u.Nearest = nearest(code, platform, s)
		}
		unheld = append(unheld, u)
	}
	return unheld
}

// namedWait is how long the log waits for an app to name all its roles.
const namedWait = time.Second

// watchNamed warns of codes that are named while there is a list: an app makes its
// guards when Open has returned, after the first walk.
func (f *refresher) watchNamed() {
	defer f.running.Done()
	timer := time.NewTimer(namedWait)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			return
		case <-f.gate.roles.news:
		}
		timer.Reset(namedWait)
		select {
		case <-f.ctx.Done():
			return
		case <-timer.C:
		}
		select {
		case <-f.gate.roles.news: // for those, now is late enough
		default:
		}
		if gen := f.gate.now.Load(); gen != nil {
			f.warnUnheld(gen)
		}
	}
}

// warnUnheld logs each such code once, after a walk or when it was named. It asks
// the platform for its roles first, at most once an hour. Who comes while it is
// asked waits for its answer: without, all that it knows would look like typos.
func (f *refresher) warnUnheld(gen *generation) {
	if len(f.gate.unheld(gen.snapshot)) == 0 {
		return
	}
	select {
	case f.naming <- struct{}{}:
		defer func() { <-f.naming }()
	case <-f.ctx.Done():
		return
	}
	f.fetchPlatformRoles()
	for _, u := range f.gate.unheld(gen.snapshot) {
		f.gate.roles.mu.Lock()
		told := f.gate.roles.named[u.Code]
		f.gate.roles.named[u.Code] = true
		f.gate.roles.mu.Unlock()
		switch {
		case told:
		case u.Known:
			f.gate.log.Info("rolegate: a check names a role that nobody holds yet", "role", u.Code)
		default:
			f.gate.log.Warn("rolegate: a check names a role that nobody holds: is it a typo?", "role", u.Code, "nearest", u.Nearest)
		}
	}
}

// roleCodesTimeout bounds one call of Config.RoleCodes.
const roleCodesTimeout = 15 * time.Second

func (f *refresher) fetchPlatformRoles() {
	fetch := f.gate.cfg.RoleCodes
	now := f.gate.clock()
	f.mu.Lock()
	due := fetch != nil && (!f.askedRoles || f.rolesAsked.age(now) >= time.Hour)
	if due {
		f.askedRoles, f.rolesAsked = true, now
	}
	f.mu.Unlock()
	if !due {
		return
	}
	ctx, cancel := context.WithTimeout(f.ctx, roleCodesTimeout)
	defer cancel()
	// One that does not heed its ctx is left behind: the walks must go on. There
	// is never more than one.
	answer := f.flights.DoChan("roles", func() (codes any, err error) {
		if !f.enter() {
			return nil, ErrClosed
		}
		defer f.running.Done()
		defer func() {
			if v := recover(); v != nil {
				err = panicError("Config.RoleCodes", v)
			}
		}()
		return fetch(ctx)
	})
	var codes []string
	var err error
	select {
	case result := <-answer:
		codes, _ = result.Val.([]string)
		err = result.Err
	case <-ctx.Done():
		err = fmt.Errorf("Config.RoleCodes did not answer: %w", context.Cause(ctx))
	}
	if err != nil {
		f.gate.log.Warn("rolegate: the platform's role codes could not be had", "err", err)
		return
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.platform = slices.Clone(codes)
}

func (f *refresher) platformRoles() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.platform
}

// nearest returns the code most like the given one, among those that the
// platform knows or somebody holds.
func nearest(code string, platform []string, s *snapshot) string {
	best, found := len(code)/3+2, ""
	try := func(other string) {
		if d := distance([]rune(code), []rune(other)); d < best {
			best, found = d, other
		}
	}
	for _, other := range platform {
		try(other)
	}
	for id, other := range s.roles.codes {
		if s.held.has(uint16(id)) {
			try(other)
		}
	}
	return found
}

// distance is how many runes must be put in, left out or replaced to turn a
// into b (Levenshtein).
func distance(a, b []rune) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range a {
		diagonal := row[0]
		row[0] = i + 1
		for j := range b {
			cost := diagonal
			if a[i] != b[j] {
				cost = 1 + min(diagonal, row[j], row[j+1])
			}
			diagonal, row[j+1] = row[j+1], cost
		}
	}
	return row[len(b)]
}

// A roleSet has a bit for each role number.
type roleSet []uint64

func (s roleSet) has(role uint16) bool {
	return int(role/64) < len(s) && s[role/64]>>(role%64)&1 == 1
}

// holding adds the roles of some grants.
func (s roleSet) holding(gs grantList) roleSet {
	for i := range gs.len() {
		if role := gs.role(i); !s.has(role) {
			s = s.with(role)
		}
	}
	return s
}

func (s roleSet) with(role uint16) roleSet {
	for int(role/64) >= len(s) {
		s = append(s, 0)
	}
	s[role/64] |= 1 << (role % 64)
	return s
}
