package rolegate

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

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

// cacheKey says which list a source has, "" if it does not tell.
func cacheKey(s Source) string {
	if k, ok := s.(CacheKeyer); ok {
		return k.CacheKey()
	}
	return ""
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
	case time.Duration(now.Wall-s.Refreshed) > cfg.Refresh.ExpireAfter:
		return nil, fmt.Errorf("it is older than ExpireAfter, %v", cfg.Refresh.ExpireAfter)
	}
	return s.Generation(f.roles, cfg.indexed.fields(), now.At)
}

// CacheStatus tells of Config.Cache.
type CacheStatus struct {
	Loaded bool      `json:"loaded"` // whether the gate has started from what was stored
	Stored uint64    `json:"stored"` // how many times an index was stored
	Last   time.Time `json:"last"`   // when that was last

	// Failed counts the times that loading or storing failed, and Error is the
	// last.
	Failed uint64 `json:"failed"`
	Error  string `json:"error,omitempty"`
}
