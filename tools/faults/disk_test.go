package faults_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/marketplace"
	"github.com/rolegate/rolegate/rolegatetest"
)

// webMemory is a Cache that is nothing but bytes; nil are none.
type webMemory struct {
	mu    sync.Mutex
	bytes []byte
}

func (m *webMemory) Load(context.Context) (io.ReadCloser, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.bytes == nil {
		return nil, fs.ErrNotExist
	}
	return io.NopCloser(bytes.NewReader(m.bytes)), nil
}

func (m *webMemory) Store(_ context.Context, write func(io.Writer) error) error {
	var b bytes.Buffer
	err := write(&b)
	m.mu.Lock()
	defer m.mu.Unlock()
	if err == nil {
		m.bytes = b.Bytes()
	}
	return err
}

// webIndex is the stored index of these users.
func webIndex(t *testing.T, source rolegate.Source) []byte {
	t.Helper()
	memory := new(webMemory)
	cfg := webConfig(source)
	cfg.Cache = memory
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, gate.Close())
	require.NotEmpty(t, memory.bytes)
	return memory.bytes
}

// Line 46: a stored index with a flipped bit, cut short, empty, of an unknown
// version, with something behind it. It must be ignored with a warning, and the
// list must come from the source.
func TestFault46AStoredIndexThatIsDamaged(t *testing.T) {
	t.Parallel()
	// What was stored lets the stranger in; the source does not.
	stored := webIndex(t, rolegatetest.NewStatic(webUser(1, webIn(7, "admin")), webUser(666, webIn(7, "admin"))))
	listed := func() *rolegatetest.Static { return rolegatetest.NewStatic(webUser(1, webIn(7, "teacher"))) }
	ignored := func(t *testing.T, cache rolegate.Cache, what string) {
		t.Helper()
		book, source := new(webBook), listed()
		cfg := webConfig(source)
		cfg.Cache, cfg.Logger = cache, book.logger()
		gate, err := rolegate.Open(t.Context(), cfg)
		require.NoError(t, err, what)
		defer gate.Close()
		status := gate.Status()
		require.False(t, status.Cache.Loaded, what)
		require.EqualValues(t, 1, status.Cache.Failed, what)
		require.NotEmpty(t, status.Cache.Error, what)
		require.False(t, webAllowed(gate, 666), what)
		require.True(t, gate.Policy(rolegate.AnyRole("teacher")).Decide(t.Context(), rolegate.UserID(1), 7).Allowed(), what)
		require.Equal(t, 1, source.FullRefreshes(), what)
		lines := book.lines("rolegate: the stored index is not used; the list comes from the source")
		require.Len(t, lines, 1, what)
		require.Equal(t, "WARN", lines[0]["level"], what)
	}
	// rewritten is the index with another beginning or another content, and a
	// checksum that fits.
	rewritten := func(change func([]byte) []byte) []byte {
		const end = 1 + 4 + sha256.Size
		b := change(bytes.Clone(stored[:len(stored)-end]))
		sum := sha256.Sum256(b)
		return append(binary.LittleEndian.AppendUint32(append(b, 'E'), sha256.Size), sum[:]...)
	}
	require.Equal(t, stored, rewritten(func(b []byte) []byte { return b }), "the test knows the form")

	t.Run("every bit", func(t *testing.T) {
		t.Parallel()
		for i := range len(stored) * 8 {
			b := bytes.Clone(stored)
			b[i/8] ^= 1 << (i % 8)
			ignored(t, &webMemory{bytes: b}, fmt.Sprint("bit ", i))
		}
	})
	t.Run("every length", func(t *testing.T) {
		t.Parallel()
		for n := range len(stored) {
			ignored(t, &webMemory{bytes: bytes.Clone(stored[:n])}, fmt.Sprint(n, " bytes"))
		}
	})
	header, _, _ := bytes.Cut(stored, []byte("\n"))
	version := header[bytes.Index(header, []byte("index ")):]
	files := map[string][]byte{
		"empty":                    {},
		"a flipped bit":            append(append([]byte{}, stored[:60]...), append([]byte{stored[60] ^ 4}, stored[61:]...)...),
		"truncated":                stored[:len(stored)/2],
		"without its end":          stored[:len(stored)-37],
		"an unknown version":       rewritten(func(b []byte) []byte { return bytes.Replace(b, version, []byte("index 9"), 1) }),
		"a version ten times that": rewritten(func(b []byte) []byte { return bytes.Replace(b, version, append(bytes.Clone(version), '0'), 1) }),
		"a trailing byte":          append(bytes.Clone(stored), 0),
		"a trailing line":          append(bytes.Clone(stored), '\n'),
		"twice":                    append(bytes.Clone(stored), stored...),
		"something unknown in it":  rewritten(func(b []byte) []byte { return append(b, 'X', 0, 0, 0, 0) }),
		"a part without an end":    rewritten(func(b []byte) []byte { return append(b, 'U', 0xff, 0xff, 0xff, 0x3f) }),
		"users before the head":    rewritten(func(b []byte) []byte { return append([]byte("rolegate index 1\nU\x00\x00\x00\x00"), b[17:]...) }),
		"JSON":                     []byte(`{"code":200,"status":"success","data":[]}`),
		"zeros":                    make([]byte, 4096),
	}
	for name, content := range files {
		t.Run("a file: "+name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(webFolder(t), "index")
			require.NoError(t, os.WriteFile(path, content, 0o600))
			ignored(t, filecache.New(path), name)
			// Close has stored a good one in its place.
			cfg := webConfig(listed())
			cfg.Cache = filecache.New(path)
			gate := webOpen(t, cfg)
			assert.True(t, gate.Status().Cache.Loaded)
			assert.False(t, webAllowed(gate, 666))
		})
	}
	t.Run("a cache that fails, or panics", func(t *testing.T) {
		t.Parallel()
		ignored(t, webBadLoad{func() (io.ReadCloser, error) { return nil, errors.New("no") }}, "an error")
		ignored(t, webBadLoad{func() (io.ReadCloser, error) { panic("no") }}, "a panic")
		ignored(t, webBadLoad{func() (io.ReadCloser, error) {
			return io.NopCloser(io.MultiReader(bytes.NewReader(stored[:50]), webFailing{})), nil
		}}, "an error in the middle")
	})
}

type webBadLoad struct {
	load func() (io.ReadCloser, error)
}

func (b webBadLoad) Load(context.Context) (io.ReadCloser, error) { return b.load() }
func (webBadLoad) Store(_ context.Context, write func(io.Writer) error) error {
	return write(io.Discard)
}

type webFailing struct{}

func (webFailing) Read([]byte) (int, error) { return 0, errors.New("input/output error") }

// Line 47: a stored index of another app, base URL or environment, older than
// ExpireAfter, or dated in the future. It must not be used. One that may be used
// is, with its age.
func TestFault47AStoredIndexOfAnotherList(t *testing.T) {
	t.Parallel()
	const base, app = "https://market.test/api", "school"
	client := func(base, app, path string, up bool) rolegate.Source {
		m := rolegatetest.NewMarketplace(rolegatetest.MarketplaceConfig{AppID: app, Path: "/api/app/user/list"})
		m.Grant(1, 7, "admin")
		if !up {
			m.Fail(rolegatetest.HTTPStatus(503))
		}
		return marketplace.New(marketplace.Config{
			BaseURL: base, AppID: app, Path: path, Token: marketplace.StaticToken(m.Token()), Transport: m.Transport(),
		})
	}
	for _, c := range []struct {
		name            string
		base, app, path string
		pass            time.Duration // between storing and the start
		change          func(*rolegate.Config)
		used            bool
		says            string
	}{
		{"the same list", base, app, "", time.Minute, nil, true, ""},
		{"another app id", base, "schoo1", "", time.Minute, nil, false, "another list"},
		{"another host", "https://market2.test/api", app, "", time.Minute, nil, false, "another list"},
		{"another environment", "https://market.test/staging/api", app, "", time.Minute, nil, false, "another list"},
		{"another port", "https://market.test:8443/api", app, "", time.Minute, nil, false, "another list"},
		{"plain HTTP", "http://market.test/api", app, "", time.Minute, nil, false, "another list"},
		{"another path", base, app, "v2/app/user/list", time.Minute, nil, false, "another list"},
		{"just young enough", base, app, "", 59 * time.Minute, nil, true, ""},
		{"older than ExpireAfter", base, app, "", 61 * time.Minute, nil, false, "older than ExpireAfter"},
		{"a year old", base, app, "", 366 * 24 * time.Hour, nil, false, "older than ExpireAfter"},
		{"older than another ExpireAfter", base, app, "", 30 * time.Minute, func(c *rolegate.Config) {
			c.Refresh.ExpireAfter = 25 * time.Minute
		}, false, "older than ExpireAfter"},
		{"made with another Keep", base, app, "", time.Minute, func(c *rolegate.Config) { c.Keep = rolegate.Keep{Email: true} }, false, "other Keep"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(webFolder(t), "index")
			synctest.Test(t, func(t *testing.T) {
				cfg := webConfig(client(base, app, "", true))
				cfg.Cache = filecache.New(path)
				gate, err := rolegate.Open(t.Context(), cfg)
				require.NoError(t, err)
				require.NoError(t, gate.Close())
				webAfter(c.pass)

				cfg = webConfig(client(c.base, c.app, c.path, false))
				cfg.Cache, cfg.StartEmpty = filecache.New(path), true
				book := new(webBook)
				cfg.Logger = book.logger()
				if c.change != nil {
					c.change(&cfg)
				}
				gate = webOpen(t, cfg)
				webAfter(time.Millisecond)
				webLoadedOrNot(t, gate, book, c.used, c.says)
				if c.used {
					assert.GreaterOrEqual(t, gate.Status().VerifiedAge, c.pass, "the age survives a restart")
					webAfter(time.Hour - c.pass)
					assert.Equal(t, rolegate.ReasonExpired, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
				}
			})
		})
	}
	for _, ahead := range []time.Duration{time.Second, time.Minute, 48 * time.Hour} {
		t.Run(fmt.Sprint("dated in the future, ", ahead), func(t *testing.T) {
			t.Parallel()
			path := filepath.Join(webFolder(t), "index")
			store := func(t *testing.T) {
				webAfter(ahead)
				cfg := webConfig(client(base, app, "", true))
				cfg.Cache = filecache.New(path)
				gate, err := rolegate.Open(t.Context(), cfg)
				require.NoError(t, err)
				require.NoError(t, gate.Close())
			}
			synctest.Test(t, store)               // each bubble begins at the same moment:
			synctest.Test(t, func(t *testing.T) { // this one is back before the list was stored
				book := new(webBook)
				cfg := webConfig(client(base, app, "", false))
				cfg.Cache, cfg.StartEmpty, cfg.Logger = filecache.New(path), true, book.logger()
				gate := webOpen(t, cfg)
				webAfter(time.Millisecond)
				webLoadedOrNot(t, gate, book, false, "dated in the future")
			})
		})
	}
}

func webLoadedOrNot(t *testing.T, gate *rolegate.Gate, book *webBook, used bool, says string) {
	t.Helper()
	assert.Equal(t, used, gate.Status().Cache.Loaded)
	assert.Equal(t, used, webAllowed(gate, 1))
	lines := book.lines("rolegate: the stored index is not used; the list comes from the source")
	if used {
		assert.Empty(t, lines)
		return
	}
	assert.Equal(t, rolegate.ReasonNotReady, gate.Decide(t.Context(), rolegate.UserID(1)).Reason)
	assert.EqualValues(t, 1, gate.Status().Cache.Failed)
	require.Len(t, lines, 1)
	assert.Contains(t, lines[0]["err"], says)
}

// webWriter is a file cache whose disk fails after so many bytes.
type webWriter struct {
	*filecache.Cache
	mu    sync.Mutex
	err   error // nil is a disk that is well
	after int
}

func (d *webWriter) set(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.err = err
}

func (d *webWriter) Store(ctx context.Context, write func(io.Writer) error) error {
	d.mu.Lock()
	err, left := d.err, d.after
	d.mu.Unlock()
	return d.Cache.Store(ctx, func(w io.Writer) error {
		return write(webFunc(func(b []byte) (int, error) {
			if err == nil {
				return w.Write(b)
			}
			n, _ := w.Write(b[:min(left, len(b))])
			left -= n
			if n < len(b) {
				return n, &fs.PathError{Op: "write", Path: "index", Err: err}
			}
			return n, nil
		}))
	})
}

type webFunc func([]byte) (int, error)

func (f webFunc) Write(b []byte) (int, error) { return f(b) }

// Line 48: a disk that is full or read-only, a folder that is gone. The list in
// memory must happen all the same, the failure be counted and told once, and the
// old file stay; when the disk is well again, the index is stored again.
func TestFault48TheIndexCannotBeStored(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		spoil func(t *testing.T, folder string, disk *webWriter)
		fix   func(t *testing.T, folder string, disk *webWriter)
		kept  bool // the old file is still there
	}{
		{"the disk is full", func(_ *testing.T, _ string, d *webWriter) { d.set(syscall.ENOSPC) }, nil, true},
		{"the disk is read-only", func(_ *testing.T, _ string, d *webWriter) { d.set(syscall.EROFS) }, nil, true},
		{"the folder is gone, and the one above it", func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.RemoveAll(filepath.Dir(folder)))
		}, func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.MkdirAll(folder, 0o700))
		}, false},
		{"a file in place of the folder", func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.RemoveAll(folder))
			require.NoError(t, os.WriteFile(folder, nil, 0o600))
		}, func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.Remove(folder))
			require.NoError(t, os.Mkdir(folder, 0o700))
		}, false},
		{"a folder in place of the file", func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.Remove(filepath.Join(folder, "index")))
			require.NoError(t, os.Mkdir(filepath.Join(folder, "index"), 0o700))
		}, func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.Remove(filepath.Join(folder, "index")))
		}, false},
		{"the folder is others' to write", func(t *testing.T, folder string, _ *webWriter) {
			require.NoError(t, os.Chmod(folder, 0o777))
		}, func(t *testing.T, folder string, _ *webWriter) { require.NoError(t, os.Chmod(folder, 0o700)) }, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			folder := webFolder(t)
			path := filepath.Join(folder, "index")
			synctest.Test(t, func(t *testing.T) {
				book, source := new(webBook), rolegatetest.NewStatic(webUser(1, webIn(7, "teacher")))
				disk := &webWriter{Cache: filecache.New(path), after: 100}
				cfg := webConfig(source)
				cfg.Cache, cfg.Logger = disk, book.logger()
				gate := webOpen(t, cfg)
				webAfter(10 * time.Second)
				require.EqualValues(t, 1, gate.Status().Cache.Stored)
				before, err := os.ReadFile(path)
				require.NoError(t, err)

				c.spoil(t, folder, disk)
				for id := range int64(3) {
					source.Put(webUser(id+2, webIn(7, "teacher")))
					require.NoError(t, gate.Refresh(t.Context()))
					assert.True(t, webAllowed(gate, id+2), "the list in memory is published")
					source.Remove(id + 2)
					require.NoError(t, gate.RefreshAll(t.Context()))
					assert.False(t, webAllowed(gate, id+2))
					webAfter(10 * time.Second)
				}
				status := gate.Status()
				assert.Equal(t, rolegate.StateReady, status.State)
				assert.EqualValues(t, 1, status.Cache.Stored)
				assert.GreaterOrEqual(t, status.Cache.Failed, uint64(3))
				assert.NotEmpty(t, status.Cache.Error)
				assert.Zero(t, status.Full.Failed+status.Incremental.Failed)
				assert.Len(t, book.lines("rolegate: the index cannot be stored: a restart will have to wait for the source, or goes on from an older one"), 1)
				if c.kept {
					after, err := os.ReadFile(path)
					require.NoError(t, err)
					assert.Equal(t, before, after)
					all, err := os.ReadDir(folder)
					require.NoError(t, err)
					assert.Len(t, all, 1, "nothing half-written is left")
				}

				disk.set(nil)
				if c.fix != nil {
					c.fix(t, folder, disk)
				}
				source.Put(webUser(9))
				require.NoError(t, gate.Refresh(t.Context()))
				webAfter(10 * time.Second)
				assert.EqualValues(t, 2, gate.Status().Cache.Stored)
				source.Fail(errors.New("down"))
				restarted := webOpen(t, cfg)
				assert.True(t, webAllowed(restarted, 9))
				webAfter(10 * time.Second)
			})
		})
	}
	t.Run("a folder that was never there", func(t *testing.T) {
		t.Parallel()
		folder := filepath.Join(t.TempDir(), "nor this one", "never there")
		cfg := webConfig(rolegatetest.NewStatic())
		cfg.Cache = filecache.New(filepath.Join(folder, "index"))
		webRepaired(t, cfg)
	})
}

// webCommand finds the command that an error ends with.
var webCommand = regexp.MustCompile(`with: ((?:chmod|rm|chown|install) [^\n]*)$`)

// webRepaired says that Open refuses a config, naming a command, and takes it once
// that command has been run.
func webRepaired(t *testing.T, cfg rolegate.Config) {
	t.Helper()
	_, err := rolegate.Open(t.Context(), cfg)
	require.Error(t, err)
	found := webCommand.FindStringSubmatch(strings.TrimSpace(err.Error()))
	require.NotEmpty(t, found, err.Error())
	command := found[1]
	out, runErr := exec.CommandContext(t.Context(), "sh", "-c", command).CombinedOutput()
	require.NoError(t, runErr, "%s: %s", command, out)
	gate := webOpen(t, cfg)
	require.Zero(t, gate.Status().Cache.Failed, "after %s: %s", command, gate.Status().Cache.Error)
	assert.False(t, webAllowed(gate, 666))
}

// webFolder is a folder that nobody else can write to.
func webFolder(t *testing.T) string {
	t.Helper()
	folder := filepath.Join(t.TempDir(), "own")
	require.NoError(t, os.Mkdir(folder, 0o700))
	return folder
}
