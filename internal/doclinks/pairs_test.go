package doclinks_test

import (
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path"
	"regexp"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// Every page that a user or an operator needs stands in both languages, and both
// say the same: as many sections, the same code, rows of tables and links.
func TestPairs(t *testing.T) {
	t.Parallel()
	repository := os.DirFS("../..")
	problems, err := unpaired(repository)
	require.NoError(t, err)
	for _, problem := range problems {
		t.Error(problem)
	}
}

func TestUnpaired(t *testing.T) {
	t.Parallel()
	const english, chinese = "**English** · [简体中文](a.zh-CN.md)\n", "[English](a.md) · **简体中文**\n"
	same := "## B\n\n```go\nf() // does it\n// and more\n```\n| `k` | v |\n"
	for _, c := range []struct{ name, english, chinese, want string }{
		{"the same", english + same, chinese + "## 乙\n\n```go\nf() // 执行\n```\n| `k` | 值 |\n", ""},
		{"a drawing", english + "```\nbox\n```\n", chinese + "```\n方框\n```\n", ""},
		{"no Chinese page", english, "", "docs/a.md: there is no docs/a.zh-CN.md"},
		{"no English page", "", chinese, "docs/a.zh-CN.md: there is no docs/a.md"},
		{"no link there", same, chinese + same, "docs/a.md: its third line is not " + strings.TrimSpace(english)},
		{"no link back", english + same, "中文\n" + same, "docs/a.zh-CN.md: its third line is not " + strings.TrimSpace(chinese)},
		{"a drawing of another height", english + "```\nbox\n```\n", chinese + "```\n方\n框\n```\n", "docs/a.zh-CN.md: block 1 of code is another than in the English page"},
		{"links to the same heading", english + same + "[b](#b)\n", chinese + strings.Replace(same, "## B", "## 乙", 1) + "[乙](#乙)\n", ""},
		{"a link less", english + same + "[b](b.md)\n", chinese + same, "docs/a.zh-CN.md: 0 links to docs/b.md, the English page has 1"},
		{"a link more", english + same, chinese + same + "[b](b.md)\n", "docs/a.zh-CN.md: 1 links to docs/b.md, the English page has 0"},
		{"a link to a heading less", english + same + "[b](b.md#t) [b](b.md#t) [b](b.md#nothing)\n", chinese + same + "[b](b.md#t) [b](b.md#nothing)\n", "docs/a.zh-CN.md: 1 links to docs/b.md#1, the English page has 2"},
		{"a section less", english + same, chinese + strings.Replace(same, "## B", "B", 1), "docs/a.zh-CN.md: headings of the levels [1], the English page has [1 2]"},
		{"other code", english + same, chinese + strings.Replace(same, "f()", "g()", 1), "docs/a.zh-CN.md: block 1 of code is another than in the English page"},
		{"another language of code", english + same, chinese + strings.Replace(same, "```go", "```sh", 1), "docs/a.zh-CN.md: block 1 of code is another than in the English page"},
		{"a comment that is code", english + "```sh\nrm a#b\n```\n", chinese + "```sh\nrm a#c\n```\n", "docs/a.zh-CN.md: block 1 of code is another than in the English page"},
		{"a block less", english + same + "```\nx\n```\n", chinese + same, "docs/a.zh-CN.md: 1 blocks of code, the English page has 2"},
		{"another key", english + same, chinese + strings.Replace(same, "`k`", "`l`", 1), "docs/a.zh-CN.md: a table has the row `l` | -, the English page `k` | -"},
		{"a row less", english + same + "| `l` | w |\n", chinese + same, "docs/a.zh-CN.md: 1 rows of tables, the English page has 2"},
		{"a link to English", english + "[a](a.md)\n" + same, chinese + "[a](a.md)\n" + same, "docs/a.zh-CN.md:4: a.md: there is docs/a.zh-CN.md"},
	} {
		files := fstest.MapFS{}
		put := func(name, text string) { files[name] = &fstest.MapFile{Data: []byte("# T\n\n" + text)} }
		put("docs/README.md", "**English** · [简体中文](README.zh-CN.md)\n## Using it\n[a](a.md) ([Chinese](a.zh-CN.md))\n## How it is built\n[b](b.md)\n")
		put("docs/README.zh-CN.md", "[English](README.md) · **简体中文**\n## 使用\n[中](a.zh-CN.md) [英文](a.md)\n## 内部结构\n[b](b.md)\n")
		put("docs/b.md", "## Nothing\n")
		for name, text := range map[string]string{"docs/a.md": c.english, "docs/a.zh-CN.md": c.chinese} {
			if text != "" {
				put(name, text)
			}
		}
		problems, err := unpaired(files)
		require.NoError(t, err)
		if c.want == "" {
			assert.Empty(t, problems, c.name)
			continue
		}
		assert.Equal(t, []string{c.want}, problems, c.name)
	}
}

const (
	suffix  = ".zh-CN.md"
	section = "## Using it"
)

// unpaired returns what the two languages of the pages do not have in common, one
// line each.
func unpaired(repository fs.FS) (problems []string, err error) {
	pages := map[string]page{}
	for _, pattern := range []string{"*.md", "docs/*.md"} {
		names, err := fs.Glob(repository, pattern)
		if err != nil {
			return nil, err
		}
		for _, name := range names {
			if pages[name], err = readPage(repository, name); err != nil {
				return nil, err
			}
		}
	}
	names := forUsers(pages["docs/README.md"])
	if len(names) == 0 {
		return []string{"docs/README.md: it has no pages below " + section}, nil
	}
	wanted := map[string]bool{} // English pages
	for _, name := range names {
		wanted[name] = true
	}
	for name := range pages {
		if stem, ok := strings.CutSuffix(name, suffix); ok {
			wanted[stem+".md"] = true
		}
	}
	for name := range wanted {
		other := strings.TrimSuffix(name, ".md") + suffix
		english, ok := pages[name]
		chinese, also := pages[other]
		switch {
		case !ok:
			problems = append(problems, fmt.Sprintf("%s: there is no %s", other, name))
		case !also:
			problems = append(problems, fmt.Sprintf("%s: there is no %s", name, other))
		default:
			problems = append(problems, compare(name, english, other, chinese)...)
			problems = append(problems, compareLinks(name, other, pages)...)
			problems = append(problems, linksToEnglish(other, chinese, pages)...)
		}
	}
	slices.Sort(problems)
	return problems, nil
}

// forUsers are the pages that the index names for those who use rolegate.
func forUsers(index page) (names []string) {
	begin := slices.Index(index.lines, section)
	if begin < 0 {
		return nil
	}
	end := begin + 1
	for end < len(index.lines) && !strings.HasPrefix(index.lines[end], "## ") {
		end++
	}
	for _, l := range index.links {
		if file := l.file("docs/README.md"); l.line > begin && l.line <= end && !strings.HasSuffix(file, suffix) {
			names = append(names, file)
		}
	}
	return names
}

// compare says what two languages of one page do not have in common.
func compare(name string, english page, other string, chinese page) (problems []string) {
	wrong := func(format string, args ...any) { problems = append(problems, fmt.Sprintf(format, args...)) }
	there := "**English** · [简体中文](" + path.Base(other) + ")"
	back := "[English](" + path.Base(name) + ") · **简体中文**"
	if !hasThird(english, there) {
		wrong("%s: its third line is not %s", name, there)
	}
	if !hasThird(chinese, back) {
		wrong("%s: its third line is not %s", other, back)
	}
	if !slices.Equal(english.levels, chinese.levels) {
		wrong("%s: headings of the levels %v, the English page has %v", other, chinese.levels, english.levels)
	}
	if len(english.blocks) != len(chinese.blocks) {
		wrong("%s: %d blocks of code, the English page has %d", other, len(chinese.blocks), len(english.blocks))
	} else {
		for i, b := range english.blocks {
			if b.language != chinese.blocks[i].language || b.bare() != chinese.blocks[i].bare() {
				wrong("%s: block %d of code is another than in the English page", other, i+1)
			}
		}
	}
	if len(english.rows) != len(chinese.rows) {
		wrong("%s: %d rows of tables, the English page has %d", other, len(chinese.rows), len(english.rows))
	} else {
		for i, row := range english.rows {
			if row != chinese.rows[i] {
				wrong("%s: a table has the row %s, the English page %s", other, chinese.rows[i], row)
			}
		}
	}
	return problems
}

// compareLinks says which links one language of a page has and the other has not, or
// less often. Sentences may have them in another order.
func compareLinks(name, other string, pages map[string]page) (problems []string) {
	english, chinese := targets(name, pages), targets(other, pages)
	all := maps.Clone(english)
	maps.Copy(all, chinese)
	for to := range all {
		if chinese[to] != english[to] {
			problems = append(problems, fmt.Sprintf("%s: %d links to %s, the English page has %d", other, chinese[to], to, english[to]))
		}
	}
	return problems
}

// targets counts the links of a page, but for its third line, by what both languages
// call alike: the English file, and the number of the heading in it.
func targets(name string, pages map[string]page) map[string]int {
	found := map[string]int{}
	for _, l := range pages[name].links {
		if l.line == 3 {
			continue
		}
		file := l.file(name)
		to := inEnglish.Replace(file)
		if l.fragment != "" {
			to += fmt.Sprintf("#%d", pages[file].anchors[l.fragment])
		}
		found[to]++
	}
	return found
}

// inEnglish gives the file in English, of one that there is for each language.
var inEnglish = strings.NewReplacer(".zh-CN.", ".", "-zh.png", "-en.png")

func hasThird(p page, line string) bool { return len(p.lines) > 2 && p.lines[2] == line }

var (
	slashes = regexp.MustCompile(`(?m)(^|\s+)// .*$`)
	dashes  = regexp.MustCompile(`(?m)(^|\s+)-- .*$`)
	hashes  = regexp.MustCompile(`(?m)(^|\s+)# .*$`)
	empty   = regexp.MustCompile(`(?m)^\s*\n`)
)

// bare is a block without its comments, which are translated. One of no language
// is a drawing, whose words are translated too: what is left is its height.
func (b block) bare() string {
	comment := hashes
	switch b.language {
	case "":
		return strings.Repeat("\n", strings.Count(b.code, "\n"))
	case "go":
		comment = slashes
	case "lua":
		comment = dashes
	}
	return empty.ReplaceAllString(comment.ReplaceAllString(b.code, ""), "")
}

// linksToEnglish says which links of a Chinese page lead to an English one that
// stands in Chinese too. The line that leads to the page itself may, and so may
// the index, which names both.
func linksToEnglish(name string, p page, pages map[string]page) (problems []string) {
	if name == "docs/README"+suffix {
		return nil
	}
	for _, l := range p.links {
		other := strings.TrimSuffix(l.file(name), ".md") + suffix
		if _, ok := pages[other]; ok && l.line != 3 && strings.HasSuffix(l.path, ".md") && !strings.HasSuffix(l.path, suffix) {
			problems = append(problems, fmt.Sprintf("%s:%d: %s: there is %s", name, l.line, l.target, other))
		}
	}
	return problems
}
