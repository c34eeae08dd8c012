package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/rolegate/rolegate/internal/replication"
)

var errCutOff = errors.New("the store cannot be reached")

// A fakeStore is what replicas share, in memory: the rules of Redis' scripts
// without a network, so that time can be a bubble's.
type fakeStore struct {
	mu     sync.Mutex
	offset time.Duration // of its clock
	ids    int
	calls  int
	wrote  int // bases whose contents were written
	fakeState
}

// A fakeState is what a backup of the store has.
type fakeState struct {
	epoch  int
	clock  int64 // the highest time that it has told
	base   replication.Base
	whole  map[string][]byte
	log    []replication.Entry
	wanted int64
	holder [replication.Kinds]int
	until  [replication.Kinds]int64
	spent  int
	minute int64
}

const fakeLease = 10 * time.Second

func newFakeStore() *fakeStore { return &fakeStore{} }

// counts returns how often the store was called, and how many bases were written.
func (s *fakeStore) counts() (calls, wrote int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls, s.wrote
}

// do changes the store from outside: an operator, a crash.
func (s *fakeStore) do(change func(*fakeStore)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change(s)
}

// flush forgets everything, as a store that restarts empty.
func (s *fakeStore) flush() { s.do(func(s *fakeStore) { s.fakeState = fakeState{} }) }

// backUp returns what puts the store back to how it is now.
func (s *fakeStore) backUp() (restore func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := s.fakeState
	state.log = slices.Clone(state.log)
	return func() { s.do(func(s *fakeStore) { s.fakeState = state }) }
}

// touch reads the clock. One that was put back makes all times worthless.
func (s *fakeStore) touch() int64 {
	now := time.Now().Add(s.offset).UnixNano()
	if now < s.clock-int64(time.Second) {
		s.fakeState = fakeState{}
	}
	if s.epoch == 0 {
		s.ids++
		s.epoch, s.whole = s.ids, map[string][]byte{}
	}
	s.clock = max(s.clock, now)
	return now
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
	slow   time.Duration // of each way
}

func (c *fakeCache) set(change func(*fakeCache)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	change(c)
}

// Join implements [replication.Group].
func (c *fakeCache) Join(list string) (replication.Store, time.Duration, error) {
	if c.list != "" {
		return nil, 0, errors.New("it serves a gate already")
	}
	c.list = list
	return c, fakeLease, nil
}

// reach goes there, as the network does, does something, and comes back.
func (c *fakeCache) reach(ctx context.Context, do func(s *fakeStore, now int64) error) error {
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
	if ctx.Err() != nil {
		return ctx.Err()
	}
	c.store.mu.Lock()
	c.store.calls++
	err := do(c.store, c.store.touch())
	c.store.mu.Unlock()
	wait(ctx, slow)
	return errors.Join(err, ctx.Err())
}

func (c *fakeCache) Sync(ctx context.Context, a replication.Action) (r replication.Reply, err error) {
	err = c.reach(ctx, func(s *fakeStore, now int64) error {
		if a.Void == strconv.Itoa(s.epoch) {
			s.fakeState = fakeState{clock: now}
			s.touch()
		}
		after, _ := strconv.Atoi(a.Cursor)
		if after > len(s.log) {
			after = 0
		}
		if a.Raise {
			s.wanted = max(s.wanted, now)
		}
		r = replication.Reply{
			Time: now, Epoch: strconv.Itoa(s.epoch), Base: s.base, Wanted: s.wanted,
			Entries: slices.Clone(s.log[after:]), Cursor: strconv.Itoa(len(s.log)),
		}
		for k := range s.holder {
			free := s.until[k] <= now
			if mine := !free && s.holder[k] == c.token; a.Want[k] && (mine || free && len(r.Entries) == 0 && a.Known == s.base) {
				s.holder[k], s.until[k], r.Granted[k] = c.token, now+int64(fakeLease), true
			}
			r.Held[k] = !r.Granted[k] && !free
		}
		return nil
	})
	return r, err
}

func (c *fakeCache) Release(ctx context.Context, k replication.Kind, keep time.Duration) error {
	return c.reach(ctx, func(s *fakeStore, now int64) error {
		if s.until[k] > now && s.holder[k] == c.token {
			s.holder[k], s.until[k] = 0, now+int64(keep)
		}
		return nil
	})
}

func (c *fakeCache) Append(ctx context.Context, e replication.Entry, epoch string) error {
	return c.reach(ctx, func(s *fakeStore, _ int64) error {
		if epoch != strconv.Itoa(s.epoch) {
			return replication.ErrRefused
		}
		s.log = append(s.log, e)
		return nil
	})
}

func (c *fakeCache) Load(ctx context.Context, b replication.Base) io.Reader {
	var whole []byte
	if err := c.reach(ctx, func(s *fakeStore, _ int64) error {
		whole = s.whole[b.Name]
		return nil
	}); err != nil {
		return io.MultiReader() // it is not whole
	}
	return bytes.NewReader(whole)
}

func (c *fakeCache) Publish(ctx context.Context, b, _ replication.Base, epoch string, write func(io.Writer) error) (replication.Base, error) {
	var whole bytes.Buffer
	if b.Name == "" {
		if err := write(&whole); err != nil {
			return b, err
		}
	}
	err := c.reach(ctx, func(s *fakeStore, now int64) error {
		const k = replication.Full
		if epoch != strconv.Itoa(s.epoch) || s.until[k] <= now || s.holder[k] != c.token || s.base.Began >= b.Began && s.base.Began <= now {
			return replication.ErrRefused
		}
		if b.Name == "" {
			s.wrote++
			b.Name = "base " + strconv.Itoa(s.wrote)
			s.whole[b.Name] = whole.Bytes()
		}
		s.base = b
		return nil
	})
	return b, err
}

func (c *fakeCache) Spend(ctx context.Context, perMinute int) (ok bool, left time.Duration, err error) {
	err = c.reach(ctx, func(s *fakeStore, now int64) error {
		if now-s.minute >= int64(time.Minute) {
			s.minute, s.spent = now, 0
		}
		s.spent++
		ok, left = s.spent <= perMinute, time.Duration(s.minute+int64(time.Minute)-now)
		return nil
	})
	return ok, left, err
}

// fakeShared is the Cache of a Config: its Load and Store are of a plain one, which
// a gate does not call.
type fakeShared struct{ *fakeCache }

func (fakeShared) Load(context.Context) (io.ReadCloser, error) { return nil, fs.ErrNotExist }

func (fakeShared) Store(context.Context, func(io.Writer) error) error {
	return errors.New("a gate stores nothing in a shared Cache")
}
