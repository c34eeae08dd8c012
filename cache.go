package rolegate

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/snapshot"
)

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

// restore makes the stored index the first list, unless a full refresh was
// faster: what that has seen must not be undone.
func (f *refresher) restore(r io.Reader) (used bool, err error) {
	gen, err := f.decode(r)
	if err != nil {
		return false, err
	}
	if f.now.Lock(f.tasks.Context()) != nil {
		return false, nil
	}
	defer f.now.Unlock()
	if f.now.Load() != nil {
		return false, nil
	}
	f.journal.started(gen, "rolegate: started from the stored index")
	f.pull.Cursor.Follow(gen.Contact, gen.Contact, gen.Cursor, nil, nil)
	f.persist.Loaded()
	f.now.Publish(gen)
	return true, nil
}

// A stored is what is worth storing anew when it differs. Ages change with every
// full refresh; an increment that changed nothing is not worth it: that the
// contact age begins older after a restart does no harm.
type stored struct {
	index    any
	verified clock.Instant
	held     any
}

func (f *refresher) copyToStore() (what any, write func(io.Writer) error) {
	gen := f.now.Load()
	if gen == nil {
		return nil, nil
	}
	return stored{gen.Snapshot, gen.Verified, gen.Held}, func(w io.Writer) error { return gen.Encode(w, f.cfg.cacheKey, clock.WallStamp) }
}
