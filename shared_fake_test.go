package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rolegate/rolegate"
)

// errSimCut is what a replica gets that is cut off from its fakeStore.
var errSimCut = errors.New("the store cannot be reached")

// A fakeStore is what replicas share, in memory: the rules of a SharedCache
// without a network, so that time can be a bubble's.
type fakeStore struct {
	mu      sync.Mutex
	changed chan struct{} // is closed when anything changes
	offset  time.Duration // of its clock
	keep    int           // so many changes, and then a whole index

	fakeState
	asks  []fakeAsk
	ids   int
	wrote map[string]int // bytes, by what they were for
}

// A fakeState is what a backup of the store has.
type fakeState struct {
	token  int
	until  time.Time
	term   uint64
	newest rolegate.Version

	whole   []byte
	wholeAt rolegate.Version
	log     []fakeEntry
}

type fakeEntry struct {
	from, to rolegate.Version
	change   []byte
}

type fakeAsk struct {
	id      int
	at      time.Time
	message []byte
}

const (
	fakeLease = 10 * time.Second
	fakeLog   = 20 // so many changes, and then a whole index
)

func newFakeStore() *fakeStore {
	return &fakeStore{changed: make(chan struct{}), wrote: map[string]int{}, keep: fakeLog}
}

func (s *fakeStore) now() time.Time { return time.Now().Add(s.offset) }

func (s *fakeStore) tell() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// do changes the store from outside: an operator, a crash.
func (s *fakeStore) do(change func(*fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
	s.tell()
}

// flush forgets everything, as a store that restarts empty.
func (s *fakeStore) flush() {
	s.do(func(s *fakeStore) { s.fakeState, s.asks = fakeState{}, nil })
}

// backUp returns what puts the store back to how it is now.
func (s *fakeStore) backUp() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.fakeState
	state.log = slices.Clone(state.log)
	return func() {
		s.do(func(s *fakeStore) {
			s.fakeState = state
			s.log = slices.Clone(state.log)
		})
	}
}

// written returns how many bytes were written, by what for.
func (s *fakeStore) written() map[string]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.wrote)
}

// replica returns the store as one replica reaches it.
func (s *fakeStore) replica() *fakeCache {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ids++
	return &fakeCache{store: s, token: s.ids}
}

// A fakeCache is a fakeStore and the way there.
type fakeCache struct {
	store *fakeStore
	token int

	mu     sync.Mutex
	list   string
	away   bool          // nothing arrives
	broken error         // what every call returns
	slow   time.Duration // what every call takes
	full   bool          // nothing can be published
	mute   bool          // what is published is published, and the reply is lost
}

func (c *fakeCache) set(change func(*fakeCache)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// reach waits as the network does.
func (c *fakeCache) reach(ctx context.Context) error {
	c.mu.Lock()
	away, broken, slow := c.away, c.broken, c.slow
	c.mu.Unlock()
	if broken != nil {
		return broken
	}
	if away {
		<-ctx.Done()
		return ctx.Err()
	}
	wait(ctx, slow)
	return ctx.Err()
}

func (c *fakeCache) Join(list string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list != "" {
		return errors.New("it serves a gate already")
	}
	c.list = list
	return nil
}

func (c *fakeCache) Time(ctx context.Context) (time.Time, error) {
	if err := c.reach(ctx); err != nil {
		return time.Time{}, err
	}
	c.store.mu.Lock()
	t := c.store.now()
	c.store.mu.Unlock()
	return t, c.reach(ctx) // the answer takes its time too
}

func (c *fakeCache) Lease(ctx context.Context, want bool, above uint64) (rolegate.Lease, error) {
	if err := c.reach(ctx); err != nil {
		return rolegate.Lease{}, err
	}
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now()
	taken := s.token != 0 && s.until.After(now) && !s.until.After(now.Add(fakeLease))
	if s.term < above {
		s.term, taken = above, false
	}
	held := taken && s.token == c.token
	if !taken {
		s.token = 0
		if want {
			s.term++
			s.token, held, taken = c.token, true, true
		}
	}
	if held && want {
		s.until = now.Add(fakeLease)
	}
	return rolegate.Lease{Held: held, Taken: taken, Term: s.term, For: s.until.Sub(now), Newest: s.newest}, nil
}

func (c *fakeCache) Release(ctx context.Context) error {
	if err := c.reach(ctx); err != nil {
		return err
	}
	c.store.mu.Lock()
	defer c.store.mu.Unlock()
	if c.store.token == c.token {
		c.store.token = 0
	}
	return nil
}

func (c *fakeCache) Publish(ctx context.Context, term uint64, from rolegate.Version, p rolegate.Publication) (rolegate.Version, error) {
	if err := c.reach(ctx); err != nil {
		return rolegate.Version{}, err
	}
	if c.isFull() {
		return rolegate.Version{}, errors.New("fake: there is no room")
	}
	var whole bytes.Buffer
	if err := p.Whole(&whole); err != nil {
		return rolegate.Version{}, err
	}
	s := c.store
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.token != c.token || s.term != term || !s.until.After(s.now()) {
		return rolegate.Version{}, fmt.Errorf("fake: %w", rolegate.ErrNotLeader)
	}
	to := rolegate.Version{Term: term, Number: 1}
	if s.newest.Term == term {
		to.Number = s.newest.Number + 1
	}
	chained := from == s.newest && from != (rolegate.Version{})
	if chained {
		s.log = append(s.log, fakeEntry{from, to, p.Change})
		s.wrote["changes"] += len(p.Change)
		s.wrote["change"] = len(p.Change)
	}
	if !chained || len(s.log) > 2*s.keep {
		s.whole, s.wholeAt = whole.Bytes(), to
		s.wrote["wholes"] += whole.Len()
		s.log = slices.Clone(s.log[max(0, len(s.log)-s.keep):])
		if !chained {
			s.log = nil
			s.wrote["anew"]++
		}
	}
	s.newest = to
	s.tell()
	if c.isMute() {
		return rolegate.Version{}, errors.New("fake: the reply is lost")
	}
	return to, nil
}

func (c *fakeCache) isFull() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.full
}

func (c *fakeCache) isMute() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.mute
}

func (c *fakeCache) Follow(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
	for {
		if err := c.reach(ctx); err != nil {
			return rolegate.Update{}, err
		}
		s := c.store
		s.mu.Lock()
		changed := s.changed
		u, ok := s.update(after)
		s.mu.Unlock()
		if ok {
			return u, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return rolegate.Update{}, ctx.Err()
		}
	}
}

func (s *fakeStore) update(after rolegate.Version) (u rolegate.Update, ok bool) {
	if s.newest == after || s.newest == (rolegate.Version{}) {
		return u, false
	}
	for _, e := range s.log {
		if e.from == after {
			return rolegate.Update{Version: e.to, Change: e.change}, true
		}
	}
	return rolegate.Update{Version: s.wholeAt, Whole: io.NopCloser(bytes.NewReader(s.whole))}, true
}

func (c *fakeCache) Ask(ctx context.Context, message []byte) error {
	if err := c.reach(ctx); err != nil {
		return err
	}
	c.store.do(func(s *fakeStore) {
		s.ids++
		s.asks = append(s.asks, fakeAsk{s.ids, s.now(), slices.Clone(message)})
	})
	return nil
}

func (c *fakeCache) Asked(ctx context.Context, after string) (asked []rolegate.Asked, err error) {
	last, _ := strconv.Atoi(after)
	for {
		if err := c.reach(ctx); err != nil {
			return nil, err
		}
		c.store.mu.Lock()
		changed := c.store.changed
		for _, a := range c.store.asks {
			if a.id > last && (last > 0 || a.at.After(c.store.now().Add(-10*time.Second))) {
				asked = append(asked, rolegate.Asked{ID: strconv.Itoa(a.id), Message: a.message})
			}
		}
		c.store.mu.Unlock()
		if len(asked) > 0 {
			return asked, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// Load and Store are of a plain Cache: a gate does not call them.
func (c *fakeCache) Load(context.Context) (io.ReadCloser, error) { return nil, fs.ErrNotExist }

func (c *fakeCache) Store(context.Context, func(io.Writer) error) error {
	return errors.New("a gate stores nothing in a SharedCache")
}
