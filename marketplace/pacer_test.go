package marketplace

import (
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

// How many requests a second a pacer allows, by what came before.
func TestPacerRate(t *testing.T) {
	t.Parallel()
	accepted := func(n int) func(*pacer) {
		return func(p *pacer) {
			for range n {
				p.accepted()
			}
		}
	}
	after := func(d time.Duration) func(*pacer) { return func(*pacer) { time.Sleep(d) } }
	throttled := func(wait time.Duration) func(*pacer) { return func(p *pacer) { p.throttled(wait) } }
	inf := math.Inf(1)
	for _, c := range []struct {
		name    string
		ceiling float64 // 0 for none
		story   []func(*pacer)
		want    float64
	}{
		{"unlimited", 0, []func(*pacer){accepted(1000)}, inf},
		{"as wanted", 5, []func(*pacer){accepted(1000)}, 5},
		{"nothing is known", 0, []func(*pacer){throttled(0)}, 1},
		{"nine of ten that were accepted", 0, []func(*pacer){accepted(10), throttled(0)}, 9},
		{"in the last second", 0, []func(*pacer){accepted(5), after(time.Second), accepted(10), throttled(0)}, 9},
		{"nearly a second ago", 0, []func(*pacer){accepted(5), after(time.Second - 1), accepted(5), throttled(0)}, 9},
		{"below what was wanted", 20, []func(*pacer){accepted(10), throttled(0)}, 9},
		{"more than was wanted", 5, []func(*pacer){accepted(10), throttled(0)}, 4.5},
		{"nothing accepted of what was wanted", 5, []func(*pacer){throttled(0)}, 4.5},

		{"again at once, and something got through", 0, []func(*pacer){accepted(10), throttled(0), after(time.Second), accepted(1), throttled(0)}, 4.55},
		{"again at once, and nothing got through", 0, []func(*pacer){accepted(10), throttled(0), after(time.Second), throttled(0)}, 9.1},
		{"again before the wait is over", 0, []func(*pacer){accepted(10), throttled(10 * time.Second), after(time.Second), accepted(1), throttled(0)}, 4.5},
		{"again later, and something got through", 0, []func(*pacer){accepted(10), throttled(0), after(3 * time.Second), accepted(3), throttled(0)}, 2.7},
		{"again later, and nothing got through", 0, []func(*pacer){accepted(10), throttled(0), after(3 * time.Second), throttled(0)}, 8.37},
		{"again and again", 0, []func(*pacer){throttled(0), accepted(1), throttled(0), accepted(1), throttled(0), accepted(1), throttled(0), accepted(1), throttled(0)}, 0.1},

		{"a tenth more each second", 0, []func(*pacer){accepted(10), throttled(0), after(10 * time.Second)}, 10},
		{"or a two-hundredth", 0, []func(*pacer){accepted(100), throttled(0), after(10 * time.Second)}, 94.5},
		{"from the end of the wait", 0, []func(*pacer){accepted(10), throttled(10 * time.Second), after(20 * time.Second)}, 10},
		{"not before", 0, []func(*pacer){accepted(10), throttled(10 * time.Second), after(9 * time.Second)}, 9},
		{"up to what is wanted", 10, []func(*pacer){accepted(10), throttled(0), after(time.Minute)}, 10},
		{"nearly ten minutes", 0, []func(*pacer){accepted(10), throttled(0), after(10*time.Minute - time.Second)}, 68.9},
		{"forgotten after ten minutes", 0, []func(*pacer){accepted(10), throttled(0), after(10 * time.Minute)}, inf},
		{"and what was wanted is kept", 5, []func(*pacer){accepted(10), throttled(0), after(10 * time.Minute)}, 5},
		{"and then nothing is known", 0, []func(*pacer){accepted(10), throttled(0), after(10 * time.Minute), throttled(0)}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				p := newPacer(c.ceiling)
				for _, step := range c.story {
					step(p)
				}
				p.recover(time.Now())
				if got := float64(p.limiter.Limit()); c.want == inf {
					assert.Greater(t, got, 1e300)
				} else {
					assert.InDelta(t, c.want, got, 1e-6)
				}
			})
		})
	}
}
