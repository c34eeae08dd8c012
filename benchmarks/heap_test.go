package benchmarks

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// BenchmarkHeap measures what the index takes of the heap for each user: ids
// and grants alone beside a Go map of the same, and with everything that the
// list says of a user, findable by their account.
func BenchmarkHeap(b *testing.B) {
	// A Go map doubles when it is full: it is nearly so with the first of these
	// sizes, and has just done so with the second.
	for _, n := range []int{sized(900_000, 9_000), sized(1_000_000, 10_000)} {
		b.Run("grants/"+users(n), func(b *testing.B) {
			w := newWorkload(n)
			for b.Loop() {
				index := heapOf(b, w)
				before := liveHeap()
				m := newRawMap(w)
				raw := float64(liveHeap()-before) / float64(n)
				keepAlive(m)
				report(b, index/raw, "×map")
				report(b, index, "B/user")
				report(b, raw, "map-B/user")
			}
		})
	}
	n := sized(1_000_000, 10_000)
	b.Run("profiles/"+users(n), func(b *testing.B) {
		w := newWorkload(n)
		w.profiles = true
		text := 0
		for i := range n {
			text += w.profile(i).bytes()
		}
		for b.Loop() {
			index := heapOf(b, w, func(c *rolegate.Config) {
				c.Aliases = []rolegate.Kind{rolegate.KindAccount}
				c.Keep = rolegate.Keep{Account: true, Email: true, ThirdAccount: true, ThirdUserID: true, Nickname: true, ThirdUserName: true}
			})
			strings := float64(text) / float64(n)
			report(b, index-strings, "B/user-beyond-strings")
			report(b, index, "B/user")
			report(b, strings, "strings-B/user")
		}
	})
}

// heapOf is how many bytes for each user an open gate takes.
func heapOf(b *testing.B, w *workload, edit ...func(*rolegate.Config)) float64 {
	before := liveHeap()
	gate, err := openGate(w, edit...)
	require.NoError(b, err)
	with := liveHeap()
	require.Equal(b, w.size, gate.Status().Users)
	require.NoError(b, gate.Close())
	return float64(with-before) / float64(w.size)
}
