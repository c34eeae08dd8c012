package rediscache

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"

	"github.com/redis/go-redis/v9"
)

// A snapshot is a whole index in Redis: a hash of chunks of the deflated bytes,
// each sealed for its place, in fields "0", "1" and so on.
const (
	chunkSize = 512 << 10 // bytes before they are sealed
	perTrip   = 4         // chunks that are sent, or read, at once
)

// writeSnapshot writes a new snapshot that nobody reads yet, and that expires
// by itself unless it is committed.
func (c *Cache) writeSnapshot(ctx context.Context, g *group, to version, write func(io.Writer) error) (p pointer, err error) {
	w := &chunkWriter{ctx: ctx, c: c, g: g, name: fmt.Sprintf("%d-%s", to.Term, random())}
	defer func() {
		if err != nil {
			w.discard()
		}
	}()
	z, err := flate.NewWriter(w, flate.BestSpeed)
	if err != nil {
		return pointer{}, err
	}
	plain := &counter{w: z}
	if err := write(plain); err != nil {
		return pointer{}, err
	}
	if err := z.Close(); err != nil {
		return pointer{}, err
	}
	if err := w.end(); err != nil {
		return pointer{}, err
	}
	return pointer{name: w.name, version: to, chunks: w.chunks, size: plain.n}, nil
}

// A counter counts what is written.
type counter struct {
	w io.Writer
	n uint64
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.w.Write(p)
	c.n += uint64(n)
	return n, err
}

// A chunkWriter cuts what is written into chunks.
type chunkWriter struct {
	ctx    context.Context
	c      *Cache
	g      *group
	name   string
	chunks int    // sealed so far
	buf    []byte // not sealed yet
	fields []any  // sealed, and not sent yet
}

func (w *chunkWriter) Write(p []byte) (int, error) {
	n := len(p)
	for len(p) > 0 {
		if len(w.buf) == chunkSize { // and so there is more than this chunk
			if err := w.chunk(false); err != nil {
				return 0, err
			}
		}
		take := min(len(p), chunkSize-len(w.buf))
		w.buf = append(w.buf, p[:take]...)
		p = p[take:]
	}
	return n, nil
}

func (w *chunkWriter) end() error { return w.chunk(true) }

// chunk seals what is buffered.
func (w *chunkWriter) chunk(last bool) error {
	if w.chunks >= maxChunks {
		return errors.New("it is too long")
	}
	w.fields = append(w.fields, strconv.Itoa(w.chunks), w.g.seal(chunkPlace(w.name, w.chunks), w.buf))
	w.chunks++
	w.buf = w.buf[:0]
	if !last && len(w.fields) < 2*perTrip {
		return nil
	}
	key, fields := w.g.snap(w.name), w.fields
	w.fields = nil // a call that was given up may still read them
	_, err := call(w.ctx, func() (any, error) {
		return w.c.client.Pipelined(w.ctx, func(p redis.Pipeliner) error {
			p.HSet(w.ctx, key, fields...)
			p.PExpire(w.ctx, key, keepUnfinished)
			return nil
		})
	})
	return err
}

// discard removes what is there, if Redis still answers.
func (w *chunkWriter) discard() {
	if w.chunks > 0 {
		_, _ = call(w.ctx, func() (int64, error) { return w.c.client.Unlink(w.ctx, w.g.snap(w.name)).Result() })
	}
}

// load opens the newest whole index.
func (c *Cache) load(ctx context.Context, g *group) (*snapshotReader, error) {
	r, err := call(ctx, func() ([]any, error) { return c.client.HMGet(ctx, g.state(), "ptr").Result() })
	if err != nil {
		return nil, err
	}
	s, err := texts(r, 1)
	if err != nil {
		return nil, err
	}
	p, err := g.openPointer(s[0])
	if err != nil {
		return nil, err
	}
	if p == (pointer{}) {
		return nil, fmt.Errorf("nothing is stored yet: %w", fs.ErrNotExist)
	}
	return c.open(ctx, g, p), nil
}

func (c *Cache) open(ctx context.Context, g *group, p pointer) *snapshotReader {
	r := &snapshotReader{chunks: &chunkReader{ctx: ctx, c: c, g: g, p: p}}
	r.z = flate.NewReader(r.chunks)
	return r
}

// A snapshotReader reads a whole index. Until it says io.EOF, nothing says that
// it is whole.
type snapshotReader struct {
	chunks *chunkReader
	z      io.Reader
	err    error
	done   func() // called when it has been read whole
}

func (r *snapshotReader) Read(p []byte) (int, error) {
	if r.err != nil {
		return 0, r.err
	}
	n, err := r.z.Read(p)
	if err == io.EOF && r.done != nil {
		r.done()
	}
	if err != nil && err != io.EOF {
		if r.chunks.err != nil && r.chunks.err != io.EOF {
			err = r.chunks.err // what flate makes of it says less
		}
		err = fmt.Errorf("rediscache: reading the whole index: %w", err)
	}
	r.err = err
	return n, err
}

func (r *snapshotReader) Close() error {
	r.err = fs.ErrClosed
	return nil
}

// A chunkReader reads the chunks of a snapshot one after the other.
type chunkReader struct {
	ctx  context.Context
	c    *Cache
	g    *group
	p    pointer
	next int      // the chunk that comes next
	rest []byte   // of the last one
	got  []string // those that come next, still sealed
	err  error
}

func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.chunk()
	}
	if r.err != nil {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *chunkReader) chunk() ([]byte, error) {
	if r.next == r.p.chunks {
		return nil, io.EOF
	}
	if len(r.got) == 0 {
		var err error
		if r.got, err = r.fetch(); err != nil {
			return nil, err
		}
	}
	sealed := r.got[0]
	r.got = r.got[1:]
	if sealed == "" {
		r.broken()
		return nil, fmt.Errorf("chunk %d of %d is not there: the leader writes a new whole index with its next change", r.next+1, r.p.chunks)
	}
	plain, err := r.g.open(chunkPlace(r.p.name, r.next), sealed)
	if err != nil {
		r.broken()
		return nil, fmt.Errorf("chunk %d of %d: %w", r.next+1, r.p.chunks, err)
	}
	r.next++
	return plain, nil
}

func (r *chunkReader) fetch() ([]string, error) {
	fields := make([]string, min(perTrip, r.p.chunks-r.next))
	for i := range fields {
		fields[i] = strconv.Itoa(r.next + i)
	}
	reply, err := call(r.ctx, func() ([]any, error) { return r.c.client.HMGet(r.ctx, r.g.snap(r.p.name), fields...).Result() })
	if err != nil {
		return nil, err
	}
	return texts(reply, len(fields))
}

// broken has the leader write a new one.
func (r *chunkReader) broken() {
	_, _ = call(r.ctx, func() (any, error) {
		return report.Run(r.ctx, r.c.client, []string{r.g.state()}, r.p.name).Result()
	})
}
