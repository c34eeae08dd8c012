package settings

import (
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync"

	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate/internal/typo"
)

// A mistake is one in the file: on a line, or in a place such as
// forward_auth.rules[0].route, or both.
type mistake struct {
	line, column int
	place, text  string
}

func (m *mistake) Error() string {
	switch {
	case m.line == 0:
		return m.place + ": " + m.text
	case m.place == "":
		return fmt.Sprintf("line %d: %s", m.line, m.text)
	}
	return fmt.Sprintf("line %d, %s: %s", m.line, m.place, m.text)
}

// at is a mistake in the value that n is.
func at(n *yaml.Node, format string, args ...any) error {
	return &mistake{n.Line, n.Column, "", fmt.Sprintf(format, args...)}
}

// in is a mistake in that place.
func in(place, format string, args ...any) *mistake {
	return &mistake{0, 0, place, fmt.Sprintf(format, args...)}
}

// notYAML says why a file is none. What the parser says of values is left out:
// one could be a secret.
func notYAML(err error) error {
	var of *yaml.LoadError
	switch {
	case !errors.As(err, &of):
		return errors.New("this is not YAML")
	case strings.Contains(of.Message, "no documents"):
		return errors.New("the file is empty: expected settings")
	case strings.Contains(of.Message, "multiple"):
		return errors.New("expected one YAML document, without a line --- in between")
	}
	text := "this is not YAML"
	switch of.Stage {
	case yaml.ReaderStage, yaml.ScannerStage, yaml.ParserStage: // which quote one character at most
		text += ": " + of.Message
	case yaml.ComposerStage:
		text = "an alias (*) names no anchor (&)"
	case yaml.ResolverStage:
		text = "a value does not fit its tag (!!)"
	}
	if of.Mark.Line == 0 {
		return errors.New(text)
	}
	return &mistake{of.Mark.Line, of.Mark.Column, "", text}
}

// A position is where something begins.
type position struct{ line, column int }

// places knows what is where in a file, and collects what is wrong with it. A
// mapping begins where its first key does.
type places struct {
	keys, values map[position]spot
	wrong        []*mistake
}

// A spot is a key or a value, with its place.
type spot struct {
	node  *yaml.Node
	place string
}

// newPlaces visits the document, and refuses what has two readings: a value that
// is missing, which would be the default, and would leave out an item of a list;
// and a tag, which changes what a value is.
func newPlaces(document *yaml.Node) *places {
	p := &places{keys: map[position]spot{}, values: map[position]spot{}}
	for _, n := range document.Content {
		p.visit(n, "")
	}
	return p
}

// word is how keys of settings look. Others, such as role codes, are shown in
// no place: they could be anything.
var word = regexp.MustCompile(`^[a-z_]{1,20}$`)

func (p *places) visit(n *yaml.Node, place string) {
	where := position{n.Line, n.Column}
	p.values[where] = spot{n, place}
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		p.add(n, place, "expected a value without a tag (!)")
	case n.Kind == yaml.ScalarNode && (n.Value == "" || n.ShortTag() == "!!null"):
		p.add(n, place, "the value is missing: give one, or leave the key out to have the default")
	}
	for i, child := range n.Content {
		switch {
		case n.Kind == yaml.SequenceNode:
			p.visit(child, fmt.Sprintf("%s[%d]", place, i))
		case i%2 == 0:
			p.keys[position{child.Line, child.Column}] = spot{child, place}
		default:
			p.visit(child, below(place, n.Content[i-1]))
		}
	}
}

func below(place string, key *yaml.Node) string {
	if !word.MatchString(key.Value) {
		return place
	}
	return strings.TrimPrefix(place+"."+key.Value, ".")
}

func (p *places) add(n *yaml.Node, place, text string) {
	p.wrong = append(p.wrong, &mistake{n.Line, n.Column, place, text})
}

// refused takes in what the parser says is wrong, without the values and its own
// types.
func (p *places) refused(err error) {
	var all *yaml.LoadErrors
	switch {
	case err == nil:
		return
	case !errors.As(err, &all): // it has given up
		if len(p.wrong) > 0 {
			return // which is why
		}
		var of *yaml.LoadError
		m := &mistake{1, 1, "", "the file cannot be read"}
		if errors.As(err, &of) {
			m.line, m.column = max(of.Mark.Line, 1), of.Mark.Column
			switch {
			case strings.Contains(of.Message, "merge"):
				m.text = "<<: expected what to merge, keys with values"
			case strings.Contains(of.Message, "alias"), strings.Contains(of.Message, "anchor"):
				m.text = "aliases (*) are used too much, or within what they stand for"
			}
		}
		p.wrong = append(p.wrong, m)
		return
	}
	for _, e := range all.Errors {
		var own *mistake
		if errors.As(e, &own) {
			where := position{own.line, own.column}
			own.place = cmp.Or(p.values[where].place, p.keys[where].place)
			p.wrong = append(p.wrong, own)
			continue
		}
		where := position{e.Mark.Line, e.Mark.Column}
		m := &mistake{line: where.line, column: where.column}
		key, isKey := p.keys[where]
		value, isValue := p.values[where]
		switch {
		case isKey && isOfKey(e.Message):
			m.place, m.text = key.place, keyText(key.node, e.Message)
		case isKey && !isValue:
			m.place, m.text = key.place, "expected a text as the key"
		default:
			m.place, m.text = value.place, expected(e.Message)
		}
		p.wrong = append(p.wrong, m)
	}
}

// The messages of the parser about keys.
const (
	unknownKey = " not found in type "
	twiceKey   = " already "
)

func isOfKey(message string) bool {
	return strings.Contains(message, unknownKey) || strings.Contains(message, twiceKey)
}

func keyText(key *yaml.Node, message string) string {
	name := "key"
	if word.MatchString(key.Value) {
		name = "key " + key.Value
	}
	if strings.Contains(message, unknownKey) {
		if typed := typedKey(key.Value); typed != "" {
			return typed
		}
		if known := keysByType()[message[strings.LastIndex(message, ".")+1:]]; known != nil {
			if meant := typo.Nearest(key.Value, slices.Values(known)); meant != "" {
				known = []string{meant}
			}
			return "unknown " + name + ": expected " + words(known)
		}
		return "unknown " + name
	}
	return "the " + name + " is there already"
}

// keysByType has the keys of each section, by the name of its type, which the parser
// tells.
var keysByType = sync.OnceValue(func() map[string][]string {
	all := map[string][]string{}
	var visit func(of reflect.Type) []string
	visit = func(of reflect.Type) (keys []string) {
		for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice || of.Kind() == reflect.Map {
			of = of.Elem()
		}
		if of.Kind() != reflect.Struct {
			return nil
		}
		for i := range of.NumField() {
			key, inline, _ := strings.Cut(of.Field(i).Tag.Get("yaml"), ",")
			below := visit(of.Field(i).Type)
			if key != "" {
				keys = append(keys, key)
			} else if inline != "" {
				keys = append(keys, below...)
			}
		}
		all[of.Name()] = keys
		return keys
	}
	visit(reflect.TypeFor[File]())
	return all
})

// expected says what was expected, by the Go type at the end of a message.
func expected(message string) string {
	if strings.Contains(message, "slog") {
		return "expected debug, info, warn or error"
	}
	switch of := message[strings.LastIndex(message, " ")+1:]; of {
	case "string":
		return "expected a text"
	case "bool":
		return "expected true or false"
	case "int", "int64":
		return "expected a whole number"
	case "float64":
		return "expected a number"
	case "[]string":
		return "expected a list of texts, such as [teacher, admin]"
	default:
		if strings.HasPrefix(of, "[]") {
			return "expected a list"
		}
		return "expected keys with values"
	}
}

// join returns all mistakes as one error, those that have a line first. Of
// later ones those count that are in no section which could not be read.
func (p *places) join(later []*mistake) error {
	slices.SortStableFunc(p.wrong, func(a, b *mistake) int {
		return cmp.Or(cmp.Compare(a.line, b.line), cmp.Compare(a.column, b.column))
	})
	var errs []error
	for i, m := range p.wrong {
		if i == 0 || *m != *p.wrong[i-1] {
			errs = append(errs, m)
		}
	}
	for _, m := range later {
		if !slices.ContainsFunc(p.wrong, func(w *mistake) bool { return section(w.place) == "" || section(w.place) == section(m.place) }) {
			errs = append(errs, m)
		}
	}
	return errors.Join(errs...)
}

// section is the first key of a place.
func section(place string) string {
	if end := strings.IndexAny(place, ".["); end >= 0 {
		return place[:end]
	}
	return place
}
