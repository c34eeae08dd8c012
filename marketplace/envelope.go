package marketplace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/go-json-experiment/json/jsontext"
)

// An envelope is what a page is wrapped in:
//
//	{"code":200,"status":"success","message":"…","data":[…]}
//
// On failure, data is an object instead of an array.
type envelope struct {
	parsed  bool // there is one
	code    int
	status  string // "" if there is none
	failed  bool   // status is there and is not "success"
	message string // as it came: not to be shown before secrets.message
	data    []byte // its raw JSON, nil if there is none; part of the page
}

// ok reports whether the envelope says that the call succeeded.
func (e envelope) ok() bool { return e.code == 200 && !e.failed }

var envelopeKeys = []string{"code", "status", "message", "data"}

// maxEnvelopeKeys is far above the four there are. It bounds the search for
// doubled ones.
const maxEnvelopeKeys = 64

// A scanner reads JSON from bytes in memory, without copying them. It can be
// set to the next bytes any number of times.
type scanner struct {
	*jsontext.Decoder
	src     bytes.Buffer
	scratch []byte
}

func newScanner() *scanner { return &scanner{Decoder: new(jsontext.Decoder)} }

// strictly reads b, and takes keys that occur twice in an object and invalid
// UTF-8 for errors.
func (s *scanner) strictly(b []byte) {
	s.src = *bytes.NewBuffer(b)
	s.Reset(&s.src)
}

// leniently reads b by its syntax alone.
func (s *scanner) leniently(b []byte) {
	s.src = *bytes.NewBuffer(b)
	s.Reset(&s.src, jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// unquote returns what the JSON string v stands for, valid until the next call
// of anything. What is not valid UTF-8 comes back as U+FFFD.
func (s *scanner) unquote(v jsontext.Value) []byte {
	if bytes.IndexByte(v, '\\') < 0 {
		return v[1 : len(v)-1]
	}
	s.scratch, _ = jsontext.AppendUnquote(s.scratch[:0], v)
	return s.scratch
}

// parseEnvelope reads a whole page. Its errors name no more of it than a
// position: a page is personal data.
func (s *scanner) parseEnvelope(page []byte) (envelope, error) {
	var (
		e    envelope
		seen []string
	)
	// Leniently, because what is wrong inside of data is for each record to
	// tell. What is outside is checked here.
	s.leniently(page)
	if s.PeekKind() != '{' {
		if err := s.SkipValue(); err != nil {
			return e, s.malformed(err)
		}
		return e, errors.New("the reply is JSON, but no object")
	}
	_, _ = s.ReadToken() // the '{' that was seen
	for s.PeekKind() != '}' {
		name, err := s.ReadValue()
		if err != nil {
			return e, s.malformed(err)
		}
		b, err := jsontext.AppendUnquote(nil, name)
		if err != nil {
			return e, errors.New("the envelope has a key that is not valid UTF-8")
		}
		key := string(b)
		if slices.Contains(seen, key) {
			return e, errors.New("the envelope has a key twice")
		}
		if seen = append(seen, key); len(seen) > maxEnvelopeKeys {
			return e, fmt.Errorf("the envelope has more than %d keys", maxEnvelopeKeys)
		}
		v, err := s.ReadValue()
		if err != nil {
			return e, s.malformed(err)
		}
		if err := e.set(s, key, v, page); err != nil {
			return e, err
		}
	}
	_, _ = s.ReadToken() // the '}' that was seen
	if _, err := s.ReadToken(); err != io.EOF {
		return e, errors.New("the reply has something after the end of the envelope")
	}
	if !slices.Contains(seen, "code") {
		return e, errors.New("the envelope has no code")
	}
	e.parsed = true
	return e, nil
}

// set takes the value v of key, which s has just read from page.
func (e *envelope) set(s *scanner, key string, v jsontext.Value, page []byte) error {
	switch key {
	case "code":
		n, ok := parseInt(v)
		if !ok || int64(int(n)) != n {
			return errors.New("code: expected an integer")
		}
		e.code = int(n)
	case "status":
		switch v.Kind() {
		case '"':
			e.status = string(s.unquote(v))
			e.failed = e.status != "success"
		case 'n':
		default:
			return errors.New("status: expected a string")
		}
	case "message":
		if v.Kind() == '"' {
			e.message = string(s.unquote(v))
		}
	case "data":
		end := s.InputOffset()
		e.data = page[end-int64(len(v)) : end]
	default:
		for _, known := range envelopeKeys {
			if strings.EqualFold(key, known) {
				return fmt.Errorf("%s: expected this key in this case", known)
			}
		}
	}
	return nil
}

// malformed says where the JSON of a page ends to be JSON. The decoder's own
// errors quote the page.
func (s *scanner) malformed(err error) error {
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
	default:
		return fmt.Errorf("the reply is not the expected JSON from byte %d on", at)
	}
}

// parseInt reads a JSON number or the inside of a JSON string that is an
// integer in its one canonical form: no exponent, fraction, sign or zero that
// could be left out, and within int64. A float has no part in it: the
// marketplace's ids lie above 2^53.
func parseInt(b []byte) (int64, bool) {
	digits := bytes.TrimPrefix(b, []byte("-"))
	if len(digits) == 0 || len(digits) > 19 || digits[0] == '0' && len(b) > 1 {
		return 0, false
	}
	for _, d := range digits {
		if d < '0' || d > '9' {
			return 0, false
		}
	}
	n, err := strconv.ParseInt(string(b), 10, 64)
	return n, err == nil
}
