package rolegate_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A pagedList is a marketplace that moves: rows are numbered when they are begun
// and seen when they are put, and pages take their time.
type pagedList struct {
	mu       sync.Mutex
	rows     []rolegate.Record // by sequence
	sequence int64
	per      int           // rows a page
	takes    time.Duration // to bring a page
	asked    []int64       // where each refresh asked from
	lags     func(after int64) []rolegate.Record
}

func newPagedList(users int) *pagedList {
	l := &pagedList{per: 1000}
	for id := range users {
		l.put(record(int64(id+1), in(7, "teacher")))
	}
	return l
}

// number takes a sequence, as a transaction does that has not been committed.
func (l *pagedList) number() int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.sequence++
	return l.sequence
}

func (l *pagedList) put(r rolegate.Record) {
	if r.Sequence == 0 {
		r.Sequence = l.number()
	}
	l.remove(r.UserID)
	l.mu.Lock()
	defer l.mu.Unlock()
	at, _ := slices.BinarySearchFunc(l.rows, r.Sequence, func(r rolegate.Record, s int64) int { return int(r.Sequence - s) })
	l.rows = slices.Insert(slices.Clone(l.rows), at, r)
}

func (l *pagedList) remove(id int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rows = slices.DeleteFunc(slices.Clone(l.rows), func(r rolegate.Record) bool { return r.UserID == id })
}

// copied is the list of the moment.
func (l *pagedList) copied() []rolegate.Record {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.rows
}

// lag has other rows sent than the list has; nil ends that.
func (l *pagedList) lag(rows func(after int64) []rolegate.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lags = rows
}

// slow sets how many rows a page has, and how long one takes.
func (l *pagedList) slow(per int, takes time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.per, l.takes = per, takes
}

func (l *pagedList) begins(after int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.asked = append(l.asked, after)
}

func (l *pagedList) page(ctx context.Context, after int64) ([]rolegate.Record, bool) {
	l.mu.Lock()
	takes := l.takes
	l.mu.Unlock()
	wait(ctx, takes)
	l.mu.Lock()
	defer l.mu.Unlock()
	rows := l.rows
	if l.lags != nil {
		rows = l.lags(after)
	}
	var page []rolegate.Record
	for _, r := range rows {
		if r.Sequence > after {
			page = append(page, r)
		}
	}
	return page[:min(l.per, len(page))], len(page) < l.per
}

func (l *pagedList) PullPages(ctx context.Context, after int64, page func([]rolegate.Record) error) error {
	for l.begins(after); ctx.Err() == nil; {
		rows, last := l.page(ctx, after)
		if err := page(rows); err != nil || last {
			return err
		}
		after = rows[len(rows)-1].Sequence
	}
	return context.Cause(ctx)
}

func (l *pagedList) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	return l.PullPages(ctx, after, func(rows []rolegate.Record) error {
		for _, r := range rows {
			yield(r)
		}
		return nil
	})
}

// inMovingList runs a test in a bubble, beside a list of that many users.
func inMovingList(t *testing.T, users int, cfg rolegate.Config, f func(t *testing.T, l *pagedList, gate *rolegate.Gate)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		l := newPagedList(users)
		cfg.Source = l
		f(t, l, openGate(t, cfg))
	})
}

func TestIncrementalRefreshIsAppliedPageByPage(t *testing.T) {
	t.Parallel()
	inMovingList(t, 10, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		l.slow(10, 2*time.Second)
		for id := range int64(100) {
			l.put(record(1000 + id))
		}
		go func() { _ = gate.Refresh(context.Background()) }()
		after(3 * time.Second)
		assert.True(t, allowed(gate, 1009), "the first page counts")
		assert.False(t, allowed(gate, 1099), "and the last has not been read")
		begun := time.Now()
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.LessOrEqual(t, time.Since(begun), 25*time.Second, "it does not wait for the incremental one")
		assert.True(t, allowed(gate, 1099))
	})
}

// A list that never rests is not caught up: what was read counts, and the log
// says so.
func TestAListThatNeverRestsIsAWarning(t *testing.T) {
	t.Parallel()
	var book logBook
	inMovingList(t, 10, rolegate.Config{Logger: book.logger()}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		l.slow(5, time.Second)
		moves := make(chan struct{})
		defer close(moves)
		go func() { // faster than it can be read
			ticker := time.NewTicker(100 * time.Millisecond)
			defer ticker.Stop()
			for id := int64(1000); ; id++ {
				select {
				case <-moves:
					return
				case <-ticker.C:
					l.put(record(id))
				}
			}
		}()
		after(8 * time.Minute)
		assert.True(t, allowed(gate, 1500))
		assert.Equal(t, rolegate.StateStale, gate.Status().State)
		assert.Len(t, book.lines("rolegate: the list is stale: it changes faster than it can be read; what has been read counts"), 1)
	})
}

func TestALateCommitIsSeen(t *testing.T) {
	t.Parallel()
	inMovingList(t, 50, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		after(3 * time.Minute)
		late, later := l.number(), l.number()
		l.put(record(200)) // another transaction, which is committed first
		require.NoError(t, gate.Refresh(t.Context()))
		after(100 * time.Second)
		generation := gate.Status().Generation
		r, added := record(9), record(201)
		r.Sequence, added.Sequence = late, later
		l.put(r)
		l.put(added)
		require.NoError(t, gate.Refresh(t.Context()))
		teacher := gate.Policy(rolegate.AnyRole("teacher"))
		assert.False(t, teacher.Decide(t.Context(), rolegate.UserID(9), 0).Allowed(), "the role is gone")
		assert.True(t, allowed(gate, 201))
		assert.Equal(t, generation+1, gate.Status().Generation)
		require.NoError(t, gate.Refresh(t.Context()))
		assert.Equal(t, generation+1, gate.Status().Generation, "rows that are seen again change nothing")
		o := gate.Status().Incremental.Outcome
		assert.Positive(t, o.Records)
		assert.Zero(t, o.Added+o.Changed+o.Removed)
	})
}

func TestAnOlderListIsNotBelievedAtOnce(t *testing.T) {
	t.Parallel()
	var book logBook
	inMovingList(t, 50, rolegate.Config{Logger: book.logger()}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		old := l.copied()
		l.remove(5)
		l.put(record(100))
		require.NoError(t, gate.RefreshAll(t.Context()))
		require.False(t, allowed(gate, 5))
		verified := gate.Status().Verified
		after(30 * time.Second)
		l.lag(func(int64) []rolegate.Record { return old })
		err := gate.RefreshAll(t.Context())
		var failed *rolegate.PullError
		require.ErrorAs(t, err, &failed)
		assert.Equal(t, rolegate.FailureOlderList, failed.Failure)
		assert.False(t, allowed(gate, 5), "somebody who was removed must not come back")
		assert.True(t, allowed(gate, 100))
		s := gate.Status()
		assert.Equal(t, verified, s.Verified, "no age moves")
		assert.EqualValues(t, 1, s.Failures[rolegate.FailureOlderList])
		assert.Len(t, book.lines("rolegate: a full refresh has shown an older list than the one that is known, and was not applied"), 1)

		after(30 * time.Second)
		require.Error(t, gate.RefreshAll(t.Context()), "not a minute later")
		after(2 * time.Minute) // the gate asks by itself: it was restored from a backup
		assert.True(t, allowed(gate, 5))
		assert.False(t, allowed(gate, 100))
		assert.EqualValues(t, 50, gate.Status().Cursor)
	})
}

// One server of several lags behind: what it shows is never believed, for another
// shows between two of its answers that more is known.
func TestAServerThatLagsBringsNobodyBack(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		lags func(n int, after int64) bool // whether the server that answers lags
	}{
		{"in full refreshes", func(_ int, after int64) bool { return after == 0 }},
		{"in incremental refreshes", func(_ int, after int64) bool { return after > 0 }},
		{"every second time", func(n int, _ int64) bool { return n%2 == 0 }},
		{"two times of three", func(n int, _ int64) bool { return n%3 > 0 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inMovingList(t, 50, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
				l.put(record(5, in(7, "teacher"))) // their row is one of the last
				l.put(record(6, in(7, "teacher")))
				require.NoError(t, gate.Refresh(t.Context()))
				old := l.copied()
				l.remove(5)
				l.put(record(100))
				require.NoError(t, gate.RefreshAll(t.Context()))
				require.False(t, allowed(gate, 5))
				n := 0
				l.lag(func(after int64) []rolegate.Record {
					if n++; c.lags(n, after) {
						return old
					}
					return l.rows
				})
				for range 60 {
					after(30 * time.Second)
					require.False(t, allowed(gate, 5))
				}
				l.lag(nil)
				require.NoError(t, gate.RefreshAll(t.Context()))
				l.put(record(5, in(7, "teacher"))) // listed anew
				require.NoError(t, gate.Refresh(t.Context()))
				assert.True(t, allowed(gate, 5))
			})
		})
	}
}

// A list in which nothing has changed but that somebody is gone has the same
// highest sequence on a server that lags behind.
func TestAServerThatLagsShowsAQuietList(t *testing.T) {
	t.Parallel()
	inMovingList(t, 50, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		old := l.copied()
		l.remove(5)
		require.NoError(t, gate.RefreshAll(t.Context()))
		require.False(t, allowed(gate, 5))
		after(30 * time.Second)
		l.lag(func(int64) []rolegate.Record { return old })
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.False(t, allowed(gate, 5), "one look is not believed")
		assert.True(t, allowed(gate, 6))
		l.lag(nil)
		after(2 * time.Minute) // in which the gate looks again
		l.lag(func(int64) []rolegate.Record { return old })
		require.NoError(t, gate.RefreshAll(t.Context()))
		assert.False(t, allowed(gate, 5), "nor are two that are not in a row")
		after(2 * time.Minute)
		assert.True(t, allowed(gate, 5), "listed again, under the same sequence")
	})
}

// An absurd sequence does not blind the refreshes that follow.
func TestAnAbsurdSequenceBlindsNothing(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name     string
		sequence int64
		within   time.Duration // until a grant counts
	}{
		{"2^62", 1 << 62, 67 * time.Second},
		{"a number that the next full refresh finds out", 5000, 11*time.Minute + 67*time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inMovingList(t, 50, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
				typo := record(60)
				typo.Sequence = c.sequence
				l.put(typo)
				after(5 * time.Minute)
				l.put(record(61)) // which is numbered as ever
				after(c.within)
				assert.True(t, allowed(gate, 61))
				l.put(record(62))
				after(67 * time.Second)
				assert.True(t, allowed(gate, 62), "and from then on as soon as ever")
			})
		})
	}
}

// Users who are made anew, with another id and the same account, are locked out
// as ambiguous only until a full refresh, which follows at once.
func TestUsersMadeAnew(t *testing.T) {
	t.Parallel()
	inMovingList(t, 0, rolegate.Config{Identify: rolegate.ByText(rolegate.KindAccount, func(r *http.Request) (string, error) { return r.Header.Get("X-User"), nil }), OnDeny: rolegate.OnDeny{Wait: 2 * time.Second}}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		for id := range int64(40) {
			l.put(rolegate.Record{UserID: 100 + id, Account: named(id + 1).Account})
		}
		require.NoError(t, gate.RefreshAll(t.Context()))
		after(time.Minute)
		l.slow(1000, time.Second)
		for id := range int64(40) {
			l.remove(100 + id)
			l.put(rolegate.Record{UserID: 900 + id, Account: named(id + 1).Account})
		}
		h := gate.Admit(ok(gate))
		require.NoError(t, gate.Refresh(t.Context()))
		assert.Equal(t, 40, gate.Status().Ambiguous[rolegate.KindAccount])
		r, w := httptest.NewRequest(http.MethodGet, "/", nil), httptest.NewRecorder()
		r.Header.Set("X-User", named(1).Account)
		h.ServeHTTP(w, r)
		assert.Equal(t, 200, w.Code, "it waits for the full refresh")
	})
}

// Records that are invalid for what somebody has written deny their own user,
// however many they are. Only faults of the list's form make a refresh fail.
func TestInvalidRecordsCloseTheGateForNobodyElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		structural bool
		fails      bool // the full refresh; an incremental one never does
	}{
		{"in a field", false, false},
		{"of the form", true, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			inMovingList(t, 1000, rolegate.Config{}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
				for id := range int64(500) {
					l.put(rolegate.Record{UserID: id + 1, Bad: errors.New("nickname: half a surrogate"), Structural: c.structural})
				}
				require.NoError(t, gate.Refresh(t.Context()))
				assert.False(t, allowed(gate, 1))
				assert.True(t, allowed(gate, 501))
				if err := gate.RefreshAll(t.Context()); c.fails {
					require.Error(t, err)
					assert.Equal(t, rolegate.FailureDrift, gate.Status().Full.Failure)
				} else {
					require.NoError(t, err)
				}
				assert.True(t, allowed(gate, 501))
			})
		})
	}
}

// Of two replicas that start together, each may make the other's token invalid.
func TestARefusalAtTheStartIsFinalAfterHalfAMinute(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name             string
		permanent, fixes bool
		opens            bool
		least, most      time.Duration
	}{
		{"of a static token", true, false, false, 0, time.Second},
		{"that lasts", false, false, false, 30 * time.Second, 100 * time.Second},
		{"that does not last", false, true, true, 0, 30 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(users(3)...)
				source.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Permanent: c.permanent, Err: rolegate.ErrRefused})
				if c.fixes {
					time.AfterFunc(10*time.Second, source.Recover)
				}
				begun := time.Now()
				gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source}))
				took := time.Since(begun)
				if c.opens {
					require.NoError(t, err)
					require.NoError(t, gate.Close())
				} else {
					require.ErrorIs(t, err, rolegate.ErrRefused)
				}
				assert.GreaterOrEqual(t, took, c.least)
				assert.LessOrEqual(t, took, c.most)
			})
		})
	}
}

// What an incremental refresh has read before a full one began does not bring
// back a user that it has found gone; what it reads afterwards is not lost by it.
func TestAFullRefreshAndAnIncrementalOneAtOnce(t *testing.T) {
	t.Parallel()
	inMovingList(t, 30, rolegate.Config{Refresh: rolegate.Refresh{Every: time.Hour, ResyncEvery: time.Hour}}, func(t *testing.T, l *pagedList, gate *rolegate.Gate) {
		l.slow(1000, 10*time.Second)
		l.put(record(100))
		done := make(chan error, 2)
		slow := l.copied()
		first := true
		l.lag(func(after int64) []rolegate.Record { // the page is made when it is asked for
			if after > 0 && first {
				first = false
				return slow
			}
			return l.rows
		})
		go func() { done <- gate.Refresh(context.Background()) }()
		after(time.Second)
		l.remove(100)
		l.slow(1000, time.Second)
		go func() { done <- gate.RefreshAll(context.Background()) }()
		after(time.Minute)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		assert.False(t, allowed(gate, 100))

		l.lag(nil)
		l.slow(1000, 20*time.Second)
		go func() { done <- gate.RefreshAll(context.Background()) }()
		after(time.Second)
		l.slow(1000, time.Second)
		l.put(record(101)) // after the page of the full one was made, in the world of the test: it is not on it
		l.lag(func(after int64) []rolegate.Record {
			if after == 0 {
				return slow[:30]
			}
			return l.rows
		})
		require.NoError(t, gate.Refresh(t.Context()))
		require.True(t, allowed(gate, 101))
		require.NoError(t, <-done)
		assert.True(t, allowed(gate, 101), "it is put on top")
	})
}
