package rolegate_test

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// inBubble runs a test on a clock of its own, with a marketplace and a gate.
func inBubble(t *testing.T, cfg rolegate.Config, f func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
		m.Grant(1, 7, "teacher")
		m.Grant(2, 7, "teacher", "admin")
		cfg := quiet(cfg)
		if cfg.Source == nil {
			cfg.Source = client(m)
		}
		gate, err := rolegate.Open(t.Context(), cfg)
		require.NoError(t, err)
		defer func() { require.NoError(t, gate.Close()) }()
		f(t, m, gate)
	})
}

// until advances the bubble's clock until cond holds and returns how long that
// took; it gives up after limit.
func until(t *testing.T, limit time.Duration, cond func() bool) time.Duration {
	t.Helper()
	start := time.Now()
	for !cond() {
		if time.Since(start) > limit {
			t.Fatalf("not within %v", limit)
		}
		after(time.Second)
	}
	return time.Since(start)
}

// after lets the bubble's clock go on by d and everything that is due happen.
func after(d time.Duration) {
	timer := time.NewTimer(d)
	<-timer.C
	synctest.Wait()
}

const (
	every  = time.Minute
	resync = 10 * time.Minute
)

func TestPromise(t *testing.T) {
	t.Parallel()
	// Each from many moments between two pulls, since the worst is what is promised.
	for moment := range 10 {
		wait := time.Duration(moment) * 67 * time.Second
		t.Run(fmt.Sprintf("after %v", wait), func(t *testing.T) {
			t.Parallel()
			t.Run("a user added", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					after(wait)
					m.Grant(3, 7, "teacher")
					require.False(t, allowed(gate, 3))
					took := until(t, time.Hour, func() bool { return allowed(gate, 3) })
					assert.LessOrEqual(t, took, every*11/10+time.Second)
				})
			})
			t.Run("a user changed", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					admin := gate.Policy(rolegate.AnyRole("admin"))
					may := func(user int64) bool { return admin.Decide(t.Context(), rolegate.UserID(user), 0).Allowed() }
					after(wait)
					require.False(t, may(1))
					m.Grant(1, 7, "admin")
					m.Take(2, 7, "admin")
					took := until(t, time.Hour, func() bool { return may(1) && !may(2) })
					assert.LessOrEqual(t, took, every*11/10+time.Second)
				})
			})
			t.Run("a user removed", func(t *testing.T) {
				t.Parallel()
				inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
					after(wait)
					m.Revoke(2)
					require.True(t, allowed(gate, 2))
					took := until(t, time.Hour, func() bool { return !allowed(gate, 2) })
					assert.LessOrEqual(t, took, resync*11/10+time.Second)
					assert.True(t, allowed(gate, 1))
					m.Grant(2, 7, "teacher")
					until(t, every*11/10+time.Second, func() bool { return allowed(gate, 2) })
				})
			})
		})
	}
	t.Run("a grant while a walk of 1,000 slow pages is under way", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			// Pages of one user, two seconds each: a walk takes half an hour.
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{PageCap: 1})
			for id := range int64(1000) {
				m.Grant(id+1, 7, "teacher")
			}
			gate := openGate(t, rolegate.Config{Source: marketplace.New(marketplace.Config{
				BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
				UniqueSequences: true,
			})})
			m.SetLatency(2 * time.Second)
			until(t, time.Hour, func() bool { return gate.Status().Walk.Running })
			after(3 * time.Minute)
			for id := int64(2000); id < 2005; id++ {
				m.Grant(id, 7, "teacher")
				until(t, every*11/10+5*time.Second, func() bool { return allowed(gate, id) })
				require.True(t, gate.Status().Walk.Running, "the walk goes on all the while")
			}
			m.Revoke(2000, 500)
			walks := gate.Status().Walk.Succeeded
			until(t, 2*time.Hour, func() bool { return gate.Status().Walk.Succeeded > walks+1 })
			assert.False(t, allowed(gate, 2000))
			assert.False(t, allowed(gate, 500))
			assert.True(t, allowed(gate, 2004))
			m.SetLatency(0)
		})
	})
}

func TestNothingIsKeptOfAPullThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		fault   rolegatetest.Fault
		failure rolegate.Failure
	}{
		{"an error envelope", rolegatetest.ErrorEnvelope(500, "no"), rolegate.FailureUpstream},
		{"an empty success", rolegatetest.EmptyData(), rolegate.FailureMalformed},
		{"HTML", rolegatetest.HTMLPage(), rolegate.FailureMalformed},
		{"a truncated page", rolegatetest.Truncated(), rolegate.FailureMalformed},
		{"502", rolegatetest.HTTPStatus(http.StatusBadGateway), rolegate.FailureHTTPStatus},
		{"a cached page", rolegatetest.CachedReply(30 * time.Second), rolegate.FailureCachedReply},
		{"a refused token", rolegatetest.RefuseToken(), rolegate.FailureRefused},
		{"no answer", rolegatetest.Hang(), rolegate.FailureTimeout},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
				before := gate.Status()
				m.Grant(3, 7, "teacher")
				m.Revoke(2)
				m.Fail(c.fault)
				err := gate.Resync(t.Context())
				require.Error(t, err)
				assert.NotContains(t, err.Error(), m.Token())
				require.Error(t, gate.Refresh(t.Context()))
				after(20 * minutes) // many more try and fail
				now := gate.Status()
				assert.Equal(t, before.Generation, now.Generation)
				assert.Equal(t, before.Cursor, now.Cursor)
				assert.Equal(t, before.Contact, now.Contact)
				assert.Equal(t, before.Verified, now.Verified)
				assert.Equal(t, c.failure, now.Incremental.Failure)
				assert.Positive(t, now.Failures[c.failure])
				assert.True(t, allowed(gate, 2), "it serves what it has")
				assert.False(t, allowed(gate, 3))
				assert.Equal(t, rolegate.StateStale, now.State)

				m.Recover()
				after(82 * time.Second) // the longest back-off, and a page's deadline
				assert.True(t, allowed(gate, 3))
				assert.False(t, allowed(gate, 2))
				assert.Equal(t, rolegate.StateReady, gate.Status().State)
				assert.Zero(t, gate.Status().Incremental.Consecutive)
			})
		})
	}
	t.Run("page k of n", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{PageCap: 3})
			for id := range int64(30) {
				m.Grant(id+1, 7, "teacher")
			}
			gate := openGate(t, rolegate.Config{Source: client(m)})
			m.Revoke(1)
			for k := 2; k < 10; k++ {
				page := 0
				m.FailWhen(func(rolegatetest.Request) bool { page++; return page == k }, rolegatetest.Truncated())
				require.Error(t, gate.Resync(t.Context()))
				assert.True(t, allowed(gate, 1), "nothing of a walk that failed at page %d is visible", k)
				m.Recover()
			}
			require.NoError(t, gate.Resync(t.Context()))
			assert.False(t, allowed(gate, 1))
		})
	})
}

func TestAges(t *testing.T) {
	t.Parallel()
	t.Run("stale is served and warned of, expired is not served", func(t *testing.T) {
		t.Parallel()
		var book logBook
		inBubble(t, rolegate.Config{Logger: book.logger()}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			after(5 * time.Second)
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			took := until(t, time.Hour, func() bool { return gate.Status().State == rolegate.StateStale })
			assert.InDelta(t, 5*minutes, took, float64(10*time.Second))
			assert.True(t, allowed(gate, 1))
			assert.Positive(t, gate.Status().StaleDecisions)
			until(t, time.Hour, func() bool {
				return len(book.lines("rolegate: the list is stale: no pull has succeeded for long; it is served until it expires")) == 1
			})

			took = until(t, 2*time.Hour, func() bool { return !allowed(gate, 1) })
			assert.InDelta(t, 55*minutes, took, float64(time.Minute+10*time.Second))
			assert.Equal(t, rolegate.StateExpired, gate.Status().State)
			for name, h := range map[string]http.Handler{
				"Admit": gate.Admit(never(t)), "Require": gate.Require(rolegate.AnyRole("teacher"))(never(t)),
			} {
				w := ask(h, "GET", "/", 1)
				assert.Equal(t, 503, w.Code, name)
				seconds, err := strconv.Atoi(w.Header().Get("Retry-After"))
				require.NoError(t, err)
				assert.Positive(t, seconds)
			}
			assert.Len(t, book.lines("rolegate: the list is stale: no pull has succeeded for long; it is served until it expires"), 1, "said once")

			m.Recover()
			until(t, 66*time.Second, func() bool { return allowed(gate, 1) })
		})
	})
	t.Run("contact without a walk expires all the same", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.FailWhen(rolegatetest.Request.BeginsWalk, rolegatetest.HTTPStatus(http.StatusBadGateway))
			after(59 * minutes)
			assert.Equal(t, rolegate.StateReady, gate.Status().State)
			assert.Less(t, gate.Status().ContactAge, 70*time.Second)
			after(2 * minutes)
			assert.Equal(t, rolegate.Expired, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
		})
	})
	t.Run("verified is when the walk began", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.SetLatency(7 * time.Second)
			begun := time.Now()
			require.NoError(t, gate.Resync(t.Context()))
			assert.True(t, gate.Status().Verified.Equal(begun), "what was revoked while it ran may have been missed")
			m.SetLatency(0)
		})
	})
}

// The clocks of a machine can be set, and stand still while it sleeps.
func TestClocks(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		mono, wall time.Duration // what is added to them
		allowed    bool
	}{
		{"nothing", 0, 0, true},
		{"the wall clock a day back", 0, -24 * time.Hour, true},
		{"the wall clock a day forward", 0, 24 * time.Hour, false},
		{"suspended for two hours: the monotonic clock stood still", 0, 2 * time.Hour, false},
		{"suspended, then the wall clock put back", 2 * time.Hour, -24 * time.Hour, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var mono, wall atomic.Int64
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
				m.Grant(1, 7, "teacher")
				gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: client(m)}, func() (int64, int64) {
					a, b := rolegate.ReadClock()
					return a + mono.Load(), b + wall.Load()
				}))
				after(3 * minutes)
				age := gate.Status().VerifiedAge
				m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
				mono.Store(int64(c.mono))
				wall.Store(int64(c.wall))
				assert.Equal(t, c.allowed, allowed(gate, 1))
				assert.GreaterOrEqual(t, gate.Status().VerifiedAge, age, "no age gets younger")

				m.Recover()
				ask(gate.Admit(ok(gate)), "GET", "/", 1) // a request that finds it expired has it walk at once
				until(t, every*11/10+time.Second, func() bool { return allowed(gate, 1) })
				walks := gate.Status().Walk.Succeeded
				after(30 * minutes)
				assert.InDelta(t, walks+3, gate.Status().Walk.Succeeded, 1, "the intervals keep")
			})
		})
	}
}

func TestTheCursorFollowsTheSource(t *testing.T) {
	t.Parallel()
	t.Run("set back to a backup", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			backup := m.Backup()
			for id := int64(100); id < 110; id++ {
				m.Grant(id, 7, "teacher")
			}
			require.NoError(t, gate.Refresh(t.Context()))
			high := gate.Status().Cursor
			m.Restore(backup)
			require.NoError(t, gate.Resync(t.Context(), rolegate.AcceptShrink))
			assert.Less(t, gate.Status().Cursor, high, "a full walk whose highest sequence is lower is believed")
			assert.False(t, allowed(gate, 100))
			m.Grant(200, 7, "teacher")
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 200))
		})
	})
	t.Run("a sequence below the cursor makes a walk due", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &scripted{list: []rolegate.Record{
				{UserID: 1, Sequence: 50, Grants: []rolegate.Grant{in(7, "teacher")}}, {UserID: 2, Sequence: 60},
			}}
			gate := openGate(t, rolegate.Config{Source: source})
			source.script(func() {
				source.list = source.list[:1]
				source.news = []rolegate.Record{{UserID: 3, Sequence: 51}}
			})
			err := gate.Refresh(t.Context())
			var failed *rolegate.PullError
			require.ErrorAs(t, err, &failed)
			assert.Equal(t, rolegate.FailureWentBack, failed.Failure)
			synctest.Wait()
			assert.False(t, allowed(gate, 2), "the walk has followed at once")
			assert.True(t, allowed(gate, 1))
			assert.Equal(t, int64(51), gate.Status().Cursor, "from 50, and then the news")
		})
	})
	t.Run("an inclusive list repeats itself without changing anything", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{Inclusive: true})
			m.Grant(1, 7, "teacher")
			gate := openGate(t, rolegate.Config{Source: client(m)})
			require.NoError(t, gate.Refresh(t.Context()))
			assert.Zero(t, gate.Status().Incremental.Outcome.Changed)
			assert.True(t, allowed(gate, 1))
		})
	})
}

// scripted is a source that yields what it is told, whatever it is asked: what
// it had when the pull began.
type scripted struct {
	mu         sync.Mutex
	list, news []rolegate.Record
	err        error
	wait       func(ctx context.Context, after int64)
}

// script makes a change while the gate is running.
func (s *scripted) script(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *scripted) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	s.mu.Lock()
	records, err, wait := s.list, s.err, s.wait
	if after > 0 {
		records = s.news
	}
	s.mu.Unlock()
	if wait != nil {
		wait(ctx, after)
	}
	for _, r := range records {
		yield(r)
	}
	return err
}

func TestRecords(t *testing.T) {
	t.Parallel()
	bad := errors.New("roleList: expected an array")
	admin := []rolegate.Grant{in(7, "admin")}
	many := func(good, bads int) (list []rolegate.Record) {
		for i := range good {
			list = append(list, rolegate.Record{UserID: int64(1000 + i), Sequence: 1})
		}
		for i := range bads {
			list = append(list, rolegate.Record{UserID: int64(100_000 + i), Sequence: 2, Bad: bad})
		}
		return list
	}
	for _, c := range []struct {
		name       string
		list, news []rolegate.Record
		fails      rolegate.Failure
		admins     []int64 // who is admin afterwards, of 1 to 9
		listed     []int64
	}{
		{name: "an empty list is a list", list: nil},
		{name: "a good record", list: []rolegate.Record{{UserID: 1, Sequence: 1, Grants: admin}}, admins: []int64{1}, listed: []int64{1}},
		{name: "no record's roles leak into the next", list: []rolegate.Record{{UserID: 1, Sequence: 1, Grants: admin}, {UserID: 2, Sequence: 2}},
			admins: []int64{1}, listed: []int64{1, 2}},
		{name: "a bad record bars its user, before a good one", list: []rolegate.Record{{UserID: 1, Sequence: 1, Bad: bad}, {UserID: 1, Sequence: 9, Grants: admin}}},
		{name: "a bad record bars its user, after a good one", list: []rolegate.Record{{UserID: 1, Sequence: 9, Grants: admin}, {UserID: 1, Sequence: 1, Bad: bad}}},
		{name: "a bad record in an increment", list: []rolegate.Record{{UserID: 1, Sequence: 5, Grants: admin}, {UserID: 2, Sequence: 5}},
			news: []rolegate.Record{{UserID: 1, Sequence: 9, Bad: bad}}, listed: []int64{2}},
		{name: "a good record in a later pull lifts it", list: []rolegate.Record{{UserID: 1, Sequence: 5, Bad: bad}},
			news: []rolegate.Record{{UserID: 1, Sequence: 9, Grants: admin}}, admins: []int64{1}, listed: []int64{1}},
		{name: "a bad record of nobody bars nobody", list: []rolegate.Record{{Bad: bad}, {UserID: 1, Sequence: 1, Grants: admin}}, admins: []int64{1}, listed: []int64{1}},
		{name: "a user id that is not above 0 is bad", list: []rolegate.Record{{UserID: 0, Sequence: 1, Grants: admin}, {UserID: -1, Sequence: 1, Grants: admin}}},
		{name: "of two records the higher sequence counts", list: []rolegate.Record{{UserID: 1, Sequence: 9}, {UserID: 1, Sequence: 5, Grants: admin}}, listed: []int64{1}},
		{name: "of equal sequences the later counts", list: []rolegate.Record{{UserID: 1, Sequence: 5, Grants: admin}, {UserID: 1, Sequence: 5}}, listed: []int64{1}},
		{name: "grants without organisation or code are dropped", list: []rolegate.Record{
			{UserID: 1, Sequence: 1, Grants: []rolegate.Grant{in(0, "admin"), in(-1, "admin"), in(7, "")}},
			{UserID: 2, Sequence: 1, Grants: []rolegate.Grant{in(0, "admin"), in(7, "admin")}},
		}, admins: []int64{2}, listed: []int64{1, 2}},
		{name: "ten bad records are bad records", list: append(many(0, 10), rolegate.Record{UserID: 1, Sequence: 3, Grants: admin}), admins: []int64{1}, listed: []int64{1}},
		{name: "one in a hundred is bad records", list: append(many(2000, 20), rolegate.Record{UserID: 1, Sequence: 3}), listed: []int64{1}},
		{name: "more is another list", list: append(many(2000, 22), rolegate.Record{UserID: 1, Sequence: 3}), fails: rolegate.FailureDrift},
		{name: "an error discards what came before it", list: nil, news: nil, fails: rolegate.FailureOther},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := &scripted{}
				gate := openGate(t, rolegate.Config{Source: source})
				source.script(func() {
					source.list, source.news = c.list, c.news
					if c.fails == rolegate.FailureOther {
						source.list, source.err = []rolegate.Record{{UserID: 1, Sequence: 1}}, errors.New("broken")
					}
				})
				err := gate.Resync(t.Context())
				if c.fails != "" {
					require.Error(t, err)
					assert.Equal(t, c.fails, gate.Status().Walk.Failure)
					assert.Zero(t, gate.Status().Users)
					return
				}
				require.NoError(t, err)
				is := gate.Policy(rolegate.AnyRole("admin"))
				for id := int64(1); id < 10; id++ {
					assert.Equal(t, contains(c.admins, id), is.Decide(t.Context(), rolegate.UserID(id), 0).Allowed(), "user %d admin", id)
					assert.Equal(t, contains(c.listed, id), allowed(gate, id), "user %d listed", id)
				}
			})
		})
	}
}

func contains(ids []int64, id int64) bool {
	for _, i := range ids {
		if i == id {
			return true
		}
	}
	return false
}

// A record that does not say whose it is may have taken something from
// somebody: a walk finds out, but not one a minute.
func TestAnUnreadableRecordMakesOneWalkDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
		gate := openGate(t, rolegate.Config{Source: source})
		source.script(func() {
			source.news = []rolegate.Record{{Sequence: 2, Bad: errors.New("userId: expected an integer above 0")}}
		})
		after(70 * time.Second)
		assert.EqualValues(t, 2, gate.Status().Walk.Succeeded)
		after(7 * minutes)
		assert.LessOrEqual(t, gate.Status().Walk.Succeeded, uint64(2))
		after(30 * minutes)
		assert.LessOrEqual(t, gate.Status().Walk.Succeeded, uint64(9))
	})
}

func TestAnIncrementBringsNobodyBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}, {UserID: 2, Sequence: 2}}}
		gate := openGate(t, rolegate.Config{Source: source})
		// The increment reads user 2 and then is slow; meanwhile he is revoked,
		// and a walk begins and sees it.
		source.script(func() {
			source.news = []rolegate.Record{{UserID: 2, Sequence: 3}}
			source.wait = func(ctx context.Context, from int64) {
				if from > 0 {
					wait(ctx, 30*time.Second)
				}
			}
		})
		done := make(chan error, 2)
		go func() { done <- gate.Refresh(t.Context()) }()
		synctest.Wait()
		source.script(func() { source.list, source.news = source.list[:1], nil })
		go func() { done <- gate.Resync(t.Context()) }()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		synctest.Wait()
		assert.False(t, allowed(gate, 2))
		assert.True(t, allowed(gate, 1))
	})
}

// wait blocks for d or until ctx ends.
func wait(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func TestASlowPullNeitherOverlapsNorBursts(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var under, most, pulls atomic.Int64
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
		gate := openGate(t, rolegate.Config{Source: source})
		source.script(func() {
			source.wait = func(ctx context.Context, from int64) {
				if from == 0 {
					return
				}
				pulls.Add(1)
				most.Store(max(most.Load(), under.Add(1)))
				defer under.Add(-1)
				wait(ctx, 3*minutes)
			}
		})
		after(time.Hour)
		assert.EqualValues(t, 1, most.Load())
		assert.LessOrEqual(t, pulls.Load(), int64(27), "3 minutes each, some of them the walks', and a rest between them")
		source.script(func() { source.wait = nil })
		after(4 * minutes)
		before := gate.Status().Incremental.Succeeded
		after(10 * minutes)
		assert.InDelta(t, before+10, gate.Status().Incremental.Succeeded, 1)
	})
}

func TestBackOff(t *testing.T) {
	t.Parallel()
	t.Run("doubles, up to a minute", func(t *testing.T) {
		t.Parallel()
		inBubble(t, rolegate.Config{}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			m.ResetRequests()
			after(65 * time.Second) // the first failure
			after(30 * minutes)
			// About ten while doubling, then one a minute, of each of the two kinds.
			assert.InDelta(t, 65, m.RequestCount(), 15)
		})
	})
	for _, c := range []struct {
		name, header string
		quiet        time.Duration
	}{
		{"seconds", "120", 2 * minutes},
		{"ten years", "315360000", 5 * minutes},
		{"negative", "-5", 0},
	} {
		t.Run("Retry-After: "+c.name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, rolegate.Config{Refresh: rolegate.Refresh{Every: 10 * time.Second}}, func(t *testing.T, m *rolegatetest.Marketplace, gate *rolegate.Gate) {
				m.FailNext(1, rolegatetest.HTTPStatus(http.StatusTooManyRequests, "Retry-After", c.header))
				until(t, time.Minute, func() bool { return gate.Status().Incremental.Failed == 1 })
				m.ResetRequests()
				if c.quiet == 0 {
					after(2 * time.Second)
					assert.Positive(t, m.RequestCount())
					return
				}
				after(c.quiet - 2*time.Second)
				assert.Zero(t, m.RequestCount(), "neither kind of pull asks")
				var failed *rolegate.PullError
				require.ErrorAs(t, gate.Resync(t.Context()), &failed, "nor does one that is asked for")
				assert.Positive(t, failed.RetryAfter)
				after(15 * time.Second)
				assert.Positive(t, m.RequestCount())
			})
		})
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("waits for the first list and tries again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.FailNext(4, rolegatetest.HTTPStatus(http.StatusBadGateway))
			var book logBook
			begun := time.Now()
			openGate(t, rolegate.Config{Source: client(m), Logger: book.logger()})
			assert.InDelta(t, 15*time.Second, time.Since(begun), float64(4*time.Second))
			assert.Len(t, book.lines("rolegate: a pull failed; the list stays as it was"), 4)
		})
	})
	t.Run("gives up with its ctx and says why", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			_, err := rolegate.Open(ctx, quiet(rolegate.Config{Source: client(m)}))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Contains(t, err.Error(), "502")
			assert.NotContains(t, err.Error(), m.Token())
		})
	})
	t.Run("returns at once when the credentials are refused", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			source := client(m)
			m.SetToken("AT-2-another")
			begun := time.Now()
			_, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source}))
			require.ErrorIs(t, err, rolegate.ErrRefused)
			assert.Contains(t, err.Error(), "check the token")
			assert.Zero(t, time.Since(begun))
		})
	})
	t.Run("Async returns at once, and goes on when refused", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Grant(1, 7, "teacher")
			m.Fail(rolegatetest.RefuseToken())
			gate := openGate(t, rolegate.Config{Source: client(m), Async: true})
			assert.Equal(t, rolegate.NotReady, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
			assert.Equal(t, rolegate.StateStarting, gate.Status().State)
			after(10 * minutes)
			m.Recover()
			until(t, 66*time.Second, func() bool { return allowed(gate, 1) })
		})
	})
	t.Run("Refresh before the first list walks", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			source.SetDelay(time.Second)
			gate := openGate(t, rolegate.Config{Source: source, Async: true})
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 1))
		})
	})
}

func TestSharedPulls(t *testing.T) {
	t.Parallel()
	t.Run("a thousand who wait share one", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(time.Second)
			source.Put(record(2))
			before := source.Increments()
			answers := make(chan error, 1000)
			for range 1000 {
				go func() { answers <- gate.Refresh(t.Context()) }()
			}
			for range 1000 {
				require.NoError(t, <-answers)
			}
			assert.Equal(t, before+1, source.Increments())
			assert.True(t, allowed(gate, 2))
		})
	})
	t.Run("one that gives up leaves the others their answer", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(10 * time.Second)
			ctx, cancel := context.WithCancel(t.Context())
			first, second := make(chan error, 1), make(chan error, 1)
			go func() { first <- gate.Refresh(ctx) }()
			synctest.Wait()
			go func() { second <- gate.Refresh(t.Context()) }()
			synctest.Wait()
			cancel()
			assert.ErrorIs(t, <-first, context.Canceled)
			assert.NoError(t, <-second)
		})
	})
	t.Run("one that began before the call does not count", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(10 * time.Second)
			early := make(chan error, 1)
			go func() { early <- gate.Refresh(t.Context()) }()
			after(5 * time.Second)
			source.Put(record(2)) // the pull under way has passed it by
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 2))
			require.NoError(t, <-early)
		})
	})
	t.Run("a panic hangs nobody and ends nothing", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
			var book logBook
			gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger()})
			source.script(func() { source.wait = func(context.Context, int64) { panic("alice@example.com") } })
			var failed *rolegate.PullError
			require.ErrorAs(t, gate.Refresh(t.Context()), &failed)
			assert.Equal(t, rolegate.FailurePanic, failed.Failure)
			require.ErrorAs(t, gate.Resync(t.Context()), &failed)
			assert.Equal(t, rolegate.FailurePanic, failed.Failure)
			assert.NotContains(t, book.String(), "alice")
			after(20 * minutes)
			source.script(func() { source.wait = nil })
			after(66 * time.Second)
			assert.Zero(t, gate.Status().Incremental.Consecutive)
			assert.Zero(t, gate.Status().Walk.Consecutive)
		})
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("in the middle of pulls, from many goroutines, twice", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(time.Hour)
			answers := make(chan error, 2)
			go func() { answers <- gate.Refresh(t.Context()) }()
			go func() { answers <- gate.Resync(t.Context()) }()
			synctest.Wait()
			begun := time.Now()
			closed := make(chan error, 10)
			for range 10 {
				go func() { closed <- gate.Close() }()
			}
			for range 10 {
				assert.NoError(t, <-closed)
			}
			assert.Zero(t, time.Since(begun))
			assert.ErrorIs(t, <-answers, rolegate.ErrClosed)
			assert.ErrorIs(t, <-answers, rolegate.ErrClosed)
			assert.ErrorIs(t, gate.Refresh(t.Context()), rolegate.ErrClosed)
			assert.NoError(t, gate.Close())
			assert.Equal(t, rolegate.StateClosed, gate.Status().State)
		})
	})
	t.Run("before it is ready", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic()
			source.SetDelay(time.Hour)
			gate := openGate(t, rolegate.Config{Source: source, Async: true})
			synctest.Wait()
			assert.NoError(t, gate.Close())
		})
	})
	t.Run("a source that does not heed its ctx", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
			gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source}))
			require.NoError(t, err)
			source.script(func() { source.wait = func(context.Context, int64) { <-time.After(time.Minute) } })
			go func() { _ = gate.Refresh(context.Background()) }()
			synctest.Wait()
			begun := time.Now()
			assert.ErrorContains(t, gate.Close(), "must return when its ctx ends")
			assert.Equal(t, time.Second, time.Since(begun))
			after(time.Minute)
			assert.NoError(t, gate.Close())
		})
	})
}
