//go:build unix

package filecache

import (
	"io/fs"
	"os"
	"slices"
	"syscall"
)

// openFlags keep Load from following a link, and from waiting for somebody who
// opens the other end of a pipe.
const openFlags = syscall.O_NOFOLLOW | syscall.O_NONBLOCK | syscall.O_CLOEXEC

func writableByOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o022 != 0 }

func readableByOthers(info fs.FileInfo) bool { return info.Mode().Perm()&0o044 != 0 }

// foreign reports whether it belongs to somebody who is neither us nor root.
func foreign(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Uid != 0 && int(stat.Uid) != os.Geteuid()
}

// grantedToGroup reports whether it is root's, is given to a group of ours to write
// to, and to nobody else: as Kubernetes does by fsGroup. A folder of our own that a
// group can write to is more likely to be a mistake, and the user can repair it.
func grantedToGroup(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	if !ok || stat.Uid != 0 || os.Geteuid() == 0 || info.Mode().Perm()&0o002 != 0 {
		return false
	}
	groups, err := os.Getgroups()
	return int(stat.Gid) == os.Getegid() || err == nil && slices.Contains(groups, int(stat.Gid))
}

// canChmod reports whether we may change its mode.
func canChmod(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return os.Geteuid() == 0 || ok && int(stat.Uid) == os.Geteuid()
}

// linked reports whether the file has more than one name.
func linked(info fs.FileInfo) bool {
	stat, ok := info.Sys().(*syscall.Stat_t)
	return ok && stat.Nlink > 1
}

// canWrite reports whether that is a folder in which we can make another.
func canWrite(folder string) bool {
	const writeAndSearch = 2 | 1 // W_OK | X_OK
	info, err := os.Stat(folder)
	return err == nil && info.IsDir() && syscall.Access(folder, writeAndSearch) == nil
}

// syncFolder makes sure that a file renamed in the folder is found there after
// a loss of power.
func syncFolder(name string) error {
	folder, err := os.Open(name)
	if err != nil {
		return err
	}
	defer folder.Close()
	return folder.Sync()
}
