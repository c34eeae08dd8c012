package rolegate_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A syncStory is a gate of 100 teachers whose upstream says what it is about.
type syncStory struct {
	*testing.T
	source *rolegatetest.Static
	sync   *syncing
	gate   *rolegate.Gate
}

// runs has a sync begin, and the list lack the users that it has removed so far.
func (s syncStory) runs(removed ...int64) {
	s.sync.set(rolegate.SyncRunning)
	s.source.Remove(removed...)
	refreshAll(s.T, s.gate)
}

// ends has it end, and the gate notice.
func (s syncStory) ends() {
	s.sync.set(rolegate.SyncDone)
	after(16 * time.Second)
}

func from(first, last int64) (ids []int64) {
	for id := first; id <= last; id++ {
		ids = append(ids, id)
	}
	return ids
}

// How long removals are held, and what counts it, when syncs, the shrink
// guard and an outage come after each other: never longer than each of them may,
// and never shorter than what nobody has confirmed.
func TestSyncHoldAmongOthers(t *testing.T) {
	t.Parallel()
	const most = 100
	for name, story := range map[string]func(syncStory){
		"an outage after it: the list expires an hour after it was last whole": func(s syncStory) {
			s.runs(most)
			after(25 * minutes)
			require.True(s, allowed(s.gate, most))
			s.source.Fail(errors.New("down"))
			after(36 * minutes)
			assert.False(s, allowed(s.gate, most), "they have been gone for 61 minutes")
		},
		"a full refresh during a long sync is no witness for the shrink guard": func(s syncStory) {
			s.runs(from(11, most)...)
			after(2 * minutes)
			s.ends()
			assert.Equal(s, most, listed(s.gate, most))
		},
		"the shrink guard waits from its own first full refresh on": func(s syncStory) {
			s.runs(from(11, most)...)
			after(2 * minutes)
			s.ends()
			refreshAll(s.T, s.gate)
			assert.Equal(s, most, listed(s.gate, most), "a second one a moment later confirms nothing")
		},
		"the shrink guard in between does not begin SyncHold anew": func(s syncStory) {
			s.runs(from(11, most)...)
			after(20 * minutes)
			s.ends()
			require.Equal(s, "shrink_guard", s.gate.Status().Held.Cause)
			s.sync.set(rolegate.SyncRunning)
			after(19 * minutes)
			assert.Equal(s, 10, listed(s.gate, most), "39 minutes: the shrink guard's 15 are over, and SyncHold's 30 since the first")
		},
		"news of one who is held does not begin SyncHold anew for the others": func(s syncStory) {
			s.runs(99, 100)
			after(20 * minutes)
			s.source.Put(record(99, in(7, "teacher")))
			require.NoError(s, s.gate.Refresh(s.Context()))
			after(13 * minutes)
			assert.False(s, allowed(s.gate, 100))
			assert.True(s, allowed(s.gate, 99))
		},
		"a sync that held nothing is followed by a full refresh too": func(s syncStory) {
			s.runs()
			after(20 * time.Second)
			s.source.Remove(most)
			s.sync.set(rolegate.SyncDone)
			after(31 * time.Second)
			assert.False(s, allowed(s.gate, most))
		},
		"it tells since when it has held the first": func(s syncStory) {
			s.runs(most)
			since := s.gate.Status().Held.Since
			after(5 * minutes)
			s.runs(99)
			assert.Equal(s, since, s.gate.Status().Held.Since)
			s.source.Put(record(99, in(7, "teacher")))
			require.NoError(s, s.gate.Refresh(s.Context()))
			assert.Equal(s, since, s.gate.Status().Held.Since)
		},
		"MaxAge asks for a full refresh about one who is held": func(s syncStory) {
			s.runs()
			after(2 * minutes)
			s.runs(99)
			require.True(s, allowed(s.gate, 99))
			h := s.gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(90*time.Second))(ok(s.gate))
			after(75 * time.Second) // the list is young enough, but not as the last whole one
			s.sync.set(rolegate.SyncDone)
			before := s.source.FullRefreshes()
			assert.Equal(s, 403, ask(h, "GET", "/", 99).Code)
			assert.Greater(s, s.source.FullRefreshes(), before)
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := syncStory{T: t, source: rolegatetest.NewStatic(users(most)...), sync: &syncing{}}
				s.gate = openGate(t, rolegate.Config{Source: s.source, UpstreamSync: s.sync})
				story(s)
			})
		})
	}
}

// A runningWithAnError says that a sync runs, and that this may not be so.
type runningWithAnError struct{}

func (runningWithAnError) CheckSync(context.Context) (rolegate.SyncReport, error) {
	return rolegate.SyncReport{State: rolegate.SyncRunning}, errors.New("half an answer")
}

func TestASyncThatComesWithAnErrorHoldsNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: runningWithAnError{}})
		source.Remove(100)
		refreshAll(t, gate)
		assert.False(t, allowed(gate, 100))
	})
}
