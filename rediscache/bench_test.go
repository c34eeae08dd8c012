package rediscache_test

import (
	"io"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
)

// A change as a grant makes it, the index of 100,000 users, and that of a
// million.
func BenchmarkPublish(b *testing.B) {
	for _, k := range everywhere[:min(2, len(everywhere))] {
		b.Run("redis="+k.name+"/what=change", func(b *testing.B) {
			s := k.start(b)
			c := s.replica(b)
			term := lead(b, c, 0)
			v := publish(b, c, term, rolegate.Version{}, "", "whole")
			b.ReportAllocs()
			n := 0
			for b.Loop() {
				if n++; n%100 == 0 {
					lead(b, c, 0)
				}
				v = publish(b, c, term, v, "a change of a hundred bytes or so, as it is when somebody becomes a teacher of another class .......", "whole")
			}
		})
		for name, size := range map[string]int{"3MB": 3 << 20, "30MB": 30 << 20} {
			b.Run("redis="+k.name+"/what=whole/size="+name, func(b *testing.B) {
				s := k.start(b)
				c := s.replica(b)
				term := lead(b, c, 0)
				stored := users(size)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					require.Equal(b, term, lead(b, c, 0))
					_, err := c.Publish(soon(b), term, rolegate.Version{}, large(stored))
					require.NoError(b, err)
				}
				b.StopTimer()
				bytes := 0
				for _, chunk := range s.dump(b, s.snapshot(b, c)).hash {
					bytes += len(chunk)
				}
				b.ReportMetric(float64(bytes), "bytes-in-redis")
			})
		}
	}
}

func BenchmarkFollow(b *testing.B) {
	for _, k := range everywhere[:min(2, len(everywhere))] {
		b.Run("redis="+k.name+"/what=change", func(b *testing.B) {
			s := k.start(b)
			c, d := s.replica(b), s.replica(b)
			term := lead(b, c, 0)
			first := publish(b, c, term, rolegate.Version{}, "", "whole")
			v := first
			for i := range 1000 {
				if i%100 == 0 {
					lead(b, c, 0)
				}
				v = publish(b, c, term, v, "a change of a hundred bytes or so, as it is when somebody becomes a teacher of another class .......", "whole")
			}
			b.ReportAllocs()
			at := first
			for b.Loop() {
				if at == v {
					at = first
				}
				at, _, _ = follow(b, d, at)
			}
		})
		for name, size := range map[string]int{"3MB": 3 << 20, "30MB": 30 << 20} {
			b.Run("redis="+k.name+"/what=whole/size="+name, func(b *testing.B) {
				s := k.start(b)
				c := s.replica(b)
				_, err := c.Publish(soon(b), lead(b, c, 0), rolegate.Version{}, large(users(size)))
				require.NoError(b, err)
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					r, err := c.Load(soon(b))
					require.NoError(b, err)
					n, err := io.Copy(io.Discard, r)
					require.NoError(b, err)
					require.EqualValues(b, size, n)
					require.NoError(b, r.Close())
				}
			})
		}
	}
}

// users is about what a stored index is: half of it can be left out.
func users(size int) []byte {
	b := index(size)
	for i := range b {
		b[i] &= 15
	}
	return b
}
