//go:build drill && !race

package rolegate_test

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// simMutants is the seed of a week in which a gate with a broken rule is found
// out early.
const simMutants = 3

// TestSimulationNoticesABrokenRule breaks one rule of the gate's at a time. A
// simulation that does not notice has not been looking.
func TestSimulationNoticesABrokenRule(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		rules simRules
		want  simWrong
	}{
		{"the shrink guard is off", simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.MaxShrink = 1 }}, simShutOut},
		{"somebody accepts every shrink", simRules{acceptShrink: true}, simShutOut},
		{"syncs hold nothing", simRules{config: func(cfg *rolegate.Config) { cfg.UpstreamSync = nil }}, simShutOut},
		{"increments take no role away", simRules{wrap: func(s rolegate.Source) rolegate.Source { return &simKeepsRoles{Source: s} }}, simLateChange},
		{"full refreshes remove nobody", simRules{wrap: func(s rolegate.Source) rolegate.Source { return &simKeepsUsers{Source: s} }}, simLateRemoval},
		{"full refreshes remove nobody, ever", simRules{wrap: func(s rolegate.Source) rolegate.Source { return &simKeepsUsers{Source: s} }}, simPastExpiry},
		{"verified moves with contact", simRules{each: rolegate.VerifyEarly}, simPastExpiry},
		{"bad records are passed over", simRules{wrap: func(s rolegate.Source) rolegate.Source { return simDropsBad{s} }}, simLateChange},
		{"a refresh that broke off counts", simRules{wrap: func(s rolegate.Source) rolegate.Source { return simNeverFails{s} }}, simShutOut},
		{"syncs hold for half as long again", simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.SyncHold = 45 * time.Minute }}, simLateRemoval},
		{"the list expires late", simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.ExpireAfter = 70 * time.Minute }}, simPastExpiry},
		{"the list expires early", simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.ExpireAfter = 30 * time.Minute }}, simClosed},
		{"full refreshes are a fifth too rare", simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.ResyncEvery = 12 * time.Minute }}, simLateRemoval},
		{"increments are a fifth too rare", simRules{config: func(cfg *rolegate.Config) {
			cfg.Refresh.Every = 72 * time.Second
			cfg.OnDeny.Off = true
		}}, simLateChange},
		{"older lists are applied", simRules{wrap: func(s rolegate.Source) rolegate.Source { return &simHidesAge{Source: s} }}, simShutOut},
		{"roles are not guarded", simRules{wrap: func(s rolegate.Source) rolegate.Source { return simHidesClearing{s} }}, simShutOut},
		{"a refusal looks at nothing new", simRules{config: func(cfg *rolegate.Config) { cfg.OnDeny.Off = true }}, simShutOut},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.rules.seed, c.rules.length, c.rules.until = simMutants, simWeek, c.want
			s := simulate(t, c.rules)
			require.Positive(t, s.wrong[c.want], "%v went unnoticed; instead: %v", c.want, s.wrong)
			t.Logf("noticed after %v, in %d requests: %s", s.ended, s.world.counts["requests"], s.told[len(s.told)-1])
		})
	}
}

// simKeepsRoles hides in increments that a user has fewer roles than before.
type simKeepsRoles struct {
	rolegate.Source
	mu     sync.Mutex
	before map[int64][]rolegate.Grant
}

func (s *simKeepsRoles) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		s.mu.Lock()
		if s.before == nil {
			s.before = map[int64][]rolegate.Grant{}
		}
		if r.Bad == nil {
			if after > 0 {
				r.Grants = append(slices.Clone(r.Grants), s.before[r.UserID]...)
			} else {
				s.before[r.UserID] = r.Grants
			}
		}
		s.mu.Unlock()
		yield(r)
	})
}

// simKeepsUsers lists in full refreshes everybody who ever was on the list.
type simKeepsUsers struct {
	rolegate.Source
	mu   sync.Mutex
	ever map[int64]rolegate.Record
}

func (s *simKeepsUsers) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	seen := map[int64]bool{}
	err := s.Source.Pull(ctx, after, func(r rolegate.Record) {
		s.mu.Lock()
		if s.ever == nil {
			s.ever = map[int64]rolegate.Record{}
		}
		s.ever[r.UserID], seen[r.UserID] = r, true
		s.mu.Unlock()
		yield(r)
	})
	s.mu.Lock() // never while time goes by: a bubble's clock waits for nobody who waits for a lock
	defer s.mu.Unlock()
	if after == 0 {
		for id, r := range s.ever {
			if !seen[id] {
				r.Sequence = 0
				yield(r)
			}
		}
	}
	return err
}

// simHidesAge has each full refresh end with the highest sequence that was ever
// seen, so that no list looks older than another.
type simHidesAge struct {
	rolegate.Source
	mu      sync.Mutex
	highest int64
}

func (s *simHidesAge) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	err := s.Source.Pull(ctx, after, func(r rolegate.Record) {
		s.mu.Lock()
		s.highest = max(s.highest, r.Sequence)
		s.mu.Unlock()
		yield(r)
	})
	if err == nil && after == 0 {
		s.mu.Lock()
		highest := s.highest
		s.mu.Unlock()
		yield(rolegate.Record{UserID: 1, Sequence: highest})
	}
	return err
}

// simHidesClearing leaves nobody without a role, and no role without a user, so
// that none looks gone.
type simHidesClearing struct{ rolegate.Source }

func (s simHidesClearing) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 {
		yield(rolegate.Record{UserID: 1, Sequence: 0, Grants: []rolegate.Grant{in(1, "teacher"), in(1, "homeroom"), in(1, "admin")}})
	}
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		if r.Bad == nil && len(r.Grants) == 0 {
			r.Grants = []rolegate.Grant{in(1, "member")}
		}
		yield(r)
	})
}

// simDropsBad leaves out records that could not be understood.
type simDropsBad struct{ rolegate.Source }

func (s simDropsBad) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		if r.Bad == nil {
			yield(r)
		}
	})
}

// simNeverFails takes what there was before a refresh broke off for all there is.
type simNeverFails struct{ rolegate.Source }

func (s simNeverFails) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if err := s.Source.Pull(ctx, after, yield); ctx.Err() != nil {
		return err
	}
	return nil
}
