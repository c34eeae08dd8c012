package replication_test

import (
	"os"
	"runtime/debug"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/replication"
)

// The simulation makes much garbage and keeps little.
func TestMain(m *testing.M) {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(128 << 20)
	os.Exit(m.Run())
}

const simHours = 12 * time.Hour

// TestSimulation lets two to seven replicas run beside a marketplace that moves,
// lags and throttles, and a Redis to which everything happens that can, and checks
// every answer. With the tag drill there are 2,000 seeds of twelve hours.
func TestSimulation(t *testing.T) {
	t.Parallel()
	for seed := range uint64(36) {
		trySeed(t, seed, simHours/4)
	}
}

func trySeed(t *testing.T, seed uint64, length time.Duration) {
	t.Helper()
	t.Run("seed "+strconv.FormatUint(seed, 10), func(t *testing.T) {
		t.Parallel()
		g := newSim(seed, simBreak{}, simRules{})
		g.run(length)
		assert.Empty(t, g.result())
	})
}

// All of what can happen does, in the seeds of every run.
func TestSimulationSeesEverything(t *testing.T) {
	t.Parallel()
	count := map[string]int{}
	for seed := range uint64(4) {
		g := newSim(seed, simBreak{}, simRules{})
		g.run(simHours)
		for what, n := range g.count {
			count[what] += n
		}
	}
	for _, what := range []string{
		"bases written", "bases confirmed", "loads", "demands", "demands met by others", "helped", "shifts",
		"full refreshes", "incremental refreshes",
	} {
		assert.Positive(t, count[what], what)
	}
}

func TestASeedRepeats(t *testing.T) {
	t.Parallel()
	run := func(seed uint64) uint64 {
		g := newSim(seed, simBreak{}, simRules{})
		g.run(time.Hour)
		return g.digest
	}
	first := run(1)
	for range 10 {
		require.Equal(t, first, run(1), "to the last event")
	}
	assert.NotEqual(t, first, run(2))
}

// What the store has lost is published again within seconds, and nobody refreshes for
// that.
func TestAnEmptiedStoreIsFilled(t *testing.T) {
	t.Parallel()
	for seed := range uint64(20) {
		g := newSim(seed, simBreak{}, simRules{})
		g.run(50 * time.Second) // trouble comes later
		require.NotZero(t, g.store.data.base, "seed %d", seed)
		before := g.count["full refreshes"]
		g.store.data = simData{}
		g.run(56 * time.Second)
		under := slices.ContainsFunc(g.replicas, func(r *simReplica) bool { return r.publishing > 0 }) // a list may take a minute
		assert.True(t, under || g.store.data.base != (replication.Base{}), "seed %d", seed)
		assert.Equal(t, before, g.count["full refreshes"], "seed %d", seed)
	}
}
