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
// document's other keys (gender; roleId and roleName of a role) are ignored,
// like any that are not in it.
var (
	recordKeys = []string{
		"userId", "lastSequence", "roleList", "account", "email",
		"thirdAccount", "thirdUserId", "nickname", "thirdUserName",
	}
	grantKeys = []string{"orgId", "roleCode", "userId"}
)

// An element is one element of the list: a record, and what a
// [rolegate.Record] has no room for.
type element struct {
	record rolegate.Record

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
	grants          []rolegate.Grant
	codes           map[string]string
}

func newRecordDecoder() *recordDecoder {
	return &recordDecoder{strict: newScanner(), lenient: newScanner(), codes: make(map[string]string)}
}

// decode calls visit for each element of data, the raw JSON of an array whose
// syntax has been checked. It stops at the first error of visit and returns
// it. The grants of an element are valid until visit returns.
func (d *recordDecoder) decode(data []byte, visit func(*element) error) error {
	rest := bytes.TrimLeft(data[1:], " \t\r\n")
	for rest[0] != ']' {
		// Each element is read as if it stood alone, right where it is: so
		// what is wrong with one is not wrong with the next.
		e, n, err := d.element(rest)
		if err != nil {
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

// element decodes the record that b begins with, and returns its length.
func (d *recordDecoder) element(b []byte) (e element, n int64, err error) {
	s, r := d.strict, &e.record
	s.Strictly(b)
	if s.PeekKind() != '{' {
		return e, 0, errNotObject
	}
	_, _ = s.ReadToken() // the '{' that was seen
	var (
		hasRoles bool
		owner    int64 // the userId in the grants, 0 if there is none
	)
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return e, 0, strictError(err)
		}
		ok, bad := true, error(nil)
		switch key := s.Unquote(name); string(key) {
		case "userId":
			bad = errUserID
			r.UserID, ok, err = s.ReadInt()
			ok = ok && r.UserID > 0
		case "lastSequence":
			bad = errSequence
			r.Sequence, ok, err = s.ReadInt()
			ok = ok && r.Sequence >= 0
			e.sequenced = ok
		case "roleList":
			hasRoles = true
			owner, err = d.roleList()
		case "account":
			bad = errAccount
			r.Account, ok, err = s.ReadText()
		case "email":
			bad = errEmail
			r.Email, ok, err = s.ReadText()
		case "thirdAccount":
			bad = errThirdAccount
			r.ThirdAccount, ok, err = s.ReadText()
		case "thirdUserId":
			bad = errThirdUserID
			r.ThirdUserID, ok, err = s.readThirdUserID()
		case "nickname":
			r.Nickname, _, err = s.ReadText()
		case "thirdUserName":
			r.ThirdUserName, _, err = s.ReadText()
		default:
			if bad = wire.OtherCase(string(key), recordKeys, ""); bad != nil {
				return e, 0, bad
			}
			err = s.SkipValue()
		}
		if err != nil {
			return e, 0, strictError(err)
		}
		if !ok {
			return e, 0, bad
		}
	}
	if _, err := s.ReadToken(); err != nil {
		return e, 0, strictError(err)
	}
	switch {
	case r.UserID == 0:
		return e, 0, errUserID
	case !e.sequenced:
		return e, 0, errSequence
	case !hasRoles:
		return e, 0, errRoleList
	case owner != 0 && owner != r.UserID:
		return e, 0, errGrantUser
	}
	r.Grants = d.grants
	return e, s.InputOffset(), nil
}

// roleList reads the value of roleList into d.grants. It returns the userId
// that the grants name, 0 if they name none.
func (d *recordDecoder) roleList() (owner int64, err error) {
	s := d.strict
	d.grants = d.grants[:0]
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
	switch s.PeekKind() {
	case '{':
		_, _ = s.ReadToken() // the '{' that was seen
	case 0:
		_, err := s.ReadToken()
		return g, 0, err
	default:
		return g, 0, errRole
	}
	var hasOrg, hasCode bool
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return g, 0, err
		}
		switch key := s.Unquote(name); string(key) {
		case "orgId":
			if g.OrgID, hasOrg, err = s.ReadInt(); err == nil && !hasOrg {
				err = errOrgID
			}
		case "roleCode":
			var v jsontext.Value
			if v, err = s.ReadValue(); err != nil {
				break
			}
			if hasCode = v.Kind() == '"'; !hasCode {
				err = errRoleCode
				break
			}
			g.RoleCode = d.intern(s.Unquote(v))
		case "userId":
			if s.PeekKind() == 'n' {
				err = s.SkipValue()
				break
			}
			var ok bool
			if user, ok, err = s.ReadInt(); err == nil && !ok {
				err = errGrantUser
			}
			user = max(user, 0) // the platform writes -1 for a null number
		default:
			if err = wire.OtherCase(string(key), grantKeys, "roleList[]."); err == nil {
				err = s.SkipValue()
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

// readThirdUserID reads a thirdUserId: an integer in the document of the list,
// text in others of the same platform, and so text here. Ids that are not
// above 0 are what the platform writes for "none".
func (s *scanner) readThirdUserID() (text string, ok bool, err error) {
	v, err := s.ReadValue()
	if err != nil {
		return "", false, err
	}
	var b []byte
	switch v.Kind() {
	case 'n':
		return "", true, nil
	case '"':
		b = s.Unquote(v)
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
	return string(b), true, nil
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
