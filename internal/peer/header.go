package peer

import (
	"fmt"
	"net/http"
	"net/textproto"
	"strings"
)

// An UnusableError is a header that must not be believed, nor be passed over for
// another identity.
type UnusableError struct {
	Why string
	As  error // what it counts as
}

// Error implements error.
func (e *UnusableError) Error() string { return e.Why }

// Unwrap returns As.
func (e *UnusableError) Unwrap() error { return e.As }

// Header returns a func that reads a header which a peer in these networks has set.
// The func returns an error that wraps nobody if the header is missing or empty, or
// comes from elsewhere; and an [*UnusableError] as nobody if it is there twice, if its
// text has blanks around it or control bytes in it, or if nothing tells who the peer
// is. No error has the text in it.
func (t Trusted) Header(name string, nobody error) func(*http.Request) (string, error) {
	key := textproto.CanonicalMIMEHeaderKey(name)
	because := func(why string) error { return fmt.Errorf("%w: the header %s %s", nobody, name, why) }
	missing, empty := because("is missing"), because("is empty")
	distrusted := because("is there, but who has sent it is in none of the trusted networks")
	return func(r *http.Request) (string, error) {
		values := r.Header[key]
		if len(values) == 0 {
			return "", missing
		}
		known, err := t.Has(r)
		switch {
		case err != nil:
			return "", &UnusableError{err.Error(), nobody}
		case !known:
			return "", distrusted
		case len(values) > 1:
			return "", &UnusableError{"the identity header is there more than once", nobody}
		case !isPlain(values[0]):
			return "", &UnusableError{"the identity header has blanks around it or control bytes in it", nobody}
		case values[0] == "":
			return "", empty
		}
		return values[0], nil
	}
}

// isPlain reports whether s has neither blanks at its ends nor control bytes.
func isPlain(s string) bool {
	return strings.TrimSpace(s) == s && strings.IndexFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) < 0
}
