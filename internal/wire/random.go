package wire

import (
	"context"
	"math/rand/v2"
	"time"
)

type randomKey struct{}

// WithRandom returns a ctx in which pauses take their jitter from random, for
// simulations that repeat. It may be called from several goroutines at once.
func WithRandom(ctx context.Context, random func() float64) context.Context {
	return context.WithValue(ctx, randomKey{}, random)
}

// Jittered returns a duration around d, from half of it to half as long again, so
// that clients that failed together do not come back together.
func Jittered(ctx context.Context, d time.Duration) time.Duration {
	random, ok := ctx.Value(randomKey{}).(func() float64)
	if !ok {
		random = rand.Float64
	}
	return d/2 + time.Duration(random()*float64(d))
}
