package authzen

import (
	"fmt"

	"github.com/go-json-experiment/json/jsontext"
	"github.com/rolegate/rolegate/internal/ids"
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
	value, ok := r.object().property(name)
	return value.Clone(), ok
}

// object is the resource's properties.
func (r Resource) object() *object {
	if r.of == nil {
		return nil
	}
	return r.of.properties
}

// OrgFromID reads the organisation from the id of the resource, for resources
// that are organisations. Only canonical decimals above 0 count.
func OrgFromID() func(Resource) (int64, error) {
	return func(r Resource) (int64, error) {
		org, err := ids.Parse(r.ID)
		if err != nil {
			return 0, fmt.Errorf("resource.id: %w", err)
		}
		return org, nil
	}
}

// maxOrg is how long an organisation's id may be in JSON: each of its digits may be
// escaped.
const maxOrg = 6*20 + 2

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
		value, ok := r.object().property(name) // not a copy: it may be a megabyte
		if !ok {
			return 0, fmt.Errorf("resource.properties: %q is missing", name)
		}
		if len(value) > maxOrg {
			return 0, fmt.Errorf("resource.properties: %q is longer than any organisation's id", name)
		}
		text := string(value)
		switch value.Kind() {
		case '"':
			unquoted, err := jsontext.AppendUnquote(nil, value)
			if err != nil {
				return 0, fmt.Errorf("resource.properties: %q: %w", name, ids.ErrID)
			}
			text = string(unquoted)
		case '0':
		default:
			return 0, fmt.Errorf("resource.properties: %q is neither a string nor a number", name)
		}
		org, err := ids.Parse(text)
		if err != nil {
			return 0, fmt.Errorf("resource.properties: %q: %w", name, err)
		}
		return org, nil
	}
}
