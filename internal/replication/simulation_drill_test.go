//go:build drill && !race

// The race detector finds nothing here, as each seed is one goroutine, and takes ten
// times as long.

package replication_test

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/replication"
)

// TestManySeeds tries 2,000 seeds, or those of ROLEGATE_SEEDS=FROM-TO.
func TestManySeeds(t *testing.T) {
	t.Parallel()
	from, to := uint64(0), uint64(2000)
	if text := os.Getenv("ROLEGATE_SEEDS"); text != "" {
		_, err := fmt.Sscanf(text, "%d-%d", &from, &to)
		require.NoError(t, err, "ROLEGATE_SEEDS is FROM-TO")
	}
	for seed := from; seed < to; seed++ {
		trySeed(t, seed, simHours)
	}
}

// TestMutants breaks each rule on purpose: the simulation must notice.
func TestMutants(t *testing.T) {
	t.Parallel()
	type breaks struct {
		name   string
		broken simBreak
		rules  simRules
		want   []string // one of them
	}
	for _, c := range []breaks{
		{"takes an older base", simBreak{back: true, event: func(_ *simReplica, e *replication.Event) bool {
			e.Own.Began.Mono -= int64(simResync)
			return true
		}}, simRules{}, []string{simBack}},
		{"the store takes an older base", simBreak{}, simRules{anyTime: true, anyHolder: true}, []string{simStoreBack}},
		{"times of a clock that was put back count", simBreak{action: func(_ *simReplica, a *replication.Action) bool {
			a.Void = ""
			return true
		}}, simRules{anyEpoch: true, noClock: true}, []string{simYoung}},
		{"puts rows on top that are older than the base", simBreak{resurge: true}, simRules{}, []string{simAdmitted}},
		{"believes to know what it has missed", simBreak{gaps: true}, simRules{}, []string{simRefused, simAdmitted, simYoung}},
		{"what others publish does not move what is due", simBreak{deaf: true}, simRules{}, []string{simTooMany + " (full)", simTooMany + " (incremental)"}},
		{"everybody gets the lease", simBreak{}, simRules{manyLeases: true, staleLease: true}, []string{simTooMany + " (full)", simTooMany + " (incremental)"}},
		{"who does not know what there is gets the lease", simBreak{}, simRules{staleLease: true}, []string{simTooMany + " (full)", simTooMany + " (incremental)"}},
		{"the lease is not renewed, nor waited for", simBreak{action: func(_ *simReplica, a *replication.Action) bool {
			a.Want = [replication.Kinds]bool{}
			return true
		}}, simRules{}, []string{simTooMany + " (full)", simTooMany + " (incremental)", simLate}},
		{"never refreshes without Redis", simBreak{event: func(_ *simReplica, e *replication.Event) bool {
			e.Failed = e.Failed && e.Type != replication.Synced
			return e.Type != replication.Due || e.Now.Mono%3 == 0
		}}, simRules{}, []string{simAdmitted, simRefused, simUnready, simLate}},
		{"publishes nothing", dropping(replication.Publish), simRules{}, []string{simTooMany + " (full)"}},
		{"appends nothing", dropping(replication.Append), simRules{}, []string{simTooMany + " (incremental)"}},
		{"takes no base", dropping(replication.Load), simRules{}, []string{simTooMany + " (full)", simUnready}},
		{"puts no rows on top", dropping(replication.Apply), simRules{}, []string{simTooMany + " (incremental)", simRefused}},
		{"measures nothing anew", dropping(replication.Shift), simRules{}, []string{simOld, simUnready}},
		{"does not measure anew when a refresh began that is under way", simBreak{begun: true}, simRules{}, []string{simBack}},
		{"tells its own wall clock for the store's", simBreak{action: func(r *simReplica, a *replication.Action) bool {
			if a.Type == replication.Append || a.Type == replication.Publish {
				a.Entry.Read += int64(r.skew) + int64(5*time.Second)
				a.Base.Began += int64(r.skew) + int64(5*time.Second)
			}
			return true
		}}, simRules{}, []string{simYoung}},
		{"takes any refresh for the one that was demanded", simBreak{event: func(_ *simReplica, e *replication.Event) bool {
			e.Demand = false
			return true
		}}, simRules{}, []string{simNotBefore}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for seed := range uint64(100) {
				g := newSim(seed, c.broken, c.rules)
				for until := time.Duration(0); until <= simHours; until += 10 * time.Minute {
					g.run(until)
					for _, want := range c.want {
						if text, ok := g.found[want]; ok {
							t.Logf("seed %d: %s", seed, text)
							return
						}
					}
				}
			}
			t.Errorf("in 100 seeds none of %q was noticed", c.want)
		})
	}
}

func dropping(what replication.ActionType) simBreak {
	return simBreak{action: func(_ *simReplica, a *replication.Action) bool { return a.Type != what }}
}
