package rolegate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A gate that waits for ever makes this test fail, instead of hanging all of
// them. So it is in the first file, does not run in parallel with others, and
// not in a bubble, where a loop without end leaves no time to fail.
func TestNothingWaitsForEver(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	down, source := errors.New("down"), rolegatetest.NewStatic(namedUpTo(20)...)
	gate, err := rolegate.Open(ctx, quiet(withAccounts(source)))
	require.NoError(t, err)
	defer func() { require.NoError(t, gate.Close()) }()
	source.Put(named(21))
	require.NoError(t, gate.Refresh(ctx))
	assertHas(t, gate, upTo(21)...)
	source.Remove(21)
	require.NoError(t, gate.RefreshAll(ctx))
	assert.False(t, allowed(gate, 21))
	source.Fail(down)
	require.ErrorIs(t, gate.Refresh(ctx), down)
	require.ErrorIs(t, gate.RefreshAll(ctx), down)

	source.Fail(&rolegate.PullError{Failure: rolegate.FailureRefused, Permanent: true, Err: rolegate.ErrRefused})
	_, err = rolegate.Open(ctx, quiet(rolegate.Config{Source: source}))
	require.ErrorIs(t, err, rolegate.ErrRefused)
	require.NoError(t, ctx.Err(), "it does not try again")
}
