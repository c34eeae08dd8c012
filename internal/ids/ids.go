// Package ids reads the numbers of users and organisations from text.
package ids

import (
	"errors"
	"strconv"
)

// ErrID says what was expected of an id.
var ErrID = errors.New("expected a decimal number above 0, without sign, leading zeros, fraction or exponent")

// Parse reads a canonical decimal above 0: one number has one spelling, so that
// what a guard checked is what a handler reads. It returns ErrID for every other
// text.
func Parse(text string) (int64, error) {
	if text == "" || text[0] < '1' || text[0] > '9' {
		return 0, ErrID
	}
	id, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return 0, ErrID
	}
	return id, nil
}
