package rolegate

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
)

// This file is how a replica takes in what the one that leads has published.

// follow waits for news, and adopts them.
func (r *replica) follow() {
	r.mu.Lock()
	wait := followWait
	if r.broken != (clock.Instant{}) || r.f.now.Load() == nil && r.base.Load() != nil {
		wait = sharedTimeout // it is to be known soon whether it works again, or is up to date
	}
	r.mu.Unlock()
	news, timeout, err := r.next(wait, false)
	if r.f.tasks.Context().Err() != nil {
		return
	}
	none := !news && err == nil
	if err == nil && (r.upToDate() || timeout) {
		r.serveFirst()
	}
	r.mu.Lock()
	switch {
	case none && r.base.Load() == nil: // whatever is wrong still is
	case none && !timeout: // it was interrupted
	case none: // all is quiet
		r.failing, r.broken = 0, clock.Instant{}
	case err == nil && r.failing > 0: // once is not enough: it may fail every other time
	case err == nil:
		r.broken = clock.Instant{}
	case r.broken == clock.Instant{}:
		r.broken = r.f.clock()
	}
	r.mu.Unlock()
	r.judge()
	switch {
	case none:
	case err == nil:
		if r.failing == 0 {
			r.works()
		}
		r.failing = 0
	default:
		r.failing++
		r.failed("following", err)
		r.pause(r.failing)
	}
}

// next waits for one update and adopts it, as a leader does or one that follows:
// it returns at once if this replica is the other. It reports whether there was
// one, and if not, whether it has waited to the end.
func (r *replica) next(wait time.Duration, leading bool) (news, timeout bool, err error) {
	ctx, cancel := context.WithCancel(r.f.tasks.Context()) // what has come is read with it, however long that takes
	defer cancel()
	var ended atomic.Bool
	waiting := time.AfterFunc(wait, func() {
		ended.Store(true)
		cancel()
	})
	r.mu.Lock()
	r.stop = func() {
		if waiting.Stop() {
			cancel()
		}
	}
	r.mu.Unlock()
	defer waiting.Stop()
	if _, ok := r.holds(); ok != leading {
		return false, false, nil
	}
	var u Update
	err = callCache(func() (err error) {
		u, err = r.shared.Follow(ctx, r.version)
		return err
	})
	came := waiting.Stop()
	if u.Whole != nil {
		defer func() { _ = callCache(u.Whole.Close) }()
	}
	switch {
	case err != nil && ctx.Err() == nil:
		return false, false, err
	case err != nil, u.Whole != nil && !came:
		return false, ended.Load(), nil
	}
	whole, stop := context.WithTimeout(r.f.tasks.Context(), cacheTimeout)
	defer stop()
	defer context.AfterFunc(whole, cancel)()
	return true, false, r.take(whole, u)
}

// take adopts an update.
func (r *replica) take(ctx context.Context, u Update) (err error) {
	switch {
	case u.Version == r.version, u.Version.Term == 0 || u.Version.Number == 0, u.Whole == nil && len(u.Change) == 0:
		err = errors.New("the SharedCache's Follow returned neither news nor an error")
	case u.Whole == nil && r.version == (Version{}):
		err = errors.New("the SharedCache's Follow returned a change of nothing")
	}
	if err != nil {
		r.forget(Version{})
		return err
	}
	r.mu.Lock()
	r.highest = max(r.highest, u.Version.Term)
	r.seen = u.Version
	r.news = r.f.clock()
	r.touched = r.news // whoever gets that from the store can reach it, though a look at the lease may take too long
	r.mu.Unlock()
	jumped, err := r.clock.update(ctx, r.shared, r.f.clock)
	if err != nil {
		r.forget(Version{})
		return err
	}
	switch {
	case u.Whole != nil:
		err = r.adoptWhole(ctx, u, jumped)
	case r.base.Load() == nil:
		r.forget(Version{}) // a change of what could not be used: the whole index may be better by now
	default:
		err = r.adoptChange(ctx, u, jumped)
	}
	r.noteJump(jumped)
	return err
}

// noteJump counts how often the shared clock was set, but for what is long ago.
func (r *replica) noteJump(jumped bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if jumped {
		r.jumps = min(r.jumps+1, 2*maxJumps)
	} else {
		r.jumps = max(r.jumps-1, 0)
	}
}

// forget has the replica follow from that version, without an index.
func (r *replica) forget(v Version) {
	r.version = v
	r.base.Store(nil)
}

// adoptWhole takes in an index from the store. jumped is whether the shared
// clock was set since the last one: then nothing in it has a time that is known.
func (r *replica) adoptWhole(ctx context.Context, u Update, jumped bool) error {
	var gen *snapshot.Generation
	var at snapshot.Stamps
	if err := callCache(func() (err error) {
		gen, at, err = r.decode(readerUntil{ctx, u.Whole})
		return err
	}); err != nil {
		r.forget(u.Version) // what follows it may be better
		return err
	}
	if err := r.f.lockSwap(ctx); err != nil {
		return err
	}
	defer r.f.unlockSwap()
	own := r.f.now.Load()
	if jumped && own != nil {
		gen.Verified, gen.Contact = alike(gen.Verified, own.Verified), alike(gen.Contact, own.Contact)
	}
	taken := own != nil && !gen.Older(own) // see serveFirst
	r.adopt(u.Version, at, gen, taken)
	if taken {
		r.tell(gen, own, nil)
	}
	return nil
}

// alike returns own if both are most likely the same instant.
func alike(i, own clock.Instant) clock.Instant {
	if d := own.Mono - i.Mono; d > 0 && d < int64(clockJump) {
		return own
	}
	return i
}

// upToDate reports whether this replica knows all that was published when it
// looked last.
func (r *replica) upToDate() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.looked && !r.lease.Newest.behind(r.version)
}

// serveFirst makes requests see the base if they see nothing so far: not before
// it is up to date, for the whole index in the store may be an hour old and the
// changes behind it take away what it grants. One that has expired is of no use,
// and no walk is to be compared with it.
func (r *replica) serveFirst() {
	base := r.base.Load()
	if base == nil || r.f.now.Load() != nil || base.Refreshed.Age(r.f.clock()) > r.f.cfg.Refresh.ExpireAfter {
		return
	}
	if r.f.lockSwap(r.f.tasks.Context()) != nil {
		return
	}
	defer r.f.unlockSwap()
	if r.f.now.Load() == nil {
		r.adopt(r.version, r.stamps, base, true)
		r.tell(base, nil, nil)
	}
}

// adopt makes a generation the base, and requests see it if it is taken. It
// needs lockSwap.
func (r *replica) adopt(v Version, at snapshot.Stamps, gen *snapshot.Generation, taken bool) {
	r.version, r.stamps = v, at
	r.mu.Lock() // or somebody could see that base and what requests see are not the same
	defer r.mu.Unlock()
	r.base.Store(gen)
	if !taken {
		return
	}
	first := r.f.now.Load() == nil
	r.f.pull.cursor.Follow(gen.Contact, gen.Cursor)
	r.f.swap(gen)
	if role := *r.role.Load(); first && role != ReplicaFollower {
		r.schedule(role, gen, r.f.clock()) // it was about to walk, since it had nothing
	}
}

// decode makes a generation of a whole index.
func (r *replica) decode(from io.Reader) (*snapshot.Generation, snapshot.Stamps, error) {
	s, err := snapshot.DecodePublished(from)
	if err != nil {
		return nil, snapshot.Stamps{}, err
	}
	if err := r.check(s); err != nil {
		return nil, snapshot.Stamps{}, err
	}
	gen, err := s.Generation(r.f.roles, r.f.cfg.indexed.fields(), r.clock.at)
	return gen, snapshot.Stamps{Contact: s.Contact, Verified: s.Verified, Refreshed: s.Refreshed}, err
}

// check says why an index, or a change, may not be used.
func (r *replica) check(s *snapshot.Stored) error {
	switch {
	case s.Key != r.f.cfg.cacheKey, s.Fields != r.f.cfg.fields:
		return errors.New("it is of another list: another app, marketplace or environment")
	case r.clock.future(max(s.Contact, s.Verified, s.Refreshed, s.Published)):
		return errors.New("it is dated in the future: the clock that the replicas share was put back")
	}
	return nil
}

// adoptChange takes in a change. If it cannot be used, the whole index is asked
// for.
func (r *replica) adoptChange(ctx context.Context, u Update, jumped bool) error {
	base := r.base.Load()
	c, err := snapshot.DecodeChange(u.Change)
	if err == nil {
		err = r.check(&c.Stored)
	}
	if err != nil {
		r.forget(Version{})
		return err
	}
	at := snapshot.Stamps{Contact: c.Contact, Verified: c.Verified, Refreshed: c.Refreshed}
	if jumped && c.Held != nil {
		r.forget(Version{})
		return errors.New("a change tells since when removals are held, by a clock that was set since")
	}
	if c.From != r.stamps {
		r.forget(Version{})
		return errors.New("a change is of another index than the one that it was said to follow")
	}
	if at.Older(r.stamps) {
		r.forget(u.Version)
		return errors.New("a change leads to an older index")
	}
	gen, ids, err := c.Applied(base, r.f.roles, r.f.cfg.indexed.fields(), r.clock.at)
	if err != nil {
		r.forget(Version{})
		return err
	}
	// Each reading of the shared clock errs a little, towards older.
	if at.Verified >= r.stamps.Verified {
		gen.Verified = clock.Later(gen.Verified, base.Verified)
	}
	if at.Refreshed >= r.stamps.Refreshed {
		gen.Refreshed = clock.Later(gen.Refreshed, base.Refreshed)
	}
	if at.Contact >= r.stamps.Contact {
		gen.Contact = clock.Later(gen.Contact, base.Contact)
	}
	if err := r.f.lockSwap(ctx); err != nil {
		return err
	}
	defer r.f.unlockSwap()
	own := r.f.now.Load()
	taken := own != nil && (own == base || !gen.Older(own))
	r.adopt(u.Version, at, gen, taken)
	if taken {
		if own != base {
			ids = nil // who else differs is not known
		}
		r.tell(gen, own, ids)
	}
	r.answered(c.Answers, taken)
	return nil
}

// tell tells whoever wants to know that a generation was taken. ids are of those
// who may differ, nil if that is not known. It needs lockSwap.
func (r *replica) tell(gen, own *snapshot.Generation, ids []int64) {
	f := r.f
	isWalk := own == nil || own.Refreshed != gen.Refreshed
	f.journal.adopted(gen)
	switch {
	case own == nil:
		r.noteCache(func(s *CacheStatus) { s.Loaded = true })
		f.journal.started(gen, "rolegate: started from what another replica has published")
		f.begin()
	case f.pull.changes == nil, gen.Snapshot == own.Snapshot:
	case ids == nil:
		f.pull.compare(gen, own, isWalk, func(look func(int64)) { gen.Differing(&own.Table, look) })
	default:
		f.pull.compare(gen, own, isWalk, func(look func(int64)) {
			for _, id := range ids {
				look(id)
			}
		})
	}
}
