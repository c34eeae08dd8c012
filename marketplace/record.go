package marketplace

import (
	"bytes"
	"errors"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate"
	"github.com/rolegate/rolegate/internal/wire"
)

// Why a record cannot be understood. None of these has anything from the wire
// in it.
var (
	errNotObject    = errors.New("record: expected an object")
	errDuplicateKey = errors.New("record: expected each key once in each object")
	errUTF8         = errors.New("record: expected valid UTF-8")
	errUserID       = errors.New("userId: expected an integer above 0, as a number or a decimal string")
	errSequence     = errors.New("lastSequence: expected an integer of at least 0, as a number or a decimal string")
	errRoleList     = errors.New("roleList: expected an array, an empty one for a user without roles")
	errRole         = errors.New("roleList[]: expected an object")
	errOrgID        = errors.New("roleList[].orgId: expected an integer, as a number or a decimal string")
	errRoleCode     = errors.New("roleList[].roleCode: expected a string")
	errGrantUser    = errors.New("roleList[].userId: expected none, or the userId of the record")
	errAccount      = errors.New("account: expected a string or null")
	errEmail        = errors.New("email: expected a string or null")
	errThirdAccount = errors.New("thirdAccount: expected a string or null")
	errThirdUserID  = errors.New("thirdUserId: expected a string, an integer or null")
)

// The keys that are read. A key that differs from one of them only by its case
// makes the record bad: which one counts would depend on who reads it. The
// document's other keys are ignored, like any that are not in it.
var (
	keysOfRecord = []string{
		"userId", "lastSequence", "roleList", "account", "email",
		"thirdAccount", "thirdUserId", "nickname", "thirdUserName",
	}
	keysOfGrant = []string{"orgId", "roleCode", "userId"}
)

// An element is one element of the list: a record, and what a
// [rolegate.Record] has no room for.
type element struct {
	record rolegate.Record

	// grants is how many the record has. Where they are is known only when all
	// of a page have been read: until then they move.
	grants int

	// sequenced is whether record.Sequence was readable.
	sequenced bool

	// more are the user ids of a bad record besides record.UserID: it names
	// several, and all of them are to be barred.
	more []int64
}

// maxInterned bounds the role codes that are kept to be shared: an app has
// dozens of them, and users have millions.
const maxInterned = 1024

// A recordDecoder decodes the records of pages, one page after the other. What
// it returns does not share memory with the page.
type recordDecoder struct {
	strict, lenient *scanner
	quick           bool             // quickly is at work, and strict does not look for doubled keys
	elements        []element        // of the page that quickly has read
	grants          []rolegate.Grant // of elements, or of the element at hand
	codes           map[string]string
	texts           texts

	// The keys of the record and of the grant at hand.
	recordKeys, grantKeys keySet
}

func newRecordDecoder() *recordDecoder {
	return &recordDecoder{strict: newScanner(), lenient: newScanner(), codes: make(map[string]string)}
}

// each calls visit for each element of p, the page that was fetched last. It
// stops at the first error of visit and returns it. The grants of an element
// are valid until visit returns.
func (d *recordDecoder) each(p page, visit func(*element) error) error {
	if len(p.elements) == 0 {
		return d.carefully(p.data, visit)
	}
	rest := d.grants
	for i := range p.elements {
		e := &p.elements[i]
		e.record.Grants, rest = rest[:e.grants:e.grants], rest[e.grants:]
		if err := visit(e); err != nil {
			return err
		}
	}
	return nil
}

// carefully is each for data, the raw JSON of an array whose syntax has been
// checked.
func (d *recordDecoder) carefully(data []byte, visit func(*element) error) error {
	var (
		e   element
		n   int64
		err error
	)
	rest := bytes.TrimLeft(data[1:], " \t\r\n")
	for rest[0] != ']' {
		// Each element is read as if it stood alone, right where it is: so
		// what is wrong with one is not wrong with the next.
		if e, n, err = d.alone(rest); err != nil {
			e, n = d.secondLook(rest, err)
		}
		if err := visit(&e); err != nil {
			return err
		}
		rest = bytes.TrimLeft(rest[n:], " \t\r\n")
		if rest[0] == ',' {
			rest = bytes.TrimLeft(rest[1:], " \t\r\n")
		}
	}
	return nil
}

// alone decodes the record that b begins with, and returns its length.
func (d *recordDecoder) alone(b []byte) (e element, n int64, err error) {
	d.quick, d.grants = false, d.grants[:0]
	d.strict.Strictly(b)
	if err := d.element(&e); err != nil {
		return element{}, 0, err
	}
	e.record.Grants = d.grants
	return e, d.strict.InputOffset(), nil
}

// element reads the next value into e, which has to be zero, and its grants into
// the end of d.grants. After an error, d.strict is anywhere.
func (d *recordDecoder) element(e *element) error {
	s, r := d.strict, &e.record
	if s.PeekKind() != '{' {
		return errNotObject
	}
	_, _ = s.ReadToken() // the '{' that was seen
	d.recordKeys.reset()
	from := len(d.grants)
	var (
		hasRoles bool
		owner    int64 // the userId in the grants, 0 if there is none
	)
	for s.PeekKind() != '}' {
		k, name, err := d.key(&d.recordKeys)
		if err != nil {
			return strictError(err)
		}
		ok, bad := true, error(nil)
		switch k {
		case keyUserID:
			bad = errUserID
			r.UserID, ok, err = d.int()
			ok = ok && r.UserID > 0
		case keyLastSequence:
			bad = errSequence
			r.Sequence, ok, err = d.int()
			ok = ok && r.Sequence >= 0
			e.sequenced = ok
		case keyRoleList:
			hasRoles = true
			owner, err = d.roleList()
		case keyAccount:
			bad = errAccount
			r.Account, ok, err = d.text()
		case keyEmail:
			bad = errEmail
			r.Email, ok, err = d.text()
		case keyThirdAccount:
			bad = errThirdAccount
			r.ThirdAccount, ok, err = d.text()
		case keyThirdUserID:
			bad = errThirdUserID
			r.ThirdUserID, ok, err = d.thirdUserID()
		case keyNickname:
			r.Nickname, _, err = d.text()
		case keyThirdUserName:
			r.ThirdUserName, _, err = d.text()
		case keyGender:
			_, err = d.value()
		default:
			if bad = wire.OtherCase(string(name), keysOfRecord, ""); bad != nil {
				return bad
			}
			_, err = d.value()
		}
		if err != nil {
			return strictError(err)
		}
		if !ok {
			return bad
		}
	}
	if _, err := s.ReadToken(); err != nil {
		return strictError(err)
	}
	switch {
	case r.UserID == 0:
		return errUserID
	case !e.sequenced:
		return errSequence
	case !hasRoles:
		return errRoleList
	case owner != 0 && owner != r.UserID:
		return errGrantUser
	}
	e.grants = len(d.grants) - from
	return nil
}

// roleList reads the value of roleList into the end of d.grants. It returns the
// userId that the grants name, 0 if they name none.
func (d *recordDecoder) roleList() (owner int64, err error) {
	s := d.strict
	if s.PeekKind() != '[' {
		return 0, errRoleList
	}
	_, _ = s.ReadToken() // the '[' that was seen
	for s.PeekKind() != ']' {
		g, user, err := d.grant()
		if err != nil {
			return 0, err
		}
		if user != 0 {
			if owner != 0 && user != owner {
				return 0, errGrantUser
			}
			owner = user
		}
		d.grants = append(d.grants, g)
	}
	_, err = s.ReadToken()
	return owner, err
}

// grant reads one element of roleList.
func (d *recordDecoder) grant() (g rolegate.Grant, user int64, err error) {
	s := d.strict
	if s.PeekKind() != '{' {
		return g, 0, errRole
	}
	_, _ = s.ReadToken() // the '{' that was seen
	d.grantKeys.reset()
	var hasOrg, hasCode bool
	for s.PeekKind() != '}' {
		k, name, err := d.key(&d.grantKeys)
		if err != nil {
			return g, 0, err
		}
		switch k {
		case keyOrgID:
			if g.OrgID, hasOrg, err = d.int(); err == nil && !hasOrg {
				err = errOrgID
			}
		case keyRoleCode:
			var v jsontext.Value
			if v, err = d.value(); err != nil {
				break
			}
			if hasCode = v.Kind() == '"'; !hasCode {
				err = errRoleCode
				break
			}
			g.RoleCode = d.intern(s.Unquote(v))
		case keyUserID:
			var v jsontext.Value
			if v, err = d.value(); err != nil || v.Kind() == 'n' {
				break
			}
			var ok bool
			if user, ok = s.Int(v); !ok {
				err = errGrantUser
			}
			user = max(user, 0) // the platform writes -1 for a null number
		case keyRoleID, keyRoleName:
			_, err = d.value()
		default:
			if err = wire.OtherCase(string(name), keysOfGrant, "roleList[]."); err == nil {
				_, err = d.value()
			}
		}
		if err != nil {
			return g, 0, err
		}
	}
	switch _, err = s.ReadToken(); {
	case err != nil:
		return g, 0, err
	case !hasOrg:
		return g, 0, errOrgID
	case !hasCode:
		return g, 0, errRoleCode
	}
	return g, user, nil
}

// intern returns code as a string, the same one for the same code.
func (d *recordDecoder) intern(code []byte) string {
	if s, ok := d.codes[string(code)]; ok {
		return s
	}
	s := string(code)
	if len(d.codes) < maxInterned {
		d.codes[s] = s
	}
	return s
}

// text reads the next value as a string, ok if it is one or null.
func (d *recordDecoder) text() (text string, ok bool, err error) {
	v, err := d.value()
	if err != nil {
		return "", false, err
	}
	switch v.Kind() {
	case '"':
		return d.texts.string(d.strict.Unquote(v)), true, nil
	case 'n':
		return "", true, nil
	}
	return "", false, nil
}

// thirdUserID reads a thirdUserId: an integer in the document of the list, text
// in others of the same platform, and so text here. Ids that are not above 0
// are what the platform writes for "none".
func (d *recordDecoder) thirdUserID() (text string, ok bool, err error) {
	v, err := d.value()
	if err != nil {
		return "", false, err
	}
	var b []byte
	switch v.Kind() {
	case 'n':
		return "", true, nil
	case '"':
		b = d.strict.Unquote(v)
	case '0':
		if b = v; bytes.ContainsAny(b, ".eE") {
			return "", false, nil
		}
	default:
		return "", false, nil
	}
	if namesNobody(b) {
		return "", true, nil
	}
	return d.texts.string(b), true, nil
}

// namesNobody reports whether an id is empty or an integer not above 0.
func namesNobody(id []byte) bool {
	digits, negative := bytes.CutPrefix(id, []byte("-"))
	if len(digits) == 0 {
		return !negative
	}
	return len(bytes.Trim(digits, "0")) == 0 || negative && len(bytes.Trim(digits, "0123456789")) == 0
}

// strictError says what the decoder found wrong with a record whose syntax is
// right, and passes our own errors on. The decoder's texts quote the record.
func strictError(err error) error {
	var syntax *jsontext.SyntacticError
	switch {
	case errors.Is(err, jsontext.ErrDuplicateName):
		return errDuplicateKey
	case errors.As(err, &syntax):
		return errUTF8
	default:
		return err
	}
}
