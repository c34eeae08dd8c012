package rolegate_test

import (
	"context"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A crossingSource has a full refresh wait for an increment, after it has seen role
// codes that are new, so that each brings codes of which the other knows
// nothing.
type crossingSource struct {
	list    []rolegate.Record // the first full refresh sees the first user alone
	news    []rolegate.Record // what increments see from then on
	fulls   atomic.Int32
	waiting chan struct{} // closed when the second full refresh waits
	goOn    chan struct{} // closed to let it go on
}

func (s *crossingSource) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	if after > 0 {
		if s.fulls.Load() > 1 { // none right behind the first full refresh
			for _, r := range s.news {
				yield(r)
			}
		}
		return nil
	}
	if s.fulls.Add(1) == 1 {
		yield(s.list[0])
		return nil
	}
	for _, r := range s.list {
		yield(r)
	}
	if s.fulls.Load() == 2 {
		close(s.waiting)
		<-s.goOn
	}
	return nil
}

// Two pulls that overlap number the same and other new codes at once: each user
// keeps their own roles, in the order in which the index has them.
func TestOverlappingPullsNumberCodes(t *testing.T) {
	t.Parallel()
	grants := func(codes ...string) (gs []rolegate.Grant) {
		for _, code := range codes {
			gs = append(gs, in(7, code), in(8, code))
		}
		return gs
	}
	both, mine, theirs := []string{"both-1", "both-2", "both-3"}, []string{"full-1", "full-2"}, []string{"news-1", "news-2", "news-3"}
	source := &crossingSource{
		list: []rolegate.Record{
			{UserID: 1, Sequence: 1, Grants: grants("known")},
			{UserID: 2, Sequence: 1, Grants: grants("known", "both-3", "full-1", "both-2")},
			{UserID: 3, Sequence: 1, Grants: grants("full-2", "both-1")},
			{UserID: 4, Sequence: 1, Account: "with a name", Grants: grants("full-1", "full-2", "both-1", "both-2", "both-3", "known")},
			{UserID: 5, Sequence: 1},
		},
		news: []rolegate.Record{
			{UserID: 6, Sequence: 2, Grants: grants("news-1", "both-1", "news-2", "both-2")},
			{UserID: 7, Sequence: 2, Grants: grants("both-3", "known", "news-3")},
		},
		waiting: make(chan struct{}), goOn: make(chan struct{}),
	}
	gate := openGate(t, rolegate.Config{Source: source})
	refreshed := make(chan error)
	go func() { refreshed <- gate.RefreshAll(t.Context()) }()
	<-source.waiting
	require.NoError(t, gate.Refresh(t.Context()))
	require.True(t, allowed(gate, 7) && !allowed(gate, 2), "the increment was first")
	close(source.goOn)
	require.NoError(t, <-refreshed)

	for _, r := range slices.Concat(source.list, source.news) {
		d := gate.Decide(t.Context(), rolegate.UserID(r.UserID))
		assert.ElementsMatch(t, r.Grants, d.User.Grants(), "user %d", r.UserID)
		for _, code := range slices.Concat([]string{"known"}, both, mine, theirs) {
			for _, org := range []int64{7, 8} {
				has := slices.Contains(r.Grants, in(org, code))
				assert.Equal(t, has, gate.Policy(rolegate.AnyRole(code)).Decide(t.Context(), rolegate.UserID(r.UserID), org).Allowed(), fmt.Sprint(r.UserID, code))
			}
		}
	}
	source.list = slices.Concat(source.list, source.news)
	require.NoError(t, gate.RefreshAll(t.Context()))
	o := gate.Status().Full.Outcome
	assert.Zero(t, o.Added+o.Removed+o.Changed, "a full refresh that numbers nothing anew finds the same")
}
