package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/mod/modfile"
	gomodule "golang.org/x/mod/module"
	"golang.org/x/mod/semver"
	"golang.org/x/mod/sumdb/dirhash"
	"golang.org/x/mod/zip"
)

// A published is a module as users get it.
type published struct {
	folder, path, version string
	files                 []file
	mod, zip              []byte
	at                    time.Time
}

// tag is the name of the git tag that the go command looks for.
func (p *published) tag() string { return path.Join(p.folder, p.version) }

// publish makes the modules, which come in order, with that version.
func publish(modules []*module, version string) ([]*published, error) {
	if semver.Canonical(version) != version || semver.Major(version) > "v1" {
		return nil, fmt.Errorf("version %q: expected one such as v0.1.0 or v1.2.3-rc.1", version)
	}
	ours := map[string]bool{}
	for _, m := range modules {
		ours[m.path()] = true
	}
	var made []*published
	var sums []string // of those that are made
	for _, m := range modules {
		p := &published{folder: m.folder, path: m.path(), version: version, at: m.at}
		var err error
		if p.mod, err = required(m.mod, ours, version); err != nil {
			return nil, err
		}
		p.files = withFile(slices.Clone(m.files), "go.mod", p.mod)
		p.files = withFile(p.files, "go.sum", summed(m, ours, sums))
		if err := p.pack(); err != nil {
			return nil, err
		}
		of, err := p.sums()
		if err != nil {
			return nil, err
		}
		sums = append(sums, of...)
		made = append(made, p)
	}
	return made, nil
}

// required is a go.mod that requires the release of ours and replaces nothing.
func required(mod *modfile.File, ours map[string]bool, version string) ([]byte, error) {
	for _, r := range slices.Clone(mod.Replace) {
		if !ours[r.Old.Path] {
			return nil, fmt.Errorf("%s replaces %s, which a published module cannot", mod.Module.Mod.Path, r.Old.Path)
		}
		if err := mod.DropReplace(r.Old.Path, r.Old.Version); err != nil {
			return nil, err
		}
	}
	for _, r := range slices.Clone(mod.Require) {
		switch {
		case ours[r.Mod.Path]:
			if err := mod.AddRequire(r.Mod.Path, version); err != nil {
				return nil, err
			}
		case strings.HasPrefix(r.Mod.Version, "v0.0.0") && !gomodule.IsPseudoVersion(r.Mod.Version):
			return nil, fmt.Errorf("%s requires %s, which is not published", mod.Module.Mod.Path, r.Mod)
		}
	}
	mod.Cleanup()
	return mod.Format()
}

// summed is the go.sum of a module, with the hashes of ours that it requires.
func summed(m *module, ours map[string]bool, sums []string) []byte {
	var lines []string
	for _, f := range m.files {
		if f.name == "go.sum" {
			lines = strings.Split(strings.TrimSuffix(string(f.data), "\n"), "\n")
		}
	}
	for _, r := range m.mod.Require {
		for _, sum := range sums {
			if ours[r.Mod.Path] && strings.HasPrefix(sum, r.Mod.Path+" ") {
				lines = append(lines, sum)
			}
		}
	}
	slices.Sort(lines)
	return []byte(strings.Join(slices.Compact(lines), "\n") + "\n")
}

func withFile(files []file, name string, data []byte) []file {
	for i := range files {
		if files[i].name == name {
			files[i].data = data
			return files
		}
	}
	return append(files, file{name, data})
}

func (p *published) pack() error {
	var b bytes.Buffer
	var files []zip.File
	for _, f := range p.files {
		files = append(files, packed{f})
	}
	err := zip.Create(&b, gomodule.Version{Path: p.path, Version: p.version}, files)
	p.zip = b.Bytes()
	return err
}

// sums are the lines of those who require the module.
func (p *published) sums() ([]string, error) {
	var names []string
	content := map[string][]byte{}
	for _, f := range p.files {
		name := fmt.Sprintf("%s@%s/%s", p.path, p.version, f.name)
		names, content[name] = append(names, name), f.data
	}
	read := func(name string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(content[name])), nil }
	whole, err := dirhash.Hash1(names, read)
	if err != nil {
		return nil, err
	}
	mod, err := dirhash.Hash1([]string{"go.mod"}, func(string) (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.mod)), nil })
	return []string{fmt.Sprintf("%s %s %s", p.path, p.version, whole), fmt.Sprintf("%s %s/go.mod %s", p.path, p.version, mod)}, err
}

// write writes the module into a proxy's folder.
func (p *published) write(to string) error {
	escaped, err := gomodule.EscapePath(p.path)
	if err != nil {
		return err
	}
	folder := filepath.Join(to, filepath.FromSlash(escaped), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	info, err := json.Marshal(struct {
		Version string
		Time    time.Time
	}{p.version, p.at.UTC()})
	if err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(folder, "list"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	versions := append(strings.Fields(string(list)), p.version)
	semver.Sort(versions)
	for name, data := range map[string][]byte{
		"list": []byte(strings.Join(slices.Compact(versions), "\n") + "\n"), p.version + ".info": info, p.version + ".mod": p.mod, p.version + ".zip": p.zip,
	} {
		if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// A packed is a file for the zip.
type packed struct{ file }

func (p packed) Path() string                 { return p.name }
func (p packed) Lstat() (fs.FileInfo, error)  { return packedInfo{p}, nil }
func (p packed) Open() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(p.data)), nil }

type packedInfo struct{ packed }

func (i packedInfo) Name() string       { return path.Base(i.packed.name) }
func (i packedInfo) Size() int64        { return int64(len(i.data)) }
func (i packedInfo) Mode() fs.FileMode  { return 0o644 }
func (i packedInfo) ModTime() time.Time { return time.Time{} }
func (i packedInfo) IsDir() bool        { return false }
func (i packedInfo) Sys() any           { return nil }
