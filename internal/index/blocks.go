package index

import (
	"encoding/binary"
	"math/bits"
	"slices"
)

// This file is the storage below the index: hash tables of byte blocks. Users
// lie in one, each kind of alias in another. docs/index.md has what was
// measured, and why it is made so.
//
// A bucket of the table is one contiguous block of bytes: the user that a request
// asks about is found with one look into the directory and one into a block. A new
// generation writes the blocks of the buckets that changed into a segment of
// its own, and shares all others. Nothing here contains a Go pointer but the
// list of segments, so that the garbage collector does not walk the users.

// blocks is a hash table of blocks. It is immutable.
type blocks struct {
	dir      []uint32 // for each bucket the address of its block, 0 if it is empty
	segments [][]byte

	live, dead int // bytes of the blocks in dir, and of those that were replaced
}

// An address is the number of a segment and, counted in units, where in it a
// block begins. Segment 0 is none, so that no block has address 0.
const (
	unit        = 8
	offsetBits  = 19
	segmentSize = unit << offsetBits // 4 MiB
	maxSegments = 1 << (32 - offsetBits)
)

// perBucket is how many records a bucket has on average when a table is made.
const perBucket = 4

// at returns the block at an address, and what lies behind it.
func (b *blocks) at(address uint32) []byte {
	return b.segments[address>>offsetBits][address&(1<<offsetBits-1)*unit:]
}

// sharedWith returns which segments are the very same in both tables.
func (b *blocks) sharedWith(other *blocks) []bool {
	shared := make([]bool, max(1, len(b.segments)))
	shared[0] = true // of empty buckets
	for i := 1; i < min(len(b.segments), len(other.segments)); i++ {
		shared[i] = &b.segments[i][0] == &other.segments[i][0]
	}
	return shared
}

// bucket returns the bucket for a hash. There must be one.
func (b *blocks) bucket(hash uint64) int { return home(hash, len(b.dir)) }

// hashID spreads ids, which are often consecutive, over 64 bits.
func hashID(id int64, seed uint64) uint64 {
	high, low := bits.Mul64(uint64(id)^seed, 0x9e3779b97f4a7c15)
	return high ^ low
}

// home is the bucket of n for a hash. It grows with the hash.
func home(hash uint64, n int) int {
	high, _ := bits.Mul64(hash, uint64(n))
	return int(high)
}

// A blockWriter writes blocks into segments.
type blockWriter struct {
	segments [][]byte
	open     []byte // the segment that is being written
	expect   int    // how many bytes are still to come; 0 or less if that is not known
}

// newBlockWriter makes a writer of blocks that take so many bytes, 0 if that is
// not known.
func newBlockWriter(expect int) *blockWriter {
	return &blockWriter{segments: make([][]byte, 1), expect: expect}
}

// add writes a block and returns its address, and how many bytes it takes.
func (w *blockWriter) add(block []byte) (address uint32, size int, err error) {
	if len(w.open)+len(block) > segmentSize {
		w.flush()
	}
	if len(w.segments) == maxSegments {
		return 0, 0, ErrTooLarge
	}
	if len(w.open) == 0 {
		w.begin()
	}
	address = uint32(len(w.segments))<<offsetBits | uint32(len(w.open)/unit)
	from := len(w.open)
	w.open = append(w.open, block...)
	w.open = append(w.open, padding[:roundUp(len(w.open))-len(w.open)]...)
	w.expect -= len(w.open) - from
	return address, len(w.open) - from, nil
}

// begin makes room for a segment.
func (w *blockWriter) begin() {
	switch {
	case w.expect > 0:
		w.open = make([]byte, 0, min(w.expect, segmentSize))
	case len(w.segments) > 1: // after a full one, another full one is likely
		w.open = make([]byte, 0, segmentSize)
	}
}

var padding [unit]byte

// flush ends the open segment.
func (w *blockWriter) flush() {
	if len(w.open) == 0 {
		return
	}
	if spare := cap(w.open) - len(w.open); spare > len(w.open)/32 {
		w.open = append(make([]byte, 0, len(w.open)), w.open...)
	}
	w.segments = append(w.segments, w.open)
	w.open = nil
}

// smallSegment is up to which size the last segment is written anew, with what
// is added, so that many small changes do not make many segments.
const smallSegment = 64 << 10

// A blockChange is the new block of a bucket, empty for none.
type blockChange struct {
	bucket int
	block  []byte
}

// with returns the table with these blocks in place of those of their buckets.
// size tells how long a block is.
func (b *blocks) with(changes []blockChange, size func(block []byte) int) (blocks, error) {
	next := blocks{dir: slices.Clone(b.dir), live: b.live, dead: b.dead}
	total := 0
	for _, c := range changes {
		total += roundUp(len(c.block))
	}
	w := newBlockWriter(total)
	w.segments = slices.Clone(b.segments)
	if last := len(w.segments) - 1; last > 0 && len(w.segments[last]) < smallSegment {
		// Written anew with more behind it, so that addresses into it stay right.
		w.open = append(make([]byte, 0, min(len(w.segments[last])+total, segmentSize)), w.segments[last]...)
		w.segments = w.segments[:last]
	}
	for _, c := range changes {
		if old := next.dir[c.bucket]; old != 0 {
			n := roundUp(size(b.at(old)))
			next.live -= n
			next.dead += n
			next.dir[c.bucket] = 0
		}
		if len(c.block) == 0 {
			continue
		}
		address, n, err := w.add(c.block)
		if err != nil {
			return blocks{}, err
		}
		next.dir[c.bucket] = address
		next.live += n
	}
	w.flush()
	next.segments = w.segments
	if next.dead > next.live/3+smallSegment || len(next.segments) > maxSegments/2 {
		return next.compact(size)
	}
	return next, nil
}

// compact returns the table without the blocks that were replaced.
func (b *blocks) compact(size func(block []byte) int) (blocks, error) {
	next := blocks{dir: make([]uint32, len(b.dir))}
	w := newBlockWriter(b.live)
	for i, address := range b.dir {
		if address == 0 {
			continue
		}
		block := b.at(address)
		moved, n, err := w.add(block[:size(block)])
		if err != nil {
			return blocks{}, err
		}
		next.dir[i] = moved
		next.live += n
	}
	w.flush()
	next.segments = w.segments
	return next, nil
}

func roundUp(n int) int { return (n + unit - 1) &^ (unit - 1) }

// A sorter makes a table of blocks from records that come in any order. It
// holds them in partitions by their hash, each of which it sorts and lets go
// before the next: so it needs little more than the records and the table. Only
// one goroutine uses it.
type sorter struct {
	hash  func(record []byte) uint64
	parts []partition
	n     int // records
}

// A partition has the records whose hashes begin with the same bits, in the
// order in which they came, each after its length.
type partition struct {
	chunks [][]byte
	size   int
}

const (
	partitionBits = 6
	splitAt       = 4096 // records that one partition holds well
)

func newSorter(hash func(record []byte) uint64) *sorter {
	return &sorter{hash: hash, parts: make([]partition, 1)}
}

// add takes in a record, of which it keeps a copy.
func (s *sorter) add(record []byte) {
	if s.n == splitAt {
		whole := s.parts[0]
		s.parts = make([]partition, 1<<partitionBits)
		whole.each(func(r []byte) { s.parts[s.hash(r)>>(64-partitionBits)].add(r) })
	}
	s.n++
	p := &s.parts[0]
	if len(s.parts) > 1 {
		p = &s.parts[s.hash(record)>>(64-partitionBits)]
	}
	p.add(record)
}

func (p *partition) add(record []byte) {
	need := len(record) + binary.MaxVarintLen64
	last := len(p.chunks) - 1
	if last < 0 || cap(p.chunks[last])-len(p.chunks[last]) < need {
		size := max(need, min(max(1<<10, p.size/16), 256<<10))
		p.chunks = append(p.chunks, make([]byte, 0, size))
		last++
	}
	chunk := binary.AppendUvarint(p.chunks[last], uint64(len(record)))
	p.chunks[last] = append(chunk, record...)
	p.size += len(record)
}

// each calls f for each record. f may change what is in it, and keep it.
func (p *partition) each(f func(record []byte)) {
	for _, chunk := range p.chunks {
		for len(chunk) > 0 {
			n, width := binary.Uvarint(chunk)
			f(chunk[width : width+int(n) : width+int(n)])
			chunk = chunk[width+int(n):]
		}
	}
}

// finish makes the table, with that many buckets if they do for so many records.
// emit appends to dst the block that has the records of one bucket, in the order
// in which they came. The sorter is spent.
func (s *sorter) finish(buckets int, emit func(dst []byte, records [][]byte) ([]byte, error)) (blocks, error) {
	each := (s.n/perBucket + len(s.parts)) / len(s.parts)
	if buckets%len(s.parts) == 0 && s.n > buckets*perBucket/2 && s.n < buckets*perBucket*3/2 {
		each = buckets / len(s.parts)
	}
	b := blocks{dir: make([]uint32, each*len(s.parts))}
	w := newBlockWriter(0)
	var records, sorted [][]byte
	var block []byte
	ends := make([]int, each+1)
	for i := range s.parts {
		first := i * each
		records = records[:0]
		clear(ends)
		s.parts[i].each(func(r []byte) {
			records = append(records, r)
			ends[b.bucket(s.hash(r))-first+1]++
		})
		for j := range each {
			ends[j+1] += ends[j]
		}
		// Where each bucket begins becomes where it ends, as its records come.
		sorted = slices.Grow(sorted[:0], len(records))[:len(records)]
		for _, r := range records {
			bucket := b.bucket(s.hash(r)) - first
			sorted[ends[bucket]] = r
			ends[bucket]++
		}
		from := 0
		for j, to := range ends[:each] {
			if from < to {
				var err error
				if block, err = emit(block[:0], sorted[from:to]); err != nil {
					return blocks{}, err
				}
				address, n, err := w.add(block)
				if err != nil {
					return blocks{}, err
				}
				b.dir[first+j] = address
				b.live += n
			}
			from = to
		}
		clear(records)
		clear(sorted)
		s.parts[i] = partition{}
	}
	w.flush()
	b.segments = w.segments
	return b, nil
}
