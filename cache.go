package rolegate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"
)

// A Cache keeps the last good index where a restart finds it, so that an app
// that starts while the marketplace is away can serve at once.
// [github.com/rolegate/rolegate/filecache] has the one on disk.
//
// What is stored has role grants and, as far as they are kept, accounts and
// names in it: it must not be readable by others, nor writable by anybody but
// the app, since whoever writes it decides who may enter. A Cache stores and
// returns the bytes as they are; the gate checks them.
//
// A Cache must be safe for concurrent use. The gate calls Load once, when it
// starts, and Store never twice at once. A Cache may also have a method
// Validate() error: [Open] calls it, and reports what it says together with
// every other mistake of the [Config].
type Cache interface {
	// Load opens what was stored last. An error that wraps [fs.ErrNotExist]
	// says that there is nothing yet.
	Load(ctx context.Context) (io.ReadCloser, error)

	// Store replaces what was stored by what write writes: by all of it, or
	// not at all. It returns write's error if there is one.
	Store(ctx context.Context, write func(io.Writer) error) error
}

// storeEvery is how soon after an index was stored the next one is, and
// storeTimeout how long storing one may take.
const (
	storeEvery   = 5 * time.Second
	storeTimeout = time.Minute
)

// cacheKey says which list a source has, "" if it does not tell.
func cacheKey(s Source) string {
	if k, ok := s.(interface{ CacheKey() string }); ok {
		return k.CacheKey()
	}
	return ""
}

// restore makes the stored index the first list, if there is one that may be
// used. Whatever goes wrong, the gate starts from the source instead.
func (f *refresher) restore() {
	g := f.gate
	if g.cfg.Cache == nil {
		return
	}
	gen, err := f.load()
	f.noteCache(func(s *CacheStatus) {
		if s.Loaded = err == nil; !s.Loaded && !errors.Is(err, fs.ErrNotExist) {
			s.Failed++
			s.Error = err.Error()
		}
	})
	switch {
	case errors.Is(err, fs.ErrNotExist):
		g.log.Info("rolegate: no index is stored yet")
	case err != nil:
		g.log.Warn("rolegate: the stored index is not used; the list comes from the source", "err", err)
	default:
		now := g.clock()
		g.log.Info("rolegate: started from the stored index", "users", gen.users,
			"contact_age", gen.contact.age(now).Round(time.Second), "verified_age", gen.verified.age(now).Round(time.Second))
		f.stored = gen
		f.swap(gen)
		f.ready.Do(func() { close(f.first) })
	}
}

// load reads the stored index, and says why it may not be used.
func (f *refresher) load() (gen *generation, err error) {
	g := f.gate
	defer func() {
		if v := recover(); v != nil {
			gen, err = nil, panicError("the Cache", v)
		}
	}()
	ctx, cancel := context.WithTimeout(f.ctx, storeTimeout)
	defer cancel()
	r, err := g.cfg.Cache.Load(ctx)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	s, err := decodeIndex(r)
	if err != nil {
		return nil, err
	}
	now := g.clock()
	switch {
	case s.key != cacheKey(g.cfg.Source):
		return nil, errors.New("it is of another list: another app, marketplace or environment")
	case s.fields != g.cfg.fields:
		return nil, errors.New("it was made with other Keep, Identify or Aliases")
	case max(s.contact, s.verified, s.walked) > now.wall:
		return nil, errors.New("it is dated in the future: one of the clocks is or was wrong")
	case time.Duration(now.wall-s.verified) > g.cfg.Refresh.ExpireAfter:
		return nil, fmt.Errorf("it is older than ExpireAfter, %v", g.cfg.Refresh.ExpireAfter)
	}
	made, err := s.snapshot(g.roles, g.cfg.indexed)
	if err != nil {
		return nil, err
	}
	gen = &generation{
		snapshot: made, cursor: s.cursor,
		contact: now.at(s.contact), verified: now.at(s.verified), walked: now.at(s.walked),
	}
	if s.held != nil {
		users := make(map[int64]instant, len(s.held))
		for id, seen := range s.held {
			users[id] = now.at(min(seen, now.wall))
		}
		gen.hold = newHold(users, s.cause)
	}
	return gen, nil
}

// at is the instant, in the past, at which the wall clock read that.
func (i instant) at(wall int64) instant { return instant{mono: i.mono - (i.wall - wall), wall: wall} }

// store stores what requests see, whenever that has changed, at most every
// storeEvery. Ages change with every walk; an increment that changed nothing
// is not worth it.
func (f *refresher) store() {
	defer f.running.Done()
	timer := time.NewTimer(storeEvery)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			f.storeNow(context.WithoutCancel(f.ctx))
			return
		case <-f.dirty:
		}
		f.storeNow(f.ctx)
		timer.Reset(storeEvery)
		select {
		case <-f.ctx.Done():
		case <-timer.C:
		}
	}
}

// storeNow stores what requests see, if that is not stored yet.
func (f *refresher) storeNow(ctx context.Context) {
	g := f.gate
	gen := g.now.Load()
	if gen == nil || f.stored != nil && gen.snapshot == f.stored.snapshot && gen.verified == f.stored.verified && gen.hold == f.stored.hold {
		return
	}
	err := f.write(ctx, gen)
	if err == nil {
		f.stored = gen
	}
	now := g.clock()
	told := false
	f.noteCache(func(s *CacheStatus) {
		if err == nil {
			s.Stored++
			s.Last = now.time()
			f.cacheTold = false
			return
		}
		s.Failed++
		s.Error = err.Error()
		told, f.cacheTold = f.cacheTold, true
	})
	if err != nil && !told {
		g.log.Error("rolegate: the index cannot be stored: a restart will have to wait for the source", "err", err)
	}
}

func (f *refresher) write(ctx context.Context, gen *generation) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = panicError("the Cache", v)
		}
	}()
	ctx, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	return f.gate.cfg.Cache.Store(ctx, func(w io.Writer) error {
		return gen.encode(w, cacheKey(f.gate.cfg.Source))
	})
}

func (f *refresher) noteCache(note func(*CacheStatus)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	note(&f.cache)
}

// CacheStatus tells of Config.Cache.
type CacheStatus struct {
	Loaded bool      // whether the gate has started from what was stored
	Stored uint64    // how many times an index was stored
	Last   time.Time // when that was last

	// Failed counts the times that loading or storing failed, and Error is the
	// last.
	Failed uint64
	Error  string
}
