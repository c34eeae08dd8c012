package authzen

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"

	"github.com/go-json-experiment/json/jsontext"
)

// errBad is what is wrong with a request as a whole. It has nothing of the
// request in it.
type errBad string

func (e errBad) Error() string { return string(e) }

func bad(format string, args ...any) error { return errBad(fmt.Sprintf(format, args...)) }

// A question is one evaluation. What is nil was not given.
type question struct {
	subject  *entity
	resource *entity
	action   *string

	actionProperties, context *object
}

// An entity is a subject or a resource.
type entity struct {
	kind, id   string
	properties *object
}

// An object has properties. The nil object has none.
type object struct {
	raw jsontext.Value

	// byName has the properties once somebody has asked for one: many items of a
	// batch may have one large object in common.
	byName map[string]jsontext.Value
	read   sync.Once
}

// json is the object as it was sent, nil if it was not.
func (o *object) json() jsontext.Value {
	if o == nil {
		return nil
	}
	return o.raw
}

// property is a property as it was sent. It is shared, and may be a megabyte.
func (o *object) property(name string) (value jsontext.Value, ok bool) {
	if o == nil {
		return nil, false
	}
	o.read.Do(func() {
		o.byName = map[string]jsontext.Value{}
		_ = eachMember(o.raw, func(name string, value jsontext.Value) error {
			o.byName[name] = value.Clone()
			return nil
		})
	})
	value, ok = o.byName[name]
	return value, ok
}

// readObject reads an object. at names it.
func readObject(value jsontext.Value, at string) (*object, error) {
	if value.Kind() != '{' {
		return nil, bad("The %s must be an object.", at)
	}
	return &object{raw: value.Clone()}, nil
}

// A request is what was sent to an endpoint: one question, or the defaults of
// several.
type request struct {
	question
	items    []question // with the defaults filled in
	semantic semantic
}

// A semantic says when a batch ends (§7.1.2.1).
type semantic string

const (
	executeAll          semantic = "execute_all"
	denyOnFirstDeny     semantic = "deny_on_first_deny"
	permitOnFirstPermit semantic = "permit_on_first_permit"
)

// readRequest reads a body. With batch it may have up to limit items.
func readRequest(body []byte, batch bool, limit int) (q request, err error) {
	whole, err := readWhole(body)
	if err != nil {
		return q, err
	}
	top, err := readQuestion(whole, "", true)
	if err != nil {
		return q, err
	}
	q = request{question: top.question, semantic: executeAll}
	if batch {
		if err := q.readBatch(top, limit); err != nil {
			return q, err
		}
	}
	if len(q.items) == 0 {
		if lacks := q.lacks(); lacks != "" {
			return q, bad("The %s is missing.", lacks)
		}
	}
	return q, nil
}

// readWhole returns the one object of a body.
func readWhole(body []byte) (jsontext.Value, error) {
	d := jsontext.NewDecoder(bytes.NewBuffer(body))
	whole, err := d.ReadValue() // looks at all of it: syntax, UTF-8, names that are there twice
	if err != nil {
		return nil, errBad(why(err))
	}
	whole = whole.Clone() // the decoder's own bytes are gone with the next token
	if _, err := d.ReadToken(); err != io.EOF {
		return nil, bad("There is something behind the JSON object.")
	}
	if whole.Kind() != '{' {
		return nil, bad("The body must be a JSON object.")
	}
	return whole, nil
}

// readSearch reads the body of an action search: a question without its action.
func readSearch(body []byte) (question, error) {
	whole, err := readWhole(body)
	if err != nil {
		return question{}, err
	}
	top, err := readQuestion(whole, "", true)
	switch {
	case err != nil:
		return question{}, err
	case top.subject == nil:
		return question{}, bad("The subject is missing.")
	case top.resource == nil:
		return question{}, bad("The resource is missing.")
	}
	top.actionProperties = nil
	return top.question, nil
}

// why says why something is not JSON, without saying what is there instead.
func why(err error) string {
	switch {
	case errors.Is(err, io.EOF):
		return "The body is empty."
	case errors.Is(err, jsontext.ErrDuplicateName):
		return "A JSON object has the same name twice."
	default:
		return "The body is not valid JSON."
	}
}

// A top is what an object has beside its question.
type top struct {
	question
	items, options jsontext.Value
}

// readQuestion reads the members that make a question. With strict an entity that
// is there must be whole; else it counts as one that lacks something, and is
// given as the zero entity.
func readQuestion(of jsontext.Value, where string, strict bool) (t top, err error) {
	err = eachMember(of, func(name string, value jsontext.Value) (err error) {
		at := where + name
		switch name {
		case "subject":
			t.subject, err = readEntity(value, at, strict)
		case "resource":
			t.resource, err = readEntity(value, at, strict)
		case "action":
			t.action, t.actionProperties, err = readAction(value, at, strict)
		case "context":
			t.context, err = readObject(value, at)
		case "evaluations":
			t.items = value.Clone()
		case "options":
			t.options = value.Clone()
		}
		return err
	})
	return t, err
}

// broken stands for an entity that lacks something: it is there, so that no
// default takes its place, and makes its item incomplete.
var (
	broken       = &entity{}
	brokenAction = new(string)
)

func readEntity(of jsontext.Value, at string, strict bool) (*entity, error) {
	if of.Kind() != '{' {
		return nil, bad("The %s must be an object.", at)
	}
	e := &entity{}
	var hasKind, hasID bool
	err := eachMember(of, func(name string, value jsontext.Value) (err error) {
		switch name {
		case "type":
			hasKind = true
			e.kind, err = readString(value, at+".type")
		case "id":
			hasID = true
			e.id, err = readString(value, at+".id")
		case "properties":
			e.properties, err = readObject(value, at+".properties")
		}
		return err
	})
	switch {
	case err != nil:
		return nil, err
	case hasKind && hasID:
		return e, nil
	case !strict:
		return broken, nil
	case !hasKind:
		return nil, bad("The %s.type is missing.", at)
	default:
		return nil, bad("The %s.id is missing.", at)
	}
}

func readAction(of jsontext.Value, at string, strict bool) (action *string, properties *object, err error) {
	if of.Kind() != '{' {
		return nil, nil, bad("The %s must be an object.", at)
	}
	err = eachMember(of, func(name string, value jsontext.Value) (err error) {
		switch name {
		case "name":
			text, err := readString(value, at+".name")
			action = &text
			return err
		case "properties":
			properties, err = readObject(value, at+".properties")
		}
		return err
	})
	switch {
	case err != nil:
		return nil, nil, err
	case action != nil:
		return action, properties, nil
	case !strict:
		return brokenAction, nil, nil
	default:
		return nil, nil, bad("The %s.name is missing.", at)
	}
}

// readBatch reads the options and the items.
func (q *request) readBatch(t top, limit int) error {
	if t.options != nil {
		if t.options.Kind() != '{' {
			return bad("The options must be an object.")
		}
		err := eachMember(t.options, func(name string, value jsontext.Value) error {
			if name != "evaluations_semantic" {
				return nil
			}
			text, err := readString(value, "options."+name)
			q.semantic = semantic(text)
			return err
		})
		if err != nil {
			return err
		}
		switch q.semantic {
		case executeAll, denyOnFirstDeny, permitOnFirstPermit:
		default:
			return bad("The options.evaluations_semantic must be execute_all, deny_on_first_deny or permit_on_first_permit.")
		}
	}
	if t.items == nil {
		return nil
	}
	if t.items.Kind() != '[' {
		return bad("The evaluations must be an array.")
	}
	d := decoder(t.items)
	_, _ = d.ReadToken() // [
	for d.PeekKind() != ']' {
		value, err := d.ReadValue()
		if err != nil {
			return errBad(why(err))
		}
		if len(q.items) == limit {
			return bad("There are more than %d evaluations.", limit)
		}
		if value.Kind() != '{' {
			return bad("The evaluations must be objects.")
		}
		item, err := readQuestion(value, "evaluations[].", false)
		if err != nil {
			return err
		}
		q.items = append(q.items, item.or(q.question))
	}
	return nil
}

// or puts defaults in the place of what was not given: whole objects, never a
// part of one.
func (q question) or(defaults question) question {
	if q.subject == nil {
		q.subject = defaults.subject
	}
	if q.resource == nil {
		q.resource = defaults.resource
	}
	if q.action == nil {
		q.action, q.actionProperties = defaults.action, defaults.actionProperties
	}
	if q.context == nil {
		q.context = defaults.context
	}
	return q
}

// lacks names the first part that is not there, "" if all are.
func (q question) lacks() string {
	switch {
	case q.subject == nil || q.subject == broken:
		return "subject"
	case q.resource == nil || q.resource == broken:
		return "resource"
	case q.action == nil || q.action == brokenAction:
		return "action"
	}
	return ""
}

// readString reads a string. at names it.
func readString(value jsontext.Value, at string) (string, error) {
	if value.Kind() != '"' {
		return "", bad("The %s must be a string.", at)
	}
	text, err := jsontext.AppendUnquote(nil, value)
	if err != nil {
		return "", errBad(why(err))
	}
	return string(text), nil
}

// eachMember calls f for each member of an object that was found right before.
// A value is valid until f returns.
func eachMember(of jsontext.Value, f func(name string, value jsontext.Value) error) error {
	d := decoder(of)
	_, _ = d.ReadToken() // {
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return errBad(why(err))
		}
		text := name.String()
		value, err := d.ReadValue()
		if err != nil {
			return errBad(why(err))
		}
		if err := f(text, value); err != nil {
			return err
		}
	}
	return nil
}

// decoder reads a part of a body that was found right as a whole: names were
// compared already.
func decoder(part jsontext.Value) *jsontext.Decoder {
	return jsontext.NewDecoder(bytes.NewBuffer(part), jsontext.AllowDuplicateNames(true))
}
