// Package identities makes identities of what operators and other programs write:
// the name of a kind, and a text.
package identities

import (
	"errors"
	"strconv"

	"github.com/rolegate/rolegate"
)

// ErrID says what was expected of an id.
var ErrID = errors.New("expected a decimal number above 0, without sign, leading zeros, fraction or exponent")

// ParseID reads a canonical decimal above 0: one number has one spelling.
func ParseID(text string) (int64, error) {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0, ErrID
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, ErrID
	}
	return id, nil
}

// KindOf returns the kind with that name, as rolegate.Kind's String has it, and 0
// if there is none.
func KindOf(name string) rolegate.Kind {
	for k := rolegate.KindUserID; k <= rolegate.KindThirdUserID; k++ {
		if k.String() == name {
			return k
		}
	}
	return 0
}

// Of returns the identity of that kind. An error says that there is no such kind,
// or that the text is no user id.
func Of(kind rolegate.Kind, text string) (rolegate.Identity, error) {
	switch kind {
	case rolegate.KindUserID:
		id, err := ParseID(text)
		if err != nil {
			return rolegate.Identity{}, err
		}
		return rolegate.UserID(id), nil
	case rolegate.KindAccount:
		return rolegate.Account(text), nil
	case rolegate.KindEmail:
		return rolegate.Email(text), nil
	case rolegate.KindThirdAccount:
		return rolegate.ThirdAccount(text), nil
	case rolegate.KindThirdUserID:
		return rolegate.ThirdUserID(text), nil
	}
	return rolegate.Identity{}, errors.New("expected a kind of identity that rolegate knows")
}
