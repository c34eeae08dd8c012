//go:build drill

package rolegate_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// TestSimulationOfReplicasNoticesABrokenRule breaks one rule of the replicas',
// or of their store's, at a time.
func TestSimulationOfReplicasNoticesABrokenRule(t *testing.T) {
	t.Parallel()
	if simUnderRaceDetector() {
		return // it takes ten times as long, and there is nothing more to see
	}
	for _, c := range []struct {
		name  string
		rules simGroupRules
		want  simWrong
	}{
		{"a replica takes whatever the store has", simGroupRules{simRules: simRules{each: rolegate.TakeBase}}, simWentBack},
		{"verified moves with contact", simGroupRules{simRules: simRules{each: rolegate.VerifyEarly}}, simTooYoung},
		{"ages are told by the leader's own clock", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simOwnClock{r.cache, r} }}, simTooYoung},
		{"ages are not told", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simNoClock{r.cache} }}, simTooYoung},
		{"a lease is never lost", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return &simKeepsLease{fakeCache: r.cache} }}, simManyWalk},
		{"nobody wants the lease", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simWantsNothing{r.cache} }}, simNotInGroup},
		{"nothing is published", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simKeepsToItself{r.cache} }}, simManyWalk},
		{"followers hear of nothing", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simHearsNothing{r.cache} }}, simNotInGroup},
		{"followers follow late", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simLate{r.cache} }}, simOutOfStep},
		{"followers ask nobody", simGroupRules{cache: func(r *simReplica) rolegate.SharedCache { return simAsksNobody{r.cache} }}, simShutOut},
		{"replicas that are alone never pull", simGroupRules{source: func(r *simReplica, s rolegate.Source) rolegate.Source { return simNotAlone{s, r} }}, simLateRemoval},
		{"the list expires late", simGroupRules{simRules: simRules{config: func(cfg *rolegate.Config) { cfg.Refresh.ExpireAfter = 70 * time.Minute }}}, simPastExpiry},
		{"walks remove nobody", simGroupRules{source: func(_ *simReplica, s rolegate.Source) rolegate.Source {
			return &simKeepsUsersOf{simKeepsUsers{Source: s}}
		}}, simLateRemoval},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.rules.seed, c.rules.length, c.rules.until = simMutants, 2*simDay, c.want
			g := simulateGroup(t, c.rules)
			require.Positive(t, g.wrong[c.want], "%v went unnoticed; instead: %v", c.want, g.wrong)
			t.Logf("noticed after %v, in %d requests: %s", g.ended, g.world.counts["requests"], g.told[len(g.told)-1])
		})
	}
}

// simOwnClock tells the replica's own wall clock for the shared one.
type simOwnClock struct {
	*fakeCache
	r *simReplica
}

func (c simOwnClock) Time(context.Context) (time.Time, error) { return time.Now().Add(c.r.skew), nil }

// simNoClock is a clock that stands still.
type simNoClock struct{ *fakeCache }

func (simNoClock) Time(context.Context) (time.Time, error) { return time.Unix(1e9, 0), nil }

// simKeepsLease believes that it leads for as long as it runs, once it did.
type simKeepsLease struct {
	*fakeCache
	held rolegate.Lease
}

func (c *simKeepsLease) Lease(ctx context.Context, want bool, above uint64) (rolegate.Lease, error) {
	if c.held.Held {
		return c.held, nil
	}
	lease, err := c.fakeCache.Lease(ctx, want, above)
	if lease.Held {
		c.held = lease
	}
	return lease, err
}

// Publish pretends that nobody else leads.
func (c *simKeepsLease) Publish(ctx context.Context, term uint64, from rolegate.Version, p rolegate.Publication) (rolegate.Version, error) {
	v, err := c.fakeCache.Publish(ctx, term, from, p)
	if errors.Is(err, rolegate.ErrNotLeader) {
		return rolegate.Version{Term: term, Number: from.Number + 1}, nil
	}
	return v, err
}

// simWantsNothing never leads.
type simWantsNothing struct{ *fakeCache }

func (c simWantsNothing) Lease(ctx context.Context, _ bool, above uint64) (rolegate.Lease, error) {
	return c.fakeCache.Lease(ctx, false, above)
}

// simKeepsToItself publishes nothing.
type simKeepsToItself struct{ *fakeCache }

func (simKeepsToItself) Publish(_ context.Context, term uint64, from rolegate.Version, _ rolegate.Publication) (rolegate.Version, error) {
	return rolegate.Version{Term: term, Number: from.Number + 1}, nil
}

// simHearsNothing follows nobody.
type simHearsNothing struct{ *fakeCache }

func (simHearsNothing) Follow(ctx context.Context, _ rolegate.Version) (rolegate.Update, error) {
	<-ctx.Done()
	return rolegate.Update{}, ctx.Err()
}

// simLate hears of everything a few seconds later.
type simLate struct{ *fakeCache }

func (c simLate) Follow(ctx context.Context, after rolegate.Version) (rolegate.Update, error) {
	u, err := c.fakeCache.Follow(ctx, after)
	wait(ctx, 3*time.Second)
	return u, err
}

// simAsksNobody loses what the leader is asked.
type simAsksNobody struct{ *fakeCache }

func (simAsksNobody) Ask(context.Context, []byte) error { return nil }

func (c *fakeCache) isCut() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away || c.broken != nil
}

// simNotAlone pulls only while it can reach the store.
type simNotAlone struct {
	rolegate.Source
	r *simReplica
}

func (s simNotAlone) CacheKey() string { return simMarked{}.CacheKey() }

func (s simNotAlone) Pull(ctx context.Context, after int64, yield func(rolegate.Record)) error {
	if s.r.cache.isCut() {
		return errSimCut
	}
	return s.Source.Pull(ctx, after, yield)
}

// simKeepsUsersOf is simKeepsUsers of the list of the replicas.
type simKeepsUsersOf struct{ simKeepsUsers }

func (*simKeepsUsersOf) CacheKey() string { return simMarked{}.CacheKey() }
