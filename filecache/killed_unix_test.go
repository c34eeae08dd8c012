//go:build drill && unix

package filecache_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// numbered is a list that says which one it is: by its sequence, and by the
// organisation of each of its users' grants. There are up to 3,000 of them.
func numbered(number int64) *rolegatetest.Static {
	records := []rolegate.Record{{UserID: 1, Sequence: number, Grants: []rolegate.Grant{{OrgID: number, RoleCode: "teacher"}}}}
	for id := int64(2); id < 2+number*7919%3000; id++ {
		r := records[0]
		r.UserID = id
		records = append(records, r)
	}
	return rolegatetest.NewStatic(records...)
}

// encoded is the stored index of a list.
func encoded(source rolegate.Source) []byte {
	cache := &capture{}
	gate, err := rolegate.Open(context.Background(), config(source, cache))
	if err == nil {
		err = gate.Close()
	}
	if err != nil {
		panic(err)
	}
	return cache.data
}

// capture is a Cache that keeps what it gets.
type capture struct{ data []byte }

func (c *capture) Load(context.Context) (io.ReadCloser, error) { return nil, os.ErrNotExist }

func (c *capture) Store(_ context.Context, write func(io.Writer) error) error {
	var b strings.Builder
	err := write(&b)
	c.data = []byte(b.String())
	return err
}

func init() {
	// storing stores one index after the other, and says before and after each
	// which, until it is killed.
	helpers["storing"] = func(args []string) {
		number, _ := strconv.ParseInt(args[1], 10, 64)
		cache := filecache.New(args[0])
		for ; ; number++ {
			data := encoded(numbered(number))
			fmt.Println("begun", number)
			err := cache.Store(context.Background(), func(w io.Writer) error {
				for len(data) > 0 { // in pieces, so that there is more between which to be killed
					n := min(len(data), 4096)
					if _, err := w.Write(data[:n]); err != nil {
						return err
					}
					data = data[n:]
				}
				return nil
			})
			if err != nil {
				fmt.Println("failed", err)
				return
			}
			fmt.Println("stored", number)
		}
	}
}

// Processes are killed while they store. Each time the file is whole: the last
// that was stored, or one that was being stored.
func TestKilledAtAnyMoment(t *testing.T) {
	t.Parallel()
	const kills, children = 500, 2
	for child := range children {
		t.Run(fmt.Sprint(child), func(t *testing.T) {
			t.Parallel()
			dir := folder(t)
			path := filepath.Join(dir, "list")
			stored, begun := int64(0), int64(0)
			unfinished := 0
			for range kills / children {
				ofChild := storeUntilKilled(t, path, begun+1)
				stored, begun = max(stored, ofChild.stored), max(begun, ofChild.begun)
				if ofChild.begun > ofChild.stored {
					unfinished++
				}
				number := restarted(t, path)
				require.GreaterOrEqual(t, number, stored, "an older one came back")
				require.LessOrEqual(t, number, begun)
				stored = number
			}
			assert.Greater(t, unfinished, kills/children/10, "of the children, so many were killed in the middle")
			left := len(names(t, dir)) - 1
			t.Logf("%d stored, %d killed while they stored, %d files left", stored, unfinished, left)

			for _, name := range names(t, dir) {
				old := time.Now().Add(-time.Hour)
				require.NoError(t, os.Chtimes(filepath.Join(dir, name), old, old))
			}
			require.NoError(t, filecache.New(path).Store(t.Context(), text("x")))
			assert.Equal(t, []string{"list"}, names(t, dir), "what they left is removed")
		})
	}
}

type told struct{ begun, stored int64 }

// storeUntilKilled has a process store, kills it, and returns what it told.
func storeUntilKilled(t *testing.T, path string, from int64) (last told) {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, path, fmt.Sprint(from))
	cmd.Env = append(os.Environ(), "FILECACHE_TEST_HELPER=storing")
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, cmd.Start())
	lines := bufio.NewScanner(out)
	for first := true; lines.Scan(); first = false {
		word, number, _ := strings.Cut(lines.Text(), " ")
		n, err := strconv.ParseInt(number, 10, 64)
		switch {
		case err != nil:
			t.Errorf("the process says: %s", lines.Text())
		case word == "begun":
			last.begun = n
		case word == "stored":
			last.stored = n
		}
		if first {
			defer time.AfterFunc(time.Duration(rand.Int64N(int64(25*time.Millisecond))), func() { _ = cmd.Process.Kill() }).Stop()
		}
	}
	var exit *exec.ExitError
	require.True(t, errors.As(cmd.Wait(), &exit), "it was killed")
	require.Equal(t, -1, exit.ExitCode())
	return last
}

// restarted starts a gate from the file, and returns the number of its list.
func restarted(t *testing.T, path string) int64 {
	t.Helper()
	source := rolegatetest.NewStatic()
	source.Fail(io.ErrUnexpectedEOF)
	cfg := config(source, filecache.New(path))
	cfg.StartEmpty = true
	gate, err := rolegate.Open(t.Context(), cfg)
	require.NoError(t, err)
	defer gate.Close()
	// It is there before the first full refresh, which fails.
	require.Eventually(t, func() bool { return gate.Status().Full.Failed > 0 }, 20*time.Second, time.Millisecond)
	s := gate.Status()
	if errors.Is(statErr(path), os.ErrNotExist) {
		require.False(t, s.Cache.Loaded)
		require.Empty(t, s.Cache.Error)
		return 0
	}
	require.True(t, s.Cache.Loaded, s.Cache.Error)
	require.EqualValues(t, max(1, s.Cursor*7919%3000+1), s.Users)
	for _, id := range []int64{1, int64(s.Users)} {
		orgs := gate.Decide(t.Context(), rolegate.UserID(id)).User.Orgs()
		require.Equal(t, []int64{s.Cursor}, orgs)
	}
	return s.Cursor
}

func statErr(path string) error {
	_, err := os.Lstat(path)
	return err
}
