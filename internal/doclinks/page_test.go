package doclinks_test

import (
	"io/fs"
	"net/url"
	"path"
	"regexp"
	"strconv"
	"strings"
	"unicode"
)

// A page is what matters of a Markdown file.
type page struct {
	lines   []string
	links   []link
	anchors map[string]int // of headings the number, from 1 on, and 0 of others
	levels  []int          // of the headings
	blocks  []block
	rows    []string // of tables
}

// A block is one of code.
type block struct{ language, code string }

// A link leads to a place in the repository.
type link struct {
	line           int
	target         string // as it is written
	path, fragment string
}

// file returns the file that a link of that page leads to.
func (l link) file(from string) string {
	switch {
	case l.path == "":
		return from
	case strings.HasPrefix(l.path, "/"): // GitHub: from the root of the repository
		return path.Clean("." + l.path)
	}
	return path.Join(path.Dir(from), l.path)
}

var (
	fence    = regexp.MustCompile("^\\s*(?:[-*] )?\\s*(```+|~~~+)")
	heading  = regexp.MustCompile(`^ {0,3}(#{1,6})\s+(.*?)(?:\s+#+)?\s*$`)
	code     = regexp.MustCompile("``.*?``|`[^`]*`")
	inline   = regexp.MustCompile(`\]\(<?([^)\s>]+)>?(?:\s+["'][^)]*)?\)`)
	byName   = regexp.MustCompile(`^ {0,3}\[[^\]]+\]:\s+<?([^\s>]+)`)
	tag      = regexp.MustCompile(`<(?:img|a|source)\b[^>]*\b(?:src|href|srcset)="([^"]+)"`)
	tagID    = regexp.MustCompile(`<[a-z0-9]+\b[^>]*\b(?:id|name)="([^"]+)"`)
	linkText = regexp.MustCompile(`!?\[([^\]]*)\]\([^)]*\)`)
)

// readPage reads links and headings, without those in code.
func readPage(repository fs.FS, name string) (p page, err error) {
	text, err := fs.ReadFile(repository, name)
	if err != nil {
		return p, err
	}
	p.anchors = map[string]int{}
	p.lines = strings.Split(string(text), "\n")
	fenced := "" // what closes the block of code that the line is in
	for i, line := range p.lines {
		if mark := fence.FindStringSubmatch(line); mark != nil && fenced == "" {
			fenced = mark[1]
			_, language, _ := strings.Cut(line, fenced)
			p.blocks = append(p.blocks, block{language: language})
			continue
		}
		if fenced != "" {
			if end := strings.TrimSpace(line); strings.HasPrefix(end, fenced) && strings.Trim(end, fenced[:1]) == "" {
				fenced = ""
				continue
			}
			p.blocks[len(p.blocks)-1].code += line + "\n"
			continue
		}
		if h := heading.FindStringSubmatch(line); h != nil {
			p.levels = append(p.levels, len(h[1]))
			p.addHeading(h[2])
		}
		if strings.HasPrefix(line, "|") {
			p.addRow(line)
		}
		line = code.ReplaceAllString(line, "")
		for _, id := range tagID.FindAllStringSubmatch(line, -1) {
			p.anchors[id[1]] = 0
		}
		for _, form := range []*regexp.Regexp{inline, byName, tag} {
			for _, target := range form.FindAllStringSubmatch(line, -1) {
				p.addLink(i+1, target[1])
			}
		}
	}
	return p, nil
}

// addRow adds a row of a table: its cells that are nothing but code, and - for
// each of the others.
func (p *page) addRow(line string) {
	bare := code.ReplaceAllStringFunc(line, func(span string) string { return strings.ReplaceAll(span, "|", "") })
	cells := strings.Split(strings.Trim(bare, "|"), "|")
	for i, cell := range cells {
		cell = strings.TrimSpace(cell)
		if cell != "" && strings.Trim(code.ReplaceAllString(cell, ""), " ,、") != "" {
			cell = "-"
		}
		cells[i] = strings.ReplaceAll(cell, "、", ", ")
	}
	p.rows = append(p.rows, strings.Join(cells, " | "))
}

// addLink adds a link, unless it leads elsewhere.
func (p *page) addLink(line int, target string) {
	u, err := url.Parse(target)
	if err != nil {
		p.links = append(p.links, link{line: line, target: target, path: target})
		return
	}
	if u.Scheme == "" && u.Host == "" {
		p.links = append(p.links, link{line: line, target: target, path: u.Path, fragment: u.Fragment})
	}
}

// addHeading adds the anchor of a heading. A second one of that name gets a
// number.
func (p *page) addHeading(text string) {
	anchor := slug(text)
	for n := 1; p.has(anchor); n++ {
		anchor = slug(text) + "-" + strconv.Itoa(n)
	}
	p.anchors[anchor] = len(p.levels)
}

func (p *page) has(anchor string) bool {
	_, ok := p.anchors[anchor]
	return ok
}

// slug makes an anchor of a heading as GitHub does: of what is shown in lower
// case, letters, digits, _ and - stay, whatever the script; blanks become -, and
// the rest goes.
func slug(text string) string {
	text = linkText.ReplaceAllString(text, "$1")
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', unicode.In(r, unicode.L, unicode.M, unicode.Nd, unicode.Pc):
			return unicode.ToLower(r)
		}
		return -1
	}, text)
}
