package rolegate_test

import (
	"context"
	"slices"
	"sync"

	"github.com/rolegate/rolegate"
)

// This file is the sources of gates with a broken rule.

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

// simKeepsUsers lists in walks everybody who ever was on the list.
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

// simDropsBad leaves out records that could not be understood.
type simDropsBad struct{ rolegate.Source }

func (s simDropsBad) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return s.Source.Pull(ctx, after, func(r rolegate.Record) {
		if r.Bad == nil {
			yield(r)
		}
	})
}

// simNeverFails takes what there was before a pull broke off for all there is.
type simNeverFails struct{ rolegate.Source }

func (s simNeverFails) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if err := s.Source.Pull(ctx, after, yield); ctx.Err() != nil {
		return err
	}
	return nil
}
