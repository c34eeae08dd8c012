package marketplace

import (
	"bytes"
	"slices"

	"github.com/go-json-experiment/json/jsontext"
)

// A key is a key of a record or of a grant.
type key uint8

const (
	otherKey key = iota // not of the document
	keyUserID
	keyLastSequence
	keyRoleList
	keyAccount
	keyEmail
	keyThirdAccount
	keyThirdUserID
	keyNickname
	keyThirdUserName
	keyGender
	keyOrgID
	keyRoleCode
	keyRoleID
	keyRoleName
)

func keyOf(name []byte) key {
	switch string(name) {
	case "userId":
		return keyUserID
	case "lastSequence":
		return keyLastSequence
	case "roleList":
		return keyRoleList
	case "account":
		return keyAccount
	case "email":
		return keyEmail
	case "thirdAccount":
		return keyThirdAccount
	case "thirdUserId":
		return keyThirdUserID
	case "nickname":
		return keyNickname
	case "thirdUserName":
		return keyThirdUserName
	case "gender":
		return keyGender
	case "orgId":
		return keyOrgID
	case "roleCode":
		return keyRoleCode
	case "roleId":
		return keyRoleID
	case "roleName":
		return keyRoleName
	}
	return otherKey
}

// maxOthers bounds the search for doubled keys among those that are not of the
// document.
const maxOthers = 16

// A keySet is the keys that one object was found to have so far. To find doubled
// ones this way, and not as the decoder does, saves a sixth of the time of a
// page. It never decides about a record: a page that may have a doubled key in a
// record is read again, carefully.
type keySet struct {
	known  uint32   // a bit for each key
	others [][]byte // the names of those that are otherKey: parts of the page, which is read where it is
}

func (s *keySet) reset() { s.known, s.others = 0, s.others[:0] }

// add adds a key, and reports whether it is certain that it was not there yet.
func (s *keySet) add(k key, name []byte) bool {
	if k == otherKey {
		same := func(other []byte) bool { return bytes.Equal(other, name) }
		if len(s.others) == maxOthers || slices.ContainsFunc(s.others, same) {
			return false
		}
		s.others = append(s.others, name)
		return true
	}
	bit := uint32(1) << k
	fresh := s.known&bit == 0
	s.known |= bit
	return fresh
}

// key reads the next key of an object; those before it are in have. name is valid
// until the next read; of a page that is read quickly, as long as the page.
func (d *recordDecoder) key(have *keySet) (k key, name []byte, err error) {
	v, err := d.strict.ReadValue()
	if err != nil {
		return 0, nil, err
	}
	name = v[1 : len(v)-1]
	k = keyOf(name)
	if k == otherKey && bytes.IndexByte(name, '\\') >= 0 {
		if d.quick {
			return 0, nil, errNotQuick // have has names as they are in the page
		}
		name = d.strict.Unquote(v)
		k = keyOf(name)
	}
	if d.quick && !have.add(k, name) {
		return 0, nil, errNotQuick
	}
	return k, name, nil
}

// value reads the next value of an object. Inside of it, too, no key may be there
// twice.
func (d *recordDecoder) value() (jsontext.Value, error) {
	v, err := d.strict.ReadValue()
	if err == nil && d.quick && (v[0] == '{' || v[0] == '[') && !v.IsValid() {
		err = errNotQuick
	}
	return v, err
}

// int reads the next value as an integer, ok if it is one.
func (d *recordDecoder) int() (n int64, ok bool, err error) {
	v, err := d.value()
	if err != nil {
		return 0, false, err
	}
	n, ok = d.strict.Int(v)
	return n, ok, nil
}
