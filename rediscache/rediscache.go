package rediscache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache/internal/store"
)

// A Cache is what the replicas of an app share in Redis: the Cache of a
// [rolegate.Config]. It serves one gate.
//
// The nil and the zero Cache are mistakes that rolegate.Open reports.
type Cache struct {
	client redis.UniversalClient
	secret func() string // so that it is not printed with the Cache
	prefix string
	lease  time.Duration
	joined atomic.Bool
}

var (
	_ rolegate.Cache    = (*Cache)(nil)
	_ replication.Group = (*Cache)(nil)
)

// New returns the cache on that Redis. It does not talk to it yet. What is wrong
// with the Config, Validate tells, which rolegate.Open calls.
func New(cfg Config) *Cache {
	return &Cache{
		client: cfg.Client,
		secret: func() string { return string(cfg.Secret) },
		prefix: cmp.Or(cfg.Prefix, defaultPrefix),
		lease:  cmp.Or(cfg.Lease, defaultLease),
	}
}

// Join opens what replicas share of that list. rolegate.Open calls it, once.
func (c *Cache) Join(list string) (replication.Store, time.Duration, error) {
	if err := c.Validate(); err != nil {
		return nil, 0, err
	}
	if c.joined.Swap(true) {
		return nil, 0, errors.New("rediscache: a Cache serves one gate: make another with New")
	}
	s, err := store.New(c.client, c.secret(), c.prefix, list, c.lease)
	if err != nil {
		return nil, 0, fmt.Errorf("rediscache: %w", err)
	}
	return s, c.lease, nil
}

var errWrapped = errors.New("rediscache: a Cache that replicas share is not loaded and stored: give it to rolegate.Config.Cache as New returns it, and not wrapped")

// Load returns an error: a gate does not call it.
func (c *Cache) Load(context.Context) (io.ReadCloser, error) { return nil, errWrapped }

// Store returns an error: a gate does not call it.
func (c *Cache) Store(context.Context, func(io.Writer) error) error { return errWrapped }
