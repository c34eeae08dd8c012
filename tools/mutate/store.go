package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// A store keeps what became of the mutants of each file, in a folder outside the
// repository, so that the next run repeats only the packages that have changed.
type store struct {
	folder string // "" for none
	use    reuse
}

// A reuse says what is taken from a store.
type reuse int

const (
	ofSamePackage reuse = iota // if the package and its tests are as they were
	ofSameFile                 // if the file is: those that were killed
	nothing
)

// A record is what became of the mutants of one file, one after the other.
type record struct {
	Package, File string // hashes
	Fates         []string
}

// recall fills in what is known of a file's mutants, and reports whether that is all.
func (s store) recall(file, pkg string, mutants []mutant) bool {
	var r record
	data, err := os.ReadFile(s.path(file))
	if err != nil || json.Unmarshal(data, &r) != nil || len(r.Fates) != len(mutants) {
		return false
	}
	switch {
	case s.use == ofSamePackage && r.Package == pkg:
	case s.use == ofSameFile && r.File == hash(file):
	default:
		return false
	}
	all := true
	for i, fate := range r.Fates {
		if fate == killed || fate == notViable || s.use == ofSamePackage && fate != hung {
			mutants[i].status = fate
		}
		all = all && mutants[i].status != ""
	}
	return all
}

// keep writes down what became of a file's mutants, which had that hash. It is
// only worth less time: an error is none.
func (s store) keep(file, hash, pkg string, mutants []mutant) {
	if s.folder == "" {
		return
	}
	r := record{Package: pkg, File: hash}
	for _, m := range mutants {
		r.Fates = append(r.Fates, m.status)
	}
	if s.use == ofSameFile {
		r.Package = "" // those that were killed are so by the tests of another day
	}
	data, err := json.Marshal(r)
	if err == nil && os.MkdirAll(s.folder, 0o700) == nil {
		_ = os.WriteFile(s.path(file), data, 0o600)
	}
}

func (s store) path(file string) string {
	working, _ := os.Getwd()
	return filepath.Join(s.folder, hashOf([]byte(working+"\x00"+file))+".json")
}

// hashes is what the fate of a package's mutants hangs on: its files, how mutants
// are made and tested, and Go itself. What it imports is left out: -all is for that.
func hashes(folder string) string {
	sum := []string{runtime.Version(), runtime.GOOS, runtime.GOARCH}
	for _, name := range []string{"build.go", "operators.go", "run.go", "schema.go"} {
		sum = append(sum, hash(filepath.Join("tools/mutate", name)))
	}
	_ = filepath.WalkDir(folder, func(path string, d fs.DirEntry, err error) error {
		switch inside := strings.Contains(path, "testdata"); {
		case err != nil:
		case d.IsDir() && path != folder && d.Name() != "testdata" && !inside:
			return fs.SkipDir
		case !d.IsDir() && !strings.HasSuffix(path, ".md"):
			sum = append(sum, path, hash(path))
		}
		return nil
	})
	return hashOf([]byte(strings.Join(sum, "\x00")))
}

func hash(file string) string {
	data, _ := os.ReadFile(file)
	return hashOf(data)
}

func hashOf(data []byte) string {
	sum := sha256.Sum256(data)
	return hex.EncodeToString(sum[:])
}
