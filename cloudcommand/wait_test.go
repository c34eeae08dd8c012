package cloudcommand_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/cloudcommand"
	"github.com/rolegate/rolegate/internal/wiretest"
	"github.com/rolegate/rolegate/rolegatetest"
)

func TestWaitForSync(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
		cloud.Running("")
		time.AfterFunc(20*time.Second, cloud.Unknown)
		time.AfterFunc(40*time.Second, func() { cloud.Fail(rolegatetest.HTTPStatus(500)) })
		time.AfterFunc(60*time.Second, func() { cloud.Fail(rolegatetest.Hang()) })
		time.AfterFunc(10*time.Minute, func() { cloud.Recover(); cloud.Done("") })
		began := time.Now()
		require.NoError(t, of(cloud).WaitForSync(t.Context(), 42))
		assert.Less(t, time.Since(began), 11*time.Minute)

		var last time.Time
		var pauses []time.Duration
		for _, r := range cloud.Requests() {
			if !r.AsksForState() {
				continue
			}
			assert.EqualValues(t, 42, r.SyncID)
			if !last.IsZero() {
				pauses = append(pauses, r.Time.Sub(last))
			}
			last = r.Time
		}
		for i, most := range []time.Duration{1, 2, 4, 8, 16, 30} {
			assert.LessOrEqual(t, pauses[i], most*time.Second)
			assert.GreaterOrEqual(t, pauses[i], most*time.Second/2)
		}
		for _, p := range pauses[5:] {
			assert.LessOrEqual(t, p, 35*time.Second) // with the 5 that a check may hang
		}
	})
}

func TestWaitForSyncEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		set  func(*rolegatetest.CloudCommand)
		says string
	}{
		"running":  {func(c *rolegatetest.CloudCommand) { c.Running("") }, "it was running at last, message “" + rolegatetest.RunningMessage + "”"},
		"unknown":  {func(c *rolegatetest.CloudCommand) { c.Done("好了 " + rolegatetest.DefaultPassword) }, "it was unknown at last, message “好了 [***]”"},
		"an error": {func(c *rolegatetest.CloudCommand) { c.Fail(rolegatetest.HTTPStatus(500)) }, "at last: token: cloudcommand: POST"},
		"hanging":  {func(c *rolegatetest.CloudCommand) { c.Fail(rolegatetest.Hang()) }, "deadline exceeded: at last: token"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
				tc.set(cloud)
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				began := time.Now()
				err := of(cloud).WaitForSync(ctx, 7)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "waiting for sync 7: context deadline exceeded: ")
				assert.ErrorContains(t, err, tc.says)
				requireClean(t, wiretest.Printed(err))
				assert.Equal(t, time.Hour, time.Since(began))
			})
		})
	}
	t.Run("before it began", func(t *testing.T) {
		t.Parallel()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
		cloud.Done("")
		err := of(cloud).WaitForSync(ctx, 0)
		require.ErrorIs(t, err, context.Canceled)
		assert.ErrorContains(t, err, "nothing was heard of it")
	})
}

func TestWaitForSyncHonoursRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		n := 0
		c := client(states(func(*http.Request) (*http.Response, error) {
			if n++; n == 1 {
				return reply(503, "", "Retry-After", "100"), nil
			}
			return reply(200, said(rolegatetest.DoneMessage)), nil
		}))
		began := time.Now()
		require.NoError(t, c.WaitForSync(t.Context(), 7))
		assert.Equal(t, 100*time.Second, time.Since(began))
	})
}

func TestWaitForSyncReturnsWhatWaitingDoesNotFix(t *testing.T) {
	t.Parallel()
	cloud := rolegatetest.NewCloudCommand(rolegatetest.CloudCommandConfig{})
	cloud.Done("")
	wait := func(id int64, edit func(*cloudcommand.Config)) error {
		return of(cloud, edit).WaitForSync(t.Context(), id)
	}
	same := func(*cloudcommand.Config) {}

	require.ErrorIs(t, wait(7, func(c *cloudcommand.Config) { c.Password = "wrong" }), rolegate.ErrRefused)
	require.ErrorIs(t, wait(7, func(c *cloudcommand.Config) { c.Done = nil }), cloudcommand.ErrNoDoneText)
	require.ErrorContains(t, wait(7, func(c *cloudcommand.Config) { c.BaseURL = "" }), "BaseURL")
	require.ErrorContains(t, wait(-1, same), "sync -1: expected an id above 0")
	require.NoError(t, wait(0, same))
	require.NoError(t, wait(7, func(c *cloudcommand.Config) {
		c.Done = nil
		c.Interpret = func(d cloudcommand.Data) rolegate.SyncState {
			if strings.HasSuffix(d.Message, "完成") {
				return rolegate.SyncDone
			}
			return rolegate.SyncUnknown
		}
	}))
	var pe *rolegate.PullError
	assert.False(t, errors.As(wait(-1, same), &pe))
}
