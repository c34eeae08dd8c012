package lang

import (
	"cmp"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
)

// chinese has every text in Chinese, by its English. Where the English has
// verbs, the Chinese names their arguments: %[1]s.
var chinese = map[string]string{}

func init() {
	for _, texts := range []map[string]string{commandTexts, errorTexts, settingsTexts, fakeTexts, gateTexts, marketTexts, proxyTexts} {
		maps.Copy(chinese, texts)
	}
}

// Sprintf is fmt.Sprintf in the language. A format without arguments may be any
// text.
func (l Language) Sprintf(format string, args ...any) string {
	if l == Chinese {
		if text, ok := chinese[format]; ok {
			format = text
		} else if text, ok := labels[format]; ok {
			format = text
		}
	}
	if len(args) == 0 {
		return format
	}
	return fmt.Sprintf(format, args...)
}

// Text says a finished text in the language, line by line. What is in no
// catalogue, such as an error of the system's, stays as it is.
func (l Language) Text(text string) string {
	if l != Chinese {
		return text
	}
	if whole, ok := chinese[text]; ok {
		return whole
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		bare := strings.TrimLeft(line, " ")
		lines[i] = line[:len(line)-len(bare)] + translated(bare)
	}
	return strings.Join(lines, "\n")
}

// A pattern finds texts that were made by a format.
type pattern struct {
	match   *regexp.Regexp
	groups  map[string]int // of each argument, by its number
	to      string
	literal int // how much of the format is no verb
}

var (
	verb     = regexp.MustCompile(`%(?:\[\d+\])?[-+#0]*[sdqvw]`)
	argument = regexp.MustCompile(`%\[(\d+)\][a-z]`)
)

// choice finds names of which one is expected: "nginx, envoy or haproxy".
var choice = regexp.MustCompile(`^[a-z_]+(, [a-z_]+)* or [a-z_]+$`)

// patterns are those of all formats, the most particular first.
var patterns = sync.OnceValue(func() (all []pattern) {
	for format, to := range chinese {
		places := verb.FindAllStringIndex(format, -1)
		if len(places) == 0 {
			continue
		}
		var source strings.Builder
		groups := map[string]int{}
		end, literal, number := 0, 0, 0
		for i, place := range places {
			number++
			if named := argument.FindStringSubmatch(format[place[0]:place[1]]); named != nil {
				number, _ = strconv.Atoi(named[1])
			}
			groups[strconv.Itoa(number)] = i + 1
			between := strings.ReplaceAll(format[end:place[0]], "%%", "%")
			source.WriteString(regexp.QuoteMeta(between))
			literal += len(between)
			switch format[place[1]-1] {
			case 'q':
				source.WriteString(`("(?:[^"\\]|\\.)*")`)
			case 'd':
				source.WriteString(`(-?\d+)`)
			default:
				if i == len(places)-1 {
					source.WriteString(`(.*)`)
				} else {
					source.WriteString(`(.*?)`)
				}
			}
			end = place[1]
		}
		rest := strings.ReplaceAll(format[end:], "%%", "%")
		if literal += len(rest); strings.Trim(format[:places[0][0]]+rest, " :") == "" && literal < 4 {
			continue // it says nothing by itself
		}
		source.WriteString(regexp.QuoteMeta(rest))
		all = append(all, pattern{regexp.MustCompile(`^` + source.String() + `$`), groups, to, literal})
	}
	slices.SortFunc(all, func(a, b pattern) int {
		return cmp.Or(cmp.Compare(b.literal, a.literal), cmp.Compare(a.match.String(), b.match.String()))
	})
	return all
})

// translated says a line in Chinese: one of the catalogue, one that was made by a
// format of it, or each part of one with a colon in it.
func translated(text string) string {
	if whole, ok := chinese[text]; ok {
		return whole
	}
	for _, p := range patterns() {
		found := p.match.FindStringSubmatch(text)
		if found == nil {
			continue
		}
		return argument.ReplaceAllStringFunc(strings.ReplaceAll(p.to, "%%", "%"), func(v string) string {
			return translated(found[p.groups[argument.FindStringSubmatch(v)[1]]])
		})
	}
	if choice.MatchString(text) {
		return strings.NewReplacer(", ", "、", " or ", " 或 ").Replace(text)
	}
	if before, after, ok := strings.Cut(text, ": "); ok {
		first, second := translated(before), translated(after)
		if first != before || second != after {
			return first + "：" + second
		}
	}
	return text
}
