package authzen

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate"
)

// A Condition says what a question must be like, for the common cases of a
// [Rule.When]: the owner may, a draft may, a soft delete may. All of it must
// hold. [Meets] makes a When of it. What a caller claims of a subject cannot be
// named, since it is not to be believed.
type Condition struct {
	_ struct{}

	// Resource, Action and Context say what properties of them must be, by the
	// names of the properties.
	Resource, Action, Context map[string]Expected

	// ResourceID says what the id of the resource must be.
	ResourceID *Expected
}

// An Expected says what a property must be, by one of its fields. A property of
// another type than those that are expected is never what it must be.
type Expected struct {
	_ struct{}

	// OneOf are values of one type: texts (string), whole numbers (int or int64) or
	// booleans. The property must be there, and be one of them. Texts are compared
	// byte for byte, and a number must be written as an integer: 1, not 1.0.
	OneOf []any

	// NoneOf are values likewise. The property must be none of them; it may be
	// missing, so that a caller who leaves it out passes: prefer OneOf.
	NoneOf []any

	// User is what the property must be of the user in question:
	// with [rolegate.KindUserID] the marketplace's number, as a text or a number;
	// with another kind, their name of that kind, if the subject was named by it.
	User rolegate.Kind
}

// Meets makes a [Rule.When] of a condition. It panics on a mistake in it, such as
// a condition that asks nothing.
func Meets(c Condition) func(Question) bool {
	var all []func(Question) bool
	add := func(where string, e Expected, of func(Question) (jsontext.Value, bool)) {
		holds, err := e.compile()
		if err != nil {
			panic(fmt.Sprintf("authzen: Condition: %s: %v", where, err))
		}
		all = append(all, func(q Question) bool {
			value, there := of(q)
			return holds(q, value, there)
		})
	}
	for _, part := range []struct {
		name     string
		expected map[string]Expected
		of       func(Question) *object
	}{
		{"Resource", c.Resource, func(q Question) *object { return q.Resource.object() }},
		{"Action", c.Action, func(q Question) *object { return q.action }},
		{"Context", c.Context, func(q Question) *object { return q.context }},
	} {
		for _, name := range slices.Sorted(maps.Keys(part.expected)) {
			if name == "" {
				panic("authzen: Condition: " + part.name + ": the name of a property is empty")
			}
			add(fmt.Sprintf("%s[%q]", part.name, name), part.expected[name], func(q Question) (jsontext.Value, bool) { return part.of(q).property(name) })
		}
	}
	if c.ResourceID != nil {
		add("ResourceID", *c.ResourceID, func(q Question) (jsontext.Value, bool) {
			text, err := jsontext.AppendQuote(nil, q.Resource.ID)
			return text, err == nil
		})
	}
	if len(all) == 0 {
		panic("authzen: Condition: it asks nothing: give Resource, ResourceID, Action or Context")
	}
	return func(q Question) bool {
		for _, holds := range all {
			if !holds(q) {
				return false
			}
		}
		return true
	}
}

// compile makes of what is expected a func that looks at a property, which is
// shared with others and may not be there.
func (e Expected) compile() (func(q Question, value jsontext.Value, there bool) bool, error) {
	given := 0
	for _, there := range []bool{e.OneOf != nil, e.NoneOf != nil, e.User != 0} {
		if there {
			given++
		}
	}
	if given != 1 {
		return nil, errors.New("expected one of OneOf, NoneOf and User")
	}
	if e.User != 0 {
		if rolegate.ParseKind(e.User.String()) == 0 {
			return nil, fmt.Errorf("%v is no kind of identity: expected rolegate.KindUserID, rolegate.KindAccount, …", e.User)
		}
		return e.isUser, nil
	}
	list, longest, err := scalars(slices.Concat(e.OneOf, e.NoneOf))
	if err != nil {
		return nil, err
	}
	none := e.NoneOf != nil
	return func(_ Question, value jsontext.Value, there bool) bool {
		if !there {
			return none
		}
		s, ok := scalarOf(value, longest)
		return ok && s.kind == list[0].kind && slices.Contains(list, s) != none
	}, nil
}

// isUser compares a property with the user in question. Names of
// another kind than that by which they were found are not known here: another
// user could have the same one.
func (e Expected) isUser(q Question, value jsontext.Value, there bool) bool {
	s, ok := scalarOf(value, max(maxDigits, len(q.subjectID)))
	if !there || !ok || s.kind == 't' || s.kind == '0' && e.User != rolegate.KindUserID {
		return false
	}
	named := identity(e.User, s.text)
	if named.Kind() == 0 {
		return false
	}
	if e.User == rolegate.KindUserID {
		return named == rolegate.UserID(q.User.ID())
	}
	return q.User.ID() > 0 && named == q.subject
}

// maxDigits is how long an int64 may be.
const maxDigits = 20

// A scalar is a text, an integer or a boolean, by the first byte of its JSON.
type scalar struct {
	kind jsontext.Kind // '"', '0' or 't'
	text string
}

// scalars reads values that are expected, which must be of one type. longest is
// how long a text of them is at most.
func scalars(values []any) (list []scalar, longest int, err error) {
	for _, v := range values {
		var s scalar
		switch v := v.(type) {
		case string:
			s = scalar{'"', v}
		case bool:
			s = scalar{'t', strconv.FormatBool(v)}
		case int:
			s = scalar{'0', strconv.Itoa(v)}
		case int64:
			s = scalar{'0', strconv.FormatInt(v, 10)}
		default:
			return nil, 0, fmt.Errorf("a %T is expected: give a string, an int, an int64 or a bool", v)
		}
		if list = append(list, s); s.kind != list[0].kind {
			return nil, 0, errors.New("values of several types are expected: give texts, numbers or booleans")
		}
		longest = max(longest, len(s.text))
	}
	if len(list) == 0 {
		return nil, 0, errors.New("no value is expected: give at least one")
	}
	return list, longest, nil
}

// scalarOf reads a property. A text that is longer than any that is looked for is
// not read, and equals none: its text has a byte more.
func scalarOf(value jsontext.Value, longest int) (s scalar, ok bool) {
	switch kind := value.Kind(); kind {
	case '"':
		if len(value) > 6*longest+2 { // each byte may be escaped
			return scalar{'"', string(value[:longest+1])}, true
		}
		text, err := jsontext.AppendUnquote(nil, value)
		return scalar{'"', string(text)}, err == nil
	case '0':
		if len(value) > maxDigits {
			return s, false
		}
		n, err := strconv.ParseInt(string(value), 10, 64)
		return scalar{'0', string(value)}, err == nil && strconv.FormatInt(n, 10) == string(value)
	case 't', 'f':
		return scalar{'t', string(value)}, true
	}
	return s, false
}
