package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// inRestarts runs a test on a clock of its own, with a source of 100 users and a
// func that opens a gate. What was open before is closed first, as in a restart.
func inRestarts(t *testing.T, f func(*testing.T, *rolegatetest.Static, *memoryCache, opener)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		source, cache := rolegatetest.NewStatic(users(100)...), &memoryCache{}
		var gate *rolegate.Gate
		f(t, source, cache, func(changes ...func(*rolegate.Config)) *rolegate.Gate {
			if gate != nil {
				require.NoError(t, gate.Close())
			}
			cfg := rolegate.Config{Source: source, Cache: cache}
			for _, change := range changes {
				change(&cfg)
			}
			var err error
			gate, err = rolegate.Open(t.Context(), quiet(cfg))
			require.NoError(t, err)
			return gate
		})
		if gate != nil {
			require.NoError(t, gate.Close())
		}
	})
}

// An opener opens a gate with what these make of the config.
type opener func(changes ...func(*rolegate.Config)) *rolegate.Gate

func TestRestart(t *testing.T) {
	t.Parallel()
	for name, f := range map[string]func(*testing.T, *rolegatetest.Static, *memoryCache, opener){
		"while the source is away": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Remove(1)
			source.Fail(errAway)
			after(time.Minute)
			begun := time.Now()
			gate := open()
			assert.Zero(t, time.Since(begun), "Open does not wait for the source")
			assert.True(t, gate.Status().Cache.Loaded)
			assert.True(t, allowed(gate, 1), "nobody knows yet")
			assert.True(t, allowed(gate, 100))
			synctest.Wait()
			assert.Equal(t, uint64(1), gate.Status().Full.Failed, "a full refresh was due at once")
			after(10 * minutes)
			assert.Equal(t, 100, listed(gate, 100))
			source.Recover()
			took := until(t, 2*time.Minute, func() bool { return !allowed(gate, 1) })
			assert.LessOrEqual(t, took, 73*time.Second, "as soon as the back-off is over")
			assert.Equal(t, 99, listed(gate, 100))
		},
		"a full refresh is due at once": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Remove(1)
			source.SetDelay(time.Second)
			gate := open()
			assert.True(t, allowed(gate, 1))
			after(time.Second)
			assert.False(t, allowed(gate, 1))
			assert.Equal(t, 1, gate.Status().Full.Outcome.Removed)
		},
		"makes nothing younger": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			before := open().Status()
			source.Fail(errAway)
			synctest.Wait() // until it is stored
			data, stores := cache.stored()
			for restarts := range 5 {
				gate := open()
				s := gate.Status()
				assert.Equal(t, before.Verified, s.Verified)
				assert.Equal(t, before.Contact, s.Contact)
				assert.Equal(t, time.Duration(restarts)*11*minutes, s.VerifiedAge)
				assert.Equal(t, s.VerifiedAge, s.ContactAge)
				assert.Equal(t, before.Cursor, s.Cursor)
				assert.Equal(t, s.VerifiedAge > 5*minutes, s.State == rolegate.StateStale)
				after(11 * minutes)
			}
			gate := open()
			again, storesNow := cache.stored()
			assert.Equal(t, data, again)
			assert.Equal(t, stores, storesNow, "what was loaded need not be stored")
			after(5 * minutes)
			assert.True(t, allowed(gate, 1), "an hour")
			after(time.Second)
			assert.Equal(t, rolegate.ReasonExpired, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
			assert.Equal(t, rolegate.StateExpired, gate.Status().State)
		},
		"contact and verified are two ages": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			gate := open()
			after(3 * minutes)
			source.Put(record(200))
			require.NoError(t, gate.Refresh(t.Context()))
			before := gate.Status()
			require.NotEqual(t, before.Contact, before.Verified)
			source.Fail(errAway)
			s := open().Status()
			assert.Equal(t, before.Contact, s.Contact)
			assert.Equal(t, before.Verified, s.Verified)
			assert.Equal(t, before.Cursor, s.Cursor)
		},
		"the source was set back": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			source.Put(record(200))
			open()
			set := rolegatetest.NewStatic(users(99)...) // its sequences are below the stored cursor
			gate := open(func(c *rolegate.Config) { c.Source = set })
			assert.True(t, gate.Status().Cache.Loaded)
			synctest.Wait()
			assert.False(t, allowed(gate, 100))
			assert.False(t, allowed(gate, 200))
			set.Put(record(101))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 101), "the cursor is that of the full refresh")
		},
		"the credentials are refused": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Err: errors.New("no")})
			gate := open()
			synctest.Wait()
			assert.Equal(t, rolegate.FailureRefused, gate.Status().Full.Failure)
			assert.True(t, allowed(gate, 1), "as for a gate that runs: until it expires")
			after(time.Hour + time.Second)
			assert.False(t, allowed(gate, 1))
		},
		"Async": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Fail(errAway)
			gate := open(func(c *rolegate.Config) { c.StartEmpty = true })
			synctest.Wait()
			assert.True(t, allowed(gate, 1))
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
		},
		"the empty list": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			source.Set()
			open()
			source.Fail(errAway)
			gate := open()
			assert.True(t, gate.Status().Cache.Loaded)
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
			assert.False(t, allowed(gate, 1))
			source.Recover()
			source.Put(record(1))
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 1))
		},
		"OnChange tells what has changed since": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Remove(7)
			source.Put(record(200))
			changes := make(chan rolegate.Change, 10)
			open(func(c *rolegate.Config) { c.OnChange = func(ch rolegate.Change) { changes <- ch } })
			synctest.Wait()
			require.Len(t, changes, 1)
			change := <-changes
			assert.True(t, change.Full)
			assert.Equal(t, []rolegate.UserChange{{UserID: 200}}, change.Added)
			assert.Equal(t, []rolegate.UserChange{{UserID: 7, Before: []rolegate.Grant{in(7, "teacher")}}}, change.Removed)
		},
		"an incremental refresh goes on from it": func(t *testing.T, source *rolegatetest.Static, cache *memoryCache, open opener) {
			open()
			source.Put(record(200, in(7, "teacher")))
			source.FailAfter(0, errAway)
			gate := open()
			synctest.Wait()
			source.Recover()
			fulls := source.FullRefreshes()
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 200))
			assert.Equal(t, fulls, source.FullRefreshes())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inRestarts(t, f)
		})
	}
}

// A stored index that may not be used: the list comes from the source.
func TestStoredIndexIsNotUsed(t *testing.T) {
	t.Parallel()
	second := func(c *rolegate.Config, s string) { c.Source = otherList{c.Source, s} }
	for _, c := range []struct {
		name   string
		wait   time.Duration
		first  func(*rolegate.Config)
		change func(*rolegate.Config)
		says   string // "" if it is used
	}{
		{name: "as it was", change: func(*rolegate.Config) {}},
		{name: "another list", change: func(c *rolegate.Config) { second(c, "another") }, says: "of another list"},
		{name: "a list that is called the same", change: func(c *rolegate.Config) { second(c, rolegatetest.NewStatic().CacheKey()) }},
		{name: "more is kept", change: func(c *rolegate.Config) { c.Keep = rolegate.Keep{Nickname: true} }, says: "other Keep"},
		{name: "less is kept", first: func(c *rolegate.Config) { c.Keep = keepAll }, change: func(c *rolegate.Config) { c.Keep = rolegate.Keep{Email: true} }, says: "other Keep"},
		{name: "another alias", change: func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail} }, says: "Aliases"},
		{name: "an alias that was kept", first: func(c *rolegate.Config) { c.Keep = rolegate.Keep{Email: true} },
			change: func(c *rolegate.Config) { c.Aliases = []rolegate.Kind{rolegate.KindEmail} }},
		{name: "an hour old", wait: time.Hour, change: func(*rolegate.Config) {}},
		{name: "older than an hour", wait: time.Hour + 1, change: func(*rolegate.Config) {}, says: "older than ExpireAfter, 1h0m0s"},
		{name: "older than ExpireAfter", wait: 21 * minutes, change: func(c *rolegate.Config) { c.Refresh.ExpireAfter = 20 * minutes }, says: "older than ExpireAfter, 20m0s"},
		{name: "younger than ExpireAfter", wait: 3 * time.Hour, change: func(c *rolegate.Config) { c.Refresh.ExpireAfter = 4 * time.Hour }},
		{name: "the wall clock was put back", change: func(c *rolegate.Config) { *c = withWall(*c, -time.Second) }, says: "dated in the future"},
		{name: "the wall clock was put forward", change: func(c *rolegate.Config) { *c = withWall(*c, 2*time.Hour) }, says: "older than ExpireAfter"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cfg := rolegate.Config{Source: rolegatetest.NewStatic(users(100)...)}
				if c.first != nil {
					c.first(&cfg)
				}
				cache := storedBy(t, cfg)
				if c.wait > 0 {
					after(c.wait)
				}
				var book logBook
				cfg.Source = rolegatetest.NewStatic(record(500))
				cfg.Cache, cfg.Logger = cache, book.logger()
				c.change(&cfg)
				gate := openGate(t, cfg)
				s := gate.Status()
				warnings := book.lines("rolegate: the stored index is not used; the list comes from the source")
				if c.says == "" {
					assert.True(t, s.Cache.Loaded, s.Cache.Error)
					assert.Empty(t, warnings)
					assert.True(t, allowed(gate, 100), "held: the new list lacks everybody")
					return
				}
				assert.False(t, s.Cache.Loaded)
				assert.Equal(t, uint64(1), s.Cache.Failed)
				assert.Contains(t, s.Cache.Error, c.says)
				require.Len(t, warnings, 1)
				assert.Contains(t, warnings[0]["err"], c.says)
				assert.Zero(t, listed(gate, 100))
				assert.True(t, allowed(gate, 500))
			})
		})
	}
}

// otherList is a source whose list is called something else.
type otherList struct {
	rolegate.Source
	key string
}

func (o otherList) CacheKey() string { return o.key }

// withWall is a config for a machine whose wall clock is that much ahead, and
// that was booted a while ago.
func withWall(cfg rolegate.Config, ahead time.Duration) rolegate.Config {
	return rolegate.WithClock(cfg, func() (mono, wall int64) {
		mono, wall = rolegate.ReadClock()
		return mono + int64(100*time.Hour), wall + int64(ahead)
	})
}

// The ages of a stored index go by both clocks again, once it is loaded.
func TestClocksAfterARestart(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		mono, wall time.Duration // what the clocks jump
		age        time.Duration
		allowed    bool
	}{
		"none jumps":              {0, 0, 30 * minutes, true},
		"put forward":             {0, 2 * time.Hour, 150 * minutes, false},
		"put back":                {0, -24 * time.Hour, 30 * minutes, true},
		"suspended":               {0, 31 * minutes, 61 * minutes, false},
		"the monotonic one leaps": {time.Hour, 0, 90 * minutes, false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cache := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1))})
				after(30 * minutes)
				var mono, wall time.Duration
				gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: away(), Cache: cache}, func() (int64, int64) {
					m, w := rolegate.ReadClock()
					return m + int64(1000*time.Hour+mono), w + int64(wall)
				}))
				assert.Equal(t, 30*minutes, gate.Status().VerifiedAge)
				synctest.Wait()
				mono, wall = c.mono, c.wall
				assert.Equal(t, c.age, gate.Status().VerifiedAge)
				assert.Equal(t, c.age, gate.Status().ContactAge)
				assert.Equal(t, c.allowed, allowed(gate, 1))
				mono, wall = 0, 0
			})
		})
	}
}

func TestCacheMistakes(t *testing.T) {
	t.Parallel()
	wrong := errors.New("filecache: there is no folder")
	for _, c := range []struct {
		name   string
		change func(*rolegate.Config)
		says   []string
	}{
		{"a source that does not say which list it has", func(c *rolegate.Config) { c.Source = &scripted{} }, []string{"Cache: the Source does not say which list", "CacheKey() string"}},
		{"one that says nothing", func(c *rolegate.Config) { c.Source = otherList{c.Source, ""} }, []string{"Cache: the Source does not say which list"}},
		{"a cache with a mistake", func(c *rolegate.Config) { c.Cache = wrongCache{&memoryCache{}, wrong} }, []string{"Cache: filecache: there is no folder"}},
		{"a source with a mistake is told of once", func(c *rolegate.Config) { c.Source = &configSource{mistake: errConfigSource} }, []string{"Source: BaseURL is empty"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			cfg := configGood()
			cfg.Cache = &memoryCache{}
			c.change(&cfg)
			_, err := rolegate.Open(t.Context(), cfg)
			require.Error(t, err)
			for _, part := range c.says {
				assert.ErrorContains(t, err, part)
			}
			assert.Equal(t, 1, strings.Count(err.Error(), "\n"), "one mistake, one line under the first: %v", err)
		})
	}
	_, err := rolegate.Open(t.Context(), rolegate.Config{Cache: wrongCache{&memoryCache{}, wrong}})
	for _, part := range []string{"Source is nil", "Identify", "Cache: filecache"} {
		assert.ErrorContains(t, err, part)
	}
	assert.ErrorIs(t, err, wrong)

	cfg := configGood()
	cfg.Source = &scripted{list: []rolegate.Record{record(1)}}
	openGate(t, cfg) // without a cache, nobody needs a name
}

type wrongCache struct {
	rolegate.Cache
	mistake error
}

func (w wrongCache) Validate() error { return w.mistake }

// No error and no log line of a gate with a cache has anything of a user in it.
func TestCacheLogsNoPersonalData(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := record(4711471147114711, in(7, "teacher"))
		r.Account, r.Email, r.Nickname = "alice", "alice@example.com", "Alice"
		cfg := rolegate.Config{Source: rolegatetest.NewStatic(r), Keep: keepAll}
		cache := storedBy(t, cfg)
		data, _ := cache.stored()
		var book logBook
		for i := 0; i < len(data); i += 3 {
			broken := append([]byte(nil), data...)
			broken[i] ^= 0x55
			cfg.Cache, cfg.Logger = &memoryCache{data: broken}, book.logger()
			gate, err := rolegate.Open(t.Context(), quiet(cfg))
			require.NoError(t, err)
			assert.Equal(t, uint64(1), gate.Status().Cache.Failed)
			assert.NotContains(t, fmt.Sprint(gate.Status()), "lice")
			require.NoError(t, gate.Close())
		}
		assert.NotContains(t, book.String(), "lice")
		assert.NotContains(t, book.String(), "4711")
	})
}

// Close and the end of Open's ctx may come at any moment of a start.
func TestCloseDuringARestart(t *testing.T) {
	t.Parallel()
	cache := storedBy(t, rolegate.Config{Source: rolegatetest.NewStatic(users(1000)...)})
	for i := range 200 {
		gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: rolegatetest.NewStatic(record(1)), Cache: cache.another(), StartEmpty: true}))
		require.NoError(t, err)
		if i%2 == 0 {
			gate.Decide(context.Background(), rolegate.UserID(1))
		}
		require.NoError(t, gate.Close())
		assert.Zero(t, gate.Status().Cache.Failed, gate.Status().Cache.Error)
	}
}
