package console

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/rolegate/rolegate/internal/browser"
)

// A lang is a language of the page.
type lang int

const (
	english lang = iota
	chinese
)

// Tag is the language as BCP 47 names it.
func (l lang) Tag() string { return [...]string{"en", "zh-CN"}[l] }

// langOf chooses what an Accept-Language header likes better: English if it likes
// neither.
func langOf(header string) lang {
	if browser.Language(header) == "zh" {
		return chinese
	}
	return english
}

// T is the text of that name, with what belongs into it.
func (l lang) T(name string, args ...any) string {
	text, ok := texts[name]
	if !ok {
		return name
	}
	if len(args) == 0 {
		return text[l]
	}
	return fmt.Sprintf(text[l], args...)
}

// or is the text of that name, or otherwise if there is none: for words that
// others than this module may invent.
func (l lang) or(name, otherwise string) string {
	if _, ok := texts[name]; !ok {
		return otherwise
	}
	return l.T(name)
}

// plain makes visible what others have named: signs that cannot be seen, or that
// turn the order of others round, are written as their codes, and what is very
// long is cut.
func plain(text string) string {
	const most = 200
	var b strings.Builder
	n := 0
	for _, c := range text {
		if n++; n > most {
			b.WriteString("…")
			break
		}
		if unicode.IsGraphic(c) && !unicode.Is(unicode.Cf, c) && (c == ' ' || !unicode.IsSpace(c)) {
			b.WriteRune(c)
		} else {
			fmt.Fprintf(&b, "\\u{%x}", c)
		}
	}
	return b.String()
}

// users is a number of users.
func (l lang) users(n int) string {
	if n == 1 {
		return l.T("users.one")
	}
	return l.T("users.many", group(uint64(max(n, 0))))
}

// duration writes a time span by its two largest units.
func (l lang) duration(d time.Duration) string {
	d = max(d, 0)
	unit := func(n time.Duration, name string) string { return strconv.FormatInt(int64(n), 10) + l.T("unit."+name) }
	join := func(parts ...string) string { return strings.Join(parts, " ") }
	switch {
	case d < time.Millisecond && d > 0:
		return unit(1, "ms")
	case d < time.Second && d > 0:
		return unit(d/time.Millisecond, "ms")
	case d < 10*time.Second && d%time.Second >= 100*time.Millisecond:
		return strconv.FormatFloat(float64(d/(100*time.Millisecond))/10, 'f', 1, 64) + l.T("unit.s")
	case d < time.Minute:
		return unit(d/time.Second, "s")
	case d < time.Hour:
		if s := d % time.Minute / time.Second; s > 0 {
			return join(unit(d/time.Minute, "min"), unit(s, "s"))
		}
		return unit(d/time.Minute, "minutes")
	case d < 24*time.Hour:
		if m := d % time.Hour / time.Minute; m > 0 {
			return join(unit(d/time.Hour, "h"), unit(m, "min"))
		}
		return unit(d/time.Hour, "h")
	default:
		if h := d % (24 * time.Hour) / time.Hour; h > 0 {
			return join(unit(d/(24*time.Hour), "d"), unit(h, "h"))
		}
		return unit(d/(24*time.Hour), "d")
	}
}

// age writes how old something is. That is never so exact that fractions of a
// second told anything.
func (l lang) age(d time.Duration) string {
	if d < time.Second {
		return l.T("age.moment")
	}
	return l.duration(d.Truncate(time.Second))
}

// clock writes a time of today by its hour, and others with their date.
func clock(t, now time.Time) string {
	if t.IsZero() {
		return "–"
	}
	t = t.Local()
	if y, m, d := t.Date(); y == now.Year() && m == now.Month() && d == now.Day() {
		return t.Format("15:04:05")
	}
	return t.Format("2006-01-02 15:04:05")
}

// group writes a number with its thousands apart.
func group(n uint64) string {
	digits := strconv.FormatUint(n, 10)
	var b strings.Builder
	for i, c := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteByte(',')
		}
		b.WriteRune(c)
	}
	return b.String()
}
