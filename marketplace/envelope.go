package marketplace

import (
	"errors"

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
	data    []byte // its raw JSON, nil if there is none; part of the page
}

// ok reports whether the envelope says that the call succeeded.
func (e envelope) ok() bool { return e.code == 200 && !e.failed }

var envelopeKeys = []string{"code", "status", "message", "data"}

// A scanner reads the JSON of pages.
type scanner struct{ *wire.Scanner }

func newScanner() *scanner { return &scanner{wire.NewScanner()} }

// parseEnvelope reads a whole page. Its errors name no more of it than a
// position: a page is personal data.
func (s *scanner) parseEnvelope(page []byte) (envelope, error) {
	var e envelope
	hasCode := false
	// Leniently, because what is wrong inside of data is for each record to
	// tell.
	s.Leniently(page)
	err := s.Object(envelopeKeys, func(key string, v jsontext.Value) error {
		hasCode = hasCode || key == "code"
		return e.set(s, key, v, page)
	})
	if err == nil && !hasCode {
		err = errors.New("the envelope has no code")
	}
	e.parsed = err == nil
	return e, err
}

// set takes the value v of key, which s has just read from page.
func (e *envelope) set(s *scanner, key string, v jsontext.Value, page []byte) error {
	switch key {
	case "code":
		n, ok := wire.ParseInt(v)
		if !ok || int64(int(n)) != n {
			return errors.New("code: expected an integer")
		}
		e.code = int(n)
	case "status":
		switch v.Kind() {
		case '"':
			e.status = string(s.Unquote(v))
			e.failed = e.status != "" && e.status != "success" // some platforms write "" for null
		case 'n':
		default:
			return errors.New("status: expected a string")
		}
	case "message":
		if v.Kind() == '"' {
			e.message = string(s.Unquote(v))
		}
	case "data":
		end := s.InputOffset()
		e.data = page[end-int64(len(v)) : end]
	}
	return nil
}
