// Package lang says the texts of the command in English or in Chinese.
//
// A text is written in English where it is made. [Language.Sprintf] says one of
// the command's own in the language, [Language.Text] one that is finished: an
// error, with what libraries have put into it. Both look it up by its English.
package lang

import (
	"fmt"
	"strings"
)

// A Language is one that the command speaks. The zero value is English.
type Language int

const (
	English Language = iota
	Chinese
)

// String returns the name that --lang takes.
func (l Language) String() string { return [...]string{"en", "zh"}[l] }

// For returns the language of that name, en or zh. For "" it is the one that the
// environment asks for, English if that is neither.
func For(name string, getenv func(string) string) (Language, error) {
	switch name {
	case "en":
		return English, nil
	case "zh":
		return Chinese, nil
	case "":
		if strings.HasPrefix(Locale("LC_MESSAGES", getenv), "zh") {
			return Chinese, nil
		}
		return English, nil
	}
	return English, fmt.Errorf("--lang %q: expected en or zh", name)
}

// Of returns the language that a command line asks for, before its flags have
// been read: what is wrong with them is to be said in it too. A name that is
// none is left to [For].
func Of(args []string, getenv func(string) string) Language {
	name := ""
	for i, arg := range args {
		value, found := strings.CutPrefix(arg, "--lang=")
		switch {
		case arg == "--":
			args = nil
		case found:
			name = value
		case arg == "--lang" && i+1 < len(args):
			name = args[i+1]
		}
		if args == nil {
			break
		}
	}
	l, err := For(name, getenv)
	if err != nil {
		l, _ = For("", getenv)
	}
	return l
}

// Locale is what the environment says of one category.
func Locale(category string, getenv func(string) string) string {
	for _, name := range []string{"LC_ALL", category, "LANG"} {
		if value := getenv(name); value != "" {
			return value
		}
	}
	return ""
}

// Pad puts blanks behind a text until it is that wide on a terminal, where a
// Chinese character takes two columns.
func Pad(text string, width int) string {
	for _, r := range text {
		width--
		if r >= 0x2e80 {
			width--
		}
	}
	return text + strings.Repeat(" ", max(width, 0))
}
