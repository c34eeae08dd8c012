// Package doclinks has tests of the pages of the repository: that their links
// lead somewhere, and that none is forgotten in the indexes of docs.
package doclinks_test

import (
	"fmt"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every link in a page leads to a file or folder of the repository, and to a
// heading that is there. Links to elsewhere are not looked at.
func TestLinks(t *testing.T) {
	t.Parallel()
	problems, err := brokenLinks(os.DirFS("../.."))
	require.NoError(t, err)
	for _, problem := range problems {
		t.Error(problem)
	}
}

// Every page of docs is in its index, in both languages.
func TestIndexes(t *testing.T) {
	t.Parallel()
	repository := os.DirFS("../..")
	all, err := fs.Glob(repository, "docs/*.md")
	require.NoError(t, err)
	require.NotEmpty(t, all)
	indexes := []string{"docs/README.md", "docs/README.zh-CN.md"}
	for _, index := range indexes {
		p, err := readPage(repository, index)
		require.NoError(t, err)
		var linked []string
		for _, l := range p.links {
			linked = append(linked, l.file(index))
		}
		for _, name := range all {
			if !slices.Contains(indexes, name) && !slices.Contains(linked, name) {
				t.Errorf("%s does not link %s: give it a line that says which question it answers", index, name)
			}
		}
	}
}

func TestBrokenLinks(t *testing.T) {
	t.Parallel()
	file := func(lines ...string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(strings.Join(lines, "\n"))} }
	problems, err := brokenLinks(fstest.MapFS{
		"README.md": file(
			"# Title",
			"[all](docs/a.md), [two](docs/a.md#two) ![drawing](docs/a.svg) [code](docs) [up](#title) [other](https://example.com/x.md)",
			"[gone](docs/b.md) and [`gone`](docs/a.md#three) and [out](../x.md)",
			"[upper case](docs/a.md#Two) [blank](docs/a%20b.md 'a title') [line](main.go#L1)",
			"`[no link](nowhere.md)` ``[`](nowhere.md)``",
			"```sh", "[no link](nowhere.md)", "# no heading", "```",
			"[no heading](#no-heading)",
			"- indented:", "  ~~~", "  ```", "  [no link](nowhere.md)", "  ~~~",
			"[by name]: docs/c.md",
			`<img src="docs/d.png"> <a id="own"></a> [own](#own)`,
			"[folder](docs/#二) [root](/docs/a.md) [mail](mailto:a@example.com)",
		),
		"main.go":           file("package main"),
		"docs/README.md":    file("## 一、`Two`", "## 二", "[a](a.md#two-1) [up](../README.md#title) [zh](#一two)"),
		"docs/a.md":         file("Two", "## *Two* #", "## [Two](a.svg)", "[wrong](../docs/b.md)"),
		"docs/a b.md":       file("no links"),
		"docs/a.svg":        file("<svg/>"),
		".git/x.md":         file("[gone](gone.md)"),
		"testdata/gone.txt": file("[gone](gone.md)"),
	})
	require.NoError(t, err)
	assert.Equal(t, []string{
		"README.md:3: docs/b.md: there is no file docs/b.md",
		"README.md:3: docs/a.md#three: docs/a.md has no heading for it",
		"README.md:3: ../x.md: leads out of the repository",
		"README.md:4: docs/a.md#Two: docs/a.md has no heading for it",
		"README.md:10: #no-heading: README.md has no heading for it",
		"README.md:16: docs/c.md: there is no file docs/c.md",
		"README.md:17: docs/d.png: there is no file docs/d.png",
		"docs/a.md:4: ../docs/b.md: there is no file docs/b.md",
	}, problems)
}

// Anchors as GitHub makes them.
func TestSlug(t *testing.T) {
	t.Parallel()
	for heading, want := range map[string]string{
		"What each answer means":               "what-each-answer-means",
		"Which `By…` does my app need?":        "which-by-does-my-app-need",
		"我的应用该用哪个 `By…`？":                      "我的应用该用哪个-by",
		"多副本部署":                                "多副本部署",
		"1. Names & *roles*, in snake_case":    "1-names--roles-in-snake_case",
		"[Keep](https://example.com) a Log":    "keep-a-log",
		"What's new: `http.ServeMux`, at last": "whats-new-httpservemux-at-last",
	} {
		assert.Equal(t, want, slug(heading), heading)
	}
}

// brokenLinks returns what is wrong with the links of all pages, one line each.
func brokenLinks(repository fs.FS) (problems []string, err error) {
	pages := map[string]page{}
	var names []string
	err = fs.WalkDir(repository, ".", func(name string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && name != "." && strings.HasPrefix(entry.Name(), "."):
			return fs.SkipDir
		case entry.IsDir() || path.Ext(name) != ".md":
			return nil
		}
		names = append(names, name)
		pages[name], err = readPage(repository, name)
		return err
	})
	for _, name := range names {
		for _, l := range pages[name].links {
			if problem := l.problem(repository, name, pages); problem != "" {
				problems = append(problems, fmt.Sprintf("%s:%d: %s: %s", name, l.line, l.target, problem))
			}
		}
	}
	return problems, err
}

// problem says what is wrong with a link of that page, "" if nothing is.
func (l link) problem(repository fs.FS, from string, pages map[string]page) string {
	to := l.file(from)
	if !fs.ValidPath(to) {
		return "leads out of the repository"
	}
	info, err := fs.Stat(repository, to)
	if err != nil {
		return "there is no file " + to
	}
	if info.IsDir() {
		to = path.Join(to, "README.md") // which GitHub shows with a folder
	}
	if p, ok := pages[to]; ok && l.fragment != "" && !p.has(l.fragment) {
		return to + " has no heading for it"
	}
	return ""
}
