package rediscache_test

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rediscache"
)

// Many replicas want to lead at once, take the lease from each other, are
// interrupted, and write when they no longer may. What is published is one
// chain all the same: one term after the other, and every change leads from the
// version before.
func TestManyLeaders(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		ctx, cancel := context.WithTimeout(context.Background(), wait)
		defer cancel()
		var mu sync.Mutex
		said := map[rolegate.Version]string{} // by those who have published, or have tried to
		var all sync.WaitGroup
		for i := range 6 {
			c := s.replica(t, short)
			all.Go(func() {
				compete(ctx, c, i, func(v rolegate.Version, what string) {
					mu.Lock()
					defer mu.Unlock()
					if said[v] != "" {
						t.Errorf("%v is published twice", v)
					}
					said[v] = what
				})
			})
		}
		seen, terms := map[rolegate.Version]string{}, map[uint64]bool{}
		c := s.replica(t)
		for at := (rolegate.Version{}); len(seen) < 200 || len(terms) < 10; {
			o := <-following(t, ctx, c, at)
			require.NoError(t, o.err)
			require.True(t, o.v.Term > at.Term || o.v.Term == at.Term && o.v.Number > at.Number, "%v after %v", o.v, at)
			seen[o.v] = o.change + o.whole
			terms[o.v.Term] = true
			at = o.v
		}
		cancel()
		all.Wait()
		for v, what := range said {
			if _, ok := seen[v]; ok {
				require.Equal(t, what, seen[v])
			}
		}
	})
}

// compete leads whenever it can. A change says from where it leads.
func compete(ctx context.Context, c *rediscache.Cache, who int, published func(rolegate.Version, string)) {
	r := rand.New(rand.NewPCG(1, uint64(who)))
	for n := 0; ctx.Err() == nil; n++ {
		l, err := c.Lease(ctx, true, 0)
		if err != nil || !l.Held {
			// Somebody who has seen a higher term: the lease is void.
			if err == nil && r.IntN(4) == 0 {
				_, _ = c.Lease(ctx, r.IntN(2) == 0, l.Term+1)
			}
			continue
		}
		from := l.Newest
		for i := range r.IntN(20) {
			what := fmt.Sprintf("%d %d %d from %v", who, n, i, from)
			one, stop := context.WithCancel(ctx)
			if r.IntN(10) == 0 {
				stop() // before, or in the middle
			}
			v, err := c.Publish(one, l.Term, from, text(what, what))
			stop()
			if err == nil {
				published(v, what)
				from = v
			} else if errors.Is(err, rolegate.ErrNotLeader) {
				break
			}
		}
		if r.IntN(2) == 0 {
			_ = c.Release(ctx)
		}
	}
}

// A hook has something happen before the nth script from now on.
type hook struct {
	redis.Hook
	n    int
	then func()
}

func (h *hook) DialHook(next redis.DialHook) redis.DialHook { return next }
func (h *hook) ProcessPipelineHook(next redis.ProcessPipelineHook) redis.ProcessPipelineHook {
	return next
}
func (h *hook) ProcessHook(next redis.ProcessHook) redis.ProcessHook {
	return func(ctx context.Context, cmd redis.Cmder) error {
		if cmd.Name() == "evalsha" {
			if h.n--; h.n == 0 {
				h.then()
			}
		}
		return next(ctx, cmd)
	}
}

// Another replica acquires the lease after this one has seen that it is free, or
// void.
func TestFasterReplica(t *testing.T) {
	t.Parallel()
	for _, above := range []uint64{0, 1 << 40} {
		onEach(t, servers, func(t *testing.T, s *server) {
			h := &hook{}
			a, b := s.replica(t, func(cfg *rediscache.Config) { cfg.Client.AddHook(h) }), s.replica(t)
			term := lead(t, b, 0)
			if above == 0 {
				require.NoError(t, b.Release(soon(t)))
			}
			h.n, h.then = 2, func() { term = lead(t, b, above) }
			l, err := a.Lease(soon(t), true, above)
			require.NoError(t, err)
			require.Equal(t, rolegate.Lease{Taken: true, Term: term}, l)
			require.LessOrEqual(t, h.n, 0)
			publish(t, b, term, rolegate.Version{}, "", "one")
		})
	}
}

// Something is published while this replica writes a whole index, although it
// holds the lease.
func TestMovedMeanwhile(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		h := &hook{}
		a := s.replica(t, func(cfg *rediscache.Config) { cfg.Client.AddHook(h) })
		term := lead(t, a, 0)
		v := publish(t, a, term, rolegate.Version{}, "", "one")
		h.n, h.then = 2, func() { s.set(t, a, "newest", versionID(term, v.Number+1)) }
		_, err := a.Publish(soon(t), term, rolegate.Version{}, text("", "two"))
		require.ErrorContains(t, err, "somebody else has changed")
		to := publish(t, a, term, rolegate.Version{}, "", "three")
		require.Equal(t, "three", catchUp(t, s.replica(t), to))
	})
}

// One Cache, used by many goroutines at once.
func TestConcurrentUse(t *testing.T) {
	t.Parallel()
	onEach(t, servers, func(t *testing.T, s *server) {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		c := s.replica(t)
		term := lead(t, c, 0)
		var all sync.WaitGroup
		for _, call := range []func(){
			func() { _, _ = c.Lease(ctx, true, term) },
			func() { _, _ = c.Publish(ctx, term, rolegate.Version{}, text("", "whole")) },
			func() { _ = c.Ask(ctx, []byte("?")) },
			func() { _, _ = c.Asked(ctx, "") },
			func() { <-following(t, ctx, c, rolegate.Version{}) },
			func() { _, _ = c.Time(ctx) },
			func() {
				if r, err := c.Load(ctx); err == nil {
					_ = r.Close()
				}
			},
		} {
			for range 2 {
				all.Go(func() {
					for ctx.Err() == nil {
						call()
					}
				})
			}
		}
		all.Wait()
		require.Equal(t, term, lead(t, c, term))
	})
}
