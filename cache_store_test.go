package rolegate_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

const notStored = "rolegate: the index cannot be stored: a restart will have to wait for the source, or goes on from an older one"

func TestStoring(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T, *rolegatetest.Static, *memoryCache, opener){
		"at once, and then at most every 5 s": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			gate := open()
			synctest.Wait()
			_, before := cache.stored()
			assert.Equal(t, 1, before)
			for second := range 60 {
				source.Put(record(int64(200 + second)))
				require.NoError(t, gate.Refresh(t.Context()))
				after(time.Second)
			}
			_, stores := cache.stored()
			assert.InDelta(t, 13, stores, 1)
			s := gate.Status()
			assert.EqualValues(t, stores, s.Cache.Stored)
			assert.LessOrEqual(t, time.Since(s.Cache.Last), 5*time.Second)
			after(6 * time.Second)
			_, before = cache.stored()
			for id := range int64(3) { // the first is stored at once, the others are pending
				source.Put(record(300 + id))
				require.NoError(t, gate.Refresh(t.Context()))
				synctest.Wait()
			}
			_, stores = cache.stored()
			assert.Equal(t, before+1, stores)
			source.Fail(errAway)
			gate = open()
			assert.Equal(t, 163, gate.Status().Users, "Close stores what is pending")
		},
		"after each full refresh, also without changes": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			gate := open()
			after(6 * time.Second)
			for n := 2; n < 6; n++ {
				before := gate.Status().Verified
				after(6 * time.Second)
				require.NoError(t, gate.RefreshAll(t.Context()))
				synctest.Wait()
				_, stores := cache.stored()
				assert.Equal(t, n, stores)
				assert.True(t, gate.Status().Verified.After(before))
			}
		},
		"not after increments without changes": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			gate := open()
			for range 8 {
				after(time.Minute)
			}
			assert.Greater(t, gate.Status().Incremental.Succeeded, uint64(5))
			_, stores := cache.stored()
			assert.Equal(t, 1, stores)
		},
		"nothing while no list is there": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			source.Fail(errAway)
			open(func(c *rolegate.Config) { c.StartEmpty = true })
			after(10 * minutes)
			open(func(c *rolegate.Config) { c.StartEmpty = true })
			data, stores := cache.stored()
			assert.Zero(t, stores)
			assert.Nil(t, data)
		},
		"a Store that fails is told once, and tried again with the next refresh": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			var book logBook
			cache.set(func(c *memoryCache) {
				c.store = func(context.Context, func(io.Writer) error) error { return errors.New("the disk is full") }
			})
			gate := open(func(c *rolegate.Config) { c.Logger = book.logger() })
			after(10 * minutes)
			s := gate.Status().Cache
			assert.Greater(t, s.Failed, uint64(5))
			assert.Equal(t, "the disk is full", s.Error)
			assert.Zero(t, s.Stored)
			assert.True(t, s.Last.IsZero())
			require.Len(t, book.lines(notStored), 1)
			assert.Equal(t, "the disk is full", book.lines(notStored)[0]["err"])
			cache.set(func(c *memoryCache) { c.store = nil })
			after(2 * minutes)
			assert.Positive(t, gate.Status().Cache.Stored)
			cache.set(func(c *memoryCache) {
				c.store = func(context.Context, func(io.Writer) error) error { return errors.New("full again") }
			})
			require.NoError(t, gate.RefreshAll(t.Context()))
			after(6 * time.Second)
			assert.Len(t, book.lines(notStored), 2)
		},
		"a disk that fills up in the middle": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			cache.set(func(c *memoryCache) {
				c.store = func(_ context.Context, write func(io.Writer) error) error { return write(&brimful{room: 100}) }
			})
			gate := open()
			synctest.Wait()
			assert.Equal(t, "no space left on device", gate.Status().Cache.Error)
		},
		"a Store that passes over write's error has stored nothing": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			cache.set(func(c *memoryCache) {
				c.store = func(_ context.Context, write func(io.Writer) error) error { _ = write(&brimful{}); return nil }
			})
			gate := open()
			synctest.Wait()
			assert.Contains(t, gate.Status().Cache.Error, "not written whole")
			assert.Zero(t, gate.Status().Cache.Stored)
		},
		"a Store that writes nothing has stored nothing": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			cache.set(func(c *memoryCache) {
				c.store = func(context.Context, func(io.Writer) error) error { return nil }
			})
			gate := open()
			synctest.Wait()
			assert.Contains(t, gate.Status().Cache.Error, "not written whole")
		},
		"a Store that panics": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			var book logBook
			cache.set(func(c *memoryCache) {
				c.store = func(context.Context, func(io.Writer) error) error { panic("alice@example.com") }
			})
			gate := open(func(c *rolegate.Config) { c.Logger = book.logger() })
			synctest.Wait()
			assert.Equal(t, "the Cache panicked with a string", gate.Status().Cache.Error)
			assert.NotContains(t, book.String(), "alice")
			cache.set(func(c *memoryCache) { c.store = nil })
			after(2 * minutes)
			assert.EqualValues(t, 1, gate.Status().Cache.Stored)
		},
		"a Store that ends its goroutine": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			cache.set(func(c *memoryCache) {
				c.store = func(context.Context, func(io.Writer) error) error { runtime.Goexit(); return nil }
			})
			gate := open()
			synctest.Wait()
			assert.Equal(t, "the Cache ended its goroutine", gate.Status().Cache.Error)
			cache.set(func(c *memoryCache) { c.store = nil })
			after(2 * minutes)
			assert.EqualValues(t, 1, gate.Status().Cache.Stored)
		},
		"a Store that takes its time holds nothing up": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			under := 0
			cache.set(func(c *memoryCache) {
				c.store = func(ctx context.Context, write func(io.Writer) error) error {
					c.mu.Lock()
					under++
					assert.Equal(t, 1, under, "never two at once")
					c.mu.Unlock()
					<-ctx.Done()
					c.mu.Lock()
					defer c.mu.Unlock()
					under--
					return ctx.Err()
				}
			})
			gate := open()
			begun := time.Now()
			for n := range int64(50) {
				source.Put(record(200 + n))
				require.NoError(t, gate.Refresh(t.Context()))
				require.True(t, allowed(gate, 200+n))
			}
			require.NoError(t, gate.RefreshAll(t.Context()))
			assert.Zero(t, time.Since(begun))
			after(61 * time.Second)
			assert.EqualValues(t, 1, gate.Status().Cache.Failed, "a minute, and it is over")
			assert.Contains(t, gate.Status().Cache.Error, "deadline")
			begun = time.Now()
			require.NoError(t, gate.Close())
			assert.Less(t, time.Since(begun), time.Second)
		},
		"what is being stored when the gate is closed is stored": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			cache.set(func(c *memoryCache) {
				c.store = func(ctx context.Context, write func(io.Writer) error) error {
					select {
					case <-ctx.Done():
						return ctx.Err()
					case <-time.After(500 * time.Millisecond):
						return c.keep(write)
					}
				}
			})
			gate := open()
			synctest.Wait()
			require.NoError(t, gate.Close())
			assert.Zero(t, gate.Status().Cache.Failed, gate.Status().Cache.Error)
			assert.EqualValues(t, 1, gate.Status().Cache.Stored)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestarts(t, f)
		})
	}
	t.Run("a Store that heeds no ctx", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			cache := &memoryCache{store: func(context.Context, func(io.Writer) error) error { <-release; return nil }}
			gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: cache}))
			require.NoError(t, err)
			after(2 * minutes)
			assert.Contains(t, gate.Status().Cache.Error, "Store does not return")
			assert.True(t, allowed(gate, 1))
			begun := time.Now()
			assert.ErrorContains(t, gate.Close(), "and so must a Cache")
			assert.Equal(t, time.Second, time.Since(begun))
			close(release)
			require.NoError(t, gate.Close())
		})
	})
}

// brimful is a disk with that much room.
type brimful struct{ room int }

func (b *brimful) Write(p []byte) (int, error) {
	if len(p) > b.room {
		return 0, errors.New("no space left on device")
	}
	b.room -= len(p)
	return len(p), nil
}

// A Cache from which nothing can be loaded costs the start nothing but time, and
// not much of that.
func TestLoadingFails(t *testing.T) {
	t.Parallel()
	reading := func(r io.Reader) func(context.Context) (io.ReadCloser, error) {
		return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(r), nil }
	}
	for _, c := range []struct {
		name  string
		load  func(context.Context) (io.ReadCloser, error)
		says  string
		waits time.Duration // until the first list is there
	}{
		{name: "an error", load: func(context.Context) (io.ReadCloser, error) { return nil, errors.New("disk on fire") }, says: "disk on fire"},
		{name: "a panic", load: func(context.Context) (io.ReadCloser, error) { panic("alice") }, says: "the Cache panicked with a string"},
		{name: "the end of its goroutine", load: func(context.Context) (io.ReadCloser, error) { runtime.Goexit(); return nil, nil }, says: "ended its goroutine"},
		{name: "neither reader nor error", load: func(context.Context) (io.ReadCloser, error) { return nil, nil }, says: "neither an index nor an error"},
		{name: "an empty file", load: reading(readerFunc(func([]byte) (int, error) { return 0, io.EOF })), says: "breaks off"},
		{name: "a reader that fails", load: reading(readerFunc(func([]byte) (int, error) { return 0, errors.New("bad sector") })), says: "bad sector"},
		{name: "a reader that panics", load: reading(readerFunc(func([]byte) (int, error) { panic("alice") })), says: "the Cache panicked"},
		{name: "a reader that says it read more than it could", load: reading(readerFunc(func(p []byte) (int, error) { return len(p) + 1, nil })), says: "the Cache panicked"},
		{name: "a Load that heeds its ctx only", load: func(ctx context.Context) (io.ReadCloser, error) { <-ctx.Done(); return nil, ctx.Err() }, says: "not loaded within 5s", waits: 5 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var book logBook
				source := rolegatetest.NewStatic(record(500))
				begun := time.Now()
				cache := &memoryCache{load: c.load}
				gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger(), Cache: cache})
				if c.waits > 0 {
					assert.Equal(t, c.waits, time.Since(begun))
				}
				assert.False(t, gate.Status().Cache.Loaded)
				assert.Equal(t, uint64(1), gate.Status().Cache.Failed)
				assert.Contains(t, gate.Status().Cache.Error, c.says)
				assert.True(t, allowed(gate, 500))
				assert.Equal(t, 1, gate.Status().Users)
				assert.NotContains(t, book.String(), "alice")
				assert.Contains(t, book.String(), c.says)
				after(65 * time.Second)
				_, stores := cache.stored()
				assert.Equal(t, 1, stores, "and it is stored as ever")
			})
		})
	}
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// A Load that takes long: the full refresh does not wait for it, and what comes late is
// used only if there is no list yet.
func TestLoadingTakesLong(t *testing.T) {
	t.Parallel()
	slowly := func(t *testing.T, after time.Duration) *memoryCache {
		cache := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(users(100)...)})
		data, _ := cache.stored()
		return &memoryCache{load: func(ctx context.Context) (io.ReadCloser, error) {
			select {
			case <-time.After(after):
				return (&memoryCache{data: data}).Load(ctx)
			case <-ctx.Done():
				return nil, ctx.Err()
			}
		}}
	}
	t.Run("the source is there", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			var book logBook
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(users(50)...), Cache: slowly(t, 20*time.Second), Logger: book.logger()})
			after(time.Minute)
			assert.Equal(t, 50, listed(gate, 100), "what the full refresh has seen is not undone")
			assert.False(t, gate.Status().Cache.Loaded)
			assert.Len(t, book.lines("rolegate: the stored index is not used: the list has come from the source meanwhile"), 1)
			assert.EqualValues(t, 1, gate.Status().Cache.Stored)
		})
	})
	t.Run("the source is away", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			begun := time.Now()
			gate := openGate(t, rolegate.Config{Source: away(), Cache: slowly(t, 20*time.Second)})
			assert.Equal(t, 20*time.Second, time.Since(begun))
			assert.True(t, gate.Status().Cache.Loaded)
			assert.Equal(t, 100, listed(gate, 100))
		})
	})
	t.Run("an app that pulls by itself meanwhile", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(users(50)...), Cache: slowly(t, 4*time.Second), StartEmpty: true})
			after(time.Second)
			require.NoError(t, gate.Refresh(t.Context()))
			assert.Equal(t, 50, listed(gate, 100))
			after(10 * time.Second)
			assert.Equal(t, 50, listed(gate, 100))
		})
	})
	t.Run("a full refresh that ends after it is compared with it", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(99)...)
			source.SetDelay(30 * time.Second)
			gate := openGate(t, rolegate.Config{Source: source, Cache: slowly(t, 20*time.Second)})
			assert.Equal(t, 100, listed(gate, 100))
			after(46 * time.Second) // the full refresh, and what came meanwhile
			assert.Equal(t, 99, listed(gate, 100))
			assert.Equal(t, 1, gate.Status().Full.Outcome.Removed)
		})
	})
	t.Run("an index without end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			data, _ := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(users(100)...)}).stored()
			const magic = len("rolegate index 2\n")
			head := data[:magic+5+int(binary.LittleEndian.Uint32(data[magic+1:]))]
			cache := &memoryCache{load: func(context.Context) (io.ReadCloser, error) {
				return io.NopCloser(io.MultiReader(bytes.NewReader(head), readerFunc(func(p []byte) (int, error) {
					<-time.After(100 * time.Millisecond)
					return copy(p, "U\x00\x00\x00\x00"), nil
				}))), nil
			}}
			gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: cache})
			assert.Contains(t, gate.Status().Cache.Error, "not loaded within 5s")
			after(50 * time.Second)
			assert.EqualValues(t, 1, gate.Status().Cache.Failed)
			after(6 * time.Second)
			assert.Contains(t, gate.Status().Cache.Error, "deadline")
			assert.EqualValues(t, 1, gate.Status().Cache.Stored)
		})
	})
	t.Run("Open's ctx ends first", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			begun := time.Now()
			_, err := rolegate.Open(ctx, quiet(rolegate.Config{Source: away(), Cache: slowly(t, time.Hour)}))
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, time.Second, time.Since(begun))
		})
	})
	t.Run("the gate is closed first", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			gate := openGate(t, rolegate.Config{Source: away(), Cache: slowly(t, time.Hour), StartEmpty: true})
			synctest.Wait()
			require.NoError(t, gate.Close())
			assert.Zero(t, gate.Status().Cache.Failed)
		})
	})
	t.Run("a Load that heeds nothing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			release := make(chan struct{})
			cache := &memoryCache{load: func(context.Context) (io.ReadCloser, error) { <-release; return nil, errAway }}
			gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: cache}))
			require.NoError(t, err)
			after(10 * minutes)
			assert.True(t, allowed(gate, 1))
			assert.ErrorContains(t, gate.Close(), "and so must a Cache")
			close(release)
			require.NoError(t, gate.Close())
		})
	})
}
