package rolegate_test

import (
	"context"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestOpen(t *testing.T) {
	t.Parallel()
	t.Run("waits for the first list and tries again", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{})
			m.Fail(rolegatetest.HTTPStatus(http.StatusBadGateway))
			time.AfterFunc(20*time.Second, m.Recover)
			var book logBook
			begun := time.Now()
			openGate(t, rolegate.Config{Source: client(m), Logger: book.logger()})
			assert.GreaterOrEqual(t, time.Since(begun), 20*time.Second)
			assert.LessOrEqual(t, time.Since(begun), 50*time.Second)
			lines := book.lines("rolegate: a refresh failed; there is no list yet, and nobody is admitted")
			assert.Greater(t, len(lines), 2)
			for i, line := range lines {
				assert.EqualValues(t, i+1, line["attempt"])
			}
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
			gate := openGate(t, rolegate.Config{Source: client(m), StartEmpty: true})
			assert.Equal(t, rolegate.ReasonNotReady, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
			assert.Equal(t, rolegate.StateStarting, gate.Status().State)
			after(10 * minutes)
			m.Recover()
			until(t, 73*time.Second, func() bool { return allowed(gate, 1) })
		})
	})
	t.Run("Refresh before the first list makes a full refresh", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			source.SetDelay(time.Second)
			gate := openGate(t, rolegate.Config{Source: source, StartEmpty: true})
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
			before := source.IncrementalRefreshes()
			answers := make(chan error, 1000)
			for range 1000 {
				go func() { answers <- gate.Refresh(t.Context()) }()
			}
			for range 1000 {
				require.NoError(t, <-answers)
			}
			assert.LessOrEqual(t, source.IncrementalRefreshes(), before+2, "who comes after it has begun shares the next")
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
			assert.Equal(t, context.Canceled, <-first)
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
			source.Put(record(2)) // the refresh under way has passed it by
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
			require.ErrorAs(t, gate.RefreshAll(t.Context()), &failed)
			assert.Equal(t, rolegate.FailurePanic, failed.Failure)
			assert.NotContains(t, book.String(), "alice")
			after(20 * minutes)
			source.script(func() { source.wait = nil })
			after(73 * time.Second)
			assert.Zero(t, gate.Status().Incremental.Consecutive)
			assert.Zero(t, gate.Status().Full.Consecutive)
		})
	})
}

func TestClose(t *testing.T) {
	t.Parallel()
	t.Run("in the middle of refreshes, from many goroutines, twice", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			source := rolegatetest.NewStatic(record(1))
			gate := openGate(t, rolegate.Config{Source: source})
			source.SetDelay(time.Hour)
			answers := make(chan error, 2)
			go func() { answers <- gate.Refresh(t.Context()) }()
			go func() { answers <- gate.RefreshAll(t.Context()) }()
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
			gate := openGate(t, rolegate.Config{Source: source, StartEmpty: true})
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
