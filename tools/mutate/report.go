package main

import (
	"bufio"
	"bytes"
	_ "embed"
	"fmt"
	"go/ast"
	"go/token"
	"io"
	"slices"
	"strings"
	"time"
)

// equivalents are the known survivors: see parseKnown.
//
//go:embed equivalents.txt
var equivalents string

// What may become of a mutant.
const (
	killed    = "KILLED"
	lived     = "LIVED"
	uncovered = "NOT COVERED" // no test comes by it
	hung      = "HUNG"        // a test does not end with it, and no other fails
	notViable = "NOT VIABLE"  // it does not compile
)

// A mutant is one change of one operator.
type mutant struct {
	key
	line, column int
	status       string
}

// A key is how an entry of the list finds its mutants, wherever in the function
// they are by now.
type key struct {
	file, function, kind string
	text                 string // the source line, with the operator in «»
}

// An entry is one known survivor.
type entry struct {
	key
	reason string
}

// A source is a mutated file as it was.
type source struct {
	name  string
	lines []string
	set   *token.FileSet
	file  *ast.File
}

func newSource(name string, data []byte, set *token.FileSet, file *ast.File) *source {
	return &source{name, strings.Split(string(data), "\n"), set, file}
}

// function returns the name of the function or type around a line.
func (s *source) function(line int) string {
	for _, d := range s.file.Decls {
		if line < s.set.Position(d.Pos()).Line || line > s.set.Position(d.End()).Line {
			continue
		}
		f, ok := d.(*ast.FuncDecl)
		switch {
		case !ok:
			return "-"
		case f.Recv == nil:
			return f.Name.Name
		}
		typ := f.Recv.List[0].Type
		if star, ok := typ.(*ast.StarExpr); ok {
			typ = star.X
		}
		if name, ok := typ.(*ast.Ident); ok {
			return name.Name + "." + f.Name.Name
		}
		return f.Name.Name
	}
	return "-"
}

// marked returns a line with what is mutated in it in «».
func (s *source) marked(line, column int) (string, error) {
	if line < 1 || line > len(s.lines) || column < 1 || column > len(s.lines[line-1]) {
		return "", fmt.Errorf("%s has no line %d with a column %d: the report is of another version", s.name, line, column)
	}
	text := s.lines[line-1]
	before, rest := text[:column-1], text[column-1:]
	end := strings.IndexFunc(rest, func(c rune) bool { return !strings.ContainsRune("+-*/%&|^<>=!", c) })
	for _, word := range []string{"break", "continue"} {
		if strings.HasPrefix(rest, word) {
			end = len(word)
		}
	}
	if end < 0 {
		end = len(rest)
	}
	return strings.TrimSpace(before + "«" + rest[:end] + "»" + rest[end:]), nil
}

// parseKnown reads the list of known survivors. An entry is four lines, after
// which there is an empty one: file, function and kind of mutation; the source
// line with the operator in «»; and the reason, which may go on in further lines.
// A mutant with which tests hang needs an entry too. A line that begins with # is none.
func parseKnown(text string) (all []entry, err error) {
	var e *entry
	for scan, n := bufio.NewScanner(strings.NewReader(text)), 1; scan.Scan(); n++ {
		line := strings.TrimSpace(scan.Text())
		switch {
		case strings.HasPrefix(line, "#"):
		case line == "":
			e = nil
		case e == nil:
			words := strings.Fields(line)
			if len(words) != 3 {
				return nil, fmt.Errorf("equivalents.txt:%d: expected file, function and kind", n)
			}
			all = append(all, entry{key: key{file: words[0], function: words[1], kind: words[2]}})
			e = &all[len(all)-1]
		case e.text == "":
			e.text = line
		default:
			e.reason = strings.TrimSpace(e.reason + " " + line)
		}
	}
	for _, e := range all {
		if e.reason == "" {
			return nil, fmt.Errorf("equivalents.txt: %v has no reason", e.key)
		}
	}
	return all, nil
}

// A result is what comes of a run.
type result struct {
	files []string
	count map[string]*counts // by file; "" for all of them
	alive []mutant           // not in the list
	known []mutant           // in the list
	hung  []mutant           // not in the list
	old   []entry            // of the list, that are no survivors any more
	why   map[key]string
}

type counts struct {
	mutants, killed, known, alive int
}

func newResult(files []string, mutants []mutant, list []entry) result {
	r := result{files: files, count: map[string]*counts{"": {}}, why: map[key]string{}}
	for _, f := range files {
		r.count[f] = &counts{}
	}
	used := map[key]bool{}
	for _, e := range list {
		r.why[e.key] = e.reason
	}
	for _, m := range mutants {
		if r.count[m.file] == nil {
			continue
		}
		_, known := r.why[m.key]
		for _, c := range []*counts{r.count[""], r.count[m.file]} {
			switch {
			case m.status == notViable:
			case m.status == killed:
				c.mutants++
				c.killed++
			case known:
				c.mutants++
				c.known++
			default:
				c.mutants++
				c.alive++
			}
		}
		if m.status == notViable || m.status == killed {
			continue
		}
		used[m.key] = true
		switch {
		case known:
			r.known = append(r.known, m)
		case m.status == hung:
			r.hung = append(r.hung, m)
		default:
			r.alive = append(r.alive, m)
		}
	}
	for _, e := range list {
		if !used[e.key] {
			r.old = append(r.old, e)
		}
	}
	return r
}

// share is how many of a hundred are killed of those that can be.
func (c counts) share() float64 { return percent(c.killed, c.mutants-c.known) }

// shareOfAll is the same with the known survivors counted as alive.
func (c counts) shareOfAll() float64 { return percent(c.killed, c.mutants) }

func percent(part, of int) float64 {
	if of == 0 {
		return 100
	}
	return 100 * float64(part) / float64(of)
}

func (r result) ok() bool {
	return len(r.alive)+len(r.hung)+len(r.old) == 0 && r.count[""].share() >= leastShare
}

func (r result) table(w io.Writer) {
	_, _ = fmt.Fprint(w, "| | mutants | killed | known survivors | others | killed of those that can be | killed of all |\n| --- | ---: | ---: | ---: | ---: | ---: | ---: |\n")
	for _, f := range append(slices.Clone(r.files), "") {
		c, name := r.count[f], "`"+f+"`"
		if f == "" {
			name = "**all**"
		}
		_, _ = fmt.Fprintf(w, "| %s | %d | %d | %d | %d | %.1f %% | %.1f %% |\n", name, c.mutants, c.killed, c.known, c.alive, c.share(), c.shareOfAll())
	}
}

func (r result) print(w io.Writer) {
	r.table(w)
	tell := func(title string, list []mutant) {
		if len(list) > 0 {
			_, _ = fmt.Fprintf(w, "\n%s:\n", title)
		}
		for _, m := range list {
			_, _ = fmt.Fprintf(w, "%s:%d:%d: %s, %s, in %s\n\t%s\n", m.file, m.line, m.column, m.kind, m.status, m.function, m.text)
			if why, ok := r.why[m.key]; ok {
				_, _ = fmt.Fprintf(w, "\tknown: %s\n", why)
			}
		}
	}
	tell("Known survivors", r.known)
	tell("Survivors", r.alive)
	tell("The tests do not end", r.hung)
	for _, e := range r.old {
		_, _ = fmt.Fprintf(w, "\nIn equivalents.txt, but no survivor: %s %s %s\n\t%s\n", e.file, e.function, e.kind, e.text)
	}
}

// page writes docs/mutation.md.
func (r result) page(w io.Writer) {
	var b bytes.Buffer
	_, _ = fmt.Fprintf(&b, pageHead, time.Now().Format(time.DateOnly), leastShare)
	r.table(&b)
	_, _ = fmt.Fprint(&b, pageList)
	for _, m := range r.known {
		_, _ = fmt.Fprintf(&b, "- `%s`, `%s`, %s: `%s`. %s\n", m.file, m.function, strings.ToLower(strings.ReplaceAll(m.kind, "_", " ")), m.text, r.why[m.key])
	}
	_, _ = w.Write(b.Bytes())
}
