// Package filecache keeps the last good index of a [rolegate.Gate] in a file,
// so that an app that restarts while the marketplace is away serves at once.
//
//	gate, err := rolegate.Open(ctx, rolegate.Config{
//		Source: client,
//		Cache:  filecache.New("/var/lib/school/rolegate.index"),
//		…
//	})
//
// Whoever can write that file, or put another in its place, decides who enters
// the app. So the file must be the app's own and nobody else's to write, and
// neither a symbolic link nor anything but a plain file will do. Of folders, these
// will do:
//
//   - one that belongs to the app or to root and that nobody else can write to;
//   - one with the sticky bit that belongs to the app or to root, in which others
//     can neither remove nor replace what is the app's;
//   - one that belongs to root and that a group of the app's can write to, which is
//     what Kubernetes makes of a volume with fsGroup. Members of the group cannot
//     make a file that is the app's own. They can remove it, and bring an older one
//     of the app's back, which the gate uses until its first refresh, and no longer
//     than ExpireAfter from when that list was last confirmed.
//
// For any other, the error says what is wrong and how to fix it. A folder that is
// not there is made, mode 0700, if the one above it can be written to: that is how
// to have one of the app's own in an emptyDir, which everybody can write to. On
// systems without Unix permissions, see to all of that yourself.
//
// The file is replaced whole: a process that is killed while it writes, or a
// machine that loses power, leaves the old index or the new one. What is in it
// is checked by the gate when it is read: its form, its checksum, which list it
// is of, and how old.
package filecache

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/rolegate/rolegate"
)

// A Cache is a file with the last good index. It is safe for concurrent use,
// also by several processes: the last to store wins.
//
// The nil and the zero Cache are mistakes that rolegate.Open reports.
type Cache struct {
	path string
}

var _ rolegate.Cache = (*Cache)(nil)

// New returns the cache in the file with that name, which need not be there
// yet, nor its folder if that can be made. A relative name is understood now: a
// change of the working directory changes nothing.
func New(path string) *Cache {
	if path != "" && !isFolderName(path) {
		if whole, err := filepath.Abs(path); err == nil {
			path = whole
		}
	}
	return &Cache{path: path}
}

// isFolderName reports whether that can be nothing but the name of a folder.
func isFolderName(path string) bool { return os.IsPathSeparator(path[len(path)-1]) }

// Validate returns what is wrong with the name of the file, or with its folder
// and what lies there, and which command fixes it. rolegate.Open calls it, so
// that an app does not run for weeks with a cache that is of no use.
func (c *Cache) Validate() error {
	if c == nil || c.path == "" {
		return errors.New("filecache: the name of the file is empty: give one such as /var/lib/school/rolegate.index, in a folder that is the app's own")
	}
	if isFolderName(c.path) {
		return c.isFolder()
	}
	shared, err := c.checkFolder()
	if err != nil {
		return err
	}
	info, err := os.Lstat(c.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("filecache: the app cannot look into the folder %s: fix it with: %s: %w", filepath.Dir(c.path), c.giveFolder(), err)
	}
	if err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	return c.checkFile(info, shared)
}

func (c *Cache) isFolder() error {
	return fmt.Errorf("filecache: %s is a folder: give the name of a file in it, such as %s", c.path, filepath.Join(c.path, "rolegate.index"))
}

// Load opens the file. An error wraps fs.ErrNotExist if there is none.
func (c *Cache) Load(context.Context) (io.ReadCloser, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	shared, err := c.checkFolder()
	if err != nil {
		return nil, err
	}
	f, err := os.OpenFile(c.path, os.O_RDONLY|openFlags, 0)
	if errors.Is(err, fs.ErrPermission) { // it is root's
		return nil, fmt.Errorf("filecache: the app cannot read %s: remove it with: rm %s: %w", c.path, quote(c.path), err)
	}
	if err != nil {
		return nil, fmt.Errorf("filecache: %w", err)
	}
	// Once more, of what was opened: it may have been replaced since.
	info, err := f.Stat()
	if err == nil {
		err = c.checkFile(info, shared)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// Store replaces the file by what write writes. If anything fails, the file
// stays as it was. It does not heed ctx while the disk is busy.
func (c *Cache) Store(ctx context.Context, write func(io.Writer) error) (err error) {
	if err := c.Validate(); err != nil {
		return err
	}
	folder := filepath.Dir(c.path)
	if err := os.Mkdir(folder, 0o700); err == nil {
		if _, err := c.checkFolder(); err != nil { // it may be another's by now
			return err
		}
	} else if !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("filecache: %w", err)
	}
	c.sweep()
	temp, err := os.CreateTemp(folder, c.tempPrefix()+"*"+tempSuffix) // made with mode 0600
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("filecache: the app cannot write to the folder %s: fix it with: %s: %w", folder, c.giveFolder(), err)
	}
	if err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	placed := false
	defer func() { // also when write panics
		if !placed {
			_ = temp.Close()
			_ = os.Remove(temp.Name())
		}
	}()
	if err := write(temp); err != nil {
		return fmt.Errorf("filecache: writing %s: %w", temp.Name(), err)
	}
	if err := temp.Sync(); err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	if err := temp.Close(); err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	if err := os.Rename(temp.Name(), c.path); err != nil {
		return fmt.Errorf("filecache: %w", err)
	}
	placed = true
	if err := syncFolder(folder); err != nil {
		// The file is in its place; only a loss of power could bring the old one
		// back.
		return fmt.Errorf("filecache: %w", err)
	}
	return nil
}

// A file that is being written is called .NAME.123456.tmp.
func (c *Cache) tempPrefix() string { return "." + filepath.Base(c.path) + "." }

const tempSuffix = ".tmp"

// leftAfter is how old such a file is that nobody writes any more: the gate
// gives up long before.
const leftAfter = 10 * time.Minute

// sweep removes what processes have left that were killed while they wrote.
func (c *Cache) sweep() {
	folder := filepath.Dir(c.path)
	entries, _ := os.ReadDir(folder)
	for _, e := range entries {
		digits, ours := strings.CutPrefix(e.Name(), c.tempPrefix())
		digits, temp := strings.CutSuffix(digits, tempSuffix)
		if !ours || !temp || digits == "" || strings.Trim(digits, "0123456789") != "" {
			continue
		}
		if info, err := e.Info(); err == nil && info.Mode().IsRegular() && time.Since(info.ModTime()) > leftAfter {
			_ = os.Remove(filepath.Join(folder, e.Name()))
		}
	}
}

// checkFolder says whether others could put a file of theirs in place of ours.
// shared reports that others can make files in the folder, so that a file in it
// has to be looked at more closely.
func (c *Cache) checkFolder() (shared bool, _ error) {
	folder := filepath.Dir(c.path)
	info, err := os.Stat(folder)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if canWrite(filepath.Dir(folder)) {
			return false, nil // Store makes it
		}
		// Not fs.ErrNotExist: it is no cache that is empty yet.
		return false, fmt.Errorf("filecache: there is no folder %s: make it with: install -d -m 700 -o %d %s", folder, os.Geteuid(), quote(folder))
	case err != nil:
		return false, fmt.Errorf("filecache: %w", err)
	case !info.IsDir():
		return false, fmt.Errorf("filecache: %s is not a folder: give the name of a file in one, such as /var/lib/school/rolegate.index", folder)
	case foreign(info):
		return false, fmt.Errorf("filecache: the folder %s belongs to another user, who could put another index in its place: fix it with: %s", folder, c.giveFolder())
	case !writableByOthers(info) || info.Mode()&fs.ModeSticky != 0 || grantedToGroup(info):
		return writableByOthers(info), nil
	}
	return false, fmt.Errorf("filecache: others can write to the folder %s (%s) and so put their own index in place: %s", folder, info.Mode(), c.closeFolder(info))
}

// giveFolder is the command that makes the folder the app's own.
func (c *Cache) giveFolder() string {
	folder := quote(filepath.Dir(c.path))
	return fmt.Sprintf("chown %d %s && chmod u+rwx %s", os.Geteuid(), folder, folder)
}

// closeFolder says how to get a folder that others cannot write to: by a command
// where the app may change the mode, else by another name.
func (c *Cache) closeFolder(info fs.FileInfo) string {
	folder := filepath.Dir(c.path)
	switch {
	case canChmod(info):
		return "use a folder of the app's own, or fix it with: chmod go-w " + quote(folder)
	case canWrite(folder):
		return "give the name of a file in a folder of the app's own, which is made if it is not there: " + filepath.Join(folder, "rolegate", filepath.Base(c.path))
	}
	return "use a folder of the app's own"
}

// checkFile says whether the file may be somebody else's work, and whether
// others could read it. shared is what checkFolder said.
func (c *Cache) checkFile(info fs.FileInfo, shared bool) error {
	switch {
	case info.Mode()&fs.ModeSymlink != 0:
		return fmt.Errorf("filecache: %s is a symbolic link: give the name of the file itself, or remove the link with: rm %s", c.path, quote(c.path))
	case info.IsDir():
		return c.isFolder()
	case !info.Mode().IsRegular():
		return fmt.Errorf("filecache: %s is not a plain file: give another name, or remove it with: rm %s", c.path, quote(c.path))
	case writableByOthers(info) && shared:
		return fmt.Errorf("filecache: others can write to %s, so that it cannot be believed (Kubernetes lets the group write to all files of a persistent volume with fsGroup when a pod starts, unless fsGroupChangePolicy is OnRootMismatch): remove it with: rm %s", c.path, quote(c.path))
	case writableByOthers(info):
		return fmt.Errorf("filecache: others can write to %s, so that it cannot be believed: remove it with: rm %s", c.path, quote(c.path))
	case readableByOthers(info):
		return fmt.Errorf("filecache: others can read %s, which may have personal data in it: fix it with: chmod 600 %s", c.path, quote(c.path))
	case foreign(info):
		return fmt.Errorf("filecache: %s belongs to another user, so that it cannot be believed: remove it with: rm %s", c.path, quote(c.path))
	case shared && linked(info):
		return fmt.Errorf("filecache: %s has another name too, by which others may have put it there: remove it with: rm %s", c.path, quote(c.path))
	}
	return nil
}

// quote writes a name as a shell reads it.
func quote(name string) string {
	if plain := strings.IndexFunc(name, func(r rune) bool {
		return !strings.ContainsRune("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789/._-", r)
	}); plain < 0 {
		return name
	}
	return "'" + strings.ReplaceAll(name, "'", `'\''`) + "'"
}
