//go:build unix

package filecache_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/filecache"
	"github.com/rolegate/rolegate/rolegatetest"
)

// somebody is the uid of somebody else, who is not root either.
const somebody = 65_533

// fix runs the command that an error tells, and says whether it told one.
func fix(t *testing.T, err error) {
	t.Helper()
	told := regexp.MustCompile(`(?:fix it with|make it with|remove it with|remove the link with): (.*?)(?:: (?:open|lstat) .*)?$`).FindStringSubmatch(err.Error())
	require.NotNil(t, told, "no command in: %v", err)
	cmd := exec.CommandContext(t.Context(), "sh", "-ec", told[1])
	cmd.Dir = t.TempDir()
	out, failed := cmd.CombinedOutput()
	require.NoError(t, failed, "%s: %s", told[1], out)
}

func chmod(mode fs.FileMode) func(*testing.T, string) {
	return func(t *testing.T, name string) { require.NoError(t, os.Chmod(name, mode)) }
}

func link(t *testing.T, name string) { require.NoError(t, os.Link(name, name+".2")) }

// A problem is what is wrong with the file, or with its folder. Those that only
// root can bring about are in rootsProblems.
type problem struct {
	name   string
	file   func(t *testing.T, name string) // what is done to the file, which is there
	folder func(t *testing.T, name string)
	says   string
	fits   bool // nothing is wrong with it
	lost   bool // to fix it is to lose what was stored
}

var problems = []problem{
	{name: "nothing", fits: true},
	{name: "a file that its owner may only read", file: chmod(0o400), fits: true},
	{name: "a folder that others can list", folder: chmod(0o755), fits: true},
	{name: "a file that its group can write", file: chmod(0o620), says: "others can write to", lost: true},
	{name: "a file that all can write", file: chmod(0o602), says: "others can write to", lost: true},
	{name: "a file for everybody", file: chmod(0o666), says: "others can write to", lost: true},
	{name: "a file that its group can read", file: chmod(0o640), says: "others can read"},
	{name: "a file that all can read", file: chmod(0o604), says: "others can read"},
	{name: "a file as most are", file: chmod(0o644), says: "others can read"},
	{name: "a folder that its group can write", folder: chmod(0o770), says: "others can write to the folder"},
	{name: "a folder that all can write", folder: chmod(0o703), says: "others can write to the folder"},
	{name: "a folder that everybody can write to", folder: chmod(0o777), says: "others can write to the folder"},
	{name: "a folder like /tmp", folder: chmod(0o777 | fs.ModeSticky), fits: true},
	{name: "a file with two names", file: link, fits: true},
	{name: "a file with two names, in a folder like /tmp", file: link, folder: chmod(0o777 | fs.ModeSticky), says: "has another name too", lost: true},
	{name: "a file that Kubernetes has changed", file: chmod(0o660), folder: chmod(0o777 | fs.ModeSticky), says: "unless fsGroupChangePolicy is OnRootMismatch", lost: true},
	{name: "no folder, and none above it", folder: func(t *testing.T, name string) { require.NoError(t, os.RemoveAll(filepath.Dir(name))) }, says: "there is no folder", lost: true},
	{name: "a link to a file that is fine", file: func(t *testing.T, name string) {
		require.NoError(t, os.Rename(name, name+".real"))
		require.NoError(t, os.Symlink(name+".real", name))
	}, says: "is a symbolic link", lost: true},
	{name: "a link to nowhere", file: func(t *testing.T, name string) {
		require.NoError(t, os.Remove(name))
		require.NoError(t, os.Symlink(name+".none", name))
	}, says: "is a symbolic link", lost: true},
	{name: "a pipe", file: func(t *testing.T, name string) {
		require.NoError(t, os.Remove(name))
		require.NoError(t, syscall.Mkfifo(name, 0o600))
	}, says: "is not a plain file", lost: true},
}

var rootsProblems = []problem{
	{name: "a file of somebody else's", file: func(t *testing.T, name string) { require.NoError(t, os.Chown(name, somebody, -1)) },
		says: "belongs to another user, so that it cannot be believed", lost: true},
	{name: "a link of somebody else's", file: func(t *testing.T, name string) {
		require.NoError(t, os.Rename(name, name+".real"))
		require.NoError(t, os.Symlink(name+".real", name))
		require.NoError(t, os.Lchown(name, somebody, -1))
	}, says: "is a symbolic link", lost: true},
	{name: "a folder of somebody else's", folder: func(t *testing.T, name string) { require.NoError(t, os.Chown(name, somebody, -1)) },
		says: "belongs to another user, who could put another index in its place"},
	{name: "a file of another group", file: func(t *testing.T, name string) { require.NoError(t, os.Chown(name, -1, somebody)) }, fits: true},
}

func TestPermissions(t *testing.T) {
	t.Parallel()
	all := problems
	if os.Geteuid() == 0 {
		all = append(all, rootsProblems...)
	}
	for _, p := range all {
		for _, name := range []string{"list", `it's a list; false * "$0`} {
			t.Run(p.name+" "+name, func(t *testing.T) {
				t.Parallel()
				dir := filepath.Join(folder(t), "above", name+" folder")
				require.NoError(t, os.MkdirAll(dir, 0o700))
				path := filepath.Join(dir, name)
				cache := filecache.New(path)
				require.NoError(t, cache.Store(t.Context(), text("stored")))
				if p.file != nil {
					p.file(t, path)
				}
				if p.folder != nil {
					p.folder(t, dir)
				}
				err := cache.Validate()
				if p.fits {
					require.NoError(t, err)
					assert.Equal(t, "stored", content(t, cache))
					require.NoError(t, cache.Store(t.Context(), text("again")))
					assert.Equal(t, "again", content(t, cache))
					return
				}
				require.ErrorContains(t, err, p.says)
				require.NotErrorIs(t, err, fs.ErrNotExist, "it is not just empty yet")
				_, loadErr := cache.Load(t.Context())
				assert.Equal(t, err, loadErr)
				assert.Equal(t, err, cache.Store(t.Context(), text("new")), "nothing is stored where it cannot be kept")
				_, openErr := rolegate.Open(t.Context(), config(rolegatetest.NewStatic(), cache))
				assert.ErrorContains(t, openErr, "Cache: "+err.Error())

				fix(t, err)
				require.NoError(t, cache.Validate(), "after: %v", err)
				if p.lost {
					_, err := cache.Load(t.Context())
					require.ErrorIs(t, err, fs.ErrNotExist)
				} else {
					assert.Equal(t, "stored", content(t, cache))
				}
				require.NoError(t, cache.Store(t.Context(), text("new")))
				assert.Equal(t, "new", content(t, cache))
				info, err := os.Lstat(path)
				require.NoError(t, err)
				assert.Equal(t, fs.FileMode(0o600), info.Mode())
			})
		}
	}
}

// A folder that is not there is made for whoever may make it, and for nobody by
// looking.
func TestFolderIsMade(t *testing.T) {
	t.Parallel()
	dir := filepath.Join(folder(t), "own")
	cache := filecache.New(filepath.Join(dir, "list"))
	require.NoError(t, cache.Validate())
	_, err := cache.Load(t.Context())
	require.ErrorIs(t, err, fs.ErrNotExist)
	require.NoDirExists(t, dir)
	require.NoError(t, cache.Store(t.Context(), text("stored")))
	assert.Equal(t, "stored", content(t, cache))
	info, err := os.Stat(dir)
	require.NoError(t, err)
	assert.Equal(t, fs.ModeDir|0o700, info.Mode())
}

// What Kubernetes makes of volumes, for a process that is not root's: an emptyDir
// is root's and everybody can write to it, one with stickyBit has that too, and a
// persistent volume is root's; fsGroup gives each to the group, with setgid.
func TestFolderOfAGroup(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		return // only root can give folders away
	}
	const group, another = somebody + 1, somebody + 2 // group is one of the process', beside its own
	for _, c := range []struct {
		name         string
		owner, group int
		mode         fs.FileMode
		says         string // "": it is accepted
	}{
		{"a persistent volume", 0, group, 0o775 | fs.ModeSetgid, ""},
		{"for the group alone", 0, group, 0o770 | fs.ModeSetgid, ""},
		{"for the process' own group", 0, somebody, 0o770, ""},
		{"emptyDir", 0, group, 0o777 | fs.ModeSetgid, "others can write to the folder %s (dgrwxrwxrwx) and so put their own index in place: give the name of a file in a folder of the app's own, which is made if it is not there: %[1]s/rolegate/list"},
		{"emptyDir without fsGroup", 0, 0, 0o777, "which is made if it is not there: %s/rolegate/list"},
		{"emptyDir with stickyBit", 0, group, 0o777 | fs.ModeSetgid | fs.ModeSticky, ""},
		{"sticky, of somebody else's", another, group, 0o770 | fs.ModeSticky, "the folder %s belongs to another user"},
		{"of somebody else's", another, group, 0o770 | fs.ModeSetgid, "the folder %s belongs to another user"},
		{"the process' own, for the group", somebody, group, 0o770, "fix it with: chmod go-w %s"},
		{"for another group", 0, another, 0o775, "others can write to the folder %s (drwxrwxr-x) and so put their own index in place: use a folder of the app's own"},
		{"for another group alone", 0, another, 0o770, "others can write to the folder %s (drwxrwx---)"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(open(t), "volume")
			require.NoError(t, os.Mkdir(dir, 0o700))
			require.NoError(t, os.Chown(dir, c.owner, c.group))
			require.NoError(t, os.Chmod(dir, c.mode))
			path := filepath.Join(dir, "list")
			said := asAnybody(t, "store", path)
			if c.says != "" {
				require.Contains(t, said, fmt.Sprintf(c.says, dir))
				_, own, _ := strings.Cut(said, "which is made if it is not there: ")
				if own == "" {
					return
				}
				path = own
				said = asAnybody(t, "store", path)
			}
			require.Empty(t, said)
			require.Equal(t, "<nil>", asAnybody(t, "load", path))

			// What somebody else has put there is not believed.
			require.NoError(t, os.Rename(path, path+".real"))
			require.NoError(t, os.WriteFile(path, nil, 0o600))
			require.NoError(t, os.Chown(path, another, another))
			require.Contains(t, asAnybody(t, "load", path), "belongs to another user, so that it cannot be believed")
		})
	}
}

// A process in which the umask is as lax as can be stores a file that nobody
// else can read all the same.
func TestUmask(t *testing.T) { // not parallel: the umask is the process'
	dir := folder(t)
	before := syscall.Umask(0)
	defer syscall.Umask(before)
	cache := filecache.New(filepath.Join(dir, "list"))
	require.NoError(t, cache.Store(t.Context(), func(w io.Writer) error {
		info, err := w.(*os.File).Stat()
		require.NoError(t, err)
		assert.Equal(t, fs.FileMode(0o600), info.Mode(), "also while it is being written")
		return nil
	}))
	require.NoError(t, cache.Validate())
}

func init() {
	helpers["store"] = func(args []string) {
		if err := filecache.New(args[0]).Store(context.Background(), text("stored")); err != nil {
			fmt.Print(err)
		}
	}
	helpers["load"] = func(args []string) {
		r, err := filecache.New(args[0]).Load(context.Background())
		if errors.Is(err, fs.ErrNotExist) {
			err = fs.ErrNotExist
		}
		fmt.Print(err)
		if err == nil {
			_ = r.Close()
		}
	}
}

// asAnybody runs this program as a user who is not root, and returns what it
// prints. Where the tests do not run as root, that is who runs them.
func asAnybody(t *testing.T, helper string, args ...string) string {
	t.Helper()
	self, err := os.Executable()
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), self, args...)
	if os.Geteuid() == 0 {
		// Where it is, only root may go. It is copied by another process: while
		// this one has a program open for writing, every process that a parallel
		// test starts has it open too for a moment, and nobody can run it.
		cmd.Path = filepath.Join(open(t), "test")
		out, err := exec.CommandContext(t.Context(), "cp", self, cmd.Path).CombinedOutput()
		require.NoError(t, err, "%s", out)
		require.NoError(t, os.Chmod(cmd.Path, 0o755))
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: somebody, Gid: somebody, Groups: []uint32{somebody + 1}}}
	}
	cmd.Dir = "/"
	cmd.Env = append(os.Environ(), "FILECACHE_TEST_HELPER="+helper)
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	return string(out)
}

// open is a folder in which everybody may look.
func open(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "filecache")
	require.NoError(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	require.NoError(t, os.Chmod(dir, 0o755))
	return dir
}

// What only a user who is not root can run into.
func TestForbidden(t *testing.T) {
	t.Parallel()
	owner := os.Geteuid()
	if owner == 0 {
		owner = somebody
	}
	for _, c := range []struct {
		name   string
		folder fs.FileMode
		file   fs.FileMode // 0: there is none
		says   string
	}{
		{name: "a folder in which the app cannot write", folder: 0o500, says: "the app cannot write to the folder"},
		{name: "a folder into which the app cannot look", folder: 0o600, says: "the app cannot look into the folder"},
		{name: "nothing", folder: 0o700, file: 0o600},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir := filepath.Join(open(t), "folder")
			require.NoError(t, os.Mkdir(dir, 0o700))
			path := filepath.Join(dir, "list")
			if c.file != 0 {
				require.NoError(t, os.WriteFile(path, nil, c.file))
				require.NoError(t, os.Chown(path, owner, -1))
			}
			require.NoError(t, os.Chown(dir, owner, -1))
			require.NoError(t, os.Chmod(dir, c.folder))
			said := asAnybody(t, "store", path)
			if c.says != "" {
				require.Contains(t, said, c.says)
				fix(t, errors.New(said))
				said = asAnybody(t, "store", path)
			}
			require.Empty(t, said)
		})
	}
	if os.Geteuid() != 0 {
		return
	}
	t.Run("a folder of root's", func(t *testing.T) {
		t.Parallel()
		dir := open(t)
		path := filepath.Join(dir, "list")
		said := asAnybody(t, "store", path)
		require.Contains(t, said, "the app cannot write to the folder")
		fix(t, errors.New(said))
		require.Empty(t, asAnybody(t, "store", path))
	})
	t.Run("no folder, made by root", func(t *testing.T) {
		t.Parallel()
		path := filepath.Join(open(t), "one", "list")
		said := asAnybody(t, "store", path)
		require.Contains(t, said, "there is no folder")
		fix(t, errors.New(said))
		require.Empty(t, asAnybody(t, "store", path))
	})
	t.Run("a file of root's", func(t *testing.T) {
		t.Parallel()
		dir := open(t)
		path := filepath.Join(dir, "list")
		require.NoError(t, filecache.New(path).Store(t.Context(), text("root's")))
		said := asAnybody(t, "load", path)
		require.Contains(t, said, "the app cannot read")
		fix(t, errors.New(said))
		require.Contains(t, asAnybody(t, "load", path), "file does not exist")
	})
}
