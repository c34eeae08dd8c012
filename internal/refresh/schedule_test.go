package refresh_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"pgregory.net/rapid"

	"github.com/rolegate/rolegate/internal/refresh"
)

func TestBackOff(t *testing.T) {
	t.Parallel()
	b := refresh.BackOff{First: time.Second, Longest: 15 * time.Second}
	var waits []time.Duration
	for n := range 8 {
		waits = append(waits, b.After(n)/time.Second)
	}
	assert.Equal(t, []time.Duration{1, 1, 2, 4, 8, 15, 15, 15}, waits)
}

func TestJitterStaysWithinItsPart(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		d := time.Duration(rapid.Int64Range(0, int64(100*time.Hour)).Draw(t, "d"))
		part := rapid.Float64Range(0, 1).Draw(t, "part")
		random := rapid.Float64Range(0, 0.999).Draw(t, "random")
		got := refresh.Jitter(d, part, func() float64 { return random })
		assert.InDelta(t, float64(d), float64(got), part*float64(d)+1)
	})
	assert.Equal(t, 9*time.Second, refresh.Jitter(10*time.Second, 0.1, func() float64 { return 0 }))
	assert.Equal(t, 10*time.Second, refresh.Jitter(10*time.Second, 0, nil))
}
