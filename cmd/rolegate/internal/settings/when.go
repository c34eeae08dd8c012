package settings

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/authzen"
)

// A When is one of several conditions on a question of AuthZEN's of which one must
// hold, as a whole. What a caller claims of a subject is not to be believed, so
// that there is no key for it.
type When struct {
	AnyRole    []string            `yaml:"any_role"`
	ResourceID *Expected           `yaml:"resource_id"`
	Resource   map[string]Expected `yaml:"resource"` // properties, by their names
	Action     map[string]Expected `yaml:"action"`
	Context    map[string]Expected `yaml:"context"`
}

// An Expected says what a property must be: a value, or one key, one_of, none_of or
// user.
type Expected struct {
	OneOf  []any
	NoneOf []any
	User   Kind
}

// UnmarshalYAML implements yaml.Unmarshaler.
func (e *Expected) UnmarshalYAML(n *yaml.Node) error {
	const keys = "one_of, none_of or user"
	if n.Kind != yaml.MappingNode {
		value, err := scalar(n)
		e.OneOf = []any{value}
		return err
	}
	if len(n.Content) != 2 {
		return at(n, "expected a value, or one key: %s", keys)
	}
	key, value := n.Content[0], resolved(n.Content[1])
	switch key.Value {
	case "one_of":
		return scalars(value, &e.OneOf)
	case "none_of":
		return scalars(value, &e.NoneOf)
	case "user":
		return e.User.UnmarshalYAML(value)
	}
	if !word.MatchString(key.Value) {
		return at(key, "unknown key: expected %s", keys)
	}
	return at(key, "unknown key %s: expected %s", key.Value, keys)
}

func scalars(n *yaml.Node, to *[]any) error {
	if n.Kind != yaml.SequenceNode || len(n.Content) == 0 {
		return at(n, "expected a list of values, such as [draft, review]")
	}
	for _, item := range n.Content {
		value, err := scalar(resolved(item))
		if err != nil {
			return err
		}
		*to = append(*to, value)
		if fmt.Sprintf("%T", value) != fmt.Sprintf("%T", (*to)[0]) {
			return at(item, "expected values of one type: texts, whole numbers, or true and false")
		}
	}
	return nil
}

// integer is how a whole number is written in JSON.
var integer = regexp.MustCompile(`^(0|-?[1-9][0-9]*)$`)

// scalar reads what a property is compared with. Numbers that JSON has several
// ways to write are none.
func scalar(n *yaml.Node) (any, error) {
	if n.Kind == yaml.ScalarNode {
		switch n.ShortTag() {
		case "!!str":
			return n.Value, nil
		case "!!bool":
			return strconv.ParseBool(n.Value)
		case "!!int":
			if value, err := strconv.ParseInt(n.Value, 10, 64); err == nil && integer.MatchString(n.Value) {
				return value, nil
			}
		}
	}
	return nil, at(n, "expected a text, a whole number, or true or false")
}

// when makes one func of a rule's conditions, nil of none.
func (r *AuthZENRule) when(gate *rolegate.Gate, subjects map[string]Kind) (_ func(authzen.Question) bool, err error) {
	defer recovered(&err)
	switch {
	case r.When == nil:
		return nil, nil
	case len(r.When) == 0:
		return nil, errors.New("when: expected at least one condition")
	case r.Shadow:
		return nil, errors.New("when: expected no shadow with it: what when refuses is refused")
	}
	var all []func(authzen.Question) bool
	for i, w := range r.When {
		holds, err := w.holds(gate, r.Everywhere, subjects)
		if err != nil {
			return nil, fmt.Errorf("when[%d]: %w", i, err)
		}
		all = append(all, holds)
	}
	return func(q authzen.Question) bool {
		for _, holds := range all {
			if holds(q) {
				return true
			}
		}
		return false
	}, nil
}

func (w *When) holds(gate *rolegate.Gate, everywhere []string, subjects map[string]Kind) (func(authzen.Question) bool, error) {
	condition := authzen.Condition{}
	if w.ResourceID != nil {
		condition.ResourceID = &authzen.Expected{}
		if err := w.ResourceID.expect(condition.ResourceID, subjects); err != nil {
			return nil, fmt.Errorf("resource_id: %w", err)
		}
	}
	parts := 0
	for _, part := range []struct {
		key  string
		from map[string]Expected
		to   *map[string]authzen.Expected
	}{{"resource", w.Resource, &condition.Resource}, {"action", w.Action, &condition.Action}, {"context", w.Context, &condition.Context}} {
		if part.from != nil && len(part.from) == 0 {
			return nil, fmt.Errorf("%s: expected names of properties, with what they must be", part.key)
		}
		*part.to = map[string]authzen.Expected{}
		for name, e := range part.from {
			var expected authzen.Expected
			if err := e.expect(&expected, subjects); err != nil {
				return nil, fmt.Errorf("%s: %w", part.key, err)
			}
			(*part.to)[name] = expected
			parts++
		}
	}
	var all []func(authzen.Question) bool
	if w.AnyRole != nil {
		options := []rolegate.Option{rolegate.AnyRole(w.AnyRole...)}
		if everywhere != nil {
			options = append(options, rolegate.Everywhere(everywhere...))
		}
		policy := gate.Policy(options...)
		all = append(all, func(q authzen.Question) bool { // which is no decision of its own, to be counted
			return policy.Explain(context.Background(), rolegate.UserID(q.User.ID()), q.Org).Decision.Allowed()
		})
	}
	if parts > 0 || w.ResourceID != nil {
		all = append(all, authzen.Meets(condition))
	}
	if len(all) == 0 {
		return nil, errors.New("expected any_role, resource_id, resource, action or context")
	}
	return func(q authzen.Question) bool {
		for _, holds := range all {
			if !holds(q) {
				return false
			}
		}
		return true
	}, nil
}

// expect copies what is expected. A name of a kind by which no subject is asked
// about could never be the user's.
func (e *Expected) expect(to *authzen.Expected, subjects map[string]Kind) error {
	to.OneOf, to.NoneOf, to.User = e.OneOf, e.NoneOf, rolegate.Kind(e.User)
	if e.User == 0 || e.User == Kind(rolegate.KindUserID) {
		return nil
	}
	for _, kind := range subjects {
		if kind == e.User {
			return nil
		}
	}
	return fmt.Errorf("user: no subject is asked about by %v: expected user_id, or a kind that authzen.subjects has", to.User)
}
