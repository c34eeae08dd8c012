package rolegate_test

import (
	"context"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// Mistakes of one operator that no other test noticed: see docs/mutation.md.

func TestSyncStateAsText(t *testing.T) {
	t.Parallel()
	assert.Equal(t, "done", rolegate.SyncDone.String())
	assert.Equal(t, "SyncState(3)", (rolegate.SyncDone + 1).String())
}

func TestSeveralConditions(t *testing.T) {
	t.Parallel()
	gate := openGate(t, rolegate.Config{Source: rolegatetest.NewStatic(record(1, in(7, "teacher"), in(8, "teacher"), in(9, "teacher")))})
	for _, c := range []struct {
		name  string
		hold  []bool // what they say, in their order
		runs  []int  // how often each ran
		allow bool
	}{
		{"all hold", []bool{true, true, true}, []int{1, 1, 1}, true},
		{"the last does not", []bool{true, true, false}, []int{1, 1, 1}, false},
		{"the second does not", []bool{true, false, true}, []int{1, 1, 0}, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			runs := make([]int, len(c.hold))
			options := []rolegate.Option{rolegate.AnyRole("teacher")}
			for i, holds := range c.hold {
				options = append(options, rolegate.Where("condition", func(rolegate.User, *http.Request) bool {
					runs[i]++
					return holds
				}))
			}
			code := ask(gate.Require(options...)(ok(gate)), "GET", "/", 1).Code
			assert.Equal(t, c.allow, code == 200)
			assert.Equal(t, c.runs, runs, "once for each decision, whatever organisations there are")
		})
	}
}

// A list that says something new of a user ends no request of theirs whose
// conditions all held.
func TestEndOnRevokeRemembersAllConditions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")))
		gate := openGate(t, rolegate.Config{Source: source})
		yes := func(rolegate.User, *http.Request) bool { return true }
		s := openStream(gate, 1, rolegate.EndOnRevoke(), rolegate.AnyRole("teacher"), rolegate.Where("first", yes), rolegate.Where("second", yes))
		source.Put(record(1, in(7, "teacher"), in(8, "teacher")))
		require.NoError(t, gate.Refresh(t.Context()))
		assert.True(t, s.running())
		source.Put(record(1))
		require.NoError(t, gate.Refresh(t.Context()))
		assert.False(t, s.running())
	})
}

// A sync that runs for a part of a full refresh only may have halved the list too.
func TestASyncDuringAPartOfAFullRefresh(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name       string
		begin, end rolegate.SyncState
		held       bool
	}{
		{"none", rolegate.SyncDone, rolegate.SyncDone, false},
		{"it ends meanwhile", rolegate.SyncRunning, rolegate.SyncDone, true},
		{"it begins meanwhile", rolegate.SyncDone, rolegate.SyncRunning, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source, sync := rolegatetest.NewStatic(users(20)...), &syncing{}
				gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
				source.Remove(20)
				source.SetDelay(4 * time.Second)
				sync.set(c.begin)
				answer := make(chan error, 1)
				go func() { answer <- gate.RefreshAll(t.Context()) }()
				after(2 * time.Second)
				sync.set(c.end)
				err := <-answer
				assert.Equal(t, c.held, allowed(gate, 20))
				if c.held {
					assert.ErrorIs(t, err, rolegate.ErrHeld)
				} else {
					assert.NoError(t, err)
				}
			})
		})
	}
}

// A source that is cut short and does not say so has yielded half of a list.
func TestAPullThatIsCutShortDoesNotCount(t *testing.T) {
	t.Parallel()
	for name, pull := range map[string]func(*rolegate.Gate, context.Context) error{
		"incremental":  (*rolegate.Gate).Refresh,
		"full refresh": func(g *rolegate.Gate, ctx context.Context) error { return g.RefreshAll(ctx) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := &scripted{list: []rolegate.Record{{UserID: 1, Sequence: 1}, {UserID: 2, Sequence: 2}}}
				gate := openGate(t, rolegate.Config{Source: source})
				source.script(func() {
					source.list = source.list[:1]
					source.wait = func(ctx context.Context, _ int64) { <-ctx.Done() }
				})
				assert.ErrorIs(t, pull(gate, t.Context()), context.DeadlineExceeded)
				source.script(func() { source.list, source.wait = source.list[:2], nil })
				after(73 * time.Minute)
				assert.True(t, allowed(gate, 2))
			})
		})
	}
}

// The ages at which a list is stale, and expired: not a nanosecond earlier.
func TestAgesToTheNanosecond(t *testing.T) {
	t.Parallel()
	var now atomic.Int64
	now.Store(int64(time.Hour))
	gate := openGate(t, rolegate.WithClock(rolegate.Config{
		Source:  rolegatetest.NewStatic(users(3)...),
		Refresh: rolegate.Refresh{StaleAfter: 5 * time.Minute, ExpireAfter: time.Hour},
	}, func() (int64, int64) { return now.Load(), now.Load() }))
	for _, c := range []struct {
		name   string
		age    time.Duration
		reason rolegate.Reason
		stale  uint64 // how many decisions more
	}{
		{"young", 0, rolegate.ReasonGranted, 0},
		{"as old as StaleAfter", 5 * time.Minute, rolegate.ReasonGranted, 0},
		{"stale", 5*time.Minute + 1, rolegate.ReasonGranted, 1},
		{"as old as ExpireAfter", time.Hour, rolegate.ReasonGranted, 1},
		{"expired", time.Hour + 1, rolegate.ReasonExpired, 0},
	} {
		now.Store(int64(time.Hour + c.age))
		before := gate.Status().StaleDecisions
		assert.Equal(t, c.reason, gate.Decide(t.Context(), rolegate.UserID(1)).Reason, c.name)
		assert.Equal(t, before+c.stale, gate.Status().StaleDecisions, c.name)
	}
}

func TestTheFirstReasonThatIsNone(t *testing.T) {
	t.Parallel()
	none := rolegate.ReasonClientGone + 1
	assert.Equal(t, http.StatusInternalServerError, none.Status())
	assert.Equal(t, "Reason(13)", none.String())
}
