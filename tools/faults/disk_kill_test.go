//go:build drill

package faults_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// The environment of a child that stores indexes until it is killed: the file,
// and, if it is to kill itself, after how many pieces of the first one.
const (
	webChildFile   = "ROLEGATE_FAULTS_STORE"
	webChildPieces = "ROLEGATE_FAULTS_PIECES"
)

func init() {
	if path := os.Getenv(webChildFile); path != "" {
		pieces, err := strconv.Atoi(os.Getenv(webChildPieces))
		if err != nil {
			pieces = -1
		}
		err = webStoreForEver(path, pieces)
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
}

// webVersion is a list in which everybody is granted a role in organisation n.
type webVersion struct{ n int64 }

const webVersionUsers = 2000

func (webVersion) CacheKey() string { return "webVersion" }

func (v webVersion) Pull(_ context.Context, after int64, yield func(rolegate.Record)) error {
	for id := after + 1; id <= webVersionUsers; id++ {
		yield(rolegate.Record{UserID: id, Sequence: id, Account: fmt.Sprint("account of user ", id), Grants: []rolegate.Grant{webIn(v.n, "teacher")}})
	}
	return nil
}

// webStoreForEver stores one version after the other, each with a gate of its
// own, and prints the number of each that has been stored.
func webStoreForEver(path string, pieces int) error {
	for n := webStored(path) + 1; ; n++ {
		cfg := rolegate.Config{Source: webVersion{n}, Identify: webByHeader, Keep: keepAll, Logger: slog.New(slog.DiscardHandler)}
		cfg.Cache = filecache.New(path)
		if pieces >= 0 {
			cfg.Cache = webSuicidal{filecache.New(path), pieces}
		}
		gate, err := rolegate.Open(context.Background(), cfg)
		if err != nil {
			return err
		}
		if err := acceptShrink(context.Background(), gate); err != nil {
			return err
		}
		if err := gate.Close(); err != nil { // stores what is not stored yet
			return err
		}
		if status := gate.Status().Cache; status.Failed > 0 {
			return errors.New(status.Error)
		}
		fmt.Println(n)
	}
}

// webStored is the version that a gate finds in a file, 0 if there is none: it
// must be whole.
func webStored(path string) int64 {
	n, err := webLoad(path)
	if err != nil {
		panic(err)
	}
	return n
}

func webLoad(path string) (int64, error) {
	down := webKeyed{rolegatetest.NewStatic(), "webVersion"}
	down.Fail(errors.New("down"))
	gate, err := rolegate.Open(context.Background(), rolegate.Config{
		Source: down, Identify: webByHeader, Keep: keepAll, Logger: slog.New(slog.DiscardHandler), StartEmpty: true, Cache: filecache.New(path),
	})
	if err != nil {
		return 0, err
	}
	defer gate.Close()
	for gate.Status().Full.Failed == 0 { // it comes after the cache was read
		runtime.Gosched()
	}
	status := gate.Status()
	if !status.Cache.Loaded {
		if status.Cache.Failed > 0 {
			return 0, errors.New(status.Cache.Error)
		}
		return 0, nil
	}
	version := gate.Decide(context.Background(), rolegate.UserID(1)).User.Orgs()
	if len(version) != 1 {
		return 0, fmt.Errorf("user 1 is in organisations %v", version)
	}
	for id := range int64(webVersionUsers) {
		u := gate.Decide(context.Background(), rolegate.UserID(id+1)).User
		if !u.HasRoleIn(version[0], "teacher") || len(u.Grants()) != 1 || u.Account() != fmt.Sprint("account of user ", id+1) {
			return 0, fmt.Errorf("user %d of version %d has %v", id+1, version[0], u.Grants())
		}
	}
	if status.Users != webVersionUsers || status.Cursor != webVersionUsers {
		return 0, fmt.Errorf("%d users up to %d", status.Users, status.Cursor)
	}
	return version[0], nil
}

// webKeyed is a Static that says which list it is.
type webKeyed struct {
	*rolegatetest.Static
	key string
}

func (k webKeyed) CacheKey() string { return k.key }

// webSuicidal kills its own process after so many pieces of what it stores.
type webSuicidal struct {
	*filecache.Cache
	pieces int
}

func (s webSuicidal) Store(ctx context.Context, write func(io.Writer) error) error {
	return s.Cache.Store(ctx, func(w io.Writer) error {
		err := write(&webPieces{w: w, left: s.pieces})
		if err == nil {
			webKillSelf() // all is written, and nothing synced or renamed
		}
		return err
	})
}

// webPieces writes small pieces and kills the process when none is left.
type webPieces struct {
	w    io.Writer
	left int
}

const webPiece = 4 << 10

func (p *webPieces) Write(b []byte) (n int, err error) {
	for len(b) > 0 {
		if p.left == 0 {
			webKillSelf()
		}
		p.left--
		piece := b[:min(len(b), webPiece)]
		m, err := p.w.Write(piece)
		n += m
		if err != nil {
			return n, err
		}
		b = b[len(piece):]
	}
	return n, nil
}

func webKillSelf() {
	if self, err := os.FindProcess(os.Getpid()); err == nil {
		_ = self.Kill()
	}
	select {}
}

// webChild starts a child that stores into a file.
func webChild(t *testing.T, path string, pieces string) (*exec.Cmd, io.Reader) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	child := exec.CommandContext(t.Context(), self, "-test.run=^$")
	child.Env = append(os.Environ(), webChildFile+"="+path, webChildPieces+"="+pieces)
	child.Stderr = os.Stderr
	out, err := child.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, child.Start())
	return child, out
}

// Line 45: a process that is killed while it writes the index, at any step. What
// a restart finds must be the old file or the new one, whole; and what the
// killed one has left must be readable by nobody else, and go away.
func TestFault45KilledWhileTheIndexIsWritten(t *testing.T) {
	t.Parallel()
	left := func(t *testing.T, path string) []string {
		t.Helper()
		all, err := os.ReadDir(filepath.Dir(path))
		require.NoError(t, err)
		var others []string
		for _, entry := range all {
			info, err := entry.Info()
			require.NoError(t, err)
			assert.Equal(t, os.FileMode(0o600), info.Mode(), entry.Name())
			if entry.Name() != filepath.Base(path) {
				others = append(others, filepath.Join(filepath.Dir(path), entry.Name()))
			}
		}
		return others
	}
	t.Run("after so many bytes", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(webFolder(t), "index")
		webStoreVersion(t, path, 1)
		info, err := os.Stat(path)
		require.NoError(t, err)
		pieces := int(info.Size()/webPiece) + 3 // more than it takes: killed behind the last byte
		const kills = 14
		for i := range kills {
			at := i * pieces / (kills - 1)
			child, out := webChild(t, path, strconv.Itoa(at))
			told, err := io.ReadAll(out)
			require.NoError(t, err)
			require.Error(t, child.Wait(), "it was killed")
			assert.Empty(t, string(told), "nothing was stored")
			n, err := webLoad(path)
			require.NoError(t, err, "killed after %d pieces", at)
			require.EqualValues(t, 1, n, "killed after %d pieces", at)
			require.Len(t, left(t, path), i+1)
		}
		// They are not in the way of the next one, which clears the old ones away.
		old := time.Now().Add(-time.Hour)
		for _, name := range left(t, path) {
			require.NoError(t, os.Chtimes(name, old, old))
		}
		webStoreVersion(t, path, 2)
		n, err := webLoad(path)
		require.NoError(t, err)
		assert.EqualValues(t, 2, n)
		assert.Empty(t, left(t, path))
	})
	t.Run("at any moment", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(webFolder(t), "index")
		var last int64
		for i := range 24 {
			child, out := webChild(t, path, "")
			lines := bufio.NewScanner(out)
			told := last
			for range 1 + i%3 { // it has stored something, and goes on
				require.True(t, lines.Scan())
				n, err := strconv.ParseInt(lines.Text(), 10, 64)
				require.NoError(t, err)
				require.Equal(t, told+1, n)
				told = n
			}
			timer := time.NewTimer(time.Duration(i) * 300 * time.Microsecond)
			<-timer.C
			require.NoError(t, child.Process.Kill())
			for lines.Scan() {
				told, _ = strconv.ParseInt(lines.Text(), 10, 64)
			}
			_ = child.Wait()
			n, err := webLoad(path)
			require.NoError(t, err)
			require.GreaterOrEqual(t, n, told, "what was stored is never lost")
			require.LessOrEqual(t, n, told+1)
			last = n
			left(t, path)
		}
	})
}

// webStoreVersion stores a version.
func webStoreVersion(t *testing.T, path string, n int64) {
	t.Helper()
	cfg := webConfig(webVersion{n})
	cfg.Keep, cfg.Cache = keepAll, filecache.New(path)
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	require.NoError(t, acceptShrink(t.Context(), gate))
	require.NoError(t, gate.Close())
	require.Zero(t, gate.Status().Cache.Failed)
}
