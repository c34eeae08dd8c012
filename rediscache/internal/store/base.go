package store

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"strconv"

	"github.com/redis/go-redis/v9"

	"github.com/rolegate/rolegate/internal/replication"
)

// The contents of a base are a hash of chunks of the deflated bytes, each sealed for
// its place, in fields "0", "1" and so on. Deflate says where they end: a base of
// which chunks are missing does not open to its end.
const (
	chunkSize = 512 << 10 // bytes before they are sealed
	sealedMax = chunkSize + 1024
)

// Publish publishes a base. One that has a name has contents that are there; for
// another, write writes them. It returns the base as it is published: its
// beginning is in whole microseconds, and it has a name. The error of a replica
// that may not publish it wraps [replication.ErrRefused]; any other leaves open
// whether it is published.
func (s *Store) Publish(ctx context.Context, b, before replication.Base, epoch string, write func(io.Writer) error) (replication.Base, error) {
	b.Began -= b.Began % 1000
	if b.Name != "" {
		if err := s.commit(ctx, b, b, epoch, ""); !errors.Is(err, errGone) {
			return b, err
		}
	}
	b.Name = rand.Text()
	w := &chunkWriter{ctx: ctx, s: s, name: b.Name}
	err := w.all(write)
	if err == nil {
		err = s.commit(ctx, b, before, epoch, strconv.Itoa(w.chunks))
	}
	if err != nil && w.chunks > 0 {
		_, _ = call(ctx, func() (int64, error) { return s.client.Unlink(ctx, s.list(b.Name)).Result() })
	}
	return b, err
}

var errGone = fmt.Errorf("the base is gone before it was published: %w", replication.ErrRefused)

// commit makes a base the published one.
func (s *Store) commit(ctx context.Context, b, before replication.Base, epoch, chunks string) error {
	old := s.base + "state"
	if before.Name != "" {
		old = s.list(before.Name)
	}
	answer, err := s.run(ctx, publishScript, append(s.keys(), s.list(b.Name), old),
		s.token, epoch, b.Name, b.Began/1000, s.seal(basePlace(b.Name, b.Began), nil), chunks,
		keep.Milliseconds(), keepOld.Milliseconds(), b.Began/1e6).Text()
	if err != nil {
		return err
	}
	switch answer {
	case "done":
		return nil
	case "whole":
		return errGone
	case "lost":
		return fmt.Errorf("it holds the lease no more: %w", replication.ErrRefused)
	case "older":
		return fmt.Errorf("there is a later base: %w", replication.ErrRefused)
	}
	return errForm
}

// A chunkWriter stores each piece that is written to it as a chunk.
type chunkWriter struct {
	ctx    context.Context
	s      *Store
	name   string
	chunks int
}

// all cuts what write writes into chunks.
func (w *chunkWriter) all(write func(io.Writer) error) error {
	pieces := bufio.NewWriterSize(w, chunkSize)
	z, _ := flate.NewWriter(pieces, flate.BestSpeed) // the level is a good one
	if err := write(z); err != nil {
		return err
	}
	return cmp.Or(z.Close(), pieces.Flush())
}

// Write implements [io.Writer].
func (w *chunkWriter) Write(p []byte) (int, error) {
	key, field := w.s.list(w.name), strconv.Itoa(w.chunks)
	sealed := w.s.seal(chunkPlace(w.name, w.chunks), p)
	_, err := call(w.ctx, func() (any, error) {
		return w.s.client.Pipelined(w.ctx, func(p redis.Pipeliner) error {
			p.HSet(w.ctx, key, field, sealed)
			p.PExpire(w.ctx, key, keepUnfinished)
			return nil
		})
	})
	w.chunks++
	return len(p), err
}

// Load opens the contents of a base. Until Read returns [io.EOF], nothing says
// that they are whole. A base that cannot be read is forgotten, so that a replica
// that has it publishes it again.
func (s *Store) Load(ctx context.Context, b replication.Base) io.Reader {
	return flate.NewReader(&chunkReader{ctx: ctx, s: s, name: b.Name})
}

// A chunkReader reads the chunks of a base one after the other.
type chunkReader struct {
	ctx  context.Context
	s    *Store
	name string
	next int
	rest bytes.Reader // of the one before that
}

// Read implements [io.Reader].
func (r *chunkReader) Read(p []byte) (int, error) {
	if r.rest.Len() == 0 {
		if err := r.chunk(); err != nil {
			return 0, fmt.Errorf("reading the base: chunk %d: %w", r.next, err)
		}
		r.next++
	}
	return r.rest.Read(p)
}

func (r *chunkReader) chunk() error {
	sealed, err := r.s.run(r.ctx, chunkScript, []string{r.s.list(r.name)}, strconv.Itoa(r.next), sealedMax).Text()
	if err != nil {
		return err
	}
	plain, err := r.s.open(chunkPlace(r.name, r.next), sealed)
	if err != nil {
		_ = r.s.run(r.ctx, brokenScript, r.s.keys(), r.name)
		if sealed == "" {
			err = errors.New("it is not there, or too long")
		}
		return err
	}
	r.rest.Reset(plain)
	return nil
}
