package refresh

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/panics"
)

const (
	// loadWait is how long the first full refresh waits for the stored copy. A
	// copy that comes later is used still if there is no list yet.
	loadWait = 5 * time.Second

	// storeEvery is how soon after a copy was stored the next one is.
	storeEvery = 5 * time.Second

	// cacheTimeout is how long loading, or storing, a copy may take.
	cacheTimeout = time.Minute
)

// A Cache keeps a copy where a restart finds it: see rolegate's Cache.
type Cache interface {
	Load(ctx context.Context) (io.ReadCloser, error)
	Store(ctx context.Context, write func(io.Writer) error) error
}

// A PersistConfig says what is kept where. All fields are needed.
type PersistConfig struct {
	Tasks *Tasks
	Clock func() clock.Instant
	Log   *slog.Logger
	Cache Cache

	// Storing is the context of what is being stored. It should outlive Tasks,
	// so that the last copy is stored.
	Storing context.Context

	// Restore makes what was stored the first list, and calls Loaded before that. It
	// returns false if there is one already, and an error that says why it may not be
	// used.
	Restore func(r io.Reader) (used bool, err error)

	// Used is called when it was, and Status says so.
	Used func()

	// Copy returns what there is to store: a value that is equal if nothing has
	// changed since, nil if there is nothing, and a func that writes it.
	Copy func() (what any, write func(io.Writer) error)
}

// A Persist keeps the last good list in a [Cache], and restores it at the start.
// Make it with [NewPersist].
type Persist struct {
	cfg      PersistConfig
	restored chan struct{} // closed when the copy was loaded, or is known to be of no use
	begin    chan struct{} // closed when the first full refresh need not wait any more
	dirty    chan struct{} // there may be something to store
	stored   any           // what is stored; one goroutine uses it

	mu     sync.Mutex
	status PersistStatus
	logged bool // that storing fails
}

// PersistStatus says how loading and storing have gone.
type PersistStatus struct {
	Loaded bool      // whether the list was started from what was stored
	Stored uint64    // how many times a copy was stored
	Last   time.Time // when that was last

	Failed uint64 // how many times loading or storing failed
	Error  string // the last time
}

// NewPersist returns one that does nothing yet: see [Persist.Start].
func NewPersist(cfg PersistConfig) *Persist {
	return &Persist{cfg: cfg, restored: make(chan struct{}), begin: make(chan struct{}), dirty: make(chan struct{}, 1)}
}

// Start restores the copy, and then stores those that follow it, in goroutines
// of the tasks.
func (p *Persist) Start() {
	p.cfg.Tasks.Go(func() {
		p.restore()
		p.storeChanges()
	})
	p.cfg.Tasks.Go(p.awaitRestored)
}

// Begin returns a channel that is closed when the copy was restored or is of no
// use, and after five seconds.
func (p *Persist) Begin() <-chan struct{} { return p.begin }

// Changed says that there may be something new to store.
func (p *Persist) Changed() { signal(p.dirty) }

// Loaded says that what was stored is about to be published: who sees that list is told
// where it comes from.
func (p *Persist) Loaded() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Loaded = true
}

// Status returns how loading and storing have gone.
func (p *Persist) Status() PersistStatus {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.status
}

func (p *Persist) fail(err error) (logged bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.status.Failed++
	p.status.Error = err.Error()
	logged, p.logged = p.logged, true
	return logged
}

// restore makes the stored copy the first list, if there is one that may be
// used. Whatever goes wrong, the list comes from the source instead.
func (p *Persist) restore() {
	defer close(p.restored)
	used, err := p.load()
	switch {
	case p.cfg.Tasks.Context().Err() != nil: // closed meanwhile
	case errors.Is(err, fs.ErrNotExist):
		p.cfg.Log.Info("rolegate: no index is stored yet")
	case err != nil:
		p.mu.Lock()
		p.status.Failed++
		p.status.Error = err.Error()
		p.mu.Unlock()
		p.cfg.Log.Warn("rolegate: the stored index is not used; the list comes from the source", "err", err)
	case !used:
		p.cfg.Log.Info("rolegate: the stored index is not used: the list has come from the source meanwhile")
	default:
		p.stored, _ = p.cfg.Copy()
		p.cfg.Used()
	}
}

// awaitRestored has the first full refresh wait for the stored copy, but not for
// a Cache that hangs.
func (p *Persist) awaitRestored() {
	defer close(p.begin)
	timer := time.NewTimer(loadWait)
	defer timer.Stop()
	select {
	case <-p.restored:
	case <-p.cfg.Tasks.Context().Done():
	case <-timer.C:
		err := fmt.Errorf("it was not loaded within %v", loadWait)
		p.mu.Lock()
		p.status.Failed++
		p.status.Error = err.Error()
		p.mu.Unlock()
		p.cfg.Log.Warn("rolegate: the first full refresh does not wait for the stored index", "err", err)
	}
}

// load reads the stored copy.
func (p *Persist) load() (used bool, err error) {
	ctx, cancel := context.WithTimeout(p.cfg.Tasks.Context(), cacheTimeout)
	defer cancel()
	err = panics.Call("the Cache", func() (err error) {
		r, err := p.cfg.Cache.Load(ctx)
		if err != nil {
			return err
		}
		if r == nil {
			return errors.New("the Cache's Load returned neither an index nor an error")
		}
		defer r.Close()
		used, err = p.cfg.Restore(ReaderUntil{ctx, r})
		return err
	})
	return used && err == nil, err
}

// A ReaderUntil ends with a context: a copy without end does not fill the
// memory.
type ReaderUntil struct {
	Ctx    context.Context
	Reader io.Reader
}

// Read implements io.Reader.
func (r ReaderUntil) Read(p []byte) (int, error) {
	if r.Ctx.Err() != nil {
		return 0, context.Cause(r.Ctx)
	}
	return r.Reader.Read(p)
}

// storeChanges stores what there is whenever that has changed, at most every
// storeEvery, and what is pending when the tasks end.
func (p *Persist) storeChanges() {
	timer := time.NewTimer(storeEvery)
	defer timer.Stop()
	done := p.cfg.Tasks.Context().Done()
	for {
		select {
		case <-done:
			p.store()
			return
		case <-p.dirty:
		}
		p.store()
		timer.Reset(storeEvery)
		select {
		case <-done:
		case <-timer.C:
		}
	}
}

// store stores what there is, if that is not stored yet. What could not be
// stored is tried again with the next change.
func (p *Persist) store() {
	what, write := p.cfg.Copy()
	if what == nil || what == p.stored {
		return
	}
	hangs := time.AfterFunc(cacheTimeout+storeEvery, func() {
		p.notStored(errors.New("the Cache's Store does not return when its ctx ends"))
	})
	err := p.write(write)
	hangs.Stop()
	if err != nil {
		p.stored = nil // not to be kept in memory for as long as storing fails
		p.notStored(err)
		return
	}
	p.stored = what
	p.mu.Lock()
	p.status.Stored++
	p.status.Last = p.cfg.Clock().Time()
	p.logged = false
	p.mu.Unlock()
}

// notStored remembers a failure, and logs the first in a row.
func (p *Persist) notStored(err error) {
	if !p.fail(err) {
		p.cfg.Log.Error("rolegate: the index cannot be stored: a restart will have to wait for the source, or goes on from an older one", "err", err)
	}
}

func (p *Persist) write(write func(io.Writer) error) error {
	ctx, cancel := context.WithTimeout(p.cfg.Storing, cacheTimeout)
	defer cancel()
	var whole atomic.Bool
	err := panics.Call("the Cache", func() error {
		return p.cfg.Cache.Store(ctx, func(w io.Writer) error {
			err := write(w)
			whole.Store(err == nil)
			return err
		})
	})
	if err == nil && !whole.Load() {
		return errors.New("the Cache's Store returned no error, although the index was not written whole")
	}
	return err
}
