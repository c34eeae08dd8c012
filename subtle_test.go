package rolegate_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
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

// Cases in which two rules meet, or that come once in a thousand runs.

func TestEndOnRevokeOfAnEither(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(record(1, in(7, "teacher")), record(2, in(7, "x")))
		gate := openGate(t, rolegate.Config{Source: source})
		s := openStream(gate, 1, rolegate.EndOnRevoke(), rolegate.Either(rolegate.AnyRole("teacher"), rolegate.Where("owner", func(rolegate.User, *http.Request) bool { return false })))
		synctest.Wait()
		require.True(t, s.running())
		source.Put(record(1))
		require.NoError(t, gate.Refresh(t.Context()))
		synctest.Wait()
		assert.False(t, s.running(), "the role is gone; a new request would be refused")
		source.Set()
		_ = acceptShrink(t.Context(), gate)
		synctest.Wait()
	})
}

func TestShrinkGuardWaitsForEachUser(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		gate := openGate(t, rolegate.Config{Source: source})
		source.Set(users(60)...)
		refreshAll(t, gate)
		after(14*minutes + 50*time.Second)
		source.Set() // broken for ten seconds
		refreshAll(t, gate)
		assert.Equal(t, 100, listed(gate, 100))
		after(15 * time.Second)
		refreshAll(t, gate)
		assert.Equal(t, 60, listed(gate, 100), "1..60 were seen gone only 15 s ago")
	})
}

func TestShrinkGuardEverybodyInTwoSteps(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(20)...)
		gate := openGate(t, rolegate.Config{Source: source})
		source.Set(users(9)...)
		refreshAll(t, gate)
		assert.Equal(t, 20, listed(gate, 20))
		after(14 * minutes)
		source.Set()
		after(4 * minutes)
		refreshAll(t, gate)
		assert.Equal(t, 9, listed(gate, 20), "9 were seen gone for a moment only, and nobody is left without them")
	})
}

func TestShrinkGuardCountsInvalidRecords(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(9)...)
		gate := openGate(t, rolegate.Config{Source: source})
		bad := record(1)
		bad.Bad = fmt.Errorf("x")
		source.Set(bad)
		refreshAll(t, gate)
		assert.Equal(t, 8, listed(gate, 9))
	})
}

func TestAHoldMakesNoStormOfFullRefreshes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sync := rolegatetest.NewStatic(users(100)...), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
		sync.set(rolegate.SyncRunning)
		source.Remove(100)
		refreshAll(t, gate)
		after(14 * time.Minute)
		before := source.FullRefreshes()
		h := gate.Admit(ok(gate))
		for i := range 600 { // a flood of unknown ids for ten minutes
			ask(h, "GET", "/", int64(1000+i))
			after(time.Second)
		}
		assert.LessOrEqual(t, source.FullRefreshes()-before, 2)
	})
}

func TestAHoldExpiresNothing(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sync := rolegatetest.NewStatic(users(100)...), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync, Refresh: rolegate.Refresh{ExpireAfter: 20 * time.Minute}})
		after(9 * time.Minute)
		sync.set(rolegate.SyncRunning)
		source.Remove(100)
		h := gate.Admit(ok(gate))
		expired := 0
		for range 30 * 60 {
			after(time.Second)
			if ask(h, "GET", "/", 1).Code == 503 {
				expired++
			}
		}
		assert.Zero(t, expired, "one held removal must not make the list expire for all")
	})
}

// After an outage the list is old already: a sync that runs when the source is
// back must not hold it until it expires.
func TestASyncAfterAnOutageShutsNobodyOut(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sync := rolegatetest.NewStatic(users(100)...), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
		source.Fail(errors.New("down"))
		after(45 * time.Minute)
		sync.set(rolegate.SyncRunning)
		source.Remove(100)
		source.Recover()
		after(73 * time.Second)
		assert.Equal(t, "sync", gate.Status().Held.Cause, "there is some time left")
		for range 60 * 60 {
			after(time.Second)
			require.True(t, allowed(gate, 1), gate.Status().State)
		}
		assert.False(t, allowed(gate, 100))
	})
}

func TestAFailedPullNumbersNoRoles(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		gate := openGate(t, rolegate.Config{Source: source})
		garbage := record(1)
		for i := range 70_000 {
			garbage.Grants = append(garbage.Grants, in(7, fmt.Sprint("g", i)))
		}
		source.Set(garbage)
		require.Error(t, gate.RefreshAll(t.Context()))
		source.Set(append(users(100), record(101, in(7, "librarian")))...)
		assert.NoError(t, gate.RefreshAll(t.Context()), "the upstream is well again")
		after(2 * time.Hour)
		assert.True(t, allowed(gate, 1))
	})
}

func TestRoleCodesThatHangHoldNothingUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		release := make(chan struct{})
		gate := openGate(t, rolegate.Config{Source: source, RoleCodes: func(context.Context) ([]string, error) {
			<-release // heeds no ctx
			return nil, nil
		}})
		_ = gate.Policy(rolegate.AnyRole("principal")) // nobody holds it
		after(3 * time.Hour)
		assert.True(t, allowed(gate, 1), gate.Status().State)
		close(release)
		after(time.Minute)
	})
}

func TestAHeldUserTakesNoAlias(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		with := func(id int64, account string) rolegate.Record {
			r := record(id, in(7, "teacher"))
			r.Account = account
			return r
		}
		source, sync := rolegatetest.NewStatic(with(1, "bob"), with(2, "eve")), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync, Aliases: []rolegate.Kind{rolegate.KindAccount}})
		sync.set(rolegate.SyncRunning)
		source.Set(with(2, "eve"), with(3, "bob")) // the sync has made bob's user anew
		refreshAll(t, gate)
		d := gate.Decide(t.Context(), identityOf(rolegate.KindAccount, "bob"))
		assert.Equal(t, rolegate.ReasonGranted, d.Reason)
		assert.EqualValues(t, 3, d.User.ID())
	})
}

type goexit struct {
	*rolegatetest.Static
	on atomic.Bool
}

func (s *goexit) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if s.on.Load() {
		runtime.Goexit()
	}
	return s.Static.Pull(ctx, after, yield)
}

func TestASourceThatEndsItsGoroutine(t *testing.T) {
	t.Parallel()
	source := &goexit{Static: rolegatetest.NewStatic(users(100)...)}
	gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source}))
	require.NoError(t, err)
	source.on.Store(true)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	err = gate.Refresh(ctx)
	assert.NotErrorIs(t, err, context.DeadlineExceeded)
	source.on.Store(false)
	assert.NoError(t, gate.Close())
}

func TestMaxAgeShorterThanAFullRefresh(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		gate := openGate(t, rolegate.Config{Source: &slowFulls{source, 2 * time.Second}})
		h := gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Second))(ok(gate))
		granted := 0
		for range 20 {
			if ask(h, "GET", "/", 1).Code == 200 {
				granted++
			}
			after(15 * time.Second)
		}
		assert.Equal(t, 20, granted)
	})
}

func TestTwoOperatorsAcceptAtOnce(t *testing.T) {
	t.Parallel()
	lost := 0
	for range 200 {
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(users(100)...)
			gate := openGate(t, rolegate.Config{Source: &slowFulls{source, time.Second}})
			go func() { _ = acceptShrink(t.Context(), gate) }()
			after(500 * time.Millisecond)
			source.Set(users(1)...)
			source.Set(users(100)...) // a full refresh reads the list at its end: the first operator's sees all
			done := make(chan error)
			go func() { done <- acceptShrink(t.Context(), gate) }()
			after(600 * time.Millisecond)
			source.Set(users(1)...)
			require.NoError(t, <-done)
			if listed(gate, 100) != 1 {
				lost++
			}
		})
	}
	assert.Zero(t, lost)
}

func TestEndOnRevokeAfterSuspend(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var slept atomic.Int64
		begun := time.Now()
		source := rolegatetest.NewStatic(users(3)...)
		gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: source}, func() (int64, int64) {
			d := int64(time.Since(begun))
			return d, d + slept.Load()
		}))
		s := openStream(gate, 1, rolegate.EndOnRevoke(), rolegate.AnyRole("teacher"))
		synctest.Wait()
		require.True(t, s.running())
		source.Fail(fmt.Errorf("down"))
		slept.Store(int64(2 * time.Hour))
		after(5 * time.Minute)
		assert.False(t, allowed(gate, 1))
		assert.False(t, s.running(), "the list has expired")
		after(time.Hour)
	})
}

func TestEndOnRevokeWhenAnAliasIsRebound(t *testing.T) {
	t.Parallel()
	with := func(id int64, third string) rolegate.Record {
		r := record(id, in(7, "teacher"))
		r.ThirdUserID = third
		return r
	}
	for _, c := range []struct {
		name   string
		others []rolegate.Record // what comes with the loss
		code   int               // of a new request
	}{
		{"to nobody", nil, 403},
		{"to another who may as well", []rolegate.Record{with(2, "42")}, 200},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				source := rolegatetest.NewStatic(with(1, "42"), with(2, ""))
				gate := openGate(t, rolegate.Config{Source: source, Identify: rolegate.ByText(rolegate.KindThirdUserID, func(*http.Request) (string, error) { return "42", nil })})
				s := openStream(gate, 1, rolegate.EndOnRevoke(), rolegate.AnyRole("teacher"))
				synctest.Wait()
				require.True(t, s.running())
				source.Put(append(c.others, with(1, ""))...)
				require.NoError(t, gate.Refresh(t.Context()))
				synctest.Wait()
				assert.Equal(t, c.code, ask(gate.Require(rolegate.AnyRole("teacher"))(ok(gate)), "GET", "/", 0).Code)
				assert.False(t, s.running(), "session 42 is not theirs any more")
				source.Set()
				_ = acceptShrink(t.Context(), gate)
				synctest.Wait()
			})
		})
	}
}

func TestChangesComeInOrder(t *testing.T) {
	t.Parallel()
	var gens []uint64
	done := make(chan struct{})
	n := int64(200_000)
	source := rolegatetest.NewStatic(users(n)...)
	gate := openGate(t, rolegate.Config{Source: source, OnChange: func(c rolegate.Change) {
		gens = append(gens, c.Generation)
		if len(gens) >= 2 {
			select {
			case <-done:
			default:
				close(done)
			}
		}
	}})
	source.Remove(5)
	go func() { _ = gate.RefreshAll(t.Context()) }()
	g := gate.Status().Generation
	for gate.Status().Generation == g {
		runtime.Gosched()
	}
	source.Put(record(5, in(7, "teacher")))
	require.NoError(t, gate.Refresh(t.Context()))
	<-done
	assert.IsIncreasing(t, gens)
}

type slowFulls struct {
	*rolegatetest.Static
	d time.Duration
}

func (s *slowFulls) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after == 0 && s.FullRefreshes() > 0 {
		select {
		case <-time.After(s.d):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return s.Static.Pull(ctx, after, yield)
}

// inclusive answers with the records from the cursor on.
type inclusive struct{ *rolegatetest.Static }

func (s inclusive) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if after > 0 {
		after--
	}
	return s.Static.Pull(ctx, after, yield)
}

func TestAnInclusiveListLiftsNoBar(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		bad := record(2)
		bad.Sequence, bad.Bad = 3, errors.New("x")
		good := record(2, in(7, "admin"))
		good.Sequence = 5
		first := record(1)
		first.Sequence = 1
		gate := openGate(t, rolegate.Config{Source: inclusive{rolegatetest.NewStatic(first, bad, good)}})
		assert.False(t, allowed(gate, 2))
		require.NoError(t, gate.Refresh(t.Context()))
		assert.False(t, allowed(gate, 2))
	})
}

func TestResyncTellsWhatIsHeld(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sync := rolegatetest.NewStatic(users(3)...), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
		sync.set(rolegate.SyncRunning)
		source.Remove(3)
		assert.ErrorIs(t, gate.RefreshAll(t.Context()), rolegate.ErrHeld)
		assert.True(t, allowed(gate, 3))
	})
}

func TestEverybodyLosesEveryRole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source := rolegatetest.NewStatic(users(100)...)
		var book logBook
		gate := openGate(t, rolegate.Config{Source: source, Logger: book.logger()})
		p := gate.Policy(rolegate.AnyRole("teacher"))
		var list []rolegate.Record
		for id := int64(1); id <= 100; id++ {
			list = append(list, record(id))
		}
		source.Set(list...)
		refreshAll(t, gate)
		assert.Equal(t, rolegate.ReasonGranted, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason, "it is held")
		require.NoError(t, acceptShrink(t.Context(), gate))
		assert.Equal(t, rolegate.ReasonRoleMissing, p.Decide(t.Context(), rolegate.UserID(1), 0).Reason)
		assert.Equal(t, 100, gate.Status().Full.Outcome.LostAllRoles)
		assert.Len(t, book.lines("rolegate: mass role loss: check the marketplace"), 1)
	})
}

func TestMaxAgeDuringAHold(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		source, sync := rolegatetest.NewStatic(users(100)...), &syncing{}
		gate := openGate(t, rolegate.Config{Source: source, UpstreamSync: sync})
		sync.set(rolegate.SyncRunning)
		source.Remove(100)
		refreshAll(t, gate)
		h := gate.Require(rolegate.AnyRole("teacher"), rolegate.MaxAge(time.Minute))(ok(gate))
		before, refused := source.FullRefreshes(), 0
		after(2 * time.Minute)
		for range 1200 {
			after(time.Second)
			if ask(h, "GET", "/", 1).Code == 503 {
				refused++
			}
		}
		assert.Zero(t, refused, "user 1 is listed throughout, and only user 100 is held")
		assert.LessOrEqual(t, source.FullRefreshes()-before, 25)
	})
}

// An incremental refresh reads the clock, and before it gets any further a full refresh is
// published that has had contact since.
func TestContactDoesNotGoBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var busy atomic.Bool
		begun := time.Now()
		source := &slowFulls{rolegatetest.NewStatic(users(3)...), 15 * time.Second}
		// Every is so long that no other incremental refresh follows the full one.
		gate := openGate(t, rolegate.WithClock(rolegate.Config{Source: source, Refresh: rolegate.Refresh{Every: 5 * time.Minute}}, func() (int64, int64) {
			d := int64(time.Since(begun))
			if busy.Load() {
				<-time.After(10 * time.Second)
			}
			return d, d
		}))
		done := make(chan error, 2)
		go func() { done <- gate.RefreshAll(t.Context()) }()
		synctest.Wait()
		busy.Store(true)
		go func() { done <- gate.Refresh(t.Context()) }() // begins at 10 s, and goes on at 20 s
		after(18 * time.Second)
		busy.Store(false)
		require.NoError(t, <-done)
		require.NoError(t, <-done)
		assert.Equal(t, 10*time.Second, time.Duration(gate.Status().Contact.UnixNano()), "the increment's: the full refresh had begun before")
	})
}

// JSON logs name the kind of a refresh, as text logs do.
func TestJSONLogsNameTheKindOfAPull(t *testing.T) {
	t.Parallel()
	var text bytes.Buffer
	gate, err := rolegate.Open(t.Context(), rolegate.Config{
		Source: rolegatetest.NewStatic(record(1, in(7, "teacher"))), Identify: byHeader, Logger: slog.New(slog.NewJSONHandler(&text, nil)),
	})
	require.NoError(t, err)
	require.NoError(t, gate.Close())
	assert.Contains(t, text.String(), `"kind":"full"`)
}
