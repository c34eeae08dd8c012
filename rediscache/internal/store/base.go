package store

import (
	"compress/flate"
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate/internal/replication"
)

// The contents of a base are a hash of chunks of the deflated bytes, each sealed
// for its place, in fields "0", "1" and so on. The last one says that it is.
const (
	chunkSize = 512 << 10 // bytes before they are sealed
	sealedMax = chunkSize + 1024
	perTrip   = 4 // chunks that are sent, or read, at once
	maxChunks = 1 << 16
)

// Publish publishes a base. One that has a name has contents that are there; for
// another, write writes them. It returns the base as it is published: its
// beginning is in whole microseconds, and it has a name. The error of a replica
// that may not publish it wraps [replication.ErrRefused]; any other leaves open whether it is
// published.
func (s *Store) Publish(ctx context.Context, b, before replication.Base, epoch string, write func(io.Writer) error) (replication.Base, error) {
	b.Began -= b.Began % 1000
	if b.Name != "" {
		if answer, err := s.commit(ctx, b, b, epoch, ""); err != nil || answer == "done" {
			return b, err
		}
	}
	w := &chunkWriter{ctx: ctx, s: s, name: random()}
	b.Name = w.name
	err := w.all(write)
	if err == nil {
		var answer string
		if answer, err = s.commit(ctx, b, before, epoch, strconv.Itoa(w.chunks)); err == nil && answer != "done" {
			err = fmt.Errorf("the base is gone before it was published: %w", replication.ErrRefused)
		}
	}
	if err != nil {
		w.discard()
	}
	return b, err
}

// commit makes a base the published one.
func (s *Store) commit(ctx context.Context, b, before replication.Base, epoch, chunks string) (answer string, err error) {
	old := s.base + "state"
	if before.Name != "" {
		old = s.list(before.Name)
	}
	v, err := s.run(ctx, publishScript, append(s.keys(), s.list(b.Name), old),
		s.token, epoch, b.Name, b.Began/1000, s.sealer.seal(basePlace(b.Name, b.Began), nil), chunks,
		keep.Milliseconds(), keepOld.Milliseconds(), b.Began/1e6)
	if err != nil {
		return "", err
	}
	switch answer, _ = v.(string); answer {
	case "done", "whole":
		return answer, nil
	case "lost":
		return answer, fmt.Errorf("it holds the lease no more: %w", replication.ErrRefused)
	case "older":
		return answer, fmt.Errorf("there is a later base: %w", replication.ErrRefused)
	}
	return answer, errForm
}

// A chunkWriter cuts what is written into chunks.
type chunkWriter struct {
	ctx    context.Context
	s      *Store
	name   string
	chunks int    // sealed so far
	buf    []byte // not sealed yet
	fields []any  // sealed, and not sent yet
}

func (w *chunkWriter) all(write func(io.Writer) error) error {
	z, err := flate.NewWriter(w, flate.BestSpeed)
	if err != nil {
		return err
	}
	if err := write(z); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	return w.chunk(true)
}

// Write implements [io.Writer].
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

// chunk seals what is buffered.
func (w *chunkWriter) chunk(last bool) error {
	if w.chunks >= maxChunks {
		return errors.New("it is too long")
	}
	w.fields = append(w.fields, strconv.Itoa(w.chunks), w.s.sealer.seal(chunkPlace(w.name, w.chunks, last), w.buf))
	w.chunks++
	w.buf = w.buf[:0]
	if !last && len(w.fields) < 2*perTrip {
		return nil
	}
	key, fields := w.s.list(w.name), w.fields
	w.fields = nil // a call that was given up may still read them
	_, err := call(w.ctx, func() (any, error) {
		return w.s.client.Pipelined(w.ctx, func(p redis.Pipeliner) error {
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
		_, _ = call(w.ctx, func() (int64, error) { return w.s.client.Unlink(w.ctx, w.s.list(w.name)).Result() })
	}
}

// Load opens the contents of a base. Until Read returns [io.EOF], nothing says
// that they are whole. A base that cannot be read is forgotten, so that a replica
// that has it publishes it again.
func (s *Store) Load(ctx context.Context, b replication.Base) io.Reader {
	r := &chunkReader{ctx: ctx, s: s, name: b.Name}
	return &baseReader{chunks: r, z: flate.NewReader(r)}
}

type baseReader struct {
	chunks *chunkReader
	z      io.Reader
}

// Read implements [io.Reader].
func (r *baseReader) Read(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err != nil && err != io.EOF {
		if r.chunks.err != nil && r.chunks.err != io.EOF {
			err = r.chunks.err // what flate makes of it says less
		}
		err = fmt.Errorf("reading the base: %w", err)
	}
	return n, err
}

// A chunkReader reads the chunks of a base one after the other.
type chunkReader struct {
	ctx  context.Context
	s    *Store
	name string
	next int      // the chunk that comes next
	last bool     // it was the last
	rest []byte   // of the one before
	got  []string // those that come next, still sealed
	err  error
}

// Read implements [io.Reader].
func (r *chunkReader) Read(p []byte) (int, error) {
	for len(r.rest) == 0 && r.err == nil {
		r.rest, r.err = r.chunk()
	}
	if len(r.rest) == 0 {
		return 0, r.err
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	return n, nil
}

func (r *chunkReader) chunk() ([]byte, error) {
	if r.last {
		return nil, io.EOF
	}
	if len(r.got) == 0 {
		if err := r.fetch(); err != nil {
			return nil, err
		}
	}
	sealed := r.got[0]
	r.got = r.got[1:]
	plain, err := r.s.sealer.open(chunkPlace(r.name, r.next, false), sealed)
	if err != nil {
		plain, err = r.s.sealer.open(chunkPlace(r.name, r.next, true), sealed)
		r.last = err == nil
	}
	if err != nil {
		_, _ = r.s.run(r.ctx, brokenScript, r.s.keys(), r.name)
		if sealed == "" {
			err = errors.New("it is not there, or too long")
		}
		return nil, fmt.Errorf("chunk %d: %w", r.next, err)
	}
	r.next++
	return plain, nil
}

func (r *chunkReader) fetch() error {
	args := []any{sealedMax}
	for i := range perTrip {
		args = append(args, strconv.Itoa(r.next+i))
	}
	v, err := r.s.run(r.ctx, chunksScript, []string{r.s.list(r.name)}, args...)
	if err != nil {
		return err
	}
	all, _ := v.([]any)
	if len(all) != perTrip {
		return errForm
	}
	r.got = nil
	for _, sealed := range all {
		text, _ := sealed.(string)
		r.got = append(r.got, text)
	}
	return nil
}
