package marketplace

import (
	"bytes"
	"errors"
	"strings"
	"unicode/utf8"

	"github.com/go-json-experiment/json/jsontext"

	"github.com/rolegate/rolegate/internal/wire"
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
	message string // as it came: not to be shown before Secrets.Message
	data    dataKind
}

// A dataKind is what data is.
type dataKind uint8

const (
	noData    dataKind = iota // there is none
	dataList                  // an array
	dataEmpty                 // null, "" or {}, which some platforms write for an empty array
	dataOther
)

// ok reports whether the envelope says that the call succeeded.
func (e envelope) ok() bool { return e.code == 200 && !e.failed }

var envelopeKeys = []string{"code", "status", "message", "data"}

// A scanner reads the JSON of pages.
type scanner struct {
	*wire.Scanner
	unquoted []byte
}

func newScanner() *scanner { return &scanner{Scanner: wire.NewScanner()} }

var byteOrderMark = []byte("\ufeff")

// parseEnvelope reads a whole page. list is called to read the array in data.
// Its errors name no more of the page than a position: it is personal data.
func (s *scanner) parseEnvelope(page []byte, list func() error) (envelope, error) {
	page = bytes.TrimPrefix(page, byteOrderMark)
	var e envelope
	hasCode := false
	// Leniently, because what is wrong inside of data is for each record to
	// tell.
	s.Leniently(page)
	err := s.Members(envelopeKeys, func(key string) error {
		if key == "data" && s.PeekKind() == '[' {
			e.data = dataList
			err := list()
			if err == nil || errors.Is(err, errNoUsers) {
				return err
			}
			return s.Malformed(err)
		}
		hasCode = hasCode || key == "code"
		v, err := s.ReadValue()
		if err != nil {
			return s.Malformed(err)
		}
		return e.set(s, key, v)
	})
	switch {
	case err != nil:
		if looks := looksLike(page); looks != "" {
			err = errors.New(err.Error() + ": it looks like " + looks)
		}
		return envelope{}, err
	case !hasCode:
		return envelope{}, errors.New("the envelope has no code")
	case !utf8.ValidString(e.message) && invalidBytes(e.message) >= minInvalidBytes:
		return envelope{}, errNotUTF8
	}
	e.parsed = true
	return e, nil
}

// minInvalidBytes is how many make a message one in another encoding, and not one
// that was cut in the middle of a character.
const minInvalidBytes = 4

func invalidBytes(s string) (n int) {
	for _, r := range s {
		if r == utf8.RuneError {
			n++
		}
	}
	return n
}

// set takes the value v of key.
func (e *envelope) set(s *scanner, key string, v jsontext.Value) error {
	switch key {
	case "code":
		n, ok := s.Int(v)
		if !ok || int64(int(n)) != n {
			return errors.New("code: expected an integer")
		}
		e.code = int(n)
	case "status":
		switch v.Kind() {
		case '"':
			e.status = string(s.Unquote(v))
			e.failed = e.status != "" && !strings.EqualFold(e.status, "success") // some platforms write "" for null
		case 'n':
		default:
			return errors.New("status: expected a string")
		}
	case "message":
		if v.Kind() == '"' {
			// As it came, but for escapes: a page in GBK shows here first.
			e.message = string(bytes.Trim(v, `"`))
			if utf8.Valid(v) {
				e.message = string(s.Unquote(v))
			}
		}
	case "data":
		e.data = dataOther
		if v.Kind() == 'n' || string(v) == `""` || v.Kind() == '{' && len(bytes.Trim(v, "{} \t\r\n")) == 0 {
			e.data = dataEmpty
		}
	}
	return nil
}

// looksLike says what a page that is not JSON seems to be, "" if nothing that
// is known.
func looksLike(page []byte) string {
	page = bytes.TrimLeft(page[:min(len(page), 1<<10)], " \t\r\n")
	lower := bytes.ToLower(page[:min(len(page), 64)])
	switch {
	case bytes.HasPrefix(page, []byte("\x1f\x8b")):
		return "gzip that was not announced"
	case bytes.HasPrefix(page, []byte("\xff\xfe")), bytes.HasPrefix(page, []byte("\xfe\xff")):
		return "UTF-16"
	case bytes.HasPrefix(lower, []byte("<!doctype html")), bytes.HasPrefix(lower, []byte("<html")):
		return "an HTML page, as a login or a proxy sends it"
	case bytes.HasPrefix(page, []byte("<")):
		return "XML or HTML"
	case invalidBytes(string(page)) >= minInvalidBytes:
		return "GBK, or another encoding than UTF-8"
	}
	return ""
}
