package main

import (
	"fmt"
	"strings"

	"github.com/rolegate/rolegate/cmd/rolegate/internal/lang"
)

// A page is what a command prints for people: lines with a word in front.
type page struct {
	strings.Builder
	lang.Language
	width int // of the words
}

func (p *page) line(what, format string, args ...any) {
	fmt.Fprintf(p, "  %s  %s\n", lang.Pad(p.Sprintf(what), p.width), oneLine(p.Sprintf(format, args...)))
}

// say writes a line, or what begins one.
func (p *page) say(format string, args ...any) { p.WriteString(oneLine(p.Sprintf(format, args...))) }

func users(l lang.Language, n int) string {
	if n == 1 {
		return l.Sprintf("1 user")
	}
	return l.Sprintf("%d users", n)
}

// String returns all of it.
func (p *page) String() string { return p.Builder.String() }
