package benchmarks

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// BenchmarkPeers compares a decision with those of other libraries.
func BenchmarkPeers(b *testing.B) {
	sizes := []int{1000, 10_000, 100_000}
	if testing.Short() {
		sizes = sizes[:1]
	}
	for _, peer := range peers {
		for _, n := range sizes {
			b.Run(peer.name+"/"+users(n), func(b *testing.B) {
				w := newWorkload(n)
				p := policy(open(b, w))
				decide, err := peer.load(w)
				require.NoError(b, err)
				qs := w.questions(sized(1<<16, 1<<10))
				if peer.slow {
					qs = qs[:sized(1<<11, 1<<6)]
				}
				requireGate(b, p, qs)
				asks := named(qs)
				requirePeer(b, peer, decide, asks)
				// Long enough for the collections that a peer's garbage causes.
				c := turns(200*time.Millisecond, 11)
				if n == 100_000 {
					c = turns(time.Second, 5)
				}
				c.collect, c.rest = true, c.slice/10
				for b.Loop() {
					o := c.run(asked(decide, asks), asked(gateDecider(p), asks))
					report(b, o.ratio(0, 1), "×rolegate")
					report(b, o.ns(0), "ns/decision")
					report(b, o.ns(1), "rolegate-ns/decision")
				}
			})
		}
	}
}

// requirePeer requires that a peer answers every question right.
func requirePeer(tb testing.TB, p peer, decide decider, asks []namedQuestion) {
	tb.Helper()
	for k := range asks {
		q := &asks[k]
		if decide(q) != q.allowed {
			require.Failf(tb, "a wrong answer", "%s, asked about user %d in %d, says %t", p.name, q.user, q.org, !q.allowed)
		}
	}
}
