package rediscache

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strconv"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
)

// A Cache is what the replicas of an app share in Redis. It is safe for
// concurrent use, and serves one gate.
//
// The nil and the zero Cache are mistakes that rolegate.Open reports.
type Cache struct {
	client redis.UniversalClient
	secret func() string // so that it is not printed with the Cache
	prefix string
	lease  time.Duration

	mu     sync.Mutex
	group  *group
	term   uint64  // of the last lease that was, or may have been, this replica's
	tried  uint64  // the highest number of that term that was, or may have been, published
	seen   uint64  // the highest authentic term
	snap   pointer // the newest whole index, when last looked
	ahead  []entry // read from the log, and not returned yet
	given  given
	asked  map[string]heard // by nonce
	leases turn
	writes turn
	waits  [2]turn // for the log, for the asks: one connection each
}

var _ rolegate.SharedCache = (*Cache)(nil)

// A group is the replicas that share one list: its keys, and what of this
// replica is tied to them.
type group struct {
	*sealer
	base  string // of all keys
	token string // names this replica
}

func (g *group) state() string           { return g.base + "state" }
func (g *group) log() string             { return g.base + "log" }
func (g *group) asks() string            { return g.base + "asks" }
func (g *group) snap(name string) string { return g.base + "snap:" + name }

// New returns the cache on that Redis. It does not talk to it yet. What is wrong
// with the Config, Validate tells, which rolegate.Open calls.
func New(cfg Config) *Cache {
	return &Cache{
		client: cfg.Client,
		secret: func() string { return string(cfg.Secret) },
		prefix: cmp.Or(cfg.Prefix, defaultPrefix),
		lease:  cmp.Or(cfg.Lease, defaultLease),
		asked:  map[string]heard{},
		leases: newTurn(),
		writes: newTurn(),
		waits:  [2]turn{newTurn(), newTurn()},
	}
}

// Join implements [rolegate.SharedCache]. The names of all keys have a digest of
// the list in braces, so that a cluster keeps them together and no two lists
// meet.
func (c *Cache) Join(list string) error {
	if err := c.Validate(); err != nil {
		return err
	}
	if list == "" {
		return errors.New("rediscache: join: the Source does not say which list it has: give it a method CacheKey")
	}
	s, err := newSealer(c.secret(), c.prefix, list)
	if err != nil {
		return fmt.Errorf("rediscache: join: %w", err)
	}
	sum := sha256.Sum256([]byte(list))
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group != nil {
		return errors.New("rediscache: join: a Cache serves one gate: make another with New")
	}
	c.group = &group{sealer: s, base: fmt.Sprintf("%s:{%x}:", c.prefix, sum[:8]), token: random()}
	return nil
}

// random returns 128 random bits in hexadecimal digits.
func random() string {
	b := make([]byte, 16)
	_, _ = rand.Read(b) // never fails
	return hex.EncodeToString(b)
}

var errNotJoined = errors.New("Join has not been called: a gate that has the Cache as its Config.Cache does so")

func (c *Cache) joined() (*group, error) {
	if c == nil {
		return nil, errNotJoined
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.group == nil {
		return nil, errNotJoined
	}
	return c.group, nil
}

// Time implements [rolegate.SharedCache] with the clock of the Redis that has
// the keys: those of a cluster may have different ones.
func (c *Cache) Time(ctx context.Context) (time.Time, error) {
	g, err := c.joined()
	if err != nil {
		return time.Time{}, fmt.Errorf("rediscache: time: %w", err)
	}
	now, _, err := c.now(ctx, g)
	if err != nil {
		return time.Time{}, fmt.Errorf("rediscache: time: %w", err)
	}
	return now, nil
}

// now returns the time, and the ID of the last message to the leader.
func (c *Cache) now(ctx context.Context, g *group) (time.Time, version, error) {
	r, err := c.run(ctx, clock, 3, []string{g.asks()})
	if err != nil {
		return time.Time{}, version{}, err
	}
	sec, err1 := strconv.ParseInt(r[0], 10, 64)
	micro, err2 := strconv.ParseInt(r[1], 10, 64)
	if err := errors.Join(err1, err2); err != nil {
		return time.Time{}, version{}, fmt.Errorf("what Redis says of the time: %w", err)
	}
	last, _ := parseVersion(r[2])
	return time.Unix(sec, micro*1000), last, nil
}

// Load implements [rolegate.Cache] with the newest whole index, without the
// changes that came after. ctx lives until the reader is closed.
func (c *Cache) Load(ctx context.Context) (io.ReadCloser, error) {
	g, err := c.joined()
	if err != nil {
		return nil, fmt.Errorf("rediscache: load: %w", err)
	}
	r, err := c.load(ctx, g)
	if err != nil {
		return nil, fmt.Errorf("rediscache: load: %w", err)
	}
	return r, nil
}

// Store implements [rolegate.Cache]: it publishes what write writes. For that it
// acquires the lease, if nobody else holds it, and renews it meanwhile; the
// error of a replica that cannot have it wraps [rolegate.ErrNotLeader].
func (c *Cache) Store(ctx context.Context, write func(io.Writer) error) error {
	if _, err := c.joined(); err != nil {
		return fmt.Errorf("rediscache: store: %w", err)
	}
	c.mu.Lock()
	seen := c.seen
	c.mu.Unlock()
	l, err := c.Lease(ctx, true, seen)
	if err != nil {
		return err
	}
	if !l.Held {
		return fmt.Errorf("rediscache: store: %w", rolegate.ErrNotLeader)
	}
	renew := &renewer{ctx: ctx, c: c, above: seen, next: time.Now().Add(c.lease / 3)}
	_, err = c.Publish(ctx, l.Term, rolegate.Version{}, rolegate.Publication{Whole: func(w io.Writer) error {
		renew.w = w
		return write(renew)
	}})
	return err
}

// A renewer renews the lease as long as an index is written through it.
type renewer struct {
	ctx   context.Context
	c     *Cache
	w     io.Writer
	above uint64
	next  time.Time
}

func (r *renewer) Write(p []byte) (int, error) {
	if now := time.Now(); now.After(r.next) {
		if _, err := r.c.Lease(r.ctx, true, r.above); err != nil {
			return 0, err
		}
		r.next = now.Add(r.c.lease / 3)
	}
	return r.w.Write(p)
}
