package authzen

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/go-json-experiment/json/jsontext"
)

// A Resource is what a question is about, for the func of a [Rule]. The zero
// Resource has nothing.
type Resource struct {
	Type, ID string

	of *entity
}

// Property returns a property as the JSON that was sent, and whether it is
// there. Numbers have their own digits: they were not rounded.
func (r Resource) Property(name string) (json []byte, ok bool) {
	if r.of == nil {
		return nil, false
	}
	value, ok := r.of.property(name)
	return value.Clone(), ok
}

// OrgFromID reads the organisation from the id of the resource, for resources
// that are organisations. Only canonical decimals above 0 count.
func OrgFromID() func(Resource) (int64, error) {
	return func(r Resource) (int64, error) {
		org, err := parseID(r.ID)
		if err != nil {
			return 0, fmt.Errorf("resource.id: %w", err)
		}
		return org, nil
	}
}

// OrgFromProperty reads the organisation from a property of the resource: a
// canonical decimal above 0, as a string or as a number. Both are exact: the
// marketplace's ids are above 2^53, which a number in a caller's JSON library
// may not survive, so that a string is the safer choice.
//
// It panics if the name is empty.
func OrgFromProperty(name string) func(Resource) (int64, error) {
	if name == "" {
		panic("authzen: OrgFromProperty: give the name of a property, such as org_id")
	}
	return func(r Resource) (int64, error) {
		value, ok := r.Property(name)
		if !ok {
			return 0, fmt.Errorf("resource.properties: %q is missing", name)
		}
		text := string(value)
		switch jsontext.Value(value).Kind() {
		case '"':
			unquoted, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return 0, fmt.Errorf("resource.properties: %q: %w", name, errID)
			}
			text = string(unquoted)
		case '0':
		default:
			return 0, fmt.Errorf("resource.properties: %q is neither a string nor a number", name)
		}
		org, err := parseID(text)
		if err != nil {
			return 0, fmt.Errorf("resource.properties: %q: %w", name, err)
		}
		return org, nil
	}
}

var errID = errors.New("expected a decimal number above 0, without sign, leading zeros, fraction or exponent")

// parseID reads a canonical decimal above 0: one number has one spelling.
func parseID(s string) (int64, error) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, errID
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errID
	}
	return id, nil
}
