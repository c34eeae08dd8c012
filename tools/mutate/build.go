package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
)

var errTooMany = errors.New("the mutants do not compile")

// build makes the test program of a package, with the mutants of those files in
// it. A mutant that does not compile is left out.
func (p *loaded) build(tmp string, files []string) ([]mutant, *suite, error) {
	excluded := map[int]bool{}
	for range 40 {
		mutants, err := p.overlay(tmp, files, excluded)
		if err != nil {
			return nil, nil, err
		}
		tests := &suite{folder: p.folder, program: filepath.Join(tmp, "tests")}
		output, err := p.check(tmp)
		if err == nil {
			output, err = tests.build(tmp)
		}
		if err == nil {
			for id := range excluded {
				mutants[id-1].status = notViable
			}
			return mutants, tests, nil
		}
		more, wrong := wrongMutants(tmp, output)
		if len(more) == 0 {
			return nil, nil, fmt.Errorf("%s: %w\n%s", p.folder, errTooMany, wrong)
		}
		for _, id := range more {
			excluded[id] = true
		}
	}
	return nil, nil, fmt.Errorf("%s: %w", p.folder, errTooMany)
}

func (s *suite) build(tmp string) ([]byte, error) {
	return exec.Command("go", "test", "-c", "-vet=off", "-gcflags=-e", "-overlay", filepath.Join(tmp, "overlay.json"), "-o", s.program, "./"+s.folder).CombinedOutput()
}

// check looks for what does not compile, in a fraction of the time that this takes.
func (p *loaded) check(tmp string) (output []byte, err error) {
	replace, err := replaced(tmp)
	if err != nil {
		return nil, err
	}
	set := token.NewFileSet()
	var all []*ast.File
	for _, name := range replace {
		f, err := parser.ParseFile(set, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	for name, data := range p.data {
		if replace[p.absolute(name)] != "" {
			continue
		}
		f, err := parser.ParseFile(set, name, data, parser.SkipObjectResolution)
		if err != nil {
			return nil, err
		}
		all = append(all, f)
	}
	config := types.Config{Importer: p.imports(set), Error: func(err error) { output = fmt.Appendln(output, err) }}
	_, err = config.Check(p.pkg.Path(), set, all, nil)
	return output, err
}

// replaced is what overlay has written for which files.
func replaced(tmp string) (map[string]string, error) {
	var overlay struct{ Replace map[string]string }
	data, err := os.ReadFile(filepath.Join(tmp, "overlay.json"))
	if err == nil {
		err = json.Unmarshal(data, &overlay)
	}
	return overlay.Replace, err
}

// wrongMutants are those in the lines that the compiler complains about.
func wrongMutants(tmp string, output []byte) (ids []int, complaints string) {
	place := regexp.MustCompile(`(?m)^(\S+\.go):(\d+):(\d+): .*$`)
	inText := regexp.MustCompile(`mutant(?:On|Both|Sign|Step(?:\[[^\]]*\])?)\((\d+)`)
	replace, _ := replaced(tmp)
	for _, m := range place.FindAllStringSubmatch(string(output), -1) {
		complaints += m[0] + "\n"
		for original, now := range replace {
			name := strings.TrimPrefix(m[1], "./")
			if !strings.HasSuffix(original, "/"+name) && now != m[1] && original != m[1] {
				continue
			}
			text, err := os.ReadFile(now)
			if err != nil {
				continue
			}
			lines := strings.Split(string(text), "\n")
			n, _ := strconv.Atoi(m[2])
			if n > len(lines) {
				continue
			}
			// A function that does not end for the compiler any more is reported
			// at its brace: a break has come into its loop.
			for at := n - 1; at >= 0; at-- {
				for _, found := range inText.FindAllStringSubmatch(lines[at], -1) {
					id, _ := strconv.Atoi(found[1])
					ids = append(ids, id)
				}
				if !strings.Contains(m[0], "missing return") && len(ids) > 0 || strings.HasPrefix(lines[at], "func ") {
					break
				}
			}
		}
	}
	if complaints == "" {
		complaints = string(output)
	}
	return ids, complaints
}

// A loaded is a package with its types.
type loaded struct {
	folder, name string
	set          *token.FileSet
	files        map[string]*ast.File
	data         map[string][]byte
	info         *types.Info
	pkg          *types.Package
	working      string            // the folder in which the command runs
	exports      map[string]string // of what is imported
}

func (p *loaded) absolute(name string) string { return filepath.Join(p.working, name) }

func (p *loaded) imports(set *token.FileSet) types.Importer {
	return importer.ForCompiler(set, "gc", func(path string) (io.ReadCloser, error) {
		if p.exports[path] == "" {
			return nil, fmt.Errorf("no export data of %s", path)
		}
		return os.Open(p.exports[path])
	})
}

func load(folder string) (*loaded, error) {
	list := exec.Command("go", "list", "-export", "-deps", "-json=Dir,ImportPath,Name,Export,GoFiles,DepOnly", "./"+folder, "os", "strconv", "sync/atomic")
	list.Stderr = os.Stderr
	out, err := list.Output()
	if err != nil {
		return nil, fmt.Errorf("go list %s: %w", folder, err)
	}
	p := &loaded{folder: folder, set: token.NewFileSet(), files: map[string]*ast.File{}, data: map[string][]byte{}, exports: map[string]string{}}
	if p.working, err = os.Getwd(); err != nil {
		return nil, err
	}
	var path string
	for decoder := json.NewDecoder(strings.NewReader(string(out))); ; {
		var one struct {
			Dir, ImportPath, Name, Export string
			GoFiles                       []string
			DepOnly                       bool
		}
		if err := decoder.Decode(&one); err == io.EOF {
			break
		} else if err != nil {
			return nil, err
		}
		p.exports[one.ImportPath] = one.Export
		if one.DepOnly || one.Dir != p.absolute(folder) {
			continue
		}
		path, p.name = one.ImportPath, one.Name
		for _, name := range one.GoFiles {
			rel := filepath.ToSlash(filepath.Join(folder, name))
			if p.data[rel], err = os.ReadFile(filepath.Join(one.Dir, name)); err != nil {
				return nil, err
			}
			if p.files[rel], err = parser.ParseFile(p.set, rel, p.data[rel], parser.ParseComments|parser.SkipObjectResolution); err != nil {
				return nil, err
			}
		}
	}
	p.info = &types.Info{Types: map[ast.Expr]types.TypeAndValue{}, Uses: map[*ast.Ident]types.Object{}, Defs: map[*ast.Ident]types.Object{}}
	var all []*ast.File
	for _, f := range p.files {
		all = append(all, f)
	}
	config := types.Config{Importer: p.imports(p.set)}
	p.pkg, err = config.Check(path, p.set, all, p.info)
	return p, err
}

// overlay writes the mutated files for the go command's flag -overlay.
func (p *loaded) overlay(tmp string, files []string, excluded map[int]bool) (mutants []mutant, err error) {
	replace := map[string]string{}
	write := func(name, text string) error {
		to := filepath.Join(tmp, strings.ReplaceAll(name, "/", "-"))
		replace[p.absolute(name)] = to
		return os.WriteFile(to, []byte(text), 0o600)
	}
	for _, name := range files {
		if p.files[name] == nil {
			continue // of another system
		}
		s := &schema{
			source: newSource(name, p.data[name], p.set, p.files[name]), data: p.data[name],
			info: p.info, pkg: p.pkg, first: len(mutants) + 1, excluded: excluded,
		}
		if err := write(name, s.rewrite()); err != nil {
			return nil, err
		}
		mutants = append(mutants, s.all...)
	}
	if err := write(filepath.Join(p.folder, "mutants_switch.go"), "package "+p.name+"\n"+switchFile); err != nil {
		return nil, err
	}
	data, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return nil, err
	}
	return mutants, os.WriteFile(filepath.Join(tmp, "overlay.json"), data, 0o600)
}
