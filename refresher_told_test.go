package rolegate_test

import (
	"context"
	"errors"
	"log/slog"
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

// twoKinds is a source of which a test says how each kind of pull ends. It
// counts those that have begun.
type twoKinds struct {
	mu                    sync.Mutex
	list, news            []rolegate.Record
	fullErr, incrementErr error
	fulls, increments     int
}

func (s *twoKinds) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

func (s *twoKinds) begun() (fulls, increments int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fulls, s.increments
}

func (s *twoKinds) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	s.mu.Lock()
	records, err := s.list, s.fullErr
	if after > 0 {
		records, err = s.news, s.incrementErr
		s.increments++
	} else {
		s.fulls++
	}
	s.mu.Unlock()
	for _, r := range records {
		yield(r)
	}
	return err
}

// leaveAlone is how a source asks to be left alone.
func leaveAlone(d time.Duration) error {
	return &rolegate.PullError{Failure: rolegate.FailureHTTPStatus, RetryAfter: d, Err: errors.New("too many requests")}
}

// What an incremental refresh was told keeps a full refresh that becomes due from asking
// too.
func TestAFullRefreshThatIsDueLeavesTheSourceAlone(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &twoKinds{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
		gate := openGate(t, rolegate.Config{Source: source})
		after(8*time.Minute + 30*time.Second) // the full refresh is due half a minute later at the earliest
		source.set(func() { source.incrementErr = leaveAlone(5 * time.Minute) })
		require.Error(t, gate.Refresh(t.Context()))
		source.set(func() { source.incrementErr = nil })
		fulls, increments := source.begun()
		after(5*time.Minute - time.Second)
		nowFulls, nowIncrements := source.begun()
		assert.Equal(t, [2]int{fulls, increments}, [2]int{nowFulls, nowIncrements})
		after(2 * time.Second)
		nowFulls, nowIncrements = source.begun()
		assert.Greater(t, nowFulls, fulls, "it is overdue")
		assert.Greater(t, nowIncrements, increments)
	})
}

// A source that was set back makes each incremental refresh ask for a full refresh: not
// while full refreshes fail and back off.
func TestAFullRefreshThatIsAskedForBacksOff(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &twoKinds{list: []rolegate.Record{{UserID: 1, Sequence: 50}}}
		gate := openGate(t, rolegate.Config{Source: source})
		source.set(func() { source.fullErr = errors.New("down") })
		until(t, time.Hour, func() bool { return gate.Status().Full.Consecutive == 8 }) // so the next is most of a minute away
		source.set(func() { source.news = []rolegate.Record{{UserID: 2, Sequence: 10}} })
		for range 3 {
			var failed *rolegate.PullError
			require.ErrorAs(t, gate.Refresh(t.Context()), &failed)
			require.Equal(t, rolegate.FailureCursorRegressed, failed.Failure)
			synctest.Wait()
		}
		assert.Equal(t, 8, gate.Status().Full.Consecutive)
		after(73 * time.Second)
		assert.Equal(t, 9, gate.Status().Full.Consecutive)
	})
}

// A machine that slept for less than ExpireAfter makes a full refresh with the first one that
// succeeds, and does not wait for a timer that stood still meanwhile.
func TestAFullRefreshFollowsASleep(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		slept time.Duration
		fulls uint64
	}{
		{"not at all", 0, 1},
		{"the full refresh is not overdue", 4 * time.Minute, 1},
		{"the full refresh is overdue", 20 * time.Minute, 2},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var slept atomic.Int64
				begun := time.Now()
				gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: rolegatetest.NewStatic(users(3)...)}, func() (int64, int64) {
					d := int64(time.Since(begun))
					return d, d + slept.Load()
				}))
				after(3 * time.Minute)
				slept.Store(int64(c.slept))
				require.NoError(t, gate.Refresh(t.Context()))
				synctest.Wait()
				assert.Equal(t, c.fulls, gate.Status().Full.Succeeded)
			})
		})
	}
}

func TestPullsTellHowTheyWent(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(3)...)
		gate := openGate(t, rolegate.Config{Source: source})
		source.SetDelay(7 * time.Second)
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.Equal(t, 7*time.Second, gate.Status().Full.Duration)
		after(8 * time.Second) // an incremental one for what has come since it began
		assert.EqualValues(t, 1, gate.Status().Incremental.Succeeded)
		require.NoError(t, gate.Refresh(t.Context()))
		assert.Equal(t, 7*time.Second, gate.Status().Incremental.Duration)
		assert.EqualValues(t, 2, gate.Status().Full.Succeeded)
		assert.EqualValues(t, 2, gate.Status().Incremental.Succeeded)
		source.Fail(errors.New("down"))
		require.Error(t, gate.Refresh(t.Context()))
		assert.EqualValues(t, 1, gate.Status().Incremental.Failed)
		assert.Equal(t, map[rolegate.Failure]uint64{gate.Status().Incremental.Failure: 1}, gate.Status().Failures)
		assert.EqualValues(t, 2, gate.Status().Incremental.Succeeded)
		assert.False(t, gate.Status().Incremental.Running)
	})
}

// What changes nothing is no line in a log that leaves debugging out.
func TestHowLoudAPullIs(t *testing.T) {
	t.Parallel()
	bad := record(9, in(7, "teacher"))
	bad.Bad = errors.New("unreadable")
	for _, c := range []struct {
		name  string
		news  []rolegate.Record
		fails bool // the one before
		level slog.Level
	}{
		{"nothing new", nil, false, slog.LevelDebug},
		{"nothing new after a failure", nil, true, slog.LevelInfo},
		{"a user more", []rolegate.Record{record(4)}, false, slog.LevelInfo},
		{"a bad record", []rolegate.Record{bad}, false, slog.LevelWarn},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var book logBook
			source := rolegatetest.NewStatic(users(3)...)
			gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger(), Refresh: rolegate.Refresh{Every: time.Hour, ResyncEvery: time.Hour, ExpireAfter: 5 * time.Hour}})
			if c.fails {
				source.Fail(errors.New("down"))
				require.Error(t, gate.Refresh(t.Context()))
				source.Recover()
			}
			source.Put(c.news...)
			before := len(book.lines("rolegate: refreshed"))
			require.NoError(t, gate.Refresh(t.Context()))
			lines := book.lines("rolegate: refreshed")
			require.Len(t, lines, before+1)
			assert.Equal(t, c.level.String(), lines[before]["level"])
		})
	}
}

// Open says why there is no list, as far as is known.
func TestOpenSaysWhatIsKnown(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		group   bool // with a replica that leads, and has nothing to publish
		follows bool // the error says so
	}{
		{"the source does not answer", false, false},
		{"another replica leads", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source, store := rolegatetest.NewStatic(users(3)...), newFakeStore()
				source.SetDelay(time.Hour)
				cfg := rolegate.Config{Source: source}
				if c.group {
					openGate(t, rolegate.Config{Source: source, Cache: fakeShared{store.replica()}, StartEmpty: true})
					after(time.Second)
					cfg.Cache = fakeShared{store.replica()}
				}
				ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
				defer cancel()
				_, err := rolegate.Open(ctx, quiet(cfg))
				require.ErrorIs(t, err, context.DeadlineExceeded)
				if c.follows {
					assert.ErrorContains(t, err, "another replica was to refresh it")
				} else {
					assert.NotContains(t, err.Error(), "replica")
				}
			})
		})
	}
}

// The log says when a hold is over, however it ended, and once.
func TestTheLogTellsTheEndOfAHold(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		ends func(t *testing.T, gate *rolegate.Gate, source *rolegatetest.Static)
	}{
		{"an operator accepts it", func(t *testing.T, gate *rolegate.Gate, _ *rolegatetest.Static) {
			require.NoError(t, gate.AcceptShrink(t.Context(), gate.Status().Held.Digest))
		}},
		{"they are listed again", func(t *testing.T, gate *rolegate.Gate, source *rolegatetest.Static) {
			source.Put(users(20)...)
			require.NoError(t, gate.Refresh(t.Context()))
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				var book logBook
				source := rolegatetest.NewStatic(users(20)...)
				gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger()})
				source.Set(users(2)...)
				require.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
				const over = "rolegate: no removals are held any more"
				require.Empty(t, book.lines(over))
				c.ends(t, gate, source)
				for range 2 {
					require.NoError(t, gate.RefreshAll(t.Context()))
				}
				lines := book.lines(over)
				require.Len(t, lines, 1)
				assert.EqualValues(t, 18, lines[0]["were"])
				assert.EqualValues(t, "shrink_guard", lines[0]["cause"])
			})
		})
	}
}

// A refresh that Close cuts short has not failed.
func TestAPullThatCloseEndsIsNoFailure(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		source := rolegatetest.NewStatic(users(3)...)
		gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source, Logger: book.logger()}))
		require.NoError(t, err)
		source.SetDelay(time.Minute)
		answer := make(chan error, 1)
		go func() { answer <- gate.RefreshAll(t.Context()) }()
		synctest.Wait()
		require.NoError(t, gate.Close())
		require.ErrorIs(t, <-answer, rolegate.ErrClosed)
		assert.Zero(t, gate.Status().Full.Failed)
		assert.Empty(t, gate.Status().Failures)
		assert.Empty(t, book.lines("rolegate: a refresh failed; the list stays as it was"))
	})
}

// The log says that the list is stale when StaleAfter is over, and no earlier.
func TestWhenTheLogSaysStale(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		source := rolegatetest.NewStatic(users(3)...)
		gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger(), Refresh: rolegate.Refresh{StaleAfter: 5 * time.Minute}})
		opened := time.Now()
		source.Fail(errors.New("down"))
		const stale = "rolegate: the list is stale: no refresh has succeeded for long; it is served until it expires"
		after(4 * time.Minute)
		require.Error(t, gate.Refresh(t.Context()))
		assert.Empty(t, book.lines(stale))
		after(time.Until(opened.Add(5 * time.Minute)))
		require.Error(t, gate.Refresh(t.Context()))
		assert.Empty(t, book.lines(stale))
		after(time.Second)
		require.Error(t, gate.Refresh(t.Context()))
		assert.Len(t, book.lines(stale), 1)
	})
}

// The log tells of every kind of alias that several users share.
func TestTheLogTellsOfSharedAliases(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var book logBook
		openGate(t, rolegate.Config{Aliases: identityKinds, Logger: book.logger(), Source: rolegatetest.NewStatic(
			rolegate.Record{UserID: 1, Account: "a", Email: "both@example.com"},
			rolegate.Record{UserID: 2, Account: "b", Email: "both@example.com"},
		)})
		synctest.Wait() // Open returns before that is logged
		lines := book.lines("rolegate: several users share an alias; nobody enters by it")
		require.Len(t, lines, 1)
		assert.EqualValues(t, 1, lines[0]["aliases"])
	})
}

func TestStatusCountsWhatIsDoneAgain(t *testing.T) {
	t.Parallel()
	refused := rolegatetest.HTTPStatus(401)
	for _, c := range []struct {
		name                    string
		fails                   []rolegatetest.Fault
		later                   rolegatetest.Fault // when the full refresh is over
		lives                   time.Duration      // each token
		last, full, incremental int                // pages that were asked for again
		tokens                  uint64
		wrong                   bool // the full refresh fails
	}{
		{name: "nothing goes wrong"},
		{name: "a page that went wrong", fails: []rolegatetest.Fault{rolegatetest.HTTPStatus(502)}, last: 1, full: 1},
		{name: "a token that was refused", fails: []rolegatetest.Fault{refused}, last: 1, full: 1, tokens: 1},
		{name: "the second is refused too", fails: []rolegatetest.Fault{refused, refused}, full: 1, tokens: 2, wrong: true},
		{name: "a page of an incremental refresh", later: rolegatetest.HTTPStatus(503), incremental: 1},
		{name: "tokens that end", lives: 65 * time.Second, tokens: 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
				m.Grant(1, 7, "teacher")
				gate := openGate(t, rolegate.Config{
					Source: marketplace.New(marketplace.Config{
						BaseURL: rolegatetest.BaseURL, AppID: m.AppID(), Transport: m.Transport(),
						Token: marketplace.ExpiringTokenFunc(func(context.Context) (string, time.Time, error) {
							if c.lives == 0 {
								return m.Token(), time.Time{}, nil
							}
							return m.Token(), time.Now().Add(c.lives), nil
						}),
					}),
					Refresh: rolegate.Refresh{Every: time.Hour, ResyncEvery: time.Hour, ExpireAfter: 3 * time.Hour},
				})
				time.Sleep(time.Minute)
				for _, f := range c.fails {
					m.FailNext(1, f)
				}
				assert.Equal(t, c.wrong, gate.RefreshAll(t.Context()) != nil)
				if c.later != nil {
					m.FailNext(1, c.later)
				}
				require.NoError(t, gate.Refresh(t.Context()))
				s := gate.Status()
				assert.Equal(t, c.last, s.Full.Outcome.Repeated)
				assert.Equal(t, []uint64{uint64(c.full), uint64(c.incremental)}, []uint64{s.Full.Repeated, s.Incremental.Repeated})
				assert.Equal(t, c.tokens, s.TokenRenewals)
			})
		})
	}
}
