//go:build drill

package rolegate_test

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// TestSimulationOfAWeek is TestSimulation for a week, and for a day over the
// wire.
func TestSimulationOfAWeek(t *testing.T) {
	t.Parallel()
	week, day := simWeek, simDay
	if simUnderRaceDetector() { // it takes ten times as long, and JSON longer still
		week, day = simDay, 2*time.Hour
	}
	for _, seed := range simSeeds(t) {
		t.Run(fmt.Sprintf("%v in memory/ROLEGATE_SEED=%d", week, seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, simRules{seed: seed, length: week}).requireRight(t)
		})
		t.Run(fmt.Sprintf("%v over the wire/ROLEGATE_SEED=%d", day, seed), func(t *testing.T) {
			t.Parallel()
			simulate(t, simRules{seed: seed, length: day, wire: true}).requireRight(t)
		})
	}
}

// simSeeds are those to simulate: always the same, that of ROLEGATE_SEED, or one
// that nobody has tried if it is "new".
func simSeeds(t *testing.T) []uint64 {
	t.Helper()
	switch text := os.Getenv("ROLEGATE_SEED"); text {
	case "":
		return []uint64{1, 2}
	case "new":
		return []uint64{rand.Uint64()}
	default:
		seed, err := strconv.ParseUint(text, 10, 64)
		require.NoError(t, err, "ROLEGATE_SEED is a number, or new")
		return []uint64{seed}
	}
}
