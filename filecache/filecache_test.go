package filecache_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate/filecache"
)

func TestStoreAndLoad(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"rolegate.index", "x", "-x", "with blanks", "stars*and?[marks]", `back\slash`, "列表", "it's", ".hidden"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			c := filecache.New(filepath.Join(dir, name))
			require.NoError(t, c.Validate())
			_, err := c.Load(t.Context())
			require.ErrorIs(t, err, fs.ErrNotExist)
			for _, s := range []string{"one", "", strings.Repeat("two", 1<<20)} {
				require.NoError(t, c.Store(t.Context(), text(s)))
				require.NoError(t, c.Validate())
				require.Equal(t, s, content(t, c))
				require.Equal(t, []string{name}, names(t, dir))
			}
		})
	}
}

// A relative name is one in the folder in which New was called.
func TestRelativeName(t *testing.T) { // not parallel: the folder is the process'
	first, second := folder(t), folder(t)
	t.Chdir(first)
	c := filecache.New("list")
	t.Chdir(second)
	require.NoError(t, c.Store(t.Context(), text("x")))
	assert.Equal(t, []string{"list"}, names(t, first))
	assert.Empty(t, names(t, second))
}

func TestNameMistakes(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	file := filepath.Join(dir, "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	for _, c := range []struct {
		name  string
		cache *filecache.Cache
		says  string
	}{
		{"nil", nil, "the name of the file is empty"},
		{"zero", &filecache.Cache{}, "the name of the file is empty"},
		{"empty", filecache.New(""), "the name of the file is empty"},
		{"a folder by its name", filecache.New(dir + string(filepath.Separator)), "give the name of a file in it, such as " + filepath.Join(dir, "rolegate.index")},
		{"a folder", filecache.New(dir), "give the name of a file in it, such as " + filepath.Join(dir, "rolegate.index")},
		{"in a file", filecache.New(filepath.Join(file, "x")), "is not a folder"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			require.ErrorContains(t, c.cache.Validate(), c.says)
			_, err := c.cache.Load(t.Context())
			require.ErrorContains(t, err, c.says)
			require.NotErrorIs(t, err, fs.ErrNotExist, "it is not just empty yet")
			require.ErrorContains(t, c.cache.Store(t.Context(), text("x")), c.says)
		})
	}
	require.NoError(t, filecache.New(filepath.Join(dir, "rolegate.index")).Validate(), "what the text says helps")
}

// A Store that fails leaves what was there, and nothing else.
func TestStoreIsAtomic(t *testing.T) {
	t.Parallel()
	full := errors.New("no space left on device")
	half := func(w io.Writer, then func() error) error {
		if _, err := w.Write(bytes.Repeat([]byte("half"), 1<<16)); err != nil {
			return err
		}
		return then()
	}
	ended, cancel := context.WithCancel(context.Background())
	cancel()
	for _, c := range []struct {
		name  string
		ctx   context.Context
		write func(io.Writer) error
		is    error
	}{
		{"write fails at once", t.Context(), func(io.Writer) error { return full }, full},
		{"write fails in the middle", t.Context(), func(w io.Writer) error { return half(w, func() error { return full }) }, full},
		{"the ctx has ended", ended, text("new"), context.Canceled},
		{"the file was closed", t.Context(), func(w io.Writer) error { return w.(io.Closer).Close() }, os.ErrClosed},
		{"write panics", t.Context(), func(w io.Writer) error { return half(w, func() error { panic("x") }) }, nil},
		{"write ends its goroutine", t.Context(), func(w io.Writer) error { return half(w, func() error { runtime.Goexit(); return nil }) }, nil},
	} {
		for _, before := range []string{"", "old"} {
			t.Run(fmt.Sprintf("%s, over %q", c.name, before), func(t *testing.T) {
				t.Parallel()
				dir := folder(t)
				cache := filecache.New(filepath.Join(dir, "list"))
				var want []string
				if before != "" {
					require.NoError(t, cache.Store(context.Background(), text(before)))
					want = []string{"list"}
				}
				var err error
				done := make(chan struct{})
				go func() {
					defer close(done)
					defer func() { _ = recover() }()
					err = cache.Store(c.ctx, c.write)
				}()
				<-done
				if c.is != nil {
					require.ErrorIs(t, err, c.is)
				}
				assert.Equal(t, want, names(t, dir))
				if before != "" {
					assert.Equal(t, before, content(t, cache))
				}
				require.NoError(t, cache.Store(context.Background(), text("new")))
				assert.Equal(t, "new", content(t, cache))
			})
		}
	}
}

// Many who store at once, and many who load: each finds one whole list.
func TestStoresAtOnce(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	path := filepath.Join(dir, "list")
	list := func(n int) string { return strings.Repeat(fmt.Sprintf("%04d", n), 1+n%7*3000) }
	require.NoError(t, filecache.New(path).Store(t.Context(), text(list(0))))
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			c := filecache.New(path)
			for n := range 25 {
				if err := c.Store(t.Context(), text(list(i*100+n))); err != nil {
					t.Error(err)
				}
			}
		})
		all.Go(func() {
			for range 50 {
				r, err := filecache.New(path).Load(t.Context())
				if err != nil {
					t.Error(err)
					return
				}
				b, err := io.ReadAll(r)
				_ = r.Close()
				var n int
				if _, scanErr := fmt.Sscanf(string(b[:min(4, len(b))]), "%d", &n); err != nil || scanErr != nil || string(b) != list(n) {
					t.Errorf("%d bytes that nobody has stored: %v", len(b), err)
				}
			}
		})
	}
	all.Wait()
	assert.Equal(t, []string{"list"}, names(t, dir))
}

// What processes have left that were killed is removed once it is certain that
// nobody writes it any more, and nothing else is.
func TestLeftovers(t *testing.T) {
	t.Parallel()
	dir := folder(t)
	old, young := time.Now().Add(-11*time.Minute), time.Now().Add(-9*time.Minute)
	for _, f := range []struct {
		name string
		at   time.Time
		left bool
	}{
		{".list.123.tmp", old, false},
		{".list." + fmt.Sprint(rand.Uint32()) + ".tmp", old, false},
		{".list.124.tmp", young, true},
		{".list.125.tmp", time.Now().Add(time.Hour), true},
		{".list.tmp", old, true},
		{".list..tmp", old, true},
		{".list.abc.tmp", old, true},
		{".list.2.123.tmp", old, true}, // of another cache, list.2
		{".list2.123.tmp", old, true},
		{"list.123.tmp", old, true},
		{".list.123.tmp.bak", old, true},
		{"other", old, true},
	} {
		name := filepath.Join(dir, f.name)
		require.NoError(t, os.WriteFile(name, nil, 0o600))
		require.NoError(t, os.Chtimes(name, f.at, f.at))
		defer func() {
			_, err := os.Lstat(name)
			assert.Equal(t, f.left, err == nil, f.name)
		}()
	}
	inside := filepath.Join(dir, ".list.126.tmp")
	require.NoError(t, os.Mkdir(inside, 0o700))
	require.NoError(t, os.Chtimes(inside, old, old))
	require.NoError(t, filecache.New(filepath.Join(dir, "list")).Store(t.Context(), text("x")))
	assert.DirExists(t, inside)
}
