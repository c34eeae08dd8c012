package rolegate

import (
	"context"
	"errors"
	"io"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/refresh"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is how a replica that leads publishes its index; following.go is how
// the others take it in.

// run publishes while this replica leads, and follows while it does not.
func (r *replica) run() {
	for r.f.tasks.Context().Err() == nil {
		if term, ok := r.holds(); ok {
			r.lead(term)
		} else {
			r.follow()
		}
	}
	r.leave()
}

// lead publishes what this replica knows for as long as it holds the lease.
func (r *replica) lead(term uint64) {
	r.catchUp()
	r.mu.Lock()
	r.caught = r.lease.Held && r.lease.Term == term
	r.broken = clock.Instant{}
	r.mu.Unlock()
	r.judge()
	beat := time.NewTimer(0)
	defer beat.Stop()
	alive, failed := false, 0 // whether it is time to say that somebody leads
	for {
		if now, ok := r.holds(); !ok || now != term {
			return
		}
		if due := r.due(alive); due {
			if err := r.publish(r.f.tasks.Context(), term); err != nil {
				if r.f.tasks.Context().Err() != nil {
					return
				}
				r.failed("publishing", err)
				failed++
				if errors.Is(err, ErrNotLeader) {
					r.fenced++
					if r.lost(); r.fenced >= 3 {
						r.resign() // the store says one thing here and another there
					}
					return
				}
				if !r.pause(failed) {
					return
				}
				continue
			}
			r.works()
			alive, failed, r.fenced = false, 0, 0
			beat.Reset(r.f.cfg.Refresh.Every)
		}
		select {
		case <-r.f.tasks.Context().Done():
			return
		case <-r.f.dirty:
		case <-r.kick:
		case <-beat.C:
			alive = true
		}
	}
}

// due reports whether there is something to publish. What is older than what the
// store has is not: whoever starts would go by it. Then this replica pulls.
func (r *replica) due(alive bool) bool {
	gen, base := r.f.now.Load(), r.base.Load()
	switch {
	case gen == nil:
		return false
	case base != nil && gen.Verified.Mono < base.Verified.Mono:
		r.f.loop.Soon(refresh.Full)
		return false
	case base != nil && gen.Older(base):
		r.f.loop.Soon(refresh.Incremental)
		return false
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	return alive || len(r.answers) > 0 || gen != base
}

// catchUp takes in what was published in earlier terms.
func (r *replica) catchUp() {
	r.mu.Lock()
	newest := r.lease.Newest
	r.mu.Unlock()
	for r.version != newest && newest != (Version{}) {
		before := r.version
		_, _, err := r.next(followWait, true)
		if err != nil || !r.version.behind(before) {
			if err != nil && r.f.tasks.Context().Err() == nil {
				r.failed("taking over", err)
			}
			break
		}
	}
	if r.version != newest {
		r.forget(Version{}) // all of it is published anew
	}
	r.serveFirst()
}

// behind reports whether a version comes after another.
func (v Version) behind(other Version) bool {
	return v.Term > other.Term || v.Term == other.Term && v.Number > other.Number
}

// publish publishes what requests see here, and the answers that are due.
func (r *replica) publish(ctx context.Context, term uint64) error {
	ctx, cancel := context.WithTimeout(ctx, cacheTimeout)
	defer cancel()
	gen, base := r.f.now.Load(), r.base.Load()
	r.mu.Lock()
	answers := r.answers
	r.answers = nil
	r.mu.Unlock()
	err := r.write(ctx, term, base, gen, answers)
	if err != nil {
		r.mu.Lock()
		r.answers = append(answers, r.answers...)
		r.answers = r.answers[max(0, len(r.answers)-maxAnswers):]
		r.mu.Unlock()
		return err
	}
	now := r.f.clock()
	r.noteCache(func(s *CacheStatus) {
		s.Stored++
		s.Last = now.Time()
	})
	return nil
}

func (r *replica) write(ctx context.Context, term uint64, base, gen *snapshot.Generation, answers []snapshot.Answer) error {
	jumped, err := r.clock.update(ctx, r.shared, r.f.clock)
	if err != nil {
		return err
	}
	key := r.f.cfg.cacheKey
	at := snapshot.Stamps{Contact: r.clock.stamp(gen.Contact), Verified: r.clock.stamp(gen.Verified), Refreshed: r.clock.stamp(gen.Refreshed)}
	from := r.version
	now := r.clock.now()
	p := Publication{Whole: func(w io.Writer) error { return gen.EncodePublished(w, key, r.clock.stamp, now) }}
	if jumped {
		r.base.Store(nil) // what it was told to be of is of another time
		base = nil
	}
	if base == nil || at.Older(r.stamps) {
		from = Version{} // others cannot go on from what they have
	} else if p.Change, err = snapshot.EncodeChange(base, gen, answers, key, r.clock.stamp, now, r.stamps); err != nil {
		return err
	}
	var v Version
	err = callCache(func() (err error) {
		v, err = r.shared.Publish(ctx, term, from, p)
		return err
	})
	if err != nil {
		return err
	}
	r.version, r.stamps = v, at
	r.base.Store(gen)
	r.mu.Lock()
	r.seen, r.news = v, r.f.clock()
	r.mu.Unlock()
	return nil
}

// leave publishes what is pending and gives the lease back, when the gate is
// closed.
func (r *replica) leave() {
	term, ok := r.holds()
	if !ok {
		return
	}
	r.mu.Lock()
	caught := r.caught
	r.mu.Unlock()
	if gen := r.f.now.Load(); caught && gen != nil && gen != r.base.Load() {
		if err := r.publish(r.f.storing, term); err != nil {
			r.failed("publishing", err)
		}
	}
	r.release(r.f.storing)
	r.mu.Lock()
	r.lease.Held = false
	r.until.Store(noLease)
	r.mu.Unlock()
	r.judge()
}
