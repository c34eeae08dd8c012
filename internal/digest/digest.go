// Package digest names identities in logs and events without telling them: by a
// keyed digest, which nobody can find out by trying who does not have the key. It
// imports nothing of rolegate.
package digest

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"sync"
)

// MinKey is the fewest bytes of a key that is given.
const MinKey = 32

// A Key is what digests are made with. It is never told: not by fmt, not by a log,
// not as JSON. The empty one is the process's own, which is random.
type Key []byte

const withheld = "(withheld)"

// Format implements fmt.Formatter and withholds the key.
func (Key) Format(f fmt.State, _ rune) { _, _ = io.WriteString(f, withheld) }

// LogValue implements slog.LogValuer.
func (Key) LogValue() slog.Value { return slog.StringValue(withheld) }

// MarshalText implements encoding.TextMarshaler.
func (Key) MarshalText() ([]byte, error) { return []byte(withheld), nil }

// own is the key of gates that were given none: of all in the process, so that one
// that takes another's place makes the same digests.
var own = sync.OnceValue(func() Key {
	k := make(Key, MinKey)
	_, _ = rand.Read(k) // it never fails
	return k
})

// Of returns 16 hexadecimal digits for a text of that kind, and "" for no text. Equal
// texts of different kinds have different digests.
func (k Key) Of(kind, text string) string {
	if text == "" {
		return ""
	}
	if len(k) == 0 {
		k = own()
	}
	mac := hmac.New(sha256.New, k)
	_, _ = io.WriteString(mac, kind+"\x00"+text)
	return hex.EncodeToString(mac.Sum(nil)[:8])
}
