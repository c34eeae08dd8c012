package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"runtime"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// An oddCache is a SharedCache of which one method is not as it should be.
type oddCache struct {
	*fakeCache
	calls atomic.Int64

	lease   func(rolegate.Lease) (rolegate.Lease, error)
	time    func() (time.Time, error)
	release func() error
	publish func(rolegate.Version, error) (rolegate.Version, error)
	follow  func(ctx context.Context, after rolegate.Version) (rolegate.Update, error)
	ask     func() error
	asked   func(after string) ([]rolegate.Asked, error)
}

func (c *oddCache) Lease(ctx context.Context, want bool, above uint64) (rolegate.Lease, error) {
	c.calls.Add(1)
	lease, err := c.fakeCache.Lease(ctx, want, above)
	if c.lease == nil || err != nil {
		return lease, err
	}
	return c.lease(lease)
}

func (c *oddCache) Time(ctx context.Context) (time.Time, error) {
	c.calls.Add(1)
	if c.time == nil {
		return c.fakeCache.Time(ctx)
	}
	return c.time()
}

func (c *oddCache) Release(ctx context.Context) error {
	c.calls.Add(1)
	if c.release == nil {
		return c.fakeCache.Release(ctx)
	}
	return c.release()
}

func (c *oddCache) Publish(ctx context.Context, term uint64, from rolegate.Version, p rolegate.Publication) (rolegate.Version, error) {
	c.calls.Add(1)
	v, err := c.fakeCache.Publish(ctx, term, from, p)
	if c.publish == nil || err != nil {
		return v, err
	}
	return c.publish(v, err)
}

func (c *oddCache) Follow(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
	c.calls.Add(1)
	if c.follow == nil {
		return c.fakeCache.Follow(ctx, after)
	}
	return c.follow(ctx, after)
}

func (c *oddCache) Ask(ctx context.Context, message []byte) error {
	c.calls.Add(1)
	if c.ask == nil {
		return c.fakeCache.Ask(ctx, message)
	}
	return c.ask()
}

func (c *oddCache) Asked(ctx context.Context, after string) ([]rolegate.Asked, error) {
	c.calls.Add(1)
	if c.asked == nil {
		return c.fakeCache.Asked(ctx, after)
	}
	return c.asked(after)
}

type panickingReader struct{}

func (panickingReader) Read([]byte) (int, error) { panic("out of order") }
func (panickingReader) Close() error             { panic("out of order") }

// Whatever a SharedCache returns, a replica has a list, sees removals, leaves the
// store time to breathe, and can be closed. Another replica's store is well.
func TestASharedCacheThatIsOutOfOrder(t *testing.T) {
	t.Parallel()
	whole := func(b string) func(context.Context, rolegate.Version) (rolegate.Update, error) {
		return func(context.Context, rolegate.Version) (rolegate.Update, error) {
			return rolegate.Update{Version: rolegate.Version{Term: 1, Number: 1}, Whole: io.NopCloser(bytes.NewReader([]byte(b)))}, nil
		}
	}
	at := func(t time.Time) func(*oddCache) {
		return func(c *oddCache) { c.time = func() (time.Time, error) { return t, nil } }
	}
	for _, c := range []struct {
		name string
		odd  func(*oddCache)
	}{
		{"as it should be", func(*oddCache) {}},
		{"a lease of term 0", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) { l.Held, l.Term = true, 0; return l, nil }
		}},
		{"a lease of no duration", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) { l.Held, l.For = true, 0; return l, nil }
		}},
		{"a lease for ever", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) { l.For = math.MaxInt64; return l, nil }
		}},
		{"a lease that everybody has", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) {
				return rolegate.Lease{Held: true, Taken: true, Term: max(l.Term, 1), For: fakeLease, Newest: l.Newest}, nil
			}
		}},
		{"terms that go back", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) {
				l.Term = uint64(1 + 5*(c.calls.Load()%2))
				return l, nil
			}
		}},
		{"a newest version that never comes", func(c *oddCache) {
			c.lease = func(l rolegate.Lease) (rolegate.Lease, error) {
				l.Newest = rolegate.Version{Term: 99, Number: 99}
				return l, nil
			}
		}},
		{"nothing and no error", func(c *oddCache) {
			c.follow = func(context.Context, rolegate.Version) (rolegate.Update, error) { return rolegate.Update{}, nil }
		}},
		{"a version and nothing else", func(c *oddCache) {
			c.follow = func(_ context.Context, after rolegate.Version) (rolegate.Update, error) {
				return rolegate.Update{Version: rolegate.Version{Term: 1, Number: after.Number + 1}}, nil
			}
		}},
		{"the version that is known", func(c *oddCache) {
			c.follow = func(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
				u, err := c.fakeCache.Follow(ctx, rolegate.Version{})
				if after != (rolegate.Version{}) {
					u.Version = after
				}
				return u, err
			}
		}},
		{"the first version again and again", func(c *oddCache) {
			c.follow = func(ctx context.Context, _ rolegate.Version) (rolegate.Update, error) {
				return c.fakeCache.Follow(ctx, rolegate.Version{})
			}
		}},
		{"a change of nothing", func(c *oddCache) {
			c.follow = func(context.Context, rolegate.Version) (rolegate.Update, error) {
				return rolegate.Update{Version: rolegate.Version{Term: 1, Number: 1}, Change: []byte("x")}, nil
			}
		}},
		{"a change that is none", func(c *oddCache) {
			c.follow = func(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
				if after == (rolegate.Version{}) {
					return c.fakeCache.Follow(ctx, after)
				}
				return rolegate.Update{Version: rolegate.Version{Term: after.Term, Number: after.Number + 1}, Change: []byte(changeMagic)}, nil
			}
		}},
		{"an index that is none", func(c *oddCache) { c.follow = whole("nonsense") }},
		{"an empty index", func(c *oddCache) { c.follow = whole("") }},
		{"an index whose reader panics", func(c *oddCache) {
			c.follow = func(context.Context, rolegate.Version) (rolegate.Update, error) {
				return rolegate.Update{Version: rolegate.Version{Term: 1, Number: 1}, Whole: panickingReader{}}, nil
			}
		}},
		{"another has the lease, says Publish", func(c *oddCache) {
			c.publish = func(rolegate.Version, error) (rolegate.Version, error) {
				return rolegate.Version{}, rolegate.ErrNotLeader
			}
		}},
		{"nothing can be published", func(c *oddCache) {
			c.publish = func(rolegate.Version, error) (rolegate.Version, error) {
				return rolegate.Version{}, errors.New("too large")
			}
		}},
		{"published as nothing", func(c *oddCache) {
			c.publish = func(rolegate.Version, error) (rolegate.Version, error) { return rolegate.Version{}, nil }
		}},
		{"the year 1", at(time.Time{})},
		{"1970", at(time.Unix(300, 0))},
		{"a year far away", at(time.Unix(1<<55, 0))},
		{"a clock that jumps", func(c *oddCache) {
			c.time = func() (time.Time, error) {
				return time.Now().Add(time.Duration(c.calls.Load()%7) * time.Hour), nil
			}
		}},
		{"no message and no error", func(c *oddCache) { c.asked = func(string) ([]rolegate.Asked, error) { return nil, nil } }},
		{"the same message for ever", func(c *oddCache) {
			c.asked = func(string) ([]rolegate.Asked, error) {
				return []rolegate.Asked{{ID: "1", Message: []byte{1, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8}}}, nil
			}
		}},
		{"messages of nonsense", func(c *oddCache) {
			c.asked = func(string) ([]rolegate.Asked, error) {
				return []rolegate.Asked{{ID: "1", Message: nil}, {ID: "1", Message: []byte{1, 9, 9}}}, nil
			}
		}},
		{"Lease panics", func(c *oddCache) { c.lease = func(rolegate.Lease) (rolegate.Lease, error) { panic("no") } }},
		{"Time panics", func(c *oddCache) { c.time = func() (time.Time, error) { panic("no") } }},
		{"Release panics", func(c *oddCache) { c.release = func() error { panic("no") } }},
		{"Publish panics", func(c *oddCache) { c.publish = func(rolegate.Version, error) (rolegate.Version, error) { panic("no") } }},
		{"Follow panics", func(c *oddCache) {
			c.follow = func(context.Context, rolegate.Version) (rolegate.Update, error) { panic("no") }
		}},
		{"Ask panics", func(c *oddCache) { c.ask = func() error { panic("no") } }},
		{"Asked panics", func(c *oddCache) { c.asked = func(string) ([]rolegate.Asked, error) { panic("no") } }},
		{"Follow ends its goroutine", func(c *oddCache) {
			c.follow = func(context.Context, rolegate.Version) (rolegate.Update, error) { runtime.Goexit(); panic(nil) }
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, first := range []bool{true, false} { // it leads, or it follows
				synctest.Test(t, func(t *testing.T) {
					g := &replicaGroup{t: t, source: rolegatetest.NewStatic(record(1), record(2)), store: newFakeStore()}
					if !first {
						g.add()
						g.settle(time.Second)
					}
					odd := &oddCache{fakeCache: g.store.replica()}
					c.odd(odd)
					gate := openGate(t, rolegate.Config{Source: g.source, Cache: odd, StartEmpty: true})
					g.settle(time.Second)
					if first {
						g.add()
					}
					g.settle(17 * time.Minute) // ResyncEvery, and half of it
					require.True(t, allowed(gate, 1))
					g.source.Remove(2)
					called := odd.calls.Load()
					g.settle(17 * time.Minute)
					assert.Less(t, odd.calls.Load()-called, int64(17*60*10), "calls to the store")
					for _, gate := range append(g.gates, gate) {
						assert.True(t, allowed(gate, 1))
						assert.False(t, allowed(gate, 2))
						assert.Less(t, gate.Status().VerifiedAge, 17*time.Minute)
					}
					ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
					_ = gate.RefreshAll(ctx) // it may fail, and does not hang
					assert.NoError(t, ctx.Err())
					cancel()
					begun := time.Now()
					assert.NoError(t, gate.Close())
					assert.LessOrEqual(t, time.Since(begun), time.Second)
				})
			}
		})
	}
}

// A store that hangs holds nobody up who closes, and nothing is left behind.
func TestReplicasCloseWhateverTheStoreDoes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		wrong func(*fakeCache)
		wait  time.Duration
	}{
		{"it is well", func(*fakeCache) {}, 0},
		{"it hangs", func(c *fakeCache) { c.away = true }, 0},
		{"it has hung for long", func(c *fakeCache) { c.away = true }, time.Minute},
		{"it fails", func(c *fakeCache) { c.broken = errSimCut }, 0},
		{"it has failed for long", func(c *fakeCache) { c.broken = errSimCut }, time.Minute},
		{"it is slow", func(c *fakeCache) { c.slow = 1500 * time.Millisecond }, 0},
		{"it is so slow that nothing ends", func(c *fakeCache) { c.slow = time.Hour }, time.Minute},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inGroup(t, 3, func(t *testing.T, g *replicaGroup) {
				for _, cache := range g.caches {
					cache.set(c.wrong)
				}
				g.settle(c.wait)
				g.source.Put(record(9))
				for _, gate := range g.gates {
					go func() { _ = gate.RefreshAll(context.Background()) }()
				}
				synctest.Wait()
				for _, gate := range g.gates {
					begun := time.Now()
					require.NoError(t, gate.Close())
					require.Less(t, time.Since(begun), time.Second)
				}
			})
		})
	}
}
