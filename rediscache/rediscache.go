package rediscache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/replication"
	"github.com/rolegate/rolegate/rediscache/internal/store"
)

// A Cache is what the replicas of an app share in Redis: the Cache of a
// [rolegate.Config]. It serves one gate.
//
// The nil and the zero Cache are mistakes that rolegate.Open reports.
type Cache struct {
	cfg    func() Config // so that the secret is not printed with the Cache
	joined atomic.Bool
}

var (
	_ rolegate.Cache    = (*Cache)(nil)
	_ replication.Group = (*Cache)(nil)
)

// New returns the cache on that Redis. It does not talk to it yet. What is wrong
// with the Config, Validate tells, which rolegate.Open calls.
func New(cfg Config) *Cache {
	cfg.Prefix, cfg.Lease = cmp.Or(cfg.Prefix, defaultPrefix), cmp.Or(cfg.Lease, defaultLease)
	return &Cache{cfg: func() Config { return cfg }}
}

// Join opens what replicas share of that list. rolegate.Open calls it, once.
func (c *Cache) Join(list string) (replication.Store, time.Duration, error) {
	if err := c.Validate(); err != nil {
		return nil, 0, err
	}
	if c.joined.Swap(true) {
		return nil, 0, errors.New("rediscache: a Cache serves one gate: make another with New")
	}
	cfg := c.cfg()
	s, err := store.New(cfg.Client, string(cfg.Secret), cfg.Prefix, list, cfg.Lease)
	if err != nil {
		return nil, 0, fmt.Errorf("rediscache: %w", err)
	}
	return s, cfg.Lease, nil
}

var errWrapped = errors.New("rediscache: a Cache that replicas share is not loaded and stored: give it to rolegate.Config.Cache as New returns it, and not wrapped")

// Load returns an error: a gate does not call it.
func (c *Cache) Load(context.Context) (io.ReadCloser, error) { return nil, errWrapped }

// Store returns an error: a gate does not call it.
func (c *Cache) Store(context.Context, func(io.Writer) error) error { return errWrapped }
