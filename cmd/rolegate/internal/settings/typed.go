package settings

import (
	"bytes"
	"cmp"
	"errors"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// mostTyped is how many slips are named: often one is made on every line.
const mostTyped = 10

// Slips of whoever types with an input method, which the parser tells in words
// of its own, and often lines later.
var (
	quotedText = regexp.MustCompile(`"(?:[^"\\]|\\.)*"|'[^']*'`)
	comment    = regexp.MustCompile(`(?:^|\s)#.*`)
	wideColon  = regexp.MustCompile(`^[\s\x{3000}]*(?:- *)?[^\s:#{\[]+\s*：|[{,]\s*[^\s:,{}]+\s*：`)
	wideBlank  = regexp.MustCompile(`^\s*\x{3000}`)
	wideMark   = regexp.MustCompile(`[:：\-{\[,，]\s*([｛［【“”‘’])`)
	wideComma  = regexp.MustCompile(`[{\[].*(，)`)
	closeColon = regexp.MustCompile(`^\s*(?:- *)?[a-z_]{1,20}:(?:[^\s/]|/[^/])`)
)

// plainMarks are what was meant by full-width ones.
var plainMarks = map[string]string{"｛": "{", "［": "[", "【": "[", "“": `"`, "”": `"`, "‘": "'", "’": "'", "，": ","}

// typedWrong names what was typed wrong in a file that is no YAML, in place of
// what the parser says. It is that error if nothing up to its line explains it.
func typedWrong(data []byte, parser error) error {
	if !utf8.Valid(data) {
		return &mistake{line: 1 + bytes.Count(data[:firstInvalid(data)], []byte("\n")),
			text: "this is not UTF-8, but another encoding, such as GBK: save the file as UTF-8"}
	}
	var errs []error
	first := 0
	for i, text := range strings.Split(string(data), "\n") {
		text = comment.ReplaceAllString(quotedText.ReplaceAllString(text, "x"), "")
		if slip := slipIn(text); slip != "" && len(errs) < mostTyped {
			first = cmp.Or(first, i+1)
			errs = append(errs, &mistake{line: i + 1, text: slip})
		}
	}
	if of := (*mistake)(nil); first == 0 || errors.As(parser, &of) && of.line < first {
		return parser
	}
	return errors.Join(errs...)
}

// slipIn says what was typed wrong on a line, "" if nothing was.
func slipIn(text string) string {
	switch {
	case strings.Contains(text[:len(text)-len(strings.TrimLeft(text, " \t"))], "\t"):
		return "a tab: expected blanks in front, which YAML wants"
	case wideBlank.MatchString(text):
		return "a full-width blank: expected plain ones in front"
	case wideColon.MatchString(text):
		return "a full-width colon (：): expected a plain one and a blank (: )"
	case closeColon.MatchString(text):
		return "expected a blank behind the colon"
	}
	for _, form := range []*regexp.Regexp{wideMark, wideComma} {
		if found := form.FindStringSubmatch(text); found != nil {
			return "a full-width mark (" + found[1] + "): expected a plain one (" + plainMarks[found[1]] + ")"
		}
	}
	return ""
}

// firstInvalid is where the first byte is that is not UTF-8.
func firstInvalid(data []byte) int {
	for i := 0; i < len(data); {
		r, size := utf8.DecodeRune(data[i:])
		if r == utf8.RuneError && size == 1 {
			return i
		}
		i += size
	}
	return len(data)
}

// typedKey says what is wrong with a key that is none of ours, for one that was
// typed with an input method. It does not show it, for it could be anything.
func typedKey(key string) string {
	switch {
	case strings.Contains(key, "："):
		return "a full-width colon (：): expected a plain one and a blank (: )"
	case strings.ContainsFunc(key, func(r rune) bool { return unicode.Is(unicode.Han, r) }):
		return "a key in Chinese: expected an English one, such as marketplace; docs/rolegate.yaml has them all"
	case strings.ContainsFunc(key, func(r rune) bool { return r >= '！' && r <= '～' }):
		return "a key in full-width letters: expected plain ones"
	}
	return ""
}
