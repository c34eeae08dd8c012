package rolegate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
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
// starts, and Store never twice at once, and never before Load's reader is
// closed. Errors must be free of secrets and of personal data: they are logged.
// A Cache may also have a method Validate() error: [Open] calls it, and reports
// what it says together with every other mistake of the [Config].
type Cache interface {
	// Load opens what was stored last. An error that wraps [fs.ErrNotExist]
	// says that there is nothing yet. ctx lives until the reader is closed;
	// Load and Read must return soon after it ends.
	Load(ctx context.Context) (io.ReadCloser, error)

	// Store replaces what was stored by what write writes: by all of it, or
	// not at all. It calls write once, returns write's error if there is one,
	// and returns soon after ctx ends.
	Store(ctx context.Context, write func(io.Writer) error) error
}

const (
	// loadWait is how long the first walk waits for the stored index. An index
	// that comes later is used still if there is no list yet.
	loadWait = 5 * time.Second

	// storeEvery is how soon after an index was stored the next one is.
	storeEvery = 5 * time.Second

	// cacheTimeout is how long loading, or storing, an index may take.
	cacheTimeout = time.Minute
)

// cacheKey says which list a source has, "" if it does not tell.
func cacheKey(s Source) string {
	if k, ok := s.(interface{ CacheKey() string }); ok {
		return k.CacheKey()
	}
	return ""
}

// keepStored restores the stored index, and then stores those that follow it.
func (f *refresher) keepStored() {
	defer f.running.Done()
	f.restore()
	f.keepStoring()
}

// restore makes the stored index the first list, if there is one that may be
// used. Whatever goes wrong, the gate starts from the source instead.
func (f *refresher) restore() {
	defer close(f.restored)
	gen, err := f.load()
	switch {
	case f.ctx.Err() != nil: // closed meanwhile
	case errors.Is(err, fs.ErrNotExist):
		f.log.Info("rolegate: no index is stored yet")
	case err != nil:
		f.noteCache(func(s *CacheStatus) { s.fail(err) })
		f.log.Warn("rolegate: the stored index is not used; the list comes from the source", "err", err)
	case !f.startFrom(gen):
		f.log.Info("rolegate: the stored index is not used: the list has come from the source meanwhile")
	default:
		now := f.clock()
		f.noteCache(func(s *CacheStatus) { s.Loaded = true })
		f.log.Info("rolegate: started from the stored index", "users", gen.Users, "held", gen.Held.Size(),
			"contact_age", gen.Contact.Age(now).Round(time.Second), "verified_age", gen.Verified.Age(now).Round(time.Second))
		f.ready.Do(func() { close(f.first) })
	}
}

// startFrom swaps the stored index in, unless a walk was faster: what that has
// seen must not be undone.
func (f *refresher) startFrom(gen *snapshot.Generation) bool {
	if f.lockSwap(f.ctx) != nil {
		return false
	}
	defer f.unlockSwap()
	if f.now.Load() != nil {
		return false
	}
	f.mu.Lock()
	f.holdTold = gen.Held
	f.mu.Unlock()
	f.stored = gen
	f.swap(gen)
	return true
}

// awaitRestored has the first walk wait for the stored index, but not for a
// Cache that hangs.
func (f *refresher) awaitRestored() {
	timer := time.NewTimer(loadWait)
	defer timer.Stop()
	select {
	case <-f.restored:
	case <-f.ctx.Done():
	case <-timer.C:
		err := fmt.Errorf("it was not loaded within %v", loadWait)
		f.noteCache(func(s *CacheStatus) { s.fail(err) })
		f.log.Warn("rolegate: the first walk does not wait for the stored index", "err", err)
	}
}

// load reads the stored index, and says why it may not be used.
func (f *refresher) load() (gen *snapshot.Generation, err error) {
	ctx, cancel := context.WithTimeout(f.ctx, cacheTimeout)
	defer cancel()
	err = callCache(func() (err error) {
		r, err := f.cfg.Cache.Load(ctx)
		if err != nil {
			return err
		}
		if r == nil {
			return errors.New("the Cache's Load returned neither an index nor an error")
		}
		defer r.Close()
		gen, err = f.decode(readerUntil{ctx, r})
		return err
	})
	if err != nil {
		return nil, err
	}
	return gen, nil
}

// A readerUntil ends with a context: an index without end does not fill the
// memory.
type readerUntil struct {
	ctx context.Context
	r   io.Reader
}

func (r readerUntil) Read(p []byte) (int, error) {
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return r.r.Read(p)
}

// decode makes a generation of a stored index, if it is of this list, of these
// fields and young enough.
func (f *refresher) decode(r io.Reader) (*snapshot.Generation, error) {
	s, err := snapshot.Decode(r)
	if err != nil {
		return nil, err
	}
	cfg := &f.cfg
	now := f.clock()
	switch {
	case s.Key != cfg.cacheKey:
		return nil, errors.New("it is of another list: another app, marketplace or environment")
	case s.Fields != cfg.fields:
		return nil, errors.New("it was made with other Keep, Identify or Aliases")
	case max(s.Contact, s.Verified, s.Refreshed) > now.Wall:
		return nil, errors.New("it is dated in the future: one of the clocks is or was wrong")
	case time.Duration(now.Wall-s.Verified) > cfg.Refresh.ExpireAfter:
		return nil, fmt.Errorf("it is older than ExpireAfter, %v", cfg.Refresh.ExpireAfter)
	}
	return s.Generation(f.roles, cfg.indexed.fields(), now.At)
}

// keepStoring stores what requests see whenever that has changed, at most every
// storeEvery, and what is pending when the gate is closed.
func (f *refresher) keepStoring() {
	timer := time.NewTimer(storeEvery)
	defer timer.Stop()
	for {
		select {
		case <-f.ctx.Done():
			f.storeNow()
			return
		case <-f.dirty:
		}
		f.storeNow()
		timer.Reset(storeEvery)
		select {
		case <-f.ctx.Done():
		case <-timer.C:
		}
	}
}

// storeNow stores what requests see, if that is not stored yet. Ages change
// with every walk; an increment that changed nothing is not worth it: that the
// contact age begins older after a restart does no harm. One that could not be
// stored is tried again with the next pull that succeeds.
func (f *refresher) storeNow() {
	gen := f.now.Load()
	if gen == nil || f.stored != nil && gen.Snapshot == f.stored.Snapshot && gen.Verified == f.stored.Verified && gen.Held == f.stored.Held {
		return
	}
	hangs := time.AfterFunc(cacheTimeout+storeEvery, func() {
		f.noteNotStored(errors.New("the Cache's Store does not return when its ctx ends"))
	})
	err := f.write(gen)
	hangs.Stop()
	if err != nil {
		f.stored = nil // not to be kept in memory for as long as storing fails
		f.noteNotStored(err)
		return
	}
	f.stored = gen
	now := f.clock()
	f.noteCache(func(s *CacheStatus) {
		s.Stored++
		s.Last = now.Time()
		f.cacheTold = false
	})
}

// noteNotStored remembers a failure, and logs the first in a row.
func (f *refresher) noteNotStored(err error) {
	told := false
	f.noteCache(func(s *CacheStatus) {
		s.fail(err)
		told, f.cacheTold = f.cacheTold, true
	})
	if !told {
		f.log.Error("rolegate: the index cannot be stored: a restart will have to wait for the source, or goes on from an older one", "err", err)
	}
}

func (f *refresher) write(gen *snapshot.Generation) error {
	ctx, cancel := context.WithTimeout(f.storing, cacheTimeout)
	defer cancel()
	var whole atomic.Bool
	err := callCache(func() error {
		return f.cfg.Cache.Store(ctx, func(w io.Writer) error {
			err := gen.Encode(w, f.cfg.cacheKey, clock.WallStamp)
			whole.Store(err == nil)
			return err
		})
	})
	if err == nil && !whole.Load() {
		return errors.New("the Cache's Store returned no error, although the index was not written whole")
	}
	return err
}

// callCache calls a Cache, and turns a panic into an error, and likewise the
// end of its goroutine, as by t.FailNow.
func callCache(call func() error) (err error) {
	err = errors.New("the Cache ended its goroutine")
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if v := recover(); v != nil {
				err = panicError("the Cache", v)
			}
		}()
		err = call()
	}()
	<-ended
	return err
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

func (s *CacheStatus) fail(err error) {
	s.Failed++
	s.Error = err.Error()
}
