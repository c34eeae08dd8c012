package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
)

// unpublished are modules for those who work in this repository.
var unpublished = []string{"benchmarks", "e2e", "example", "examples", "examples/fiber", "tools"}

// A repo is a clean checkout.
type repo struct {
	folder string
	at     time.Time // of its commit
}

// A file is one of the commit, by its path in the repository.
type file struct {
	name string
	data []byte
}

// A module is what a folder of the commit has.
type module struct {
	folder string // "." for the root
	mod    *modfile.File
	files  []file // by their paths in the module
	at     time.Time
}

func open(folder string) (*repo, error) {
	r := &repo{folder: folder}
	top, err := r.git(nil, "rev-parse", "--show-toplevel")
	if err != nil {
		return nil, err
	}
	r.folder = top
	changed, err := r.git(nil, "status", "--porcelain")
	if err != nil {
		return nil, err
	}
	if changed != "" {
		return nil, errors.New("there are changes that are not committed: commit or remove them, for only the commit is published")
	}
	when, err := r.git(nil, "log", "-1", "--format=%cI")
	if err != nil {
		return nil, err
	}
	r.at, err = time.Parse(time.RFC3339, when)
	return r, err
}

// git runs git there, with stdin, and returns what it prints.
func (r *repo) git(stdin []byte, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir, cmd.Stdin = r.folder, bytes.NewReader(stdin)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, &stderr)
	}
	return strings.TrimSuffix(string(out), "\n"), nil
}

// modules reads the published modules. Those come first that others require.
func (r *repo) modules() ([]*module, error) {
	listed, err := r.git(nil, "ls-files", "-z")
	if err != nil {
		return nil, err
	}
	names := strings.Split(strings.TrimSuffix(listed, "\x00"), "\x00")
	var folders []string
	for _, name := range names {
		if path.Base(name) == "go.mod" {
			folders = append(folders, path.Dir(name))
		}
	}
	byFolder := map[string]*module{}
	for _, name := range names {
		folder := owner(folders, name)
		if slices.Contains(unpublished, folder) {
			continue
		}
		data, err := os.ReadFile(path.Join(r.folder, name))
		if err != nil {
			return nil, err
		}
		m := byFolder[folder]
		if m == nil {
			m = &module{folder: folder, at: r.at}
			byFolder[folder] = m
		}
		inside := strings.TrimPrefix(name, folder+"/")
		if inside == "go.mod" {
			if m.mod, err = modfile.Parse(name, data, nil); err != nil {
				return nil, err
			}
		}
		m.files = append(m.files, file{inside, data})
	}
	root := byFolder["."]
	if root == nil || root.mod == nil {
		return nil, errors.New("there is no go.mod in the repository's first folder")
	}
	for _, m := range byFolder {
		m.license(root)
	}
	return inOrder(byFolder)
}

// owner is the folder of the module that a file belongs to.
func owner(folders []string, name string) string {
	longest := "."
	for _, f := range folders {
		if strings.HasPrefix(name, f+"/") && len(f) >= len(longest) {
			longest = f
		}
	}
	return longest
}

// license gives a module the repository's LICENSE, as the go command does.
func (m *module) license(root *module) {
	const name = "LICENSE"
	find := func(m *module) int { return slices.IndexFunc(m.files, func(f file) bool { return f.name == name }) }
	if from := find(root); from >= 0 && find(m) < 0 {
		m.files = append(m.files, root.files[from])
	}
}

// inOrder sorts modules so that each comes after those that it requires.
func inOrder(byFolder map[string]*module) ([]*module, error) {
	byPath := map[string]*module{}
	var paths []string
	for _, m := range byFolder {
		byPath[m.path()] = m
		paths = append(paths, m.path())
	}
	slices.Sort(paths)
	var order []*module
	state := map[string]int{} // 1: on the way, 2: done
	var visit func(p string) error
	visit = func(p string) error {
		m := byPath[p]
		switch {
		case m == nil || state[p] == 2:
			return nil
		case state[p] == 1:
			return fmt.Errorf("%s requires itself by way of others", p)
		}
		state[p] = 1
		for _, req := range m.mod.Require {
			if err := visit(req.Mod.Path); err != nil {
				return err
			}
		}
		state[p] = 2
		order = append(order, m)
		return nil
	}
	for _, p := range paths {
		if err := visit(p); err != nil {
			return nil, err
		}
	}
	return order, nil
}

func (m *module) path() string { return m.mod.Module.Mod.Path }

// isDated reports whether CHANGELOG.md has a section for the version, with the day.
func (r *repo) isDated(version string) error {
	page, err := os.ReadFile(path.Join(r.folder, "CHANGELOG.md"))
	if err != nil {
		return err
	}
	heading := "## [" + strings.TrimPrefix(version, "v") + "] - "
	for line := range strings.Lines(string(page)) {
		if day, found := strings.CutPrefix(strings.TrimSpace(line), heading); found {
			if _, err := time.Parse(time.DateOnly, day); err == nil {
				return nil
			}
		}
	}
	return fmt.Errorf("CHANGELOG.md does not say what %s brings: expected a line such as %q, with the day of the release", version, heading+r.at.Format(time.DateOnly))
}

// tag makes a commit with the published go.mod and go.sum files on top of the one
// that is checked out, and tags it for each module.
func (r *repo) tag(made []*published) error {
	index, err := os.CreateTemp("", "release-index")
	if err != nil {
		return err
	}
	defer os.Remove(index.Name())
	_ = index.Close()
	_ = os.Remove(index.Name())               // git wants to make it
	os.Setenv("GIT_INDEX_FILE", index.Name()) // of this process' git commands alone
	defer os.Unsetenv("GIT_INDEX_FILE")
	if _, err := r.git(nil, "read-tree", "HEAD"); err != nil {
		return err
	}
	for _, m := range made {
		for _, f := range m.files {
			if f.name != "go.mod" && f.name != "go.sum" {
				continue
			}
			blob, err := r.git(f.data, "hash-object", "-w", "--stdin")
			if err != nil {
				return err
			}
			if _, err := r.git(nil, "update-index", "--add", "--cacheinfo", "100644,"+blob+","+path.Join(m.folder, f.name)); err != nil {
				return err
			}
		}
	}
	tree, err := r.git(nil, "write-tree")
	if err != nil {
		return err
	}
	commit, err := r.git([]byte("release: "+made[0].version+"\n"), "commit-tree", tree, "-p", "HEAD")
	if err != nil {
		return err
	}
	for _, m := range made {
		if _, err := r.git(nil, "tag", m.tag(), commit); err != nil {
			return err
		}
	}
	return nil
}
