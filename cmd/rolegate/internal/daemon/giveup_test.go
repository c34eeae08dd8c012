package daemon_test

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/control"
	"github.com/rolegate/rolegate/rolegatetest"
)

// pending has the socket's client wait for a list that does not come, and returns
// what it will be told, and what makes it go away.
func (r *run) pending() (told <-chan error, leave context.CancelFunc) {
	r.t.Helper()
	r.market.Fail(rolegatetest.Hang())
	r.edit("every: 1h", "every: 50m")
	ctx, cancel := context.WithCancel(r.t.Context())
	r.t.Cleanup(cancel)
	before, got := r.market.RequestCount(), make(chan error, 1)
	go func() { got <- r.reloads(ctx) }()
	require.Eventually(r.t, func() bool { return r.market.RequestCount() > before }, 10*time.Second, time.Millisecond, r.log)
	return got, cancel
}

// A reload that waits for its list does not hold up the one after it.
func TestReloadIsGivenUp(t *testing.T) {
	t.Parallel()
	t.Run("for one by the socket", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, _ := r.pending()
		r.market.Recover()
		r.edit("every: 50m", "every: 40m")
		require.NoError(t, r.reloads(t.Context()))
		refused := (*control.RefusedError)(nil)
		require.ErrorAs(t, <-told, &refused)
		assert.Equal(t, "given up for a newer reload", refused.Text)
		assert.Equal(t, http.StatusServiceUnavailable, refused.Status)
		assert.Equal(t, 1, strings.Count(r.log.String(), "new_gate=true"))
		assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
	})
	t.Run("for one by a signal", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, _ := r.pending()
		r.market.Recover()
		r.edit("every: 50m", "every: 1h")
		r.reload <- struct{}{}
		require.ErrorContains(t, <-told, "given up for a newer reload")
		require.Eventually(t, func() bool { return strings.Contains(r.log.String(), "new_gate=false") }, 10*time.Second, time.Millisecond, r.log)
	})
	t.Run("for one of a file that is wrong", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, _ := r.pending()
		r.edit("refresh:", "refrehs:")
		require.ErrorContains(t, r.reloads(t.Context()), "refrehs")
		require.ErrorContains(t, <-told, "given up for a newer reload")
		assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
	})
	t.Run("but not who waits for the very same", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, _ := r.pending()
		r.market.Recover()
		require.NoError(t, r.reloads(t.Context()), "it has not waited for what hangs")
		require.NoError(t, <-told)
	})
	t.Run("when who asked has gone", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, leave := r.pending()
		leave()
		require.ErrorIs(t, <-told, context.Canceled)
		require.Eventually(t, func() bool { return r.notices("READY=1") == 2 }, 10*time.Second, time.Millisecond, r.log)
		assert.Contains(t, r.log.String(), "nobody waits for it any more")
		assert.Equal(t, "0", r.metric("rolegate_settings_last_reload_successful"))
		assert.Equal(t, http.StatusOK, r.passes(teacher, "GET", "/grades"))
	})
	t.Run("at the end", func(t *testing.T) {
		t.Parallel()
		r := start(t, base)
		told, _ := r.pending()
		require.NoError(t, r.stop())
		require.ErrorContains(t, <-told, "the server is shutting down")
		assert.NotContains(t, r.log.String(), "broken off", "nobody waits for what hangs")
	})
}

// Roles that the new settings name and nobody has are told.
func TestReloadTellsOfUnassignedRoles(t *testing.T) {
	t.Parallel()
	r := start(t, base)
	for _, edit := range [][2]string{{`[teacher]}`, `[techer, admin]}`}, {"every: 1h", "every: 50m"}} { // the same gate, and another
		r.edit(edit[0], edit[1])
		told, err := control.NewClient(r.socket).Reload(t.Context())
		require.NoError(t, err)
		require.Len(t, told.UnassignedRoles, 1)
		assert.Equal(t, "techer", told.UnassignedRoles[0].Code)
		assert.Equal(t, "teacher", told.UnassignedRoles[0].Nearest)
	}
	a, err := r.why(control.Question{Kind: "user_id", User: guest, Method: "GET", Host: "localhost", URI: "/grades"})
	require.NoError(t, err)
	assert.Equal(t, "techer", a.UnassignedRoles[0].Code)
	a, err = r.why(control.Question{Kind: "user_id", User: guest, Resource: "grades", Action: "read"})
	require.NoError(t, err)
	assert.Empty(t, a.UnassignedRoles, "that rule names others")
	assert.Contains(t, r.log.String(), "user_id="+guest)
	_, err = r.why(control.Question{Kind: "user_id", User: "5"})
	require.NoError(t, err)
	assert.Contains(t, r.log.String(), "user_id=5")
}
