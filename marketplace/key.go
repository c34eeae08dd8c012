package marketplace

import "strings"

// A key is a key of a record or of a role.
type key uint8

const (
	otherKey key = iota // not one that is read
	keyUserID
	keyLastSequence
	keyRoleList
	keyAccount
	keyEmail
	keyThirdAccount
	keyThirdUserID
	keyNickname
	keyThirdUserName
	keyOrgID
	keyRoleCode
	numKeys
)

var keyNames = [numKeys]string{
	"", "userId", "lastSequence", "roleList", "account", "email",
	"thirdAccount", "thirdUserId", "nickname", "thirdUserName", "orgId", "roleCode",
}

// keyOf finds a key by its name, within those from first to last.
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
	case "orgId":
		return keyOrgID
	case "roleCode":
		return keyRoleCode
	}
	return otherKey
}

// isIgnored reports whether name is one of the document's keys that nobody
// reads: they are met in each role and each record, and need no second look.
func isIgnored(name []byte) bool {
	switch string(name) {
	case "gender", "roleId", "roleName":
		return true
	}
	return false
}

// inOtherCase finds the key among these that name is but for its case.
func inOtherCase(name []byte, among ...key) key {
	for _, k := range among {
		if strings.EqualFold(string(name), keyNames[k]) {
			return k
		}
	}
	return otherKey
}

// A keySet is the keys that one object was found to have so far.
type keySet uint16

// add adds k, and reports whether it was there already.
func (s *keySet) add(k key) (twice bool) {
	bit := keySet(1) << k
	twice = *s&bit != 0
	*s |= bit
	return twice
}
