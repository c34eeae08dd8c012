package index

import (
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A block of these tests begins with its length, and may have rubbish behind it.
func block(size int, fill byte) []byte {
	b := slices.Repeat([]byte{fill}, size)
	binary.LittleEndian.PutUint32(b, uint32(size))
	return b
}

func sizeOf(b []byte) int { return int(binary.LittleEndian.Uint32(b)) }

// requireBlocks checks that a table has these blocks, by bucket, and that it knows
// what they take.
func requireBlocks(t *testing.T, b *blocks, want map[int][]byte) {
	t.Helper()
	live, bytes := 0, 0
	for bucket, address := range b.dir {
		if address == 0 {
			require.Empty(t, want[bucket])
			continue
		}
		got := b.at(address)
		require.Equal(t, want[bucket], got[:sizeOf(got)], "bucket %d", bucket)
		live += (sizeOf(got) + 7) / 8 * 8
	}
	for i, segment := range b.segments {
		require.Equal(t, i == 0, segment == nil)
		require.Zero(t, len(segment)%8)
		require.LessOrEqual(t, cap(segment)-len(segment), len(segment)/32, "hardly any place is left over")
		bytes += len(segment)
	}
	require.Equal(t, live, b.live)
	require.Equal(t, bytes, b.live+b.dead, "every byte of a segment is that of a block, or was")
}

func TestBlocksFollowChanges(t *testing.T) {
	t.Parallel()
	for _, largest := range []int{12, 3_000, 100_000} {
		t.Run(fmt.Sprint("blocks of up to ", largest), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(1, uint64(largest)))
			b := blocks{dir: make([]uint32, 50), segments: make([][]byte, 1)}
			has, compacted, before := map[int][]byte{}, 0, 0
			for step := range 300 {
				old, had := b, make(map[int][]byte, len(has))
				for bucket, is := range has {
					had[bucket] = is
				}
				var changes []blockChange
				for _, bucket := range random.Perm(50)[:1+random.IntN(5)] {
					has[bucket] = nil
					if random.IntN(5) > 0 {
						has[bucket] = block(4+random.IntN(largest-3), byte(step))
					}
					changes = append(changes, blockChange{bucket, has[bucket]})
				}
				var err error
				b, err = b.with(changes, sizeOf)
				require.NoError(t, err)
				requireBlocks(t, &b, has)
				requireBlocks(t, &old, had)
				require.LessOrEqual(t, b.dead, b.live/3+64<<10, "what was replaced takes no more than that")
				if b.dead < before {
					compacted++
					require.Zero(t, b.dead)
				}
				before = b.dead
			}
			assert.Equal(t, largest > 12, compacted > 0)
		})
	}
}

// Small changes share a segment until it is no longer small.
func TestSmallChangesShareASegment(t *testing.T) {
	t.Parallel()
	b, has := blocks{dir: make([]uint32, 300), segments: make([][]byte, 1)}, map[int][]byte{}
	put := func(bucket, size int) {
		t.Helper()
		has[bucket] = block(size, byte(bucket))
		var err error
		b, err = b.with([]blockChange{{bucket, has[bucket]}}, sizeOf)
		require.NoError(t, err)
		requireBlocks(t, &b, has)
	}
	for i := range 8 {
		put(i, 8<<10-8*(i/7)) // the last is one unit shorter
		require.Len(t, b.segments, 2)
	}
	require.Len(t, b.segments[1], 64<<10-8)
	put(8, 8)
	require.Len(t, b.segments, 2, "it was small")
	require.Len(t, b.segments[1], 64<<10)
	put(9, 8)
	require.Len(t, b.segments, 3, "it is not")
	put(10, 4<<20)
	require.Len(t, b.segments, 4, "more than a segment holds lies in one of its own")
	put(11, 8)
	require.Len(t, b.segments, 5)
}

func TestBlockWriter(t *testing.T) {
	t.Parallel()
	const mib = 1 << 20
	for _, c := range []struct {
		name     string
		expect   int
		sizes    []int
		segments []int // how long they become
		first    int   // for how much there is place when the first block is there
	}{
		{"nothing", 0, nil, nil, 0},
		{"one block", 0, []int{5}, []int{8}, 8},
		{"as expected", 24, []int{8, 16}, []int{24}, 24},
		{"more than expected", 8, []int{8, 16}, []int{24}, 8},
		{"two that fill a segment", 0, []int{2 * mib, 2 * mib}, []int{4 * mib}, 2 * mib},
		{"two that are too much", 0, []int{2 * mib, 2*mib + 8}, []int{2 * mib, 2*mib + 8}, 2 * mib},
		{"one that is too large for a segment", 0, []int{8, 5 * mib, 8}, []int{8, 5 * mib, 8}, 8},
		{"more than a segment is expected", 6 * mib, []int{3 * mib, 3 * mib}, []int{3 * mib, 3 * mib}, 4 * mib},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			w := newBlockWriter(c.expect)
			var addresses []uint32
			for i, size := range c.sizes {
				address, n, err := w.add(block(max(size, 4), byte(i)))
				require.NoError(t, err)
				require.Equal(t, (size+7)/8*8, n)
				addresses = append(addresses, address)
				if i == 0 {
					assert.GreaterOrEqual(t, cap(w.open), c.first)
					assert.Less(t, cap(w.open), 2*c.first+16)
				}
			}
			if c.expect > segmentSize {
				assert.Equal(t, len(w.open), cap(w.open), "no more is expected")
			}
			w.flush()
			b := blocks{segments: w.segments}
			var lengths []int
			for _, s := range w.segments[1:] {
				lengths = append(lengths, len(s))
			}
			assert.Equal(t, c.segments, lengths)
			for i, address := range addresses {
				require.NotZero(t, address)
				require.Equal(t, block(max(c.sizes[i], 4), byte(i)), b.at(address)[:c.sizes[i]])
			}
		})
	}
}

// A table never has more segments than addresses can tell apart, and is written
// anew long before.
func TestTooManySegments(t *testing.T) {
	t.Parallel()
	large := make([]byte, 64<<10) // none that is written anew
	copy(large, block(16, 1))
	for _, c := range []struct {
		name     string
		segments int
		want     int
	}{
		{"not yet half of them", maxSegments/2 - 1, maxSegments / 2},
		{"half of them", maxSegments / 2, 2},
	} {
		b := blocks{dir: []uint32{1 << offsetBits, 0}, segments: slices.Repeat([][]byte{large}, c.segments), live: 16}
		next, err := b.with([]blockChange{{1, block(24, 2)}}, sizeOf)
		require.NoError(t, err)
		assert.Len(t, next.segments, c.want, c.name)
		assert.Equal(t, block(16, 1), next.at(next.dir[0])[:16])
		assert.Equal(t, block(24, 2), next.at(next.dir[1])[:24])
		assert.Equal(t, 16+24, next.live)
	}
	w := &blockWriter{segments: make([][]byte, maxSegments-1)}
	_, _, err := w.add(block(8, 1))
	require.NoError(t, err)
	w.flush()
	_, _, err = w.add(block(8, 1))
	require.ErrorIs(t, err, ErrTooLarge)
	_, err = (&blocks{dir: make([]uint32, 1), segments: slices.Repeat([][]byte{large}, maxSegments)}).with([]blockChange{{0, block(8, 1)}}, sizeOf)
	require.ErrorIs(t, err, ErrTooLarge)
}

// Every record comes once, in the bucket of its hash and in the order in which the
// records came, and a table that is to be like another has as many buckets.
func TestSorter(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name            string
		records, length int
		buckets, want   int
	}{
		{"none", 0, 8, 0, 1},
		{"one", 1, 8, 0, 1},
		{"seven", 7, 8, 0, 2},
		{"eight", 8, 8, 0, 3},
		{"as many as one partition holds", 4096, 8, 0, 1025},
		{"one more", 4097, 8, 0, (1024 + 64) / 64 * 64},
		{"many", 20_000, 8, 0, (5000 + 64) / 64 * 64},
		{"long records", 100, 5000, 0, 26},
		{"like another", 400, 8, 100, 100},
		{"like another that was half full", 201, 8, 100, 100},
		{"like another that was fuller", 200, 8, 100, 51},
		{"like another that is nearly too small", 599, 8, 100, 100},
		{"like another that is too small", 600, 8, 100, 151},
		{"in partitions, like another", 5000, 8, 1280, 1280},
		{"in partitions, like one that had none", 5000, 8, 1281, (1250 + 64) / 64 * 64},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			hash := func(r []byte) uint64 { return hashID(int64(binary.LittleEndian.Uint64(r)), 1) }
			s := newSorter(hash)
			for i := range c.records {
				record := make([]byte, c.length)
				binary.LittleEndian.PutUint64(record, uint64(i/2)) // each hash twice
				if c.length > 8 {
					record[c.length-1] = byte(i)
				}
				s.add(record)
				clear(record) // it has a copy
			}
			seen := 0
			b, err := s.finish(c.buckets, func(dst []byte, records [][]byte) ([]byte, error) {
				last := map[uint64]byte{}
				dst = append(dst, 0, 0, 0, 0)
				for _, r := range records {
					require.Len(t, r, c.length)
					dst = append(dst, r[:8]...)
					if id := binary.LittleEndian.Uint64(r); c.length > 8 {
						before, again := last[id]
						require.True(t, !again || r[c.length-1] == before+1)
						last[id] = r[c.length-1]
					}
				}
				binary.LittleEndian.PutUint32(dst, uint32(len(dst)))
				seen += len(records)
				return dst, nil
			})
			require.NoError(t, err)
			assert.Equal(t, c.records, seen)
			require.Equal(t, c.want, len(b.dir))
			has := map[int][]byte{}
			for i := range c.records {
				var record [8]byte
				binary.LittleEndian.PutUint64(record[:], uint64(i/2))
				bucket := home(hash(record[:]), len(b.dir))
				if has[bucket] == nil {
					has[bucket] = make([]byte, 4)
				}
				has[bucket] = append(has[bucket], record[:]...)
			}
			for _, is := range has {
				binary.LittleEndian.PutUint32(is, uint32(len(is)))
			}
			requireBlocks(t, &b, has)
		})
	}
}

// What a partition holds takes hardly more place than its records.
func TestPartitionsWasteLittle(t *testing.T) {
	t.Parallel()
	var p partition
	place := func() (n int) {
		for _, chunk := range p.chunks {
			n += cap(chunk)
		}
		return n
	}
	for n := range 40_000 {
		p.add(make([]byte, 100))
		require.Equal(t, 100*(n+1), p.size)
		if n%1000 == 0 {
			require.LessOrEqual(t, place(), p.size+p.size/50+p.size/16+1<<10)
		}
	}
	require.Less(t, len(p.chunks), 150)
	p.add(make([]byte, 1<<20)) // longer than a chunk
	n := 0
	p.each(func(r []byte) {
		n++
		require.True(t, len(r) == 100 || len(r) == 1<<20 && n == 40_001)
		require.Equal(t, len(r), cap(r), "who appends to it writes over no other")
	})
	require.Equal(t, 40_001, n)
}

// Ids are often consecutive, or differ in a few bits: no bucket gets many of them,
// whatever the seed.
func TestIDsSpread(t *testing.T) {
	t.Parallel()
	random := rand.New(rand.NewPCG(1, 3))
	for range 20 {
		seed := random.Uint64()
		for _, stride := range []int64{1, 2, 1000, 1 << 20, 1 << 32, 1 << 48} {
			const buckets = 1000
			var in [buckets]int
			for i := range int64(perBucket * buckets) {
				in[home(hashID(1+i*stride, seed), buckets)]++
			}
			require.Less(t, slices.Max(in[:]), 8*perBucket, "seed %x, stride %d", seed, stride)
		}
	}
}
