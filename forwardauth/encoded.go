package forwardauth

import (
	"fmt"
	"strings"

	"github.com/rolegate/rolegate"
)

// encodable are the bytes that [Handler.Encoded] can let stand.
const encodable = `%#?;/\`

// An encodedSet has a bit for each byte of encodable.
type encodedSet uint8

func setOf(c byte) encodedSet {
	if i := strings.IndexByte(encodable, c); i >= 0 {
		return 1 << i
	}
	return 0
}

func (s encodedSet) String() string {
	var b strings.Builder
	for _, c := range []byte(encodable) {
		if s&setOf(c) != 0 {
			b.WriteByte(c)
		}
	}
	return b.String()
}

// Encoded returns the rules of the handler, for patterns in whose requests the
// given bytes may stand, percent-encoded: of % # ? ; / and \. A semicolon may then
// stand as it is too, as in ;jsessionid=1. Without it such a request is denied,
// since proxies and apps read these bytes differently.
//
//	h.Encoded("%#").Handle("GET /files/{name}", rolegate.AnyRole("teacher"))
//
// lets a file "100%.pdf" or "Klasse #3.pdf" pass. Give the bytes only to patterns
// whose paths your proxy passes on as they came and your app reads as
// [net/http.ServeMux] does: a segment is what stands between two plain slashes.
// docs/proxies.md says which proxies do.
//
// Still denied is what would be another path if somebody decoded it once more, or
// cut it at one of the bytes: dots, empty segments, and %25 in front of two
// hexadecimal digits. It panics on other bytes, and on none.
func (h *Handler) Encoded(bytes string) EncodedRules {
	var set encodedSet
	for _, c := range []byte(bytes) {
		if setOf(c) == 0 {
			panic(fmt.Sprintf("rolegate: forwardauth: Encoded(%q): expected some of %s", bytes, encodable))
		}
		set |= setOf(c)
	}
	if set == 0 {
		panic("rolegate: forwardauth: Encoded: expected some of " + encodable)
	}
	return EncodedRules{h, set}
}

// EncodedRules adds rules whose paths may have bytes in them that are denied
// elsewhere: see [Handler.Encoded].
type EncodedRules struct {
	h   *Handler
	set encodedSet
}

// Handle is [Handler.Handle].
func (r EncodedRules) Handle(pattern string, options ...rolegate.Option) {
	r.h.handle(pattern, options, r.set)
}

// Admit is [Handler.Admit].
func (r EncodedRules) Admit(pattern string) { r.h.add(pattern, r.h.admit, r.set) }
