package rolegate_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestRefreshOnDeny(t *testing.T) {
	t.Parallel()
	t.Run("a thousand requests of a just-granted user", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Grant(1, 7, "teacher")
			gate := openGate(t, rolegate.Config{Source: client(m)})
			after(30 * time.Second)
			m.Grant(2, 7, "teacher")
			m.SetLatency(300 * time.Millisecond)
			before := gate.Status().Incremental.Succeeded
			codes := make(chan int, 1000)
			h := gate.Require(rolegate.AnyRole("teacher"))(ok(gate))
			begun := time.Now()
			for range 1000 {
				go func() { codes <- ask(h, "GET", "/", 2).Code }()
			}
			for range 1000 {
				require.Equal(t, 200, <-codes)
			}
			assert.Less(t, time.Since(begun), 3*time.Second)
			after(time.Second)
			assert.Equal(t, before+1, gate.Status().Incremental.Succeeded, "one refresh for all of them")
			m.SetLatency(0)
		})
	})
	t.Run("a user on one page of several", func(t *testing.T) {
		t.Parallel()
		for page, took := range []time.Duration{0, 2 * time.Second, 4 * time.Second} {
			synctest.Test(t, func(t *testing.T) {
				source := &slowPages{}
				gate := openGate(t, rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{Wait: time.Minute}})
				after(30 * time.Second)
				source.pages = [][]rolegate.Record{{{UserID: 2, Sequence: 2}}, {{UserID: 3, Sequence: 3}}, {{UserID: 4, Sequence: 4}}}
				begun := time.Now()
				assert.Equal(t, 200, ask(gate.Admit(ok(gate)), "GET", "/", int64(2+page)).Code)
				assert.Equal(t, took, time.Since(begun), "as soon as the page is there")
			})
		}
	})
	t.Run("a just-granted role", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.Put(record(1, in(7, "admin")))
			assert.Equal(t, 200, ask(gate.Require(rolegate.AnyRole("admin"))(ok(gate)), "GET", "/", 1).Code)
		})
	})
	t.Run("a refused user is refused at once for TTL, and then looked up again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			h := gate.Admit(ok(gate))
			pulls := source.IncrementalRefreshes()
			assert.Equal(t, 403, ask(h, "GET", "/", 2).Code)
			assert.Equal(t, pulls+1, source.IncrementalRefreshes())
			source.Put(record(2))
			after(time.Second)
			assert.Equal(t, 403, ask(h, "GET", "/", 2).Code)
			assert.Equal(t, pulls+1, source.IncrementalRefreshes())
			after(4 * time.Second)
			assert.Equal(t, 200, ask(h, "GET", "/", 2).Code, "granted within TTL and one refresh")
		})
	})
	t.Run("a flood of unknown ids", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			h := gate.Admit(ok(gate))
			after(time.Second)
			pulls := source.IncrementalRefreshes()
			for id := int64(2); id < 20_000; id++ {
				require.Equal(t, 403, ask(h, "GET", "/", id).Code)
			}
			assert.Equal(t, pulls+15, source.IncrementalRefreshes(), "half of PerMinute at once")
			assert.Equal(t, 200, ask(h, "GET", "/", 1).Code)
			after(8 * time.Second) // and TTL is over
			ask(h, "GET", "/", 2)
			assert.Equal(t, pulls+16, source.IncrementalRefreshes(), "a little later there is one more")
		})
	})
	t.Run("never more than PerMinute in any minute", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{PerMinute: 5}, Refresh: rolegate.Refresh{Every: time.Hour, ResyncEvery: time.Hour}})
			h := gate.Admit(ok(gate))
			var counts []int
			begun := source.IncrementalRefreshes()
			for second := range 300 {
				before := source.IncrementalRefreshes()
				ask(h, "GET", "/", int64(1000+second))
				counts = append(counts, source.IncrementalRefreshes()-before)
				if len(counts) > 60 {
					counts = counts[1:]
				}
				sum := 0
				for _, c := range counts {
					sum += c
				}
				require.LessOrEqual(t, sum, 5)
				after(time.Second)
			}
			assert.Equal(t, begun+3+3*5-1, source.IncrementalRefreshes(), "three at once, and then three a minute")
		})
	})
	t.Run("waits for Wait at most", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(10 * time.Second)
			begun := time.Now()
			assert.Equal(t, 403, ask(gate.Admit(ok(gate)), "GET", "/", 2).Code)
			assert.Equal(t, time.Second, time.Since(begun))
		})
	})
	t.Run("a request that is given up does not wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{Wait: time.Hour}})
			source.SetDelay(10 * time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			done := make(chan struct{})
			go func() {
				defer close(done)
				r := httptest.NewRequestWithContext(ctx, "GET", "/", nil)
				r.Header.Set("X-User-Id", "2")
				gate.Admit(ok(gate)).ServeHTTP(httptest.NewRecorder(), r)
			}()
			synctest.Wait()
			cancel()
			begun := time.Now()
			<-done
			assert.Zero(t, time.Since(begun))
		})
	})
	for _, c := range []struct {
		name   string
		change func(*rolegate.Config)
		option rolegate.Option
		user   int64
		status int
	}{
		{"Off", func(c *rolegate.Config) { c.OnDeny.Off = true }, rolegate.AnyRole("admin"), 2, 403},
		{"a shadow", nil, rolegate.Shadow(), 1, 200},
		{"a condition that does not hold", nil, rolegate.Where("no", func(rolegate.User, *http.Request) bool { return false }), 3, 403},
		{"nobody", nil, rolegate.AnyRole("admin"), 0, 401},
		{"a user who passes", nil, rolegate.AnyRole("admin"), 3, 200},
	} {
		t.Run("no refresh for "+c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(record(1), record(3, in(7, "admin")))
				cfg := rolegate.Config{Source: source}
				if c.change != nil {
					c.change(&cfg)
				}
				gate := openGate(t, cfg)
				pulls := source.IncrementalRefreshes()
				assert.Equal(t, c.status, ask(gate.Require(rolegate.AnyRole("admin"), c.option)(ok(gate)), "GET", "/", c.user).Code)
				gate.Decide(t.Context(), rolegate.UserID(99))
				assert.Equal(t, pulls, source.IncrementalRefreshes())
			})
		})
	}
	t.Run("no refresh while the source is backing off", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.Fail(rolegatetest.HTTPStatus(http.StatusTooManyRequests, "Retry-After", "120"))
			h := gate.Admit(ok(gate))
			ask(h, "GET", "/", 50)
			m.ResetRequests()
			for id := int64(51); id < 100; id++ {
				assert.Equal(t, 403, ask(h, "GET", "/", id).Code)
			}
			assert.Zero(t, m.RequestCount())
		})
	})
}

func TestMaxAge(t *testing.T) {
	t.Parallel()
	strict := func(gate *rolegate.Gate) http.Handler {
		return gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(30*time.Second))(ok(gate))
	}
	t.Run("a revocation counts at once", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(50)...)
			gate := openGate(t, rolegate.Config{Source: source})
			h := strict(gate)
			fulls := source.FullRefreshes()
			assert.Equal(t, 200, ask(h, "GET", "/", 1).Code)
			assert.Equal(t, fulls, source.FullRefreshes(), "young enough")
			after(31 * time.Second)
			source.Remove(1)
			assert.Equal(t, 403, ask(h, "GET", "/", 1).Code)
			assert.Equal(t, fulls+1, source.FullRefreshes())
			assert.Equal(t, 200, ask(h, "GET", "/", 2).Code)
			assert.Equal(t, fulls+1, source.FullRefreshes())
		})
	})
	t.Run("a thousand share one full refresh", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(50)...)
			gate := openGate(t, rolegate.Config{Source: source})
			after(31 * time.Second)
			source.SetDelay(time.Second)
			fulls := source.FullRefreshes()
			codes := make(chan int, 1000)
			h := strict(gate)
			for i := range 1000 {
				go func() { codes <- ask(h, "GET", "/", int64(i%50)+1).Code }()
			}
			for range 1000 {
				require.Equal(t, 200, <-codes)
			}
			assert.Equal(t, fulls+1, source.FullRefreshes())
		})
	})
	t.Run("too_old when the full refresh is too slow, and not for those who may not pass anyway", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(append(users(50), record(99))...)
			gate := openGate(t, rolegate.Config{Source: source, OnDeny: rolegate.OnDeny{Off: true}})
			h := strict(gate)
			after(31 * time.Second)
			source.SetDelay(20 * time.Second)
			fulls := source.FullRefreshes()
			assert.Equal(t, 403, ask(h, "GET", "/", 99).Code)
			assert.Equal(t, 403, ask(h, "GET", "/", 98).Code)
			assert.Equal(t, fulls, source.FullRefreshes(), "a stranger cannot make it refresh")
			begun := time.Now()
			w := ask(h, "GET", "/", 1)
			assert.Equal(t, 503, w.Code)
			assert.Equal(t, 3*time.Second, time.Since(begun))
			seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
			require.NoError(t, err)
			assert.Positive(t, seconds)
			assert.EqualValues(t, 1, gate.Status().Decisions[rolegate.ReasonTooOld])
			assert.Equal(t, 200, ask(gate.Admit(ok(gate)), "GET", "/", 1).Code, "other routes serve on")
			source.SetDelay(0)
			after(time.Minute)
		})
	})
	t.Run("a hold that a refresh has ended makes nobody too_old", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(50)...)
			gate := openGate(t, rolegate.Config{Source: source})
			p := gate.Policy(rolegate.AnyRole("teacher"), rolegate.MaxAge(30*time.Second))
			after(31 * time.Second)
			source.Remove(upTo(20)...)
			refreshAll(t, gate)
			assert.Equal(t, rolegate.ReasonTooOld, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason, "the removal is held")
			assert.Equal(t, rolegate.ReasonGranted, p.Decide(t.Context(), rolegate.UserID(21), 0).Reason)
			source.Put(users(20)...)
			require.NoError(t, gate.Refresh(t.Context()))
			require.Zero(t, gate.Status().Held.Users)
			assert.Equal(t, rolegate.ReasonGranted, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
			assert.Equal(t, rolegate.ReasonGranted, p.Decide(t.Context(), rolegate.UserID(21), 0).Reason)
		})
	})
	t.Run("at most one full refresh in ResyncMin", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(50)...)
			gate := openGate(t, rolegate.Config{Source: source})
			h := gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Millisecond))(ok(gate))
			after(time.Minute)
			fulls := source.FullRefreshes()
			for range 60 {
				ask(h, "GET", "/", 1)
				after(time.Second)
			}
			assert.LessOrEqual(t, source.FullRefreshes()-fulls, 6)
			assert.Positive(t, gate.Status().Decisions[rolegate.ReasonTooOld])
		})
	})
	t.Run("a Policy does not wait", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(50)...)
			gate := openGate(t, rolegate.Config{Source: source})
			p := gate.Policy(rolegate.AnyRole("teacher"), rolegate.MaxAge(30*time.Second))
			assert.Equal(t, rolegate.ReasonGranted, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
			after(31 * time.Second)
			fulls := source.FullRefreshes()
			assert.Equal(t, rolegate.ReasonTooOld, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
			assert.Equal(t, fulls, source.FullRefreshes())
		})
	})
	t.Run("mistakes panic", func(t *testing.T) {
		t.Parallel()
		var gate *rolegate.Gate
		assert.Panics(t, func() { rolegate.MaxAge(0) })
		assert.Panics(t, func() { rolegate.MaxAge(-time.Second) })
		assert.Panics(t, func() {
			gate.Require(rolegate.AnyRole("a"), rolegate.MaxAge(time.Second), rolegate.MaxAge(time.Second))
		})
		assert.PanicsWithValue(t, "rolegate: Require with Shadow and MaxAge: a shadow must not make requests wait; leave MaxAge out until the rule bites", func() {
			gate.Require(rolegate.AnyRole("a"), rolegate.MaxAge(time.Second), rolegate.Shadow())
		})
	})
}

// slowPages is a list of one user, and of pages behind which it pauses for two seconds.
type slowPages struct{ pages [][]rolegate.Record }

func (s *slowPages) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	panic("it knows pages")
}

func (s *slowPages) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	if err := page([]rolegate.Record{{UserID: 1, Sequence: 1}}); err != nil {
		return err
	}
	for _, records := range s.pages {
		if err := page(records); err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
