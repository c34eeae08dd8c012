package bearer

import (
	"bytes"
	"encoding/json"
	"errors"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Claims are those of a token that is believed, as the JSON that the issuer wrote.
type Claims map[string]json.RawMessage

// registered are the claims that decide whether a token is believed. A decoder
// that folds case, as encoding/json does, takes "AUD" for one of them.
var registered = []string{"iss", "sub", "aud", "exp", "nbf", "iat", "azp", "email", "email_verified", "client_id"}

// UnmarshalJSON refuses two claims whose names differ by case alone, or not at
// all: two readers might believe two issuers' worth of it. Nor is a registered
// claim believed that is written otherwise.
func (c *Claims) UnmarshalJSON(data []byte) error {
	d := json.NewDecoder(bytes.NewReader(data))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("claims are an object")
	}
	*c = Claims{}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		text, _ := name.(string)
		var value json.RawMessage
		if err := d.Decode(&value); err != nil {
			return err
		}
		for _, known := range registered {
			if text != known && strings.EqualFold(text, known) {
				return errors.New("a registered claim is written in another case")
			}
		}
		if len(*c) == maxClaims {
			return errors.New("there are too many claims")
		}
		for other := range *c {
			if strings.EqualFold(text, other) {
				return errors.New("a claim is there twice")
			}
		}
		(*c)[text] = value
	}
	_, err := d.Token() // that the object ends
	return err
}

// maxClaims is how many claims a token may have: each is compared with the others.
const maxClaims = 256

// Text reads a claim that is a string, and not empty. What is no UTF-8, or half a
// surrogate, reads as U+FFFD: two users' names could be one, and are refused.
func (c Claims) Text(name string) (string, error) {
	var text *string
	if json.Unmarshal(c[name], &text) != nil || text == nil || *text == "" || strings.ContainsRune(*text, utf8.RuneError) {
		return "", refusal("claim")
	}
	return *text, nil
}

// digitsOrText reads a string, or the digits of a whole number.
func (c Claims) digitsOrText(name string) (string, error) {
	if text, err := c.Text(name); err == nil {
		return text, nil
	}
	if _, err := parseID(string(c[name])); err != nil {
		return "", refusal("claim")
	}
	return string(c[name]), nil
}

// ID reads a claim that is a number above 0, or its digits in a string.
func (c Claims) ID(name string) (int64, error) {
	digits, err := c.digitsOrText(name)
	if err != nil {
		return 0, err
	}
	return parseID(digits)
}

// parseID reads a canonical decimal above 0: one number has one spelling.
func parseID(s string) (int64, error) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, refusal("claim")
	}
	id, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, refusal("claim")
	}
	return id, nil
}
