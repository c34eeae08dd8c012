package wire

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// maxKeys is far above the number of keys that any object has which is read by
// [Scanner.Members]. It bounds the search for doubled ones.
const maxKeys = 64

// A Scanner reads JSON from bytes in memory, without copying them. It can be
// set to the next bytes any number of times.
type Scanner struct {
	*jsontext.Decoder
	src     bytes.Buffer
	scratch []byte
}

// NewScanner returns a scanner that is set to nothing.
func NewScanner() *Scanner { return &Scanner{Decoder: new(jsontext.Decoder)} }

// Strictly reads b, and takes keys that occur twice in an object and invalid
// UTF-8 for errors.
func (s *Scanner) Strictly(b []byte) {
	s.src = *bytes.NewBuffer(b)
	s.Reset(&s.src)
}

// StrictlyButDoubles reads b, and takes invalid UTF-8 for an error, but not keys
// that occur twice.
func (s *Scanner) StrictlyButDoubles(b []byte) {
	s.src = *bytes.NewBuffer(b)
	s.Reset(&s.src, jsontext.AllowDuplicateNames(true))
}

// Leniently reads b by its syntax alone.
func (s *Scanner) Leniently(b []byte) {
	s.src = *bytes.NewBuffer(b)
	s.Reset(&s.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// Unquote returns what the JSON string v stands for, valid until the next call
// of anything. What is not valid UTF-8 comes back as U+FFFD.
func (s *Scanner) Unquote(v jsontext.Value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	s.scratch, _ = jsontext.AppendUnquote(s.scratch[:0], v)
	return s.scratch
}

// Object is Members for a set that does not read its values itself; value is
// valid until set returns, and ends at InputOffset.
func (s *Scanner) Object(known []string, set func(key string, value jsontext.Value) error) error {
	return s.Members(known, func(key string) error {
		v, err := s.ReadValue()
		if err != nil {
			return s.Malformed(err)
		}
		return set(key, v)
	})
}

// Members reads all that the scanner is set to, which has to be one object and
// nothing more, and calls read for each of its keys; read has to read the value
// that follows, and nothing beyond it. A key that occurs twice, one that is not
// valid UTF-8, and one that differs from those in known by nothing but its case
// are errors. Those errors, and all others but the ones of read, have nothing
// from the wire in them but a position.
func (s *Scanner) Members(known []string, read func(key string) error) error {
	var seen []string
	if s.PeekKind() != '{' {
		if err := s.SkipValue(); err != nil {
			return s.Malformed(err)
		}
		return errors.New("the reply is JSON, but no object")
	}
	_, _ = s.ReadToken() // the '{' that was seen
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return s.Malformed(err)
		}
		b, err := jsontext.AppendUnquote(nil, name)
		if err != nil {
			return errors.New("the envelope has a key that is not valid UTF-8")
		}
		key := string(b)
		if slices.Contains(seen, key) {
			return errors.New("the envelope has a key twice")
		}
		if seen = append(seen, key); len(seen) > maxKeys {
			return fmt.Errorf("the envelope has more than %d keys", maxKeys)
		}
		if !slices.Contains(known, key) {
			if err := OtherCase(key, known, ""); err != nil {
				return err
			}
		}
		if err := read(key); err != nil {
			return err
		}
	}
	if _, err := s.ReadToken(); err != nil {
		return s.Malformed(err)
	}
	if _, err := s.ReadToken(); err != io.EOF {
		return errors.New("the reply has something after the end of the envelope")
	}
	return nil
}

// Malformed says where JSON ends to be JSON. The decoder's own errors quote it.
func (s *Scanner) Malformed(err error) error {
	at := s.InputOffset()
	var syntax *jsontext.SyntacticError
	if errors.As(err, &syntax) {
		at = syntax.ByteOffset
	}
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("the reply has no JSON in it")
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fmt.Errorf("the reply breaks off after %d bytes", at)
	case errors.Is(err, jsontext.ErrDuplicateName):
		return fmt.Errorf("the reply has a key twice in an object, at byte %d", at)
	default:
		return fmt.Errorf("the reply is not the expected JSON from byte %d on", at)
	}
}

// OtherCase returns an error if key is one of known but for its case. prefix is
// written before the key's name.
func OtherCase(key string, known []string, prefix string) error {
	for _, k := range known {
		if strings.EqualFold(key, k) {
			return fmt.Errorf("%s%s: expected this key in this case", prefix, k)
		}
	}
	return nil
}

// ReadInt reads the next value as an integer, ok if it is one.
func (s *Scanner) ReadInt() (n int64, ok bool, err error) {
	v, err := s.ReadValue()
	if err != nil {
		return 0, false, err
	}
	n, ok = s.Int(v)
	return n, ok, nil
}

// Int reads v, a JSON number or string, as an integer. Platforms of this
// family write a long as either, and sometimes one as each.
func (s *Scanner) Int(v jsontext.Value) (int64, bool) {
	switch v.Kind() {
	case '0':
		return ParseInt(v)
	case '"':
		return ParseInt(s.Unquote(v))
	}
	return 0, false
}

// Text reads v as a string, ok if it is one or null.
func (s *Scanner) Text(v jsontext.Value) (text string, ok bool) {
	switch v.Kind() {
	case '"':
		return string(s.Unquote(v)), true
	case 'n':
		return "", true
	}
	return "", false
}

// ParseInt reads a JSON number or the inside of a JSON string that is an
// integer in its one canonical form: no exponent, fraction, sign or zero that
// could be left out, and within int64. A float has no part in it: ids lie above
// 2^53.
func ParseInt(b []byte) (int64, bool) {
	digits := b
	negative := len(b) > 0 && b[0] == '-'
	if negative {
		digits = b[1:]
	}
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	var n uint64 // has room for 19 digits, whichever
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
		n = 10*n + uint64(d-'0')
	}
	switch {
	case negative && n <= -math.MinInt64:
		return -int64(n), true // right for the lowest one too, which has no positive
	case !negative && n <= math.MaxInt64:
		return int64(n), true
	}
	return 0, false
}
