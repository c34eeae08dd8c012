package rolegate_test

import (
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/rolegatetest"
)

// A grant that could not be understood may have been any role: whoever has one
// passes no NoRole, whatever else they have.
func TestDroppedGrantFailsNoRole(t *testing.T) {
	t.Parallel()
	source := rolegatetest.NewStatic(
		record(1, in(7, "teacher"), in(-1, "suspended")),
		record(2, in(7, "teacher"), in(0, "suspended")),
		record(3, in(7, "teacher"), in(7, "")),
		record(4, in(0, "")),
		record(5, in(7, "teacher"), in(8, "suspended")),
		record(6, in(7, "teacher")),
	)
	cache := &memoryCache{}
	gate, err := rolegate.Open(t.Context(), quiet(rolegate.Config{Source: source, Cache: cache}))
	require.NoError(t, err)
	check := func(gate *rolegate.Gate, dropped ...int64) {
		t.Helper()
		isDropped := map[int64]bool{}
		for _, id := range dropped {
			isDropped[id] = true
		}
		for name, policy := range map[string]*rolegate.Policy{
			"NoRole":                           gate.Policy(rolegate.NoRole("suspended")),
			"of another role, that nobody has": gate.Policy(rolegate.NoRole("locked")),
			"in an Either":                     gate.Policy(rolegate.Either(rolegate.NoRole("suspended"), rolegate.AnyRole("nobody's"))),
		} {
			for id := int64(1); id <= 4; id++ {
				for _, org := range []int64{0, 7, 9} {
					want := rolegate.ReasonGranted
					if isDropped[id] {
						want = rolegate.ReasonRoleMissing
					}
					assert.Equal(t, want, policy.Decide(t.Context(), rolegate.UserID(id), org).Reason, "%s: user %d in %d", name, id, org)
				}
			}
			assert.True(t, policy.Decide(t.Context(), rolegate.UserID(6), 0).Allowed(), "%s: nothing was dropped", name)
		}
		teacher := gate.Policy(rolegate.AnyRole("teacher"))
		for _, id := range []int64{1, 2, 3, 5, 6} {
			assert.True(t, teacher.Decide(t.Context(), rolegate.UserID(id), 7).Allowed(), "the other grants stand: user %d", id)
		}
	}
	check(gate, 1, 2, 3, 4)
	assert.Equal(t, 4, gate.Status().Full.Outcome.DroppedGrants)

	source.Put(record(1, in(7, "teacher")))
	require.NoError(t, gate.Refresh(t.Context()))
	assert.Equal(t, 1, gate.Status().Incremental.Outcome.Changed, "an incremental refresh that fixes a grant changes the user")
	check(gate, 2, 3, 4)
	require.NoError(t, gate.Close())

	restored := openGate(t, rolegate.Config{Source: away(), Cache: cache})
	check(restored, 2, 3, 4)
}
