package refresh_test

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/internal/clock"
	"github.com/rolegate/rolegate/internal/logbook"
	"github.com/rolegate/rolegate/internal/refresh"
)

// A shelf is a Cache, and the list of which a copy is kept in it.
type shelf struct {
	load  func(ctx context.Context) (io.ReadCloser, error)
	store func(ctx context.Context, write func(io.Writer) error) error

	restores bool  // what Restore says
	restored error // and with which error
	used     int

	what   any // nil for nothing to store
	writes error
	stored []any
	book   logbook.Book
}

func (s *shelf) Load(ctx context.Context) (io.ReadCloser, error) {
	if s.load == nil {
		return nil, fs.ErrNotExist
	}
	return s.load(ctx)
}

func (s *shelf) Store(ctx context.Context, write func(io.Writer) error) error {
	handed.Add(1)
	if s.store != nil {
		return s.store(ctx, write)
	}
	if err := write(io.Discard); err != nil {
		return err
	}
	s.stored = append(s.stored, s.what)
	return nil
}

func (s *shelf) start(t *testing.T) (*refresh.Persist, *refresh.Tasks) {
	t.Helper()
	tasks := refresh.NewTasks()
	t.Cleanup(func() {
		tasks.End()
		tasks.Wait()
	})
	var p *refresh.Persist
	p = refresh.NewPersist(refresh.PersistConfig{
		Tasks: tasks, Clock: clock.Read, Log: slog.New(slog.NewTextHandler(&s.book, nil)), Cache: s, Storing: context.Background(),
		Restore: func(r io.Reader) (bool, error) {
			if _, err := io.ReadAll(r); err != nil {
				return false, err
			}
			if s.restores && s.restored == nil {
				p.Loaded()
			}
			return s.restores, s.restored
		},
		Used: func() { s.used++ },
		Copy: func() (any, func(io.Writer) error) {
			handed.Add(1)
			return s.what, func(io.Writer) error { return s.writes }
		},
	})
	p.Start()
	return p, tasks
}

func copyOf(text string) func(context.Context) (io.ReadCloser, error) {
	return func(context.Context) (io.ReadCloser, error) { return io.NopCloser(strings.NewReader(text)), nil }
}

// An endless copy has a byte each second.
type endless struct{}

func (endless) Read(p []byte) (int, error) { time.Sleep(time.Second); return 1, nil }
func (endless) Close() error               { return nil }

func TestRestore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		shelf  *shelf
		begins time.Duration // when the first full refresh may begin
		loaded bool
		error  string
		logs   string
	}{
		{"nothing is stored", &shelf{}, 0, false, "", "no index is stored yet"},
		{"a copy", &shelf{load: copyOf("x"), restores: true}, 0, true, "", ""},
		{"a copy that comes too late", &shelf{load: copyOf("x")}, 0, false, "", "has come from the source meanwhile"},
		{"a copy that cannot be used", &shelf{load: copyOf("x"), restored: io.EOF}, 0, false, "EOF", "the stored index is not used"},
		{"a copy that was used, but with an error", &shelf{load: copyOf("x"), restores: true, restored: io.EOF}, 0, false, "EOF", "the stored index is not used"},
		{"the cache fails", &shelf{load: func(context.Context) (io.ReadCloser, error) { return nil, io.ErrClosedPipe }}, 0, false, "closed pipe", "the stored index is not used"},
		{"the cache returns nothing", &shelf{load: func(context.Context) (io.ReadCloser, error) { return nil, nil }}, 0, false, "neither an index nor an error", "the stored index is not used"},
		{"the cache panics", &shelf{load: func(context.Context) (io.ReadCloser, error) { panic("oh no") }}, 0, false, "the Cache", "the stored index is not used"},
		{"a slow cache", &shelf{restores: true, load: func(context.Context) (io.ReadCloser, error) {
			time.Sleep(4 * time.Second)
			return io.NopCloser(strings.NewReader("x")), nil
		}}, 4 * time.Second, true, "", ""},
		{"a cache that is not waited for", &shelf{restores: true, load: func(context.Context) (io.ReadCloser, error) {
			time.Sleep(30 * time.Second)
			return io.NopCloser(strings.NewReader("x")), nil
		}}, 5 * time.Second, true, "not loaded within 5s", "does not wait for the stored index"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				c.shelf.what = 1
				p, _ := c.shelf.start(t)
				<-p.Begin()
				assert.Equal(t, c.begins, time.Since(begun))
				pass(time.Minute)
				status := p.Status()
				assert.Equal(t, c.loaded, status.Loaded)
				assert.Equal(t, c.loaded, c.shelf.used == 1)
				assert.Contains(t, c.shelf.book.String(), c.logs)
				if c.error == "" {
					assert.Zero(t, status.Failed)
				} else {
					assert.EqualValues(t, 1, status.Failed)
					assert.Contains(t, status.Error, c.error)
				}
				p.Changed()
				pass(time.Second)
				assert.Equal(t, c.loaded, len(c.shelf.stored) == 0, "what was loaded is stored already")
			})
		})
	}
	t.Run("a copy without end", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &shelf{restores: true, load: func(context.Context) (io.ReadCloser, error) { return endless{}, nil }}
			p, _ := s.start(t)
			pass(61 * time.Second)
			assert.Contains(t, p.Status().Error, "deadline exceeded")
			assert.EqualValues(t, 2, p.Status().Failed, "it was not waited for, and then it ended")
		})
	})
	t.Run("it ends meanwhile", func(t *testing.T) {
		t.Parallel()
		synctest.Test(t, func(t *testing.T) {
			s := &shelf{load: func(ctx context.Context) (io.ReadCloser, error) {
				<-ctx.Done()
				return nil, ctx.Err()
			}}
			p, tasks := s.start(t)
			synctest.Wait()
			tasks.End()
			<-p.Begin()
			tasks.Wait()
			assert.Zero(t, p.Status())
			assert.Empty(t, s.book.String())
		})
	})
}

func TestReaderUntil(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancelCause(t.Context())
	r := refresh.ReaderUntil{Ctx: ctx, Reader: strings.NewReader("whole")}
	p := make([]byte, 3)
	n, err := r.Read(p)
	require.NoError(t, err)
	assert.Equal(t, "who", string(p[:n]))
	cancel(io.ErrClosedPipe)
	n, err = r.Read(p)
	assert.Zero(t, n)
	assert.ErrorIs(t, err, io.ErrClosedPipe)
}

func TestStore(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name string
		test func(t *testing.T, s *shelf, p *refresh.Persist, tasks *refresh.Tasks)
	}{
		{"nothing", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			p.Changed()
			pass(time.Minute)
			assert.Empty(t, s.stored)
			assert.Zero(t, p.Status())
		}},
		{"what has changed, and not too often", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			s.what = 1
			p.Changed()
			pass(0)
			assert.Equal(t, []any{1}, s.stored)
			for s.what = range 5 {
				p.Changed()
				pass(900 * time.Millisecond)
			}
			s.what = 5
			assert.Equal(t, []any{1}, s.stored)
			pass(time.Second)
			assert.Equal(t, []any{1, 5}, s.stored)
			pass(time.Minute)
			p.Changed()
			pass(time.Minute)
			assert.Equal(t, []any{1, 5}, s.stored, "it is the same")
			assert.EqualValues(t, 2, p.Status().Stored)
			assert.False(t, p.Status().Last.IsZero())
		}},
		{"what is pending at the end", func(t *testing.T, s *shelf, p *refresh.Persist, tasks *refresh.Tasks) {
			s.what = 1
			p.Changed()
			pass(0)
			s.what = 2
			tasks.End()
			tasks.Wait()
			assert.Equal(t, []any{1, 2}, s.stored)
		}},
		{"again, with the next change, what could not be stored", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			s.what, s.writes = 1, io.ErrShortWrite
			for range 3 {
				p.Changed()
				pass(10 * time.Second)
			}
			assert.EqualValues(t, 3, p.Status().Failed)
			assert.Contains(t, p.Status().Error, "short write")
			assert.Equal(t, 1, strings.Count(s.book.String(), "cannot be stored"), "once in a row")
			s.writes = nil
			p.Changed()
			pass(10 * time.Second)
			assert.Equal(t, []any{1}, s.stored)
			s.what, s.writes = 2, io.ErrShortWrite
			p.Changed()
			pass(10 * time.Second)
			assert.Equal(t, 2, strings.Count(s.book.String(), "cannot be stored"))
		}},
		{"by a cache that says too soon that it is done", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			for i, store := range []func(context.Context, func(io.Writer) error) error{
				func(context.Context, func(io.Writer) error) error { return nil },
				func(_ context.Context, write func(io.Writer) error) error { _ = write(io.Discard); return nil },
			} {
				s.what, s.writes, s.store = i, errors.New("no"), store
				p.Changed()
				pass(10 * time.Second)
				assert.EqualValues(t, i+1, p.Status().Failed)
				assert.Contains(t, p.Status().Error, "not written whole")
				assert.Zero(t, p.Status().Stored)
			}
		}},
		{"by a cache that panics", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			s.what, s.store = 1, func(context.Context, func(io.Writer) error) error { panic("oh no") }
			p.Changed()
			pass(time.Second)
			assert.Contains(t, p.Status().Error, "the Cache")
		}},
		{"by a cache that hangs", func(t *testing.T, s *shelf, p *refresh.Persist, _ *refresh.Tasks) {
			let := make(chan struct{})
			s.what, s.store = 1, func(ctx context.Context, _ func(io.Writer) error) error {
				<-ctx.Done()
				<-let
				return ctx.Err()
			}
			p.Changed()
			pass(64 * time.Second)
			require.Zero(t, p.Status().Failed)
			pass(time.Second)
			assert.EqualValues(t, 1, p.Status().Failed)
			assert.Contains(t, p.Status().Error, "does not return when its ctx ends")
			close(let)
			pass(0)
			assert.EqualValues(t, 2, p.Status().Failed)
			assert.Contains(t, p.Status().Error, "deadline exceeded")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				s := &shelf{}
				p, tasks := s.start(t)
				synctest.Wait()
				c.test(t, s, p, tasks)
			})
		})
	}
}
