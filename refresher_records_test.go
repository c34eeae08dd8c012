package rolegate_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

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
			require.NoError(t, acceptShrink(t.Context(), gate))
			assert.Less(t, gate.Status().Cursor, high, "a full refresh whose highest sequence is lower is believed")
			assert.False(t, allowed(gate, 100))
			m.Grant(200, 7, "teacher")
			require.NoError(t, gate.Refresh(t.Context()))
			assert.True(t, allowed(gate, 200))
		})
	})
	t.Run("a sequence below the cursor makes a full refresh due", func(t *testing.T) {
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
			assert.Equal(t, rolegate.FailureCursorRegressed, failed.Failure)
			after(2 * time.Second) // and the increments go on
			assert.False(t, allowed(gate, 2), "the full refresh has followed at once")
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
// it had when the refresh began.
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
			list = append(list, rolegate.Record{UserID: int64(100_000 + i), Sequence: 2, Bad: bad, Structural: true})
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
				err := gate.RefreshAll(t.Context())
				if c.fails != "" {
					require.Error(t, err)
					assert.Equal(t, c.fails, gate.Status().Full.Failure)
					assert.Zero(t, gate.Status().Users)
					return
				}
				require.NoError(t, err)
				after(4 * time.Minute) // until then it looks back to when there was nothing
				require.NoError(t, gate.Refresh(t.Context()))
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
// somebody: a full refresh finds out, but not one a minute.
func TestAnUnreadableRecordMakesOneFullRefreshDue(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}}}
		gate := openGate(t, rolegate.Config{Source: source})
		source.script(func() {
			source.news = []rolegate.Record{{Sequence: 2, Bad: errors.New("userId: expected an integer above 0")}}
		})
		after(70 * time.Second)
		assert.EqualValues(t, 2, gate.Status().Full.Succeeded)
		after(7 * minutes)
		assert.LessOrEqual(t, gate.Status().Full.Succeeded, uint64(2))
		after(30 * minutes)
		assert.LessOrEqual(t, gate.Status().Full.Succeeded, uint64(9))
	})
}

func TestAnIncrementBringsNobodyBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}, {UserID: 2, Sequence: 2}}}
		gate := openGate(t, rolegate.Config{Source: source})
		// The increment reads user 2 and then is slow; meanwhile the user is revoked,
		// and a full refresh begins and sees it.
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
		go func() { done <- gate.RefreshAll(t.Context()) }()
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		synctest.Wait()
		assert.False(t, allowed(gate, 2))
		assert.True(t, allowed(gate, 1))
	})
}
